"""The schema: made once, left alone afterwards, and refused where this code is too old for it."""

from __future__ import annotations

import apsw
import pytest

from retain.errors import StoreUnusable
from retain.storage import migrations
from retain.storage.connection import SQLITE_NEEDED, check_sqlite


def schema(connection: apsw.Connection) -> list[object]:
    return connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY 1, 2").fetchall()


def test_a_new_store_gets_every_step_and_an_up_to_date_one_gets_none() -> None:
    connection = apsw.Connection(":memory:")
    assert migrations.current_version(connection) == 0
    assert migrations.migrate(connection) == migrations.VERSION
    assert migrations.current_version(connection) == migrations.VERSION
    before = schema(connection)
    assert migrations.migrate(connection) == 0
    assert schema(connection) == before


def test_migrations_are_numbered_without_gaps() -> None:
    assert [int(name[:4]) for name in migrations.MIGRATIONS] == list(range(1, migrations.VERSION + 1))


@pytest.mark.parametrize("beyond", [1, 1000])
def test_a_store_of_a_newer_retain_is_refused_and_not_touched(beyond: int) -> None:
    connection = apsw.Connection(":memory:")
    connection.pragma("user_version", migrations.VERSION + beyond)
    with pytest.raises(StoreUnusable, match=f"schema version {migrations.VERSION + beyond}") as caught:
        migrations.migrate(connection)
    assert caught.value.hint
    assert schema(connection) == []


def test_a_migration_that_fails_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, "no_such_file.sql"))
    monkeypatch.setattr(migrations, "VERSION", migrations.VERSION + 1)
    connection = apsw.Connection(":memory:")
    with pytest.raises(FileNotFoundError), connection:
        migrations.migrate(connection)
    assert (schema(connection), migrations.current_version(connection)) == ([], 0)


@pytest.mark.parametrize("version", ["3.40.1", "3.51.2", "3.7.0", "2.8.17"])
def test_a_sqlite_that_can_lose_commits_is_refused(version: str) -> None:
    with pytest.raises(StoreUnusable, match=f"SQLite {version} can lose commits") as caught:
        check_sqlite(version)
    assert "apsw" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "version", [".".join(map(str, SQLITE_NEEDED)), "3.51.4", "3.54.1", "3.100.0", "4.0.0"]
)
def test_a_sqlite_without_that_fault_is_accepted(version: str) -> None:
    check_sqlite(version)
