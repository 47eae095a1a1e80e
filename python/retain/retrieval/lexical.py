"""From a question in words to an FTS5 expression: stop words dropped, identifiers split, terms weighed.

The user's text is never read as FTS5 syntax: each word is quoted. The terms are joined by OR, and bm25
with column weights does the ranking (retrieval.md section 3.1).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from retain.storage.text import identifier_parts

TERMS_MAX = 64
"""Most words of a query that are searched for; of a longer query the rarest ones."""

WORDS_MAX = 2_000
WORD_CHARS_MAX = 128
K1 = 1.2
"""Saturation of bm25 in FTS5: no term can bring more than (K1 + 1) times its idf."""

STOP_WORDS = frozenset(
    """a about after again all also am an and any are as at be because been before being but by can could did do
    does doing don down during each few for from further had has have having he her here hers him his how i if in
    into is it its itself just let like me more most my no nor not now of off on once only or other our ours out
    over own please re s same she should so some such t than that the their theirs them then there these they this
    those through to too under until up us use using very was we were what when where which while who whom why
    will with would you your yours tell show find know remember happened happen there's what's we've""".split()
)

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextQuery:
    """The words of a query as the index will see them.

    Attributes:
        match: FTS5 expression; empty where the text has no word.
        postings: for each word, in how many memories it occurs (estimated).
        bound: the bm25 that a memory full of every word would reach, for scores in 0..1.
    """

    match: str
    postings: Mapping[str, int]
    bound: float


def words_of(text: str) -> list[str]:
    """The words of a text that carry meaning, each once, parts of identifiers after their whole."""
    found = [word[:WORD_CHARS_MAX] for word in _WORD.findall(text)[:WORDS_MAX]]
    meaningful = [word for word in found if word.lower() not in STOP_WORDS] or found
    spread: dict[str, None] = {}
    for word in meaningful:
        spread[word.lower()] = None
        pieces = [piece for piece in word.split("_") if piece]
        for piece in pieces if len(pieces) > 1 else ():
            spread[piece.lower()] = None
        for piece in pieces:
            for part in identifier_parts(piece):
                spread[part.lower()] = None
    return [word for word in spread if any(c.isalnum() for c in word)]


def text_query(
    text: str,
    *,
    tokens: Callable[[str], Sequence[str]],
    frequencies: Callable[[Sequence[str]], Mapping[str, int]],
    total: int,
) -> TextQuery:
    """Builds the expression.

    Args:
        text: what the user asks; any text.
        tokens: the index's own tokenizer.
        frequencies: in how many memories each stem occurs.
        total: number of memories in the index.
    """
    stems = {word: tuple(tokens(word)) for word in words_of(text)}
    stems = {word: found for word, found in stems.items() if found}
    counts = frequencies(sorted({stem for found in stems.values() for stem in found}))
    # A word of several stems is searched as a phrase, which is at most as frequent as its rarest stem.
    postings: dict[tuple[str, ...], tuple[str, int]] = {}
    for word, found in stems.items():
        postings.setdefault(found, (word, min(counts.get(stem, 0) for stem in found)))
    rarest = sorted(postings.values(), key=lambda item: item[1])[:TERMS_MAX]
    present = [word for word, count in rarest if count]
    return TextQuery(
        match=" OR ".join(f'"{word}"' for word in present),
        postings=dict(rarest),
        bound=sum(idf(count, total) for _, count in rarest) * (K1 + 1),
    )


def idf(count: int, total: int) -> float:
    """The inverse document frequency as FTS5 computes it."""
    value = math.log((max(total, count) - count + 0.5) / (count + 0.5))
    return max(value, 1e-6)
