"""The parts of retain one by one, beside what the standard library offers for the same work, in one run.

    python benches/parts.py [--rounds 7] [--json FILE]

Cache beside dict and functools.lru_cache (and lru-dict and cachebox where they are installed), queue beside heapq
and asyncio.PriorityQueue, pool beside a deque of futures and asyncio.Queue, batch pipeline beside a loop over
asyncio.PriorityQueue, planner by itself. Contestants take turns; each figure is the best of the rounds, and each
contestant must give the right answer, or the bench fails.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import heapq
import importlib
import itertools
import random
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from measuring import Figure, Summary, against, arguments, at_most, publish, summary
from measuring import right as right_answers
from retain.batching import BatchProcessor, BatchQueue
from retain.cache import L1Cache
from retain.pool import ConnectionPool
from suite.plans import complex_query, planner_with_statistics, simple_query

ENTRIES = 10_000
QUEUED = 100_000
BORROWED = 20_000
HANDLED = 100_000
BATCH = 64
CONNECTIONS = 20
PLANNED = 2_000

Run = Callable[[], float]
"""Nanoseconds for each operation of one round."""


class Wrong(Exception):
    """A contestant gave a wrong answer."""


def check(condition: bool, what: str) -> None:
    """Fails the bench where a contestant is wrong."""
    if not condition:
        raise Wrong(what)


def best(contestants: Mapping[str, Run], rounds: int) -> dict[str, float]:
    """The least nanoseconds an operation of each, taken in turns."""
    found = {name: float("inf") for name in contestants}
    for turn in range(rounds):
        for name in list(contestants) if turn % 2 else list(reversed(contestants)):
            gc.collect()
            gc.disable()
            try:
                found[name] = min(found[name], contestants[name]())
            finally:
                gc.enable()
    return found


def per_operation(work: Callable[[], object], count: int) -> float:
    started = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - started) / count


def keys() -> list[str]:
    """Strings of 20 characters in the order of use."""
    rng = random.Random(3)
    made = [f"{number:08d}{rng.getrandbits(48):012x}" for number in range(ENTRIES)]
    return rng.sample(made, len(made))


def installed_caches() -> dict[str, Any]:
    """LRU caches of other packages, where this environment has them."""
    found = {}
    for module, name, label in (("lru", "LRU", "lru-dict"), ("cachebox", "LRUCache", "cachebox")):
        try:
            found[label] = getattr(importlib.import_module(module), name)(ENTRIES)
        except ImportError:
            continue
    return found


def cache_hits() -> dict[str, Run]:
    """Reading every key once; all are there."""
    names = keys()
    plain = {name: name for name in names}
    ours = L1Cache(ENTRIES)
    ours.set_many(plain)

    @functools.lru_cache(maxsize=ENTRIES)
    def known(name: str) -> str:
        return name

    def reading(get: Callable[[str], Any]) -> Run:
        for name in names:
            get(name)

        def run() -> float:
            started = time.perf_counter_ns()
            for name in names:
                get(name)
            elapsed = time.perf_counter_ns() - started
            check(all(get(name) == name for name in names[:100]), "cache hit")
            return elapsed / len(names)

        return run

    def many() -> float:
        started = time.perf_counter_ns()
        found = ours.get_many(names)
        elapsed = time.perf_counter_ns() - started
        check(len(found) == len(names), "get_many")
        return elapsed / len(names)

    found = {"retain": reading(ours.get), "retain get_many": many, "dict.get": reading(plain.get)}
    found["functools.lru_cache"] = reading(known)
    for label, cache in installed_caches().items():
        for name in names:
            cache[name] = name
        found[label] = reading(cache.get)
    return found


def cache_evictions() -> dict[str, Run]:
    """Storing new keys in a full cache: each drops the one least recently used."""
    fresh = itertools.count()

    @functools.lru_cache(maxsize=ENTRIES)
    def known(name: str) -> str:
        return name

    def storing(store: Callable[[str, str], object], size: Callable[[], int]) -> Run:
        def run() -> float:
            names = [f"{next(fresh):020d}" for _ in range(2 * ENTRIES)]
            for name in names[:ENTRIES]:
                store(name, name)
            started = time.perf_counter_ns()
            for name in names[ENTRIES:]:
                store(name, name)
            elapsed = time.perf_counter_ns() - started
            check(size() == ENTRIES, "eviction")
            return elapsed / ENTRIES

        return run

    ours = L1Cache(ENTRIES)
    found = {
        "retain": storing(ours.set, ours.__len__),
        "functools.lru_cache": storing(lambda name, _: known(name), lambda: known.cache_info().currsize),
    }
    for label, cache in installed_caches().items():
        found[label] = storing(cache.__setitem__, cache.__len__)
    return found


def queues() -> dict[str, Run]:
    """Random 64-bit priorities, first in first out among equals: all in, then all out."""
    rng = random.Random(5)
    priorities = [rng.getrandbits(63) for _ in range(QUEUED)]
    expected = sorted(range(QUEUED), key=priorities.__getitem__)

    def one_by_one() -> float:
        queue = BatchQueue()

        def work() -> list[int]:
            for item, priority in enumerate(priorities):
                queue.push(item, priority)
            return [queue.pop() for _ in range(QUEUED)]

        return _timed(work, expected)

    def in_bulk() -> float:
        queue = BatchQueue()

        def work() -> list[int]:
            queue.push_many(range(QUEUED), priorities)
            return queue.pop_batch(QUEUED)

        return _timed(work, expected)

    def heap() -> float:
        def work() -> list[int]:
            waiting: list[tuple[int, int]] = []
            for item, priority in enumerate(priorities):
                heapq.heappush(waiting, (priority, item))
            return [heapq.heappop(waiting)[1] for _ in range(QUEUED)]

        return _timed(work, expected)

    def priority_queue() -> float:
        async def work() -> list[int]:
            queue: asyncio.PriorityQueue[tuple[int, int]] = asyncio.PriorityQueue()
            for item, priority in enumerate(priorities):
                await queue.put((priority, item))
            return [(await queue.get())[1] for _ in range(QUEUED)]

        return _timed(lambda: asyncio.run(work()), expected)

    return {
        "retain": one_by_one, "retain in bulk": in_bulk, "heapq": heap,
        "asyncio.PriorityQueue": priority_queue,
    }  # fmt: skip


def _timed(work: Callable[[], Sequence[int]], expected: Sequence[int]) -> float:
    started = time.perf_counter_ns()
    found = work()
    elapsed = time.perf_counter_ns() - started
    check(list(found) == list(expected), "queue order")
    return elapsed / len(expected)


class Futures:
    """The floor of a fair pool: idle ones in a deque, and a line of futures."""

    def __init__(self, connections: Sequence[object]) -> None:
        self._idle = deque(connections)
        self._line: deque[asyncio.Future[object]] = deque()

    @asynccontextmanager
    async def acquire(self) -> Any:
        if self._idle:
            connection = self._idle.pop()
        else:
            waiter = asyncio.get_running_loop().create_future()
            self._line.append(waiter)
            connection = await waiter
        try:
            yield connection
        finally:
            if self._line:
                self._line.popleft().set_result(connection)
            else:
                self._idle.append(connection)


class Queued:
    """A pool as it is often written: connections in an asyncio.Queue."""

    def __init__(self, connections: Sequence[object]) -> None:
        self._queue: asyncio.Queue[object] = asyncio.Queue()
        for connection in connections:
            self._queue.put_nowait(connection)

    @asynccontextmanager
    async def acquire(self) -> Any:
        connection = await self._queue.get()
        try:
            yield connection
        finally:
            self._queue.put_nowait(connection)


def pools() -> dict[str, Run]:
    """A warm pool of 20, one borrower."""

    async def made() -> object:
        return object()

    async def ended(_: object) -> None:
        return None

    async def ours() -> ConnectionPool[object]:
        pool = ConnectionPool(made, destroy=ended, min_size=CONNECTIONS, max_size=CONNECTIONS)
        await pool.start()
        return pool

    async def futures() -> Futures:
        return Futures([object() for _ in range(CONNECTIONS)])

    async def queued() -> Queued:
        return Queued([object() for _ in range(CONNECTIONS)])

    def borrowing(make: Callable[[], Awaitable[Any]]) -> Run:
        async def work() -> float:
            pool = await make()
            seen = set()
            started = time.perf_counter_ns()
            for _ in range(BORROWED):
                async with pool.acquire() as connection:
                    seen.add(id(connection))
            elapsed = time.perf_counter_ns() - started
            check(1 <= len(seen) <= CONNECTIONS, "pool")
            return elapsed / BORROWED

        return lambda: asyncio.run(work())

    return {
        "retain": borrowing(ours), "deque of futures": borrowing(futures), "asyncio.Queue": borrowing(queued),
    }  # fmt: skip


def pipelines() -> dict[str, Run]:
    """Items through a handler that does nothing, in batches, with retries on; every result is awaited."""

    async def same(batch: Sequence[int]) -> Sequence[int]:
        return batch

    async def ours() -> list[int]:
        processor = BatchProcessor(same, batch_size=BATCH)
        futures = processor.submit_many(range(HANDLED))
        await processor.drain()
        return [future.result() for future in futures]

    async def by_priority_queue() -> list[int]:
        queue: asyncio.PriorityQueue[tuple[int, int, asyncio.Future[int]]] = asyncio.PriorityQueue()
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in range(HANDLED)]
        for item, future in enumerate(futures):
            queue.put_nowait((0, item, future))
        while not queue.empty():
            batch = [queue.get_nowait() for _ in range(min(BATCH, queue.qsize()))]
            for attempt in range(5):
                try:
                    results = await same([item for _, item, _ in batch])
                except Exception:
                    if attempt == 4:
                        raise
                    continue
                for (_, _, future), result in zip(batch, results, strict=True):
                    future.set_result(result)
                break
        return [future.result() for future in futures]

    expected = range(HANDLED)
    return {
        "retain": lambda: _timed(lambda: asyncio.run(ours()), expected),
        "loop over asyncio.PriorityQueue": lambda: _timed(lambda: asyncio.run(by_priority_queue()), expected),
    }


def plans() -> dict[str, Summary]:
    """Microseconds of planning one query."""
    planner = planner_with_statistics()
    found = {}
    for name, query in (("simple", simple_query()), ("complex", complex_query())):
        times = []
        for _ in range(PLANNED):
            started = time.perf_counter_ns()
            plan = planner.create_plan(query)
            times.append((time.perf_counter_ns() - started) / 1000)
        check(0 <= plan.rows[0] <= plan.rows[1] <= plan.rows[2], "plan")
        found[name] = summary(times)
    return found


GROUPS: tuple[tuple[str, Callable[[], dict[str, Run]]], ...] = (
    ("L1 get hit, 10k entries", cache_hits),
    ("L1 set with eviction", cache_evictions),
    ("queue push and pop, 100k", queues),
    ("pool acquire and release, warm", pools),
    ("batch pipeline, no-op handler", pipelines),
)

PLAN_P95_US = {"simple": 10.0, "complex": 100.0}


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    figures: list[Figure] = []
    details: dict[str, Any] = {}
    for name, group in GROUPS:
        found = best(group(), given.rounds)
        details[name] = found
        for contestant, ns in found.items():
            if contestant.startswith("retain"):
                label = f"{name}{contestant.removeprefix('retain')}"
                for peer, floor in found.items():
                    if not peer.startswith("retain"):
                        figures.append(against(label, ns, "ns", peer, floor))
    planned = plans()
    details["plan us"] = planned
    for name, times in planned.items():
        figures.append(at_most(f"planning, {name}, p95", times.p95, "us", PLAN_P95_US[name]))
    figures.append(right_answers("parts", len(GROUPS) + 1, len(GROUPS) + 1))
    return publish(figures, details, given.json)


if __name__ == "__main__":
    sys.exit(main())
