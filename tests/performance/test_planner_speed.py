"""Planning: cost, growth, footprint, and estimates beside the truth."""

import asyncio
import gc
import statistics
import time
import tracemalloc

import pytest

from retain.model import All, AnyOf, Between, In, Query
from retain.retrieval.planner import Plan, QueryPlanner, Statistics

pytestmark = pytest.mark.benchmark(group="planner")


def ordered(interval):
    low, expected, high = interval
    return 0 <= low <= expected <= high


def test_a_simple_query_gets_a_plan_with_ordered_estimates(measured, plans):
    planner, query = plans.planner_with_statistics(), plans.simple_query()
    plan = measured(planner.create_plan, query)
    assert planner.analyze_complexity(query).level == "simple"
    assert ordered(plan.rows)
    assert ordered(plan.cost_us)
    assert plan.rows[2] <= plans.TOTAL


def test_a_query_of_five_levels_and_thirty_conditions_gets_a_plan(measured, plans):
    planner, query = plans.planner_with_statistics(), plans.complex_query()
    complexity = planner.analyze_complexity(query)
    assert complexity.level == "complex"
    assert complexity.conditions >= 30
    assert complexity.depth >= 5
    plan = measured(planner.create_plan, query)
    assert ordered(plan.rows)
    assert plan.rows[2] <= plans.TOTAL


def test_planning_cost_grows_no_faster_than_the_conditions(measured, plans, best_ns):
    planner = plans.planner_with_statistics()
    few, many = plans.many_conditions(20), plans.many_conditions(200)
    measured(planner.create_plan, many)
    one = best_ns(lambda: planner.create_plan(few))
    ten = best_ns(lambda: planner.create_plan(many))
    assert ten <= 40 * one  # ten times the conditions, and room for noise


def test_a_thousand_plans_in_a_row_stay_level(measured, plans):
    planner, query = plans.planner_with_statistics(), plans.simple_query()

    def thousand():
        times = []
        for _ in range(1_000):
            started = time.perf_counter_ns()
            planner.create_plan(query)
            times.append(time.perf_counter_ns() - started)
        return times

    times = measured(thousand)
    assert statistics.median(times[500:]) <= 5 * statistics.median(times[:500])


def test_fifty_concurrent_plans_are_those_made_one_by_one(measured, plans, runner):
    planner = plans.planner_with_statistics()
    queries = [plans.many_conditions(n) for n in range(1, 51)]

    async def together():
        return await planner.plan_queries_concurrently(queries)

    found = measured(lambda: runner.run(together()))
    assert found == [planner.create_plan(query) for query in queries]


def test_async_planning_gives_the_same_plan(measured, plans, runner):
    planner, query = plans.planner_with_statistics(), plans.simple_query()

    async def fifty():
        return await asyncio.gather(*(planner.create_plan_async(query) for _ in range(50)))

    assert measured(lambda: runner.run(fifty())) == [planner.create_plan(query)] * 50


def test_a_thousand_values_in_one_condition_keep_the_estimate_in_bounds(measured, plans):
    planner = plans.planner_with_statistics()
    query = Query(text="x", filter=In(field="tag", values=tuple(f"tag{n}" for n in range(1_000))))
    plan = measured(planner.create_plan, query)
    assert ordered(plan.rows)
    assert plan.rows[2] <= 40_000  # no more memories than have a tag


def test_a_large_limit_needs_no_more_memory_to_plan(measured, plans):
    planner = plans.planner_with_statistics()

    def peak(limit):
        query = Query(text="", filter=In(field="kind", values=("decision",)), limit=limit)
        planner.create_plan(query)
        tracemalloc.start()
        planner.create_plan(query)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    assert measured(peak, 1_000_000) <= 2 * peak(10)


def test_continuous_planning_leaves_nothing_behind(measured, plans):
    planner, query = plans.planner_with_statistics(), plans.complex_query()

    def hundred():
        for _ in range(100):
            planner.create_plan(query)

    measured(hundred)
    gc.collect()
    assert not [thing for thing in gc.get_objects() if isinstance(thing, Plan)]


def test_estimates_of_single_conditions_are_within_a_fifth_of_the_truth(measured):
    kinds = ["command"] * 600 + ["file_change"] * 300 + ["decision"] * 100
    times = [n * 1_000 for n in range(1_000)]
    planner = QueryPlanner()
    planner.update(
        Statistics(
            total=1_000,
            values={"kind": ([(kind, kinds.count(kind)) for kind in dict.fromkeys(kinds)], 3, 1_000)},
            time_bounds=[*times[::31], times[-1]],
        )
    )

    def estimates():
        by_kind = {
            kind: planner.create_plan(Query(filter=In(field="kind", values=(kind,)))).rows[1]
            for kind in set(kinds)
        }
        half = Between(field="time", low=times[250], high=times[750])
        return by_kind, planner.create_plan(Query(filter=half)).rows[1]

    by_kind, in_range = measured(estimates)
    assert all(estimate == pytest.approx(kinds.count(kind), rel=0.2) for kind, estimate in by_kind.items())
    assert in_range == pytest.approx(500, rel=0.2)


@pytest.mark.parametrize(
    "query",
    [
        Query(text="", filter=All(parts=())),
        Query(text="", filter=AnyOf(parts=())),
        Query(text="日本語 ключ 🎉"),
        Query(text="word " * 2_000),
    ],
    ids=["all", "none", "unicode", "huge"],
)
def test_a_query_at_the_edge_gets_a_plan(measured, plans, query):
    plan = measured(plans.planner_with_statistics().create_plan, query)
    assert ordered(plan.rows)
    assert ordered(plan.cost_us)
