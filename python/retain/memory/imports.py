"""Imports as a whole: recorded, accounted for, tried out on a copy, and taken back.

Every record of a source is stored, merged into a memory that says exactly the same, or skipped with a reason;
what is left over is lost, and must be none.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import apsw

from retain.capture.moving.records import Found, Item, Source
from retain.capture.past_sessions import CLAUDE_CODE, Transcript, transcripts
from retain.capture.redact import redact
from retain.config import Settings
from retain.errors import InvalidInput
from retain.memory import inputs
from retain.memory.backfill import Backfill
from retain.memory.controls import Controls
from retain.memory.workspaces import Workspaces
from retain.model import Draft, Workspace, new_id
from retain.storage import imports, writes
from retain.storage.audit import BY_IMPORT
from retain.storage.backups import copy_store
from retain.storage.later import Later
from retain.storage.sqlite import SqliteStore
from retain.trust import UNTRUSTED

BATCH_RECORDS = 200
SKIPPED_KEPT = 1_000
PART_SHARE = 0.9
"""Longer texts than the limit become parts of this share of it: their headings must fit too."""


@dataclass(slots=True)
class Parity:
    """The account of an import: in = stored + merged + skipped + lost."""

    in_count: int = 0
    stored: int = 0
    merged: int = 0
    skipped: int = 0
    redacted: int = 0
    revised: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    records: list[dict[str, str]] = field(default_factory=list)

    def skip(self, place: str, reason: str) -> None:
        """Counts a record that gives no memory, and names it for the first thousand of them."""
        self.skipped += 1
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        if len(self.records) < SKIPPED_KEPT:
            self.records.append({"record": place, "reason": reason})

    def to_json(self) -> dict[str, Any]:
        """The account as JSON values."""
        return {
            "in": self.in_count,
            "stored": self.stored,
            "merged": self.merged,
            "skipped": self.skipped,
            "lost": self.in_count - self.stored - self.merged - self.skipped,
            "redacted": self.redacted,
            "revised": self.revised,
            "reasons": dict(sorted(self.reasons.items())),
            "records": self.records,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an import is, in the unit of its total (bytes of transcripts, else records)."""

    done: int
    total: int
    memories: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A record whose drafts are checked: several where its text is longer than a memory may be."""

    place: str
    workspace: int
    stem: str
    drafts: tuple[Draft, ...]


class Imports:
    """Imports into one store, seen from one folder."""

    def __init__(
        self,
        settings: Settings,
        store: SqliteStore,
        workspaces: Workspaces,
        controls: Controls,
        *,
        folder: str,
    ) -> None:
        self._controls = controls
        self._settings = settings
        self._store = store
        self._workspaces = workspaces
        self._folder = folder

    async def runs(self) -> list[imports.Run]:
        """Every import that was made, oldest first."""
        return await self._store.read(lambda reader: imports.runs(reader.connection))

    async def undo(self, run_id: str) -> imports.Undone:
        """Forgets what an import created; what it merged into, or others stored too, stays.

        Raises:
            InvalidInput: not an id.
            NotFound: no such import.
            Conflict: it was undone before.
        """
        wanted = inputs.id_field(run_id, "id")
        reason = f"import {wanted} was undone"
        return await self._store.write(lambda db: imports.undo_run(db, wanted, reason, _now_us()))

    async def copy_to(self, path: Path) -> None:
        """Writes a copy of the store, for an import that is only tried out."""
        await self._store.write(_nothing)
        await self._store.read(lambda reader: _copy(reader.connection, path))

    async def unknown(self, files: Sequence[Transcript]) -> list[Transcript]:
        """Those of some transcripts of whose session nothing was captured and nothing was imported."""
        done, known = await self._store.read(
            lambda reader: (
                imports.finished_files(reader.connection),
                imports.known_sessions(reader.connection),
            )
        )
        return [one for one in files if os.fsencode(one.path) not in done and one.path.stem not in known]

    async def transcripts(
        self,
        place: Path,
        *,
        workspace: str | None,
        tell: Callable[[Progress], None],
        source: str = CLAUDE_CODE,
        own: bool = False,
    ) -> dict[str, Any]:
        """Reads the past sessions of a client below a folder; returns the account.

        ``own`` says that it is the folder in which the client itself keeps them; from elsewhere all is untrusted.

        Raises:
            InvalidInput: no such folder.
            StoreError: the store failed; what was committed stays, and the same call goes on from there.
        """
        files = transcripts(place, source)
        run = await self._start(source, place)
        fixed = await self._fixed(workspace)
        backfill = Backfill(
            self._store,
            self._workspaces,
            self._controls,
            run,
            workspace=fixed,
            trust=None if own else UNTRUSTED,
        )
        total, done = sum(one.size for one in files), 0
        async for count in backfill.read(files, _now_us()):
            done += count
            tell(Progress(done=done, total=total, memories=backfill.account.memories))
        return await self._finish(run, backfill.account.to_json())

    async def records(
        self, name: str, source: Source, *, workspace: str | None, tell: Callable[[Progress], None]
    ) -> dict[str, Any]:
        """Stores the records of a source; returns the parity report.

        Raises:
            StoreError: the store failed; what was committed stays, and the same call goes on from there.
        """
        run = await self._start(name, Path(source.place))
        parity = Parity(in_count=source.count)
        done = 0
        while batch := list(islice(source.records, BATCH_RECORDS)):
            await self._store_batch(run, name, batch, workspace, parity)
            done += len(batch)
            tell(Progress(done=done, total=max(source.count, done), memories=parity.stored))
        return await self._finish(run, parity.to_json())

    async def _start(self, name: str, place: Path) -> imports.Run:
        where = redact(str(place)).text.encode("utf-8", "replace").decode()
        return await self._store.write(
            lambda db: imports.start_run(db, run_id=new_id(), source=name, place=where, now_us=_now_us()),
            BY_IMPORT,
        )

    async def _finish(self, run: imports.Run, report: dict[str, Any]) -> dict[str, Any]:
        await self._store.write(lambda db: imports.finish_run(db, run.key, report, _now_us()), BY_IMPORT)
        return {"import": run.id, "source": run.source, "place": run.place, **report}

    async def _fixed(self, workspace: str | None) -> tuple[str, int] | None:
        if workspace is None:
            return None
        place, key = await self._workspaces.by_id(inputs.id_field(workspace, "workspace"))
        return place.root, key

    async def _store_batch(
        self,
        run: imports.Run,
        name: str,
        batch: Sequence[Found],
        workspace: str | None,
        parity: Parity,
    ) -> None:
        ready: list[_Ready] = []
        await self._controls.refresh()
        for found in batch:
            if found.item is None:
                parity.skip(found.place, found.skipped)
                continue
            folder = found.item.folder or self._folder
            refused = await asyncio.to_thread(self._controls.refused, folder, found.item.paths)
            if refused:
                parity.skip(found.place, f"is kept out by a rule ({refused})")
                continue
            place, key = await self._scope(found.item, workspace)
            try:
                drafts = _drafts(found.item, place, self._settings.text_chars_max)
            except InvalidInput as error:
                parity.skip(found.place, str(error))
                continue
            stem = f"{name}:{found.item.record}"
            ready.append(_Ready(place=found.place, workspace=key, stem=stem, drafts=drafts))

        def keep_all(db: apsw.Connection) -> list[tuple[bool, bool]]:
            later = Later()
            outcomes = [_keep_record(db, run.key, one, later) for one in ready]
            later.flush(db)
            return outcomes

        outcomes = await self._store.write(keep_all, BY_IMPORT)
        for one, (created, replaced) in zip(ready, outcomes, strict=True):
            parity.stored += created
            parity.merged += not created
            parity.revised += replaced
            parity.redacted += any(draft.redacted for draft in one.drafts)

    async def _scope(self, item: Item, workspace: str | None) -> tuple[Workspace, int]:
        if workspace is not None:
            return await self._workspaces.by_id(inputs.id_field(workspace, "workspace"))
        return await self._workspaces.at(item.folder or self._folder)


def _drafts(item: Item, place: Workspace, chars_max: int) -> tuple[Draft, ...]:
    stamp = inputs.Stamp(
        origin="import", branch=None, commit=None, session=None, root=place.root, text_chars_max=chars_max
    )
    parts = list(_parts(item.text, chars_max))
    return tuple(
        inputs.draft_of(
            {
                "text": part,
                "title": item.title if len(parts) == 1 else _part_title(item, number, len(parts)),
                "kind": item.kind,
                "paths": item.paths,
                "tags": item.tags,
                "occurred_at": item.occurred_at,
            },
            stamp,
        )
        for number, part in enumerate(parts, start=1)
    )


def _parts(text: str, chars_max: int) -> Iterator[str]:
    """The text, or where it is longer than a memory may be, pieces of it that end at a line where they can."""
    size = chars_max if len(text) <= chars_max else int(chars_max * PART_SHARE)
    while len(text) > size:
        cut = text.rfind("\n", size // 2, size) + 1 or size
        yield text[:cut]
        text = text[cut:]
    yield text


def _part_title(item: Item, number: int, count: int) -> str:
    ending = f" (part {number} of {count})"
    title = item.title or inputs.derived_title(item.text)
    return title[: inputs.TITLE_CHARS_MAX - len(ending)] + ending


def _keep_record(db: apsw.Connection, run: int, one: _Ready, later: Later) -> tuple[bool, bool]:
    """Stores the drafts of a record: whether anything is new, and whether it replaced an older version."""
    created = replaced = False
    for number, draft in enumerate(one.drafts):
        stem = one.stem if len(one.drafts) == 1 else f"{one.stem}#{number}"
        source_id = f"{stem}@{_version(draft)}"
        new = writes.NewMemory(
            id=new_id(),
            workspace=one.workspace,
            draft=replace(draft, source_id=source_id),
            now_us=_now_us(),
        )
        older = imports.newest_version(db, run, one.workspace, stem)
        if older is not None and older[1] != source_id:
            added = writes.supersede(db, older[0], new, "its source says it anew", later)
            replaced = True
        else:
            added = writes.add_memory(db, new, later)
        imports.note_memory(db, run, added)
        created |= added.created
    return created, replaced


def _version(draft: Draft) -> str:
    """Another version of a record says something else."""
    said = "\0".join((draft.kind, draft.title, draft.text, *draft.paths, *draft.tags))
    return blake2b(said.encode(), digest_size=6).hexdigest()


def _nothing(_db: apsw.Connection) -> None:
    """Waits until every write that was queued before is committed."""


def _copy(connection: apsw.Connection, path: Path) -> None:
    connection.execute("COMMIT")
    copy_store(connection, path)


def _now_us() -> int:
    return time.time_ns() // 1000
