"""The connection pool: warm and cold, many at once, failures, exact counts."""

import asyncio

import pytest

from retain.errors import PoolTimeout
from retain.pool import ConnectionPool

pytestmark = pytest.mark.benchmark(group="pool")

CONNECTIONS = 20


class Source:
    """Makes numbered connections, fails when told to, and counts what was closed."""

    def __init__(self, failures=0):
        self.made = self.closed = 0
        self.failures = failures

    async def make(self):
        if self.failures:
            self.failures -= 1
            raise ConnectionError("refused")
        self.made += 1
        return self.made

    async def close(self, _):
        self.closed += 1

    def pool(self, **options):
        return ConnectionPool(self.make, destroy=self.close, **{"max_size": CONNECTIONS, **options})


async def borrowed(pool, times):
    for _ in range(times):
        async with pool.acquire():
            pass


def test_a_warm_pool_lends_without_making_and_costs_a_small_multiple_of_a_queue(measured, runner, best_ns):
    source = Source()
    pool = source.pool(min_size=CONNECTIONS)
    runner.run(pool.start())
    queue = asyncio.Queue()
    queue.put_nowait(object())

    async def through_queue():
        for _ in range(200):
            queue.put_nowait(await queue.get())

    def ours():
        return runner.run(borrowed(pool, 200))

    measured(ours)
    assert source.made == CONNECTIONS
    assert best_ns(ours) <= 40 * best_ns(lambda: runner.run(through_queue()))


def test_a_cold_pool_makes_one_connection_for_each_that_is_needed(measured, runner):
    def cold():
        source = Source()
        runner.run(borrowed(source.pool(), 50))
        return source.made

    assert measured(cold) == 1


def test_a_hundred_at_once_are_served_in_the_order_they_came(measured, runner):
    async def crowd():
        pool = Source().pool(max_size=2)
        served = []

        async def one(number):
            async with pool.acquire():
                served.append(number)
                await asyncio.sleep(0)

        await asyncio.gather(*(one(number) for number in range(100)))
        return served, pool.stats()

    served, stats = measured(lambda: runner.run(crowd()))
    assert served == list(range(100))
    assert (stats.created, stats.acquired, stats.waiting) == (2, 100, 0)


def test_bursts_reuse_what_earlier_bursts_made(measured, runner):
    async def bursts():
        source = Source()
        pool = source.pool()

        async def hold():
            async with pool.acquire():
                await asyncio.sleep(0)

        for _ in range(10):
            await asyncio.gather(*(hold() for _ in range(CONNECTIONS)))
        return source.made

    assert measured(lambda: runner.run(bursts())) == CONNECTIONS


def test_a_pool_works_again_once_its_source_does(measured, runner):
    async def recovered():
        source = Source(failures=30)
        pool = source.pool(max_size=1)
        failed = 0
        for _ in range(40):
            try:
                await borrowed(pool, 1)
            except ConnectionError:
                failed += 1
        return failed, pool.stats()

    failed, stats = measured(lambda: runner.run(recovered()))
    assert failed == 30
    assert (stats.size, stats.idle, stats.created) == (1, 1, 1)


def test_a_wait_without_end_ends_with_a_timeout_that_is_counted(measured, runner):
    async def starved():
        pool = Source().pool(max_size=1, acquire_timeout_ms=1)
        async with pool.acquire():
            with pytest.raises(PoolTimeout):
                await borrowed(pool, 1)
        await borrowed(pool, 1)
        return pool.stats()

    stats = measured(lambda: runner.run(starved()))
    assert (stats.timeouts, stats.acquired, stats.waiting) == (1, 2, 0)


def test_what_was_made_was_closed_in_the_end(measured, runner):
    async def life():
        source = Source()
        pool = source.pool()
        await asyncio.gather(*(borrowed(pool, 5) for _ in range(50)))
        await pool.close()
        return source, pool.stats()

    source, stats = measured(lambda: runner.run(life()))
    assert source.made == source.closed == stats.created == stats.destroyed
    assert stats.size == 0


def test_statistics_cost_less_than_a_few_acquisitions(measured, runner, best_ns):
    pool = Source().pool()
    runner.run(borrowed(pool, 1))
    stats = measured(pool.stats)
    assert stats.acquired == 1
    assert best_ns(pool.stats) <= best_ns(lambda: runner.run(borrowed(pool, 200)))
