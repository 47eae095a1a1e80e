"""The ways of finding the nearest vectors among the memories that fit a filter, and the steps that each takes.

``all``     every active memory of the workspaces fits: the matrix is searched as it is
``listed``  the memories that fit are listed first, and the matrix is searched among them
``tested``  the matrix is searched as it is, and the filter is tested on the best until enough fit

Listing and testing are operators of the store, priced as those of any plan. What the search itself takes the
matrix says, by costs that were measured when it was loaded; which of its own ways it goes it decides when it knows
the number of keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from retain.model import All, Filter, Glob, In
from retain.retrieval.vectors import asked_first
from retain.storage import ways

if TYPE_CHECKING:
    from retain.retrieval.planner import Plan

Interval = tuple[float, float, float]
Steps = Sequence[tuple[str, Interval]]

Priced = Callable[[int | None, int], tuple[str, float]]
"""What a matrix takes for so many keys (None: all rows) and so many hits: its way, and microseconds."""

MULTI_VALUED = frozenset({"tag", "path"})

HANDED_OVER = frozenset({"sort", "row_return"})
"""Operators of a plan that only an answer needs, not a list of keys."""

IN_INDEX = frozenset({"statement", "index_scan", "glob_walk", "glob_call", "key_set"})
"""All that a list takes which an index alone gives."""

AT_ONCE = 0.08
"""What a key costs that an index lists as part of one text, against one that comes as a row: 50,000 took 1 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorPlan:
    """A way of finding the nearest vectors, with its estimates.

    Attributes:
        way: ``all``, ``listed`` or ``tested``.
        steps: operators of the store, each with its rows as (min, expected, max).
        rows: memories among which it searches, as (min, expected, max); for ``tested`` those that are tested.
        cost_us: microseconds, as (min, expected, max).
        matrix: the way that the matrix is expected to go, and its part of the expected microseconds.
        rejected: the other ways with their expected microseconds.
        driver: which part of the filter gives the keys of ``listed``; None is the index of times.
        share: how large a part of the memories is expected to fit.
    """

    way: str
    steps: Steps
    rows: Interval
    cost_us: Interval
    matrix: tuple[str, float]
    rejected: Mapping[str, float]
    driver: int | None = None
    share: float = 1.0

    def as_json(self) -> dict[str, Any]:
        """The estimates as JSON values."""
        return {
            "way": self.way,
            "steps": [{"operator": name, "rows": [round(r, 1) for r in rows]} for name, rows in self.steps],
            "rows": [round(r, 1) for r in self.rows],
            "cost_us": [round(c, 1) for c in self.cost_us],
            "matrix": {"way": self.matrix[0], "us": round(self.matrix[1], 1)},
            "rejected": {name: round(us, 1) for name, us in self.rejected.items()},
        }


class Candidate(NamedTuple):
    """A way before the store's part of it is priced."""

    way: str
    driver: int | None
    steps: Steps
    rows: Interval
    matrix: tuple[str, float]


def candidates(
    plan: Plan, listings: Sequence[Plan], total: int, k: int, priced: Priced
) -> tuple[list[Candidate], float]:
    """Every way to find ``k`` among what fits a plan's filter, and the share of memories that is expected to fit.

    Args:
        plan: of the question; its filter is what memories must fit.
        listings: plans that list every memory that fits.
        total: memories in the store.
        k: hits wanted.
        priced: what the matrix takes.
    """
    if is_plain(plan.filter):
        return [Candidate("all", None, (), _exactly(total), priced(None, k))], 1.0
    low, share, high = (min(1.0, max(rows, 1.0) / max(total, 1)) for rows in plan.rows)
    tested: Interval = tuple(float(min(asked_first(k, each), max(total, k))) for each in (high, share, low))  # type: ignore[assignment]
    found = [Candidate("tested", None, _testing(plan.filter, tested), tested, priced(None, round(tested[1])))]
    matrix = priced(round(plan.rows[1]), k)
    for listing in listings:
        steps = _listing(listing, plan.rows)
        found.append(Candidate("listed", listing.driver, steps, plan.rows, matrix))
    return found, share


def cheapest(found: Sequence[Candidate], store_us: Sequence[Interval], share: float) -> VectorPlan:
    """The way that is expected to take the least, given what the store's part of each takes."""
    costs = [_plus(us, each.matrix[1]) for us, each in zip(store_us, found, strict=True)]
    best = min(range(len(found)), key=lambda at: costs[at][1])
    rejected: dict[str, float] = {}
    for at, each in enumerate(found):
        if each.way != found[best].way:
            rejected[each.way] = min(costs[at][1], rejected.get(each.way, costs[at][1]))
    way, driver, steps, rows, matrix = found[best]
    return VectorPlan(
        way=way,
        steps=steps,
        rows=rows,
        cost_us=costs[best],
        matrix=matrix,
        rejected=rejected,
        driver=driver,
        share=share,
    )


def parts_of(where: Filter) -> tuple[Filter, ...]:
    """The conditions that must all hold."""
    return where.parts if isinstance(where, All) else (where,)


def is_plain(where: Filter) -> bool:
    """Whether every active memory of the workspaces fits."""
    named = [part.field if isinstance(part, In) else "" for part in parts_of(where)]
    return set(named) <= {"workspace", "status"} and "status" in named


def _listing(listing: Plan, rows: Interval) -> Steps:
    """What it takes to list all keys, by the index that the plan goes by; last they are gathered."""
    kept = [step for step in listing.raw_steps if step[0] not in HANDED_OVER]
    if ways.is_in_index(listing.filter):
        gathered = tuple(AT_ONCE * each for each in rows)
        return [step for step in kept if step[0] in IN_INDEX - {"key_set"}] + [("key_set", gathered)]  # type: ignore[list-item]
    return [*kept, ("key_set", rows)]


def _testing(where: Filter, rows: Interval) -> Steps:
    """What it takes to test the filter on so many keys: their rows are read, wherever they lie."""
    steps = [("statement", _exactly(1)), ("key_set", rows), ("row_fetch", rows), ("page_read", rows)]
    for part in parts_of(where):
        if isinstance(part, Glob):
            steps.append(("glob_test", rows))
        elif isinstance(part, In) and part.field in MULTI_VALUED:
            steps.append(("side_probe", rows))
    return steps


def _exactly(rows: float) -> Interval:
    return float(rows), float(rows), float(rows)


def _plus(us: Interval, more: float) -> Interval:
    return us[0] + more, us[1] + more, us[2] + more
