"""A session of Gemini CLI (a chat file) told as hook payloads.

Newer files are JSON lines: metadata first, then messages, each appended again whenever it changes, ``$set`` for
new metadata and ``$rewindTo`` for messages that the user took back. Older files are one JSON object. What counts
is the last state, so a chat is read whole before it is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

from retain.capture.foreign import EDIT, SHELL, WRITE, Payload, Turns, text_of_parts
from retain.capture.parse import load_json
from retain.capture.transcript import lines

FILE_BYTES_MAX = 256 * 1024 * 1024
MESSAGES_MAX = 200_000
ROOT_FILE = ".project_root"
ROOT_BYTES_MAX = 8_192
LEVELS_UP = 4

_TOOLS: Mapping[str, str] = {"run_shell_command": SHELL, "write_file": WRITE, "replace": EDIT, "edit": EDIT}
_EXIT = re.compile(r"^Exit Code: (-?\d{1,6})\s*$", re.MULTILINE)
_OUTPUT = re.compile(
    r"^(?:Output|Stdout): (?P<out>.*?)(?=^(?:Error|Stderr|Exit Code|Signal|Background PIDs|Process Group PGID): |\Z)",
    re.DOTALL | re.MULTILINE,
)
_ERROR = re.compile(
    r"^(?:Error|Stderr): (?P<out>(?!\(none\)).*?)(?=^(?:Exit Code|Signal): |\Z)", re.DOTALL | re.MULTILINE
)


def tell_chat(path: Path, *, is_over: bool) -> Iterator[Payload]:
    """The payloads of a chat.

    Args:
        path: of the file.
        is_over: whether its session is over; else its last turn is left for later.

    Raises:
        OSError: it cannot be read, or is too large.
    """
    about, messages = _loaded(path)
    turns = Turns(str(path))
    session = about.get("sessionId")
    if not isinstance(session, str) or not session:
        return
    turns.common["session_id"] = session
    turns.common["cwd"] = _folder(path, about, messages)
    turns.is_agent = about.get("kind") == "subagent"
    turns.at(about.get("startTime"))
    yield from turns.start()
    for message in messages:
        turns.at(message.get("timestamp"))
        text = text_of_parts(message.get("content"))
        if message.get("type") == "user":
            yield from turns.prompt(text)
        elif message.get("type") == "gemini":
            turns.said(text)
            calls = message.get("toolCalls")
            for call in calls if isinstance(calls, list) else ():
                if isinstance(call, Mapping):
                    turns.at(call.get("timestamp"))
                    yield from _used(turns, call)
    if is_over:
        yield from turns.end()


def _loaded(path: Path) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    """The metadata and the messages that a chat has in the end."""
    if path.stat().st_size > FILE_BYTES_MAX:
        raise OSError(f"larger than {FILE_BYTES_MAX:,} bytes")
    with path.open("rb") as file:
        if path.suffix == ".json":
            whole = load_json(file.read(FILE_BYTES_MAX))
            about = dict(whole) if isinstance(whole, Mapping) else {}
            return about, _messages(about)
        about = {}
        held: dict[str, Mapping[str, Any]] = {}
        for line in lines(file):
            record = load_json(line)
            if isinstance(record, Mapping):
                _take(record, about, held)
        return about, _messages(about) or list(held.values())


def _take(record: Mapping[str, Any], about: dict[str, Any], held: dict[str, Mapping[str, Any]]) -> None:
    taken_back, fresh = record.get("$rewindTo"), record.get("$set")
    if isinstance(taken_back, str):
        ids = list(held)
        for name in ids[ids.index(taken_back) if taken_back in held else 0 :]:
            del held[name]
    elif isinstance(record.get("id"), str):
        if len(held) < MESSAGES_MAX or record["id"] in held:
            held[record["id"]] = record
    elif isinstance(fresh, Mapping):
        about.update(fresh)
    elif isinstance(record.get("sessionId"), str):
        about.update(record)


def _messages(about: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = about.get("messages")
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _folder(path: Path, about: Mapping[str, Any], messages: list[Mapping[str, Any]]) -> str:
    """The folder that the session worked in: written beside newer chats, else found by the hash of its path."""
    for above in path.parents[:LEVELS_UP]:
        try:
            with (above / ROOT_FILE).open("rb") as file:
                root = file.read(ROOT_BYTES_MAX).decode("utf-8", "replace").strip()
        except OSError:
            continue
        if root.startswith("/"):
            return root
    wanted = about.get("projectHash")
    for place in dict.fromkeys(_places(messages)):
        if sha256(place.encode()).hexdigest() == wanted:
            return place
    return ""


def _places(messages: list[Mapping[str, Any]]) -> Iterator[str]:
    """Folders that the calls of tools name, and those above them."""
    for message in messages:
        calls = message.get("toolCalls")
        for call in calls if isinstance(calls, list) else ():
            asked = call.get("args") if isinstance(call, Mapping) else None
            for value in asked.values() if isinstance(asked, Mapping) else ():
                if isinstance(value, str) and value.startswith("/") and "\n" not in value[:4_096]:
                    yield value.rstrip("/") or "/"
                    yield from (str(one) for one in PurePosixPath(value[:4_096]).parents)


def _used(turns: Turns, call: Mapping[str, Any]) -> Iterator[Payload]:
    tool = _TOOLS.get(str(call.get("name")))
    asked, status = call.get("args"), call.get("status")
    if tool is None or not isinstance(asked, Mapping) or status not in ("success", "error"):
        return
    identity, said = str(call.get("id", "")), _response(call.get("result"))
    if tool == SHELL:
        output, code = _of_command(said)
        yield from turns.shell(
            identity, str(asked.get("command", "")), output, 1 if status == "error" and not code else code
        )
    elif status == "error":
        yield turns.failed(identity, tool, dict(asked), said)
    elif tool == WRITE:
        fields = {"file_path": asked.get("file_path", ""), "content": str(asked.get("content", ""))}
        yield turns.changed(identity, tool, fields)
    else:
        names = ("file_path", "old_string", "new_string")
        yield turns.changed(identity, tool, {name: str(asked.get(name, "")) for name in names})


def _response(result: Any) -> str:
    """What a tool answered to the model."""
    parts = result if isinstance(result, list) else [result]
    texts = []
    for part in parts:
        answer = part.get("functionResponse") if isinstance(part, Mapping) else None
        response = answer.get("response") if isinstance(answer, Mapping) else None
        if isinstance(response, Mapping):
            texts.append(text_of_parts(response.get("output") or response.get("error")))
        else:
            texts.append(text_of_parts(part))
    return "\n".join(text for text in texts if text)


def _of_command(said: str) -> tuple[str, int | None]:
    """Output and exit code of a command, which the tool reports under headings."""
    code, output, error = _EXIT.search(said), _OUTPUT.search(said), _ERROR.search(said)
    if output is None and error is None:
        return said, int(code[1]) if code else None
    texts = [found["out"].strip() for found in (output, error) if found]
    return "\n".join(text for text in texts if text and text != "(empty)"), int(code[1]) if code else None
