"""From a question in words to an FTS5 expression: stop words dropped, identifiers split, terms weighed.

The user's text is never read as FTS5 syntax: each word is quoted. The terms are joined by OR, and bm25
with column weights does the ranking (retrieval.md section 3.1).
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple, Protocol

from retain.retrieval.spelling import Terms, resolve
from retain.storage.text import identifier_parts, unspaced_parts

TERMS_MAX = 20
"""Most words of a query that are searched for; of a longer query the rarest ones that occur at all. The common ones
of a long query cost the most and change nothing."""

POSTINGS_MAX = 10_000
"""Entries of the index that a question may read for its ranking: each takes FTS5 half a microsecond or more. Of a
question that would read more, only the rarest words are searched; ``rescoring.py`` has the others join in."""

PASSED_OVER = 0.05
"""What an entry takes that is passed over because another word is not there, against one that is ranked."""

RESOLVED_WORDS_MAX = 4
"""Words without a memory that are resolved to others, the first ones of a query."""

RESOLVED_DOUBT = 0.5
"""What a word that was resolved still weighs itself: what was found is perhaps not what was meant."""

TEXTS_KEPT = 4
"""Texts whose words are kept: a recall takes the same question apart five times."""

WORDS_MAX = 2_000
WORD_CHARS_MAX = 128
MEMORIES_ASSUMED = 200

SHORT_WORDS_MAX = 6
"""Up to so many words of a question the parts of an identifier are searched beside it, and words that occur
nowhere are resolved. In a longer one the other words say enough, and these find what it does not ask for."""

K1 = 1.2
"""Saturation of bm25 in FTS5: no term can bring more than (K1 + 1) times its idf."""

STOP_WORDS = frozenset(
    """
    a about after again all also am an and any are as at be because been before being but by can could
    did do does doing don down during each few for from further had has have having he her here hers him
    his how i if in into is it its itself just let like me more most my no nor not now of off on once
    only or other our ours out over own please re s same she should so some such t than that the their
    theirs them then there these they this those through to too under until up us very was we were what
    when where which while who whom why will with would you your yours
    """.split()
)

_WORD = re.compile(r"[\w\u0300-\u036f]+")
"""Combining marks belong to the word, as they do for the index: decomposed text is text like any other."""


class Reading(NamedTuple):
    """How much of the index words read: stems looked up, entries of single stems, entries that phrases skip over."""

    stems: float = 0.0
    walked: float = 0.0
    skipped: float = 0.0


NOTHING_READ = Reading()


class Term(NamedTuple):
    """A word of a question, its stems, and in how many memories it occurs."""

    word: str
    stems: tuple[str, ...]
    memories: int


Entry = tuple[tuple[str, ...], tuple[str, int]]
"""The stems of a word, the word, and in how many memories it occurs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextQuery:
    """The words of a query as the index will see them.

    Attributes:
        match: FTS5 expression; empty where no word occurs anywhere.
        postings: for each word that is searched or occurs nowhere, in how many memories it occurs.
        bound: the bm25 that a memory full of every word that is searched would reach, for scores in 0..1.
        stems: for each stem of the query, what finding it is worth; see ``information``.
        reading: what looking the words up in the index takes.
        known: how many words of the question occur, whether they are searched or not.
        counts: for each of the stems, in how many memories it occurs.
        terms: the words that occur, the rarest first.
        searched: how many of them are searched; the others are too common for it.
        alone: where even the rarest word is too common, ``match`` asks for it together with others, and this for it
            alone, should nothing hold them together; else empty.
    """

    match: str
    postings: Mapping[str, int]
    bound: float
    stems: Mapping[str, float]
    reading: Reading = NOTHING_READ
    known: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    terms: tuple[Term, ...] = ()
    searched: int = 0
    alone: str = ""

    @property
    def is_cut(self) -> bool:
        """Whether memories are left out that hold some of the words."""
        return self.searched < len(self.terms) or bool(self.alone)

    @property
    def ranks_together(self) -> bool:
        """Whether ``match`` asks for several words together."""
        return bool(self.alone) and self.match != self.alone

    def asked(self) -> list[tuple[str, ...]]:
        """The stems of each word that ``match`` asks for; empty where it was not made of ``terms``."""
        asked = self.terms[: 1 if self.match == self.alone else self.searched]
        return [term.stems for term in asked]


class Vocabulary(Terms, Protocol):
    """What a query needs to know of the index."""

    def tokens(self, text: str) -> Sequence[str]:
        """The stems of a text, as the index makes them."""

    def document_frequencies(self, terms: Sequence[str]) -> Mapping[str, int]:
        """In how many memories each stem occurs."""

    def phrase_frequency(self, phrase: str) -> int:
        """In how many memories a phrase occurs."""

    def total(self) -> int:
        """Number of memories in the index."""


def words_of(text: str) -> list[str]:
    """The words of a text that carry meaning, each once, as they are written, identifiers whole."""
    return list(_words_of(text))


@lru_cache(TEXTS_KEPT)
def _words_of(text: str) -> tuple[str, ...]:
    found = [word[:WORD_CHARS_MAX] for word in _WORD.findall(text)[:WORDS_MAX]]
    meaningful = [word for word in found if word.lower() not in STOP_WORDS] or found
    return tuple(dict.fromkeys(word for word in meaningful if any(c.isalnum() for c in word)))


def parts_of(word: str) -> list[str]:
    """The parts of an identifier, split at underscores and at capitals; empty for a plain word."""
    pieces = [piece for piece in word.split("_") if piece]
    parts = [
        part for piece in pieces for part in ([piece] if len(pieces) > 1 else []) + identifier_parts(piece)
    ]
    return list(dict.fromkeys(parts))


def is_identifier(word: str) -> bool:
    """Whether a word is the name of something in code rather than a word of prose."""
    return "_" in word or bool(identifier_parts(word))


def text_query(text: str, index: Vocabulary) -> TextQuery:
    """Builds the expression for any text.

    In a long question the parts of an identifier join in only where the whole of it occurs nowhere.
    """
    words = words_of(text)
    index.document_frequencies([stems[0] for word in words if len(stems := index.tokens(word)) == 1])
    short = len(words) <= SHORT_WORDS_MAX
    entries = [entry for word in words for entry in _entries(word, index, apart=short)]
    entries += [
        entry for part in unspaced_parts(text, single=False) for entry in _entries(part, index, apart=False)
    ]
    unknown = [stems[0] for stems, (_, count) in entries if not count and len(stems) == 1] if short else []
    resolved = _resolved(unknown, index)
    chosen: dict[tuple[str, ...], tuple[str, int]] = {}
    for key, entry in entries + [pair for pairs in resolved.values() for pair in pairs]:
        chosen.setdefault(key, entry)
    total = max(1, index.total())
    rarest = sorted(chosen.items(), key=lambda item: item[1][1])
    present = [item for item in rarest if item[1][1]][:TERMS_MAX]
    # Words that occur nowhere cannot be searched for, but they are part of the question: they weigh.
    weighed = present + [item for item in rarest if not item[1][1]][:TERMS_MAX]
    counts = index.document_frequencies(sorted({stem for stems, _ in weighed for stem in stems}))
    terms = tuple(Term(word, stems, count) for stems, (word, count) in present)
    searched = present[: _affordable([count for _, (_, count) in present])]
    found = TextQuery(
        match=" OR ".join(f'"{word}"' for _, (word, _) in searched),
        postings=dict(entry for _, entry in searched + weighed[len(present) :]),
        bound=sum(idf(count, total) for _, (_, count) in searched) * (K1 + 1),
        stems={
            stem: information(counts.get(stem, 0), total) * (RESOLVED_DOUBT if stem in resolved else 1)
            for stems, _ in weighed
            for stem in stems
        },
        reading=Reading(
            stems=sum(len(stems) for stems, _ in searched),
            walked=sum(count for stems, (_, count) in searched if len(stems) == 1),
            skipped=sum(counts.get(stem, 0) for stems, _ in searched if len(stems) > 1 for stem in stems),
        ),
        known=len(present),
        counts=counts,
        terms=terms,
        searched=len(searched),
    )
    return _narrowed(found, total) if len(terms) > 1 and terms[0].memories > POSTINGS_MAX else found


def _narrowed(words: TextQuery, total: int) -> TextQuery:
    """The same asking for the rarest words together, as many as it takes until few enough memories are to be ranked."""
    chosen, expected = rarest_together(words.terms, total, POSTINGS_MAX)
    entries = sum(term.memories for term in chosen) * PASSED_OVER
    return replace(
        words,
        match=" AND ".join(f'"{term.word}"' for term in chosen),
        postings={" ".join(term.word for term in chosen): round(expected)},
        reading=Reading(stems=len(chosen), walked=expected + entries),
        searched=len(chosen),
        alone=words.match,
    )


def rarest_together(terms: Sequence[Term], total: int, wanted: float) -> tuple[list[Term], float]:
    """The rarest words, as many as it takes until about as few memories as wanted hold all of them; and how many do."""
    chosen: list[Term] = []
    expected = float(total)
    for term in terms:
        chosen.append(term)
        expected *= min(1.0, term.memories / total)
        if expected <= wanted:
            break
    return chosen, expected


def _affordable(counts: Sequence[int]) -> int:
    """How many of the rarest words may be searched; at least one."""
    return max(1, sum(read <= POSTINGS_MAX for read in accumulate(counts)))


def _entries(word: str, index: Vocabulary, *, apart: bool) -> list[Entry]:
    """A word, with stems and frequency; its parts as well with ``apart``, or where it occurs nowhere."""
    stems = tuple(index.tokens(word))
    if not stems:
        return []
    single = len(stems) == 1
    count = index.document_frequencies(stems).get(stems[0], 0) if single else index.phrase_frequency(word)
    if not count and len(word) > 2 and unspaced_parts(word, single=False):
        return []  # its pairs of characters stand for it
    parts = parts_of(word) if apart or not count else []
    found = [(stems, (word, count))]
    return found + [entry for part in parts for entry in _entries(part, index, apart=apart)]


def _resolved(unknown: Sequence[str], index: Vocabulary) -> dict[str, list[Entry]]:
    """For stems without a memory the terms that they likely stand for, where there are any."""
    found: dict[str, list[Entry]] = {}
    for stem in unknown[:RESOLVED_WORDS_MAX]:
        terms = [pair for pair in resolve(stem, index) if list(index.tokens(pair[0])) == [pair[0]]]
        if terms:
            found[stem] = [((term,), (term, count)) for term, count in terms]
    return found


def coverage(stems: Mapping[str, float], found: Collection[str]) -> float:
    """The share of a query's information that a memory holds, in 0..1: stems weighed by their idf."""
    whole = sum(stems.values())
    return sum(value for stem, value in stems.items() if stem in found) / whole if whole else 0.0


def information(count: int, total: int) -> float:
    """What it is worth to find a stem: an idf that is never zero and stays sane in a store of few memories.

    In a small store each word stands in a large share of the memories, which says nothing about the word; so
    the store is taken to have at least ``MEMORIES_ASSUMED`` memories.
    """
    whole = max(total, count, MEMORIES_ASSUMED)
    return math.log(1 + (whole - count + 0.5) / (count + 0.5))


def idf(count: int, total: int) -> float:
    """The inverse document frequency as FTS5 computes it."""
    value = math.log((max(total, count) - count + 0.5) / (count + 0.5))
    return max(value, 1e-6)
