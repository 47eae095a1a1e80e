"""How likely it is that the best hits answer the question: a logistic regression over what they hold of it.

Where a model serves whose cosines are known, it has coefficients of its own and asks beside that how near the
question lies to what was found. ``benches/fit_confidence.py`` fits the coefficients on the tuning splits of a few
histories and prints what the gate then does on the test splits of others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise

from retain.model import Memory
from retain.retrieval.background import ownness
from retain.retrieval.lexical import (
    MEMORIES_ASSUMED,
    TextQuery,
    Vocabulary,
    coverage,
    information,
    is_identifier,
    words_of,
)
from retain.retrieval.rank import Ranked, Signals
from retain.storage.text import indexed

JUDGED = 3
"""How many of the best hits are asked what they hold of the question."""

NAMES_MAX = 8
"""Names of code in a question that are looked up."""

MEMORIES_FITTED = 500
"""From this number of memories on the coefficients hold; they were fitted on stores of a thousand and more."""

HELD_POWER = 1.4
"""Brings the share that is held to the scale of the probability: 10 % of a question is as good as nothing."""

MODELS_FITTED = "all-minilm-l6-v2"
"""Models whose names begin so have the cosines that the coefficients are for; those of others lie elsewhere."""

KNOWN_MIN = 2
"""A word of one memory is no word of the store."""

RATIO_MAX = 3.0
"""Bound of the logarithm of a ratio: one word decides nothing."""

_NAME = re.compile(
    r"`([^`\s]{3,80})`|(?<![\w/.-])(--[a-z][\w-]+)"
    r"|(?<!\w)([A-Za-z]\w*(?:\.[A-Za-z_]\w+)+|\w+_\w+|[A-Z]?[a-z]+[A-Z]\w+|[A-Z]{2,}[a-z]\w+)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What speaks for the best hits.

    Attributes:
        held: largest share of the question's information that one of them holds.
        unknown: the share of words that occur in no memory.
        pairs: largest share of the question's neighbouring words that stand side by side in one of them.
        matched: logarithm of the most words that one of them holds.
        words: logarithm of the number of words.
        rarest: worth of the rarest word found, against that of a word that occurs nowhere.
        lead: how far the best text stands before the tenth, in shares of its score.
        agreeing: share of the pairs among them that name a file in common.
        names: 1 where the question names code.
        absent: 1 where it names code and none of the names occurs in any memory.
        literal: 1 where one of them holds a name letter by letter.
        own: logarithm of how much more common than elsewhere its words are here, those that are so, together.
        fitting: the mean of the same over all its words, by their worth; below 0 it speaks of something else.
    """

    held: float
    unknown: float
    pairs: float
    matched: float
    words: float
    rarest: float
    lead: float
    agreeing: float
    names: float
    absent: float
    literal: float
    own: float
    fitting: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Closeness:
    """How near the question lies to memories in the space of a model, in cosines.

    Attributes:
        nearest: of the nearest memory.
        around: of the last of those that were searched for, as the usual nearness of this question to this store.
        shown: the highest of the best hits; one that is not among those searched for counts as the last of them.
    """

    nearest: float
    around: float
    shown: float


# Written by benches/fit_confidence.py.
INTERCEPT = -0.775
COEFFICIENTS: Mapping[str, float] = {
    "held": 0.000,
    "unknown": -0.410,
    "pairs": 1.534,
    "matched": 0.573,
    "words": -0.856,
    "rarest": -0.158,
    "lead": 3.501,
    "agreeing": 1.003,
    "names": -0.509,
    "absent": -1.780,
    "literal": 0.993,
    "own": 0.912,
    "fitting": 1.131,
}


MODEL_INTERCEPT = -3.890
MODEL_COEFFICIENTS: Mapping[str, float] = {
    "held": 0.116,
    "unknown": 0.000,
    "pairs": 1.187,
    "matched": 0.000,
    "words": -0.514,
    "rarest": 0.042,
    "lead": 3.668,
    "agreeing": 0.138,
    "names": -0.881,
    "absent": -1.265,
    "literal": 1.981,
    "own": 0.740,
    "fitting": 1.365,
    "nearest": 4.865,
    "around": -4.760,
    "shown": 5.884,
}
"""The same for answers that a model of ``MODELS_FITTED`` took part in."""


def closeness_of(cosines: Mapping[int, float], best: Sequence[int]) -> Closeness | None:
    """How near a question lies to the best hits and to what else there is; None where no model was asked.

    Args:
        cosines: of the memories nearest to the question, by key.
        best: keys of the first hits.
    """
    if not cosines:
        return None
    around = min(cosines.values())
    shown = max((cosines.get(key, around) for key in best), default=around)
    return Closeness(nearest=max(cosines.values()), around=around, shown=shown)


def probability(evidence: Evidence, memories: int, closeness: Closeness | None = None) -> float:
    """That the best hits answer the question, in 0..1; where one holds nearly all of it there is no doubt.

    A store of few memories knows few words, and a word that it does not know says little: there the share of
    the question that the hits hold counts instead, the more the fewer memories there are.

    Args:
        evidence: what speaks for the hits.
        memories: how many the store has.
        closeness: what a model says of them; None where none was asked whose cosines are known.
    """
    known = min(1.0, memories / MEMORIES_FITTED)
    if closeness is None:
        intercept, weights, values = INTERCEPT, COEFFICIENTS, astuple(evidence)
    else:
        values = (*astuple(evidence), *astuple(closeness))
        intercept, weights = MODEL_INTERCEPT, MODEL_COEFFICIENTS
    pairs = zip(weights.values(), values, strict=True)
    likely = 1 / (1 + math.exp(-intercept - sum(weight * value for weight, value in pairs)))
    return max(known * likely + (1 - known) * math.pow(evidence.held, HELD_POWER), 2 * evidence.held - 1)


def evidence_of(
    index: Vocabulary,
    text: str,
    words: TextQuery,
    best: Sequence[tuple[Ranked, Memory]],
    scores: Sequence[float],
    signals: Signals,
) -> Evidence:
    """What the best hits hold of a question.

    Args:
        index: tells stems and how often they occur.
        text: the question.
        words: its words; it must have some.
        best: the first hits with their memories, at most ``JUDGED``.
        scores: bm25 of all candidates.
        signals: what is known of the candidates.
    """
    held = [index.tokens(indexed(_all_of(memory))) for _, memory in best]
    sets = [set(stems) for stems in held]
    total = index.total()
    nowhere = information(0, total)
    found = [words.stems[stem] for stems in sets for stem in stems & words.stems.keys()]
    keys = {entry.candidate.key for entry, _ in best}
    named = [
        name for match in _NAME.findall(text)[:NAMES_MAX] if (name := next(filter(None, match)).strip("`()"))
    ]
    return Evidence(
        held=max((coverage(words.stems, stems) for stems in sets), default=0.0),
        unknown=coverage(words.stems, {stem for stem, worth in words.stems.items() if worth >= nowhere}),
        pairs=_side_by_side(index, text, held),
        matched=math.log1p(max((len(stems & words.stems.keys()) for stems in sets), default=0)),
        words=math.log1p(len(words.stems)),
        rarest=max(found, default=0.0) / nowhere,
        lead=_lead(scores),
        agreeing=_agreeing([set(signals.files.get(entry.candidate.key, ())) for entry, _ in best]),
        names=float(bool(named) or any(map(is_identifier, words_of(text)))),
        absent=float(bool(named) and not any(map(index.phrase_frequency, named))),
        literal=float(any(key in signals.literal for key in keys)),
        **_at_home(words, total),
    )


def _at_home(words: TextQuery, total: int) -> dict[str, float]:
    """Whether the question is in the words of this store: ``own`` and ``fitting``."""
    whole = max(total, MEMORIES_ASSUMED)  # in a store of a few every word would be its own
    ratios = {stem: ownness(stem, words.counts.get(stem, 0), whole) for stem in words.stems}
    lifted = sum(max(0.0, ratio) for stem, ratio in ratios.items() if words.counts.get(stem, 0) >= KNOWN_MIN)
    worth = sum(words.stems.values()) or 1.0
    drawn = sum(words.stems[stem] * max(-RATIO_MAX, min(RATIO_MAX, r)) for stem, r in ratios.items())
    return {"own": math.log1p(lifted), "fitting": drawn / worth}


def _all_of(memory: Memory) -> str:
    return "\n".join((memory.title, memory.text, *memory.paths, *memory.symbols, *memory.tags))


def _side_by_side(index: Vocabulary, text: str, held: Sequence[Sequence[str]]) -> float:
    asked = set(pairwise(stem for word in words_of(text) for stem in index.tokens(word)))
    return max((len(asked & set(pairwise(stems))) for stems in held), default=0) / max(1, len(asked))


def _lead(scores: Sequence[float]) -> float:
    first = sorted(scores, reverse=True)[:10]
    return (first[0] - first[-1]) / first[0] if first and first[0] > 0 else 0.0


def _agreeing(files: Sequence[set[tuple[int, str]]]) -> float:
    pairs = [(one, other) for i, one in enumerate(files) for other in files[i + 1 :]]
    return sum(bool(one & other) for one, other in pairs) / len(pairs) if pairs else 0.0
