"""What the store knows of a session, and of the files and errors that it meets; each inside one snapshot."""

from __future__ import annotations

from dataclasses import dataclass

import apsw

PLACES_LOOKED_AT = 500
"""The newest memories among which one with a commit is looked for."""

FIXES_LOOKED_AT = 2_000
"""The newest fixes of a workspace that are compared with an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What is not a session's own, or is no longer before its model.

    Attributes:
        workspace: internal key.
        session: the client's id.
        since_us: what the session itself did from then on still stands in its conversation.
    """

    workspace: int
    session: str
    since_us: int = 0


def last_event(db: apsw.Connection, workspace: int, session: str | None) -> int | None:
    """When the last event of a session (None: of any) came, in microseconds; starts and ends do not count."""
    which = "" if session is None else "AND session = ? "
    rows = db.execute(
        f"SELECT max(received_us) FROM event_receipt WHERE workspace = ? {which}"
        "AND name NOT IN ('SessionStart', 'SessionEnd')",
        (workspace,) if session is None else (workspace, session),
    )
    return _moment(rows)


def compacted_at(db: apsw.Connection, workspace: int, session: str) -> int:
    """When the conversation of a session was last compacted; 0 where it never was."""
    rows = db.execute(
        "SELECT max(received_us) FROM event_receipt WHERE workspace = ? AND session = ? "
        "AND name IN ('PreCompact', 'PostCompact')",
        (workspace, session),
    )
    return _moment(rows) or 0


def conversation_since(db: apsw.Connection, workspace: int, session: str) -> int | None:
    """From when on a session that goes on holds what it did in its conversation; None where it has ended."""
    ended_us = db.execute(
        "SELECT coalesce(ended_us, 0) FROM session WHERE workspace = ? AND id = ?", (workspace, session)
    ).get
    if ended_us and (last_event(db, workspace, session) or 0) <= ended_us:  # else it was resumed
        return None
    return compacted_at(db, workspace, session)


def _moment(rows: apsw.Cursor) -> int | None:
    value = rows.get
    return None if value is None else int(value)


def shown_to(
    db: apsw.Connection, workspace: int, session: str, since_us: int
) -> tuple[frozenset[str], frozenset[str]]:
    """Ids of the memories that a session was shown from a moment on, and the doors that it was answered at."""
    rows = db.execute(
        "SELECT i.door, m.id FROM injection i LEFT JOIN injection_memory s ON s.injection = i.key "
        "AND i.at_us >= ? LEFT JOIN memory m ON m.key = s.memory WHERE i.workspace = ? AND i.session = ?",
        (since_us, workspace, session),
    ).fetchall()
    return frozenset(str(row[1]) for row in rows if row[1]), frozenset(str(row[0]) for row in rows)


def last_place(db: apsw.Connection, workspace: int, session: str | None) -> tuple[str, str]:
    """Branch and commit of the newest memory of a session (None: of any) that has a commit; else empty."""
    which = "" if session is None else "AND session = ? "
    row = db.execute(
        "SELECT coalesce(branch, ''), commit_id FROM (SELECT branch, commit_id FROM memory WHERE workspace = ? "
        f"AND status = 'active' AND origin != 'import' {which}ORDER BY occurred_us DESC LIMIT ?) "
        "WHERE commit_id IS NOT NULL LIMIT 1",
        (workspace, *(() if session is None else (session,)), PLACES_LOOKED_AT),
    ).fetchone()
    return (str(row[0]), str(row[1])) if row else ("", "")


def commits_made(db: apsw.Connection, workspace: int, limit: int) -> tuple[str, ...]:
    """Hashes, as git printed them, of the newest commits that sessions made."""
    rows = db.execute(
        "SELECT extra ->> 'commit' FROM memory WHERE workspace = ? AND kind = 'commit' "
        "ORDER BY occurred_us DESC LIMIT ?",
        (workspace, limit),
    )
    return tuple(str(value) for (value,) in rows if value)


def unfixed_in(db: apsw.Connection, workspace: int, session: str, limit: int) -> list[int]:
    """Keys of the newest errors of a session that no fix is linked to."""
    return _keys(
        db.execute(
            "SELECT m.key FROM memory m WHERE m.workspace = ? AND m.session = ? AND m.kind = 'error' "
            "AND m.status = 'active' AND NOT EXISTS "
            "(SELECT 1 FROM memory_link l WHERE l.target = m.key AND l.kind = 'fixes') "
            "ORDER BY m.occurred_us DESC, m.key DESC LIMIT ?",
            (workspace, session, limit),
        )
    )


def fixes_of(db: apsw.Connection, earlier: Earlier, signature: str, limit: int) -> list[int]:
    """Keys of the newest fixes of an error, by its signature; those that a session saw itself are left out."""
    return _keys(
        db.execute(
            "SELECT key FROM (SELECT key, extra, session, occurred_us FROM memory WHERE workspace = ? "
            "AND kind = 'fix' AND status = 'active' ORDER BY occurred_us DESC LIMIT ?) "
            "WHERE extra ->> 'signature' = ? AND (session IS NOT ? OR occurred_us < ?) LIMIT ?",
            (
                earlier.workspace,
                FIXES_LOOKED_AT,
                signature,
                earlier.session,
                earlier.since_us,
                limit,
            ),
        )
    )


def about_file(
    db: apsw.Connection, earlier: Earlier, path: str, kinds: tuple[str, ...], limit: int
) -> list[int]:
    """Keys of the newest memories of these kinds that name a file; a session's own are left out."""
    marks = ", ".join("?" * len(kinds))
    return _keys(
        db.execute(
            "SELECT m.key FROM memory_path p CROSS JOIN memory m ON m.key = p.memory "
            f"WHERE p.workspace = ? AND p.path = ? AND m.kind IN ({marks}) AND m.status = 'active' "
            "AND (m.session IS NOT ? OR m.occurred_us < ?) ORDER BY m.occurred_us DESC, m.key DESC LIMIT ?",
            (earlier.workspace, path, *kinds, earlier.session, earlier.since_us, limit),
        )
    )


def files_changed(db: apsw.Connection, workspace: int, session: str) -> list[tuple[str, int]]:
    """The files that a session changed and how often, most often first."""
    rows = db.execute(
        "SELECT j.value, sum(m.seen) FROM memory m, json_each(m.paths) j WHERE m.workspace = ? "
        "AND m.session = ? AND m.kind = 'file_change' AND m.trust != 'untrusted' GROUP BY 1 ORDER BY 2 DESC, 1",
        (workspace, session),
    )
    return [(str(path), int(count)) for path, count in rows]


def _keys(rows: apsw.Cursor) -> list[int]:
    return [int(key) for (key,) in rows]
