"""Past sessions into a new store: megabytes of transcripts a minute on one core.

    python benches/backfill.py [--megabytes N] [--json FILE]

The transcripts are made up from a seed, in the proportions of real ones (see ``suite/sessions.py``). Beside them
stand the two floors of the same run, each over the same bytes: only parsing every line, and parsing it and looking for
secrets in all of it. What the second import costs, of files that were touched since, is what a session pays that is
imported while it still goes on. Everything must be kept once, nothing may be lost, prompts must be found by a name in
them, and no secret may stand in the store. The process is held to one core.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

import retain
from measuring import Figure, arguments, at_least, publish
from measuring import right as right_answers
from retain.capture.redact import redact_json
from suite.sessions import SECRET, Written, write_sessions

MEGABYTES = 60
MEGABYTES_A_MINUTE = 100
QUESTIONS = 40


def speed(work: Callable[[], object], megabytes: float) -> float:
    """Megabytes a minute of wall time."""
    started = time.perf_counter()
    work()
    return megabytes / (time.perf_counter() - started) * 60


def parse(directory: Path) -> None:
    for path in directory.rglob("*.jsonl"):
        for line in path.read_bytes().splitlines():
            orjson.loads(line)


def parse_and_redact(directory: Path) -> None:
    for path in directory.rglob("*.jsonl"):
        for line in path.read_bytes().splitlines():
            redact_json(orjson.loads(line))


async def imported(place: Path) -> dict[str, Any]:
    async with retain.open(place / "home", folder=place / "repo") as memory:
        return await memory.imports.transcripts(place / "projects", workspace=None, tell=lambda _: None)


async def found(place: Path, written: Written) -> tuple[int, int]:
    """How many of the prompts that were asked for by a name in them were the first hit, and of how many."""
    step = max(1, len(written.questions) // QUESTIONS)
    asked = written.questions[::step]
    async with retain.open(place / "home", folder=place / "repo") as memory:
        hits = [(await memory.recall(name, limit=1)).hits for name in asked]
    return sum(bool(hit) and name in hit[0].memory.text for name, hit in zip(asked, hits, strict=True)), len(
        asked
    )


def measured(place: Path, megabytes: float) -> tuple[list[Figure], dict[str, Any]]:
    projects = place / "projects"
    (place / "repo").mkdir()
    written = write_sessions(projects / "-repo", megabytes, str(place / "repo"))
    long_ago = time.time() - 86_400
    for number, path in enumerate(sorted(projects.rglob("*.jsonl"))):
        os.utime(path, (long_ago + number, long_ago + number))
    size = written.bytes / 1e6
    reports: list[dict[str, Any]] = []
    parsing = speed(lambda: parse(projects), size)
    searching = speed(lambda: parse_and_redact(projects), size)
    spent = time.process_time()
    ours = speed(lambda: reports.append(asyncio.run(imported(place))), size)
    processor = size / (time.process_time() - spent) * 60
    for path in projects.rglob("*.jsonl"):
        os.utime(path, (long_ago + 5_000, long_ago + 5_000))
    again = speed(lambda: reports.append(asyncio.run(imported(place))), size)
    first, second = reports
    right, asked = asyncio.run(found(place, written))
    stored = [path.read_bytes() for path in (place / "home").rglob("*") if path.is_file()]
    clean = not any(SECRET.encode() in data for data in stored)
    told = [first["lost"] == 0, second["known"] == second["events"] == first["events"], clean,
            sum(first["redacted"].values()) >= written.secrets > 0]  # fmt: skip
    beside = f"parse {parsing:,.0f}, parse and redact {searching:,.0f}"
    return [
        at_least("transcripts into a new store", ours, "MB/min", MEGABYTES_A_MINUTE, beside=beside),
        Figure(what="transcripts, of processor time", ours=processor, unit="MB/min"),
        Figure(what="transcripts again, touched but known", ours=again, unit="MB/min", beside=beside),
        Figure(what="memories made", ours=first["memories"], unit=f"of {size:,.0f} MB"),
        right_answers("prompts found by a name", right, asked),
        right_answers("kept once, nothing lost, no secret", sum(told), len(told)),
    ], {"first": first, "second": second}


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument(
        "--megabytes", type=float, default=MEGABYTES, help=f"size of the corpus ({MEGABYTES})"
    )
    given: argparse.Namespace = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="retain-backfill-") as place:
        figures, details = measured(Path(place), given.megabytes)
    return publish(figures, details, given.json)


if __name__ == "__main__":
    sys.exit(main())
