"""The audit: every change is there, by whom, and any change of it is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apsw
import pytest

from retain.model import Draft, new_id
from retain.storage import audit
from retain.storage.audit import Author, attach, entries, head, problems
from retain.storage.writes import NewMemory, forget, supersede

Remember = Callable[..., Any]


def actions(db: apsw.Connection, subject: str | None = None) -> list[str]:
    return [entry.action for entry in entries(db, subject=subject, limit=1_000)]


def tampered(db: apsw.Connection, sql: str) -> list[str]:
    """What is found after somebody with the file in his hands has had his way."""
    db.execute("DROP TRIGGER audit_kept; DROP TRIGGER audit_stays")
    db.execute(sql)
    return list(problems(db))


def test_each_change_of_a_memory_is_a_row(remember: Remember, db: apsw.Connection) -> None:
    old = remember("the old way")
    new = NewMemory(id=new_id(), workspace=1, draft=Draft(text="the new way"), now_us=2000)
    supersede(db, old.id, new, "better")
    forget(db, new.id, "wrong after all")
    assert actions(db, old.id) == ["remembered", "superseded"]
    assert actions(db, new.id) == ["remembered", "forgotten"]
    assert actions(db)[0] == "begun"
    assert list(problems(db)) == []


def test_a_row_says_through_which_door_and_on_whose_behalf(remember: Remember, db: apsw.Connection) -> None:
    attach(db, lambda: Author(door="mcp", actor="assistant", session="s-1"))
    added = remember("said by the model")
    entry = entries(db, subject=added.id, limit=1)[0]
    assert (entry.door, entry.actor, entry.session) == ("mcp", "assistant", "s-1")
    assert "said by the model" not in repr(entry)


def test_a_change_that_is_rolled_back_leaves_no_row(remember: Remember, db: apsw.Connection) -> None:
    before = head(db)
    db.execute("BEGIN")
    remember("never stored")
    assert head(db) != before
    db.execute("ROLLBACK")
    assert head(db) == before


@pytest.mark.parametrize("sql", ["UPDATE audit SET door = 'cli'", "DELETE FROM audit WHERE number = 1"])
def test_the_audit_takes_no_change(remember: Remember, db: apsw.Connection, sql: str) -> None:
    remember("a fact")
    with pytest.raises(apsw.ConstraintError, match="append-only"):
        db.execute(sql)


@pytest.mark.parametrize("column", ["at_us", "door", "actor", "session", "action", "subject", "detail"])
def test_a_changed_row_is_found(remember: Remember, db: apsw.Connection, column: str) -> None:
    for text in ("one", "two", "three"):
        remember(text)
    changed = f"UPDATE audit SET {column} = iif(typeof({column}) = 'integer', 1, 'other') WHERE number = 3"
    assert tampered(db, changed)[0] == "row 3 is not what was written"


def test_a_row_that_was_taken_out_is_found(remember: Remember, db: apsw.Connection) -> None:
    for text in ("one", "two", "three"):
        remember(text)
    found = tampered(db, "DELETE FROM audit WHERE number = 3")
    assert found[0] == "rows 3 to 3 are missing"


def test_a_row_whose_hash_was_made_anew_breaks_the_one_after_it(
    remember: Remember, db: apsw.Connection
) -> None:
    for text in ("one", "two", "three"):
        remember(text)
    before = db.execute("SELECT hash FROM audit WHERE number = 2").get
    row = db.execute(
        "SELECT at_us, 'cli', actor, session, action, subject, detail FROM audit WHERE number = 3"
    )
    forged = audit.chained(before, 3, *row.fetchall()[0])
    db.execute("DROP TRIGGER audit_kept")
    db.execute("UPDATE audit SET door = 'cli', hash = ? WHERE number = 3", (forged,))
    assert list(problems(db)) == ["row 4 is not what was written"]


def test_a_text_that_was_changed_together_with_its_hash_is_found(
    remember: Remember, db: apsw.Connection
) -> None:
    added = remember("the truth")
    db.execute("DROP TRIGGER audit_rewritten")
    db.execute("UPDATE memory SET content_hash = x'00' WHERE id = ?", (added.id,))
    assert list(problems(db)) == [f"memory {added.id} is not the one that was noted"]


def test_a_rewritten_text_is_noted_and_whole(remember: Remember, db: apsw.Connection) -> None:
    added = remember("token=abc")
    db.execute("UPDATE memory SET content_hash = x'1234' WHERE id = ?", (added.id,))
    assert actions(db, added.id) == ["remembered", "rewritten"]
    assert list(problems(db)) == []


def test_after_erasure_nothing_ties_a_row_to_a_text(remember: Remember, db: apsw.Connection) -> None:
    added = remember("guessable")
    content = db.execute("SELECT content_hash FROM memory WHERE id = ?", (added.id,)).get
    promised = entries(db, subject=added.id, limit=1)[0].detail["commitment"]
    salt = db.execute("SELECT salt FROM audit_salt WHERE subject = ?", (added.id,)).get
    assert audit.commitment(salt, content) == promised
    for table in ("memory_body", "memory_tag", "memory_path"):
        db.execute(f"DELETE FROM {table}")
    db.execute("DELETE FROM memory_fts; DELETE FROM memory WHERE id = ?", (added.id,))
    assert db.execute("SELECT count(*) FROM audit_salt").get == 0
    assert actions(db, added.id) == ["remembered", "erased"]
    assert list(problems(db)) == []


def test_a_memory_that_came_past_the_triggers_is_found(remember: Remember, db: apsw.Connection) -> None:
    db.execute("DROP TRIGGER audit_remembered")
    added = remember("slipped in")
    assert list(problems(db)) == [f"memory {added.id} was stored past the audit"]


def test_what_no_trigger_sees_can_be_noted(db: apsw.Connection) -> None:
    audit.note(db, "backed up", "store", {"bytes": 4096})
    last = entries(db, limit=1)[0]
    assert (last.action, last.detail) == ("backed up", {"bytes": 4096})
    assert (last.number, last.hash) == head(db)
