"""The same fact told twice: of two hits that say the same, the better one is shown and the other counted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from retain.model import Memory

SAME_JACCARD = 0.9
"""Share of common words from which two memories say the same."""

TEXT_CHARS_MAX = 4_000
"""What is compared of a long text, from its beginning; its length must fit as well."""

BY_TITLE = frozenset({"error", "fix"})
"""One change may end several errors, and tells the same of each: its title says which."""

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
