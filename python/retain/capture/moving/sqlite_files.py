"""SQLite files of other tools: opened for reading alone, read row by row, whatever columns a version has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw

from retain.errors import InvalidInput

Row = Mapping[str, Any]


def opened(path: Path, table: str, tool: str) -> apsw.Connection:
    """A connection that can only read; a file whose folder cannot be written to is read as it lies there.

    Raises:
        InvalidInput: no such file, no database, or not that tool's: the table is missing.
    """
    if not path.is_file():
        raise InvalidInput("file", f"{path}: no such file")
    for mode in ("mode=ro", "mode=ro&immutable=1"):
        try:
            db = apsw.Connection(
                f"file:{quote(str(path.absolute()))}?{mode}",
                flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
            )
            db.set_busy_timeout(5_000)
            found = has_table(db, table)
        except (apsw.CantOpenError, apsw.ReadOnlyError):
            continue
        except apsw.Error as error:
            raise InvalidInput("file", f"{path}: cannot be read: {error}") from None
        if not found:
            raise InvalidInput("file", f"{path}: is no database of {tool}: it has no table {table}")
        return db
    raise InvalidInput("file", f"{path}: cannot be opened")


def has_table(db: apsw.Connection, table: str) -> bool:
    """Whether a table is there."""
    found = db.execute("SELECT 1 FROM sqlite_master WHERE type IN ('table', 'view') AND name = ?", (table,))
    return found.fetchone() is not None


def count(db: apsw.Connection, table: str, where: str = "1") -> int:
    """How many rows a table has; 0 where it is missing."""
    if not has_table(db, table):
        return 0
    return int(db.execute(f'SELECT count(*) FROM "{table}" WHERE {where}').get)


def rows(db: apsw.Connection, table: str, where: str = "1") -> Iterator[tuple[int, Row | str]]:
    """The rows of a table by rowid, each as its columns, or as the reason why it cannot be read.

    A row that is damaged does not hide those after it.
    """
    if not has_table(db, table):
        return
    for (key,) in list(db.execute(f'SELECT rowid FROM "{table}" WHERE {where} ORDER BY rowid')):
        try:
            cursor = db.execute(f'SELECT * FROM "{table}" WHERE rowid = ?', (key,))
            names = [column[0] for column in cursor.description]
            values = cursor.fetchone()
        except (apsw.Error, UnicodeDecodeError) as error:
            yield int(key), f"cannot be read: {error}"
            continue
        yield int(key), dict(zip(names, values or (), strict=False))
