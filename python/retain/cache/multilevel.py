"""One cache of up to three levels: L1 in this process, L2 on a server, L3 on disk.

A hit in L1 is a plain call (``get_nowait``). Below it, a value is read from L2, else L3, and put into the
levels above; a write goes through to all. A level that fails is skipped and counted, never an error to the
caller. Other processes that share L2 keep what is in their own L1 until its time is over.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from retain.cache.configured import disk_level, server_level
from retain.cache.histogram import Histogram
from retain.cache.l1 import L1Cache
from retain.cache.levels import Entry, Level
from retain.cache.loading import Flight, Loader, Unstored, settle, value_of
from retain.cache.records import Decode, Encode, NotEncodable, Record, decode_json, encode_json, pack, unpack
from retain.cache.rung import Rung
from retain.cache.tickets import Ticket, Tickets
from retain.config import Settings

MISSING: Final = object()
STALE_ENTRIES = 1_024
L1_SAMPLE = 64
"""Every so many gets one is timed: the clock costs as much as a hit."""


def name_of_text(key: Hashable) -> str | None:
    """The name of a key below L1: a str names itself, any other key stays in L1."""
    return key if isinstance(key, str) else None


class MultiLevelCache:
    """A cache of one, two or three levels, for one event loop.

    Keys are hashable; below L1 stands only what ``name_of`` gives a name and ``encode`` can encode. Times are
    in seconds. A value may be None.

    Args:
        l1: the first level.
        l2: a level shared with other processes, or None.
        l3: a level on disk, or None.
        default_ttl: how long a value lives unless set otherwise; None for ever.
        negative_ttl: how long "there is none" (a loader's None) lives; None does not keep it.
        stale_ttl: how long past its time a value may still be given by ``get_or_compute`` while it is
            computed anew in the background; None or 0 never.
        encode: bytes of a value; raises ``NotEncodable`` for one that must stay in L1.
        decode: the value again; raises ValueError for what it cannot read.
        name_of: the name of a key below L1, or None for a key that stays in L1.
        clock: seconds since the epoch.

    ``get_nowait(key, default=None)`` is L1's own ``get``: the hit path of code that cannot afford an await.
    """

    def __init__(
        self,
        l1: L1Cache | None = None,
        l2: Level | None = None,
        l3: Level | None = None,
        default_ttl: float | None = None,
        negative_ttl: float | None = 5.0,
        stale_ttl: float | None = None,
        *,
        encode: Encode = encode_json,
        decode: Decode = decode_json,
        name_of: Callable[[Any], str | None] = name_of_text,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.l1 = L1Cache() if l1 is None else l1
        self.get_nowait = self.l1.get
        self._rungs = {name: Rung(level) for name, level in (("l2", l2), ("l3", l3)) if level is not None}
        self._below = tuple(self._rungs.values())
        self._default_ttl = default_ttl
        self._negative_ttl = negative_ttl
        self._stale_ttl = stale_ttl or 0.0
        self._stale = L1Cache(STALE_ENTRIES) if self._stale_ttl else None
        self._encode, self._decode, self._name_of, self._clock = encode, decode, name_of, clock
        self._flights: dict[Hashable, Flight] = {}
        self._tickets = Tickets()
        self._background: set[asyncio.Task[Any]] = set()
        self._beside: list[MultiLevelCache] = []
        self._latency = Histogram()
        self._gets = 0
        self._counts = dict.fromkeys(
            (
                "promotions",
                "computed",
                "joined",
                "failed",
                "stale",
                "negative",
                "not_encodable",
                "unreadable",
            ),
            0,
        )

    @classmethod
    def from_settings(cls, settings: Settings, **options: Any) -> MultiLevelCache:
        """The levels that the settings name; one that cannot be had is left out.

        Args:
            settings: ``cache_entries_max`` and ``cache_bytes_max`` bound L1, ``redis_url`` names L2,
                ``cache_disk_bytes_max`` bounds L3.
            **options: further arguments of ``MultiLevelCache``.

        Raises:
            InvalidInput: redis is not installed, or its url cannot be read.
        """
        l1 = L1Cache(
            settings.cache_entries_max, max_bytes=settings.cache_bytes_max or None, policy="wtinylfu"
        )
        return cls(l1, server_level(settings), disk_level(settings), **options)

    def beside(self, l1: L1Cache, *levels: str, **options: Any) -> MultiLevelCache:
        """A cache of other names on some of the levels below this one; those that are not there are left out.

        Close it before this one. The levels hold the entries of both, so what clears one clears the other.

        Args:
            l1: its own first level.
            *levels: ``l2``, ``l3``.
            **options: further arguments of ``MultiLevelCache``.
        """
        other = MultiLevelCache(l1, **options)
        other._rungs = {name: rung.beside() for name, rung in self._rungs.items() if name in levels}
        other._below = tuple(other._rungs.values())
        other._beside, self._beside = [self], [*self._beside, other]
        return other

    async def get(self, key: Hashable, default: Any = None) -> Any:
        """The value, from the first level that has it, or the default."""
        self._gets += 1
        if self._gets % L1_SAMPLE:
            value = self.get_nowait(key, MISSING)
        else:
            started = time.perf_counter_ns()
            value = self.get_nowait(key, MISSING)
            self._latency.add(time.perf_counter_ns() - started)
        if value is not MISSING:
            return value
        found = await self._find((key,)) if self._below else {}
        value, fresh = found.get(key, (default, True))
        return value if fresh else default

    async def get_many(self, keys: Iterable[Hashable]) -> dict[Any, Any]:
        """The pairs that are there; each level is asked once, for what the levels above lack."""
        wanted = list(dict.fromkeys(keys))
        found = self.l1.get_many(wanted)
        missing = [key for key in wanted if key not in found]
        if missing and self._below:
            below = await self._find(missing)
            found.update({key: value for key, (value, fresh) in below.items() if fresh})
        return found

    async def contains(self, key: Hashable) -> bool:
        """Whether some level has a value that is not over, a negative one too."""
        return key in self.l1 or await self.get(key, MISSING) is not MISSING

    async def set(
        self,
        key: Hashable,
        value: Any,
        ttl: float | None = None,
        *,
        tags: Iterable[str] = (),
        size: int | None = None,
    ) -> None:
        """Stores a value in every level; returns when the levels below have it or have failed.

        Args:
            key: any hashable.
            value: anything; below L1 only what can be encoded.
            ttl: seconds; None for the default, ``math.inf`` for ever.
            tags: names for ``invalidate_tag``.
            size: bytes that it counts in L1; None for L1's estimate.

        Raises:
            ValueError: ttl is not above 0.
        """
        with self._tickets.changing((key,)):
            entry = self._set_here(key, value, ttl, tuple(tags), size)
            await self._put_below((key,), () if entry is None else (entry,))

    async def set_many(
        self,
        items: Mapping[Any, Any] | Iterable[tuple[Hashable, Any]],
        ttl: float | None = None,
        *,
        tags: Iterable[str] = (),
    ) -> None:
        """Stores pairs; each level is written once.

        Raises:
            ValueError: ttl is not above 0.
        """
        pairs = dict(items)
        names = tuple(tags)
        with self._tickets.changing(tuple(pairs)):
            entries = [self._set_here(key, value, ttl, names, None) for key, value in pairs.items()]
            await self._put_below(tuple(pairs), tuple(entry for entry in entries if entry is not None))

    async def delete(self, key: Hashable) -> None:
        """Removes a key from every level."""
        with self._tickets.changing((key,)):
            self._drop_here(key)
            await self._put_below((key,), ())

    async def invalidate_tag(self, tag: str) -> None:
        """Removes every value with this tag from every level."""
        with self._tickets.changing_all():
            self.l1.invalidate_tag(tag)
            if self._stale is not None:
                self._stale.invalidate_tag(tag)
            await _all([rung.invalidate_tag(tag) for rung in self._below])

    async def clear(self) -> bool:
        """Removes everything from every level, of caches beside this one too.

        Returns:
            False where a level could not be reached; it is cleared before it is asked again.
        """
        with ExitStack() as changing:
            for cache in (self, *self._beside):
                changing.enter_context(cache.emptied_here())
            await _all([rung.clear() for rung in self._below])
        return not any(rung.owes for rung in self._below)

    @contextmanager
    def emptied_here(self) -> Iterator[None]:
        """Removes everything from this process; what is computed during the block is not kept."""
        with self._tickets.changing_all():
            self.l1.clear()
            if self._stale is not None:
                self._stale.clear()
            yield

    async def get_or_compute(
        self,
        key: Hashable,
        loader: Loader,
        ttl: float | None = None,
        *,
        tags: Iterable[str] = (),
        size: Callable[[Any], int] | None = None,
    ) -> Any:
        """The value, computed by ``loader`` where no level has it; one computation a key at a time.

        All who ask meanwhile wait for it and get its value or its error; after an error the next call tries
        again. A loader is stopped when nobody waits for it any more. What it returns is not kept where the
        key was set, deleted or invalidated meanwhile. A None lives for ``negative_ttl``; an ``Unstored``
        value is given and not kept.

        Args:
            key: any hashable.
            loader: makes the value; may be async.
            ttl: seconds; None for the default.
            tags: names for ``invalidate_tag``.
            size: bytes that a value counts in L1.
        """
        value = self.get_nowait(key, MISSING)
        if value is not MISSING:
            return value
        flight = self._flights.get(key)
        if self._stale is not None and (value := self._stale.get(key, MISSING)) is not MISSING:
            self._counts["stale"] += 1
            if flight is None:
                self._keep(self._wait(self._start(key, loader, ttl, tags, size)))
            return value
        if flight is None:
            flight = self._start(key, loader, ttl, tags, size)
        else:
            self._counts["joined"] += 1
        return await self._join(flight)

    async def warm(
        self,
        source: Mapping[Any, Any] | Iterable[tuple[Hashable, Any]] | Callable[[], Any],
        ttl: float | None = None,
        *,
        tags: Iterable[str] = (),
    ) -> int:
        """Stores pairs before they are asked for; how many.

        Args:
            source: pairs, or a function (which may be async) that returns them.
            ttl: as ``set``.
            tags: as ``set``.
        """
        items = await value_of(source()) if callable(source) else source
        pairs = dict(items)
        await self.set_many(pairs, ttl, tags=tags)
        return len(pairs)

    def stats(self) -> dict[str, Any]:
        """Counters and read latencies of each level, and of the computations; costs some microseconds."""
        l1 = {**self.l1.stats(), "promotions": self._counts["promotions"], "latency": self._latency.summary()}
        counts = {name: count for name, count in self._counts.items() if name != "promotions"}
        below = {name: rung.stats() for name, rung in self._rungs.items()}
        return {"l1": l1, **below, **counts, "in_flight": len(self._flights)}

    async def close(self) -> None:
        """Stops what is being computed, finishes writes, closes the levels below."""
        for flight in list(self._flights.values()):
            self._stop(flight)
        while self._background:
            await asyncio.wait(list(self._background))
        for rung in self._below:
            await rung.close()

    # Reading below L1

    async def _find(self, keys: Sequence[Hashable]) -> dict[Any, tuple[Any, bool]]:
        """Reads keys below L1 and promotes; each value with whether it is fresh."""
        names = {key: name for key in keys if (name := self._name_of(key)) is not None}
        found: dict[Any, tuple[Any, bool]] = {}
        with self._tickets.reading(names) as tickets:
            for depth, rung in enumerate(self._below):
                missing = [key for key in names if key not in found]
                if not missing:
                    break
                answers = await rung.get_many([names[key] for key in missing])
                for key in missing:
                    read = self._read(answers.get(names[key]))
                    if read is not None:
                        record, value = read
                        left = record.fresh_until - self._clock()
                        if left + self._stale_ttl > 0:
                            data = answers[names[key]]
                            fresh = self._promote(key, value, record, data, depth, tickets[key], left)
                            found[key] = (value, fresh)
        return found

    def _read(self, data: bytes | None) -> tuple[Record, Any] | None:
        if data is None:
            return None
        try:
            record = unpack(data)
            if record is not None:
                return record, self._decode(record.payload)
        except (ValueError, TypeError, KeyError, LookupError):
            pass  # what another program or another version wrote there
        self._counts["unreadable"] += 1
        return None

    def _promote(
        self, key: Hashable, value: Any, record: Record, data: bytes, depth: int, ticket: Ticket, left: float
    ) -> bool:
        """Puts what was found at a depth into the levels above; whether it is fresh."""
        if left <= 0 or not ticket.valid:
            return left > 0
        self.l1.set(key, value, left, None, record.tags)
        self._counts["promotions"] += 1
        for rung in self._below[:depth]:
            rung.promotions += 1
            name = self._name_of(key) or ""
            entry = Entry(name, data, None if left == math.inf else left + self._stale_ttl, record.tags)
            rung.put((entry,), only_new=True)
        return True

    # Writing

    def _set_here(
        self, key: Hashable, value: Any, ttl: float | None, tags: tuple[str, ...], size: int | None
    ) -> Entry | None:
        """Stores a value in L1; what goes below, if anything does."""
        lives = self._default_ttl if ttl is None else ttl
        self.l1.set(key, value, lives, size, tags)
        if self._stale is not None and lives is not None and lives != math.inf:
            self._stale.set(key, value, lives + self._stale_ttl, size, tags)
        name = self._name_of(key) if self._below else None
        if name is None:
            return None
        try:
            payload = self._encode(value)
        except NotEncodable:
            self._counts["not_encodable"] += 1
            return None
        bounded = None if lives is None or lives == math.inf else lives
        fresh_until = math.inf if bounded is None else self._clock() + bounded
        kept = None if bounded is None else bounded + self._stale_ttl
        return Entry(name, pack(Record(payload, fresh_until, tags)), kept, tags)

    async def _put_below(self, keys: Sequence[Hashable], entries: Sequence[Entry]) -> None:
        """Writes entries to the levels below; a key without an entry is removed there."""
        if not self._below:
            return
        there = {entry.key for entry in entries}
        names = (self._name_of(key) for key in keys)
        gone = [name for name in names if name is not None and name not in there]
        writes = [rung.put(entries) for rung in self._below] if entries else []
        if gone:
            writes += [rung.delete_many(gone) for rung in self._below]
        await _all(writes)

    def _drop_here(self, key: Hashable) -> None:
        self.l1.delete(key)
        if self._stale is not None:
            self._stale.delete(key)

    # Computing

    def _start(
        self,
        key: Hashable,
        loader: Loader,
        ttl: float | None,
        tags: Iterable[str],
        size: Callable[[Any], int] | None,
        anew: bool = False,
    ) -> Flight:
        loop = asyncio.get_running_loop()
        flight = self._flights[key] = Flight(key, loop.create_future())
        flight.task = self._keep(self._fly(flight, key, loader, ttl, tuple(tags), size, anew))
        return flight

    async def _fly(
        self,
        flight: Flight,
        key: Hashable,
        loader: Loader,
        ttl: float | None,
        tags: tuple[str, ...],
        size: Callable[[Any], int] | None,
        anew: bool,
    ) -> None:
        """Finds or computes the value, gives it to those who wait, then writes it below."""
        entry: Entry | None = None
        try:
            with self._tickets.reading((key,)) as tickets:
                found = await self._find((key,)) if self._below and not anew else {}
                value, fresh = found.get(key, (MISSING, True))
                if value is MISSING:
                    value, entry = await self._compute(key, loader, ttl, tags, size, tickets[key])
                elif not fresh:
                    self._counts["stale"] += 1
            self._end(key, flight)
            settle(flight.future, value)
            if value is not MISSING and not fresh:
                await self._wait(self._start(key, loader, ttl, tags, size, anew=True))
            if entry is not None:
                with self._tickets.changing((key,)):
                    await self._put_below((key,), (entry,))
        except Exception as error:  # noqa: BLE001 - it is raised where the value is awaited
            self._counts["failed"] += 1
            self._end(key, flight)
            if not flight.future.done():
                flight.future.set_exception(error)
                flight.future.exception()  # those who wait raise it; nobody may wait any more
        finally:
            self._end(key, flight)
            flight.future.cancel()  # does nothing where it is done

    def _end(self, key: Hashable, flight: Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    async def _compute(
        self,
        key: Hashable,
        loader: Loader,
        ttl: float | None,
        tags: tuple[str, ...],
        size: Callable[[Any], int] | None,
        ticket: Ticket,
    ) -> tuple[Any, Entry | None]:
        self._counts["computed"] += 1
        value = await value_of(loader())
        if isinstance(value, Unstored):
            return value.value, None
        if value is None:
            self._counts["negative"] += 1
            ttl = self._negative_ttl
        if not ticket.valid or (value is None and ttl is None):
            return value, None
        return value, self._set_here(key, value, ttl, tags, None if size is None else size(value))

    async def _join(self, flight: Flight) -> Any:
        flight.waiters += 1
        try:
            return await asyncio.shield(flight.future)
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.future.done():
                self._stop(flight)

    def _stop(self, flight: Flight) -> None:
        """Ends a flight, also one whose task has not begun and so never sees its cancellation."""
        self._end(flight.key, flight)
        flight.future.cancel()
        if flight.task is not None:
            flight.task.cancel()

    async def _wait(self, flight: Flight) -> None:
        """Waits for a flight whose value nobody needs."""
        flight.waiters += 1
        await asyncio.wait([flight.future])

    def _keep(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


async def _all(writes: Iterable[asyncio.Future[None]]) -> None:
    for write in writes:
        await write
