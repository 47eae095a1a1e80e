"""Whole memories out of a store and into one again, with ids, times, status and links."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import apsw
import orjson

from retain.model import Draft, Memory, from_us, to_us
from retain.storage.audit import note
from retain.storage.later import Later
from retain.storage.rows import COLUMNS, TABLES, dedup_hash, to_memory
from retain.storage.truth import add_sightings, sightings
from retain.storage.writes import Added, NewMemory, index_again, insert_memory, link

ROWS_AT_ONCE = 500

_AS_THEY_ARE = (
    "text", "title", "kind", "origin", "branch", "commit", "session", "paths", "symbols", "tags", "source_id",
    "extra", "redacted", "worktree", "dirty", "blobs",
)  # fmt: skip


def export_rows(db: apsw.Connection, workspace: int | None) -> Iterator[dict[str, Any]]:
    """Every memory in the order in which it was stored, as a record of plain values; None takes every workspace."""
    last = 0
    where = "m.key > ?1 AND (?2 IS NULL OR m.workspace = ?2)"
    sql = f"SELECT {COLUMNS} FROM {TABLES} WHERE {where} ORDER BY m.key LIMIT ?3"
    while True:
        rows: list[Any] = db.execute(sql, (last, workspace, ROWS_AT_ONCE)).fetchall()
        for row in rows:
            last = row[0]
            yield record_of(db, last, to_memory(row))
        if not rows:
            return


def record_of(db: apsw.Connection, key: int, memory: Memory) -> dict[str, Any]:
    """A memory with its workspace and its links as a record of plain values."""
    place: Any = db.execute(
        "SELECT id, identity, name, root FROM workspace WHERE id = ?", (memory.workspace,)
    ).fetchall()[0]
    links = db.execute(
        "SELECT l.kind, t.id FROM memory_link l JOIN memory t ON t.key = l.target WHERE l.source = ? ORDER BY 1, 2",
        (key,),
    ).fetchall()
    return {
        "id": memory.id,
        "workspace": dict(zip(("id", "identity", "name", "root"), place, strict=True)),
        "kind": memory.kind,
        "title": memory.title,
        "text": memory.text,
        "paths": memory.paths,
        "symbols": memory.symbols,
        "tags": memory.tags,
        "origin": memory.origin,
        "trust": memory.trust,
        "held": memory.held,
        "status": memory.status,
        "branch": memory.branch,
        "commit": memory.commit,
        "worktree": memory.worktree,
        "dirty": memory.dirty,
        "blobs": memory.blobs,
        "sightings": sightings(db, key),
        "session": memory.session,
        "occurred_us": to_us(memory.occurred_at),
        "recorded_us": to_us(memory.recorded_at),
        "seen": memory.seen,
        "source_id": memory.source_id,
        "supersedes": memory.supersedes,
        "superseded_by": memory.superseded_by,
        "reason": memory.reason,
        "extra": memory.extra,
        "redacted": memory.redacted,
        "links": links,
    }


def import_row(db: apsw.Connection, workspace: int, record: Mapping[str, Any], now_us: int) -> Added | str:
    """Stores a record as the memory that it was, or says why not; an id that is there changes nothing."""
    known: Any = db.execute("SELECT key FROM memory WHERE id = ?", (record["id"],)).get
    if known is not None:
        return Added(id=record["id"], key=known, created=False)
    fields: dict[str, Any] = {name: record[name] for name in _AS_THEY_ARE}
    draft = Draft(
        **fields,
        occurred_at=from_us(record["occurred_us"]),
    )
    if reason := _in_the_way(db, workspace, draft, record["status"]):
        return reason
    new = NewMemory(id=record["id"], workspace=workspace, draft=draft, now_us=now_us)
    later = Later()
    key = insert_memory(db, new, later, status=record["status"])
    later.flush(db)
    db.execute(
        "UPDATE memory SET recorded_us = ?, seen = ?, supersedes = ?, superseded_by = ?, reason = ? WHERE key = ?",
        (*(record[n] for n in ("recorded_us", "seen", "supersedes", "superseded_by", "reason")), key),
    )
    if record["trust"] is not None:  # of whoever keeps what a file says, or of a copy of this very store
        db.execute(
            "UPDATE memory SET trust = ?, held = ? WHERE key = ?", (record["trust"], record["held"], key)
        )
    add_sightings(db, key, record["sightings"])
    if record["status"] != "active":
        note(db, record["status"], record["id"])
    if record["status"] != "forgotten":
        index_again(db, key)
    return Added(id=record["id"], key=key, created=True)


def import_links(db: apsw.Connection, source: str, links: Sequence[Sequence[str]]) -> None:
    """Links a memory to those of its links that are there."""
    for kind, target in links:
        row: Any = db.execute(
            "SELECT s.key, t.key FROM memory s, memory t WHERE s.id = ? AND t.id = ?", (source, target)
        ).fetchone()
        if row:
            link(db, row[0], row[1], kind)


def _in_the_way(db: apsw.Connection, workspace: int, draft: Draft, status: str) -> str:
    if status == "active":
        twin = db.execute(
            "SELECT id FROM memory WHERE workspace = ? AND dedup = ? AND status = 'active'",
            (workspace, dedup_hash(draft)),
        ).get
        if twin:
            return f"memory {twin} says exactly this"
    if draft.source_id is not None:
        other = db.execute(
            "SELECT id FROM memory WHERE workspace = ? AND source_id = ?", (workspace, draft.source_id)
        ).get
        if other:
            return f"its source_id is that of memory {other}"
    return ""


def as_line(record: Mapping[str, Any]) -> bytes:
    """The record as one line of JSON, always the same bytes for the same memory."""
    return bytes(orjson.dumps(record)) + b"\n"
