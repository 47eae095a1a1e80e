"""Scores from words and from structure: age, files in common, neighbours, kind, the letters of identifiers.

Pure: what the store knows is gathered by ``signals.py``. The words of a question decide; structure decides
between memories that the words leave close together, and fills the places after the first ones with
memories about the same files. The more a question says, the less structure may say.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from retain.model import Between
from retain.retrieval.space import MODEL
from retain.storage.reads import Candidate
from retain.storage.structure import AGE_RANKS, File, Fix


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Every number of the ranking. Fitted on the tuning splits of several histories (docs/decisions.md).

    Attributes:
        recency_files: how much a memory that names files gains by being the newest of all.
        recency: the same for a memory that names none: what is said of people and plans ages less than code.
        recency_memories: in how many newer memories that gain falls to a third.
        neighbour: share of the better neighbour's words that a memory gains; neighbours were stored one
            after the other.
        titled: what a title brings that has the words of the question and no others, in shares of the best words;
            the less structure may say, the more of it counts.
        linked: what a file in common with the best memories brings, in shares of their scores.
        linking: how many of the best memories link.
        kept: how many of the best memories keep their places whatever is linked.
        sharers: in how many memories a file may stand to link them.
        words: up to so many words of a question structure has its full weight.
        literal: factor for a memory that holds an identifier of the question letter by letter.
        said: factor for what somebody said whom the question names.
        quoted: factor for a memory that holds an error line of the question, but for what differs each time.
        mended: weight of a fix where the question quotes an error, in place of the usual one of its kind.
        corpus: what being the nearest in the space fitted to the memories brings, in shares of the best words.
        corpus_beside: the same where a model was asked as well: it says most of that better.
        model: what the nearest in the space of a model brings, in shares of the best words.
        feedback: how much of the difference from the usual use a memory gains or loses.
        period: factor for a memory of another time than the question names.
    """

    recency_files: float = 0.95
    recency: float = 0.1
    recency_memories: float = 60.0
    neighbour: float = 0.1
    titled: float = 2.5
    linked: float = 1.0
    linking: int = 3
    kept: int = 3
    sharers: int = 60
    words: int = 5
    literal: float = 1.6
    said: float = 1.3
    quoted: float = 2.0
    mended: float = 2.0
    corpus: float = 0.25
    corpus_beside: float = 0.1
    model: float = 0.6
    feedback: float = 0.3
    period: float = 0.25


WEIGHTS = Weights()

WORDLESS = 0.2
"""What the best words count where no word of the question stands in any candidate."""

USUAL_WEIGHT = 8
"""So many showings of a memory weigh as much as what is usual."""

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
class Ages:
    """How many memories are newer than a moment, from a few moments whose number is known.

    Attributes:
        moments: microseconds since the epoch with ``AGE_RANKS`` newer memories each, newest first.
        newest_key: where there are no moments, keys are counted from this one.
    """

    moments: tuple[int, ...] = ()
    newest_key: int = 0

    @property
    def oldest(self) -> float:
        """How many memories are newer than the oldest one, as far as that is known."""
        return float(AGE_RANKS[len(self.moments) - 1] if self.moments else self.newest_key)

    def of(self, candidate: Candidate) -> float:
        """The number of newer memories, between the known moments by straight lines."""
        if not self.moments:
            return float(max(0, self.newest_key - candidate.key))
        for place, moment in enumerate(self.moments):
            if candidate.occurred_us >= moment:
                if place == 0:
                    return 0.0
                low, high = AGE_RANKS[place - 1], AGE_RANKS[place]
                newer = self.moments[place - 1]
                return high - (high - low) * (candidate.occurred_us - moment) / (newer - moment)
        return self.oldest


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What the store knows of the candidates besides their words.

    Attributes:
        ages: how old they are.
        files: the files that each one names.
        literal: keys of those that hold an identifier of the question letter by letter.
        quoted: keys of those that hold an error line of the question.
        titles: how alike the titles and the question are, in 0..1.
        said: keys of those that begin with a name of the question and a colon.
        words: how many words of the question were searched for.
        error: whether the question quotes an error: what is wanted then is what mended it.
        near: by kind of space, how near the memories point to where the question does, in 0..1.
        feedback: how much more often than usual they were of use when they were shown, in -1..1.
        period: the time that the question names, where it is a wish and no filter.
    """

    ages: Ages = field(default_factory=Ages)
    files: Mapping[int, tuple[File, ...]] = field(default_factory=dict)
    literal: Collection[int] = ()
    quoted: Collection[int] = ()
    titles: Mapping[int, float] = field(default_factory=dict)
    said: Collection[int] = ()
    words: int = 0
    error: bool = False
    near: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    feedback: Mapping[int, float] = field(default_factory=dict)
    period: Between | None = None


class Made(NamedTuple):
    """What the score of a candidate is made of; None and 0 say that it has no such part."""

    lexical: float = 0.0
    recency: float | None = None
    kind: float | None = None
    literal: float | None = None
    feedback: float | None = None
    meaning: float | None = None
    neighbour: float | None = None
    linked: float | None = None
    fixes: float | None = None
    period: float | None = None
    quoted: float | None = None
    truth: float | None = None
    titled: float | None = None
    said: float | None = None


class Ranked(NamedTuple):
    """A candidate with its score and what that is made of; boosts may lift it above 1."""

    candidate: Candidate
    score: float
    made: Made

    @property
    def parts(self) -> dict[str, float]:
        """The parts of the score by name; asked for of the few that are shown."""
        parts = {name: round(value, 4) for name, value in zip(Made._fields, self.made, strict=True) if value}
        return {"lexical": 0.0, **parts}


def rank(
    candidates: Sequence[Candidate], signals: Signals, *, bound: float, weights: Weights = WEIGHTS
) -> list[Ranked]:
    """Best first; equal scores keep the newer one first.

    Args:
        candidates: what the plan found.
        signals: what is known of them.
        bound: the bm25 that a memory full of every word would reach; 0 where the query has no words.
        weights: the numbers of the ranking.
    """
    if not bound and not signals.near:
        return [Ranked(c, 1.0, Made(lexical=1.0)) for c in candidates]
    texts = {c.key: min(1.0, c.bm25 / bound) if bound else 0.0 for c in candidates}
    most = max(texts.values(), default=0.0) or WORDLESS
    scored = _scorer(texts, most, signals, weights)
    ranked = [scored(candidate) for candidate in candidates]
    ranked.sort(key=_place, reverse=True)
    return ranked


def _weight(kind: str, signals: Signals, weights: Weights) -> float:
    """What the nearest in a space of this kind counts."""
    if kind == MODEL:
        return weights.model
    return weights.corpus_beside if MODEL in signals.near else weights.corpus


def _place(entry: Ranked) -> tuple[float, int, int]:
    """What orders, the largest first: the score, then the time, then the key."""
    candidate = entry.candidate
    return entry.score, candidate.occurred_us, candidate.key


def _scorer(
    texts: Mapping[int, float], most: float, signals: Signals, weights: Weights
) -> Callable[[Candidate], Ranked]:
    """Scores one candidate; what is the same for all of them is found out once, for an answer has hundreds.

    Args:
        texts: the score by words of each candidate, by key.
        most: the best of them.
        signals: what is known of the candidates.
        weights: the numbers of the ranking.
    """
    spaces = [(most * _weight(kind, signals, weights), near) for kind, near in signals.near.items()]
    titled_most = most * weights.titled * (1 - _say(signals, weights))
    recency_of = _recency(signals, weights)
    files, literals, titles, feedbacks = signals.files, signals.literal, signals.titles, signals.feedback
    said, quoted, period = signals.said, signals.quoted, signals.period
    kinds = {**KIND_WEIGHTS, "fix": weights.mended} if signals.error else KIND_WEIGHTS

    def scored(candidate: Candidate) -> Ranked:
        key = candidate.key
        text = texts[key]
        neighbour = weights.neighbour * max(texts.get(key - 1, 0.0), texts.get(key + 1, 0.0))
        meaning = sum([weight * near.get(key, 0.0) for weight, near in spaces])
        recency = recency_of(candidate, key in files)
        kind = kinds.get(candidate.kind, 1.0)
        literal = weights.literal if key in literals else None
        feedback = 1 + weights.feedback * feedbacks[key] if key in feedbacks else None
        titled = titled_most * titles.get(key, 0.0)
        score = (
            ((text + meaning + titled) * recency + neighbour) * kind * (literal or 1.0) * (feedback or 1.0)
        )
        made = Made(text, recency, kind, literal, feedback, meaning, neighbour, titled=titled)
        if key in said:
            score *= weights.said
            made = made._replace(said=weights.said)
        if key in quoted:
            score *= weights.quoted
            made = made._replace(quoted=weights.quoted)
        if period and not _is_in(candidate, period):
            return Ranked(candidate, score * weights.period, made._replace(period=weights.period))
        return Ranked(candidate, score, made)

    return scored


def _is_in(candidate: Candidate, period: Between) -> bool:
    return (period.low is None or candidate.occurred_us >= period.low) and (
        period.high is None or candidate.occurred_us < period.high
    )


def _recency(signals: Signals, weights: Weights) -> Callable[[Candidate, bool], float]:
    """The factor for a candidate's age, by whether it names files; nothing is gained where all are new."""
    ages = signals.ages
    spread = 1.0 - math.exp(-ages.oldest / weights.recency_memories)
    most = (spread * weights.recency, spread * weights.recency_files * _say(signals, weights) ** 2)

    def at(age: float, *, names_files: bool) -> float:
        return 1.0 + most[names_files] * math.exp(-age / weights.recency_memories)

    old = (at(ages.oldest, names_files=False), at(ages.oldest, names_files=True))
    end = ages.moments[-1] if ages.moments else None

    def recency(candidate: Candidate, names_files: bool) -> float:
        if end is not None and candidate.occurred_us < end:  # most of them
            return old[names_files]
        return at(ages.of(candidate), names_files=names_files)

    return recency


def _say(signals: Signals, weights: Weights) -> float:
    """How much structure may say beside a question of so many words, in 0..1."""
    return min(1.0, weights.words / signals.words) if signals.words else 1.0


def linking_files(ranked: Sequence[Ranked], signals: Signals, weights: Weights = WEIGHTS) -> list[File]:
    """The files of the best memories, each once."""
    best = ranked[: weights.linking]
    return list(dict.fromkeys(file for r in best for file in signals.files.get(r.candidate.key, ())))


def link(
    ranked: Sequence[Ranked],
    shared: Mapping[File, Sequence[Candidate]],
    signals: Signals,
    weights: Weights = WEIGHTS,
) -> list[Ranked]:
    """Lifts what shares files with the best memories, behind the places that they keep.

    A memory that holds none of the words comes in as well. The rarer a file, the more it links.

    Args:
        ranked: best first.
        shared: for each linking file, the memories that name it, the best ones included.
        signals: what is known of the candidates.
        weights: the numbers of the ranking.
    """
    gains: defaultdict[int, float] = defaultdict(float)
    found = {r.candidate.key: r for r in ranked}
    say = weights.linked * _say(signals, weights)
    for best in ranked[: weights.linking]:
        for file in signals.files.get(best.candidate.key, ()):
            sharers = shared.get(file, ())
            if not 1 < len(sharers) <= weights.sharers:
                continue
            rare = 1 - math.log(len(sharers)) / math.log(weights.sharers + 1)
            for candidate in sharers:
                gains[candidate.key] += say * best.score * rare
                if candidate.key not in found:
                    found[candidate.key] = Ranked(candidate, 0.0, Made())
    kept = list(ranked[: weights.kept])
    for entry in kept:
        del found[entry.candidate.key]
    recency_of = _recency(signals, weights)
    for key in gains.keys() & found.keys():
        found[key] = _linked(found[key], gains[key], recency_of, signals.period, weights)
    rest = sorted(found.values(), key=_place, reverse=True)
    return kept + _at_most(rest, kept[-1].score if kept else 0.0)


def _linked(
    entry: Ranked,
    gain: float,
    recency_of: Callable[[Candidate, bool], float],
    period: Between | None,
    weights: Weights,
) -> Ranked:
    if not entry.score:
        gain *= recency_of(entry.candidate, True)  # noqa: FBT003 - the type of a callable names no argument
        if period and not _is_in(entry.candidate, period):
            gain *= weights.period
    return Ranked(entry.candidate, entry.score + gain, entry.made._replace(linked=gain))


def _at_most(ranked: Sequence[Ranked], most: float) -> list[Ranked]:
    """Scores cut so that they fall with the places; the order says which of the cut ones is better."""
    return [r if r.score <= most else Ranked(r.candidate, most, r.made) for r in ranked]


def beside(ranked: Sequence[Ranked], fixes: Sequence[Fix]) -> list[Ranked]:
    """Puts the newest fix of an error right behind it, where it does not stand before it already."""
    newest: dict[int, Candidate] = {}
    for one in fixes:
        newest.setdefault(one.error, one.fix)
    placed: dict[int, Ranked] = {}
    known = {r.candidate.key: r for r in ranked}
    for entry in ranked:
        placed.setdefault(entry.candidate.key, entry)
        fix = newest.get(entry.candidate.key)
        if fix is not None:
            found = known.get(fix.key, Ranked(fix, 0.0, Made()))
            placed.setdefault(fix.key, Ranked(fix, entry.score, found.made._replace(fixes=entry.score)))
    return list(placed.values())


def shrunk(counts: Mapping[int, tuple[int, int]], usual: tuple[int, int]) -> dict[int, float]:
    """How much more often than usual a memory was used when it was shown, by key, in -1..1.

    The share of a memory that was seldom shown is drawn towards that of all: ``(used + p*USUAL_WEIGHT) / (shown +
    USUAL_WEIGHT) - p`` with ``p`` the usual share (an empirical Bayes estimate with a beta prior).

    Args:
        counts: (shown, used) by key.
        usual: (shown, used) of all memories.
    """
    share = (usual[1] + 1) / (usual[0] + 4)
    return {
        key: (used + share * USUAL_WEIGHT) / (shown + USUAL_WEIGHT) - share
        for key, (shown, used) in counts.items()
    }
