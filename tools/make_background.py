"""Writes how common words are in the commits of projects at large: python/retain/retrieval/background.txt.

    python tools/make_background.py REPO... > python/retain/retrieval/background.txt

Each REPO is a git history; none of them may be one that a judgement of the gate is made on. Records are those of the
referee; words are stems as the index makes them. A word's share is the mean over the histories without the one where
it is most common, so that no project makes its own names common. One line a level, from common to rare: the level,
then its stems. Level n stands for a share of 2**(-n/2).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter, defaultdict
from pathlib import Path

import apsw

from retain.referee.commits import keep
from retain.referee.history import read_history
from retain.storage.reads import Reader
from retain.storage.text import indexed

LEVEL_MAX = 22
"""Rarer words are left out: 2**-11 is one record in 2,048."""

HISTORIES_MIN = 3


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("repository", type=Path, nargs="+")
    given = parser.parse_args()
    reader = Reader(apsw.Connection(":memory:"))
    shares: dict[str, list[float]] = defaultdict(list)
    for repository in given.repository:
        kept = keep(read_history(repository))
        counts: Counter[str] = Counter()
        for commit in kept:
            counts.update(set(reader.tokens(indexed(commit.text()))))
        for stem, count in counts.items():
            shares[stem].append(count / len(kept))
        print(f"{repository}: {len(kept):,} records", file=sys.stderr)
    levels: dict[int, list[str]] = defaultdict(list)
    for stem, found in shares.items():
        if len(found) < HISTORIES_MIN or not stem.isalpha() or not stem.isascii():
            continue
        share = sum(sorted(found)[:-1]) / (len(given.repository) - 1)
        level = round(-2 * math.log2(share))
        if level <= LEVEL_MAX:
            levels[level].append(stem)
    for level, stems in sorted(levels.items()):
        print(level, *sorted(stems))
    return 0


if __name__ == "__main__":
    sys.exit(main())
