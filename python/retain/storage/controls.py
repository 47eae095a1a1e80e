"""What was not kept and which sessions are private; each function inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import apsw

KEYS_A_QUERY = 500

Stretch = tuple[int, int | None]
"""A private stretch of a session: from a moment on, until another one or still."""


def exclude(db: apsw.Connection, *, event_id: str, received_us: int, rule: str) -> bool:
    """Counts an event that is not kept, once; False where it was counted before."""
    db.execute(
        "INSERT OR IGNORE INTO excluded_event (id, received_us, rule) VALUES (?, ?, ?)",
        (event_id, received_us, rule),
    )
    return db.changes() > 0


def open_stretch(db: apsw.Connection, session: str, at_us: int) -> None:
    """From this moment on the session is private; where it is already, nothing changes."""
    db.execute(
        "INSERT OR IGNORE INTO private_session (session, since_us) SELECT ?, ? WHERE NOT EXISTS "
        "(SELECT 1 FROM private_session WHERE session = ? AND since_us <= ? AND until_us IS NULL)",
        (session, at_us, session, at_us),
    )


def close_stretch(db: apsw.Connection, session: str, at_us: int) -> bool:
    """From this moment on the session is not private any more; False where it was not."""
    db.execute(
        "UPDATE private_session SET until_us = ? WHERE session = ? AND since_us <= ? AND until_us IS NULL",
        (at_us, session, at_us),
    )
    return db.changes() > 0


def stretches(db: apsw.Connection, sessions: Iterable[str]) -> dict[str, list[Stretch]]:
    """The private stretches of sessions; those without one are left out."""
    found: dict[str, list[Stretch]] = {}
    wanted = list(dict.fromkeys(sessions))
    for start in range(0, len(wanted), KEYS_A_QUERY):
        part = tuple(wanted[start : start + KEYS_A_QUERY])
        marks = ",".join("?" * len(part))
        rows = db.execute(
            f"SELECT session, since_us, until_us FROM private_session WHERE session IN ({marks}) ORDER BY 1, 2",
            part,
        )
        for session, since, until in rows:
            found.setdefault(session, []).append((since, until))
    return found


def private_sessions(db: apsw.Connection, limit: int) -> list[tuple[str, int]]:
    """The sessions that are private now, and since when; the newest first."""
    rows = db.execute(
        "SELECT session, max(since_us) FROM private_session WHERE until_us IS NULL GROUP BY session "
        "ORDER BY 2 DESC LIMIT ?",
        (limit,),
    )
    return [(str(session), int(since)) for session, since in rows]


def excluded(db: apsw.Connection) -> dict[str, int]:
    """How many events were not kept, by rule."""
    return {
        str(rule): int(count)
        for rule, count in db.execute("SELECT rule, count(*) FROM excluded_event GROUP BY 1 ORDER BY 1")
    }


def is_within(stretches: Sequence[Stretch], at_us: int) -> bool:
    """Whether a moment lies in one of the stretches."""
    return any(since <= at_us and (until is None or at_us < until) for since, until in stretches)
