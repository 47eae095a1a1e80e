"""Sessions go on while their servers are killed: every event is kept once, and in its order."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import retain
from retain.home import DATABASE
from retain.storage.connection import connect

SESSIONS = 4
EVENTS_EACH = 250
EVENTS_A_SECOND = 50
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


def send(session: int, folder: Path, begins_s: float, sent: queue.Queue[str]) -> None:
    """Starts a hook for each event of a session when it is due; one that is late does not delay those after it."""
    for number in range(EVENTS_EACH):
        due_s = begins_s + (number * SESSIONS + session) / EVENTS_A_SECOND
        time.sleep(max(due_s - time.monotonic(), 0))
        done = subprocess.run(
            HOOK, input=payload(session, number), cwd=folder, capture_output=True, check=False
        )
        ended = (done.returncode, done.stderr, done.stdout[:1])
        sent.put("" if ended == (0, b"", b"{") else f"{session}:{number} {done}")


def ask(process: Any, message: Mapping[str, Any]) -> None:
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()


def start_server(folder: Path) -> subprocess.Popen[bytes]:
    """A server that drains all the time and answers hooks when it is elected; a recall of it drains as well."""
    process = subprocess.Popen(
        [BINARIES / "retain", "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, cwd=folder, env={**os.environ, "RETAIN_DRAIN_INTERVAL_MS": "10"},
    )  # fmt: skip
    ask(process, INITIALIZE)
    ask(process, RECALL)
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def wait_for_recall(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    while json.loads(process.stdout.readline()).get("id") != RECALL["id"]:
        pass


def receipts(home: Path) -> int:
    with closing(connect(home / DATABASE, writable=False)) as db:
        return int(db.execute("SELECT count(*) FROM event_receipt").get)


def kill_every_second(home: Path, folder: Path, begins_s: float, senders: list[threading.Thread]) -> int:
    """Each session has a server of its own; one after the other is killed and started again. Returns the kills."""
    servers = [start_server(folder) for _ in range(SESSIONS)]
    kills = 0
    try:
        while any(sender.is_alive() for sender in senders):
            old = servers[kills % SESSIONS]
            if kills == SESSIONS:  # this one dies with work done, the others wherever they are
                wait_for_recall(old)
                while not receipts(home):  # on a busy machine a recall does not wait for the drain to its end
                    ask(old, RECALL)
                    wait_for_recall(old)
            time.sleep(max(begins_s + kills + 1 - time.monotonic(), 0))
            kill(old)
            servers[kills % SESSIONS] = start_server(folder)
            kills += 1
    finally:
        for process in servers:
            kill(process)
    return kills


def test_events_of_four_sessions_are_kept_once_each_and_in_order_while_servers_are_killed(
    home: Path, folder: Path, record_property: Callable[[str, object], None]
) -> None:
    """Fifty events a second, one kill a second; ``-s`` shows what a machine made of that."""
    sent: queue.Queue[str] = queue.Queue()
    begins_s = time.monotonic() + 0.5
    senders = [threading.Thread(target=send, args=(n, folder, begins_s, sent)) for n in range(SESSIONS)]
    for sender in senders:
        sender.start()
    kills = kill_every_second(home, folder, begins_s, senders)
    for sender in senders:
        sender.join()
    rate = SESSIONS * EVENTS_EACH / (time.monotonic() - begins_s)
    record_property("events_a_second", rate)
    print(f"{rate:.1f} events/s, {kills} kills")
    problems = [sent.get() for _ in range(SESSIONS * EVENTS_EACH)]
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
