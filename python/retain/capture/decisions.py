"""Sentences that state a choice.

Few, and right: a missed decision can be remembered by hand, a false one misleads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

DECISIONS_MAX = 5
"""Of one message."""
SENTENCE_CHARS_MAX = 600
SENTENCES_MAX = 2_000
SCANNED_CHARS_MAX = 256 * 1024

_REASON = (
    r"(?:because|since|instead of|rather than|so that|over|due to|as it|as they|to avoid|in favou?r of|not)"
)
_REST = r"[^\n]{0,400}?"

_ANYONE = tuple(
    re.compile(expression, re.IGNORECASE)
    for expression in (
        r"^\W{0,6}(?:final )?decision(?: made)?\W{0,4}:\W{0,4}\w",
        (
            r"\b(?:we|i|they|the team)(?:'ve| have)? (?:finally |also |just |now )?"
            r"(?:decided|agreed|chose|opted|settled)(?: to| on| for| that| against| not to)? \w"
        ),
        (
            rf"\b(?:let's|let us|we'll|we will|i'll|i will|we should|going to|"
            rf"we(?:'re| are) going to) "
            rf"(?:use|keep|stick with|go with|store|switch to|adopt|prefer) {_REST}\b{_REASON}\b"
        ),
        (
            rf"^\W{{0,6}}(?:chose|picked|selected|using|going with|went with|opted for|"
            rf"switched to|sticking with) "
            rf"{_REST}\b{_REASON}\b"
        ),
        (
            rf"\b(?:i|we)(?:'ve| have)? (?:chosen|picked|went with|gone with|switched|moved|replaced) "
            rf"{_REST}\b{_REASON}\b"
        ),
        r"\bfrom now on\b",
        rf"\bwas chosen {_REST}\b{_REASON}\b",
    )
)
_USER = tuple(
    re.compile(expression, re.IGNORECASE)
    for expression in (
        (
            r"^\W{0,6}(?:please |and |also |so |but )?(?:always|never|don't ever|do not ever) "
            r"(?!mind\b|seen\b|saw\b|heard\b|had\b|been\b|works?\b|worked\b)[a-z]+ \w"
        ),
        r"\b(?:we|you) (?:must|should) (?:always|never) \w",
        (
            r"^\W{0,6}(?:please |ok(?:ay)?,? |yes,? )?(?:use|prefer|keep) "
            r"[^\n]{1,120}?(?:,? not |instead of|rather than| over )"
        ),
        r"\blet's (?:use|go with|stick with|keep|switch to) \w+",
        r"^\W{0,6}(?:please )?remember(?: that|:) \w",
    )
)
_NOT_A_DECISION = re.compile(
    r"(?i)\?\s*\Z|\b"
    r"(?:should (?:we|i)|if (?:we|you|i)|whether|haven't|have not|hasn't|not (?:yet )?decided|undecided|"
    r"could (?:we|also)|"
    r"until (?:we|you)|before (?:we|you) decide|would you|do you want|can decide|"
    r"to be decided|may want|might want)\b"
)
_STANDING = re.compile(
    r"(?i)\b(?:always|never|don't ever|do not ever|from now on|in general|as a rule|every time|everywhere|whenever)\b"
)
_FENCE = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)", re.DOTALL)
_BREAK = re.compile(r"(?<=[.!?])[\"')\]]?\s+(?=[\"'(\[A-Z0-9`*_-])|\n+")
_LIST_MARK = re.compile(r"^\s{0,12}(?:[-*+>#]{1,6}|\d{1,3}[.)])\s+")


@dataclass(frozen=True, slots=True)
class Decision:
    """A sentence that states a choice, and the passage around it."""

    sentence: str
    passage: str


def find_decisions(text: str, *, by_user: bool) -> list[Decision]:
    """The decisions of a message in order, at most ``DECISIONS_MAX``; code blocks and questions are not read.

    Args:
        text: the message.
        by_user: whether a person wrote it; then rules ("never ...", "use X, not Y") count too.
    """
    sentences = _sentences(text)
    patterns = _ANYONE + _USER if by_user else _ANYONE
    chosen = [number for number, sentence in enumerate(sentences) if _states_choice(sentence, patterns)]
    return [_decision(sentences, group) for group in _groups(chosen)][:DECISIONS_MAX]


def is_standing(sentence: str) -> bool:
    """Whether a sentence sets a rule for all work to come, not only for what is being worked on."""
    return _STANDING.search(sentence) is not None


def _sentences(text: str) -> list[str]:
    prose = _FENCE.sub("\n", text[:SCANNED_CHARS_MAX])
    pieces = (_LIST_MARK.sub("", piece).strip() for piece in _BREAK.split(prose)[:SENTENCES_MAX])
    return [piece for piece in pieces if piece]


def _states_choice(sentence: str, patterns: tuple[re.Pattern[str], ...]) -> bool:
    if not 12 <= len(sentence) <= SENTENCE_CHARS_MAX or _NOT_A_DECISION.search(sentence):
        return False
    return any(pattern.search(sentence) for pattern in patterns)


def _groups(numbers: list[int]) -> Iterator[list[int]]:
    """Runs of neighbouring sentences: one decision told in several sentences."""
    group: list[int] = []
    for number in numbers:
        if group and number - group[-1] > 1:
            yield group
            group = []
        group.append(number)
    if group:
        yield group


def _decision(sentences: list[str], group: list[int]) -> Decision:
    around = sentences[max(0, group[0] - 1) : group[-1] + 2]
    passage = " ".join(sentence[:SENTENCE_CHARS_MAX] for sentence in around)
    return Decision(sentence=sentences[group[0]], passage=passage)
