"""A connection lent out, and what the pool notes of each connection."""

from __future__ import annotations

from collections.abc import Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from retain.pool.connections import ConnectionPool

C = TypeVar("C")

NEVER: Final = float("inf")


class Slot(Generic[C]):
    """A connection with the ends of its life and of its idle time, in seconds of the pool's clock."""

    __slots__ = ("connection", "expires", "idle_until", "luck")

    def __init__(self, connection: C, expires: float, luck: float) -> None:
        self.connection = connection
        self.expires = expires
        self.luck = luck  # the share of its times that jitter leaves to this connection
        self.idle_until = NEVER


class Lease(Generic[C]):
    """What ``acquire`` gives: ``async with`` it, or await it and ``release`` what that gave."""

    __slots__ = ("_pool", "_slot", "_timeout_s")

    def __init__(self, pool: ConnectionPool[C], timeout_s: float) -> None:
        """Made by ``ConnectionPool.acquire``."""
        self._pool = pool
        self._timeout_s = timeout_s

    async def __aenter__(self) -> C:
        pool = self._pool
        if pool._bare and pool._idle:
            pool._requests += 1
            slot = pool._idle.pop()
            if pool._on_acquire is not None:
                await pool._greet(slot)
        else:
            slot = await pool._take(self._timeout_s)
        self._slot = slot
        return slot.connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pool = self._pool
        if kind is not None or not pool._plain or not pool._lay_down(self._slot):
            await pool._come_back(self._slot, failed=kind is not None)

    def __await__(self) -> Generator[Any, None, C]:
        return self._lend().__await__()

    async def _lend(self) -> C:
        pool = self._pool
        if pool._bare and pool._idle:
            pool._requests += 1
            slot = pool._idle.pop()
            if pool._on_acquire is not None:
                await pool._greet(slot)
        else:
            slot = await pool._take(self._timeout_s)
        pool._lent[id(slot.connection)] = slot
        return slot.connection
