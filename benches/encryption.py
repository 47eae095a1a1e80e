"""What encryption at rest costs: the same work on a plain and on an encrypted store, taking turns in one run.

    python benches/encryption.py [--memories 2000] [--json FILE]

Times are processor time of this process: of opening and closing the store, of one remember, of one recall that no cache
knows, of a backup; of the native hook, its own. The recall must find the right memory. What a backup adds to the peak
of the resident memory is measured in a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import apsw

import retain
from measuring import Figure, against, arguments, clean_environment, publish, summary
from measuring import right as right_answers
from retain import keys
from retain.config import Settings
from retain.memory.service import MemoryService
from retain.sealing import Key
from retain.storage.connection import encrypted_with
from retain.storage.sqlite import SqliteStore
from suite.texts import Note, notes

OPENINGS, HOOKS, QUERIES = 40, 60, 200
OFF = {"cache_entries_max": 0, "drain_interval_ms": 60_000}

BACKUP = """
import asyncio, resource, sys, retain
async def main():
    async with retain.open(sys.argv[1], folder=sys.argv[1]) as memory:
        await memory.recall("warm")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        await memory.keeping.backup()
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
asyncio.run(main())
"""


@dataclass(slots=True)
class Side:
    """One of the two stores, and what was measured on it (milliseconds of processor time)."""

    home: Path
    times: dict[str, list[float]] = field(default_factory=dict)
    right: int = 0
    peak_mb: float = 0.0

    async def timed(self, what: str, run: Callable[[], Awaitable[object]]) -> object:
        """Runs it and keeps its time."""
        started = time.process_time()
        found = await run()
        self.times.setdefault(what, []).append((time.process_time() - started) * 1000)
        return found


async def open_and_close(home: Path) -> None:
    store = await SqliteStore.open(Settings(home=home))
    await store.close()


async def ask(memory: MemoryService, note: Note) -> bool:
    found = await memory.recall(note.name)
    return any(note.name in hit.memory.text for hit in found.hits)


async def both(sides: list[Side], texts: list[Note]) -> None:
    async with (
        retain.open(sides[0].home, folder=sides[0].home, **OFF) as plain,
        retain.open(sides[1].home, folder=sides[1].home, **OFF) as sealed,
    ):
        pairs = list(zip(sides, (plain, sealed), strict=True))
        for note in texts:
            for side, memory in pairs:
                await side.timed("remember", lambda memory=memory, note=note: memory.remember(note.text))  # type: ignore[misc]
        for note in texts[:: max(1, len(texts) // QUERIES)][:QUERIES]:
            for side, memory in pairs:
                side.right += bool(
                    await side.timed("recall", lambda memory=memory, note=note: ask(memory, note))  # type: ignore[misc]
                )
        for side, memory in pairs:
            await side.timed("backup", memory.keeping.backup)
    for _ in range(OPENINGS):
        for side in sides:
            await side.timed("open and close", lambda side=side: open_and_close(side.home))  # type: ignore[misc]


def hooks(side: Side) -> None:
    """The native hook, which seals where the directory is encrypted."""
    event = {"hook_event_name": "PostToolUse", "session_id": "s", "cwd": "/", "tool_name": "Bash"}
    data = json.dumps({**event, "tool_input": {"command": "x" * 1_500}}).encode()
    environment = clean_environment(RETAIN_HOME=str(side.home))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [Path(sys.executable).with_name("retain-hook")],
        input=data,
        env=environment,
        capture_output=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    side.times.setdefault("native hook", []).append(spent * 1000)


def figures(plain: Side, sealed: Side, asked: int) -> list[Figure]:
    found = []
    for what, share in (("open and close", "median"), ("remember", "median"), ("remember", "p95"), ("recall", "median"),
                        ("recall", "p95"), ("backup", "median"), ("native hook", "median")):  # fmt: skip
        ours, floor = (getattr(summary(side.times[what]), share) for side in (sealed, plain))
        found.append(against(f"{what}, encrypted, {share}", ours, "ms", "plain", floor))
    found.append(
        against("backup, encrypted: added to the peak", sealed.peak_mb, "MB", "plain", plain.peak_mb)
    )
    sizes = [sum(one.stat().st_size for one in side.home.rglob("*.db")) / 1e6 for side in (sealed, plain)]
    found.append(against("database, encrypted", sizes[0], "MB", "plain", sizes[1]))
    return [
        *found,
        right_answers("plain", plain.right, asked),
        right_answers("encrypted", sealed.right, asked),
    ]


def main() -> int:
    """Measures, prints the table; 1 where an answer was wrong."""
    parser = arguments(__doc__)
    parser.add_argument("--memories", type=int, default=2_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        os.environ["RETAIN_KEYS"] = str(Path(place, "keys"))
        sides = [Side(Path(place, "plain")), Side(Path(place, "sealed"))]
        key = Key.fresh()
        keys.keep(key, in_file=True)
        sides[1].home.mkdir(mode=0o700)
        keys.declare(sides[1].home, key)
        asyncio.run(both(sides, notes(chosen.memories)))
        for _ in range(HOOKS):
            for side in sides:
                hooks(side)
        for side in sides:
            ran = subprocess.run(
                [sys.executable, "-c", BACKUP, str(side.home)], capture_output=True, text=True, check=True
            )
            side.peak_mb = float(ran.stdout)
        assert [encrypted_with(side.home / "retain.db") for side in sides] == [None, key.id]
        asked = len(sides[0].times["recall"])
        details = {
            side.home.name: {what: summary(all_) for what, all_ in side.times.items()} for side in sides
        }
        return publish(figures(*sides, asked), {**details, "sqlite": apsw.sqlite_lib_version()}, chosen.json)


if __name__ == "__main__":
    sys.exit(main())
