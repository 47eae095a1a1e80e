"""claude-mem: observations, summaries of sessions, and prompts, of ``claude-mem.db``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw

from retain.capture.moving.records import Found, Item, Source, clean, item, texts
from retain.capture.moving.sqlite_files import Row, count, opened, rows
from retain.capture.parse import load_json

DATABASE = "claude-mem.db"
KINDS = {"decision": "decision", "bugfix": "fix"}
"""What an observation of a type becomes; of any other, a note."""
SUMMARY_PARTS = (
    ("request", "Asked"), ("investigated", "Investigated"), ("learned", "Learned"),
    ("completed", "Completed"), ("next_steps", "Next"), ("notes", "Notes"),
)  # fmt: skip


def open_source(place: Path) -> Source:
    """The records of a database, or of that in a folder.

    Raises:
        InvalidInput: there is none.
    """
    path = place / DATABASE if place.is_dir() else place
    db = opened(path, "observations", "claude-mem")
    return Source(
        place=str(path), count=sum(count(db, table) for table in TABLES), records=_records(db, path)
    )


def _records(db: apsw.Connection, path: Path) -> Iterator[Found]:
    for table, read in TABLES.items():
        for key, row in rows(db, table):
            place = f"{path}: {table} {key}"
            if isinstance(row, str):
                yield Found(place=place, skipped=row)
                continue
            made = read(row, f"{table}/{key}")
            yield Found(place=place, item=made, skipped="" if made else "has no text")


def _observation(row: Row, record: str) -> Item | None:
    facts = _list(row, "facts")
    parts = [
        _said(row, "subtitle"),
        _said(row, "narrative") or _said(row, "text"),
        *(f"- {fact}" for fact in facts),
    ]
    text = "\n".join(part for part in parts if part)
    title = _said(row, "title")
    if not (text or title):
        return None
    kind = _said(row, "type")
    return item(
        record, text or title, title=title, kind=KINDS.get(kind, "note"),
        paths=[*_list(row, "files_modified"), *_list(row, "files_read")],
        tags=_tags(row, kind, *_list(row, "concepts")), at=_at(row),
    )  # fmt: skip


def _summary(row: Row, record: str) -> Item | None:
    parts = [f"{label}: {said}" for name, label in SUMMARY_PARTS if (said := _said(row, name))]
    if not parts:
        return None
    return item(
        record, "\n".join(parts), title=_said(row, "request"), kind="summary",
        paths=[*_list(row, "files_edited"), *_list(row, "files_read")], tags=_tags(row, "session"), at=_at(row),
    )  # fmt: skip


def _prompt(row: Row, record: str) -> Item | None:
    text = _said(row, "prompt_text")
    return item(record, text, kind="prompt", at=_at(row)) if text else None


TABLES: dict[str, Callable[[Row, str], Item | None]] = {
    "observations": _observation,
    "session_summaries": _summary,
    "user_prompts": _prompt,
}


def _said(row: Row, name: str) -> str:
    return clean(row.get(name)).strip()


def _list(row: Row, name: str) -> list[str]:
    """A list that is kept as JSON; a version that kept one text gives that."""
    text = _said(row, name)
    value = load_json(text.encode()) if text.startswith("[") else None
    return texts(value) if isinstance(value, list) else [text] if text else []


def _tags(row: Row, *tags: str) -> list[str]:
    project = _said(row, "project")
    return [tag for tag in ("claude-mem", *tags, f"project:{project}" if project else "") if tag]


def _at(row: Row) -> Any:
    return row.get("created_at_epoch") or row.get("created_at")
