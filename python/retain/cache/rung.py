"""A level as ``MultiLevelCache`` uses it: failures are counted and made good later, writes keep their order.

A write that failed leaves an older value behind. What would remove it is owed: it is done before the level is
asked anything again, so a level that was away never answers with what was replaced or removed meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from retain.cache.histogram import Histogram
from retain.cache.levels import Entry, Level
from retain.errors import CacheLevelDown

OWED_MAX = 10_000
"""Above this many owed removals the whole level is cleared instead."""

_CLEAR = "clear"
_TAG = "tag"
_KEY = "key"
_PUT = "put"


class _Write:
    """Entries to store, or one thing to remove."""

    __slots__ = ("done", "kind", "only_new", "subject")

    def __init__(self, kind: str, subject: Any, only_new: bool, done: asyncio.Future[None]) -> None:
        self.kind = kind
        self.subject = subject
        self.only_new = only_new
        self.done = done


class Rung:
    """One level with its counters; no call raises because the level fails."""

    def __init__(self, level: Level, *, owns: bool = True) -> None:
        self._level = level
        self._owns = owns
        self._waiting: list[_Write] = []
        self._writer: asyncio.Task[None] | None = None
        self._settling: asyncio.Task[None] | None = None
        self._owed: dict[tuple[str, str], int] = {}
        self._debts = 0
        self._latency = Histogram()
        self.hits = self.misses = self.errors = self.promotions = 0

    def beside(self) -> Rung:
        """The same level for a cache of other keys, with counters of its own; its ``close`` leaves the level open."""
        return Rung(self._level, owns=False)

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """What the level has; nothing where it fails."""
        started = time.perf_counter_ns()
        try:
            if self._owed:
                await self._settle()
            found = await self._level.get_many(keys)
        except CacheLevelDown:
            self.errors += 1
            return {}
        self._latency.add(time.perf_counter_ns() - started)
        self.hits += len(found)
        self.misses += len(keys) - len(found)
        return found

    def put(self, entries: Sequence[Entry], *, only_new: bool = False) -> asyncio.Future[None]:
        """Stores entries after all earlier writes; the future is done when they are stored or have failed."""
        return self._enqueue(_PUT, tuple(entries), only_new)

    def delete_many(self, keys: Sequence[str]) -> asyncio.Future[None]:
        """Removes keys after all earlier writes."""
        return self._enqueue(_KEY, tuple(keys))

    def invalidate_tag(self, tag: str) -> asyncio.Future[None]:
        """Removes what has the tag after all earlier writes."""
        return self._enqueue(_TAG, (tag,))

    def clear(self) -> asyncio.Future[None]:
        """Removes everything after all earlier writes."""
        return self._enqueue(_CLEAR, ("",))

    @property
    def owes(self) -> bool:
        """Whether something that was removed may still stand in the level, which could not be reached."""
        return bool(self._owed)

    async def close(self) -> None:
        """Finishes the waiting writes and closes the level."""
        if self._writer is not None:
            await asyncio.wait([self._writer])
        if self._owns:
            await self._level.close()

    def stats(self) -> dict[str, Any]:
        """Counters, latency of reads, and what the level itself counts."""
        return {
            "hits": self.hits, "misses": self.misses, "errors": self.errors, "promotions": self.promotions,
            "owed": len(self._owed), "latency": self._latency.summary(),
            "level": self._level.stats(),
        }  # fmt: skip

    def _enqueue(self, kind: str, subject: tuple[Any, ...], only_new: bool = False) -> asyncio.Future[None]:
        """Takes its place in the order at once, not when it is awaited."""
        loop = asyncio.get_running_loop()
        write = _Write(kind, subject, only_new, loop.create_future())
        self._waiting.append(write)
        if self._writer is None or self._writer.done():
            self._writer = loop.create_task(self._write_all())
        return write.done

    async def _write_all(self) -> None:
        """Does the waiting writes in their order, neighbours of one kind together."""
        while self._waiting:
            together = _leading(self._waiting)
            del self._waiting[: len(together)]
            try:
                await self._write(together)
            except CacheLevelDown:
                self.errors += 1
                self._owe_for(together)
            finally:
                for write in together:
                    if not write.done.done():
                        write.done.set_result(None)

    async def _write(self, together: Sequence[_Write]) -> None:
        if self._owed:
            await self._settle()
        kind, subjects = together[0].kind, [item for write in together for item in write.subject]
        if kind == _PUT:
            await self._level.set_many(subjects, only_new=together[0].only_new)
        elif kind == _KEY:
            await self._level.delete_many(subjects)
        elif kind == _TAG:
            for tag in subjects:
                await self._level.invalidate_tag(tag)
        else:
            await self._level.clear()

    def _owe_for(self, together: Sequence[_Write]) -> None:
        for write in together:
            if write.only_new:
                continue  # a promotion: what stands there may stay
            for item in write.subject:
                self._owe(
                    _KEY if write.kind == _PUT else write.kind, item.key if write.kind == _PUT else item
                )

    def _owe(self, kind: str, subject: str) -> None:
        if kind == _CLEAR or (_CLEAR, "") in self._owed or len(self._owed) >= OWED_MAX:
            self._owed.clear()
            kind, subject = _CLEAR, ""
        self._debts += 1
        self._owed[kind, subject] = self._debts

    async def _settle(self) -> None:
        """Does what is owed; callers that come meanwhile wait for the same work.

        Raises:
            CacheLevelDown: the level still fails.
        """
        if self._settling is None or self._settling.done():
            self._settling = asyncio.get_running_loop().create_task(self._do_owed())
            self._settling.add_done_callback(_seen)
        await asyncio.shield(self._settling)

    async def _do_owed(self) -> None:
        owed = dict(self._owed)
        keys = [subject for kind, subject in owed if kind == _KEY]
        if keys:
            await self._level.delete_many(keys)
        for kind, subject in owed:
            if kind == _TAG:
                await self._level.invalidate_tag(subject)
            elif kind == _CLEAR:
                await self._level.clear()
        for debt, number in owed.items():
            if self._owed.get(debt) == number:  # else it was owed anew meanwhile
                del self._owed[debt]


def _seen(task: asyncio.Task[None]) -> None:
    """Whoever waits raises its error; all who did may be gone."""
    if not task.cancelled():
        task.exception()


def _leading(waiting: Sequence[_Write]) -> list[_Write]:
    """The first writes that can go together."""
    first, count = waiting[0], 1
    while count < len(waiting):
        write = waiting[count]
        if write.kind != first.kind or write.only_new != first.only_new:
            break
        count += 1
    return list(waiting[:count])
