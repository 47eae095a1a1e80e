"""Sessions go on while their servers are killed: every event is kept once, and in its order."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import retain

SESSIONS = 4
EVENTS_EACH = 250
ROUNDS = 10
BINARIES = Path(sys.executable).parent
HOOK = [BINARIES / "retain-hook"] if (BINARIES / "retain-hook").exists() else [BINARIES / "retain", "hook"]
INITIALIZE = {
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}  # fmt: skip
RECALL = {
    "jsonrpc": "2.0", "id": 2, "method": "tools/call",
    "params": {"name": "recall", "arguments": {"query": "place of part"}},
}  # fmt: skip


def payload(session: int, number: int) -> bytes:
    name = "UserPromptSubmit"
    fields: dict[str, Any] = {"prompt": f"please look at place {number} of part {session}"}
    if number % 3 == 1:
        name = "PostToolUse"
        path = f"/p/part_{session}_{number}.py"
        fields = {"tool_name": "Write", "tool_use_id": f"t-{session}-{number}",
                  "tool_input": {"file_path": path, "content": "x"}, "tool_response": {"type": "create"}}  # fmt: skip
    elif number % 3 == 2:
        name = "Stop"
        fields = {"last_assistant_message": f"Done with place {number}."}
    return json.dumps({"session_id": f"session-{session}", "hook_event_name": name, **fields}).encode()


def send(session: int, folder: Path, turns: threading.Semaphore, sent: queue.Queue[str]) -> None:
    """Starts a hook for each event of a session, one after the other, whenever a turn is given."""
    for number in range(EVENTS_EACH):
        turns.acquire()
        done = subprocess.run(
            HOOK, input=payload(session, number), cwd=folder, capture_output=True, check=False
        )
        ended = (done.returncode, done.stderr, done.stdout[:1])
        sent.put("" if ended == (0, b"", b"{") else f"{session}:{number} {done}")


def ask(process: Any, message: Mapping[str, Any]) -> None:
    """Sends a request to a server and waits for the answer to it."""
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()
    while json.loads(process.stdout.readline()).get("id") != message["id"]:
        pass


@contextmanager
def server(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server that answers and drains all the time; killed without warning at the end of the block."""
    environment = {**os.environ, "RETAIN_DRAIN_INTERVAL_MS": "10"}
    process = subprocess.Popen(
        [BINARIES / "retain", "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, cwd=folder, env=environment,
    )  # fmt: skip
    try:
        ask(process, INITIALIZE)
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def test_events_of_four_sessions_are_kept_once_each_and_in_order_while_servers_are_killed(
    home: Path, folder: Path
) -> None:
    turns = threading.Semaphore(0)
    sent: queue.Queue[str] = queue.Queue()
    senders = [threading.Thread(target=send, args=(n, folder, turns, sent)) for n in range(SESSIONS)]
    for sender in senders:
        sender.start()
    a_round = SESSIONS * EVENTS_EACH // ROUNDS
    problems = []
    for number in range(ROUNDS):
        with server(folder) as process:
            turns.release(a_round // 2)
            problems += [sent.get() for _ in range(a_round // 4)]
            if number % 2:  # a recall drains: this server dies with work done, the others in the middle of it
                ask(process, RECALL)
            turns.release(a_round - a_round // 2)
        problems += [sent.get() for _ in range(a_round - a_round // 4)]
    for sender in senders:
        sender.join()
    assert [problem for problem in problems if problem] == []

    async def look() -> tuple[int, Any, list[Any], list[Any], Any]:
        async with retain.open(home, folder=folder) as memory:
            count = "SELECT count(*) FROM event_receipt"
            before = await memory._store.read(lambda r: r.connection.execute(count).get)
            report = await memory.drain.run()
            receipts = "SELECT session, name, count(*) FROM event_receipt GROUP BY session, name"
            kept = await memory._store.read(lambda r: r.connection.execute(receipts).fetchall())
            prompts = "SELECT session, body FROM memory WHERE kind = 'prompt' ORDER BY key"
            told = await memory._store.read(lambda r: r.connection.execute(prompts).fetchall())
            return before, report, kept, told, await memory.verify()

    before, report, kept, told, verified = asyncio.run(look())
    assert before > 0, "no server drained anything before it was killed"
    assert (report.dead, report.damaged_bytes) == (0, 0)
    names = {"UserPromptSubmit": 84, "PostToolUse": 83, "Stop": 83}
    assert sorted(kept) == sorted(
        (f"session-{n}", name, count) for n in range(SESSIONS) for name, count in names.items()
    )
    for session in range(SESSIONS):
        said = [text for name, text in told if name == f"session-{session}"]
        assert said == [
            f"please look at place {number} of part {session}" for number in range(0, EVENTS_EACH, 3)
        ]
    assert verified["ok"]
