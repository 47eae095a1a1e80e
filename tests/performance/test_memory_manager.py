"""The memory manager on real RAM: pages are taken and given back, and the sampler reads the kernel's figures."""

from __future__ import annotations

import asyncio
import gc
import mmap
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from retain.footprint import Level, trend_of
from retain.pressure import EVENTS_MAX, MemoryManager, MemorySampler, PressureEvent

pytestmark = [
    pytest.mark.benchmark(group="memory manager"),
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc"),
]

MIB = 1 << 20
STEP = 16 * MIB
PATIENCE_S = 60
INTERVAL_MS = 10
RESIDENT = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_POPULATE", 0)
QUIET: dict[str, float] = {"cooldown_ms": 600_000, "restore_ms": 0}


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def touched(size: int) -> mmap.mmap:
    """Fresh pages in use; unlike an allocator's they are new each time, and gone when closed."""
    pages = mmap.mmap(-1, size)
    for offset in range(0, size, mmap.PAGESIZE):
        pages[offset] = 1
    return pages


def limit_above(headroom: int) -> int:
    """A limit whose first threshold lies that far above the footprint of now."""
    gc.collect()
    return int((resident() + headroom) / 0.70)


@asynccontextmanager
async def watching(headroom: int, **options: Any) -> AsyncIterator[MemoryManager]:
    async with MemoryManager(limit_above(headroom), **{**QUIET, "hysteresis": 0.01, **options}) as manager:
        assert manager.level is Level.NORMAL
        yield manager


async def until(manager: MemoryManager, wanted: Callable[[Level], bool]) -> None:
    """Waits for a change of the level; no polling."""
    reached = asyncio.Event()

    def heard(event: PressureEvent) -> None:
        if wanted(event.level):
            reached.set()

    unlisten = manager.listen(heard)
    async with asyncio.timeout(PATIENCE_S):
        if not wanted(manager.level):
            await reached.wait()
    unlisten()


def crossing(size: int) -> tuple[mmap.mmap, int]:
    """New pages, written in one call, and the time before it."""
    pages, chunk = mmap.mmap(-1, size), b"x" * size
    started = time.perf_counter_ns()
    pages.write(chunk)
    return pages, started


class Polling(threading.Thread):
    """The peer: a Python thread that reads a kept descriptor every ``INTERVAL_MS``."""

    def __init__(self, threshold: int) -> None:
        super().__init__()
        self._threshold, self._done = threshold, threading.Event()
        self.crossed_ns = 0
        self.start()

    def run(self) -> None:
        with Path("/proc/self/statm").open("rb", buffering=0) as file:
            while not self._done.wait(INTERVAL_MS / 1_000):
                if int(os.pread(file.fileno(), 128, 0).split()[1]) * mmap.PAGESIZE >= self._threshold:
                    self.crossed_ns = time.perf_counter_ns()
                    return


async def noticed_us() -> list[float]:
    """Microseconds from crossing a threshold to the first handler."""
    async with watching(STEP // 2, interval_ms=INTERVAL_MS) as manager:
        called: list[int] = []
        manager.on_pressure(lambda _: called.append(time.perf_counter_ns()))
        pages, started = crossing(STEP)
        await until(manager, lambda level: level >= Level.LOW)
        pages.close()
    return [(called[0] - started) / 1_000]


def polled_us() -> float:
    polling = Polling(resident() + STEP // 2)
    pages, started = crossing(STEP)
    polling.join(PATIENCE_S)
    pages.close()
    return (polling.crossed_ns - started) / 1_000


def test_pressure_is_detected_about_as_soon_as_by_polling_in_python(measured: Any, run: Any) -> None:
    peer = sorted(polled_us() for _ in range(7))[3]
    ours = measured.each(lambda: run(noticed_us()))
    ours += [us for _ in range(6) for us in run(noticed_us())]
    assert sorted(ours)[len(ours) // 2] < 10 * max(peer, INTERVAL_MS * 1_000)


def test_the_level_is_accurate_under_varying_patterns(measured: Any, run: Any) -> None:
    """Slow growth, a jump, a fall: after each the level is what the footprint says."""
    sampler = MemorySampler(limit_above(STEP), hysteresis=0.0)

    def right() -> None:
        kept = []
        for size in (MIB, 2 * MIB, STEP, 4 * STEP, MIB):
            kept.append(touched(size))
            level = sampler.measure()
            last = sampler.stats()
            share = last["used_bytes"] / last["limit_bytes"]
            assert level == sum(share >= threshold for threshold in (0.70, 0.85, 0.95))
            assert last["resident_bytes"] == pytest.approx(resident(), abs=8 * MIB)

    measured(right)


def test_every_handler_is_executed(measured: Any, run: Any) -> None:
    async def relieve() -> None:
        manager = MemoryManager(1, **QUIET)
        ran: list[Level] = []
        for _ in range(100):
            manager.on_pressure(ran.append)
        async with manager:
            assert ran == [Level.HIGH] * 100

    measured.rounds(lambda: run(relieve()), rounds=20)


def test_handlers_run_by_priority(measured: Any, run: Any) -> None:
    async def relieve() -> None:
        manager = MemoryManager(1, **QUIET)
        ran: list[int] = []
        for number in range(200):
            priority = number * 7919 % 200
            manager.on_pressure(lambda _, priority=priority: ran.append(priority), priority)
        async with manager:
            assert ran == list(range(200))

    measured.rounds(lambda: run(relieve()), rounds=20)


def test_failing_handlers_do_not_keep_the_others_from_running(
    measured: Any, run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(100)

    def fail(_: Level) -> None:
        raise ValueError

    async def relieve() -> None:
        manager = MemoryManager(1, **QUIET)
        ran: list[Level] = []
        for number in range(20):
            manager.on_pressure(fail, name=f"failing {number}")
            manager.on_pressure(ran.append, name="good")
        async with manager:
            assert len(ran) == 20
            handlers = manager.stats()["handlers"]
            assert sum(entry["failures"] for entry in handlers.values()) == 20

    measured.rounds(lambda: run(relieve()), rounds=5)


def test_memory_is_really_freed(measured: Any, run: Any) -> None:
    async def relieve() -> None:
        async with watching(STEP // 2) as manager:
            held: list[mmap.mmap] = []
            manager.on_pressure(lambda _: held.pop().close())
            before = resident()
            held.append(touched(STEP))
            await until(manager, lambda level: level >= Level.LOW)
            await until(manager, lambda level: level is Level.NORMAL)
            assert held == []
            assert resident() < before + STEP // 2

    measured.rounds(lambda: run(relieve()), rounds=3)


def test_long_operation_does_not_leak(measured: Any, run: Any) -> None:
    sampler = MemorySampler(interval_ms=1, history=64)

    def operate() -> None:
        for _ in range(5_000):
            sampler.measure()
            sampler.stats()
            sampler.history()

    operate()
    before = resident()
    measured.rounds(operate, rounds=5)
    assert resident() < before + 2 * MIB


def test_a_reading_costs_the_same_with_a_long_history_as_with_a_short_one(measured: Any, run: Any) -> None:
    """A reading with a full history costs about what it costs with none: the ratio is of the same run."""
    short, long = MemorySampler(history=1), MemorySampler(history=100_000)
    for sampler in (short, long):
        for _ in range(2_000):
            sampler.measure()
    measured(long.measure)
    assert best_us(long.measure) < 2 * best_us(short.measure)


def test_the_history_is_bounded(measured: Any, run: Any) -> None:
    sampler = MemorySampler(1, interval_ms=0.1, interval_max_ms=0.1, history=4)
    measured(sampler.measure)
    assert len(sampler.history()) <= 4


def test_trend_analysis_finds_the_slope(measured: Any, run: Any) -> None:
    points = [(i / 10, 1000 * i + (-1) ** i * 200) for i in range(512)]
    trend = measured(trend_of, points)
    assert trend.bytes_per_s == pytest.approx(10_000, rel=0.01)
    assert trend.confidence > 0.9


@pytest.mark.parametrize("listeners", [1, 1_000])
def test_an_event_is_emitted_to_every_listener(measured: Any, run: Any, listeners: int) -> None:
    async def tell() -> None:
        manager = MemoryManager(1, **QUIET)
        heard: list[Level] = []
        everyone = asyncio.Event()

        def listen(event: PressureEvent) -> None:
            heard.append(event.level)
            if len(heard) == listeners:
                everyone.set()

        for _ in range(listeners):
            manager.listen(listen)
        async with manager, asyncio.timeout(PATIENCE_S):
            await everyone.wait()
        assert heard == [Level.HIGH] * listeners

    measured.rounds(lambda: run(tell()), rounds=5)


def test_an_event_queue_under_load_drops_the_oldest_and_counts_them(measured: Any, run: Any) -> None:
    """More real changes of the level than the queue holds, while the loop has no turn to tell of them."""

    async def load() -> tuple[int, int, int]:
        limit = limit_above(STEP // 8)
        sampler = MemorySampler(limit, interval_ms=60_000, interval_max_ms=60_000, hysteresis=0.0)
        manager = MemoryManager(gauge=sampler, **QUIET)
        heard: list[PressureEvent] = []
        manager.listen(heard.append)
        await manager.start()
        await asyncio.sleep(0)
        heard.clear()
        changes = 0
        for _ in range(EVENTS_MAX):
            with mmap.mmap(-1, STEP // 4, flags=RESIDENT):
                sampler.measure()
                manager.poll()
                high = manager.level
            sampler.measure()
            manager.poll()
            changes += 2 * (manager.level is not high)
        await asyncio.sleep(0)
        await manager.stop()
        return changes, len(heard), manager.stats()["events_dropped"]

    changes, heard, dropped = measured.rounds(lambda: run(load()), rounds=3)
    assert heard == EVENTS_MAX
    assert dropped == changes - heard > 0


def test_monitoring_costs_little_more_cpu_than_a_bare_read(measured: Any, run: Any) -> None:
    """A native reading beside the same done in Python with a kept descriptor, in the same run."""
    sampler = MemorySampler()
    with Path("/proc/self/statm").open("rb", buffering=0) as file:

        def in_python() -> int:
            return int(os.pread(file.fileno(), 128, 0).split()[1])

        measured(sampler.measure)
        assert best_us(sampler.measure) < 4 * best_us(in_python)


@pytest.mark.parametrize("interval_ms", [1, 10, 100])
def test_readings_follow_the_interval(measured: Any, run: Any, interval_ms: int) -> None:
    """Readings follow the interval: never more of them than the time that passed allows."""
    sampler = MemorySampler(interval_ms=interval_ms, interval_max_ms=interval_ms)
    sampler.start()
    started = time.monotonic()
    before = sampler.stats()["readings"]

    def wait() -> None:
        sampler.wait(sampler.stats()["changes"], 10 * interval_ms)

    measured.rounds(wait, rounds=3)
    sampler.stop()
    readings = sampler.stats()["readings"] - before
    assert readings <= (time.monotonic() - started) * 1000 / (0.6 * interval_ms) + 1


def best_us(call: Callable[[], object]) -> float:
    """The best of twenty rounds of a hundred calls."""
    best = float("inf")
    for _ in range(20):
        started = time.perf_counter_ns()
        for _ in range(100):
            call()
        best = min(best, (time.perf_counter_ns() - started) / 100_000)
    return best
