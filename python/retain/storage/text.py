"""Text as the index sees it: identifiers split, so that ``getUserById`` is found by ``user``.

SQLite's unicode61 tokenizer already splits at everything that is neither letter nor digit (snake_case,
dotted names, paths, flags). What it leaves whole, camelCase and letters beside digits, is split here and
appended, at indexing and at querying alike. Scripts without spaces between words (Chinese, Japanese, Thai) and
Korean, whose particles cling to the word, are split into pairs of characters and single ones.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import chain

_WORD = re.compile(r"\w+")
_HUMP = re.compile(r"[a-z0-9][A-Z]|[A-Z][A-Z][a-z]|[A-Za-z][0-9]|[0-9][A-Za-z]")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_WILD = re.compile(r"[*?]")
_APART = bytes(code if _WORD.match(chr(code)) else ord(" ") for code in range(128)) + bytes(128)
"""What is no letter, digit or underscore of ASCII becomes a blank: ``split`` is several times as fast as a search."""
_FILE = re.compile(
    r"(?<![\w/.:@+~$-])((?:[\w.@+-]+/)*(?:[\w.@+-]*\w\.(?:"
    "bash|c|cc|cfg|clj|cmake|conf|cpp|cs|css|csv|cxx|dart|erl|ex|exs|fs|go|gradle|graphql|h|hcl|hpp|hs|html|ini|"
    "ipynb|java|jinja|jl|js|json|jsonl|jsx|kt|less|lock|lua|m|md|mjs|ml|mm|nix|php|pl|proto|ps1|py|pyi|pyx|r|rb|rs|"
    r"rst|sass|scala|scss|sh|sql|svelte|svg|swift|tf|toml|ts|tsx|txt|vue|xml|yaml|yml|zig|zsh)"
    r"|Dockerfile|Makefile|Justfile|LICENSE|\.[a-z]+ignore))(?![\w/])(?!\.\w)"
)
_BRAND = re.compile(r"[A-Z]\w*\.js")
"""``Node.js`` and its kin are no files."""

_UNSPACED = re.compile(
    "[\u0e01-\u0e30\u0e32\u0e33\u0e40-\u0e46\u0e81-\u0eb0\u0eb2\u0eb3\u0ec0-\u0ec6\u1000-\u102a\u103f\u1780-\u17b3"
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7a3\uf900-\ufaff\uff66-\uff9d\U00020000-\U0003134f]+"
)
_MARKS = re.compile(
    "[\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd\u102b-\u103e\u17b4-\u17d3]"
)
"""Vowels and tones above and below, at which the index would break a word."""

_WORDS_KEPT = 4_096
_WORD_CHARS_KEPT = 64
"""The parts of so many words, of so many characters at most, are remembered: code says the same ones again."""

_TEXTS_KEPT = 512
_TEXT_CHARS_KEPT = 200
"""So do memories: a prompt stands with all that came after it, files are changed again and again."""

PARTS_MAX = 5_000
"""Identifier parts appended to one text at the most."""


def identifier_parts(word: str) -> list[str]:
    """The parts of a camelCase or letter-digit word; empty where it has only one."""
    return list(_parts(word))


def _parts(word: str) -> tuple[str, ...]:
    return _kept_parts(word) if len(word) <= _WORD_CHARS_KEPT else _split(word)


def _parts_of(text: str) -> list[str]:
    """The parts of all words of a text, each word once."""
    found = text.encode().translate(_APART).decode().split() if text.isascii() else _WORD.findall(text)
    words = dict.fromkeys(found)
    is_short = len(text) <= _WORD_CHARS_KEPT or max(map(len, words), default=0) <= _WORD_CHARS_KEPT
    return list(chain.from_iterable(map(_kept_parts if is_short else _parts, words)))


def _split(word: str) -> tuple[str, ...]:
    if not _HUMP.search(word):
        return ()
    parts = tuple(part for part in _PART.findall(word) if len(part) > 1)
    return parts if len(parts) > 1 or (parts and parts[0] != word) else ()


_kept_parts = lru_cache(_WORDS_KEPT)(_split)


def unspaced_parts(text: str, *, single: bool) -> list[str]:
    """The pairs of characters in stretches of a script without spaces; a stretch of one character is itself.

    Args:
        text: any text, in any normal form.
        single: True adds each character alone.
    """
    if text.isascii():
        return []
    parts: list[str] = []
    for match in _UNSPACED.finditer(_MARKS.sub("", unicodedata.normalize("NFC", text))):
        run = match[0]
        parts += [run[i : i + 2] for i in range(len(run) - 1)]
        if single or len(run) == 1:
            parts += run
    return parts


def indexed(text: str) -> str:
    """The text with the parts of its identifiers, each identifier once, and of unspaced writing appended."""
    return _kept_indexed(text) if len(text) <= _TEXT_CHARS_KEPT else _indexed(text)


def _indexed(text: str) -> str:
    parts = _parts_of(text)[:PARTS_MAX]
    parts += unspaced_parts(text, single=True)
    return f"{text}\n{' '.join(parts)}" if parts else text


_kept_indexed = lru_cache(_TEXTS_KEPT)(_indexed)


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


def subtree(pattern: str) -> str:
    """The folder whose whole content, itself included, is what fits a pattern; empty where that is something else."""
    folder = literal_prefix(pattern)
    return folder if folder and _core(pattern) == folder + "/**" else ""


def _core(path: str) -> str:
    """A path without the slashes that do not count: one before it, and those behind it."""
    return path.removeprefix("/").rstrip("/")
