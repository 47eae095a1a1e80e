"""Reads fields of payloads that may hold anything: what is of another type counts as absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Fields = Mapping[str, Any]

MAPPINGS = (dict, Mapping)
"""A dict is asked for first: whether something is a Mapping takes ten times as long to say."""


def text_of(fields: Any, key: str) -> str:
    """The string under a key, or an empty one."""
    value = fields.get(key) if isinstance(fields, MAPPINGS) else None
    return value if isinstance(value, str) else ""


def fields_of(fields: Any, key: str) -> Fields:
    """The object under a key, or an empty one."""
    value = fields.get(key) if isinstance(fields, MAPPINGS) else None
    return value if isinstance(value, MAPPINGS) else {}


def items_of(fields: Any, key: str) -> Sequence[Any]:
    """The array under a key, or an empty one."""
    value = fields.get(key) if isinstance(fields, MAPPINGS) else None
    return value if isinstance(value, list) else ()
