"""Memories that are older than their kind is kept; each function inside the caller's transaction.

They are looked for in stretches of keys, so that a look costs the same whatever was forgotten before, and no index
of its own is kept for it.
"""

from __future__ import annotations

from collections.abc import Mapping

import apsw

from retain.storage.writes import forget

REASON = "retention: "
"""How the reason of a tombstone begins that the retention made."""


def expired(
    db: apsw.Connection, before_us: Mapping[str, int], above: int, most: int
) -> list[tuple[str, str]]:
    """Id and kind of the active memories in a stretch of keys that are older than their kind is kept.

    Args:
        db: a connection.
        before_us: by kind, the moment before which a memory must have been met last.
        above: the key before the stretch.
        most: keys in the stretch.
    """
    if not before_us:
        return []
    kinds = " OR ".join(
        "(kind = ? AND CASE WHEN seen > 1 THEN max(occurred_us, seen_us) ELSE occurred_us END < ?)"
        for _ in before_us
    )
    values = [value for pair in before_us.items() for value in pair]
    rows = db.execute(
        f"SELECT id, kind FROM memory WHERE key > ? AND key <= ? AND status = 'active' AND ({kinds}) ORDER BY key",
        (above, above + most, *values),
    )
    return [(str(memory), str(kind)) for memory, kind in rows]


def expire(
    db: apsw.Connection, before_us: Mapping[str, int], above: int, most: int, days: Mapping[str, int]
) -> dict[str, int]:
    """Forgets them, as ``writes.forget`` does, and says how many of each kind."""
    counts: dict[str, int] = {}
    for memory, kind in expired(db, before_us, above, most):
        forget(db, memory, f"{REASON}{kind} is kept for {days[kind]:,} days")
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def last_key(db: apsw.Connection) -> int:
    """The highest key of a memory; 0 without any."""
    return int(db.execute("SELECT coalesce(max(key), 0) FROM memory").get)


def counted(db: apsw.Connection) -> dict[str, int]:
    """How many memories of each kind the retention has forgotten so far."""
    rows = db.execute(
        "SELECT kind, count(*) FROM memory WHERE status = 'forgotten' AND reason >= ? AND reason < ? GROUP BY 1",
        (REASON, REASON[:-1] + "!"),
    )
    return {str(kind): int(count) for kind, count in rows}
