"""The connection pool: fair, bounded, and whole after every failure and every cancellation."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from retain.errors import InvalidInput, PoolClosed, PoolTimeout
from retain.pool import ConnectionPool

pytestmark = pytest.mark.anyio

STEPS_MAX = 60
"""No scenario below takes more steps of the event loop than this."""


class Connection:
    def __init__(self, number: int) -> None:
        self.number = number
        self.destroyed = 0
        self.lent = False
        self.works = True


class World:
    """A factory whose connections can be counted, and whose every call yields to the loop twice."""

    def __init__(self) -> None:
        self.made: list[Connection] = []
        self.now = 0.0
        self.failures: list[Exception] = []
        self.check_failures: list[BaseException] = []
        self.destroy_failures: list[Exception] = []

    async def factory(self) -> Connection:
        await pause()
        if self.failures:
            raise self.failures.pop(0)
        self.made.append(Connection(len(self.made)))
        return self.made[-1]

    async def destroy(self, connection: Connection) -> None:
        connection.destroyed += 1
        await pause()
        if self.destroy_failures:
            raise self.destroy_failures.pop(0)

    async def check(self, connection: Connection) -> bool:
        await pause()
        if self.check_failures:
            raise self.check_failures.pop(0)
        return connection.works

    def pool(self, **options: Any) -> ConnectionPool[Connection]:
        return ConnectionPool(
            self.factory,
            destroy=self.destroy,
            clock=lambda: self.now,
            **({"on_acquire": _lend, "on_release": _take_back, "jitter": 0.0} | options),
        )

    def alive(self) -> int:
        return sum(not connection.destroyed for connection in self.made)


def _lend(connection: Connection) -> None:
    assert not connection.lent, "a connection was lent twice at one time"
    assert not connection.destroyed, "a destroyed connection was lent"
    connection.lent = True


def _take_back(connection: Connection) -> None:
    connection.lent = False


async def pause() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def settle() -> None:
    for _ in range(STEPS_MAX):
        await asyncio.sleep(0)


async def assert_whole(world: World, pool: ConnectionPool[Connection], max_size: int) -> None:
    """Nobody holds a connection: every place is idle or free, and all places can be had at once."""
    await settle()
    stats = pool.stats()
    assert (stats.requests_waiting, stats.pool_size) == (0, stats.pool_available)
    assert world.alive() == stats.pool_size
    assert all(connection.destroyed <= 1 for connection in world.made)
    everyone_in = asyncio.Barrier(max_size)

    async def use() -> None:
        async with pool.acquire():
            await everyone_in.wait()

    async with asyncio.timeout(5):
        await asyncio.gather(*(use() for _ in range(max_size)))


async def test_a_connection_is_made_on_demand_and_used_again() -> None:
    world = World()
    pool = world.pool()
    for _ in range(3):
        async with pool.acquire() as connection:
            assert connection is world.made[0]
    stats = pool.stats()
    assert (stats.pool_size, stats.pool_available, stats.connections_num, stats.requests_num) == (1, 1, 1, 3)


async def test_one_hundred_waiters_on_twenty_connections_are_served_in_their_order() -> None:
    world = World()
    pool = world.pool(max_size=20)
    served: list[int] = []
    gates = [asyncio.Event() for _ in range(120)]

    async def use(number: int) -> None:
        async with pool.acquire():
            served.append(number)
            await gates[number].wait()

    users = []
    for number in range(120):
        users.append(asyncio.create_task(use(number)))
        await asyncio.sleep(0)
    await settle()
    assert served == list(range(20))
    assert (pool.stats().pool_size, pool.stats().requests_waiting) == (20, 100)
    # The connections come back in an order that has nothing to do with the line.
    leaving = sorted(range(120), key=lambda n: (n // 20, (n * 7) % 20))
    for number in leaving:
        gates[number].set()
        await settle()
    await asyncio.gather(*users)
    assert served == list(range(120))
    assert len(world.made) == 20


async def test_who_comes_while_others_wait_stands_behind_them() -> None:
    world = World()
    pool = world.pool(max_size=1)
    order: list[str] = []

    async def use(name: str) -> None:
        async with pool.acquire():
            order.append(name)

    async with pool.acquire():
        first = asyncio.create_task(use("first"))
        await settle()
    late = asyncio.create_task(use("late"))  # the connection is free, but it already belongs to the first
    await asyncio.gather(first, late)
    assert order == ["first", "late"]


async def test_waiting_longer_than_the_limit_is_a_timeout_and_leaves_no_trace() -> None:
    world = World()
    pool = world.pool(max_size=1, acquire_timeout_ms=1)
    async with pool.acquire():
        with pytest.raises(PoolTimeout, match=r"within 0\.001 s \(1 in use\)"):
            async with pool.acquire():
                pass
        assert (pool.stats().requests_timeouts, pool.stats().requests_waiting) == (1, 0)
    await assert_whole(world, pool, 1)


async def test_the_time_spent_waiting_is_counted_by_the_injected_clock() -> None:
    world = World()
    pool = world.pool(max_size=1)

    async def wait() -> None:
        async with pool.acquire():
            pass

    async with pool.acquire():
        waiter = asyncio.create_task(wait())
        await settle()
        world.now += 2
    await waiter
    assert pool.stats().requests_wait_ms_max == pool.stats().requests_wait_ms == 2_000


@pytest.mark.parametrize(("options", "field"), [({"max_size": 0}, "max_size"), ({"min_size": 11}, "min_size"),
                                               ({"min_size": -1}, "min_size")])  # fmt: skip
async def test_sizes_that_contradict_each_other_are_refused(options: dict[str, int], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        World().pool(**options)
    assert caught.value.field == field


async def test_a_factory_that_fails_costs_no_place_and_wakes_the_next_in_line() -> None:
    world = World()
    world.failures = [OSError("one"), OSError("two")]
    pool = world.pool(max_size=1)

    async def use() -> int:
        async with pool.acquire() as connection:
            return connection.number

    answers = await asyncio.gather(use(), use(), use(), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["one", "two", "0"]
    await assert_whole(world, pool, 1)


@pytest.mark.parametrize("failure", [None, OSError("the check broke")])
async def test_a_connection_that_fails_its_check_is_replaced(failure: Exception | None) -> None:
    world = World()
    pool = world.pool(check=world.check, max_size=1)
    async with pool.acquire():
        pass
    world.made[0].works = failure is not None
    if failure is not None:
        world.check_failures = [failure]
    async with pool.acquire() as connection:
        assert connection is world.made[1]
    stats = pool.stats()
    assert (stats.connections_lost, stats.connections_destroyed, stats.pool_size) == (1, 1, 1)
    await assert_whole(world, pool, 1)


async def test_a_block_that_fails_gives_back_a_connection_that_still_works() -> None:
    world = World()
    pool = world.pool(check=world.check, max_size=1)
    with pytest.raises(KeyError):
        async with pool.acquire():
            raise KeyError
    assert pool.stats().pool_available == 1
    await assert_whole(world, pool, 1)


@pytest.mark.parametrize("check_breaks", [True, False])
async def test_a_block_that_fails_does_not_give_back_a_broken_connection(check_breaks: bool) -> None:
    world = World()
    pool = world.pool(check=world.check, max_size=1)
    with pytest.raises(KeyError):  # noqa: PT012
        async with pool.acquire() as connection:
            connection.works = False
            world.check_failures = [OSError()] if check_breaks else []
            raise KeyError
    assert (pool.stats().pool_size, pool.stats().connections_lost, world.alive()) == (0, 1, 0)
    await assert_whole(world, pool, 1)


async def test_a_check_that_is_cancelled_from_inside_destroys_the_connection_of_a_failed_block() -> None:
    world = World()
    pool = world.pool(check=world.check, max_size=1)
    with pytest.raises(asyncio.CancelledError):  # noqa: PT012
        async with pool.acquire():
            world.check_failures = [asyncio.CancelledError()]
            raise KeyError
    assert (pool.stats().pool_size, world.alive()) == (0, 0)


async def test_errors_while_destroying_are_logged_and_cost_no_place(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.destroy_failures = [OSError("close failed")]
    pool = world.pool(max_size=1, max_lifetime_s=10)
    with caplog.at_level(logging.WARNING):
        async with pool.acquire():
            world.now = 11
    assert "pool.destroy_failed" in caplog.text
    assert pool.stats().connections_destroyed == 1
    await assert_whole(world, pool, 1)


async def test_a_connection_past_its_lifetime_is_replaced_when_it_comes_back() -> None:
    world = World()
    pool = world.pool(max_size=1, max_lifetime_s=10)
    async with pool.acquire():
        world.now = 10
    assert pool.stats().pool_available == 1
    async with pool.acquire():
        world.now = 10.5
    assert (pool.stats().pool_size, world.made[0].destroyed) == (0, 1)


async def test_the_place_of_a_worn_out_connection_goes_to_the_first_in_line() -> None:
    world = World()
    pool = world.pool(max_size=1, max_lifetime_s=10)

    async def use() -> int:
        async with pool.acquire() as connection:
            return connection.number

    async with pool.acquire():
        waiter = asyncio.create_task(use())
        await settle()
        world.now = 11
    assert await waiter == 1
    await assert_whole(world, pool, 1)


async def test_connections_idle_for_too_long_are_destroyed_down_to_the_least_number() -> None:
    world = World()
    pool = world.pool(min_size=1, max_size=4, max_idle_s=5)
    lent = [pool.acquire() for _ in range(4)]
    for block in lent:
        await block.__aenter__()
    for block in lent[:3]:
        await block.__aexit__(None, None, None)
    world.now = 6
    await lent[3].__aexit__(None, None, None)
    assert (pool.stats().pool_available, world.alive()) == (1, 1)
    await assert_whole(world, pool, 4)


async def test_starting_makes_the_least_number_of_connections() -> None:
    world = World()
    pool = world.pool(min_size=3, max_size=4)
    await pool.start()
    assert (pool.stats().pool_size, pool.stats().pool_available) == (3, 3)


async def test_a_start_that_fails_halfway_gives_back_what_it_made() -> None:
    world = World()
    pool = world.pool(min_size=3, max_size=3)
    make = world.factory

    async def second_fails() -> Connection:
        if len(world.made) == 1 and not world.failures:
            world.failures = [OSError("no more")]
        return await make()

    pool._factory = second_fails
    with pytest.raises(OSError, match="no more"):
        await pool.start()
    pool._factory = make
    await assert_whole(world, pool, 3)


async def test_closing_fails_the_waiters_and_destroys_what_comes_back() -> None:
    world = World()
    pool = world.pool(max_size=1)

    async def use() -> None:
        async with pool.acquire():
            pass

    async with pool.acquire():
        waiters = [asyncio.create_task(use()) for _ in range(3)]
        await settle()
        waiters[0].cancel()  # a waiter that has already left the line is passed over
        await pool.close()
        answers = await asyncio.gather(*waiters, return_exceptions=True)
        assert [type(answer) for answer in answers] == [asyncio.CancelledError, PoolClosed, PoolClosed]
        assert world.alive() == 1
    assert (world.alive(), pool.stats().pool_size) == (0, 0)
    with pytest.raises(PoolClosed):
        await use()


async def test_closing_destroys_the_idle_connections() -> None:
    world = World()
    pool = world.pool(min_size=2)
    await pool.start()
    await pool.close()
    assert (world.alive(), pool.stats().pool_size) == (0, 0)


async def test_a_connection_that_is_being_made_while_the_pool_closes_is_not_lent() -> None:
    world = World()
    pool = world.pool()

    async def use() -> None:
        async with pool.acquire():
            raise AssertionError("lent by a closed pool")

    user = asyncio.create_task(use())
    await asyncio.sleep(0)
    await pool.close()
    with pytest.raises(PoolClosed):
        await user
    assert (world.alive(), pool.stats().pool_size) == (0, 0)


@pytest.mark.parametrize("hook", ["on_acquire", "on_release"])
async def test_a_hook_that_fails_does_not_lose_the_connection(hook: str) -> None:
    world = World()

    def fails(_: Connection) -> None:
        raise ValueError(hook)

    options: dict[str, Any] = {hook: fails}
    pool = ConnectionPool(world.factory, destroy=world.destroy, max_size=1, **options)
    with pytest.raises(ValueError, match=hook):
        async with pool.acquire():
            pass
    assert (pool.stats().pool_size, pool.stats().pool_available) == (1, 1)


# Cancellation at every await point: each scenario is run again and again, cancelled after 1, 2, 3 ... steps.


async def _acquire_and_use(world: World, pool: ConnectionPool[Connection]) -> None:
    async with pool.acquire():
        await pause()


async def _acquire_after_damage(world: World, pool: ConnectionPool[Connection]) -> None:
    async with pool.acquire():
        await pause()
    for connection in world.made:
        connection.works = False
    async with pool.acquire():
        await pause()


async def _fail_inside(world: World, pool: ConnectionPool[Connection]) -> None:
    try:
        async with pool.acquire() as connection:
            connection.works = False
            raise KeyError
    except KeyError:
        await pause()


async def _outlive(world: World, pool: ConnectionPool[Connection]) -> None:
    async with pool.acquire():
        world.now += 100
        await pause()


async def _start(world: World, pool: ConnectionPool[Connection]) -> None:
    await pool.start()


Scenario = Callable[[World, ConnectionPool[Connection]], Awaitable[None]]
SCENARIOS = [_acquire_and_use, _acquire_after_damage, _fail_inside, _outlive, _start]
SETTINGS: list[dict[str, Any]] = [
    {},
    {"max_lifetime_s": 50},
    {"max_lifetime_s": 50, "max_idle_s": 50},
]


@pytest.mark.parametrize("options", SETTINGS, ids=["plain", "lifetime", "idle"])
@pytest.mark.parametrize("checked", [True, False], ids=["checked", "unchecked"])
@pytest.mark.parametrize("neighbours", [0, 1, 3])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_no_place_is_lost_wherever_a_user_is_cancelled(
    scenario: Scenario, neighbours: int, checked: bool, options: dict[str, Any]
) -> None:
    finished = False
    steps = 0
    while not finished:
        steps += 1
        assert steps < STEPS_MAX
        world = World()
        pool = world.pool(min_size=1, max_size=2, check=world.check if checked else None, **options)
        others = [asyncio.create_task(_acquire_and_use(world, pool)) for _ in range(neighbours)]
        task = asyncio.ensure_future(scenario(world, pool))
        for _ in range(steps):
            await asyncio.sleep(0)
        finished = task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.gather(*others)
        await assert_whole(world, pool, 2)


@pytest.mark.parametrize("scenario", SCENARIOS[:4], ids=lambda scenario: scenario.__name__)
async def test_nothing_stays_open_wherever_cancelling_and_closing_meet(scenario: Scenario) -> None:
    for steps in range(1, 30):
        for close_first in (True, False):
            world = World()
            pool = world.pool(max_size=2, check=world.check)
            async with pool.acquire(), pool.acquire():
                pass  # two idle connections, so that the check is on the way
            tasks = [asyncio.ensure_future(scenario(world, pool)) for _ in range(3)]
            for _ in range(steps):
                await asyncio.sleep(0)
            if close_first:
                await pool.close()
            for task in tasks:
                task.cancel()
            await pool.close()
            await asyncio.gather(*tasks, return_exceptions=True)
            await settle()
            assert (world.alive(), pool.stats().pool_size, pool.stats().pool_available) == (0, 0, 0)


@pytest.mark.parametrize("worn_out", [True, False])
async def test_what_was_handed_to_a_waiter_at_the_moment_it_was_cancelled_goes_to_the_next(
    worn_out: bool,
) -> None:
    world = World()
    pool = world.pool(max_size=1, max_lifetime_s=50)
    holder = pool.acquire()
    await holder.__aenter__()
    first = asyncio.create_task(_acquire_and_use(world, pool))
    second = asyncio.create_task(_acquire_and_use(world, pool))
    await settle()
    if worn_out:
        world.now = 100  # then it is not the connection that is handed on, but its place
    leaving = asyncio.create_task(holder.__aexit__(None, None, None))
    while not leaving.done() and pool.stats().requests_waiting == 2:  # noqa: ASYNC110 - step by step on purpose
        await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    async with asyncio.timeout(5):
        await asyncio.gather(second, leaving)
    await assert_whole(world, pool, 1)


async def test_a_worn_out_connection_handed_to_a_cancelled_waiter_is_destroyed() -> None:
    world = World()
    pool = world.pool(max_size=1, max_lifetime_s=50)
    holder = pool.acquire()
    await holder.__aenter__()
    waiter = asyncio.create_task(_acquire_and_use(world, pool))
    await settle()
    await holder.__aexit__(None, None, None)
    world.now = 100
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    assert world.alive() == 0
    await assert_whole(world, pool, 1)


# The same without hooks, where borrowing takes the short way, and with hooks that wait.


async def _async_hook(_: Connection) -> None:
    await pause()


BARE: dict[str, Any] = {"on_acquire": None, "on_release": None}
WAITING: dict[str, Any] = dict.fromkeys(("on_create", "on_acquire", "on_release", "on_destroy"), _async_hook)


async def _await_and_release(world: World, pool: ConnectionPool[Connection]) -> None:
    connection = await pool.acquire()
    try:
        await pause()
    finally:
        await pool.release(connection)


async def _tend(world: World, pool: ConnectionPool[Connection]) -> None:
    async with pool.acquire():
        pass
    world.now += 60
    await pool.tend()


async def _resize(world: World, pool: ConnectionPool[Connection]) -> None:
    async with pool.acquire(), pool.acquire():
        pass
    await pool.resize(0, 1)
    await pool.resize(1, 2)


@pytest.mark.parametrize("hooks", [BARE, WAITING], ids=["bare", "waiting"])
@pytest.mark.parametrize("options", [*SETTINGS, {"create_attempts": 3, "backoff_ms": 0}], ids=str)
@pytest.mark.parametrize("checked", [True, False], ids=["checked", "unchecked"])
@pytest.mark.parametrize("neighbours", [0, 3])
@pytest.mark.parametrize(
    "scenario", [*SCENARIOS, _await_and_release, _tend, _resize], ids=lambda it: it.__name__
)
async def test_no_place_is_lost_by_the_short_way_nor_where_hooks_wait(
    scenario: Scenario, neighbours: int, checked: bool, options: dict[str, Any], hooks: dict[str, Any]
) -> None:
    finished = False
    steps = 0
    while not finished:
        steps += 1
        assert steps < 2 * STEPS_MAX
        world = World()
        check = world.check if checked else None
        pool = world.pool(min_size=1, max_size=2, check=check, **(options | hooks))
        if "create_attempts" in options:
            world.failures = [OSError("once"), OSError("twice")]
        others = [asyncio.create_task(_acquire_and_use(world, pool)) for _ in range(neighbours)]
        task = asyncio.ensure_future(scenario(world, pool))
        for _ in range(steps):
            await asyncio.sleep(0)
        finished = task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.gather(*others)
        await pool.resize(1, 2)
        await assert_whole(world, pool, 2)
        await pool.close()


async def test_a_connection_may_be_awaited_and_released_once() -> None:
    world = World()
    pool = world.pool()
    connection = await pool.acquire()
    assert pool.stats().pool_available == 0
    await pool.release(connection)
    assert pool.stats().pool_available == 1
    for stranger in (connection, Connection(9)):
        with pytest.raises(InvalidInput):
            await pool.release(stranger)


async def test_a_connection_released_as_broken_is_destroyed() -> None:
    world = World()
    pool = world.pool(max_size=1)
    await pool.release(await pool.acquire(), broken=True)
    assert (world.alive(), pool.stats().returns_bad) == (0, 1)
    await assert_whole(world, pool, 1)


async def test_a_timeout_of_the_call_goes_before_that_of_the_pool() -> None:
    world = World()
    pool = world.pool(max_size=1)
    async with pool.acquire():
        with pytest.raises(PoolTimeout, match=r"within 0\.001 s"):
            await pool.acquire(timeout_ms=1)


@pytest.mark.parametrize("stuck", ["factory", "check"])
async def test_a_factory_or_a_check_that_hangs_is_a_timeout(stuck: str) -> None:
    world = World()

    async def hang(*_: object) -> Any:
        await asyncio.Event().wait()

    pool = ConnectionPool(hang if stuck == "factory" else world.factory, destroy=world.destroy, check=hang)
    if stuck == "check":
        async with pool.acquire():
            pass
    with pytest.raises(PoolTimeout, match="in time"):
        await pool.acquire(timeout_ms=1)
    assert (pool.stats().pool_size, world.alive()) == (0, 0)


async def test_a_timeout_of_the_factory_itself_is_not_the_pools() -> None:
    world = World()
    world.failures = [TimeoutError("connect")]
    pool = world.pool()
    with pytest.raises(TimeoutError, match="connect"):
        await pool.acquire()
    assert pool.stats().requests_timeouts == 0


async def test_a_factory_that_recovers_is_tried_again_with_backoff() -> None:
    world = World()
    world.failures = [OSError("one"), OSError("two")]
    pool = world.pool(create_attempts=3, backoff_ms=0.001)
    async with pool.acquire() as connection:
        assert connection.number == 0
    assert (pool.stats().connections_num, pool.stats().connections_errors) == (3, 2)
    backing = world.pool(backoff_ms=10, backoff_max_ms=35, random=lambda: 0.5)
    assert [backing._backoff_s(n) for n in (1, 2, 3, 4, 5000)] == [0.005, 0.01, 0.0175, 0.0175, 0.0175]


async def test_hooks_see_each_connection_in_the_order_of_its_life() -> None:
    world = World()
    told: list[str] = []

    def hook(name: str) -> Callable[[Connection], Awaitable[None]]:
        async def tell(connection: Connection) -> None:
            await pause()
            told.append(f"{name} {connection.number}")

        return tell

    names = ("create", "acquire", "release", "destroy")
    pool = world.pool(**{f"on_{name}": hook(name) for name in names})
    for _ in range(2):
        async with pool.acquire():
            told.append("use")
    await pool.close()
    assert told == ["create 0", *["acquire 0", "use", "release 0"] * 2, "destroy 0"]


async def test_a_connection_whose_create_hook_fails_is_destroyed() -> None:
    world = World()

    def fails(_: Connection) -> None:
        raise ValueError("not prepared")

    pool = world.pool(on_create=fails, max_size=1)
    with pytest.raises(ValueError, match="not prepared"):
        await pool.acquire()
    assert (world.alive(), pool.stats().pool_size) == (0, 0)


async def test_upkeep_replaces_the_dead_and_ends_the_old() -> None:
    world = World()
    pool = world.pool(min_size=3, max_size=4, check=world.check, max_lifetime_s=100, max_idle_s=10)
    await pool.start()
    async with pool.acquire(), pool.acquire(), pool.acquire(), pool.acquire():
        pass
    world.made[0].works = False
    world.now = 11
    await pool.tend()
    assert [connection.destroyed for connection in world.made] == [1, 0, 0, 1, 0]  # dead, idle, and one made
    assert (pool.stats().connections_lost, pool.stats().pool_available) == (1, 3)
    world.now = 101
    await pool.tend()
    assert (world.alive(), len(world.made), pool.stats().pool_available) == (3, 7, 3)
    await pool.close()


async def test_upkeep_runs_in_one_task_from_start_to_close_and_lives_through_failures() -> None:
    world = World()
    pool = world.pool(min_size=2, max_size=4, upkeep_s=0.0, backoff_ms=0.001)
    await pool.start()
    task = pool._upkeep
    await pool.start()
    assert task is not None
    assert pool._upkeep is task
    world.now = 1
    world.failures = [OSError("down")] * 3
    for connection in [await pool.acquire() for _ in range(2)]:
        await pool.release(connection, broken=True)
    while pool.stats().pool_available < 2:  # noqa: ASYNC110 - step by step on purpose
        await asyncio.sleep(0)
    assert pool.stats().connections_errors == 3
    await pool.close()
    assert task.cancelled()
    assert world.alive() == 0


async def test_lifetimes_are_shortened_by_jitter_so_that_they_do_not_end_together() -> None:
    world = World()
    shares = iter([0.0, 0.5])
    pool = world.pool(max_size=2, max_lifetime_s=100, jitter=0.2, random=lambda: next(shares))
    async with pool.acquire(), pool.acquire():
        world.now = 95
    assert [connection.destroyed for connection in world.made] == [0, 1]


async def test_growing_gives_waiters_new_places_in_their_order() -> None:
    world = World()
    pool = world.pool(max_size=1)
    holder = await pool.acquire()
    waiters = [asyncio.ensure_future(_acquire(pool)) for _ in range(3)]
    await settle()
    await pool.resize(0, 3)
    await settle()
    assert [waiter.done() for waiter in waiters] == [True, True, False]
    await pool.release(holder)
    for waiter in waiters:
        await pool.release(await waiter)
    await assert_whole(world, pool, 3)


async def _acquire(pool: ConnectionPool[Connection]) -> Connection:
    return await pool.acquire()


@pytest.mark.parametrize("options", [BARE, {}], ids=["bare", "hooks"])
async def test_shrinking_ends_idle_connections_now_and_lent_ones_when_they_come_back(
    options: dict[str, Any],
) -> None:
    world = World()
    pool = world.pool(max_size=4, **options)
    lent = [await pool.acquire() for _ in range(4)]
    await pool.release(lent.pop())
    await pool.resize(0, 2)
    assert (pool.stats().pool_size, world.alive()) == (3, 3)
    for connection in lent:
        await pool.release(connection)
    assert (pool.stats().pool_size, pool.stats().pool_available) == (2, 2)
    await assert_whole(world, pool, 2)
    with pytest.raises(InvalidInput):
        await pool.resize(3, 2)


async def test_closing_may_wait_for_what_is_lent() -> None:
    world = World()
    pool = world.pool()
    connection = await pool.acquire()
    assert await pool.close(timeout_ms=1) is False
    closing = asyncio.ensure_future(pool.close(timeout_ms=60_000))
    await settle()
    assert not closing.done()
    await pool.release(connection)
    assert await closing is True
    assert world.alive() == 0


@pytest.mark.parametrize("options", [{"create_attempts": 0}, {"jitter": 1.0}, {"jitter": -0.1}], ids=str)
async def test_numbers_beyond_their_limits_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        World().pool(**options)


async def test_the_longest_wait_of_one_hundred_is_like_those_beside_it() -> None:
    """Time is counted in connections given back, so the figure does not depend on the machine."""
    world = World()
    pool = world.pool(max_size=20)
    ticks = 0
    waits: list[int] = []

    async def use() -> None:
        nonlocal ticks
        start = ticks
        async with pool.acquire():
            waits.append(ticks - start)
            await pause()
            ticks += 1

    await asyncio.gather(*(use() for _ in range(120)))
    last = sorted(waits)[-len(waits) // 10 :]
    assert waits == sorted(waits)  # nobody was overtaken
    assert last[-1] <= 1.5 * last[len(last) // 2]
