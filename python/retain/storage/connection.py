"""Opens SQLite as retain needs it, and turns its errors into ours.

One SQLite copy per process per file: nothing in retain opens the database by any other way than here
(an open and close of the file elsewhere in the process would drop SQLite's locks).
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

import apsw
import orjson

from retain import keys
from retain.errors import StoreBusy, StoreCorrupt, StoreError, StoreFull, StoreUnusable
from retain.sealing import Key
from retain.storage.audit import BY_UPGRADE, attach
from retain.storage.text import glob_matches

SQLITE_NEEDED = (3, 51, 3)
"""Below this, two processes on one file in WAL mode can lose commits (sqlite.org/wal.html#walresetbug)."""

BUSY_MS = 5_000

ENCRYPTED = b"retain-1"
"""What begins an encrypted database, where a plain one says ``SQLite format 3``; the id of its key follows."""
HEAD_BYTES = 16
CIPHER_BUILD = (
    "install the build of SQLite that has ciphers, last and alone: "
    "pip uninstall --yes apsw apsw-sqlite3mc && pip install apsw-sqlite3mc"
)

GLOBS_KEPT = 16_384
"""Answers of globs that are kept: a scan meets the same path many times."""


def check_sqlite(version: str) -> None:
    """Refuses a SQLite that can lose commits.

    Raises:
        StoreUnusable: the version is older than needed.
    """
    if tuple(int(part) for part in version.split(".")[:3]) < SQLITE_NEEDED:
        needed = ".".join(map(str, SQLITE_NEEDED))
        raise StoreUnusable(
            f"SQLite {version} can lose commits when several processes write (needed: {needed} or newer)",
            hint="pip install --upgrade apsw-sqlite3mc",
        )


@contextmanager
def translated() -> Iterator[None]:
    """Raises retain's errors for those of SQLite."""
    try:
        yield
    except (apsw.BusyError, apsw.LockedError) as error:
        raise StoreBusy(f"the store is busy: {error}") from error
    except apsw.FullError as error:
        raise StoreFull("no space left on the device of the store", hint="free some space; retry") from error
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise StoreCorrupt(f"the store is damaged: {error}", hint="run `retain verify`") from error
    except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError) as error:
        raise StoreUnusable(f"the store cannot be used: {error}") from error
    except UnicodeDecodeError as error:  # what apsw raises for a text that is no UTF-8 any more
        raise StoreCorrupt("the store is damaged: a text is not UTF-8", hint="run `retain verify`") from error
    except orjson.JSONDecodeError as error:  # the store holds no JSON that it did not write
        raise StoreCorrupt(f"the store is damaged: {error}", hint="run `retain verify`") from error
    except apsw.Error as error:
        raise StoreError(f"the store failed: {type(error).__name__}: {error}") from error


def make_home(home: Path, database: Path) -> None:
    """Creates the data directory (0700) and the database file (0600) where missing.

    Raises:
        StoreUnusable: the directory cannot be made, or another user owns it.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if home.stat().st_uid != os.getuid():
            raise StoreUnusable(f"{home} belongs to another user", hint="set RETAIN_HOME")
        os.close(os.open(database, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if not home.is_dir():
            raise StoreUnusable(f"{home} is not a directory") from None
    except OSError as error:
        raise StoreUnusable(f"{home} cannot be used: {error.strerror}", hint="set RETAIN_HOME") from error


def connect(database: Path, *, writable: bool, vfs: str | None = None) -> apsw.Connection:
    """An open connection: WAL, synchronous=FULL for the writer, query_only for readers.

    ``vfs`` names SQLite's file system; None is that of the machine.
    """
    connection = opened(database, vfs=vfs)
    connection.set_busy_timeout(BUSY_MS)
    _keep_wal(connection)
    # Without it SQLite prepares many statements again for each new value, for statistics that we do not keep.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    connection.create_scalar_function("path_glob", _path_glob, 2, deterministic=True)
    connection.execute("PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384")
    if writable:
        connection.execute("PRAGMA synchronous = FULL")
        attach(connection, lambda: BY_UPGRADE)
    else:
        connection.execute("PRAGMA query_only = ON")
    return connection


def opened(
    database: Path,
    *,
    flags: int = apsw.SQLITE_OPEN_READWRITE,
    vfs: str | None = None,
    key: Key | None = None,
) -> apsw.Connection:
    """A bare connection to a database file that is there, with its key where it is encrypted.

    Args:
        database: the file.
        flags: as SQLite has them.
        vfs: SQLite's file system; None is that of the machine.
        key: of a file that holds nothing yet; None looks for it.

    Raises:
        KeyMissing: its key is not here.
        StoreUnusable: it is encrypted, and the SQLite that is loaded has no ciphers.
    """
    connection = apsw.Connection(str(database), flags=flags | apsw.SQLITE_OPEN_URI, vfs=vfs)
    try:
        key = key or key_of(database)
        if key is not None:
            check_ciphers()
            connection.pragma("cipher", "chacha20")
            connection.pragma("key", _raw(key))
    except BaseException:
        connection.close()
        raise
    return connection


def key_of(database: Path) -> Key | None:
    """The key that a database file is encrypted with; None where it is plain.

    A file that holds nothing yet gets the key of the directory that it lies in.

    Raises:
        KeyMissing: its key is not here.
    """
    head = _head(database)
    name = _name_in(head)
    if name is not None:
        return keys.find(name)
    return None if head else keys.of_home(database.parent)


def encrypted_with(database: Path) -> str | None:
    """The id of the key that a database file is encrypted with; None where it is plain, or not there."""
    return _name_in(_head(database)) if database.exists() else None


def _name_in(head: bytes) -> str | None:
    return head[len(ENCRYPTED) :].hex() if head.startswith(ENCRYPTED) else None


def _head(database: Path) -> bytes:
    # Through SQLite: to open and close the file by itself would drop the locks of this process on it.
    file = apsw.VFSFile("unix", str(database), [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READONLY, 0])
    try:
        return file.xRead(HEAD_BYTES, 0)
    finally:
        file.xClose()


def check_ciphers() -> None:
    """Refuses a SQLite that cannot read what is encrypted.

    Raises:
        StoreUnusable: it has no ciphers.
    """
    if not hasattr(apsw, "mc_version"):
        raise StoreUnusable(
            "encryption needs a build of SQLite with ciphers; the one loaded has none", hint=CIPHER_BUILD
        )


def copy_under(source: apsw.Connection, path: Path, key: Key | None) -> None:
    """Copies a database into a new file (0600), encrypted with a key or plain, that is on disk when this returns."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        options = f"cipher=chacha20&key={_raw(key)}" if key else "key="
        source.execute("VACUUM INTO ?", (f"file:{quote(str(path))}?{options}",))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _raw(key: Key) -> str:
    """Key and salt as sqlite3mc takes them; no passphrase is stretched. The salt stands first in the file."""
    return f"raw:{key.derived('store').hex()}{ENCRYPTED.hex()}{key.id}"


def _keep_wal(connection: apsw.Connection) -> None:
    """Keeps the WAL file when this connection closes as the last: overwriting it costs less than growing it."""
    on = array("i", [1])
    connection.file_control("main", apsw.SQLITE_FCNTL_PERSIST_WAL, on.buffer_info()[0])


@lru_cache(GLOBS_KEPT)
def _path_glob(*values: object) -> int:
    pattern, path = values
    return int(glob_matches(str(pattern), str(path)))
