"""A real server on a spare loopback port, and levels to put a cache on."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from retain.cache.levels import Entry
from retain.errors import CacheLevelDown

SERVERS = ("redis-server", "valkey-server")
START_S = 20.0


class Server:
    """A Redis or Valkey server that a test starts, kills and starts again on the same port."""

    def __init__(self, binary: str, folder: Path) -> None:
        self._binary = binary
        self._folder = folder
        with socket.socket() as spare:
            spare.bind(("127.0.0.1", 0))
            self.port = spare.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> None:
        """Starts it and returns when it answers."""
        command = [
            self._binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
            "--dir", str(self._folder), *arguments,
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert self._process.poll() is None, "the server ended at once"
            assert time.monotonic() < deadline, "the server does not answer"

    def kill(self) -> None:
        """Ends it without warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A running server."""
    pytest.importorskip("redis", reason="redis is not installed")
    binary = next(filter(None, map(shutil.which, SERVERS)), None)
    if binary is None:
        pytest.skip("neither redis-server nor valkey-server is on the PATH")
    made = Server(binary, tmp_path)
    made.start()
    yield made
    made.kill()


class Clock:
    """A time that only a test moves."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class DictLevel:
    """The simplest level that keeps the promises of one, and fails when it is told to."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.down = False
        self.asked: list[str] = []

    def _check(self, what: str) -> None:
        self.asked.append(what)
        if self.down:
            raise CacheLevelDown("told to fail")

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        self._check("get")
        return {key: self.entries[key].value for key in keys if key in self.entries}

    async def set_many(self, entries: Sequence[Entry], *, only_new: bool = False) -> None:
        self._check("set")
        for entry in entries:
            if not (only_new and entry.key in self.entries):
                self.entries[entry.key] = entry

    async def delete_many(self, keys: Sequence[str]) -> int:
        self._check("delete")
        return sum(self.entries.pop(key, None) is not None for key in keys)

    async def invalidate_tag(self, tag: str) -> None:
        self._check("tag")
        self.entries = {key: entry for key, entry in self.entries.items() if tag not in entry.tags}

    async def clear(self) -> None:
        self._check("clear")
        self.entries.clear()

    def stats(self) -> dict[str, int]:
        return {"entries": len(self.entries)}

    async def close(self) -> None:
        self._check("close")


@pytest.fixture
def levels() -> tuple[DictLevel, DictLevel]:
    """An L2 and an L3."""
    return DictLevel(), DictLevel()
