"""How long the texts of memories are, and how they are cut."""

from __future__ import annotations

import re

TEXT_CHARS_MAX = 64 * 1024
"""A body is kept whole up to here; beyond, its head and tail with a marker between."""
HUNK_CHARS_MAX = 16 * 1024
OUTPUT_CHARS_MAX = 8 * 1024
COMMAND_CHARS_MAX = 8 * 1024
RESULT_CHARS_MAX = 4 * 1024
TITLE_CHARS_MAX = 120

_MARKER = "\n[... {count} characters cut ...]\n"
_HEAD_SHARE = 2 / 3
_ANSI = re.compile(r"\x1b(?:\[[0-9;?]{0,32}+[A-Za-z]|\][^\x07\x1b]{0,512}+(?:\x07|\x1b\\)?|[()][A-Z0-9])")


def words(text: str) -> frozenset[str]:
    """The set of the words of a table written as text."""
    return frozenset(text.split())


def bounded(text: str, limit: int = TEXT_CHARS_MAX, head_share: float = _HEAD_SHARE) -> str:
    """The text, or its head and tail around a marker; never longer than ``limit``."""
    if len(text) <= limit:
        return text
    room = max(0, limit - len(_MARKER.format(count=len(text))))
    head = int(room * head_share)
    tail = room - head
    marker = _MARKER.format(count=len(text) - room)
    return text[:head] + marker + (text[-tail:] if tail else "")


def one_line(text: str, limit: int = TITLE_CHARS_MAX) -> str:
    """The first line that says something, blanks collapsed, cut at ``limit`` with an ellipsis."""
    line = " ".join(next((line for line in text[: 16 * limit].splitlines() if line.strip()), "").split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def plain(output: str) -> str:
    """Terminal output without colours, and of each overwritten line only its last state."""
    text = _ANSI.sub("", output).replace("\r\n", "\n")
    return "\n".join(line.rsplit("\r", 1)[-1] for line in text.split("\n"))
