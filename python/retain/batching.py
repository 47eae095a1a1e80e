"""BatchProcessor: collects items by priority, hands them on in batches, retries, sets poison aside.

The queue is the Rust ``BatchQueue``: lowest priority value first, first in first out among equals. A batch
that fails for a reason that may pass is tried again in place, so the order of its items is kept; one that
fails otherwise is taken apart, so that a bad item never takes its neighbours with it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from retain._core import BatchQueue
from retain.errors import InvalidInput, RetainError

__all__ = ["BatchProcessor", "BatchQueue", "BatchStats", "DeadLetter"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStats:
    """Counters since the processor was made."""

    waiting: int
    done: int
    batches: int
    retries: int
    dead: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter(Generic[T]):
    """An item that was given up, why, and after how many tries."""

    item: T
    error: Exception
    attempts: int


class _Item(Generic[T, R]):
    __slots__ = ("future", "lane", "value")

    def __init__(self, value: T, future: asyncio.Future[R], lane: str) -> None:
        self.value = value
        self.future = future
        self.lane = lane


def is_retryable(error: Exception) -> bool:
    """Whether a failure may pass by itself: what retain's own errors say, and time-outs."""
    return error.retryable if isinstance(error, RetainError) else isinstance(error, TimeoutError)


class BatchProcessor(Generic[T, R]):
    """Hands items to an async handler in batches.

    Args:
        handler: gets a batch and returns one result for each item, in order.
        batch_size: most items of a batch.
        batch_sizes: most items of a batch of one lane, where it differs.
        capacity: most waiting items; ``submit`` beyond it raises QueueFull. None: unbounded.
        max_attempts: tries of a batch that fails for a retryable reason, the first one included.
        backoff_ms: wait before the second try; doubled for each further one, with full jitter.
        backoff_max_ms: longest wait between two tries.
        retryable: says whether an error may pass by itself.
        on_dead: called with each item that is given up; its future gets the error as well.
        random: source of jitter in 0..1.

    Raises:
        InvalidInput: a size or a number of attempts below 1.
    """

    def __init__(
        self,
        handler: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        batch_size: int = 64,
        batch_sizes: Mapping[str, int] | None = None,
        capacity: int | None = None,
        max_attempts: int = 5,
        backoff_ms: float = 50.0,
        backoff_max_ms: float = 5_000.0,
        retryable: Callable[[Exception], bool] = is_retryable,
        on_dead: Callable[[DeadLetter[T]], None] | None = None,
        random: Callable[[], float] = random.random,
    ) -> None:
        sizes = dict(batch_sizes or {})
        for name, value in {"batch_size": batch_size, "max_attempts": max_attempts, **sizes}.items():
            if value < 1:
                raise InvalidInput(name, "must be at least 1", limit=1)
        self._handler = handler
        self._batch_size = batch_size
        self._batch_sizes = sizes
        self._max_attempts = max_attempts
        self._backoff_ms = backoff_ms
        self._backoff_max_ms = backoff_max_ms
        self._retryable = retryable
        self._on_dead = on_dead
        self._random = random
        self._queue = BatchQueue(capacity)
        self._worker: asyncio.Task[None] | None = None
        self._done = self._batches = self._retries = self._dead = 0

    def submit(self, item: T, *, priority: int = 0, lane: str = "") -> asyncio.Future[R]:
        """Queues an item; the future gives its result, or the error it was given up for.

        Raises:
            QueueFull: the queue is at its capacity.
        """
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._queue.push(_Item(item, future, lane), priority, lane)
        self._start()
        return future

    def submit_many(
        self, items: Iterable[T], *, priority: int = 0, lane: str = ""
    ) -> list[asyncio.Future[R]]:
        """Queues many items of one priority, all or none of them.

        Raises:
            QueueFull: not all of them fit.
        """
        loop = asyncio.get_running_loop()
        waiting: list[_Item[T, R]] = [_Item(item, loop.create_future(), lane) for item in items]
        self._queue.push_many(waiting, [priority] * len(waiting), lane)
        self._start()
        return [item.future for item in waiting]

    async def drain(self) -> None:
        """Waits until everything queued was handled or given up."""
        while self._worker is not None:
            await asyncio.wait([self._worker])

    def set_batch_size(self, batch_size: int) -> None:
        """Sets the most items of the batches to come, except of lanes that have a size of their own.

        Raises:
            InvalidInput: below 1.
        """
        if batch_size < 1:
            raise InvalidInput("batch_size", "must be at least 1", limit=1)
        self._batch_size = batch_size

    def stats(self) -> BatchStats:
        """A snapshot of the counters."""
        return BatchStats(
            waiting=len(self._queue),
            done=self._done,
            batches=self._batches,
            retries=self._retries,
            dead=self._dead,
        )

    def _start(self) -> None:
        if self._worker is None and len(self._queue):
            self._worker = asyncio.create_task(self._work(), name="retain-batches")
            self._worker.add_done_callback(self._stopped)

    def _stopped(self, worker: asyncio.Task[None]) -> None:
        self._worker = None
        if worker.cancelled():
            for item in self._queue.pop_batch(len(self._queue)):
                item.future.cancel()
        else:
            self._start()

    async def _work(self) -> None:
        while len(self._queue):
            batch = self._next_batch()
            try:
                await self._handle(batch)
            except asyncio.CancelledError:
                for item in batch:
                    item.future.cancel()
                worker = asyncio.current_task()
                if worker is None or worker.cancelling():
                    raise  # else the handler cancelled itself: only its batch is lost

    def _next_batch(self) -> list[_Item[T, R]]:
        """The first item of all lanes and those behind it in its lane, without those nobody waits for any more."""
        first = self._queue.pop()
        most = self._batch_sizes.get(first.lane, self._batch_size)
        batch = [first, *self._queue.pop_batch(most - 1, first.lane)]
        return [item for item in batch if not item.future.cancelled()]

    async def _handle(self, batch: Sequence[_Item[T, R]]) -> None:
        attempt = 1
        while batch:
            try:
                results = await self._handler([item.value for item in batch])
                if len(results) != len(batch):
                    raise ValueError(f"the handler gave {len(results)} results for {len(batch)} items")
            except Exception as error:  # noqa: BLE001 - the outermost frame of the worker; futures carry it on
                if self._retryable(error) and attempt < self._max_attempts:
                    self._retries += 1
                    await asyncio.sleep(self._wait_s(attempt))
                    attempt += 1
                    continue
                await self._give_up(batch, error, attempt)
                return
            self._batches += 1
            self._done += len(batch)
            for item, result in zip(batch, results, strict=True):
                if not item.future.done():
                    item.future.set_result(result)
            return

    def _wait_s(self, attempt: int) -> float:
        return min(self._backoff_max_ms, self._backoff_ms * 2.0 ** (attempt - 1)) * self._random() / 1000

    async def _give_up(self, batch: Sequence[_Item[T, R]], error: Exception, attempts: int) -> None:
        if len(batch) > 1 and not self._retryable(error):
            for item in batch:
                await self._handle([item])
            return
        for item in batch:
            self._dead += 1
            if not item.future.done():
                item.future.set_exception(error)
            if self._on_dead is not None:
                self._tell(DeadLetter(item=item.value, error=error, attempts=attempts), self._on_dead)

    @staticmethod
    def _tell(letter: DeadLetter[T], on_dead: Callable[[DeadLetter[T]], None]) -> None:
        try:
            on_dead(letter)
        except Exception:
            logger.exception("batch.on_dead_failed")
