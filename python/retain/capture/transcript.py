"""A Claude Code transcript (JSON lines) told again as the hook payloads of that session.

The format is the client's own and may change with any release, so the reader is tolerant: a line that
cannot be read, is longer than the limit, or has an unknown type is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from retain.capture.distil import is_prompt_noise
from retain.capture.parse import load_json

LINE_BYTES_MAX = 16 * 1024 * 1024
"""Longer lines are passed over without being held."""
PENDING_MAX = 1_000
"""Tool calls that wait for their result; the oldest goes first."""

Payload = dict[str, Any]
_TOOL_ERROR = re.compile(r"</?tool_use_error>")
_INTERRUPTED = "[Request interrupted by user"


def replay(path: str | Path) -> Iterator[Payload]:
    """Yields hook payloads in the order in which the hooks would have run.

    Each carries ``hook_event_name``, ``session_id``, ``transcript_path``, ``cwd``, ``prompt_id`` (the uuid of
    the prompt's line), and of the line ``timestamp``, ``gitBranch`` and ``version`` where it has them. Side
    chains and lines that the client wrote to itself are left out. Holds one line at a time.

    Raises:
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        teller = _Teller(str(path))
        for line in _lines(file):
            record = load_json(line)
            if isinstance(record, dict):
                yield from teller.tell(record)
        yield from teller.end()


def _lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(LINE_BYTES_MAX + 1):
        if len(line) <= LINE_BYTES_MAX:
            yield line
        else:
            while line and not line.endswith(b"\n"):
                line = file.readline(LINE_BYTES_MAX)


class _Teller:
    """What must be known of the lines so far: the session, the open tool calls, the last message."""

    def __init__(self, path: str) -> None:
        self._common: Payload = {"session_id": "", "transcript_path": path, "cwd": ""}
        self._pending: dict[str, Payload] = {}
        self._last_message = ""
        self._trigger = "auto"

    def tell(self, record: Payload) -> Iterator[Payload]:
        kind = record.get("type")
        if kind not in {"user", "assistant", "system"} or _is_aside(record):
            return
        yield from self._move_to(record)
        if kind == "system":
            yield from self._system(record)
        elif kind == "assistant":
            self._assistant(record)
        elif record.get("isCompactSummary") is True:
            yield self._event("PostCompact", trigger=self._trigger, compact_summary=_joined(_content(record)))
        else:
            yield from self._user(record)

    def end(self) -> Iterator[Payload]:
        yield from self._stop()
        if self._common["session_id"]:
            yield self._event("SessionEnd", reason="other")

    def _event(self, name: str, **fields: Any) -> Payload:
        return {**self._common, "hook_event_name": name, **fields}

    def _move_to(self, record: Payload) -> Iterator[Payload]:
        """Takes over where and when the line was written; a new session id starts a session."""
        for key in ("cwd", "timestamp", "gitBranch", "version"):
            if isinstance(record.get(key), str):
                self._common[key] = record[key]
        session = record.get("sessionId")
        before = self._common["session_id"]
        if isinstance(session, str) and session and session != before:
            self._common["session_id"] = session
            yield self._event("SessionStart", source="resume" if before else "startup")

    def _system(self, record: Payload) -> Iterator[Payload]:
        if record.get("subtype") == "compact_boundary":
            meta = record.get("compactMetadata")
            self._trigger = "manual" if isinstance(meta, dict) and meta.get("trigger") == "manual" else "auto"
            yield self._event("PreCompact", trigger=self._trigger, custom_instructions="")

    def _assistant(self, record: Payload) -> None:
        for block in _content(record):
            if block.get("type") == "text" and isinstance(block.get("text"), str) and block["text"].strip():
                self._last_message = block["text"]
            elif block.get("type") == "tool_use":
                self._pending[str(block.get("id"))] = block
                if len(self._pending) > PENDING_MAX:
                    del self._pending[next(iter(self._pending))]

    def _user(self, record: Payload) -> Iterator[Payload]:
        blocks = _content(record)
        results = [block for block in blocks if block.get("type") == "tool_result"]
        for block in results:
            yield from self._result(block, record.get("toolUseResult") if len(results) == 1 else None)
        text = _joined(blocks)
        if text and not results and not is_prompt_noise(text):
            yield from self._stop()
            self._common["prompt_id"] = str(record.get("uuid", ""))
            yield self._event("UserPromptSubmit", prompt=text)

    def _result(self, block: Mapping[str, Any], response: Any) -> Iterator[Payload]:
        call = self._pending.pop(str(block.get("tool_use_id")), None)
        if call is None:
            return
        asked = call.get("input")
        about = {
            "tool_name": str(call.get("name", "")),
            "tool_input": asked if isinstance(asked, dict) else {},
        }
        about["tool_use_id"] = str(block.get("tool_use_id"))
        said = _said(block.get("content"))
        if block.get("is_error") is True:
            error = _TOOL_ERROR.sub("", said)
            yield self._event("PostToolUseFailure", **about, error=error, is_interrupt=_INTERRUPTED in error)
        else:
            yield self._event("PostToolUse", **about, tool_response=said if response is None else response)

    def _stop(self) -> Iterator[Payload]:
        if self._last_message and self._common["session_id"]:
            yield self._event("Stop", stop_hook_active=False, last_assistant_message=self._last_message)
        self._last_message = ""


def _is_aside(record: Payload) -> bool:
    """Whether a line is a side chain, a team mate's, or the client's note to itself."""
    return any(record.get(key) for key in ("isSidechain", "isMeta", "teamName"))


def _content(record: Payload) -> list[dict[str, Any]]:
    """The blocks of a line's message; a plain string is one text block."""
    message = record.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _joined(blocks: list[dict[str, Any]]) -> str:
    texts = (block.get("text") for block in blocks if block.get("type") == "text")
    return "\n".join(text for text in texts if isinstance(text, str))


def _said(content: Any) -> str:
    if isinstance(content, str):
        return content
    return (
        _joined([block for block in content if isinstance(block, dict)]) if isinstance(content, list) else ""
    )
