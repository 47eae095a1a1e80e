"""Each check finds the damage it is there for, and says nothing about a store that is whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from retain.model import Draft, new_id
from retain.storage.connection import connect
from retain.storage.integrity import PROBLEMS_MAX, verify
from retain.storage.reads import Reader
from retain.storage.writes import NewMemory, forget, supersede

Remember = Callable[..., Any]


@pytest.fixture
def filled(remember: Remember, db: apsw.Connection) -> dict[str, str]:
    """Ids of memories of every kind of past: plain, large, superseded, its revision, forgotten."""
    ids = {
        name: remember(f"{name} fact", tags=("t",), paths=("p/q.py",)).id for name in ("plain", "old", "gone")
    }
    ids["large"] = remember("large fact " * 10_000).id
    new = NewMemory(id=new_id(), workspace=1, draft=Draft(text="new fact"), now_us=2000)
    ids["new"] = supersede(db, ids["old"], new, "better").id
    forget(db, ids["gone"], "wrong")
    return ids


def problems(reader: Reader) -> dict[str, tuple[str, ...]]:
    return {check.name: check.problems for check in verify(reader) if check.problems}


def test_a_whole_store_has_no_problem_and_everything_was_looked_at(
    filled: dict[str, str], reader: Reader
) -> None:
    assert problems(reader) == {}
    counts = {check.name: check.checked for check in verify(reader)}
    assert counts.pop("pages") > 1
    assert counts == {
        "references": 6,
        "content hashes": 5,
        "full-text index": 4,
        "duplicates": 3,
        "revisions": 1,
        "audit": 8,
    }


def test_an_empty_store_is_whole(reader: Reader) -> None:
    assert problems(reader) == {}


def test_a_flipped_byte_in_a_text_is_found_in_the_file(
    filled: dict[str, str], db: apsw.Connection, database: Path
) -> None:
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    data = bytearray(database.read_bytes())
    assert data.count(b"plain fact") == 1
    data[data.index(b"plain fact")] ^= 1
    database.write_bytes(data)
    connection = connect(database, writable=False)
    found = problems(Reader(connection))
    connection.close()
    assert list(found) == ["content hashes"]
    assert filled["plain"] in found["content hashes"][0]


def test_a_byte_that_makes_a_text_no_text_is_found_and_the_other_rows_are_still_checked(
    filled: dict[str, str], db: apsw.Connection, reader: Reader
) -> None:
    db.execute("UPDATE memory SET body = CAST(x'ff' AS TEXT) WHERE id = ?", (filled["plain"],))
    db.execute("UPDATE memory SET body = 'changed' WHERE id = ?", (filled["new"],))
    first, second = problems(reader)["content hashes"]
    assert "not UTF-8" in first
    assert filled["new"] in second


def test_a_damaged_large_text_is_found(filled: dict[str, str], db: apsw.Connection, reader: Reader) -> None:
    db.execute("UPDATE memory_body SET data = substr(data, 1, 20)")
    (problem,) = problems(reader)["content hashes"]
    assert filled["large"] in problem


def test_a_memory_that_is_not_in_the_index_is_found(
    filled: dict[str, str], db: apsw.Connection, reader: Reader
) -> None:
    db.execute(
        "DELETE FROM memory_fts WHERE rowid = (SELECT key FROM memory WHERE id = ?)", (filled["plain"],)
    )
    assert problems(reader) == {"full-text index": (f"memory {filled['plain']} is not in the index",)}


def test_an_index_row_without_a_memory_is_found(
    filled: dict[str, str], db: apsw.Connection, reader: Reader
) -> None:
    db.execute("INSERT INTO memory_fts (rowid, title) VALUES (999, 'nobody')")
    assert problems(reader) == {"full-text index": ("index row 999 belongs to no memory",)}


def test_a_forgotten_memory_that_can_still_be_found_is_found(
    filled: dict[str, str], db: apsw.Connection, reader: Reader
) -> None:
    db.execute(
        "INSERT INTO memory_fts (rowid, title) SELECT key, 'back' FROM memory WHERE id = ?", (filled["gone"],)
    )
    assert "belongs to no memory" in problems(reader)["full-text index"][0]


@pytest.mark.parametrize("missing", ["NULL", "'no-such-id'"])
def test_a_superseded_memory_without_its_revision_is_found(
    missing: str, filled: dict[str, str], db: apsw.Connection, reader: Reader
) -> None:
    db.execute(f"UPDATE memory SET superseded_by = {missing} WHERE id = ?", (filled["old"],))
    assert problems(reader) == {"revisions": (f"memory {filled['old']} was superseded by nothing",)}


def test_a_revision_of_nothing_is_found(filled: dict[str, str], db: apsw.Connection, reader: Reader) -> None:
    db.execute("UPDATE memory SET supersedes = 'no-such-id' WHERE id = ?", (filled["new"],))
    assert problems(reader) == {"revisions": (f"memory {filled['new']} supersedes nothing",)}


def test_a_duplicate_is_found(filled: dict[str, str], db: apsw.Connection, reader: Reader) -> None:
    db.execute("DROP INDEX memory_dedup")
    db.execute("UPDATE memory SET dedup = (SELECT dedup FROM memory WHERE id = ?) WHERE id = ?",
               (filled["plain"], filled["new"]))  # fmt: skip
    assert problems(reader) == {"duplicates": (f"memory {filled['plain']} stands twice",)}


def test_a_tag_of_no_memory_is_found(filled: dict[str, str], db: apsw.Connection, reader: Reader) -> None:
    db.execute("PRAGMA foreign_keys = OFF")
    db.execute("INSERT INTO memory_tag VALUES (1, 'lost', 999)")
    (problem,) = problems(reader)["references"]
    assert "memory_tag" in problem


def test_a_memory_of_no_workspace_is_found(
    filled: dict[str, str], db: apsw.Connection, reader: Reader
) -> None:
    db.execute("PRAGMA foreign_keys = OFF")
    db.execute("UPDATE memory SET workspace = 77 WHERE id = ?", (filled["plain"],))
    found = problems(reader)
    assert set(found) == {"references", "content hashes"}
    assert "belongs to no workspace" in found["content hashes"][0]


def test_at_most_twenty_problems_are_named(remember: Remember, db: apsw.Connection, reader: Reader) -> None:
    for n in range(PROBLEMS_MAX + 5):
        remember(f"fact {n}")
    db.execute("UPDATE memory SET body = 'x'; DELETE FROM memory_fts WHERE rowid > 0")
    found = problems(reader)
    assert {name: len(items) for name, items in found.items()} == {
        "content hashes": 20,
        "full-text index": 20,
    }


@pytest.mark.parametrize("offset", [0, 3, 8])
def test_damaged_pages_are_reported_and_do_not_stop_the_other_checks(
    offset: int, filled: dict[str, str], db: apsw.Connection, database: Path
) -> None:
    root = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'memory'").get
    size = db.pragma("page_size")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    with database.open("r+b") as file:
        file.seek((root - 1) * size + offset)
        file.write(b"\xff" * 64)
    connection = connect(database, writable=False)
    checks = verify(Reader(connection))
    connection.close()
    assert checks[0].name == "pages"
    assert len(checks) == 7
    assert checks[0].problems
