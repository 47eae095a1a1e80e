"""A word that occurs nowhere, resolved to words that do: a slip of the finger, or the beginning of a name.

The vocabulary of the full-text index is ordered by term, so the terms that begin like the word lie together; no
index of letters is kept beside it. Of the slips in the first two letters only a swap and one letter too many are
looked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

CHARS_MIN = 4
"""Shorter words have too many neighbours."""

TWO_SLIPS_CHARS = 8
"""From this length on two slips are forgiven."""

TERMS_READ = 4_000
"""Terms read at one place of the vocabulary."""

RESOLVED_MAX = 2


class Terms(Protocol):
    """The ordered vocabulary of an index."""

    def terms_from(self, start: str, most: int) -> Sequence[tuple[str, int]]:
        """Terms that begin with ``start``, each with the number of memories that hold it, in order."""


def resolve(stem: str, vocabulary: Terms) -> list[tuple[str, int]]:
    """The terms that a stem without a memory most likely stands for, the likeliest first; few or none.

    Terms with the fewest slips come first, of these the most frequent; else those that begin with the stem.
    """
    if len(stem) < CHARS_MIN or not stem.isalnum() or stem.isdigit():
        return []
    allowed = 2 if len(stem) >= TWO_SLIPS_CHARS else 1
    near: dict[str, tuple[int, int]] = {}
    for start in dict.fromkeys((stem[:2], stem[1::-1], stem[1:3], stem[::2][:2])):
        for term, count in vocabulary.terms_from(start, TERMS_READ):
            if abs(len(term) - len(stem)) <= allowed and term.isalpha() == stem.isalpha():
                slips = distance(stem, term, allowed)
                if slips <= allowed:
                    near[term] = (slips, -count)
    if near:
        least = min(slips for slips, _ in near.values())
        best = sorted((term for term in near if near[term][0] == least), key=lambda term: (near[term], term))
        return [(term, -near[term][1]) for term in best[:RESOLVED_MAX]]
    begun = vocabulary.terms_from(stem, TERMS_READ)
    return sorted(begun, key=lambda pair: (-pair[1], pair[0]))[:RESOLVED_MAX]


def distance(one: str, other: str, most: int) -> int:
    """Insertions, deletions, substitutions and swaps of neighbours between two words; ``most + 1`` if more.

    Optimal string alignment, row by row; a row without a small value ends it.
    """
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        earlier, before, row = before, row, [i]
        for j, theirs in enumerate(other, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != theirs))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == theirs:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
    return min(row[-1], most + 1)
