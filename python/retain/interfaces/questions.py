"""From the question of a hook to its event, and from the text for the model to what the client reads.

A question is ``{"v": 1, "event": what the client sent, "cwd", "branch", "commit"}``; an answer is the
bytes to print.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

import orjson

from retain.capture.parse import event_of, load_json
from retain.model import Event

VERSION = 1
EMPTY = b"{}"
ANSWER_BYTES_MAX = 64 * 1024

_FRAME = re.compile(r"<(?=\s*/?\s*system-reminder)", re.IGNORECASE)

DEADLINES_S: Mapping[str, float] = {
    "SessionStart": 1.1,
    "UserPromptSubmit": 0.04,
    "PreToolUse": 0.04,
    "PostToolUseFailure": 0.04,
}
"""How long an answer may take from the moment its question was read: less than clients wait (1.2 s, 50 ms)."""


def asked_event(frame: bytes) -> Event | None:
    """The event of a client's question; None where it is none that is answered.

    Raises:
        ValueError: not a question of this version of the protocol.
    """
    asked = load_json(frame)
    if not isinstance(asked, dict) or asked.get("v") != VERSION or not isinstance(asked.get("event"), dict):
        raise ValueError("not a question")
    event = told_event(asked["event"], *(_text(asked, name) for name in ("cwd", "branch", "commit")))
    return event if allowed(event) else None


def told_event(payload: Mapping[str, Any], cwd: str, branch: str = "", commit: str = "") -> Event:
    """The event of a payload that was read where these hold; the payload's own ``cwd`` wins."""
    fields = {**payload, "cwd": _text(payload, "cwd") or cwd}
    return event_of(
        fields, received_at_us=time.time_ns() // 1000, branch=branch or None, commit=commit or None
    )


def allowed(event: Event) -> bool:
    """Whether an event may be answered: one of the four, of a session, at a place."""
    return event.name in DEADLINES_S and bool(event.session) and event.cwd.startswith("/")


def rendered(name: str, text: str) -> bytes:
    """The answer as the client reads it; ``{}`` where there is nothing to say.

    The client puts the text between tags of its own; a tag of that name in a memory must not end it.
    """
    if not text:
        return EMPTY
    quoted = _FRAME.sub("\u2039", text)
    answer = orjson.dumps({"hookSpecificOutput": {"hookEventName": name, "additionalContext": quoted}})
    return answer if len(answer) <= ANSWER_BYTES_MAX else EMPTY


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""
