"""The manager of RAM pressure: order, isolation, deadlines, cooldowns, trend; gauge and clock are given."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retain.errors import InvalidInput
from retain.footprint import Level, Timing, Trend, degradation, seconds_to_limit, trend_of
from retain.pressure import MemoryManager, PressureEvent

pytestmark = pytest.mark.anyio

LEVELS = [Level.NORMAL, Level.LOW, Level.MEDIUM, Level.HIGH]
LIMIT = 1_000


class World:
    """A gauge whose level is set by hand, with a clock; a handler may lower the level."""

    def __init__(self) -> None:
        self.level = Level.NORMAL
        self.now = 0.0
        self.samples: list[tuple[float, int, int, int]] = []
        self.running = False

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def fileno(self) -> int:
        return -1

    def take(self) -> int:
        return self.level

    def measure(self) -> int:
        return self.level

    def history(self) -> list[tuple[float, int, int, int]]:
        return self.samples

    def stats(self) -> dict[str, Any]:
        used = self.samples[-1][1] if self.samples else 0
        return {"used_bytes": used, "limit_bytes": LIMIT}


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def manager(world: World) -> AsyncIterator[MemoryManager]:
    async with MemoryManager(gauge=world, clock=lambda: world.now) as manager:
        yield manager
    assert not world.running


async def press(manager: MemoryManager, world: World, level: Level) -> None:
    """The gauge changes and the loop learns of it; returns when relief has ended."""
    world.level = level
    manager.poll()
    while manager._running is not None:
        await asyncio.wait([manager._running])
        await asyncio.sleep(0)


async def test_handlers_run_by_priority_and_equals_in_order(manager: MemoryManager, world: World) -> None:
    ran: list[str] = []

    async def slowly(_: Level) -> None:
        await asyncio.sleep(0)
        ran.append("b")

    manager.on_pressure(lambda _: ran.append("d"), 9)
    manager.on_pressure(lambda _: ran.append("a"), -1)
    manager.on_pressure(slowly, 5)
    manager.on_pressure(lambda _: ran.append("c"), 5)
    await press(manager, world, Level.LOW)
    assert ran == ["a", "b", "c", "d"]


@given(priorities=st.lists(st.integers(-3, 3), max_size=12))
def test_any_priorities_give_a_stable_order(priorities: list[int]) -> None:
    async def ordered() -> list[int]:
        world, ran = World(), []
        async with MemoryManager(gauge=world, clock=lambda: world.now) as manager:
            for number, priority in enumerate(priorities):
                manager.on_pressure(lambda _, number=number: ran.append(number), priority)
            await press(manager, world, Level.HIGH)
        return ran

    expected = sorted(range(len(priorities)), key=lambda number: priorities[number])
    assert asyncio.run(ordered()) == expected


@pytest.mark.parametrize("slow", [False, True])
async def test_relief_stops_when_the_level_has_fallen(
    manager: MemoryManager, world: World, slow: bool
) -> None:
    ran: list[str] = []

    def relieve(_: Level) -> None:
        ran.append("first")
        world.level = Level.NORMAL

    async def relieve_slowly(level: Level) -> None:
        relieve(level)

    manager.on_pressure(relieve_slowly if slow else relieve, 1)
    manager.on_pressure(lambda _: ran.append("second"), 2)
    await press(manager, world, Level.HIGH)
    assert ran == ["first"]
    assert manager.level is Level.NORMAL


async def test_a_failing_handler_stops_nobody(
    manager: MemoryManager, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[str] = []

    async def fail_later(_: Level) -> None:
        await asyncio.sleep(0)
        raise KeyError("later")

    def fail(_: Level) -> None:
        raise ValueError("at once")

    manager.on_pressure(fail, 1, name="at_once")
    manager.on_pressure(fail_later, 2, name="later")
    manager.on_pressure(lambda _: ran.append("last"), 3)
    with caplog.at_level(logging.CRITICAL):
        await press(manager, world, Level.LOW)
    assert ran == ["last"]
    handlers = manager.stats()["handlers"]
    assert (handlers["at_once"]["failures"], handlers["later"]["failures"]) == (1, 1)


async def test_a_handler_past_its_deadline_is_left_behind(manager: MemoryManager, world: World) -> None:
    ran: list[str] = []
    cancelled = asyncio.Event()

    async def stuck(_: Level) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    manager.on_pressure(stuck, 1, deadline_ms=1, name="stuck")
    manager.on_pressure(lambda _: ran.append("next"), 2)
    await press(manager, world, Level.LOW)
    assert ran == ["next"]
    assert manager.stats()["handlers"]["stuck"]["missed_deadlines"] == 1
    async with asyncio.timeout(10):
        await cancelled.wait()


async def test_a_handler_is_only_called_from_its_level_on(manager: MemoryManager, world: World) -> None:
    ran: list[Level] = []
    manager.on_pressure(ran.append, level=Level.MEDIUM)
    await press(manager, world, Level.LOW)
    await press(manager, world, Level.MEDIUM)
    await press(manager, world, Level.HIGH)
    assert ran == [Level.MEDIUM, Level.HIGH]


async def test_an_unregistered_handler_is_not_called(manager: MemoryManager, world: World) -> None:
    ran: list[Level] = []
    unregister = manager.on_pressure(ran.append)
    unregister()
    unregister()
    await press(manager, world, Level.HIGH)
    assert ran == []


async def test_what_was_given_is_taken_back_only_after_a_while(manager: MemoryManager, world: World) -> None:
    levels: list[Level] = []
    manager.on_pressure(levels.append, restore=levels.append)
    await press(manager, world, Level.HIGH)
    await press(manager, world, Level.NORMAL)
    assert manager.degradation() == degradation(Level.HIGH)
    world.now += 4.9
    await press(manager, world, Level.NORMAL)
    assert levels == [Level.HIGH]
    world.now += 0.2
    await press(manager, world, Level.NORMAL)
    assert levels == [Level.HIGH, Level.NORMAL]
    assert manager.degradation() == degradation(Level.NORMAL)


async def test_a_level_that_stays_is_relieved_again_ever_more_rarely(
    manager: MemoryManager, world: World
) -> None:
    runs: list[float] = []
    manager.on_pressure(lambda _: runs.append(world.now))
    for tenth in range(100):
        world.now = tenth / 10
        await press(manager, world, Level.LOW)
    assert runs == [0.0, 1.0, 3.0, 7.0]


async def test_a_rise_during_slow_relief_is_relieved_after_it(manager: MemoryManager, world: World) -> None:
    levels: list[Level] = []

    async def relieve(level: Level) -> None:
        levels.append(level)
        if level is Level.LOW:
            world.level = Level.HIGH
            manager.poll()

    manager.on_pressure(relieve)
    await press(manager, world, Level.LOW)
    assert levels == [Level.LOW, Level.HIGH]


async def test_a_failed_allocation_takes_all_that_can_be_given_up_whatever_the_reading_says(
    manager: MemoryManager, world: World
) -> None:
    ran: list[tuple[str, Level]] = []
    restored: list[Level] = []

    async def slowly(level: Level) -> None:
        await asyncio.sleep(0)
        ran.append(("slow", level))

    manager.on_pressure(slowly, 5, level=Level.HIGH)
    manager.on_pressure(lambda level: ran.append(("quick", level)), 1, restore=restored.append)
    await asyncio.gather(manager.exhausted(), manager.exhausted(), manager.exhausted())
    assert ran == [("quick", Level.HIGH), ("slow", Level.HIGH)]  # one relief for all who asked
    assert manager.degradation() == degradation(Level.HIGH)

    world.now = 4.9
    manager.poll()
    assert restored == []
    world.now = 10
    manager.poll()
    assert restored == [Level.NORMAL]
    await manager.exhausted()
    assert len(ran) == 4


async def test_a_failed_allocation_during_relief_waits_for_it_and_takes_the_rest(
    manager: MemoryManager, world: World
) -> None:
    ran: list[Level] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(level: Level) -> None:
        begun.set()
        await go_on.wait()
        ran.append(level)

    manager.on_pressure(slowly)
    world.level = Level.LOW
    manager.poll()
    await begun.wait()
    waiting = asyncio.create_task(manager.exhausted())
    await asyncio.sleep(0)
    go_on.set()
    await waiting
    assert ran == [Level.LOW, Level.HIGH]


async def test_listeners_learn_each_change_and_one_that_fails_stops_nobody(
    manager: MemoryManager, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[tuple[Level, Level]] = []

    def fail(_: PressureEvent) -> None:
        raise ValueError

    manager.listen(fail)
    unlisten = manager.listen(lambda event: heard.append((event.before, event.level)))
    with caplog.at_level(logging.CRITICAL):
        for level in (Level.LOW, Level.LOW, Level.HIGH):
            await press(manager, world, level)
            await asyncio.sleep(0)
        unlisten()
        await press(manager, world, Level.NORMAL)
        await asyncio.sleep(0)
    assert heard == [(Level.NORMAL, Level.LOW), (Level.LOW, Level.HIGH)]
    assert manager.stats()["listener_failures"] == 3


async def test_stop_ends_a_handler_that_runs(world: World) -> None:
    begun = asyncio.Event()
    ended = asyncio.Event()

    async def stuck(_: Level) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    manager = MemoryManager(gauge=world)
    manager.on_pressure(stuck, deadline_ms=60_000)
    await manager.start()
    world.level = Level.HIGH
    manager.poll()
    await begun.wait()
    await manager.stop()
    await manager.stop()
    assert ended.is_set()


@given(st.lists(st.tuples(st.sampled_from(LEVELS), st.floats(0.001, 20)), max_size=60))
def test_timing_gives_up_at_once_and_never_takes_back_under_pressure(
    steps: list[tuple[Level, float]],
) -> None:
    timing, now = Timing(1.0, 5.0), 0.0
    for level, passed in steps:
        now += passed
        before = timing.given_up
        if timing.relief_due(level, now):
            assert level >= before
            timing.relieved(level, level, now)
        elif timing.restore_due(level, now):
            assert level < before
            timing.restored(level, now)
        assert timing.given_up >= level
        assert not timing.relief_due(level, now)
        delay = timing.wake_in(level, now)
        assert delay is None or delay >= 0


@given(st.sampled_from(LEVELS), st.sampled_from(LEVELS))
def test_a_higher_level_never_gives_up_less(one: Level, other: Level) -> None:
    low, high = degradation(min(one, other)), degradation(max(one, other))
    assert low.cache_share >= high.cache_share
    assert low.batch_share >= high.batch_share
    assert (low.trim, low.collect) <= (high.trim, high.collect)


@given(st.integers(-(10**9), 10**9), st.lists(st.integers(-5, 5), min_size=8, max_size=300))
def test_the_trend_of_a_line_with_noise_is_its_slope(slope: int, noise: list[int]) -> None:
    trend = trend_of([(float(i), slope * i + wobble) for i, wobble in enumerate(noise)])
    assert trend.bytes_per_s == pytest.approx(slope, abs=10)
    assert abs(slope) <= 10 or trend.confidence == 1.0


def test_the_trend_does_not_mind_outliers() -> None:
    points = [(float(i), 100 * i) for i in range(60)]
    points[10] = (10.0, 10**9)
    points[50] = (50.0, 0)
    assert trend_of(points).bytes_per_s == pytest.approx(100, rel=0.1)


@pytest.mark.parametrize("points", [[], [(0.0, 5)], [(1.0, 5), (1.0, 7)]])
def test_without_two_moments_there_is_no_trend(points: list[tuple[float, int]]) -> None:
    assert trend_of(points) == Trend(bytes_per_s=0.0, confidence=0.0)


async def test_the_forecast_is_the_time_to_the_limit(manager: MemoryManager, world: World) -> None:
    assert manager.forecast() is None
    world.samples = [(float(i), 10 * i, LIMIT, 0) for i in range(51)]
    assert manager.trend() == Trend(bytes_per_s=10.0, confidence=1.0)
    assert manager.forecast() == pytest.approx(50)
    assert seconds_to_limit(Trend(bytes_per_s=10, confidence=0.2), 0, LIMIT) is None
    assert seconds_to_limit(Trend(bytes_per_s=-1, confidence=1), 0, LIMIT) is None


@pytest.mark.parametrize(
    "options",
    [
        {"thresholds": (0.9, 0.8, 0.95)},
        {"interval_ms": 0},
        {"limit_bytes": -1},
        {"history": 0},
        {"hysteresis": 2},
        {"switch_interval_ms": 0},
    ],
)
def test_options_out_of_bounds_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        MemoryManager(**options)


async def test_a_deadline_must_be_above_nothing(manager: MemoryManager) -> None:
    with pytest.raises(InvalidInput, match="deadline_ms"):
        manager.on_pressure(print, deadline_ms=0)
