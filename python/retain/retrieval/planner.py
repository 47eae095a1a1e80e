"""QueryPlanner: which way of answering a query is the cheapest, in microseconds and bytes.

The estimator in Rust holds the statistics of the store (most common values, distinct counts, a histogram
of times), turns a filter tree into an interval of rows, and prices the steps of a plan. The planner
enumerates the plans that give the same answer, prices them, and takes the cheapest one. What a plan really
cost comes back through ``observe`` and corrects the prices; the choice stays with the calibrated coefficients.

Plans:

``lexical_first``  the full-text index gives the rows of the words, the filter is tested on each, the rest is ranked
``rank_first``     all rows of the words are ranked, the filter is tested from the best on until enough rows fit
``filter_first``   an index gives the keys that fit the filter; of the rows of the words, only those are ranked
``filter_scan``    there are no words: the newest rows that fit, by the index of times until there are enough, or
                   by the index of one condition
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, NamedTuple

from retain._core import CostEstimator
from retain.model import All, AnyOf, Filter, In, Query
from retain.retrieval import vector_plan
from retain.retrieval.filters import NOTHING, size_of
from retain.retrieval.vector_plan import MULTI_VALUED, VectorPlan

Interval = tuple[float, float, float]

OVERFETCH = 4
"""Candidates fetched for each hit asked for, so that ranking has something to choose from."""

POOL_MIN = 50
PLAN_BYTES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What the planner knows of the store; rows are memories.

    Attributes:
        total: how many rows there are.
        values: by field, the most common values with their rows, how many values there are, rows with any.
        time_bounds: bounds of an equi-depth histogram of times.
        samples: by field, an even sample of the values of all rows, and how many values these are.
    """

    total: int
    values: Mapping[str, tuple[Sequence[tuple[str, int]], int, int]]
    time_bounds: Sequence[int]
    samples: Mapping[str, tuple[Sequence[str], int]] = field(default_factory=dict)


class Step(NamedTuple):
    """One operator of a plan and the rows that it handles, as an interval."""

    operator: str
    rows: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A way of answering a query, with its estimates.

    Attributes:
        name: ``lexical_first``, ``rank_first``, ``filter_first`` or ``filter_scan``.
        raw_steps: the operators in order, each with its rows as (min, expected, max).
        rows: memories that fit the filter, estimated as (min, expected, max).
        cost_us: microseconds, as (min, expected, max).
        cost_bytes: bytes touched, as (min, expected, max).
        filter: the filter in normal form.
        alternatives: the plans that would cost more: name, driver, expected microseconds.
        driver: which part of the filter gives the keys; None is the index of times.
        ahead: how many rows ``rank_first`` ranks before it tests the filter.
    """

    name: str
    raw_steps: Sequence[tuple[str, Interval]]
    rows: Interval
    cost_us: Interval
    cost_bytes: Interval
    filter: Filter
    alternatives: Sequence[tuple[str, int | None, float]] = ()
    driver: int | None = None
    ahead: int = 1

    @property
    def steps(self) -> tuple[Step, ...]:
        """The operators in order; most plans are made to be executed, not to be read."""
        return tuple(map(Step._make, self.raw_steps))

    @property
    def rejected(self) -> Mapping[str, float]:
        """The plans that would cost more, with their expected microseconds.

        One driven by a condition's index is named with its field and place: ``filter_first.tag.2``.
        """
        return {_named(name, driver, self.filter): us for name, driver, us in self.alternatives}


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What an executed plan did: rows handled by each step, in order, and microseconds in all.

    ``rows`` holds the truth for the steps whose operator is in ``measured``, and the estimate for the others.
    ``busy_us`` is the part of the time that its thread ran: the rest went to a disk or to other programs.
    """

    plan: Plan
    rows: Sequence[float]
    elapsed_us: float
    busy_us: float = 0.0
    measured: frozenset[str] = frozenset()


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
        coefficients: what an earlier planner's calibration found (``coefficients()``), or None for the defaults.
        corrections: what it learned from executions (``corrections()``), or None.
        enabled: False always gives the plan that needs no statistics; answers do not change.
    """

    def __init__(
        self,
        coefficients: Mapping[str, Sequence[float]] | None = None,
        corrections: Mapping[str, Sequence[float]] | None = None,
        *,
        enabled: bool = True,
    ) -> None:
        self._estimator = CostEstimator(
            {name: (a, b, c) for name, (a, b, c) in (coefficients or {}).items()},
            {name: (factor, count) for name, (factor, count) in (corrections or {}).items()},
        )
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
            for name, (sample, entries) in statistics.samples.items():
                self._estimator.set_sample(name, list(sample), entries)
            bounds = list(statistics.time_bounds)  # none where the last memory went while it was counted
            self._estimator.set_histogram("time", bounds, statistics.total if bounds else 0)

    @property
    def total(self) -> int:
        """Memories in the store at the last statistics; 0 before the first."""
        return self._total

    def create_plan(
        self,
        query: Query,
        postings: Mapping[str, int] | None = None,
        reading: tuple[float, float, float] | None = None,
    ) -> Plan:
        """The cheapest plan for a query.

        Args:
            query: what to recall.
            postings: for each word of the query, in how many memories it occurs; None estimates it.
            reading: stems looked up, entries of single ones, entries that phrases skip over; None takes the postings.
        """
        tree = query.filter if query.filter is not None else NOTHING
        asked = _asked(query, postings, reading)
        return _plan(tree, self._estimator.plan(tree, *asked, choose=self._enabled))

    def alternatives(
        self,
        query: Query,
        postings: Mapping[str, int] | None = None,
        reading: tuple[float, float, float] | None = None,
    ) -> list[Plan]:
        """Every plan considered for a query, each with its steps and estimates, the cheapest first."""
        tree = query.filter if query.filter is not None else NOTHING
        return [_plan(tree, raw) for raw in self._estimator.ways(tree, *_asked(query, postings, reading))]

    async def create_plan_async(self, query: Query, postings: Mapping[str, int] | None = None) -> Plan:
        """Like ``create_plan``; planning takes microseconds, so it runs where it is awaited."""
        return self.create_plan(query, postings)

    async def plan_queries_concurrently(self, queries: Sequence[Query]) -> list[Plan]:
        """Plans for many queries in their order, off the event loop; the planning releases the GIL."""
        return await asyncio.to_thread(self.create_plans, queries)

    def create_plans(self, queries: Sequence[Query]) -> list[Plan]:
        """Plans for many queries in their order, in one crossing."""
        trees = [NOTHING if query.filter is None else query.filter for query in queries]
        asked = [(tree, *_asked(query, None, None)) for tree, query in zip(trees, queries, strict=True)]
        raws = self._estimator.plan_many(asked, choose=self._enabled)
        return [_plan(tree, raw) for tree, raw in zip(trees, raws, strict=True)]

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

    def plan_vectors(self, plan: Plan, k: int, priced: vector_plan.Priced) -> VectorPlan:
        """The cheapest way to find the ``k`` nearest vectors among the memories that fit a plan's filter.

        Args:
            plan: of the question.
            k: hits wanted.
            priced: what the matrix takes for so many keys and hits.
        """
        everything = Query(text="", filter=plan.filter, limit=max(1, self._total))
        listings = [] if vector_plan.is_plain(plan.filter) else self.alternatives(everything)
        found, share = vector_plan.candidates(plan, listings, self._total, k, priced)
        if not self._enabled:  # whatever is known: list by time, which needs no statistics
            found = [one for one in found if one.way != "tested" and one.driver is None]
        store_us = [price["us"] for price in self._estimator.price_many([one.steps for one in found])]
        return vector_plan.cheapest(found, store_us, share)

    def estimate_cost(self, query: Query) -> Interval:
        """Microseconds of the cheapest plan, as (min, expected, max)."""
        return self.create_plan(query).cost_us

    def estimate_memory_usage(self, query: Query) -> Interval:
        """Bytes that the cheapest plan touches and the plan itself, as (min, expected, max)."""
        low, expected, high = self.create_plan(query).cost_bytes
        return low + PLAN_BYTES, expected + PLAN_BYTES, high + PLAN_BYTES

    def optimize_plan(self, plan: Plan) -> Plan:
        """The same plan priced with what is known now: statistics and coefficients may have changed."""
        rows = self._estimator.rows(plan.filter)
        price = self._estimator.price(plan.raw_steps, plan.name)
        return replace(plan, rows=rows, cost_us=price["us"], cost_bytes=price["bytes"])

    def optimize_with_history(self, query: Query, execution_history: Sequence[Execution]) -> Plan:
        """Learns from executions, then plans; what this very query took by a plan counts more than its estimate.

        Args:
            query: what to recall.
            execution_history: executions of any queries; those with the filter of this one are its own.

        Returns:
            The plan with the least expected cost, its price moved towards the median of its own executions: half
            of the way by one of them, nine tenths by nine.
        """
        for execution in execution_history:
            self.observe(execution)
        taken: dict[tuple[str, int | None], list[float]] = {}
        tree = query.filter if query.filter is not None else NOTHING
        for execution in execution_history:
            if execution.plan.filter == tree:
                way = (execution.plan.name, execution.plan.driver)
                taken.setdefault(way, []).append(execution.elapsed_us)
        plans = [
            _experienced(plan, taken.get((plan.name, plan.driver), ())) for plan in self.alternatives(query)
        ]
        best, *others = sorted(plans, key=lambda plan: plan.cost_us[1]) if self._enabled else plans
        rejected = [(other.name, other.driver, other.cost_us[1]) for other in others]
        return replace(best, alternatives=rejected)

    def observe(self, execution: Execution) -> None:
        """Corrects the estimates by what a plan really cost; where no row was met there is nothing to learn."""
        if not any(execution.rows):
            return
        plan = execution.plan
        self._estimator.observe(plan.name, _steps(execution), plan.cost_us[1], execution.elapsed_us)

    def calibrate(self, executions: Sequence[Execution]) -> None:
        """Fits the coefficients to plans that were executed for it, by the time that they were busy.

        What else the machine does meanwhile would bend the coefficients against each other.
        """
        self._estimator.calibrate([(_steps(one), one.busy_us or one.elapsed_us) for one in executions])

    def coefficients(self) -> dict[str, tuple[float, float, float]]:
        """What calibration found, for the next process: by operator, microseconds to begin and a row, bytes a row."""
        return self._estimator.coefficients()

    def factors(self) -> dict[str, float]:
        """By which factor each way takes longer now than its operators say: the machine's pace and its own."""
        return self._estimator.factors()

    def corrections(self) -> dict[str, tuple[float, float]]:
        """What executions taught, for the next process: of the machine and of each way, a factor and a count."""
        return self._estimator.corrections()

    def q_error(self) -> Mapping[str, float]:
        """How far estimates were from the truth: running median and p95 of max(estimate/truth, truth/estimate)."""
        return self._estimator.q_error()


def _asked(
    query: Query, postings: Mapping[str, int] | None, reading: tuple[float, float, float] | None
) -> tuple[int, list[float] | None, tuple[float, float, float] | None, float]:
    """Words, in how many rows each occurs, what looking them up takes, and rows wanted."""
    words = len(query.text.split())
    return words, None if postings is None else list(postings.values()), reading, float(pool_of(query))


def _experienced(plan: Plan, taken: Sequence[float]) -> Plan:
    """The plan with its price moved towards what it took before."""
    if not taken:
        return plan
    low, expected, high = plan.cost_us
    trust = len(taken) / (len(taken) + 1)
    us = expected ** (1 - trust) * median(taken) ** trust
    return replace(plan, cost_us=(min(low, us), us, max(high, us)))


def _steps(execution: Execution) -> list[tuple[str, float]]:
    pairs = zip(execution.plan.raw_steps, execution.rows, strict=True)
    return [(operator, float(rows)) for (operator, _), rows in pairs]


def pool_of(query: Query) -> int:
    """How many candidates are fetched for a query."""
    return max(POOL_MIN, query.limit * OVERFETCH)


def _plan(tree: Filter, raw: Any) -> Plan:
    (name, driver), steps, rows, us, size, ahead, rejected = raw
    return Plan(
        name=name,
        raw_steps=steps,
        rows=rows,
        cost_us=us,
        cost_bytes=size,
        filter=tree,
        alternatives=rejected,
        driver=driver,
        ahead=int(ahead),
    )


def _named(name: str, driver: int | None, tree: Filter) -> str:
    if driver is None:
        return name
    part = tree.parts[driver] if isinstance(tree, All) else tree
    kind = "or" if isinstance(part, AnyOf) else getattr(part, "field", "and")
    return f"{name}.{kind}.{driver}"


def _workspaces(tree: Filter | None) -> set[str]:
    """Workspaces that a filter names in a position where a memory must lie in one of them; empty: any."""
    if isinstance(tree, In):
        return set(tree.values) if tree.field == "workspace" else set()
    if not isinstance(tree, All | AnyOf):
        return set()
    parts = [_workspaces(part) for part in tree.parts]
    return set().union(*parts) if isinstance(tree, All) or all(parts) else set()


def label(plan: Plan) -> str:
    """The name of a plan with the condition that drives it: ``filter_first.tag.2``."""
    return _named(plan.name, plan.driver, plan.filter)


def plan_as_json(plan: Plan, truth: Mapping[str, Any]) -> dict[str, Any]:
    """A plan with its estimates beside the truth, as JSON values."""
    return {
        "name": label(plan),
        "steps": [
            {"operator": operator, "rows": [round(r, 1) for r in rows]} for operator, rows in plan.raw_steps
        ],
        "rows": [round(r, 1) for r in plan.rows],
        "cost_us": [round(c, 1) for c in plan.cost_us],
        "cost_bytes": [round(c) for c in plan.cost_bytes],
        "rejected": {name: round(cost, 1) for name, cost in plan.rejected.items()},
        "truth": dict(truth),
    }
