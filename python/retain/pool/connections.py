"""ConnectionPool: a fair, bounded, cancellation-safe async pool of anything that can be made and destroyed.

A free connection is handed to the waiter that has waited longest, directly: nobody who comes later can
overtake, and where a connection lies idle nobody waits. A connection that fails its check, is too old or was
given back as broken is destroyed and replaced. Borrowing a connection that lies idle costs no timer, no
future and no turn of the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeVar

from retain.errors import InvalidInput, PoolClosed, PoolTimeout
from retain.pool.hooks import Hook, call, finish
from retain.pool.lease import NEVER, Lease, Slot
from retain.pool.records import PoolStats, check_sizes

C = TypeVar("C")

logger = logging.getLogger(__name__)


class ConnectionPool(Generic[C]):
    """Keeps between ``min_size`` and ``max_size`` connections and lends them out in order of request.

    All calls are made on one event loop. Hooks and ``destroy`` may be sync or async. Wherever a caller is
    cancelled, no place is lost and nothing handed to it is forgotten.

    Args:
        factory: makes a connection.
        destroy: closes one; errors in it are logged, not raised.
        check: whether a connection still works, asked before it is lent out, after a block that failed, and
            in each round of upkeep; None asks nothing.
        min_size: connections kept even when idle, from ``start`` on.
        max_size: most connections at one time.
        acquire_timeout_ms: longest wait for a connection, its making and its check included.
        max_lifetime_s: a connection older than this is replaced when it comes back; None: never.
        max_idle_s: a connection idle for longer, above ``min_size``, is destroyed when another one
            comes back or at the next upkeep; None: never.
        jitter: share by which each connection's two times are shortened at random, so that those made
            together do not end together.
        upkeep_s: time between two rounds of upkeep, run by one task from ``start`` on: every idle connection
            is checked, and those missing to ``min_size`` are made; None: no upkeep.
        create_attempts: tries to make a connection, within the caller's timeout, before it gets the error.
        backoff_ms: wait before the second try, doubled for each further one, with full jitter; for
            failing upkeep as well.
        backoff_max_ms: longest wait between two tries.
        on_create, on_acquire, on_release, on_destroy: called with each connection made, lent out, given
            back, and before it is destroyed. What they raise goes to the caller, except from on_destroy.
        clock: seconds, for lifetimes and waits.
        random: source of jitter in 0..1.

    Raises:
        InvalidInput: sizes that contradict each other, or a number below its limit.
    """

    def __init__(
        self,
        factory: Callable[[], Awaitable[C]],
        *,
        destroy: Hook[C],
        check: Callable[[C], Awaitable[bool]] | None = None,
        min_size: int = 0,
        max_size: int = 10,
        acquire_timeout_ms: float = 5_000,
        max_lifetime_s: float | None = None,
        max_idle_s: float | None = None,
        jitter: float = 0.1,
        upkeep_s: float | None = 30.0,
        create_attempts: int = 1,
        backoff_ms: float = 50.0,
        backoff_max_ms: float = 5_000.0,
        on_create: Hook[C] | None = None,
        on_acquire: Hook[C] | None = None,
        on_release: Hook[C] | None = None,
        on_destroy: Hook[C] | None = None,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random.random,
    ) -> None:
        check_sizes(min_size, max_size)
        if create_attempts < 1:
            raise InvalidInput("create_attempts", "must be at least 1", limit=1)
        if not 0 <= jitter < 1:
            raise InvalidInput("jitter", "must be at least 0 and below 1", limit=1)
        self._factory, self._destroy, self._check = factory, destroy, check
        self._min_size, self._max_size = min_size, max_size
        self._timeout_s = acquire_timeout_ms / 1000
        self._max_lifetime_s, self._max_idle_s, self._jitter = max_lifetime_s, max_idle_s, jitter
        self._upkeep_s = upkeep_s
        self._create_attempts = create_attempts
        self._backoff_ms, self._backoff_max_ms = backoff_ms, backoff_max_ms
        self._on_create, self._on_acquire = on_create, on_acquire
        self._on_release, self._on_destroy = on_release, on_destroy
        self._clock, self._random = clock, random
        self._idle: deque[Slot[C]] = deque()  # the longest idle at the left; never beside a waiter
        self._waiters: deque[asyncio.Future[Slot[C] | None]] = deque()
        self._lent: dict[int, Slot[C]] = {}
        self._upkeep: asyncio.Task[None] | None = None
        self._emptied: asyncio.Future[None] | None = None
        self._size = 0
        self._closed = False
        self._bare = check is None
        self._plain = on_release is None
        self._timed = max_lifetime_s is not None or max_idle_s is not None
        self._idle_s = NEVER if max_idle_s is None else max_idle_s
        self._requests = self._queued = self._errors = self._timeouts = 0
        self._wait_s_total = self._wait_s_max = 0.0
        self._connections = self._connection_errors = self._lost = self._bad_returns = self._destroyed = 0

    # Lending

    def acquire(self, *, timeout_ms: float | None = None) -> Lease[C]:
        """Lends a connection: for the length of a block, or until it is given to ``release``.

        ``async with pool.acquire() as connection: ...`` or ``connection = await pool.acquire()``. A block
        that ends with an error gives the connection back only if it still passes the check.

        Args:
            timeout_ms: longest wait; None for the pool's.

        Raises:
            PoolTimeout: none came free, or could be made, in time.
            PoolClosed: the pool is closed.
        """
        return Lease(self, self._timeout_s if timeout_ms is None else timeout_ms / 1000)

    async def release(self, connection: C, *, broken: bool = False) -> None:
        """Gives back a connection that was awaited from ``acquire``; a broken one is destroyed.

        Raises:
            InvalidInput: it was not lent in this way, or came back already.
        """
        slot = self._lent.pop(id(connection), None)
        if slot is None:
            raise InvalidInput("connection", "was not lent by an awaited acquire of this pool")
        if broken:
            self._bad_returns += 1
            await self._discard(slot)
        elif not self._plain or not self._lay_down(slot):
            await self._come_back(slot, failed=False)

    async def _take(self, timeout_s: float) -> Slot[C]:
        self._requests += 1
        try:
            slot = await self._obtain(timeout_s)
        except BaseException:
            self._errors += 1
            raise
        if self._on_acquire is not None:
            await self._greet(slot)
        return slot

    async def _greet(self, slot: Slot[C]) -> None:
        """Runs the hook of acquire; a connection on which that fails comes back."""
        assert self._on_acquire is not None
        try:
            answer = self._on_acquire(slot.connection)
            if answer is not None:
                await finish(answer)
        except asyncio.CancelledError:
            self._bad_returns += 1
            await self._discard(slot)
            raise
        except BaseException:
            await self._come_back(slot, failed=True)
            raise
        if self._closed:  # while an async hook ran
            await self._come_back(slot, failed=False)
            raise PoolClosed("the pool was closed")

    async def _obtain(self, timeout_s: float) -> Slot[C]:
        if self._closed:
            raise PoolClosed("the pool is closed")
        slot: Slot[C] | None = None
        if self._idle:
            slot = self._idle.pop()
        elif self._size < self._max_size and not self._waiters:
            self._size += 1
        else:
            self._queued += 1
            loop = asyncio.get_running_loop()
            start, deadline = self._clock(), loop.time() + timeout_s
            slot = await self._wait(timeout_s)
            waited_s = self._clock() - start
            self._wait_s_total += waited_s
            self._wait_s_max = max(self._wait_s_max, waited_s)
            timeout_s = deadline - loop.time()
        if slot is None or self._check is not None:
            try:
                async with asyncio.timeout(timeout_s) as limit:
                    slot = await (self._make() if slot is None else self._checked(slot))
            except TimeoutError:
                if not limit.expired():
                    raise  # the factory's own
                self._timeouts += 1
                raise PoolTimeout("no connection could be made, or passed its check, in time") from None
        if self._is_closed():
            await self._discard(slot)
            raise PoolClosed("the pool was closed")
        return slot

    def _is_closed(self) -> bool:
        return self._closed

    async def _wait(self, timeout_s: float) -> Slot[C] | None:
        """Waits in line for a connection, or for the right to make one (None), already counted in the size."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Slot[C] | None] = loop.create_future()
        self._waiters.append(waiter)
        timer = loop.call_later(timeout_s, self._expire, waiter, timeout_s)
        try:
            return await waiter
        except asyncio.CancelledError:
            await self._leave_line(waiter)
            raise
        finally:
            timer.cancel()

    def _expire(self, waiter: asyncio.Future[Slot[C] | None], timeout_s: float) -> None:
        if not waiter.done():
            self._timeouts += 1
            self._waiters.remove(waiter)  # those who came first end first, as a rule: found at the left
            waiter.set_exception(
                PoolTimeout(f"no connection came free within {timeout_s:g} s ({self._size} in use)")
            )

    async def _leave_line(self, waiter: asyncio.Future[Slot[C] | None]) -> None:
        """Takes a waiter out; what was handed to it at the last moment goes to the next one."""
        if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
            slot = waiter.result()
            if slot is None:
                self._free_place()
            else:
                await self._give_back(slot)
        elif waiter in self._waiters:
            self._waiters.remove(waiter)

    # Coming back

    async def _come_back(self, slot: Slot[C], *, failed: bool) -> None:
        """Runs the hook, then gives back; a connection in an unknown state is destroyed."""
        if self._on_release is not None:
            try:
                answer = self._on_release(slot.connection)
                if answer is not None:
                    await finish(answer)
            except asyncio.CancelledError:
                self._bad_returns += 1
                await self._discard(slot)
                raise
            except BaseException:
                await self._settle(slot, failed=True)
                raise
        await self._settle(slot, failed=failed)

    async def _settle(self, slot: Slot[C], *, failed: bool) -> None:
        if failed and self._check is not None:
            await asyncio.shield(self._give_back_checked(slot))
        else:
            await self._give_back(slot)

    async def _give_back(self, slot: Slot[C]) -> None:
        if self._closed or self._size > self._max_size or slot.expires < self._clock():
            await self._discard(slot)
            return
        self._lay_down(slot, trims=True)
        if self._max_idle_s is not None:
            await self._trim()

    def _lay_down(self, slot: Slot[C], *, trims: bool = False) -> bool:
        """Gives a connection back where nothing has to be awaited for it; whether that was so."""
        if self._timed:
            now = self._clock()
            if not trims and (slot.expires < now or (self._idle and self._idle[0].idle_until < now)):
                return False
            slot.idle_until = now + self._idle_s * slot.luck
        if self._waiters:
            self._offer(slot)
        else:
            self._idle.append(slot)
        return True

    async def _give_back_checked(self, slot: Slot[C]) -> None:
        if await self._works(slot):
            await self._give_back(slot)
        else:
            self._bad_returns += 1
            await self._discard(slot)

    async def _trim(self) -> None:
        """Destroys the connections that were idle for too long; the oldest lie at the left."""
        now = self._clock()
        while self._size > self._min_size and self._idle and self._idle[0].idle_until < now:
            await self._discard(self._idle.popleft())

    def _offer(self, slot: Slot[C]) -> None:
        """Hands a connection to the first in line, or lays it down as idle."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(slot)
                return
        self._idle.append(slot)

    def _free_place(self) -> None:
        """A connection is gone: its place goes to the first in line, or back to the pool."""
        while self._waiters and self._size <= self._max_size:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._size -= 1
        self._refit()
        if self._size == 0 and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    # Making, checking, destroying

    async def _make(self) -> Slot[C]:
        """Makes a connection on a place that is already counted."""
        try:
            connection = await self._create()
        except BaseException:
            self._free_place()
            raise
        luck = 1.0 - self._jitter * self._random()
        lifetime_s = NEVER if self._max_lifetime_s is None else self._max_lifetime_s * luck
        slot = Slot(connection, self._clock() + lifetime_s, luck)
        if self._on_create is not None:
            try:
                await call(self._on_create, connection)
            except BaseException:
                await self._discard(slot)
                raise
        return slot

    async def _create(self) -> C:
        attempt = 1
        while True:
            self._connections += 1
            try:
                return await self._factory()
            except BaseException as error:
                self._connection_errors += 1
                if not isinstance(error, Exception) or attempt >= self._create_attempts or self._closed:
                    raise
            await asyncio.sleep(self._backoff_s(attempt))
            attempt += 1

    def _backoff_s(self, failures: int) -> float:
        wait_ms = min(self._backoff_max_ms, self._backoff_ms * 2.0 ** min(failures - 1, 60))
        return wait_ms * self._random() / 1000

    async def _works(self, slot: Slot[C]) -> bool:
        """Whether a connection passes the check; cancelled in it, it is destroyed: its state is unknown."""
        if self._check is None:
            return True
        try:
            works = await self._check(slot.connection)
        except asyncio.CancelledError:
            await self._discard(slot)
            raise
        except Exception:  # noqa: BLE001 - a check that fails says that the connection does not work
            works = False
        self._lost += not works
        return works

    async def _checked(self, slot: Slot[C]) -> Slot[C]:
        """The connection itself if it passes the check, else a new one on its place."""
        if await self._works(slot):
            return slot
        try:
            await self._end(slot)
        except BaseException:
            self._free_place()
            raise
        return await self._make()

    async def _discard(self, slot: Slot[C]) -> None:
        try:
            await self._end(slot)
        finally:
            self._free_place()

    async def _end(self, slot: Slot[C]) -> None:
        self._destroyed += 1
        try:
            try:
                if self._on_destroy is not None:
                    await call(self._on_destroy, slot.connection)
            finally:
                await call(self._destroy, slot.connection)
        except Exception:
            logger.warning("pool.destroy_failed", exc_info=True)

    # Start, upkeep, size, end

    async def start(self) -> None:
        """Makes the ``min_size`` connections now instead of on demand, and starts upkeep."""
        made: list[Slot[C]] = []
        try:
            for _ in range(self._min_size):
                made.append(await self._obtain(self._timeout_s))  # noqa: PERF401 - what was made must come back
        finally:
            await asyncio.shield(asyncio.gather(*map(self._give_back, made)))
        if self._upkeep is None and self._upkeep_s is not None and not self._closed:
            self._upkeep = asyncio.create_task(self._keep_up(self._upkeep_s), name="retain-pool-upkeep")

    async def _keep_up(self, pause_s: float) -> None:
        failures = 0
        while True:
            await asyncio.sleep(self._backoff_s(failures) if failures else pause_s)
            try:
                await self.tend()
                failures = 0
            except Exception as error:  # noqa: BLE001 - the outermost frame of the task, which must live on
                failures += 1
                logger.warning("pool.upkeep_failed failures=%d error=%s", failures, error)

    async def tend(self) -> None:
        """One round of upkeep: ends what is worn out, checks what lies idle, fills up to ``min_size``.

        One connection at a time is out of the idle ones for its check. What the factory raises is raised.
        """
        for _ in range(len(self._idle)):
            if not self._idle or self._closed:
                break
            slot = self._idle.popleft()
            now = self._clock()
            ended = slot.expires < now or (slot.idle_until < now and self._size > self._min_size)
            if ended or not await self._works(slot) or self._closed or self._size > self._max_size:
                await self._discard(slot)
            else:
                self._offer(slot)
        while self._size < self._min_size and not self._closed:
            self._size += 1
            await self._give_back(await self._make())

    async def resize(self, min_size: int, max_size: int) -> None:
        """Changes the bounds: waiters get new places at once, what is too much goes, lent ones when back.

        What is missing to a larger ``min_size`` is made by the next round of upkeep.

        Raises:
            InvalidInput: sizes that contradict each other.
        """
        check_sizes(min_size, max_size)
        self._min_size, self._max_size = min_size, max_size
        while self._waiters and self._size < max_size and not self._closed:
            waiter = self._waiters.popleft()
            if not waiter.done():
                self._size += 1
                waiter.set_result(None)
        self._refit()
        while self._size > max_size and self._idle:
            await self._discard(self._idle.popleft())

    def _refit(self) -> None:
        """Says whether giving back may skip the questions that a pool over its size or closed asks."""
        self._plain = self._on_release is None and self._size <= self._max_size and not self._closed

    async def close(self, *, timeout_ms: float | None = None) -> bool:
        """Destroys idle connections, fails the waiters; lent ones are destroyed when they come back.

        Args:
            timeout_ms: longest wait for those; None does not wait.

        Returns:
            Whether every connection is destroyed.
        """
        self._closed = True
        self._bare = self._plain = False
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(PoolClosed("the pool was closed"))
        upkeep, self._upkeep = self._upkeep, None
        if upkeep is not None:
            upkeep.cancel()
            await asyncio.wait([upkeep])
        while self._idle:
            await self._discard(self._idle.popleft())
        if self._size and timeout_ms is not None:
            if self._emptied is None:
                self._emptied = asyncio.get_running_loop().create_future()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_ms / 1000):
                    await asyncio.shield(self._emptied)
        return self._size == 0

    def stats(self) -> PoolStats:
        """A snapshot of the counters; costs no lock and no system call."""
        return PoolStats(
            pool_min=self._min_size,
            pool_max=self._max_size,
            pool_size=self._size,
            pool_available=len(self._idle),
            requests_waiting=sum(not waiter.done() for waiter in self._waiters),
            requests_num=self._requests,
            requests_queued=self._queued,
            requests_errors=self._errors,
            requests_timeouts=self._timeouts,
            requests_wait_ms=self._wait_s_total * 1000,
            requests_wait_ms_max=self._wait_s_max * 1000,
            returns_bad=self._bad_returns,
            connections_num=self._connections,
            connections_errors=self._connection_errors,
            connections_lost=self._lost,
            connections_destroyed=self._destroyed,
        )
