"""Filter trees as SQL conditions. Values are always bound, never written into the text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from retain.model import All, AnyOf, Between, Filter, Glob, In, Not
from retain.storage.text import literal_prefix

Condition = tuple[str, list[Any]]

COLUMNS = {
    "kind": "m.kind",
    "session": "m.session",
    "branch": "m.branch",
    "origin": "m.origin",
    "status": "m.status",
    "id": "m.id",
}


def condition(tree: Filter) -> Condition:
    """SQL text over ``memory m`` that holds for the rows which fit the tree, and its parameters."""
    if isinstance(tree, All):
        return _joined(tree.parts, " AND ", "1")
    if isinstance(tree, AnyOf):
        return _joined(tree.parts, " OR ", "0")
    if isinstance(tree, Not):
        sql, values = condition(tree.part)
        return f"NOT coalesce({sql}, 0)", values
    if isinstance(tree, Between):
        return _between(tree)
    if isinstance(tree, Glob):
        return _glob(tree)
    return _in(tree)


def _joined(parts: tuple[Filter, ...], word: str, empty: str) -> Condition:
    if not parts:
        return empty, []
    texts, values = [], []
    for part in parts:
        sql, bound = condition(part)
        texts.append(sql)
        values += bound
    return "(" + word.join(texts) + ")", values


def _between(tree: Between) -> Condition:
    texts, values = ["1"], []
    if tree.low is not None:
        texts.append("m.occurred_us >= ?")
        values.append(tree.low)
    if tree.high is not None:
        texts.append("m.occurred_us < ?")
        values.append(tree.high)
    return "(" + " AND ".join(texts) + ")", values


def _in(tree: In) -> Condition:
    marks = ", ".join("?" * len(tree.values))
    special = _SPECIAL.get(tree.field)
    if special is not None:
        return special(marks), list(tree.values)
    return f"{COLUMNS[tree.field]} IN ({marks})", list(tree.values)


_SPECIAL: dict[str, Callable[[str], str]] = {
    "workspace": lambda marks: f"m.workspace IN (SELECT key FROM workspace WHERE id IN ({marks}))",
    "tag": lambda marks: (
        "EXISTS (SELECT 1 FROM memory_tag t "
        f"WHERE t.workspace = m.workspace AND t.tag IN ({marks}) AND t.memory = m.key)"
    ),
    "path": lambda marks: (
        "EXISTS (SELECT 1 FROM memory_path p "
        f"WHERE p.workspace = m.workspace AND p.path IN ({marks}) AND p.memory = m.key)"
    ),
}


def _glob(tree: Glob) -> Condition:
    if tree.field != "path":
        column = COLUMNS[tree.field]
        return f"({column} IS NOT NULL AND path_glob(?, {column}))", [tree.pattern]
    prefix = literal_prefix(tree.pattern)
    # Not correlated with the memory, so it is evaluated once a query; the index on paths has no memory in front.
    paths = "SELECT p.memory FROM memory_path p WHERE p.workspace IN (SELECT key FROM workspace) AND "
    if not prefix:
        return f"m.key IN ({paths}path_glob(?, p.path))", [tree.pattern]
    in_range = f"{paths}p.path >= ? AND p.path < ? AND path_glob(?, p.path)"
    values: list[Any] = []
    for start in (prefix, "/" + prefix):
        values += [start, start + "\U0010ffff", tree.pattern]
    return f"m.key IN ({in_range} UNION ALL {in_range})", values
