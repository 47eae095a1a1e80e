"""In how many memories common words stand: counted once, and kept while the store is about as large.

The most common ones are kept in the store for later processes. Counting a word takes time in proportion to its
memories: in a million, 5 ms for one that stands in every fifth. The counts steer plans and
scores, so one that is a fiftieth too low does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import apsw

from retain.cache import L1Cache
from retain.storage.reads import Reader
from retain.storage.writes import WORDS_FACT, removals, set_facts

COMMON = 500
"""What stands in fewer memories is counted in some microseconds, and not kept."""

GROWTH_MAX = 1.02
"""A word is counted anew when the store has grown by more since."""

AGE_MAX_S = 3_600.0
"""Or after so long: what is forgotten leaves the index too."""

LASTING = 2_000
LASTING_MAX = 4_096
"""From so many memories on a word is kept in the store, and at most so many words are."""


class WordCounts:
    """The counts of one process.

    Args:
        cache: holds them.
    """

    def __init__(self, cache: L1Cache) -> None:
        self._cache = cache
        self._lasting: dict[str, tuple[int, int]] = {}
        self._removals = ""

    def known(self, stems: Sequence[str], total: int) -> dict[str, int]:
        """Those that were counted when the store was about as large."""
        found: dict[str, tuple[int, int]] = self._cache.get_many(stems)
        return {
            stem: count
            for stem, (count, counted_of) in found.items()
            if counted_of <= total <= counted_of * GROWTH_MAX
        }

    def keep(self, counts: Mapping[str, int], total: int) -> None:
        """Keeps what was counted in a store of so many memories."""
        common = {stem: (count, total) for stem, count in counts.items() if count >= COMMON}
        self._cache.set_many(common, ttl=AGE_MAX_S)
        lasting = {stem: pair for stem, pair in common.items() if pair[0] >= LASTING}
        self._lasting = {**self._lasting, **lasting} if len(self._lasting) < LASTING_MAX else self._lasting

    def save(self, db: apsw.Connection) -> None:
        """Keeps the most common for later processes, unless texts were removed since: a word may be gone with them."""
        if removals(db) == self._removals:
            counts = {stem: list(pair) for stem, pair in self._lasting.items()}
            set_facts(db, [(WORDS_FACT, counts)])

    def load(self, reader: Reader) -> None:
        """Takes what an earlier process kept; what is no count is left out."""
        fact, self._removals = reader.fact(WORDS_FACT), removals(reader.connection)
        pairs = fact.items() if isinstance(fact, dict) else ()
        known = {
            stem: (pair[0], pair[1])
            for stem, pair in pairs
            if isinstance(pair, list) and len(pair) == 2 and all(type(one) is int and one > 0 for one in pair)
        }
        self._lasting = known
        self._cache.set_many(known, ttl=AGE_MAX_S)
