"""Wall time of a hook, beside an interpreter that does nothing, taken in turns in one run.

    python benches/hook_time.py [--rounds 100] [--json FILE]

Measured are the launcher (``retain hook``) and the command that ``retain install`` writes into the client's
settings. Each process gets one event of 1 KiB through a pipe and is timed from its start to its end; its HOME
is a folder of the bench, RETAIN_HOME is not set, as after a plain installation. The disk's share is measured
apart: one append of 300 bytes with fdatasync in the same folder, and the same hooks with their HOME in memory.
Afterwards every event must be in the spool, byte for byte.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from measuring import Figure, against, arguments, base_python, clean_environment, launcher, publish, summary
from measuring import right as right_answers
from retain.capture import spool
from retain.home import SPOOL, data_home
from retain.interfaces.client_entries import Installation

RATIO_MAX = 1.5
WARM_UP = 3
APPENDED_BYTES = 300
MEMORY = Path("/dev/shm")

Environment = Mapping[str, str]


def event(number: int) -> bytes:
    """A PostToolUse event of about 1 KiB, as a client writes it; each is another one."""
    return json.dumps(
        {
            "session_id": "6f9619ff-8b86-4011-b42d-00c04fc964ff", "hook_event_name": "PostToolUse",
            "transcript_path": "/home/user/.claude/projects/p/6f9619ff.jsonl", "cwd": "/home/user/p",
            "permission_mode": "default", "tool_name": "Edit", "tool_use_id": f"toolu_{number:06d}",
            "tool_input": {"file_path": "/home/user/p/src/app.py", "old_string": "x" * 300, "new_string": "y" * 300},
            "tool_response": {"filePath": "/home/user/p/src/app.py", "success": True},
        }
    ).encode()  # fmt: skip


def run_once(argv: Sequence[str], environment: Environment, payload: bytes) -> float:
    """Milliseconds from starting the process to its end; it must exit with 0."""
    reading, writing = os.pipe()
    os.write(writing, payload)
    os.close(writing)
    actions = [
        (os.POSIX_SPAWN_DUP2, reading, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
    ]
    started = time.perf_counter_ns()
    pid = os.posix_spawn(argv[0], argv, environment, file_actions=actions)
    _, status = os.waitpid(pid, 0)
    elapsed_ms = (time.perf_counter_ns() - started) / 1e6
    os.close(reading)
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError(f"{argv[:2]} ended with {os.waitstatus_to_exitcode(status)}")
    return elapsed_ms


def append_synced(folder: Path) -> float:
    """Milliseconds of one append with fdatasync, in this process."""
    fd = os.open(folder / "appended", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        started = time.perf_counter_ns()
        os.write(fd, b"x" * APPENDED_BYTES)
        os.fdatasync(fd)
        return (time.perf_counter_ns() - started) / 1e6
    finally:
        os.close(fd)


def spooled(home: Path) -> set[bytes]:
    """The payloads in the live segment of the spool under a HOME."""
    data = Path(data_home({"HOME": str(home)}, sys.platform), SPOOL, spool.LIVE).read_bytes()
    return {record.payload for record in spool.scan(data) if isinstance(record, spool.Record)}


def commands(disk: Path, memory: Path | None) -> dict[str, tuple[list[str], Path | None]]:
    """What is started, by name, and the HOME it gets."""
    entry = Installation.here().hook()
    installed = [entry["command"], *entry["args"]]
    nothing = ["-I", "-S", "-c", "pass"]
    found: dict[str, tuple[list[str], Path | None]] = {
        "python -I -S -c pass": ([base_python(), *nothing], None),
        "venv python -I -S -c pass": ([sys.executable, *nothing], None),
        "launcher": ([launcher(), "hook"], disk / "launcher"),
        "installed command": (installed, disk / "installed"),
    }
    if memory is not None:
        found["launcher, HOME in memory"] = ([launcher(), "hook"], memory / "launcher")
        found["installed command, HOME in memory"] = (installed, memory / "installed")
    return found


def measure(rounds: int, disk: Path, memory: Path | None) -> tuple[list[Figure], dict[str, object]]:
    """All commands in turns, the order turned round each time."""
    chosen = commands(disk, memory)
    environments = {
        name: clean_environment(**({"HOME": str(home)} if home else {})) for name, (_, home) in chosen.items()
    }
    times: dict[str, list[float]] = {name: [] for name in chosen}
    appends: list[float] = []
    sent: dict[Path, set[bytes]] = {home: set() for _, home in chosen.values() if home}
    for number in range(rounds + WARM_UP):
        payload = event(number)
        for name in list(chosen) if number % 2 else reversed(chosen):
            argv, home = chosen[name]
            elapsed_ms = run_once(argv, environments[name], payload)
            if home:
                sent[home].add(payload)
            if number >= WARM_UP:
                times[name].append(elapsed_ms)
        appends.append(append_synced(disk))
    kept = sum(len(spooled(home) & events) for home, events in sent.items())
    sums = {name: summary(values) for name, values in times.items()}
    sums["append and fdatasync"] = summary(appends[WARM_UP:])
    return _figures(sums, kept, sum(map(len, sent.values()))), {"ms": sums}


def _figures(sums: dict, kept: int, asked: int) -> list[Figure]:
    floor = sums["python -I -S -c pass"]
    figures = []
    for name, found in sums.items():
        if name == "python -I -S -c pass":
            continue
        target = None if name.startswith(("append", "venv")) else RATIO_MAX
        figures.append(
            against(f"hook: {name}, median", found.median, "ms", "bare", floor.median, ratio_max=target)
        )
        figures.append(
            against(f"hook: {name}, min", found.least, "ms", "bare", floor.least, ratio_max=target)
        )
        figures.append(against(f"hook: {name}, p95", found.p95, "ms", "bare", floor.p95))
    figures.append(right_answers("hook: events spooled", kept, asked))
    return figures


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="retain-hook-") as disk:
        if MEMORY.is_dir():
            with tempfile.TemporaryDirectory(prefix="retain-hook-", dir=MEMORY) as memory:
                figures, details = measure(given.rounds, Path(disk), Path(memory))
        else:
            figures, details = measure(given.rounds, Path(disk), None)
    return publish(figures, details, given.json)


if __name__ == "__main__":
    sys.exit(main())
