"""The values that travel between the rooms: Memory, Query, Filter, Hit, Recall, Event, Draft.

All are frozen, slotted and keyword-only. Times are aware datetimes in UTC at this level and
integer microseconds since the epoch in the store. Ids are UUIDv7 strings made by the client,
so that every retry is idempotent.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, Literal

from retain.errors import InvalidInput

KINDS: Mapping[str, str] = {
    "prompt": "what the user asked",
    "file_change": "a file written or edited: path, hunk summary, symbols",
    "command": "a shell command: command, working directory, exit code, tail of its output",
    "error": "a failure with its normalised signature",
    "fix": "what made an error disappear",
    "decision": "a choice and its reason",
    "task": "something to do, and whether it is done",
    "search": "what was looked for, and where",
    "summary": "the last message of a turn, or the summary of a compaction",
    "note": "something remembered on purpose",
    "commit": "a commit made in a session",
}
"""Every kind of memory. A new kind is one entry here and one function in capture/distil.py."""

ORIGINS = ("user", "assistant", "hook", "tool", "import")
"""Who said it. Set by the channel, never by an argument of a tool."""

STATUSES = ("active", "superseded", "forgotten")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Origin = Literal["user", "assistant", "hook", "tool", "import"]
Status = Literal["active", "superseded", "forgotten"]


def to_us(moment: datetime) -> int:
    """Microseconds since the epoch; a naive datetime is read as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // _MICROSECOND


def from_us(us: int) -> datetime:
    """The aware UTC datetime of a number of microseconds since the epoch."""
    return EPOCH + timedelta(microseconds=us)


_TIMES = {"min": to_us(datetime(1970, 1, 1, tzinfo=UTC)), "max": to_us(datetime(9999, 1, 1, tzinfo=UTC))}


def read_time(value: str | float | datetime, field: str) -> datetime:
    """Reads a moment: an aware datetime, an ISO 8601 string, or seconds since the epoch.

    A date alone is its midnight, and a time without a zone is UTC.

    Raises:
        InvalidInput: not a time, or outside the years 1970 to 9998.
    """
    try:
        if isinstance(value, datetime):
            moment = value
        elif isinstance(value, bool):
            raise TypeError
        elif isinstance(value, int | float):
            moment = EPOCH + timedelta(seconds=value)
        else:
            moment = datetime.fromisoformat(value)
        us = to_us(moment)
    except (TypeError, ValueError, OverflowError):
        raise InvalidInput(
            field, "not a time", hint="use ISO 8601, for example 2026-11-23 or 2026-11-23T14:00:00Z"
        ) from None
    if not _TIMES["min"] <= us < _TIMES["max"]:
        raise InvalidInput(field, "outside the years 1970 to 9998", limit="1970..9998")
    return from_us(us)


class _IdSource:
    """UUIDv7 (RFC 9562 section 5.7): 48 bits of milliseconds, a counter, random bits.

    Ids of one process grow strictly, also when the clock steps back a little. After a larger step (a clock
    that was wrong was set right) they follow the clock again: an id must not hold a wrong time for ever.
    """

    STEP_BACK_MS_MAX = 60_000

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def new(self) -> str:
        with self._lock:
            now = max(0, time.time_ns() // 1_000_000) << 12
            stepped_far = self._last - now > self.STEP_BACK_MS_MAX << 12
            stamp = now if stepped_far else max(now, self._last + 1)
            self._last = stamp
        high = (stamp >> 12 << 16) | 0x7000 | (stamp & 0xFFF)
        low = (int.from_bytes(os.urandom(8), "big") & 0x3FFF_FFFF_FFFF_FFFF) | (2 << 62)
        text = f"{(high << 64) | low:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


new_id = _IdSource().new
"""A new UUIDv7 string; growing within one process, unless the clock is set back by more than a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A memory before it has an identity: what capture, importers and ``remember`` hand to the store.

    ``origin`` is set by the channel. ``occurred_at`` None means now. ``extra`` holds the kind's own
    facts (a command's exit code, an error's signature) as JSON values. ``worktree``, ``dirty`` and
    ``blobs`` are as of a ``Memory``. ``trust`` is the tier of what it was made of, where that is known to be lower than
    that of its origin (``retain.trust``); it never raises anything.
    """

    text: str
    title: str = ""
    kind: str = "note"
    paths: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    origin: Origin = "user"
    branch: str | None = None
    commit: str | None = None
    worktree: str | None = None
    dirty: bool | None = None
    blobs: Mapping[str, str] = field(default_factory=dict)
    session: str | None = None
    occurred_at: datetime | None = None
    source_id: str | None = None
    context: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    redacted: Mapping[str, int] = field(default_factory=dict)
    trust: str | None = None

    def changed(self, **values: Any) -> Draft:
        """A copy with other values in some fields; ``dataclasses.replace`` takes twice as long."""
        return Draft(**{**dict(zip(_DRAFT_FIELDS, _draft_values(self), strict=True)), **values})


_DRAFT_FIELDS = tuple(one.name for one in fields(Draft))
_draft_values = attrgetter(*_DRAFT_FIELDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """One remembered fact.

    Attributes:
        id: UUIDv7 string.
        workspace: id of the workspace (repository) it belongs to.
        paths: files it speaks of, relative to the workspace where they lie inside it.
        origin: who said it, set by the channel.
        trust: how far it may be believed (``retain.trust``); held: why it waits for a review, None where it does not.
        status: ``active``, ``superseded`` (a revision replaced it) or ``forgotten``.
        branch: what was checked out when it was made, with the commit; worktree: the working tree's top.
        dirty: whether files were known to differ from that commit; None where that is not known.
        blobs: what files held then, by path, as git names it; only where that is known.
        occurred_at: when it happened; recorded_at: when it was stored (valid and recorded time).
        content_hash: hex BLAKE2b-128 of kind, title and text; checked on read.
        seen: how often exactly this was stored.
        near: ids of similar memories, filled only in the answer to ``remember``.
        created: False where ``remember`` merged an exact duplicate.
    """

    id: str
    workspace: str
    kind: str
    title: str
    text: str
    paths: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    origin: str = "user"
    trust: str = "untrusted"
    held: str | None = None
    status: str = "active"
    branch: str | None = None
    commit: str | None = None
    worktree: str | None = None
    dirty: bool | None = None
    blobs: Mapping[str, str] = field(default_factory=dict)
    session: str | None = None
    occurred_at: datetime = EPOCH
    recorded_at: datetime = EPOCH
    source_id: str | None = None
    supersedes: str | None = None
    superseded_by: str | None = None
    reason: str | None = None
    content_hash: str = ""
    seen: int = 1
    extra: Mapping[str, Any] = field(default_factory=dict)
    redacted: Mapping[str, int] = field(default_factory=dict)
    near: tuple[str, ...] = ()
    created: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One hook event as the drain sees it, parsed from a spool record.

    ``payload`` is everything the client sent, unknown fields included. ``head`` and ``branch`` are the
    commit and branch that the hook read when it ran. ``damaged`` names what had to be given up
    (``truncated``, ``not_json``), else None.
    """

    id: str
    name: str
    session: str
    cwd: str
    received_at: datetime
    payload: Mapping[str, Any]
    branch: str | None = None
    commit: str | None = None
    damaged: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A repository, or a folder where there is none.

    ``identity`` survives renames, worktrees and clones: root commit and normalised remote, else a marker.
    """

    id: str
    identity: str
    name: str
    root: str


@dataclass(frozen=True, slots=True, kw_only=True)
class All:
    """Every part must hold; holds where there are no parts."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyOf:
    """At least one part must hold."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Not:
    """The part must not hold."""

    part: Filter


@dataclass(frozen=True, slots=True, kw_only=True)
class In:
    """The field has one of the values (for tags and paths: any of them)."""

    field: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Glob:
    """The field matches the pattern: ``*`` within a folder, ``**`` across folders, ``?`` one character."""

    field: str
    pattern: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """A time range in microseconds, low included, high excluded; None is open."""

    field: str
    low: int | None = None
    high: int | None = None


Filter = All | AnyOf | Not | In | Glob | Between


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """When what a question asks for happened, as the question says it.

    Attributes:
        phrase: the words of the question that say it.
        rest: the question without them.
        low: microseconds since the epoch from which on, or None.
        high: microseconds before which, or None.
        release: for a time that hangs on a release, its name; ``side`` says which side of it is meant.
        side: ``before``, ``since`` or empty.
        alone: whether the rest says nothing of its own; then everything of that time is meant.
    """

    phrase: str
    rest: str
    low: int | None = None
    high: int | None = None
    release: str = ""
    side: str = ""
    alone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to recall. ``workspace`` None searches every workspace of this store."""

    text: str = ""
    filter: Filter | None = None
    workspace: str | None = None
    limit: int = 10
    period: Period | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A memory that fits, its score in 0..1, and the parts that the score is made of.

    ``state`` says whether what it speaks of is still so (see ``retain.memory.truth``), ``note`` why not.
    """

    memory: Memory
    score: float
    parts: Mapping[str, float]
    snippet: str = ""
    state: str = "fresh"
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """The answer to a recall.

    Attributes:
        hits: best first.
        hidden: how many candidates were withheld, by reason (for example ``below_confidence``, ``other_branch``).
        plan: the plan with its estimates beside the truth, as JSON values; see ``retain explain``.
        abstained: True where there were candidates and none was good enough, or none at all.
        confidence: how likely the best hits answer the question, in 0..1; 1 without words.
        elapsed_us: time of the whole recall in microseconds.
        tokens: tokens that the hits take when rendered, where a budget was given.
        files: what of the working tree the answer rests on: paths, and how each file was.
    """

    hits: Sequence[Hit]
    hidden: Mapping[str, int]
    plan: Mapping[str, Any]
    abstained: bool
    confidence: float = 0.0
    elapsed_us: int = 0
    tokens: int = 0
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A memory as it is told where it is asked for: ``state`` and ``note`` as in a ``Hit``."""

    memory: Memory
    state: str = "fresh"
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Memories in order of time, oldest first; ``hidden`` says how many were withheld among them, by reason."""

    told: Sequence[Told] = ()
    hidden: Mapping[str, int] = field(default_factory=dict)

    @property
    def memories(self) -> list[Memory]:
        """The memories alone."""
        return [one.memory for one in self.told]
