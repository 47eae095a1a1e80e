"""The batch processor and its queue: behaviour asserted, times reported by pytest-benchmark.

The handler writes to a real store where the case is about handling; where it is about the queue's own cost
it does nothing. Where a cost has a limit, it is a ratio to a baseline of the same run,
both in CPU time.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import random
import threading
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from retain.batching import BatchProcessor, BatchQueue
from retain.config import Settings
from retain.errors import QueueFull, StoreBusy
from retain.model import Draft, new_id
from retain.storage.sqlite import SqliteStore
from retain.storage.writes import NewMemory, add_memory, add_workspace

pytestmark = pytest.mark.benchmark(group="batch processor")

ITEMS = 20_000

Keep = Callable[[Sequence[Any]], Awaitable[list[bool]]]


@pytest.fixture
def keep(home: Path, run: Any) -> Iterator[Keep]:
    """A handler that stores each item as a memory, one transaction a batch."""
    store = run(SqliteStore.open(Settings(home=home)))
    key = run(
        store.write(
            lambda db: add_workspace(
                db, workspace_id=new_id(), identity="bench", name="bench", root="/", alias="/", now_us=1
            )
        )
    )

    def one(item: object) -> NewMemory:
        return NewMemory(id=new_id(), workspace=key, draft=Draft(text=f"item {item} {new_id()}"), now_us=1)

    async def handle(items: Sequence[Any]) -> list[bool]:
        return await store.write(lambda db: [add_memory(db, one(item)).created for item in items])

    yield handle
    run(store.close())


async def echo(items: Sequence[Any]) -> Sequence[Any]:
    return items


def cpu_s(run: Any, work: Callable[[], Any]) -> float:
    start = time.process_time()
    run(work())
    return time.process_time() - start


def test_throughput_into_a_store_is_that_of_whole_batches(
    measured: Any, run: Any, keep: Keep, best_ns: Any
) -> None:
    """Beside the same items stored one by one, each with a commit of its own."""

    async def load() -> list[bool]:
        return await BatchProcessor(keep, batch_size=64).submit_many(range(256))

    async def one_by_one() -> list[list[bool]]:
        return [await keep([number]) for number in range(64)]

    assert measured.rounds(lambda: run(load())) == [True] * 256
    ours = best_ns(lambda: run(load()), rounds=3) / 256
    assert ours < best_ns(lambda: run(one_by_one()), rounds=3) / 64


@pytest.mark.parametrize("size", [1, 16, 256])
def test_throughput_over_batch_sizes_follows_the_number_of_batches(
    measured: Any, run: Any, keep: Keep, size: int
) -> None:
    work: BatchProcessor[int, bool] = BatchProcessor(keep, batch_size=size)

    async def load() -> list[bool]:
        return await work.submit_many(range(64))

    assert measured.rounds(lambda: run(load())) == [True] * 64
    assert work.stats().batches % -(-64 // size) == 0


def test_a_high_volume_is_answered_in_the_order_of_its_items(measured: Any, run: Any) -> None:
    rng = random.Random(1)
    priorities = [rng.randrange(-(2**63), 2**63) for _ in range(10 * ITEMS)]

    async def load() -> list[int]:
        return await BatchProcessor[int, int](echo).submit_many(range(10 * ITEMS), priority=priorities)

    assert measured.rounds(lambda: run(load())) == list(range(10 * ITEMS))


def test_the_cost_of_an_item_does_not_grow_with_their_number(measured: Any, run: Any) -> None:
    async def load(count: int) -> None:
        await BatchProcessor[int, int](echo).submit_many(range(count))

    measured.rounds(lambda: run(load(ITEMS)))
    pairs = [(cpu_s(run, lambda: load(ITEMS)), cpu_s(run, lambda: load(10 * ITEMS))) for _ in range(7)]
    assert min(large for _, large in pairs) < 30 * min(small for small, _ in pairs)


def test_queue_overhead_is_below_that_of_heapq(measured: Any, run: Any) -> None:
    rng = random.Random(2)
    entries = [(rng.randrange(2**62), number) for number in range(ITEMS)]
    priorities = [priority for priority, _ in entries]

    async def ours() -> None:
        queue = BatchQueue()
        queue.push_many(entries, priorities)
        for _ in range(0, ITEMS, 64):
            queue.pop_batch(64)

    async def theirs() -> None:
        heap: list[tuple[int, int]] = []
        for entry in entries:
            heapq.heappush(heap, entry)
        for _ in range(ITEMS):
            heapq.heappop(heap)

    measured.rounds(lambda: run(ours()))
    pairs = [(cpu_s(run, ours), cpu_s(run, theirs)) for _ in range(7)]
    assert min(mine for mine, _ in pairs) < min(other for _, other in pairs)


@pytest.mark.parametrize("rule", ["refuse", "shed_lowest", "shed_oldest"])
def test_a_queue_at_its_capacity_keeps_its_rule(measured: Any, run: Any, rule: Any) -> None:
    async def load() -> tuple[int, int]:
        work: BatchProcessor[int, int] = BatchProcessor(echo, capacity=1000, when_full=rule)
        refused = 0
        futures = []
        for number in range(3000):
            try:
                futures.append(work.submit(number, priority=number % 97))
            except QueueFull:
                refused += 1
        answers = await asyncio.gather(*futures, return_exceptions=True)
        refused += sum(isinstance(answer, QueueFull) for answer in answers)
        return refused, work.stats().done

    assert measured.rounds(lambda: run(load())) == (2000, 1000)


def test_a_queue_near_its_capacity_makes_the_producer_wait(measured: Any, run: Any) -> None:
    async def load() -> list[int]:
        work: BatchProcessor[int, int] = BatchProcessor(echo, capacity=100, when_full="wait")
        groups = [await work.put_many(range(start, start + 50)) for start in range(0, 5000, 50)]
        assert work.stats().waiting <= 100
        return [answer for group in groups for answer in await group]

    assert measured.rounds(lambda: run(load())) == list(range(5000))


def test_mixed_item_types_go_through_unchanged(measured: Any, run: Any) -> None:
    mixed: list[Any] = [1, "two", b"three", None, {"four": 4}, [5], (6,), ValueError("seven"), echo]

    async def load() -> tuple[list[Any], ...]:
        work: BatchProcessor[Any, Any] = BatchProcessor(echo)
        groups = [work.submit_many(mixed * 20, lane=lane) for lane in ("a", "b", "c")]
        return tuple([await group for group in groups])

    assert measured(lambda: run(load())) == (mixed * 20,) * 3


@pytest.mark.parametrize("waiting", [100, ITEMS], ids=["alone", "under_load"])
def test_the_urgent_goes_first(measured: Any, run: Any, waiting: int) -> None:
    async def load() -> list[int]:
        order: list[int] = []

        async def note(items: Sequence[int]) -> Sequence[int]:
            order.extend(items)
            return items

        work: BatchProcessor[int, int] = BatchProcessor(note)
        work.submit_many(range(waiting), priority=5)
        work.submit_many([-1, -2], priority=-5)
        await work.drain()
        return order[:3]

    assert measured.rounds(lambda: run(load())) == [-1, -2, 0]


@pytest.mark.parametrize("ordered", [True, False], ids=["in_place", "aside"])
def test_every_item_is_stored_while_recovering_from_errors(
    measured: Any, run: Any, keep: Keep, ordered: bool
) -> None:
    async def load() -> int:
        calls = 0

        async def busy_every_third_time(items: Sequence[int]) -> list[bool]:
            nonlocal calls
            calls += 1
            if calls % 3 == 0:
                raise StoreBusy("busy")
            return await keep(items)

        work: BatchProcessor[int, bool] = BatchProcessor(
            busy_every_third_time, batch_size=16, ordered=ordered, backoff_ms=0.01
        )
        assert await work.submit_many(range(160)) == [True] * 160
        return work.stats().retries

    assert measured.rounds(lambda: run(load())) == 4


def test_retry_overhead_is_paid_only_by_what_fails(measured: Any, run: Any) -> None:
    async def load(max_attempts: int) -> None:
        await BatchProcessor[int, int](echo, max_attempts=max_attempts).submit_many(range(ITEMS))

    measured.rounds(lambda: run(load(5)))
    pairs = [(cpu_s(run, lambda: load(5)), cpu_s(run, lambda: load(1))) for _ in range(9)]
    assert min(tried for tried, _ in pairs) < 1.5 * min(once for _, once in pairs)


def test_failures_are_isolated_to_the_item_that_fails(measured: Any, run: Any, keep: Keep) -> None:
    async def load() -> tuple[int, int]:
        async def poisoned(items: Sequence[int]) -> list[bool]:
            if 77 in items:
                raise ValueError("poison")
            return await keep(items)

        work: BatchProcessor[int, bool] = BatchProcessor(poisoned, batch_size=32)
        outcomes = await work.submit_many(range(128)).outcomes()
        return outcomes.count(True), len(work.dead_letters())

    assert measured.rounds(lambda: run(load())) == (127, 1)


def test_a_large_queue_holds_few_bytes_an_item(measured: Any, run: Any) -> None:
    """What Python holds for each waiting item of a group, beside the item itself (Rust holds 24 more)."""

    async def load() -> float:
        items = list(range(ITEMS))
        work: BatchProcessor[int, int] = BatchProcessor(echo)
        gc.collect()
        tracemalloc.start()
        group = work.submit_many(items)
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await group
        return used / ITEMS

    bytes_each = measured.rounds(lambda: run(load()), rounds=1)
    measured.note["bytes_per_item"] = bytes_each
    assert bytes_each < 16


def test_pressure_makes_batches_smaller_at_once(measured: Any, run: Any) -> None:
    async def load() -> list[int]:
        sizes: list[int] = []

        async def note(items: Sequence[int]) -> Sequence[int]:
            sizes.append(len(items))
            if len(sizes) == 2:
                work.resize(8)
            return items

        work: BatchProcessor[int, int] = BatchProcessor(note, batch_size=64)
        await work.submit_many(range(160))
        return sizes

    assert measured(lambda: run(load())) == [64, 64, 8, 8, 8, 8]


def test_concurrent_adds_are_all_answered(measured: Any, run: Any) -> None:
    async def load() -> int:
        work: BatchProcessor[int, int] = BatchProcessor(echo, concurrency=4, ordered=False)

        async def add(start: int) -> int:
            total = 0
            for number in range(start, start + 20):
                total += await work.submit(number)
            return total

        return sum(await asyncio.gather(*(add(start) for start in range(0, 2000, 20))))

    assert measured.rounds(lambda: run(load())) == sum(range(2000))


def test_the_queue_is_thread_safe(measured: Any) -> None:
    def together() -> list[int]:
        queue = BatchQueue()
        popped: list[list[int]] = [[] for _ in range(4)]
        everyone_in = threading.Barrier(8)

        def push(start: int) -> None:
            everyone_in.wait()
            for number in range(start, ITEMS, 4):
                queue.push(number, number)

        def pop(mine: list[int]) -> None:
            everyone_in.wait()
            while len(mine) < ITEMS // 4:
                mine += queue.pop_batch(min(16, ITEMS // 4 - len(mine)))

        threads = [threading.Thread(target=push, args=(start,)) for start in range(4)]
        threads += [threading.Thread(target=pop, args=(mine,)) for mine in popped]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(queue) == 0
        return sorted(number for mine in popped for number in mine)

    assert measured.rounds(together) == list(range(ITEMS))
