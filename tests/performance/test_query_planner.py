"""The planner's cases beside those of test_planner_speed.py, with times through pytest-benchmark."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from dataclasses import replace
from typing import Any

import pytest

from retain.model import Query
from retain.retrieval.filters import parse_filter
from retain.retrieval.planner import Execution, Plan, QueryPlanner, Statistics

TOTAL = 100_000
KNOWN = Statistics(
    total=TOTAL,
    values={
        "kind": ((("note", 50_000), ("fix", 500)), 11, TOTAL),
        "tag": ((("half", 50_000), ("rare", 50)), 400, 80_000),
        "path": ((("src/a.py", 400),), 8_000, 90_000),
        "status": ((("active", TOTAL),), 1, TOTAL),
        "workspace": ((("w", 60_000), ("v", 40_000)), 2, TOTAL),
    },
    time_bounds=range(0, 33_000, 1_000),
)
SIMPLE = Query(text="fix fixture", filter=parse_filter({"kind": "note", "status": "active"}))


def nested(depth: int, width: int = 6) -> Query:
    tree: dict[str, Any] = {"kind": "note"}
    for level in range(depth):
        tree = {"or": [tree, *({"tag": f"t{level}{i}"} for i in range(width - 1))], "not": {"branch": "x"}}
    return Query(text="fix", filter=parse_filter({**tree, "workspace": list("wvxyz")}))


COMPLEX = nested(5)


@pytest.fixture
def planner() -> QueryPlanner:
    made = QueryPlanner()
    made.update(KNOWN)
    return made


def test_deep_nesting(planner: QueryPlanner, benchmark: Any) -> None:
    assert benchmark(planner.create_plan, nested(7, 2)).rows[0] >= 0


def test_the_footprint_of_a_plan(planner: QueryPlanner, benchmark: Any) -> None:
    benchmark(planner.create_plan, SIMPLE)
    tracemalloc.start()
    kept = [planner.create_plan(SIMPLE) for _ in range(100)]
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / len(kept) < 8_192


def test_plans_are_collected(planner: QueryPlanner, benchmark: Any) -> None:
    class Kept(list[Plan]):
        """A list that can be watched."""

    kept = Kept([benchmark(planner.create_plan, SIMPLE)])
    watched = weakref.ref(kept)
    del kept
    gc.collect()
    assert watched() is None


def run(planner: QueryPlanner, us: float) -> Execution:
    made = planner.create_plan(SIMPLE, {"fix": 4_000})
    return Execution(plan=made, rows=[step.rows[1] for step in made.steps], elapsed_us=us)


def test_feedback_brings_estimates_within_a_fifth(planner: QueryPlanner, benchmark: Any) -> None:
    once = run(planner, 1.0)
    truth = 3 * once.plan.cost_us[1]
    for _ in range(200):
        planner.observe(replace(once, elapsed_us=truth))
    benchmark(planner.observe, replace(once, elapsed_us=truth))
    assert abs(planner.optimize_plan(once.plan).cost_us[1] / truth - 1) < 0.2


def test_a_poor_estimate_is_seen(planner: QueryPlanner, benchmark: Any) -> None:
    poor = run(planner, 1_000 * planner.create_plan(SIMPLE, {"fix": 4_000}).cost_us[1])
    planner.observe(poor)
    assert benchmark(planner.q_error)["p95"] > 100


def test_different_patterns_get_different_plans(planner: QueryPlanner, benchmark: Any) -> None:
    queries = [
        (Query(text="a", filter=parse_filter({"tag": "rare"})), {"a": 40_000}),
        (Query(text="a", filter=parse_filter({"kind": "note"})), {"a": 40_000}),
        (Query(text="a", filter=parse_filter({"kind": "fix"})), {"a": 3}),
        (Query(filter=parse_filter({"kind": "note"})), None),
    ]
    names = benchmark(lambda: [planner.create_plan(*each).name for each in queries])
    assert names == ["filter_first", "rank_first", "lexical_first", "filter_scan"]


def test_a_plan_can_be_priced_anew_in_less_time_than_made(planner: QueryPlanner, benchmark: Any) -> None:
    made = planner.create_plan(COMPLEX)
    assert benchmark(planner.optimize_plan, made).steps == made.steps


def test_stored_coefficients_of_an_earlier_version_are_read(benchmark: Any) -> None:
    earlier = {"row_fetch": (5.0, 9.0, 1024.0)}
    assert benchmark(QueryPlanner, earlier).coefficients()["row_fetch"] == (5.0, 9.0, 1024.0)
