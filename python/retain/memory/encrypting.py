"""Encryption of a data directory: switched on, switched off, moved to another key.

Every file says by itself which key it has, and keys are never thrown away. So files are turned one after the
other, each replaced at once, and an end at any point leaves a store that opens; the same command goes on where
the last one ended. Only a process that is alone on the store does this.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import apsw

from retain import keys
from retain.cache.configured import DISK_FOLDER
from retain.config import Settings
from retain.errors import Conflict, KeyMissing, RetainError, StoreBusy, StoreCorrupt, StoreUnusable
from retain.memory.drain import DAMAGED
from retain.sealing import Key
from retain.storage import aside, audit, erasure
from retain.storage.backups import BACKUPS, Backups, alone, check_copy
from retain.storage.connection import check_ciphers, copy_under, encrypted_with, opened, translated
from retain.storage.scratch import scratch, set_aside, sweep
from retain.storage.sqlite import SqliteStore
from retain.whole_files import sync

NEEDLES = 100
NEEDLE_BYTES_MIN, NEEDLE_BYTES = 16, 80


def encrypt(settings: Settings, *, in_file: bool = False) -> dict[str, Any]:
    """Encrypts the store, its backups and what was set aside; hooks seal what they spool from now on.

    Args:
        settings: the data directory.
        in_file: keep the key in a file, though there is a keychain.

    Returns:
        The key, its place, what was turned, and the proof: every file searched for texts of memories.

    Raises:
        StoreBusy: a process has the store open.
        StoreUnusable: the SQLite that is loaded has no ciphers, or the key cannot be kept.
    """
    check_ciphers()
    with _alone(settings):
        key = _begun(settings)
        if key is None:
            key = Key.fresh()
            keys.keep(key, in_file=in_file)
        return _turned(settings, key)


def rotate(settings: Settings, *, in_file: bool = False) -> dict[str, Any]:
    """Encrypts everything anew with a new key. The old one is kept where it is: older exports need it.

    Raises:
        Conflict: the data directory is not encrypted.
        StoreBusy, StoreUnusable: as ``encrypt``.
    """
    check_ciphers()
    with _alone(settings):
        key = _begun(settings)
        if key is None:
            raise Conflict("the store is not encrypted", hint="`retain encrypt`")
        if (
            encrypted_with(settings.database) == key.id
        ):  # else an earlier rotation was cut short: go on with its key
            key = Key.fresh()
            keys.keep(key, in_file=in_file)
        return _turned(settings, key)


def decrypt(settings: Settings) -> dict[str, Any]:
    """Makes everything plain again. The key is kept where it is: exports need it.

    Raises:
        Conflict: the data directory is not encrypted.
        StoreBusy: a process has the store open.
    """
    with _alone(settings):
        if _begun(settings) is None:
            raise Conflict("the store is not encrypted")
        done = _turn(settings, None)
        keys.undeclare(settings.home)
    return {"key": None, "place": None, **done}


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Nobody else backs up, has the store open, or opens it, for the length of the block."""
    with alone(settings.home), SqliteStore.closed_everywhere(settings), translated():
        yield


def _begun(settings: Settings) -> Key | None:
    """The key that the data directory has or is on its way to; None where it is plain."""
    try:
        return keys.of_home(settings.home)
    except KeyMissing:
        raise
    except StoreUnusable:  # the public key is damaged; the database knows its own
        name = encrypted_with(settings.database)
        return None if name is None else keys.find(name)


def _turned(settings: Settings, key: Key) -> dict[str, Any]:
    keys.declare(
        settings.home, key
    )  # from here on hooks seal; what is plain is turned now, or by the next call
    done = _turn(settings, key)
    return {"key": key.id, "place": keys.place_of(key.id), **done, "proof": _proof(settings)}


def _turn(settings: Settings, key: Key | None) -> dict[str, Any]:
    database = _turn_database(settings.database, key)
    backups = Backups(settings.home / BACKUPS)
    count = backups.seal_anew(key)
    unreadable = [one.name for one in backups.known() if backups.verify(one)]
    files = sum(_turn_store(path, key) for path in set_aside(settings.database))
    files += sum(_turn_file(path, key) for path in _stretches(settings))
    shutil.rmtree(settings.home / DISK_FOLDER, ignore_errors=True)
    return {"store": database, "backups": count, "backups_unreadable": unreadable, "files": files}


def _turn_database(database: Path, key: Key | None) -> bool:
    """Puts a copy under the key in the place of the database; False where it has that key already."""
    if not database.exists() or encrypted_with(database) == (key and key.id):
        return False
    sweep(database.parent)
    with scratch(database.parent) as folder:
        _replace(database, folder / database.name, key)
    return True


def _replace(database: Path, fresh: Path, key: Key | None) -> None:
    source = opened(database)
    try:
        busy, _, _ = source.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0]
        if busy:
            raise StoreBusy("a process has the store open", hint="close what reads it, and try again")
        copy_under(source, fresh, key)
        before = _account(source)
    finally:
        source.close()
    _check(fresh, before)
    for end in ("-wal", "-shm"):  # empty by now; beside another database they would be damage
        database.with_name(database.name + end).unlink(missing_ok=True)
    fresh.replace(database)
    sync(database.parent)


def _check(fresh: Path, before: tuple[Any, ...]) -> None:
    """Brings the copy into the mode of the store, and checks that it is whole and holds what the store holds."""
    check_copy(fresh)
    copy = opened(fresh)
    try:
        copy.execute("PRAGMA journal_mode = WAL")
        found = _account(copy)
    finally:
        copy.close()
    if found != before:
        raise StoreCorrupt(
            "the copy under the other key does not hold what the store holds; the store is as it was"
        )


def _account(db: apsw.Connection) -> tuple[Any, ...]:
    counts = db.execute("SELECT (SELECT count(*) FROM memory), (SELECT count(*) FROM memory_fts_docsize)")
    return (db.pragma("user_version"), *counts.fetchall()[0], *audit.head(db))


def _stretches(settings: Settings) -> list[Path]:
    """Stretches of the spool that were kept because they are damaged."""
    found = sorted(path for path in (settings.spool / DAMAGED).glob("*") if path.suffix != ".part")
    return [path for path in found if path.is_file() and not path.is_symlink()]


def _turn_store(path: Path, key: Key | None) -> bool:
    """A damaged store that was set aside: as a database where it can be read as one, else as any file."""
    if aside.sealer(path) is None:
        with suppress(apsw.Error, RetainError):
            return _turn_database(path, key)
    return _turn_file(path, key)


def _turn_file(path: Path, key: Key | None) -> bool:
    if aside.sealer(path) == (key and key.id):
        return False
    aside.write(path, aside.read(path), key)
    return True


def _proof(settings: Settings) -> dict[str, Any]:
    """Searches every file, as it lies there, for texts of memories."""
    needles = _texts(settings.database) if settings.database.exists() else []
    found, files, size = erasure.files_with(settings.home, needles)
    return {"texts": len(needles), "files": files, "bytes": size, "found_in": found}


def _texts(database: Path) -> list[bytes]:
    db = opened(database)
    try:
        rows: list[Any] = db.execute(
            "SELECT body FROM memory WHERE length(body) >= ? ORDER BY key DESC LIMIT ?",
            (NEEDLE_BYTES_MIN, NEEDLES),
        ).fetchall()
    finally:
        db.close()
    return [str(body).encode()[:NEEDLE_BYTES] for (body,) in rows]
