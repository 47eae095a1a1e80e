"""A session of Codex (a rollout, JSON lines) told as hook payloads.

Each line is ``{timestamp, type, payload}``; ``response_item`` holds what the model and its tools said,
``event_msg`` what was shown, of which only the outcome of commands is read. Older files hold the items alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from retain.capture.foreign import EDIT, Payload, Turns, command_of, text_of_parts
from retain.capture.parse import load_json

PENDING_MAX = 1_000
"""Calls that wait for their output; the oldest goes first."""

SHELLS = frozenset({"shell", "exec_command", "shell_command", "local_shell", "container.exec"})

_SCAFFOLDING = re.compile(
    r"\s*(?:<(?:environment_context|user_instructions|permissions instructions|turn_aborted|user_shell_command"
    r"|skill|collaboration_mode|subagent_notification|INSTRUCTIONS)\b|# AGENTS\.md instructions)"
)
_ITEMS = frozenset(
    {
        "message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output",
        "local_shell_call",
    }
)  # fmt: skip
_EXIT = re.compile(r"^(?:Process exited with code|Exit code:)\s*(-?\d{1,6})\s*$", re.MULTILINE)
_HEAD_CHARS = 2_000
_OUTPUT = "Output:\n"


class RolloutTeller:
    """What must be known of the lines so far."""

    def __init__(self, path: str) -> None:
        self._turns = Turns(path)
        self._pending: dict[str, tuple[str, Any]] = {}
        self._ended: dict[str, tuple[int | None, str | None]] = {}

    def tell(self, record: Mapping[str, Any]) -> Iterator[Payload]:
        """The payloads that a line completes."""
        kind, payload = record.get("type"), record.get("payload")
        self._turns.at(record.get("timestamp"))
        if not isinstance(payload, Mapping):  # an older file
            if isinstance(kind, str) and kind in _ITEMS:
                yield from self._item(record)
            elif kind is None and isinstance(record.get("id"), str):
                yield from self._meta(record)
        elif kind == "session_meta":
            yield from self._meta(payload)
        elif kind == "turn_context":
            self._move_to(payload)
        elif kind == "response_item":
            yield from self._item(payload)
        elif kind == "event_msg":
            self._event(payload)
        elif kind == "compacted":
            summary = text_of_parts(payload.get("message")) or text_of_parts(payload.get("summary"))
            if summary:
                yield self._turns.event("PostCompact", trigger="auto", compact_summary=summary)

    def end(self) -> Iterator[Payload]:
        """The payloads at the end of the session."""
        yield from self._turns.end()

    def _meta(self, meta: Mapping[str, Any]) -> Iterator[Payload]:
        """The head of the file; those that a fork copied from its parent come later, and say nothing new."""
        common = self._turns.common
        if common["session_id"] or not isinstance(meta.get("id"), str):
            return
        common["session_id"] = meta["id"]
        source = meta.get("source")
        self._turns.is_agent = isinstance(source, Mapping) and any(
            str(key).lower() == "subagent" for key in source
        )
        if isinstance(meta.get("cli_version"), str):
            common["version"] = meta["cli_version"]
        git = meta.get("git")
        if isinstance(git, Mapping) and isinstance(git.get("branch"), str):
            common["gitBranch"] = git["branch"]
        self._move_to(meta)
        yield from self._turns.start()

    def _move_to(self, about: Mapping[str, Any]) -> None:
        if isinstance(about.get("cwd"), str) and about["cwd"].startswith("/"):
            self._turns.common["cwd"] = about["cwd"]

    def _item(self, item: Mapping[str, Any]) -> Iterator[Payload]:
        kind, call = item.get("type"), str(item.get("call_id") or item.get("id") or "")
        if kind == "message":
            text = text_of_parts(item.get("content"))
            if item.get("role") == "assistant":
                self._turns.said(text)
            elif item.get("role") == "user" and not _SCAFFOLDING.match(text):
                yield from self._turns.prompt(text)
        elif kind == "function_call":
            self._wait(call, str(item.get("name")), load_json(str(item.get("arguments", "")).encode()))
        elif kind == "custom_tool_call":
            self._wait(call, str(item.get("name")), {"input": item.get("input")})
        elif kind == "local_shell_call":
            self._wait(call, "local_shell", item.get("action"))
        elif kind in ("function_call_output", "custom_tool_call_output") and call in self._pending:
            yield from self._result(call, *self._pending.pop(call), item.get("output"))

    def _wait(self, call: str, name: str, asked: Any) -> None:
        self._pending[call] = (name, asked)
        for held in (self._pending, self._ended):
            if len(held) > PENDING_MAX:
                del held[next(iter(held))]

    def _event(self, event: Mapping[str, Any]) -> None:
        """How a command, or a patch, ended; its output item follows."""
        call = event.get("call_id")
        if not isinstance(call, str):
            return
        if event.get("type") == "exec_command_end":
            code, output = event.get("exit_code"), event.get("aggregated_output")
            self._ended[call] = (
                code if isinstance(code, int) else None, output if isinstance(output, str) else None
            )  # fmt: skip
        elif event.get("type") == "patch_apply_end" and event.get("success") is False:
            self._ended[call] = (1, None)

    def _result(self, call: str, name: str, asked: Any, said: Any) -> Iterator[Payload]:
        output, code = _outcome(said)
        ended_code, ended_output = self._ended.pop(call, (None, None))
        code = code if ended_code is None else ended_code
        fields = asked if isinstance(asked, Mapping) else {}
        words = fields.get("command", fields.get("cmd"))
        patch = _patch_of(name, fields, words)
        if patch:
            if code:
                paths = re.findall(r"(?m)^\*\*\* (?:Add|Update) File: (.+?)\s*$", patch)[:1]
                yield self._turns.failed(
                    call, EDIT, {"file_path": "".join(paths)}, output or "the patch failed"
                )
            else:
                yield from self._turns.patched(call, patch)
        elif name in SHELLS:
            yield from self._turns.shell(call, command_of(words), ended_output or output, code)


def _patch_of(name: str, fields: Mapping[str, Any], words: Any) -> str:
    """The patch that a call applies, by the tool of that name or through the shell."""
    if name == "apply_patch":
        given = fields.get("input", fields.get("patch"))
        return given if isinstance(given, str) else ""
    if isinstance(words, list) and len(words) == 2 and words[0] in ("apply_patch", "applypatch"):
        return str(words[1])
    return ""


def _outcome(said: Any) -> tuple[str, int | None]:
    """Output and exit code of what a tool answered: text with a head, or an object with metadata."""
    if isinstance(said, Mapping):
        code = 1 if said.get("success") is False else None
        return text_of_parts(said.get("content")), code
    text = text_of_parts(said)
    if text.startswith("{") and isinstance(value := load_json(text.encode()), Mapping) and "output" in value:
        metadata = value.get("metadata")
        code = metadata.get("exit_code") if isinstance(metadata, Mapping) else None
        return text_of_parts(value["output"]), code if isinstance(code, int) else None
    head, mark, body = text.partition(_OUTPUT)
    found = _EXIT.search(head[:_HEAD_CHARS])
    if found is None:
        return text, None
    return body if mark else text, int(found[1])
