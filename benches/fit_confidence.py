"""Fits the confidence gate on the tuning splits of some histories and judges it on the test splits of others.

    python benches/fit_confidence.py --sets DIR --fit NAME,NAME,... --judge NAME,NAME,... [--queries 250] [--model DIR]

DIR holds the referee's sets: ``NAME-files``, ``NAME-known`` and ``NAME-unanswerable``. Records of a *files* set are
stored one after the other and each query is asked when the records before it are there, so that no word of the
future is known. With ``--model`` the model of that folder serves, as ``retain[onnx]`` has it, and the constants are
those of answers that it took part in. Positive are queries with an answer among the first ten, negative those of
another repository. Prints the constants for retrieval/confidence.py, and for each threshold how much R@10 is lost
and how many of the queries without an answer are refused. Needs numpy.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

import retain
from quality_sets import Asked, QualitySet, Record, read_set, recall_at
from retain.config import read_settings
from retain.memory.embedding import Embedding
from retain.memory.service import MemoryService
from retain.retrieval.models import model_folder, open_model
from retain.storage.sqlite import SqliteStore

KINDS = ("files", "known", "unanswerable")
GROUPS = ("files", "known", "foreign", "unanswerable")
LOSSES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2)
REFUSED = 0.9
"""The share of the queries of other repositories for whose refusal the loss is told."""
L2 = 1e-2
STEPS = 1_000
FOR = frozenset("held pairs matched lead agreeing literal own fitting nearest shown".split())
AGAINST = frozenset("unknown absent".split())
"""Features that can only speak for an answer, and against one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a recall said of a query, and how well it did."""

    group: str
    split: str
    evidence: dict[str, float]
    confidence: float
    recall: float


async def ask_all(one: QualitySet, most: int, home: Path, model: Path | None) -> list[Seen]:
    """Asks up to ``most`` queries of a set."""
    chosen = {id(q) for q in random.Random(3).sample(one.queries, min(most, len(one.queries)))}
    stored: dict[str, str] = {}
    seen: list[Seen] = []
    async with (
        retain.open(home, folder=home, recall_confidence=0) as memory,
        embedding_with(model, home) as embed,
    ):
        given = 0
        for query in one.queries:
            if id(query) not in chosen:
                continue
            end = given
            while end < len(one.records) and (query.order is None or one.records[end].order < query.order):
                end += 1
            await _store(memory, one.records[given:end], stored)
            if end > given:
                await embed()
            given = end
            seen += [await _ask(memory, query, stored)]
    return [each for each in seen if each.evidence]


@asynccontextmanager
async def embedding_with(model: Path | None, home: Path) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """What gives new memories their vectors, as a live server does in the background; without a model nothing."""
    if model is None:
        yield partial(asyncio.sleep, 0)
        return
    settings = read_settings(home)[0]
    shutil.copytree(model, model_folder(settings))
    store = await SqliteStore.open(settings)
    embedding = Embedding(settings, store, partial(open_model, settings))
    try:
        yield embedding.run
    finally:
        await embedding.close()
        await store.close()


async def _store(memory: MemoryService, records: Sequence[Record], stored: dict[str, str]) -> None:
    for start in range(0, len(records), 1_000):
        part = records[start : start + 1_000]
        made = await memory.remember_many(
            [{"text": r.text, "source_id": r.id, "occurred_at": r.at} for r in part]
        )
        stored |= {m.id: r.id for m, r in zip(made, part, strict=True)}


async def _ask(memory: MemoryService, query: Asked, stored: dict[str, str]) -> Seen:
    told = await memory.explain(query.text)
    found = [stored[hit["id"]] for hit in told["hits"]]
    group = "known" if query.category == "answerable" else query.category
    return Seen(
        group=group,
        split=query.split,
        evidence=told["plan"]["truth"].get("evidence", {}),
        confidence=told["confidence"],
        recall=recall_at(found, query.gains) if query.gains else 0.0,
    )


def gather(sets: Path, names: Sequence[str], most: int, model: Path | None) -> list[Seen]:
    """Every query of the sets of these histories; the answerable ones of the third set are those of the second."""
    seen: list[Seen] = []
    for name in names:
        for kind in KINDS:
            if not (folder := sets / f"{name}-{kind}").is_dir():
                continue
            with tempfile.TemporaryDirectory() as home:
                found = asyncio.run(ask_all(read_set(folder), most, Path(home), model))
            seen += [one for one in found if kind != "unanswerable" or one.group != "known"]
            print(f"{folder.name}: {len(found)} queries", file=sys.stderr)
    return seen


def fit(seen: Sequence[Seen]) -> tuple[float, dict[str, float]]:
    """Intercept and coefficients of the most likely regression whose signs are sane; each group weighs the same.

    By projected gradients with momentum. Left free, features that say nearly the same get signs that fit by accident.
    """
    used = [one for one in seen if one.recall > 0 or one.group in GROUPS[2:]]
    names = list(used[0].evidence)
    x = np.array([[one.evidence[name] for name in names] for one in used])
    y = np.array([one.group in GROUPS[:2] for one in used], dtype=float)
    sizes = {group: sum(one.group == group for one in used) for group in GROUPS}
    weights = np.array([len(used) / len(GROUPS) / sizes[one.group] for one in used])
    mean, spread = x.mean(0), x.std(0) + 1e-9
    z = np.c_[np.ones(len(x)), (x - mean) / spread]
    low = np.array([-np.inf] + [0.0 if name in FOR else -np.inf for name in names])
    high = np.array([np.inf] + [0.0 if name in AGAINST else np.inf for name in names])
    steepest = np.linalg.norm(z * np.sqrt(weights)[:, None], 2) ** 2 / 4 + L2 * len(y)
    b = ahead = np.zeros(z.shape[1])
    for step in range(1, STEPS + 1):
        p = 1 / (1 + np.exp(-z @ ahead))
        slope = z.T @ (weights * (p - y)) + L2 * len(y) * np.r_[0, ahead[1:]]
        before, b = b, np.clip(ahead - slope / steepest, low, high)
        ahead = b + (step - 1) / (step + 2) * (b - before)
    coefficients = b[1:] / spread
    return float(b[0] - coefficients @ mean), dict(zip(names, map(float, coefficients), strict=True))


def confidence_of(one: Seen, intercept: float, coefficients: dict[str, float]) -> float:
    """The same as ``retrieval.confidence.probability`` with these constants, in a store of many memories."""
    value = intercept + sum(weight * one.evidence[name] for name, weight in coefficients.items())
    return max(1 / (1 + float(np.exp(-value))), 2 * one.evidence["held"] - 1)


def threshold_for(loss: float, seen: Sequence[Seen], sure: Sequence[float]) -> float:
    """The highest threshold that costs the answerable queries at most this share of their R@10."""
    pairs = sorted((p, one.recall) for p, one in zip(sure, seen, strict=True) if one.group in GROUPS[:2])
    allowed = loss * sum(recall for _, recall in pairs)
    lost = 0.0
    for p, recall in pairs:
        lost += recall
        if lost > allowed:
            return p
    return 1.0


def judged(seen: Sequence[Seen], sure: Sequence[float], threshold: float) -> str:
    """What a threshold does: R@10 lost a group, queries refused a group, precision and recall of the gate."""
    parts = []
    for group in GROUPS:
        pairs = [(p, one.recall) for p, one in zip(sure, seen, strict=True) if one.group == group]
        if group in GROUPS[:2]:
            lost = sum(recall for p, recall in pairs if p < threshold) / max(1e-9, sum(r for _, r in pairs))
            parts.append(f"{group} loses {lost:.3f}")
        else:
            parts.append(f"{group} refused {sum(p < threshold for p, _ in pairs) / max(1, len(pairs)):.3f}")
    refused = [one for p, one in zip(sure, seen, strict=True) if p < threshold]
    right = sum(one.group in GROUPS[2:] for one in refused)
    hopeless = sum(one.group in GROUPS[2:] or not one.recall for one in refused)
    strangers = sum(one.group in GROUPS[2:] for one in seen)
    parts.append(
        f"precision {right / max(1, len(refused)):.2f} ({hopeless / max(1, len(refused)):.2f} with misses)"
    )
    return ", ".join([*parts, f"recall {right / max(1, strangers):.2f}"])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=Path, required=True)
    parser.add_argument("--fit", required=True, help="histories whose tuning splits are fitted on")
    parser.add_argument("--judge", required=True, help="histories whose test splits judge")
    parser.add_argument("--queries", type=int, default=250, help="most queries of one set")
    parser.add_argument("--model", type=Path, help="folder with model.onnx and tokenizer.json")
    given = parser.parse_args()
    fitted = gather(given.sets, given.fit.split(","), given.queries, given.model)
    others = gather(given.sets, given.judge.split(","), given.queries, given.model)
    tune = [one for one in fitted if one.split == "tune"]
    intercept, coefficients = fit(tune)
    of = "MODEL_" if given.model else ""
    print(f"{of}INTERCEPT = {intercept:.3f}")
    print(f"{of}COEFFICIENTS: Mapping[str, float] = {{")
    for name, value in coefficients.items():
        print(f'    "{name}": {value:.3f},')
    print("}")
    splits = {
        "fitted on": tune,
        "same histories, test": [one for one in fitted if one.split == "test"],
        "other histories, test": [one for one in others if one.split == "test"],
    }
    sure = {
        name: [confidence_of(one, intercept, coefficients) for one in part] for name, part in splits.items()
    }
    for loss in LOSSES:
        threshold = threshold_for(loss, tune, sure["fitted on"])
        print(f"threshold {threshold:.3f}: R@10 of all answerable falls by {loss:.0%} where it was fitted")
        for name, part in splits.items():
            print(f"    {name}: {judged(part, sure[name], threshold)}")
    for name, part in splits.items():
        strangers = sorted(p for p, one in zip(sure[name], part, strict=True) if one.group == "foreign")
        threshold = strangers[int(REFUSED * len(strangers))]
        print(f"{REFUSED:.0%} of foreign refused, {name}: threshold {threshold:.3f}")
        print(f"    {judged(part, sure[name], threshold)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
