"""Embedding spaces: what is kept of them, which one serves, which memories lack a vector in it."""

from __future__ import annotations

from dataclasses import dataclass

import apsw

_COLUMNS = "key, name, kind, dim, state, fitted_rows"
_LACKING = (
    "m.status = 'active' AND NOT EXISTS (SELECT 1 FROM memory_vector v "
    "WHERE v.space = ? AND v.workspace = m.workspace AND v.memory = m.key)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceRow:
    """A space as the store knows it.

    Attributes:
        key: its number in the store.
        name: model or method with its version; vectors of two names never meet.
        kind: ``corpus`` or ``model``; of each kind at most one serves and one is being built.
        dim: numbers in a vector.
        state: ``building``, ``serving`` or ``retired``.
        fitted_rows: active memories that there were when it was fitted.
    """

    key: int
    name: str
    kind: str
    dim: int
    state: str
    fitted_rows: int


def space_in(db: apsw.Connection, kind: str, state: str) -> SpaceRow | None:
    """The newest space of a kind in a state."""
    row = db.execute(
        f"SELECT {_COLUMNS} FROM vector_space WHERE kind = ? AND state = ? ORDER BY key DESC LIMIT 1",
        (kind, state),
    ).fetchone()
    if row is None:
        return None
    key, name, kind, dim, state, fitted_rows = row
    return SpaceRow(key=key, name=name, kind=kind, dim=dim, state=state, fitted_rows=fitted_rows)


def model_of(db: apsw.Connection, space: int) -> bytes:
    """What was kept with a space to make vectors in it: a fitted space as bytes, nothing for a model."""
    return bytes(db.execute("SELECT model FROM vector_space WHERE key = ?", (space,)).get or b"")


def active_memories(db: apsw.Connection) -> int:
    """Memories that should have a vector."""
    return int(db.execute("SELECT count(*) FROM memory WHERE status = 'active'").get)


def sample(db: apsw.Connection, most: int) -> list[int]:
    """Keys of at most about ``most`` active memories, evenly over time."""
    step = -(-active_memories(db) // most) or 1
    rows = db.execute(
        "SELECT key FROM (SELECT key, row_number() OVER (ORDER BY key DESC) AS n FROM memory "
        "WHERE status = 'active') WHERE (n - 1) % ? = 0 ORDER BY key",
        (step,),
    )
    return [int(key) for (key,) in rows]


def lacking(db: apsw.Connection, space: int, limit: int, *, above: int, below: int) -> list[int]:
    """Keys between two others of active memories without a vector in a space, the newest first."""
    rows = db.execute(
        f"SELECT m.key FROM memory m WHERE {_LACKING} AND m.key > ? AND m.key < ? ORDER BY m.key DESC LIMIT ?",
        (space, above, below, limit),
    )
    return [int(key) for (key,) in rows]


def count_lacking(db: apsw.Connection, space: int, *, above: int, below: int) -> int:
    """How many active memories with keys between two others have no vector in a space."""
    found = db.execute(
        f"SELECT count(*) FROM memory m WHERE {_LACKING} AND m.key > ? AND m.key < ?", (space, above, below)
    )
    return int(found.get)


def add_space(
    db: apsw.Connection, *, name: str, kind: str, dim: int, model: bytes, fitted_rows: int, now_us: int
) -> int:
    """Begins a space; whatever else of its kind was being built is given up. Returns its key."""
    _retire(db, kind, "building")
    db.execute(
        "INSERT INTO vector_space (name, kind, dim, model, state, fitted_rows, created_us) "
        "VALUES (?, ?, ?, ?, 'building', ?, ?)",
        (name, kind, dim, model, fitted_rows, now_us),
    )
    return int(db.last_insert_rowid())


def serve(db: apsw.Connection, space: int) -> None:
    """Lets a space that is whole serve in place of the one of its kind that did."""
    kind = db.execute("SELECT kind FROM vector_space WHERE key = ?", (space,)).get
    _retire(db, kind, "serving")
    db.execute("UPDATE vector_space SET state = 'serving' WHERE key = ?", (space,))


def retire_kind(db: apsw.Connection, kind: str) -> None:
    """Retires every space of a kind: its model was removed, or cannot be read."""
    _retire(db, kind, "building")
    _retire(db, kind, "serving")


def has_retired_vectors(db: apsw.Connection) -> bool:
    """Whether there is something to sweep."""
    row = db.execute(
        "SELECT 1 FROM vector_space s JOIN memory_vector v ON v.space = s.key WHERE s.state = 'retired' LIMIT 1"
    ).fetchone()
    return row is not None


def sweep(db: apsw.Connection, most: int) -> None:
    """Deletes at most so many vectors of retired spaces.

    A space of a hundred thousand vectors takes a second to delete, for which no other write should wait.
    """
    db.execute(
        "DELETE FROM memory_vector WHERE (space, workspace, memory) IN (SELECT v.space, v.workspace, v.memory "
        "FROM vector_space s JOIN memory_vector v ON v.space = s.key WHERE s.state = 'retired' LIMIT ?)",
        (most,),
    )


def _retire(db: apsw.Connection, kind: str, state: str) -> None:
    db.execute(
        "DELETE FROM vector_change WHERE space IN (SELECT key FROM vector_space WHERE kind = ? AND state = ?)",
        (kind, state),
    )
    db.execute(
        "UPDATE vector_space SET state = 'retired', model = x'' WHERE kind = ? AND state = ?", (kind, state)
    )
