"""Text that looks like notes of a project, the same at every run: for benches that need no real history.

Words follow Zipf's law, as they do in real text, so that some are in every second memory and most are rare.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import accumulate

VOCABULARY = 6_000
SYLLABLES = "ba ce di fo gu ha je ki lo mu na pe ri so tu va we xi yo zu".split()
VERBS = "adds drops fixes guards moves names reads retries splits tests warns writes".split()


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A text, and a name in it that no other text holds."""

    text: str
    name: str


def notes(count: int, seed: int = 1) -> list[Note]:
    """That many notes of two or three sentences; each begins differently."""
    rng = random.Random(seed)
    words = _words(rng)
    weights = list(accumulate(1 / (rank + 3) for rank in range(len(words))))
    made = []
    for number in range(count):
        length = rng.randint(14, 60)
        body = rng.choices(words, cum_weights=weights, k=length)
        name = f"{body[0]}_{body[1]}_{number:05d}"
        body[length // 2] = name
        verb = rng.choice(VERBS)
        made.append(Note(text=f"{body[2]} {verb} {body[3]}.\n{' '.join(body)}.", name=name))
    return made


def _words(rng: random.Random) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < VOCABULARY:
        found["".join(rng.choices(SYLLABLES, k=rng.randint(2, 4)))] = None
    return list(found)
