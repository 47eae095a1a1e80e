"""Whether a session used what it was shown: by what its events touch, say and mend.

A guess from outside, so each sign is strict and named: ``file`` (a file of the memory was changed afterwards),
``words`` (the assistant's last message says what the memory says and the prompt did not), ``fix`` (the error
that it is about went away). ``read`` (its whole text was asked for) is known where it happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from retain.model import Draft, Event, Memory
from retain.retrieval.lexical import STOP_WORDS, words_of

WORD_CHARS_MIN = 4
WORDS_COMPARED = 24
"""Words of a memory that are looked for in a message: the longest, which are the rarest."""

ECHO_MIN = 4
ECHO_SHARE = 0.3
"""A message echoes a memory where it holds this many of those words, and this share of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What an event shows: files changed, words said, error signatures that went away."""

    paths: frozenset[str]
    words: frozenset[str]
    signatures: frozenset[str]

    def __bool__(self) -> bool:
        """Whether it shows anything at all."""
        return bool(self.paths or self.words or self.signatures)


def signs_of(event: Event, drafts: Sequence[Draft], fixes: Sequence[Draft]) -> Signs:
    """What one event shows of the use of earlier memories.

    Args:
        event: prepared.
        drafts: what was distilled from it.
        fixes: the errors that it ended.
    """
    message = event.payload.get("last_assistant_message")
    said = words_of(message) if event.name == "Stop" and isinstance(message, str) else ()
    return Signs(
        paths=frozenset(path for draft in drafts if draft.kind == "file_change" for path in draft.paths),
        words=_telling(said),
        signatures=frozenset(str(fix.extra["signature"]) for fix in fixes if fix.extra.get("signature")),
    )


def use_of(memory: Memory, signs: Signs, asked: Callable[[], str]) -> str | None:
    """The sign by which a memory was used, or None.

    Args:
        memory: what was shown.
        signs: of a later event.
        asked: the prompt that it was shown for; its words prove nothing.
    """
    if signs.signatures and memory.extra.get("signature") in signs.signatures:
        return "fix"
    if signs.paths and signs.paths & set(memory.paths):
        return "file"
    if signs.words and _echoed(memory, signs.words, _telling(words_of(asked()))):
        return "words"
    return None


def _echoed(memory: Memory, said: frozenset[str], asked: frozenset[str]) -> bool:
    own = _telling(words_of(f"{memory.title}\n{memory.text}")) - asked
    compared = sorted(own, key=lambda word: (-len(word), word))[:WORDS_COMPARED]
    common = sum(word in said for word in compared)
    return common >= ECHO_MIN and common >= ECHO_SHARE * len(compared)


def _telling(found: Iterable[str]) -> frozenset[str]:
    lowered = (word.lower() for word in found)
    return frozenset(word for word in lowered if len(word) >= WORD_CHARS_MIN and word not in STOP_WORDS)
