"""How common words are in what projects say at large, to know which words are a store's own.

``background.txt`` holds stems by level of rarity, counted in the commits of ten projects (tools/make_background.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path

ELSEWHERE_MIN = 2**-11.5
"""Share of memories that hold a word which the table does not know."""

FILE = Path(__file__).with_name("background.txt")


@cache
def shares() -> Mapping[str, float]:
    """The share of records that hold a stem, for the stems that are common; read once, a millisecond."""
    found: dict[str, float] = {}
    for line in FILE.read_text("ascii").splitlines():
        level, *stems = line.split()
        found |= dict.fromkeys(stems, 2 ** (-int(level) / 2))
    return found


def ownness(stem: str, count: int, total: int) -> float:
    """How much more common a stem is in this store than elsewhere: the logarithm of the ratio.

    Args:
        stem: as the index makes it.
        count: memories that hold it.
        total: memories of the store.
    """
    here = (count + 0.1) / (total + 1)
    return math.log(here / shares().get(stem, ELSEWHERE_MIN))
