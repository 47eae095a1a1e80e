"""A digest between two markers in a file of the user: made, replaced and taken out; every other byte stays.

Only what the user said is published. A line is data of one memory: it cannot hold a marker, and no ``@`` in it can
make the client import a file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from retain.errors import InvalidInput
from retain.model import Memory
from retain.retrieval.context import one_line
from retain.trust import CONFIRMED, USER

BEGIN, END = b"<!-- retain:begin -->", b"<!-- retain:end -->"
KINDS = ("decision", "note")
LINE_CHARS_MAX = 400
HEADING = (
    "Decisions and notes that the user told retain (`retain publish` writes what stands between the markers):"
)

_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r|\Z)")
_AT = re.compile(r"(?<!\w)@(?=\S)")


def line_of(memory: Memory) -> str:
    """One memory on one line of Markdown: what it says, its kind, its day, its id."""
    title, body = one_line(memory.title, LINE_CHARS_MAX), one_line(memory.text, LINE_CHARS_MAX)
    said = body if not title or title.rstrip("…") in body else f"{title}: {body}"
    safe = _AT.sub("@ ", said[: 2 * LINE_CHARS_MAX]).replace("<!--", "< !--").replace("-->", "-- >")
    return f"- {safe} ({memory.kind}, {memory.occurred_at:%Y-%m-%d}) [{memory.id}]"


def chosen(memories: Sequence[Memory], limit: int) -> list[Memory]:
    """The newest of what may be published, in an order that a new one does not change: oldest first."""
    trusted = [
        memory for memory in memories if memory.trust in {USER, CONFIRMED} and memory.status == "active"
    ]
    newest = sorted(trusted, key=lambda memory: (memory.occurred_at, memory.id))[-limit:]
    return sorted(newest, key=lambda memory: (KINDS.index(memory.kind), memory.occurred_at, memory.id))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Marked:
    """Where the block lies in a file, and the bytes of a line end there."""

    start: int
    end: int
    newline: bytes


def with_block(data: bytes, lines: Sequence[str]) -> bytes:
    """The file with a block of these lines: in place of the one that is there, else at its end.

    Raises:
        InvalidInput: its markers are broken, or it is no text that markers could stand in.
    """
    marked = _found(data)
    newline = marked.newline if marked else _newline(data)
    block = newline.join([BEGIN, *(line.encode() for line in [HEADING, "", *lines] if lines), END])
    if marked:
        return data[: marked.start] + block + data[marked.end :]
    if not data or data.endswith((b"\n", b"\r")):
        return data + block + newline
    return data + newline + block


def without_block(data: bytes) -> bytes:
    """The file as it was before a block was put at its end; the same bytes where it holds none.

    Raises:
        InvalidInput: its markers are broken.
    """
    marked = _found(data)
    if marked is None:
        return data
    head, tail = data[: marked.start], data[marked.end :]
    for newline in (b"\r\n", b"\n", b"\r"):
        if tail.startswith(newline):
            return head + tail[len(newline) :]
    if not tail:  # the file did not end with a line end, and one was put before the block
        for newline in (b"\r\n", b"\n", b"\r"):
            if head.endswith(newline):
                return head[: -len(newline)]
    return head + tail


def _found(data: bytes) -> _Marked | None:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data:
        raise InvalidInput("file", "is not text in UTF-8")
    begins: list[tuple[int, bytes]] = []
    ends: list[int] = []
    for line in _LINE.finditer(data):
        bare = line[0].strip()
        if bare == BEGIN:
            at = line.start() + line[0].index(BEGIN)
            begins.append((at, line[0][len(line[0].rstrip(b"\r\n")) :]))
        elif bare == END:
            ends.append(line.start() + line[0].index(END) + len(END))
    if not begins and not ends:
        return None
    if len(begins) != 1 or len(ends) != 1 or ends[0] < begins[0][0]:
        raise InvalidInput(
            "file",
            f"its markers are broken: {len(begins)} of {BEGIN.decode()} and {len(ends)} of {END.decode()}",
            hint="there must be one pair, each marker alone on its line; the file was not touched",
        )
    return _Marked(start=begins[0][0], end=ends[0], newline=begins[0][1] or b"\n")


def _newline(data: bytes) -> bytes:
    """The line end that most lines have."""
    windows = data.count(b"\r\n")
    return b"\r\n" if windows > data.count(b"\n") - windows else b"\n"
