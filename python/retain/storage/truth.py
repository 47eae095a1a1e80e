"""What the checks before an answer need to know of memories, without their texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import apsw
import orjson

from retain.errors import StoreCorrupt

_TEXT = frozenset({str})
KEYS_PER_STATEMENT = 500
LATER_MAX = 200
SUMS_UP = frozenset({"commit", "decision", "fix", "summary"})
"""Kinds that may be about the commit that was checked out when they were made."""
SIGHTINGS_MAX = 16
"""Places, besides the first, where the same memory was seen; the oldest goes first."""


class Provenance(NamedTuple):
    """Where a memory comes from; a tuple, because an answer asks for it of a hundred memories.

    Attributes:
        key: of its row.
        workspace: key of its workspace.
        kind: one of ``retain.model.KINDS``.
        paths: files that it names.
        blobs: what files held then, as (path, blob), where that is known.
        standing: whether it was said to hold always.
        places: branch, commit and microseconds of each time that it was seen elsewhere, the first one first.
        begun: for what sums up work, the commits that were checked out when that began; of decisions only those
            that an assistant told at the end of a turn have any.
        captured_by: the session in which hooks saw it; empty for what was remembered on purpose.
    """

    key: int
    workspace: int
    kind: str
    paths: tuple[str, ...]
    blobs: tuple[tuple[str, str], ...]
    standing: bool
    places: tuple[tuple[str, str, int], ...]
    begun: tuple[str, ...] = ()
    captured_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """What a session did after a memory: a commit, a command that succeeded, or one that failed."""

    kind: str
    title: str
    command: str
    commit: str


def aftermath(db: apsw.Connection, memory_id: str) -> list[Later]:
    """Commits and commands of the memory's session after it, oldest first, up to a limit."""
    rows = db.execute(
        "SELECT l.kind, l.title, coalesce(l.extra ->> 'command', ''), coalesce(l.extra ->> 'commit', '') "
        "FROM memory m JOIN memory l ON l.workspace = m.workspace AND l.session = m.session "
        "WHERE m.id = ? AND m.session IS NOT NULL AND l.status = 'active' "
        "AND l.kind IN ('commit', 'command', 'error') "
        "AND (l.occurred_us, l.key) > (m.occurred_us, m.key) ORDER BY l.occurred_us, l.key LIMIT ?",
        (memory_id, LATER_MAX),
    )
    return [
        Later(kind=kind, title=title, command=command, commit=commit) for kind, title, command, commit in rows
    ]


def fix_of(db: apsw.Connection, memory_id: str) -> tuple[str, str] | None:
    """Id and ``extra`` (JSON) of the newest fix of an error, or of a fix itself; None where there is none."""
    row = db.execute(
        "SELECT f.id, f.extra FROM memory m LEFT JOIN memory_link l ON l.target = m.key AND l.kind = 'fixes' "
        "JOIN memory f ON f.key = CASE m.kind WHEN 'fix' THEN m.key ELSE l.source END "
        "WHERE m.id = ? AND f.status = 'active' ORDER BY f.occurred_us DESC LIMIT 1",
        (memory_id,),
    ).fetchone()
    return (str(row[0]), str(row[1])) if row else None


def last_worktree(db: apsw.Connection, workspace: int, session: str) -> str:
    """The working tree in which a session was seen last; empty where none is known."""
    row = db.execute(
        "SELECT worktree FROM memory WHERE workspace = ? AND session = ? AND worktree IS NOT NULL "
        "ORDER BY key DESC LIMIT 1",
        (workspace, session),
    ).fetchone()
    return str(row[0]) if row else ""


def key_of(db: apsw.Connection, memory_id: str) -> int | None:
    """The key of a memory."""
    row = db.execute("SELECT key FROM memory WHERE id = ?", (memory_id,)).fetchone()
    return int(row[0]) if row else None


def sightings(db: apsw.Connection, key: int) -> list[tuple[str, str, int]]:
    """Branch, commit and microseconds of the places, besides the first, where a memory was seen, oldest first."""
    rows = db.execute(
        "SELECT branch, commit_id, at_us FROM memory_sighting WHERE memory = ? ORDER BY at_us, branch, commit_id",
        (key,),
    )
    return [(str(branch), str(commit), int(at_us)) for branch, commit, at_us in rows]


def add_sightings(db: apsw.Connection, key: int, places: Iterable[tuple[str, str, int]]) -> None:
    """Keeps more places where a memory was seen; the newest ``SIGHTINGS_MAX`` stay."""
    for place in places:
        db.execute(
            "INSERT INTO memory_sighting (memory, branch, commit_id, at_us) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (memory, branch, commit_id) DO UPDATE SET at_us = max(at_us, excluded.at_us)",
            (key, *place),
        )
    db.execute(
        "DELETE FROM memory_sighting WHERE memory = ? AND at_us < (SELECT at_us FROM memory_sighting "
        "WHERE memory = ? ORDER BY at_us DESC LIMIT 1 OFFSET ?)",
        (key, key, SIGHTINGS_MAX - 1),
    )


def provenance(db: apsw.Connection, keys: Sequence[int]) -> list[Provenance]:
    """The provenance of memories, in no particular order."""
    found: list[Provenance] = []
    for start in range(0, len(keys), KEYS_PER_STATEMENT):
        part = tuple(keys[start : start + KEYS_PER_STATEMENT])
        marks = ", ".join("?" * len(part))
        more: dict[int, list[tuple[str, str, int]]] = {}
        for key, branch, commit, at_us in db.execute(
            f"SELECT memory, branch, commit_id, at_us FROM memory_sighting WHERE memory IN ({marks})", part
        ):
            more.setdefault(key, []).append((branch, commit, at_us))
        rows: list[Any] = db.execute(
            "SELECT key, workspace, kind, paths, blobs, CASE extra WHEN '{}' THEN 0 ELSE "
            "coalesce(extra ->> 'standing', 0) END, coalesce(branch, ''), coalesce(commit_id, ''), occurred_us, "
            "CASE WHEN source_id IS NULL THEN '' ELSE coalesce(session, '') END "
            f"FROM memory WHERE key IN ({marks})",
            part,
        ).fetchall()
        begun = _begun(db, [(row[0], row[2]) for row in rows if row[2] in SUMS_UP])
        for key, workspace, kind, paths, blobs, standing, branch, commit, at_us, captured_by in rows:
            if type(at_us) is not int or not _TEXT.issuperset(map(type, (kind, paths, branch, commit))):
                raise StoreCorrupt(f"row {key} of the store is damaged", hint="run `retain verify`")
            found.append(
                Provenance(
                    key,
                    workspace,
                    kind,
                    tuple(orjson.loads(paths)) if paths != "[]" else (),
                    tuple(sorted(orjson.loads(blobs).items())) if blobs else (),
                    bool(standing),
                    ((branch, commit, at_us), *more.get(key, ())),
                    tuple(begun.get(key, ())),
                    captured_by,
                )
            )
    return found


def _begun(db: apsw.Connection, sums: Sequence[tuple[int, str]]) -> dict[int, list[str]]:
    """The commits where the error of a fix was met, and that of the last prompt before what a turn ended with.

    Args:
        db: a connection.
        sums: key and kind of what may sum up work.
    """
    if not sums:
        return {}
    keys = tuple(key for key, _ in sums)
    marks = ", ".join("?" * len(keys))
    found: list[Any] = db.execute(
        "SELECT l.source, e.commit_id FROM memory_link l JOIN memory e ON e.key = l.target "
        f"WHERE l.source IN ({marks}) AND l.kind = 'fixes' AND e.commit_id IS NOT NULL "
        "UNION SELECT l.source, s.commit_id FROM memory_link l JOIN memory_sighting s ON s.memory = l.target "
        f"WHERE l.source IN ({marks}) AND l.kind = 'fixes'",
        keys * 2,
    ).fetchall()
    told = tuple(key for key, kind in sums if kind in {"summary", "decision"})
    if told:
        found += db.execute(
            "SELECT m.key, (SELECT p.commit_id FROM memory p WHERE p.workspace = m.workspace "
            "AND p.session = m.session AND p.key < m.key AND p.kind = 'prompt' ORDER BY p.key DESC LIMIT 1) "
            f"FROM memory m WHERE m.key IN ({', '.join('?' * len(told))}) AND m.session IS NOT NULL "
            "AND (m.kind = 'summary' OR (m.origin = 'assistant' AND m.source_id IS NOT NULL))",
            told,
        ).fetchall()
    begun: dict[int, list[str]] = {}
    for key, commit in found:
        if commit:
            begun.setdefault(int(key), []).append(str(commit))
    return begun
