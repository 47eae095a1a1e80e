"""What the doors answer: error codes, memories and recalls, as values for programs and as text for people.

``REPLIES`` is the one table from the code of an error to its exit code and the sentence that goes with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from shutil import get_terminal_size
from typing import IO, Any, TextIO
from unicodedata import east_asian_width

from retain.config import colour_refused
from retain.errors import RetainError
from retain.model import Memory, Recall
from retain.retrieval.context import one_line
from retain.trust import may_be_told

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

CACHE_AWAY = (
    "A level of the cache could not be reached: what it holds stays there until it can, or its time is over."
)

MESSAGE_CHARS_MAX = 2_000
VALUE_CHARS_MAX = 2_000
SNIPPET_CHARS_MAX = 200

UNSEEN = "\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e0fff"
"""What a reader does not see though it acts, as the inside of a character class: control codes but tab and line
feed, zero-width and direction marks, tag characters and the selectors that can carry hidden text."""

_UNSAFE = re.compile(f"[{UNSEEN}]")
_LONE = re.compile("[\ud800-\udfff]")
_COLOUR = re.compile("\x1b\\[[0-9;]*m")
_COLUMN = re.compile(r"^ *- |^ +|(?<=\S) {2,}(?=\S)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """How a kind of error is answered: the exit code, and what to do where the error itself does not say."""

    exit: int
    hint: str | None = None


REPLIES: Mapping[str, Reply] = {
    "invalid_input": Reply(exit=EXIT_USAGE),
    "invalid_filter": Reply(
        exit=EXIT_USAGE, hint='a filter is a JSON object, for example {"kind": "decision", "path": "src/**"}'
    ),
    "not_found": Reply(exit=EXIT_FAILED),
    "conflict": Reply(exit=EXIT_FAILED),
    "store_error": Reply(exit=EXIT_FAILED, hint="run `retain doctor`"),
    "store_unusable": Reply(exit=EXIT_FAILED, hint="run `retain doctor`"),
    "key_missing": Reply(exit=EXIT_FAILED, hint="`retain key import` brings a key that was exported"),
    "store_busy": Reply(exit=EXIT_FAILED, hint="another process is writing; try again"),
    "store_full": Reply(exit=EXIT_FAILED, hint="free some space and try again"),
    "store_corrupt": Reply(exit=EXIT_FAILED, hint="run `retain verify`"),
    "spool_error": Reply(exit=EXIT_FAILED, hint="run `retain doctor`"),
    "pool_timeout": Reply(exit=EXIT_FAILED, hint="the machine is busy; try again"),
    "pool_closed": Reply(exit=EXIT_FAILED),
    "queue_full": Reply(exit=EXIT_FAILED, hint="try again in a moment"),
    "queue_closed": Reply(exit=EXIT_FAILED),
    "embedding_failed": Reply(exit=EXIT_FAILED),
    "cache_level_down": Reply(exit=EXIT_FAILED, hint="try again in a moment"),
    "retain_error": Reply(exit=EXIT_FAILED),
    "internal_error": Reply(exit=EXIT_FAILED, hint="RETAIN_DEBUG=1 shows where; please report it"),
    "interrupted": Reply(exit=EXIT_INTERRUPTED),
}
"""Every code that an error can carry, with how the command line answers it."""


class Unexpected(RetainError):
    """An error that nobody foresaw, named by its type; made only in the outermost frame of a door."""

    code = "internal_error"

    def __init__(self, cause: BaseException) -> None:
        super().__init__(f"unexpected {type(cause).__name__}: {cause}")


def exit_code(error: RetainError) -> int:
    """The exit code of a command that ended with this error."""
    return REPLIES.get(error.code, REPLIES["retain_error"]).exit


def hint_of(error: RetainError) -> str | None:
    """What the user can do: as the error says, else as the table says."""
    return error.hint or REPLIES.get(error.code, REPLIES["retain_error"]).hint


def error_object(error: RetainError) -> dict[str, Any]:
    """The error for programs: ``{"error": {"code", "message", "field", "limit", "hint", "retryable"}}``."""
    hint = hint_of(error)
    return {
        "error": {
            "code": error.code,
            "message": one_line(str(error), MESSAGE_CHARS_MAX),
            "field": getattr(error, "field", None),
            "limit": getattr(error, "limit", None),
            "hint": one_line(hint, MESSAGE_CHARS_MAX) if hint else None,
            "retryable": error.retryable,
        }
    }


def error_text(error: RetainError) -> str:
    """The error for people: one line, and a second one with what to do."""
    hint = hint_of(error)
    text = f"retain: {one_line(str(error), MESSAGE_CHARS_MAX)}"
    return f"{text}\n  {one_line(hint, MESSAGE_CHARS_MAX)}" if hint else text


def at_rest(found: Mapping[str, Any]) -> str:
    """What ``memory.reports.encryption`` found, as a sentence."""
    if not found["encrypted"]:
        return "not encrypted (`retain encrypt`)"
    return f"encrypted with key {found['key']}, which is in {found['place'] or 'no place that is known'}"


def memory_object(memory: Memory, score: float | None = None) -> dict[str, Any]:
    """A memory for programs; with its score where it is a hit."""
    shown: dict[str, Any] = {
        "id": memory.id,
        "workspace": memory.workspace,
        "kind": memory.kind,
        "title": memory.title,
        "text": memory.text,
        "paths": list(memory.paths),
        "symbols": list(memory.symbols),
        "tags": list(memory.tags),
        "origin": memory.origin,
        "trust": memory.trust,
        "held": memory.held,
        "status": memory.status,
        "branch": memory.branch,
        "commit": memory.commit,
        "worktree": memory.worktree,
        "dirty": memory.dirty,
        "blobs": dict(memory.blobs),
        "session": memory.session,
        "occurred_at": memory.occurred_at.isoformat(),
        "recorded_at": memory.recorded_at.isoformat(),
        "source_id": memory.source_id,
        "supersedes": memory.supersedes,
        "superseded_by": memory.superseded_by,
        "reason": memory.reason,
        "seen": memory.seen,
        "redacted": dict(memory.redacted),
        "extra": dict(memory.extra),
    }
    return shown if score is None else {**shown, "score": score}


def remembered_object(memory: Memory) -> dict[str, Any]:
    """The answer to ``remember`` for programs: the memory, whether it is new, and which ones are similar."""
    return {**memory_object(memory), "created": memory.created, "near": list(memory.near)}


def recall_object(recall: Recall) -> dict[str, Any]:
    """A recall for programs."""
    return {
        "hits": [
            {
                **memory_object(hit.memory, hit.score),
                "parts": dict(hit.parts),
                "snippet": hit.snippet,
                "state": hit.state,
                "note": hit.note,
            }
            for hit in recall.hits
        ],
        "hidden": dict(recall.hidden),
        "abstained": recall.abstained,
        "confidence": recall.confidence,
        "plan": dict(recall.plan),
        "elapsed_us": recall.elapsed_us,
        "tokens": recall.tokens,
    }


def as_json(value: object, *, ascii_only: bool = False, indent: int | None = None) -> str:
    """JSON text that can always be encoded: lone surrogates are escaped."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    return _LONE.sub(lambda lone: f"\\u{ord(lone[0]):04x}", text)


class Paint:
    """Puts colours on text where they are wanted, and nothing where not."""

    def __init__(self, *, on: bool) -> None:
        self.on = on

    @classmethod
    def for_stream(cls, stream: IO[str]) -> Paint:
        """Colours for a terminal whose user does not refuse them."""
        return cls(on=stream.isatty() and not colour_refused())

    def bold(self, text: str) -> str:
        """Important."""
        return self._code(text, "1")

    def dim(self, text: str) -> str:
        """Less important."""
        return self._code(text, "2")

    def good(self, text: str) -> str:
        """As it should be."""
        return self._code(text, "32")

    def bad(self, text: str) -> str:
        """Wrong."""
        return self._code(text, "31")

    def doubtful(self, text: str) -> str:
        """Worth a look."""
        return self._code(text, "33")

    def kind(self, text: str) -> str:
        """The kind of a memory."""
        return self._code(text, "36")

    def _code(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.on and text else text


def printable(text: str) -> str:
    """Text of any source, safe to print on a terminal: line breaks and tabs stay, control codes do not."""
    return _UNSAFE.sub("�", text.replace("\r\n", "\n"))


def folded(text: str, width: int) -> str:
    """Text whose lines fit a terminal: broken between words, and gone on with below their last column.

    A word that is wider than the room for it stays whole, so that a path or an id can be copied. Colours take none.
    """
    return "\n".join(_folded(line, width) for line in text.split("\n"))


def _folded(line: str, width: int) -> str:
    if _columns(line) <= width:
        return line
    indent = " " * _indent_of(_COLOUR.sub("", line), width // 2)
    lines, words = [], line.split(" ")
    current = words[0]
    for word in words[1:]:
        if _columns(f"{current} {word}") > width and current.strip():
            lines.append(current)
            current = indent + word
        else:
            current += f" {word}"
    return "\n".join([*lines, current])


def _columns(line: str) -> int:
    seen = _COLOUR.sub("", line)
    return len(seen) + (0 if seen.isascii() else sum(east_asian_width(sign) in "WF" for sign in seen))


def _indent_of(line: str, most: int) -> int:
    """Where the last column of a line begins, or its text behind the dash of a list."""
    begins = [gap.end() for gap in _COLUMN.finditer(line) if gap.end() <= most]
    return begins[-1] if begins else 0


def encodable(text: str, encoding: str | None) -> str:
    """Text that a stream can take; what its encoding does not know is shown as an escape."""
    name = encoding or "utf-8"
    return text.encode(name, "backslashreplace").decode(name)


def write(stream: TextIO, text: str, *, as_is: bool = False) -> None:
    """Prints text to a stream, whatever its encoding; on a terminal in lines that fit it, unless ``as_is``."""
    if not as_is and stream.isatty():
        text = folded(text, get_terminal_size().columns)
    stream.write(encodable(text, stream.encoding) + "\n")


def local_time(moment: datetime, *, seconds: bool = False) -> str:
    """A moment in the zone of the reader, to the minute or second, and which zone that is: ``UTC``, ``UTC+01:00``."""
    local = moment.astimezone()
    clock = f"{local:%Y-%m-%d %H:%M:%S}" if seconds else f"{local:%Y-%m-%d %H:%M}"
    return f"{clock} {timezone(local.utcoffset() or timedelta())}"


def duration(us: float) -> str:
    """Microseconds in the unit that reads best."""
    if us < 1_000:
        return f"{us:.0f} µs"
    return f"{us / 1_000:.1f} ms" if us < 1_000_000 else f"{us / 1_000_000:.1f} s"


def size(count: float) -> str:
    """Bytes in the unit that reads best."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1_024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1_024
    return f"{count:.1f} GiB"


def counted(count: int, one: str, many: str) -> str:
    """A number with its noun."""
    return f"{count:,} {one if count == 1 else many}"


def details_of(memory: Memory) -> str:
    """When, by whom and on which branch and files, on one line."""
    parts = [local_time(memory.occurred_at), f"from {memory.origin}"]
    if memory.branch:
        parts.append(f"on {one_line(memory.branch, 60)}")
    if memory.paths:
        more = f" +{len(memory.paths) - 3}" if len(memory.paths) > 3 else ""
        parts.append(", ".join(one_line(path, 80) for path in memory.paths[:3]) + more)
    if memory.status != "active":
        parts.append(memory.status)
    if not may_be_told(memory.trust):
        parts.append(f"untrusted, held ({memory.held})" if memory.held else "untrusted")
    return " · ".join(parts)


def memory_lines(memory: Memory, paint: Paint, *, snippet: str = "", mark: str = "") -> list[str]:
    """A memory in a list: title, the telling part (one that begins with the title stands for both), provenance, id."""
    title = one_line(memory.title or memory.text, 120)
    body = one_line(snippet or memory.text, SNIPPET_CHARS_MAX)
    if body.startswith(title.rstrip("…")):
        title, body = body, ""
    lines = [f"{mark}{paint.kind(memory.kind)}  {paint.bold(title)}"]
    if body and body != title:
        lines.append(f"    {body}")
    lines.append(paint.dim(f"    {details_of(memory)}"))
    lines.append(paint.dim(f"    {memory.id}"))
    return lines


def shown(value: object) -> str:
    """The value of a setting for people; a dash where it is empty."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return (
            one_line(", ".join(f"{name}={shown(one)}" for name, one in value.items()), VALUE_CHARS_MAX) or "-"
        )
    if isinstance(value, list | tuple):
        return one_line(", ".join(map(str, value)), VALUE_CHARS_MAX) or "-"
    return str(value) or "-"


def hidden_text(hidden: Mapping[str, int]) -> str:
    """What was withheld, by reason; empty where nothing was."""
    return ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in hidden.items() if count)


def recall_text(recall: Recall, paint: Paint) -> str:
    """A recall for people."""
    lines: list[str] = []
    for hit in recall.hits:
        mark = f"{paint.good(f'{hit.score:.2f}')}  "
        told = memory_lines(hit.memory, paint, snippet=hit.snippet, mark=mark)
        doubt = [f"    {paint.doubtful(one_line(hit.note, SNIPPET_CHARS_MAX))}"] if hit.note else []
        lines += [told[0], *doubt, *told[1:], ""]
    hidden = hidden_text(recall.hidden)
    found = counted(len(recall.hits), "memory", "memories") if recall.hits else "Nothing found"
    if not recall.hits and recall.hidden.get("over_budget"):
        found = "Nothing within the budget"
    elif not recall.hits and hidden:
        found = f"Nothing convincing ({recall.confidence:.0%} likely to answer the question)"
    tail = [found, f"{duration(recall.elapsed_us)}"]
    if recall.tokens:
        tail.append(f"{recall.tokens:,} tokens")
    if hidden:
        tail.append(f"withheld: {hidden}")
    return "\n".join([*lines, paint.dim(" · ".join(tail))])


def table(rows: Sequence[tuple[str, str]], paint: Paint) -> str:
    """Names and values in two columns."""
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{paint.dim(name.ljust(width))}  {value}".rstrip() for name, value in rows)
