"""What is damaged in a store, and what can be done about it: whole again from a backup, or set apart.

Every memory carries the hash of its content. A row whose text no longer fits is shown by nothing. Mending looks for
the same memory in other copies of the store; where none has it whole, the row is tombstoned, kept, and named.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apsw

from retain.errors import StoreCorrupt
from retain.model import Memory
from retain.storage.exports import import_links, import_row, record_of
from retain.storage.rows import COLUMNS, TABLES, split_body, to_memory
from retain.storage.vectors import drop_vectors
from retain.storage.writes import add_workspace, index_again

SET_APART = "damaged: its text is not the one that was stored, and no backup has it"


def damaged(db: apsw.Connection) -> list[tuple[int, str]]:
    """Key and id of each memory that cannot be read as it was stored; those set apart before are left out."""
    rows: list[Any] = db.execute(
        "SELECT key, id FROM memory WHERE status != 'forgotten' OR reason IS NOT ?", (SET_APART,)
    ).fetchall()
    return [(key, name) for key, name in rows if _whole(db, key) is None]


def mend_from(db: apsw.Connection, key: int, other: apsw.Connection) -> bool:
    """Takes the text of a memory from another copy of the store, if that has it whole; False where it has not."""
    named: Any = db.execute("SELECT id, hex(content_hash) FROM memory WHERE key = ?", (key,)).fetchall()[0]
    found: Any = other.execute("SELECT key FROM memory WHERE id = ?", (named[0],)).get
    whole = None if found is None else _whole(other, found)
    if whole is None or whole.content_hash != named[1].lower():
        return False
    body, apart = split_body(whole.text)
    db.execute("UPDATE memory SET title = ?, body = ? WHERE key = ?", (whole.title, body, key))
    db.execute("DELETE FROM memory_body WHERE memory = ?", (key,))
    if apart is not None:
        db.execute("INSERT INTO memory_body (memory, codec, data) VALUES (?, ?, ?)", (key, *apart))
    for column in ("paths", "symbols", "tags", "extra", "redacted"):
        value: Any = other.execute(f"SELECT {column} FROM memory WHERE key = ?", (found,)).get
        db.execute(f"UPDATE memory SET {column} = ? WHERE key = ?", (value, key))
    return _whole(db, key) is not None


def set_apart(db: apsw.Connection, key: int) -> None:
    """Tombstones a memory that nothing can mend: its row stays for whoever can read it."""
    db.execute("UPDATE memory SET status = 'forgotten', reason = ? WHERE key = ?", (SET_APART, key))
    db.execute("DELETE FROM memory_fts WHERE rowid = ?", (key,))
    drop_vectors(db, key)


def mend_index(db: apsw.Connection) -> int:
    """Gives each memory that can be found its one row in the full-text index, and takes out the others."""
    extra = db.execute(
        "SELECT d.id FROM memory_fts_docsize d LEFT JOIN memory m ON m.key = d.id "
        "WHERE m.key IS NULL OR m.status = 'forgotten'"
    ).fetchall()
    db.executemany("DELETE FROM memory_fts WHERE rowid = ?", extra)
    missing: list[Any] = db.execute(
        "SELECT m.key FROM memory m LEFT JOIN memory_fts_docsize d ON d.id = m.key "
        "WHERE m.status != 'forgotten' AND d.id IS NULL"
    ).fetchall()
    for (key,) in missing:
        index_again(db, key)
    return len(extra) + len(missing)


def reindex(db: apsw.Connection, after: int, most: int) -> tuple[int, int]:
    """Writes the words of the next memories into the full-text index anew; returns the last key and how many.

    Args:
        db: a connection that writes.
        after: the key behind which to go on.
        most: memories in this step.
    """
    keys: list[int] = [
        key
        for (key,) in db.execute(
            "SELECT d.id FROM memory_fts_docsize d JOIN memory m ON m.key = d.id "
            "WHERE d.id > ? AND m.status != 'forgotten' ORDER BY d.id LIMIT ?",
            (after, most),
        )
    ]
    for key in keys:
        if _whole(db, key) is not None:
            db.execute("DELETE FROM memory_fts WHERE rowid = ?", (key,))
            index_again(db, key)
    return (keys[-1] if keys else after), len(keys)


def salvage(source: apsw.Connection, target: apsw.Connection, now_us: int) -> tuple[int, int]:
    """Stores every whole memory of a damaged store that another store lacks; returns how many, and how many are lost.

    Each row is read by itself, so that one damaged page costs only what lies on it. The damaged store may be of an
    older schema; it is not changed.
    """
    _read_as_today(source)
    saved = lost = 0
    places: dict[str, int] = {}
    for key in _keys(source):
        try:
            memory = _whole(source, key)
            if memory is None:
                lost += bool(source.execute("SELECT 1 FROM memory WHERE key = ?", (key,)).fetchone())
                continue
            if target.execute("SELECT 1 FROM memory WHERE id = ?", (memory.id,)).fetchone():
                continue
            record = record_of(source, key, memory)
        except (apsw.Error, UnicodeDecodeError):
            lost += 1
            continue
        if memory.workspace not in places:
            place = record["workspace"]
            places[memory.workspace] = add_workspace(
                target, workspace_id=place["id"], identity=place["identity"], name=place["name"],
                root=place["root"], alias=f"salvaged:{place['identity']}", now_us=now_us,
            )  # fmt: skip
        answer = import_row(target, places[memory.workspace], record, now_us)
        if not isinstance(answer, str) and answer.created:
            saved += 1
            import_links(target, memory.id, record["links"])
    return saved, lost


_SINCE = {"worktree": "NULL", "dirty": "NULL", "blobs": "NULL", "held": "NULL"}
"""Columns of memories that older schemas lack, and what is read in their place."""
_TRUST = (
    "CASE origin WHEN 'user' THEN 'user' WHEN 'hook' THEN 'observed' WHEN 'assistant' THEN "
    "iif(EXISTS (SELECT 1 FROM temp.had_read r WHERE r.session = m.session AND r.at_us <= m.occurred_us), "
    "'untrusted', 'claimed') ELSE 'untrusted' END"
)
_HAD_READ = (
    "INSERT INTO temp.had_read SELECT session, min(occurred_us) FROM main.memory "
    "WHERE kind = 'search' AND extra ->> 'tool' IN ('WebFetch', 'WebSearch') GROUP BY session"
)


def _read_as_today(db: apsw.Connection) -> None:
    """Lets a store of an older schema be read as one of today, by views of this connection; its file stays as it is.

    Migrating it would write where pages are damaged. How far its memories may be believed follows from their origin and
    from what their sessions read; where that cannot be read, what assistants said is not believed.
    """
    try:
        there = {str(row[1]) for row in db.execute("PRAGMA main.table_info(memory)")}
        missing = {name: value for name, value in _SINCE.items() if name not in there}
        if "trust" not in there:
            missing["trust"] = _TRUST
            db.execute("CREATE TEMP TABLE had_read (session TEXT, at_us INTEGER)")
            try:
                db.execute(_HAD_READ)
            except apsw.Error:
                missing["trust"] = _TRUST.replace("'claimed'", "'untrusted'")
        if there and missing:
            told = ", ".join(f"{value} AS {name}" for name, value in missing.items())
            db.execute(f"CREATE TEMP VIEW memory AS SELECT m.*, {told} FROM main.memory m")
        if not db.execute("SELECT 1 FROM main.sqlite_schema WHERE name = 'memory_sighting'").fetchone():
            db.execute(
                "CREATE TEMP TABLE memory_sighting (memory INTEGER, branch TEXT, commit_id TEXT, at_us INTEGER)"
            )
    except apsw.Error:
        return  # what can be read of it is read as it is


def _keys(db: apsw.Connection) -> Iterator[int]:
    """Every key up to the largest that can be read: pages between may be damaged."""
    try:
        top: Any = db.execute("SELECT max(key) FROM memory").get
    except apsw.Error:
        return
    yield from range(1, int(top or 0) + 1)


def _whole(db: apsw.Connection, key: int) -> Memory | None:
    """The memory if it is what was stored; None where it is damaged, or there is none with this key.

    Raises:
        apsw.Error: its page cannot be read.
    """
    try:
        rows = db.execute(f"SELECT {COLUMNS} FROM {TABLES} WHERE m.key = ?", (key,)).fetchall()
        return to_memory(rows[0])
    except (StoreCorrupt, UnicodeDecodeError, IndexError):
        return None
