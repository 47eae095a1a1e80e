"""A Claude Code transcript (JSON lines) told again as the hook payloads of that session.

The format is the client's own and may change with any release, so the reader is tolerant: a line that
cannot be read, is longer than the limit, or has an unknown type is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
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
_TOLD = frozenset({"user", "assistant", "system"})
_INTERRUPTED = "[Request interrupted by user"


def replay(path: str | Path) -> Iterator[Payload]:
    """Yields hook payloads in the order in which the hooks would have run.

    Each carries ``hook_event_name``, ``session_id``, ``transcript_path``, ``cwd``, ``prompt_id`` (the uuid of
    the prompt's line), and of the line ``timestamp``, ``gitBranch`` and ``version`` where it has them. Of side
    chains the calls of tools are told, with ``agent_id``; lines that the client wrote to itself are left out.
    Holds one line at a time.

    Raises:
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        teller = Teller(str(path))
        for line in lines(file):
            record = load_json(line)
            if isinstance(record, dict):
                yield from teller.tell(record)
        yield from teller.end()


def lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file, but for those that are longer than the limit."""
    while line := file.readline(LINE_BYTES_MAX + 1):
        if len(line) <= LINE_BYTES_MAX:
            yield line
        else:
            while line and not line.endswith(b"\n"):
                line = file.readline(LINE_BYTES_MAX)


class Teller:
    """What must be known of the lines so far: the session, the open tool calls, the last message.

    Args:
        path: of the transcript.
        agent: id of the subagent whose lines these are; its prompts were written by another agent and are
            not told, and its last message is told as ``SubagentStop``.
        agent_type: the kind of that subagent, where it is known.
        taken_back: uuids of prompts that the user took back by rewinding; they and the last message of
            their turns are not told. What tools did meanwhile was done, and is.
    """

    def __init__(
        self,
        path: str,
        *,
        agent: str | None = None,
        agent_type: str = "",
        taken_back: Container[str] = frozenset(),
    ) -> None:
        self._common: Payload = {"session_id": "", "transcript_path": path, "cwd": ""}
        if agent is not None:
            self._common["agent_id"] = agent
        self._agent = agent
        self._agent_type = agent_type
        self._taken_back = taken_back
        self._is_taken_back = False
        self._pending: dict[str, Payload] = {}
        self._last_message = ""
        self._last_at = ""
        self._trigger = "auto"
        self._sides: dict[str, Teller] = {}

    def tell(self, record: Payload) -> Iterator[Payload]:
        """The payloads that a line completes."""
        kind = record.get("type")
        if kind not in _TOLD or record.get("isMeta") or record.get("teamName"):
            return
        if record.get("isSidechain") and self._agent is None:
            yield from self._side(record).tell(record)
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
        """The payloads at the end of the session."""
        for side in self._sides.values():
            yield from side.end()
        yield from self._stop()
        if self._common["session_id"] and self._agent is None:
            yield self._event("SessionEnd", reason="other")

    def _side(self, record: Payload) -> Teller:
        agent = record.get("agentId")
        name = agent if isinstance(agent, str) else ""
        if name not in self._sides:
            self._sides[name] = Teller(str(self._common["transcript_path"]), agent=name)
        return self._sides[name]

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
            if self._agent is None:
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
                self._last_at = str(self._common.get("timestamp", ""))
            elif block.get("type") == "tool_use":
                self._pending[str(block.get("id"))] = block
                if len(self._pending) > PENDING_MAX:
                    del self._pending[next(iter(self._pending))]

    def _user(self, record: Payload) -> Iterator[Payload]:
        blocks = _content(record)
        results = [block for block in blocks if block.get("type") == "tool_result"]
        for block in results:
            yield from self._result(block, record.get("toolUseResult") if len(results) == 1 else None)
        if self._agent is None and (text := prompt_of(record)):
            yield from self._stop()
            self._common["prompt_id"] = str(record.get("uuid", ""))
            self._is_taken_back = self._common["prompt_id"] in self._taken_back
            if not self._is_taken_back:
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
        """The end of a turn, at the moment of its last message."""
        if self._last_message and self._common["session_id"] and not self._is_taken_back:
            said: Payload = {"stop_hook_active": False, "last_assistant_message": self._last_message}
            if self._last_at:
                said["timestamp"] = self._last_at
            if self._agent is None:
                yield self._event("Stop", **said)
            else:
                yield self._event("SubagentStop", **said, agent_type=self._agent_type)
        self._last_message = ""


def prompt_of(record: Mapping[str, Any]) -> str:
    """What a person, or another agent, asked with this line; empty where it is no prompt."""
    if record.get("type") != "user" or record.get("isCompactSummary") is True:
        return ""
    blocks = _content(record)
    text = "" if any(block.get("type") == "tool_result" for block in blocks) else _joined(blocks)
    return "" if not text or is_prompt_noise(text) else text


def _content(record: Mapping[str, Any]) -> list[dict[str, Any]]:
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
