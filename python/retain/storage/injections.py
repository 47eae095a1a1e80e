"""What was put before the model, and what showed that it was used; each function inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import apsw
import orjson

from retain.errors import StoreCorrupt
from retain.model import Memory
from retain.storage.rows import COLUMNS, TABLES, to_json, to_list, to_memory
from retain.storage.trust import taint_by_shown

OPEN_MAX = 200
"""Most memories that one event is compared with; the newest are."""

KEYS_PER_STATEMENT = 500

USUAL_OF = 2_000
"""Memories whose use says what is usual: a tenth of a millisecond in a store of any size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """Memories that were put before the model at one moment, best first; none where nothing fitted.

    Attributes:
        id: made by whoever showed them, so that storing it twice changes nothing.
        workspace: internal key.
        session: the client's session; empty where the door does not know it.
        door: ``recall``, ``context``, or the hook that asked.
        at_us: microseconds since the epoch.
        memories: ids.
        tokens: of the text that was shown.
        hidden: how many memories were withheld, by reason.
    """

    id: str
    workspace: int
    session: str
    door: str
    at_us: int
    memories: tuple[str, ...] = ()
    tokens: int = 0
    hidden: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A memory that was shown and of which no use is known yet."""

    injection: int
    key: int
    memory: Memory


def add(db: apsw.Connection, injection: Injection) -> None:
    """Stores a receipt; a second time changes nothing."""
    db.execute(
        "INSERT OR IGNORE INTO injection (id, workspace, session, door, at_us, tokens, hidden) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            injection.id,
            injection.workspace,
            injection.session,
            injection.door,
            injection.at_us,
            injection.tokens,
            to_json(dict(injection.hidden)),
        ),
    )
    if not db.changes():
        return
    key = db.last_insert_rowid()
    for place, memory_id in enumerate(injection.memories):
        db.execute(
            "INSERT OR IGNORE INTO injection_memory (injection, memory, place) "
            "SELECT ?, key, ? FROM memory WHERE id = ?",
            (key, place, memory_id),
        )
    db.execute(
        "INSERT INTO memory_feedback (memory, shown, used) "
        "SELECT memory, 1, 0 FROM injection_memory WHERE injection = ? "
        "ON CONFLICT (memory) DO UPDATE SET shown = shown + 1",
        (key,),
    )
    taint_by_shown(db, key)


def any_to(db: apsw.Connection, workspace: int, session: str) -> bool:
    """Whether anything was ever shown to a session, or in its workspace where the session is not known."""
    row = db.execute(
        "SELECT 1 FROM injection WHERE workspace = ? AND session IN (?, '') LIMIT 1", (workspace, session)
    )
    return row.fetchone() is not None


def unused(db: apsw.Connection, workspace: int, session: str, since_us: int, until_us: int) -> list[Shown]:
    """What was shown to a session in a stretch of time and is not known to be used, newest first."""
    rows = db.execute(
        f"SELECT i.key, m.key, {COLUMNS} FROM injection i CROSS JOIN injection_memory s ON s.injection = i.key "
        f"CROSS JOIN {TABLES.replace('memory m', 'memory m ON m.key = s.memory', 1)} "
        "WHERE i.workspace = ? AND i.session IN (?, '') AND i.at_us BETWEEN ? AND ? AND s.used IS NULL "
        "ORDER BY i.at_us DESC, s.place LIMIT ?",
        (workspace, session, since_us, until_us, OPEN_MAX),
    )
    found = []
    for row in rows:
        with suppress(StoreCorrupt):  # reading it for a person says so; a damaged row must not stop a drain
            found.append(Shown(injection=row[0], key=row[1], memory=to_memory(row[2:])))
    return found


def mark_used(db: apsw.Connection, shown: Shown, how: str) -> None:
    """Keeps what showed that a memory was used; the first sign stays."""
    _use(db, shown.injection, shown.key, how)


def _use(db: apsw.Connection, injection: int, memory: int, how: str) -> None:
    db.execute(
        "UPDATE injection_memory SET used = ? WHERE injection = ? AND memory = ? AND used IS NULL",
        (how, injection, memory),
    )
    if db.changes():
        db.execute("UPDATE memory_feedback SET used = used + 1 WHERE memory = ?", (memory,))


def mark_read(db: apsw.Connection, workspace: int, memory_id: str, since_us: int) -> None:
    """Marks the newest showing of a memory to this workspace as used: its whole text was asked for."""
    row = db.execute(
        "SELECT i.key, m.key FROM memory m JOIN injection_memory s ON s.memory = m.key AND s.used IS NULL "
        "JOIN injection i ON i.key = s.injection WHERE m.id = ? AND i.workspace = ? AND i.at_us >= ? "
        "ORDER BY i.at_us DESC LIMIT 1",
        (memory_id, workspace, since_us),
    ).fetchone()
    if row:
        _use(db, row[0], row[1], "read")


def feedback(db: apsw.Connection, keys: Sequence[int]) -> dict[int, tuple[int, int]]:
    """How often memories were shown, and used, by key; those that never were are left out."""
    rows = db.execute(
        "SELECT f.memory, f.shown, f.used FROM json_each(?) k CROSS JOIN memory_feedback f ON f.memory = k.value",
        (to_list(keys),),
    )
    return {key: (shown, used) for key, shown, used in rows}


def usual(db: apsw.Connection) -> tuple[int, int]:
    """How often the newest memories that were ever shown were shown, and used, all together."""
    shown, used = db.execute(
        "SELECT coalesce(sum(shown), 0), coalesce(sum(used), 0) FROM "
        "(SELECT shown, used FROM memory_feedback ORDER BY memory DESC LIMIT ?)",
        (USUAL_OF,),
    ).get
    return int(shown), int(used)


def receipt(db: apsw.Connection, workspace: int | None, since_us: int) -> dict[str, Any]:
    """The account of a workspace (None: of all) since a moment, as JSON values, by door and in total."""
    where = "i.at_us >= ? AND (? IS NULL OR i.workspace = ?)"
    values = (since_us, workspace, workspace)
    doors = {
        door: {"injections": number, "abstained": silent, "tokens": tokens}
        for door, number, silent, tokens in db.execute(
            "SELECT i.door, count(*), sum(NOT EXISTS (SELECT 1 FROM injection_memory s WHERE s.injection = i.key)), "
            f"sum(i.tokens) FROM injection i WHERE {where} GROUP BY 1 ORDER BY 1",
            values,
        )
    }
    hidden: dict[str, int] = {}
    for (text,) in db.execute(
        f"SELECT i.hidden FROM injection i WHERE {where} AND i.hidden != '{{}}'", values
    ):
        for reason, count in orjson.loads(text).items():
            hidden[reason] = hidden.get(reason, 0) + count
    memories, used = db.execute(
        "SELECT count(*), count(s.used) FROM injection i JOIN injection_memory s ON s.injection = i.key "
        f"WHERE {where}",
        values,
    ).get
    signs = dict(
        db.execute(
            "SELECT s.used, count(*) FROM injection i JOIN injection_memory s ON s.injection = i.key "
            f"WHERE {where} AND s.used IS NOT NULL GROUP BY 1 ORDER BY 1",
            values,
        )
    )
    return {
        "injections": sum(door["injections"] for door in doors.values()),
        "abstained": sum(door["abstained"] for door in doors.values()),
        "tokens": sum(door["tokens"] for door in doors.values()),
        "memories": memories,
        "used": used,
        "used_by": signs,
        "prevented_repeats": _prevented(db, where, values),
        "hidden": hidden,
        "doors": doors,
    }


def _prevented(db: apsw.Connection, where: str, values: tuple[object, ...]) -> int:
    """Errors and fixes that were shown and used, and whose error has not come back since."""
    row = db.execute(
        "SELECT count(DISTINCT i.session || ' ' || json_extract(m.extra, '$.signature')) FROM injection i "
        "JOIN injection_memory s ON s.injection = i.key JOIN memory m ON m.key = s.memory "
        f"WHERE {where} AND s.used IS NOT NULL AND m.kind IN ('error', 'fix') "
        "AND json_extract(m.extra, '$.signature') != '' AND NOT EXISTS (SELECT 1 FROM memory e "
        "WHERE e.workspace = i.workspace AND e.kind = 'error' AND e.seen_us > i.at_us "
        "AND json_extract(e.extra, '$.signature') = json_extract(m.extra, '$.signature'))",
        values,
    ).get
    return int(row)
