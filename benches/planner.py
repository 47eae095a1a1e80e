"""Does the planner choose well? Every way of answering 1,000 mixed queries is timed, at 100,000 memories.

    python benches/planner.py [--repo PATH] [--memories 100000] [--queries 1000] [--json FILE]

Reports the regret (time of the chosen plan over that of the best one), the q-error of predicted time before and
after calibration and 200 executions, and the time that planning takes; checks that all plans give one answer.
"""

from __future__ import annotations

import math
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import planner_corpus as corpus
from corpora import records
from measuring import Figure, arguments, at_most, publish, right, summary
from retain.memory.recalling import effective, statistics
from retain.model import Query
from retain.retrieval.calibration import calibrate
from retain.retrieval.filters import parse_filter
from retain.retrieval.lexical import TextQuery, text_query
from retain.retrieval.planner import Execution, Plan, QueryPlanner
from retain.retrieval.search import execute
from retain.storage.connection import connect
from retain.storage.reads import Reader

ROUNDS = 3
LEARNT = 200
SLOW_US = 150_000
"""A way this slow is timed once: its place is clear."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A query with the least time of each plan, and whether all of them gave one answer."""

    query: Query
    words: TextQuery
    plans: dict[str, Plan]
    us: dict[str, float]
    agree: bool


def plans_of(planner: QueryPlanner, query: Query, words: TextQuery) -> dict[str, Plan]:
    """The chosen plan and each rejected one, by name."""
    chosen = planner.create_plan(query, words.postings if query.text else None)
    found = {label(chosen.name, chosen.driver): chosen}
    for name, driver, _ in chosen.alternatives:
        found[label(name, driver)] = replace(chosen, name=name, driver=driver)
    return found


def label(name: str, driver: int | None) -> str:
    return name if driver is None else f"{name}.{driver}"


def timed(reader: Reader, planner: QueryPlanner, query: Query) -> Timed:
    words = text_query(query.text, reader)
    plans = plans_of(planner, query, words)
    least = dict.fromkeys(plans, math.inf)
    answers = set()
    for _ in range(ROUNDS):
        for name, plan in plans.items():
            if SLOW_US < least[name] < math.inf:
                continue
            found = execute(reader, plan, query, words)
            least[name] = min(least[name], found.execution.elapsed_us)
            answers.add(tuple((c.key, round(c.bm25, 9)) for c in found.candidates))
    return Timed(query=query, words=words, plans=plans, us=least, agree=len(answers) == 1)


def judge(planner: QueryPlanner, measured: Sequence[Timed]) -> tuple[list[float], list[float], Counter[str]]:
    """Regret and q-error of each query with what the planner knows now, and how often each way was the best."""
    regrets, q_errors, best = [], [], Counter[str]()
    for one in measured:
        chosen = planner.create_plan(one.query, one.words.postings if one.query.text else None)
        us = one.us.get(label(chosen.name, chosen.driver), max(one.us.values()))
        regrets.append(us / min(one.us.values()))
        q_errors.append(max(chosen.cost_us[1] / us, us / chosen.cost_us[1]))
        best[min(one.us, key=one.us.__getitem__).split(".")[0]] += 1
    return regrets, q_errors, best


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def learn(planner: QueryPlanner, measured: Sequence[Timed]) -> None:
    """Executes the chosen plans of some queries, as a server does."""
    for one in measured:
        chosen = planner.create_plan(one.query, one.words.postings if one.query.text else None)
        us = one.us.get(label(chosen.name, chosen.driver))
        if us is not None:
            rows = [step.rows[1] for step in chosen.steps]
            planner.observe(Execution(plan=chosen, rows=rows, elapsed_us=us))


def planning_us(planner: QueryPlanner, query: Query, repetitions: int = 3_000) -> list[float]:
    postings = dict.fromkeys(query.text.split(), 100)
    found = []
    for _ in range(repetitions):
        started = time.perf_counter_ns()
        planner.create_plan(query, postings)
        found.append((time.perf_counter_ns() - started) / 1000)
    return found


def complex_tree(spaces: Sequence[str]) -> dict[str, Any]:
    """Five nested levels, thirty conditions, five workspaces."""
    tree: dict[str, Any] = {"kind": ["note", "fix"], "session": "s1", "until": "2027-01-01"}
    for level in range(4):
        tree = {
            "or": [tree, {"tag": "half", "path": f"src/part{level}/"}],
            "not": {"branch": f"feat/{level}*"},
            "tag": [f"t{level}", "twentieth"],
            "path": f"src/*/file{level}.py",
            "since": "2026-01-01",
        }
    return {**tree, "workspace": list(spaces), "status": "active", "origin": "user"}


def wide_tree(conditions: int) -> dict[str, Any]:
    return {"or": [{"tag": f"t{number}"} for number in range(conditions)]}


def speed(planner: QueryPlanner, spaces: Sequence[str]) -> tuple[list[Figure], dict[str, Any]]:
    simple = effective(Query(text="fix fixture", filter=parse_filter({"kind": "note"}), workspace=spaces[0]))
    involved = Query(text="fix fixture", filter=parse_filter(complex_tree(spaces)))
    size = planner.analyze_complexity(involved)
    one, other = summary(planning_us(planner, simple)), summary(planning_us(planner, involved))
    each = {
        n: min(planning_us(planner, Query(text="a", filter=parse_filter(wide_tree(n))), 500))
        for n in (25, 50, 100, 200, 400)
    }
    slopes = [(each[2 * n] - each[n]) / n for n in (25, 50, 100, 200)]
    figures = [
        at_most("planning, simple, p95", one.p95, "us", 10, beside=f"p50 {one.median:.1f}, least {one.least:.1f}"),
        at_most(
            "planning, complex, p95", other.p95, "us", 100,
            beside=f"p50 {other.median:.1f}; {size.conditions} conditions, depth {size.depth}",
        ),
        at_most(
            "cost per condition, largest over least slope", max(slopes) / min(slopes), "", 2,
            beside=str([round(s, 3) for s in slopes]),
        ),
    ]  # fmt: skip
    return figures, {"simple": one, "complex": other, "per_condition_us": each}


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--repo", type=Path)
    parser.add_argument("--memories", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=1_000)
    args = parser.parse_args()
    texts = records(args.repo, args.memories)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "retain.db"
        spaces = corpus.build(path, texts, args.memories)
        reader = Reader(connect(path, writable=False))
        figures, details = measure(reader, corpus.queries(texts, spaces, args.memories, args.queries), spaces)
        reader.connection.close()
    return publish(figures, {"memories": args.memories, **details}, args.json)


def measure(
    reader: Reader, queries: Sequence[Query], spaces: Sequence[str]
) -> tuple[list[Figure], dict[str, Any]]:
    planner = QueryPlanner()
    known = statistics(reader)
    planner.update(known)
    measured = [timed(reader, planner, effective(query)) for query in queries]
    regrets, q_errors, best = judge(planner, measured)
    details: dict[str, Any] = {"best": dict(best), "before": _figures_of(regrets, q_errors)}
    started = time.perf_counter()
    calibrate(reader, planner, known)
    details["calibration_s"] = time.perf_counter() - started
    details["calibrated"] = _figures_of(*judge(planner, measured)[:2])
    some = random.Random(3).sample(list(measured), min(LEARNT, len(measured) // 2))
    learn(planner, some)
    regrets, q_errors, _ = judge(planner, measured)
    details["after"] = _figures_of(regrets, q_errors)
    details["coefficients"] = planner.coefficients()
    figures, times = speed(planner, spaces)
    after = details["after"]
    before = details["before"]
    return [
        right("all plans of a query", sum(one.agree for one in measured), len(measured)),
        at_most("regret, geometric mean", after["regret_mean"], "", 1.05, beside=f"before {before['regret_mean']:.3f}"),
        at_most("regret, p95", after["regret_p95"], "", 1.5, beside=f"before {before['regret_p95']:.3f}"),
        at_most("q-error of time, median", after["q_median"], "", 1.2, beside=f"before {before['q_median']:.2f}"),
        at_most("q-error of time, p95", after["q_p95"], "", 2.0, beside=f"before {before['q_p95']:.2f}"),
        at_most("calibration", details["calibration_s"], "s", 1.0),
        *figures,
    ], {**details, "planning": times}  # fmt: skip


def _figures_of(regrets: Sequence[float], q_errors: Sequence[float], *_: object) -> dict[str, float]:
    q_error = summary(q_errors)
    return {
        "regret_mean": geometric_mean(regrets), "regret_p95": summary(regrets).p95, "regret_most": max(regrets),
        "q_median": q_error.median, "q_p95": q_error.p95,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
