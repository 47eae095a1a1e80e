"""Erasure: a forgotten memory leaves every table, and nothing of its text stays behind in the file.

SQLite overwrites what it deletes (``secure_delete``), the full-text index is merged so that no entry of the memory
remains, spaces fitted to the texts are given up, and at last every page is written anew. What the audit keeps is
the id, and that it was erased.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import apsw

from retain.storage import spaces
from retain.storage.audit import note
from retain.storage.writes import note_removal

_TABLES = (
    "DELETE FROM memory_vector WHERE memory = ?1 AND space IN (SELECT key FROM vector_space)",
    "DELETE FROM vector_change WHERE memory = ?1",
    "DELETE FROM injection_memory WHERE memory = ?1",
    "DELETE FROM memory_feedback WHERE memory = ?1",
    "DELETE FROM import_memory WHERE memory = ?1",
    "DELETE FROM memory_link WHERE source = ?1 OR target = ?1",
    "DELETE FROM memory_sighting WHERE memory = ?1",
    "DELETE FROM memory_claim WHERE memory = ?1",
    "DELETE FROM memory_claimed WHERE memory = ?1",
    "DELETE FROM memory_tag WHERE memory = ?1",
    "DELETE FROM memory_path WHERE memory = ?1",
    "DELETE FROM memory_body WHERE memory = ?1",
    "DELETE FROM memory_fts WHERE rowid = ?1",
    "UPDATE memory SET supersedes = NULL WHERE supersedes = (SELECT id FROM memory WHERE key = ?1)",
    "UPDATE memory SET superseded_by = NULL WHERE superseded_by = (SELECT id FROM memory WHERE key = ?1)",
    "DELETE FROM memory WHERE key = ?1",
)
SEARCHED_AT_ONCE = 1 << 20


def doomed(db: apsw.Connection, ids: Sequence[str]) -> list[tuple[int, str]]:
    """Key and id of forgotten memories among the ids, and of the versions before them, which say much the same."""
    found: dict[int, str] = {}
    waiting = list(ids)
    while waiting:
        row: Any = db.execute(
            "SELECT key, id, status, supersedes FROM memory WHERE id = ?", (waiting.pop(),)
        ).fetchone()
        if row is None or row[0] in found or row[2] == "active":
            continue
        found[int(row[0])] = str(row[1])
        if row[3]:
            waiting.append(row[3])
    return list(found.items())


def known(db: apsw.Connection, ids: Iterable[str]) -> list[tuple[int, str]]:
    """Key and id of those that the database has, whatever their status."""
    rows: list[Any] = [
        row for one in ids for row in db.execute("SELECT key, id FROM memory WHERE id = ?", (one,)).fetchall()
    ]
    return [(key, name) for key, name in rows]


def forgotten_before(db: apsw.Connection, before_us: int) -> list[str]:
    """Ids of memories that were forgotten before a moment and have not come back since."""
    rows = db.execute(
        "SELECT m.id FROM memory m WHERE m.status = 'forgotten' AND "
        "(SELECT max(at_us) FROM audit a WHERE a.subject = m.id AND a.action = 'forgotten') < ?",
        (before_us,),
    )
    return [str(name) for (name,) in rows]


def erase(db: apsw.Connection, memories: Iterable[tuple[int, str]]) -> int:
    """Takes memories out of every table, inside the caller's transaction; returns how many."""
    db.execute("PRAGMA secure_delete = ON")
    count = 0
    for key, _ in memories:
        for statement in _TABLES:
            db.execute(statement, (key,))
        count += 1
    if count:
        db.execute("UPDATE session SET tracker = '{}'")  # it carries the words of errors from drain to drain
        db.execute("INSERT INTO memory_fts (memory_fts) VALUES ('optimize')")
        note_removal(db)
        spaces.retire_kind(db, "corpus")
        note(db, "erased for good", "store", {"memories": count})
    return count


def write_anew(connection: apsw.Connection) -> bool:
    """Writes every page anew and empties the write-ahead log; False where another reader still needs that.

    Pages keep pieces of what was moved within them, which overwriting what is deleted does not reach.
    """
    connection.execute("VACUUM")
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0]
    return not busy


def files_with(
    folder: Path, needles: Sequence[bytes], *, passing: Collection[str] = ()
) -> tuple[list[str], int, int]:
    """The files below a folder that hold one of the byte strings, how many files were searched, and how many bytes.

    Args:
        folder: searched to its depth; links are not followed.
        needles: what to look for.
        passing: names right in the folder that are left out.
    """
    found, files, size = [], 0, 0
    for path in sorted(one for one in folder.rglob("*") if one.is_file() and not one.is_symlink()):
        if path.parent == folder and path.name in passing:
            continue
        files += 1
        with path.open("rb") as file:
            hit, count = has_any(iter(partial(file.read, SEARCHED_AT_ONCE), b""), needles)
        size += count
        if hit:
            found.append(str(path.relative_to(folder)))
    return found, files, size


def has_any(pieces: Iterable[bytes], needles: Sequence[bytes]) -> tuple[bool, int]:
    """Whether one of the byte strings stands in what is given in pieces, and how many bytes those are."""
    longest = max(map(len, needles), default=0)
    hit, size, tail = False, 0, b""
    for data in pieces:
        size += len(data)
        stretch = tail + data
        hit = hit or any(needle in stretch for needle in needles)
        tail = stretch[-longest:]
    return hit, size
