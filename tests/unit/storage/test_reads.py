"""What is read: ranked, filtered, counted, and the same in portions as at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from retain.errors import StoreCorrupt
from retain.model import All, Between, Filter, Glob, In, from_us
from retain.storage import reads, ways, writes
from retain.storage.connection import connect
from retain.storage.reads import Reader

Remember = Callable[..., Any]

EVERYTHING = All(parts=())


@pytest.mark.parametrize("row", [(1, 0.0, b"\0", "note"), (1, 0.0, 1, b"note"), (1, 0.0, 1, "note", 1, None)])
def test_a_row_that_damage_has_changed_is_no_candidate(row: tuple[Any, ...]) -> None:
    with pytest.raises(StoreCorrupt, match="row 1 of the store is damaged"):
        reads.candidates_of([row])


def test_the_better_match_comes_first_and_the_filter_holds(remember: Remember, reader: Reader) -> None:
    weak = remember("decimal among many other words that say little about it", kind="note").key
    strong = remember("decimal", title="decimal", kind="decision").key
    remember("nothing of the kind")
    assert [candidate.key for candidate in reader.lexical("decimal", EVERYTHING, 10)] == [strong, weak]
    assert [candidate.key for candidate in reader.lexical("decimal", EVERYTHING, 1)] == [strong]
    only = reader.lexical("decimal", In(field="kind", values=("note",)), 10)
    assert [(candidate.key, candidate.kind) for candidate in only] == [(weak, "note")]
    assert only[0].bm25 > 0


@pytest.mark.parametrize("count", [0, 1, 130])
def test_the_index_says_how_many_memories_it_holds(remember: Remember, reader: Reader, count: int) -> None:
    ids = [remember(f"decimal fact {number}").id for number in range(count)]
    assert reader.indexed() == count
    for memory_id in ids[: count - 2]:
        writes.forget(reader.connection, memory_id, "")
    held = reader.connection.execute("SELECT count(*) FROM memory_fts_docsize").get
    assert reader.indexed() == held
    assert reader.total() == count


def test_ranking_among_the_keys_of_a_filter_is_ranking_with_the_filter(
    remember: Remember, reader: Reader
) -> None:
    added = [remember("decimal " * n + f"fact {n}") for n in range(1, 12)]
    some = In(field="id", values=tuple(one.id for one in added[::2]))
    nothing = In(field="id", values=("none",))
    expected = reader.lexical("decimal", some, 5)
    assert len(expected) == 5
    assert ways.filter_first(reader.connection, "decimal", some, 0, 5) == expected
    assert ways.rank_first(reader.connection, "decimal", some, 1, 5) == expected
    assert ways.filter_first(reader.connection, "decimal", nothing, 0, 5) == []


def test_ranking_among_the_keys_of_an_index_finds_the_active_ones_behind_many_that_are_not(
    remember: Remember, reader: Reader
) -> None:
    strong = [remember("decimal " * 9 + f"fact {n}", tags=("money",)).id for n in range(30)]
    weak = [remember(f"decimal among other words {n}", tags=("money",)).key for n in range(5)]
    remember("decimal " * 9, tags=("other",))
    for memory_id in strong:
        writes.forget(reader.connection, memory_id, "")
    workspace, active = In(field="workspace", values=("w-1",)), In(field="status", values=("active",))
    where = All(parts=(workspace, active, In(field="tag", values=("money",))))
    found = ways.filter_first(reader.connection, "decimal", where, 2, 5)
    assert {candidate.key for candidate in found} == set(weak)
    assert found == ways.lexical_first(reader.connection, "decimal", where, 5)


@pytest.mark.parametrize("pattern", ["src/**", "/src/**", "src/**/"])
def test_a_folder_holds_itself_and_what_lies_in_it_and_no_neighbour_of_a_like_name(
    remember: Remember, reader: Reader, pattern: str
) -> None:
    inside = ["src", "src/", "/src", "src/a.py", "/src/b/c.py"]
    outside = ["src.py", "src-old/a.py", "src0/a.py", "srd", "lib/src/a.py", "//src/a.py", "Src/a.py"]
    keys = {path: remember(path, paths=(path,)).key for path in inside + outside}
    tree = Glob(field="path", pattern=pattern)
    fitting = {keys[path] for path in inside}
    assert {candidate.key for candidate in reader.filtered(tree, -1)} == fitting
    workspace, active = In(field="workspace", values=("w-1",)), In(field="status", values=("active",))
    assert set(ways.keys_fitting(reader.connection, All(parts=(workspace, active, tree)), 2)) == fitting


@pytest.mark.parametrize(
    "only",
    [
        In(field="tag", values=("even", "odd")),
        In(field="kind", values=("fix",)),
        Glob(field="path", pattern="src/**"),
        In(field="path", values=("src/one.py",)),
        Between(field="time", low=3, high=8),
    ],
    ids=str,
)
def test_keys_that_an_index_alone_lists_are_those_that_fit(
    remember: Remember, reader: Reader, only: Filter
) -> None:
    for n in range(10):
        remember(
            f"fact {n}",
            workspace=1 + n % 3 // 2,
            kind="fix" if n % 4 else "note",
            tags=("even", "all") if n % 2 else ("odd",),
            paths=("src/one.py", "src/two.py") if n % 5 else ("docs/three.md",),
            occurred_at=from_us(n),
        )
    workspace, active = In(field="workspace", values=("w-1",)), In(field="status", values=("active",))
    where = All(parts=(workspace, active, only))
    fitting = sorted(candidate.key for candidate in reader.filtered(where, -1))
    assert ways.is_in_index(where)
    assert list(ways.keys_fitting(reader.connection, where, None)) == fitting != []
    both = All(parts=(*where.parts, In(field="kind", values=("fix", "note"))))
    assert not ways.is_in_index(both)
    assert list(ways.keys_fitting(reader.connection, both, None)) == fitting


def test_rows_are_loaded_the_same_in_portions(
    remember: Remember, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = [remember(f"fact {n}") for n in range(10)]
    monkeypatch.setattr(reads, "IDS_PER_STATEMENT", 3)
    assert {memory.id for memory in reader.load([a.key for a in added]).values()} == {a.id for a in added}
    assert set(reader.by_ids([a.id for a in added] + ["nobody"])) == {a.id for a in added}


def test_filtered_rows_come_newest_or_oldest_first(remember: Remember, reader: Reader) -> None:
    keys = [remember(f"fact {n}", occurred_at=from_us(at)).key for n, at in enumerate([5, 9, 1])]
    newest = [keys[1], keys[0], keys[2]]
    assert [candidate.key for candidate in reader.filtered(EVERYTHING, -1)] == newest
    assert [candidate.key for candidate in reader.filtered(EVERYTHING, 2)] == newest[:2]
    assert [candidate.key for candidate in reader.filtered(EVERYTHING, -1, newest_first=False)] == newest[
        ::-1
    ]


def test_stems_are_those_of_the_index(remember: Remember, reader: Reader) -> None:
    remember("Running connections, naïvely")
    stems = reader.tokens("Running connections, naïvely")
    assert stems == ["run", "connect", "naiv"]
    assert reader.document_frequencies([*stems, "missing"]) == dict.fromkeys(stems, 1)
    assert reader.tokens("\0 lone \ud800") == ["lone"]


def test_phrases_are_counted_up_to_a_limit(
    remember: Remember, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(4):
        remember(f'the connection pool number {n} said "no"')
    assert reader.phrase_frequency("connection pool") == 4
    assert reader.phrase_frequency("pool connection") == 0
    assert reader.phrase_frequency('said "no"') == 4
    monkeypatch.setattr(reads, "PHRASES_COUNTED_MAX", 3)
    assert reader.phrase_frequency("connection pool") == 3


def test_errors_without_a_fix_are_the_open_ones(
    remember: Remember, reader: Reader, db: apsw.Connection
) -> None:
    errors = [remember(f"error {n}", kind="error", occurred_at=from_us(n)).key for n in range(3)]
    fix = remember("fix", kind="fix").key
    writes.link(db, fix, errors[1], "fixes")
    writes.link(db, fix, errors[0], "supersedes")
    assert reader.unfixed_errors("w-1", 9) == [errors[2], errors[0]]
    assert reader.unfixed_errors("w-1", 1) == [errors[2]]
    assert reader.unfixed_errors("w-2", 9) == []


def test_values_are_counted_field_by_field(
    remember: Remember, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember("one", kind="note", tags=("a", "b"), paths=("x",), branch="main")
    remember("two", kind="note", tags=("a",), session="s")
    remember("three", kind="fix", workspace=2)
    assert (reader.field_counts("kind").common, reader.field_counts("kind").rows) == (
        (("note", 2), ("fix", 1)),
        3,
    )
    tags = reader.field_counts("tag")
    assert (tags.common, tags.distinct, tags.rows) == ((("a", 2), ("b", 1)), 2, 2)
    assert (reader.field_counts("branch").rows, reader.field_counts("session").rows) == (1, 1)
    assert dict(reader.field_counts("workspace").common) == {"w-1": 2, "w-2": 1}
    monkeypatch.setattr(reads, "COMMON_VALUES", 1)
    assert (len(reader.field_counts("kind").common), reader.field_counts("kind").distinct) == (1, 2)
    for field in reads._COUNTED:
        assert reader.field_counts(field).rows >= 1


@pytest.mark.parametrize("rows", [1, 2, 31, 32, 33, 100])
def test_the_bounds_of_times_run_from_the_first_to_the_last(
    rows: int, remember: Remember, reader: Reader
) -> None:
    assert (reader.time_bounds(), reader.total()) == ([], 0)
    for n in range(rows):
        remember(f"fact {n}", occurred_at=from_us(n * 10))
    bounds = reader.time_bounds()
    assert bounds == sorted(bounds)
    assert (bounds[0], bounds[-1], reader.total()) == (0, (rows - 1) * 10, rows)
    assert 2 <= len(bounds) <= 2 * reads.HISTOGRAM_BUCKETS + 2


def test_the_store_counts_what_it_holds(remember: Remember, reader: Reader, db: apsw.Connection) -> None:
    gone = remember("gone").id
    remember("here", kind="fix")
    writes.forget(db, gone, "wrong")
    writes.touch_session(db, workspace=1, session="s", at_us=1)
    counts = reader.counts()
    assert (counts["memories"], counts["kinds"], counts["sessions"]) == (
        {"active": 1, "forgotten": 1},
        {"fix": 1},
        1,
    )
    assert [(workspace.id, count) for workspace, count in reader.workspaces()] == [("w-1", 1)]


def test_what_is_kept_is_found_anew_once_the_store_has_changed(
    remember: Remember, reader: Reader, database: Path
) -> None:
    other = Reader(connect(database, writable=False))
    asked: list[int] = []

    def count() -> int:
        asked.append(1)
        return other.total()

    remember("one")
    assert [other.kept("count", count), other.kept("count", count), len(asked)] == [1, 1, 1]
    remember("two")
    assert [other.kept("count", count), len(asked)] == [2, 2]
    assert [other.kept(("moment", n), lambda n=n: n) for n in range(1_000)] == [*range(1_000)]
    other.connection.close()


def test_texts_are_whole_wherever_they_lie(remember: Remember, reader: Reader) -> None:
    small = remember("a text", title="title", paths=("src/a.py",), symbols=("cart_total",)).key
    large = remember("word " * 2_000, title="large").key
    found = dict(reader.texts([small, large]))
    assert found[small] == "title\na text\nsrc/a.py\ncart_total"
    assert found[large] == "large\n" + "word " * 2_000


def test_which_space_serves_is_read_from_an_index_alone(db: apsw.Connection) -> None:
    plan = "SELECT key, name, kind, dim, state, fitted_rows FROM vector_space WHERE kind = ? AND state = ?"
    rows = db.execute(f"EXPLAIN QUERY PLAN {plan} ORDER BY key DESC LIMIT 1", ("corpus", "serving"))
    assert any("USING COVERING INDEX vector_space_state" in row[3] for row in rows)
