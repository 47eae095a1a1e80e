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

import apsw

from retain.errors import StoreBusy, StoreCorrupt, StoreError, StoreFull, StoreUnusable
from retain.storage.audit import BY_UPGRADE, attach
from retain.storage.text import glob_matches

SQLITE_NEEDED = (3, 51, 3)
"""Below this, two processes on one file in WAL mode can lose commits (sqlite.org/wal.html#walresetbug)."""

BUSY_MS = 5_000

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
            hint="pip install --upgrade apsw",
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
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
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


def _keep_wal(connection: apsw.Connection) -> None:
    """Keeps the WAL file when this connection closes as the last: overwriting it costs less than growing it."""
    on = array("i", [1])
    connection.file_control("main", apsw.SQLITE_FCNTL_PERSIST_WAL, on.buffer_info()[0])


@lru_cache(GLOBS_KEPT)
def _path_glob(*values: object) -> int:
    pattern, path = values
    return int(glob_matches(str(pattern), str(path)))
