"""Dead letters in the store: events that could not be digested, each beside the receipt that says so.

Each function works inside the caller's transaction.
"""

from __future__ import annotations

from dataclasses import dataclass

import apsw


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter and what its receipt knows; ``run`` is the import that brought it, None where a hook did.

    ``payload`` has no secrets, may be cut at a limit, and is never empty.
    """

    id: str
    received_us: int
    payload: bytes
    name: str
    session: str
    workspace: int
    root: str
    run: int | None


def letters(db: apsw.Connection, after: tuple[int, str], most: int) -> list[Letter]:
    """The next letters of which anything was kept, in order of time.

    Args:
        db: a connection.
        after: moment and id of the letter behind which to go on.
        most: letters in this step.
    """
    rows = db.execute(
        "SELECT d.id, d.received_us, d.payload, r.name, r.session, r.workspace, w.root, "
        "(SELECT run FROM import_event WHERE event = d.id AND own LIMIT 1) "
        "FROM dead_letter d JOIN event_receipt r ON r.id = d.id JOIN workspace w ON w.key = r.workspace "
        "WHERE (d.received_us, d.id) > (?, ?) AND d.payload != x'' ORDER BY d.received_us, d.id LIMIT ?",
        (*after, most),
    )
    names = ("id", "received_us", "payload", "name", "session", "workspace", "root", "run")
    return [Letter(**dict(zip(names, row, strict=True))) for row in rows]


def take(db: apsw.Connection, event_id: str) -> bool:
    """Takes a letter out, with the receipt that calls its event dead; False where it is gone already."""
    db.execute("DELETE FROM dead_letter WHERE id = ?", (event_id,))
    if not db.changes():
        return False
    db.execute("DELETE FROM event_receipt WHERE id = ?", (event_id,))
    return True


def keep_reason(db: apsw.Connection, event_id: str, error: str) -> None:
    """Writes down why a letter cannot be digested by the version of now."""
    db.execute("UPDATE dead_letter SET error = ? WHERE id = ? AND error != ?", (error, event_id, error))
