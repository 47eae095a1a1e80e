"""The vector scan beside faiss, usearch and numpy: nanoseconds a row, filtered and not, with recall@10.

    python benches/vectors.py [--sizes 10000,100000,1000000] [--dim 384] [--queries 40] [--json FILE]

Peers where they can be imported: faiss (IndexScalarQuantizer QT_8bit, inner product, IDSelectorBatch and
IDSelectorBitmap for filters), usearch (exact f16), numpy (f32); the last two pick the rows of a filter for each
query. Every engine runs on one thread; each query goes to all engines in a random order, and the median of the
thread's CPU time counts. A filter is an integer column independent of the content; engines get it as they take it
quickest, prepared outside the clock (ours: sorted keys). Recall is against f32 in numpy.

No text model is at hand for a million rows, so the vectors are made: components fall off as 1/sqrt(i) before a
random rotation, as those of sentence encoders do; a row is the centre of one of n/100 clusters plus 0.8 of another
such draw; a query is a row plus half of one.
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import argparse
import gc
import importlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from measuring import Figure, against, arguments, at_least, publish, resident_mb, right, short
from retain._core import VectorMatrix, quantise
from retain.retrieval.vectors import CALIBRATED_ROWS_MIN, VectorIndex, calibrated
from retain.storage import migrations
from retain.storage.connection import connect
from retain.storage.reads import Reader

K = 10
SHARES = (1.0, 0.5, 0.05, 0.005)
CHUNK = 50_000
LARGE = 1_000_000
RESIDENT_MAX = 1.3
"""Of what is accounted, where that is far more than SQLite's cache and the interpreter."""

Search = Callable[[Any], Sequence[int]]


class Corpus:
    """Rows and queries of one size."""

    def __init__(self, size: int, dim: int, queries: int) -> None:
        random = np.random.default_rng(size)
        fall = 1 / np.sqrt(np.arange(1, dim + 1))
        turn = np.linalg.qr(random.standard_normal((dim, dim)))[0]
        self._mix = (fall[:, None] * turn).astype(np.float32)

        def draw(n: int) -> Any:
            return random.standard_normal((n, dim), dtype=np.float32) @ self._mix

        centres = draw(max(1, size // 100))
        self.rows = np.empty((size, dim), dtype=np.float32)
        for start in range(0, size, CHUNK):
            n = min(CHUNK, size - start)
            chosen = centres[random.integers(0, len(centres), n)]
            self.rows[start : start + n] = unit(chosen + np.float32(0.8) * draw(n))
        self.queries = unit(self.rows[random.integers(0, size, queries)] * 1.0 + 0.5 * unit(draw(queries)))
        self.column = random.random(size)

    def allowed(self, share: float) -> Any:
        """Row numbers that fit the filter, ascending."""
        return np.flatnonzero(self.column < share).astype(np.int64)

    def truth(self, keys: Any | None) -> list[set[int]]:
        """The exact best rows of each query."""
        found = []
        for query in self.queries:
            scores = self.rows @ query
            if keys is not None:
                few = scores[keys]
                found.append(set(keys[np.argpartition(few, -K)[-K:]].tolist()))
            else:
                found.append(set(np.argpartition(scores, -K)[-K:].tolist()))
        return found


def unit(rows: Any) -> Any:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def matrix_of(corpus: Corpus) -> VectorMatrix:
    size, dim = corpus.rows.shape
    matrix = VectorMatrix(dim)
    for start in range(0, size, CHUNK):
        part = corpus.rows[start : start + CHUNK]
        keys = array("q", range(start, start + len(part)))
        matrix.put(keys, quantise(part.tobytes(), dim))
    return matrix


def ours(matrix: VectorMatrix, keys: Any | None, way: str | None) -> Search:
    packed = None if keys is None else keys.tobytes()

    def search(query: Any) -> Sequence[int]:
        return [key for key, _ in matrix.search(query.tobytes(), K, packed, way)[0]]

    return search


def with_numpy(corpus: Corpus, keys: Any | None) -> Mapping[str, Search]:
    def everything(query: Any) -> Sequence[int]:
        scores = (corpus.rows if keys is None else corpus.rows[keys]) @ query
        best = np.argpartition(scores, -K)[-K:]
        return list(best if keys is None else keys[best])

    return {"numpy f32": everything}


def with_faiss(corpus: Corpus, faiss: Any, index: Any, keys: Any | None) -> Mapping[str, Search]:
    faiss.omp_set_num_threads(1)

    def search(parameters: Any, keep: Any) -> Search:  # the selector only borrows what it is made of
        return lambda query, _keep=keep: index.search(query[None, :], K, params=parameters)[1][0].tolist()

    if keys is None:
        return {"faiss SQ8": search(None, None)}
    mask = np.zeros(len(corpus.column), dtype=bool)
    mask[keys] = True
    bits = np.packbits(mask, bitorder="little")
    bitmap = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
    found = {"faiss SQ8 bitmap": search(faiss.SearchParameters(sel=bitmap), (bitmap, bits))}
    if len(keys) <= 100_000:  # a hash set of more takes longer to make than the rest of the run
        batch = faiss.IDSelectorBatch(keys)
        found["faiss SQ8 batch"] = search(faiss.SearchParameters(sel=batch), batch)
    return found


def faiss_index(corpus: Corpus) -> tuple[Any, Any] | None:
    faiss = importable("faiss")
    if faiss is None:
        return None
    size, dim = corpus.rows.shape
    index = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    index.train(corpus.rows[: min(size, 100_000)])
    index.add(corpus.rows)
    return faiss, index


def with_usearch(rows: Any, usearch: Any, keys: Any | None) -> Mapping[str, Search]:
    def search(query: Any) -> Sequence[int]:
        few = rows if keys is None else rows[keys]
        found = usearch.search(few, query.astype(np.float16), K, "ip", exact=True, threads=1).keys
        return (found if keys is None else keys[found]).tolist()

    return {"usearch exact f16": search}


def importable(name: str) -> Any | None:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        print(f"without {name}: {error}", file=sys.stderr)
        return None


def measured(
    engines: Mapping[str, Search], queries: Any, truth: Sequence[set[int]]
) -> dict[str, tuple[float, float]]:
    """Microseconds and recall@10 by engine; each query goes to all of them in turn."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    right = dict.fromkeys(engines, 0)
    turns, chance = list(engines.items()), Random(0)
    for query, best in zip(queries, truth, strict=True):
        chance.shuffle(turns)  # who comes after an engine with a large matrix finds the caches cold
        for name, search in turns:
            start = time.thread_time_ns()
            found = search(query)
            times[name].append((time.thread_time_ns() - start) / 1000)
            right[name] += len(best & set(found))
    wanted = sum(map(len, truth))
    return {name: (statistics.median(us), right[name] / wanted) for name, us in times.items()}


def calibrate(matrix: VectorMatrix, corpus: Corpus) -> None:
    """As the index does when it has loaded a matrix."""
    if len(matrix) >= CALIBRATED_ROWS_MIN:
        matrix.set_costs(calibrated(matrix, range(len(corpus.rows)), time.perf_counter_ns))


def compared(size: int, share: float, found: Mapping[str, tuple[float, float]]) -> list[Figure]:
    """Ours by way beside faiss at full size, beside the best peer where filtered."""
    peers = {name: us for name, (us, _) in found.items() if not name.startswith("vector")}
    best = min(peers, key=lambda name: peers[name]) if share < 1 or "faiss SQ8" not in peers else "faiss SQ8"
    lines = []
    for name, (us, recall) in found.items():
        what = f"{size:,} rows, {share:.1%}: {name}, recall {recall:.3f}"
        ns = us * 1000 / size
        if name == "vector chosen":
            lines.append(against(what, ns, "ns a row", best, peers[best] * 1000 / size, ratio_max=1.0))
            lines.append(at_least(f"{size:,} rows, {share:.1%}: recall@10", recall, "", 0.97))
        else:
            lines.append(Figure(what=what, ours=ns, unit="ns a row", beside=f"{short(us)} us a query"))
    return lines


def side_by_side(size: int, dim: int, queries: int) -> list[Figure]:
    corpus = Corpus(size, dim, queries)
    matrix = matrix_of(corpus)
    calibrate(matrix, corpus)
    faiss, usearch = faiss_index(corpus), importable("usearch.index")
    halves = corpus.rows.astype(np.float16) if usearch else None
    lines = []
    for share in SHARES:
        keys = None if share == 1 else corpus.allowed(share)
        ways = ("vector_scan", "vector_bits") if keys is None else (
            "vector_scan", "vector_ids", "vector_bits", "vector_bit_ids"
        )  # fmt: skip
        engines: dict[str, Search] = {"vector chosen": ours(matrix, keys, None)}
        engines |= {way: ours(matrix, keys, way) for way in ways}
        engines |= with_numpy(corpus, keys)
        if faiss is not None:
            engines |= with_faiss(corpus, *faiss, keys)
        if usearch is not None:
            engines |= with_usearch(halves, usearch, keys)
        way = matrix.search(corpus.queries[0].tobytes(), K, None if keys is None else keys.tobytes())[1]
        print(f"{size:,} rows, {share:.1%}: chosen {way}", file=sys.stderr, flush=True)
        lines += compared(size, share, measured(engines, corpus.queries, corpus.truth(keys)))
    return lines


def made_store(path: Path, size: int, dim: int) -> None:
    """A store with nothing but vectors: what a load reads."""
    db = connect(path, writable=True)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA foreign_keys = OFF")
    random = np.random.default_rng(1)
    with db:
        migrations.migrate(db)
        db.execute("INSERT INTO vector_space VALUES (1, 'bench', 'none', ?, x'', 'serving', 0, 0)", (dim,))
        for start in range(0, size, CHUNK):
            rows = quantise(random.standard_normal((CHUNK, dim), dtype=np.float32).tobytes(), dim)
            db.executemany(
                "INSERT INTO memory_vector VALUES (?, 1, 1, ?)",
                ((start + i + 1, rows[i * dim : (i + 1) * dim]) for i in range(min(CHUNK, size - start))),
            )
        db.execute("INSERT INTO vector_change VALUES (1, 1, ?, ?)", (size, size))
    db.close()


def load_alone(path: Path) -> None:
    """Prints seconds, MB more than before, MB accounted and rows of a load; run in a process of its own."""
    reader, index = Reader(connect(path, writable=False)), VectorIndex()
    before = resident_mb(os.getpid())
    start = time.perf_counter()
    rows = index.load(reader, 1, 1)
    seconds = time.perf_counter() - start
    print(json.dumps([seconds, resident_mb(os.getpid()) - before, index.bytes / 1e6, rows]))


def loading(size: int, dim: int) -> list[Figure]:
    """How long a process takes to bring the vectors of a store into RAM, and what they take there."""
    with tempfile.TemporaryDirectory(prefix="retain-vectors-") as place:
        path = Path(place) / "retain.db"
        path.touch()
        made_store(path, size, dim)
        argv = [sys.executable, __file__, "--load", str(path)]
        done = subprocess.run(argv, check=True, capture_output=True, text=True)
        megabytes = path.stat().st_size / 1e6
        start = time.perf_counter()
        path.read_bytes()
        floor = time.perf_counter() - start
    seconds, resident, accounted, rows = json.loads(done.stdout)
    return [
        right(f"{size:,} rows: loaded", rows, size),
        against(
            f"{size:,} rows: load from SQLite, caches warm", seconds, "s", "reading the file's bytes", floor
        ),
        against(
            f"{size:,} rows: resident after load",
            resident,
            "MB",
            "accounted",
            accounted,
            ratio_max=RESIDENT_MAX if size >= LARGE else None,
        ),
        Figure(what=f"{size:,} rows: store on disk", ours=megabytes, unit="MB"),
    ]


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.load is not None:
        load_alone(given.load)
        return 0
    figures: list[Figure] = []
    for size in map(int, given.sizes.split(",")):
        figures += side_by_side(size, given.dim, given.queries)
        gc.collect()
        figures += loading(size, given.dim)
    return publish(figures, {}, given.json)


if __name__ == "__main__":
    sys.exit(main())
