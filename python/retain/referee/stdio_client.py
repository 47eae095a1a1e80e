"""A client that costs little: raw JSON-RPC lines over the pipes of a server process, in either era."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from retain.errors import RetainError

HANDSHAKE = "2025-11-25"
MODERN = "2026-07-28"
ERAS = (HANDSHAKE, MODERN)
DEADLINE_S = 60

CLIENT = {"name": "bench", "version": "1"}
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}
INITIALIZE = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": CLIENT}

MEMORY_ID = re.compile(r"\[([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\]")


class ServerFailed(RetainError):
    """The server ended, or gave no answer in time."""


class Server:
    """A server process and the client's end of its pipes.

    Args:
        argv: the command.
        folder: its working directory, which is the project too.
        environment: its whole environment.
        era: ``HANDSHAKE`` or ``MODERN``.
        deadline_s: longest wait for an answer, in seconds.
    """

    def __init__(
        self,
        argv: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        era: str = HANDSHAKE,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._era = era
        self._deadline_s = deadline_s
        self._last_id = 0
        self._buffer = b""
        self.started_ns = time.perf_counter_ns()
        self._process = subprocess.Popen(
            argv, cwd=folder, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, bufsize=0,
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the pipes, which ends a server; one that does not end is killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            self._process.stdout.close()

    def greet(self) -> dict[str, Any]:
        """The first exchange of the era; returns its result."""
        if self._era == MODERN:
            return self.request("server/discover")
        result = self.request("initialize", INITIALIZE)
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return result

    def request(self, method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Asks and waits for the result."""
        self._ask(method, params)
        answer = self._read()
        while "method" in answer:  # a notification, or a question of the server's own
            answer = self._read()
        if answer.get("id") != self._last_id or "result" not in answer:
            raise ServerFailed(f"{method}: {answer}")
        result: dict[str, Any] = answer["result"]
        return result

    def call(self, tool: str, **arguments: object) -> str:
        """The text of a tool's answer.

        Raises:
            ServerFailed: the tool says that it failed.
        """
        return self._text(self.request("tools/call", {"name": tool, "arguments": arguments}))

    def timed(self, tool: str, **arguments: object) -> tuple[float, str]:
        """Milliseconds from before the request is written until its answer is read, and the text.

        Making and parsing JSON on this side is not counted.
        """
        data = self._line("tools/call", {"name": tool, "arguments": arguments})
        started = time.perf_counter_ns()
        self._write(data)
        answer: dict[str, Any] = {"method": ""}
        while "method" in answer:  # a notification, or a question of the server's own
            line = self._read_line()
            elapsed_ms = (time.perf_counter_ns() - started) / 1e6
            answer = json.loads(line)
        if answer.get("id") != self._last_id or "result" not in answer:
            raise ServerFailed(f"{tool}: {answer}")
        return elapsed_ms, self._text(answer["result"])

    @staticmethod
    def _text(result: Mapping[str, Any]) -> str:
        text = "\n".join(part["text"] for part in result["content"] if part["type"] == "text")
        if result.get("isError"):
            raise ServerFailed(text)
        return text

    def _line(self, method: str, params: Mapping[str, Any] | None) -> bytes:
        self._last_id += 1
        given = dict(params or {}) | ({"_meta": ENVELOPE} if self._era == MODERN else {})
        message = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": given}
        return json.dumps(message).encode() + b"\n"

    def _ask(self, method: str, params: Mapping[str, Any] | None) -> None:
        self._write(self._line(method, params))

    def _send(self, message: Mapping[str, Any]) -> None:
        self._write(json.dumps(message).encode() + b"\n")

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._to, data) :]

    def _read(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._read_line())
        return answer

    def _read_line(self) -> bytes:
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], self._deadline_s)
            chunk = os.read(self._from, 1 << 20) if ready else b""
            if not chunk:
                raise ServerFailed("no answer" if not ready else "the server has ended")
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line
