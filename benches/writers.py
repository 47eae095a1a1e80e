"""Several processes that write to one store at the same time, each with many remembers in flight.

    python benches/writers.py [--json FILE]

Two processes with 500 remembers each, eight with 125 each, and for comparison one process with the same number one
after the other. Counted are the writes in one commit (group commit), memories a second, and the longest wait of a
single remember. Afterwards the store must hold every memory once and pass its own verification.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import retain
from measuring import Figure, Summary, against, arguments, clean_environment, publish, summary
from measuring import right as right_answers
from suite.texts import notes

SETS = ((2, 500), (8, 125))
ALONE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a set of processes did together."""

    waits_ms: Summary
    per_second: float
    writes_a_commit: float
    right: int
    asked: int


async def write(home: Path, number: int, count: int, *, together: bool) -> dict[str, Any]:
    """One process: opens the store, waits for the word, remembers, and tells how it went."""
    texts = notes(count, seed=number + 10)
    async with retain.open(home, folder=home) as memory:
        await memory.status()
        print("ready", flush=True)
        sys.stdin.readline()
        before = (await memory.stats())["process"]["writer"]
        waits: list[float] = []

        async def one(text: str) -> str:
            started = time.perf_counter_ns()
            stored = await memory.remember(text)
            waits.append((time.perf_counter_ns() - started) / 1e6)
            return stored.id

        begun = time.time()
        said = [f"writer {number}: {note.text}" for note in texts]
        ids = await asyncio.gather(*map(one, said)) if together else [await one(text) for text in said]
        ended = time.time()
        after = (await memory.stats())["process"]["writer"]
    return {
        "waits_ms": waits, "ids": ids, "begun": begun, "ended": ended,
        "writes": after["writes"] - before["writes"], "commits": after["commits"] - before["commits"],
    }  # fmt: skip


def run(home: Path, processes: int, count: int, *, together: bool = True) -> Outcome:
    """Starts the processes, gives them the word at the same time, and checks the store."""
    children = [
        subprocess.Popen(
            [sys.executable, __file__, "--child", str(home), str(number), str(count), str(int(together))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean_environment(),
        )
        for number in range(processes)
    ]  # fmt: skip
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    told = [json.loads(child.communicate()[0]) for child in children]
    return Outcome(
        waits_ms=summary([ms for part in told for ms in part["waits_ms"]]),
        per_second=processes * count / (max(t["ended"] for t in told) - min(t["begun"] for t in told)),
        writes_a_commit=sum(t["writes"] for t in told) / sum(t["commits"] for t in told),
        right=asyncio.run(_kept(home, [memory_id for part in told for memory_id in part["ids"]])),
        asked=processes * count,
    )


async def _kept(home: Path, ids: Sequence[str]) -> int:
    """How many distinct memories are in a store that passes its verification; 0 in one that does not."""
    async with retain.open(home, folder=home) as memory:
        if not (await memory.verify())["ok"]:
            return 0
        found: set[str] = set()
        for start in range(0, len(ids), 50):
            found |= {m.id for m in (await memory.get_many(ids[start : start + 50]))[0]}
    return len(found)


def figures_of(label: str, found: Outcome, alone: Outcome) -> list[Figure]:
    return [
        against(f"{label}: memories a second", found.per_second, "/s", "one by one", alone.per_second),
        Figure(what=f"{label}: writes a commit", ours=found.writes_a_commit, unit="writes"),
        Figure(what=f"{label}: wait of a remember, p50", ours=found.waits_ms.median, unit="ms"),
        Figure(what=f"{label}: longest wait", ours=found.waits_ms.most, unit="ms"),
        right_answers(label, found.right, found.asked),
    ]


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        home, number, count, together = sys.argv[2:6]
        print(json.dumps(asyncio.run(write(Path(home), int(number), int(count), together=together == "1"))))
        return 0
    given: argparse.Namespace = arguments(__doc__).parse_args()
    figures: list[Figure] = []
    details: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="retain-writers-") as place:
        alone = run(Path(place, "alone"), 1, ALONE, together=False)
        details["one by one"] = alone.waits_ms
        figures.append(
            Figure(what="1 writer, one by one: remember p50", ours=alone.waits_ms.median, unit="ms")
        )
        figures.append(right_answers("1 writer, one by one", alone.right, alone.asked))
        for processes, count in SETS:
            found = run(Path(place, str(processes)), processes, count)
            details[f"{processes} x {count}"] = found.waits_ms
            figures += figures_of(f"{processes} writers x {count} at once", found, alone)
    return publish(figures, {"waits_ms": details}, given.json)


if __name__ == "__main__":
    sys.exit(main())
