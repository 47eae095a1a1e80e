"""Checks a whole store: pages, full-text index, content hashes, references, and what the spool holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import apsw

from retain.errors import StoreCorrupt
from retain.storage import audit
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
    return tuple(_guarded(name, check, reader.connection) for name, check in _CHECKS.items())


def _guarded(name: str, check: Callable[[apsw.Connection], Check], db: apsw.Connection) -> Check:
    """The check's answer; damage that keeps it from one is a problem too, and the other checks go on."""
    try:
        return check(db)
    except (apsw.CorruptError, UnicodeDecodeError) as error:
        return Check(name=name, checked=0, problems=(f"could not be finished: {error}",))


def _pages(db: apsw.Connection) -> Check:
    rows = [str(row[0]) for row in db.execute(f"PRAGMA integrity_check({PROBLEMS_MAX})")]
    return Check(
        name="pages", checked=int(db.pragma("page_count")), problems=tuple(r for r in rows if r != "ok")
    )


def _foreign_keys(db: apsw.Connection) -> Check:
    rows = [
        f"{table} row {row} names no {parent}"
        for table, row, parent, _ in db.execute("PRAGMA foreign_key_check")
    ]
    counted = db.execute("SELECT (SELECT count(*) FROM memory_tag) + (SELECT count(*) FROM memory_path)").get
    return Check(name="references", checked=int(counted), problems=tuple(rows[:PROBLEMS_MAX]))


def _hashes(db: apsw.Connection) -> Check:
    keys = [key for (key,) in db.execute("SELECT key FROM memory")]
    problems = []
    for key in keys:
        try:
            to_memory(db.execute(f"SELECT {COLUMNS} FROM {TABLES} WHERE m.key = ?", (key,)).fetchall()[0])
        except UnicodeDecodeError:
            problems.append(f"row {key} holds a text that is not UTF-8")
        except IndexError:
            problems.append(f"row {key} belongs to no workspace")
        except StoreCorrupt as error:
            problems.append(str(error))
    return Check(name="content hashes", checked=len(keys), problems=tuple(problems[:PROBLEMS_MAX]))


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
    return Check(
        name="duplicates", checked=checked, problems=tuple(f"memory {i} stands twice" for (i,) in rows)
    )


def _revisions(db: apsw.Connection) -> Check:
    """What was superseded names its revision, and a revision names what it superseded."""
    rows = db.execute(
        "SELECT m.id, 'was superseded by nothing' FROM memory m LEFT JOIN memory n ON n.id = m.superseded_by "
        "WHERE m.status = 'superseded' AND n.key IS NULL UNION ALL "
        "SELECT m.id, 'supersedes nothing' FROM memory m LEFT JOIN memory n ON n.id = m.supersedes "
        "WHERE m.supersedes IS NOT NULL AND n.key IS NULL LIMIT ?",
        (PROBLEMS_MAX,),
    ).fetchall()
    checked = int(db.execute("SELECT count(*) FROM memory WHERE status = 'superseded'").get)
    return Check(
        name="revisions", checked=checked, problems=tuple(f"memory {i} {problem}" for i, problem in rows)
    )


def _audit(db: apsw.Connection) -> Check:
    problems = tuple(islice(audit.problems(db), PROBLEMS_MAX))
    return Check(name="audit", checked=audit.head(db)[0], problems=problems)


_CHECKS: dict[str, Callable[[apsw.Connection], Check]] = {
    "pages": _pages,
    "references": _foreign_keys,
    "content hashes": _hashes,
    "full-text index": _index,
    "duplicates": _duplicates,
    "revisions": _revisions,
    "audit": _audit,
}
