"""Microseconds for one 30-token question: the fitted space and the ONNX model beside peers that install.

    python benches/embedding.py [--model FOLDER] [--records 10000]

Prints beside each time whether the vectors are right: how far two texts of one topic are nearer to each other
than to texts of another one. Peers are skipped where they are not installed (wordllama, model2vec need their weights).
The fit is timed on one thread, with the bytes of the space.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

from retain.retrieval.models import OnnxEmbedder
from retain.retrieval.space import TEXTS_MAX, CorpusEmbedder, Fit, Passage, Tokens

ROUNDS = 200
QUESTION = (
    "why does the connection pool time out while the writer thread holds the lock of the database file and "
    "readers wait for a lease that nobody gives back to them in time"
)
TOPICS = {
    "pool": "connection pool lease acquire waiter timeout socket health idle lifetime".split(),
    "index": "tokenizer stem porter unicode fold index column weight rank snippet".split(),
    "schema": "migration schema table column upgrade version alter constraint key trigger".split(),
    "hook": "hook event spool drain segment receipt replay payload stdin digest".split(),
}


def tokens() -> Tokens:
    tokenizer = apsw.Connection(":memory:").fts5_tokenizer("porter", ["unicode61", "remove_diacritics", "2"])

    def stems(text: str) -> list[str]:
        found = tokenizer(
            text.encode(), apsw.FTS5_TOKENIZE_QUERY, None, include_offsets=False, include_colocated=False
        )
        return [str(stem) for stem in found]

    return stems


def corpus(records: int) -> list[Passage]:
    """Records of four topics among words of no topic, Zipf-like, as a history has them."""
    pick = random.Random(1)
    names = list(TOPICS)
    others = [f"word{n}" for n in range(max(2_000, records // 2))]
    weights = list(itertools.accumulate(1 / (n + 5) for n in range(len(others))))
    made = []
    for number in range(records):
        topic = names[number % len(names)]
        own = pick.sample(TOPICS[topic], 4)
        rest = pick.choices(others, cum_weights=weights, k=30)
        made.append(Passage(title=" ".join(own), text=" ".join(rest), paths=(f"src/{topic}{number % 9}.py",)))
    return made


def per_question_us(embed: Callable[[str], Any]) -> tuple[float, float, float]:
    """Median and p95 on the wall clock, median of the CPU time, which a busy machine disturbs less."""
    times, cpu = [], []
    for _ in range(ROUNDS):
        worked, started = time.process_time_ns(), time.perf_counter_ns()
        embed(QUESTION)
        times.append((time.perf_counter_ns() - started) / 1000)
        cpu.append((time.process_time_ns() - worked) / 1000)
    times.sort()
    return statistics.median(times), times[int(ROUNDS * 0.95)], statistics.median(cpu)


def margin(embed: Callable[[str], Any]) -> float:
    """Mean cosine within a topic less that between topics, over disjoint halves of the topics' words."""
    halves = {
        name: [as_floats(embed(" ".join(words[i::2]))) for i in (0, 1)] for name, words in TOPICS.items()
    }
    same = [cosine(*pair) for pair in halves.values()]
    other = [cosine(a[0], b[1]) for x, a in halves.items() for y, b in halves.items() if x != y]
    return statistics.mean(same) - statistics.mean(other)


def as_floats(vector: Any) -> list[float]:
    if isinstance(vector, bytes):
        return [float(value) for value in memoryview(vector).cast("b")]
    return [float(value) for value in vector]


def cosine(one: list[float], other: list[float]) -> float:
    lengths = (sum(a * a for a in one) * sum(b * b for b in other)) ** 0.5
    return sum(a * b for a, b in zip(one, other, strict=True)) / (lengths or 1)


def fitted(records: int) -> CorpusEmbedder:
    stems, passages = tokens(), corpus(records)
    passages = passages[:: -(-len(passages) // TEXTS_MAX)]  # as the service samples them
    started = time.process_time()
    fit = Fit(stems)
    fit.add(passages, stems)
    gathered = time.process_time()
    embedder = fit.embedder()
    ended = time.process_time()
    print(
        f"fit to {len(passages):,} of {records:,} records: {gathered - started:.2f} s of terms + "
        f"{ended - gathered:.2f} s of fit (CPU), "
        f"{len(embedder.to_bytes()) / 1e6:.1f} MB"
    )
    return embedder


def peers() -> dict[str, Callable[[str], Any]]:
    found: dict[str, Callable[[str], Any]] = {}
    spec = importlib.util.find_spec("wordllama")
    if spec is not None and spec.submodule_search_locations:
        from wordllama import WordLlama

        model = WordLlama.load(cache_dir=Path(next(iter(spec.submodule_search_locations))))
        found["wordllama 256"] = lambda text: model.embed([text])[0]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, help="folder with model.onnx and tokenizer.json")
    parser.add_argument("--peer-model", type=Path, help="another folder of that kind, as a peer")
    parser.add_argument("--records", type=int, default=10_000)
    asked = parser.parse_args()
    contestants: dict[str, Callable[[str], Any]] = {"tier 0: fitted space": fitted(asked.records).embed_query}
    if asked.model:
        contestants["tier 1: ONNX model"] = OnnxEmbedder(asked.model).embed_query
    if asked.peer_model:
        contestants["peer ONNX model"] = OnnxEmbedder(asked.peer_model).embed_query
    contestants |= peers()
    print(f"{'':24} {'p50 us':>9} {'p95 us':>9} {'CPU us':>9}   same topic nearer by")
    wrong = 0
    for name, embed in contestants.items():
        median, p95, cpu = per_question_us(embed)
        nearer = margin(embed)
        wrong += nearer <= 0
        print(
            f"{name:24} {median:9.0f} {p95:9.0f} {cpu:9.0f}   {nearer:+.3f}{'' if nearer > 0 else '  WRONG'}"
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
