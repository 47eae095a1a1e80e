"""Wall time of a hook, beside processes that do nothing and the disk, taken in turns in one run.

    python benches/hook_time.py [--rounds 100] [--row 1000] [--json FILE]

The native hook client, which `retain install` writes into the client's settings, stands beside an empty native
process (`true`) plus one append with fdatasync in the same folder, both of the same round. The launcher and the
Python hook, which stands in where there is no native client, stand beside an interpreter that does nothing. Each
process gets one event of 1 KiB through a pipe and is timed from its start to its end; its HOME is a folder of the
bench, RETAIN_HOME is not set, as after a plain installation. The disk's share is shown by the same hooks with their
HOME in memory. Then `--row` native hooks run one after the other. Afterwards every event must be in the spool,
byte for byte.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from measuring import (
    Figure,
    against,
    arguments,
    at_most,
    base_python,
    clean_environment,
    launcher,
    publish,
    summary,
)
from measuring import right as right_answers
from retain.capture import spool
from retain.home import SPOOL, data_home
from retain.interfaces.client_entries import Installation

RATIO_MAX = 1.5
OVER_FLOOR_MS = {"p50": 2.0, "p95": 5.0}
IN_A_ROW_MS = 100.0
EMPTY, NATIVE, APPEND = "true", "native", "append and fdatasync"
BARE = "python -I -S -c pass"
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


def _command(installation: Installation) -> list[str]:
    entry = installation.hook()
    return [entry["command"], *entry["args"]]


def commands(disk: Path, memory: Path | None) -> dict[str, tuple[list[str], Path | None]]:
    """What is started, by name, and the HOME it gets."""
    here = Installation.here()
    python = _command(replace(here, native_hook=None))
    empty = shutil.which("true")
    if empty is None:
        raise SystemExit("there is no `true` on PATH to stand for an empty native process")
    found: dict[str, tuple[list[str], Path | None]] = {
        EMPTY: ([empty], None),
        BARE: ([base_python(), "-I", "-S", "-c", "pass"], None),
        "launcher": ([launcher(), "hook"], disk / "launcher"),
        "python": (python, disk / "python"),
    }
    if here.native_hook:
        found[NATIVE] = (_command(here), disk / "native")
    for name in (NATIVE, "python"):
        if memory is not None and name in found:
            found[f"{name}, HOME in memory"] = (found[name][0], memory / name)
    return found


def measure(rounds: int, row: int, disk: Path, memory: Path | None) -> tuple[list[Figure], dict[str, object]]:
    """All commands in turns, the order turned round each time; then native hooks in a row."""
    chosen = commands(disk, memory)
    environments = {
        name: clean_environment(**({"HOME": str(home)} if home else {})) for name, (_, home) in chosen.items()
    }
    times: dict[str, list[float]] = {name: [] for name in (*chosen, APPEND)}
    sent: dict[Path, set[bytes]] = {home: set() for _, home in chosen.values() if home}
    for number in range(rounds + WARM_UP):
        payload = event(number)
        for name in list(chosen) if number % 2 else reversed(chosen):
            argv, home = chosen[name]
            times[name].append(run_once(argv, environments[name], payload))
            if home:
                sent[home].add(payload)
        times[APPEND].append(append_synced(disk))
    times = {name: values[WARM_UP:] for name, values in times.items()}
    in_a_row = []
    if NATIVE in chosen:
        argv, home = chosen[NATIVE]
        for number in range(rounds + WARM_UP, rounds + WARM_UP + row):
            payload = event(number)
            in_a_row.append(run_once(argv, environments[NATIVE], payload))
            sent[home].add(payload)
    kept = sum(len(spooled(home) & events) for home, events in sent.items())
    figures = [*_native(times, in_a_row), *_beside_python(times)]
    figures.append(right_answers("hook: events spooled", kept, sum(map(len, sent.values()))))
    sums = {name: summary(values) for name, values in times.items()}
    return figures, {"ms": sums, **({"ms_in_a_row": summary(in_a_row)} if in_a_row else {})}


def _native(times: Mapping[str, Sequence[float]], in_a_row: Sequence[float]) -> list[Figure]:
    """The native client against what no client can be faster than: a process, and the disk."""
    if NATIVE not in times:
        return []
    found = summary(times[NATIVE])
    floor = summary([sum(pair) for pair in zip(times[EMPTY], times[APPEND], strict=True)])
    beside = f"{EMPTY} + {APPEND}"
    figures = []
    for name, ours, least in (("p50", found.median, floor.median), ("p95", found.p95, floor.p95)):
        more = OVER_FLOOR_MS[name]
        figures.append(
            at_most(f"hook: native, {name}", ours, "ms", least + more, beside=f"{beside} {least:.2f}")
        )
    memory = times.get(f"{NATIVE}, HOME in memory")
    if memory:
        ours, empty = summary(memory), summary(times[EMPTY])
        figures.append(
            against("hook: native, HOME in memory, median", ours.median, "ms", EMPTY, empty.median)
        )
    if in_a_row:
        row = summary(in_a_row)
        figures.append(
            at_most(f"hook: native, {row.n:,} in a row, slowest", row.most, "ms", IN_A_ROW_MS,
                    beside=f"p99 {row.p99:.2f}, {APPEND} slowest of {len(times[APPEND])} {max(times[APPEND]):.2f}")
        )  # fmt: skip
    return figures


def _beside_python(times: Mapping[str, Sequence[float]]) -> list[Figure]:
    floor = summary(times[BARE])
    figures = []
    for name, values in times.items():
        if name in {BARE, EMPTY} or name.startswith(NATIVE):
            continue
        found = summary(values)
        target = None if name == APPEND else RATIO_MAX
        for part in ("median", "least", "p95"):
            ours, bare = getattr(found, part), getattr(floor, part)
            figures.append(
                against(f"hook: {name}, {part}", ours, "ms", "bare python", bare,
                        ratio_max=None if part == "p95" else target)
            )  # fmt: skip
    return figures


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--row", type=int, default=1_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="retain-hook-") as disk:
        if MEMORY.is_dir():
            with tempfile.TemporaryDirectory(prefix="retain-hook-", dir=MEMORY) as memory:
                figures, details = measure(given.rounds, given.row, Path(disk), Path(memory))
        else:
            figures, details = measure(given.rounds, given.row, Path(disk), None)
    return publish(figures, details, given.json)


if __name__ == "__main__":
    sys.exit(main())
