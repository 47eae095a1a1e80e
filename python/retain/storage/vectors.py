"""Vectors of memories: written in the transaction of the memory, and read by whoever searches them.

Only active memories have vectors, so that what a search needs most often, "not superseded, not forgotten",
costs nothing. Each change is logged with a version, by which a process that holds vectors in RAM picks up what is new.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import apsw

from retain.errors import NotFound

CHANGES_KEPT = 10_000
"""Changes that are kept for each space and workspace; who is further behind reads all of its vectors again."""

KEYS_PER_STATEMENT = 500


def put_vectors(db: apsw.Connection, space: int, vectors: Sequence[tuple[int, bytes]]) -> int:
    """Stores vectors, over older ones of the same space; memories that are not active are passed over.

    Args:
        db: a connection inside a transaction.
        space: key of the embedding space.
        vectors: key of a memory, and its row as ``retain._core.quantise`` makes it.

    Returns:
        How many were stored.
    """
    stored: dict[int, list[int]] = {}
    for memory, data in vectors:
        row = db.execute(
            "INSERT INTO memory_vector (memory, space, workspace, data) "
            "SELECT key, ?, workspace, ? FROM memory WHERE key = ? AND status = 'active' "
            "ON CONFLICT DO UPDATE SET data = excluded.data RETURNING workspace",
            (space, data, memory),
        ).fetchone()
        if row:
            stored.setdefault(int(row[0]), []).append(memory)
    for workspace, memories in stored.items():
        _log(db, space, workspace, memories)
    return sum(map(len, stored.values()))


def drop_vectors(db: apsw.Connection, memory: int) -> None:
    """Removes the vectors of a memory from every space."""
    gone: Iterator[tuple[int, int]] = db.execute(
        "DELETE FROM memory_vector WHERE space IN (SELECT key FROM vector_space) "
        "AND workspace = (SELECT workspace FROM memory WHERE key = ?) AND memory = ? RETURNING space, workspace",
        (memory, memory),
    )
    for space, workspace in list(gone):
        _log(db, space, workspace, [memory])


def _log(db: apsw.Connection, space: int, workspace: int, memories: Sequence[int]) -> None:
    last = vector_version(db, space, workspace) + len(memories)
    kept = memories[-CHANGES_KEPT:]
    first = last - len(kept) + 1
    db.executemany(
        "INSERT INTO vector_change (space, workspace, version, memory) VALUES (?, ?, ?, ?)",
        [(space, workspace, version, memory) for version, memory in enumerate(kept, start=first)],
    )
    db.execute(
        "DELETE FROM vector_change WHERE space = ? AND workspace = ? AND version <= ?",
        (space, workspace, last - CHANGES_KEPT),
    )


def vector_version(db: apsw.Connection, space: int, workspace: int) -> int:
    """The number of the newest change; 0 before the first."""
    return int(
        db.execute(
            "SELECT coalesce(max(version), 0) FROM vector_change WHERE space = ? AND workspace = ?",
            (space, workspace),
        ).get
    )


def vector_dim(db: apsw.Connection, space: int) -> int:
    """How many components the vectors of a space have.

    Raises:
        NotFound: no such space.
    """
    row = db.execute("SELECT dim FROM vector_space WHERE key = ?", (space,)).fetchone()
    if row is None:
        raise NotFound(f"space: no embedding space {space}")
    return int(row[0])


def vector_rows(db: apsw.Connection, space: int, workspace: int) -> Iterator[tuple[int, bytes]]:
    """Key of the memory and its row, ascending by key."""
    rows: Iterator[tuple[int, bytes]] = db.execute(
        "SELECT memory, data FROM memory_vector WHERE space = ? AND workspace = ? ORDER BY memory",
        (space, workspace),
    )
    return rows


def vector_changes(
    db: apsw.Connection, space: int, workspace: int, after: int
) -> list[tuple[int, bytes | None]] | None:
    """What memories that changed after a version have now, None where that is nothing; None if it is too long ago."""
    floor = db.execute(
        "SELECT min(version) FROM vector_change WHERE space = ? AND workspace = ?", (space, workspace)
    ).get
    if floor is None or floor > after + 1:
        return None
    rows: Iterator[tuple[int, bytes | None]] = db.execute(
        "SELECT DISTINCT c.memory, v.data FROM vector_change c LEFT JOIN memory_vector v "
        "ON v.space = c.space AND v.workspace = c.workspace AND v.memory = c.memory "
        "WHERE c.space = ? AND c.workspace = ? AND c.version > ? ORDER BY c.memory",
        (space, workspace, after),
    )
    return list(rows)


def with_vectors(db: apsw.Connection, space: int, workspace: int, memories: Sequence[int]) -> set[int]:
    """Those of the memories that have a vector in the snapshot of this connection."""
    found: set[int] = set()
    for start in range(0, len(memories), KEYS_PER_STATEMENT):
        part = memories[start : start + KEYS_PER_STATEMENT]
        rows = db.execute(
            "SELECT memory FROM memory_vector WHERE space = ? AND workspace = ? "
            f"AND memory IN ({', '.join('?' * len(part))})",
            (space, workspace, *part),
        )
        found.update(memory for (memory,) in rows)
    return found
