"""Scrubbing: what is stored is searched again when the rules for secrets have changed, and rewritten without them.

A live server looks through the store a stretch at a time and rests between; ``retain scan --scrub`` does all of it at
once. The store keeps what it was last searched with. Files that were exported lie outside and are not reached.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import orjson

from retain.cache import MultiLevelCache
from retain.capture import redact
from retain.config import Settings
from retain.errors import RetainError, StoreBusy
from retain.memory.drain import Drain
from retain.storage import audit, scrubbing, writes
from retain.storage.audit import Author
from retain.storage.backups import BACKUPS, Backups, alone
from retain.storage.reads import Reader
from retain.storage.sqlite import SqliteStore

logger = logging.getLogger(__name__)

BY_SCRUB = Author(door="upgrade", actor="user")
FACT = "redacted_with"
STRETCH_KEYS = 200
REST_MS = 50
"""Between two stretches of the background; a recall waits for none of them."""
FIRST_S = 20.0
"""After its start a server has better things to do."""
LOOK_S = 600.0
DAMAGED = "damaged"
FILE_BYTES_MAX = 64 * 1024 * 1024


class Scrubbing:
    """Searches one store for secrets, and rewrites what holds some.

    Args:
        settings: of the store.
        store: where.
        drain: empties the spool first, whose events become memories without secrets.
        recalls: the cached answers, which hold texts too.
    """

    def __init__(
        self, settings: Settings, store: SqliteStore, drain: Drain, recalls: MultiLevelCache
    ) -> None:
        self._settings = settings
        self._store = store
        self._drain = drain
        self._recalls = recalls
        self._backups = Backups(settings.home / BACKUPS)

    async def keep_running(self) -> None:
        """Searches the store once for each change of the rules, until cancelled."""
        looked = False
        while True:
            await asyncio.sleep(LOOK_S if looked else FIRST_S)
            looked = True
            try:
                if await self._store.read(lambda r: r.fact(FACT)) != self._rules():
                    await self.run(rest_ms=REST_MS)
            except StoreBusy:
                pass  # another server does it, or makes a backup
            except (RetainError, OSError, apsw.Error) as error:
                logger.warning("scrubbing.failed error=%s", type(error).__name__)

    async def run(self, *, rest_ms: int = 0) -> dict[str, Any]:
        """Rewrites everything in reach that holds a secret: store, spool, dead letters, backups.

        Args:
            rest_ms: pause between two stretches.

        Returns:
            Counts of what was rewritten, merged and not readable, and of secrets by rule.

        Raises:
            StoreBusy: another process is making a backup; what was rewritten stays so.
            StoreError: the store refused.
        """
        await self._drain.run()
        done = scrubbing.Scrubbed()
        above: int | None = 0
        while above is not None:
            above = await self._stretch(above, done)
            await asyncio.sleep(rest_ms / 1000)
        done.add(await self._store.write(lambda db: scrubbing.rewrite_rest(db, clean), BY_SCRUB))
        changed = bool(done.rewritten or done.rows)
        with alone(self._settings.home):
            backups, skipped = await asyncio.to_thread(self._rewrite_backups)
            files = await asyncio.to_thread(lambda: sum(map(_rewrite_file, self._set_aside())))
            emptied = await self._store.write_anew() if changed else True
        if changed or backups:
            await self._recalls.clear()
        await self._store.write(lambda db: self._noted(db, done), BY_SCRUB)
        return {
            "rewritten": done.rewritten, "merged": done.merged, "rows": done.rows, "unreadable": done.unreadable,
            "backups_rewritten": backups, "backups_unreadable": skipped, "files_rewritten": files,
            "log_emptied": emptied, "secrets": dict(sorted(done.rules.items())),
        }  # fmt: skip

    async def findings(self) -> list[dict[str, Any]]:
        """Every secret in the memories of the store: rule, memory, field, place and fingerprint; never the secret."""
        found: list[dict[str, Any]] = []
        above: int | None = 0
        while above is not None:
            above, part = await self._store.read(partial(_found_from, above))
            found += part
        return found

    async def _stretch(self, above: int, done: scrubbing.Scrubbed) -> int | None:
        last, keys, unreadable = await self._store.read(
            lambda r: scrubbing.suspects(r.connection, above, STRETCH_KEYS, clean)
        )
        done.unreadable += unreadable
        if keys:
            done.add(await self._store.write(lambda db: scrubbing.rewrite(db, keys, clean), BY_SCRUB))
        return last

    def _rules(self) -> str:
        """What the store was searched with: the rules, and the settings that change what they find."""
        said = [redact.RULES_VERSION, self._settings.redact_pii, self._settings.redact_allow]
        return hashlib.sha256(orjson.dumps(said)).hexdigest()[:16]

    def _noted(self, db: apsw.Connection, done: scrubbing.Scrubbed) -> None:
        writes.set_facts(db, [(FACT, self._rules())])
        if done.rewritten or done.rows:
            audit.note(db, "scrubbed", "store", {"memories": done.rewritten, "rows": done.rows})

    def _rewrite_backups(self) -> tuple[int, int]:
        """How many backups were rewritten, and how many could not be read."""
        rewritten = unreadable = 0
        for one in self._backups.known():
            try:
                rewritten += self._backups.rewrite(one, _rewrite_all)
            except (RetainError, apsw.Error) as error:
                logger.warning("scrubbing.backup_failed error=%s", type(error).__name__)
                unreadable += 1
            time.sleep(REST_MS / 1000)
        return rewritten, unreadable

    def _set_aside(self) -> Iterator[Path]:
        folder = self._settings.spool / DAMAGED
        return (path for path in sorted(folder.glob("*")) if path.is_file() and not path.is_symlink())


def clean(value: Any) -> tuple[Any, dict[str, int]]:
    """A text or a JSON value without its secrets, and their number by rule."""
    if isinstance(value, str):
        text = redact.redact(value)
        return text.text, dict(text.counts)
    cleaned = redact.redact_json(value)
    return cleaned.value, dict(cleaned.counts)


def _rewrite_all(db: apsw.Connection) -> bool:
    """Rewrites a database that nobody else has open."""
    done = scrubbing.Scrubbed()
    above: int | None = 0
    while above is not None:
        above, keys, _ = scrubbing.suspects(db, above, STRETCH_KEYS, clean)
        done.add(scrubbing.rewrite(db, keys, clean))
    done.add(scrubbing.rewrite_rest(db, clean))
    return bool(done.rewritten or done.rows)


def _rewrite_file(path: Path) -> bool:
    """Rewrites a stretch of the spool that was set aside as damaged; its bytes are taken for characters."""
    if path.stat().st_size > FILE_BYTES_MAX:
        return False
    text = path.read_bytes().decode("latin-1")
    done = redact.redact(text)
    if not done.counts:
        return False
    part = path.with_name(path.name + ".part")
    part.touch(mode=0o600)
    part.write_bytes(done.text.encode("latin-1"))
    part.replace(path)
    return True


def _found_from(above: int, reader: Reader) -> tuple[int | None, list[dict[str, Any]]]:
    rows = scrubbing.stretch(reader.connection, above, STRETCH_KEYS)
    found = [
        {
            "rule": one.rule, "memory": memory.id, "field": name, "start": one.start, "end": one.end,
            "fingerprint": one.fingerprint,
        }
        for _, memory in rows
        if memory
        for name, text in scrubbing.texts_of(memory)
        for one in redact.find(text)
    ]  # fmt: skip
    return (rows[-1][0] if rows else None), found
