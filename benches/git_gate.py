"""What asking git before an answer costs, on a repository of 100,000 commits: cold, warm, and after a commit.

    python benches/git_gate.py [--commits 100000] [--memories 10000] [--queries 300] [--json FILE]

The repository is made by ``git fast-import`` from a seed: one line with merged branches of one to six commits, and one
in ten branches that never was. Memories are spread over its commits, most of them over the newest thousand. The same
questions go to the same service with the gate and without, one after the other, on one reader; times are those of the
thread's processor, since a busy machine says little by the clock. What was withheld is compared with what was merged.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
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
from retain.model import Draft, Query, new_id
from retain.storage import writes
from retain.storage.reads import Reader

EPOCH_S = 1_600_000_000
RECENT = 1_000
BRANCHES_KEPT = 40
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


async def fill(service: MemoryService, made: list[Made], ids: dict[int, str], count: int) -> dict[str, int]:
    """Stores memories made before a commit each; returns the mark of the commit behind each text's number."""
    rng = random.Random(11)
    _, workspace = await service._workspaces.at(service._channel.folder)
    behind: dict[str, int] = {}
    drafts = []
    first = next(n for n, one in enumerate(made, start=1) if one.parent)
    for number in range(count):
        low = max(first, len(made) - RECENT) if rng.random() < 0.7 else first
        mark = rng.randint(low, len(made))
        while not made[mark - 1].parent:
            mark = rng.randint(low, len(made))
        one = made[mark - 1]
        text = f"{' '.join(rng.sample(WORDS, 4))} number{number} decided for change {mark}"
        behind[f"number{number}"] = mark
        drafts.append(
            Draft(
                text=text, title=text, kind="decision", branch=one.branch, commit=ids[one.parent],
                occurred_at=datetime.fromtimestamp(one.at_s - 30, UTC),
            )
        )  # fmt: skip
    now_us = time.time_ns() // 1000
    for start in range(0, count, 1_000):
        part = [
            writes.NewMemory(id=new_id(), workspace=workspace, draft=draft, now_us=now_us)
            for draft in drafts[start : start + 1_000]
        ]
        await service._store.write(lambda db, part=part: [writes.add_memory(db, new) for new in part])
    return behind


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
    reader: Reader, service: MemoryService, asker: Any, queries: list[Query]
) -> tuple[list[float], list[float]]:
    """Times of the same questions without the gate and with it, in turns."""
    recaller = service._recaller
    plain: list[float] = []
    gated: list[float] = []
    for number, query in enumerate(queries):
        both = [(plain, None), (gated, asker)]
        for times, who in both if number % 2 else reversed(both):
            used, _ = cpu_us(partial(recaller.answer, reader, query, who))
            times.append(used)
    return plain, gated


async def right(service: MemoryService, made: list[Made], behind: dict[str, int]) -> tuple[int, int]:
    """How many of the memories asked for by their own number were shown or withheld as the history says."""
    rng = random.Random(3)
    unmerged = [word for word, mark in behind.items() if not made[mark - 1].merged]
    asked = rng.sample(sorted(behind), 60) + rng.sample(unmerged, min(60, len(unmerged)))
    good = 0
    for word in asked:
        recall = await service.recall(word, limit=1)
        shown = any(word in hit.memory.text.split() for hit in recall.hits)
        good += shown == made[behind[word] - 1].merged
    return good, len(asked)


async def measure(place: Path, given: Any) -> tuple[list[Figure], dict[str, Any]]:
    made, ids = await asyncio.to_thread(build, place / "repo", given.commits)
    figures: list[Figure] = []
    details: dict[str, Any] = {"commits": len(made), "memories": given.memories}
    file = place / "graph"
    tip = git(place / "repo", "rev-parse", "main")
    before = resident_mb(os.getpid())
    history = History(str(place / "repo/.git"), file)
    built_us, _ = cpu_us(lambda: history.find(tip, Deadline(None)))
    history.save()
    history.close()
    details["graph_bytes"] = file.stat().st_size
    loaded_us, again = cpu_us(lambda: History(str(place / "repo/.git"), file))
    figures.append(at_most("graph, read at first, processor time", built_us / 1e6, "s", 5.0))
    figures.append(at_most("graph, from its file, processor time", loaded_us / 1e3, "ms", 50.0))
    figures.append(at_most("bytes a commit on disk", details["graph_bytes"] / len(made), "bytes", 48.0))
    assert len(again) == len(history)
    async with retain.open(
        place / "home", folder=place / "repo", recall_confidence=0, drain=False
    ) as service:
        behind = await fill(service, made, ids, given.memories)
        await service.recall("cache queue")  # the store counts its words
        rng = random.Random(5)
        queries = [
            recalling.effective(await service._query(" ".join(rng.sample(WORDS, 3)), None, 10, None))
            for _ in range(given.queries)
        ]
        asker = await service._asker()
        first_us, _ = await service._store.read(
            lambda reader: cpu_us(lambda: service._recaller.answer(reader, queries[0], asker))
        )
        keys = await service._store.read(lambda reader: list(range(1, reader.total() + 1)))
        places = await service._store.read(lambda reader: service._commits.places(reader, asker, keys))
        settled_us, _ = await asyncio.to_thread(cpu_us, lambda: service._commits.settle(asker, places))
        plain, gated = await service._store.read(lambda reader: compare(reader, service, asker, queries))
        looks = [cpu_us(lambda: service._commits.asker(asker.workspace, asker.root))[0] for _ in range(200)]
        good, asked = await right(service, made, behind)
        git(place / "repo", "commit", "-q", "--allow-empty", "-m", "one more")
        moved = await service._asker()
        moved_us, answer = await service._store.read(
            lambda reader: cpu_us(lambda: service._recaller.answer(reader, queries[1], moved))
        )
    one, other = summary(plain), summary(gated)
    added = [with_gate - without for with_gate, without in zip(gated, plain, strict=True)]
    details |= {"plain_us": asdict(one), "gated_us": asdict(other), "added_us": asdict(summary(added))}
    details |= {
        "first_us": first_us,
        "settled_us": settled_us,
        "moved_us": moved_us,
        "moved_whole": answer.whole,
    }
    figures += [
        against(
            "recall with the gate, p50, processor time", other.median / 1e3, "ms", "without", one.median / 1e3
        ),
        against("recall with the gate, p95, processor time", other.p95 / 1e3, "ms", "without", one.p95 / 1e3),
        at_most("added to the p95 of a recall, warm", (other.p95 - one.p95) / 1e3, "ms", 5.0),
        at_most("added to a recall, p95 of the differences", summary(added).p95 / 1e3, "ms", 5.0),
        at_most("looking at head and branches, p95", summary(looks).p95, "us", 1_000),
        at_most("first recall after a commit, processor time", moved_us / 1e3, "ms", 50.0),
        Figure(what="first recall of a process, bounded", ours=first_us / 1e3, unit="ms"),
        Figure(what="all memories settled in the background", ours=settled_us / 1e3, unit="ms"),
        Figure(what="RSS gained", ours=resident_mb(os.getpid()) - before, unit="MB"),
        right_answers("shown or withheld as the history says", good, asked),
    ]
    return figures, details


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--commits", type=int, default=100_000)
    parser.add_argument("--memories", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=300)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="retain-git-") as place:
        figures, details = asyncio.run(measure(Path(place), given))
    return publish(figures, details, given.json)


if __name__ == "__main__":
    sys.exit(main())
