"""retain and its peers, each as an MCP server over stdio, on the same memories, in one run.

    python benches/peer_servers.py [--repo PATH] [--sizes 1000,10000] [--queries 40] [--remembers 60]
        [--peers NAME,...] [--root DIR] [--fill-s 120] [--offline] [--json FILE]

A peer is a file of ``benches/peers``; ``benches/peers/install.sh DIR`` installs them, and one that is not under
--root is named and left out. A peer is filled over stdio, several memories to a call where it has a tool for that,
for at most --fill-s seconds at each size: one that is slower is asked with what it holds by then, and the table says
how much that is. retain is filled through its Python API and its vectors are made first, as a live server does in
the background.

At each size one client then asks one thing at a time: known items without a filter, the same sort of question with a
filter on a tag that 50 %, 5 % and 0.5 % of the memories carry, and further memories to remember. No question comes
twice. Beside them stands what the smallest server of retain's SDK takes for an empty answer. CPU is that of the whole
process tree, of remembers until it rests again; memory too. --offline gives each peer a network of its own with nothing
in it (Linux, root): what it needs a download for then fails, instead of waiting. A folder ``cache`` under --root is the
``~/.cache`` of every peer: the place for a model that it would download.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpora import Commit
from corpora import records as texts_of
from measuring import (
    Figure,
    Summary,
    arguments,
    clean_environment,
    in_columns,
    launcher,
    publish,
    short,
    summary,
    tree_cpu_ms,
    tree_resident_mb,
)
from measuring import right as right_answers
from retain.errors import RetainError
from retain.referee.peers import Call, PeerRecipe, filled, hit_ids, read_recipe, started
from retain.referee.stdio_client import MEMORY_ID, Server, ServerFailed
from scale import EVERYTHING, FIRST, P95_MS, Asked, Sort, questions
from scale_store import NAMES, SHARES, START, STEP, kept, share_of
from start_time import LOWLEVEL

PEERS = Path(__file__).resolve().parent / "peers"
OURS = "retain"
CHECKED = 5
WARM_UP = 5
QUERY_CHARS_MAX = 250  # mempalace takes no longer one
ANSWER_S_MAX = 120.0
REST_S_MAX = 20.0
REST_MS = 20.0
SORTS: Sequence[Sort] = (EVERYTHING, *(("tag", share) for share in SHARES))
RETAIN = PeerRecipe(
    command=[launcher(), "serve"],
    environment={"RETAIN_HOME": "{home}", "CLAUDE_PROJECT_DIR": "{project}"},
    store=Call(tool="remember", arguments={"text": "{text}", "tags": ["{tag}"]}),
    search=Call(tool="recall", arguments={"query": "{query}", "limit": "{k}"}),
    filtered=Call(tool="recall", arguments={"query": "{query}", "limit": "{k}", "filter": {"tag": "{tag}"}}),
)


@dataclass(slots=True)
class Series:
    """Calls of one sort: milliseconds, CPU milliseconds of all, how many had the memory that is meant, wrong hits."""

    ms: list[float] = field(default_factory=list)
    cpu_ms: float = 0.0
    asked: int = 0
    found: int = 0
    misfits: int = 0

    def times(self) -> Summary:
        return summary(self.ms)

    def cpu(self) -> float:
        """CPU milliseconds of one call."""
        return self.cpu_ms / len(self.ms)


@dataclass(slots=True, kw_only=True)
class Measured:
    """What one contestant showed at one size; ``failed`` says why it showed no more."""

    name: str
    asked_size: int
    size: int = 0
    fill_s: float = 0.0
    remembered: Series = field(default_factory=Series)
    recalls: dict[Sort, Series] = field(default_factory=dict)
    idle_mb: float = 0.0
    full_mb: float = 0.0
    failed: str = ""

    def p95(self, sort: Sort) -> float | None:
        return self.recalls[sort].times().p95 if self.recalls.get(sort, Series()).ms else None


def tag_of(number: int) -> str:
    """The tag of the memory with this number."""
    return NAMES[share_of(number, "tag")]


class Session:
    """One server, and what it has been given.

    Args:
        server: a started server.
        recipe: how it stores and searches.
        numbers: the numbers of the memories by the ids that it shows.
    """

    def __init__(self, server: Server, recipe: PeerRecipe, numbers: dict[str, int]) -> None:
        self._server = server
        self._recipe = recipe
        self.numbers = numbers

    @property
    def pid(self) -> int:
        return self._server.pid

    def fill(self, records: Sequence[Commit], first: int, seconds: float) -> int:
        """Stores the records from a number on, until the time is up; how many there are then."""
        number, until = first, time.perf_counter() + seconds
        many = self._recipe.store_many
        while number < len(records) and time.perf_counter() < until:
            end = min(number + (1 if many is None else many.most), len(records))
            part = [self._values(records[n], n, tag_of(n)) for n in range(number, end)]
            if many is None:
                store = self._recipe.store
                self._server.call(store.tool, **filled(dict(store.arguments), part[0]))
            else:
                items = [filled(dict(many.item), values) for values in part]
                self._server.call(many.tool, **filled(dict(many.arguments), {"items": items}))
            number = end
        return number

    def check(self, records: Sequence[Commit], held: int) -> None:
        """Whether it has what it was given: some answer with a refusal that is not marked as a failure.

        Raises:
            ServerFailed: none of the last memories is found by its first line.
        """
        asked = [Asked(query=records[n].subject, number=n, sort=EVERYTHING) for n in range(held)[-CHECKED:]]
        if not self.recall(asked, held).found:
            raise ServerFailed(f"none of the last {len(asked)} memories is found by its first line")

    def _values(self, record: Commit, number: int, tag: str) -> dict[str, Any]:
        self.numbers[record.sha] = number
        return {
            "id": record.sha,
            "text": record.text,
            "tag": tag,
            "time": (START + number * STEP).isoformat(),
        }

    def remember(self, records: Sequence[Commit]) -> Series:
        """Stores further records one by one; their tag is in no filter."""
        series, call, used = Series(), self._recipe.store, tree_cpu_ms(self.pid)
        for record in records:
            values = self._values(record, -1, NAMES[0.0])
            series.ms.append(self._server.timed(call.tool, **filled(dict(call.arguments), values))[0])
        until_rest(self.pid)
        series.cpu_ms = tree_cpu_ms(self.pid) - used
        return series

    def recall(self, asked: Sequence[Asked], held: int) -> Series:
        """Asks; a memory that the server was never given is not looked for."""
        series, used = Series(), tree_cpu_ms(self.pid)
        for one in asked:
            name, share = one.sort
            call = self._recipe.search if name == "none" else self._recipe.filtered
            if call is None:
                break
            values = {"query": one.query[:QUERY_CHARS_MAX], "k": FIRST, "tag": NAMES.get(share, "")}
            elapsed_ms, answer = self._server.timed(call.tool, **filled(dict(call.arguments), values))
            series.ms.append(elapsed_ms)
            hits = [self.numbers[one] for one in self._ids(answer)]
            series.misfits += sum(name != "none" and (n < 0 or share_of(n, "tag") != share) for n in hits)
            series.asked += one.number < held
            series.found += one.number in hits
        series.cpu_ms = tree_cpu_ms(self.pid) - used
        return series

    def _ids(self, answer: str) -> list[str]:
        if self._recipe is RETAIN:
            return [one for one in MEMORY_ID.findall(answer) if one in self.numbers][:FIRST]
        return hit_ids(answer, self.numbers, FIRST)


def until_rest(pid: int) -> None:
    """Waits until the tree takes next to no CPU for a second, at most ``REST_S_MAX``."""
    deadline, last = time.perf_counter() + REST_S_MAX, tree_cpu_ms(pid)
    while time.perf_counter() < deadline:
        time.sleep(1)
        now = tree_cpu_ms(pid)
        if now - last <= REST_MS:
            return
        last = now


def examine(
    session: Session, found: Measured, asked: Mapping[Sort, Sequence[Asked]], further: Sequence[Commit]
) -> None:
    """Everything at one size, in place."""
    until_rest(session.pid)
    warm = [Asked(query=f"a question to warm up {n}", number=0, sort=EVERYTHING) for n in range(WARM_UP)]
    session.recall(warm, 0)
    until_rest(session.pid)
    found.recalls = {sort: session.recall(asked[sort], found.size) for sort in SORTS}
    found.remembered = session.remember(further)
    found.full_mb = tree_resident_mb(session.pid)


class Run:
    """What every contestant is given.

    Args:
        records: every memory of the largest size.
        further: memories to remember one by one, some for each size.
        sizes: ascending.
        queries: questions of each sort.
        seed: chooses the questions.
    """

    def __init__(
        self,
        records: Sequence[Commit],
        further: Sequence[Commit],
        sizes: Sequence[int],
        queries: int,
        seed: int,
    ) -> None:
        self.records, self.sizes = records, sizes
        self.asked = {size: questions(records[:size], queries, seed + size) for size in sizes}
        each = len(further) // len(sizes)
        self.further = {size: further[i * each : (i + 1) * each] for i, size in enumerate(sizes)}

    def ours(self, place: Path) -> list[Measured]:
        """retain at each size."""
        results = []
        for size in self.sizes:
            records = self.records[:size]
            started_at = time.perf_counter()
            store = kept(place / str(size), lambda records=records: records)
            found = Measured(name=OURS, asked_size=size, size=size, fill_s=time.perf_counter() - started_at)
            environment = clean_environment(RETAIN_HOME=str(store.home), CLAUDE_PROJECT_DIR=str(store.folder))
            with Server(RETAIN.command, store.folder, environment, deadline_s=ANSWER_S_MAX) as server:
                server.greet()
                numbers = {memory_id: number for number, memory_id in enumerate(store.ids)}
                found.idle_mb = tree_resident_mb(server.pid)
                examine(Session(server, RETAIN, numbers), found, self.asked[size], self.further[size])
            results.append(found)
        return results

    def peer(
        self, name: str, recipe: PeerRecipe, home: Path, argv: list[str], env: dict[str, str], fill_s: float
    ) -> list[Measured]:
        """A peer at each size that it reaches; the last result says why it went no further."""
        results: list[Measured] = []
        held = 0
        try:
            with Server(argv, home, env, deadline_s=ANSWER_S_MAX) as server:
                server.greet()
                idle_mb, session = tree_resident_mb(server.pid), Session(server, recipe, {})
                for size in self.sizes:
                    results.append(Measured(name=name, asked_size=size, idle_mb=idle_mb))
                    started_at = time.perf_counter()
                    held = session.fill(self.records[:size], held, fill_s)
                    results[-1].fill_s, results[-1].size = time.perf_counter() - started_at, held
                    session.check(self.records, held)
                    examine(session, results[-1], self.asked[size], self.further[size])
                    if held < size:
                        break
        except (RetainError, OSError, ValueError) as error:
            results = results or [Measured(name=name, asked_size=self.sizes[0])]
            results[-1].failed = f"{type(error).__name__}: {error}".replace("\n", " ")[:160]
        return results


def floor(place: Path, asked: Sequence[Asked]) -> Series:
    """The same questions to a minimal server of the same SDK, which answers nothing."""
    script, series = place / "lowlevel.py", Series()
    script.write_text(LOWLEVEL, encoding="utf-8")
    with Server([sys.executable, str(script)], place, clean_environment()) as server:
        server.greet()
        for _ in range(WARM_UP):
            server.call("recall")
        used = tree_cpu_ms(server.pid)
        series.ms = [server.timed("recall", query=one.query, limit=FIRST)[0] for one in asked]
        series.cpu_ms = tree_cpu_ms(server.pid) - used
    return series


def floor_figures(series: Series) -> list[Figure]:
    """What no server of this SDK can stay below."""
    what = "smallest server of the same SDK, an empty answer"
    return [
        Figure(what=f"{what}, p50", ours=series.times().median, unit="ms"),
        Figure(what=f"{what}, p95", ours=series.times().p95, unit="ms"),
        Figure(what=f"{what}, CPU", ours=series.cpu(), unit="ms"),
    ]


def rows_of(results: Sequence[Measured]) -> list[list[str]]:
    """A row for each contestant and size."""
    rows = [["server", "memories", "remember p50/p95 ms", "CPU"]]
    for _, share in SORTS:
        rows[0] += ["no filter p50/p95 ms" if share == 1.0 else f"{share:.1%} p50/p95", "CPU", "first 5"]
    rows[0] += ["misfits", "RSS idle/after MB", "fill s"]
    for found in results:
        row = [found.name, f"{found.size:,}", *_cells(found.remembered)]
        for sort in SORTS:
            series = found.recalls.get(sort, Series())
            row += [*_cells(series), f"{series.found} of {series.asked}" if series.ms else "-"]
        misfits = sum(series.misfits for series in found.recalls.values())
        row += [str(misfits), f"{short(found.idle_mb)}/{short(found.full_mb)}", short(found.fill_s)]
        rows.append(row)
    return rows


def _cells(series: Series) -> list[str]:
    if not series.ms:
        return ["-", "-"]
    return [f"{short(series.times().median)}/{short(series.times().p95)}", short(series.cpu())]


def figures_of(size: int, ours: Measured, peers: Sequence[Measured]) -> list[Figure]:
    """retain at one size beside every peer; only those that hold as many memories are to be beaten."""
    figures, at = [], f"{size:,} memories"
    for sort in SORTS:
        if not (mine := ours.recalls[sort]).ms:
            continue
        label = f"{at}: recall, " + ("no filter" if sort is EVERYTHING else f"filter of {sort[1]:.1%}")
        theirs = [(peer, series) for peer in peers if (series := peer.recalls.get(sort, Series())).ms]
        figures += [
            _ahead(
                f"{label}, p95",
                size,
                mine.times().p95,
                [(p, s.times().p95) for p, s in theirs],
                P95_MS.get(size),
            ),
            _ahead(f"{label}, CPU", size, mine.cpu(), [(p, s.cpu()) for p, s in theirs]),
        ]
        found = ", ".join(f"{_named(p, size)} {s.found} of {s.asked}" for p, s in theirs)
        figures.append(
            Figure(
                what=f"{label}, meant one in the first {FIRST}",
                ours=mine.found,
                unit=f"of {mine.asked}",
                beside=found,
            )
        )
    stored = [(peer, peer.remembered) for peer in peers if peer.remembered.ms]
    mine = ours.remembered
    figures += [
        _ahead(f"{at}: remember, p95", size, mine.times().p95, [(p, s.times().p95) for p, s in stored]),
        _ahead(f"{at}: remember, CPU", size, mine.cpu(), [(p, s.cpu()) for p, s in stored]),
        _ahead(f"{at}: RSS idle", size, ours.idle_mb, [(p, p.idle_mb) for p, _ in stored], unit="MB"),
        _ahead(f"{at}: RSS after", size, ours.full_mb, [(p, p.full_mb) for p, _ in stored], unit="MB"),
    ]
    fitting = sum(series.misfits == 0 for series in ours.recalls.values())
    return [*figures, right_answers(f"{at}: sorts of filters whose every hit fits", fitting, len(SORTS))]


def _named(found: Measured, size: int) -> str:
    return found.name if found.size == size else f"{found.name} ({found.size:,})"


def _ahead(
    what: str,
    size: int,
    ours: float,
    peers: Sequence[tuple[Measured, float]],
    most: float | None = None,
    unit: str = "ms",
) -> Figure:
    beside = ", ".join(f"{_named(peer, size)} {short(value)}" for peer, value in peers)
    whole = [value for peer, value in peers if peer.size == size]
    bounds = whole + ([most] if most is not None else [])
    return Figure(
        what=what, ours=ours, unit=unit, beside=beside, ratio=ours / min(whole) if whole and min(whole) else None,
        target=f"<= {short(min(bounds))}" if bounds else "", met=ours <= min(bounds) if bounds else None,
    )  # fmt: skip


def details_of(results: Sequence[Measured]) -> dict[str, Any]:
    return {
        f"{one.name}, {one.asked_size}": {
            "held": one.size, "fill_s": one.fill_s, "idle_mb": one.idle_mb, "full_mb": one.full_mb,
            "failed": one.failed,
            **{
                name: {"ms": series.times(), "cpu_ms": series.cpu(), "found": series.found, "asked": series.asked,
                       "misfits": series.misfits}
                for name, series in [
                    ("remember", one.remembered), *((f"recall {s[1]:g}", r) for s, r in one.recalls.items())
                ]
                if series.ms
            },
        }
        for one in results
    }  # fmt: skip


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--repo", type=Path)
    parser.add_argument("--sizes", default="1000,10000")
    parser.add_argument("--queries", type=int, default=40, help="of each sort of filter")
    parser.add_argument("--remembers", type=int, default=60, help="one by one, at each size")
    parser.add_argument("--peers", default=",".join(sorted(file.stem for file in PEERS.glob("*.json"))))
    parser.add_argument("--root", type=Path, default=PEERS, help="where install.sh put the peers")
    parser.add_argument(
        "--fill-s", type=float, default=120.0, help="longest time to fill a peer, at each size"
    )
    parser.add_argument("--offline", action="store_true")
    given = parser.parse_args()
    sizes = sorted(int(size) for size in given.sizes.split(","))
    every = texts_of(given.repo, max(sizes) + given.remembers * len(sizes))
    run = Run(every[: max(sizes)], every[max(sizes) :], sizes, given.queries, time.time_ns() % (1 << 30))
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="retain-peers-", ignore_cleanup_errors=True) as place:
        results = run.ours(Path(place) / OURS)
        least = floor(Path(place), [one for sort in SORTS for one in run.asked[sizes[0]][sort]])
        for name in filter(None, given.peers.split(",")):
            recipe, home = read_recipe(PEERS / f"{name}.json"), Path(place) / name
            home.mkdir()
            if (given.root / "cache").is_dir():
                (home / ".cache").symlink_to((given.root / "cache").resolve())
            argv, environment = started(recipe, given.root.resolve(), home)
            if not Path(argv[0]).exists():
                print(f"{name}: not under {given.root}", file=sys.stderr)
                continue
            argv = ["unshare", "--net", *argv] if given.offline else argv
            results += run.peer(name, recipe, home, argv, environment, given.fill_s)
            if results[-1].failed:
                print(f"{name}: {results[-1].failed}", file=sys.stderr)
            print(in_columns(rows_of(results[-len(sizes) :])), file=sys.stderr, flush=True)
    print(f"{in_columns(rows_of(results))}\n")
    figures = floor_figures(least)
    for one in results[: len(sizes)]:
        peers = [
            other
            for other in results[len(sizes) :]
            if other.asked_size == one.asked_size and not other.failed
        ]
        figures += figures_of(one.asked_size, one, peers)
    return publish(figures, details_of(results), given.json)


if __name__ == "__main__":
    sys.exit(main())
