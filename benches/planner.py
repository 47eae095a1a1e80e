"""Does the planner choose well? Every way of answering 1,000 mixed queries is timed, at 100,000 memories.

    python benches/planner.py [--repo PATH] [--memories 100000] [--queries 1000] [--store FILE]
        [--times FILE] [--seconds N] [--clock busy] [--table] [--json FILE]

Reports the regret (time of the chosen plan over that of the best one), the q-error of the estimates for executions
that come after calibration and 200 executions, and the time that planning takes; checks that all plans give one answer.

A plan's time is the least of several rounds. Times repeat only so well: every second round is also taken as a
measurement of its own, and what one half says of the other is printed as the floor; so is what one execution says
of the next one of its plan. No prediction can be better than that.
``--clock busy`` takes the time that the thread ran, for a machine that others use; ``--table`` prints where the
predictions are off, by way and by operator.
"""

from __future__ import annotations

import json
import math
import os
import random
import sys
import tempfile
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import planner_corpus as corpus
from corpora import records
from measuring import Figure, arguments, at_least, at_most, publish, right, summary
from retain.memory.recalling import effective, statistics
from retain.model import Query
from retain.retrieval.calibration import calibrate
from retain.retrieval.filters import parse_filter
from retain.retrieval.lexical import TextQuery, text_query
from retain.retrieval.planner import Plan, QueryPlanner, label
from retain.retrieval.search import execute
from retain.storage.connection import connect
from retain.storage.reads import Reader

ROUNDS = 4
LEARNT = 200
FAR = 3.0
"""A plan that takes so many times what the best one takes is timed twice: its place is clear."""

THREADS = 2
BATCH = 500
HASHED = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A query with its plans, the times of each by round, and the answers that they gave."""

    query: Query
    words: TextQuery
    plans: dict[str, Plan]
    rounds: dict[str, list[float]]
    answers: set[str]

    @property
    def us(self) -> dict[str, float]:
        """The least time of each plan."""
        return {name: min(times) for name, times in self.rounds.items()}

    def half(self, first: int) -> dict[str, float]:
        """The least time in every second round of each plan that was timed in all of them."""
        return {name: min(times[first::2]) for name, times in self.rounds.items() if len(times) == ROUNDS}


def plans_of(planner: QueryPlanner, query: Query, words: TextQuery) -> list[Plan]:
    return planner.alternatives(query, words.postings if query.text else None, words.reading)


def chosen_of(planner: QueryPlanner, one: Timed) -> Plan:
    return planner.create_plan(one.query, one.words.postings if one.query.text else None, one.words.reading)


def prepared(reader: Reader, planner: QueryPlanner, query: Query) -> Timed:
    words = text_query(query.text, reader)
    plans = {label(plan): plan for plan in plans_of(planner, query, words)}
    return Timed(query=query, words=words, plans=plans, rounds={name: [] for name in plans}, answers=set())


def time_all(reader: Reader, measured: Sequence[Timed], clock: str, deadline: float) -> bool:
    """Times every plan of every query, in rounds that lie apart: a machine is slow for seconds at a time.

    Returns:
        Whether it came to its end before the deadline.
    """
    for number in range(ROUNDS):
        for one in measured:
            if time.perf_counter() > deadline:
                return False
            time_one(reader, one, clock, number)
    return True


def time_one(reader: Reader, one: Timed, clock: str, number: int) -> None:
    """One round of a query, begun with another plan each time; what earlier runs of this bench timed is kept."""
    plans = list(one.plans.items())
    known = [min(times) for times in one.rounds.values() if times]
    far = FAR * min(known) if number > 1 and known else math.inf
    for name, plan in plans[number % len(plans) :] + plans[: number % len(plans)]:
        if len(one.rounds[name]) > number or (one.rounds[name] and min(one.rounds[name]) > far):
            continue
        found = execute(reader, plan, one.query, one.words)
        one.rounds[name].append(getattr(found.execution, clock))
        rows = [(c.key, round(c.bm25, 9)) for c in found.candidates]
        one.answers.add(blake2b(repr(rows).encode(), digest_size=8).hexdigest())


def remember(path: Path, measured: Sequence[Timed]) -> None:
    """Keeps the times, so that a later run of this bench goes on from them."""
    kept = [{"rounds": one.rounds, "answers": sorted(one.answers)} for one in measured]
    path.write_text(json.dumps(kept), encoding="utf-8")


def recall(path: Path, measured: Sequence[Timed]) -> None:
    for one, kept in zip(measured, json.loads(path.read_text(encoding="utf-8")), strict=True):
        assert set(kept["rounds"]) == set(one.rounds), "these times are of other plans"
        one.rounds.update(kept["rounds"])
        one.answers.update(kept["answers"])


def judge(planner: QueryPlanner, measured: Sequence[Timed]) -> tuple[list[float], list[float], Counter[str]]:
    """Regret and q-error of each query with what the planner knows now, and how often each way was the best."""
    regrets, q_errors, best = [], [], Counter[str]()
    for one in measured:
        chosen = chosen_of(planner, one)
        us = one.us[label(chosen)]
        regrets.append(us / min(one.us.values()))
        q_errors.append(max(chosen.cost_us[1] / us, us / chosen.cost_us[1]))
        best[min(one.us, key=one.us.__getitem__).split(".")[0]] += 1
    return regrets, q_errors, best


def floors(planner: QueryPlanner, measured: Sequence[Timed]) -> tuple[list[float], list[float]]:
    """What one half of the rounds says of the other: regret of its best plan, q-error of the chosen one's time."""
    regrets, q_errors = [], []
    for one in measured:
        mine, other = one.half(0), one.half(1)
        regrets.append(other[min(mine, key=mine.__getitem__)] / min(other.values()))
        name = label(chosen_of(planner, one))
        if name in mine:
            q_errors.append(max(mine[name] / other[name], other[name] / mine[name]))
    return regrets, q_errors


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def learn(reader: Reader, planner: QueryPlanner, measured: Sequence[Timed], clock: str) -> None:
    """Executes the chosen plans of some queries and lets the planner see it, as a server does."""
    for one in measured:
        run = execute(reader, chosen_of(planner, one), one.query, one.words).execution
        planner.observe(replace(run, elapsed_us=getattr(run, clock)))


def foretold(
    reader: Reader, planner: QueryPlanner, measured: Sequence[Timed], clock: str
) -> tuple[list[float], list[float]]:
    """Q-errors of the estimates for executions yet to come, and of an execution for the next one of its plan."""
    taken: list[list[float]] = [[], []]
    for times in taken:
        for one in measured:
            run = execute(reader, chosen_of(planner, one), one.query, one.words).execution
            times.append(getattr(run, clock))
    estimates = [chosen_of(planner, one).cost_us[1] for one in measured]
    return (
        [max(us / truth, truth / us) for us, truth in zip(estimates, taken[0], strict=True)],
        [max(us / truth, truth / us) for us, truth in zip(*taken, strict=True)],
    )


def print_table(planner: QueryPlanner, measured: Sequence[Timed]) -> None:
    """Where predictions are off: by way predicted and measured time, by operator its work and share of the price."""
    ratios: dict[str, list[float]] = {}
    work, price, runs = Counter[str](), Counter[str](), Counter[str]()
    coefficients = planner.coefficients()
    for one in measured:
        for plan in one.plans.values():
            us = one.us[label(plan)]
            ratios.setdefault(plan.name, []).append(planner.optimize_plan(plan).cost_us[1] / us)
            for step in plan.steps:
                rows = step.rows[1] * (math.log2(max(2.0, step.rows[1])) if step.operator == "sort" else 1.0)
                work[step.operator] += rows
                price[step.operator] += coefficients[step.operator][1] * rows
                runs[step.operator] += 1
    print(f"{'way':16}{'plans':>8}   predicted over measured: p5, p50, p95")
    for name, each in ratios.items():
        s = sorted(each)
        at = [s[int(share * (len(s) - 1))] for share in (0.05, 0.5, 0.95)]
        print(f"{name:16}{len(s):>8}   {at[0]:.2f}  {at[1]:.2f}  {at[2]:.2f}")
    total = sum(price.values())
    print(f"{'operator':16}{'steps':>8}{'us a row':>12}{'mean rows':>12}{'share of price':>16}")
    for name, us in price.most_common():
        rows = work[name] / runs[name]
        print(f"{name:16}{runs[name]:>8}{coefficients[name][1]:>12.3f}{rows:>12.0f}{us / total:>15.1%}")


def concurrency(planner: QueryPlanner, spaces: Sequence[str]) -> Figure:
    """How many times the plans of one thread two threads make in the same time, in batches that release the GIL.

    Beside it stands what hashing gains, which holds the GIL at no time: where other programs run, that is no double.
    """
    queries = [Query(text="fix fixture", filter=parse_filter(complex_tree(spaces)))] * BATCH
    block = bytes(HASHED)

    def gain(work: Callable[[object], object]) -> tuple[float, float]:
        def seconds(threads: int) -> float:
            started = time.perf_counter()
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, range(threads)))
            return time.perf_counter() - started

        one, two = (min(seconds(threads) for _ in range(5)) for threads in (1, THREADS))
        return THREADS * one / two, one

    most, _ = gain(lambda _: blake2b(block).digest())
    planned, one = gain(lambda _: planner.create_plans(queries))
    return at_least(
        f"complex plans of {THREADS} threads over those of one", planned, "", 1.5,
        beside=f"hashing {most:.2f}; one thread {BATCH / one:,.0f}/s, {os.cpu_count()} processors",
    )  # fmt: skip


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
            beside="us each further one: " + ", ".join(f"{slope:.3f}" for slope in slopes),
        ),
        concurrency(planner, spaces),
    ]  # fmt: skip
    return figures, {"simple": one, "complex": other, "per_condition_us": each}


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--repo", type=Path)
    parser.add_argument("--memories", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--store", type=Path, help="where the store is kept, to be used again")
    parser.add_argument("--times", type=Path, help="where the times are kept, to go on from")
    parser.add_argument("--seconds", type=float, default=math.inf, help="how long to time in one run")
    parser.add_argument("--clock", choices=("elapsed", "busy"), default="elapsed")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    texts = records(args.repo, args.memories)
    with tempfile.TemporaryDirectory() as folder:
        path = args.store or Path(folder) / "retain.db"
        spaces = [] if path.exists() else corpus.build(path, texts, args.memories)
        reader = Reader(connect(path, writable=False))
        spaces = spaces or [place.id for place, _ in reader.workspaces()]
        queries = corpus.queries(texts, spaces, args.memories, args.queries)
        figures, details = measure(reader, queries, spaces, args)
        reader.connection.close()
    return publish(figures, {"memories": args.memories, **details}, args.json)


def measure(
    reader: Reader, queries: Sequence[Query], spaces: Sequence[str], args: Namespace
) -> tuple[list[Figure], dict[str, Any]]:
    planner, clock = QueryPlanner(), f"{args.clock}_us"
    known = statistics(reader)
    planner.update(known)
    measured = [prepared(reader, planner, effective(query)) for query in queries]
    if args.times and args.times.exists():
        recall(args.times, measured)
    done = time_all(reader, measured, clock, time.perf_counter() + args.seconds)
    if args.times:
        remember(args.times, measured)
    if not done:
        sys.exit("not every plan is timed yet: run again with the same --times")
    regrets, q_errors, best = judge(planner, measured)
    details: dict[str, Any] = {"best": dict(best), "before": _figures_of(regrets, q_errors)}
    started = time.perf_counter()
    calibrate(reader, planner, known)
    details["calibration_s"] = time.perf_counter() - started
    details["calibrated"] = _figures_of(*judge(planner, measured)[:2])
    mixed = random.Random(3).sample(measured, len(measured))
    some, others = mixed[: min(LEARNT, len(mixed) // 2)], mixed[-min(LEARNT, len(mixed) // 2) :]
    learn(reader, planner, some, clock)
    details["after"] = _figures_of(*judge(planner, measured)[:2])
    coming, repeated = (summary(each) for each in foretold(reader, planner, others, clock))
    details["floor"] = _figures_of(*floors(planner, measured))
    details["coefficients"], details["factors"] = planner.coefficients(), planner.factors()
    if args.table:
        print_table(planner, measured)
    figures, times = speed(planner, spaces)
    stages = ("before", "calibrated", "after", "floor")

    def figure(what: str, key: str, most: float) -> Figure:
        before, calibrated, after, floor = (details[stage][key] for stage in stages)
        beside = f"floor {floor:.3f}; uncalibrated {before:.3f}, calibrated {calibrated:.3f}"
        return at_most(what, after, "", most, beside=beside)

    def estimate(what: str, ours: float, most: float, floor: float, key: str) -> Figure:
        calibrated, least = details["calibrated"][key], details["floor"][key]
        beside = (
            f"floor {floor:.3f}; calibrated, for the least of the rounds {calibrated:.3f}, floor {least:.3f}"
        )
        return at_most(what, ours, "", most, beside=beside)

    return [
        right("all plans of a query", sum(len(one.answers) == 1 for one in measured), len(measured)),
        figure("regret, geometric mean", "regret_mean", 1.05),
        figure("regret, p95", "regret_p95", 1.5),
        estimate("q-error of the next executions, median", coming.median, 1.2, repeated.median, "q_median"),
        estimate("q-error of the next executions, p95", coming.p95, 2.0, repeated.p95, "q_p95"),
        at_most("calibration", details["calibration_s"], "s", 1.0),
        *figures,
    ], {**details, "planning": times, "coming": coming, "repeated": repeated}


def _figures_of(regrets: Sequence[float], q_errors: Sequence[float], *_: object) -> dict[str, float]:
    q_error = summary(q_errors)
    return {
        "regret_mean": geometric_mean(regrets), "regret_p95": summary(regrets).p95, "regret_most": max(regrets),
        "q_median": q_error.median, "q_p95": q_error.p95,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
