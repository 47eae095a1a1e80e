"""The drain: spooled events become memories, each exactly once, in order within a session.

One process at a time drains, by a lock file; it seals the live segment, digests the sealed ones in batches
(one transaction a batch), and removes a segment only when every record of it is committed. A crash anywhere
in between replays events, and receipts make replays change nothing.
"""

from __future__ import annotations

import asyncio
import fcntl
import gc
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

import apsw

from retain import keys
from retain.batching import BatchProcessor
from retain.capture import spool
from retain.capture.parse import parse_event
from retain.capture.taint import taint_of
from retain.config import Settings
from retain.errors import RetainError
from retain.memory.controls import Controls, Verdict, keep_marks, keep_out
from retain.memory.digesting import Digested, digest
from retain.memory.precedence import Precedence
from retain.memory.receipts import Receipts, watch_uses
from retain.memory.serving import Serving
from retain.memory.sessions import SessionStates, Trackers
from retain.memory.workspaces import Workspaces
from retain.model import Draft, Event, new_id, to_us
from retain.sealing import ID_BYTES, Unsealable
from retain.storage import aside, writes
from retain.storage.audit import BY_HOOK
from retain.storage.sqlite import SqliteStore
from retain.storage.trust import taint, taint_known

logger = logging.getLogger(__name__)

DRAIN_LOCK = "drain.lock"
DAMAGED = "damaged"

BACKLOG_EVENTS, BACKLOG_TIMES = 2_000, 4
"""From so many events on, a transaction takes more of them: fewer of them cost less, and who remembers waits longer."""

TIME_US_MAX = to_us(datetime(9998, 1, 1, tzinfo=UTC))
"""The clock of a hook may stand beyond what a date can hold; its events are then from this moment."""


_Placed: TypeAlias = tuple[spool.Record, Event, Verdict, str, int]
"""What an event was read from, the event, what is said of it, and the top and the key of its workspace."""


@dataclass(slots=True)
class DrainReport:
    """What one drain did; events are counted by outcome."""

    events: int = 0
    memories: int = 0
    replayed: int = 0
    excluded: int = 0
    dead: int = 0
    damaged_bytes: int = 0
    redacted: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What became of an event in the store."""

    outcome: str
    memories: int
    redacted: Mapping[str, int]
    added: tuple[writes.Added, ...] = ()


class Drain:
    """Empties the spool of one data directory into its store."""

    def __init__(
        self,
        settings: Settings,
        store: SqliteStore,
        workspaces: Workspaces,
        receipts: Receipts,
        serving: Serving,
        controls: Controls,
    ) -> None:
        self.precedence = Precedence()
        self._settings = settings
        self._serving = serving
        self._controls = controls
        self._receipts = receipts
        self._store = store
        self._workspaces = workspaces
        self._directory = str(settings.spool)
        self._running: asyncio.Task[DrainReport] | None = None
        self._batches: BatchProcessor[spool.Record, Kept] = BatchProcessor(
            self._digest_batch,
            batch_size=settings.drain_batch,
            max_attempts=settings.drain_attempts,
            ordered=True,
            dead_max=0,  # a record that fails stays in its segment
        )
        self._share = 1.0
        self._trackers = Trackers()
        self.totals = DrainReport()

    def waiting_bytes(self) -> int:
        """Bytes that wait in the spool."""
        return spool.waiting_bytes(self._directory)

    def set_batch_share(self, share: float) -> None:
        """Takes at most this share of the usual events into one transaction, and at least one."""
        self._share = share
        self._batches.resize(self._batch_size(0))

    def _batch_size(self, waiting: int) -> int:
        times = BACKLOG_TIMES if waiting >= BACKLOG_EVENTS else 1
        return max(1, int(self._settings.drain_batch * self._share * times))

    async def run(self) -> DrainReport:
        """Drains what is in the spool now; joins a drain that this process is already running.

        Where another process drains, this returns at once with an empty report.

        Raises:
            RetainError: the store refused; everything stays in the spool.
        """
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="retain-drain")
            self._running.add_done_callback(self._finished)
        return await asyncio.shield(self._running)

    async def before_recall(self) -> None:
        """Gives waiting events a moment to become findable; never fails and never waits for long."""
        if self._settings.recall_drain_ms == 0 or not self.waiting_bytes():
            return
        with suppress(TimeoutError, RetainError, OSError):
            async with asyncio.timeout(self._settings.recall_drain_ms / 1000):
                await self.run()

    async def keep_running(self) -> None:
        """Looks into the spool again and again until cancelled."""
        while True:
            await self.precedence.quiet()
            if self.waiting_bytes():
                try:
                    await self.run()
                except (RetainError, OSError) as error:
                    logger.warning("drain.failed error=%s", error)
            await self._controls.refresh()
            await self._receipts.flush()
            await asyncio.sleep(self._settings.drain_interval_ms / 1000)

    async def close(self) -> None:
        """Stops a running drain; what it has not committed stays in the spool."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    def _finished(self, task: asyncio.Task[DrainReport]) -> None:
        self._running = None
        if not task.cancelled():
            task.exception()  # callers that wait get it; with none waiting it is not lost news

    async def _run(self) -> DrainReport:
        report = DrainReport()
        lock = await asyncio.to_thread(_try_lock, self._settings.spool)
        if lock is None:
            return report
        await self._receipts.flush()  # what was shown before the events that may use it
        try:
            now_ns = time.time_ns()
            await asyncio.to_thread(spool.seal, self._directory, f"seal-{now_ns:020d}-{os.getpid()}")
            for group in await asyncio.to_thread(spool.groups, self._directory, now_ns):
                await self._segments([Path(self._directory, name) for name in group], report)
            await self._controls.refresh()  # hooks learn which sessions are private now
        finally:
            self._trackers = Trackers()
            os.close(lock)
            self._add(report)
        return report

    async def _segments(self, paths: Sequence[Path], report: DrainReport) -> None:
        parts = []
        for path in paths:
            found = await asyncio.to_thread(_scanned, path)
            parts.append([item for item in found if isinstance(item, spool.Record)])
            damage = [item for item in found if isinstance(item, spool.Damage)]
            if damage:
                report.damaged_bytes += await asyncio.to_thread(_set_aside, path, damage)
        records = spool.in_order(parts)
        self._batches.resize(self._batch_size(len(records)))
        answers = await self._batches.submit_many(records).outcomes()
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        for kept in answers:
            if isinstance(kept, Kept):
                _count(report, kept)
        if failures:
            raise failures[0]
        for path in paths:
            await asyncio.to_thread(path.unlink)

    async def _digest_batch(self, records: Sequence[spool.Record]) -> list[Kept]:
        events = await asyncio.to_thread(_parsed, records)
        verdicts = await self._controls.judge(events)
        placed: list[_Placed] = []
        places: dict[str, tuple[str, int]] = {}
        for record, event, verdict in zip(records, events, verdicts, strict=True):
            if verdict.rule:  # not even where it happened is kept
                placed.append((record, event, verdict, "", 0))
                continue
            folder = event.cwd or "/"
            if folder not in places:
                workspace, key = await self._workspaces.at(folder)
                places[folder] = (workspace.root, key)
            placed.append((record, event, verdict, *places[folder]))
        ready = await asyncio.to_thread(_digested, placed)
        await self._store.read(self._serving.prepare)
        return await self._store.write(lambda db: self._keep(db, ready), BY_HOOK)

    def _keep(
        self, db: apsw.Connection, ready: Sequence[tuple[Verdict, Digested | None, Event]]
    ) -> list[Kept]:
        """Stores a batch; what is new can be found by meaning at once, where a fitted space serves."""
        sessions = SessionStates(self._trackers)
        with _uncollected():
            sessions.later.look_up_receipts(db, [event.id for _, _, event in ready])
            kept = [judged(db, *item, sessions) for item in ready]
            sessions.flush(db)
        self._serving.add(db, [added for each in kept for added in each.added])
        return kept

    def _add(self, report: DrainReport) -> None:
        self.totals.events += report.events
        self.totals.memories += report.memories
        self.totals.replayed += report.replayed
        self.totals.excluded += report.excluded
        self.totals.dead += report.dead
        self.totals.damaged_bytes += report.damaged_bytes


def _try_lock(directory: Path) -> int | None:
    """A descriptor that holds the drain lock, or None where another process drains or nothing was spooled."""
    try:
        fd = os.open(directory / DRAIN_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def _scanned(path: Path) -> list[spool.Record | spool.Damage]:
    """What stands in a segment, sealed records opened.

    Raises:
        KeyMissing: the key of one is not here; the segment stays.
    """
    return [one for item in spool.scan(path.read_bytes()) for one in _opened(item)]


def _opened(item: spool.Record | spool.Damage) -> Iterator[spool.Record | spool.Damage]:
    if not isinstance(item, spool.Record) or not item.sealed:
        yield item
        return
    key = keys.find(item.payload[:ID_BYTES].hex())
    try:
        yield from spool.scan(key.open_event(item.payload[ID_BYTES:]))
    except Unsealable:
        yield spool.Damage(0, spool.encode(item))


def _set_aside(path: Path, damage: Sequence[spool.Damage]) -> int:
    """Keeps damaged stretches beside the spool, named after segment and place, and says how many bytes."""
    directory = path.parent / DAMAGED
    directory.mkdir(mode=0o700, exist_ok=True)
    key = keys.of_home(path.parent.parent)
    for stretch in damage:
        aside.write(directory / f"{path.stem}-{stretch.offset}", stretch.data, key)
    total = sum(len(stretch.data) for stretch in damage)
    logger.warning("drain.damaged segment=%s stretches=%d bytes=%d", path.name, len(damage), total)
    return total


@contextmanager
def _uncollected() -> Iterator[None]:
    """Holds the collector of cycles off for part of a batch: 0.1 s at most.

    What a batch makes dies by its counts at its end. Until then there is much of it, and it grows fast: that is what
    starts a collection, which walks all of it, and at last all of the process, for nothing.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _parsed(records: Sequence[spool.Record]) -> list[Event]:
    with _uncollected():
        return [_parse(record) for record in records]


def _digested(placed: Sequence[_Placed]) -> list[tuple[Verdict, Digested | None, Event]]:
    with _uncollected():
        return [
            (verdict, None if verdict.rule else digest(event, record.payload, root, key), event)
            for record, event, verdict, root, key in placed
        ]


def _parse(record: spool.Record) -> Event:
    return parse_event(
        record.payload,
        received_at_us=min(record.received_at_us, TIME_US_MAX),
        cwd=record.cwd,
        branch=record.branch or None,
        commit=record.commit or None,
        truncated=record.truncated,
    )


def judged(
    db: apsw.Connection, verdict: Verdict, item: Digested | None, event: Event, sessions: SessionStates
) -> Kept:
    """Stores an event, or counts it where a rule keeps it out."""
    keep_marks(db, event, verdict)
    if item is not None:
        return keep(db, item, sessions)
    fresh = keep_out(db, event, verdict.rule or "")
    if (found := taint_of(event, event.cwd)) is not None:
        taint_known(db, event.session, found, to_us(event.received_at))
    return Kept(outcome="excluded" if fresh else "replayed", memories=0, redacted={})


def keep(db: apsw.Connection, item: Digested, sessions: SessionStates) -> Kept:
    """Stores one event's memories with its receipt; a replay changes nothing.

    Args:
        db: inside the transaction that stores it.
        item: the event, digested.
        sessions: of this transaction; to be flushed before its end.
    """
    event = item.event
    if sessions.later.has_receipt(db, event.id):
        return Kept(outcome="replayed", memories=0, redacted={})
    at_us = to_us(event.received_at)
    _touch_session(db, item, at_us, sessions)
    if item.taint is not None:
        taint(db, item.workspace, event.session, item.taint, at_us)
    kept = _dead(db, item, at_us) if item.error else _memories(db, item, at_us, sessions)
    sessions.later.add_receipt(
        event_id=event.id,
        workspace=item.workspace,
        session=event.session,
        name=event.name,
        received_us=at_us,
        drained_us=time.time_ns() // 1000,
        outcome=kept.outcome,
        memories=kept.memories,
        redacted=kept.redacted,
    )
    return kept


def _touch_session(db: apsw.Connection, item: Digested, at_us: int, sessions: SessionStates) -> None:
    event = item.event
    ended = event.name == "SessionEnd"
    sessions.touch(
        db,
        item.workspace,
        event.session,
        at_us,
        source=_text(event.payload, "source") if event.name == "SessionStart" else "",
        end_reason=_text(event.payload, "reason") or "other" if ended else None,
    )


def _text(payload: Mapping[str, object], name: str) -> str:
    value = payload.get(name)
    return value[:64] if isinstance(value, str) else ""


def _dead(db: apsw.Connection, item: Digested, at_us: int) -> Kept:
    writes.add_dead_letter(
        db, event_id=item.event.id, received_us=at_us, error=item.error or "", payload=item.payload
    )
    return Kept(outcome="dead", memories=0, redacted={})


def _memories(db: apsw.Connection, item: Digested, at_us: int, sessions: SessionStates) -> Kept:
    event = item.event
    # What a late event would have ended or left open was gone by when its session went on.
    fixes = () if item.late else sessions.fixes(db, item.workspace, event, item.drafts)
    redacted: dict[str, int] = {}
    drafts = (*item.drafts, *fixes)
    context = item.context
    if context is None and item.late:
        context = writes.last_prompt(db, item.workspace, event.session, at_us)[1]
    elif context is None:
        context = sessions.last_prompt(db, item.workspace, event.session) if drafts else ""
    for draft in drafts:
        for rule, count in draft.redacted.items():
            redacted[rule] = redacted.get(rule, 0) + count
    added = tuple(_store_draft(db, item, draft, context, at_us, sessions) for draft in drafts)
    created = sum(one.created for one in added)
    for draft, one in zip(drafts, added, strict=True):
        if draft.kind == "prompt":
            is_new = one.created and draft.occurred_at in {None, event.received_at}
            sessions.prompted(item.workspace, event.session, at_us, draft.title if is_new else None)
    if sessions.was_shown(db, item.workspace, event.session):
        watch_uses(db, event, item.workspace, item.drafts, fixes)
    outcome = "damaged" if event.damaged else "kept" if created else "merged" if drafts else "empty"
    return Kept(outcome=outcome, memories=created, redacted=redacted, added=added)


def _store_draft(
    db: apsw.Connection, item: Digested, draft: Draft, context: str, at_us: int, sessions: SessionStates
) -> writes.Added:
    event = item.event
    commit = draft.commit or event.commit
    dirty = draft.dirty
    if dirty is None and commit and sessions.has_edits(db, item.workspace, event.session, commit):
        dirty = True
    placed = draft.changed(
        branch=draft.branch or event.branch,
        commit=commit,
        worktree=item.root if commit or event.branch else None,
        dirty=dirty,
        session=event.session or None,
        occurred_at=draft.occurred_at or event.received_at,
        context=draft.context or context,
        trust=draft.trust if item.trust is None else item.trust,
    )
    new = writes.NewMemory(id=new_id(), workspace=item.workspace, draft=placed, now_us=max(at_us, 0))
    added = writes.add_memory(db, new, sessions.later)
    if placed.kind == "file_change":
        sessions.edited(item.workspace, event.session)
    if added.created and placed.kind == "fix":
        last = (placed.extra.get("error_source_id", ""), placed.extra.get("signature", ""))
        for source_id, signature in (*placed.extra.get("earlier_errors", ()), last):
            writes.link_to_error(
                db, added.key, item.workspace, source_id=str(source_id), signature=str(signature)
            )
    return added


def _count(report: DrainReport, kept: Kept) -> None:
    report.events += 1
    report.memories += kept.memories
    report.replayed += kept.outcome == "replayed"
    report.excluded += kept.outcome == "excluded"
    report.dead += kept.outcome == "dead"
    for rule, count in kept.redacted.items():
        report.redacted[rule] = report.redacted.get(rule, 0) + count
