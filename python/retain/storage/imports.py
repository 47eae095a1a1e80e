"""Imports in the store: runs, what each stored, what was read, and how a run is taken back.

Each function works inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apsw
import orjson

from retain.errors import Conflict, NotFound
from retain.storage.rows import to_json
from retain.storage.writes import Added, forget

RUNNING, DONE, UNDONE = "running", "done", "undone"

KEYS_A_QUERY = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One import as the store knows it."""

    key: int
    id: str
    source: str
    place: str
    status: str
    started_us: int
    ended_us: int | None
    report: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """What taking a run back did: memories forgotten, and those that stay because others stored them too."""

    forgotten: int
    kept: int


def start_run(db: apsw.Connection, *, run_id: str, source: str, place: str, now_us: int) -> Run:
    """The unfinished run of this source and place, or a new one: a run that was cut short goes on."""
    row = db.execute(
        "SELECT id FROM import_run WHERE source = ? AND place = ? AND status = ? ORDER BY key DESC LIMIT 1",
        (source, place, RUNNING),
    ).fetchone()
    if row is None:
        db.execute(
            "INSERT INTO import_run (id, source, place, status, started_us) VALUES (?, ?, ?, ?, ?)",
            (run_id, source, place, RUNNING, now_us),
        )
    return run_by_id(db, row[0] if row else run_id)


def finish_run(db: apsw.Connection, run: int, report: Mapping[str, Any], now_us: int) -> None:
    """Marks a run as done and keeps its report."""
    db.execute(
        "UPDATE import_run SET status = ?, ended_us = ?, report = ? WHERE key = ?",
        (DONE, now_us, to_json(dict(report)), run),
    )


def run_by_id(db: apsw.Connection, run_id: str) -> Run:
    """The run with this id.

    Raises:
        NotFound: there is none.
    """
    found = _runs(db, "WHERE id = ?", (run_id,))
    if not found:
        raise NotFound(f"id: no import {run_id}", hint="`retain import list` shows them")
    return found[0]


def runs(db: apsw.Connection) -> list[Run]:
    """Every run, oldest first."""
    return _runs(db, "ORDER BY key", ())


def _runs(db: apsw.Connection, where: str, values: tuple[Any, ...]) -> list[Run]:
    rows = db.execute(
        f"SELECT key, id, source, place, status, started_us, ended_us, report FROM import_run {where}",
        values,
    )
    names = ("key", "id", "source", "place", "status", "started_us", "ended_us")
    return [Run(**dict(zip(names, row[:-1], strict=True)), report=orjson.loads(row[-1])) for row in rows]


def note_memory(db: apsw.Connection, run: int, added: Added) -> None:
    """Keeps that a run stored a memory, or merged into it."""
    if not (added.created or added.counted):
        return
    db.execute(
        "INSERT INTO import_memory VALUES (?, ?, ?, ?) "
        "ON CONFLICT (run, memory) DO UPDATE SET created = max(created, excluded.created), "
        "merged = merged + excluded.merged",
        (run, added.key, added.created, added.counted),
    )


def newest_version(db: apsw.Connection, run: int, workspace: int, stem: str) -> tuple[str, str] | None:
    """Id and source_id of the active memory that an earlier run made of the same record."""
    row = db.execute(
        "SELECT id, source_id FROM memory WHERE workspace = ? AND source_id >= ? AND source_id < ? "
        "AND status = 'active' AND key NOT IN (SELECT memory FROM import_memory WHERE run = ? AND created) "
        "ORDER BY key DESC LIMIT 1",
        (workspace, f"{stem}@", f"{stem}A", run),
    ).fetchone()
    return (row[0], row[1]) if row else None


def finished_files(db: apsw.Connection) -> dict[bytes, tuple[int, int]]:
    """Size and time of every transcript that was told to its end."""
    rows = db.execute("SELECT path, size, mtime_ns FROM import_file")
    return {path: (size, mtime_ns) for path, size, mtime_ns in rows}


def known_sessions(db: apsw.Connection) -> set[str]:
    """The ids of every session of which an event was captured or imported."""
    return {session for (session,) in db.execute("SELECT id FROM session")}


def finish_file(db: apsw.Connection, run: int, path: bytes, size: int, mtime_ns: int) -> None:
    """Keeps that a transcript was told to its end."""
    db.execute("INSERT OR REPLACE INTO import_file VALUES (?, ?, ?, ?)", (path, run, size, mtime_ns))


def note_event(db: apsw.Connection, run: int, copy: bytes, event: str, *, own: bool) -> None:
    """Keeps that what a fork would copy has been told, under which receipt, and whether the run wrote that."""
    db.execute("INSERT OR IGNORE INTO import_event VALUES (?, ?, ?, ?)", (copy, run, event, own))


def told_copies(db: apsw.Connection, copies: Sequence[bytes]) -> set[bytes]:
    """Those of the events that were told before, in this session or in one that it was forked from."""
    return {row[0] for row in _many(db, "SELECT copy FROM import_event WHERE copy IN", copies)}


def with_receipts(db: apsw.Connection, events: Sequence[str]) -> set[str]:
    """Those of the events that have a receipt."""
    return {row[0] for row in _many(db, "SELECT id FROM event_receipt WHERE id IN", events)}


def captured_by_hooks(db: apsw.Connection, workspace: int, session: str) -> list[tuple[str, str, int]]:
    """Id, name and time of the events of a session that hooks brought, in order of time."""
    rows = db.execute(
        "SELECT id, name, received_us FROM event_receipt r WHERE workspace = ? AND session = ? "
        "AND NOT EXISTS (SELECT 1 FROM import_event i WHERE i.event = r.id) ORDER BY received_us",
        (workspace, session),
    )
    return [(str(event), str(name), int(at_us)) for event, name, at_us in rows]


def _many(db: apsw.Connection, select: str, values: Sequence[Any]) -> Iterable[tuple[Any, ...]]:
    for start in range(0, len(values), KEYS_A_QUERY):
        part = values[start : start + KEYS_A_QUERY]
        yield from db.execute(f"{select} ({','.join('?' * len(part))})", tuple(part))


def undo_run(db: apsw.Connection, run_id: str, reason: str, now_us: int) -> Undone:
    """Tombstones what a run created; what others stored as well stays. The run can be made again afterwards.

    The tombstones give their source_id free, and what the run had replaced is active again.

    Raises:
        NotFound: no such run.
        Conflict: it was undone before.
    """
    run = run_by_id(db, run_id)
    if run.status == UNDONE:
        raise Conflict(f"id: import {run_id} is undone already")
    rows = db.execute(
        "SELECT m.id FROM import_memory i JOIN memory m ON m.key = i.memory "
        "WHERE i.run = ? AND i.created AND m.status = 'active' AND m.seen <= 1 + i.merged",
        (run.key,),
    ).fetchall()
    for (memory_id,) in rows:
        _take_back(db, str(memory_id), reason)
    kept = db.execute(
        "SELECT count(*) FROM import_memory i JOIN memory m ON m.key = i.memory "
        "WHERE i.run = ? AND i.created AND m.status != 'forgotten'",
        (run.key,),
    ).get
    for table in ("event_receipt", "dead_letter"):
        db.execute(
            f"DELETE FROM {table} WHERE id IN (SELECT event FROM import_event WHERE run = ? AND own)",
            (run.key,),
        )
    db.execute("DELETE FROM import_event WHERE run = ?", (run.key,))
    db.execute("DELETE FROM import_file WHERE run = ?", (run.key,))
    db.execute("UPDATE import_run SET status = ?, ended_us = ? WHERE key = ?", (UNDONE, now_us, run.key))
    return Undone(forgotten=len(rows), kept=int(kept))


def _take_back(db: apsw.Connection, memory_id: str, reason: str) -> None:
    forget(db, memory_id, reason)
    db.execute("UPDATE memory SET source_id = NULL WHERE id = ?", (memory_id,))
    db.execute(
        "UPDATE OR IGNORE memory SET status = 'active', superseded_by = NULL, reason = NULL "
        "WHERE superseded_by = ? AND status = 'superseded'",
        (memory_id,),
    )
