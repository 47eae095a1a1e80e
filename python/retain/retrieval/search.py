"""Executes a plan on one reader: candidates, their number, and what each step really handled."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from retain.model import Filter, Query
from retain.retrieval.lexical import TextQuery
from retain.retrieval.planner import Execution, Plan
from retain.storage.reads import Candidate, Reader

OVERFETCH = 4
"""Candidates fetched for each hit asked for, so that ranking has something to choose from."""

POOL_MIN = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Candidates, best first by bm25 (newest first without words), and the execution of the plan."""

    candidates: tuple[Candidate, ...]
    execution: Execution


def execute(reader: Reader, plan: Plan, query: Query, words: TextQuery) -> Found:
    """Runs a plan; every plan gives the same candidates."""
    pool = max(POOL_MIN, query.limit * OVERFETCH)
    started = time.perf_counter_ns()
    if plan.name == "filter_scan":
        candidates = reader.filtered(plan.filter, pool)
        rows = [float(len(candidates))]
    elif not words.match:
        candidates, rows = [], [0.0] * len(plan.steps)
    elif plan.name == "filter_first":
        candidates, rows = _filter_first(reader, plan.filter, words, pool)
    else:
        candidates = reader.lexical(words.match, plan.filter, pool)
        postings = float(sum(words.postings.values()))
        rows = [postings, postings, float(len(candidates))]
    elapsed_us = (time.perf_counter_ns() - started) / 1000
    return Found(
        candidates=tuple(candidates), execution=Execution(plan=plan, rows=rows, elapsed_us=elapsed_us)
    )


def _filter_first(
    reader: Reader, where: Filter, words: TextQuery, pool: int
) -> tuple[list[Candidate], list[float]]:
    # No limit: a row left out here could be the best one. The planner takes this way for few rows only.
    keys = [candidate.key for candidate in reader.filtered(where, -1)]
    candidates = reader.lexical_within(words.match, keys, pool)
    found = float(len(candidates))
    return candidates, [float(len(keys)), float(sum(words.postings.values())), found, found]


def truth_of(execution: Execution) -> Mapping[str, float]:
    """What a plan really did, beside its estimates."""
    truth = {f"rows.{s.operator}": r for s, r in zip(execution.plan.steps, execution.rows, strict=True)}
    return {**truth, "us": round(execution.elapsed_us, 1)}
