"""Scores from bm25, recency, kind and the letters of identifiers."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from retain.storage.reads import Candidate

DAY_US = 86_400_000_000
RECENCY_WEIGHT = 0.10
RECENCY_DAYS = 30.0

LITERAL_BOOST = 1.2

KIND_WEIGHTS: Mapping[str, float] = {
    "decision": 1.25,
    "fix": 1.20,
    "note": 1.10,
    "error": 1.0,
    "commit": 1.0,
    "file_change": 0.95,
    "summary": 0.95,
    "task": 0.90,
    "command": 0.85,
    "prompt": 0.80,
    "search": 0.65,
}
"""What was decided or mended is worth more than what was typed or looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A candidate with its score and the parts that it is made of; boosts may lift it above 1."""

    candidate: Candidate
    score: float
    parts: Mapping[str, float]


def rank(candidates: Sequence[Candidate], *, bound: float, now_us: int) -> list[Ranked]:
    """Best first; equal scores keep the newer one first.

    Args:
        candidates: what the plan found.
        bound: the bm25 that a memory full of every word would reach; 0 where the query has no words.
        now_us: the present, microseconds since the epoch.
    """
    ranked = [_score(candidate, bound, now_us) for candidate in candidates]
    if bound:
        ranked.sort(key=lambda r: (-r.score, -r.candidate.occurred_us, -r.candidate.key))
    return ranked


def boost_literal(ranked: Sequence[Ranked], literal: Collection[int]) -> list[Ranked]:
    """Lifts the candidates that hold an identifier of the query letter by letter.

    The index knows stems only: to it ``test_reporting`` and ``TestReport`` are the same.

    Args:
        ranked: best first.
        literal: keys of the candidates that hold one.
    """
    lifted = [
        replace(r, score=r.score * LITERAL_BOOST, parts={**r.parts, "literal": LITERAL_BOOST})
        if r.candidate.key in literal
        else r
        for r in ranked
    ]
    return sorted(lifted, key=lambda r: -r.score)


def _score(candidate: Candidate, bound: float, now_us: int) -> Ranked:
    age_days = max(0, now_us - candidate.occurred_us) / DAY_US
    recency = 1.0 + RECENCY_WEIGHT * math.exp(-age_days / RECENCY_DAYS)
    kind = KIND_WEIGHTS.get(candidate.kind, 1.0)
    lexical = min(1.0, candidate.bm25 / bound) if bound else 1.0
    score = lexical * recency * kind if bound else 1.0
    return Ranked(
        candidate=candidate,
        score=score,
        parts={"lexical": round(lexical, 4), "recency": round(recency, 4), "kind": kind},
    )
