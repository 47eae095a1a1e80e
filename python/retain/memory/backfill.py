"""Past sessions become memories as if the hooks had been there: same events, same receipts, same drafts.

An event whose receipt is there, brought by a hook or by an earlier run, is passed over before it is redacted.
A batch is one transaction, and a transcript counts as read only when its last batch is committed: a run that
is cut short at any moment and started again ends in the same state as one that was not.
"""

from __future__ import annotations

import asyncio
import os
from bisect import bisect_left
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import apsw

from retain.capture import past_sessions
from retain.capture.parse import event_of
from retain.capture.past_sessions import Told, Transcript
from retain.memory.controls import WHOLE_PROJECT, Controls, keep_marks, keep_out
from retain.memory.digesting import Digested, digest
from retain.memory.drain import Kept, keep
from retain.memory.sessions import SessionStates
from retain.memory.workspaces import Workspaces
from retain.model import Event
from retain.storage import imports
from retain.storage.audit import BY_IMPORT
from retain.storage.reads import Reader
from retain.storage.sqlite import SqliteStore

BATCH_EVENTS = 256
BATCH_BYTES_MAX = 8 * 1024 * 1024
BATCHES_MAX = 4
"""As many times as large may a batch become that must not end yet."""
QUIET_US = 10 * 60 * 1_000_000
"""A transcript that was written to within this time may go on: its last turn is left for the next run."""
TWIN_US = 10 * 1_000_000
"""How far a hook's clock and the time of a line may lie apart for the same event."""


@dataclass(slots=True)
class Account:
    """What became of the events; their sum is ``events``."""

    files: int = 0
    unchanged: int = 0
    bytes: int = 0
    events: int = 0
    known: int = 0
    kept: int = 0
    merged: int = 0
    empty: int = 0
    excluded: int = 0
    dead: int = 0
    memories: int = 0
    redacted: dict[str, int] = field(default_factory=dict)
    unreadable: list[dict[str, str]] = field(default_factory=list)

    def add(self, kept: Kept) -> None:
        """Counts an event by its outcome."""
        match kept.outcome:
            case "kept" | "damaged":
                self.kept += 1
            case "merged":
                self.merged += 1
            case "dead":
                self.dead += 1
            case "replayed":
                self.known += 1
            case "excluded":
                self.excluded += 1
            case _:
                self.empty += 1
        self.memories += kept.memories
        for rule, count in kept.redacted.items():
            self.redacted[rule] = self.redacted.get(rule, 0) + count

    def to_json(self) -> dict[str, Any]:
        """The account as JSON values; ``lost`` is what the outcomes do not add up to."""
        outcomes = self.known + self.kept + self.merged + self.empty + self.excluded + self.dead
        names = (
            "files", "unchanged", "bytes", "events", "known", "kept", "merged", "empty", "excluded", "dead",
        )  # fmt: skip
        return {
            **{name: getattr(self, name) for name in names},
            "lost": self.events - outcomes,
            "memories": self.memories,
            "redacted": dict(sorted(self.redacted.items())),
            "unreadable": self.unreadable,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """An event of a transcript and the workspace it belongs to."""

    told: Told
    event: Event
    root: str
    workspace: int


class Backfill:
    """Reads the transcripts of a folder into a store, in one run.

    Args:
        store: where to.
        workspaces: resolves the folders of the sessions.
        controls: say what is kept.
        run: the run that is recorded.
        trust: tier of all that is told, where the files are not the client's own; None judges it as hooks' events.
        workspace: (root, key) of the one workspace that everything goes to; None asks each session's folder.
    """

    def __init__(
        self,
        store: SqliteStore,
        workspaces: Workspaces,
        controls: Controls,
        run: imports.Run,
        *,
        workspace: tuple[str, int] | None = None,
        trust: str | None = None,
    ) -> None:
        self._trust = trust
        self._store = store
        self._workspaces = workspaces
        self._controls = controls
        self._is_off = False
        self._run = run
        self._one_place = workspace
        self._places: dict[tuple[str, str], tuple[str, int]] = {}
        self._twins: dict[tuple[int, str], _Twins] = {}
        self.account = Account()

    async def read(self, files: Sequence[Transcript], now_us: int) -> AsyncIterator[int]:
        """Reads the transcripts; yields the bytes that were read since the last time.

        A transcript that cannot be read is named in the account, and the others go on.
        """
        done = await self._store.read(lambda reader: imports.finished_files(reader.connection))
        for transcript in files:
            self.account.files += 1
            if done.get(os.fsencode(transcript.path)) == (transcript.size, transcript.mtime_ns):
                self.account.unchanged += 1
                yield transcript.size
                continue
            is_over = transcript.mtime_ns // 1000 < now_us - QUIET_US
            try:
                async for count in self._file(transcript, is_over=is_over):
                    yield count
            except OSError as error:
                problem = error.strerror or str(error)
                self.account.unreadable.append({"file": str(transcript.path), "problem": problem})
        self._twins.clear()

    async def _file(self, transcript: Transcript, *, is_over: bool) -> AsyncIterator[int]:
        self._twins.clear()
        self._is_off = False  # a file of a project that is switched off is read again when it is not any more
        batch: list[Told] = []
        before = flushed = 0
        for told, read in past_sessions.tell(transcript, is_over=is_over):
            if told is not None:
                batch.append(told)
            if _may_end(batch, read - flushed):
                await self._keep_all(batch)
                yield read - before
                batch, before, flushed = [], read, read
        await self._keep_all(batch, finished=transcript if is_over else None)
        self.account.bytes += transcript.size
        yield max(0, transcript.size - before)

    async def _keep_all(self, batch: Sequence[Told], finished: Transcript | None = None) -> None:
        self.account.events += len(batch)
        events = [_event_of(told) for told in batch]
        verdicts = await self._controls.judge(events)
        judged = list(zip(batch, events, verdicts, strict=True))
        placed = [await self._place(told, event) for told, event, verdict in judged if not verdict.rule]
        fresh = await self._fresh(placed)
        self.account.known += len(placed) - len(fresh)
        ready = await asyncio.to_thread(lambda: [(one, _digested(one, self._trust)) for one in fresh])
        run = self._run.key
        if any(verdict.rule in WHOLE_PROJECT for verdict in verdicts):
            self._is_off = True

        def write(db: apsw.Connection) -> list[Kept]:
            answers = [_excluded(db, event, verdict.rule) for _, event, verdict in judged if verdict.rule]
            for _, event, verdict in judged:
                keep_marks(db, event, verdict)
            sessions = SessionStates()
            answers += [_keep_one(db, run, one, digested, sessions) for one, digested in ready]
            sessions.flush(db)
            if finished is not None and not self._is_off:
                path = os.fsencode(finished.path)
                imports.finish_file(db, run, path, finished.size, finished.mtime_ns)
            return answers

        if ready or finished is not None or len(placed) < len(batch):
            for kept in await self._store.write(write, BY_IMPORT):
                self.account.add(kept)

    async def _place(self, told: Told, event: Event) -> _Placed:
        cwd = event.cwd or told.home or "/"
        root, key = self._one_place or await self._workspace_of(cwd, told.home)
        return _Placed(told=told, event=event, root=root, workspace=key)

    async def _workspace_of(self, cwd: str, home: str) -> tuple[str, int]:
        """The workspace of a folder; of one that is gone, that of the folder its session began in."""
        place = self._places.get((cwd, home))
        if place is None:
            is_below = bool(home) and (cwd == home or cwd.startswith(home.rstrip("/") + "/"))
            folder = home if is_below and not _is_folder(cwd) else cwd
            workspace, key = await self._workspaces.at(folder)
            place = self._places[cwd, home] = (workspace.root, key)
        return place

    async def _fresh(self, placed: Sequence[_Placed]) -> list[_Placed]:
        """Those that nobody has captured yet; what a hook captured is noted as told."""
        copies = [one.told.copy for one in placed]
        ids = [one.event.id for one in placed]
        told, known = await self._store.read(
            lambda reader: (
                imports.told_copies(reader.connection, copies),
                imports.with_receipts(reader.connection, ids),
            )
        )
        new: dict[bytes, _Placed] = {}
        for one in placed:
            if one.told.copy not in told:
                new.setdefault(one.told.copy, one)
        twins = await self._paired([one for one in new.values() if one.event.id not in known])
        by_hooks = [
            (copy, one.event.id if one.event.id in known else twins[copy])
            for copy, one in new.items()
            if one.event.id in known or copy in twins
        ]
        if by_hooks:
            await self._store.write(lambda db: self._note(db, by_hooks))
        captured = {copy for copy, _ in by_hooks}
        return [one for copy, one in new.items() if copy not in captured]

    def _note(self, db: apsw.Connection, by_hooks: Sequence[tuple[bytes, str]]) -> None:
        for copy, event in by_hooks:
            imports.note_event(db, self._run.key, copy, event, own=False)

    async def _paired(self, events: Sequence[_Placed]) -> dict[bytes, str]:
        """The receipts of events that hooks brought under an id of their own; calls of tools have the same."""
        sessions: dict[tuple[int, str], list[_Placed]] = {}
        for one in events:
            if _has_own_id(one.told):
                sessions.setdefault((one.workspace, one.event.session), []).append(one)
        found: dict[bytes, str] = {}
        for key, theirs in sessions.items():
            if key not in self._twins:
                self._twins[key] = _Twins(await self._store.read(partial(_captured, *key)))
            found |= self._twins[key].pair(theirs)
        return found


def _captured(workspace: int, session: str, reader: Reader) -> list[tuple[str, str, int]]:
    return imports.captured_by_hooks(reader.connection, workspace, session)


class _Twins:
    """What hooks captured of a session; each is given away once."""

    def __init__(self, rows: Sequence[tuple[str, str, int]]) -> None:
        self._by_name: dict[str, list[tuple[int, str]]] = {}
        for event, name, at_us in rows:
            self._by_name.setdefault(name, []).append((at_us, event))

    def pair(self, events: Sequence[_Placed]) -> dict[bytes, str]:
        """Receipts by what they were given to, the nearest in time first.

        So what hooks missed takes none from another event soon after it.
        """
        near = sorted(
            (abs(row[0] - one.told.at_us), row, place)
            for place, one in enumerate(events)
            for row in self._near(one.event.name, one.told.at_us)
        )
        found: dict[bytes, str] = {}
        for _, row, place in near:
            one = events[place]
            rows = self._by_name[one.event.name]
            if one.told.copy not in found and row in rows:
                rows.remove(row)
                found[one.told.copy] = row[1]
        return found

    def _near(self, name: str, at_us: int) -> Sequence[tuple[int, str]]:
        rows = self._by_name.get(name, [])
        return rows[bisect_left(rows, (at_us - TWIN_US, "")) : bisect_left(rows, (at_us + TWIN_US + 1, ""))]


def _has_own_id(told: Told) -> bool:
    """Whether hook and transcript know an event by different ids."""
    return not told.payload.get("tool_use_id")


def _may_end(batch: Sequence[Told], read: int) -> bool:
    """Whether a batch is large enough, and none that follows may be the twin of what one in it could be."""
    size = max(len(batch) / BATCH_EVENTS, read / BATCH_BYTES_MAX)
    if size < 1 or not batch:
        return size >= 1
    last_us = next((one.at_us for one in reversed(batch) if _has_own_id(one)), None)
    return size >= BATCHES_MAX or last_us is None or batch[-1].at_us - last_us > TWIN_US


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def _event_of(told: Told) -> Event:
    branch = told.payload.get("gitBranch")
    event = event_of(
        told.payload,
        received_at_us=told.at_us,
        branch=branch if isinstance(branch, str) and branch else None,
    )
    return event if event.cwd else replace(event, cwd=told.home)


def _excluded(db: apsw.Connection, event: Event, rule: str) -> Kept:
    fresh = keep_out(db, event, rule)
    return Kept(outcome="excluded" if fresh else "replayed", memories=0, redacted={})


def _digested(one: _Placed, trust: str | None) -> Digested:
    return digest(one.event, b"", one.root, one.workspace, context=one.told.context, trust=trust)


def _keep_one(
    db: apsw.Connection, run: int, one: _Placed, digested: Digested, sessions: SessionStates
) -> Kept:
    kept = keep(db, digested, sessions)
    imports.note_event(db, run, one.told.copy, one.event.id, own=kept.outcome != "replayed")
    for added in kept.added:
        imports.note_memory(db, run, added)
    return kept
