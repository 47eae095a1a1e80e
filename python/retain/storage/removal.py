"""Holds a store alone, so that it can be erased while nobody reads or writes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from retain.config import Settings
from retain.errors import RetainError, StoreBusy
from retain.storage.connection import opened, translated
from retain.storage.sqlite import SqliteStore


@contextmanager
def alone(settings: Settings) -> Iterator[int | None]:
    """Keeps every other process out of the store for the length of the block, other programs too.

    Yields:
        How many memories it holds, forgotten and superseded ones included; None where it cannot be read. A
        store that is not there holds none.

    Raises:
        StoreBusy: another process has it open.
    """
    if not settings.database.exists():
        yield 0
        return
    with SqliteStore.closed_everywhere(settings):
        connection = opened(settings.database)
        try:
            yield _count(connection)
        finally:
            connection.close()


def _count(connection: apsw.Connection) -> int | None:
    try:
        with translated():
            # In this mode the first access to a store with a WAL takes the file for itself, or fails.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE")
            if connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is None:
                return 0  # a process ended between making the file and making its tables
            row = connection.execute("SELECT count(*) FROM memory").fetchone()
            return int(row[0]) if row is not None else None
    except StoreBusy:
        raise StoreBusy(
            "a process has the store open", hint="end the sessions of your client, then try again"
        ) from None
    except RetainError:
        return None
