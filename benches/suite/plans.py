"""Queries of known complexity, and a planner that knows a store of 100,000 memories."""

from __future__ import annotations

from retain.model import All, AnyOf, Between, Filter, Glob, In, Not, Query
from retain.retrieval.planner import QueryPlanner, Statistics

TOTAL = 100_000
DAY_US = 86_400_000_000
WORKSPACES = 5
LEVELS = 5


def planner_with_statistics() -> QueryPlanner:
    """A planner over made-up statistics: kinds, statuses, workspaces, tags and paths with a long tail."""
    planner = QueryPlanner()
    tail = [(f"src/part{n:02d}/file.py", TOTAL // (n + 2) // 4) for n in range(40)]
    planner.update(
        Statistics(
            total=TOTAL,
            values={
                "kind": ([("command", 60_000), ("file_change", 30_000), ("decision", 10_000)], 3, TOTAL),
                "status": ([("active", 95_000), ("superseded", 5_000)], 2, TOTAL),
                "workspace": ([(f"w{n}", TOTAL // WORKSPACES) for n in range(WORKSPACES)], WORKSPACES, TOTAL),
                "tag": ([(f"tag{n}", 5_000 // (n + 1)) for n in range(50)], 400, 40_000),
                "path": (tail, 9_000, 80_000),
                "branch": ([("main", 70_000), ("next", 20_000)], 30, TOTAL),
            },
            time_bounds=[n * 10 * DAY_US for n in range(33)],
        )
    )
    return planner


def simple_query() -> Query:
    """Words, one workspace, one status."""
    where = All(parts=(In(field="workspace", values=("w1",)), In(field="status", values=("active",))))
    return Query(text="connection timeout", filter=where, workspace="w1")


def complex_query() -> Query:
    """Five nested levels, thirty-one conditions, five workspaces."""
    tree: Filter = In(field="workspace", values=tuple(f"w{n}" for n in range(WORKSPACES)))
    for level in range(LEVELS):
        parts: tuple[Filter, ...] = (
            In(field="kind", values=("decision", "command")),
            Not(part=In(field="tag", values=(f"tag{level}", f"tag{level + 7}"))),
            Glob(field="path", pattern=f"src/part0{level}/**"),
            Between(field="time", low=level * DAY_US, high=(300 - level) * DAY_US),
            In(field="branch", values=("main", f"topic-{level}")),
            In(field="status", values=("active", "superseded")),
            tree,
        )
        tree = All(parts=parts) if level % 2 else AnyOf(parts=(All(parts=parts[:3]), All(parts=parts[3:])))
    return Query(text="why did the migration of the cache fail on startup", filter=tree)


def many_conditions(count: int) -> Query:
    """That many conditions beside each other."""
    parts = tuple(In(field="tag", values=(f"tag{n}",)) for n in range(count))
    return Query(text="connection timeout", filter=AnyOf(parts=parts))
