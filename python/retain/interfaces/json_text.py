"""Edits a JSON text in place: what does not change keeps its bytes, comments and trailing commas included.

A text is scanned into a tree of spans; the difference between the object that it holds and the one that is
wanted becomes a few insertions and deletions. Nothing else is written anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

DEPTH_MAX = 200

_BLANK = re.compile(r"[ \t\r\n]*")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_SCALAR = re.compile(r'"(?:[^"\\\x00-\x1f]++|\\.)*+"|[^\s,:\[\]{}"/]++')

Encoder = Callable[[Any, int], str]
"""Writes a value that begins at a depth of nesting."""


class Verbatim(float):
    """A number with a fraction or an exponent, written back as it was spelled."""

    spelled: str

    def __new__(cls, text: str) -> Self:
        """Keeps the spelling beside the value."""
        made = super().__new__(cls, text)
        made.spelled = text
        return made


@dataclass(slots=True)
class Node:
    """A value, where it stands, and where it is a container its parts."""

    start: int
    value: Any
    end: int = 0
    parts: list[Part] = field(default_factory=list)


@dataclass(slots=True)
class Part:
    """A member of an object or an element of a list; ``start`` is that of its key, ``comma`` of the one after it."""

    start: int
    key: str | None
    node: Node
    comma: int | None = None


def scan(text: str, *, comments: bool = False) -> Node:
    """The tree of a text whose top is an object.

    Args:
        text: the whole file, without a byte order mark.
        comments: whether comments and trailing commas are taken, as several editors write them.

    Raises:
        ValueError: not JSON (the message names line and column), not an object, nested too deep, or a key
            that stands twice in one object (one of them would be lost).
    """
    scanner = _Scanner(text, comments=comments)
    start = scanner.skip(0)
    top = scanner.value(start, 0)
    if scanner.skip(top.end) != len(text):
        raise scanner.wrong("more text after the value", top.end)
    if not isinstance(top.value, dict):
        raise ValueError(f"it holds a JSON {type(top.value).__name__}, not an object")  # noqa: TRY004 - as bad JSON is
    return top


class _Scanner:
    def __init__(self, text: str, *, comments: bool) -> None:
        self._text = text
        self._comments = comments

    def wrong(self, problem: str, at: int) -> ValueError:
        line = self._text.count("\n", 0, at) + 1
        column = at - self._text.rfind("\n", 0, at)
        return ValueError(f"{problem}: line {line} column {column}")

    def skip(self, at: int) -> int:
        """The place of what follows blanks, and comments where they are taken."""
        while True:
            blank = _BLANK.match(self._text, at)
            at = blank.end() if blank else at
            comment = _COMMENT.match(self._text, at) if self._comments else None
            if comment is None:
                return at
            at = comment.end()

    def value(self, at: int, depth: int) -> Node:
        opening = self._text[at : at + 1]
        if opening in ("{", "["):
            if depth >= DEPTH_MAX:
                raise ValueError(f"nested deeper than {DEPTH_MAX} levels")
            return self._container(at, depth, is_object=opening == "{")
        found = _SCALAR.match(self._text, at)
        if found is None:
            raise self.wrong("expected a value" if at < len(self._text) else "the text ends too early", at)
        word = found[0]
        if opening == '"' and "\\" not in word:
            return Node(at, word[1:-1], found.end())
        try:
            value = json.loads(word, parse_float=Verbatim)
        except ValueError:
            raise self.wrong("expected a value", at) from None
        return Node(at, value, found.end())

    def _container(self, at: int, depth: int, *, is_object: bool) -> Node:
        node = Node(at, {} if is_object else [])
        closing = "}" if is_object else "]"
        place = self.skip(at + 1)
        while self._text[place : place + 1] != closing:
            if node.parts and node.parts[-1].comma is None:
                raise self.wrong(f"expected ',' or '{closing}'", place)
            part = self._part(place, depth, node, is_object=is_object)
            node.parts.append(part)
            place = self.skip(part.node.end)
            if self._text[place : place + 1] == ",":
                part.comma = place
                place = self.skip(place + 1)
        if node.parts and node.parts[-1].comma is not None and not self._comments:
            raise self.wrong("a comma before the end", node.parts[-1].comma)
        node.end = place + 1
        return node

    def _part(self, at: int, depth: int, node: Node, *, is_object: bool) -> Part:
        if not is_object:
            element = self.value(at, depth + 1)
            node.value.append(element.value)
            return Part(at, None, element)
        key = self.value(at, depth + 1)
        if not isinstance(key.value, str):
            raise self.wrong("expected a key in quotes", at)
        colon = self.skip(key.end)
        if self._text[colon : colon + 1] != ":":
            raise self.wrong("expected ':'", colon)
        if key.value in node.value:
            raise ValueError(f"the key {key.value!r} stands twice in one object")
        member = self.value(self.skip(colon + 1), depth + 1)
        node.value[key.value] = member.value
        return Part(at, key.value, member)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """How inserted text is written.

    Attributes:
        encode: a value at a depth.
        key: a key with its colon.
        indent: of one level; None writes on the same line.
        gap: what follows a comma on one line.
        newline: what ends a line.
    """

    encode: Encoder
    key: Callable[[str], str]
    indent: str | None
    gap: str
    newline: str = "\n"


def rewritten(text: str, wanted: dict[str, Any], hand: Hand, *, comments: bool = False) -> str:
    """The text with as few changes as make it hold the wanted object.

    Raises:
        ValueError: as in ``scan``, or the change cannot be made in place.
    """
    top = scan(text, comments=comments)
    for tight in (True, False):
        edits = sorted(_changes(text, top, wanted, 0, hand, tight=tight), key=lambda edit: edit[0])
        made, place = [], 0
        for start, end, inserted in edits:
            made += [text[place:start], inserted.replace("\n", hand.newline)]
            place = max(place, end)
        result = "".join([*made, text[place:]])
        try:
            if scan(result, comments=comments).value == wanted:
                return result
        except ValueError:
            continue  # a comment swallowed what came to stand behind it
    raise ValueError("it cannot be changed in place")


def _changes(
    text: str, node: Node, wanted: Any, depth: int, hand: Hand, *, tight: bool
) -> Iterator[tuple[int, int, str]]:
    """Edits (start, end, new text) that turn the value of a node into the wanted one.

    ``tight`` takes the blanks before what is deleted along.
    """
    old = node.value
    if old == wanted and type(old) is type(wanted):
        return
    if isinstance(old, dict) and isinstance(wanted, dict):
        gone = [index for index, part in enumerate(node.parts) if part.key not in wanted]
        fresh = [hand.key(key) + hand.encode(wanted[key], depth + 1) for key in wanted if key not in old]
        pairs = [(part, wanted[part.key]) for part in node.parts if part.key in wanted]
    elif isinstance(old, list) and isinstance(wanted, list) and (kept := _aligned(old, wanted)) is not None:
        gone = [index for index in range(len(old)) if index not in kept]
        fresh = [hand.encode(value, depth + 1) for value in wanted[len(kept) :]]
        pairs = [(node.parts[index], value) for index, value in zip(kept, wanted, strict=False)]
    else:
        gone, fresh, pairs = [], [], []
        yield node.start, node.end, hand.encode(wanted, depth)
    if gone and fresh:
        yield node.start, node.end, hand.encode(wanted, depth)
        return
    for part, value in pairs:
        yield from _changes(text, part.node, value, depth + 1, hand, tight=tight)
    if gone:
        yield from _deletions(text, node, set(gone), tight=tight)
    elif fresh:
        yield from _insertions(text, node, fresh, depth, hand)


def _aligned(old: list[Any], wanted: list[Any]) -> list[int] | None:
    """The elements of a list that stay, in order: all of them, or those that the shorter list still has."""
    if len(wanted) >= len(old):
        return list(range(len(old)))
    kept, place = [], 0
    for value in wanted:
        while place < len(old) and not _may_become(old[place], value):
            place += 1
        if place == len(old):
            return None
        kept.append(place)
        place += 1
    return kept


def _may_become(old: Any, new: Any) -> bool:
    """Whether an element is the other, or a group of hooks from which some were taken."""
    if old == new:
        return True
    if not isinstance(old, dict) or not isinstance(new, dict) or old.keys() != new.keys():
        return False
    return all(
        old[key] == new[key]
        or (
            isinstance(old[key], list)
            and isinstance(new[key], list)
            and new[key]
            and all(one in old[key] for one in new[key])
        )
        for key in old
    )


def _deletions(text: str, node: Node, gone: set[int], *, tight: bool) -> Iterator[tuple[int, int, str]]:
    parts = node.parts
    kept = [index for index in range(len(parts)) if index not in gone]
    if not kept and not any(mark in text[node.start : parts[0].start] for mark in ("//", "/*")):
        last = parts[-1]
        tail = text[last.node.end if last.comma is None else last.comma + 1 : node.end - 1]
        if not tail.strip():
            yield node.start + 1, node.end - 1, ""
            return
    for index in sorted(gone):
        part = parts[index]
        before = len(text[: part.start].rstrip(" \t\r\n")) if tight else part.start
        yield before, part.node.end, ""
        if part.comma is not None:
            yield part.comma, part.comma + 1, ""
    last_kept = parts[kept[-1]] if kept else None
    if last_kept is not None and kept[-1] != len(parts) - 1 and parts[-1].comma is None:
        assert last_kept.comma is not None, "something followed it"
        yield last_kept.comma, last_kept.comma + 1, ""


def _insertions(
    text: str, node: Node, fresh: list[str], depth: int, hand: Hand
) -> Iterator[tuple[int, int, str]]:
    inner_end = node.end - 1
    place = len(text[:inner_end].rstrip(" \t\r\n"))
    last = node.parts[-1] if node.parts else None
    if last is not None and last.comma is None:
        yield last.node.end, last.node.end, ","
    after_comment = (
        "//" in text[max(text.rfind("\n", 0, place), last.node.end if last else node.start) : place]
    )
    pad = "\n" + hand.indent * (depth + 1) if hand.indent is not None else "\n" if after_comment else ""
    first = pad or (hand.gap if last is not None else "")
    new = first + ("," + (pad or hand.gap)).join(fresh)
    if hand.indent is not None and "\n" not in text[place:inner_end]:
        new += "\n" + hand.indent * depth
    yield place, place, new
