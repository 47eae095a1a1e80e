"""What the operators cost on this machine, from a few runs of every plan over the store itself.

The runs take the store's own words and values at several frequencies, so that coefficients come from the pages,
the cache and the processor that later queries meet. Meant to run once, beside the first answers.
"""

from __future__ import annotations

import math
import platform
import time

import apsw

from retain.model import STATUSES, Between, Filter, Glob, In, Query
from retain.retrieval.filters import both
from retain.retrieval.lexical import text_query
from retain.retrieval.planner import Execution, QueryPlanner, Statistics
from retain.retrieval.search import execute
from retain.storage.reads import Reader

MEMORIES_MIN = 500
"""Below this many memories every plan takes some microseconds, and nothing can be learnt."""

BUDGET_MS = 400
RUNS = 2
TERMS_SEEN = 64
SHARE_MAX = 0.02
"""Words in more memories than this share take longer than they teach."""
TERM_STARTS = ("a", "c", "f", "l", "p", "t")
WORDS = (1, 3, 6)
ACTIVE = In(field="status", values=STATUSES[:1])


def fact_name() -> str:
    """Under which name the coefficients are kept: another machine or another SQLite has others."""
    return f"planner.coefficients.{platform.node()}.{platform.machine()}.{apsw.sqlite_lib_version()}"


def learned_before(reader: Reader) -> dict[str, tuple[float, float, float]]:
    """The coefficients that an earlier process kept on this machine; empty where there are none.

    Another version may have written them: operators that are unknown here, and what is no cost, are left out.
    """
    kept = reader.fact(fact_name())
    known = QueryPlanner().coefficients()
    pairs = kept.items() if isinstance(kept, dict) else ()
    return {name: tuple(costs) for name, costs in pairs if name in known and _are_costs(costs)}


def _are_costs(values: object) -> bool:
    numbers = values if isinstance(values, list) else []
    return len(numbers) == 3 and all(isinstance(n, int | float) and 0 <= n < math.inf for n in numbers)


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
    executions: list[Execution] = []
    for query in sample_queries(reader, statistics):
        executions += _runs(reader, planner, query)
        if time.perf_counter() > deadline:
            break
    planner.calibrate([one for one in executions if any(one.rows)])
    return True


def _runs(reader: Reader, planner: QueryPlanner, query: Query) -> list[Execution]:
    """Each plan of a query, by its quickest run."""
    words = text_query(query.text, reader)
    plans = planner.alternatives(query, words.postings if query.text else None)
    runs = ([execute(reader, plan, query, words).execution for _ in range(RUNS)] for plan in plans)
    return [min(each, key=lambda run: run.elapsed_us) for each in runs]


def sample_queries(reader: Reader, statistics: Statistics) -> list[Query]:
    """Words of several frequencies with filters of several kinds; those that teach most come first."""
    most = statistics.total * SHARE_MAX
    terms = [term for term, count in sorted(_terms(reader), key=lambda pair: pair[1]) if count <= most]
    filters = _filters(statistics)
    found = [Query(filter=one) for one in filters]
    for i, share in enumerate((0.5, 0.9, 0.98, 1.0)):
        end = int(share * len(terms))
        for j, count in enumerate(WORDS):
            text = " ".join(terms[max(0, end - count) : end])
            found += [Query(text=text, filter=filters[(2 * i + j + 3 * k) % len(filters)]) for k in range(2)]
    # Every fifth one first, so that a short budget sees all sorts.
    return [query for start in range(5) for query in found[start::5]]


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
    for field in ("kind", "tag", "session", "path"):
        common = statistics.values[field][0]
        found += [
            both(ACTIVE, In(field=field, values=(common[i][0],))) for i in (0, len(common) // 2) if common
        ]
        if field == "path" and common:
            folder = common[0][0].rpartition("/")[0]
            found += [both(ACTIVE, Glob(field="path", pattern=f"{folder or '*'}/**"))]
    bounds = statistics.time_bounds
    for position in (len(bounds) // 2, -2):
        found.append(both(ACTIVE, Between(field="time", low=bounds[position])))
    return found
