"""The memory manager: the thirteen cases of the seed, on real memory; each asserts what it does, and is timed."""

from __future__ import annotations

import asyncio
import gc
import mmap
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from retain.footprint import Level, trend_of
from retain.pressure import MemoryManager, MemorySampler, PressureEvent

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")

MIB = 1 << 20
STEP = 16 * MIB
PATIENCE_S = 60
QUIET: dict[str, float] = {"cooldown_ms": 600_000, "restore_ms": 0}

Bench = Callable[..., Any]


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


def run(benchmark: Bench, case: Callable[[], Awaitable[Any]], rounds: int = 3) -> Any:
    """Times a coroutine function in a loop of its own for each round."""
    return benchmark.pedantic(lambda: asyncio.run(case()), rounds=rounds, iterations=1)  # type: ignore[arg-type]


def test_detection_latency(benchmark: Bench) -> None:
    async def cross() -> None:
        async with watching(STEP // 2) as manager:
            with touched(STEP):
                await until(manager, lambda level: level >= Level.LOW)

    run(benchmark, cross)


def test_accuracy_under_varying_patterns(benchmark: Bench) -> None:
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

    benchmark(right)


def test_handler_execution(benchmark: Bench) -> None:
    async def relieve() -> None:
        manager = MemoryManager(1, **QUIET)
        ran: list[Level] = []
        for _ in range(100):
            manager.on_pressure(ran.append)
        async with manager:
            assert ran == [Level.HIGH] * 100

    run(benchmark, relieve, 20)


def test_handler_priority(benchmark: Bench) -> None:
    async def relieve() -> None:
        manager = MemoryManager(1, **QUIET)
        ran: list[int] = []
        for number in range(200):
            priority = number * 7919 % 200
            manager.on_pressure(lambda _, priority=priority: ran.append(priority), priority)
        async with manager:
            assert ran == list(range(200))

    run(benchmark, relieve, 20)


def test_failing_handlers(benchmark: Bench, caplog: pytest.LogCaptureFixture) -> None:
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

    run(benchmark, relieve, 5)


def test_memory_is_really_freed(benchmark: Bench) -> None:
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

    run(benchmark, relieve)


def test_no_leak_over_long_operation(benchmark: Bench) -> None:
    sampler = MemorySampler(interval_ms=1, history=64)

    def operate() -> None:
        for _ in range(5_000):
            sampler.measure()
            sampler.stats()
            sampler.history()

    operate()
    before = resident()
    benchmark.pedantic(operate, rounds=5, iterations=1)  # type: ignore[attr-defined]
    assert resident() < before + 2 * MIB


def test_cost_of_history(benchmark: Bench) -> None:
    """A reading with a full history costs about what it costs with none: the ratio is of the same run."""
    short, long = MemorySampler(history=1), MemorySampler(history=100_000)
    for sampler in (short, long):
        for _ in range(2_000):
            sampler.measure()
    benchmark(long.measure)
    assert best_us(long.measure) < 2 * best_us(short.measure)


def test_bounded_history(benchmark: Bench) -> None:
    sampler = MemorySampler(1, interval_ms=0.1, interval_max_ms=0.1, history=4)
    benchmark(sampler.measure)
    assert len(sampler.history()) <= 4


def test_trend_analysis(benchmark: Bench) -> None:
    points = [(i / 10, 1000 * i + (-1) ** i * 200) for i in range(512)]
    trend = benchmark(trend_of, points)
    assert trend.bytes_per_s == pytest.approx(10_000, rel=0.01)
    assert trend.confidence > 0.9


@pytest.mark.parametrize("listeners", [1, 1_000])
def test_event_emission_and_many_listeners(benchmark: Bench, listeners: int) -> None:
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

    run(benchmark, tell, 5)


def test_event_queue_under_load(benchmark: Bench) -> None:
    """More changes than the queue holds while the loop is busy: the oldest are dropped, and counted."""

    class Swinging:
        level = 0

        def start(self) -> None: ...
        def stop(self) -> None: ...
        def fileno(self) -> int:
            return -1

        def take(self) -> int:
            self.level = (self.level + 1) % 4
            return self.level

        def measure(self) -> int:
            return self.level

        def history(self) -> list[tuple[float, int, int, int]]:
            return []

        def stats(self) -> dict[str, Any]:
            return {"used_bytes": 0, "limit_bytes": 1}

    async def load() -> None:
        heard: list[PressureEvent] = []
        manager = MemoryManager(gauge=Swinging(), **QUIET)
        manager.listen(heard.append)
        await manager.start()
        for _ in range(1_000):
            manager.poll()
        await asyncio.sleep(0)
        await manager.stop()
        dropped = manager.stats()["events_dropped"]
        assert dropped > 0
        assert len(heard) == 256

    run(benchmark, load, 3)


def test_cpu_cost_of_monitoring(benchmark: Bench) -> None:
    """A native reading beside the same done in Python with a kept descriptor, in the same run."""
    sampler = MemorySampler()
    with Path("/proc/self/statm").open("rb", buffering=0) as file:

        def in_python() -> int:
            return int(os.pread(file.fileno(), 128, 0).split()[1])

        benchmark(sampler.measure)
        assert best_us(sampler.measure) < 4 * best_us(in_python)


@pytest.mark.parametrize("interval_ms", [1, 10, 100])
def test_cost_against_interval(benchmark: Bench, interval_ms: int) -> None:
    """Readings follow the interval: never more of them than the time that passed allows."""
    sampler = MemorySampler(interval_ms=interval_ms, interval_max_ms=interval_ms)
    sampler.start()
    started = time.monotonic()
    before = sampler.stats()["readings"]

    def wait() -> None:
        sampler.wait(sampler.stats()["changes"], 10 * interval_ms)

    benchmark.pedantic(wait, rounds=3, iterations=1)  # type: ignore[attr-defined]
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
