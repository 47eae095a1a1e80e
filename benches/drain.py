"""A spool full of events, drained to where each is durable and found: events a second.

    python benches/drain.py [--events 100000] [--sessions 8] [--json FILE]

The events are those of coding sessions in turns: a prompt, edits, commands that pass and that fail, files read,
a last message. The spool is written as hooks write it, in segments of 10,000 events; then one drain takes it all.
Counted is the wall time from its start to its end, and the processor time of the process beside it, which says
what the wall time is on a machine that does nothing else. Afterwards every event must have its receipt, every
memory must be found by the number that its text holds (a sample), and the store must verify.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import retain
from measuring import Figure, arguments, at_least, at_most, publish
from measuring import right as right_answers
from retain.capture import spool

A_SECOND_MIN = 2_000
SEGMENT_EVENTS = 10_000
TURN_EVENTS = 10
SAMPLE = 200
FOLDER = "/home/user/project"
STEMS = "alpha beta gamma delta parse render cache queue socket drain index token branch commit".split()
ENDINGS = "er ing or able ment ation".split()


def events(count: int, sessions: int, seed: int = 20261123) -> Any:
    """Payloads in turns of ten events; the sessions take turns."""
    rng = random.Random(seed)
    known = [stem + ending for stem in STEMS for ending in ENDINGS]

    def words(number: int) -> str:
        return " ".join(rng.choice(known) for _ in range(number))

    for number in range(count):
        turn, place = divmod(number, TURN_EVENTS)
        base = {"session_id": f"session-{turn % sessions}", "cwd": FOLDER, "permission_mode": "default",
                "transcript_path": "/home/user/.claude/projects/p/s.jsonl"}  # fmt: skip
        call = {**base, "tool_use_id": f"toolu_{number:07d}"}
        path = f"{FOLDER}/src/{rng.choice(known)}_{number % 300}.py"
        command = f"pytest tests/test_{rng.choice(known)}.py"
        if place == 0:
            yield {**base, "hook_event_name": "UserPromptSubmit", "prompt": f"change {words(12)} n{number}x"}
        elif place == TURN_EVENTS - 1:
            yield {**base, "hook_event_name": "Stop", "stop_hook_active": False,
                   "last_assistant_message": f"I decided to use {words(30)} because {words(6)} n{number}x"}  # fmt: skip
        elif place in {1, 2, 3}:
            edit = {"file_path": path, "old_string": words(20), "new_string": f"{words(20)} n{number}x"}
            yield {**call, "hook_event_name": "PostToolUse", "tool_name": "Edit", "tool_input": edit,
                   "tool_response": {"filePath": path, "success": True}}  # fmt: skip
        elif place == 4:
            yield {**call, "hook_event_name": "PostToolUseFailure", "tool_name": "Bash",
                   "tool_input": {"command": command},
                   "error": f"Exit code 1\nE   ValueError: {words(6)} n{number}x"}  # fmt: skip
        elif place in {5, 6}:
            yield {**call, "hook_event_name": "PostToolUse", "tool_name": "Bash",
                   "tool_input": {"command": command},
                   "tool_response": {"stdout": f"{words(40)} n{number}x", "stderr": ""}}  # fmt: skip
        else:
            yield {**call, "hook_event_name": "PostToolUse", "tool_name": "Read",
                   "tool_input": {"file_path": path}, "tool_response": {"content": words(60)}}  # fmt: skip


def fill(home: Path, count: int, sessions: int) -> int:
    """Writes the spool; returns its bytes."""
    directory = home / "spool"
    directory.mkdir(parents=True)
    start_us = time.time_ns() // 1000 - count * 1_000
    written = 0
    batch: list[bytes] = []
    for number, event in enumerate(events(count, sessions), start=1):
        record = spool.Record(
            json.dumps(event).encode(), start_us + number * 1_000, cwd=FOLDER, branch="main", commit="0" * 40
        )
        batch.append(spool.encode(record))
        if len(batch) == SEGMENT_EVENTS or number == count:
            data = b"".join(batch)
            (directory / f"seal-{number:020d}-1.spool").write_bytes(data)
            written += len(data)
            batch = []
    return written


async def drain(home: Path, count: int) -> tuple[list[Figure], dict[str, Any]]:
    """Drains the spool and looks whether everything is there."""
    async with retain.open(home, folder=home) as memory:
        wall, processor = time.perf_counter(), time.process_time()
        report = await memory.drain.run()
        wall_s, processor_s = time.perf_counter() - wall, time.process_time() - processor
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        numbers = [number for number in range(count) if number % TURN_EVENTS in {0, 1, 4}]
        asked = random.Random(7).sample(numbers, min(SAMPLE, len(numbers)))
        found = 0
        for number in asked:
            answer = await memory.recall(f"n{number}x", workspace="*", limit=3)
            found += any(f"n{number}x" in hit.memory.text for hit in answer.hits)
        verified = await memory.verify()
    figures = [
        at_least("drain: events a second of processor time", count / processor_s, "/s", A_SECOND_MIN),
        at_least("drain: events a second of wall time", count / wall_s, "/s", A_SECOND_MIN,
                 beside=f"processor {processor_s / wall_s:.0%} of one"),
        right_answers("drain: events with a receipt, none replayed", report.events - report.replayed, count),
        right_answers("drain: found by a word of their own", found, len(asked)),
        right_answers("drain: the store verifies", int(verified["ok"]), 1),
        at_most("drain: dead letters and damage", report.dead + report.damaged_bytes, "", 0),
    ]  # fmt: skip
    details = {"wall_s": wall_s, "processor_s": processor_s, "memories": report.memories, "resident_mb": most}
    return figures, details


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--sessions", type=int, default=8)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="retain-drain-") as place:
        home = Path(place)
        written = fill(home, given.events, given.sessions)
        figures, details = asyncio.run(drain(home, given.events))
    return publish(figures, {**details, "spool_bytes": written}, given.json)


if __name__ == "__main__":
    sys.exit(main())
