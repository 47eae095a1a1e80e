"""What a prompt asks."""

from __future__ import annotations

import re

from retain.capture.distil import is_prompt_noise, without_asides
from retain.retrieval.lexical import STOP_WORDS, words_of

QUESTION_HEAD_CHARS = 1_500
QUESTION_TAIL_CHARS = 500
"""Of a longer prompt its beginning and its end are looked up; what lies between is often pasted."""

PROMPT_WORDS_MIN = 2
"""A prompt with fewer telling words ("go on") asks nothing that a memory could answer."""

COURTESIES = frozenset("thanks thank please ok okay yes no sure go continue great good nice perfect".split())
"""Words that tell the assistant to go on, and nothing about what."""

_IDENTIFIER = re.compile(r"\w_\w|[a-z][A-Z]|[A-Za-z]\d")
_COMMAND = re.compile(r"/[A-Za-z][\w:-]*(?:\s|\Z)")


_SENTENCE_END = re.compile(r"(?<=[.!?\u3002\uff1f])\s+|\n+")
_QUESTION_MARKS = ("?", "\uff1f")


def only_asks(prompt: str) -> bool:
    """Whether a prompt is questions and nothing else; kept as a memory, it tells whoever asks the same nothing."""
    sentences = [sentence.strip() for sentence in _SENTENCE_END.split(without_asides(prompt).strip())]
    return any(sentences) and all(sentence.endswith(_QUESTION_MARKS) for sentence in sentences if sentence)


def question_of(prompt: str) -> str:
    """What of a prompt is looked up; empty for commands of the client and for what asks nothing."""
    text = without_asides(prompt).strip()
    if is_prompt_noise(prompt) or _COMMAND.match(text):
        return ""
    if len(text) > QUESTION_HEAD_CHARS + QUESTION_TAIL_CHARS:
        text = f"{text[:QUESTION_HEAD_CHARS]}\n{text[-QUESTION_TAIL_CHARS:]}"
    telling = {word for word in words_of(text) if word.lower() not in STOP_WORDS | COURTESIES}
    asks = len(telling) >= PROMPT_WORDS_MIN or any(_IDENTIFIER.search(word) for word in telling)
    return text if asks else ""
