"""Backups, going back in time, and erasure: what a user may do with the store as a whole."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import orjson

from retain.config import Settings
from retain.errors import Conflict, InvalidInput, RetainError, StoreBusy, StoreCorrupt
from retain.memory import inputs
from retain.memory.drain import DAMAGED
from retain.memory.holdings import Holdings
from retain.memory.moments import past_moment
from retain.memory.scrubbing import Scrubbing
from retain.model import to_us
from retain.storage import aside, audit, erasure, mending, rewind
from retain.storage.audit import BY_RETENTION, Author
from retain.storage.backups import (
    BACKUPS,
    Backup,
    Backups,
    alone,
    changed_file,
    copy_database,
    copy_store,
    pieces_of,
)
from retain.storage.connection import opened
from retain.storage.reads import Reader
from retain.storage.scratch import RESTORED, SET_ASIDE, scratch, set_aside, sweep
from retain.storage.sqlite import SqliteStore

logger = logging.getLogger(__name__)

REINDEXED_AT_ONCE = 200
"""Memories of one transaction while the full-text index is made anew: some 50 ms."""

FIRST_LOOK_S = 60.0
LOOK_S = 600.0
"""When a live server first looks whether a backup or an erasure is due, and how often from then on."""
ANEW_BYTES_MAX = 256 * 1024 * 1024
"""A store up to this size is written anew by a live server after an erasure; a larger one only on request: no write
can be done meanwhile."""
DAY_US = 86_400 * 1_000_000
NEEDLE_BYTES = 200
NEEDLE_BYTES_MIN = 12
"""Shorter texts stand in other memories too; finding them would prove nothing."""


class Keeping(Holdings):
    """What keeps a store for its user, and gives it up for good where he asks for that."""

    @property
    def scrubbing(self) -> Scrubbing:
        """Looks for secrets in what is stored, and takes them out."""
        return Scrubbing(self._settings, self._store, self._drain, self._recalls)

    async def empty_caches(self) -> None:
        """Removes the answers that any level of the cache keeps."""
        await self._recalls.clear()

    async def backup(self, *, author: Author | None = None) -> dict[str, Any]:
        """Makes a backup now and drops those that are older than the settings keep.

        Args:
            author: who the audit says it was; None is who opened the store.

        Raises:
            StoreBusy: another process is making one.
            StoreError: it could not be written.
        """
        with alone(self._settings.home):
            made = await self._store.read_behind(self._make)
            gone = self._backups.stale(self._settings.backups_kept)
            freed = await asyncio.to_thread(self._backups.drop, *gone)
        detail = {"backup": made.name}
        await self._store.write(lambda db: audit.note(db, "backed up", "store", detail), author)
        return {**_told(made), "dropped": gone, "freed_bytes": freed}

    async def backups(self, *, check: bool = False) -> dict[str, Any]:
        """Every backup, the oldest first; with ``check`` each chunk is read, and ``problems`` names what is wrong."""
        found = await asyncio.to_thread(self._backups.known)
        problems = [f"{name} is no manifest" for name in await asyncio.to_thread(self._backups.unreadable)]
        if check:
            for one in found:
                problems += await asyncio.to_thread(self._backups.verify, one)
        return {"backups": [_told(one) for one in found], "checked": check, "problems": problems}

    async def restore(self, at: str) -> dict[str, Any]:
        """Gives every memory the status it had at a moment; a backup is made first, and a later restore undoes it.

        Raises:
            InvalidInput: no moment of the past, or one before the store kept its history.
        """
        await self._drain.run()
        moment = self._moment(at, "at")
        saved = await self.backup()
        reason = f"restored to {moment.astimezone(UTC).isoformat(timespec='seconds')}"

        def go(db: apsw.Connection) -> rewind.Rewound:
            done = rewind.rewind(db, to_us(moment), reason)
            audit.note(db, "restored to a moment", "store", {"at_us": to_us(moment)})
            return done

        done = await self._store.write(go)
        return {"at": moment.isoformat(timespec="seconds"), "backup": saved["backup"], **asdict(done)}

    async def write_past(self, path: Path, at: str) -> datetime:
        """Writes a copy of the store as it was at a moment to a new file, to be asked and thrown away.

        Raises:
            InvalidInput: as ``restore``.
        """
        moment = self._moment(at, "as_of")
        await self._store.read(lambda reader: copy_store(_of_snapshot(reader.connection), path))

        def go(db: apsw.Connection) -> bool:
            rewind.rewind(db, to_us(moment), "not yet known then")
            return True

        await asyncio.to_thread(changed_file, path, go)
        return moment

    async def unforget(self, memory_id: str) -> None:
        """Makes a forgotten memory active again.

        Raises:
            InvalidInput: not an id.
            NotFound: no such memory; it may have been erased.
            Conflict: it is not forgotten, or an active memory says the same.
        """
        wanted = inputs.id_field(memory_id, "id")
        await self._store.write(lambda db: rewind.unforget(db, wanted))

    async def erase(
        self, ids: Sequence[str] | None = None, *, anew: bool = True, author: Author | None = None
    ) -> dict[str, Any]:
        """Erases forgotten memories and their earlier versions for good: rows, index, vectors, log, caches, backups.

        Args:
            ids: of forgotten memories; None takes all whose time for undoing is over.
            anew: write every page anew, without which pieces may stay behind in the unused part of pages.
            author: who the audit says it was; None is who opened the store.

        Returns:
            What was erased, and the proof: every file of the data directory searched for the texts.

        Raises:
            InvalidInput: not an id.
            Conflict: one of them is active.
            StoreBusy: another process is making a backup.
        """
        await self._drain.run()
        wanted = None if ids is None else [inputs.id_field(one, f"ids[{i}]") for i, one in enumerate(ids)]
        with alone(self._settings.home):
            memories, needles = await self._store.read(lambda r: self._doomed(r.connection, wanted))
            erased = [name for _, name in memories]
            if memories:
                await self._store.write(lambda db: erasure.erase(db, memories), author)
            caches = await self._recalls.clear()
            emptied = anew and await self._store.write_anew()
            backups = await asyncio.to_thread(self._erase_from_backups, erased) if erased else 0
            await asyncio.to_thread(self._erase_from_set_aside, erased)
            found, files, size = await self._store.read(lambda r: self._search(r.connection, needles))
        return {
            "erased": erased, "backups_rewritten": backups, "log_emptied": emptied,
            "caches_emptied": caches,
            "proof": {"texts": len(needles), "files": files, "bytes": size, "found_in": found},
        }  # fmt: skip

    async def reindex(self) -> int:
        """Makes the full-text index anew, as this version reads text; returns how many memories it went over.

        In short transactions: recalls and captures go on beside it, and what an end in between leaves is whole.
        """
        after = done = 0
        while True:
            step = partial(mending.reindex, after=after, most=REINDEXED_AT_ONCE)
            after, count = await self._store.write(step)
            done += count
            if count < REINDEXED_AT_ONCE:
                return done

    async def mend(self) -> dict[str, Any]:
        """Takes what is damaged from the newest backup that has it whole, and mends the full-text index.

        What no backup has is set apart: a tombstone that says so, its row kept.

        Raises:
            StoreCorrupt: whole pages are damaged; a backup must replace the store.
            StoreBusy: another process is making a backup.
        """
        with alone(self._settings.home):
            found = await self._store.read(lambda reader: mending.damaged(reader.connection))
            mended: list[str] = []
            for one in reversed(self._backups.known()):
                left = [(key, name) for key, name in found if name not in mended]
                if left:
                    mended += await self._mend_from(one, left)
            apart = [(key, name) for key, name in found if name not in mended]

            def go(db: apsw.Connection) -> int:
                for key, _ in apart:
                    mending.set_apart(db, key)
                return mending.mend_index(db)

            indexed = await self._store.write(go)
        return {"mended": mended, "set_apart": [name for _, name in apart], "index_rows": indexed}

    async def _mend_from(self, backup: Backup, left: Sequence[tuple[int, str]]) -> list[str]:
        """Ids of the memories that this backup could mend; a backup that is damaged itself mends none."""
        with scratch(self._settings.home) as folder:
            path = folder / "copy.db"
            try:
                await asyncio.to_thread(self._backups.assemble, backup, path)
                await asyncio.to_thread(changed_file, path, lambda _: False)  # its schema may be an older one
            except StoreCorrupt:
                return []
            other = opened(path, flags=apsw.SQLITE_OPEN_READONLY)
            try:
                return await self._store.write(
                    lambda db: [name for key, name in left if _mended(db, key, name, other)]
                )
            finally:
                other.close()

    async def keep_running(self) -> None:
        """Makes a backup when one is due, and erases what was forgotten long enough ago, until cancelled."""
        pause = FIRST_LOOK_S
        while True:
            await asyncio.sleep(pause)
            pause = LOOK_S
            try:
                await self.look()
            except StoreBusy:
                continue  # another server does it
            except (RetainError, OSError) as error:
                logger.warning("keeping.failed error=%s", error)

    async def look(self) -> None:
        """Does what is due now, on behalf of the settings: a backup, an erasure.

        Raises:
            StoreBusy: another process is at it.
            StoreError: it could not be done.
        """
        await asyncio.to_thread(sweep, self._settings.home)
        if self._settings.backup_hours and await self._store.read_behind(self._backup_due):
            await self.backup(author=BY_RETENTION)
        overdue = await self._store.read_behind(self._overdue)
        if overdue and self._settings.undo_days:
            small = self._settings.database.stat().st_size <= ANEW_BYTES_MAX
            await self.erase(anew=small, author=BY_RETENTION)

    def _make(self, reader: Reader) -> Backup:
        connection = _of_snapshot(reader.connection)
        return self._backups.make(connection, datetime.now(UTC), audit.head(connection))

    def _backup_due(self, reader: Reader) -> bool:
        """Whether the newest backup is old enough, and anything was changed since."""
        known = self._backups.known()
        if known and audit.changed_since(reader.connection, known[-1].head[0]) == 0:
            return False
        age_s = (datetime.now(UTC) - known[-1].at).total_seconds() if known else float("inf")
        return age_s >= self._settings.backup_hours * 3_600

    def _overdue(self, reader: Reader) -> list[str]:
        return erasure.forgotten_before(reader.connection, self._undo_until())

    def _undo_until(self) -> int:
        return time.time_ns() // 1000 - self._settings.undo_days * DAY_US

    def _moment(self, said: str, field: str) -> datetime:
        if not isinstance(said, str) or len(said) > inputs.REASON_CHARS_MAX:
            raise InvalidInput(field, "must be a moment", limit=inputs.REASON_CHARS_MAX)
        return past_moment(said, field, datetime.now().astimezone())

    def _doomed(
        self, db: apsw.Connection, ids: Sequence[str] | None
    ) -> tuple[list[tuple[int, str]], list[bytes]]:
        if ids is None:
            wanted = erasure.forgotten_before(db, self._undo_until())
        else:
            wanted = list(ids)
            for name in wanted:
                status = db.execute("SELECT status FROM memory WHERE id = ?", (name,)).get
                if status == "active":
                    raise Conflict(f"id: memory {name} is active", hint="forget it first")
        memories = erasure.doomed(db, wanted)
        return memories, [needle for key, _ in memories for needle in _needles(db, key)]

    def _erase_from_backups(self, ids: Sequence[str]) -> int:
        change = partial(_erase_known, ids)
        return sum(self._backups.rewrite(one, change) for one in self._backups.known())

    def _erase_from_set_aside(self, ids: Sequence[str]) -> None:
        """What cannot be changed there is named by the search that follows, where it holds a text as it was."""
        sweep(self._settings.home)
        for path in set_aside(self._settings.database) if ids else ():
            try:
                changed_file(path, partial(_erase_known, ids), anew=True)
            except (apsw.Error, RetainError) as error:
                logger.warning("erasure.copy_failed error=%s", type(error).__name__)

    def _search(self, db: apsw.Connection, needles: Sequence[bytes]) -> tuple[list[str], int, int]:
        """Searches every file; of the live database a copy, for nothing else may open it. What is sealed is opened."""
        home = self._settings.home
        live = {self._settings.database.name + end for end in ("", "-wal", "-shm")}
        with scratch(home) as folder:
            copy = folder / self._settings.database.name
            copy_database(_of_snapshot(db), copy)
            streams = {copy.name: pieces_of(copy)}
            streams |= {f"{BACKUPS}/{one.name}": self._backups.pieces(one) for one in self._backups.known()}
            apart = [*set_aside(self._settings.database), *(self._settings.spool / DAMAGED).glob("*")]
            streams |= {str(one.relative_to(home)): aside.hidden(one) for one in apart}
            held = {name: erasure.has_any(pieces, needles) for name, pieces in streams.items()}
        found, files, size = erasure.files_with(home, needles, passing=live)
        found += [name for name, (hit, _) in held.items() if hit and name not in found]
        return sorted(found), files + len(held), size + sum(count for _, count in held.values())


def _mended(db: apsw.Connection, key: int, name: str, other: apsw.Connection) -> bool:
    if mended := mending.mend_from(db, key, other):
        audit.note(db, "mended", name)
    return mended


def _erase_known(ids: Sequence[str], db: apsw.Connection) -> bool:
    return erasure.erase(db, erasure.known(db, ids)) > 0


def restore_backup(settings: Settings, name: str, author: Author = Author()) -> dict[str, Any]:  # noqa: B008 - frozen
    """Puts a backup in the place of the store, for a store that is damaged; what came later is added where it is whole.

    The store before it is set aside, not deleted. The audit of the one that takes its place says so, and by whom.

    Raises:
        NotFound: no such backup.
        StoreCorrupt: the backup is damaged; nothing was changed.
        StoreBusy: a process has the store open.
    """
    backups = Backups(settings.home / BACKUPS)
    chosen = backups.named(name)
    with alone(settings.home), SqliteStore.closed_everywhere(settings):
        fresh = settings.database.with_name(settings.database.name + RESTORED)
        fresh.unlink(missing_ok=True)
        backups.assemble(chosen, fresh)
        kept = f"{settings.database.name}{SET_ASIDE}{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        for end in ("-wal", "-shm", ""):
            old = settings.database.with_name(settings.database.name + end)
            if old.exists():
                old.rename(settings.database.with_name(kept + end))
        _note_in(fresh, author, "restored from a backup", {"backup": chosen.name})
        saved, lost = _salvaged(settings.database.with_name(kept), fresh)
        fresh.replace(settings.database)
    return {**_told(chosen), "set_aside": kept, "salvaged": saved, "unreadable": lost}


def _note_in(path: Path, author: Author, action: str, detail: dict[str, Any]) -> None:
    """Writes a row of the audit into a store that nobody has open."""

    def note(db: apsw.Connection) -> bool:
        audit.attach(db, lambda: author)
        audit.note(db, action, "store", detail)
        return True

    changed_file(path, note)


def _salvaged(damaged: Path, fresh: Path) -> tuple[int, int]:
    """Adds what can still be read of a damaged store, and is whole, to the file that will replace it."""
    counts = [0, 0]
    if not damaged.exists():
        return 0, 0
    try:
        source = opened(damaged)
    except apsw.Error:
        return 0, 0

    def go(db: apsw.Connection) -> bool:
        counts[:] = mending.salvage(source, db, time.time_ns() // 1000)
        return True

    try:
        changed_file(fresh, go)
    except apsw.NotADBError:  # nothing of it is a database any more
        return 0, 0
    finally:
        source.close()
    return counts[0], counts[1]


def _told(backup: Backup) -> dict[str, Any]:
    return {
        "backup": backup.name, "at": backup.at.isoformat(timespec="seconds"), "bytes": backup.bytes,
        "new_bytes": backup.new_bytes, "head": {"number": backup.head[0], "hash": backup.head[1]},
    }  # fmt: skip


def _of_snapshot(connection: apsw.Connection) -> apsw.Connection:
    """The connection of a reader, its snapshot ended: a backup takes one of its own."""
    if connection.in_transaction:
        connection.execute("COMMIT")
    return connection


def _needles(db: apsw.Connection, key: int) -> Iterator[bytes]:
    """What the text of a memory looks like in a file: as it is, inside JSON, and compressed."""
    row: Any = db.execute(
        "SELECT m.body, b.data FROM memory m LEFT JOIN memory_body b ON b.memory = m.key WHERE m.key = ?",
        (key,),
    ).fetchall()
    body, packed = row[0]
    if packed is not None:
        yield bytes(packed[:NEEDLE_BYTES])
    elif len(plain := str(body).encode()[:NEEDLE_BYTES]) >= NEEDLE_BYTES_MIN:
        yield plain
        if (escaped := orjson.dumps(plain.decode(errors="ignore"))[1:-1]) != plain:
            yield escaped
