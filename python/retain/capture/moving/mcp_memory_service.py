"""mcp-memory-service: the table ``memories`` of ``sqlite_vec.db``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw

from retain.capture.moving.records import Found, Source, clean, item, mapping, texts
from retain.capture.moving.sqlite_files import Row, count, opened, rows
from retain.capture.parse import load_json

DATABASE = "sqlite_vec.db"
KINDS = {
    "decision": "decision", "error": "error", "fix": "fix", "task": "task", "summary": "summary",
    "command": "command",
}  # fmt: skip
"""Its types that are kinds of ours; any other becomes a note with the type as a tag."""


def open_source(place: Path) -> Source:
    """The memories of a database, or of that in a folder.

    Raises:
        InvalidInput: there is none.
    """
    path = place / DATABASE if place.is_dir() else place
    db = opened(path, "memories", "mcp-memory-service")
    return Source(place=str(path), count=count(db, "memories"), records=_records(db, path))


def _records(db: apsw.Connection, path: Path) -> Iterator[Found]:
    for key, row in rows(db, "memories"):
        place = f"{path}: memories {key}"
        if isinstance(row, str):
            yield Found(place=place, skipped=row)
        elif row.get("deleted_at"):
            yield Found(place=place, skipped="was deleted there")
        else:
            yield _found(row, place, key)


def _found(row: Row, place: str, key: int) -> Found:
    text = clean(row.get("content"))
    if not text.strip():
        return Found(place=place, skipped="has no text")
    kind = clean(row.get("memory_type")).strip()
    about = mapping(load_json(clean(row.get("metadata")).encode()))
    tags = [*clean(row.get("tags")).split(","), *texts(about.get("tags"))]
    if kind and kind not in KINDS:
        tags.append(kind)
    record = clean(row.get("content_hash")) or str(key)
    made = item(
        record, text, kind=KINDS.get(kind, "note"), tags=tags,
        at=row.get("created_at") or row.get("created_at_iso"),
    )  # fmt: skip
    return Found(place=place, item=made)
