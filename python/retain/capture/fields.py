"""Reads fields of payloads that may hold anything: what is of another type counts as absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Fields = Mapping[str, Any]


def text_of(fields: Any, key: str) -> str:
    """The string under a key, or an empty one."""
    # A dict is asked for first: whether something is a Mapping takes ten times as long to say.
    value = fields.get(key) if isinstance(fields, dict | Mapping) else None
    return value if isinstance(value, str) else ""


def fields_of(fields: Any, key: str) -> Fields:
    """The object under a key, or an empty one."""
    value = fields.get(key) if isinstance(fields, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def items_of(fields: Any, key: str) -> Sequence[Any]:
    """The array under a key, or an empty one."""
    value = fields.get(key) if isinstance(fields, Mapping) else None
    return value if isinstance(value, list) else ()
