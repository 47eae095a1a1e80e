"""Claims of memories: rows in, rows out. What they mean is known to ``retain.git.claims``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import apsw
import orjson

from retain.storage.rows import unpacked

KEYS_PER_STATEMENT = 500

ClaimRow = tuple[str, str, str, str, int, str]
"""Kind, path, name, value, line, digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclaimed:
    """A memory whose claims are not derived yet."""

    key: int
    text: str
    paths: tuple[str, ...]
    symbols: tuple[str, ...]
    commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A memory with claims: id, kind, title, and the commit in which they were true (empty: none)."""

    key: int
    id: str
    kind: str
    title: str
    commit: str


def put_claims(db: apsw.Connection, key: int, claims: Iterable[ClaimRow], *, commit: str, at_us: int) -> None:
    """Keeps the claims of a memory in the place of those before."""
    drop_claims(db, key)
    db.executemany(
        "INSERT INTO memory_claim VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [(key, number, *claim) for number, claim in enumerate(claims)],
    )
    db.execute("INSERT OR REPLACE INTO memory_claimed VALUES (?, ?, ?)", (key, commit, at_us))


def drop_claims(db: apsw.Connection, key: int) -> None:
    """Takes the claims of a memory out; they can be derived again."""
    db.execute("DELETE FROM memory_claim WHERE memory = ?", (key,))
    db.execute("DELETE FROM memory_claimed WHERE memory = ?", (key,))


def claims_of(db: apsw.Connection, keys: Sequence[int]) -> dict[int, tuple[str, list[ClaimRow]]]:
    """The commit in which they were true and the claims, by the key of the memory; those without any are left out."""
    found: dict[int, tuple[str, list[ClaimRow]]] = {}
    for start in range(0, len(keys), KEYS_PER_STATEMENT):
        part = tuple(keys[start : start + KEYS_PER_STATEMENT])
        rows = db.execute(
            "SELECT c.memory, d.commit_id, c.kind, c.path, c.name, c.value, c.line, c.digest FROM memory_claim c "
            f"JOIN memory_claimed d ON d.memory = c.memory WHERE c.memory IN ({', '.join('?' * len(part))})",
            part,
        )
        for key, commit, *claim in rows:
            found.setdefault(key, (commit, []))[1].append(tuple(claim))
    return found


def unclaimed(db: apsw.Connection, workspace: int, most: int, *, above: int, below: int) -> list[Unclaimed]:
    """Active memories of a workspace whose claims are not derived yet, with keys between two, the newest first.

    By their keys, however many there are: an index of the workspace would have to be sorted for each look.
    """
    rows = db.execute(
        "SELECT m.key, m.id, m.body, b.codec, b.data, m.title, m.paths, m.symbols, coalesce(m.commit_id, '') "
        "FROM memory m NOT INDEXED LEFT JOIN memory_body b ON b.memory = m.key "
        "WHERE m.workspace = ? AND m.status = 'active' AND m.key > ? AND m.key < ? "
        "AND NOT EXISTS (SELECT 1 FROM memory_claimed c WHERE c.memory = m.key) ORDER BY m.key DESC LIMIT ?",
        (workspace, above, below, most),
    )
    return [
        Unclaimed(
            key=key,
            text=f"{title}\n{body if body is not None else unpacked(name, codec, data)}",
            paths=tuple(orjson.loads(paths)),
            symbols=tuple(orjson.loads(symbols)),
            commit=commit,
        )
        for key, name, body, codec, data, title, paths, symbols, commit in rows
    ]


def claimed(db: apsw.Connection, workspace: int) -> list[Claimed]:
    """Active memories of a workspace that have claims, the newest first."""
    rows = db.execute(
        "SELECT m.key, m.id, m.kind, m.title, d.commit_id FROM memory m JOIN memory_claimed d ON d.memory = m.key "
        "WHERE m.workspace = ? AND m.status = 'active' AND EXISTS "
        "(SELECT 1 FROM memory_claim c WHERE c.memory = m.key) ORDER BY m.key DESC",
        (workspace,),
    )
    return [
        Claimed(key=key, id=name, kind=kind, title=title, commit=commit)
        for key, name, kind, title, commit in rows
    ]
