"""What callers store: new memories, new versions of old ones, tombstones; each within what its channel may do."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import apsw

from retain.config import Settings
from retain.errors import Conflict
from retain.git import head
from retain.memory import inputs
from retain.memory.claim_keeping import ClaimKeeping
from retain.memory.claims import Found
from retain.memory.recalling import Recaller
from retain.memory.serving import Serving
from retain.model import Draft, Memory, Origin, Workspace, new_id
from retain.storage import writes
from retain.storage.reads import Reader, memories_by_id
from retain.storage.sqlite import SqliteStore
from retain.storage.trust import is_of_user, may_be_tainted
from retain.trust import UNTRUSTED, may_be_told

NEAR_ITEMS_MAX = 20
"""Near duplicates are looked for where at most this many memories are remembered at once."""


class Storing:
    """Stores for one channel.

    Args:
        settings: limits.
        store: where to.
        channel: who speaks, from which folder and session.
        recaller: finds near duplicates.
        serving: makes the vectors of new memories in their transaction.
    """

    def __init__(
        self,
        settings: Settings,
        store: SqliteStore,
        channel: inputs.Channel,
        recaller: Recaller,
        serving: Serving,
    ) -> None:
        self._settings = settings
        self._store = store
        self._channel = channel
        self._recaller = recaller
        self._serving = serving

    def drafts(
        self, items: Sequence[Mapping[str, Any] | Draft], place: Workspace, origin: Origin
    ) -> list[Draft]:
        """Drafts of a caller's items, checked, redacted and stamped with what the channel knows.

        Raises:
            InvalidInput: a field is wrong, or there are too many.
        """
        branch, commit = head.read(place.root)
        stamp = inputs.Stamp(
            origin=origin,
            branch=branch or None,
            commit=commit or None,
            session=self._channel.session,
            root=place.root,
            text_chars_max=self._settings.text_chars_max,
        )
        return inputs.drafts_of(items, stamp, self._settings.items_max)

    async def add(
        self, drafts: Sequence[Draft], place: Workspace, key: int, claims: Sequence[Found] = ()
    ) -> list[Memory]:
        """Stores drafts in one transaction with their claims where these are known, and tells of what is alike.

        Raises:
            Conflict: a source_id names a memory with other content; nothing is stored.
        """
        near = await self._near(place, drafts)
        now_us = time.time_ns() // 1000
        news = [writes.NewMemory(id=new_id(), workspace=key, draft=d, now_us=now_us) for d in drafts]

        def add(db: apsw.Connection) -> tuple[list[writes.Added], dict[str, Memory]]:
            added = [writes.add_memory(db, self._lowered(db, new)) for new in news]
            ClaimKeeping.put(db, added, claims, now_us)
            self._serving.add(db, added)
            return added, memories_by_id(db, [a.id for a in added])

        added, stored = await self._store.write(add)
        return [
            replace(stored[a.id], created=a.created, near=tuple(i for i in similar if i != a.id))
            for a, similar in zip(added, near, strict=True)
        ]

    async def replace(self, old: Memory, text: str, reason: str, place: Workspace, key: int) -> Memory:
        """Stores a new version of a memory.

        Raises:
            Conflict: the old one is not active, says the same, or is the user's and the session is tainted.
        """
        kept_title = old.title if old.title != inputs.derived_title(old.text) else None
        item = {"text": text, "title": kept_title, "kind": old.kind}
        draft = self.drafts([item], place, self._channel.origin)[0]
        if may_be_told(old.trust):
            # What the old version is about was checked when it came in; capture takes more than callers may say.
            draft = replace(draft, paths=old.paths, symbols=old.symbols, tags=old.tags)
        elif self._channel.origin == "user":  # only what the user says now is the user's
            draft = replace(draft, title=inputs.derived_title(draft.text), paths=old.paths)
        else:
            draft = replace(draft, trust=old.trust)
        new = writes.NewMemory(id=new_id(), workspace=key, draft=draft, now_us=time.time_ns() // 1000)
        await self._store.read(self._serving.prepare)

        def supersede(db: apsw.Connection) -> Memory:
            self._refuse_tainted(db, key, old.id)
            added = writes.supersede(db, old.id, self._lowered(db, new), reason)
            self._serving.add(db, [added])
            return memories_by_id(db, [added.id])[added.id]

        return await self._store.write(supersede)

    async def forget(self, memory_id: str, reason: str, key: int) -> None:
        """Tombstones a memory.

        Raises:
            NotFound: no such memory.
            Conflict: it is not active, or is the user's and the session is tainted.
        """

        def forget(db: apsw.Connection) -> None:
            self._refuse_tainted(db, key, memory_id)
            writes.forget(db, memory_id, reason)

        await self._store.write(forget)

    async def _near(self, place: Workspace, drafts: Sequence[Draft]) -> list[tuple[str, ...]]:
        """Near duplicates of each; what embeds new memories is loaded on the way, before any transaction."""

        def look(reader: Reader) -> list[tuple[str, ...]]:
            self._serving.prepare(reader)
            if len(drafts) > NEAR_ITEMS_MAX:
                return [()] * len(drafts)
            return [self._recaller.near(reader, place.id, f"{draft.title}\n{draft.text}") for draft in drafts]

        return await self._store.read(look)

    def _lowered(self, db: apsw.Connection, new: writes.NewMemory) -> writes.NewMemory:
        """What an assistant says that may have read untrusted text is untrusted."""
        if self._channel.origin == "user" or not self._may_be_tainted(db, new.workspace):
            return new
        return replace(new, draft=replace(new.draft, trust=UNTRUSTED))

    def _may_be_tainted(self, db: apsw.Connection, workspace: int) -> bool:
        return may_be_tainted(db, workspace, self._channel.session, time.time_ns() // 1000)

    def _refuse_tainted(self, db: apsw.Connection, workspace: int, memory_id: str) -> None:
        """Text of a tool must not make an assistant take away what the user said."""
        if self._channel.origin == "user" or not is_of_user(db, memory_id):
            return
        if self._may_be_tainted(db, workspace):
            raise Conflict(
                f"id: memory {memory_id} is the user's, and this session has read untrusted text",
                hint="tell the user what should change; `retain revise` and `retain forget` are theirs",
            )
