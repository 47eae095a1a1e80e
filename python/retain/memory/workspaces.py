"""Which workspace a folder belongs to; asked of git once a place, then of the store, then of a dict."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from retain.capture.redact import redact
from retain.errors import NotFound
from retain.git.repository import Place, identity, locate
from retain.model import Workspace, new_id
from retain.storage.reads import Reader
from retain.storage.sqlite import SqliteStore
from retain.storage.writes import add_workspace

PLACES_MAX = 4_096


class Workspaces:
    """Resolves folders to workspaces of one store."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._by_alias: dict[str, tuple[Workspace, int]] = {}

    async def at(self, folder: str) -> tuple[Workspace, int]:
        """The workspace around a folder and its key in the store; made where it is new."""
        place = locate(folder)
        known = self._by_alias.get(place.alias)
        if known is None:
            known = await self._store.read(lambda reader: _known(reader, place.alias))
            if known is None:
                known = await self._make(place)
            if len(self._by_alias) >= PLACES_MAX:
                self._by_alias.clear()
            # The root is that of this place: the same repository lies elsewhere in a worktree or a clone.
            known = (replace(known[0], root=place.root), known[1])
            self._by_alias[place.alias] = known
        return known

    async def known_at(self, folder: str) -> tuple[Workspace, int] | None:
        """The same where the workspace is known; None where it would be new."""
        alias = locate(folder).alias
        return await self._store.read(lambda reader: _known(reader, alias))

    async def by_id(self, workspace_id: str) -> tuple[Workspace, int]:
        """The workspace with this id.

        Raises:
            NotFound: there is none.
        """

        def find(reader: Reader) -> tuple[Workspace | None, int | None]:
            return reader.workspace_by_id(workspace_id), reader.workspace_key(workspace_id)

        workspace, key = await self._store.read(find)
        if workspace is None or key is None:
            raise NotFound(f"workspace: no workspace {workspace_id}", hint="`retain stats` lists them")
        return workspace, key

    async def _make(self, place: Place) -> tuple[Workspace, int]:
        mark, name = await asyncio.to_thread(identity, place)
        if mark.startswith("git:"):  # the address of a remote may hold a token
            mark = redact(mark).text
        now_us = time.time_ns() // 1000
        await self._store.write(
            lambda db: add_workspace(
                db,
                workspace_id=new_id(),
                identity=mark,
                name=redact(name).text,
                root=place.root,
                alias=place.alias,
                now_us=now_us,
            )
        )
        made = await self._store.read(lambda reader: _known(reader, place.alias))
        assert made is not None, "a workspace that was just made is there"
        return made


def _known(reader: Reader, alias: str) -> tuple[Workspace, int] | None:
    workspace = reader.workspace_at(alias)
    if workspace is None:
        return None
    key = reader.workspace_key(workspace.id)
    return (workspace, key) if key is not None else None
