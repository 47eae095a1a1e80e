"""Sets of queries with their answers, as the referee writes them, and a store that is filled as they ask for it.

A set is a directory with ``corpus``, ``queries`` and ``qrels``, each ``.jsonl.gz``: records with id, text and time
(or date), queries with id, text, split (tune or test), category and, where only earlier records may be searched,
``ord``; pairs of query and record with a gain.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

FIRST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record, and when it happened: each a second later than the one before, at the least."""

    id: str
    text: str
    at: datetime
    order: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One query with the gains of its answers; ``order`` is that of the first record it must not see."""

    text: str
    split: str
    category: str
    gains: dict[str, int]
    order: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QualitySet:
    """Records in order of time, and queries in the order of what they may see."""

    name: str
    records: list[Record]
    queries: list[Asked]


def read_set(folder: Path) -> QualitySet:
    """Reads a set from its directory."""
    records: list[Record] = []
    for number, row in enumerate(_rows(folder, "corpus")):
        at = datetime.fromisoformat(row.get("time") or row["date"])
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        if records and at <= records[-1].at:
            at = records[-1].at + timedelta(seconds=1)
        records.append(Record(id=row["id"], text=row["text"], at=at, order=row.get("ord", number)))
    gains: dict[str, dict[str, int]] = {}
    for row in _rows(folder, "qrels"):
        gains.setdefault(row["qid"], {})[row["docid"]] = row["rel"]
    earlier = folder.name.endswith("files")
    queries = [
        Asked(
            text=row["text"],
            split=row["split"],
            category=row["cat"],
            gains=gains.get(row["id"], {}),
            order=row["ord"] if earlier else None,
        )
        for row in _rows(folder, "queries")
    ]
    queries.sort(key=lambda query: math.inf if query.order is None else query.order)
    return QualitySet(name=folder.name, records=records, queries=queries)


def _rows(folder: Path, name: str) -> list[dict[str, Any]]:
    with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def recall_at(found: Sequence[str], gains: dict[str, int]) -> float:
    """Share of the answers among the first ten."""
    return sum(one in gains for one in found[:FIRST]) / len(gains)


def ndcg_at(found: Sequence[str], gains: dict[str, int]) -> float:
    """nDCG of the first ten, with gains of 2**gain - 1."""
    got = sum((2 ** gains.get(one, 0) - 1) / math.log2(place + 2) for place, one in enumerate(found[:FIRST]))
    ideal = sorted(gains.values(), reverse=True)[:FIRST]
    return got / sum((2**gain - 1) / math.log2(place + 2) for place, gain in enumerate(ideal))
