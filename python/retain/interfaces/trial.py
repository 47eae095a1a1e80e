"""Tries a hook command and an MCP server as the client would start them, in a data directory of their own."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retain.config import child_environment
from retain.interfaces.client_entries import home_place

LIMIT_S = 10.0
STOP_S = 2.0
ANSWER_BYTES_MAX = 1024 * 1024
EVENT = b'{"hook_event_name": "Notification", "session_id": "retain-doctor", "message": "retain doctor"}'

INITIALIZE: Mapping[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "retain-doctor", "version": "1"},
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """Whether it worked, what happened, and how long it took."""

    ok: bool
    detail: str
    elapsed_ms: float = 0.0


def try_hook(command: Sequence[str], scratch: str) -> Tried:
    """Runs a hook command with one event; it must answer ``{}`` and leave the event in the spool."""
    plain = list(command)
    if (place := home_place(plain[1:])) is not None:
        plain[1 + place] = scratch  # a data directory that was asked for at installation
    started = time.perf_counter()
    try:
        done = subprocess.run(
            plain,
            input=EVENT,
            capture_output=True,
            env=child_environment(scratch),
            cwd=scratch,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Tried(ok=False, detail=f"the hook did not end within {LIMIT_S:.0f} s")
    except (OSError, ValueError) as error:
        return Tried(ok=False, detail=f"the hook could not be started: {error}")
    elapsed_ms = (time.perf_counter() - started) * 1000
    if done.returncode != 0 or done.stdout.strip() != b"{}":
        return Tried(ok=False, detail=f"the hook ended with {done.returncode}{_last_line(done.stderr)}")
    if not any(path.stat().st_size for path in Path(scratch).glob("spool/*.spool")):
        return Tried(ok=False, detail=f"the hook spooled nothing{_last_line(done.stderr)}")
    return Tried(ok=True, detail=f"takes an event in {elapsed_ms:.0f} ms", elapsed_ms=elapsed_ms)


def try_server(command: Sequence[str], scratch: str, environment: Mapping[str, object]) -> Tried:
    """Starts a server and asks it to ``initialize``."""
    given = {name: str(value) for name, value in environment.items()}
    started = time.perf_counter()
    with contextlib.ExitStack() as stack:
        errors = stack.enter_context(Path(scratch, "stderr").open("w+b"))
        try:
            server = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**child_environment(scratch), **given, "RETAIN_HOME": scratch},
                cwd=scratch,
            )
        except (OSError, ValueError) as error:
            return Tried(ok=False, detail=f"the server could not be started: {error}")
        try:
            answer = _ask(server, started + LIMIT_S)
            elapsed_ms = (time.perf_counter() - started) * 1000
        finally:
            _stop(server)
        if answer is None:
            errors.seek(0)
            said = _last_line(errors.read(ANSWER_BYTES_MAX))
            return Tried(
                ok=False, detail=f"the server did not answer `initialize` within {LIMIT_S:.0f} s{said}"
            )
    if not isinstance(answer.get("result"), dict):
        return Tried(ok=False, detail=f"the server refused `initialize`: {json.dumps(answer.get('error'))}")
    info = answer["result"].get("serverInfo", {})
    return Tried(
        ok=True, detail=f"answers as {info.get('name')} {info.get('version')} in {elapsed_ms:.0f} ms"
    )


def _ask(server: subprocess.Popen[bytes], deadline: float) -> dict[str, Any] | None:
    """The answer to ``initialize``; None where none came in time. Lines that are no answer are passed over."""
    assert server.stdin is not None, "made with a pipe"
    assert server.stdout is not None, "made with a pipe"
    try:
        server.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
        server.stdin.flush()
    except OSError:
        return None
    held = b""
    fd = server.stdout.fileno()
    while (left := deadline - time.perf_counter()) > 0 and len(held) < ANSWER_BYTES_MAX:
        if not select.select([fd], [], [], left)[0]:
            return None
        chunk = os.read(fd, 1 << 16)
        if not chunk:
            return None
        *lines, held = (held + chunk).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError):
                message = json.loads(line)
                if isinstance(message, dict) and message.get("id") == INITIALIZE["id"]:
                    return message
    return None


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Ends a server as its client does: end of input first, then by force."""
    for pipe in (server.stdin, server.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    try:
        server.wait(STOP_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _last_line(data: bytes) -> str:
    lines = data.decode("utf-8", "replace").strip().splitlines()
    return f": {lines[-1]}" if lines else ""
