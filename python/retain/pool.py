"""ConnectionPool: a fair, bounded, cancellation-safe async pool of anything that can be made and destroyed.

A free connection is handed to the waiter that has waited longest, directly: nobody who comes later can
overtake. A connection that fails its check, is too old or was marked broken is destroyed and replaced.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from retain.errors import InvalidInput, PoolClosed, PoolTimeout

C = TypeVar("C")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStats:
    """Counters of a pool since it was made; times in microseconds."""

    size: int
    idle: int
    waiting: int
    acquired: int
    created: int
    destroyed: int
    failed_checks: int
    timeouts: int
    wait_us_total: int
    wait_us_max: int


class PatientThreads(ThreadPoolExecutor):
    """Threads that make do with fewer than allowed where the system has no memory for another stack.

    The standard pool raises then, with the work already queued: it would run though its caller was told no.
    """

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise


class _Slot(Generic[C]):
    __slots__ = ("born", "connection", "idle_since")

    def __init__(self, connection: C, now: float) -> None:
        self.connection = connection
        self.born = now
        self.idle_since = now


class ConnectionPool(Generic[C]):
    """Keeps between ``min_size`` and ``max_size`` connections and lends them out in order of request.

    Args:
        factory: makes a connection.
        destroy: closes one; errors in it are counted, not raised.
        check: whether a connection still works, asked before it is lent out; None asks nothing.
        min_size: connections kept even when idle.
        max_size: most connections at one time.
        acquire_timeout_ms: longest wait for a connection.
        max_lifetime_s: a connection older than this is replaced when it comes back; None: never.
        max_idle_s: a connection idle for longer, above ``min_size``, is destroyed when another one
            comes back; None: never.
        on_acquire, on_release: called with each connection lent out and given back.

    Raises:
        InvalidInput: sizes that contradict each other.
    """

    def __init__(
        self,
        factory: Callable[[], Awaitable[C]],
        *,
        destroy: Callable[[C], Awaitable[None]],
        check: Callable[[C], Awaitable[bool]] | None = None,
        min_size: int = 0,
        max_size: int = 10,
        acquire_timeout_ms: int = 5_000,
        max_lifetime_s: float | None = None,
        max_idle_s: float | None = None,
        on_acquire: Callable[[C], None] | None = None,
        on_release: Callable[[C], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_size < 1:
            raise InvalidInput("max_size", "must be at least 1", limit=1)
        if not 0 <= min_size <= max_size:
            raise InvalidInput("min_size", "must lie between 0 and max_size", limit=max_size)
        self._factory = factory
        self._destroy = destroy
        self._check = check
        self._min_size = min_size
        self._max_size = max_size
        self._timeout_s = acquire_timeout_ms / 1000
        self._max_lifetime_s = max_lifetime_s
        self._max_idle_s = max_idle_s
        self._on_acquire = on_acquire
        self._on_release = on_release
        self._clock = clock
        self._idle: deque[_Slot[C]] = deque()
        self._waiters: deque[asyncio.Future[_Slot[C] | None]] = deque()
        self._size = 0
        self._closed = False
        self._acquired = self._created = self._destroyed = 0
        self._failed_checks = self._timeouts = self._wait_us_total = self._wait_us_max = 0

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[C]:
        """Lends a connection for the length of the block.

        A block that ends with an error gives the connection back only if it still passes the check.

        Raises:
            PoolTimeout: none came free in time.
            PoolClosed: the pool is closed.
        """
        slot = await self._take()
        broken = self._check is not None
        try:
            if self._on_acquire is not None:
                self._on_acquire(slot.connection)
            yield slot.connection
            broken = False
        finally:
            try:
                if self._on_release is not None:
                    self._on_release(slot.connection)
            finally:
                if broken:
                    await asyncio.shield(self._give_back_checked(slot))
                else:
                    await self._give_back(slot)

    async def start(self) -> None:
        """Makes the ``min_size`` connections now instead of on demand."""
        made: list[_Slot[C]] = []
        try:
            for _ in range(self._min_size):
                made.append(await self._take())  # noqa: PERF401 - what was made before a failure must come back
        finally:
            await asyncio.shield(asyncio.gather(*map(self._give_back, made)))

    async def drop_idle(self) -> int:
        """Destroys the connections that are idle now, above ``min_size``; how many they were."""
        dropped = 0
        while self._idle and self._size > self._min_size:
            dropped += 1
            await self._discard(self._idle.popleft())
        return dropped

    async def close(self) -> None:
        """Destroys idle connections, fails the waiters; lent ones are destroyed when they come back."""
        self._closed = True
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(PoolClosed("the pool was closed"))
        while self._idle:
            await self._discard(self._idle.popleft())

    def stats(self) -> PoolStats:
        """A snapshot of the counters; costs no lock and no system call."""
        return PoolStats(
            size=self._size,
            idle=len(self._idle),
            waiting=sum(not waiter.done() for waiter in self._waiters),
            acquired=self._acquired,
            created=self._created,
            destroyed=self._destroyed,
            failed_checks=self._failed_checks,
            timeouts=self._timeouts,
            wait_us_total=self._wait_us_total,
            wait_us_max=self._wait_us_max,
        )

    async def _take(self) -> _Slot[C]:
        if self._closed:
            raise PoolClosed("the pool is closed")
        start = self._clock()
        slot: _Slot[C] | None = None
        if self._idle and not self._waiters:
            slot = self._idle.pop()
        elif self._size < self._max_size and not self._waiters:
            self._size += 1
        else:
            slot = await self._wait()
        slot = await (self._make() if slot is None else self._checked(slot))
        if self._closed:
            await self._discard(slot)
            raise PoolClosed("the pool was closed")
        waited_us = int((self._clock() - start) * 1e6)
        self._acquired += 1
        self._wait_us_total += waited_us
        self._wait_us_max = max(self._wait_us_max, waited_us)
        return slot

    async def _wait(self) -> _Slot[C] | None:
        """Waits in line for a connection, or for the right to make one (None), already counted in the size."""
        waiter: asyncio.Future[_Slot[C] | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await waiter
        except TimeoutError:
            self._timeouts += 1
            await self._leave_line(waiter)
            raise PoolTimeout(
                f"no connection came free within {self._timeout_s:g} s ({self._size} in use)"
            ) from None
        except asyncio.CancelledError:
            await self._leave_line(waiter)
            raise

    async def _leave_line(self, waiter: asyncio.Future[_Slot[C] | None]) -> None:
        """Takes a waiter out; what was handed to it at the last moment goes to the next one."""
        if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
            slot = waiter.result()
            if slot is None:
                self._free_place()
            else:
                await self._give_back(slot)
        elif waiter in self._waiters:
            self._waiters.remove(waiter)

    def _offer(self, slot: _Slot[C]) -> None:
        """Hands a connection to the first in line, or lays it down as idle."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(slot)
                return
        slot.idle_since = self._clock()
        self._idle.append(slot)

    def _free_place(self) -> None:
        """A connection is gone: its place goes to the first in line, or back to the pool."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._size -= 1

    async def _make(self) -> _Slot[C]:
        """Makes a connection on a place that is already counted."""
        try:
            connection = await self._factory()
        except BaseException:
            self._free_place()
            raise
        self._created += 1
        return _Slot(connection, self._clock())

    async def _checked(self, slot: _Slot[C]) -> _Slot[C]:
        """The connection itself if it passes the check, else a new one on its place."""
        if self._check is None:
            return slot
        try:
            works = await self._check(slot.connection)
        except asyncio.CancelledError:
            await self._give_back(slot)
            raise
        except Exception:  # noqa: BLE001 - a check that fails says that the connection does not work
            works = False
        if works:
            return slot
        self._failed_checks += 1
        try:
            await self._end(slot)
        except BaseException:
            self._free_place()
            raise
        return await self._make()

    async def _give_back(self, slot: _Slot[C]) -> None:
        if self._closed or self._worn_out(slot):
            await self._discard(slot)
        else:
            self._offer(slot)
            await self._trim()

    async def _give_back_checked(self, slot: _Slot[C]) -> None:
        try:
            works = self._check is None or await self._check(slot.connection)
        except asyncio.CancelledError:
            await self._discard(slot)
            raise
        except Exception:  # noqa: BLE001 - see _checked
            works = False
        if works:
            await self._give_back(slot)
        else:
            self._failed_checks += 1
            await self._discard(slot)

    def _worn_out(self, slot: _Slot[C]) -> bool:
        return self._max_lifetime_s is not None and self._clock() - slot.born > self._max_lifetime_s

    async def _trim(self) -> None:
        """Destroys the connections that were idle for too long; the oldest lie at the left."""
        if self._max_idle_s is None:
            return
        deadline = self._clock() - self._max_idle_s
        while self._size > self._min_size and self._idle and self._idle[0].idle_since < deadline:
            await self._discard(self._idle.popleft())

    async def _discard(self, slot: _Slot[C]) -> None:
        try:
            await self._end(slot)
        finally:
            self._free_place()

    async def _end(self, slot: _Slot[C]) -> None:
        self._destroyed += 1
        try:
            await self._destroy(slot.connection)
        except Exception:
            logger.warning("pool.destroy_failed", exc_info=True)
