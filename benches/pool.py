"""The connection pool beside psycopg_pool, asyncpg's and a bare FIFO of futures, in one run.

    python benches/pool.py [--json FILE] [--dsn "host=127.0.0.1 dbname=test user=postgres"]

Times are CPU time of this process for one acquire with its release, least of interleaved rounds: no
connection is used between the two, so a server adds nothing. retain's pool is measured as it is made, and with
what psycopg_pool always has (an end of lifetime and of idle time). Waits in line are counted in connections
given back, which no load of the machine changes.
"""

from __future__ import annotations

import asyncio
import importlib
import statistics
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from measuring import Figure, against, arguments, at_most, publish, right
from retain.pool import ConnectionPool

SIZE = 20
ROUNDS = 15
OPERATIONS = 4_000
CROWD = 120

Round = Callable[[], Awaitable[None]]


class Floor:
    """The least that a fair async pool can be: a deque of what is free, a deque of futures that wait."""

    def __init__(self) -> None:
        self.free: deque[object] = deque(object() for _ in range(SIZE))
        self.waiters: deque[asyncio.Future[object]] = deque()

    async def acquire(self) -> object:
        if self.free:
            return self.free.pop()
        waiter: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        return await waiter

    def release(self, connection: object) -> None:
        if self.waiters:
            self.waiters.popleft().set_result(connection)
        else:
            self.free.append(connection)


async def our_pool(**options: Any) -> ConnectionPool[object]:
    async def factory() -> object:
        return object()

    pool = ConnectionPool(
        factory, destroy=lambda _: None, min_size=SIZE, max_size=SIZE, upkeep_s=None, **options
    )
    await pool.start()
    return pool


def blocks(pool: Any, enter: str) -> Round:
    async def run() -> None:
        acquire = getattr(pool, enter)
        for _ in range(OPERATIONS):
            async with acquire():
                pass

    return run


def pairs(acquire: Callable[[], Awaitable[Any]], release: Callable[[Any], Any]) -> Round:
    async def run() -> None:
        for _ in range(OPERATIONS):
            given = release(await acquire())
            if given is not None:
                await given

    return run


async def least_us(rounds: dict[str, Round]) -> dict[str, float]:
    """Least CPU time of one operation, each name once in every round."""
    found = dict.fromkeys(rounds, float("inf"))
    for _ in range(ROUNDS):
        for name, run in rounds.items():
            start = time.process_time()
            await run()
            found[name] = min(found[name], (time.process_time() - start) / OPERATIONS * 1e6)
    return found


async def line(acquire: Callable[[], Any]) -> tuple[int, float]:
    """How many of a crowd were overtaken, and the longest wait over the median of the last decile."""
    order: list[int] = []
    waits: list[int] = []
    given_back = 0

    async def use(number: int) -> None:
        nonlocal given_back
        start = given_back
        async with acquire():
            order.append(number)
            waits.append(given_back - start)
            await asyncio.sleep(0)
            given_back += 1

    await asyncio.gather(*(use(number) for number in range(CROWD)))
    overtaken = sum(later > earlier for earlier, later in zip(range(CROWD), order, strict=True))
    last = sorted(waits)[-CROWD // 10 :]
    return overtaken, last[-1] / max(1.0, statistics.median(last))


async def peers(stack: AsyncExitStack, dsn: str, rounds: dict[str, Round]) -> dict[str, Any]:
    """Adds those that can be imported and reach the server; says why another is left out."""
    found: dict[str, Any] = {}
    try:
        psycopg_pool = importlib.import_module("psycopg_pool")
        theirs = psycopg_pool.AsyncConnectionPool(dsn, min_size=SIZE, max_size=SIZE, open=False)
        await theirs.open()
        stack.push_async_callback(theirs.close)
        await theirs.wait(timeout=20)
        rounds["psycopg_pool block"] = blocks(theirs, "connection")
        rounds["psycopg_pool pair"] = pairs(theirs.getconn, theirs.putconn)
        found["psycopg_pool"] = theirs.connection
    except Exception as reason:
        print(f"psycopg_pool left out: {type(reason).__name__}: {reason}")
    try:
        asyncpg = importlib.import_module("asyncpg")
        parts = dict(part.split("=") for part in dsn.split())
        pool = await asyncpg.create_pool(
            host=parts["host"], database=parts["dbname"], user=parts["user"], min_size=SIZE, max_size=SIZE
        )
        stack.push_async_callback(pool.close)
        rounds["asyncpg block"] = blocks(pool, "acquire")
    except Exception as reason:
        print(f"asyncpg left out: {type(reason).__name__}: {reason}")
    return found


async def measure(dsn: str) -> tuple[list[Figure], dict[str, Any]]:
    floor = Floor()
    bare, timed = await our_pool(), await our_pool(max_lifetime_s=3600, max_idle_s=600)
    rounds = {
        "floor": pairs(floor.acquire, floor.release),
        "bare block": blocks(bare, "acquire"),
        "bare pair": pairs(bare.acquire, bare.release),
        "timed block": blocks(timed, "acquire"),
        "timed pair": pairs(timed.acquire, timed.release),
    }
    async with AsyncExitStack() as stack:
        found = await peers(stack, dsn, rounds)
        times = await least_us(rounds)
        lines = {"retain": await line(bare.acquire)}
        for name, acquire in found.items():
            lines[name] = await line(acquire)
    stats = bare.stats()
    figures = [
        against(
            f"acquire+release, {kind} {form}",
            times[f"{kind} {form}"],
            "us",
            "psycopg_pool",
            peer,
            ratio_max=0.35,
        )
        for form in ("block", "pair")
        if (peer := times.get(f"psycopg_pool {form}"))
        for kind in ("bare", "timed")
    ]
    figures += [
        against("acquire+release, bare pair", times["bare pair"], "us", "floor of futures", times["floor"]),
        at_most("overtaken of 120 on 20", lines["retain"][0], "waiters", 0),
        at_most("longest wait / median of last decile", lines["retain"][1], "", 1.5),
        right("connections whole after all", stats.pool_available, SIZE),
    ]
    await bare.close()
    await timed.close()
    return figures, {"us": times, "overtaken and longest wait": lines}


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--dsn", default="host=127.0.0.1 port=5432 dbname=test user=postgres")
    options = parser.parse_args()
    figures, details = asyncio.run(measure(options.dsn))
    return publish(figures, details, options.json)


if __name__ == "__main__":
    raise SystemExit(main())
