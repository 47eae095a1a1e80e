"""The batch queue and the processor: throughput, order, failures, bounds."""

import asyncio
import heapq
import random

import pytest

from retain.batching import BatchProcessor, BatchQueue
from retain.errors import QueueFull

pytestmark = pytest.mark.benchmark(group="batching")

ITEMS = 5_000


async def doubled(batch):
    return [2 * item for item in batch]


def through(runner, handler, items, **options):
    """The results of items in their order, and the counters."""

    async def run():
        processor = BatchProcessor(handler, **{"backoff_ms": 0.0, **options})
        futures = processor.submit_many(items)
        await processor.drain()
        return [future.exception() or future.result() for future in futures], processor.stats()

    return runner.run(run())


@pytest.mark.parametrize("size", [1, 16, 256])
def test_every_item_gets_its_own_result_at_any_batch_size(measured, runner, size):
    results, stats = measured(lambda: through(runner, doubled, range(ITEMS), batch_size=size))
    assert results == [2 * item for item in range(ITEMS)]
    assert stats.batches == -(-ITEMS // size)
    assert stats.waiting == 0


def test_the_queue_keeps_up_with_a_heap_of_the_standard_library(measured, best_ns):
    rng = random.Random(5)
    priorities = [rng.getrandbits(63) for _ in range(ITEMS)]

    def ours():
        queue = BatchQueue()
        queue.push_many(range(ITEMS), priorities)
        return queue.pop_batch(ITEMS)

    def heap():
        waiting = []
        for item, priority in enumerate(priorities):
            heapq.heappush(waiting, (priority, item))
        return [heapq.heappop(waiting)[1] for _ in range(ITEMS)]

    assert measured(ours) == heap()
    assert best_ns(ours) <= 3 * best_ns(heap)


def test_equal_priorities_leave_first_in_first_out(measured):
    def turned():
        queue = BatchQueue()
        for item in range(ITEMS):
            queue.push(item, item % 3)
        return [queue.pop() for _ in range(ITEMS)]

    assert measured(turned) == sorted(range(ITEMS), key=lambda item: item % 3)


def test_what_is_urgent_is_handled_first_under_load(measured, runner):
    async def run():
        seen = []

        async def note(batch):
            seen.extend(batch)
            return batch

        processor = BatchProcessor(note, batch_size=50)
        processor.submit_many(range(ITEMS), priority=5)
        processor.submit_many(range(-100, 0), priority=1)
        await processor.drain()
        return seen

    seen = measured(lambda: runner.run(run()))
    assert seen == list(range(-100, ITEMS))


def test_lanes_keep_kinds_of_work_apart(measured, runner):
    async def run():
        batches = []

        async def note(batch):
            batches.append({item % 2 for item in batch})
            return batch

        processor = BatchProcessor(note, batch_size=64)
        for item in range(1_000):
            processor.submit(item, lane="odd" if item % 2 else "even")
        await processor.drain()
        return batches

    assert all(len(kinds) == 1 for kinds in measured(lambda: runner.run(run())))


def test_a_queue_at_its_capacity_refuses_and_goes_on_after_room_was_made(measured):
    def full():
        queue = BatchQueue(ITEMS)
        queue.push_many(range(ITEMS))
        with pytest.raises(QueueFull):
            queue.push("more")
        first = queue.pop()
        queue.push("more")
        return first, len(queue), queue.stats()["refused"]

    assert measured(full) == (0, ITEMS, 1)


def test_a_failure_that_passes_costs_tries_and_loses_nothing(measured, runner):
    def run():
        calls = iter(range(10**6))

        async def shaky(batch):
            if next(calls) % 3 == 0:
                raise TimeoutError
            return batch

        return through(runner, shaky, range(ITEMS), batch_size=100)

    results, stats = measured(run)
    assert results == list(range(ITEMS))
    assert stats.retries == 25  # a call fails, two pass: one retry for every two of the fifty batches
    assert stats.dead == 0


def test_a_poison_item_takes_none_of_its_neighbours_with_it(measured, runner):
    async def choosy(batch):
        if any(item % 500 == 7 for item in batch):
            raise ValueError("poison")
        return batch

    results, stats = measured(lambda: through(runner, choosy, range(ITEMS), batch_size=50))
    assert [item for item, result in enumerate(results) if isinstance(result, ValueError)] == list(
        range(7, ITEMS, 500)
    )
    assert (stats.done, stats.dead) == (ITEMS - 10, 10)


def test_fifty_tasks_that_add_at_once_all_get_their_answers(measured, runner):
    async def run():
        processor = BatchProcessor(doubled, batch_size=64)

        async def add(task):
            return [await processor.submit(100 * task + number) for number in range(20)]

        return await asyncio.gather(*map(add, range(50)))

    expected = [[2 * (100 * task + number) for number in range(20)] for task in range(50)]
    assert measured(lambda: runner.run(run())) == expected
