"""The cost estimator in Rust and the planner over it."""

from __future__ import annotations

import tracemalloc

from retain.model import Query
from retain.retrieval.filters import as_tuples, normalise
from retain.retrieval.planner import Plan
from suite.plans import complex_query, many_conditions, planner_with_statistics, simple_query

QUERIES = {"simple": simple_query, "complex": complex_query}


class Planning:
    """One plan."""

    params = tuple(QUERIES)
    param_names = ("query",)

    def setup(self, name: str) -> None:
        self.planner = planner_with_statistics()
        self.query: Query = QUERIES[name]()

    def time_create_plan(self, _: str) -> None:
        self.planner.create_plan(self.query)

    def peakmem_thousand_plans(self, _: str) -> list[Plan]:
        return [self.planner.create_plan(self.query) for _ in range(1_000)]

    def track_bytes_a_plan(self, _: str) -> float:
        """Bytes of a plan that Python knows of."""
        self.planner.create_plan(self.query)
        tracemalloc.start()
        kept = [self.planner.create_plan(self.query) for _ in range(100)]
        used, _peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return used / len(kept)

    track_bytes_a_plan.unit = "bytes"  # type: ignore[attr-defined]

    def time_analyze_complexity(self, _: str) -> None:
        self.planner.analyze_complexity(self.query)


class Conditions:
    """The price of a plan as its conditions grow."""

    params = (1, 10, 100)
    param_names = ("conditions",)

    def setup(self, conditions: int) -> None:
        self.planner = planner_with_statistics()
        self.query = many_conditions(conditions)

    def time_create_plan(self, _: int) -> None:
        self.planner.create_plan(self.query)


class Estimator:
    """The calls into Rust by themselves."""

    def setup(self) -> None:
        self.estimator = planner_with_statistics()._estimator
        where = complex_query().filter
        assert where is not None
        self.tree = as_tuples(normalise(where))
        self.steps = [("fts_match", (0.0, 500.0, 5_000.0)), ("sort", (0.0, 50.0, 500.0))]

    def time_rows(self) -> None:
        self.estimator.rows(self.tree)

    def time_price(self) -> None:
        self.estimator.price(self.steps)

    def time_price_many(self) -> None:
        self.estimator.price_many([self.steps] * 100)
