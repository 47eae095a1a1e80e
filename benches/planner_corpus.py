"""The store and the queries of ``planner.py``: real texts, seeded fields, filters of known selectivity."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw

from corpora import Commit, content_words
from retain.model import KINDS, Draft, Query, from_us, new_id
from retain.retrieval.filters import parse_filter
from retain.storage import migrations, writes
from retain.storage.connection import connect

NOW_US = 1_795_000_000_000_000
MINUTE_US = 60_000_000
WORKSPACES = 5
FOLDERS = 40
SESSIONS = 400
SHARES = {"half": 0.5, "twentieth": 0.05, "rare": 0.005, "rarest": 0.000_5}
"""Tags, each on this share of the memories."""

LATE = 0.03
"""Share of the memories that are stored long after they happened: their key says nothing of their time."""


def build(path: Path, records: Sequence[Commit], memories: int, seed: int = 7) -> list[str]:
    """Fills a new store; returns the ids of its workspaces."""
    path.touch()
    db = connect(path, writable=True)
    db.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF")
    rng = random.Random(seed)
    with db:
        migrations.migrate(db)
        spaces = [_workspace(db, number) for number in range(WORKSPACES)]
    drafts = _drafts(records, rng)
    for start in range(0, memories, 5_000):
        with db:
            for number in range(start, min(start + 5_000, memories)):
                key = rng.choices(spaces, weights=(50, 25, 15, 8, 2))[0][1]
                now_us = NOW_US + number * MINUTE_US
                if rng.random() < LATE:
                    now_us -= rng.randrange(memories) * MINUTE_US
                new = writes.NewMemory(id=new_id(), workspace=key, draft=next(drafts), now_us=now_us)
                writes.add_memory(db, new)
    with db:
        db.execute("UPDATE memory SET status = 'superseded' WHERE key % 13 = 5")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return [workspace for workspace, _ in spaces]


def _workspace(db: apsw.Connection, number: int) -> tuple[str, int]:
    name, found = f"w{number}", new_id()
    key = writes.add_workspace(
        db, workspace_id=found, identity=name, name=name, root=f"/{name}", alias=f"/{name}", now_us=0
    )
    return found, key


def _drafts(records: Sequence[Commit], rng: random.Random) -> Iterator[Draft]:
    """The records again and again; from the second time on with words of another record mixed in."""
    kinds = list(KINDS)
    for number in itertools.count():
        record = records[number % len(records)]
        text = record.text
        if number >= len(records):
            other = content_words(rng.choice(records).text)
            text = f"{text}\n{' '.join(rng.sample(other, min(8, len(other))))} v{number}"
        folder = min(int(rng.expovariate(0.12)), FOLDERS - 1)
        yield Draft(
            text=text,
            title=record.subject,
            kind=rng.choices(kinds, weights=[1 / (i + 1) for i in range(len(kinds))])[0],
            paths=tuple(f"src/part{folder}/file{rng.randrange(200)}.py" for _ in range(rng.randrange(3))),
            tags=tuple(tag for tag, share in SHARES.items() if rng.random() < share),
            branch="main" if rng.random() < 0.6 else f"feat/{rng.randrange(30)}",
            session=f"s{rng.randrange(SESSIONS)}",
        )


def queries(
    records: Sequence[Commit], spaces: Sequence[str], memories: int, count: int, seed: int = 11
) -> list[Query]:
    """Mixed queries: rare and common words or none, filters of every selectivity, trees, globs, times."""
    rng = random.Random(seed)
    uses = Counter(word.lower() for record in records for word in content_words(record.text))
    ranked = [word for word, _ in uses.most_common()]
    bands = (ranked[:60], ranked[60:600], ranked[600:6_000], ranked[6_000:] or ranked[600:])
    found = []
    for _ in range(count):
        words = rng.choice((0, 1, 2, 3, 5, 8))
        band = rng.choice(bands)
        mixed = [rng.choice(band if rng.random() < 0.7 else rng.choice(bands)) for _ in range(words)]
        tree = _tree(rng, memories)
        found.append(
            Query(
                text=" ".join(mixed),
                filter=parse_filter(tree) if tree or words == 0 else None,
                workspace=rng.choice(spaces) if rng.random() < 0.7 else None,
                limit=rng.choice((5, 10, 10, 20)),
            )
        )
    return found


def _tree(rng: random.Random, memories: int) -> dict[str, Any]:
    shape = rng.random()
    if shape < 0.15:
        return {}
    if shape < 0.6:
        return _leaf(rng, memories)
    if shape < 0.8:
        return _leaf(rng, memories) | _leaf(rng, memories)
    if shape < 0.9:
        return {"or": [_leaf(rng, memories) for _ in range(rng.randrange(2, 4))]}
    return _leaf(rng, memories) | {"not": _leaf(rng, memories)}


def _leaf(rng: random.Random, memories: int) -> dict[str, Any]:
    folder = rng.randrange(FOLDERS)
    share = rng.choice(tuple(SHARES.values()))
    since = rng.random() * (1 - share)
    return rng.choice(
        (
            {"tag": rng.choice(tuple(SHARES))},
            {"tag": rng.choice(tuple(SHARES))},
            {"kind": rng.sample(tuple(KINDS), rng.randrange(1, 4))},
            {"branch": rng.choice(("main", f"feat/{rng.randrange(30)}", "feat/1*"))},
            {"session": f"s{rng.randrange(SESSIONS)}"},
            {"path": rng.choice((f"src/part{folder}/", f"src/part{folder}/file{rng.randrange(200)}.py"))},
            {
                "path": rng.choice(
                    ("*7.py", f"src/*/file{rng.randrange(200)}.py", f"file{rng.randrange(200)}.py")
                )
            },
            {"since": _moment(memories, 1 - share)},
            {"since": _moment(memories, since), "until": _moment(memories, since + share)},
        )
    )


def _moment(memories: int, share: float) -> str:
    return from_us(NOW_US + int(share * memories) * MINUTE_US).isoformat()
