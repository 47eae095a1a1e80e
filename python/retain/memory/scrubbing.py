"""Scrubbing: what is stored is searched again when the rules for secrets have changed, and rewritten without them.

A live server looks through the store a stretch at a time and rests between; ``retain scan --scrub`` does all of it at
once. The store keeps what it was last searched with. Files that were exported lie outside and are not reached.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import orjson

from retain import keys
from retain.capture import redact
from retain.errors import RetainError, StoreBusy
from retain.memory.holdings import Holdings
from retain.storage import aside, audit, scrubbing, writes
from retain.storage.audit import Author
from retain.storage.backups import alone, changed_file
from retain.storage.reads import Reader
from retain.storage.scratch import RESTORED, set_aside, sweep

logger = logging.getLogger(__name__)

BY_SCRUB = Author(door="upgrade", actor="user")
FACT = "redacted_with"
UNFINISHED = "scrub.unfinished"
"""Rows were rewritten whose former bytes may still stand in the log, in freed pages and in caches."""
STRETCH_KEYS = 200
REST_MS = 50
"""Between two stretches of the background; a recall waits for none of them."""
FIRST_S = 20.0
"""After its start a server has better things to do."""
LOOK_S = 600.0
DAMAGED = "damaged"
FILE_BYTES_MAX = 64 * 1024 * 1024


class Scrubbing(Holdings):
    """Searches one store for secrets, and rewrites what holds some; the spool is emptied first."""

    async def keep_running(self) -> None:
        """Searches the store once for each change of the rules, until cancelled."""
        looked = False
        while True:
            await asyncio.sleep(LOOK_S if looked else FIRST_S)
            looked = True
            try:
                await self.look()
            except StoreBusy:
                pass  # another server does it, or makes a backup
            except (RetainError, OSError, apsw.Error) as error:
                logger.warning("scrubbing.failed error=%s", type(error).__name__)

    async def look(self) -> None:
        """Searches the store if its rules have changed since, and else finishes what was begun.

        Raises:
            StoreBusy, StoreError: as ``run``.
        """
        if await self._store.read_behind(lambda r: r.fact(FACT)) != self._rules():
            await self.run(rest_ms=REST_MS, author=BY_SCRUB)
        else:
            await self._finish()

    async def run(self, *, rest_ms: int = 0, author: Author | None = None) -> dict[str, Any]:
        """Rewrites everything in reach that holds a secret: store, spool, dead letters, backups.

        Args:
            rest_ms: pause between two stretches.
            author: who the audit says it was; None is who opened the store.

        Returns:
            Counts of what was rewritten, merged and not readable, and of secrets by rule; whether the log was emptied,
            and the caches.

        Raises:
            StoreBusy: another process is making a backup; what was rewritten stays so.
            StoreError: the store refused.
        """
        await self._drain.run()
        done = scrubbing.Scrubbed()
        above: int | None = 0
        while above is not None:
            above = await self._stretch(above, done, author)
            await asyncio.sleep(rest_ms / 1000)
        done.add(await self._rewriting(lambda db: scrubbing.rewrite_rest(db, clean), author))
        told: dict[str, Any] = {
            "rewritten": done.rewritten, "merged": done.merged, "rows": done.rows, "unreadable": done.unreadable,
            "secrets": dict(sorted(done.rules.items())),
        }  # fmt: skip
        with alone(self._settings.home):
            told |= await asyncio.to_thread(self._rewrite_files)
            await self._store.write(lambda db: self._noted(db, done), author)
            told |= await self._finish()
        return told

    async def _finish(self) -> dict[str, bool]:
        """Empties log, freed pages and caches where a secret may still stand in them; what fails is left to be done."""
        if not await self._store.read_behind(lambda r: r.fact(UNFINISHED)):
            return {"log_emptied": True, "caches_emptied": True}
        caches = await self._recalls.clear()
        emptied = {"log_emptied": await self._store.write_anew(), "caches_emptied": caches}
        if all(emptied.values()):
            await self._store.write(lambda db: writes.drop_fact(db, UNFINISHED))
        return emptied

    async def findings(self) -> list[dict[str, Any]]:
        """Every secret in the memories of the store: rule, memory, field, place and fingerprint; never the secret."""
        found: list[dict[str, Any]] = []
        above: int | None = 0
        while above is not None:
            above, part = await self._store.read(partial(_found_from, above))
            found += part
        return found

    async def _stretch(self, above: int, done: scrubbing.Scrubbed, author: Author | None) -> int | None:
        last, keys, unreadable = await self._store.read_behind(
            lambda r: scrubbing.suspects(r.connection, above, STRETCH_KEYS, clean)
        )
        done.unreadable += unreadable
        if keys:
            done.add(await self._rewriting(lambda db: scrubbing.rewrite(db, keys, clean), author))
        return last

    async def _rewriting(
        self, step: Callable[[apsw.Connection], scrubbing.Scrubbed], author: Author | None
    ) -> scrubbing.Scrubbed:
        """Takes a step, and notes that log and caches are still to be emptied, whoever will do that."""

        def go(db: apsw.Connection) -> scrubbing.Scrubbed:
            done = step(db)
            if done.rewritten or done.rows:
                writes.set_facts(db, [(UNFINISHED, True)])
            return done

        return await self._store.write(go, author)

    def _rules(self) -> str:
        """What the store was searched with: the rules, and the settings that change what they find."""
        said = [redact.RULES_VERSION, self._settings.redact_pii, self._settings.redact_allow]
        return hashlib.sha256(orjson.dumps(said)).hexdigest()[:16]

    def _noted(self, db: apsw.Connection, done: scrubbing.Scrubbed) -> None:
        writes.set_facts(db, [(FACT, self._rules())])
        if done.rewritten or done.rows:
            audit.note(db, "scrubbed", "store", {"memories": done.rewritten, "rows": done.rows})

    def _rewrite_files(self) -> dict[str, int]:
        """Rewrites what lies beside the store; how many of each could be, and could not."""
        sweep(self._settings.home)
        self._settings.database.with_name(self._settings.database.name + RESTORED).unlink(missing_ok=True)
        backups = _counted(partial(self._backups.rewrite, one, _rewrite_all) for one in self._backups.known())
        stores = set_aside(self._settings.database)
        copies = _counted(partial(changed_file, one, _rewrite_all, anew=True) for one in stores)
        return {
            "backups_rewritten": backups[0], "backups_unreadable": backups[1],
            "copies_rewritten": copies[0], "copies_unreadable": copies[1],
            "files_rewritten": sum(map(_rewrite_file, self._damaged())),
        }  # fmt: skip

    def _damaged(self) -> Iterator[Path]:
        folder = self._settings.spool / DAMAGED
        return (path for path in sorted(folder.glob("*")) if path.is_file() and not path.is_symlink())


def clean(value: Any) -> tuple[Any, dict[str, int]]:
    """A text or a JSON value without its secrets, and their number by rule."""
    if isinstance(value, str):
        text = redact.redact(value)
        return text.text, dict(text.counts)
    cleaned = redact.redact_json(value)
    return cleaned.value, dict(cleaned.counts)


def _counted(steps: Iterable[Callable[[], bool]]) -> tuple[int, int]:
    """How many were rewritten, and how many could not be read."""
    rewritten = unreadable = 0
    for step in steps:
        try:
            rewritten += step()
        except (RetainError, apsw.Error) as error:
            logger.warning("scrubbing.copy_failed error=%s", type(error).__name__)
            unreadable += 1
        time.sleep(REST_MS / 1000)
    return rewritten, unreadable


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
    name = aside.sealer(path)
    text = aside.read(path).decode("latin-1")
    done = redact.redact(text)
    if not done.counts:
        return False
    aside.write(path, done.text.encode("latin-1"), keys.find(name) if name else None)
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
