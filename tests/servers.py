"""Real servers for tests: a Redis of the test's own on a spare port, the PostgreSQL that is there, `retain serve`."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import pytest

from retain.referee.stdio_client import INITIALIZE

BINARIES = ("redis-server", "valkey-server")
START_S = 20.0
POSTGRES = os.environ.get("RETAIN_TEST_POSTGRES", "host=127.0.0.1 port=5432 dbname=postgres user=postgres")
"""Where a server is asked for; read here, because tests do not see variables of this name."""


def redis_binary() -> str:
    """The server to start; skips where there is none, or no client."""
    pytest.importorskip("redis", reason="redis is not installed")
    binary = next(filter(None, map(shutil.which, BINARIES)), None)
    if binary is None:
        pytest.skip("neither redis-server nor valkey-server is on the PATH")
    return binary


def postgres() -> Any:
    """The module psycopg; skips where it is not installed or no server answers at ``POSTGRES``."""
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
    try:
        psycopg.connect(POSTGRES, connect_timeout=5).close()
    except psycopg.OperationalError as error:
        pytest.skip(f"no PostgreSQL at {POSTGRES!r} (RETAIN_TEST_POSTGRES names another): {error}")
    return psycopg


class RedisServer:
    """A Redis or Valkey server that a test starts, kills and starts again on the same port."""

    def __init__(self, binary: str, folder: Path) -> None:
        self._binary = binary
        self._folder = folder
        with socket.socket() as spare:
            spare.bind(("127.0.0.1", 0))
            self.port = spare.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

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

    def held(self) -> dict[bytes, bytes]:
        """The names that the server holds, with their values."""
        import redis

        with redis.Redis(port=self.port) as connection:
            return {name: connection.get(name) or b"" for name in connection.scan_iter()}

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


class HookServer:
    """A `retain serve` that has greeted its client; it may be elected to answer hooks of its data directory."""

    def __init__(
        self, home: Path, folder: Path, *, command: tuple[str, ...] = (), **environment: str
    ) -> None:
        self.stderr_path = home.parent / f"stderr-{time.monotonic_ns()}"
        names = {"RETAIN_HOME": str(home), "CLAUDE_PROJECT_DIR": str(folder), **environment}
        with self.stderr_path.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*command, sys.executable, "-P", "-m", "retain", "serve"], cwd=folder, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=stderr, env={**os.environ, **names},
            )  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        greeting = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": INITIALIZE}
        self.process.stdin.write(json.dumps(greeting).encode() + b"\n")
        self.process.stdin.flush()
        assert json.loads(self.process.stdout.readline())["id"] == 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def kill(self) -> None:
        """Ends it without warning."""
        self.process.kill()
        self.process.wait()

    def hang_up(self) -> int:
        """Ends its stdin, as a client does that ends or is killed; returns the exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(START_S)

    def stderr(self) -> str:
        """What it has logged."""
        return self.stderr_path.read_text()


def until(holds: Callable[[], Any], what: str) -> Any:
    """The first true value of a condition; fails where there is none before the deadline."""
    deadline = time.monotonic() + START_S
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not in {START_S:g} s: {what}"
        time.sleep(0.01)
    return found


def hook_socket(home: Path) -> socket.socket | None:
    """A connection to the socket of a data directory; None where nobody listens, or takes no more."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(START_S)
    folder = os.open(home / "run", os.O_RDONLY) if (home / "run").is_dir() else None
    try:
        connection.connect(f"/proc/self/fd/{folder}/hook.sock")
    except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
        connection.close()
        return None
    finally:
        if folder is not None:
            os.close(folder)
    return connection


def asked(home: Path, event: Mapping[str, Any], *, cwd: str = "") -> dict[str, Any]:
    """What the server says to an event."""
    question = {"v": 1, "event": event, "cwd": cwd, "branch": "", "commit": ""}
    answer = asked_bytes(home, json.dumps(question).encode())
    assert answer is not None, "the server closed the connection"
    found: dict[str, Any] = json.loads(answer)
    return found


def asked_bytes(home: Path, question: bytes, *, length: int | None = None) -> bytes | None:
    """What the server says to the bytes of a question; None where it closes the connection instead."""
    connection = until(lambda: hook_socket(home), "somebody answers on the socket")
    with connection, connection.makefile("rb") as incoming:
        size = len(question) if length is None else length
        try:
            connection.sendall(size.to_bytes(4, "little") + question)
            connection.shutdown(socket.SHUT_WR)
            head = incoming.read(4)
        except (BrokenPipeError, ConnectionResetError):
            return None
        return incoming.read(int.from_bytes(head, "little")) if head else None
