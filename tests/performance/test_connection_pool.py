"""The connection pool over real SQLite connections: behaviour asserted, times reported by pytest-benchmark.

No case asserts a wall-clock time; where a cost has a limit, it is a ratio to a baseline of the same run,
both in CPU time.
"""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from retain.config import Settings
from retain.errors import PoolTimeout
from retain.pool import ConnectionPool
from retain.storage.connection import connect
from retain.storage.sqlite import SqliteStore

OPERATIONS = 500

Pools = Callable[..., ConnectionPool[apsw.Connection]]


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def pools(home: Path, runner: asyncio.Runner) -> Iterator[Pools]:
    """Makes pools of reading connections to a real store, and closes them."""
    settings = Settings(home=home)

    async def make_store() -> None:
        await (await SqliteStore.open(settings)).close()

    runner.run(make_store())
    made: list[ConnectionPool[apsw.Connection]] = []

    async def factory() -> apsw.Connection:
        return connect(settings.database, writable=False)

    def pool(**options: Any) -> ConnectionPool[apsw.Connection]:
        made.append(
            ConnectionPool(
                options.pop("factory", factory),
                destroy=lambda connection: connection.close(),
                **({"upkeep_s": None} | options),
            )
        )
        return made[-1]

    yield pool
    for one in made:
        assert runner.run(one.close(timeout_ms=5_000))
        assert one.stats().pool_size == 0


async def works(connection: apsw.Connection) -> bool:
    return bool(connection.execute("SELECT 1").fetchall())


async def ask(pool: ConnectionPool[apsw.Connection]) -> int:
    async with pool.acquire() as connection:
        return int(connection.execute("SELECT count(*) FROM memory").fetchall()[0][0])


async def borrow(pool: ConnectionPool[apsw.Connection], times: int = OPERATIONS) -> None:
    for _ in range(times):
        async with pool.acquire():
            pass


@pytest.mark.parametrize("checked", [False, True], ids=["unchecked", "checked"])
def test_warm_acquisition(
    benchmark: BenchmarkFixture, runner: asyncio.Runner, pools: Pools, checked: bool
) -> None:
    pool = pools(min_size=20, max_size=20, check=works if checked else None)
    runner.run(pool.start())
    benchmark.extra_info["operations"] = OPERATIONS
    benchmark(lambda: runner.run(borrow(pool)))
    assert (pool.stats().connections_num, pool.stats().pool_available) == (20, 20)
    assert pool.stats().requests_queued == 0


def test_a_warm_acquisition_stays_near_a_bare_deque(runner: asyncio.Runner, pools: Pools) -> None:
    pool = pools(max_size=20)
    bare: deque[object] = deque([object()] * 20)

    async def floor() -> None:
        for _ in range(OPERATIONS):
            bare.append(await one())

    async def one() -> object:
        return bare.pop()

    def least(work: Callable[[], Any]) -> float:
        start = time.process_time()
        runner.run(work())
        return time.process_time() - start

    pairs = [(least(lambda: borrow(pool)), least(floor)) for _ in range(25)]
    assert min(ours for ours, _ in pairs) < 12 * min(theirs for _, theirs in pairs)


def test_cold_start(benchmark: BenchmarkFixture, runner: asyncio.Runner, pools: Pools) -> None:
    def start() -> ConnectionPool[apsw.Connection]:
        pool = pools(min_size=5, max_size=20)
        runner.run(pool.start())
        return pool

    pool = benchmark.pedantic(start, rounds=20)
    assert (pool.stats().pool_size, pool.stats().pool_available) == (5, 5)


def test_120_at_once_on_20_connections_are_served_in_order(
    benchmark: BenchmarkFixture, runner: asyncio.Runner, pools: Pools
) -> None:
    pool = pools(max_size=20)

    async def crowd() -> list[int]:
        served: list[int] = []

        async def use(number: int) -> None:
            async with pool.acquire() as connection:
                served.append(number)
                await asyncio.sleep(0)
                await works(connection)

        await asyncio.gather(*(use(number) for number in range(120)))
        return served

    assert benchmark(lambda: runner.run(crowd())) == list(range(120))
    assert pool.stats().pool_size <= 20


def test_churn(benchmark: BenchmarkFixture, runner: asyncio.Runner, pools: Pools) -> None:
    """Every connection is worn out when it comes back: making and destroying without end."""
    pool = pools(max_size=4, max_lifetime_s=0.0)

    async def churn() -> None:
        await asyncio.gather(*(ask(pool) for _ in range(20)))

    benchmark(lambda: runner.run(churn()))
    stats = pool.stats()
    assert stats.connections_num == stats.connections_destroyed + stats.pool_size


def test_bursts(benchmark: BenchmarkFixture, runner: asyncio.Runner, pools: Pools) -> None:
    pool = pools(min_size=2, max_size=10)

    async def bursts() -> None:
        for size in (50, 1, 80, 2):
            assert await asyncio.gather(*(ask(pool) for _ in range(size))) == [0] * size

    benchmark(lambda: runner.run(bursts()))
    assert pool.stats().pool_size <= 10
    assert pool.stats().requests_errors == 0


def test_cost_of_creating_and_destroying(
    benchmark: BenchmarkFixture, runner: asyncio.Runner, pools: Pools
) -> None:
    pool = pools(max_size=1)

    async def replace() -> None:
        await pool.release(await pool.acquire(), broken=True)

    benchmark(lambda: runner.run(replace()))
    assert pool.stats().connections_num == pool.stats().connections_destroyed == pool.stats().returns_bad


@pytest.mark.parametrize("waits", [False, True], ids=["sync", "async"])
def test_lifecycle_hooks(
    benchmark: BenchmarkFixture, runner: asyncio.Runner, pools: Pools, waits: bool
) -> None:
    counts = dict.fromkeys(("create", "acquire", "release", "destroy"), 0)

    def hook(name: str) -> Callable[[apsw.Connection], Any]:
        def count(_: apsw.Connection) -> None:
            counts[name] += 1

        async def count_later(connection: apsw.Connection) -> None:
            count(connection)

        return count_later if waits else count

    pool = pools(max_size=1, **{f"on_{name}": hook(name) for name in counts})
    benchmark(lambda: runner.run(borrow(pool, 100)))
    runner.run(pool.close())
    assert counts["create"] == counts["destroy"] == 1
    assert counts["acquire"] == counts["release"] == pool.stats().requests_num


def test_scaling_up_and_down(benchmark: BenchmarkFixture, runner: asyncio.Runner, pools: Pools) -> None:
    pool = pools(min_size=1, max_size=2)

    async def scale() -> tuple[int, int]:
        lent = [await pool.acquire() for _ in range(2)]
        more = [asyncio.ensure_future(ask(pool)) for _ in range(8)]
        await asyncio.sleep(0)
        await pool.resize(1, 10)
        assert await asyncio.gather(*more) == [0] * 8
        high = pool.stats().pool_size
        for connection in lent:
            await pool.release(connection)
        await pool.resize(1, 2)
        return high, pool.stats().pool_size

    high, low = benchmark(lambda: runner.run(scale()))
    assert (high > 2, low) == (True, 2)


def test_the_size_follows_a_load_that_varies(
    benchmark: BenchmarkFixture, runner: asyncio.Runner, pools: Pools
) -> None:
    now = 0.0
    pool = pools(min_size=1, max_size=16, max_idle_s=10, clock=lambda: now)

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

    assert benchmark(lambda: runner.run(load())) == [16, 3, 12, 1]


def test_bytes_of_the_pool_for_each_connection(benchmark: BenchmarkFixture, runner: asyncio.Runner) -> None:
    """What the pool adds to a connection, the connections themselves left out."""

    async def factory() -> object:
        return marker

    async def measure() -> float:
        pool = ConnectionPool(factory, destroy=lambda _: None, min_size=1000, max_size=1000, upkeep_s=None)
        gc.collect()
        tracemalloc.start()
        await pool.start()
        gc.collect()
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await pool.close()
        return used / 1000

    marker = object()
    bytes_each = benchmark.pedantic(lambda: runner.run(measure()), rounds=3)
    benchmark.extra_info["bytes_per_connection"] = bytes_each
    assert bytes_each < 1000


def test_acquire_timeouts(benchmark: BenchmarkFixture, runner: asyncio.Runner, pools: Pools) -> None:
    pool = pools(max_size=1)

    async def time_out() -> int:
        async with pool.acquire():
            waiting = [pool.acquire(timeout_ms=0.1)._lend() for _ in range(50)]
            answers = await asyncio.gather(*waiting, return_exceptions=True)
        return sum(isinstance(answer, PoolTimeout) for answer in answers)

    assert benchmark.pedantic(lambda: runner.run(time_out()), rounds=5) == 50
    assert (pool.stats().requests_waiting, pool.stats().pool_available) == (0, 1)


def test_recovery_from_failing_connections(
    benchmark: BenchmarkFixture, runner: asyncio.Runner, pools: Pools
) -> None:
    pool = pools(max_size=4, check=works)

    async def break_and_ask() -> list[int]:
        lent = [await pool.acquire() for _ in range(4)]
        for connection in lent[2:]:
            connection.close()  # it dies in the pool's hands
        for connection in lent:
            await pool.release(connection)
        return await asyncio.gather(*(ask(pool) for _ in range(4)))

    assert benchmark(lambda: runner.run(break_and_ask())) == [0] * 4
    stats = pool.stats()
    assert (stats.connections_lost > 0, stats.connections_lost, stats.requests_errors) == (
        True, stats.connections_destroyed, 0,
    )  # fmt: skip


def test_statistics_are_cheap(benchmark: BenchmarkFixture, runner: asyncio.Runner, pools: Pools) -> None:
    pool = pools(max_size=20)
    runner.run(borrow(pool))
    assert benchmark(pool.stats).requests_num == OPERATIONS


def test_counts_are_exact_over_a_mixed_life(
    benchmark: BenchmarkFixture, runner: asyncio.Runner, pools: Pools
) -> None:
    made = 0
    pool = pools(max_size=3, create_attempts=1)
    factory = pool._factory

    async def every_third_fails() -> apsw.Connection:
        nonlocal made
        made += 1
        if made % 3 == 0:
            raise OSError("no more")
        return await factory()

    pool._factory = every_third_fails

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

    before = pool.stats()
    failed = benchmark.pedantic(lambda: runner.run(life()), rounds=1)
    after = pool.stats()
    assert after.requests_num - before.requests_num == 30
    assert after.requests_errors == after.connections_errors == failed == made // 3
    assert after.connections_num == made
    assert after.connections_num - after.connections_errors == after.connections_destroyed + after.pool_size
