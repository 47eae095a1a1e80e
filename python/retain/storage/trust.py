"""How far memories may be believed, each function inside the caller's transaction.

Judged when they are stored, lowered by what their session turns out to have read, raised by the user alone, and taken
back by their source.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import apsw

from retain.errors import Conflict, NotFound
from retain.model import Draft, to_us
from retain.storage.audit import note
from retain.storage.later import Later
from retain.suspicion import Signs, attack_in
from retain.trust import BY_ORIGIN, CONFIRMED, UNTRUSTED, USER, bands_of, boundary_of, lowest

if TYPE_CHECKING:
    from retain.storage.writes import NewMemory

HOURLY: Mapping[str, int] = {"assistant": 240, "tool": 480, "hook": 4_000}
"""Memories an hour that one session may give from one origin; those beyond it wait for a review."""

SIMILAR_HOURLY = 6
"""Nearly equal memories of one session and origin in an hour; further ones wait for a review."""

RATES_KEPT_US = 2 * 3_600 * 1_000_000
HOUR_US = 3_600 * 1_000_000
SOURCES_MAX = 64
"""Sources of the taint of one session that are kept."""
DETAIL_CHARS_MAX = 500
OTHERS_US = 24 * HOUR_US
"""So long a session that is not known to have ended may be the one that speaks, where the door does not know which."""

NAME_WORDS_MAX = 3

_REPEATED = frozenset({"task", "prompt"})
"""Kinds whose states are alike by their nature."""
_COMMANDED = frozenset({"note", "decision"})
"""Kinds that say what holds; a sentence in them that begins with a command is an order."""
_WORDS = re.compile(r"[^\W\d_]{2,}")
_NOT_WORDS = re.compile(r"[^\w\s]|_")
_FREE_TEXT = re.compile(r"[\"'`#]|<<|\b(?:echo|printf|cat|curl|wget|eval|-c|-e|-m)\b|https?:")
"""What in a command can carry a text of its own."""
_BESIDE_A_COMMAND = frozenset({"error", "fix"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """How far a memory may be believed, and why it waits for a review; None where it does not."""

    trust: str
    held: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taint:
    """What a session read that anybody may have written: ``source`` is a kind of source, ``detail`` which one."""

    source: str
    detail: str


def judge(db: apsw.Connection, new: NewMemory, later: Later) -> Judgement:
    """How far a new memory may be believed: never more than its channel, its session and its inputs allow."""
    draft = new.draft
    trust = lowest(BY_ORIGIN.get(draft.origin, UNTRUSTED), draft.trust)
    by_user = draft.origin == "user"
    signs = Signs(_said(draft))
    if not by_user and trust != UNTRUSTED and _is_tainted(db, new) and not _is_bare(draft, signs):
        trust = UNTRUSTED
    held = signs.attack() or ("" if by_user else _sentence_in_a_name(draft))
    if not held and not by_user and draft.origin != "hook":
        held = signs.order(commands=draft.kind in _COMMANDED)
    if draft.origin == "hook" and not held and signs.order():
        trust = UNTRUSTED  # tools print orders all day; nobody would review them
    held = held or ("" if by_user else _excess(db, new, later))
    return Judgement(trust=UNTRUSTED, held=held) if held else Judgement(trust=trust)


def _said(draft: Draft) -> str:
    """All that is shown of a memory; in names, what stands between words is read as a blank."""
    names = (*draft.paths, *draft.symbols, *draft.tags, draft.branch or "")
    plain = _NOT_WORDS.sub(" ", " . ".join(names)) if any(names) else ""
    return "\n".join((draft.title, draft.text, "\n".join(names), plain))


def _sentence_in_a_name(draft: Draft) -> str:
    """Files, symbols and tags are shown beside a text; whoever puts a sentence there wants it read."""
    names = (*draft.paths, *draft.symbols, *draft.tags)
    return "sentence-in-a-name" if any(len(name.split()) > NAME_WORDS_MAX for name in names) else ""


def _is_bare(draft: Draft, signs: Signs) -> bool:
    """An error or fix of a command that carries no text: what it says is what a program of the project printed."""
    command = draft.extra.get("command")
    if draft.kind not in _BESIDE_A_COMMAND or not isinstance(command, str):
        return False
    steps = draft.extra.get("steps") or ()
    if any(_FREE_TEXT.search(str(one)) for one in (command, *steps)):
        return False
    return "http" not in draft.text and not signs.order()


def _is_tainted(db: apsw.Connection, new: NewMemory) -> bool:
    draft = new.draft
    at_us = new.now_us if draft.occurred_at is None else to_us(draft.occurred_at)
    return is_tainted(db, draft.session, at_us)


def is_tainted(db: apsw.Connection, session: str | None, at_us: int) -> bool:
    """Whether a session had read untrusted text by a moment, in whatever workspace."""
    if not session:
        return False
    row = db.execute(
        "SELECT 1 FROM session WHERE id = ? AND tainted_us IS NOT NULL AND tainted_us <= ? LIMIT 1",
        (session, at_us),
    )
    return row.fetchone() is not None


def may_be_tainted(db: apsw.Connection, workspace: int, session: str | None, now_us: int) -> bool:
    """Whether who speaks now may have read untrusted text, where the door may know only an older session.

    A client gives a server the session that started it; after ``/clear`` it is another one that speaks.
    """
    if is_tainted(db, session, now_us):
        return True
    row = db.execute(
        "SELECT ended_us IS NULL FROM session WHERE workspace = ? AND id = ?", (workspace, session or "")
    ).fetchone()
    if row is not None and row[0]:
        return False
    others = db.execute(
        "SELECT 1 FROM session WHERE tainted_us IS NOT NULL AND workspace = ? AND tainted_us >= ? "
        "AND (ended_us IS NULL OR ended_us >= ?) LIMIT 1",
        (workspace, now_us - OTHERS_US, now_us - HOUR_US),
    )
    return others.fetchone() is not None


def taint(db: apsw.Connection, workspace: int, session: str, found: Taint, at_us: int) -> None:
    """Notes that a session read untrusted text; what it claimed since then is not believed any more."""
    if not session:
        return
    db.execute(
        "INSERT INTO session (workspace, id, started_us, tainted_us) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (workspace, id) DO UPDATE SET tainted_us = min(coalesce(tainted_us, excluded.tainted_us), "
        "excluded.tainted_us)",
        (workspace, session, at_us, at_us),
    )
    db.execute(
        "INSERT INTO session_taint SELECT ?1, ?2, ?3, ?4, ?5 WHERE "
        "(SELECT count(*) FROM session_taint WHERE workspace = ?1 AND session = ?2) < ?6 "
        "ON CONFLICT DO UPDATE SET at_us = min(at_us, excluded.at_us)",
        (workspace, session, found.source, found.detail[:DETAIL_CHARS_MAX], at_us, SOURCES_MAX),
    )
    db.execute(
        "UPDATE memory SET trust = ? WHERE workspace = ? AND session = ? AND trust = 'claimed' AND occurred_us >= ?",
        (UNTRUSTED, workspace, session, at_us),
    )


def taint_known(db: apsw.Connection, session: str, found: Taint, at_us: int) -> None:
    """The same for an event that is kept out: where it happened is not asked, only where its session is known."""
    rows: list[Any] = db.execute("SELECT workspace FROM session WHERE id = ?", (session,)).fetchall()
    for (workspace,) in rows:
        taint(db, int(workspace), session, Taint(source=found.source, detail="kept out by a rule"), at_us)


def taint_by_shown(db: apsw.Connection, injection: int) -> None:
    """Notes that a session was shown an untrusted memory: what it says afterwards may be made of it."""
    row = db.execute(
        "SELECT i.workspace, i.session, i.at_us, m.id FROM injection i JOIN injection_memory s ON s.injection = i.key "
        "JOIN memory m ON m.key = s.memory WHERE i.key = ? AND i.session != '' AND m.trust = ? LIMIT 1",
        (injection, UNTRUSTED),
    ).fetchone()
    if row:
        taint(db, row[0], row[1], Taint(source="memory", detail=str(row[3])), row[2])


def _excess(db: apsw.Connection, new: NewMemory, later: Later) -> str:
    """Why a memory is one too many of its source, and counts it."""
    draft = new.draft
    if draft.origin == "import":
        return ""
    at_us = new.now_us if draft.occurred_at is None else to_us(draft.occurred_at)
    place = (new.workspace, draft.session or "", draft.origin, at_us // HOUR_US)
    total = later.one_more(db, (*place, b""), new.now_us)
    if total == 1:
        later.drop_counts(db, new.now_us - RATES_KEPT_US)
    if total > HOURLY.get(draft.origin, total):
        return "quota"
    if draft.origin == "hook" or draft.kind in _REPEATED:
        return ""
    bands = bands_of(_WORDS.findall(draft.text.lower()))
    counts = [later.one_more(db, (*place, band), new.now_us) for band in bands]
    return "flood" if max(counts, default=0) > SIMILAR_HOURLY else ""


def inherit(db: apsw.Connection, key: int, source: int) -> None:
    """Lowers a memory to the tier of one that it was made of."""
    db.execute(
        "UPDATE memory SET trust = ?1 WHERE key = ?2 AND trust != ?1 "
        "AND (SELECT trust FROM memory WHERE key = ?3) = ?1",
        (UNTRUSTED, key, source),
    )


def said_again(db: apsw.Connection, key: int, draft: Draft) -> None:
    """Raises a memory that the user says too, in the same words; nobody else raises one."""
    if lowest(BY_ORIGIN[draft.origin], draft.trust) == USER and not attack_in(_said(draft)):
        db.execute("UPDATE memory SET trust = ?, held = NULL WHERE key = ? AND trust != ?", (USER, key, USER))


def boundary(db: apsw.Connection, session: str) -> str:
    """The word between which memories are quoted in a session."""
    secret = db.execute("SELECT value FROM secret WHERE name = 'boundary'").get
    return boundary_of(str(secret), session)


def held(db: apsw.Connection, limit: int) -> list[tuple[str, str]]:
    """Ids of active memories that wait for a review, newest first, each with the reason."""
    rows = db.execute(
        "SELECT id, held FROM memory WHERE held IS NOT NULL AND status = 'active' ORDER BY key DESC LIMIT ?",
        (limit,),
    )
    return [(str(memory_id), str(reason)) for memory_id, reason in rows]


def counts(db: apsw.Connection) -> dict[str, dict[str, int]]:
    """How many active memories there are by tier, and how many wait for a review by reason."""
    tiers = db.execute("SELECT trust, count(*) FROM memory WHERE status = 'active' GROUP BY 1")
    waiting = db.execute(
        "SELECT held, count(*) FROM memory WHERE held IS NOT NULL AND status = 'active' GROUP BY 1"
    )
    return {
        "trust": {str(name): int(count) for name, count in tiers},
        "review": {str(reason): int(count) for reason, count in waiting},
    }


def accept(db: apsw.Connection, memory_id: str) -> None:
    """Makes a memory one that the user confirmed, whether it waited for a review or not.

    Raises:
        NotFound: no such memory.
        Conflict: it is not active, or needs no review.
    """
    row = db.execute("SELECT status, trust, held FROM memory WHERE id = ?", (memory_id,)).fetchone()
    if row is None:
        raise NotFound(f"id: no memory {memory_id}")
    if row[0] != "active":
        raise Conflict(f"id: memory {memory_id} is {row[0]}")
    if row[2] is None and row[1] in {CONFIRMED, USER}:
        raise Conflict(f"id: memory {memory_id} needs no review, it is {row[1]}")
    db.execute("UPDATE memory SET trust = ?, held = NULL WHERE id = ?", (CONFIRMED, memory_id))
    note(db, "accepted", memory_id, {"before": str(row[1]), "held": row[2] or ""})


def is_of_user(db: apsw.Connection, memory_id: str) -> bool:
    """Whether the user typed or confirmed a memory."""
    trust = db.execute("SELECT trust FROM memory WHERE id = ?", (memory_id,)).get
    return trust in {USER, CONFIRMED}


def is_untrusted(db: apsw.Connection, memory_id: str) -> bool:
    """Whether a memory is in the lowest tier."""
    return bool(db.execute("SELECT trust FROM memory WHERE id = ?", (memory_id,)).get == UNTRUSTED)


def distrust(db: apsw.Connection, memory_id: str) -> None:
    """Puts a memory into the lowest tier."""
    db.execute("UPDATE memory SET trust = ? WHERE id = ?", (UNTRUSTED, memory_id))
    note(db, "distrusted", memory_id)


def of_session(db: apsw.Connection, session: str) -> list[str]:
    """Ids of the active memories of a session, and of what was made of them."""
    return _with_derived(db, "m.session = ?", (session,))


def of_origin(db: apsw.Connection, origin: str) -> list[str]:
    """Ids of the active memories of an origin, and of what was made of them."""
    return _with_derived(db, "m.origin = ?", (origin,))


def of_import(db: apsw.Connection, run: str) -> list[str]:
    """Ids of the active memories that an import created, and of what was made of them.

    Raises:
        NotFound: no such import.
    """
    if db.execute("SELECT 1 FROM import_run WHERE id = ?", (run,)).fetchone() is None:
        raise NotFound(f"import: no import {run}")
    made = (
        "m.key IN (SELECT i.memory FROM import_memory i JOIN import_run r ON r.key = i.run "
        "WHERE r.id = ? AND i.created)"
    )
    return _with_derived(db, made, (run,))


def of_url(db: apsw.Connection, prefix: str) -> list[str]:
    """Ids of the active memories of pages whose address begins so, and of what their sessions said afterwards.

    What the user said and what hooks saw of programs stays.
    """
    own = "m.origin = 'tool' AND substr(coalesce(m.extra ->> 'url', ''), 1, length(?1)) = ?1"
    after = (
        "m.trust = 'untrusted' AND m.origin != 'user' AND EXISTS (SELECT 1 FROM session_taint t "
        "WHERE t.session = m.session AND t.source = 'web' AND substr(t.detail, 1, length(?1)) = ?1 "
        "AND m.occurred_us >= t.at_us)"
    )
    return _with_derived(db, f"(({own}) OR ({after}))", (prefix,))


def _with_derived(db: apsw.Connection, where: str, values: Sequence[str]) -> list[str]:
    rows = db.execute(
        f"WITH RECURSIVE made (key) AS (SELECT m.key FROM memory m WHERE {where} UNION "
        "SELECT CASE l.kind WHEN 'fixes' THEN l.source WHEN 'supersedes' THEN l.source END FROM memory_link l "
        "JOIN made ON l.target = made.key WHERE l.kind IN ('fixes', 'supersedes')) "
        "SELECT id FROM memory JOIN made USING (key) WHERE status = 'active' ORDER BY key",
        tuple(values),
    )
    return [str(memory_id) for (memory_id,) in rows]


def forgotten_because(db: apsw.Connection, start: str) -> list[str]:
    """Ids of forgotten memories whose reason begins so."""
    rows = db.execute(
        "SELECT id FROM memory WHERE status = 'forgotten' AND substr(reason, 1, length(?1)) = ?1 ORDER BY key",
        (start,),
    )
    return [str(memory_id) for (memory_id,) in rows]
