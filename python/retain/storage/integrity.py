"""Checks a whole store: pages, full-text index, content hashes, references, and what the spool holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import apsw

from retain.errors import StoreCorrupt
from retain.storage.reads import Reader
from retain.storage.rows import COLUMNS, TABLES, to_memory

PROBLEMS_MAX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check: what was looked at, how many items, and what is wrong with them (at most 20 are named)."""

    name: str
    checked: int
    problems: tuple[str, ...]


def verify(reader: Reader) -> tuple[Check, ...]:
    """Runs every check on one snapshot; reads the whole store."""
    checks: tuple[Callable[[apsw.Connection], Check], ...] = (
        _pages, _foreign_keys, _hashes, _index, _duplicates, _revisions,
    )  # fmt: skip
    return tuple(check(reader.connection) for check in checks)


def _pages(db: apsw.Connection) -> Check:
    rows = [str(row[0]) for row in db.execute(f"PRAGMA integrity_check({PROBLEMS_MAX})")]
    return Check(
        name="pages", checked=int(db.pragma("page_count")), problems=tuple(r for r in rows if r != "ok")
    )


def _foreign_keys(db: apsw.Connection) -> Check:
    rows = [f"{table} row {row} names no {parent}" for table, row, parent, _ in db.execute("PRAGMA foreign_key_check")]
    counted = db.execute("SELECT (SELECT count(*) FROM memory_tag) + (SELECT count(*) FROM memory_path)").get
    return Check(name="references", checked=int(counted), problems=tuple(rows[:PROBLEMS_MAX]))


def _hashes(db: apsw.Connection) -> Check:
    checked, problems = 0, []
    for row in db.execute(f"SELECT {COLUMNS} FROM {TABLES}"):
        checked += 1
        try:
            to_memory(row)
        except (StoreCorrupt, ValueError) as error:
            problems.append(str(error))
    return Check(name="content hashes", checked=checked, problems=tuple(problems[:PROBLEMS_MAX]))


def _index(db: apsw.Connection) -> Check:
    """Each searchable memory has one row in the index, and the index has no others."""
    missing = db.execute(
        "SELECT m.id FROM memory m LEFT JOIN memory_fts_docsize d ON d.id = m.key "
        "WHERE m.status != 'forgotten' AND d.id IS NULL LIMIT ?",
        (PROBLEMS_MAX,),
    ).fetchall()
    extra = db.execute(
        "SELECT d.id FROM memory_fts_docsize d LEFT JOIN memory m ON m.key = d.id "
        "WHERE m.key IS NULL OR m.status = 'forgotten' LIMIT ?",
        (PROBLEMS_MAX,),
    ).fetchall()
    problems = [f"memory {i} is not in the index" for (i,) in missing]
    problems += [f"index row {k} belongs to no memory" for (k,) in extra]
    checked = int(db.execute("SELECT count(*) FROM memory_fts_docsize").get)
    return Check(name="full-text index", checked=checked, problems=tuple(problems[:PROBLEMS_MAX]))


def _duplicates(db: apsw.Connection) -> Check:
    rows = db.execute(
        "SELECT min(id) FROM memory WHERE status = 'active' GROUP BY workspace, dedup HAVING count(*) > 1 LIMIT ?",
        (PROBLEMS_MAX,),
    ).fetchall()
    checked = int(db.execute("SELECT count(*) FROM memory WHERE status = 'active'").get)
    return Check(name="duplicates", checked=checked, problems=tuple(f"memory {i} stands twice" for (i,) in rows))


def _revisions(db: apsw.Connection) -> Check:
    rows = db.execute(
        "SELECT m.id FROM memory m LEFT JOIN memory n ON n.id = m.superseded_by "
        "WHERE m.status = 'superseded' AND n.key IS NULL LIMIT ?",
        (PROBLEMS_MAX,),
    ).fetchall()
    checked = int(db.execute("SELECT count(*) FROM memory WHERE status = 'superseded'").get)
    return Check(
        name="revisions", checked=checked, problems=tuple(f"memory {i} was superseded by nothing" for (i,) in rows)
    )
