"""What stands around a memory: the files it names, the memories that share them, its age, the fix of an error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import apsw
import orjson

from retain.model import Filter
from retain.storage.conditions import condition
from retain.storage.reads import Candidate, candidates_of

AGE_RANKS = (0, 25, 50, 100, 200, 400, 800)
"""How many newer memories stand before the moments of ``moments``."""

EARLIEST, LATEST = -(1 << 62), 1 << 62
RELEASING_KINDS = ("commit", "command")

File = tuple[int, str]
"""A path in a workspace, by the workspace's key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """What ended an error, and the key of the error."""

    error: int
    fix: Candidate


def files_of(candidates: Sequence[Candidate]) -> dict[int, tuple[File, ...]]:
    """The files that each memory names; a memory that names none is left out."""
    naming = [c for c in candidates if c.paths != "[]"]
    lists = orjson.loads(f"[{','.join(c.paths for c in naming)}]")  # in one call: a third of the time
    return {
        c.key: tuple([(c.workspace, path) for path in paths]) for c, paths in zip(naming, lists, strict=True)
    }


def sharing(
    db: apsw.Connection, files: Iterable[File], where: Filter, most: int
) -> Mapping[File, Sequence[Candidate]]:
    """The memories that name each file and fit the filter; files that more than ``most`` name are left out.

    Args:
        db: a connection.
        files: each is looked up in the index of paths.
        where: a filter in normal form.
        most: memories in which a file may stand, whether they fit or not.
    """
    sql, values = condition(where)
    found = {}
    for workspace, path in files:
        count = db.execute(
            "SELECT count(*) FROM (SELECT 1 FROM memory_path WHERE workspace = ? AND path = ? LIMIT ?)",
            (workspace, path, most + 1),
        ).get
        if not 1 < int(count) <= most:
            continue
        rows = db.execute(
            "SELECT m.key, 0.0, m.occurred_us, m.kind FROM memory_path p CROSS JOIN memory m ON m.key = p.memory "
            f"WHERE p.workspace = ? AND p.path = ? AND {sql}",
            (workspace, path, *values),
        )
        found[workspace, path] = candidates_of(rows)
    return found


def moments(db: apsw.Connection, workspace: str, until_us: int | None) -> tuple[int, ...]:
    """When the active memories of a workspace happened that have ``AGE_RANKS`` newer ones before them.

    Only memories from before ``until_us`` count. Newest first; shorter where there are fewer memories.
    """
    row = db.execute("SELECT key FROM workspace WHERE id = ?", (workspace,)).fetchone()
    if row is None:
        return ()
    found = []
    for rank in AGE_RANKS:
        moment = db.execute(
            "SELECT occurred_us FROM memory INDEXED BY memory_time WHERE workspace = ? AND status = 'active' "
            "AND occurred_us < ? ORDER BY occurred_us DESC LIMIT 1 OFFSET ?",
            (row[0], 1 << 62 if until_us is None else until_us, rank),
        ).get
        if moment is None:
            break
        found.append(int(moment))
    return tuple(found)


def fixes_of(db: apsw.Connection, errors: Sequence[int], where: Filter) -> list[Fix]:
    """The fixes that fit the filter and are linked to one of these errors, the newest first."""
    sql, values = condition(where)
    marks = ", ".join("?" * len(errors))
    rows = db.execute(
        "SELECT l.target, m.key, m.occurred_us, m.kind FROM memory_link l CROSS JOIN memory m ON m.key = l.source "
        f"WHERE l.kind = 'fixes' AND l.target IN ({marks}) AND {sql} ORDER BY m.occurred_us DESC, m.key DESC",
        (*errors, *values),
    )
    return [
        Fix(error=error, fix=Candidate(key=key, bm25=0.0, occurred_us=us, kind=kind))
        for error, key, us, kind in rows
    ]


def has_any(db: apsw.Connection, workspaces: Iterable[int], low: int | None, high: int | None) -> bool:
    """Whether an active memory of these workspaces happened between two moments."""
    return any(
        db.execute(
            "SELECT 1 FROM memory INDEXED BY memory_time WHERE workspace = ? AND status = 'active' "
            "AND occurred_us >= ? AND occurred_us < ? LIMIT 1",
            (workspace, EARLIEST if low is None else low, LATEST if high is None else high),
        ).get
        for workspace in workspaces
    )


def outside(db: apsw.Connection, where: Filter, low: int | None, high: int | None) -> int:
    """How many memories that fit a filter did not happen between two moments."""
    sql, values = condition(where)
    count = db.execute(
        f"SELECT count(*) FROM memory m WHERE {sql} AND NOT (m.occurred_us >= ? AND m.occurred_us < ?)",
        (*values, EARLIEST if low is None else low, LATEST if high is None else high),
    ).get
    return int(count)


def release_moment(db: apsw.Connection, workspaces: Iterable[int], words: Sequence[str]) -> int | None:
    """When the newest commit or command happened whose title or text holds all these words side by side.

    That is where a session leaves its releases: the message of their commit, or the tag that was set.
    """
    phrase = " ".join(word.replace('"', "") for word in words)
    found = [
        moment
        for workspace in workspaces
        for kind in RELEASING_KINDS
        if (
            moment := db.execute(
                "SELECT m.occurred_us FROM memory_fts f CROSS JOIN memory m ON m.key = f.rowid "
                "WHERE memory_fts MATCH ? AND m.workspace = ? AND m.kind = ? AND m.status = 'active' "
                "ORDER BY m.occurred_us DESC LIMIT 1",
                (f'{{title body}}: "{phrase}"', workspace, kind),
            ).get
        )
        is not None
    ]
    return max(found, default=None)
