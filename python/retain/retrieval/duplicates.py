"""The same fact told twice: of two hits that say the same, the better one is shown and the other counted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from retain.model import Memory
from retain.retrieval.context import LINE_CHARS_MAX

SAME_JACCARD = 0.9
"""Share of common words from which two memories say the same."""

TEXT_CHARS_MAX = 4_000
"""What is compared of a long text, from its beginning; its length must fit as well."""

BY_TITLE = frozenset({"error", "fix"})
"""One change may end several errors, and tells the same of each: its title says which."""

SUMS_UP = frozenset({"decision", "summary"})
"""A decision is cut out of what an assistant said in the end, and that is kept as a summary."""

RESTATED_SHARE = 0.6
"""Of the words of a line, in one stretch, from which it says again what another line said."""

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Said:
    """What of a memory must be the same: kind, place, files, every number; and its words, nearly."""

    frame: tuple[object, ...]
    numbers: frozenset[str]
    words: frozenset[str]
    chars: int

    @classmethod
    def of(cls, memory: Memory) -> Said:
        """Some ten microseconds for a text of a few hundred characters."""
        words = frozenset(_WORD.findall(f"{memory.title}\n{memory.text[:TEXT_CHARS_MAX]}".lower()))
        return cls(
            frame=(
                memory.kind,
                memory.workspace,
                memory.branch,
                frozenset(memory.paths),
                memory.title if memory.kind in BY_TITLE else "",
            ),
            numbers=frozenset(word for word in words if not word.isalpha()),
            words=words,
            chars=len(memory.text),
        )

    def repeats(self, other: Said) -> bool:
        """Whether both say the same."""
        if self.frame != other.frame or self.numbers != other.numbers:
            return False
        if min(self.chars, other.chars) < SAME_JACCARD * max(self.chars, other.chars):
            return False
        return len(self.words & other.words) >= SAME_JACCARD * len(self.words | other.words)


def distinct(memories: Sequence[Memory], most: int) -> tuple[list[int], int]:
    """The places of the first memories that say something new, and how many repeats stand between them.

    Args:
        memories: best first.
        most: places wanted.
    """
    kept: list[int] = []
    said: list[Said] = []
    repeats = 0
    for place, memory in enumerate(memories):
        if len(kept) == most:
            break
        one = Said.of(memory)
        if any(one.repeats(other) for other in said):
            repeats += 1
            continue
        kept.append(place)
        said.append(one)
    return kept, repeats


def restated(memories: Sequence[Memory]) -> frozenset[int]:
    """The places of decisions and summaries whose line mostly says what one before them says, of the same session."""
    told: list[tuple[str, list[str]]] = []
    found: set[int] = set()
    for place, memory in enumerate(memories):
        if memory.kind not in SUMS_UP or not memory.session:
            continue
        words = memory.text[:LINE_CHARS_MAX].split()
        if any(session == memory.session and _holds(before, words) for session, before in told):
            found.add(place)
        else:
            told.append((memory.session, words))
    return frozenset(found)


def _holds(before: list[str], words: list[str]) -> bool:
    most = SequenceMatcher(None, before, words, autojunk=False).find_longest_match()
    return most.size >= RESTATED_SHARE * len(words)
