"""Real servers for tests: a Redis of the test's own on a spare port, and the PostgreSQL that is there."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import pytest

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

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False
