"""What checking claims adds to a recall: 10,000 memories with claims over 500 files, warm, cold and after an edit.

    python benches/claims_gate.py [--memories 10000] [--files 500] [--queries 300] [--json FILE]

The same questions go to the same service with the check and without, in turns, on one reader; times are those of the
thread's processor. Every answer with the check must show the state that the files really have.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import retain
from git_gate import WORDS, cpu_us
from measuring import Figure, against, arguments, at_most, publish, summary
from measuring import right as right_answers
from retain.memory import recalling
from retain.memory.truth import Gate
from retain.model import Draft, new_id
from retain.storage import writes
from retain.storage.reads import Reader

FUNCTIONS = 20


def body(number: int) -> str:
    lines = [f"LIMIT_{number} = {number}\n"]
    lines += [f"def handle_{number}_{one}(value):\n    return value + {one}\n" for one in range(FUNCTIONS)]
    return "\n\n".join(lines)


async def fill(service: Any, files: int, count: int) -> list[int]:
    """Stores notes about files; the number of the file of each, by the key of the memory."""
    rng = random.Random(11)
    _, workspace = await service._workspaces.at(service._channel.folder)
    about = [rng.randrange(files) for _ in range(count)]
    drafts = []
    for number, file in enumerate(about):
        words = " ".join(rng.sample(WORDS, 4))
        text = (
            f"{words} number{number}: `handle_{file}_{number % FUNCTIONS}` in pkg/mod_{file}.py, "
            f"LIMIT_{file} is {file}"
        )
        drafts.append(Draft(text=text, title=text[:60], paths=(f"pkg/mod_{file}.py",), kind="note"))
    now_us = time.time_ns() // 1000
    for start in range(0, count, 1_000):
        news = [
            writes.NewMemory(id=new_id(), workspace=workspace, draft=draft, now_us=now_us)
            for draft in drafts[start : start + 1_000]
        ]
        await service._store.write(lambda db, news=news: [writes.add_memory(db, new) for new in news])
    return about


def compare(
    reader: Reader, service: Any, asker: Any, queries: list[Any], gates: list[Gate]
) -> list[list[float]]:
    times: list[list[float]] = [[], []]
    for number, query in enumerate(queries):
        for which in (0, 1) if number % 2 else (1, 0):
            service._recaller.gate = gates[which]
            used, _ = cpu_us(partial(service._recaller.answer, reader, query, asker))
            times[which].append(used)
    return times


def make(repo: Path, files: int) -> None:
    (repo / "pkg").mkdir(parents=True)
    for number in range(files):
        (repo / "pkg" / f"mod_{number}.py").write_text(body(number))
    named = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], [*named, "commit", "-q", "-m", "root"]):
        subprocess.run(["git", *command], cwd=repo, check=True)


async def measure(place: Path, given: Any) -> tuple[list[Figure], dict[str, Any]]:
    repo = place / "repo"
    make(repo, given.files)
    async with retain.open(place / "home", folder=repo, recall_confidence=0) as service:
        about = await fill(service, given.files, given.memories)
        derived_us = time.process_time()
        await service.claims.catch_up()
        derived_us = (time.process_time() - derived_us) * 1e6
        rng = random.Random(5)
        queries = [
            recalling.effective(await service._query(" ".join(rng.sample(WORDS, 3)), None, 10, None))
            for _ in range(given.queries)
        ]
        asker = await service._asker()
        both = service._recaller.gate
        check = both._checks[1]
        gates = [Gate(both._checks[:1]), both]
        cold_us, _ = await service._store.read(
            lambda reader: cpu_us(lambda: service._recaller.answer(reader, queries[0], asker))
        )
        keys = list(range(1, given.memories + 1))
        settled_us, _ = await service._store.read(lambda r: cpu_us(lambda: check.settle(r, asker, keys)))
        plain, gated = await service._store.read(lambda r: compare(r, service, asker, queries, gates))
        service._recaller.gate = both
        changed = set(rng.sample(range(given.files), given.files // 4))
        for number in changed:
            (repo / "pkg" / f"mod_{number}.py").write_text(body(number).replace(f"= {number}\n", "= -1\n"))
        edited_us, _ = await service._store.read(
            lambda r: cpu_us(lambda: service._recaller.answer(r, queries[1], asker))
        )
        asked = rng.sample(range(given.memories), 100)
        good = 0
        for number in asked:
            recall = await service.recall(f"number{number}", limit=1)
            state = next((hit.state for hit in recall.hits if f"number{number}:" in hit.memory.text), "")
            good += state == ("drifted" if about[number] in changed else "fresh")
    one, other = summary(plain), summary(gated)
    added = summary([with_check - without for with_check, without in zip(gated, plain, strict=True)])
    figures = [
        against(
            "recall with claims, p50, processor time", other.median / 1e3, "ms", "without", one.median / 1e3
        ),
        against("recall with claims, p95, processor time", other.p95 / 1e3, "ms", "without", one.p95 / 1e3),
        at_most("added to the p95 of a recall, warm", (other.p95 - one.p95) / 1e3, "ms", 5.0),
        at_most("added to a recall, p95 of the differences", added.p95 / 1e3, "ms", 5.0),
        Figure(what="first recall of a process, with all that follows", ours=cold_us / 1e3, unit="ms"),
        Figure(what="recall after a quarter of the files changed", ours=edited_us / 1e3, unit="ms"),
        Figure(what="all claims checked for the first time", ours=settled_us / 1e3, unit="ms"),
        Figure(what="claims derived, a memory", ours=derived_us / given.memories, unit="us"),
        right_answers("marked as the files are", good, len(asked)),
    ]
    return figures, {"plain_us": asdict(one), "gated_us": asdict(other), "added_us": asdict(added)}


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--memories", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--queries", type=int, default=300)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="retain-claims-") as place:
        figures, details = asyncio.run(measure(Path(place), given))
    return publish(figures, details, given.json)


if __name__ == "__main__":
    sys.exit(main())
