"""Reads filters from plain objects and brings them into a normal form.

A filter is an object whose entries must all hold::

    {"kind": ["decision", "fix"], "path": "src/**", "since": "2026-11-01", "not": {"tag": "draft"}}

Fields: kind, session, branch, path, tag, origin, trust, status, workspace, id (one value or a list of values),
since and until (times); ``and``/``or`` take a list of filters, ``not`` takes one. A path or branch with
``*`` or ``?`` is a glob; a path without a slash names a file anywhere; one that ends in a slash names a
folder with all below it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from retain.errors import InvalidFilter, InvalidInput
from retain.model import (
    KINDS,
    ORIGINS,
    STATUSES,
    All,
    AnyOf,
    Between,
    Filter,
    Glob,
    In,
    Not,
    read_time,
    to_us,
)
from retain.trust import TRUSTS

DEPTH_MAX = 16
NODES_MAX = 512
"""Conditions of one tree; each glob is one. SQLite takes expressions up to 1,000 levels deep."""

VALUES_MAX = 1_000
"""Values of one tree."""

VALUE_CHARS_MAX = 1_024
NAME_CHARS_SHOWN = 64

FIELDS = ("kind", "session", "branch", "path", "tag", "origin", "trust", "status", "workspace", "id")
_ALLOWED: Mapping[str, tuple[str, ...]] = {
    "kind": tuple(KINDS), "origin": ORIGINS, "trust": TRUSTS, "status": STATUSES,
}  # fmt: skip

_SURROGATE = re.compile("[\ud800-\udfff]")

NOTHING = All(parts=())
"""The filter that everything fits."""


def parse_filter(value: object, where: str = "filter") -> Filter:
    """The filter tree of a plain object (JSON).

    Raises:
        InvalidFilter: an unknown field, a wrong type, or over a limit; names the path of the node.
    """
    return normalise(_Parser().tree(value, where, 0))


class _Parser:
    def __init__(self) -> None:
        self._nodes = 0
        self._values = 0

    def tree(self, value: object, where: str, depth: int) -> Filter:
        if not isinstance(value, Mapping):
            raise InvalidFilter(where, f"must be an object, not {_type(value)}")
        if depth > DEPTH_MAX:
            raise InvalidFilter(where, f"nested deeper than {DEPTH_MAX} levels", limit=DEPTH_MAX)
        self._count(0 if value else 1, where)
        return All(
            parts=tuple(self._entry(name, v, f"{where}.{_shown(name)}", depth) for name, v in value.items())
        )

    def _entry(self, name: object, value: object, where: str, depth: int) -> Filter:
        self._count(1, where)
        if name in {"and", "or"}:
            parts = self._list(value, where, depth)
            return All(parts=parts) if name == "and" else AnyOf(parts=parts)
        if name == "not":
            return Not(part=self.tree(value, where, depth + 1))
        if name in {"since", "until"}:
            us = _time(value, where)
            return Between(field="time", low=us) if name == "since" else Between(field="time", high=us)
        if name not in FIELDS:
            raise InvalidFilter(
                where, f"unknown field; known: {', '.join(FIELDS)}, since, until, and, or, not"
            )
        return self._leaf(str(name), value, where)

    def _list(self, value: object, where: str, depth: int) -> tuple[Filter, ...]:
        if not isinstance(value, list | tuple):
            raise InvalidFilter(where, f"must be a list of filters, not {_type(value)}")
        return tuple(self.tree(v, f"{where}[{i}]", depth + 1) for i, v in enumerate(value))

    def _leaf(self, name: str, value: object, where: str) -> Filter:
        values = value if isinstance(value, list | tuple) else (value,)
        self._values += len(values)
        if self._values > VALUES_MAX:
            raise InvalidFilter(where, f"more than {VALUES_MAX} values", limit=VALUES_MAX)
        leaf = _leaf(name, tuple(_value(name, item, where) for item in values))
        if isinstance(leaf, AnyOf):
            self._count(len(leaf.parts), where)
        return leaf

    def _count(self, nodes: int, where: str) -> None:
        self._nodes += nodes
        if self._nodes > NODES_MAX:
            raise InvalidFilter(where, f"more than {NODES_MAX} conditions", limit=NODES_MAX)


def _time(value: object, where: str) -> int:
    if not isinstance(value, str | int | float):
        raise InvalidFilter(where, f"must be a time, not {_type(value)}")
    try:
        return to_us(read_time(value, where))
    except InvalidInput as error:
        problem = str(error).removeprefix(f"{where}: ")
        raise InvalidFilter(where, problem, limit=error.limit, hint=error.hint) from None


def _value(name: str, item: object, where: str) -> str:
    if not isinstance(item, str):
        raise InvalidFilter(where, f"must be a string or a list of strings, not {_type(item)}")
    if len(item) > VALUE_CHARS_MAX:
        raise InvalidFilter(where, f"a value longer than {VALUE_CHARS_MAX} characters", limit=VALUE_CHARS_MAX)
    allowed = _ALLOWED.get(name)
    if allowed and item not in allowed:
        raise InvalidFilter(where, f"unknown {name} {_shown(item)!r}; known: {', '.join(allowed)}")
    return _clean(item)


def _clean(text: str) -> str:
    """Lone surrogates cannot be stored, so nothing can equal them; they become the replacement character."""
    return _SURROGATE.sub("\ufffd", text)


def _shown(name: object) -> str:
    return _clean(str(name)[:NAME_CHARS_SHOWN])


def _leaf(name: str, values: tuple[str, ...]) -> Filter:
    if name not in {"path", "branch"}:
        return In(field=name, values=values)
    globs: list[Filter] = []
    plain: list[str] = []
    for value in values:
        pattern = value + "**" if name == "path" and value.endswith("/") else value
        is_name = name == "path" and "/" not in pattern
        if is_name or "*" in pattern or "?" in pattern:
            globs.append(Glob(field=name, pattern=pattern))
        else:
            plain.append(pattern)
    parts = [*globs, In(field=name, values=tuple(plain))] if plain else globs
    return parts[0] if len(parts) == 1 else AnyOf(parts=tuple(parts))


def normalise(tree: Filter) -> Filter:
    """An equal tree without nested and/or of the same kind, double negation, repetition and single parts."""
    if isinstance(tree, Not):
        part = normalise(tree.part)
        return part.part if isinstance(part, Not) else Not(part=part)
    if not isinstance(tree, All | AnyOf):
        return tree
    parts: list[Filter] = []
    for part in map(normalise, tree.parts):
        parts.extend(part.parts if isinstance(part, type(tree)) else [part])
    unique = tuple(dict.fromkeys(parts))
    return unique[0] if len(unique) == 1 else type(tree)(parts=unique)


def both(*trees: Filter | None) -> Filter:
    """All of the trees; None is left out."""
    return normalise(All(parts=tuple(tree for tree in trees if tree is not None)))


def mentions(tree: Filter | None, field: str) -> bool:
    """Whether a field occurs anywhere in the tree."""
    if tree is None:
        return False
    if isinstance(tree, All | AnyOf):
        return any(mentions(part, field) for part in tree.parts)
    if isinstance(tree, Not):
        return mentions(tree.part, field)
    return tree.field == field


def asks_for(tree: Filter | None, field: str) -> bool:
    """Whether the tree wants certain values of a field; to leave some out is not to want the others."""
    if isinstance(tree, All | AnyOf):
        return any(asks_for(part, field) for part in tree.parts)
    return tree is not None and not isinstance(tree, Not) and tree.field == field


def as_tuples(tree: Filter) -> tuple[Any, ...]:
    """The tree as nested tuples, the form that the estimator reads (its ranges include both ends)."""
    if isinstance(tree, All):
        return ("and", [as_tuples(part) for part in tree.parts]) if tree.parts else ("all",)
    if isinstance(tree, AnyOf):
        return ("or", [as_tuples(part) for part in tree.parts])
    if isinstance(tree, Not):
        return ("not", as_tuples(tree.part))
    if isinstance(tree, Between):
        return ("range", tree.field, tree.low, None if tree.high is None else tree.high - 1)
    if isinstance(tree, Glob):
        return ("glob", tree.field, tree.pattern)
    return ("in", tree.field, list(tree.values))


def size_of(tree: Filter) -> tuple[int, int]:
    """Number of conditions and depth of a tree."""
    if isinstance(tree, Not):
        conditions, depth = size_of(tree.part)
        return conditions, depth + 1
    if isinstance(tree, All | AnyOf):
        sizes = [size_of(part) for part in tree.parts]
        return sum(c for c, _ in sizes), 1 + max((d for _, d in sizes), default=0)
    return 1, 0


def _type(value: object) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number" if isinstance(value, int | float) else type(value).__name__)
