"""A spool to fill, and locks to hold."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from retain.capture import spool

HOLD = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(fd, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


class Spool:
    """Writes events as the hook does; each is a microsecond after the one before."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.directory = home / "spool"
        self.home = home
        self.folder = folder
        self._clock_us = 1_795_000_000_000_000

    def put(self, name: str = "UserPromptSubmit", *, session: str = "s", **fields: Any) -> None:
        payload = {"hook_event_name": name, "session_id": session, "cwd": str(self.folder), **fields}
        self.put_bytes(json.dumps(payload).encode())

    def put_bytes(self, payload: bytes, **about: Any) -> None:
        self._clock_us += 1
        record = spool.Record(payload, self._clock_us, cwd=str(self.folder), **about)
        spool.append(str(self.directory), record)

    def edit(self, path: str, old: str, new: str, session: str = "s") -> None:
        file = {"file_path": str(self.folder / path), "old_string": old, "new_string": new}
        self.put(
            "PostToolUse", session=session, tool_name="Edit", tool_input=file, tool_response={},
            tool_use_id=f"t{self._clock_us}",
        )  # fmt: skip

    def go_on_now(self) -> None:
        """The next event is of this moment."""
        self._clock_us = time.time_ns() // 1000

    def prompts(self, count: int, session: str = "s") -> None:
        for i in range(count):
            self.put(session=session, prompt=f"please mend the cart total, step {i} of {session}")

    def bash(self, command: str, output: str, *, failed: bool, session: str = "s") -> None:
        call = {"tool_name": "Bash", "tool_input": {"command": command}, "tool_use_id": f"t{self._clock_us}"}
        if failed:
            self.put("PostToolUseFailure", session=session, error=f"Exit code 1\n{output}", **call)
        else:
            response = {"stdout": output, "stderr": "", "interrupted": False}
            self.put("PostToolUse", session=session, tool_response=response, **call)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.directory.glob("*.spool"))


@pytest.fixture
def events(home: Path, folder: Path) -> Spool:
    """The spool of this test."""
    return Spool(home, folder)


@pytest.fixture
def hold() -> Callable[[Path], Any]:
    """Holds the lock of a file in another process for the length of a block."""

    @contextmanager
    def holding(path: Path) -> Iterator[None]:
        with subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdin is not None
            assert holder.stdout.readline() == b"held\n"
            yield
            holder.stdin.close()

    return holding


@contextmanager
def locked(path: Path) -> Iterator[None]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


@pytest.fixture
def lock_here() -> Callable[[Path], Any]:
    """Holds the lock of a file in this process for the length of a block."""
    return locked
