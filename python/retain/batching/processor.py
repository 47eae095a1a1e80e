"""The processor: takes items in, forms batches, calls the handler, and decides what follows a failure."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar, get_args

from retain._core import BatchQueue
from retain.batching.batch import Batch
from retain.batching.groups import Group, Owners
from retain.batching.keyed import KeyedQueue
from retain.batching.records import BatchStats, DeadLetter, Progress, WhenFull, is_retryable
from retain.batching.room import Room
from retain.batching.sizes import Sizes
from retain.errors import InvalidInput, QueueFull

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

BATCHES_PER_TURN = 16
"""After so many batches of a handler that never waits, a worker lets the rest of the loop run."""


class BatchProcessor(Generic[T, R]):
    """Hands items to an async handler in batches. All calls are made on one event loop.

    Args:
        handler: gets a batch and returns one result for each item, in order.
        batch_size: most items of a batch; with ``target_ms`` what a lane begins with.
        batch_sizes: the same for one lane, where it differs.
        target_ms: let sizes follow the handler's latency, so that a call takes about this long; None: fixed.
        batch_size_max: no size grows beyond it.
        key: gives an item's priority, a 64-bit int, the lowest first; asked once for each item.
        sort_key: gives any comparable key instead, such as a tuple or ``functools.cmp_to_key(compare)``;
            asked once, and decides among items of equal ``priority``. The queue is then a Python heap: 10
            to 30 times the cost an item, more where the comparison itself is Python.
        capacity: most waiting items; None: unbounded. Batches in the handler's hands, which come back for
            another try, can go beyond it.
        when_full: "refuse": submitting raises QueueFull. "wait": so it does, but ``put`` and ``put_many`` wait
            for room, first come, first served. "shed_lowest": those with the highest priority value, of
            these the latest, make room, maybe the newcomers. "shed_oldest": those that came first do.
            What is shed gets QueueFull as its answer.
        linger_ms: how long a batch that is not full waits for company, counted from the first item that
            finds nothing waiting.
        concurrency: most batches with the handler at one time.
        ordered: one batch of a lane at a time, tried again in its place, so the order within a lane holds
            (it may block its lane for the whole backoff). False: batches of a lane may overtake each other, and
            one that failed waits aside.
        max_attempts: tries of a batch that fails for a retryable reason, the first one included.
        backoff_ms: wait before the second try; doubled for each further one, with full jitter.
        backoff_max_ms: longest wait between two tries.
        retryable: says whether an error may pass by itself.
        on_dead: called with each item that is given up; whoever waits for it gets the error as well.
        dead_max: most dead letters kept; the oldest go first.
        on_progress: called after each batch, retry, death and shedding.
        random: source of jitter in 0..1.
        clock: seconds, for latencies and delays.

    Raises:
        InvalidInput: a size or a number below its limit, an unknown rule, or both ``key`` and ``sort_key``.
    """

    def __init__(
        self,
        handler: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        batch_size: int = 64,
        batch_sizes: Mapping[str, int] | None = None,
        target_ms: float | None = None,
        batch_size_max: int = 4096,
        key: Callable[[T], int] | None = None,
        sort_key: Callable[[T], Any] | None = None,
        capacity: int | None = None,
        when_full: WhenFull = "refuse",
        linger_ms: float = 0.0,
        concurrency: int = 1,
        ordered: bool = True,
        max_attempts: int = 5,
        backoff_ms: float = 50.0,
        backoff_max_ms: float = 5_000.0,
        retryable: Callable[[Exception], bool] = is_retryable,
        on_dead: Callable[[DeadLetter[T]], None] | None = None,
        dead_max: int = 1_000,
        on_progress: Callable[[Progress], None] | None = None,
        random: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        _check(
            max_attempts=max_attempts, concurrency=concurrency, capacity=1 if capacity is None else capacity
        )
        if when_full not in get_args(WhenFull):
            raise InvalidInput("when_full", f"must be one of {', '.join(get_args(WhenFull))}")
        if key is not None and sort_key is not None:
            raise InvalidInput("sort_key", "cannot be given beside key")
        self._handler = handler
        self._sizes = Sizes(batch_size, batch_sizes or {}, target_ms, batch_size_max)
        self._key, self._sort_key = key, sort_key
        self._room = Room(capacity, when_full, self._waiting)
        self._sheds_oldest = when_full == "shed_oldest"
        self._linger_s = linger_ms / 1000
        self._concurrency, self._ordered = concurrency, ordered
        self._max_attempts = max_attempts
        self._backoff_ms, self._backoff_max_ms = backoff_ms, backoff_max_ms
        self._retryable = retryable
        self._on_dead, self._on_progress = on_dead, on_progress
        self._letters: deque[DeadLetter[T]] = deque(maxlen=dead_max)
        self._random, self._clock = random, clock
        self._queue: BatchQueue | KeyedQueue = BatchQueue() if sort_key is None else KeyedQueue()
        self._later = BatchQueue()  # batches that wait for another try, each as one delayed item
        self._owners = Owners()
        self._workers: set[asyncio.Task[None]] = set()
        self._busy: set[str] = set()
        self._quiet: asyncio.Future[None] | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._ripe = linger_ms <= 0
        self._hurried = 0
        self._retrying = self._running = 0
        self._done = self._batches = self._retries = self._dead = 0
        self._shed = self._cancelled = 0

    # Taking items in

    def submit(self, item: T, *, priority: int | None = None, lane: str = "") -> asyncio.Future[R]:
        """Queues an item; the future gives its result, or the error it was given up for.

        Cancelling the future before the item is handled takes it out.

        Args:
            item: anything.
            priority: the lowest goes first; None for what ``key`` says, else 0.
            lane: a kind of work; lanes are never mixed in a batch.

        Raises:
            QueueFull: there is no room, and the rule is to refuse or to wait.
            QueueClosed: the processor is closed.
        """
        self._room.check(1)
        number = self._push([item], priority, lane)
        future: asyncio.Future[R] = self._owners.future(number)
        self._pushed()
        return future

    def submit_many(
        self, items: Iterable[T], *, priority: int | Sequence[int] | None = None, lane: str = ""
    ) -> Group[R]:
        """Queues many items, all or none of them: a tenth of the cost of as many calls of ``submit``.

        Args:
            items: anything.
            priority: of all, or of each; None for what ``key`` says, else 0.
            lane: a kind of work.

        Returns:
            One awaitable for all results; also a sequence of futures, each made when asked for.

        Raises:
            QueueFull: not all of them fit, and the rule is to refuse or to wait.
            QueueClosed: the processor is closed.
            ValueError: there are not as many priorities as items.
        """
        values = items if isinstance(items, list) else list(items)
        self._room.check(len(values))
        return self._enter(values, priority, lane)

    async def put(self, item: T, *, priority: int | None = None, lane: str = "") -> asyncio.Future[R]:
        """As ``submit``; where the rule is to wait, it waits for room."""
        await self._room.wait(1)
        return self.submit(item, priority=priority, lane=lane)

    async def put_many(
        self, items: Iterable[T], *, priority: int | Sequence[int] | None = None, lane: str = ""
    ) -> Group[R]:
        """As ``submit_many``; where the rule is to wait, it waits for room for all.

        Raises:
            QueueFull: there can never be room for so many.
        """
        values = list(items)
        await self._room.wait(len(values))
        return self._enter(values, priority, lane)

    def _enter(self, values: list[T], priority: int | Sequence[int] | None, lane: str) -> Group[R]:
        number = self._push(values, priority, lane) if values else 0
        group: Group[R] = self._owners.group(number, len(values))
        self._pushed()
        return group

    def _push(self, values: list[T], priority: int | Sequence[int] | None, lane: str) -> int:
        priorities: Sequence[int] | None
        if priority is None:
            priorities = None if self._key is None else list(map(self._key, values))
        elif isinstance(priority, int):
            priorities = [priority] * len(values) if priority else None
        else:
            priorities = priority
        if self._sort_key is not None:
            keys = map(self._sort_key, values)
            pairs: Sequence[Any] = list(zip(priorities or [0] * len(values), keys, strict=True))
            return self._queue.push_many(values, pairs, lane)
        return self._queue.push_many(values, priorities, lane)

    def _pushed(self) -> None:
        if self._room.sheds and (over := self._room.over()) > 0:
            self._make_room(over)
        self._start()

    def _make_room(self, count: int) -> None:
        values, numbers = self._queue.shed(count, self._sheds_oldest)
        self._shed += len(values)
        self._owners.fail(numbers, QueueFull("shed to make room for others"))
        self._tell("shed", "", len(values), 0)
        self._settle_quiet()

    def _waiting(self) -> int:
        return len(self._queue) + self._retrying

    # Workers

    def _start(self) -> None:
        """Starts a worker if there is work for one; each worker that finds more starts the next."""
        if len(self._workers) >= self._concurrency:
            return
        if self._ripe_lane() is None and not self._is_due():
            self._set_timers()
            return
        worker = asyncio.create_task(self._work(), name="retain-batches")
        self._workers.add(worker)
        worker.add_done_callback(self._stopped)

    def _stopped(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if worker.cancelled():
            self._drop_all()
        else:
            self._start()
        self._settle_quiet()

    async def _work(self) -> None:
        turns = 0
        while (batch := self._next_batch()) is not None:
            if self._concurrency > 1:
                self._start()
            size = len(batch.values)
            self._running += size
            try:
                await self._handle(batch)
            except asyncio.CancelledError:
                self._cancelled += self._owners.fail(batch.numbers, asyncio.CancelledError())
                worker = asyncio.current_task()
                if worker is None or worker.cancelling():
                    raise  # else the handler cancelled itself: only its batch is lost
            finally:
                self._running -= size
                self._busy.discard(batch.lane)
                self._settle_quiet()
            turns += 1
            if turns % BATCHES_PER_TURN == 0:
                await asyncio.sleep(0)

    def _next_batch(self) -> Batch[T] | None:
        """The next batch, without the items nobody waits for any more."""
        while (batch := self._due_batch() or self._ready_batch()) is not None:
            gone = self._owners.cancelled(batch.numbers)
            if gone:
                numbers = batch.drop(gone)
                self._cancelled += self._owners.fail(numbers, asyncio.CancelledError())
            self._room.let_in()
            if batch.values:
                if self._ordered and self._concurrency > 1:
                    self._busy.add(batch.lane)
                return batch
        return None

    def _ready_batch(self) -> Batch[T] | None:
        lane = self._ripe_lane()
        if lane is None:
            return None
        values, numbers = self._queue.pop_numbered(self._sizes.of(lane), lane)
        if self._linger_s and not len(self._queue):
            self._ripe = False
        return Batch(lane, values, numbers)

    def _ripe_lane(self) -> str | None:
        """The lane that the next batch comes from; while batches wait for company, one that has enough."""
        if self._ripe or self._hurried:
            return self._queue.next_lane(self._busy or None)
        for lane, count in self._queue.lanes().items():
            if lane not in self._busy and count >= self._sizes.of(lane):
                return lane
        return None

    def _due_batch(self) -> Batch[T] | None:
        if not len(self._later):
            return None
        due: list[Batch[T]] = self._later.pop_due(self._now_ms(), 1)
        if not due:
            return None
        self._retrying -= len(due[0].values)
        return due[0]

    def _is_due(self) -> bool:
        due_ms = self._later.next_due_ms()
        return due_ms is not None and due_ms <= self._now_ms()

    def _set_timers(self) -> None:
        if not self._ripe and len(self._queue) and "linger" not in self._timers:
            self._set_timer("linger", self._linger_s)
        due_ms = self._later.next_due_ms()
        if due_ms is not None:
            self._set_timer("due", max(0, due_ms - self._now_ms()) / 1000)

    def _set_timer(self, name: Literal["linger", "due"], wait_s: float) -> None:
        loop = asyncio.get_running_loop()
        known = self._timers.get(name)
        if known is None or known.when() > loop.time() + wait_s:
            if known is not None:
                known.cancel()
            self._timers[name] = loop.call_later(wait_s, self._rang, name)

    def _rang(self, name: str) -> None:
        del self._timers[name]
        self._ripe = self._ripe or name == "linger"
        self._start()

    # The handler, and what follows

    async def _handle(self, batch: Batch[T]) -> None:
        while True:
            try:
                results = await self._call(batch)
            except Exception as error:  # noqa: BLE001 - the outermost frame of the worker; who waits gets it
                if await self._again_in_place(batch, error):
                    continue
                return
            self._batches += 1
            self._done += len(batch.values)
            self._owners.answer(batch.numbers, results)
            if self._on_progress is not None:
                self._tell("done", batch.lane, len(batch.values), batch.attempt)
            return

    async def _call(self, batch: Batch[T]) -> Sequence[R]:
        if self._sizes.target_ms is None:
            results = await self._handler(batch.values)
        else:
            start = self._clock()
            results = await self._handler(batch.values)
            self._sizes.learn(batch.lane, len(batch.values), (self._clock() - start) * 1000)
        if len(results) != len(batch.numbers):
            raise ValueError(f"the handler gave {len(results)} results for {len(batch.numbers)} items")
        return results

    async def _again_in_place(self, batch: Batch[T], error: Exception) -> bool:
        """Deals with a failure; whether the same batch is to be tried again at once."""
        may_pass = self._retryable(error)
        if may_pass and batch.attempt < self._max_attempts:
            self._retries += 1
            self._tell("retry", batch.lane, len(batch.values), batch.attempt)
            wait_s = self._wait_s(batch.attempt)
            batch.attempt += 1
            if self._ordered:
                await asyncio.sleep(wait_s)
                return True
            self._later.push(
                batch, lane=batch.lane, due_ms=math.ceil(self._clock() * 1000 + wait_s * 1000) + 1
            )
            self._retrying += len(batch.values)
        elif len(batch.values) > 1 and not may_pass:
            for single in batch.singly():
                await self._handle(single)
        else:
            self._give_up(batch, error)
        return False

    def _now_ms(self) -> int:
        return int(self._clock() * 1000) + 1

    def _wait_s(self, attempt: int) -> float:
        return min(self._backoff_max_ms, self._backoff_ms * 2.0 ** (attempt - 1)) * self._random() / 1000

    def _give_up(self, batch: Batch[T], error: Exception) -> None:
        self._dead += len(batch.values)
        for value in batch.values:
            letter = DeadLetter(item=value, error=error, attempts=batch.attempt, lane=batch.lane)
            self._letters.append(letter)
            if self._on_dead is not None:
                _call_safely(self._on_dead, letter, "batch.on_dead_failed")
        self._owners.fail(batch.numbers, error)
        self._tell("dead", batch.lane, len(batch.values), batch.attempt)

    def _tell(
        self, kind: Literal["done", "retry", "dead", "shed"], lane: str, items: int, attempt: int
    ) -> None:
        if self._on_progress is not None:
            progress = Progress(
                kind=kind, lane=lane, items=items, attempt=attempt, waiting=self._waiting(), done=self._done
            )
            _call_safely(self._on_progress, progress, "batch.on_progress_failed")

    # Ending, and looking in

    async def drain(self) -> None:
        """Waits until everything queued was handled or given up; nothing lingers meanwhile."""
        self._hurried += 1
        try:
            self._start()
            while self._owners.open or self._workers:
                if self._quiet is None:
                    self._quiet = asyncio.get_running_loop().create_future()
                await asyncio.shield(self._quiet)
        finally:
            self._hurried -= 1

    async def close(self, timeout_ms: float | None = None) -> int:
        """Takes nothing more, and drains; what is left after the timeout is cancelled.

        Args:
            timeout_ms: longest wait; None: as long as it takes.

        Returns:
            How many items were not handled.
        """
        self._room.close()
        try:
            async with asyncio.timeout(None if timeout_ms is None else timeout_ms / 1000):
                await self.drain()
        except TimeoutError:
            logger.warning("batch.close_timed_out open=%d", self._owners.open)
        left = self._owners.open
        workers = list(self._workers)
        for worker in workers:
            worker.cancel()
        if workers:
            await asyncio.wait(workers)
        self._drop_all()
        return left

    def resize(self, batch_size: int, *, lane: str | None = None) -> None:
        """Sets the size of batches from the next one on: of one lane, or of all without their own.

        Raises:
            InvalidInput: the size is below 1.
        """
        self._sizes.set(batch_size, lane)

    def dead_letters(self) -> tuple[DeadLetter[T], ...]:
        """The items given up that are kept, oldest first."""
        return tuple(self._letters)

    def stats(self) -> BatchStats:
        """A snapshot of the counters."""
        return BatchStats(
            waiting=self._waiting(),
            retrying=self._retrying,
            running=self._running,
            done=self._done,
            batches=self._batches,
            retries=self._retries,
            dead=self._dead,
            letters=len(self._letters),
            refused=self._room.refused,
            shed=self._shed,
            cancelled=self._cancelled,
            sizes=self._sizes.now(),
        )

    def _drop_all(self) -> None:
        """Cancels everything that waits."""
        for lane, count in self._queue.lanes().items():
            _, numbers = self._queue.pop_numbered(count, lane)
            self._cancelled += self._owners.fail(numbers, asyncio.CancelledError())
        for batch in self._later.pop_due(2**63 - 1, len(self._later)):
            self._cancelled += self._owners.fail(batch.numbers, asyncio.CancelledError())
        self._retrying = 0
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._ripe = self._linger_s <= 0
        self._room.let_in()
        self._settle_quiet()

    def _settle_quiet(self) -> None:
        if self._quiet is not None and not self._owners.open and not self._workers:
            quiet, self._quiet = self._quiet, None
            quiet.set_result(None)


def _check(**numbers: int) -> None:
    for name, value in numbers.items():
        if value < 1:
            raise InvalidInput(name, "must be at least 1", limit=1)


def _call_safely(listener: Callable[[Any], None], news: object, failed: str) -> None:
    try:
        listener(news)
    except Exception:
        logger.exception(failed)
