"""Secrets leave before anything is stored, indexed, hashed for search or logged.

What is replaced reads ``[redacted:rule]``. The rules and what looks for them are in Rust (``rust/core/redact``); this
module owns them for the process, and adds what only the structure of a JSON value tells.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

from retain._core import Redactor
from retain.capture.fields import MAPPINGS

PLACEHOLDER = re.compile(r"\[redacted:(?P<rule>[a-z0-9_]{1,48})\]")
RULES_VERSION = Redactor.version()
"""Changes with the rules; a store keeps the one that it was last searched with."""

_JSON_KEY = "json_key"
_JSON_FLAG = "json_flag"
_CHARS_MIN = 6
_Clean: TypeAlias = tuple[str, list[tuple[str, int]]]
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


@dataclass(frozen=True, slots=True)
class Finding:
    """Where a secret stands in a text (characters), which rule found it, and what an allowlist knows it by."""

    rule: str
    start: int
    end: int
    fingerprint: str


class _Rules:
    """The rules as this process was told to apply them."""

    def __init__(self) -> None:
        self.asked: tuple[bool, list[tuple[str, int]]] = (False, [])
        self.redactor = Redactor()


_rules = _Rules()


def configure(*, pii: bool, allowed: Iterable[tuple[str, int]]) -> None:
    """Sets what this process looks for: personal data too, and which values are no secrets.

    Args:
        pii: whether mail addresses, telephone numbers, cards and accounts go too.
        allowed: names of rules with the fingerprints of values that they leave.
    """
    asked = (pii, sorted(set(allowed)))
    if asked != _rules.asked:
        _rules.redactor = Redactor(pii=pii, allowed=asked[1])
        _rules.asked = asked


def find(text: str) -> list[Finding]:
    """The secrets of a text, sorted by place, none overlapping another."""
    return [
        Finding(rule, start, end, f"{Redactor.fingerprint(text[start:end]):016x}")
        for rule, start, end in _rules.redactor.find(text)
    ]


def rule_names() -> frozenset[str]:
    """The names that a placeholder may carry."""
    return frozenset((*_rules.redactor.names, _JSON_KEY, _JSON_FLAG))


def redact(text: str) -> Redacted:
    """Replaces the secrets of a text; linear in its length, and changes nothing on a second call."""
    found = _whole(text)
    return Redacted(text) if found is None else Redacted(found[0], dict(found[1]))


def redact_json(value: Any) -> RedactedJson:
    """Replaces the secrets in every string of a JSON value, keys included.

    Under a key that names a secret (``password``, ``apiToken``) the whole scalar goes, and so does the item
    after such a flag in a list of arguments. Recursion is as deep as the value.
    """
    strings: set[str] = set()
    _gather(value, strings)
    known = list(strings)
    counts: Counter[str] = Counter()
    clean = {text: found for text, found in zip(known, _redact_many(known), strict=True) if found}
    return RedactedJson(_walk(value, clean, counts), dict(counts))


def _redact_many(texts: list[str]) -> list[_Clean | None]:
    try:
        return _rules.redactor.redact_many(texts)
    except UnicodeEncodeError:
        return [_whole(text) for text in texts]


def _whole(text: str) -> _Clean | None:
    """What the rules say of a text; of half a surrogate pair, which is no character, a question mark is left."""
    try:
        return _rules.redactor.redact(text)
    except UnicodeEncodeError:
        mended = text.encode("utf-8", "replace").decode()
        return _rules.redactor.redact(mended) or (mended, [])


def _gather(value: Any, strings: set[str]) -> None:
    """Collects the strings of a value: all of them are looked through in one call."""
    if isinstance(value, str):
        if len(value) >= _CHARS_MIN:
            strings.add(value)
    elif isinstance(value, MAPPINGS):
        for key, item in value.items():
            _gather(key, strings)
            if not (_key_names_secret(key) and _is_scalar_secret(item)):
                _gather(item, strings)
    elif isinstance(value, list):
        for item in value:
            _gather(item, strings)


def _walk(value: Any, clean: Mapping[str, _Clean], counts: Counter[str]) -> Any:
    if isinstance(value, str):
        return _text(value, clean, counts)
    if isinstance(value, MAPPINGS):
        return {
            _text(key, clean, counts): _under_key(key, item, clean, counts) for key, item in value.items()
        }
    if isinstance(value, list):
        return _arguments(value, clean, counts)
    return value


def _text(text: str, clean: Mapping[str, _Clean], counts: Counter[str]) -> str:
    found = clean.get(text)
    if found is None:
        return text
    counts.update(dict(found[1]))
    return found[0]


def _under_key(key: str, value: Any, clean: Mapping[str, _Clean], counts: Counter[str]) -> Any:
    if _key_names_secret(key) and _is_scalar_secret(value):
        counts[_JSON_KEY] += 1
        return f"[redacted:{_JSON_KEY}]"
    return _walk(value, clean, counts)


_key_names_secret = lru_cache(_KEYS_KEPT)(Redactor.names_secret)


def _arguments(items: list[Any], clean: Mapping[str, _Clean], counts: Counter[str]) -> list[Any]:
    walked = []
    previous: Any = None
    for item in items:
        if _is_flag(previous) and isinstance(item, str) and _is_scalar_secret(item) and item[:1] != "-":
            counts[_JSON_FLAG] += 1
            walked.append(f"[redacted:{_JSON_FLAG}]")
        else:
            walked.append(_walk(item, clean, counts))
        previous = item
    return walked


def _is_flag(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("--") and _key_names_secret(value.lstrip("-"))


def _is_scalar_secret(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value) and not PLACEHOLDER.fullmatch(value) and not Redactor.is_placeholder(value)
    return isinstance(value, int | float) and not isinstance(value, bool)
