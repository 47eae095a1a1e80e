"""A hook: the process as the client starts it, and the append to the spool by itself, on a file system in memory."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from retain.capture import spool

EVENT = (
    b'{"hook_event_name": "PostToolUse", "tool_name": "Edit", "tool_input": {"text": "' + b"x" * 900 + b'"}}'
)
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
ROUNDS = 21


class InMemory:
    """A folder that no disk is behind, where the system has one."""

    def setup(self) -> None:
        self.place = tempfile.mkdtemp(prefix="retain-asv-", dir=MEMORY)
        self.environment = {"HOME": self.place, "PATH": os.environ["PATH"]}

    def teardown(self) -> None:
        shutil.rmtree(self.place)


class Spool(InMemory):
    """Appending records."""

    def time_append(self) -> None:
        spool.append(f"{self.place}/spool", spool.Record(EVENT, 1, cwd="/p", branch="main", commit="0" * 40))

    def peakmem_scan_thousand(self) -> None:
        self.time_scan_thousand()

    def time_scan_thousand(self) -> None:
        data = spool.encode(spool.Record(EVENT, 1)) * 1_000
        if sum(isinstance(record, spool.Record) for record in spool.scan(data)) != 1_000:
            raise AssertionError("records were lost")


class Hook(InMemory):
    """The launcher with one event."""

    def time_process(self) -> None:
        _run([str(Path(sys.executable).parent / "retain"), "hook"], self.environment)

    def track_resident_at_most(self) -> int:
        """Most resident memory of a hook's process, in bytes."""
        reading, writing = os.pipe()
        os.write(writing, EVENT)
        os.close(writing)
        argv = [str(Path(sys.executable).parent / "retain"), "hook"]
        actions = [(os.POSIX_SPAWN_DUP2, reading, 0), (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
        _, status, used = os.wait4(os.posix_spawn(argv[0], argv, self.environment, file_actions=actions), 0)
        os.close(reading)
        if status != 0:
            raise AssertionError("the hook failed")
        return used.ru_maxrss * 1_024

    track_resident_at_most.unit = "bytes"  # type: ignore[attr-defined]

    def track_ratio_to_bare_python(self) -> float:
        """Median over the median of an interpreter that does nothing, taken in turns."""
        hook = [str(Path(sys.executable).parent / "retain"), "hook"]
        bare = [sys.executable, "-I", "-S", "-c", "pass"]
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(ROUNDS):
            for argv, found in zip((hook, bare), times, strict=True):
                started = time.perf_counter()
                _run(argv, self.environment)
                found.append(time.perf_counter() - started)
        return statistics.median(times[0]) / statistics.median(times[1])


def _run(argv: list[str], environment: dict[str, str]) -> None:
    reading, writing = os.pipe()
    os.write(writing, EVENT)
    os.close(writing)
    actions = [(os.POSIX_SPAWN_DUP2, reading, 0), (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    pid = os.posix_spawn(argv[0], argv, environment, file_actions=actions)
    os.close(reading)
    if os.waitpid(pid, 0)[1] != 0:
        raise AssertionError(f"{argv[0]} failed")
