"""A database with its schema, one connection to it, and a short way to put a memory into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from retain.model import Draft, new_id
from retain.storage import migrations
from retain.storage.connection import connect, make_home
from retain.storage.reads import Reader
from retain.storage.writes import Added, NewMemory, add_memory, add_workspace

Remember = Callable[..., Added]


@pytest.fixture
def database(home: Path) -> Path:
    """Path of an empty database with the schema of today."""
    path = home / "retain.db"
    make_home(home, path)
    connection = connect(path, writable=True)
    connection.execute("PRAGMA journal_mode = WAL")
    with connection:
        migrations.migrate(connection)
    connection.close()
    return path


@pytest.fixture
def db(database: Path) -> Iterator[apsw.Connection]:
    """A connection that may write."""
    connection = connect(database, writable=True)
    yield connection
    connection.close()


@pytest.fixture
def reader(db: apsw.Connection) -> Reader:
    return Reader(db)


@pytest.fixture
def remember(db: apsw.Connection) -> Remember:
    """Stores a memory in the workspace ``w-<n>``; the fields of the draft go by name."""

    def store(
        text: str = "a fact",
        *,
        workspace: int = 1,
        id: str | None = None,  # noqa: A002 - the name of the field
        now_us: int = 1000,
        **draft: Any,
    ) -> Added:
        name = f"w-{workspace}"
        key = add_workspace(
            db,
            workspace_id=name,
            identity=f"git:{name}",
            name=name,
            root=f"/{name}",
            alias=f"/{name}",
            now_us=1,
        )
        return add_memory(
            db, NewMemory(id=id or new_id(), workspace=key, draft=Draft(text=text, **draft), now_us=now_us)
        )

    return store
