"""The store as it was at a moment: which memories were active then, by the audit, and going back to that.

Nothing is overwritten, so every past state is still here: a memory has one text for ever, and the audit says when it
became active, superseded or forgotten. Going back is a change like any other: what came later is forgotten, what
was there is active again, and a later restore can undo it. Only what was erased does not come back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apsw

from retain.errors import Conflict, InvalidInput, NotFound
from retain.model import from_us
from retain.storage.vectors import drop_vectors
from retain.storage.writes import index_again

ACTIVE, SUPERSEDED, FORGOTTEN = "active", "superseded", "forgotten"

_LAST = """
    SELECT subject, action, max(number) FROM audit
    WHERE at_us <= ?1 AND action IN ('remembered', 'restored', 'superseded', 'forgotten') GROUP BY subject
"""
_NEXT = """
    SELECT subject, action, min(number) FROM audit
    WHERE at_us > ?1 AND action IN ('restored', 'superseded', 'forgotten') GROUP BY subject
"""
_STATUS = {"remembered": ACTIVE, "restored": ACTIVE, "superseded": SUPERSEDED, "forgotten": FORGOTTEN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewound:
    """How many memories became active, superseded or forgotten by going back."""

    active: int
    superseded: int
    forgotten: int


def rewind(db: apsw.Connection, at_us: int, reason: str) -> Rewound:
    """Gives every memory the status that it had at a moment, inside the caller's transaction.

    Raises:
        InvalidInput: the moment lies before the audit begins, and memories had been stored by then.
    """
    changes = list(_changes(db, at_us))
    for key, memory_id, _, status in changes:
        if status == FORGOTTEN:
            db.execute("UPDATE memory SET status = 'forgotten', reason = ? WHERE key = ?", (reason, key))
            db.execute("DELETE FROM memory_fts WHERE rowid = ?", (key,))
            drop_vectors(db, key)
        elif status == SUPERSEDED:
            successor = db.execute(
                "SELECT id FROM memory WHERE supersedes = ? ORDER BY key DESC LIMIT 1", (memory_id,)
            ).get
            db.execute(
                "UPDATE memory SET status = 'superseded', superseded_by = ? WHERE key = ?", (successor, key)
            )
            drop_vectors(db, key)
    for key, _, before, status in changes:
        if status == ACTIVE:  # after the others: of two that say the same, one is active at a time
            db.execute(
                "UPDATE memory SET status = 'active', superseded_by = NULL, reason = NULL WHERE key = ?",
                (key,),
            )
        if before == FORGOTTEN:
            index_again(db, key)
    counts = [sum(status == one for *_, status in changes) for one in (ACTIVE, SUPERSEDED, FORGOTTEN)]
    return Rewound(active=counts[0], superseded=counts[1], forgotten=counts[2])


def unforget(db: apsw.Connection, memory_id: str) -> None:
    """Makes a forgotten memory active again.

    Raises:
        NotFound: no such memory; it may have been erased.
        Conflict: it is not forgotten, or an active memory says the same.
    """
    row = db.execute("SELECT key, status FROM memory WHERE id = ?", (memory_id,)).fetchone()
    if row is None:
        raise NotFound(f"id: no memory {memory_id}", hint="what was erased does not come back")
    key, status = row
    if status != FORGOTTEN:
        raise Conflict(f"id: memory {memory_id} is {status}, not forgotten")
    twin = db.execute(
        "SELECT o.id FROM memory m JOIN memory o ON o.workspace = m.workspace AND o.dedup = m.dedup "
        "AND o.status = 'active' WHERE m.key = ?",
        (key,),
    ).get
    if twin:
        raise Conflict(f"id: the active memory {twin} says exactly the same")
    db.execute("UPDATE memory SET status = 'active', reason = NULL WHERE key = ?", (key,))
    index_again(db, key)


def _changes(db: apsw.Connection, at_us: int) -> Iterator[tuple[int, str, str, str]]:
    """Key, id, present and past status of each memory whose status was another."""
    begun: Any = db.execute(
        "SELECT at_us, detail ->> 'key_max' FROM audit WHERE number = 1 AND action = 'begun'"
    ).fetchall()
    begun_us, key_max = begun[0]
    if at_us < begun_us and key_max:
        raise InvalidInput(
            "at",
            f"the store has kept its history since {from_us(begun_us).isoformat(timespec='seconds')}",
            limit=from_us(begun_us).isoformat(),
        )
    last = {name: _STATUS[action] for name, action, _ in db.execute(_LAST, (at_us,))}
    following = {name: action for name, action, _ in db.execute(_NEXT, (at_us,))}
    rows: list[Any] = db.execute("SELECT key, id, status, superseded_by FROM memory ORDER BY key").fetchall()
    for key, name, status, superseded_by in rows:
        before = last.get(name) or _adopted(key <= key_max, status, following.get(name), superseded_by)
        if before != status:
            yield key, name, status, before


def _adopted(there: bool, status: str, following: str | None, superseded_by: str | None) -> str:
    """The status of a memory that no row up to the moment tells of: stored later, or before there was an audit."""
    if not there:
        return FORGOTTEN
    if following is None:
        return status
    if following == "restored":
        return SUPERSEDED if superseded_by else FORGOTTEN
    return ACTIVE
