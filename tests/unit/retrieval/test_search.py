"""Plans are executed as they say, and tell what each of their steps handled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from retain.model import Query
from retain.retrieval.filters import parse_filter
from retain.retrieval.lexical import text_query
from retain.retrieval.planner import OVERFETCH, POOL_MIN, Plan, QueryPlanner, Step
from retain.retrieval.search import NOT_COUNTED, Found, execute, truth_of

NO_ROWS = (0.0, 0.0, 0.0)
STEPS = {
    "lexical_first": ("fts_match", "row_fetch", "sort"),
    "filter_first": ("index_scan", "fts_match", "rowid_probe", "sort"),
    "filter_scan": ("index_scan",),
}


@pytest.fixture
def store(library: Any) -> Any:
    """Ten fixes with "checkout" among them every second, and a hundred notes."""
    library.add_many([(f"fix {'checkout' if i % 2 else 'login'} {i}", {"kind": "fix"}) for i in range(10)])
    library.add_many([(f"note checkout {i}", {"kind": "note"}) for i in range(100)])
    return library


def run(store: Any, name: str, text: str, value: dict[str, Any], limit: int = 10) -> Found:
    query = Query(text=text, filter=parse_filter(value), limit=limit)
    plan: Plan = QueryPlanner().create_plan(query)
    forced = replace(plan, name=name, raw_steps=tuple(Step(operator=o, rows=NO_ROWS) for o in STEPS[name]))
    return execute(store.reader, forced, query, text_query(text, store.reader))


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("lexical_first", {"rows.fts_match": 105.0, "rows.row_fetch": 105.0, "rows.sort": 5.0}),
        (
            "filter_first",
            {
                "rows.index_scan": NOT_COUNTED,
                "rows.fts_match": NOT_COUNTED,
                "rows.rowid_probe": NOT_COUNTED,
                "rows.sort": 5.0,
            },
        ),
    ],
)
def test_each_plan_finds_the_same_and_tells_its_steps(store: Any, name: str, rows: dict[str, float]) -> None:
    found = run(store, name, "checkout", {"kind": "fix"})
    assert [candidate.key for candidate in found.candidates] == [10, 8, 6, 4, 2]
    assert all(candidate.bm25 > 0 for candidate in found.candidates)
    truth = dict(truth_of(found.execution))
    assert truth.pop("us") > 0
    assert truth == rows


def test_a_scan_gives_the_newest_first(store: Any) -> None:
    found = run(store, "filter_scan", "", {"kind": "fix"})
    assert [candidate.key for candidate in found.candidates] == list(range(10, 0, -1))
    assert truth_of(found.execution)["rows.index_scan"] == NOT_COUNTED


@pytest.mark.parametrize("name", ["lexical_first", "filter_first"])
@pytest.mark.parametrize("text", ["zebra", "!!!", "🎉"])
def test_words_that_occur_nowhere_find_nothing(store: Any, name: str, text: str) -> None:
    found = run(store, name, text, {"kind": "fix"})
    assert found.candidates == ()
    assert not any(found.execution.rows)


@pytest.mark.parametrize("name", ["lexical_first", "filter_scan"])
def test_more_candidates_are_fetched_than_asked_for_and_not_all(store: Any, name: str) -> None:
    text = "" if name == "filter_scan" else "checkout"
    assert len(run(store, name, text, {}, limit=1).candidates) == POOL_MIN
    assert len(run(store, name, text, {}, limit=20).candidates) == 20 * OVERFETCH
