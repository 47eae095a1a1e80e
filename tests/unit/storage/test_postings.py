"""bm25 from the pages of the index is that of FTS5, whatever was written, deleted and merged before."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import apsw
import pytest

from retain._core import Postings, RowLengths, ascending_keys
from retain.model import All, In
from retain.storage import postings, ways
from retain.storage.connection import connect
from retain.storage.reads import BM25, Reader

Remember = Callable[..., Any]

VOCABULARY = [f"word{number}" for number in range(60)]
OFTEN = [1 / (number + 1) for number in range(60)]
EVERYTHING = All(parts=())


def text(rng: random.Random, most: int) -> str:
    return " ".join(rng.choices(VOCABULARY, OFTEN, k=rng.randint(0, most)))


def put(db: apsw.Connection, rng: random.Random, key: int, most: int = 30) -> None:
    columns = [text(rng, width) for width in (6, most, 4, 3, 8)]
    db.execute(
        "INSERT INTO memory_fts (rowid, title, body, paths, symbols, context) VALUES (?, ?, ?, ?, ?, ?)",
        (key, *columns),
    )


def by_fts5(db: apsw.Connection, words: Sequence[Sequence[str]], most: int) -> list[tuple[int, float]]:
    match = " OR ".join(f'"{" ".join(word)}"' for word in words)
    rows = db.execute(
        f"SELECT rowid, -{BM25} AS score FROM memory_fts WHERE memory_fts MATCH ? "
        "ORDER BY score DESC, rowid DESC LIMIT ?",
        (match, most),
    )
    return [(key, score) for key, score in rows]


def by_pages(reader: Reader, words: Sequence[Sequence[str]], most: int) -> list[tuple[int, float]]:
    ranked = reader.ranked(words)
    assert ranked is not None
    return ranked.best(most)


def asked(rng: random.Random) -> list[tuple[str, ...]]:
    single = [(word,) for word in rng.sample([*VOCABULARY, "nowhere"], rng.randint(1, 5))]
    phrases = [tuple(rng.choices(VOCABULARY[:12], k=rng.randint(2, 3))) for _ in range(rng.randint(0, 2))]
    return list(dict.fromkeys(single + phrases))


@pytest.mark.parametrize("seed", range(3))
def test_ranking_from_the_pages_is_that_of_fts5_to_the_last_bit(db: apsw.Connection, seed: int) -> None:
    rng, key, reader = random.Random(seed), 0, Reader(db)
    alive: set[int] = set()
    for step in range(14):
        with db:
            for _ in range(rng.choice((1, 30, 700))):
                key += rng.choice((1, 1, 1, 300))
                put(db, rng, key, most=rng.choice((3, 30, 30, 2_000)) if step % 5 == 0 else 30)
                alive.add(key)
            for gone in rng.sample(sorted(alive), len(alive) // 10):
                db.execute("DELETE FROM memory_fts WHERE rowid = ?", (gone,))
                if rng.random() < 0.5:
                    put(db, rng, gone)
                else:
                    alive.discard(gone)
        if step % 4 == 3:
            db.execute(
                "INSERT INTO memory_fts (memory_fts, rank) VALUES ('merge', ?)", (rng.choice((3, 16, 500)),)
            )
        for _ in range(6):
            words, most = asked(rng), rng.choice((1, 20, 10_000))
            assert by_pages(reader, words, most) == by_fts5(db, words, most), words
    db.execute("INSERT INTO memory_fts (memory_fts) VALUES ('optimize')")
    for word, other in pairwise(VOCABULARY):
        words = [(word,), (word, other)]
        assert by_pages(reader, words, 10_000) == by_fts5(db, words, 10_000)


@pytest.mark.parametrize("first", ["old", "new"])
def test_a_length_that_one_snapshot_has_read_says_nothing_of_a_row_that_was_written_anew(
    db: apsw.Connection, database: Path, first: str
) -> None:
    rng = random.Random(1)
    with db:
        for key in range(1, 40):
            put(db, rng, key)
    lengths = RowLengths()
    readers = {name: Reader(connect(database, writable=False), lengths) for name in ("old", "new")}
    readers["old"].connection.execute("BEGIN")
    before = by_fts5(readers["old"].connection, [("word0",)], 50)
    with db:
        for key in range(1, 40, 2):
            db.execute("DELETE FROM memory_fts WHERE rowid = ?", (key,))
            put(db, rng, key, most=300)
    after = by_fts5(db, [("word0",)], 50)
    assert before != after
    expected = {"old": before, "new": after}
    for name in (first, *expected, first):
        found = readers[name].ranked([("word0",)])
        assert found is not None
        try:
            assert found.best(50) == expected[name]
        except ValueError:  # the length of a later snapshot is kept; then FTS5 is asked
            assert name == "old"
    for reader in readers.values():
        reader.connection.close()


def test_lengths_that_were_read_ahead_are_not_looked_up_again(
    db: apsw.Connection, remember: Remember
) -> None:
    for number in range(7):
        remember(f"decimal fact {number}")
    reader, seen = Reader(db), list[str]()
    starts = [1]
    while starts[-1]:
        starts.append(reader.read_lengths(starts[-1], 3))
    assert starts == [1, 4, 7, 8, 0]
    db.set_exec_trace(lambda _, sql, __: seen.append(sql) or True)
    expected = by_fts5(db, [("decim",)], 5)
    assert by_pages(reader, [("decim",)], 5) == expected
    assert seen != []
    assert not any("memory_fts_docsize" in sql for sql in seen)


def test_the_filter_is_tested_until_enough_of_the_best_fit(db: apsw.Connection, remember: Remember) -> None:
    for number in range(60):
        remember("decimal " * (60 - number) + f"fact {number}", kind="fix" if number % 20 == 19 else "note")
    reader, where = Reader(db), In(field="kind", values=("fix",))
    ranked = reader.ranked([("decim",)])
    assert ranked is not None
    expected = ways.lexical_first(db, "decimal", where, 2)
    assert len(expected) == 2
    assert ways.best_fitting(db, ranked, where, 1, 2) == expected
    every = ways.lexical_first(db, "decimal", where, 50)
    assert ways.best_fitting(db, ranked, where, 1, 50) == every
    ranked.keep(postings.keys_of_list(f"[{every[0].key}, 999]".replace(" ", "")))
    assert ways.best_fitting(db, ranked, EVERYTHING, 5, 5) == every[:1]


def test_what_a_transaction_has_not_written_yet_is_left_to_fts5(
    db: apsw.Connection, remember: Remember
) -> None:
    remember("decimal")
    with db:
        remember("decimal again")
        assert Reader(db).ranked([("decim",)]) is None
    assert Reader(db).ranked([("decim",)]) is not None


def test_another_format_is_left_to_fts5(db: apsw.Connection, remember: Remember) -> None:
    remember("decimal")
    assert postings.index_of(db) is not None
    db.execute("UPDATE memory_fts_config SET v = 99 WHERE k = 'version'")
    assert Reader(db).ranked([("decim",)]) is None


def test_a_page_that_is_damaged_or_gone_is_left_to_fts5(db: apsw.Connection, remember: Remember) -> None:
    remember("decimal")
    leaf = db.execute("SELECT max(id) FROM memory_fts_data WHERE id > 10").get
    db.execute("UPDATE memory_fts_data SET block = x'ffffffff' WHERE id = ?", (leaf,))
    assert Reader(db).ranked([("decim",)]) is None
    db.execute("DELETE FROM memory_fts_data WHERE id = ?", (leaf,))
    assert Reader(db).ranked([("decim",)]) is None


def test_what_is_no_page_and_no_list_is_refused() -> None:
    found = Postings([1.0])
    for refused in (
        lambda: found.segment(1, [b""]),
        lambda: found.begin(b"0word", [b"\0"]),
        lambda: found.extend(3, bytes(8)),
        lambda: found.keep(b"123"),
        lambda: RowLengths().put("1 2", 3),
        lambda: ascending_keys("1,2"),
        lambda: ascending_keys("[1,x]"),
    ):
        with pytest.raises(ValueError, match=r".+"):
            refused()
    assert ascending_keys("[]") == b""
    assert list(postings.keys_of_list("[5,-1,5,3]")) == [-1, 3, 5]
