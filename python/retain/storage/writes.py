"""What is written, each function inside the caller's transaction: memories, sessions, receipts, facts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apsw

from retain.errors import Conflict, NotFound
from retain.model import Draft, Memory, to_us
from retain.storage.later import Later
from retain.storage.rows import COLUMNS, TABLES, content_hash, dedup_hash, split_body, to_json, to_memory
from retain.storage.text import indexed
from retain.storage.trust import inherit, judge, said_again
from retain.storage.truth import add_sightings
from retain.storage.vectors import drop_vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMemory:
    """A draft on its way into the store: the id it will have, its workspace, and the moment of writing."""

    id: str
    workspace: int
    draft: Draft
    now_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What became of a new memory: its id, or that of the exact duplicate it was merged into.

    ``counted`` says that the duplicate was seen once more; a source_id that is known counts nothing.
    """

    id: str
    key: int
    created: bool
    counted: bool = False


def add_workspace(
    db: apsw.Connection, *, workspace_id: str, identity: str, name: str, root: str, alias: str, now_us: int
) -> int:
    """The key of the workspace with this identity, made where it is new; remembers the place as an alias."""
    db.execute(
        "INSERT INTO workspace (id, identity, name, root, created_us) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (identity) DO NOTHING",
        (workspace_id, identity, name, root, now_us),
    )
    key = db.execute("SELECT key FROM workspace WHERE identity = ?", (identity,)).get
    db.execute(
        "INSERT INTO workspace_alias (path, workspace, seen_us) VALUES (?, ?, ?) "
        "ON CONFLICT (path) DO UPDATE SET workspace = excluded.workspace, seen_us = excluded.seen_us",
        (alias, key, now_us),
    )
    return int(key)


def add_memory(db: apsw.Connection, new: NewMemory, later: Later | None = None) -> Added:
    """Stores a memory, or finds the one that it duplicates exactly.

    Args:
        db: inside a transaction.
        new: what to store.
        later: takes what may wait until the caller flushes it; None does all now.

    Raises:
        Conflict: the source_id is taken by a memory with other content.
    """
    if later is None:
        later = Later()
        added = add_memory(db, new, later)
        later.flush(db)
        return added
    dedup = dedup_hash(new.draft)
    known = _known(db, new, dedup)
    if known is not None:
        return known
    key = insert_memory(db, new, later, dedup=dedup)
    _index_words(later, key, new.draft, new.draft.context)
    return Added(id=new.id, key=key, created=True)


def _known(db: apsw.Connection, new: NewMemory, dedup: bytes) -> Added | None:
    row = db.execute(  # asked first: an update that finds nothing costs thirty times as much
        "SELECT id, key, dedup, 'id' FROM memory WHERE id = ?1 UNION ALL "
        "SELECT id, key, dedup, 'source' FROM memory WHERE workspace = ?2 AND source_id = ?3 UNION ALL "
        "SELECT id, key, dedup, 'text' FROM memory WHERE workspace = ?2 AND dedup = ?4 AND status = 'active'",
        (new.id, new.workspace, new.draft.source_id, dedup),
    ).fetchone()
    if row is None:
        return None
    if row[3] == "source" and row[2] != dedup:
        raise Conflict(
            f"source_id: {new.draft.source_id!r} already names memory {row[0]} with other content",
            hint="revise that memory instead",
        )
    if row[3] != "text":
        return Added(id=row[0], key=row[1], created=False)
    db.execute(
        "UPDATE memory SET seen = seen + 1, seen_us = max(seen_us, ?), source_id = coalesce(source_id, ?) "
        "WHERE key = ?",
        (new.now_us, new.draft.source_id, row[1]),
    )
    _sighted(db, row[1], new)
    said_again(db, row[1], new.draft)
    return Added(id=row[0], key=row[1], created=False, counted=True)


def _sighted(db: apsw.Connection, key: int, new: NewMemory) -> None:
    """Keeps where a memory was seen once more, if it was another branch or commit; the newest places stay."""
    draft = new.draft
    at_us = new.now_us if draft.occurred_at is None else to_us(draft.occurred_at)
    branch, commit = draft.branch or "", draft.commit or ""
    own = "SELECT coalesce(branch, ''), coalesce(commit_id, '') FROM memory WHERE key = ?"
    if db.execute(own, (key,)).get == (branch, commit):
        return
    add_sightings(db, key, [(branch, commit, at_us)])


def insert_memory(
    db: apsw.Connection, new: NewMemory, later: Later, *, status: str = "active", dedup: bytes | None = None
) -> int:
    """Stores a memory with its tags and paths and returns its key; into the full-text index it does not go.

    ``dedup`` is its ``dedup_hash``, where the caller has made that already.
    """
    draft = new.draft
    judged = judge(db, new, later)
    body, apart = split_body(draft.text)
    occurred_us = new.now_us if draft.occurred_at is None else to_us(draft.occurred_at)
    db.execute(
        "INSERT INTO memory (workspace, id, kind, title, body, paths, symbols, tags, origin, status, branch, "
        "commit_id, session, occurred_us, recorded_us, seen_us, source_id, dedup, content_hash, extra, redacted, "
        "worktree, dirty, blobs, trust, held) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            new.workspace,
            new.id,
            draft.kind,
            draft.title,
            body,
            to_json(draft.paths),
            to_json(draft.symbols),
            to_json(draft.tags),
            draft.origin,
            status,
            draft.branch,
            draft.commit,
            draft.session,
            occurred_us,
            new.now_us,
            new.now_us,
            draft.source_id,
            dedup or dedup_hash(draft),
            content_hash(draft.kind, draft.title, draft.text),
            to_json(dict(draft.extra)),
            to_json(dict(draft.redacted)),
            draft.worktree,
            draft.dirty,
            to_json(dict(draft.blobs)) if draft.blobs else None,
            judged.trust,
            judged.held,
        ),
    )
    key = int(db.last_insert_rowid())
    if apart is not None:
        db.execute("INSERT INTO memory_body (memory, codec, data) VALUES (?, ?, ?)", (key, *apart))
    for table, names in (("tag", draft.tags), ("path", draft.paths)):
        if names:  # most memories have none, and asking for nothing costs as much as asking
            db.executemany(
                f"INSERT OR IGNORE INTO memory_{table} (workspace, {table}, memory) VALUES (?, ?, ?)",
                [(new.workspace, name, key) for name in names],
            )
    return key


def _index_words(later: Later, key: int, said: Draft | Memory, context: str) -> None:
    later.index(
        (
            key,
            indexed(said.title),
            indexed(said.text),
            indexed(" ".join(said.paths)),
            indexed(" ".join((*said.symbols, *said.tags))),
            indexed(context),
        )
    )


def index_again(db: apsw.Connection, key: int) -> None:
    """Puts a memory that was forgotten back into the full-text index; its context is the prompt before it."""
    memory = to_memory(db.execute(f"SELECT {COLUMNS} FROM {TABLES} WHERE m.key = ?", (key,)).fetchall()[0])
    context = db.execute(
        "SELECT p.title FROM memory m JOIN memory p ON p.workspace = m.workspace AND p.session = m.session "
        "AND p.kind = 'prompt' AND p.occurred_us <= m.occurred_us AND p.key < m.key "
        "WHERE m.key = ? ORDER BY p.occurred_us DESC, p.key DESC LIMIT 1",
        (key,),
    ).get
    later = Later()
    _index_words(later, key, memory, context or "")
    later.flush(db)


def supersede(
    db: apsw.Connection, old_id: str, new: NewMemory, reason: str, later: Later | None = None
) -> Added:
    """Stores a revision and marks the old memory as superseded by it; nothing is overwritten.

    ``later`` is as with ``add_memory``.

    Raises:
        NotFound: no such memory.
        Conflict: the old memory is not active, or the revision says exactly what it already said.
    """
    old_key = _active_key(db, old_id)
    added = add_memory(db, new, later)
    if added.key == old_key:
        raise Conflict(f"text: memory {old_id} already says exactly this")
    db.execute(
        "UPDATE memory SET status = 'superseded', superseded_by = ?, reason = ? WHERE key = ?",
        (added.id, reason, old_key),
    )
    db.execute("UPDATE memory SET supersedes = ? WHERE key = ?", (old_id, added.key))
    drop_vectors(db, old_key)
    link(db, added.key, old_key, "supersedes")
    return added


def supersede_by(db: apsw.Connection, old_id: str, by_id: str, reason: str) -> None:
    """Marks a memory as superseded by another one that is there.

    Raises:
        NotFound: no such memory.
        Conflict: one of them is not active.
    """
    old_key, by_key = _active_key(db, old_id), _active_key(db, by_id)
    db.execute(
        "UPDATE memory SET status = 'superseded', superseded_by = ?, reason = ? WHERE key = ?",
        (by_id, reason, old_key),
    )
    drop_vectors(db, old_key)
    link(db, by_key, old_key, "supersedes")


def forget(db: apsw.Connection, memory_id: str, reason: str) -> None:
    """Tombstones a memory: it is found by nothing any more, its row says why.

    Raises:
        NotFound: no such memory.
        Conflict: it is not active.
    """
    key = _active_key(db, memory_id)
    db.execute("UPDATE memory SET status = 'forgotten', reason = ? WHERE key = ?", (reason, key))
    db.execute("DELETE FROM memory_fts WHERE rowid = ?", (key,))
    drop_vectors(db, key)


def _active_key(db: apsw.Connection, memory_id: str) -> int:
    row = db.execute("SELECT key, status FROM memory WHERE id = ?", (memory_id,)).fetchone()
    if row is None:
        raise NotFound(f"id: no memory {memory_id}")
    if row[1] != "active":
        raise Conflict(f"id: memory {memory_id} is {row[1]}")
    return int(row[0])


def link(db: apsw.Connection, source: int, target: int, kind: str) -> None:
    """Links two memories; linking twice changes nothing."""
    db.execute(
        "INSERT OR IGNORE INTO memory_link (source, target, kind) VALUES (?, ?, ?)", (source, target, kind)
    )


def link_to_error(db: apsw.Connection, fix: int, workspace: int, *, source_id: str, signature: str) -> None:
    """Links a fix to the error it ended: that with the source_id, else the newest with the signature."""
    row = db.execute(
        "SELECT key FROM memory WHERE workspace = ? AND kind = 'error' AND source_id = ?",
        (workspace, source_id),
    ).fetchone()
    if (
        row is None
    ):  # the error merged into an earlier one; no index knows signatures, so this walks the newest first
        row = db.execute(
            "SELECT key FROM memory WHERE workspace = ? AND kind = 'error' AND extra ->> 'signature' = ? "
            "ORDER BY occurred_us DESC LIMIT 1",
            (workspace, signature),
        ).fetchone()
    if row:
        link(db, fix, row[0], "fixes")
        inherit(db, fix, row[0])


def add_dead_letter(
    db: apsw.Connection, *, event_id: str, received_us: int, error: str, payload: bytes
) -> None:
    """Sets an event aside that could not be digested."""
    db.execute(
        "INSERT OR IGNORE INTO dead_letter (id, received_us, error, payload) VALUES (?, ?, ?, ?)",
        (event_id, received_us, error, payload),
    )


def touch_session(
    db: apsw.Connection,
    *,
    workspace: int,
    session: str,
    at_us: int,
    source: str = "",
    end_reason: str | None = None,
) -> None:
    """Opens a session at its first event; closes it where ``end_reason`` is given."""
    db.execute(
        "INSERT INTO session (workspace, id, started_us, source) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (workspace, id) DO UPDATE SET started_us = min(started_us, excluded.started_us), "
        "source = CASE WHEN excluded.source = '' THEN source ELSE excluded.source END",
        (workspace, session, at_us, source),
    )
    if end_reason is not None:
        db.execute(
            "UPDATE session SET ended_us = ?, end_reason = ? WHERE workspace = ? AND id = ?",
            (at_us, end_reason, workspace, session),
        )


def has_edits(db: apsw.Connection, workspace: int, session: str, commit: str) -> bool:
    """Whether a session changed a file while this commit was checked out."""
    row = db.execute(
        "SELECT 1 FROM memory WHERE workspace = ? AND session = ? AND commit_id = ? AND kind = 'file_change' LIMIT 1",
        (workspace, session, commit),
    )
    return row.fetchone() is not None


def tracker_state(db: apsw.Connection, workspace: int, session: str) -> str:
    """The JSON that error-to-fix linking left for this session; ``{}`` at first."""
    row = db.execute(
        "SELECT tracker FROM session WHERE workspace = ? AND id = ?", (workspace, session)
    ).fetchone()
    return str(row[0]) if row else "{}"


def set_tracker_state(db: apsw.Connection, workspace: int, session: str, state: str) -> None:
    """Keeps the state of error-to-fix linking for the next drain."""
    db.execute("UPDATE session SET tracker = ? WHERE workspace = ? AND id = ?", (state, workspace, session))


def last_prompt(
    db: apsw.Connection, workspace: int, session: str, until_us: int | None = None
) -> tuple[int, str]:
    """When the newest prompt of a session was, by a moment, and its title: what the memories after it are about.

    Looks back to the session's start and no further, so that a session without a prompt, which gives 0 and an empty
    title, costs no walk over all.
    """
    row = db.execute(
        "SELECT occurred_us, title FROM memory WHERE workspace = ?1 AND session = ?2 AND kind = 'prompt' "
        "AND occurred_us >= coalesce((SELECT started_us FROM session WHERE workspace = ?1 AND id = ?2), 0) "
        "AND (?3 IS NULL OR occurred_us <= ?3) ORDER BY occurred_us DESC, key DESC LIMIT 1",
        (workspace, session, until_us),
    ).fetchone()
    return (int(row[0]), str(row[1])) if row else (0, "")


STATE_FACT = "store.state"
"""The fact that differs in every state that the store was ever in."""

STATISTICS_FACT = "planner.statistics"
"""The fact that holds what the planner counted: values of fields, so it is erased with the memories that had them."""

WORDS_FACT = "words.common"
"""The fact that holds in how many memories the most common words stand; erased like the other."""


REMOVED_FACT = "texts.removed"
"""The fact that changes when texts leave the store for good: what was made of texts before is not kept after that."""


def note_removal(db: apsw.Connection) -> None:
    """Keeps whatever is being made of the texts of now from being stored: they leave the store in this transaction."""
    set_facts(db, [(REMOVED_FACT, os.urandom(8).hex())])
    drop_fact(db, STATISTICS_FACT)  # it holds tags and paths
    drop_fact(db, WORDS_FACT)


def removals(db: apsw.Connection) -> str:
    """A mark that differs after each removal of texts; asked for before they are read, and again before storing."""
    row = db.execute("SELECT value FROM fact WHERE name = ?", (REMOVED_FACT,)).fetchone()
    return str(row[0]) if row else ""


def drop_fact(db: apsw.Connection, name: str) -> None:
    """Forgets a small fact."""
    db.execute("DELETE FROM fact WHERE name = ?", (name,))


def renew_token(db: apsw.Connection) -> None:
    """Gives the state that is about to be committed a token of its own."""
    db.execute(
        "INSERT OR REPLACE INTO fact VALUES (?, '\"' || lower(hex(randomblob(16))) || '\"')", (STATE_FACT,)
    )


def set_facts(db: apsw.Connection, facts: Sequence[tuple[str, Any]]) -> None:
    """Keeps small facts about the store, as JSON."""
    db.executemany(
        "INSERT INTO fact (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        [(name, to_json(value)) for name, value in facts],
    )
