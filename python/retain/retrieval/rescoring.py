"""The second pass of a question whose common words were left out of the ranking, for they stand in too many memories.

The first pass ranks by the rarest words alone. Where those do not tell enough, the memory that is meant may stand
anywhere among thousands of equals. So what holds several of the words at once is looked up, which takes no ranking
and is quick, and all candidates are scored by all words, as FTS5 would have done.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache

from retain.model import Filter
from retain.retrieval.lexical import K1, Term, TextQuery, idf, rarest_together
from retain.storage import ways
from retain.storage.reads import WEIGHTS, Candidate, Reader

B = 0.75
"""How much bm25 minds the length of a memory; FTS5's own value."""

TOGETHER = 50
"""Words are required together until about so many memories are left, and so many are taken."""

TESTED_MAX = 200
"""Memories that hold the words together and are tested by the filter."""

DOUBTED = 3
"""Of so many of the rarest words each may be missing in the memory that is meant."""

ENTRIES_MAX = 600_000
"""Entries of the index that all of it may pass over, some 8 ns each; the first is looked up whatever it takes."""

PATH_WEIGHT = WEIGHTS[2]


def together(words: TextQuery, total: int, share: float) -> list[str]:
    """FTS5 expressions for memories that hold several words of a question, one of them a word that was left out.

    Args:
        words: of the question; with some left out.
        total: memories in the store.
        share: how large a part of them fits the filter.
    """
    wanted = min(TESTED_MAX, TOGETHER / max(share, 1e-9))
    searched = set() if words.alone else {term.word for term in words.terms[: words.searched]}
    found: dict[str, None] = {}
    entries = 0
    for missing in (None, *range(min(DOUBTED, len(words.terms) - 1))):
        rest = [term for at, term in enumerate(words.terms) if at != missing]
        chosen, _ = rarest_together(rest, total, wanted)
        if len(chosen) > 1 and not {term.word for term in chosen} <= searched:
            entries += sum(term.memories for term in chosen)
            if missing is not None and entries > ENTRIES_MAX:
                break
            found[" AND ".join(f'"{term.word}"' for term in chosen)] = None
    return list(found)


def completed(
    reader: Reader, words: TextQuery, where: Filter, share: float, candidates: Sequence[Candidate]
) -> tuple[list[Candidate], TextQuery]:
    """The candidates and what holds the words together, scored by all words, best first; the words with their bound.

    Args:
        reader: inside a snapshot.
        words: of the question; with some left out.
        where: the filter.
        share: how large a part of the memories fits it.
        candidates: of the first pass.
    """
    total = max(1, reader.indexed())
    known = {candidate.key: candidate for candidate in candidates}
    for match in together(words, total, share):
        for candidate in ways.holding(reader.connection, match, where, TESTED_MAX, TOGETHER):
            known.setdefault(candidate.key, candidate)
    worth = [idf(term.memories, total) for term in words.terms]
    scores = dict(_scores(reader, words.terms, worth, known))
    scored = [
        Candidate(one.key, scores.get(one.key, one.bm25), one.occurred_us, one.kind, one.workspace, one.paths)
        for one in known.values()
    ]
    scored.sort(key=lambda one: (one.bm25, one.key), reverse=True)
    return scored, replace(words, bound=sum(worth) * (K1 + 1))


def _scores(
    reader: Reader, terms: Sequence[Term], worth: Sequence[float], known: dict[int, Candidate]
) -> Iterator[tuple[int, float]]:
    """bm25 of each memory by all words; the mean length is that of these memories."""
    held = {key: reader.tokens(text) for key, text in reader.texts(list(known))}
    mean = sum(map(len, held.values())) / max(1, len(held)) or 1.0
    wanted = [(term.stems[0], term.stems, value) for term, value in zip(terms, worth, strict=True)]
    firsts = {first for first, _, _ in wanted}

    @cache
    def named(paths: str) -> tuple[list[str], dict[str, int]]:  # many memories name the same files
        stems = reader.tokens(paths) if paths != "[]" else []
        return stems, _counts(stems, firsts)

    for key, stems in held.items():
        score = 0.0
        if counts := _counts(stems, firsts):
            length = K1 * (1 - B + B * len(stems) / mean)
            paths, in_paths = named(known[key].paths)
            for first, word, value in wanted:
                if first in counts:  # the paths are a part of the text
                    often = _often(word, counts, stems) + (PATH_WEIGHT - 1) * _often(word, in_paths, paths)
                    score += value * often * (K1 + 1) / (often + length)
        yield key, score


def _counts(stems: Sequence[str], wanted: Container[str]) -> dict[str, int]:
    """How often each stem that is wanted stands in a text."""
    found: dict[str, int] = {}
    for stem in [stem for stem in stems if stem in wanted]:
        found[stem] = found.get(stem, 0) + 1
    return found


def _often(wanted: Sequence[str], counts: Mapping[str, int], stems: Sequence[str]) -> int:
    """How often a word stands in a text; one of several stems is there where these stand side by side."""
    first = counts.get(wanted[0], 0)
    if not first or len(wanted) == 1:
        return first
    width, whole = len(wanted), list(wanted)
    often, at = 0, -1
    for _ in range(first):
        at = stems.index(wanted[0], at + 1)
        often += stems[at : at + width] == whole
    return often
