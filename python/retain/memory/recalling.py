"""Recall inside one snapshot: words, plan, execution, ranking, judgement, loading."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import combinations
from typing import Any

from retain.memory.dating import dated
from retain.memory.semantics import NOTHING, Semantics
from retain.memory.truth import CLEAR, LOOKED_AT, Asker, Gate, Sifted
from retain.memory.word_counts import WordCounts
from retain.model import Between, Hit, In, Memory, Query, Recall
from retain.retrieval.confidence import JUDGED, closeness_of, evidence_of, probability
from retain.retrieval.context import count_tokens, line_of, snippet_of
from retain.retrieval.duplicates import distinct
from retain.retrieval.filters import both, mentions
from retain.retrieval.lexical import TextQuery, text_query, words_of
from retain.retrieval.planner import Execution, QueryPlanner, plan_as_json
from retain.retrieval.rank import WEIGHTS, Signals, Weights
from retain.retrieval.rescoring import completed
from retain.retrieval.search import execute, truth_of
from retain.retrieval.signals import gather, ordered
from retain.storage.reads import Candidate, Reader
from retain.storage.text import indexed

ACTIVE = In(field="status", values=("active",))

NEAR_JACCARD = 0.8
"""Share of common words from which two memories are called near duplicates."""

NEAR_WORDS_COUNTED = 8
NEAR_WORDS_MAX = 3
NEAR_CANDIDATES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one snapshot gave: the recall, the execution that the planner learns from, and whether it is whole.

    It is not where vectors were still to be read, or the truth of a memory was still to be found out
    (``unsettled``: keys of what was looked at): a later answer may be better.
    """

    recall: Recall
    execution: Execution
    whole: bool = True
    unsettled: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """The hits that may be shown, how likely they answer and by what; how many are withheld, damaged, repeats."""

    hits: tuple[Hit, ...]
    confidence: float
    withheld: int
    damaged: int
    evidence: Mapping[str, float]
    repeats: int = 0

    def hidden(self) -> dict[str, int]:
        """Why how many are not shown."""
        counts = {"below_confidence": self.withheld, "damaged": self.damaged, "duplicates": self.repeats}
        return {reason: count for reason, count in counts.items() if count}


def effective(query: Query) -> Query:
    """The query with its scope and the status that is meant where none is named, as part of the filter."""
    workspace = In(field="workspace", values=(query.workspace,)) if query.workspace else None
    status = None if mentions(query.filter, "status") else ACTIVE
    return replace(query, filter=both(workspace, status, query.filter))


class Recaller:
    """Answers queries on a reader.

    Args:
        planner: plans them.
        counts: of words that were counted before.
        confidence: how likely, in 0..1, the best hits must answer the question; below it nothing fits.
        weights: the numbers of the ranking.
        semantics: searches by meaning; None goes by words alone.
        gate: withholds and marks what no longer holds; None shows all.
    """

    def __init__(
        self,
        planner: QueryPlanner,
        counts: WordCounts,
        confidence: float,
        weights: Weights = WEIGHTS,
        semantics: Semantics | None = None,
        gate: Gate | None = None,
    ) -> None:
        self.gate = gate
        self._semantics = semantics
        self._planner = planner
        self.counts = counts
        self._confidence = confidence
        self._weights = weights

    def answer(self, reader: Reader, query: Query, asker: Asker | None = None) -> Answer:
        """Recalls on one snapshot; ``query`` must be ``effective``. Without an asker nothing is checked for truth."""
        started = time.perf_counter_ns()
        when = dated(reader, query)
        query = when.query
        index = _Vocabulary(reader, self.counts)
        words = text_query(query.text, index) if query.text.strip() else NO_WORDS
        plan = self._planner.create_plan(query, words.postings, words.reading)
        planned_us = (time.perf_counter_ns() - started) / 1000
        found = execute(reader, plan, query, words)
        if words.alone and not found.candidates:
            found = execute(reader, plan, query, replace(words, match=words.alone))
        near = self._semantics.nearest(reader, query, plan, found.keys) if self._semantics else NOTHING
        candidates = _with(found.candidates, near.candidates)
        rescored = 0
        if words.is_cut:
            share = min(1.0, plan.rows[1] / max(1, self._planner.total))
            candidates, words = completed(reader, words, plan.filter, share, candidates)
            rescored = len(candidates)
        if when.wish:
            candidates = _with(candidates, self._of_that_time(reader, query, words, when.wish))
        signals = replace(
            gather(reader, query, words, candidates, near.shares, self._weights), period=when.wish
        )
        ranked = ordered(reader, plan.filter, candidates, signals, words.bound, self._weights)
        sifted = Sifted(ranked=ranked)
        if self.gate and asker:
            sifted = self.gate.sift(reader, asker, query.filter, ranked, max(query.limit, JUDGED))
        judged = self._judge(reader, index, query, words, sifted, signals, near.cosines)
        truth: dict[str, Any] = {
            **truth_of(found.execution),
            "planning_us": round(planned_us, 1),
            "candidates": len(ranked),
            **near.truth(),
        }
        if rescored:
            truth["rescored"] = rescored
        if when.told:
            truth["time"] = when.told
        if judged.evidence:
            truth["evidence"] = {name: round(value, 4) for name, value in judged.evidence.items()}
        outside = {"outside_time": when.outside} if when.outside else {}
        recall = Recall(
            hits=judged.hits,
            hidden={**judged.hidden(), **outside, **sifted.hidden},
            plan=plan_as_json(plan, truth),
            abstained=not judged.hits,
            confidence=round(judged.confidence, 4),
            elapsed_us=(time.perf_counter_ns() - started) // 1000,
            files=dict(asker.files) if asker else {},
        )
        unsettled = () if sifted.whole else tuple(entry.candidate.key for entry in ranked[: 2 * LOOKED_AT])
        return Answer(
            recall=recall, execution=found.execution, whole=near.whole and not unsettled, unsettled=unsettled
        )

    def _of_that_time(
        self, reader: Reader, query: Query, words: TextQuery, wish: Between
    ) -> Sequence[Candidate]:
        """The best by words among the memories of the time that is wished for."""
        then = replace(query, filter=both(query.filter, wish))
        plan = self._planner.create_plan(then, words.postings, words.reading)
        return execute(reader, plan, then, words).candidates

    def analyse(self, reader: Reader, text: str) -> TextQuery | None:
        """The words of a text with their frequencies; None for an empty text."""
        if not text.strip():
            return None
        return text_query(text, _Vocabulary(reader, self.counts))

    def near(self, reader: Reader, workspace: str, text: str) -> tuple[str, ...]:
        """Ids of active memories that share most of their words with a text."""
        # Long words are rare ones. A near duplicate shares at least two of the three rarest.
        longest = sorted(words_of(text), key=len, reverse=True)[:NEAR_WORDS_COUNTED]
        words = self.analyse(reader, " ".join(longest)) or NO_WORDS
        names = [f'"{term.word}"' for term in words.terms[: min(words.searched, NEAR_WORDS_MAX)]]
        pairs = [f"({one} AND {other})" for one, other in combinations(names, 2)]
        match = " OR ".join(pairs or names)
        where = both(In(field="workspace", values=(workspace,)), ACTIVE)
        candidates = reader.lexical(match, where, NEAR_CANDIDATES) if match else []
        mine = set(reader.tokens(indexed(text)))
        found = reader.load([candidate.key for candidate in candidates])
        return tuple(
            memory.id for memory in found.values() if _jaccard(mine, _said(reader, memory)) >= NEAR_JACCARD
        )

    def _judge(
        self,
        reader: Reader,
        index: _Vocabulary,
        query: Query,
        words: TextQuery,
        sifted: Sifted,
        signals: Signals,
        cosines: Mapping[int, float],
    ) -> Judged:
        """Loads the best; where they are not likely to answer the question, nothing is said."""
        ranked = sifted.ranked
        chosen = ranked[: max(query.limit, JUDGED)]
        memories = reader.load([entry.candidate.key for entry in chosen])
        damaged = len(chosen) - len(memories)
        chosen = [entry for entry in chosen if entry.candidate.key in memories]
        confidence, evidence = float(bool(chosen)), {}
        if words.stems and chosen:
            best = [(entry, memories[entry.candidate.key]) for entry in chosen[:JUDGED]]
            scores = [entry.candidate.bm25 for entry in ranked]
            evidence = asdict(found := evidence_of(index, query.text, words, best, scores, signals))
            closeness = closeness_of(cosines, [entry.candidate.key for entry, _ in best])
            confidence = probability(found, index.total(), closeness)
            evidence |= asdict(closeness) if closeness else {}
        if confidence < self._confidence:
            return Judged((), confidence, len(ranked), damaged, evidence)
        repeats = 0
        if words.stems:
            kept, repeats = distinct([memories[entry.candidate.key] for entry in chosen], query.limit)
            chosen = [chosen[place] for place in kept]
        shown = words_of(query.text)
        hits = tuple(
            Hit(
                memory=memories[entry.candidate.key],
                score=round(min(1.0, entry.score), 4),
                parts=entry.parts,
                snippet=snippet_of(memories[entry.candidate.key].text, shown),
                state=sifted.marks.get(entry.candidate.key, CLEAR).state,
                note=sifted.marks.get(entry.candidate.key, CLEAR).note,
            )
            for entry in chosen[: query.limit]
        )
        return Judged(hits, confidence, 0, damaged, evidence, repeats)


class _Vocabulary:
    """The vocabulary of a reader's snapshot for one question: each thing is looked up once.

    Large counts are kept beyond it.
    """

    def __init__(self, reader: Reader, word_counts: WordCounts) -> None:
        self._reader = reader
        self._word_counts = word_counts
        self._counts: dict[str, int] = {}
        self.tokens = cache(reader.tokens)
        self.phrase_frequency = cache(reader.phrase_frequency)
        self.terms_from = reader.terms_from
        self.total = cache(reader.indexed)

    def document_frequencies(self, terms: Sequence[str]) -> dict[str, int]:
        missing = [term for term in terms if term not in self._counts]
        if missing:
            known = self._word_counts.known(missing, self.total())
            asked = [term for term in missing if term not in known]
            fresh = self._reader.document_frequencies(asked) if asked else {}
            self._word_counts.keep(fresh, self.total())
            self._counts |= dict.fromkeys(missing, 0) | known | fresh
        return {term: count for term in terms if (count := self._counts[term])}


def _with(found: Sequence[Candidate], near: Sequence[Candidate]) -> list[Candidate]:
    """The candidates of the words, then those that are only near."""
    known = {candidate.key for candidate in found}
    return [*found, *(candidate for candidate in near if candidate.key not in known)]


NO_WORDS = TextQuery(match="", postings={}, bound=0.0, stems={})


def gated(recall: Recall, percent: int) -> Recall:
    """The recall, or where it is not that likely to answer, the same without hits: counted as below confidence."""
    if recall.confidence >= percent / 100:
        return recall
    hidden = dict(recall.hidden)
    hidden["below_confidence"] = hidden.get("below_confidence", 0) + len(recall.hits)
    return replace(recall, hits=(), hidden=hidden, abstained=True)


def within_budget(recall: Recall, budget: int) -> tuple[Recall, list[str]]:
    """The best hits that fit into a budget of tokens, and their lines; the others are counted as hidden."""
    used, kept, lines = 0, [], []
    for hit in recall.hits:
        line = line_of(hit.memory, hit.snippet, hit.note)
        cost = count_tokens(line) + 1
        if used + cost > budget:
            continue
        used += cost
        kept.append(hit)
        lines.append(line)
    left_out = len(recall.hits) - len(kept)
    hidden = {**recall.hidden, "over_budget": left_out} if left_out else recall.hidden
    return replace(recall, hits=tuple(kept), hidden=hidden, tokens=used), lines


def _said(reader: Reader, memory: Memory) -> set[str]:
    """The words of title and text; files and tags do not make two memories differ in what they say."""
    return set(reader.tokens(indexed(f"{memory.title}\n{memory.text}")))


def _jaccard(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other) if one or other else 0.0
