"""Text as the index sees it: identifiers split, so that ``getUserById`` is found by ``user``.

SQLite's unicode61 tokenizer already splits at everything that is neither letter nor digit (snake_case,
dotted names, paths, flags). What it leaves whole, camelCase and letters beside digits, is split here and
appended, at indexing and at querying alike.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+")
_HUMP = re.compile(r"[a-z0-9][A-Z]|[A-Z][A-Z][a-z]|[A-Za-z][0-9]|[0-9][A-Za-z]")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_WILD = re.compile(r"[*?]")
_FILE = re.compile(
    r"(?<![\w/.:@+~$-])((?:[\w.@+-]+/)*(?:[\w.@+-]*\w\.(?:"
    "bash|c|cc|cfg|clj|cmake|conf|cpp|cs|css|csv|cxx|dart|erl|ex|exs|fs|go|gradle|graphql|h|hcl|hpp|hs|html|ini|"
    "ipynb|java|jinja|jl|js|json|jsonl|jsx|kt|less|lock|lua|m|md|mjs|ml|mm|nix|php|pl|proto|ps1|py|pyi|pyx|r|rb|rs|"
    r"rst|sass|scala|scss|sh|sql|svelte|svg|swift|tf|toml|ts|tsx|txt|vue|xml|yaml|yml|zig|zsh)"
    r"|Dockerfile|Makefile|Justfile|LICENSE|\.[a-z]+ignore))(?![\w/])(?!\.\w)"
)
_BRAND = re.compile(r"[A-Z]\w*\.js")
"""``Node.js`` and its kin are no files."""

PARTS_MAX = 5_000
"""Identifier parts appended to one text at the most."""


def identifier_parts(word: str) -> list[str]:
    """The parts of a camelCase or letter-digit word; empty where it has only one."""
    if not _HUMP.search(word):
        return []
    parts = [part for part in _PART.findall(word) if len(part) > 1]
    return parts if len(parts) > 1 or (parts and parts[0] != word) else []


def indexed(text: str) -> str:
    """The text with the parts of its identifiers appended, each identifier once."""
    if not _HUMP.search(text):
        return text
    parts: list[str] = []
    for word in dict.fromkeys(_WORD.findall(text)):
        parts.extend(identifier_parts(word))
        if len(parts) >= PARTS_MAX:
            break
    return text + "\n" + " ".join(parts[:PARTS_MAX]) if parts else text


def mentioned_files(text: str, most: int) -> tuple[str, ...]:
    """The files that a text names: paths and file names with an ending that code, data or prose has."""
    found: dict[str, None] = {}
    for match in _FILE.finditer(text):
        name = match[1]
        if ".." not in name.split("/") and not _BRAND.fullmatch(name):
            found.setdefault(name)
        if len(found) == most:
            break
    return tuple(found)


def glob_matches(pattern: str, path: str) -> bool:
    """Whether a path fits a glob: ``*`` and ``?`` within a folder, ``**`` across folders.

    A pattern without a slash is tried on the last part of the path, as in a gitignore file. Runs in time
    proportional to pattern times path, whatever the pattern.
    """
    if "/" not in pattern:
        return _part_matches(pattern, path.rsplit("/", 1)[-1])
    globs = _core(pattern).split("/")
    parts = _core(path).split("/")
    reachable = {0}
    for glob in globs:
        if glob == "**":
            reachable = set(range(min(reachable), len(parts) + 1)) if reachable else set()
        else:
            reachable = {i + 1 for i in reachable if i < len(parts) and _part_matches(glob, parts[i])}
    return len(parts) in reachable


def _part_matches(glob: str, text: str) -> bool:
    """Greedy wildcard match with one point of return, the classic two-pointer algorithm."""
    g = t = mark = 0
    star = -1
    while t < len(text):
        if g < len(glob) and glob[g] == "*":
            star, mark = g, t
            g += 1
        elif g < len(glob) and glob[g] in {"?", text[t]}:
            g += 1
            t += 1
        elif star >= 0:
            g = star + 1
            mark += 1
            t = mark
        else:
            return False
    return all(c == "*" for c in glob[g:])


def literal_prefix(pattern: str) -> str:
    """What every fitting path begins with, after a slash that it may begin with; empty where that is anything."""
    if "/" not in pattern:
        return ""
    return _WILD.split(_core(pattern), maxsplit=1)[0].rstrip("/")


def _core(path: str) -> str:
    """A path without the slashes that do not count: one before it, and those behind it."""
    return path.removeprefix("/").rstrip("/")
