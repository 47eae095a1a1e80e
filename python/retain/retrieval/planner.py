"""QueryPlanner: which way of answering a query is the cheapest, in microseconds and bytes.

The estimator in Rust holds the statistics of the store (most common values, distinct counts, a histogram
of times), turns a filter tree into an interval of rows, and prices the steps of a plan. The planner
enumerates the plans that give the same answer, prices them, and takes the cheapest one. What a plan really
cost comes back through ``observe`` and corrects the coefficients.

Plans:

``lexical_first``  the full-text index gives the rows of the words, the filter is tested on each
``filter_first``   an index gives the keys of the few rows that fit the filter; of the rows that the full-text
                   index gives for the words, only those are fetched
``filter_scan``    there are no words: the newest rows that fit the filter
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from retain._core import CostEstimator
from retain.model import All, AnyOf, Filter, In, Query
from retain.retrieval.filters import NOTHING, as_tuples, normalise, size_of

Interval = tuple[float, float, float]

FILTER_FIRST_ROWS_MAX = 2_000
"""Above this many rows a plan filter_first is not considered: their keys have to be held."""

ASSUMED_POSTINGS = 0.05
"""Share of the memories that a word occurs in, where its frequency is not known."""

PLAN_BYTES = 512

MULTI_VALUED = frozenset({"tag", "path"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What the planner knows of the store; rows are memories."""

    total: int
    values: Mapping[str, tuple[Sequence[tuple[str, int]], int, int]]
    time_bounds: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One operator of a plan and the rows that it handles, as an interval."""

    operator: str
    rows: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A way of answering a query, with its estimates.

    Attributes:
        name: ``lexical_first``, ``filter_first`` or ``filter_scan``.
        steps: the operators in order.
        rows: memories that fit the filter, estimated as (min, expected, max).
        cost_us: microseconds, as (min, expected, max).
        cost_bytes: bytes touched, as (min, expected, max).
        filter: the filter in normal form.
        rejected: the plans that would cost more, with their expected microseconds.
    """

    name: str
    steps: tuple[Step, ...]
    rows: Interval
    cost_us: Interval
    cost_bytes: Interval
    filter: Filter
    rejected: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What an executed plan really did: rows handled by each step, in order, and microseconds in all."""

    plan: Plan
    rows: Sequence[float]
    elapsed_us: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Complexity:
    """How much a query asks for; ``level`` is simple, moderate or complex."""

    conditions: int
    depth: int
    words: int
    level: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceRequirements:
    """Which workspaces a query needs: the named ones, or every one of this store."""

    named: tuple[str, ...]
    every: bool


class QueryPlanner:
    """Plans queries; pure but for its statistics and coefficients, and safe to share between threads.

    Args:
        coefficients: what an earlier planner learned (``coefficients()``), or None for the defaults.
        enabled: False always gives the plan that needs no statistics; answers do not change.
    """

    def __init__(
        self, coefficients: Mapping[str, Sequence[float]] | None = None, *, enabled: bool = True
    ) -> None:
        self._estimator = CostEstimator({name: (a, b, c) for name, (a, b, c) in (coefficients or {}).items()})
        self._enabled = enabled
        self._total = 0
        self._lock = threading.Lock()

    def update(self, statistics: Statistics) -> None:
        """Takes new statistics of the store."""
        with self._lock:
            self._total = statistics.total
            self._estimator.set_total(statistics.total)
            for name, (common, distinct, rows) in statistics.values.items():
                self._estimator.set_values(name, list(common), distinct, rows, name in MULTI_VALUED)
            self._estimator.set_histogram("time", list(statistics.time_bounds), statistics.total)

    def create_plan(self, query: Query, postings: Mapping[str, int] | None = None) -> Plan:
        """The cheapest plan for a query.

        Args:
            query: what to recall.
            postings: for each word of the query, in how many memories it occurs; None estimates it.
        """
        tree = normalise(query.filter) if query.filter is not None else NOTHING
        rows = self._estimator.rows(as_tuples(tree))
        options = self._options(query, rows, self._postings(query, postings))
        prices = self._estimator.price_many([_pairs(steps) for steps in options.values()])
        return _cheapest(options, prices, rows, tree)

    async def create_plan_async(self, query: Query, postings: Mapping[str, int] | None = None) -> Plan:
        """Like ``create_plan``; planning takes microseconds, so it runs where it is awaited."""
        return self.create_plan(query, postings)

    async def plan_queries_concurrently(self, queries: Sequence[Query]) -> list[Plan]:
        """Plans for many queries in their order, off the event loop; the pricing releases the GIL."""
        return await asyncio.to_thread(lambda: [self.create_plan(query) for query in queries])

    def analyze_complexity(self, query: Query) -> Complexity:
        """Counts conditions, depth and words of a query."""
        conditions, depth = size_of(query.filter) if query.filter is not None else (0, 0)
        words = len(query.text.split())
        heavy = conditions + 4 * max(0, depth - 1) + words // 8
        level = "simple" if heavy <= 3 else "moderate" if heavy <= 12 else "complex"
        return Complexity(conditions=conditions, depth=depth, words=words, level=level)

    def analyze_workspace_requirements(self, query: Query) -> WorkspaceRequirements:
        """Which workspaces a query needs, from its scope and its filter."""
        named = {query.workspace} if query.workspace else set()
        named |= _workspaces(query.filter)
        return WorkspaceRequirements(named=tuple(sorted(named)), every=not named)

    def estimate_cost(self, query: Query) -> Interval:
        """Microseconds of the cheapest plan, as (min, expected, max)."""
        return self.create_plan(query).cost_us

    def estimate_memory_usage(self, query: Query) -> Interval:
        """Bytes that the cheapest plan touches and the plan itself, as (min, expected, max)."""
        low, expected, high = self.create_plan(query).cost_bytes
        return low + PLAN_BYTES, expected + PLAN_BYTES, high + PLAN_BYTES

    def optimize_plan(self, plan: Plan) -> Plan:
        """The same plan priced with what is known now: statistics and coefficients may have changed."""
        rows = self._estimator.rows(as_tuples(plan.filter))
        price = self._estimator.price(_pairs(plan.steps))
        return replace(plan, rows=rows, cost_us=price["us"], cost_bytes=price["bytes"])

    def optimize_with_history(self, query: Query, execution_history: Sequence[Execution]) -> Plan:
        """Learns from executions, then plans."""
        for execution in execution_history:
            self.observe(execution)
        return self.create_plan(query)

    def observe(self, execution: Execution) -> None:
        """Corrects the coefficients by what a plan really cost; where no row was met there is nothing to learn."""
        if not any(execution.rows):
            return
        steps = [
            (step.operator, float(rows))
            for step, rows in zip(execution.plan.steps, execution.rows, strict=True)
        ]
        self._estimator.observe(steps, max(execution.elapsed_us, 0.001))

    def coefficients(self) -> dict[str, tuple[float, float, float]]:
        """What was learned, for the next process."""
        return self._estimator.coefficients()

    def q_error(self) -> Mapping[str, float]:
        """How far estimates were from the truth: running median and p95 of max(estimate/truth, truth/estimate)."""
        return self._estimator.q_error()

    def _postings(self, query: Query, postings: Mapping[str, int] | None) -> float:
        if postings is not None:
            return float(sum(postings.values()))
        return ASSUMED_POSTINGS * self._total * len(query.text.split())

    def _options(self, query: Query, rows: Interval, postings: float) -> dict[str, tuple[Step, ...]]:
        if not query.text.strip():
            # An index gives the newest first; the scan ends as soon as enough rows fit.
            share = rows[1] / self._total if self._total else 1.0
            scanned = min(float(self._total), query.limit / share if share else float(self._total))
            return {"filter_scan": (Step(operator="index_scan", rows=(0.0, scanned, float(self._total))),)}
        matching = min(postings, float(self._total))
        share = rows[1] / self._total if self._total else 1.0
        options: dict[str, tuple[Step, ...]] = {
            "lexical_first": (
                Step(operator="fts_match", rows=_at_most(postings, postings)),
                Step(operator="row_fetch", rows=_at_most(matching, postings)),
                Step(operator="sort", rows=_at_most(matching * share, matching)),
            )
        }
        if self._enabled and rows[2] <= FILTER_FIRST_ROWS_MAX < self._total:
            fitting = _at_most(matching * share, min(postings, rows[2]))
            options["filter_first"] = (
                Step(operator="index_scan", rows=rows),
                Step(operator="fts_match", rows=_at_most(postings, postings)),
                Step(operator="rowid_probe", rows=fitting),
                Step(operator="sort", rows=fitting),
            )
        return options


def _at_most(expected: float, high: float) -> Interval:
    return 0.0, min(expected, high), high


def _pairs(steps: Sequence[Step]) -> list[tuple[str, Interval]]:
    return [(step.operator, step.rows) for step in steps]


def _cheapest(
    options: Mapping[str, tuple[Step, ...]],
    prices: Sequence[Mapping[str, Interval]],
    rows: Interval,
    tree: Filter,
) -> Plan:
    priced = dict(zip(options, prices, strict=True))
    name = min(priced, key=lambda option: priced[option]["us"][1])
    return Plan(
        name=name,
        steps=options[name],
        rows=rows,
        cost_us=priced[name]["us"],
        cost_bytes=priced[name]["bytes"],
        filter=tree,
        rejected={other: price["us"][1] for other, price in priced.items() if other != name},
    )


def _workspaces(tree: Filter | None) -> set[str]:
    """Workspaces that a filter names in a position where a memory must lie in one of them; empty: any."""
    if isinstance(tree, In):
        return set(tree.values) if tree.field == "workspace" else set()
    if not isinstance(tree, All | AnyOf):
        return set()
    parts = [_workspaces(part) for part in tree.parts]
    return set().union(*parts) if isinstance(tree, All) or all(parts) else set()


def plan_as_json(plan: Plan, truth: Mapping[str, Any]) -> dict[str, Any]:
    """A plan with its estimates beside the truth, as JSON values."""
    return {
        "name": plan.name,
        "steps": [
            {"operator": step.operator, "rows": [round(r, 1) for r in step.rows]} for step in plan.steps
        ],
        "rows": [round(r, 1) for r in plan.rows],
        "cost_us": [round(c, 1) for c in plan.cost_us],
        "cost_bytes": [round(c) for c in plan.cost_bytes],
        "rejected": {name: round(cost, 1) for name, cost in plan.rejected.items()},
        "truth": dict(truth),
    }
