"""The choice among the ways of finding the nearest vectors: by what each costs, and shown with its estimates."""

from __future__ import annotations

import pytest

from retain.model import All, Filter, Glob, In, Query
from retain.retrieval.planner import QueryPlanner, Statistics
from retain.retrieval.vector_plan import VectorPlan, is_plain

ACTIVE = In(field="status", values=("active",))
TOTAL = 100_000
STATISTICS = Statistics(
    total=TOTAL,
    values={
        "status": ([("active", TOTAL)], 1, TOTAL),
        "kind": ([("note", TOTAL // 2), ("fix", TOTAL // 200)], 2, TOTAL),
        "tag": ([("common", TOTAL // 2), ("rare", 50)], 2, TOTAL // 2 + 50),
        "path": ([("src/a.py", 100)], 100, TOTAL),
    },
    time_bounds=list(range(0, 1_000, 10)),
)


def free(matching: int | None, k: int) -> tuple[str, float]:
    return "vector_scan", 0.0


def chosen(where: Filter, *, enabled: bool = True, priced: object = free) -> VectorPlan:
    planner = QueryPlanner(enabled=enabled)
    planner.update(STATISTICS)
    plan = planner.create_plan(Query(text="a word", filter=where))
    return planner.plan_vectors(plan, 100, priced)  # type: ignore[arg-type]


def both(*parts: Filter) -> Filter:
    return All(parts=(ACTIVE, *parts))


@pytest.mark.parametrize(
    ("part", "way"),
    [
        (In(field="tag", values=("rare",)), "listed"),
        (In(field="tag", values=("common",)), "tested"),
        (In(field="kind", values=("note",)), "tested"),
    ],
)
def test_few_are_listed_and_many_are_tested_late(part: Filter, way: str) -> None:
    found = chosen(both(part))
    other = {"listed": "tested", "tested": "listed"}[way]
    assert found.way == way
    assert list(found.rejected) == [other]
    assert found.rejected[other] >= found.cost_us[1]
    assert found.cost_us[0] <= found.cost_us[1] <= found.cost_us[2]


def test_where_everything_fits_there_is_nothing_to_choose() -> None:
    found = chosen(ACTIVE, priced=lambda matching, k: ("vector_bits", 700.0 if matching is None else 0.0))
    assert (found.way, found.rejected, found.steps) == ("all", {}, ())
    assert found.cost_us == (700.0, 700.0, 700.0)
    assert is_plain(ACTIVE)
    assert not is_plain(both(Glob(field="path", pattern="src/**")))
    assert not is_plain(In(field="workspace", values=("w",))), "superseded ones fit too"


def test_what_the_matrix_takes_decides_with_the_rest() -> None:
    common = both(In(field="tag", values=("common",)))

    def dear_scan(matching: int | None, k: int) -> tuple[str, float]:
        return ("vector_scan", 1e7) if matching is None else ("vector_ids", 10.0)

    found = chosen(common, priced=dear_scan)
    assert (found.way, found.matrix) == ("listed", ("vector_ids", 10.0))
    assert found.as_json()["matrix"] == {"way": "vector_ids", "us": 10.0}
    assert found.rejected["tested"] > 1e7


def test_the_matrix_is_asked_for_the_keys_that_fit_and_for_the_hits_that_are_tested() -> None:
    asked = []

    def note(matching: int | None, k: int) -> tuple[str, float]:
        asked.append((matching, k))
        return "vector_scan", 0.0

    found = chosen(both(In(field="kind", values=("note",))), priced=note)
    (scan, tested), (listed, k) = asked
    assert (scan, k) == (None, 100)
    assert tested == round(found.rows[1]) > 100
    assert listed == round(found.share * TOTAL)


def test_a_condition_in_an_index_needs_no_rows_and_several_do() -> None:
    one = chosen(both(In(field="tag", values=("rare",))))
    two = chosen(both(In(field="tag", values=("rare",)), In(field="kind", values=("note",))))
    assert "row_fetch" not in {name for name, _ in one.steps}
    assert "row_fetch" in {name for name, _ in two.steps}
    assert not {"sort", "row_return"} & {name for name, _ in (*one.steps, *two.steps)}


def test_switched_off_it_takes_the_way_that_needs_no_statistics() -> None:
    found = chosen(both(In(field="tag", values=("common",))), enabled=False)
    assert (found.way, found.driver) == ("listed", None)
    assert chosen(ACTIVE, enabled=False).way == "all"
