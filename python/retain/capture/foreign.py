"""What the sessions of other clients have in common: turns, tool calls and their outcomes, told as hook payloads.

The formats are the clients' own and may change with any release, so their readers are tolerant: what cannot be
read, or has an unknown type, is passed over. Tools go by the names and fields of Claude Code, so one distiller
reads them all.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from retain.capture.distil import is_prompt_noise

Payload = dict[str, Any]

SHELL, WRITE, EDIT = "Bash", "Write", "Edit"
PATCH_FILES_MAX = 200

_SHELLS = frozenset(
    {"bash", "sh", "zsh", "dash", "/bin/bash", "/bin/sh", "/bin/zsh", "/usr/bin/bash", "/usr/bin/zsh"}
)
_FILE = re.compile(r"\A\*\*\* (?P<verb>Add|Update|Delete) File: (?P<path>.+?)\s*\Z")


class Turns:
    """A session as it is told: who, where and when, and the last message of the turn.

    Args:
        path: of the file that is read.
    """

    def __init__(self, path: str) -> None:
        self.common: Payload = {"session_id": "", "transcript_path": path, "cwd": ""}
        self.is_agent = False
        self._last_message = ""
        self._last_at = ""
        self._has_started = False

    def event(self, name: str, **fields: Any) -> Payload:
        """A payload of the session, here and now."""
        return {**self.common, "hook_event_name": name, **fields}

    def at(self, stamp: Any) -> None:
        """Takes over the time of what follows."""
        if isinstance(stamp, str) and stamp:
            self.common["timestamp"] = stamp

    def start(self) -> Iterator[Payload]:
        """The start of the session, once its id is known."""
        if not self._has_started and self.common["session_id"] and not self.is_agent:
            self._has_started = True
            yield self.event("SessionStart", source="startup")

    def prompt(self, text: str) -> Iterator[Payload]:
        """A prompt; those of subagents were written by another agent, and are not told."""
        if not text.strip() or self.is_agent or is_prompt_noise(text):
            return
        yield from self.stop()
        yield self.event("UserPromptSubmit", prompt=text)

    def said(self, text: str) -> None:
        """A message of the model; the last of a turn is told at its end."""
        if text.strip():
            self._last_message = text
            self._last_at = str(self.common.get("timestamp", ""))

    def stop(self) -> Iterator[Payload]:
        """The end of a turn, at the moment of its last message."""
        if self._last_message and self.common["session_id"]:
            said: Payload = {"stop_hook_active": False, "last_assistant_message": self._last_message}
            if self._last_at:
                said["timestamp"] = self._last_at
            if self.is_agent:
                yield self.event("SubagentStop", **said, agent_id=self.common["session_id"], agent_type="")
            else:
                yield self.event("Stop", **said)
        self._last_message = ""

    def end(self) -> Iterator[Payload]:
        """The end of the session."""
        yield from self.stop()
        if self.common["session_id"] and not self.is_agent:
            yield self.event("SessionEnd", reason="other")

    def shell(self, call: str, command: str, output: str, exit_code: int | None) -> Iterator[Payload]:
        """A shell command that has ended."""
        if not command:
            return
        about: Payload = {"tool_name": SHELL, "tool_input": {"command": command}, "tool_use_id": call}
        if exit_code:
            error = f"Exit code {exit_code}\n{output}"
            yield self.event("PostToolUseFailure", **about, error=error, is_interrupt=False)
        else:
            yield self.event("PostToolUse", **about, tool_response={"stdout": output, "stderr": ""})

    def changed(self, call: str, tool: str, asked: Payload, response: Payload | None = None) -> Payload:
        """A file that a tool has written; its path becomes absolute."""
        place = posixpath.join(str(self.common["cwd"]), str(asked.get("file_path", "")))
        asked = {**asked, "file_path": posixpath.normpath(place)}
        return self.event(
            "PostToolUse", tool_name=tool, tool_input=asked, tool_use_id=call, tool_response=response or {}
        )

    def failed(self, call: str, tool: str, asked: Payload, error: str) -> Payload:
        """A tool that failed."""
        return self.event(
            "PostToolUseFailure",
            tool_name=tool, tool_input=asked, tool_use_id=call, error=error, is_interrupt=False,
        )  # fmt: skip

    def patched(self, call: str, patch: str) -> Iterator[Payload]:
        """The files of a patch as ``apply_patch`` takes it, each as one edit."""
        for number, (verb, path, lines) in enumerate(files_of_patch(patch)):
            one = f"{call}:{number}"
            if verb == "Add":
                content = "\n".join(line[1:] for line in lines if line.startswith("+"))
                yield self.changed(one, WRITE, {"file_path": path, "content": content})
            elif verb == "Update":
                old = "\n".join(line[1:] for line in lines if line[:1] in {"-", " "})
                new = "\n".join(line[1:] for line in lines if line[:1] in {"+", " "})
                asked = {"file_path": path, "old_string": old, "new_string": new}
                yield self.changed(one, EDIT, asked, {"structuredPatch": [{"lines": lines}]})


def files_of_patch(patch: str) -> Iterator[tuple[str, str, list[str]]]:
    """What a patch does to each file: Add, Update or Delete, its path, and the lines that say how."""
    current: tuple[str, str, list[str]] | None = None
    told = 0
    for line in patch.splitlines():
        found = _FILE.match(line)
        if found is None:
            if current is not None and line[:1] in {"+", "-", " "}:
                current[2].append(line)
            continue
        if current is not None:
            yield current
            told += 1
        if told >= PATCH_FILES_MAX:
            return
        current = (found["verb"], found["path"], [])
    if current is not None:
        yield current


def command_of(words: Any) -> str:
    """A shell command as it was meant: the script of ``bash -lc SCRIPT``, else the words in quotes."""
    if isinstance(words, str):
        return words
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return ""
    if len(words) == 3 and words[0] in _SHELLS and words[1] in {"-lc", "-c", "-ic", "-l -c"}:
        return str(words[2])
    return shlex.join(words)


def text_of_parts(content: Any) -> str:
    """The text of a message: a string, a part with ``text``, or a list of such."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        text = content.get("text")
        return text if isinstance(text, str) else ""
    if isinstance(content, list):
        return "\n".join(text for text in map(text_of_parts, content) if text)
    return ""
