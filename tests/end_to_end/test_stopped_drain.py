"""A process that is stopped while it drains holds every lock: other windows go on, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import retain
from retain.capture import spool
from servers import START_S, HookServer, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc whether a process is stopped")

DEADLINE_S = 60
LAUNCHER = [str(Path(sys.executable).parent / "retain"), "hook"]
MODULE = [sys.executable, "-m", "retain.interfaces.hook"]
FACT = "the cart total is rounded half to even"
STOPS_IN_ITS_DRAIN = """
import asyncio, os, signal, retain

async def main():
    async with retain.open() as memory:
        keep = memory.drain._keep

        def then_stop(db, ready):
            kept = keep(db, ready)
            os.kill(os.getpid(), signal.SIGSTOP)
            return kept

        memory.drain._keep = then_stop
        await memory.drain.run()

asyncio.run(main())
"""


def hook(command: list[str], folder: Path, name: str, text: str) -> dict[str, Any]:
    """What a process of a hook answers; it must end well."""
    event = {
        "hook_event_name": name,
        "session_id": text,
        "cwd": str(folder),
        "prompt": text,
        "source": "startup",
    }
    ended = subprocess.run(
        command, input=json.dumps(event).encode(), cwd=folder, capture_output=True, timeout=DEADLINE_S
    )
    assert ended.returncode == 0, ended.stderr
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


def command(folder: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and words of a command in a process of its own, which must end."""
    ended = subprocess.run(
        [sys.executable, "-m", "retain", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    return ended.returncode, ended.stdout + ended.stderr


def call(server: HookServer, tool: str, **arguments: Any) -> tuple[bool, str]:
    """Whether a tool failed, and what it said."""
    assert server.process.stdin is not None
    assert server.process.stdout is not None
    message = {
        "jsonrpc": "2.0",
        "id": 2,
        "method": "tools/call",
        "params": {"name": tool, "arguments": arguments},
    }
    server.process.stdin.write(json.dumps(message).encode() + b"\n")
    server.process.stdin.flush()
    result = json.loads(server.process.stdout.readline())["result"]
    return bool(result["isError"]), result["content"][0]["text"]


def state(process: subprocess.Popen[bytes]) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.fixture
def stopped(home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """A process that was stopped in the transaction of its drain, over a store that holds a fact."""
    monkeypatch.setenv("RETAIN_WRITE_TIMEOUT_MS", "300")

    async def begin() -> None:
        async with retain.open(home, folder=folder) as memory:
            await memory.remember(FACT)

    asyncio.run(begin())
    for number in range(3):
        assert hook(LAUNCHER, folder, "UserPromptSubmit", f"before {number}") == {}
    process = subprocess.Popen([sys.executable, "-c", STOPS_IN_ITS_DRAIN], cwd=folder)
    try:
        until(lambda: state(process) == "T", "it is stopped")
        yield process
    finally:
        process.kill()
        process.wait()


def prompts(home: Path, folder: Path) -> list[str]:
    """Every prompt that the store holds after a drain; the store must be whole."""

    async def main() -> list[str]:
        async with retain.open(home, folder=folder) as memory:
            await memory.drain.run()
            assert (await memory.verify())["ok"]
            found = (await memory.timeline(limit=50)).memories
            return sorted(one.text for one in found if one.kind == "prompt")

    return asyncio.run(main())


def goes_on(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGCONT)
    assert process.wait(START_S) == 0


@pytest.mark.parametrize("ends", [goes_on, subprocess.Popen.kill])
def test_hooks_and_another_window_go_on_beside_a_stopped_drain_and_nothing_is_lost(
    stopped: subprocess.Popen[bytes],
    home: Path,
    folder: Path,
    ends: Callable[[subprocess.Popen[bytes]], None],
) -> None:
    for number, way in enumerate((LAUNCHER, MODULE)):
        assert hook(way, folder, "UserPromptSubmit", f"meanwhile {number}") == {}
        asked = partial(hook, way, folder, "SessionStart", f"start {number}")
        until(
            lambda asked=asked: FACT in json.dumps(asked()), "a start is told"
        )  # once the machine has time for it
    with HookServer(home, folder) as server:
        failed, said = call(server, "recall", query="how is the cart total rounded?")
        assert (failed, FACT in said) == (False, True)
        failed, said = call(server, "remember", text="this has to wait")
        assert failed
        assert "store_busy" in said
        assert "may succeed later" in said
        assert call(server, "status")[0] is False
        assert server.hang_up() == 0
    assert state(stopped) == "T"
    ends(stopped)
    stopped.wait(START_S)
    assert prompts(home, folder) == [
        *(f"before {n}" for n in range(3)),
        *(f"meanwhile {n}" for n in range(2)),
    ]
    assert spool.waiting_bytes(str(home / "spool")) == 0


def test_commands_read_beside_a_stopped_drain_and_say_who_keeps_them_from_writing(
    stopped: subprocess.Popen[bytes], folder: Path
) -> None:
    code, said = command(folder, "recall", "cart total")
    assert (code, FACT in said) == (0, True)
    code, said = command(folder, "remember", "this has to wait")
    assert code == 1
    assert "the write lock was not free within 0.3 s" in said
    assert f"kill -CONT {stopped.pid}" in said or "another process holds it" in said
    os.kill(stopped.pid, signal.SIGCONT)
    assert stopped.wait(START_S) == 0
    assert command(folder, "remember", "this has to wait")[0] == 0
