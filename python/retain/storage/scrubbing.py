"""Taking out of the store what newer rules call a secret; each function inside the caller's transaction.

A memory that is rewritten keeps its id, times and history; its hashes, words and vectors are made anew, and the audit
notes that it was rewritten. Where it then says what another one says, it is forgotten in favour of that one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import apsw
import orjson

from retain.errors import StoreCorrupt
from retain.model import Draft, Memory
from retain.storage import spaces
from retain.storage.rows import COLUMNS, TABLES, content_hash, dedup_hash, split_body, to_json, to_memory
from retain.storage.vectors import drop_vectors
from retain.storage.writes import STATISTICS_FACT, index_again, note_removal

Clean = Callable[[Any], tuple[Any, Mapping[str, int]]]
"""Takes a text or a JSON value and gives it back without its secrets, with their number by rule."""

_TEXTS = ("title", "text", "branch", "reason", "source_id")
_VALUES = ("paths", "symbols", "tags", "extra", "blobs")
_OTHERS = (
    ("session", ("workspace", "id"), "tracker", "json"),
    ("session", ("workspace", "id"), "source", "text"),
    ("session", ("workspace", "id"), "end_reason", "text"),
    ("session_taint", ("workspace", "session", "source", "detail"), "detail", "text"),
    ("workspace", ("key",), "name", "text"),
    ("dead_letter", ("id",), "payload", "bytes"),
    ("dead_letter", ("id",), "error", "text"),
    ("import_run", ("key",), "place", "text"),
    ("import_run", ("key",), "report", "json"),
)
"""Columns besides those of memories that hold what a user or a tool wrote: table, key, column, form.

Folders of this machine are not among them: by these names they are found again.
"""
_REMOTE = "git:"
"""How the identity of a repository begins; any other is a folder."""


@dataclass(slots=True)
class Scrubbed:
    """What was taken out: memories that were rewritten, those that then said what another says, other rows."""

    rewritten: int = 0
    merged: int = 0
    rows: int = 0
    unreadable: int = 0
    rules: Counter[str] = field(default_factory=Counter)

    def add(self, other: Scrubbed) -> None:
        """Counts another part of the work in."""
        self.rewritten += other.rewritten
        self.merged += other.merged
        self.rows += other.rows
        self.unreadable += other.unreadable
        self.rules.update(other.rules)


def texts_of(memory: Memory) -> Iterator[tuple[str, str]]:
    """Name and text of every field of a memory in which a secret could stand."""
    for name in _TEXTS:
        if text := getattr(memory, name):
            yield name, text
    for name in _VALUES:
        if value := getattr(memory, name):
            yield name, to_json(value)


def stretch(db: apsw.Connection, above: int, most: int) -> list[tuple[int, Memory | None]]:
    """Key and memory of the rows behind a key, at most so many; None where a row cannot be read."""
    rows: list[Any] = db.execute(
        f"SELECT {COLUMNS} FROM {TABLES} WHERE m.key > ? ORDER BY m.key LIMIT ?", (above, most)
    ).fetchall()
    return [(int(row[0]), _readable(row)) for row in rows]


def suspects(db: apsw.Connection, above: int, most: int, clean: Clean) -> tuple[int | None, list[int], int]:
    """Looks through a stretch of memories.

    Returns:
        The last key that was looked at (None: there is none), the keys of those that hold a secret, and how many
        could not be read.
    """
    found = stretch(db, above, most)
    if not found:
        return None, [], 0
    dirty = {key for key, memory in found if memory and _cleaned(memory, clean)[1]}
    dirty |= {said.memory for said in _beside(db, above + 1, found[-1][0]) if clean(said.text)[1]}
    return found[-1][0], sorted(dirty), sum(memory is None for _, memory in found)


def rewrite(db: apsw.Connection, keys: Sequence[int], clean: Clean) -> Scrubbed:
    """Rewrites memories without their secrets; nothing of these is left in pages that are freed."""
    done = Scrubbed()
    db.execute("PRAGMA secure_delete = ON")
    for key in keys:
        row = db.execute(f"SELECT {COLUMNS} FROM {TABLES} WHERE m.key = ?", (key,)).fetchone()
        memory = _readable(row) if row else None
        done.add(_rewrite_beside(db, key, clean))
        if memory is None:
            continue
        cleaned, rules = _cleaned(memory, clean)
        if rules:
            done.rewritten += 1
            done.rules.update(rules)
            done.merged += _store(db, key, cleaned)
    if done.rewritten:
        _words_anew(db)
    if done.rewritten or done.rows:
        note_removal(db)
    return done


def rewrite_rest(db: apsw.Connection, clean: Clean) -> Scrubbed:
    """Rewrites what stands beside memories: what sessions carry, dead letters, imports."""
    done = Scrubbed()
    db.execute("PRAGMA secure_delete = ON")
    for table, keys, column, form in _OTHERS:
        names = ", ".join(keys)
        for *key, value in db.execute(f"SELECT {names}, {column} FROM {table}").fetchall():
            changed, rules = _other(value, form, clean)
            if rules:
                where = " AND ".join(f"{name} = ?" for name in keys)
                db.execute(f"UPDATE OR REPLACE {table} SET {column} = ? WHERE {where}", (changed, *key))
                done.rows += 1
                done.rules.update(rules)
    _rewrite_addresses(db, clean, done)
    _look_through_statistics(db, clean, done)
    if done.rows:
        note_removal(db)
    return done


def _rewrite_addresses(db: apsw.Connection, clean: Clean, done: Scrubbed) -> None:
    """Remotes of repositories; two that differ in their secret alone stay two."""
    rows: list[Any] = db.execute("SELECT key, identity FROM workspace").fetchall()
    for key, identity in rows:
        changed, rules = clean(identity) if identity.startswith(_REMOTE) else ("", {})
        if rules:
            taken = db.execute("SELECT 1 FROM workspace WHERE identity = ?", (changed,)).fetchone()
            told = f"{changed}#{key}" if taken else changed
            db.execute("UPDATE workspace SET identity = ? WHERE key = ?", (told, key))
            done.rows += 1
            done.rules.update(rules)


def _look_through_statistics(db: apsw.Connection, clean: Clean, done: Scrubbed) -> None:
    """What the planner counted names tags and paths; it goes with whatever is rewritten."""
    kept: Any = db.execute("SELECT value FROM fact WHERE name = ?", (STATISTICS_FACT,)).get
    rules = clean(orjson.loads(kept))[1] if kept is not None else {}
    done.rows += bool(rules)
    done.rules.update(rules)


@dataclass(frozen=True, slots=True)
class _Said:
    """A text in a row beside a memory: the memory, the table, what names the row in it, and the text."""

    memory: int
    table: str
    name: int | str
    text: str


def _beside(db: apsw.Connection, first: int, last: int) -> Iterator[_Said]:
    """What claims and sightings of the memories between two keys say; a value stands behind its name, as in a text."""
    claims = db.execute(
        "SELECT memory, number, path, name, value FROM memory_claim WHERE memory BETWEEN ? AND ?",
        (first, last),
    )
    for memory, number, path, name, value in claims:
        yield _Said(memory, "memory_claim", number, path)
        yield _Said(memory, "memory_claim", number, f"{name} = {value}" if value else name)
    seen = db.execute(
        "SELECT DISTINCT memory, branch FROM memory_sighting WHERE memory BETWEEN ? AND ?", (first, last)
    )
    yield from (_Said(memory, "memory_sighting", branch, branch) for memory, branch in seen)


def _rewrite_beside(db: apsw.Connection, key: int, clean: Clean) -> Scrubbed:
    """Takes claims out that name a secret, for changed they would not be true, and cleans the names of branches."""
    done = Scrubbed()
    for said in list(_beside(db, key, key)):
        text, rules = clean(said.text)
        if not rules:
            continue
        if said.table == "memory_claim":
            db.execute("DELETE FROM memory_claim WHERE memory = ? AND number = ?", (key, said.name))
        else:
            db.execute(
                "UPDATE OR REPLACE memory_sighting SET branch = ? WHERE memory = ? AND branch = ?",
                (text, key, said.name),
            )
        done.rows += 1
        done.rules.update(rules)
    return done


def _readable(row: Sequence[Any]) -> Memory | None:
    try:
        return to_memory(row)
    except StoreCorrupt:
        return None


def _cleaned(memory: Memory, clean: Clean) -> tuple[Memory, Counter[str]]:
    rules: Counter[str] = Counter()
    changed: dict[str, Any] = {}
    for name in (*_TEXTS, *_VALUES):
        value = getattr(memory, name)
        if not value:
            continue
        as_list = isinstance(value, tuple)
        cleaned, found = clean(list(value) if as_list else value)
        if found:
            rules.update(found)
            changed[name] = tuple(dict.fromkeys(cleaned)) if as_list else cleaned
    if not rules:
        return memory, rules
    counts = Counter(memory.redacted) + rules
    return replace(memory, **changed, redacted=dict(counts)), rules


def _store(db: apsw.Connection, key: int, said: Memory) -> bool:
    """Writes a memory in the place of what it was; True where another active one says the same."""
    workspace: int = db.execute("SELECT workspace FROM memory WHERE key = ?", (key,)).get
    draft = Draft(kind=said.kind, title=said.title, text=said.text, paths=said.paths, tags=said.tags)
    dedup = dedup_hash(draft)
    twin: Any = None
    if said.status == "active":
        twin = db.execute(
            "SELECT id FROM memory WHERE workspace = ? AND dedup = ? AND status = 'active' AND key != ?",
            (workspace, dedup, key),
        ).get
    if twin:
        db.execute(
            "UPDATE memory SET seen = seen + ?, seen_us = max(seen_us, (SELECT seen_us FROM memory WHERE key = ?)) "
            "WHERE id = ?",
            (said.seen, key, twin),
        )
        reason = f"without its secrets it says what {twin} says"
        db.execute("UPDATE memory SET status = 'forgotten', reason = ? WHERE key = ?", (reason, key))
    body, apart = split_body(said.text)
    db.execute(
        "UPDATE memory SET title = ?, body = ?, paths = ?, symbols = ?, tags = ?, branch = ?, dedup = ?, "
        "content_hash = ?, extra = ?, redacted = ?, blobs = iif(blobs IS NULL, NULL, ?), "
        "source_id = iif(source_id = ?, source_id, NULL) WHERE key = ?",  # changed, an id of the caller is none
        (
            said.title, body, to_json(said.paths), to_json(said.symbols), to_json(said.tags), said.branch,
            dedup, content_hash(said.kind, said.title, said.text), to_json(dict(said.extra)),
            to_json(dict(said.redacted)), to_json(dict(said.blobs)), said.source_id, key,
        ),
    )  # fmt: skip
    if not twin:
        db.execute("UPDATE memory SET reason = ? WHERE key = ?", (said.reason, key))
    db.execute("DELETE FROM memory_body WHERE memory = ?", (key,))
    if apart is not None:
        db.execute("INSERT INTO memory_body (memory, codec, data) VALUES (?, ?, ?)", (key, *apart))
    for table, column, values in (("memory_tag", "tag", said.tags), ("memory_path", "path", said.paths)):
        db.execute(f"DELETE FROM {table} WHERE memory = ?", (key,))
        db.executemany(
            f"INSERT OR IGNORE INTO {table} (workspace, {column}, memory) VALUES (?, ?, ?)",
            [(workspace, value, key) for value in values],
        )
    drop_vectors(db, key)
    _index(db, key, workspace, said)
    return twin is not None


def _index(db: apsw.Connection, key: int, workspace: int, said: Memory) -> None:
    """The words of a memory anew; of a prompt also those of its session, which are found by its words too."""
    db.execute("DELETE FROM memory_fts WHERE rowid = ?", (key,))
    again = [key]
    if said.kind == "prompt" and said.session:
        again += [
            int(one)
            for (one,) in db.execute(
                "SELECT key FROM memory WHERE workspace = ? AND session = ? AND status = 'active' AND key > ?",
                (workspace, said.session, key),
            )
        ]
    for one in again:
        if db.execute("SELECT status FROM memory WHERE key = ?", (one,)).get == "active":
            db.execute("DELETE FROM memory_fts WHERE rowid = ?", (one,))
            index_again(db, one)


def _words_anew(db: apsw.Connection) -> None:
    """No entry of the old words stays in the index, nor in a space that was fitted to them."""
    db.execute("INSERT INTO memory_fts (memory_fts) VALUES ('optimize')")
    spaces.retire_kind(db, "corpus")


def _other(value: Any, form: str, clean: Clean) -> tuple[Any, Mapping[str, int]]:
    """A column without its secrets; JSON is walked where it is JSON, else it is text."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if form != "text":
        try:
            cleaned, rules = clean(orjson.loads(text))
            packed = orjson.dumps(cleaned)
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            pass
        else:
            return (packed if form == "bytes" else packed.decode()), rules
    cleaned, rules = clean(text)
    return (cleaned.encode() if form == "bytes" else cleaned), rules
