"""Nothing acknowledged is lost: processes are killed at the worst moment, and another one looks for their work."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

import retain
from retain.capture import spool

ROUNDS = 200
HOOKS_WAITING = 6
RETAIN = Path(sys.executable).with_name("retain")

# Starts a process a line: each opens the store anew, remembers, says so, and waits to be killed.
WRITERS = """
import asyncio, os, signal, sys
import retain
import retain.memory.opening
home, folder = sys.argv[1:]
signal.signal(signal.SIGCHLD, signal.SIG_IGN)

async def remember(text):
    async with retain.open(home, folder=folder) as memory:
        stored = await memory.remember(text)
        os.write(1, f"{os.getpid()} {stored.id}\\n".encode())
        signal.pause()

async def stream(name):
    async with retain.open(home, folder=folder) as memory:
        async def some(task):
            for i in range(1_000):
                stored = await memory.remember(f"stream {name} task {task} number {i}")
                os.write(1, f"{os.getpid()} {stored.id}\\n".encode())
        await asyncio.gather(*(some(task) for task in range(4)))

work = {"remember": remember, "stream": stream}
print("ready", flush=True)
while line := sys.stdin.readline():
    what, _, text = line.strip().partition(" ")
    if os.fork() == 0:
        asyncio.run(work[what](text))
"""

RECALLS = """
import asyncio, sys
import retain

async def main():
    async with retain.open(sys.argv[1], folder=sys.argv[2], recall_drain_ms=60_000) as memory:
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            answer = await memory.recall(line.strip())
            print(" | ".join(f"{hit.memory.id} {hit.memory.text}" for hit in answer.hits), flush=True)

asyncio.run(main())
"""

MANY = """
import asyncio, sys
import retain

async def main():
    async with retain.open(sys.argv[1], folder=sys.argv[2]) as memory:
        print("ready", flush=True)
        sys.stdin.readline()
        stored = await asyncio.gather(*(memory.remember(f"{sys.argv[3]} says {i}") for i in range(500)))
        print(len({one.id for one in stored if one.created}), flush=True)

asyncio.run(main())
"""

MANY_SMALL = MANY.replace("500", "100")

DRAIN = """
import asyncio, sys
import retain

async def main():
    async with retain.open(sys.argv[1], folder=sys.argv[2], drain_batch=2) as memory:
        running = asyncio.create_task(memory.drain.run())
        while not running.done():
            print(await memory._store.read(lambda reader: reader.total()), flush=True)
        print("done", flush=True)

asyncio.run(main())
"""


@contextmanager
def started(script: str, *arguments: str | Path) -> Iterator[Any]:
    """A Python process that has said that it is ready; it is killed at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ask(process: Any, line: str) -> str:
    """One line to a process, and the line that it answers."""
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return str(process.stdout.readline()).strip()


def hook(folder: Path) -> Any:
    """A hook process that waits for its event."""
    return subprocess.Popen([RETAIN, "hook"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder)


def acknowledged(process: Any, text: str) -> None:
    """Gives a hook its event and kills it as soon as it has answered."""
    event = {"hook_event_name": "UserPromptSubmit", "session_id": "s", "prompt": text}
    process.stdin.write(json.dumps(event).encode())
    process.stdin.close()
    assert process.stdout.read(2) == b"{}"
    process.kill()
    process.wait()
    process.stdout.close()


def in_store(home: Path, folder: Path, action: Any) -> Any:
    """Runs an action with a service in this process and returns its answer."""

    async def run() -> Any:
        async with retain.open(home, folder=folder) as memory:
            return await action(memory)

    return asyncio.run(run())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "project"
    path.mkdir()
    return path


def test_a_second_process_recalls_what_a_killed_one_acknowledged(home: Path, folder: Path) -> None:
    lost = []
    waiting = [hook(folder) for _ in range(HOOKS_WAITING)]
    with started(WRITERS, home, folder) as writers, started(RECALLS, home, folder) as recalls:
        assert writers.stdout.readline() == recalls.stdout.readline() == "ready\n"
        for i in range(ROUNDS):
            text = f"please look at the zebra{i}stripe of round {i}"
            if i % 2:
                waiting.append(hook(folder))
                acknowledged(waiting.pop(0), text)
                wanted = text
            else:
                pid, wanted = ask(writers, f"remember {text}").split()
                os.kill(int(pid), signal.SIGKILL)
            if wanted not in ask(recalls, f"zebra{i}stripe"):
                lost.append(i)
    for process in waiting:
        process.kill()
        process.communicate()
    assert lost == []
    verified, status = in_store(home, folder, lambda m: _both(m.verify(), m.status()))
    assert verified["ok"]
    assert status["memories"] == ROUNDS


async def _both(one: Any, two: Any) -> tuple[Any, Any]:
    return await one, await two


def test_two_processes_of_500_concurrent_remembers_make_1000_memories(home: Path, folder: Path) -> None:
    with started(MANY, home, folder, "first") as one, started(MANY, home, folder, "second") as two:
        for process in (one, two):
            assert process.stdout.readline() == "ready\n"
        for process in (one, two):
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [process.stdout.readline() for process in (one, two)] == ["500\n", "500\n"]
    verified, status = in_store(home, folder, lambda m: _both(m.verify(), m.status()))
    assert (verified["ok"], status["memories"]) == (True, 1_000)


def test_eight_processes_at_once_write_a_store_that_is_whole(home: Path, folder: Path) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(started(MANY_SMALL, home, folder, str(n))) for n in range(8)]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [process.stdout.readline().strip() for process in processes] == ["100"] * 8

    async def look() -> tuple[int, Any]:
        async with retain.open(home, folder=folder) as memory:
            counts = await memory.stats()
            return counts["memories"]["active"], await memory.verify()

    count, checked = asyncio.run(look())
    assert count == 800
    assert checked["ok"], checked


def test_a_process_killed_in_a_stream_of_remembers_keeps_what_it_acknowledged(
    home: Path, folder: Path
) -> None:
    rng = random.Random(9)
    known: list[str] = []
    with started(WRITERS, home, folder) as writers:
        assert writers.stdout.readline() == "ready\n"
        for i in range(20):
            pid, first = ask(writers, f"stream {i}").split()
            known.append(first)
            for _ in range(rng.randrange(40)):
                known.append(writers.stdout.readline().split()[1])
            os.kill(int(pid), signal.SIGKILL)
            # What it had said before it died was acknowledged too; the last line is from the next process.
            ready, other = ask(writers, f"remember mark {i}").split(), int(pid)
            while int(ready[0]) == other:
                known.append(ready[1])
                ready = writers.stdout.readline().split()
            os.kill(int(ready[0]), signal.SIGKILL)
            verified = in_store(home, folder, lambda m: m.verify())
            assert verified["ok"], verified
    assert len(set(known)) == len(known) > 20

    async def missing(memory: Any) -> list[str]:
        parts = [known[start : start + 50] for start in range(0, len(known), 50)]
        return [one for part in parts for one in (await memory.get_many(part))[1]]

    assert in_store(home, folder, missing) == []


def test_a_drain_killed_in_the_middle_leaves_each_event_to_be_taken_once(home: Path, folder: Path) -> None:
    count = 300
    for i in range(count):
        event = {
            "hook_event_name": "UserPromptSubmit",
            "session_id": "s",
            "prompt": f"please mend step {i} of it",
        }
        spool.append(
            str(home / "spool"), spool.Record(json.dumps(event).encode(), 1_000_000 + i, cwd=str(folder))
        )
    killed = 0
    for enough in (1, 30, 90, 150, 210, 270):
        with started(DRAIN, home, folder) as drain:
            for line in drain.stdout:
                if line == "done\n" or int(line) >= enough:
                    break
            killed += line != "done\n"
    assert killed >= 4

    async def finish(memory: Any) -> Any:
        report = await memory.drain.run()
        receipts = await memory._store.read(
            lambda r: r.connection.execute("SELECT count(*), sum(memories) FROM event_receipt").fetchall()
        )
        return report, receipts, await memory.verify(), await memory.status()

    report, receipts, verified, status = in_store(home, folder, finish)
    assert (report.events, report.dead, report.damaged_bytes) == (count, 0, 0)
    assert receipts == [(count, count)]
    assert verified["ok"]
    assert (status["memories"], status["spool_waiting_bytes"]) == (count, 0)
