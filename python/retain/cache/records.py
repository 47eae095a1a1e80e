"""What stands in a level below L1: one value with its age and tags, behind a version byte."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

VERSION = 1
"""Records of any other version are not read: another retain shares the level."""

_HEAD = struct.Struct("<BdH")
_NEVER = float("inf")

Encode = Callable[[Any], bytes]
Decode = Callable[[bytes], Any]


class NotEncodable(TypeError):
    """This value cannot be read back as it is; it stays in L1."""


def encode_json(value: Any) -> bytes:
    """JSON, for values that come back equal: a tuple, a date or a NaN does not.

    Raises:
        NotEncodable: it would come back as another value.
    """
    try:
        data = orjson.dumps(value)
    except TypeError as error:
        raise NotEncodable(str(error)) from None
    if orjson.loads(data) != value:
        raise NotEncodable(f"a {type(value).__name__} that JSON changes")
    return data


decode_json: Decode = orjson.loads


@dataclass(frozen=True, slots=True)
class Record:
    """An encoded value, fresh until a moment (seconds since the epoch), and its tags."""

    payload: bytes
    fresh_until: float = _NEVER
    tags: tuple[str, ...] = ()


def pack(record: Record) -> bytes:
    """The record as bytes."""
    tags = orjson.dumps(record.tags) if record.tags else b""
    return b"".join((_HEAD.pack(VERSION, record.fresh_until, len(tags)), tags, record.payload))


def unpack(data: bytes) -> Record | None:
    """The record; None where it is of another version or no record at all."""
    if len(data) < _HEAD.size or data[0] != VERSION:
        return None
    _, fresh_until, length = _HEAD.unpack_from(data)
    start = _HEAD.size + length
    if fresh_until != fresh_until or start > len(data):  # noqa: PLR0124 - a NaN
        return None
    try:
        tags = tuple(orjson.loads(data[_HEAD.size : start])) if length else ()
    except (ValueError, TypeError):
        return None
    return Record(data[start:], fresh_until, tags)
