"""Who changed what, when, and through which door: an append-only table whose rows are chained by their hashes.

Triggers write the rows (``migrations/0005_audit.sql``), so that no way of changing a memory can leave them out, and
in the transaction of the change. What they cannot know, who is writing, comes from functions of the connection.

A chain shows that a row was changed, taken out or put in. That its end was cut off shows only beside a head that
was noted elsewhere: ``retain audit`` prints it, and each backup has its own.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import apsw
import orjson

Door = Literal["cli", "mcp", "hook", "import", "python", "upgrade", "retention"]

HASH_BYTES = 32
COLUMNS = "number, at_us, door, actor, session, action, subject, detail, hash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who writes: the door that was used, on whose behalf, and in which session of the client (empty: none)."""

    door: Door = "python"
    actor: str = "user"
    session: str = ""


BY_HOOK = Author(door="hook", actor="hook")
BY_IMPORT = Author(door="import", actor="import")
BY_UPGRADE = Author(door="upgrade")
BY_RETENTION = Author(door="retention")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of the audit; ``hash`` in hexadecimal, ``at_us`` in microseconds since the epoch."""

    number: int
    at_us: int
    door: str
    actor: str
    session: str
    action: str
    subject: str
    detail: dict[str, Any]
    hash: str


def attach(connection: apsw.Connection, author: Callable[[], Author]) -> None:
    """Gives a connection the functions that the triggers call; without them it can change no memory."""
    functions: dict[str, tuple[Callable[..., Any], int]] = {
        "audit_now": (lambda: time.time_ns() // 1000, 0),
        "audit_door": (lambda: author().door, 0),
        "audit_actor": (lambda: author().actor, 0),
        "audit_session": (lambda: author().session, 0),
        "audit_hash": (chained, 9),
        "audit_commitment": (commitment, 2),
    }
    for name, (function, arguments) in functions.items():
        connection.create_scalar_function(name, function, arguments)


def chained(before: bytes, *row: int | str) -> bytes:
    """The hash of a row: BLAKE2b-256 over that of the row before it (empty: the first) and the row's values as JSON."""
    return hashlib.blake2b(before + orjson.dumps(row), digest_size=HASH_BYTES).digest()


def commitment(salt: bytes, content_hash: bytes) -> str:
    """Binds a row to the text of a memory; without the salt it tells nothing about a text that can be guessed."""
    return hashlib.blake2b(content_hash, key=salt, digest_size=16).hexdigest()


def note(db: apsw.Connection, action: str, subject: str, detail: dict[str, Any] | None = None) -> None:
    """Notes what no trigger sees, inside the caller's transaction; ``detail`` must hold no text of a memory."""
    db.execute("INSERT INTO audit_entry VALUES (?, ?, ?)", (action, subject, _json(detail or {})))


def entries(
    db: apsw.Connection, *, subject: str | None = None, since_us: int | None = None, limit: int
) -> list[Entry]:
    """The newest rows, oldest of them first."""
    rows = db.execute(
        f"SELECT {COLUMNS} FROM audit WHERE (?1 IS NULL OR subject = ?1) AND (?2 IS NULL OR at_us >= ?2) "
        "ORDER BY number DESC LIMIT ?3",
        (subject, since_us, limit),
    ).fetchall()
    return [
        Entry(
            **dict(zip(COLUMNS.split(", ")[:-2], row[:-2], strict=True)),
            detail=orjson.loads(row[-2]),
            hash=row[-1].hex(),
        )
        for row in reversed(rows)
    ]


def head(db: apsw.Connection) -> tuple[int, str]:
    """Number and hash of the last row: noted elsewhere, they show later that no row after or before was cut off."""
    row = db.execute("SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1").fetchone()
    return (int(row[0]), row[1].hex()) if row else (0, "")


def changed_since(db: apsw.Connection, number: int) -> int:
    """How many memories were changed after a row; what was done to the store as a whole does not count."""
    return int(
        db.execute("SELECT count(*) FROM audit WHERE number > ? AND subject != 'store'", (number,)).get
    )


def problems(db: apsw.Connection) -> Iterator[str]:
    """What is wrong with the audit: a broken chain, or a memory that is not what its row says."""
    broken = list(_broken_links(db))
    yield from broken or _unaccounted(db)  # a row that was tampered with says nothing about a memory


def _broken_links(db: apsw.Connection) -> Iterator[str]:
    before, expected = b"", 1
    for number, *row, kept in db.execute(f"SELECT {COLUMNS} FROM audit ORDER BY number"):
        if number != expected:
            yield f"rows {expected} to {number - 1} are missing"
        elif chained(before, number, *row) != kept:
            yield f"row {number} is not what was written"
        before, expected = kept, number + 1


def _unaccounted(db: apsw.Connection) -> Iterator[str]:
    key_max = db.execute("SELECT detail ->> 'key_max' FROM audit WHERE number = 1 AND action = 'begun'").get
    yield from (
        f"memory {name} was stored past the audit"
        for (name,) in db.execute(
            "SELECT id FROM memory m WHERE key > ? AND NOT EXISTS "
            "(SELECT 1 FROM audit a WHERE a.subject = m.id AND a.action = 'remembered')",
            (key_max or 0,),
        )
    )
    rows = db.execute(
        "SELECT m.id, m.content_hash, s.salt, a.detail ->> 'commitment' FROM memory m "
        "JOIN audit_salt s ON s.subject = m.id JOIN audit a ON a.number = "
        "(SELECT max(number) FROM audit WHERE subject = m.id AND action IN ('remembered', 'rewritten'))"
    )
    for name, content_hash, salt, promised in rows:
        if commitment(salt, content_hash) != promised:
            yield f"memory {name} is not the one that was noted"


def _json(value: dict[str, Any]) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
