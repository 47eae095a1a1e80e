"""Receipts: what was put before the model, kept a moment in RAM and stored together.

A receipt is an account, not a memory: it is not worth a sync of its own on the way of an answer. It is stored
before the next drain, by the live server's look into the spool, and when the service is closed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import apsw

from retain.errors import RetainError
from retain.memory import inputs
from retain.memory.uses import signs_of, use_of
from retain.memory.workspaces import Workspaces
from retain.model import Draft, Event, new_id, read_time, to_us
from retain.storage import controls, injections, writes
from retain.storage.injections import Injection
from retain.storage.sqlite import SqliteStore

logger = logging.getLogger(__name__)

WAITING_MAX = 1_000
"""Receipts kept while the store cannot be written; beyond, the oldest is dropped and counted."""

USE_WINDOW_US = 45 * 60 * 1_000_000
"""A memory can be used by what happens within this time after it was shown."""


class Receipts:
    """Notes what is shown, stores it, and gives account.

    Args:
        store: keeps the receipts.
        workspaces: tell the workspace of the folder.
        folder: where the session works.
        session: the client's session where it is known.
    """

    def __init__(
        self, store: SqliteStore, workspaces: Workspaces, *, folder: str, session: str | None
    ) -> None:
        self._store = store
        self._workspaces = workspaces
        self._folder = folder
        self._session = session
        self._waiting: list[Injection] = []
        self._read: list[tuple[int, str]] = []
        self.dropped = 0

    async def shown(
        self,
        door: str,
        ids: Sequence[str],
        *,
        tokens: int = 0,
        hidden: Mapping[str, int] | None = None,
        folder: str | None = None,
        session: str | None = None,
    ) -> None:
        """Notes that memories were put before the model, or (no ids) that nothing fitted.

        Args:
            door: ``recall``, ``context``, or the hook that asked.
            ids: best first.
            tokens: of what was shown.
            hidden: how many memories were withheld, by reason.
            folder: where the session works that was shown them; None is that of this object, as is its session.
            session: the client's id of that session.
        """
        _, workspace = await self._workspaces.at(folder or self._folder)
        self._waiting.append(
            Injection(
                id=new_id(), workspace=workspace, session=session or self._session or "", door=door,
                at_us=_now_us(), memories=tuple(ids), tokens=tokens, hidden=dict(hidden or {}),
            )
        )  # fmt: skip
        if len(self._waiting) > WAITING_MAX:
            del self._waiting[0]
            self.dropped += 1

    async def read_whole(self, ids: Sequence[str]) -> None:
        """Notes that the whole text of memories was asked for: those that were shown before were of use."""
        _, workspace = await self._workspaces.at(self._folder)
        self._read += [(workspace, memory) for memory in ids]
        del self._read[:-WAITING_MAX]

    async def account(
        self, *, since: datetime | str | float | None = None, workspace: str | None = None
    ) -> dict[str, Any]:
        """What was put before the model, what showed that it was used, and what was withheld, as JSON values.

        Args:
            since: earliest moment; None takes everything.
            workspace: id of a workspace, ``"*"`` for all; None is that of the folder.

        Raises:
            InvalidInput: a field is wrong.
            NotFound: no such workspace.
        """
        since_us = 0 if since is None else to_us(read_time(since, "since"))
        key = None
        if workspace is None:
            _, key = await self._workspaces.at(self._folder)
        elif workspace != "*":
            _, key = await self._workspaces.by_id(inputs.id_field(workspace, "workspace"))
        await self.flush()
        found = await self._store.read(lambda reader: injections.receipt(reader.connection, key, since_us))
        return {**found, "dropped": self.dropped}

    async def flush(self) -> None:
        """Stores what was noted; where the store refuses, it is kept for the next time."""
        waiting, read = self._waiting, self._read
        if not waiting and not read:
            return
        self._waiting, self._read = [], []
        try:
            await self._store.write(lambda db: _store(db, waiting, read))
        except RetainError as error:
            logger.warning("receipts.not_stored error=%s waiting=%d", error.code, len(waiting))
            self._waiting[:0], self._read[:0] = waiting, read


def _store(db: apsw.Connection, waiting: Sequence[Injection], read: Sequence[tuple[int, str]]) -> None:
    private = controls.stretches(db, [one.session for one in waiting if one.session])
    for injection in waiting:
        if not controls.is_within(private.get(injection.session, ()), injection.at_us):
            injections.add(db, injection)
    for workspace, memory in read:
        injections.mark_read(db, workspace, memory, _now_us() - USE_WINDOW_US)


def _now_us() -> int:
    return time.time_ns() // 1000


def watch_uses(
    db: apsw.Connection, event: Event, workspace: int, drafts: Sequence[Draft], fixes: Sequence[Draft]
) -> int:
    """Marks what a session was shown and this event shows as used; returns how many.

    Args:
        db: inside the transaction that stores the event.
        event: prepared.
        workspace: internal key.
        drafts: what was distilled from it.
        fixes: the errors that it ended.
    """
    if event.name != "Stop" and not fixes and all(draft.kind != "file_change" for draft in drafts):
        return 0
    at_us = to_us(event.received_at)
    prompts: list[str] = []

    def asked() -> str:
        if not prompts:
            prompts.append(writes.last_prompt(db, workspace, event.session)[1])
        return prompts[0]

    open_still = injections.unused(db, workspace, event.session, at_us - USE_WINDOW_US, at_us)
    signs = signs_of(event, drafts, fixes) if open_still else None
    if not signs:
        return 0
    marked = 0
    for shown in open_still:
        how = use_of(shown.memory, signs, asked)
        if how is not None:
            injections.mark_used(db, shown, how)
            marked += 1
    return marked
