"""Rows keep what they were given, and a row that no longer is what was stored is never passed off as it."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retain.errors import StoreCorrupt
from retain.model import Draft, from_us
from retain.storage.reads import Reader
from retain.storage.rows import INLINE_BYTES_MAX, PLAIN, ZLIB, dedup_hash, split_body, to_list

Remember = Callable[..., Any]

text = st.text(st.characters(exclude_categories=("Cs",)), max_size=50)
texts = st.lists(text, max_size=4).map(tuple)
json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(text, part, max_size=3),
    max_leaves=5,
)
drafts = st.fixed_dictionaries(
    {
        "text": text, "title": text, "kind": text, "paths": texts, "symbols": texts, "tags": texts,
        "branch": st.none() | text, "commit": st.none() | text, "session": st.none() | text, "context": text,
        "occurred_at": st.integers(0, 10**17).map(from_us), "extra": st.dictionaries(text, json, max_size=3),
        "redacted": st.dictionaries(text, st.integers(0, 9), max_size=3),
    }
)  # fmt: skip


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=drafts)
def test_a_memory_is_read_as_it_was_written(
    fields: dict[str, Any], remember: Remember, reader: Reader
) -> None:
    added = remember(**fields)
    memory = reader.load([added.key])[added.key]
    kept = {name: getattr(memory, name) for name in fields if name != "context"}
    same = {"text", "title", "kind", "paths"} if not added.created else set(fields) - {"context"}
    assert {name: kept[name] for name in same} == {name: fields[name] for name in same}
    assert memory.id == added.id


@pytest.mark.parametrize("size", [0, INLINE_BYTES_MAX - 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 1_000_000])
@pytest.mark.parametrize("kind", ["repeated", "noise", "two-byte"])
def test_texts_of_every_size_come_back_whole(
    size: int, kind: str, remember: Remember, reader: Reader
) -> None:
    noise = "".join(map(chr, random.Random(size).choices(range(0x3400, 0x9FFF), k=size // 3)))
    body = {"repeated": "x" * size, "noise": noise, "two-byte": "ü" * (size // 2)}[kind]
    added = remember(body)
    assert reader.load([added.key])[added.key].text == body


def test_large_texts_lie_out_of_the_row_and_compressed_only_where_that_is_smaller(
    remember: Remember, db: apsw.Connection
) -> None:
    easy = remember("x" * 100_000)
    stored = dict(db.execute("SELECT memory, length(data) FROM memory_body"))
    assert stored[easy.key] < 1_000
    assert db.execute("SELECT body FROM memory WHERE key = ?", (easy.key,)).get is None
    assert split_body("x" * 100_000)[1][0] == ZLIB  # type: ignore[index]
    noise = "".join(map(chr, random.Random(1).choices(range(0x10000, 0x10FFFF), k=600)))
    inline, apart = split_body(noise)
    assert inline is None
    assert apart is not None
    assert apart[0] == ZLIB or apart == (PLAIN, noise.encode())


def test_a_text_that_grows_by_compression_is_stored_plain(
    remember: Remember, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retain.storage.rows.INLINE_BYTES_MAX", 3)
    assert split_body("abcd") == (None, (PLAIN, b"abcd"))
    added = remember("abcd")
    assert reader.load([added.key])[added.key].text == "abcd"


DAMAGE = {
    "text": "UPDATE memory SET body = 'another fact'",
    "title": "UPDATE memory SET title = 'another title'",
    "kind": "UPDATE memory SET kind = 'decision'",
    "hash": "UPDATE memory SET content_hash = x'00'",
    "paths": "UPDATE memory SET paths = '[\"a'",
    "tags": "UPDATE memory SET tags = '7'",
    "extra": "UPDATE memory SET extra = ''",
    "time": f"UPDATE memory SET occurred_us = {2**62}",
    "no text": "UPDATE memory SET body = NULL",
    "no zlib": "UPDATE memory SET body = NULL; INSERT INTO memory_body VALUES (1, 1, x'00')",
    "no utf-8": "UPDATE memory SET body = NULL; INSERT INTO memory_body VALUES (1, 0, x'ff')",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_row_that_was_changed_behind_our_back_is_refused(
    damage: str, remember: Remember, reader: Reader, db: apsw.Connection
) -> None:
    added = remember("a fact", title="title")
    db.execute(DAMAGE[damage])
    with pytest.raises(StoreCorrupt, match=added.id) as caught:
        reader.by_ids([added.id])
    assert caught.value.hint


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_row_that_was_changed_behind_our_back_is_left_out_among_others_and_noted(
    damage: str, remember: Remember, reader: Reader, db: apsw.Connection
) -> None:
    added = remember("a fact", title="title")
    db.execute(DAMAGE[damage])
    whole = remember("another fact")
    assert list(reader.load([added.key, whole.key])) == [whole.key]
    assert reader.damaged == {added.key}


@settings(max_examples=300)
@given(texts, texts)
def test_two_drafts_are_duplicates_exactly_where_all_that_is_seen_is_the_same(
    one: tuple[str, ...], two: tuple[str, ...]
) -> None:
    assert (dedup_hash(Draft(text="t", paths=one)) == dedup_hash(Draft(text="t", paths=two))) is (one == two)
    assert (dedup_hash(Draft(text="t", tags=one)) == dedup_hash(Draft(text="t", tags=two))) is (
        sorted(one) == sorted(two)
    )


def test_what_is_joined_is_not_taken_for_what_is_apart() -> None:
    assert dedup_hash(Draft(text="t", paths=("a\1b",))) != dedup_hash(Draft(text="t", paths=("a", "b")))
    assert dedup_hash(Draft(text="ab", title="c")) != dedup_hash(Draft(text="a", title="bc"))


WITHOUT_ROOM = """
import os, resource
from retain.storage.rows import to_list

words, held = ["word"] * 400, []
status = open("/proc/self/status").read()
used = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (used + (1 << 20),) * 2)
size = 1 << 16
while size > 600:
    try:
        while True:
            held.append(bytes(size))
    except MemoryError:
        size //= 2
try:
    to_list(words)
except MemoryError:
    os._exit(3)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and a limit that the system keeps to")
def test_where_there_is_no_room_to_write_what_a_question_asks_with_the_process_is_told_and_does_not_end() -> (
    None
):
    ended = subprocess.run([sys.executable, "-c", WITHOUT_ROOM], check=False)
    assert ended.returncode in {0, 3}


@given(st.lists(text) | st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_a_list_is_read_by_sqlite_as_it_was_given(values: list[str] | list[int]) -> None:
    connection = apsw.Connection(":memory:")
    rows = connection.execute("SELECT value FROM json_each(?)", (to_list(values),)).fetchall()
    assert [value for (value,) in rows] == values
