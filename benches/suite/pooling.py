"""The connection pool, with connections that cost nothing."""

from __future__ import annotations

import asyncio

from retain.pool import ConnectionPool

CONNECTIONS = 20
BORROWED = 2_000


async def _made() -> object:
    return object()


async def _ended(_: object) -> None:
    return None


class Pool:
    """Twenty connections; ``waiters`` tasks that borrow in turn."""

    params = (1, 20, 100)
    param_names = ("tasks",)

    def time_acquire_release(self, tasks: int) -> None:
        asyncio.run(_borrow(tasks))

    def peakmem_acquire_release(self, tasks: int) -> None:
        asyncio.run(_borrow(tasks))

    def track_created(self, tasks: int) -> int:
        """Connections that were made: no more than are needed at one time."""
        return asyncio.run(_borrow(tasks))

    track_created.unit = "connections"  # type: ignore[attr-defined]


async def _borrow(tasks: int) -> int:
    pool = ConnectionPool(_made, destroy=_ended, max_size=CONNECTIONS)

    async def one() -> None:
        for _ in range(BORROWED // tasks):
            async with pool.acquire():
                if tasks > 1:
                    await asyncio.sleep(0)

    await asyncio.gather(*(one() for _ in range(tasks)))
    await pool.close()
    return pool.stats().connections_num
