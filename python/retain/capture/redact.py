"""Secrets leave before anything is stored, indexed, hashed for search or logged.

What is replaced reads ``[redacted:rule]``. Clean text costs one lowering and a substring search per
keyword. This is the first pass: it knows shapes and names, not entropy.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from retain.capture.assignments import ASSIGNMENT_RULES, names_secret
from retain.capture.secret_rules import RULES, Rule, Span, is_placeholder

PASSES_MAX = 4
"""Replacing one secret can bare another; after this many rounds the text is taken as it is."""

PLACEHOLDER = re.compile(r"\[redacted:(?P<rule>[a-z_]{1,40})\]")

_ALL_RULES = (*RULES, *ASSIGNMENT_RULES)
_KEYWORDS = tuple(dict.fromkeys(keyword for rule in _ALL_RULES for keyword in rule.keywords))
_JSON_KEY = "json_key"
_JSON_FLAG = "json_flag"
_CHARS_MIN = 6
_REPEATED = frozenset(
    ["session_id", "transcript_path", "cwd", "permission_mode", "hook_event_name", "tool_name", "file_path"]
)
"""Fields that say the same in event after event."""
_KEYS_KEPT = 4_096
"""Answers about keys that are kept: payloads have the same ones again and again."""


@dataclass(frozen=True, slots=True)
class Redacted:
    """A text without its secrets, and how many of each rule were taken out."""

    text: str
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RedactedJson:
    """A JSON value without its secrets, and how many of each rule were taken out."""

    value: Any
    counts: Mapping[str, int] = field(default_factory=dict)


def redact(text: str) -> Redacted:
    """Replaces the secrets of a text; linear in its length, and changes nothing on a second call."""
    counts: Counter[str] = Counter()
    text = _redact(text, counts, _ALL_RULES)
    return Redacted(text, dict(counts))


def redact_json(value: Any) -> RedactedJson:
    """Replaces the secrets in every string of a JSON value, keys included.

    Under a key that names a secret (``password``, ``apiToken``) the whole scalar goes, and so does the item
    after such a flag in a list of arguments. Recursion is as deep as the value.
    """
    counts: Counter[str] = Counter()
    strings: list[str] = []
    _gather(value, strings)
    lowered = "\n".join(strings).lower()
    present = {keyword for keyword in _KEYWORDS if keyword in lowered}
    rules = tuple(rule for rule in _ALL_RULES if not present.isdisjoint(rule.keywords)) if present else ()
    return RedactedJson(_walk(value, counts, rules), dict(counts))


def _gather(value: Any, strings: list[str]) -> None:
    """Collects the strings of a value: which rules can find anything is asked once for all of them."""
    if isinstance(value, str):
        if len(value) >= _CHARS_MIN:
            strings.append(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _gather(key, strings)
            _gather(item, strings)
    elif isinstance(value, list):
        for item in value:
            _gather(item, strings)


def _may_find(rule: Rule, lowered: str) -> bool:
    for keyword in rule.keywords:  # noqa: SIM110 - a generator for each rule and text would be most of the cost
        if keyword in lowered:
            return True
    return False


def _redact(text: str, counts: Counter[str], rules: tuple[Rule, ...]) -> str:
    """The text without what the rules find; where that is anything, every rule looks at what is left."""
    if len(text) < _CHARS_MIN or not rules:
        return text
    for _ in range(PASSES_MAX):
        before = text
        text = _one_pass(text, counts, rules)
        if text == before:
            break
        rules = _ALL_RULES
    return text


def _one_pass(text: str, counts: Counter[str], rules: tuple[Rule, ...]) -> str:
    lowered = text.lower()
    for rule in rules:
        if _may_find(rule, lowered):
            spans = list(rule.find(text))
            if spans:
                counts[rule.name] += len(spans)
                text = _replace(text, spans, f"[redacted:{rule.name}]")
                lowered = text.lower()
    return text


def _replace(text: str, spans: list[Span], placeholder: str) -> str:
    parts = []
    position = 0
    for start, end in spans:
        parts += [text[position:start], placeholder]
        position = end
    return "".join([*parts, text[position:]])


def _walk(value: Any, counts: Counter[str], rules: tuple[Rule, ...]) -> Any:
    if isinstance(value, str):
        return _redact(value, counts, rules)
    if isinstance(value, Mapping):
        return {
            key if _is_clean(key) else _redact(key, counts, rules): _under_key(key, item, counts, rules)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return _arguments(value, counts, rules)
    return value


def _under_key(key: str, value: Any, counts: Counter[str], rules: tuple[Rule, ...]) -> Any:
    if _key_names_secret(key) and _is_scalar_secret(value):
        counts[_JSON_KEY] += 1
        return f"[redacted:{_JSON_KEY}]"
    if key in _REPEATED and isinstance(value, str) and _is_clean(value):
        return value
    return _walk(value, counts, rules)


_key_names_secret = lru_cache(_KEYS_KEPT)(names_secret)


@lru_cache(_KEYS_KEPT)
def _is_clean(text: str) -> bool:
    """Whether a text that payloads have again and again holds no secret."""
    return _redact(text, Counter(), _ALL_RULES) == text


def _arguments(items: list[Any], counts: Counter[str], rules: tuple[Rule, ...]) -> list[Any]:
    walked = []
    previous: Any = None
    for item in items:
        if _is_flag(previous) and isinstance(item, str) and _is_scalar_secret(item) and item[:1] != "-":
            counts[_JSON_FLAG] += 1
            walked.append(f"[redacted:{_JSON_FLAG}]")
        else:
            walked.append(_walk(item, counts, rules))
        previous = item
    return walked


def _is_flag(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("--") and names_secret(value.lstrip("-"))


def _is_scalar_secret(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value) and not PLACEHOLDER.fullmatch(value) and not is_placeholder(value)
    return isinstance(value, int | float) and not isinstance(value, bool)
