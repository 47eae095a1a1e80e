"""Which line of an output tells what went wrong, and how it reads without what changes from run to run."""

from __future__ import annotations

import re
from dataclasses import dataclass

SIGNATURE_CHARS_MAX = 300
LINES_MAX = 4_000
LINE_CHARS_MAX = 1_000

_EXCEPTION = (
    r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*"
    r"(?:Error|Exception|Failure|Exit|Interrupt|Timeout|Warning|NotFound|DoesNotExist)"
)


@dataclass(frozen=True, slots=True)
class Failure:
    """The most telling line of a failure, and its signature."""

    line: str
    signature: str


@dataclass(frozen=True, slots=True)
class _Sign:
    pattern: re.Pattern[str]
    last: bool = False


def _sign(expression: str, *, last: bool = False) -> _Sign:
    return _Sign(re.compile(expression), last)


_SURE = (
    _sign(rf"^E\s{{1,12}}(?P<line>{_EXCEPTION}\b.*|assert .*)"),
    _sign(rf"^(?P<line>{_EXCEPTION}(?::.*)?)$", last=True),
    _sign(r"^(?P<line>error(?:\[E\d+\])?: (?!aborting|could not compile).*)"),
    _sign(r"(?P<line>panicked at .*)"),
    _sign(r"(?P<line>error TS\d+: .*)"),
    _sign(r"^\s{0,8}(?:●|✕|✗|\u00d7) (?P<line>.*)"),
    _sign(r"^\s{0,8}--- FAIL: (?P<line>.*)"),
    _sign(r"^(?P<line>panic: .*)"),
    _sign(r"^FAILED (?P<line>.*)"),
    _sign(r"^(?P<line>npm (?:ERR!|error) (?!code|A complete log).*)"),
)
"""Lines that only a failure prints, best first."""

_LIKELY = (
    _sign(r"(?P<line>(?:fatal|FATAL|ERROR|Error|error): .*)"),
    _sign(
        r"^(?P<line>.*(?:command not found|No such file or directory|Permission denied|Connection refused).*)"
    ),
    _sign(r"(?P<line>make: \*\*\* .*)"),
    _sign(
        r"(?i)^(?P<line>.*\b(?:error|failed|failure|cannot|could not|denied|"
        r"undefined|unexpected|not found)\b.*)$"
    ),
)

_FAILED_RUN = re.compile(
    r"^Traceback \(most recent call last\):|^={1,200} .{0,200}\b\d{1,9} (?:failed|errors?)\b|^\d{1,9} failed"
    r"|^FAILED [\w./]|^--- FAIL:|^FAIL\s"
    r"|^test result: FAILED|\bpanicked at |^Tests:\s.{0,200}\b\d{1,9} failed"
    r"|^error(?:\[E\d+\])?: could not compile|^[ \t]{0,12}\d{1,9} failing$",
    re.MULTILINE,
)
_TEST_ID = re.compile(
    r"^(?:FAILED|ERROR) (?P<py>[\w./-]{1,200}(?:::[^\s]{1,200})?)|^\s{0,8}--- FAIL: (?P<go>\S{1,200})"
    r"|^test (?P<rust>\S{1,200}) \.\.\. FAILED",
    re.MULTILINE,
)


def looks_failed(output: str) -> bool:
    """Whether an output carries a traceback or a test runner's report of failures."""
    return _FAILED_RUN.search(output) is not None


def failed_tests(output: str, limit: int = 50) -> tuple[str, ...]:
    """The ids of the failed tests that a test runner printed, in order, without repeats."""
    found = (match[match.lastgroup or 0] for match in _TEST_ID.finditer(output))
    return tuple(dict.fromkeys(test for test, _ in zip(found, range(10 * limit), strict=False)))[:limit]


def read_failure(output: str) -> Failure:
    """Picks the most telling line of an output; an empty output gives an empty line."""
    lines = [line[:LINE_CHARS_MAX].rstrip() for line in output.splitlines() if line.strip()]
    if len(lines) > LINES_MAX:
        lines = lines[: LINES_MAX // 2] + lines[-LINES_MAX // 2 :]
    for sign in (*_SURE, *_LIKELY):
        found = _first(lines, sign)
        if found:
            return Failure(found, normalise(found))
    line = lines[-1].strip() if lines else ""
    return Failure(line, normalise(line))


def _first(lines: list[str], sign: _Sign) -> str:
    for line in reversed(lines) if sign.last else lines:
        if found := sign.pattern.search(line):
            return found["line"].strip()
    return ""


_MASKS = (
    (re.compile(r"\[redacted:\w+\]"), "<secret>"),
    (re.compile(r"(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<id>"),
    (
        re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?"),
        "<time>",
    ),
    (re.compile(r"\b\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"), "<time>"),
    (re.compile(r"(?i)\b0x[0-9a-f]{1,32}\b"), "<addr>"),
    (re.compile(r"\b[a-z][a-z0-9+.-]{1,15}://[^\s'\"<>)]{1,300}"), "<url>"),
    (
        re.compile(r"(?<![\w<.])(?:[A-Za-z]:)?(?:~|\.{1,2})?(?:[\\/][\w.@+-]{1,100}){1,30}[\\/]?(?::\d+)*"),
        "<path>",
    ),
    (
        re.compile(
            r"(?<![\w<.])[\w.@+-]{1,100}(?:[\\/][\w.@+-]{1,100}){1,30}(?:::[\w\[\].-]{1,200})*(?::\d+)*"
        ),
        "<path>",
    ),
    (
        re.compile(
            r"\b[\w-]{1,100}\.(?:py|pyi|js|jsx|mjs|ts|tsx|rs|go|java|rb|c|cc|cpp|h|hpp|sh)\b(?::\d+)*"
        ),
        "<path>",
    ),
    (
        re.compile(r"(?i)\b\d+(?:\.\d+)? ?(?:ns|µs|us|ms|s|secs?|seconds?|mins?|minutes?|hours?)\b"),
        "<duration>",
    ),
    (re.compile(r"(?i)\b(?=[a-f]{0,63}\d)(?=\d{0,63}[a-f])[0-9a-f]{7,64}\b"), "<hash>"),
    (re.compile(r"(['\"`])(?=[^'\"`]{0,80}\d)[\w:.-]{1,80}\1"), "<value>"),
    (re.compile(r"(?<![A-Za-z_<\d])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![A-Za-z_\d])"), "<n>"),
    (re.compile(r"\s+"), " "),
)


def normalise(line: str) -> str:
    """The line with paths, line numbers, addresses, ids, times, durations and numbers masked."""
    text = line[:LINE_CHARS_MAX]
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return text.strip()[:SIGNATURE_CHARS_MAX]
