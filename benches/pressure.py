"""What watching the footprint costs, and how soon a crossing is answered.

    python benches/pressure.py [--json FILE] [--crossings 100] [--idle-s 5] [--only cost|near|far]

Peers in the same run: a Python thread that polls every 10 ms with a kept descriptor, and psutil where it can
be imported. A crossing begins before the last pages are written and ends when the first handler is called. The
share of a core is what the kernel accounts to the thread (schedstat); a bare thread that only sleeps stands
beside it, because on a virtual machine a wake-up alone costs tens of microseconds. "Near" a threshold is where
a reading follows every 10 ms of work; the last cost is the only one with 100 wake-ups a second.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measuring import Figure, against, arguments, at_most, publish, summary
from retain.footprint import Level
from retain.pressure import MemoryManager, MemorySampler

MIB = 1 << 20
STEP = MIB // 2
CHUNK = b"x" * MIB
PAGE = mmap.PAGESIZE
INTERVAL_MS = 10
SWITCH_INTERVAL_MS = 1  # the server's
SETTLE_S = 1.5
"""After it a sampler knows that an idle process rests."""
HEADROOMS = {"near": MIB - MIB // 4, "far": 128 * MIB - MIB // 4}
"""Bytes below the threshold from which a crossing begins."""

PATIENCE_S = 30


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def crossing(headroom: int) -> tuple[mmap.mmap, int]:
    """New pages in use, up to a little above the headroom, and the time before the last of them.

    The last ones are written in one call that keeps the interpreter lock, so nothing is seen before that
    time that was not a crossing, and the time lies before the crossing, never after it.
    """
    pages = mmap.mmap(-1, headroom + STEP)
    for _ in range(headroom // MIB):
        pages.write(CHUNK)
    rest = CHUNK[: headroom + STEP - pages.tell()]
    started = time.perf_counter_ns()
    pages.write(rest)
    return pages, started


def reading_us(call: Callable[[], object], rounds: int = 50, calls: int = 200) -> float:
    """Median over rounds of the mean of a call."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter_ns()
        for _ in range(calls):
            call()
        times.append((time.perf_counter_ns() - started) / calls / 1000)
    return summary(times).median


def cpu_ns(task: int) -> int:
    return int(Path(f"/proc/self/task/{task}/schedstat").read_text().split()[0])


def task_of(before: set[str]) -> int:
    (task,) = {path.name for path in Path("/proc/self/task").iterdir()} - before
    return int(task)


def share_of_core(start: Callable[[], Callable[[], None]], seconds: float) -> float:
    """Percent of a core that the thread takes which ``start`` starts; it returns how to stop it."""
    before = {path.name for path in Path("/proc/self/task").iterdir()}
    stop = start()
    task = task_of(before)
    time.sleep(SETTLE_S)
    used, started = cpu_ns(task), time.monotonic()
    time.sleep(seconds)
    share = (cpu_ns(task) - used) / (time.monotonic() - started) / 1e7
    stop()
    while Path(f"/proc/self/task/{task}").exists():
        time.sleep(0.001)
    return share


def sampler_thread(**options: Any) -> Callable[[], Callable[[], None]]:
    def start() -> Callable[[], None]:
        sampler = MemorySampler(**options)
        sampler.start()
        return sampler.stop

    return start


class Polling:
    """The peer: a Python thread that reads a kept descriptor every 10 ms."""

    def __init__(self, crossed: Callable[[int], None] | None = None) -> None:
        self._done = threading.Event()
        self._crossed = crossed
        self.threshold = 1 << 60
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        above = False
        with Path("/proc/self/statm").open("rb", buffering=0) as file:
            while not self._done.wait(INTERVAL_MS / 1000):
                used = int(os.pread(file.fileno(), 128, 0).split()[1]) * PAGE
                if used >= self.threshold and not above and self._crossed is not None:
                    self._crossed(time.perf_counter_ns())
                above = used >= self.threshold

    def stop(self) -> None:
        self._done.set()
        self._thread.join()


def sleeping_thread() -> Callable[[], None]:
    """The floor: a thread that waits natively for 10 ms at a time and does nothing, as near as Python can."""
    done = threading.Event()

    def run() -> None:
        while not done.is_set():
            time.sleep(INTERVAL_MS / 1000)

    thread = threading.Thread(target=run)
    thread.start()

    def stop() -> None:
        done.set()
        thread.join()

    return stop


@contextmanager
def busy(wanted: bool) -> Iterator[None]:
    """A pure Python loop on another thread, which gives the interpreter lock up only when it must."""
    done = threading.Event()

    def spin() -> None:
        while not done.is_set():
            sum(range(50))

    thread = threading.Thread(target=spin)
    if wanted:
        thread.start()
    try:
        yield
    finally:
        done.set()
        if wanted:
            thread.join()


async def crossings_ms(count: int, headroom: int, switch_interval_ms: float | None) -> list[float]:
    """Milliseconds from crossing the threshold to the first handler, by the native sampler."""
    limit = int((resident() + headroom) / 0.7)
    manager = MemoryManager(
        limit, interval_ms=INTERVAL_MS, hysteresis=0.01, cooldown_ms=6e5, restore_ms=0,
        switch_interval_ms=switch_interval_ms,
    )  # fmt: skip
    called: list[int] = []
    changed = asyncio.Event()
    manager.on_pressure(lambda _: called.append(time.perf_counter_ns()))
    manager.listen(lambda _: changed.set())
    rng, times = random.Random(1), []
    async with manager:
        for _ in range(count):
            await asyncio.sleep(rng.uniform(0.02, 0.04))
            called.clear()
            changed.clear()
            pages, crossed = crossing(headroom)
            async with asyncio.timeout(PATIENCE_S):
                while not called:
                    await changed.wait()
                    changed.clear()
            times.append((called[0] - crossed) / 1e6)
            pages.close()
            async with asyncio.timeout(PATIENCE_S):
                while manager.level > Level.NORMAL:
                    await changed.wait()
                    changed.clear()
    return times


def polled_ms(count: int, headroom: int) -> list[float]:
    """The same by the polling Python thread."""
    told = threading.Event()
    at: list[int] = []

    def crossed(now: int) -> None:
        at.append(now)
        told.set()

    polling = Polling(crossed)
    rng, times = random.Random(1), []
    for _ in range(count):
        time.sleep(rng.uniform(0.04, 0.06))
        told.clear()
        at.clear()
        polling.threshold = resident() + headroom
        pages, started = crossing(headroom)
        told.wait(PATIENCE_S)
        times.append((at[0] - started) / 1e6)
        pages.close()
    polling.stop()
    return times


def cost_figures(idle_s: float) -> list[Figure]:
    sampler = MemorySampler()
    native = reading_us(sampler.measure)
    with Path("/proc/self/statm").open("rb", buffering=0) as file:
        floor = reading_us(lambda: os.pread(file.fileno(), 128, 0))
    figures = [
        at_most("a reading, with what follows from it", native, "us", 6, beside=f"bare pread {floor:.2f}")
    ]
    try:
        import psutil
    except ImportError:
        pass
    else:
        figures.append(
            Figure(what="psutil memory_info", ours=reading_us(psutil.Process().memory_info), unit="us")
        )
    slept = share_of_core(sleeping_thread, idle_s)
    polled = share_of_core(lambda: Polling().stop, idle_s)
    beside = f"polling {polled:.2f}, bare sleep {slept:.2f}"
    near = int((resident() + MIB) / 0.7)
    options = {"far": {}, "near a threshold": {"limit_bytes": near}}
    for where, limits in options.items():
        for name, spin in (("idle", False), ("while a core is busy", True)):
            with busy(spin):
                share = share_of_core(sampler_thread(interval_ms=INTERVAL_MS, **limits), idle_s)
            figures.append(at_most(f"share of a core, {where}, {name}", share, "%", 0.1, beside=beside))
    return figures


def switching_cost(rounds: int = 9) -> Figure:
    """Two threads that compute, with the interpreter's own switch interval and with the server's."""
    usual = sys.getswitchinterval()
    times: dict[float, list[float]] = {usual: [], SWITCH_INTERVAL_MS / 1000: []}

    def compute() -> None:
        for _ in range(60_000):
            sum(range(50))

    for _ in range(rounds):
        for interval, found in times.items():
            sys.setswitchinterval(interval)
            threads = [threading.Thread(target=compute) for _ in range(2)]
            started = time.process_time()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            found.append(time.process_time() - started)
    sys.setswitchinterval(usual)
    before, after = (min(found) * 1000 for found in times.values())
    return against("two computing threads, CPU time", after, "ms", "at 5 ms", before, ratio_max=1.02)


def latency_figures(where: str, headroom: int, count: int) -> tuple[list[Figure], dict[str, Any]]:
    figures: list[Figure] = []
    details: dict[str, Any] = {}
    for name, spin in (("idle", False), ("beside a busy loop", True)):
        with busy(spin):
            ours = summary(asyncio.run(crossings_ms(count, headroom, SWITCH_INTERVAL_MS)))
            usual = summary(asyncio.run(crossings_ms(count, headroom, None)))
            peer = summary(polled_ms(count, headroom))
        details[f"{where}, {name}"] = {"retain": ours, "at the usual switch interval": usual, "polling": peer}
        what = f"crossing to first handler, {where}, {name}"
        beside = f"usual switching {usual.median:.1f}, polling {peer.median:.1f}"
        figures.append(Figure(what=f"{what}: p50", ours=ours.median, unit="ms", beside=beside))
        beside = f"usual switching {usual.p95:.1f}, polling {peer.p95:.1f}"
        figures.append(at_most(f"{what}: p95", ours.p95, "ms", 12, beside=beside))
    return figures, details


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--crossings", type=int, default=100, help="of each kind")
    parser.add_argument("--idle-s", type=float, default=5)
    parser.add_argument("--only", choices=["cost", *HEADROOMS])
    given = parser.parse_args()
    figures: list[Figure] = []
    details: dict[str, Any] = {}
    if given.only in {None, "cost"}:
        figures += [*cost_figures(given.idle_s), switching_cost()]
    for where, headroom in HEADROOMS.items():
        if given.only in {None, where}:
            more, found = latency_figures(where, headroom, given.crossings)
            figures += more
            details |= found
    return publish(figures, json.loads(json.dumps(details, default=vars_of)), given.json)


def vars_of(value: Any) -> dict[str, float]:
    return {name: getattr(value, name) for name in value.__slots__}


if __name__ == "__main__":
    raise SystemExit(main())
