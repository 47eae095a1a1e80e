"""What the planner may rely on when it asks for row counts and prices."""

import math
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from retain._core import CostEstimator

KINDS = [("note", 500), ("error", 300)]


@pytest.fixture
def estimator() -> CostEstimator:
    estimator = CostEstimator()
    estimator.set_total(1000)
    estimator.set_values("kind", KINDS, distinct=6, rows=1000, multi_valued=False)
    estimator.set_values("tags", [("a", 600), ("b", 500)], distinct=4, rows=800, multi_valued=True)
    estimator.set_histogram("time", [0, 10, 20, 30, 40], rows=1000)
    return estimator


def test_a_common_value_is_known_exactly(estimator: CostEstimator) -> None:
    assert estimator.rows(("in", "kind", ["note"])) == (500, 500, 500)
    assert estimator.rows(("in", "kind", ["note", "error"])) == (800, 800, 800)
    assert estimator.rows(("in", "kind", [])) == (0, 0, 0)


def test_an_uncommon_value_gets_its_part_of_what_is_left(estimator: CostEstimator) -> None:
    assert estimator.rows(("in", "kind", ["fix"])) == (0, 50, 200)


def test_values_of_a_multi_valued_field_overlap(estimator: CostEstimator) -> None:
    low, expected, high = estimator.rows(("in", "tags", ["a", "b"]))
    assert (low, high) == (600, 800)
    assert 600 < expected < 800


def test_without_a_word_on_it_a_field_may_be_either(estimator: CostEstimator) -> None:
    estimator.set_values("kind", KINDS, distinct=6, rows=1000)
    assert estimator.rows(("in", "kind", ["note", "error"])) == (500, 800, 800)


def test_a_pattern_counts_matching_values_and_a_share_of_the_rest(estimator: CostEstimator) -> None:
    counts = [("src/a.py", 300), ("src/b.rs", 200), ("docs/c.md", 100)]
    estimator.set_values("path", counts, distinct=50, rows=1000, multi_valued=False)
    low, expected, high = estimator.rows(("glob", "path", "src/*"))
    assert (low, high) == (500, 900)
    assert low < expected < high
    assert estimator.rows(("glob", "path", "src/a.py"))[0] == 300


def test_a_range_is_certain_where_it_covers_whole_buckets(estimator: CostEstimator) -> None:
    assert estimator.rows(("range", "time", None, None)) == (1000, 1000, 1000)
    low, expected, high = estimator.rows(("range", "time", 10, 25))
    assert low <= 250
    assert high >= 500
    assert 350 < expected < 450
    assert estimator.rows(("range", "time", 41, None)) == (0, 0, 0)


def test_a_field_without_statistics_may_match_none_or_all(estimator: CostEstimator) -> None:
    for tree in (("in", "x", ["a"]), ("glob", "x", "a*"), ("range", "x", 1, 2), ("range", "x", None, 2)):
        low, expected, high = estimator.rows(tree)
        assert (low, high) == (0, 1000)
        assert 0 < expected < 500


def test_conditions_combine_within_the_bounds_that_hold_for_any_correlation(
    estimator: CostEstimator,
) -> None:
    note, tag = ("in", "kind", ["note"]), ("in", "tags", ["a"])
    low, expected, high = estimator.rows(("and", [note, tag]))
    assert (low, high) == (100, 500)
    assert expected > 1000 * 0.5 * 0.6, "more than independence would give"
    low, expected, high = estimator.rows(("or", [note, tag]))
    assert (low, high) == (600, 1000)
    assert low <= expected <= high
    assert estimator.rows(("not", note)) == (500, 500, 500)
    assert estimator.rows(("and", [])) == estimator.rows(("all",)) == (1000, 1000, 1000)
    assert estimator.rows(("or", [])) == (0, 0, 0)


def test_any_tree_stays_between_zero_and_the_total(estimator: CostEstimator) -> None:
    rng = random.Random(3)

    def tree(depth: int) -> tuple[Any, ...]:
        if depth == 0 or rng.random() < 0.3:
            return rng.choice([
                ("all",), ("in", "kind", ["note", "zzz"]), ("in", "tags", ["a", "q"]), ("glob", "kind", "n*"),
                ("range", "time", rng.randrange(50), None), ("glob", "none", "*"),
            ])  # fmt: skip
        if rng.random() < 0.3:
            return ("not", tree(depth - 1))
        return (rng.choice(["and", "or"]), [tree(depth - 1) for _ in range(rng.randrange(5))])

    for _ in range(500):
        low, expected, high = estimator.rows(tree(5))
        assert 0 <= low <= expected <= high <= 1000


@pytest.mark.parametrize(
    "tree", [("xor", []), ("and",), ("in", "kind"), ("range", "time", 1), ("all", 1), ("not", ("huh",))]
)
def test_an_unknown_node_is_a_value_error(estimator: CostEstimator, tree: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match=r"^tree:"):
        estimator.rows(tree)


@pytest.mark.parametrize("tree", ["all", [], None, ("in", 5, ["a"]), ("range", "time", "a", None), (1,)])
def test_a_part_of_the_wrong_type_is_a_type_error(estimator: CostEstimator, tree: Any) -> None:
    with pytest.raises(TypeError):
        estimator.rows(tree)


def test_nesting_has_a_limit(estimator: CostEstimator) -> None:
    tree: tuple[Any, ...] = ("all",)
    for _ in range(100):
        tree = ("not", tree)
    assert estimator.rows(tree) == (1000, 1000, 1000)
    with pytest.raises(ValueError, match=r"^tree: .*deeper than 100"):
        estimator.rows(("not", tree))


def test_statistics_that_contradict_themselves_are_refused(estimator: CostEstimator) -> None:
    with pytest.raises(ValueError, match=r"^rows:"):
        estimator.set_total(-1)
    with pytest.raises(ValueError, match=r"^counts:"):
        estimator.set_values("kind", [("a", -1)], 1, 10)
    with pytest.raises(ValueError, match=r"^counts:"):
        estimator.set_values("kind", [("a", 11)], 1, 10)
    with pytest.raises(ValueError, match=r"^distinct:"):
        estimator.set_values("kind", [("a", 1)], 0, 10)
    with pytest.raises(ValueError, match=r"^bounds:"):
        estimator.set_histogram("time", [2, 1], 10)
    assert estimator.rows(("in", "kind", ["note"])) == (500, 500, 500)


def test_a_plan_costs_startup_and_rows_of_each_step() -> None:
    estimator = CostEstimator({"row_fetch": (10.0, 2.0, 100.0), "sort": (0.0, 1.0, 0.0)})
    price = estimator.price([("row_fetch", (0, 10, 20)), ("sort", (8, 8, 8))])
    assert price == {"us": (10 + 24, 30 + 24, 50 + 24), "bytes": (0, 1000, 2000)}
    assert estimator.price([]) == {"us": (0, 0, 0), "bytes": (0, 0, 0)}


def test_many_plans_are_priced_as_one_by_one() -> None:
    estimator = CostEstimator()
    operators = list(estimator.coefficients())
    plans = [[(name, (0.0, n, 2.0 * n)) for name in operators[: n % 8]] for n in range(50)]
    assert estimator.price_many(plans) == [estimator.price(plan) for plan in plans]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (("seq_scan", (1, 1, 1)), "seq_scan"),
        (("sort", (1, math.nan, 2)), r"steps\[1\]\.rows"),
        (("sort", (0, 0, math.inf)), r"steps\[1\]\.rows"),
        (("sort", (-1, 0, 0)), r"steps\[1\]\.rows"),
        (("sort", (3, 2, 1)), r"steps\[1\]\.rows"),
    ],
)
def test_a_bad_step_is_a_value_error_that_names_it(step: Any, message: str) -> None:
    estimator = CostEstimator()
    plan = [("row_fetch", (1.0, 1.0, 1.0)), step]
    with pytest.raises(ValueError, match=message):
        estimator.price(plan)
    with pytest.raises(ValueError, match=message):
        estimator.price_many([plan])


@pytest.mark.parametrize(
    ("coefficients", "message"),
    [
        ({"seq_scan": (1.0, 1.0, 1.0)}, "seq_scan"),
        ({"sort": (1.0, math.nan, 1.0)}, "row_us"),
        ({"sort": (-1.0, 0.0, 1.0)}, "startup_us"),
        ({"sort": (1.0, 0.0, math.inf)}, "row_bytes"),
    ],
)
def test_bad_coefficients_are_a_value_error_that_names_them(coefficients: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CostEstimator(coefficients)


STEPS = [("row_fetch", 1_000.0), ("sort", 1_000.0)]


def priced(estimator: CostEstimator, way: str | None = None) -> float:
    return estimator.price([(name, (n, n, n)) for name, n in STEPS], way)["us"][1]


def test_estimates_approach_what_executions_took() -> None:
    rng = random.Random(9)
    estimator = CostEstimator()
    truth = 7 * priced(estimator)
    for _ in range(600):
        noise = rng.lognormvariate(0, 0.1) * (30 if rng.random() < 0.02 else 1)
        estimator.observe("rank_first", STEPS, priced(estimator, "rank_first"), truth * noise)
    q_error = estimator.q_error()
    assert q_error["count"] == 512
    assert q_error["median"] <= 1.2
    assert q_error["p95"] <= 2
    assert priced(estimator, "rank_first") == pytest.approx(truth, rel=0.1)
    assert priced(estimator, "filter_first") == pytest.approx(truth, rel=0.5), "the machine is slower for all"


def test_calibration_finds_what_operators_cost() -> None:
    rng = random.Random(4)
    estimator = CostEstimator()

    def run() -> tuple[list[tuple[str, float]], float]:
        rows = float(rng.choice([10, 100, 1_000, 10_000]))
        calls = float(rng.choice([0, 10, 100]))
        us = (150 + 2.5 * rows + 40 * calls) * (8 if rng.random() < 0.1 else 1)
        return [("statement", 1.0), ("row_fetch", rows), ("glob_test", calls)], us

    estimator.calibrate([run() for _ in range(1_200)])
    found = estimator.coefficients()
    assert found["statement"][1] == pytest.approx(150, rel=0.2)
    assert found["row_fetch"][1] == pytest.approx(2.5, rel=0.2)
    assert found["glob_test"][1] == pytest.approx(40, rel=0.2)
    assert estimator.q_error()["count"] == 0


def test_what_was_learnt_can_be_kept_and_given_back() -> None:
    estimator = CostEstimator()
    for _ in range(9):
        estimator.observe("filter_scan", STEPS, 100.0, 5_000.0)
    assert estimator.factors()["filter_scan"] > estimator.factors()["rank_first"] > 1
    given = CostEstimator(estimator.coefficients(), estimator.corrections())
    assert given.factors() == pytest.approx(estimator.factors())
    assert given.coefficients() == estimator.coefficients() == CostEstimator().coefficients()


def test_nonsense_teaches_nothing() -> None:
    estimator = CostEstimator()
    before = estimator.corrections()
    for actual_us in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"^actual_us:"):
            estimator.observe("rank_first", [("sort", 1.0)], 1.0, actual_us)
        with pytest.raises(ValueError, match=r"^estimated_us:"):
            estimator.observe("rank_first", [("sort", 1.0)], actual_us, 1.0)
    with pytest.raises(ValueError, match=r"^steps\[0\]\.rows:"):
        estimator.observe("rank_first", [("sort", math.nan)], 1.0, 1.0)
    with pytest.raises(ValueError, match=r"^steps:"):
        estimator.observe("rank_first", [], 1.0, 1.0)
    with pytest.raises(ValueError, match="seq_scan"):
        estimator.observe("rank_first", [("seq_scan", 1.0)], 1.0, 1.0)
    with pytest.raises(ValueError, match="guess_first"):
        estimator.observe("guess_first", [("sort", 1.0)], 1.0, 1.0)
    assert estimator.corrections() == before
    assert estimator.q_error() == {"count": 0, "median": 1.0, "p95": 1.0}


def test_a_sample_tells_of_values_that_are_not_common(estimator: CostEstimator) -> None:
    estimator.set_values("path", [("src/a.py", 100)], distinct=500, rows=1000, multi_valued=True)
    entries = [f"{'src' if n % 4 else 'docs'}/part{n % 10}/file{n}.py" for n in range(400)]
    estimator.set_sample("path", entries, 2_000)
    assert estimator.rows(("glob", "path", "docs/**"))[1] == pytest.approx(500, rel=0.2)
    assert estimator.rows(("glob", "path", "file7.py"))[1] < 20


def test_two_bounds_of_one_field_are_one_range(estimator: CostEstimator) -> None:
    both = estimator.rows(("and", [("range", "time", 10, None), ("range", "time", None, 12)]))
    assert both == estimator.rows(("range", "time", 10, 12))
    never = estimator.rows(("and", [("range", "time", 30, None), ("range", "time", None, 12)]))
    assert never == (0, 0, 0)


def test_threads_may_price_and_teach_at_once(estimator: CostEstimator) -> None:
    start = threading.Barrier(4)
    plans = [[("row_fetch", (1.0, 2.0, 3.0))] * 5] * 200

    def work(thread: int) -> None:
        start.wait()
        for n in range(50):
            assert len(estimator.price_many(plans)) == 200
            estimator.observe("rank_first", [("row_fetch", 3.0)], 10.0, 10.0 + n + thread)
            assert estimator.rows(("all",)) == (1000, 1000, 1000)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert estimator.q_error()["count"] == 200
