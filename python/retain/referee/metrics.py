"""Measures of a ranking, their bootstrap intervals, and the paired difference of two contestants.

Definitions are those of trec_eval (tests compare with it): nDCG with the gain itself over log2(rank + 1).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Gains = Mapping[str, int]
Measure = Callable[[Sequence[str], Gains], float]

DEPTH = 10
"""How many hits are asked for; no measure looks further."""

RESAMPLES = 1_000
COVERED = 0.95


def recall_at(k: int) -> Measure:
    """Share of the relevant records among the first k."""
    return lambda ranked, gains: len(set(ranked[:k]) & gains.keys()) / len(gains)


def hit_at(k: int) -> Measure:
    """1 where a relevant record is among the first k."""
    return lambda ranked, gains: float(not gains.keys().isdisjoint(ranked[:k]))


def recall_all_at(k: int) -> Measure:
    """1 where every relevant record is among the first k."""
    return lambda ranked, gains: float(gains.keys() <= set(ranked[:k]))


def reciprocal_rank(ranked: Sequence[str], gains: Gains) -> float:
    """1 / rank of the first relevant record within the depth, else 0."""
    return next((1 / rank for rank, one in enumerate(ranked[:DEPTH], 1) if one in gains), 0.0)


def ndcg(ranked: Sequence[str], gains: Gains) -> float:
    """Discounted gain of the first ten over that of the best order."""
    best = _discounted(sorted(gains.values(), reverse=True)[:DEPTH])
    return _discounted([gains.get(one, 0) for one in ranked[:DEPTH]]) / best


def _discounted(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


MEASURES: Mapping[str, Measure] = {
    "R@1": recall_at(1), "R@5": recall_at(5), "R@10": recall_at(DEPTH), "hit@3": hit_at(3), "hit@5": hit_at(5),
    "MRR": reciprocal_rank, "nDCG@10": ndcg, "recall_all@5": recall_all_at(5),
}  # fmt: skip
"""What is measured of the queries that have an answer."""

ABSTAINED = "abstained"


def measure(ranked: Sequence[str], gains: Gains) -> dict[str, float]:
    """Every measure of one ranking; of a query without an answer only whether the contestant kept silent."""
    found = {name: one(ranked, gains) for name, one in MEASURES.items()} if gains else {}
    return {**found, ABSTAINED: float(not ranked)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean with the interval that 95 % of bootstrap means lie in."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


def bootstrap(values: Sequence[float], seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Percentile bootstrap of the mean, over queries; the same values and seed give the same interval."""
    rng = random.Random(seed)  # noqa: S311 - sampling, no secret
    count = len(values)
    means = sorted(math.fsum(rng.choices(values, k=count)) / count for _ in range(resamples))
    outside = round(resamples * (1 - COVERED) / 2)
    return Interval(mean=math.fsum(values) / count, low=means[outside], high=means[-1 - outside])


def paired(ours: Sequence[float], theirs: Sequence[float], seed: int = 0) -> Interval:
    """Bootstrap of the mean difference ours - theirs of the same queries in the same order."""
    return bootstrap([a - b for a, b in zip(ours, theirs, strict=True)], seed)
