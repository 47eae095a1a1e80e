"""What callers store: new memories, new versions of old ones, tombstones; each within what its channel may do."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import apsw

from retain.config import Settings
from retain.memory import inputs
from retain.memory.claim_keeping import ClaimKeeping
from retain.memory.claims import Found
from retain.memory.recalling import Recaller
from retain.memory.serving import Serving
from retain.memory.trusting import Speaker
from retain.model import Draft, Memory, Origin, Workspace, new_id
from retain.storage import writes
from retain.storage.later import Later
from retain.storage.reads import Reader, memories_by_id
from retain.storage.sqlite import SqliteStore

logger = logging.getLogger(__name__)

T = TypeVar("T")

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
        self._speaker = Speaker(origin=channel.origin, session=channel.session)
        self._recaller = recaller
        self._serving = serving

    async def add(
        self,
        items: Sequence[Mapping[str, Any] | Draft],
        origin: Origin | None,
        place: Workspace,
        key: int,
        derive: Callable[[Sequence[Draft]], Awaitable[Sequence[Found]]] | None = None,
    ) -> list[Memory]:
        """Stores a caller's items in one transaction with their claims, and tells of what is alike.

        Args:
            items: mappings of the fields of a memory, or drafts.
            origin: who said it, where that is less than the channel's own.
            place: the workspace.
            key: its internal key.
            derive: finds the claims of drafts; None leaves them to the background.

        Raises:
            InvalidInput: a field is wrong, or there are too many.
            Conflict: a source_id names a memory with other content; nothing is stored.
        """
        channel = replace(self._channel, origin=self._speaker.at_most(origin))
        drafts = inputs.drafts_at(items, place.root, channel, self._settings)
        no_claims: Sequence[Found] = ()
        claims = await _where_there_is_room(derive(drafts), no_claims) if derive else no_claims
        no_hints: list[tuple[str, ...]] = [()] * len(drafts)
        near = await _where_there_is_room(self._near(place, drafts), no_hints)
        now_us = time.time_ns() // 1000
        news = [writes.NewMemory(id=new_id(), workspace=key, draft=d, now_us=now_us) for d in drafts]

        def add(db: apsw.Connection) -> tuple[list[writes.Added], dict[str, Memory]]:
            later = Later()
            added = [writes.add_memory(db, self._speaker.lowered(db, new), later) for new in news]
            later.flush(db)
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
        draft = inputs.drafts_at([item], place.root, self._channel, self._settings)[0]
        draft = self._speaker.revising(old, draft)
        new = writes.NewMemory(id=new_id(), workspace=key, draft=draft, now_us=time.time_ns() // 1000)
        await self._store.read(self._serving.prepare)

        def supersede(db: apsw.Connection) -> Memory:
            self._speaker.refuse_tainted(db, key, old.id)
            added = writes.supersede(db, old.id, self._speaker.lowered(db, new), reason)
            self._serving.add(db, [added])
            return memories_by_id(db, [added.id])[added.id]

        return await self._store.write(supersede)

    async def supersede(self, memory_id: str, by: str, reason: str, key: int) -> None:
        """Puts a memory that is there in the place of another one; what an assistant makes of both has the lower tier.

        Raises:
            NotFound: one of them is not there.
            Conflict: one of them is not active, or the old one is the user's and the session is tainted, or the new one
                untrusted.
        """

        def supersede(db: apsw.Connection) -> None:
            self._speaker.refuse_tainted(db, key, memory_id)
            self._speaker.refuse_untrusted(db, memory_id, by)
            writes.supersede_by(db, memory_id, by, reason)
            self._speaker.lower(db, by, memory_id)

        await self._store.write(supersede)

    async def keep_as_is(self, memory_id: str, key: int, put: Callable[[apsw.Connection], None]) -> None:
        """Writes down that a memory is right as it is.

        Raises:
            Conflict: it is the user's and the session is tainted: what it says would no longer be checked.
        """

        def keep(db: apsw.Connection) -> None:
            self._speaker.refuse_tainted(db, key, memory_id)
            put(db)

        await self._store.write(keep)

    async def forget(self, memory_id: str, reason: str, key: int) -> None:
        """Tombstones a memory.

        Raises:
            NotFound: no such memory.
            Conflict: it is not active, or is the user's and the session is tainted.
        """

        def forget(db: apsw.Connection) -> None:
            self._speaker.refuse_tainted(db, key, memory_id)
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


async def _where_there_is_room(found: Awaitable[T], nothing: T) -> T:
    """What can be done without: claims are derived behind, and similar memories are a hint."""
    try:
        return await found
    except MemoryError:
        logger.warning("storing.no_room")
        return nothing
