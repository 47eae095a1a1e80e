"""Vectors live and die with their memories, and every change can be followed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apsw
import pytest

from retain.errors import NotFound
from retain.model import Draft, new_id
from retain.storage import vectors, writes
from retain.storage.vectors import (
    drop_vectors,
    put_vectors,
    vector_changes,
    vector_dim,
    vector_rows,
    vector_version,
    with_vectors,
)

Remember = Callable[..., Any]


def add_space(db: apsw.Connection, key: int) -> int:
    db.execute("INSERT INTO vector_space VALUES (?, 'lsa', 'lsa', 16, x'', 'serving', 0, 0)", (key,))
    return key


def held(db: apsw.Connection, space: int, workspace: int = 1) -> dict[int, bytes]:
    return dict(vector_rows(db, space, workspace))


def test_a_vector_is_stored_with_the_workspace_of_its_memory(db: apsw.Connection, remember: Remember) -> None:
    space = add_space(db, 1)
    here, there = remember("here").key, remember("there", workspace=2).key
    assert put_vectors(db, space, [(here, b"a" * 16), (there, b"b" * 16), (999, b"c" * 16)]) == 2
    assert (held(db, space), held(db, space, 2)) == ({here: b"a" * 16}, {there: b"b" * 16})
    assert put_vectors(db, space, [(here, b"d" * 16)]) == 1
    assert held(db, space) == {here: b"d" * 16}
    assert vector_dim(db, space) == 16
    with pytest.raises(NotFound):
        vector_dim(db, 7)


def test_a_forgotten_or_revised_memory_has_no_vector_in_any_space(
    db: apsw.Connection, remember: Remember
) -> None:
    one, two = add_space(db, 1), add_space(db, 2)
    forgotten, revised, kept = (remember(text) for text in ("a", "b", "c"))
    for space in (one, two):
        put_vectors(db, space, [(m.key, b"x" * 16) for m in (forgotten, revised, kept)])
    writes.forget(db, forgotten.id, "wrong")
    again = writes.NewMemory(id=new_id(), workspace=1, draft=Draft(text="better"), now_us=9)
    writes.supersede(db, revised.id, again, "")
    assert list(held(db, one)) == list(held(db, two)) == [kept.key]
    assert put_vectors(db, one, [(forgotten.key, b"x" * 16)]) == 0
    assert with_vectors(db, one, 1, [forgotten.key, kept.key, revised.key]) == {kept.key}


def test_changes_say_what_a_memory_has_now(db: apsw.Connection, remember: Remember) -> None:
    space = add_space(db, 1)
    first, second = remember("a").key, remember("b").key
    assert vector_version(db, space, 1) == 0
    put_vectors(db, space, [(first, b"1" * 16), (second, b"2" * 16)])
    seen = vector_version(db, space, 1)
    assert vector_changes(db, space, 1, seen) == []
    put_vectors(db, space, [(second, b"3" * 16)])
    put_vectors(db, space, [(second, b"4" * 16)])
    drop_vectors(db, first)
    assert vector_changes(db, space, 1, seen) == [(first, None), (second, b"4" * 16)]
    assert vector_version(db, space, 2) == 0


def test_a_log_that_is_too_short_says_so(
    db: apsw.Connection, remember: Remember, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "CHANGES_KEPT", 5)
    space, keys = add_space(db, 1), [remember(f"fact {n}").key for n in range(20)]
    put_vectors(db, space, [(key, b"x" * 16) for key in keys])
    assert vector_version(db, space, 1) == 20
    assert db.execute("SELECT count(*) FROM vector_change").get == 5
    assert vector_changes(db, space, 1, 14) is None
    assert [key for key, _ in vector_changes(db, space, 1, 15) or []] == keys[15:]
    put_vectors(db, space, [(keys[0], b"y" * 16)])
    assert db.execute("SELECT count(*) FROM vector_change").get == 5


def test_what_is_rolled_back_was_never_there(db: apsw.Connection, remember: Remember) -> None:
    space, key = add_space(db, 1), remember("a").key
    db.execute("BEGIN")
    put_vectors(db, space, [(key, b"x" * 16)])
    db.execute("ROLLBACK")
    assert (held(db, space), vector_version(db, space, 1)) == ({}, 0)
