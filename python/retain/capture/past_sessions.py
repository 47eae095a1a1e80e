"""Past sessions, of Claude Code and of other clients: which files there are, and what each tells.

A transcript of Claude Code is read twice, once for the chain of its lines, once to tell it; one line is held at a
time. The other clients have readers of their own (``codex.py``, ``gemini.py``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from retain.capture.codex import RolloutTeller
from retain.capture.distil import can_tell, prompt_title
from retain.capture.gemini import tell_chat
from retain.capture.parse import load_json
from retain.capture.redact import redact
from retain.capture.taint import may_taint
from retain.capture.transcript import Teller, lines, prompt_of
from retain.errors import InvalidInput
from retain.model import read_time, to_us

CLAUDE_CODE, CODEX, GEMINI = "transcripts", "codex", "gemini"
"""The sources of sessions, by the word after ``import``."""

FILES: Mapping[str, re.Pattern[str]] = {
    CLAUDE_CODE: re.compile(r"\.jsonl\Z"),
    CODEX: re.compile(r"(?:\A|/)rollout-[^/]*\.jsonl\Z"),
    GEMINI: re.compile(r"(?:\A|/)(?:session-[^/]*|chats/[^/]+/[^/]+)\.jsonl?\Z"),
}
"""The files of each source."""

SUBAGENTS = "subagents"
ABOUT_BYTES_MAX = 64 * 1024
METADATA = tuple(
    f'{{"type":"{kind}"'.encode()
    for kind in ("file-history-snapshot", "file-history-delta", "queue-operation", "summary",
                 "content-replacement", "last-prompt", "cost-state")
)  # fmt: skip
"""How lines begin that tell nothing and have no place in the chain; they are not even parsed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """One file of a session, or of a subagent of it; size and time are those of the moment it was found."""

    path: Path
    size: int
    mtime_ns: int
    agent: str | None = None
    source: str = CLAUDE_CODE


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A payload as a hook would have got it, and what a backfill must know of it.

    Attributes:
        at_us: when it happened.
        copy: equal for the same event in every transcript that it was copied to (resumed, forked).
        home: the folder that the session was started in.
        context: title of the prompt that it belongs to.
    """

    payload: Mapping[str, Any]
    at_us: int
    copy: bytes
    home: str
    context: str


def transcripts(directory: Path, source: str = CLAUDE_CODE) -> list[Transcript]:
    """Every transcript below a folder, or the one that is named: by time, subagents after their session.

    Sessions that were forked come after those that they were copied from, for those were last written before.

    Raises:
        InvalidInput: no such file or folder, or one that cannot be listed.
    """
    if directory.is_file():
        found = [directory]
    elif directory.is_dir():
        found = [Path(top, name) for top, _, names in os.walk(directory, onerror=_refused) for name in names]
    else:
        raise InvalidInput("file", f"{directory}: no such file or folder")
    wanted = FILES[source]
    stated = [_stated(path, source) for path in found if wanted.search(path.as_posix())]
    known = [one for one in stated if one is not None]
    times = {os.fspath(one.path.with_suffix("")): one.mtime_ns for one in known if one.agent is None}

    def order(one: Transcript) -> tuple[int, str, bool, str]:
        main = os.fspath(one.path.with_suffix(""))
        if one.agent is not None:
            main = main.partition(f"{os.sep}{SUBAGENTS}{os.sep}")[0]
        return times.get(main, one.mtime_ns), main, one.agent is not None, os.fspath(one.path)

    return sorted(known, key=order)


def _refused(error: OSError) -> None:
    """A folder that cannot be listed may hold sessions: to pass over it would look as if there were none."""
    raise InvalidInput("file", f"{error.filename}: {error.strerror}")


def _stated(path: Path, source: str) -> Transcript | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    is_agent = source == CLAUDE_CODE and path.stem.startswith("agent-")
    agent = path.stem.removeprefix("agent-") if is_agent else None
    return Transcript(path=path, size=stat.st_size, mtime_ns=stat.st_mtime_ns, agent=agent, source=source)


def tell(transcript: Transcript, *, is_over: bool) -> Iterator[tuple[Told | None, int]]:
    """What a transcript tells, each with the bytes read so far; (None, bytes) where a stretch told nothing.

    Args:
        transcript: which one.
        is_over: whether its session is over; else its last turn is left for later.

    Raises:
        OSError: it cannot be read.
    """
    if transcript.source == GEMINI:
        listener = _Listener(transcript)
        for payload in tell_chat(transcript.path, is_over=is_over):
            if told := listener.told(payload):
                yield told, transcript.size
    elif transcript.source == CODEX:
        yield from _tell_rollout(transcript, is_over=is_over)
    else:
        yield from _tell_claude_code(transcript, is_over=is_over)


def _tell_rollout(transcript: Transcript, *, is_over: bool) -> Iterator[tuple[Told | None, int]]:
    teller, listener, read = RolloutTeller(os.fspath(transcript.path)), _Listener(transcript), 0
    with transcript.path.open("rb") as file:
        for line in lines(file):
            read += len(line)
            record = load_json(line)
            for payload in teller.tell(record) if isinstance(record, dict) else ():
                if told := listener.told(payload):
                    yield told, read
            yield None, read
    for payload in teller.end() if is_over else ():
        if told := listener.told(payload):
            yield told, read


def _tell_claude_code(transcript: Transcript, *, is_over: bool) -> Iterator[tuple[Told | None, int]]:
    with transcript.path.open("rb") as file:
        taken_back = _taken_back(file) if transcript.agent is None else frozenset[str]()
        file.seek(0)
        teller = Teller(
            os.fspath(transcript.path).encode("utf-8", "replace").decode(),
            agent=transcript.agent,
            agent_type=_agent_type(transcript),
            taken_back=taken_back,
        )
        listener = _Listener(transcript)
        read = 0
        for line in lines(file):
            read += len(line)
            if line.startswith(METADATA):
                continue
            record = load_json(line)
            if isinstance(record, dict):
                listener.hear(record)
                for payload in teller.tell(record):
                    if told := listener.told(payload):
                        yield told, read
            yield None, read
        for payload in teller.end() if is_over else ():
            if told := listener.told(payload):
                yield told, read


def _agent_type(transcript: Transcript) -> str:
    """What kind of subagent it was, from the note that the client leaves beside some transcripts."""
    if transcript.agent is None:
        return ""
    try:
        with transcript.path.with_suffix(".meta.json").open("rb") as file:
            about = load_json(file.read(ABOUT_BYTES_MAX))
    except OSError:
        return ""
    kind = about.get("agentType") if isinstance(about, dict) else None
    return kind if isinstance(kind, str) else ""


class _Listener:
    """Adds to the payloads what only the lines before them say: time, home, prompt."""

    def __init__(self, transcript: Transcript) -> None:
        self._is_agent = transcript.agent is not None
        self._at_us = transcript.mtime_ns // 1000
        self._home = ""
        self._context = ""

    def hear(self, record: Mapping[str, Any]) -> None:
        """Takes in a line before its payloads are told."""
        cwd = record.get("cwd")
        if not self._home and isinstance(cwd, str):
            self._home = cwd
        if self._is_agent and not self._context and (task := prompt_of(record)):
            self._context = redact(prompt_title(task)).text

    def told(self, payload: Mapping[str, Any]) -> Told | None:
        """The payload with what is known of it; None where it can give no memory and ends no session."""
        self._at_us = _moment(payload.get("timestamp"), self._at_us)
        self._home = self._home or str(payload.get("cwd", ""))
        name = payload["hook_event_name"]
        if name == "UserPromptSubmit":
            self._context = redact(prompt_title(payload["prompt"])).text
        if not can_tell(payload) and name != "SessionEnd" and not may_taint(payload):
            return None
        return Told(
            payload=payload,
            at_us=self._at_us,
            copy=_copy(payload),
            home=self._home,
            context="" if name == "UserPromptSubmit" else self._context,
        )


def _moment(stamp: Any, before: int) -> int:
    try:
        return to_us(read_time(stamp, "timestamp")) if isinstance(stamp, str) else before
    except InvalidInput:
        return before


def _copy(payload: Mapping[str, Any]) -> bytes:
    """What stays the same where a line is copied into another session: the call, else the moment and the words."""
    name = payload["hook_event_name"]
    call = payload.get("tool_use_id")
    if call:
        parts: list[Any] = [name, call, payload.get("tool_input")]
    elif name == "SessionEnd":
        parts = [name, payload["session_id"], payload.get("timestamp")]
    else:
        said = [
            payload.get(key) for key in ("prompt", "last_assistant_message", "compact_summary", "agent_id")
        ]
        parts = [name, payload.get("timestamp"), *said]
    return blake2b(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()


def _taken_back(file: BinaryIO) -> frozenset[str]:
    """Prompts that the user took back: they hang on the chain of the session and do not lie on it.

    The chain leads from the last message over ``parentUuid`` to the first line, and over ``logicalParentUuid``
    where the session was compacted. A prompt of a part that does not hang on the chain at all is kept:
    there, lines are missing.
    """
    parents: dict[str, str | None] = {}
    prompts: list[str] = []
    leaf: str | None = None
    for line in lines(file):
        if line.startswith(METADATA):
            continue
        record = _loaded(line)
        uuid = record.get("uuid")
        if not isinstance(uuid, str):
            continue
        parent = record.get("parentUuid") or record.get("logicalParentUuid")
        parents[uuid] = parent if isinstance(parent, str) else None
        if record.get("isSidechain") or record.get("isMeta") or record.get("teamName"):
            continue
        if record.get("type") in {"user", "assistant"}:
            leaf = uuid
            if prompt_of(record):
                prompts.append(uuid)
    chain = set(_up(parents, leaf))
    aside = [prompt for prompt in prompts if prompt not in chain]
    return frozenset(prompt for prompt in aside if any(one in chain for one in _up(parents, prompt)))


def _loaded(line: bytes) -> Mapping[str, Any]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return record if isinstance(record, dict) else {}


def _up(parents: Mapping[str, str | None], start: str | None) -> Iterator[str]:
    """The lines from one to the first, each once; a chain that bites its tail ends there."""
    seen: set[str] = set()
    while start is not None and start in parents and start not in seen:
        seen.add(start)
        yield start
        start = parents[start]
