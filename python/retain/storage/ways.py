"""The ways of answering a query that the planner chooses from; each gives the same rows in the same order.

With words the order is bm25, then the newer key; without words it is time, then the newer key. A driver is
the part of a filter whose index gives the keys; without one it is the index of times.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import apsw

from retain.model import STATUSES, All, AnyOf, Between, Filter, In, Not
from retain.storage.conditions import EVERYWHERE, Condition, condition, keys_of
from retain.storage.postings import Ranked, keys_of_list
from retain.storage.reads import BM25, Candidate, candidates_of
from retain.storage.rows import to_list

KEY_MAX = 2**63 - 1
TIME_MIN = -(2**63)
_COLUMNS = "m.key, {score}, m.occurred_us, m.kind"
_WITH_FILES = _COLUMNS + ", m.workspace, m.paths"
"""What ranking needs; where every row that fits passes a sorter, only the shorter ones are read."""


def lexical_first(db: apsw.Connection, match: str, where: Filter, limit: int) -> list[Candidate]:
    """Tests the filter on every row of the words, and ranks those that fit."""
    sql, values = condition(where)
    rows = db.execute(
        f"SELECT {_WITH_FILES.format(score='-f.score')} FROM (SELECT m.key AS key, {BM25} AS score FROM memory_fts "
        f"CROSS JOIN memory m ON m.key = memory_fts.rowid WHERE memory_fts MATCH ? AND {sql} "
        "ORDER BY score, m.key DESC LIMIT ?) f CROSS JOIN memory m ON m.key = f.key",
        (match, *values, limit),
    )
    return candidates_of(rows)


def rank_first(db: apsw.Connection, match: str, where: Filter, ahead: int, limit: int) -> list[Candidate]:
    """Ranks every row of the words, then tests the filter from the best on until enough rows fit.

    Args:
        db: a connection.
        match: FTS5 expression.
        where: the filter.
        ahead: how many of the best rows are held at first; if they do not suffice, the filter comes first after all.
        limit: most rows of the answer.
    """
    sql, values = condition(where)
    text = (
        f"SELECT {_WITH_FILES.format(score='-f.score')} FROM (SELECT rowid AS key, {BM25} AS score FROM memory_fts "
        "WHERE memory_fts MATCH ? ORDER BY score, key DESC LIMIT ?) f "
        f"CROSS JOIN memory m ON m.key = f.key WHERE {sql} LIMIT ?"
    )
    found = candidates_of(db.execute(text, (match, ahead, *values, limit)))
    if len(found) == limit or _matches_at_most(db, match, ahead):
        return found
    return lexical_first(db, match, where, limit)


def _matches_at_most(db: apsw.Connection, match: str, most: int) -> bool:
    row = db.execute("SELECT 1 FROM memory_fts WHERE memory_fts MATCH ? LIMIT 1 OFFSET ?", (match, most))
    return row.fetchone() is None


def filter_first(
    db: apsw.Connection, match: str, where: Filter, driver: int | None, limit: int
) -> list[Candidate]:
    """Collects the keys of the filter; of the words' rows between the least and the greatest, ranks those.

    The unary plus keeps the keys from FTS5: it would run the whole query again for each of them. Without a key
    the bounds must still exclude everything: to FTS5 a bound of NULL is none.
    """
    indexed = None if driver is None else _index_keys(_parts(where))
    if indexed is not None:
        found = _ranked_of_index(db, match, where, indexed, limit)
        if found is not None:
            return found
    sql, values = _keys(where, driver)
    rows = db.execute(
        f"WITH fit AS MATERIALIZED ({sql}) "
        f"SELECT {_WITH_FILES.format(score='-f.score')} FROM (SELECT rowid AS key, {BM25} AS score FROM memory_fts "
        f"WHERE memory_fts MATCH ? AND rowid >= (SELECT coalesce(min(key), {KEY_MAX}) FROM fit) "
        "AND rowid <= (SELECT max(key) FROM fit) "
        "AND +rowid IN (SELECT key FROM fit) ORDER BY score, key DESC LIMIT ?) f "
        "CROSS JOIN memory m ON m.key = f.key",
        (*values, match, limit),
    )
    return candidates_of(rows)


def _ranked_of_index(
    db: apsw.Connection, match: str, where: Filter, keys: Condition, limit: int
) -> list[Candidate] | None:
    """Ranks among the keys that an index lists, then tests the filter on the best; None where too few of them fit.

    Without reading the rows of all keys: of 5,000 that takes 15 ms.
    """
    ahead = limit + limit // 4
    sql, values = condition(where)
    text = (
        f"SELECT {_WITH_FILES.format(score='-f.score')}, {sql} FROM (SELECT rowid AS key, {BM25} AS score "
        f"FROM memory_fts WHERE memory_fts MATCH ? AND +rowid IN ({keys[0]}) ORDER BY score, key DESC LIMIT ?) f "
        "CROSS JOIN memory m ON m.key = f.key"
    )
    rows = db.execute(text, (*values, match, *keys[1], ahead)).fetchall()
    found = candidates_of(row for *row, fits in rows if fits)
    return found[:limit] if len(found) >= limit or len(rows) < ahead else None


def best_fitting(
    db: apsw.Connection, ranked: Ranked, where: Filter, ahead: int, limit: int
) -> list[Candidate]:
    """Tests the filter from the best row on until enough fit.

    Args:
        db: a connection.
        ranked: the rows of the words.
        where: the filter.
        ahead: how many of the best rows are tested at first; while they do not suffice, four times as many.
        limit: most rows of the answer.

    Raises:
        ValueError: a length cannot be read.
    """
    sql, values = condition(where)
    text = (
        "SELECT m.key, m.occurred_us, m.kind, m.workspace, m.paths FROM json_each(?) k "
        f"CROSS JOIN memory m NOT INDEXED ON m.key = k.value WHERE {sql} LIMIT ?"
    )
    found: list[tuple[Any, ...]] = []
    tested = 0
    while True:
        best = ranked.best(ahead)
        scores = dict(best[tested:])
        rows = db.execute(text, (to_list(list(scores)), *values, limit - len(found)))
        found += [(key, scores[key], *rest) for key, *rest in rows]
        if len(found) == limit or len(best) < ahead:
            return candidates_of(found)
        tested, ahead = len(best), 4 * ahead


def holding(db: apsw.Connection, match: str, where: Filter, tested: int, limit: int) -> list[Candidate]:
    """Memories that match and fit, the newer keys first, unranked: that takes a hundredth of what bm25 takes.

    Args:
        db: a connection.
        match: FTS5 expression.
        where: the filter.
        tested: most matching rows that are tested by the filter.
        limit: most rows of the answer.
    """
    sql, values = condition(where)
    rows = db.execute(
        f"SELECT {_WITH_FILES.format(score='0.0')} FROM (SELECT rowid AS key FROM memory_fts "
        "WHERE memory_fts MATCH ? ORDER BY rowid DESC LIMIT ?) f "
        f"CROSS JOIN memory m ON m.key = f.key WHERE {sql} LIMIT ?",
        (match, tested, *values, limit),
    )
    return candidates_of(rows)


def newest(db: apsw.Connection, where: Filter, limit: int) -> list[Candidate]:
    """Walks the index of times from its new end, workspace by workspace, until enough rows fit."""
    parts = _parts(where)
    low, high = _bounds(parts)
    held = tuple(p for p in parts if not _is(p, "workspace", "status") and not isinstance(p, Between))
    sql, values = condition(All(parts=held))
    # One bound a side, or SQLite would walk the index by the wider one and test the other on each entry.
    text = (
        f"SELECT {_COLUMNS.format(score='0.0')} FROM memory m INDEXED BY memory_time WHERE m.workspace = ? "
        f"AND m.status = ? AND m.occurred_us >= ? AND m.occurred_us < ? AND {sql} "
        "ORDER BY m.occurred_us DESC, m.key DESC LIMIT ?"
    )
    found: list[Candidate] = []
    since = low
    for workspace in _workspace_keys(db, parts):
        for status in _statuses(parts):
            found += candidates_of(db.execute(text, (workspace, status, since, high, *values, limit)))
        found.sort(key=lambda c: (c.occurred_us, c.key), reverse=True)
        del found[limit:]
        since = max(low, found[-1].occurred_us) if len(found) == limit else low
    return found


def scan_by(db: apsw.Connection, where: Filter, driver: int, limit: int) -> list[Candidate]:
    """Collects all rows that fit by the index of one condition and keeps the newest."""
    sql, values = _source(where, driver)
    rows = db.execute(
        f"SELECT {_COLUMNS.format(score='0.0')} FROM {sql} ORDER BY m.occurred_us DESC, m.key DESC LIMIT ?",
        (*values, limit),
    )
    return candidates_of(rows)


def _keys(where: Filter, driver: int | None) -> Condition:
    sql, values = _source(where, driver)
    return f"SELECT m.key FROM {sql}", values


def _source(where: Filter, driver: int | None) -> Condition:
    """FROM and WHERE over the rows that fit, read through the driver's index."""
    parts = _parts(where)
    workspaces = _scope(parts)
    keys = None if driver is None else keys_of(parts[driver], workspaces)
    if keys is None:
        return _by_time(parts, workspaces)
    rest = [part for i, part in enumerate(parts) if i != driver or not _is_leaf(part)]
    sql, values = condition(All(parts=tuple(rest)))
    return f"memory m NOT INDEXED WHERE m.key IN ({keys[0]}) AND {sql}", [*keys[1], *values]


def _by_time(parts: Sequence[Filter], workspaces: Condition) -> Condition:
    statuses = _statuses(parts)
    rest = tuple(part for part in parts if not _is(part, "workspace", "status"))
    sql, values = condition(All(parts=rest))
    marks = ", ".join("?" * len(statuses))
    text = f"memory m INDEXED BY memory_time WHERE m.workspace IN ({workspaces[0]}) AND m.status IN ({marks})"
    return f"{text} AND {sql}", [*workspaces[1], *statuses, *values]


def _parts(where: Filter) -> tuple[Filter, ...]:
    return where.parts if isinstance(where, All) else (where,)


def _bounds(parts: Iterable[Filter]) -> tuple[int, int]:
    """The range of times that every such condition leaves, its end excluded."""
    ranges = [part for part in parts if isinstance(part, Between)]
    low = max((one.low for one in ranges if one.low is not None), default=TIME_MIN)
    return low, min((one.high for one in ranges if one.high is not None), default=KEY_MAX)


def _is(part: Filter, *fields: str) -> bool:
    return isinstance(part, In) and part.field in fields


def _is_leaf(part: Filter) -> bool:
    return not isinstance(part, All | AnyOf | Not)


def _scope(parts: Iterable[Filter]) -> Condition:
    """A SELECT of the keys of the workspaces that the filter names, in every such condition."""
    named = [part for part in parts if isinstance(part, In) and part.field == "workspace"]
    if not named:
        return EVERYWHERE
    marks = [", ".join("?" * len(part.values)) for part in named]
    text = " INTERSECT ".join(f"SELECT key FROM workspace WHERE id IN ({each})" for each in marks)
    return text, [value for part in named for value in part.values]


def _workspace_keys(db: apsw.Connection, parts: Sequence[Filter]) -> list[int]:
    text, values = _scope(parts)
    return [int(key) for (key,) in db.execute(text, values)]


def _statuses(parts: Sequence[Filter]) -> tuple[str, ...]:
    named = [set(part.values) for part in parts if isinstance(part, In) and part.field == "status"]
    return tuple(status for status in STATUSES if all(status in values for values in named))


def workspaces_of(db: apsw.Connection, where: Filter) -> list[int]:
    """Keys of the workspaces that a filter names; of all where it names none."""
    return _workspace_keys(db, _parts(where))


def keys_fitting(db: apsw.Connection, where: Filter, driver: int | None) -> array[int]:
    """The keys of the active memories that fit a filter, ascending, read through the index of one of its conditions.

    Where that is its only condition, the index alone is read: memories that are not active may be among them.
    """
    sql, values = _index_keys(_parts(where)) or _keys(where, driver)
    # As one JSON text: of 50,000 keys, rows would cost four times as much.
    text = db.execute(f"WITH fit (key) AS ({sql}) SELECT json_group_array(key) FROM fit", values).get
    return keys_of_list(text)  # a memory may have several of the tags or paths


def is_in_index(where: Filter) -> bool:
    """Whether an index alone says which active memories fit a filter."""
    return _index_keys(_parts(where)) is not None


def _index_keys(parts: Sequence[Filter]) -> Condition | None:
    held = [part for part in parts if not _is(part, "workspace", "status")]
    if not held or _statuses(parts) != ("active",):
        return None
    if all(isinstance(part, Between) for part in held):
        sql, values = _by_time(parts, _scope(parts))
        return f"SELECT m.key FROM {sql}", values
    return keys_of(held[0], _scope(parts)) if len(held) == 1 and _is_leaf(held[0]) else None


def candidates_at(db: apsw.Connection, keys: Sequence[int]) -> list[Candidate]:
    """Memories by key, at most a few hundred, as candidates without words."""
    sql = (
        f"SELECT {_WITH_FILES.format(score='0.0')} FROM json_each(?) k CROSS JOIN memory m ON m.key = k.value"
    )
    return candidates_of(db.execute(sql, (to_list(keys),)))
