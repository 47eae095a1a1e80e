"""Recall over MCP stdio as the store grows: with filters of 50, 5 and 0.5 %, RSS, and the time to be ready.

    python benches/scale.py [--repo PATH] [--sizes 1000,10000,100000,1000000] [--store DIR] [--queries 40]

Each store is filled through ``remember_many`` and gets its vectors from the service that a live server runs; with
--store it is kept, so that a second run fills nothing. One client then asks a real ``retain serve``: known items
without a filter and with one by tag, kind, path and time at each share, no question twice. An answer is right where
every hit fits the filter, and the record that is meant must be among the first five at least as often as plain FTS5
finds it. Beside it in the same run stands that peer, in process: porter, words joined by OR, and for a filter the
keys that fit in a table of its own.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import apsw

from corpora import Commit, content_words, known_items
from corpora import records as texts_of
from measuring import (
    Figure,
    Summary,
    against,
    arguments,
    at_least,
    at_most,
    clean_environment,
    cpu_ms,
    launcher,
    publish,
    resident_mb,
    short,
    summary,
)
from measuring import right as right_answers
from retain.referee.stdio_client import MEMORY_ID, Server
from scale_store import FIELDS, SHARES, Kept, filter_of, fits, kept, share_of, window

FIRST = 5
PLAIN_QUERIES = 20
WARM_UP = 10
READY_MAX_S = 120.0
P95_MS = {10_000: 15.0, 100_000: 30.0, 1_000_000: 60.0}
RSS_MB_MAX = 1_000.0

Sort = tuple[str, float]
EVERYTHING: Sort = ("none", 1.0)
SORTS: Sequence[Sort] = (EVERYTHING, *((name, share) for share in SHARES for name in FIELDS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question, the number of the memory that is meant, and the filter."""

    query: str
    number: int
    sort: Sort


@dataclass(slots=True, kw_only=True)
class Series:
    """The questions of one sort: milliseconds, how often the memory that is meant came, hits that do not fit, CPU."""

    ms: list[float] = field(default_factory=list)
    found: int = 0
    misfits: int = 0
    cpu_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one size showed."""

    size: int
    ours: Mapping[Sort, Series]
    plain: Mapping[Sort, Series]
    found_of: Mapping[Sort, tuple[int, int]]
    rss_mb: float
    first_ms: float
    ready_ms: float
    took: Mapping[str, float]


def questions(records: Sequence[Commit], each: int, seed: int) -> dict[Sort, list[Asked]]:
    """Known items of three families for each sort; the memory that is meant fits the filter. No text comes twice."""
    numbers = {record.sha: number for number, record in enumerate(records)}
    rng, used = random.Random(seed), set[str]()
    asked: dict[Sort, list[Asked]] = {}
    for sort in SORTS:
        name, share = sort
        fitting = [n for n in range(len(records)) if name in {"none", "time"} or share_of(n, name) == share]
        chosen = [records[n] for n in rng.sample(fitting, min(len(fitting), 6 * each))]
        families = known_items(chosen, -(-each // 3), rng.randrange(1 << 30))
        items = [item for triple in zip(*families.values(), strict=False) for item in triple]
        fresh = [item for item in items if item.query not in used][:each]
        used.update(item.query for item in fresh)
        asked[sort] = [Asked(query=item.query, number=numbers[item.sha], sort=sort) for item in fresh]
    return asked


def ask(server: Server, store: Kept, asked: Sequence[Asked], series: Series) -> list[bool]:
    """Asks the server; whether the memory that is meant came first, by question."""
    number_of = {memory_id: number for number, memory_id in enumerate(store.ids)}
    came, used = [], cpu_ms(server.pid)
    for one in asked:
        name, share = one.sort
        where = {} if name == "none" else {"filter": filter_of(one.number, name, share, len(store.ids))}
        elapsed_ms, text = server.timed("recall", query=one.query, limit=FIRST, **where)
        hits = [number_of[memory_id] for memory_id in MEMORY_ID.findall(text)[:FIRST]]
        series.ms.append(elapsed_ms)
        series.misfits += sum(
            name != "none" and not fits(hit, one.number, name, share, len(store.ids)) for hit in hits
        )
        came.append(one.number in hits)
    series.found += sum(came)
    series.cpu_ms += cpu_ms(server.pid) - used
    return came


class Plain:
    """FTS5 out of the box, with the keys that fit each filter in a table."""

    def __init__(self, store: Kept) -> None:
        self._db = apsw.Connection(str(store.plain))
        self._total = len(store.ids)
        self._db.execute("PRAGMA temp_store = MEMORY")
        for name, share in SORTS[1:]:
            if name != "time":
                keys = ((n,) for n in range(self._total) if share_of(n, name) == share)
                self._db.execute(f"CREATE TEMP TABLE {self._table(name, share)} (key INTEGER PRIMARY KEY)")
                self._db.executemany(f"INSERT INTO {self._table(name, share)} VALUES (?)", keys)

    @staticmethod
    def _table(name: str, share: float) -> str:
        return f"fit_{name}_{round(share * 1000)}"

    def ask(self, asked: Sequence[Asked], series: Series) -> list[bool]:
        """As ``ask``, in process."""
        came = []
        for one in asked:
            name, share = one.sort
            match = " OR ".join(f'"{word}"' for word in content_words(one.query))
            where: str = ""
            values: list[int] = []
            if name == "time":
                where, values = " AND rowid >= ? AND rowid < ?", [*window(one.number, share, self._total)]
            elif name != "none":
                where = f" AND +rowid IN (SELECT key FROM {self._table(name, share)})"
            started = time.perf_counter_ns()
            rows = self._db.execute(
                f"SELECT rowid FROM t WHERE t MATCH ?{where} ORDER BY bm25(t) LIMIT ?",
                (match, *values, FIRST),
            ).fetchall()
            series.ms.append((time.perf_counter_ns() - started) / 1e6)
            came.append((one.number,) in rows)
        series.found += sum(came)
        return came


def until_ready(server: Server, warm: Sequence[Asked], base_mb: float) -> float:
    """Milliseconds from the start until recalls no longer bring further vectors into RAM."""
    settled, last = 0, base_mb
    reached = time.perf_counter_ns()
    number = 0
    while settled < 5 and (time.perf_counter_ns() - server.started_ns) / 1e9 < READY_MAX_S:
        one = warm[number % len(warm)]
        server.call("recall", query=f"{one.query} {number}", limit=FIRST + 1)
        now = resident_mb(server.pid)
        grew = now > last * 1.01
        settled = 0 if grew else settled + 1
        if grew:
            reached = time.perf_counter_ns()
        last, number = now, number + 1
        time.sleep(0.05)
    return (reached - server.started_ns) / 1e6


def measure(store: Kept, records: Sequence[Commit], each: int, seed: int) -> Measured:
    """Everything at one size."""
    asked = questions(records, each, seed)
    warm = questions(records, WARM_UP, seed + 1)[EVERYTHING]
    ours = {sort: Series() for sort in SORTS}
    plain = {sort: Series() for sort in SORTS}
    found_of = {}
    peer = Plain(store)
    environment = clean_environment(
        RETAIN_HOME=str(store.home), CLAUDE_PROJECT_DIR=str(store.folder), RETAIN_CACHE_DISK_BYTES_MAX="0"
    )
    with Server([launcher(), "serve"], store.folder, environment) as server:
        server.greet()
        server.call("recall", query=warm[0].query, limit=FIRST + 1)
        first_ms = (time.perf_counter_ns() - server.started_ns) / 1e6
        ready_ms = until_ready(server, warm, resident_mb(server.pid))
        for sort in SORTS:
            came = ask(server, store, asked[sort], ours[sort])
            theirs = peer.ask(asked[sort][:PLAIN_QUERIES], plain[sort])
            found_of[sort] = (sum(came[: len(theirs)]), sum(theirs))
        rss_mb = resident_mb(server.pid)
    return Measured(
        size=len(store.ids), ours=ours, plain=plain, found_of=found_of, rss_mb=rss_mb, first_ms=first_ms,
        ready_ms=ready_ms, took=store.took,
    )  # fmt: skip


def pooled(series: Mapping[Sort, Series], share: float) -> Summary:
    """The times of every sort of a share."""
    return summary([ms for (_, s), one in series.items() if s == share for ms in one.ms])


def figures_of(found: Measured) -> list[Figure]:
    """The table of one size."""
    at, most = f"{found.size:,} memories", P95_MS.get(found.size)
    figures = []
    for share in (1.0, *SHARES):
        ours, plain = pooled(found.ours, share), pooled(found.plain, share)
        label = f"{at}: recall, " + ("no filter" if share == 1.0 else f"filters of {share:.1%}")
        figures.append(against(f"{label}, p50", ours.median, "ms", "plain FTS5 in process", plain.median))
        beside = f"plain FTS5 in process {short(plain.p95)}"
        p95 = f"{label}, p95"
        figures.append(
            Figure(what=p95, ours=ours.p95, unit="ms", beside=beside)
            if most is None
            else at_most(p95, ours.p95, "ms", most, beside=beside)
        )
        used = sum(one.cpu_ms for (_, s), one in found.ours.items() if s == share) / ours.n
        figures.append(Figure(what=f"{label}, CPU", ours=used, unit="ms"))
        pairs = [pair for (_, s), pair in found.found_of.items() if s == share]
        mine, theirs = (sum(numbers) for numbers in zip(*pairs, strict=True))
        asked = sum(len(one.ms) for (_, s), one in found.plain.items() if s == share)
        figures.append(
            at_least(
                f"{label}, meant one in the first {FIRST}", mine, f"of {asked}", theirs, beside="plain FTS5"
            )
        )
    every = sum(len(one.ms) for one in found.ours.values())
    misfitting = sum(one.misfits > 0 for one in found.ours.values())
    figures += [
        right_answers(
            f"{at}: sorts of filters whose every hit fits", len(found.ours) - misfitting, len(found.ours)
        ),
        Figure(what=f"{at}: start to first recall", ours=found.first_ms, unit="ms"),
        Figure(what=f"{at}: start to all vectors in RAM", ours=found.ready_ms, unit="ms"),
        at_most(f"{at}: RSS after {every} recalls", found.rss_mb, "MB", RSS_MB_MAX),
        *(Figure(what=f"{at}: {name}", ours=seconds, unit="s") for name, seconds in found.took.items()),
    ]
    return figures


def growth(results: Sequence[Measured]) -> list[Figure]:
    """Each size beside the one before."""
    figures = []
    for one, other in pairwise(results):
        step = f"{one.size:,} to {other.size:,} memories"
        before, after = pooled(one.ours, 1.0), pooled(other.ours, 1.0)
        figures.append(against(f"growth, {step}: recall p50", after.median, "ms", "smaller", before.median))
        figures.append(against(f"growth, {step}: recall p95", after.p95, "ms", "smaller", before.p95))
        figures.append(against(f"growth, {step}: RSS", other.rss_mb, "MB", "smaller", one.rss_mb))
    return figures


def details_of(results: Sequence[Measured]) -> dict[str, Any]:
    return {
        f"{found.size}, {name}, {share:g}": {
            "retain": summary(one.ms),
            "retain_cpu_ms": one.cpu_ms / len(one.ms),
            "plain FTS5": summary(found.plain[name, share].ms),
        }
        for found in results
        for (name, share), one in found.ours.items()
    }  # fmt: skip


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--repo", type=Path)
    parser.add_argument("--sizes", default="1000,10000,100000,1000000")
    parser.add_argument(
        "--store", type=Path, help="where filled stores are kept; without it they are thrown away"
    )
    parser.add_argument("--queries", type=int, default=40, help="of each sort of filter")
    given = parser.parse_args()
    results, figures = [], []
    seed = time.time_ns() % (1 << 30)  # a kept store must not have met the questions before
    with tempfile.TemporaryDirectory(prefix="retain-scale-") as passing:
        for size in sorted(int(size) for size in given.sizes.split(",")):
            records = texts_of(given.repo, size)
            name = given.repo.name if given.repo else "made-up"
            place = (given.store or Path(passing)) / f"{name}-{len(records)}"
            store = kept(place, lambda records=records: records)
            results.append(measure(store, records, given.queries, seed))
            figures += figures_of(results[-1])
    return publish(figures + growth(results), details_of(results), given.json)


if __name__ == "__main__":
    sys.exit(main())
