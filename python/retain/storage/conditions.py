"""Filter trees as SQL conditions. Values are always bound, never written into the text.

A condition is written in one of two forms that mean the same: ``condition`` tests one row of ``memory m``
(tags by a probe of their table, globs on the row's own paths); ``keys_of`` selects the keys of all rows
that can fit, walking the one index that serves a part of the tree.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from retain.model import All, AnyOf, Between, Filter, Glob, In, Not
from retain.storage.text import literal_prefix, subtree

Condition = tuple[str, list[Any]]

COLUMNS = {
    "kind": "m.kind",
    "session": "m.session",
    "branch": "m.branch",
    "origin": "m.origin",
    "trust": "m.trust",
    "status": "m.status",
    "id": "m.id",
}

EVERYWHERE: Condition = ("SELECT key FROM workspace", [])
STARS_MAX = 4
"""Wildcards up to which SQLite's own GLOB may look first: its time grows with each one."""

_WILD = re.compile(r"(?:/?\*\*/?|\*)+")


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
    marks = _marks(tree.values)
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
    # The row's own list of paths: their table has no index that leads from a memory to its paths.
    folder = subtree(tree.pattern)
    if folder:
        ranges = [_below(start, "j.value") for start in (folder, "/" + folder)]
        text = " OR ".join(sql for sql, _ in ranges)
        bound = [value for _, values in ranges for value in values]
        return f"EXISTS (SELECT 1 FROM json_each(m.paths) j WHERE {text})", bound
    return "EXISTS (SELECT 1 FROM json_each(m.paths) j WHERE path_glob(?, j.value))", [tree.pattern]


def keys_of(tree: Filter, workspaces: Condition) -> Condition | None:
    """A SELECT of the keys of all rows that fit the tree and perhaps some more; None without an index for it.

    Args:
        tree: a part of the filter.
        workspaces: a SELECT of the keys of the workspaces they lie in, and its parameters.
    """
    if isinstance(tree, AnyOf) and tree.parts:
        each = [keys_of(part, workspaces) for part in tree.parts]
        known = [one for one in each if one is not None]
        if len(known) < len(each):
            return None
        return " UNION ALL ".join(sql for sql, _ in known), [value for _, bound in known for value in bound]
    if isinstance(tree, All):
        return next((keys for part in tree.parts if (keys := keys_of(part, workspaces)) is not None), None)
    if isinstance(tree, Glob) and tree.field == "path":
        return _keys_of_glob(tree.pattern, workspaces)
    if isinstance(tree, In) and tree.field in _KEYS:
        text, bound = workspaces
        return _KEYS[tree.field].format(workspaces=text, marks=_marks(tree.values)), [*bound, *tree.values]
    return None


_KEYS = {
    "tag": "SELECT memory FROM memory_tag WHERE workspace IN ({workspaces}) AND tag IN ({marks})",
    "path": "SELECT memory FROM memory_path WHERE workspace IN ({workspaces}) AND path IN ({marks})",
    "kind": (
        "SELECT key FROM memory INDEXED BY memory_kind WHERE workspace IN ({workspaces}) AND kind IN ({marks})"
    ),
    "session": (
        "SELECT key FROM memory INDEXED BY memory_session "
        "WHERE workspace IN ({workspaces}) AND session IN ({marks}) AND session IS NOT NULL"
    ),
    "id": "SELECT key FROM memory WHERE +workspace IN ({workspaces}) AND id IN ({marks})",
}


def _keys_of_glob(pattern: str, workspaces: Condition) -> Condition:
    text, bound = workspaces
    texts = [f"SELECT memory FROM memory_path WHERE workspace IN ({text})"]
    values = list(bound)
    prefix = literal_prefix(pattern)
    if prefix:
        # Two SELECTs, not an OR: SQLite seeks to a range of the index only where it stands alone.
        either = []
        for start in (prefix, "/" + prefix):
            if subtree(pattern):
                sql, within = _below(start, "path")
                either.append(f"{texts[0]} AND {sql}")
                values += [*([] if start == prefix else bound), *within]
                continue
            either.append(f"{texts[0]} AND path >= ? AND path < ? AND path GLOB ? AND path_glob(?, path)")
            values += [
                *([] if start == prefix else bound),
                start,
                start + "\U0010ffff",
                rough(pattern),
                pattern,
            ]
        return " UNION ALL ".join(either), values
    return f"{texts[0]} AND path GLOB ? AND path_glob(?, path)", [*values, rough(pattern), pattern]


def _below(folder: str, column: str) -> Condition:
    """That a path is a folder or lies in it: one range of an index, and no call of ours."""
    sql = f"({column} >= ? AND {column} < ? AND ({column} = ? OR {column} >= ?))"
    return sql, [folder, folder + "0", folder, folder + "/"]  # "0" follows "/"


def rough(pattern: str) -> str:
    """A pattern of SQLite's GLOB that everything fits which fits ours; it spares most calls of ours."""
    core = pattern.strip("/")
    whole = _WILD.sub("*", core.replace("[", "[[]").replace("?", "*"))
    if whole.count("*") > STARS_MAX:
        return "*"
    return f"*{whole}*".replace("**", "*")


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
