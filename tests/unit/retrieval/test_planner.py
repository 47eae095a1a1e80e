"""The planner: plans differ in cost and never in their answer, and it learns what they cost."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retain.memory.recalling import NO_WORDS
from retain.model import All, AnyOf, Between, Filter, In, Not, Query
from retain.retrieval.calibration import calibrate
from retain.retrieval.filters import parse_filter
from retain.retrieval.lexical import text_query
from retain.retrieval.planner import (
    Execution,
    Plan,
    QueryPlanner,
    Statistics,
    Step,
    label,
    plan_as_json,
)
from retain.retrieval.search import execute, truth_of

WORDS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")
TOTAL = 2_200
NO_STEPS = (Step(operator="sort", rows=(0.0, 0.0, 0.0)),)


@pytest.fixture(scope="module")
def store(make_library: Callable[[], Any]) -> Any:
    """2,200 memories: "common" in each, "rare" in two, the tag "few" on three, everything of kind note or fix."""
    library = make_library()
    rng = random.Random(11)
    items = [
        (
            f"common {' '.join(rng.choices(WORDS, k=6))} {'rare' if i in {700, 1_400} else ''} n{i}",
            {
                "kind": "fix" if i % 10 == 0 else "note",
                "tags": ("few",) if i in {5, 1_500, 2_100} else (f"t{i % 7}",),
                "paths": (f"src/part{i % 20}/file{i}.py",),
                "branch": "main" if i % 2 else f"feat/{i % 3}",
            },
        )
        for i in range(TOTAL)
    ]
    library.add_many(items)
    return library


@pytest.fixture(scope="module")
def known(store: Any) -> Statistics:
    return store.statistics()


@pytest.fixture
def planner(known: Statistics) -> QueryPlanner:
    planner = QueryPlanner()
    planner.update(known)
    return planner


def plan(planner: QueryPlanner, store: Any, text: str, value: dict[str, Any] | None = None) -> Plan:
    tree = None if value is None else parse_filter(value)
    return planner.create_plan(Query(text=text, filter=tree), text_query(text, store.reader).postings)


def test_few_rows_that_fit_the_filter_are_looked_up_first(planner: QueryPlanner, store: Any) -> None:
    chosen = plan(planner, store, "common alpha", {"tag": "few"})
    assert chosen.name == "filter_first"
    assert chosen.rejected["lexical_first"] > chosen.cost_us[1]
    assert {"index_scan", "key_set", "fts_match", "rowid_probe"} <= {step.operator for step in chosen.steps}


def test_few_rows_that_hold_the_word_are_looked_up_first(planner: QueryPlanner, store: Any) -> None:
    chosen = plan(planner, store, "rare", {"kind": "fix"})
    assert chosen.name == "lexical_first"
    assert chosen.rejected["filter_first.kind.0"] > chosen.cost_us[1]
    assert {"fts_match", "row_fetch", "fts_rank", "sort"} <= {step.operator for step in chosen.steps}


def test_without_words_the_filter_is_scanned(planner: QueryPlanner, store: Any) -> None:
    chosen = planner.create_plan(Query(text="  ", filter=parse_filter({"kind": "fix"})))
    assert chosen.name == "filter_scan"
    assert len(chosen.rejected) == 1
    assert chosen.rows[0] <= 220 <= chosen.rows[2]


def test_a_filter_that_most_rows_fit_is_never_looked_up_row_by_row(planner: QueryPlanner, store: Any) -> None:
    chosen = plan(planner, store, "common", {"kind": ["note", "fix"]})
    assert chosen.name in {"lexical_first", "rank_first"}
    assert chosen.rejected["filter_first.kind.0"] > chosen.cost_us[1]


def test_planner_off_always_gives_the_plan_that_needs_no_statistics(known: Statistics, store: Any) -> None:
    off = QueryPlanner(enabled=False)
    off.update(known)
    assert plan(off, store, "common alpha", {"tag": "few"}).name == "lexical_first"


values = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(["fix", "note", ["fix", "note"], "task"]),
        "tag": st.sampled_from(["few", "t1", ["few", "t2"], "none"]),
        "path": st.sampled_from(["src/part3/", "*.py", "src/part1*/**", "file5.py", "nowhere/"]),
        "branch": st.sampled_from(["main", "feat/*", "feat/1"]),
        "since": st.sampled_from(["1970-01-02", "2026-11-18T00:00:00Z", "2030-01-01"]),
        "until": st.sampled_from(["1970-01-02", "2026-11-19T00:00:00Z", "2030-01-01"]),
    },
)
some_filters = st.one_of(
    values,
    values.map(lambda value: {"not": value}),
    st.lists(values, max_size=3).map(lambda parts: {"or": parts}),
)
questions = st.lists(st.sampled_from([*WORDS, "common", "rare", "n5", "absent"]), min_size=1, max_size=4)


@given(words=questions, value=some_filters, limit=st.sampled_from([1, 10, 30]))
@settings(max_examples=60, deadline=None)
def test_every_plan_gives_the_same_answer(
    store: Any, known: Statistics, words: list[str], value: dict[str, Any], limit: int
) -> None:
    planner = QueryPlanner()
    planner.update(known)
    query = Query(text=" ".join(words), filter=parse_filter(value), limit=limit)
    asked = text_query(query.text, store.reader)
    plain, *others = planner.alternatives(query, asked.postings, asked.reading)
    assert len(others) >= 1
    answer = execute(store.reader, plain, query, asked).candidates
    assert all(execute(store.reader, other, query, asked).candidates == answer for other in others)
    hasty = replace(plain, name="rank_first", raw_steps=NO_STEPS, driver=None, ahead=1)
    assert execute(store.reader, hasty, query, asked).candidates == answer


@given(value=some_filters, limit=st.sampled_from([1, 10, 30]))
@settings(max_examples=60, deadline=None)
def test_every_plan_without_words_gives_the_same_answer(
    store: Any, known: Statistics, value: dict[str, Any], limit: int
) -> None:
    planner = QueryPlanner()
    planner.update(known)
    query = Query(filter=parse_filter(value), limit=limit)
    expected = tuple(store.reader.filtered(query.filter, max(50, limit * 4)))
    for one in planner.alternatives(query):
        assert execute(store.reader, one, query, NO_WORDS).candidates == expected


@given(words=questions, value=some_filters)
@settings(max_examples=60, deadline=None)
def test_every_estimate_is_an_interval_that_holds_the_truth(
    store: Any, known: Statistics, words: list[str], value: dict[str, Any]
) -> None:
    planner = QueryPlanner()
    planner.update(known)
    chosen = plan(planner, store, " ".join(words), value)
    for low, expected, high in (
        chosen.rows,
        chosen.cost_us,
        chosen.cost_bytes,
        *(s.rows for s in chosen.steps),
    ):
        assert 0 <= low <= expected <= high
    assert chosen.rows[2] <= TOTAL
    truth = len(store.reader.filtered(chosen.filter, -1))
    assert chosen.rows[0] <= truth <= chosen.rows[2]
    assert chosen.cost_us[1] <= min([*chosen.rejected.values(), chosen.cost_us[1]])


def test_a_planner_without_statistics_plans_too() -> None:
    planner = QueryPlanner()
    assert planner.create_plan(Query(text="any words")).name == "lexical_first"
    assert planner.create_plan(Query(filter=parse_filter({"kind": "fix"}))).name == "filter_scan"


def executed(planner: QueryPlanner, query: Query, us: float, postings: int = 100) -> Execution:
    """The plan that is chosen, as if it had taken so long."""
    plain = planner.create_plan(query, {"alpha": postings})
    return Execution(plan=plain, rows=[step.rows[1] for step in plain.steps], elapsed_us=us)


def test_watching_executions_makes_estimates_better(planner: QueryPlanner, known: Statistics) -> None:
    query = Query(text="alpha")
    untaught = QueryPlanner()
    untaught.update(known)
    rng = random.Random(5)
    errors = []
    for _ in range(200):
        postings = rng.choice([10, 100, 1_000])
        truth = 6 * executed(untaught, query, 0.0, postings).plan.cost_us[1]
        estimate = executed(planner, query, 0.0, postings).plan.cost_us[1]
        errors.append(max(estimate / truth, truth / estimate))
        planner.observe(executed(planner, query, truth, postings))
    assert errors[0] > 2
    assert sorted(errors[-20:])[10] < 1.3
    assert planner.q_error()["count"] == 200


def test_learning_never_makes_a_plan_that_was_not_taken_look_better(
    planner: QueryPlanner, store: Any
) -> None:
    """A slow machine slows every plan: only chosen plans are seen, yet the choice stays."""
    query = Query(text="common alpha", filter=parse_filter({"kind": "fix"}))
    postings = text_query(query.text, store.reader).postings
    before = planner.create_plan(query, postings)
    for _ in range(500):
        now = planner.create_plan(query, postings)
        rows = [step.rows[1] for step in now.steps]
        planner.observe(Execution(plan=now, rows=rows, elapsed_us=5 * before.cost_us[1]))
    after = planner.create_plan(query, postings)
    assert (after.name, after.driver) == (before.name, before.driver)
    assert after.cost_us[1] == pytest.approx(5 * before.cost_us[1], rel=0.1)


def test_an_execution_that_met_no_row_teaches_nothing(planner: QueryPlanner) -> None:
    before = planner.corrections()
    idle = executed(planner, Query(text="alpha"), 0.3)
    planner.observe(replace(idle, rows=[0.0] * len(idle.rows)))
    assert planner.corrections() == before
    assert planner.q_error()["count"] == 0


def test_what_was_learned_goes_to_the_next_planner(planner: QueryPlanner, known: Statistics) -> None:
    query = Query(text="alpha")
    for _ in range(20):
        planner.observe(executed(planner, query, 50_000))
    learned = orjson.loads(orjson.dumps([planner.coefficients(), planner.corrections()]))
    following = QueryPlanner(*learned)
    following.update(known)
    assert following.coefficients() == planner.coefficients()
    assert following.create_plan(query, {"alpha": 100}).cost_us == pytest.approx(
        planner.create_plan(query, {"alpha": 100}).cost_us
    )


@pytest.mark.parametrize("bad", [{"machine": (0.0, 1.0)}, {"rank_first": (1.0, -1.0)}])
def test_corrections_that_cannot_be_are_refused(bad: dict[str, tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="corrections"):
        QueryPlanner(None, bad)


def test_an_execution_with_other_steps_than_its_plan_is_refused(planner: QueryPlanner) -> None:
    with pytest.raises(ValueError, match="zip"):
        planner.observe(replace(executed(planner, Query(text="alpha"), 10), rows=[1.0]))


def test_eight_threads_plan_as_one_does(planner: QueryPlanner, known: Statistics) -> None:
    queries = [
        Query(text=" ".join(WORDS[: 1 + i % 5]), filter=parse_filter({"tag": ["few", "t1"][i % 2]}))
        for i in range(50)
    ]
    alone = [planner.create_plan(query).rows for query in queries]
    start = threading.Barrier(8)
    answers: list[list[Any]] = []
    failures: list[Exception] = []

    def work() -> None:
        try:
            start.wait(10)
            for _ in range(4):
                found = [planner.create_plan(query) for query in queries]
                planner.update(known)
                planner.observe(Execution(plan=found[0], rows=[5.0] * len(found[0].steps), elapsed_us=80))
                answers.append([one.rows for one in found])
        except Exception as error:  # noqa: BLE001 - it is raised below, in the thread of the test
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert len(answers) == 32
    assert all(answer == alone for answer in answers)


def test_many_queries_are_planned_in_their_order(planner: QueryPlanner) -> None:
    queries = [Query(text=word) for word in WORDS] + [Query(filter=parse_filter({"tag": "few"}))]

    async def both() -> tuple[list[Plan], Plan]:
        return await planner.plan_queries_concurrently(queries), await planner.create_plan_async(queries[0])

    plans, one = asyncio.run(both())
    assert {p.name for p in plans[:-1]} <= {"lexical_first", "rank_first"}
    assert plans[-1].name == "filter_scan"
    assert plans == [planner.create_plan(query) for query in queries]
    assert one == plans[0]


def test_costs_are_those_of_the_cheapest_plan(planner: QueryPlanner) -> None:
    query = Query(text="alpha beta", filter=parse_filter({"tag": "few"}))
    chosen = planner.create_plan(query)
    assert planner.estimate_cost(query) == chosen.cost_us
    assert [m - b for m, b in zip(planner.estimate_memory_usage(query), chosen.cost_bytes, strict=True)] == [
        512
    ] * 3


def test_a_plan_is_priced_anew_with_what_is_known_now(known: Statistics) -> None:
    planner = QueryPlanner()
    before = planner.create_plan(Query(text="alpha", filter=parse_filter({"tag": "few"})), {"alpha": 100})
    planner.update(known)
    now = planner.optimize_plan(before)
    assert (now.name, now.steps) == (before.name, before.steps)
    assert now.rows == pytest.approx((3.0, 3.0, 3.0))
    planner.observe(Execution(plan=now, rows=[100.0] * len(now.steps), elapsed_us=1e6))
    assert planner.optimize_plan(now).cost_us[1] > now.cost_us[1]


def test_history_changes_the_plan(planner: QueryPlanner, store: Any) -> None:
    query = Query(text="common", filter=parse_filter({"tag": "few"}))
    first = planner.create_plan(query)
    assert first.name == "filter_first"
    rows = [step.rows[1] for step in first.steps]
    slow = [Execution(plan=first, rows=rows, elapsed_us=1e6)] * 5
    after = planner.optimize_with_history(query, slow)
    assert after.name != "filter_first"
    assert after.rejected[label(first)] > after.cost_us[1]
    other = Query(text="common", filter=parse_filter({"kind": "fix"}))
    alone = planner.create_plan(other)
    again = planner.optimize_with_history(other, [])
    assert (again.name, again.driver, again.cost_us) == (alone.name, alone.driver, alone.cost_us)


@pytest.mark.parametrize(
    ("text", "value", "level", "conditions", "depth"),
    [
        ("one word", {}, "simple", 0, 1),
        ("a b", {"kind": "fix"}, "simple", 1, 0),
        ("a", {"or": [{"kind": "fix", "tag": "x"}, {"tag": "y"}]}, "moderate", 3, 2),
        (
            "a",
            {"or": [{"not": {"kind": "fix", "or": [{"tag": "x"}, {"tag": "y"}]}}, {"tag": "z"}]},
            "complex",
            4,
            4,
        ),
        ("word " * 100, {}, "moderate", 0, 1),
    ],
)
def test_complexity_counts_conditions_depth_and_words(
    text: str, value: dict[str, Any], level: str, conditions: int, depth: int
) -> None:
    found = QueryPlanner().analyze_complexity(Query(text=text, filter=parse_filter(value)))
    assert (found.level, found.conditions, found.depth) == (level, conditions, depth)
    assert found.words == len(text.split())


def test_a_query_without_filter_has_no_conditions() -> None:
    assert QueryPlanner().analyze_complexity(Query(text="a")).conditions == 0


W = {name: In(field="workspace", values=(name,)) for name in "abc"}
FIX = In(field="kind", values=("fix",))


@pytest.mark.parametrize(
    ("scope", "tree", "named", "every"),
    [
        (None, None, (), True),
        ("a", None, ("a",), False),
        (None, W["a"], ("a",), False),
        ("a", All(parts=(W["a"], FIX)), ("a",), False),
        (None, AnyOf(parts=(W["a"], W["b"])), ("a", "b"), False),
        (None, All(parts=(FIX, AnyOf(parts=(W["b"], All(parts=(W["a"], FIX)))))), ("a", "b"), False),
        (None, AnyOf(parts=(W["a"], FIX)), (), True),
        (None, AnyOf(parts=()), (), True),
        (None, Not(part=W["a"]), (), True),
        (None, FIX, (), True),
    ],
)
def test_a_workspace_is_needed_where_a_memory_must_lie_in_it(
    scope: str | None, tree: Filter | None, named: tuple[str, ...], every: bool
) -> None:
    needs = QueryPlanner().analyze_workspace_requirements(Query(text="a", filter=tree, workspace=scope))
    assert (needs.named, needs.every) == (named, every)


@given(words=questions, value=some_filters)
@settings(max_examples=50, deadline=None)
def test_a_plan_is_json(store: Any, known: Statistics, words: list[str], value: dict[str, Any]) -> None:
    planner = QueryPlanner()
    planner.update(known)
    query = Query(text=" ".join(words), filter=parse_filter(value))
    asked = text_query(query.text, store.reader)
    found = execute(store.reader, planner.create_plan(query, asked.postings), query, asked)
    shown = plan_as_json(found.execution.plan, truth_of(found.execution))
    assert orjson.loads(orjson.dumps(shown)) == shown
    assert shown["truth"]["us"] >= 0
    assert len(shown["steps"]) == len(found.execution.rows)


def test_an_impossible_range_of_time_has_no_rows(planner: QueryPlanner) -> None:
    both_ways = Between(field="time", low=2_000_000_000_000_000, high=1_000)
    assert planner.create_plan(Query(filter=both_ways)).rows[1] == 0


def test_calibration_learns_from_the_store_and_counts_no_prediction(
    planner: QueryPlanner, store: Any
) -> None:
    before = planner.coefficients()
    assert calibrate(store.reader, planner, store.statistics())
    assert planner.coefficients() != before
    assert planner.q_error()["count"] == 0


def test_an_empty_store_teaches_nothing(planner: QueryPlanner, library: Any) -> None:
    before = planner.coefficients()
    assert not calibrate(library.reader, planner, library.statistics())
    assert planner.coefficients() == before


def test_plans_of_a_batch_are_those_of_single_queries(planner: QueryPlanner) -> None:
    queries = [Query(text="alpha", filter=parse_filter({"tag": f"t{i}"})) for i in range(20)]
    assert planner.create_plans(queries) == [planner.create_plan(query) for query in queries]
