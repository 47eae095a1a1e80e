"""The targets of the core: each with the figures that show whether it is reached, whichever bench printed them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from measuring import Figure, in_columns, short


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One line of the table of targets.

    Attributes:
        what: what is asked of.
        target: what is asked for.
        bench: the bench that shows it.
        figures: which of its figures do: an expression that a figure's ``what`` begins with.
    """

    what: str
    target: str
    bench: str
    figures: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A target beside what was measured; ``met`` is None where no figure with a bound was found."""

    what: str
    target: str
    measured: str
    met: bool | None


TARGETS = (
    Target(
        what="L1 get hit", target="within 5 % of the fastest peer, 2.0 times a dict",
        bench="l1_cache", figures="get hit",
    ),
    Target(what="L1 set with eviction", target="the fastest peer", bench="l1_cache", figures="set with eviction"),
    Target(
        what="hit ratio, six traces", target="best mean, 2 points under the best peer, 1.3 times LRU's cost",
        bench="l1_cache", figures="hits on|hits, mean|processor time of a trace",
    ),
    Target(
        what="bytes an entry, 1M int -> str", target="1.1 times the leanest peer",
        bench="l1_cache", figures="bytes an entry",
    ),
    Target(
        what="get_or_compute", target="loader once, warm 1.5 times a get",
        bench="l1_cache", figures="get_or_compute, warm|loader runs|32 threads",
    ),
    Target(
        what="L2 get 1 KiB, pipelined 100", target="within 10 % of bare redis-py",
        bench="cache_levels", figures="L2 get",
    ),
    Target(what="L3 get p50, 1 KiB", target="diskcache / 4", bench="cache_levels", figures="L3 get"),
    Target(
        what="pool acquire+release, warm, 20", target="0.35 times psycopg_pool, 0 % overtaken, none starved",
        bench="pool", figures="acquire.release|overtaken|longest wait",
    ),
    Target(
        what="queue put+get, random priority", target="10 times asyncio.PriorityQueue, 20 in bulk",
        bench="queue_and_batches", figures="queue ",
    ),
    Target(
        what="batch pipeline, no-op handler", target="4 times the best peer, linear to 10M items",
        bench="queue_and_batches", figures="pipeline|time an item",
    ),
    Target(
        what="planning, simple and complex", target="p95 10 us, 100 us, linear in the conditions",
        bench="planner", figures="planning|cost per condition",
    ),
    Target(
        what="plan regret", target="geometric mean 1.05, p95 1.5",
        bench="planner", figures="regret|all plans of a query",
    ),
    Target(what="q-error of cost", target="median 1.2, p95 2", bench="planner", figures="q-error"),
    Target(
        what="past sessions into a store, one core", target="100 MB/min", bench="backfill",
        figures="transcripts into a new store|kept once",
    ),
    Target(
        what="pressure to first handler", target="p95 12 ms at 10 ms, also beside a busy loop",
        bench="pressure", figures="crossing to first handler",
    ),
    Target(
        what="cost of the sampler", target="a reading 6 us, 0.1 % of a core",
        bench="pressure", figures="a reading|share of a core",
    ),
)  # fmt: skip


def judged(figures: Mapping[str, Sequence[Figure]]) -> list[Judged]:
    """Every target, beside the figures of the benches that ran.

    Args:
        figures: what each bench found.
    """
    found = []
    for one in TARGETS:
        shown = [f for f in figures.get(one.bench, ()) if re.match(one.figures, f.what) and f.met is not None]
        met = all(f.met for f in shown) if shown else None
        found.append(
            Judged(
                what=one.what,
                target=one.target,
                measured="; ".join(_told(f) for f in shown if _is_speed(f)),
                met=met,
            )
        )
    return found


def _told(figure: Figure) -> str:
    value = short(figure.ours) if figure.ratio is None else f"{figure.ratio:.2f} times"
    return value if figure.met else f"{value} (missed: {figure.what})"


def _is_speed(figure: Figure) -> bool:
    return bool(figure.met is False or "right answers" not in figure.what)


def table_of_targets(lines: Sequence[Judged]) -> str:
    """The targets as text in columns."""
    verdicts = {None: "not measured", True: "pass", False: "MISS"}
    rows = [(one.what, one.target, verdicts[one.met], one.measured) for one in lines]
    return in_columns([("what", "target", "", "measured"), *rows])
