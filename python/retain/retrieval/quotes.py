"""Errors that a question quotes: their lines without what differs each time, so that the same error is known again.

Paths with what they point at, numbers and addresses are left out; what remains are the words in order. Two errors
that differ in one name are two errors, however alike their words are.
"""

from __future__ import annotations

import re

WORDS_MIN = 3
"""A line of fewer words is held by too much."""

LINES_MAX = 8
LINE_CHARS_MAX = 1_000

_ERROR = re.compile(
    r"\b[A-Z]\w*(?:Error|Exception|Failure|Interrupt|Timeout|Warning|NotFound|DoesNotExist)\b"
    r"|\berror(?:\[[A-Z]+\d+\]|:| TS\d+)|\bpanicked at\b|\bpanic:|^E {3}|\bFAILED\b"
    r"|:\d+: (?:note|warning|fatal error):",
    re.MULTILINE,
)
"""What only the output of something that failed holds."""

_VARYING = re.compile(
    r"(?<![\w./\\-])(?:[a-z]:)?(?:[\w.-]*[/\\])+[\w.-]*(?::\d+)*:?|(?<![\w-])[\w-]+\.\w{1,4}(?::\d+)+:?|\b0x[0-9a-f]+|\d+"
)
_WORD = re.compile(r"[^\W\d_]+")


def quotes_error(text: str) -> bool:
    """Whether a question quotes what something that failed has said."""
    return _ERROR.search(text) is not None


def quoted_lines(text: str) -> tuple[str, ...]:
    """The error lines of a question as ``plain`` makes them; those that say too little are left out."""
    lines = [plain(line[:LINE_CHARS_MAX]) for line in text.splitlines() if _ERROR.search(line)]
    return tuple(dict.fromkeys(line for line in lines if len(line.split()) >= WORDS_MIN))[:LINES_MAX]


def plain(text: str) -> str:
    """The words of a text in order, each between single spaces, without what differs from run to run."""
    return f" {' '.join(_WORD.findall(_VARYING.sub(' ', text.lower())))} "
