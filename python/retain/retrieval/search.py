"""Executes a plan on one reader: candidates, their number, and what each step really handled."""

from __future__ import annotations

import time
from array import array
from collections.abc import Mapping
from dataclasses import dataclass

from retain.model import Query
from retain.retrieval.lexical import TextQuery
from retain.retrieval.planner import Execution, Plan, pool_of
from retain.storage import ways
from retain.storage.reads import Candidate, Reader

NOT_COUNTED = "not counted"
"""Stands for the rows of a step that could only be known by running it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Candidates, best first by bm25 (newest first without words), and the execution of the plan.

    ``keys`` are those of the active memories that fit the filter, ascending, where they were listed.
    """

    candidates: tuple[Candidate, ...]
    execution: Execution
    keys: array[int] | None = None


def execute(reader: Reader, plan: Plan, query: Query, words: TextQuery) -> Found:
    """Runs a plan; every plan gives the same candidates."""
    pool = pool_of(query)
    started, busy = time.perf_counter_ns(), time.thread_time_ns()
    keys = None
    if plan.name == "filter_scan":
        candidates = _scanned(reader, plan, pool)
    elif not words.match:
        candidates = []
    else:
        candidates, keys = _by_pages(reader, plan, words, pool) or (
            _by_fts5(reader, plan, words.match, pool),
            None,
        )
    busy_us = (time.thread_time_ns() - busy) / 1000
    elapsed_us = (time.perf_counter_ns() - started) / 1000
    known = _measured(plan, words, len(candidates), pool)
    return Found(
        candidates=tuple(candidates),
        keys=keys,
        execution=Execution(
            plan=plan,
            rows=[known.get(operator, rows[1]) for operator, rows in plan.raw_steps],
            elapsed_us=elapsed_us,
            busy_us=busy_us,
            measured=frozenset(known),
        ),
    )


def _by_pages(
    reader: Reader, plan: Plan, words: TextQuery, pool: int
) -> tuple[list[Candidate], array[int] | None] | None:
    """The candidates by the pages of the index, and the keys that were listed for it; None where FTS5 is to tell.

    It is for words that are required together: it leaps from one memory of the rarest to the next. And where the
    filter is narrow and comes first row by row, for then most of what is ranked would not fit.
    """
    asked = words.asked()
    if (
        not asked
        or words.ranks_together
        or (plan.name == "lexical_first" and _is_narrow(reader, plan, words, pool))
    ):
        return None
    ranked = reader.ranked(asked)
    if ranked is None:
        return None
    keys, ahead = None, 2 * pool
    if plan.name == "filter_first":
        keys = ways.keys_fitting(reader.connection, plan.filter, plan.driver)
        ranked.keep(keys)
    elif plan.name == "rank_first":
        ahead = max(ahead, plan.ahead)
    try:
        return ways.best_fitting(reader.connection, ranked, plan.filter, ahead, pool), keys
    except ValueError:
        return None


def _is_narrow(reader: Reader, plan: Plan, words: TextQuery, pool: int) -> bool:
    """Whether so few memories fit that half of those with the words would be tested."""
    return 2 * pool * reader.indexed() > words.reading.walked * plan.rows[1]


def _by_fts5(reader: Reader, plan: Plan, match: str, pool: int) -> list[Candidate]:
    if plan.name == "filter_first":
        return ways.filter_first(reader.connection, match, plan.filter, plan.driver, pool)
    if plan.name == "rank_first":
        return ways.rank_first(reader.connection, match, plan.filter, plan.ahead, pool)
    return ways.lexical_first(reader.connection, match, plan.filter, pool)


def _measured(plan: Plan, words: TextQuery, found: int, pool: int) -> dict[str, float]:
    """Rows that an operator really handled, where that is known without counting again."""
    if plan.name != "filter_scan" and not words.match:
        return {operator: 0.0 for operator, _ in plan.raw_steps}
    known: dict[str, float] = {"statement": 1.0} if plan.name == "lexical_first" else {}
    if plan.name != "filter_scan":
        known["fts_term"] = words.reading.stems
    if plan.name in {"lexical_first", "rank_first"}:
        known["fts_match"] = words.reading.walked
    if plan.name == "lexical_first" and len(words.postings) == 1:
        known["row_fetch"] = float(sum(words.postings.values()))
    if found < pool and plan.name in {"lexical_first", "filter_first"}:
        known |= {"fts_rank": float(found), "sort": float(found)}
    known["row_return"] = float(found)
    return known


def _scanned(reader: Reader, plan: Plan, pool: int) -> list[Candidate]:
    if plan.driver is None:
        return ways.newest(reader.connection, plan.filter, pool)
    return ways.scan_by(reader.connection, plan.filter, plan.driver, pool)


def truth_of(execution: Execution) -> Mapping[str, float | str]:
    """What a plan really did, beside its estimates; a step that nobody counted says so."""
    pairs = zip(execution.plan.raw_steps, execution.rows, strict=True)
    truth = {
        f"rows.{operator}": rows if operator in execution.measured else NOT_COUNTED
        for (operator, _), rows in pairs
    }
    return {**truth, "us": round(execution.elapsed_us, 1)}
