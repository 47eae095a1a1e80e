"""Rules that keep tools and files out: patterns, how they are checked, and what they say of an act.

Patterns come from files that are not all trusted, so matching takes time in proportion to the product of the
lengths, whatever the pattern. A pattern of a list that begins with ``!`` takes back what an earlier one of the
same list said; the last that fits decides.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from retain.errors import InvalidInput

PATTERNS_MAX = 200
PATTERN_CHARS_MAX = 200
PATH_CHARS_MAX = 4_096
COMMAND_CHARS_MAX = 4_096

SECRET_FILES = (
    ".env", ".env.*", "!.env.example", "!.env.sample", "!.env.template", "!.env.dist", ".envrc",
    "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ppk",
    "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", ".ssh/", ".gnupg/", "**/.aws/credentials", "**/.kube/config",
    "**/.docker/config.json", ".netrc", "_netrc", ".pgpass", ".pypirc", ".git-credentials", ".htpasswd",
    "secrets.yml", "secrets.yaml", "secrets.json", "secrets.toml", "client_secret*.json", "/etc/shadow",
    "secrets/**",
)  # fmt: skip
"""Files that hold secrets by their name; what ``paths_deny`` is where nobody says otherwise."""

_TOOL = re.compile(r"(?P<name>[^()]+)(?:\((?P<argument>.+)\))?", re.DOTALL)
_PIECES = re.compile(r"&&|\|\|?|;|\n")
_ANY, _ANY_FOLDERS = "*", "**"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What a tool did, as far as rules look at it.

    Attributes:
        tool: its name; empty where the event is about no tool.
        command: of a shell.
        paths: files it was about, absolute or relative to ``root``.
        shown: files that its command prints or writes, which only deny lists look at.
        root: top of the project.
    """

    tool: str = ""
    command: str = ""
    paths: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    root: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Four lists of patterns; an empty allow list allows everything."""

    tools_allow: tuple[str, ...] = ()
    tools_deny: tuple[str, ...] = ()
    paths_allow: tuple[str, ...] = ()
    paths_deny: tuple[str, ...] = ()

    def against(self, act: Act) -> str | None:
        """The rule that keeps the act out, as ``list: pattern``, or None where it may be kept."""
        if act.tool:
            if denied := _last(self.tools_deny, lambda pattern: _is_tool(pattern, act, every=False)):
                return f"tools_deny: {denied}"
            if self.tools_allow and not _last(self.tools_allow, lambda p: _is_tool(p, act, every=True)):
                return "tools_allow"
        for path in (*act.paths, *act.shown):
            if denied := self.denied_path(path, act.root):
                return f"paths_deny: {denied}"
        if self.paths_allow and any(not _last_path(self.paths_allow, p, act.root) for p in act.paths):
            return "paths_allow"
        return None

    def denied_path(self, path: str, root: str) -> str | None:
        """The pattern of ``paths_deny`` that a path fits, or None."""
        return _last_path(self.paths_deny, path, root)


def check_patterns(field: str, value: object) -> tuple[str, ...]:
    """The patterns of a list, checked.

    Raises:
        InvalidInput: not a list of strings, too many, or a pattern that can be none.
    """
    if not isinstance(value, list | tuple):
        raise InvalidInput(field, f"must be a list of strings, not {type(value).__name__}")
    if len(value) > PATTERNS_MAX:
        raise InvalidInput(field, f"{len(value):,} patterns exceed {PATTERNS_MAX}", limit=PATTERNS_MAX)
    for number, pattern in enumerate(value):
        name = f"{field}[{number}]"
        if not isinstance(pattern, str):
            raise InvalidInput(name, f"must be a string, not {type(pattern).__name__}")
        if len(pattern) > PATTERN_CHARS_MAX:
            raise InvalidInput(name, f"longer than {PATTERN_CHARS_MAX} characters", limit=PATTERN_CHARS_MAX)
        if not pattern.removeprefix("!").strip() or not pattern.isprintable():
            raise InvalidInput(name, "is empty, or holds characters that cannot be printed")
        if field.startswith("tools") and not _TOOL.fullmatch(pattern.removeprefix("!")):
            raise InvalidInput(
                name, f"{pattern!r} is no pattern of a tool", hint="for example mcp__* or Bash(git *)"
            )
    return tuple(value)


def _last(patterns: Sequence[str], fits: Callable[[str], bool]) -> str | None:
    for pattern in reversed(patterns):
        if fits(pattern.removeprefix("!")):
            return None if pattern.startswith("!") else pattern
    return None


def _is_tool(pattern: str, act: Act, *, every: bool) -> bool:
    """Whether a tool fits ``Name`` or ``Name(argument)``; of a chain of commands any one, or every one."""
    found = _TOOL.fullmatch(pattern)
    if found is None or not _fits_text(found["name"].strip(), act.tool):
        return False
    argument = found["argument"]
    if argument is None:
        return True
    if not act.command:
        return any(fits_path(argument, path, act.root) for path in act.paths)
    command = act.command[:COMMAND_CHARS_MAX].strip()
    pieces = [piece.strip() for piece in _PIECES.split(command) if piece.strip()]
    fitting = [_fits_text(argument, piece) for piece in pieces]
    return (_fits_text(argument, command) and not every) or (all(fitting) if every else any(fitting))


def _last_path(patterns: tuple[str, ...], path: str, root: str) -> str | None:
    place = _place(path, root)
    for said, pattern in _from_last(patterns):
        if pattern.fits(place):
            return None if said.startswith("!") else said
    return None


def fits_path(pattern: str, path: str, root: str = "") -> bool:
    """Whether a path fits a pattern, whatever the case of their letters.

    ``*`` and ``?`` stay within a folder, ``**`` goes across. A pattern without a slash is the name of a file or a
    folder at any depth; one that begins with ``/`` or ``~`` is absolute; any other is seen from ``root``. A folder
    stands for all that is in it.
    """
    return _compiled(pattern).fits(_place(path, root))


@dataclass(frozen=True, slots=True)
class _Place:
    """A path as patterns look at it: its parts below the root (None outside), and from the top."""

    below: tuple[str, ...] | None
    whole: tuple[str, ...]
    text: str


@lru_cache(4_096)
def _place(path: str, root: str) -> _Place:
    tidy = path[:PATH_CHARS_MAX].replace("\\", "/").lower()
    base = posixpath.normpath(root.lower()) if root else ""
    absolute = tidy if tidy.startswith(("/", "~")) else posixpath.join(base, tidy)
    absolute = posixpath.normpath(absolute)
    whole = tuple(part for part in absolute.split("/") if part)
    top = tuple(part for part in base.split("/") if part)
    below = whole[len(top) :] if whole[: len(top)] == top else None
    return _Place(below, whole, absolute)


@dataclass(frozen=True, slots=True)
class _Pattern:
    parts: tuple[str, ...]
    anchor: str
    literal: str

    def fits(self, place: _Place) -> bool:
        if self.literal not in place.text:
            return False
        if self.anchor == "name":
            parts = place.whole if place.below is None else place.below
            return any(_fits_text(self.parts[0], part) for part in parts)
        parts_of = place.whole if self.anchor == "top" else place.below
        if parts_of is None:  # outside of the project: only a pattern that begins anywhere can fit
            parts_of = place.whole if self.parts[0] == _ANY_FOLDERS else ()
        return bool(parts_of) and _fits(self.parts, parts_of, _ANY_FOLDERS, _fits_text)


@lru_cache(1_024)
def _compiled(pattern: str) -> _Pattern:
    lowered = pattern.replace("\\", "/").lower()
    parts = tuple(part for part in lowered.split("/") if part) or (_ANY_FOLDERS,)
    literal = max(re.split(r"[*?/]", lowered), key=len)
    if "/" not in lowered.rstrip("/"):
        return _Pattern(parts, "name", literal)
    if parts[-1] != _ANY_FOLDERS:
        parts = (*parts, _ANY_FOLDERS)
    return _Pattern(parts, "top" if lowered[0] in "/~" else "root", literal)


@lru_cache(64)
def _from_last(patterns: tuple[str, ...]) -> tuple[tuple[str, _Pattern], ...]:
    """The patterns of a list as they were said and compiled, the last one first."""
    return tuple((said, _compiled(said.removeprefix("!"))) for said in reversed(patterns))


def _fits_text(pattern: str, text: str) -> bool:
    return _fits(pattern, text, _ANY, lambda wanted, found: wanted in {"?", found})


def _fits(pattern: Sequence[str], text: Sequence[str], star: str, same: Callable[[str, str], bool]) -> bool:
    """Matches with a wildcard for any number of items; only the last one seen is ever tried again."""
    at = start = place = 0
    back = -1
    while place < len(text):
        if at < len(pattern) and pattern[at] == star:
            back, start, at = at, place, at + 1
        elif at < len(pattern) and same(pattern[at], text[place]):
            at, place = at + 1, place + 1
        elif back >= 0:
            start += 1
            at, place = back + 1, start
        else:
            return False
    return all(rest == star for rest in pattern[at:])


ALLOWANCES_MAX = 1_000
_ALLOWANCE = re.compile(
    r"(?P<rule>[a-z0-9_]{1,48}):(?P<fingerprint>[0-9a-f]{16}):(?P<reason>\S[^\x00-\x1f]{0,199})"
)


def check_allowances(name: str, value: object) -> tuple[str, ...]:
    """The list of values that are no secrets, each checked.

    Raises:
        InvalidInput: no list, too long, or one of them is none of the form RULE:FINGERPRINT:REASON.
    """
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise InvalidInput(name, "must be a list of RULE:FINGERPRINT:REASON")
    if len(value) > ALLOWANCES_MAX:
        raise InvalidInput(name, f"{len(value):,} entries exceed {ALLOWANCES_MAX}", limit=ALLOWANCES_MAX)
    allowances(value, name)
    return tuple(value)


def allowances(said: Iterable[str], name: str = "redact_allow") -> list[tuple[str, int]]:
    """Rule and fingerprint of values that are no secrets.

    Raises:
        InvalidInput: one is not RULE:FINGERPRINT:REASON, sixteen hexadecimal digits and some words.
    """
    found = []
    for one in said:
        match = _ALLOWANCE.fullmatch(one)
        if match is None:
            raise InvalidInput(
                name,
                f"{one[:64]!r} is not RULE:FINGERPRINT:REASON",
                hint="`retain scan` prints the first two",
            )
        found.append((match["rule"], int(match["fingerprint"], 16)))
    return found
