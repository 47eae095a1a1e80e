"""What the checks of an answer add to a recall: git, claims and trust, each alone and all together, in one run.

    python benches/gates.py [--commits 100000] [--memories 10000] [--files 500] [--queries 200] [--json FILE]

The repository is made by ``git fast-import`` from a seed: one line with merged branches of one to six commits, and one
in ten branches that never was; files with functions and constants lie in its working tree. Memories are spread over its
commits, most of them over the newest thousand, each with claims about one of the files, one in five untrusted. The same
questions go to the same service without a check, with each, and with all, in turns on one reader; times are those of
the thread's processor, since a busy machine says little by the clock. What is shown must be what was merged, marked as
its file is, and trusted where only that may be told.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any

import retain
from measuring import Figure, against, arguments, at_most, publish, resident_mb, summary
from measuring import right as right_answers
from retain.git.history import Deadline, History
from retain.memory import recalling
from retain.memory.service import MemoryService
from retain.memory.truth import Gate
from retain.model import Draft, Query, new_id
from retain.retrieval.filters import both
from retain.storage import writes
from retain.storage.reads import Reader
from retain.trust import TOLD_UNASKED, UNTRUSTED

EPOCH_S = 1_600_000_000
RECENT = 1_000
BRANCHES_KEPT = 40
FUNCTIONS = 20
UNTRUSTED_EACH = 5
ADDED_MS_MAX = 5.0
ASKED = 60
WORDS = "cache queue token parser index worker schema retry lease cursor branch merge vector planner spool".split()


@dataclass(frozen=True, slots=True)
class Made:
    """A commit of the repository: its branch, its parent's mark, whether main has it, when it was made."""

    branch: str
    parent: int
    merged: bool
    at_s: int


def write_history(out: IO[bytes], commits: int, rng: random.Random) -> list[Made]:
    """Streams a history for ``git fast-import`` and says what it holds; marks count from 1."""
    made: list[Made] = []

    def commit(branch: str, parent: int, *, merged: bool, merge: int = 0, ref: str = "") -> int:
        mark, at_s = len(made) + 1, EPOCH_S + 60 * len(made)
        text = f"change {mark}"
        lines = [f"commit {ref or f'refs/heads/{branch}'}", f"mark :{mark}", f"committer A <a@b.c> {at_s} +0000",
                 f"data {len(text)}", text]  # fmt: skip
        if parent:
            lines.append(f"from :{parent}")
        if merge:
            lines.append(f"merge :{merge}")
        else:
            body = f"line {mark}\n"
            lines += [f"M 100644 inline d{mark % 40}/f{mark % 400}", f"data {len(body)}", body]
        out.write(("\n".join(lines) + "\n").encode())
        made.append(Made(branch, parent, merged, at_s))
        return mark

    main = commit("main", 0, merged=True)
    unmerged = 0
    while len(made) < commits:
        if rng.random() < 0.1:
            keep = rng.random() < 0.1 or (len(made) > commits - 400 and unmerged < BRANCHES_KEPT)
            name = f"topic-{len(made)}"
            tip, length = main, rng.randint(1, 6)
            for _ in range(length):
                tip = commit(name, tip, merged=not keep, ref="" if keep else "refs/heads/landing")
            unmerged += keep
            main = commit("main", main, merged=True)
            if not keep:
                main = commit("main", main, merged=True, merge=tip)
        else:
            main = commit("main", main, merged=True)
    return made


def build(place: Path, commits: int) -> tuple[list[Made], dict[int, str]]:
    """The repository, what was made, and the hash of each mark."""
    subprocess.run(["git", "init", "-q", "-b", "main", str(place)], check=True)
    marks = place / ".git" / "marks"
    importer = subprocess.Popen(
        ["git", "fast-import", "--quiet", f"--export-marks={marks}"], cwd=place, stdin=subprocess.PIPE
    )
    assert importer.stdin is not None
    made = write_history(importer.stdin, commits, random.Random(7))
    importer.stdin.close()
    assert importer.wait() == 0
    git(place, "branch", "-q", "-D", "landing")
    git(place, "pack-refs", "--all")  # as its own housekeeping leaves it
    pairs = (line.split() for line in marks.read_text().splitlines())
    return made, {int(mark[1:]): commit for mark, commit in pairs}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What the bench knows of a memory: whether main has its work, its file, whether it may be told unasked."""

    word: str
    merged: bool
    file: int
    trusted: bool


def source_of(number: int) -> str:
    """A file with a constant and functions."""
    lines = [f"LIMIT_{number} = {number}\n"]
    lines += [f"def handle_{number}_{one}(value):\n    return value + {one}\n" for one in range(FUNCTIONS)]
    return "\n\n".join(lines)


def write_files(repo: Path, files: int) -> None:
    """The working tree that claims are about."""
    (repo / "pkg").mkdir()
    for number in range(files):
        (repo / "pkg" / f"mod_{number}.py").write_text(source_of(number))


def drafts_of(
    made: Sequence[Made], ids: dict[int, str], files: int, count: int
) -> tuple[list[Draft], list[Fact]]:
    """Memories made before a commit each, about a file each, and what is true of them."""
    rng = random.Random(11)
    first = next(n for n, one in enumerate(made, start=1) if one.parent)
    drafts, facts = [], []
    for number in range(count):
        low = max(first, len(made) - RECENT) if rng.random() < 0.7 else first
        mark = rng.randint(low, len(made))
        while not made[mark - 1].parent:
            mark = rng.randint(low, len(made))
        one, file = made[mark - 1], rng.randrange(files)
        fact = Fact(
            word=f"number{number}", merged=one.merged, file=file, trusted=number % UNTRUSTED_EACH != 0
        )
        text = (
            f"{' '.join(rng.sample(WORDS, 4))} {fact.word} decided for change {mark}: "
            f"`handle_{file}_{number % FUNCTIONS}` in pkg/mod_{file}.py, LIMIT_{file} is {file}"
        )
        facts.append(fact)
        drafts.append(
            Draft(
                text=text, title=text[:60], kind="decision", branch=one.branch, commit=ids[one.parent],
                occurred_at=datetime.fromtimestamp(one.at_s - 30, UTC), paths=(f"pkg/mod_{file}.py",),
                trust=None if fact.trusted else UNTRUSTED,
            )
        )  # fmt: skip
    return drafts, facts


async def fill(service: MemoryService, drafts: Sequence[Draft]) -> None:
    """Stores the memories."""
    _, workspace = await service._workspaces.at(service._channel.folder)
    now_us = time.time_ns() // 1000
    for start in range(0, len(drafts), 1_000):
        part = [
            writes.NewMemory(id=new_id(), workspace=workspace, draft=draft, now_us=now_us)
            for draft in drafts[start : start + 1_000]
        ]
        await service._store.write(lambda db, part=part: [writes.add_memory(db, new) for new in part])


def git(place: Path, *arguments: str) -> str:
    """What a command of git prints."""
    argv = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", *arguments]
    return subprocess.run(argv, cwd=place, check=True, capture_output=True, text=True).stdout.strip()


def cpu_us(call: Callable[[], Any]) -> tuple[float, Any]:
    """Processor time of this thread for a call, and what it gave."""
    started = time.thread_time_ns()
    answer = call()
    return (time.thread_time_ns() - started) / 1_000, answer


def compare(
    reader: Reader, service: MemoryService, asker: Any, queries: Sequence[Query]
) -> dict[str, list[float]]:
    """Microseconds of the same questions by what is checked, in turns."""
    recaller = service._recaller
    checking = recaller.gate
    commits, claims = checking._checks
    ways = [
        ("none", Gate(()), None),
        ("git", Gate((commits,)), None),
        ("claims", Gate((claims,)), None),
        ("trust", Gate(()), TOLD_UNASKED),
        ("all", checking, TOLD_UNASKED),
    ]
    times: dict[str, list[float]] = {name: [] for name, _, _ in ways}
    for number, query in enumerate(queries):
        turn = number % len(ways)
        for name, gate, where in ways[turn:] + ways[:turn]:
            recaller.gate = gate
            asked = replace(query, filter=both(query.filter, where)) if where else query
            used, _ = cpu_us(partial(recaller.answer, reader, asked, asker if gate._checks else None))
            times[name].append(used)
    recaller.gate = checking
    return times


async def right(
    service: MemoryService, facts: Sequence[Fact], changed: set[int]
) -> list[tuple[str, int, int]]:
    """How many memories asked for by their number were shown or withheld, marked and told as they should be."""
    rng = random.Random(3)
    unmerged = [fact for fact in facts if not fact.merged]
    asked = rng.sample(facts, ASKED) + rng.sample(unmerged, min(ASKED, len(unmerged)))
    shown = marked = told = 0
    for fact in asked:
        found = _hit_of(await service.recall(fact.word, limit=1), fact.word)
        shown += (found is not None) == fact.merged
        marked += found is None or (found.state == "drifted") == (fact.file in changed)
        unasked = _hit_of(await service.recall(fact.word, limit=1, filter=TOLD_UNASKED), fact.word)
        told += (unasked is not None) == (fact.merged and fact.trusted)
    return [
        ("shown or withheld as the history says", shown, len(asked)),
        ("marked as the files are", marked, len(asked)),
        ("told unasked where merged and trusted", told, len(asked)),
    ]


def _hit_of(recall: Any, word: str) -> Any:
    return next((hit for hit in recall.hits if word in hit.memory.text.split()), None)


def graph_figures(repo: Path, file: Path, commits: int) -> list[Figure]:
    """Reading the graph of a repository for the first time, and again from its file."""
    tip = git(repo, "rev-parse", "main")
    history = History(str(repo / ".git"), file)
    built_us, _ = cpu_us(lambda: history.find(tip, Deadline(None)))
    history.save()
    history.close()
    loaded_us, again = cpu_us(lambda: History(str(repo / ".git"), file))
    assert len(again) == len(history)
    return [
        at_most("graph, read at first, processor time", built_us / 1e6, "s", 5.0),
        at_most("graph, from its file, processor time", loaded_us / 1e3, "ms", 50.0),
        at_most("bytes a commit on disk", file.stat().st_size / commits, "bytes", 48.0),
    ]


def added_figures(times: dict[str, list[float]]) -> list[Figure]:
    """What each check adds, and all of them."""
    plain = summary(times["none"])
    figures = []
    for name in ("git", "claims", "trust", "all"):
        label = "all checks" if name == "all" else name
        checked = summary(times[name])
        added = summary([one - other for one, other in zip(times[name], times["none"], strict=True)])
        p95 = f"{label}: recall p95, processor time"
        figures += [
            against(
                f"{label}: recall p50, processor time",
                checked.median / 1e3,
                "ms",
                "without",
                plain.median / 1e3,
            ),
            against(p95, checked.p95 / 1e3, "ms", "without", plain.p95 / 1e3),
            at_most(f"{label}: added to the p95", (checked.p95 - plain.p95) / 1e3, "ms", ADDED_MS_MAX),
            at_most(f"{label}: added, p95 of the differences", added.p95 / 1e3, "ms", ADDED_MS_MAX),
        ]
    return figures


async def settled(service: MemoryService, asker: Any, count: int) -> list[Figure]:
    """What is found out in the background before the first answers are whole."""
    commits, claims = service._recaller.gate._checks
    keys = list(range(1, count + 1))
    places = await service._store.read(lambda reader: commits.places(reader, asker, keys))
    git_us, _ = await asyncio.to_thread(cpu_us, lambda: commits.settle(asker, places))
    claims_us, _ = await service._store.read(
        lambda reader: cpu_us(lambda: claims.settle(reader, asker, keys))
    )
    return [
        Figure(what="work of all memories found in git, in the background", ours=git_us / 1e3, unit="ms"),
        Figure(
            what="all claims checked for the first time, in the background", ours=claims_us / 1e3, unit="ms"
        ),
    ]


async def measure(place: Path, given: Any) -> tuple[list[Figure], dict[str, Any]]:
    repo = place / "repo"
    made, ids = await asyncio.to_thread(build, repo, given.commits)
    write_files(repo, given.files)
    drafts, facts = drafts_of(made, ids, given.files, given.memories)
    before = resident_mb(os.getpid())
    figures = graph_figures(repo, place / "graph", len(made))
    async with retain.open(place / "home", folder=repo, recall_confidence=0, drain=False) as service:
        await fill(service, drafts)
        derived_us = time.process_time()
        await service.claims.catch_up()
        derived_us = (time.process_time() - derived_us) * 1e6
        await service.recall("cache queue")  # the store counts its words
        rng = random.Random(5)
        queries = [
            recalling.effective(await service._query(" ".join(rng.sample(WORDS, 3)), None, 10, None))
            for _ in range(given.queries)
        ]
        asker = await service._asker()

        async def once(query: Query) -> float:
            now = await service._asker()
            used, _ = await service._store.read(
                lambda reader: cpu_us(lambda: service._recaller.answer(reader, query, now))
            )
            return used / 1e3

        first_ms = await once(queries[0])
        figures += await settled(service, asker, given.memories)
        times = await service._store.read(lambda reader: compare(reader, service, asker, queries))
        looks = [cpu_us(lambda: service._commits.asker(asker.workspace, asker.root))[0] for _ in range(200)]
        git(repo, "commit", "-q", "--allow-empty", "-m", "one more")
        moved_ms = await once(queries[1])
        changed = set(rng.sample(range(given.files), given.files // 4))
        for number in changed:
            (repo / "pkg" / f"mod_{number}.py").write_text(
                source_of(number).replace(f"= {number}\n", "= -1\n")
            )
        edited_ms = await once(queries[2])
        judged = await right(service, facts, changed)
    figures += added_figures(times)
    figures += [
        at_most("looking at head and branches, p95", summary(looks).p95, "us", 1_000),
        at_most("first recall after a commit, processor time", moved_ms, "ms", 50.0),
        Figure(what="first recall of a process, bounded", ours=first_ms, unit="ms"),
        Figure(what="first recall after a quarter of the files changed", ours=edited_ms, unit="ms"),
        Figure(what="claims derived, a memory", ours=derived_us / given.memories, unit="us"),
        Figure(what="RSS gained", ours=resident_mb(os.getpid()) - before, unit="MB"),
        *(right_answers(what, good, asked) for what, good, asked in judged),
    ]
    details = {f"{name}_us": asdict(summary(each)) for name, each in times.items()}
    return figures, details | {"commits": len(made), "memories": given.memories}


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--commits", type=int, default=100_000)
    parser.add_argument("--memories", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--queries", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="retain-gates-") as place:
        figures, details = asyncio.run(measure(Path(place), given))
    return publish(figures, details, given.json)


if __name__ == "__main__":
    sys.exit(main())
