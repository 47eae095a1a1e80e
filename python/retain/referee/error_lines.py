"""Error lines in commit messages and in the tests that a commit adds, and how they look on another machine."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from retain.referee.wording import content_words

WORDS_MIN = 4
"""Content words that an error line must keep once paths and numbers are gone; a bare type names no error."""

LINE_CHARS_MAX = 300

_TYPE = r"(?:[a-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Warning|Failure|DoesNotExist|NotFound|Timeout)"
_LINES = (
    re.compile(rf"^[\s>|*-]*(?:E\s+)?`{{0,3}}({_TYPE}: .{{8,}}?)`{{0,3}}$", re.MULTILINE),
    re.compile(rf"`({_TYPE}: [^`\n]{{8,}})`"),
    re.compile(r"^[\s>|*-]*`{0,3}(error\[E\d+\]: .{8,}?)`{0,3}$", re.MULTILINE),
    re.compile(r"^[\s>|*-]*`{0,3}(thread '[^']+' panicked at .{8,}?)`{0,3}$", re.MULTILINE),
    re.compile(r"^[\s>|*-]*`{0,3}(\S+\.\w{1,4}:\d+(?::\d+)?: (?:error|note|warning): .{8,}?)`{0,3}$", re.MULTILINE),
    re.compile(r"^[\s>|*-]*`{0,3}((?:(?:INTERNAL ?)?(?:error|ERROR)|fatal|FATAL|panic): .{8,}?)`{0,3}$", re.MULTILINE),
)  # fmt: skip
_RAISES = re.compile(rf"""raises\(\s*({_TYPE}),\s*match=r?f?(["'])((?:(?!\2).){{12,200}})\2""")
_EXPECTED = (
    re.compile(rf"""["'`*]({_TYPE}: [^"'`\n]{{12,200}}?)\*?["'`]"""),
    re.compile(r"^(error(?:\[E\d+\])?: .{12,250})$"),
    re.compile(r"""should_panic\(expected = "([^"\n]{12,250})"\)"""),
)
"""What a test says that it expects to be told; the second is a line of an expected output."""

TESTED_MAX = 2
"""Most lines of one commit that are taken from its tests."""

_PATTERN = re.compile(r"\\([.()\[\]{}?*+|'\"^$-])|[\\.*+?^$|()\[\]{}]")

_PATH = re.compile(
    r"(?<![\w<./])(?:[A-Za-z]:)?(?:~|\.{1,2})?(?:[\\/][\w.@+-]+){2,}[\\/]?"
    r"|(?<![\w<./])[\w.@+-]+(?:[\\/][\w.@+-]+)*[\\/][\w@+-]+\.\w{1,5}\b"
    r"|(?<![\w<./])[\w@+-]+\.(?:py|pyi|rs|js|ts|go|java|rb|c|h|cpp|cfg|toml|ini|json|txt|html|yml|yaml)\b"
)
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]+\b")
_HASH = re.compile(r"\b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{7,64}\b")
_NUMBER = re.compile(r"(?<![\w.<])\d+(?:\.\d+)*(?!\w)")
_FOLDERS = ("home", "work", "srv", "build", "opt", "tmp", "checkout", "runner", "projects", "workspace")
_NAMES = ("alpha", "beacon", "cobalt", "delta", "ember", "fjord", "garnet", "harbor", "indigo", "juniper")


def error_lines(message: str, gained: Iterable[str] = ()) -> list[str]:
    """The distinct error lines of a message, then those that added lines of tests expect."""
    said = [match[1].strip() for sign in _LINES for match in sign.finditer(message)]
    tested = (line for raw in gained for line in _expected(raw) if _tells(line))
    lines = [" ".join(line.split()) for line in (*filter(_tells, said), *islice(tested, TESTED_MAX))]
    return list({signature(line): line for line in lines}.values())


def _expected(line: str) -> Iterator[str]:
    """What a line of a test expects to be told, where it is plain text."""
    for match in _RAISES.finditer(line):
        expected = _PATTERN.sub(lambda m: m[1] or "\0", match[3])
        if expected.isprintable() and "{" not in expected:
            yield f"{match[1]}: {expected}"
    for sign in _EXPECTED:
        found = sign.search(line)
        if found and "{" not in found[1] and "\\" not in found[1]:
            yield found[1]


def _tells(line: str) -> bool:
    return len(line) <= LINE_CHARS_MAX and len(content_words(signature(line))) >= WORDS_MIN


def signature(line: str) -> str:
    """The line with paths, addresses, hashes and numbers masked: two lines with the same are the same error."""
    return _replaced(line, lambda _kind, _old: "#")


def elsewhere(line: str, seed: str) -> str:
    """The line as another run on another machine prints it: other paths, addresses, hashes and numbers."""
    rng = random.Random(seed)  # noqa: S311 - a benchmark must give the same query each time

    def new(kind: str, old: str) -> str:
        if kind == "path":
            _, dot, end = old.rpartition(".")
            folder = f"/{rng.choice(_FOLDERS)}/{rng.choice(_NAMES)}/{rng.choice(_NAMES)}_{rng.randint(2, 99)}"
            return folder + (f".{end}" if dot and end.isalnum() and len(end) <= 5 else "")
        digits = "123456789abcdef" if kind in {"address", "hash"} else "123456789"
        start = 2 if kind == "address" else 0
        return old[:start] + "".join(
            rng.choice([d for d in digits if d != c.lower()]) if c.isalnum() else c for c in old[start:]
        )

    return _replaced(line, new)


def _replaced(line: str, new: Callable[[str, str], str]) -> str:
    kept: list[str] = []

    def keep(kind: str) -> Callable[[re.Match[str]], str]:
        def one(match: re.Match[str]) -> str:
            kept.append(new(kind, match[0]))
            return f"\0{chr(0xE000 + len(kept) - 1)}\0"

        return one

    for kind, pattern in (("path", _PATH), ("address", _ADDRESS), ("hash", _HASH), ("number", _NUMBER)):
        line = pattern.sub(keep(kind), line)
    return re.sub("\0(.)\0", lambda match: kept[ord(match[1]) - 0xE000], line)
