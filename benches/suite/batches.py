"""The batch queue and the processor on top of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from retain.batching import BatchProcessor, BatchQueue


class Queue:
    """Random 64-bit priorities."""

    params = (1_000, 100_000)
    param_names = ("items",)

    def setup(self, items: int) -> None:
        rng = random.Random(5)
        self.priorities = [rng.getrandbits(63) for _ in range(items)]

    def time_push_pop(self, items: int) -> None:
        queue = BatchQueue()
        for item, priority in enumerate(self.priorities):
            queue.push(item, priority)
        for _ in range(items):
            queue.pop()

    def time_push_pop_in_bulk(self, items: int) -> None:
        queue = BatchQueue()
        queue.push_many(range(items), self.priorities)
        queue.pop_batch(items)

    def time_lanes(self, items: int) -> None:
        queue = BatchQueue()
        for item, priority in enumerate(self.priorities):
            queue.push(item, priority, f"lane{item % 4}")
        for lane in list(queue.lanes()):
            queue.pop_batch(items, lane)

    def peakmem_full(self, items: int) -> BatchQueue:
        queue = BatchQueue()
        queue.push_many(range(items), self.priorities)
        return queue


class Pipeline:
    """Items through a handler that does nothing, retries on."""

    params = ((1_000, 50_000), (1, 64))
    param_names = ("items", "batch")

    def time_no_op(self, items: int, batch: int) -> None:
        asyncio.run(_through(items, batch))

    def track_batches(self, items: int, batch: int) -> int:
        """How many calls of the handler; fewer is better, and items / batch is the least."""
        return asyncio.run(_through(items, batch))

    track_batches.unit = "batches"  # type: ignore[attr-defined]


async def _through(items: int, batch: int) -> int:
    async def same(values: Sequence[int]) -> Sequence[int]:
        return values

    processor = BatchProcessor(same, batch_size=batch)
    futures = processor.submit_many(range(items))
    await processor.drain()
    if [future.result() for future in futures] != list(range(items)):
        raise AssertionError("results out of order")
    return processor.stats().batches
