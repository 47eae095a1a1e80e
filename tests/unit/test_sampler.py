"""The native sampler in real processes: it finds what was allocated, tells it once, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from retain.footprint import Level
from retain.pressure import MemoryManager, MemorySampler

linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
pytestmark = [pytest.mark.anyio, linux]

PATIENCE_MS = 60_000
MIB = 1 << 20

BESIDE_A_BUSY_LOOP = """
import json, resource, sys, threading
from retain.pressure import MemorySampler
by_rlimit = sys.argv[1] == "rlimit"
probe = MemorySampler()
probe.measure()
limit = (probe.stats()["resident_bytes"] + 100 * 2**20) * 2
if by_rlimit:
    status = [line.split() for line in open("/proc/self/status")]
    data = sum(int(words[1]) * 1024 for words in status if words[0] in ("VmData:", "VmStk:"))
    limit = (data + 100 * 2**20) * 2
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
done = threading.Event()
def spin():
    while not done.is_set():
        sum(range(100))
busy = threading.Thread(target=spin)
busy.start()
sampler = MemorySampler(None if by_rlimit else limit)
sampler.start()
seen = sampler.stats()["changes"]
first = sampler.level
grown = bytearray(b"x") * (limit * 3 // 4 - sampler.stats()["used_bytes"])
changes = sampler.wait(seen, 60_000)
history = [sample[3] for sample in sampler.history()]
again = sampler.wait(changes, 300)
done.set()
busy.join()
sampler.stop()
print(json.dumps({"first": first, "changes": changes - seen, "again": again - changes, "level": sampler.level,
    "source": sampler.stats()["source"], "history": history}))
"""


@pytest.mark.parametrize(("kind", "source"), [("setting", "setting"), ("rlimit", "rlimit_data")])
def test_a_crossing_is_told_exactly_once_beside_a_busy_loop(kind: str, source: str) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", BESIDE_A_BUSY_LOOP, kind], capture_output=True, text=True, check=True
    )
    told = json.loads(answer.stdout)
    assert told["first"] == Level.NORMAL
    assert (told["changes"], told["again"], told["level"]) == (1, 0, Level.LOW)
    assert told["source"] == source
    assert told["history"] == sorted(told["history"])


def threads() -> int:
    names = (path.read_text() for path in Path("/proc/self/task").glob("*/comm"))
    return sum(name.strip() == "retain-sampler" for name in names)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - one call, so that it counts itself once


def test_no_thread_and_no_descriptor_is_left() -> None:
    gc.collect()
    before = descriptors()
    for _ in range(50):
        sampler = MemorySampler(1)
        sampler.start()
        assert sampler.running
        sampler.stop()
        assert not sampler.running
        del sampler
        MemorySampler(1).start()
    assert descriptors() == before
    sampler = MemorySampler(1)
    assert not sampler.running


def test_stop_lets_a_waiting_thread_go() -> None:
    sampler = MemorySampler()
    sampler.start()
    changes = sampler.stats()["changes"]
    found: list[int] = []
    waiting = threading.Thread(target=lambda: found.append(sampler.wait(changes, PATIENCE_MS)))
    waiting.start()
    sampler.stop()
    waiting.join(PATIENCE_MS / 1000)
    assert len(found) == 1


def test_a_forked_child_finds_a_dead_sampler_and_ends() -> None:
    code = """
import os, sys
from retain.pressure import MemorySampler
sampler = MemorySampler(1, interval_ms=0.1, interval_max_ms=0.1)
sampler.start()
for _ in range(50):
    child = os.fork()
    if not child:
        found = (sampler.level, sampler.take(), sampler.measure(), sampler.wait(7, 60_000), sampler.running,
            sampler.supported, sampler.history(), sampler.stats()["readings"])
        sampler.start()
        sampler.stop()
        del sampler
        os._exit(0 if found == (-1, -1, -1, 7, False, False, [], 0) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert sampler.level == 3 and sampler.running
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=120)


async def test_the_loop_is_woken_and_the_first_handler_runs() -> None:
    called = asyncio.Event()
    levels: list[Level] = []

    def relieve(level: Level) -> None:
        levels.append(level)
        called.set()

    probe = MemorySampler()
    probe.measure()
    limit = (probe.stats()["resident_bytes"] + 64 * MIB) * 2
    manager = MemoryManager(limit, cooldown_ms=600_000)
    manager.on_pressure(relieve)
    async with manager:
        assert manager.level == Level.NORMAL
        grown = bytearray(b"x") * (limit * 3 // 4 - manager.stats()["used_bytes"])
        async with asyncio.timeout(PATIENCE_MS / 1000):
            await called.wait()
        assert levels == [Level.LOW]
        assert manager.stats()["source"] == "setting"
        del grown


async def test_history_is_bounded() -> None:
    sampler = MemorySampler(1, interval_ms=0.1, interval_max_ms=0.1, history=3)
    for _ in range(2_000):
        sampler.measure()
    history = sampler.history()
    assert 1 <= len(history) <= 3
    assert [sample[0] for sample in history] == sorted(sample[0] for sample in history)


@pytest.mark.parametrize(
    "options",
    [
        {"limit_bytes": 0},
        {"thresholds": (0.5, 0.4, 0.9)},
        {"interval_ms": float("nan")},
        {"interval_ms": 20, "interval_max_ms": 10},
        {"hysteresis": -1},
        {"history": 0},
    ],
)
def test_options_out_of_bounds_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=": "):
        MemorySampler(**options)  # type: ignore[arg-type]


def test_a_wait_without_end_or_sense_is_refused() -> None:
    for timeout_ms in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="timeout_ms"):
            MemorySampler().wait(0, timeout_ms)
