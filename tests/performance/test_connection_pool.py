"""The connection pool over real connections: SQLite in this process, and a PostgreSQL server where one answers.

Where a cost has a limit, it is a ratio to a baseline of the same run, both in CPU time.
"""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import pytest

from retain.config import Settings
from retain.errors import PoolTimeout
from retain.pool import ConnectionPool
from retain.storage.connection import connect
from retain.storage.sqlite import SqliteStore
from servers import POSTGRES, postgres

pytestmark = pytest.mark.benchmark(group="connection pool")

OPERATIONS = 500
QUESTION = "SELECT count(*) FROM {table}"


@dataclass
class Backend:
    """How connections of one kind are made, used, broken and destroyed; ``made`` counts them."""

    open: Callable[[], Any]
    ask: Callable[[Any], Any]
    close: Callable[[Any], Any]
    errors: type[Exception]
    made: int = 0
    pools: list[ConnectionPool[Any]] = field(default_factory=list)

    async def create(self) -> Any:
        self.made += 1
        return await self.open()

    async def works(self, connection: Any) -> bool:
        try:
            return await self.ask(connection) == 0
        except self.errors:
            return False

    def pool(self, **options: Any) -> ConnectionPool[Any]:
        create = options.pop("factory", self.create)
        self.pools.append(ConnectionPool(create, destroy=self.close, **({"upkeep_s": None} | options)))
        return self.pools[-1]


def sqlite(home: Path, run: Callable[..., Any]) -> Backend:
    """Reading connections to a real store."""
    settings = Settings(home=home)

    async def make_store() -> None:
        await (await SqliteStore.open(settings)).close()

    run(make_store())

    async def opened() -> Any:
        return connect(settings.database, writable=False)

    async def ask(connection: Any) -> int:
        return int(connection.execute(QUESTION.format(table="memory")).fetchall()[0][0])

    return Backend(open=opened, ask=ask, close=lambda connection: connection.close(), errors=apsw.Error)


def postgresql() -> Backend:
    """Connections of psycopg to a real server."""
    psycopg = postgres()

    async def opened() -> Any:
        return await psycopg.AsyncConnection.connect(POSTGRES, autocommit=True)

    async def ask(connection: Any) -> int:
        cursor = await connection.execute(QUESTION.format(table="pg_tables") + " WHERE false")
        return int((await cursor.fetchone())[0])

    return Backend(open=opened, ask=ask, close=lambda connection: connection.close(), errors=psycopg.Error)


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest, home: Path, run: Callable[..., Any]) -> Iterator[Backend]:
    made = sqlite(home, run) if request.param == "sqlite" else postgresql()
    yield made
    for pool in made.pools:
        assert run(pool.close(timeout_ms=10_000))
        assert pool.stats().pool_size == 0


async def use(backend: Backend, pool: ConnectionPool[Any]) -> int:
    async with pool.acquire() as connection:
        return await backend.ask(connection)  # type: ignore[no-any-return]


async def borrow(pool: ConnectionPool[Any], times: int = OPERATIONS) -> None:
    for _ in range(times):
        async with pool.acquire():
            pass


async def borrow_timed(pool: ConnectionPool[Any], times: int = OPERATIONS) -> list[float]:
    """Microseconds of each acquire with its release."""
    found = []
    for _ in range(times):
        started = time.perf_counter_ns()
        async with pool.acquire():
            pass
        found.append((time.perf_counter_ns() - started) / 1_000)
    return found


def cpu_s(run: Callable[..., Any], work: Callable[[], Any]) -> float:
    start = time.process_time()
    run(work())
    return time.process_time() - start


# Acquiring


def test_a_warm_acquisition_waits_for_nothing(measured: Any, run: Any, backend: Backend) -> None:
    pool = backend.pool(min_size=20, max_size=20)
    run(pool.start())
    measured.each(lambda: run(borrow_timed(pool)))
    assert (pool.stats().connections_num, pool.stats().pool_available) == (20, 20)
    assert pool.stats().requests_queued == 0


def test_a_warm_acquisition_stays_near_a_bare_deque(measured: Any, run: Any, backend: Backend) -> None:
    pool = backend.pool(min_size=1, max_size=20)
    bare: deque[object] = deque([object()] * 20)

    async def one() -> object:
        return bare.pop()

    async def floor() -> None:
        for _ in range(OPERATIONS):
            bare.append(await one())

    measured(lambda: run(borrow(pool)))
    pairs = [(cpu_s(run, lambda: borrow(pool)), cpu_s(run, floor)) for _ in range(25)]
    assert min(ours for ours, _ in pairs) < 12 * min(theirs for _, theirs in pairs)


def test_a_warm_acquisition_costs_less_than_that_of_psycopg_pool(measured: Any, run: Any) -> None:
    """The same server, twenty connections each, in turns."""
    backend = postgresql()
    theirs = pytest.importorskip("psycopg_pool", reason="psycopg_pool is not installed")
    peer = theirs.AsyncConnectionPool(POSTGRES, min_size=20, max_size=20, open=False)
    run(peer.open())
    run(peer.wait(timeout=60))
    pool = backend.pool(min_size=20, max_size=20)
    run(pool.start())

    async def borrow_theirs() -> None:
        for _ in range(OPERATIONS):
            async with peer.connection():
                pass

    measured(lambda: run(borrow(pool)))
    pairs = [(cpu_s(run, lambda: borrow(pool)), cpu_s(run, borrow_theirs)) for _ in range(9)]
    run(pool.close())
    run(peer.close())
    ratio = min(ours for ours, _ in pairs) / min(other for _, other in pairs)
    measured.note["cpu_over_psycopg_pool"] = ratio
    assert ratio < 0.7


def test_a_cold_start_makes_the_least_size_and_no_more(measured: Any, run: Any, backend: Backend) -> None:
    def start() -> ConnectionPool[Any]:
        pool = backend.pool(min_size=5, max_size=20)
        run(pool.start())
        return pool

    pool = measured.rounds(start, rounds=5)
    assert (pool.stats().pool_size, pool.stats().pool_available) == (5, 5)


def test_120_simultaneous_requests_on_20_connections_are_served_in_order(
    measured: Any, run: Any, backend: Backend
) -> None:
    pool = backend.pool(max_size=20)

    async def crowd() -> list[int]:
        served: list[int] = []

        async def one(number: int) -> None:
            async with pool.acquire() as connection:
                served.append(number)
                await asyncio.sleep(0)
                assert await backend.ask(connection) == 0

        await asyncio.gather(*(one(number) for number in range(120)))
        return served

    run(crowd())  # all connections are there from now on
    assert measured.rounds(lambda: run(crowd())) == list(range(120))
    assert pool.stats().pool_size <= 20


def test_under_churn_every_connection_is_replaced_and_every_request_answered(
    measured: Any, run: Any, backend: Backend
) -> None:
    """Every connection is worn out when it comes back: making and destroying without end."""
    pool = backend.pool(max_size=4, max_lifetime_s=0.0)

    async def churn() -> list[int]:
        return await asyncio.gather(*(use(backend, pool) for _ in range(20)))

    assert measured.rounds(lambda: run(churn())) == [0] * 20
    stats = pool.stats()
    assert stats.connections_num == stats.connections_destroyed + stats.pool_size >= 20


def test_bursts_are_answered_without_growing_past_the_largest_size(
    measured: Any, run: Any, backend: Backend
) -> None:
    pool = backend.pool(min_size=2, max_size=10)

    async def bursts() -> None:
        for size in (50, 1, 80, 2):
            assert await asyncio.gather(*(use(backend, pool) for _ in range(size))) == [0] * size

    measured.rounds(lambda: run(bursts()))
    assert pool.stats().pool_size <= 10
    assert pool.stats().requests_errors == 0


def test_a_request_that_waits_too_long_is_told_so_and_leaves_no_trace(
    measured: Any, run: Any, backend: Backend
) -> None:
    pool = backend.pool(max_size=1)

    async def time_out() -> int:
        async with pool.acquire():
            waiting = [pool.acquire(timeout_ms=0.1)._lend() for _ in range(50)]
            answers = await asyncio.gather(*waiting, return_exceptions=True)
        return sum(isinstance(answer, PoolTimeout) for answer in answers)

    assert measured.rounds(lambda: run(time_out())) == 50
    assert (pool.stats().requests_waiting, pool.stats().pool_available) == (0, 1)


# The life of a connection


def test_creating_a_connection_through_the_pool_costs_little_more_than_the_connection(
    measured: Any, run: Any, backend: Backend
) -> None:
    pool = backend.pool(max_size=1)

    async def pooled() -> None:
        await pool.release(await pool.acquire(), broken=True)

    async def bare() -> None:
        closing = backend.close(await backend.create())
        if closing is not None:
            await closing

    measured.rounds(lambda: run(pooled()))
    pairs = [(cpu_s(run, pooled), cpu_s(run, bare)) for _ in range(15)]
    assert min(ours for ours, _ in pairs) < 3 * min(theirs for _, theirs in pairs)


def test_destroying_a_broken_connection_frees_its_place(measured: Any, run: Any, backend: Backend) -> None:
    pool = backend.pool(max_size=1)

    async def destroy() -> tuple[int, int]:
        await pool.release(await pool.acquire(), broken=True)
        return pool.stats().pool_size, await use(backend, pool)

    assert measured.rounds(lambda: run(destroy())) == (0, 0)
    assert pool.stats().connections_destroyed == pool.stats().returns_bad > 0


@pytest.mark.parametrize("waits", [False, True], ids=["sync", "async"])
def test_lifecycle_hooks_run_once_for_each_event(
    measured: Any, run: Any, backend: Backend, waits: bool
) -> None:
    counts = dict.fromkeys(("create", "acquire", "release", "destroy"), 0)

    def hook(name: str) -> Callable[[Any], Any]:
        def count(_: Any) -> None:
            counts[name] += 1

        async def count_later(connection: Any) -> None:
            count(connection)

        return count_later if waits else count

    pool = backend.pool(max_size=1, **{f"on_{name}": hook(name) for name in counts})
    measured.rounds(lambda: run(borrow(pool, 100)))
    run(pool.close())
    assert counts["create"] == counts["destroy"] == 1
    assert counts["acquire"] == counts["release"] == pool.stats().requests_num


def test_connections_that_fail_are_replaced_before_anyone_gets_them(
    measured: Any, run: Any, backend: Backend
) -> None:
    pool = backend.pool(max_size=4, check=backend.works)

    async def break_and_ask() -> list[int]:
        lent = [await pool.acquire() for _ in range(4)]
        for connection in lent[2:]:  # they die in the pool's hands
            closing = backend.close(connection)
            if closing is not None:
                await closing
        for connection in lent:
            await pool.release(connection)
        return await asyncio.gather(*(use(backend, pool) for _ in range(4)))

    assert measured.rounds(lambda: run(break_and_ask())) == [0] * 4
    stats = pool.stats()
    assert stats.connections_lost == stats.connections_destroyed > 0
    assert stats.requests_errors == 0


# Size


def test_raising_the_size_serves_those_who_wait_at_once(measured: Any, run: Any, backend: Backend) -> None:
    pool = backend.pool(min_size=1, max_size=2)

    async def scale_up() -> int:
        lent = [await pool.acquire() for _ in range(2)]
        more = [asyncio.ensure_future(use(backend, pool)) for _ in range(8)]
        await asyncio.sleep(0)
        await pool.resize(1, 10)
        assert await asyncio.gather(*more) == [0] * 8
        high = pool.stats().pool_size
        for connection in lent:
            await pool.release(connection)
        await pool.resize(1, 2)
        return high

    assert measured.rounds(lambda: run(scale_up())) > 2


def test_lowering_the_size_destroys_what_is_idle_and_later_what_comes_back(
    measured: Any, run: Any, backend: Backend
) -> None:
    pool = backend.pool(min_size=0, max_size=8)

    async def scale_down() -> tuple[int, int]:
        lent = [await pool.acquire() for _ in range(8)]
        for connection in lent[4:]:
            await pool.release(connection)
        await pool.resize(0, 2)
        at_once = pool.stats().pool_size
        for connection in lent[:4]:
            await pool.release(connection)
        later = pool.stats().pool_size
        await pool.resize(0, 8)
        return at_once, later

    assert measured.rounds(lambda: run(scale_down()), rounds=5) == (4, 2)


def test_the_size_is_right_for_a_load_that_varies(measured: Any, run: Any, backend: Backend) -> None:
    now = 0.0
    pool = backend.pool(min_size=1, max_size=16, max_idle_s=10, clock=lambda: now)

    async def load() -> list[int]:
        nonlocal now
        found = []
        for users in (16, 3, 12, 1):
            now += 11
            lent = [await pool.acquire() for _ in range(users)]
            for connection in lent:
                await pool.release(connection)
            await pool.tend()
            found.append(pool.stats().pool_size)
        return found

    assert measured.rounds(lambda: run(load()), rounds=5) == [16, 3, 12, 1]


def test_what_the_pool_adds_to_a_connection_is_below_a_kilobyte(
    measured: Any, run: Any, backend: Backend
) -> None:
    """A real connection is lent again and again by a factory, so that only the pool's own bytes grow."""
    connection = run(backend.create())

    async def factory() -> Any:
        return connection

    async def grown() -> float:
        pool = ConnectionPool(factory, destroy=lambda _: None, min_size=1000, max_size=1000, upkeep_s=None)
        gc.collect()
        tracemalloc.start()
        await pool.start()
        gc.collect()
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await pool.close()
        return used / 1000

    measured.note["bytes_per_connection"] = measured.rounds(lambda: run(grown()), rounds=3)
    closing = backend.close(connection)
    if closing is not None:
        run(closing)
    assert measured.note["bytes_per_connection"] < 1_000


# Statistics


def test_statistics_cost_no_more_than_a_few_acquisitions(
    measured: Any, run: Any, backend: Backend, best_ns: Any
) -> None:
    pool = backend.pool(max_size=20)
    run(borrow(pool))
    assert measured(pool.stats).requests_num == OPERATIONS
    assert best_ns(pool.stats) < best_ns(lambda: run(borrow(pool, 100)))


def test_lifecycle_counts_are_exact_over_a_mixed_life(measured: Any, run: Any, backend: Backend) -> None:
    tried = 0

    async def every_third_fails() -> Any:
        nonlocal tried
        tried += 1
        if tried % 3 == 0:
            raise OSError("no more")
        return await backend.create()

    pool = backend.pool(max_size=3, create_attempts=1, factory=every_third_fails)

    async def life() -> int:
        failed = 0
        for step in range(30):
            try:
                connection = await pool.acquire()
            except OSError:
                failed += 1
            else:
                await pool.release(connection, broken=step % 2 == 0)
        return failed

    failed = measured.rounds(lambda: run(life()), rounds=1)
    stats = pool.stats()
    assert stats.requests_num == 30
    assert stats.requests_errors == stats.connections_errors == failed == tried // 3
    assert stats.connections_num == tried
    assert stats.connections_num - stats.connections_errors == stats.connections_destroyed + stats.pool_size
    assert backend.made == stats.connections_num - stats.connections_errors
