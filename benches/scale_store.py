"""Large stores for ``scale.py``: filled through the public path, their vectors made, and kept for the next run.

The memory with a number carries a tag, a kind, a path and a time that follow from it, so that a filter of a known
share can be built, and each hit be checked, without asking the store.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw

import retain
from corpora import Commit
from retain.config import read_settings
from retain.memory.embedding import Embedding
from retain.retrieval.models import open_model
from retain.storage.sqlite import SqliteStore

BATCH = 10_000
SHARES = (0.5, 0.05, 0.005)
FIELDS = ("tag", "kind", "path", "time")
KINDS = {0.5: "note", 0.05: "decision", 0.005: "fix", 0.0: "commit"}
NAMES = {0.5: "half", 0.05: "twentieth", 0.005: "rare", 0.0: "other"}
START = datetime(2010, 1, 1, tzinfo=UTC)
STEP = timedelta(minutes=7)
SALTS = {"tag": 0x9E3779B1, "kind": 0x85EBCA6B, "path": 0xC2B2AE35}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A filled store.

    Attributes:
        home: data directory of retain.
        folder: the project.
        plain: a database with a plain FTS5 table of the same texts.
        ids: the ids of the memories, in the order of their numbers.
        took: seconds, by step; those of the run that filled it.
    """

    home: Path
    folder: Path
    plain: Path
    ids: Sequence[str]
    took: dict[str, float]


def share_of(number: int, field: str) -> float:
    """Which of ``SHARES`` a memory belongs to in a field; 0 for those in none."""
    place = ((number + 1) * SALTS[field] >> 7) % 200
    return 0.005 if place == 0 else 0.05 if place <= 10 else 0.5 if place <= 110 else 0.0


def fields_of(number: int) -> dict[str, Any]:
    """Kind, tag, path and time of a memory."""
    return {
        "kind": KINDS[share_of(number, "kind")],
        "tags": [NAMES[share_of(number, "tag")]],
        "paths": [f"src/{NAMES[share_of(number, 'path')]}/module{number % 997}.py"],
        "occurred_at": START + number * STEP,
    }


def window(number: int, share: float, total: int) -> tuple[int, int]:
    """Numbers from and to (excluded) whose times make up a share of the store, one number among them."""
    width = max(1, round(share * total))
    low = min(max(0, number - width // 2), total - width)
    return low, low + width


def fits(number: int, wanted: int, field: str, share: float, total: int) -> bool:
    """Whether a memory fits the filter that was built for another."""
    if field == "time":
        low, high = window(wanted, share, total)
        return low <= number < high
    return share_of(number, field) == share


def filter_of(number: int, field: str, share: float, total: int) -> dict[str, Any]:
    """A filter of this share; by time, one that the memory with this number fits."""
    if field == "time":
        low, high = window(number, share, total)
        return {"since": (START + low * STEP).isoformat(), "until": (START + high * STEP).isoformat()}
    if field == "path":
        return {"path": f"src/{NAMES[share]}/**"}
    return {"kind": KINDS[share]} if field == "kind" else {"tag": NAMES[share]}


def kept(place: Path, records: Callable[[], Sequence[Commit]]) -> Kept:
    """The store at a place, filled first where it is not there yet.

    Args:
        place: its folder.
        records: gives the texts; called only where they are needed.
    """
    home, folder, plain, note = (place / name for name in ("home", "project", "plain.db", "filled.json"))
    if not note.exists():
        folder.mkdir(parents=True, exist_ok=True)
        texts, took = records(), {}
        for name, step in (
            ("fill", lambda: asyncio.run(_fill(home, folder, texts))),
            ("vectors", lambda: asyncio.run(_embed(home))),
            ("plain", lambda: _plain(plain, texts)),
        ):
            started = time.perf_counter()
            found = step()
            took[name] = time.perf_counter() - started
            print(f"{len(texts):,} memories: {name} took {took[name]:.1f} s", file=sys.stderr, flush=True)
            if name == "fill":
                (place / "ids.json").write_text(json.dumps(found), encoding="utf-8")
        note.write_text(json.dumps(took), encoding="utf-8")
    return Kept(
        home=home, folder=folder, plain=plain, took=json.loads(note.read_text(encoding="utf-8")),
        ids=json.loads((place / "ids.json").read_text(encoding="utf-8")),
    )  # fmt: skip


async def _fill(home: Path, folder: Path, records: Sequence[Commit]) -> list[str]:
    ids: list[str] = []
    async with retain.open(home, folder=folder) as memory:
        for start in range(0, len(records), BATCH):
            items = [
                {"text": record.text, **fields_of(number)}
                for number, record in enumerate(records[start : start + BATCH], start)
            ]
            ids += [stored.id for stored in await memory.remember_many(items)]
    return ids


async def _embed(home: Path) -> int:
    """What a live server does in the background, until it is done."""
    settings, _ = read_settings(home, {})
    store = await SqliteStore.open(settings)
    embedding = Embedding(settings, store, lambda: open_model(settings))
    try:
        return await embedding.run()
    finally:
        await embedding.close()
        await store.close()


def _plain(path: Path, records: Sequence[Commit]) -> None:
    db = apsw.Connection(str(path))
    db.execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
    db.execute("CREATE VIRTUAL TABLE t USING fts5(text, tokenize = 'porter', content = '')")
    with db:
        db.executemany(
            "INSERT INTO t (rowid, text) VALUES (?, ?)", ((i, r.text) for i, r in enumerate(records))
        )
    db.close()
