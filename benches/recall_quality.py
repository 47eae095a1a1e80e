"""What each signal of the ranking is worth: R@10 and nDCG@10 with it and without it, on the referee's sets.

    python benches/recall_quality.py --sets DIR --names NAME,NAME,... [--split test] [--model DIR] [--brief]

DIR holds sets as the referee writes them (``NAME-files``, ``NAME-known``); each is asked through the store, the
planner and the ranking of the product, once a variant, beside plain FTS5 (porter, one column) in the same run. In a
*files* set only records before the query are searched. The space is fitted to
the records before the first query, as a store would have done it by then: fitted to all, it would have read the
answers. With ``--model`` the model of that folder serves beside it, as ``retain[onnx]`` has it, and the margin is
taken over the same recall without a model too. A signal whose ``without`` line is no lower does not pay.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import apsw

import retain
from corpora import WORD
from measuring import Figure, arguments, at_least, publish
from quality_sets import Asked, QualitySet, Record, ndcg_at, read_set, recall_at
from retain.cache import L1Cache
from retain.config import read_settings
from retain.memory.embedding_cache import EmbeddingCache
from retain.memory.questions import Questions
from retain.memory.recalling import Recaller, effective
from retain.memory.semantics import Semantics
from retain.memory.serving import Serving
from retain.memory.word_counts import WordCounts
from retain.model import Between, Query, to_us
from retain.retrieval.models import OnnxEmbedder
from retain.retrieval.planner import QueryPlanner
from retain.retrieval.rank import WEIGHTS, Weights
from retain.retrieval.space import CorpusEmbedder, Embedder, Fit, Passage
from retain.retrieval.vectors import VectorIndex, floats, row_of
from retain.storage import spaces
from retain.storage.reads import Reader
from retain.storage.sqlite import SqliteStore
from retain.storage.vectors import put_vectors

OFF: Mapping[str, Mapping[str, float]] = {
    "age of files": {"recency_files": 0.0},
    "age of others": {"recency": 0.0},
    "neighbour": {"neighbour": 0.0},
    "links": {"linked": 0.0},
    "letters": {"literal": 1.0},
}
WORDS_ONLY: dict[str, float] = {name: value for off in OFF.values() for name, value in off.items()}
VARIANTS: dict[str, Weights] = {
    "all signals": WEIGHTS,
    **{f"without {name}": replace(WEIGHTS, **off) for name, off in OFF.items()},  # type: ignore[arg-type]
    "words only": replace(WEIGHTS, **WORDS_ONLY),  # type: ignore[arg-type]
}
VARIANTS["without meaning"] = WEIGHTS
SPACELESS = ("words only", "without meaning")
"""The variants that search no space."""
NO_MODEL = "without a model"
BRIEF = ("all signals", NO_MODEL)

ROUNDS = 1_000
Scores = dict[str, list[tuple[float, float]]]


def variants(*, model: bool, brief: bool) -> dict[str, Weights]:
    """What is asked for: all, or only what the figures need."""
    known = VARIANTS | ({NO_MODEL: WEIGHTS} if model else {})
    return {name: weights for name, weights in known.items() if not brief or name in BRIEF}


async def ours(
    one: QualitySet,
    queries: Sequence[Asked],
    home: Path,
    model: Embedder | None,
    asked_for: Mapping[str, Weights],
) -> Scores:
    """R@10 and nDCG@10 of every query, a variant."""
    stored: dict[str, str] = {}
    async with retain.open(home, folder=home) as memory:
        for start in range(0, len(one.records), 1_000):
            part = one.records[start : start + 1_000]
            made = await memory.remember_many(
                [{"text": r.text, "source_id": r.id, "occurred_at": r.at} for r in part]
            )
            stored |= {m.id: r.id for m, r in zip(made, part, strict=True)}
            workspace = made[0].workspace
    store = await SqliteStore.open(read_settings(home)[0])
    asked = [effective(_query(one, query, workspace)) for query in queries]
    planner = QueryPlanner(enabled=False)
    first = one.records if one.queries[0].order is None else _before(one, queries)
    await fit_space(store, len(first))
    if model is not None:
        await add_model(store, model)

    def searching(with_model: Embedder | None) -> Semantics:
        serving = Serving(Questions(lambda: with_model, EmbeddingCache()))
        return Semantics(serving, VectorIndex(), planner, live=False)

    semantics, plain = searching(model), searching(None)
    meaning = {name: plain if name == NO_MODEL else semantics for name in asked_for if name not in SPACELESS}
    recallers = {
        name: Recaller(planner, WordCounts(L1Cache(1_024)), 0.0, weights=weights, semantics=meaning.get(name))
        for name, weights in asked_for.items()
    }

    def answers(reader: Reader, recaller: Recaller) -> list[list[str]]:
        return [[stored[hit.memory.id] for hit in recaller.answer(reader, q).recall.hits] for q in asked]

    try:
        return {
            name: _scores(await store.read(lambda reader, r=recaller: answers(reader, r)), queries)  # type: ignore[misc]
            for name, recaller in recallers.items()
        }
    finally:
        await store.close()


def _before(one: QualitySet, queries: Sequence[Asked]) -> Sequence[Record]:
    """The records that were there when the first of these queries was asked."""
    start = min(query.order for query in queries if query.order is not None)
    return [record for record in one.records if record.order < start]


async def fit_space(store: SqliteStore, count: int) -> None:
    """Fits a space to the first memories, and gives every memory a vector in it."""

    def fitted(reader: Reader) -> tuple[CorpusEmbedder, list[tuple[int, bytes]]]:
        keys = range(1, reader.total() + 1)
        passages = [Passage.of(memory) for _, memory in sorted(reader.load(keys).items())]
        fit = Fit(reader.tokens)
        fit.add(passages[:count], reader.tokens)
        embedder = fit.embedder()
        rows = embedder.on(reader.tokens).embed_documents(passages)
        return embedder, [(key, row_of(floats(row))) for key, row in zip(keys, rows, strict=True)]

    embedder, rows = await store.read(fitted)

    def serve(db: apsw.Connection) -> None:
        about = {"name": embedder.name, "kind": "corpus", "dim": embedder.dim, "model": embedder.to_bytes()}
        space = spaces.add_space(db, **about, fitted_rows=count, now_us=0)
        put_vectors(db, space, rows)
        spaces.serve(db, space)

    await store.write(serve)


async def add_model(store: SqliteStore, model: Embedder) -> None:
    """Gives every memory a vector of the model, as the background would have, and has it serve."""

    def made(reader: Reader) -> list[tuple[int, bytes]]:
        passages = {
            key: Passage.of(memory) for key, memory in reader.load(range(1, reader.total() + 1)).items()
        }
        started = time.process_time()
        rows = model.embed_documents(list(passages.values()))
        spent = 1_000 * (time.process_time() - started) / max(1, len(rows))
        print(f"{len(rows)} memories embedded, {spent:.1f} ms CPU each", file=sys.stderr)
        return [(key, row_of(floats(row))) for key, row in zip(passages, rows, strict=True)]

    rows = await store.read(made)

    def serve(db: apsw.Connection) -> None:
        about = {"name": model.name, "kind": "model", "dim": model.dim, "model": b""}
        space = spaces.add_space(db, **about, fitted_rows=len(rows), now_us=0)
        put_vectors(db, space, rows)
        spaces.serve(db, space)

    await store.write(serve)


def _query(one: QualitySet, query: Asked, workspace: str) -> Query:
    before = None
    if query.order is not None:
        end = next((r.at for r in one.records if r.order >= query.order), None)
        before = Between(field="time", high=to_us(end)) if end else None
    return Query(text=query.text, filter=before, workspace=workspace, limit=10)


def _scores(found: Sequence[Sequence[str]], queries: Sequence[Asked]) -> list[tuple[float, float]]:
    return [(recall_at(ids, q.gains), ndcg_at(ids, q.gains)) for ids, q in zip(found, queries, strict=True)]


def plain_fts5(one: QualitySet, queries: Sequence[Asked]) -> list[tuple[float, float]]:
    """SQLite's FTS5 out of the box: porter, one column, words joined by OR, order by bm25."""
    db = apsw.Connection(":memory:")
    db.execute("CREATE VIRTUAL TABLE t USING fts5(text, tokenize = 'porter')")
    db.executemany(
        "INSERT INTO t (rowid, text) VALUES (?, ?)", [(i, r.text) for i, r in enumerate(one.records)]
    )
    found = []
    for query in queries:
        match = " OR ".join(f'"{word}"' for word in WORD.findall(query.text)) or '""'
        end = next(
            (i for i, r in enumerate(one.records) if query.order is not None and r.order >= query.order),
            1 << 40,
        )
        rows = db.execute(
            "SELECT rowid FROM t WHERE t MATCH ? AND rowid < ? ORDER BY bm25(t) LIMIT 10", (match, end)
        )
        found.append([one.records[i].id for (i,) in rows])
    return _scores(found, queries)


def interval(mine: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Mean difference of paired values with its 95 % interval, by bootstrap."""
    differences = [a - b for a, b in zip(mine, theirs, strict=True)]
    rng = random.Random(7)
    means = sorted(fmean(rng.choices(differences, k=len(differences))) for _ in range(ROUNDS))
    return fmean(differences), means[int(0.025 * ROUNDS)], means[int(0.975 * ROUNDS)]


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--sets", type=Path, required=True)
    parser.add_argument("--names", required=True, help="histories, by the names of their sets")
    parser.add_argument("--split", default="test", choices=("tune", "test"))
    parser.add_argument("--model", type=Path, help="folder with model.onnx and tokenizer.json")
    parser.add_argument("--brief", action="store_true", help="without the lines of single signals")
    given = parser.parse_args()
    model = OnnxEmbedder(given.model) if given.model else None
    asked_for = variants(model=model is not None, brief=given.brief)
    folders = [
        given.sets / f"{name}-{kind}" for name in given.names.split(",") for kind in ("files", "known")
    ]
    figures: list[Figure] = []
    details: dict[str, dict[str, list[float]]] = {}
    for folder in folders:
        one = read_set(folder)
        queries = [q for q in one.queries if q.split == given.split and q.gains]
        with tempfile.TemporaryDirectory() as home:
            scores = asyncio.run(ours(one, queries, Path(home), model, asked_for))
        plain = plain_fts5(one, queries)
        details[one.name] = {
            name: [round(fmean(s[i] for s in each), 3) for i in (0, 1)]
            for name, each in (scores | {"plain FTS5": plain}).items()
        }
        print(one.name, len(queries), "queries, R@10 and nDCG@10:", details[one.name], file=sys.stderr)
        gain, low, high = interval([r for r, _ in scores["all signals"]], [r for r, _ in plain])
        beside = (
            f"plain FTS5 {details[one.name]['plain FTS5'][0]}, margin {gain:+.3f} [{low:+.3f}, {high:+.3f}]"
        )
        if model is not None:
            more, low, high = interval(
                [r for r, _ in scores["all signals"]], [r for r, _ in scores[NO_MODEL]]
            )
            without = details[one.name][NO_MODEL][0]
            beside += f"; no model {without}, margin {more:+.3f} [{low:+.3f}, {high:+.3f}]"
        mine, theirs = details[one.name]["all signals"][0], details[one.name]["plain FTS5"][0]
        figures.append(at_least(f"{one.name} {given.split}: R@10", mine, "", theirs, beside=beside))
    return publish(figures, {"sets": details}, given.json)


if __name__ == "__main__":
    sys.exit(main())
