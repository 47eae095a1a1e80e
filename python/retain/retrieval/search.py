"""Executes a plan on one reader: candidates, their number, and what each step really handled."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from retain.model import Filter, Query
from retain.retrieval.lexical import TextQuery
from retain.retrieval.planner import Execution, Plan, pool_of
from retain.storage import ways
from retain.storage.reads import Candidate, Reader

@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Candidates, best first by bm25 (newest first without words), and the execution of the plan."""

    candidates: tuple[Candidate, ...]
    execution: Execution


def execute(reader: Reader, plan: Plan, query: Query, words: TextQuery) -> Found:
    """Runs a plan; every plan gives the same candidates."""
    pool = pool_of(query)
    rows = [step.rows[1] for step in plan.steps]
    started = time.perf_counter_ns()
    if plan.name == "filter_scan":
        candidates = _scanned(reader, plan, pool)
    elif not words.match:
        candidates, rows = [], [0.0] * len(rows)
    elif plan.name == "filter_first":
        candidates = ways.filter_first(reader.connection, words.match, plan.filter, plan.driver, pool)
    elif plan.name == "rank_first":
        candidates = ways.rank_first(reader.connection, words.match, plan.filter, plan.ahead, pool)
    else:
        candidates = ways.lexical_first(reader.connection, words.match, plan.filter, pool)
    elapsed_us = (time.perf_counter_ns() - started) / 1000
    return Found(
        candidates=tuple(candidates), execution=Execution(plan=plan, rows=rows, elapsed_us=elapsed_us)
    )


def _scanned(reader: Reader, plan: Plan, pool: int) -> list[Candidate]:
    if plan.driver is None:
        return ways.newest(reader.connection, plan.filter, pool)
    return ways.scan_by(reader.connection, plan.filter, plan.driver, pool)


def truth_of(execution: Execution) -> Mapping[str, float]:
    """What a plan really did, beside its estimates."""
    truth = {f"rows.{s.operator}": r for s, r in zip(execution.plan.steps, execution.rows, strict=True)}
    return {**truth, "us": round(execution.elapsed_us, 1)}
