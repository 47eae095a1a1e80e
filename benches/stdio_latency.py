"""Remember and recall through a real `retain serve` over stdio, on commit messages of a git history.

    python benches/stdio_latency.py [--repo PATH] [--sizes 1000,10000] [--remembers 500] [--json FILE]

The store is filled through the Python API; each memory gets a tag, a file of its own and a time that follow from its
number. (The ranking believes kinds and shared files: made-up ones put the memory that is meant behind others.)
Then one client asks one thing at a time: the three families of known-item queries, the same with a filter on a tag,
on a path and on time, and further memories to remember. Every answer is checked: the right id must be among the
first five (at least as often as plain FTS5 finds it), every hit must fit the filter, every remembered text must be
there in a second process. Memory and CPU are what the system says of the server process; beside them stands the
memory of a minimal server of the same SDK.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import retain
from corpora import Commit, KnownItem, known_items
from corpora import records as texts_of
from known_items import plain_fts5
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
from start_time import LOWLEVEL

FIRST = 5
CHUNK = 1_000
WARM_UP = 20
GET_MOST = 50
TAGS = ("parser", "server", "client", "storage")
FOLDERS = 20
START = datetime(2020, 1, 1, tzinfo=UTC)
STEP = timedelta(hours=1)
HALF_WINDOW = timedelta(days=60)

# The peers' figures were measured once by this project: raw JSON-RPC over
# stdio, 10,865 real commit memories, the same loaded 2-core machine. They are no part of this run.
PEER_STORE_CPU_MS = "peers: memory-keeper 6.1, server-memory 62, memory-service 117"
PEER_SEARCH_CPU_MS = "peers: claude-mem 2.5, server-memory 35, mempalace 58"
PEER_RSS_IDLE_MB = "; peers: server-memory 66, memory-keeper 71"
PEER_RSS_FULL_MB = "peers: memory-keeper 140, server-memory 145"
STORE_CPU_MS_MAX = 5.0

Families = Mapping[str, Sequence[KnownItem]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a memory of the bench carries besides its text."""

    tag: str
    path: str
    at: datetime


def place_of(number: int) -> Place:
    """Tag, file and time of the memory with this number."""
    return Place(
        tag=TAGS[number % len(TAGS)],
        path=f"src/part{number % FOLDERS:02d}/module{number}.py",
        at=START + number * STEP,
    )


async def fill(home: Path, folder: Path, records: Sequence[Commit]) -> list[str]:
    """Stores the records; their ids in order."""
    ids: list[str] = []
    async with retain.open(home, folder=folder) as memory:
        for start in range(0, len(records), CHUNK):
            items = [
                {
                    "text": record.text, "tags": [(place := place_of(number)).tag], "paths": [place.path],
                    "occurred_at": place.at,
                }
                for number, record in enumerate(records[start : start + CHUNK], start)
            ]  # fmt: skip
            ids += [stored.id for stored in await memory.remember_many(items)]
    return ids


@dataclass(slots=True)
class Series:
    """The calls of one sort: their times, the CPU they took, and how many answers were right."""

    ms: list[float]
    cpu_ms: float
    right: int

    def times(self) -> Summary:
        return summary(self.ms)


class Asker:
    """Asks the queries and checks the answers.

    Args:
        server: a greeted server.
        ids: the ids of the stored records in their order.
        numbers: the number of a record by its commit.
    """

    def __init__(self, server: Server, ids: Sequence[str], numbers: Mapping[str, int]) -> None:
        self._server = server
        self._ids = ids
        self._numbers = numbers
        self._number_of = {memory_id: number for number, memory_id in enumerate(ids)}
        self.misfits = 0

    def recalls(self, items: Sequence[KnownItem], sort: str) -> Series:
        """One recall for each item; ``sort`` names the filter, or is ``none``."""
        series = Series(ms=[], cpu_ms=0.0, right=0)
        used = cpu_ms(self._server.pid)
        for item in items:
            number = self._numbers[item.sha]
            where = filter_of(place_of(number), sort)
            given: dict[str, Any] = {"query": item.query, "limit": FIRST}
            elapsed_ms, text = self._server.timed("recall", **given, **({"filter": where} if where else {}))
            series.ms.append(elapsed_ms)
            hits = MEMORY_ID.findall(text)[:FIRST]
            series.right += self._ids[number] in hits
            self.misfits += sum(
                not fits(place_of(self._number_of[hit]), place_of(number), sort) for hit in hits
            )
        series.cpu_ms = (cpu_ms(self._server.pid) - used) / len(items)
        return series

    def remembers(self, records: Sequence[Commit]) -> tuple[Series, list[str]]:
        """Remembers further records one by one; their ids too."""
        series = Series(ms=[], cpu_ms=0.0, right=0)
        used = cpu_ms(self._server.pid)
        ids = []
        for number, record in enumerate(records):
            place = place_of(number)
            elapsed_ms, text = self._server.timed(
                "remember", text=record.text, tags=[place.tag], paths=[place.path]
            )
            series.ms.append(elapsed_ms)
            series.right += text.startswith("Remembered as note")
            ids += MEMORY_ID.findall(text)[:1]
        series.cpu_ms = (cpu_ms(self._server.pid) - used) / len(records)
        return series, ids


def filter_of(place: Place, sort: str) -> dict[str, Any] | None:
    """A filter that the memory at this place fits."""
    if sort == "tag":
        return {"tag": place.tag}
    if sort == "path":
        return {"path": place.path.rpartition("/")[0] + "/**"}
    if sort == "time":
        return {"since": (place.at - HALF_WINDOW).isoformat(), "until": (place.at + HALF_WINDOW).isoformat()}
    return None


def fits(found: Place, wanted: Place, sort: str) -> bool:
    """Whether a hit fits the filter made for the wanted memory."""
    return (
        (sort != "tag" or found.tag == wanted.tag)
        and (sort != "path" or found.path.split("/")[1] == wanted.path.split("/")[1])
        and (sort != "time" or abs(found.at - wanted.at) <= HALF_WINDOW)
    )


def kept(home: Path, folder: Path, ids: Sequence[str], records: Sequence[Commit]) -> int:
    """How many of the remembered texts a second process finds, by the first line of each."""
    with _server(home, folder) as server:
        server.greet()
        found = 0
        for start in range(0, len(ids), GET_MOST):
            part = ids[start : start + GET_MOST]
            text = server.call("get", ids=part)
            there = set(MEMORY_ID.findall(text))
            found += sum(
                memory_id in there and _squeezed(record.subject)[:60] in _squeezed(text)
                for memory_id, record in zip(part, records[start : start + GET_MOST], strict=True)
            )
    return found


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _server(home: Path, folder: Path) -> Server:
    environment = clean_environment(RETAIN_HOME=str(home), CLAUDE_PROJECT_DIR=str(folder))
    return Server([launcher(), "serve"], folder, environment)


def floor_mb(place: Path) -> float:
    """Resident memory of a minimal server of the same SDK after a call."""
    script = place / "lowlevel.py"
    script.write_text(LOWLEVEL, encoding="utf-8")
    with Server([sys.executable, str(script)], place, clean_environment()) as server:
        server.greet()
        server.call("recall")
        return resident_mb(server.pid)


def append_synced(folder: Path, rounds: int) -> Summary:
    """Milliseconds of one append of 4 KiB with fsync: the disk's share of a remember."""
    times = []
    with (folder / "appended").open("wb", buffering=0) as file:
        for _ in range(rounds):
            started = time.perf_counter_ns()
            file.write(b"x" * 4096)
            os.fsync(file.fileno())
            times.append((time.perf_counter_ns() - started) / 1e6)
    return summary(times)


def measure(place: Path, records: Sequence[Commit], further: Sequence[Commit], families: Families) -> dict:
    """Everything at one size."""
    home, folder = place / "home", place / "project"
    folder.mkdir(parents=True)
    numbers = {record.sha: number for number, record in enumerate(records)}
    ids = asyncio.run(fill(home, folder, records))
    with _server(home, folder) as server:
        server.greet()
        server.call("status")
        idle_mb = resident_mb(server.pid)
        asker = Asker(server, ids, numbers)
        for item in families["half"][:WARM_UP]:  # each asked with another limit, so that no answer is cached
            server.call("recall", query=item.query, limit=FIRST + 1)
        found = {
            (family, sort): asker.recalls(items, sort)
            for sort in ("none", "tag", "path", "time")
            for family, items in families.items()
        }
        full_mb = resident_mb(server.pid)
        remembered, new_ids = asker.remembers(further)
    return {
        "floor_mb": floor_mb(place), "idle_mb": idle_mb, "full_mb": full_mb, "recalls": found, "remembered": remembered,
        "misfits": asker.misfits, "kept": kept(home, folder, new_ids, further),
        "disk": append_synced(place, len(further)), "plain": plain_fts5(list(records), dict(families)),
    }  # fmt: skip


def figures_of(size: int, found: dict) -> list[Figure]:
    """The table of one size."""
    recalls: dict[tuple[str, str], Series] = found["recalls"]
    remembered: Series = found["remembered"]
    times, disk = remembered.times(), found["disk"]
    at = f"{size:,} memories"
    figures = [
        against(f"{at}: remember p50", times.median, "ms", "bare 4 KiB append+fsync", disk.median),
        against(f"{at}: remember p95", times.p95, "ms", "bare 4 KiB append+fsync", disk.p95),
        at_most(f"{at}: remember CPU", remembered.cpu_ms, "ms", STORE_CPU_MS_MAX, beside=PEER_STORE_CPU_MS),
        right_answers(f"{at}: remember, kept for a second process", found["kept"], len(remembered.ms)),
    ]
    for sort in ("none", "tag", "path", "time"):
        of_sort = [series for (_, s), series in recalls.items() if s == sort]
        pooled = summary([ms for series in of_sort for ms in series.ms])
        used = sum(s.cpu_ms * len(s.ms) for s in of_sort) / sum(len(s.ms) for s in of_sort)
        label = "recall" if sort == "none" else f"recall with a filter on {sort}"
        figures += [
            Figure(what=f"{at}: {label} p50", ours=pooled.median, unit="ms"),
            Figure(what=f"{at}: {label} p95", ours=pooled.p95, unit="ms"),
            Figure(what=f"{at}: {label} p99", ours=pooled.p99, unit="ms"),
            Figure(what=f"{at}: {label} CPU", ours=used, unit="ms", beside=PEER_SEARCH_CPU_MS),
        ]
    for (family, sort), series in recalls.items():
        label = f"{at}: {family} in the first {FIRST}"
        if sort == "none":
            least = found["plain"][family]
            beside = f"plain FTS5 {least}"
            figures.append(at_least(label, series.right, f"of {len(series.ms)}", least, beside=beside))
        else:
            before = recalls[family, "none"].right
            figures.append(
                at_least(
                    f"{label}, filter on {sort}",
                    series.right,
                    f"of {len(series.ms)}",
                    before,
                    beside="unfiltered",
                )
            )
    fitting = sum(len(series.ms) for series in recalls.values())
    figures += [
        Figure(what=f"{at}: hits outside the filter", ours=found["misfits"], unit=f"in {fitting}", target="<= 0",
               met=found["misfits"] == 0),
        Figure(what=f"{at}: RSS after open", ours=found["idle_mb"], unit="MB",
               beside=f"minimal SDK server {short(found['floor_mb'])}{PEER_RSS_IDLE_MB}",
               ratio=found["idle_mb"] / found["floor_mb"]),
        Figure(what=f"{at}: RSS after {fitting} recalls", ours=found["full_mb"], unit="MB", beside=PEER_RSS_FULL_MB),
    ]  # fmt: skip
    return figures


def growth(results: Mapping[int, dict]) -> list[Figure]:
    """The largest size beside the smallest."""
    small, large = min(results), max(results)
    if small == large:
        return []
    figures = []
    for family in ("half", "short", "identifier"):
        one, other = (results[n]["recalls"][family, "none"].times().median for n in (small, large))
        figures.append(against(f"recall {family} p50, {large:,}", other, "ms", f"{small:,} memories", one))
    one, other = (results[n]["remembered"].times().median for n in (small, large))
    figures.append(against(f"remember p50, {large:,}", other, "ms", f"{small:,} memories", one))
    return figures


def details_of(results: Mapping[int, dict]) -> dict[str, Any]:
    return {
        str(size): {
            "remember_ms": found["remembered"].times(),
            "remember_cpu_ms": found["remembered"].cpu_ms,
            "disk_ms": found["disk"],
            "recall_ms": {f"{family}, {sort}": s.times() for (family, sort), s in found["recalls"].items()},
            "recall_cpu_ms": {
                f"{family}, {sort}": s.cpu_ms for (family, sort), s in found["recalls"].items()
            },
            "right": {f"{family}, {sort}": s.right for (family, sort), s in found["recalls"].items()},
        }
        for size, found in results.items()
    }


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--repo", type=Path)
    parser.add_argument("--sizes", default="1000,10000")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--remembers", type=int, default=500)
    given = parser.parse_args()
    sizes = sorted(int(size) for size in given.sizes.split(","))
    every = texts_of(given.repo, max(sizes) + given.remembers)
    further = every[-given.remembers :]
    results, figures = {}, []
    for size in sizes:
        records = every[: min(size, len(every) - given.remembers)]
        with tempfile.TemporaryDirectory(prefix="retain-stdio-") as place:
            results[size] = measure(Path(place), records, further, known_items(records, given.queries))
        figures += figures_of(len(records), results[size])
    figures += growth(results)
    return publish(figures, details_of(results), given.json)


if __name__ == "__main__":
    sys.exit(main())
