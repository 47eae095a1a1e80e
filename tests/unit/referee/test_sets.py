"""Sets are read as they were written, and records in the form of a commit give their fields."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retain.errors import InvalidInput
from retain.referee.sets import EPOCH, Draft, Record, read_set, write_set


def written(folder: Path) -> Path:
    days = ["2024-01-02", "2024-01-02", "2024-01-01"]
    corpus = [
        {"id": f"r{i}", "group": "g", "text": f"Subject {i}\nbody", "ord": i, "date": day}
        for i, day in enumerate(days)
    ]
    queries = [
        {"id": "q1", "group": "g", "text": "one", "cat": "files", "split": "tune", "ord": 2},
        {"id": "q2", "group": "g", "text": "two", "cat": "known", "split": "test"},
    ]
    write_set(Draft(corpus=corpus, queries=queries, qrels=[{"qid": "q1", "docid": "r0", "rel": 2}]), folder)
    return folder


def test_moments_grow_with_the_order_and_bound_what_a_query_may_see(tmp_path: Path) -> None:
    judged = read_set(written(tmp_path / "set"))
    moments = [record.moment for record in judged.records["g"]]
    start = datetime(2024, 1, 2, tzinfo=UTC)
    assert moments == [start, start + timedelta(seconds=1), start + timedelta(seconds=2)]
    first, second = judged.questions
    assert (first.before, first.relevant) == (moments[2], {"r0": 2})
    assert (second.before, second.relevant) == (None, {})


def test_one_split_is_read_alone_and_the_same_set_gives_the_same_bytes(tmp_path: Path) -> None:
    assert [q.id for q in read_set(written(tmp_path / "a"), "tune").questions] == ["q1"]
    for name in ("corpus", "queries", "qrels"):
        file = f"{name}.jsonl.gz"
        assert (tmp_path / "a" / file).read_bytes() == (written(tmp_path / "b") / file).read_bytes()


def test_a_folder_that_is_no_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="nowhere"):
        read_set(tmp_path / "nowhere")


def test_the_text_of_a_commit_gives_title_body_paths_and_symbols() -> None:
    text = "Cache tokens\nThey expire.\n\nFiles: a file.\nFiles: src/a.py (+1 -2), b, c.rs (+3 -0)\nTouches: load, A"
    parts = Record(id="r", group="g", text=text, moment=EPOCH).parts()
    assert (parts.title, parts.body) == ("Cache tokens", "They expire.\n\nFiles: a file.")
    assert parts.paths == ("src/a.py", "b, c.rs")
    assert parts.symbols == ("load", "A")


def test_a_text_of_one_line_is_body_alone() -> None:
    parts = Record(id="r", group="g", text="Hello there", moment=EPOCH).parts()
    assert (parts.title, parts.body, parts.paths, parts.symbols) == ("", "Hello there", (), ())
