"""What the operators cost on this machine, from a few runs of every plan over the store itself.

The runs take the store's own words and values at several frequencies, so that coefficients come from the pages,
the cache and the processor that later queries meet. Meant to run once, beside the first answers.
"""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import apsw

from retain.model import STATUSES, Between, Filter, Glob, In, Query
from retain.retrieval.filters import both
from retain.retrieval.lexical import TextQuery, text_query
from retain.retrieval.planner import Execution, Plan, QueryPlanner, Statistics
from retain.retrieval.search import execute
from retain.storage.reads import Reader

MEMORIES_MIN = 500
"""Below this many memories every plan takes some microseconds, and nothing can be learnt."""

BUDGET_MS = 800
PLAN_US_MAX = 15_000
ROUNDS = 2
"""Each plan counts by its quickest run; a machine is slow for a while, so the runs of a plan lie apart."""
TERMS_SEEN = 16
SHARE_MAX = 0.15
"""Words in more memories than this share take longer than they teach; but many rows there must be now and then,
for only they share pages."""
TERM_STARTS = tuple("abcdefghijklmnoprstuvw")
"""Words from all over the index: neighbours would share its pages."""
WORDS = (1, 2, 4, 8)
SHARES = (0.3, 0.6, 0.8, 0.93, 1.0)
ACTIVE = In(field="status", values=STATUSES[:1])

MODEL = 2
"""Counts the cost models: what was found for another one does not fit this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What a planner goes on from: the memories that it was calibrated for, what that found, what executions taught."""

    memories: int = 0
    coefficients: Mapping[str, Sequence[float]] = field(default_factory=dict)
    corrections: Mapping[str, Sequence[float]] = field(default_factory=dict)


def fact_name() -> str:
    """Under which name the coefficients are kept: another kind of machine, SQLite or cost model has others."""
    parts = (platform.machine(), _processor(), str(os.cpu_count()), apsw.sqlite_lib_version(), str(MODEL))
    return f"planner.{blake2b(chr(0).join(parts).encode(), digest_size=8).hexdigest()}"


def learned_before(reader: Reader) -> Learned:
    """What an earlier process kept on this machine.

    Another version may have written it: operators and ways that are unknown here, and what is no number, are left out.
    """
    kept = reader.fact(fact_name())
    told = kept if isinstance(kept, dict) else {}
    known = QueryPlanner()
    coefficients = _numbers(told.get("coefficients"), known.coefficients())
    if not coefficients:
        return Learned()
    memories = told.get("memories")
    return Learned(
        memories=memories if isinstance(memories, int) else 0,
        coefficients=coefficients,
        corrections={
            name: pair
            for name, pair in _numbers(told.get("corrections"), known.corrections()).items()
            if pair[0] > 0
        },
    )


def _numbers(kept: object, known: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, ...]]:
    """Of the kept numbers by name those that are known here, as many as known, and finite and at least 0."""
    pairs = kept.items() if isinstance(kept, dict) else ()
    return {
        name: tuple(numbers)
        for name, numbers in pairs
        if name in known and isinstance(numbers, list) and len(numbers) == len(known[name])
        if all(isinstance(n, int | float) and 0 <= n < math.inf for n in numbers)
    }


def _processor() -> str:
    """The model of the processor, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def calibrate(
    reader: Reader, planner: QueryPlanner, statistics: Statistics, budget_ms: float = BUDGET_MS
) -> bool:
    """Runs the plans of sample queries for at most about ``budget_ms`` and fits the planner to them.

    Returns:
        Whether the store was large enough to learn from.
    """
    if reader.total() < MEMORIES_MIN:
        return False
    deadline = time.perf_counter() + budget_ms / 1000
    samples: list[tuple[Query, TextQuery, Plan, list[Execution]]] = []
    for query in sample_queries(reader, statistics):
        words = text_query(query.text, reader)
        plans = planner.alternatives(query, words.postings if query.text else None, words.reading)
        samples += [(query, words, plan, []) for plan in plans if _teaches(plan)]
    for _ in range(ROUNDS):
        for query, words, plan, runs in samples:
            if time.perf_counter() > deadline:
                break
            runs.append(execute(reader, plan, query, words).execution)
    least = [min(runs, key=lambda run: run.busy_us) for *_, runs in samples if runs]
    planner.calibrate([run for run in least if any(run.rows)])
    return True


def _teaches(plan: Plan) -> bool:
    """Whether a plan is quick enough, and certain: a second try that may or may not happen says nothing."""
    fetches = sum(step.operator == "row_fetch" for step in plan.steps)
    return plan.cost_us[1] <= PLAN_US_MAX and (fetches == 1 or plan.name == "filter_first")


def sample_queries(reader: Reader, statistics: Statistics) -> list[Query]:
    """Words of several frequencies with filters of several kinds; those that teach most come first."""
    most = statistics.total * SHARE_MAX
    terms = [term for term, count in sorted(_terms(reader), key=lambda pair: pair[1]) if count <= most]
    filters = _filters(statistics)
    found = [Query(filter=one) for one in filters]
    for i, share in enumerate(SHARES):
        end = int(share * len(terms))
        for j, count in enumerate(WORDS):
            # Some of the same frequency and some rarer ones, as questions have them.
            text = " ".join(terms[max(0, end - 1) : max(0, end - 1 - 3 * count) : -3])
            found += [Query(text=text, filter=filters[(2 * i + j + 3 * k) % len(filters)]) for k in range(2)]
    # Every seventh one first, so that a short budget sees all sorts.
    return [query for start in range(7) for query in found[start::7]]


def _terms(reader: Reader) -> list[tuple[str, int]]:
    found = []
    for start in TERM_STARTS:
        rows = reader.connection.execute(
            "SELECT term, doc FROM memory_vocab WHERE term >= ? LIMIT ?", (start, TERMS_SEEN)
        )
        found += [(str(term), int(doc)) for term, doc in rows if str(term).isalpha()]
    return found


def _filters(statistics: Statistics) -> list[Filter]:
    found: list[Filter] = [ACTIVE]
    for name in ("kind", "tag", "session", "path"):
        common = statistics.values[name][0]
        found += [
            both(ACTIVE, In(field=name, values=(common[i][0],))) for i in (0, len(common) // 2) if common
        ]
        if name == "path" and common:
            folder = common[0][0].rpartition("/")[0]
            found += [both(ACTIVE, Glob(field="path", pattern=f"{folder or '*'}/**"))]
    bounds = statistics.time_bounds
    for position in (len(bounds) // 2, -2):
        found.append(both(ACTIVE, Between(field="time", low=bounds[position])))
    return found
