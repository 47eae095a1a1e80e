"""The cache of answers to recalls: what it is keyed by, and how an answer is written below L1.

Answers belong to one state of the store. In L1 the key holds SQLite's data version, which every commit of any
process changes; below L1 it holds the store's token, a random number that every commit writes anew: two states
never share it, on whatever machine, so an entry is never wrong, only useless.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

import orjson

import retain
from retain.cache import MultiLevelCache
from retain.cache.records import NotEncodable
from retain.config import Settings
from retain.git.repositories import State
from retain.model import Hit, Memory, Query, Recall

TTL_S = 3_600.0
"""Scores hold the age of a memory, so an answer is not given for ever."""

RecallKey = tuple[Query, int, str | None, State | tuple[str, State | None, int] | None]
"""The query, the data version that this process sees, the store's token or None where it has none, and what is
checked out where the question comes from; the session that asks, and the state of files that an answer rested on."""


def open_recall_cache(settings: Settings) -> MultiLevelCache:
    """The cache of recalls with the levels that the settings name.

    Raises:
        InvalidInput: redis is not installed, or its url cannot be read.
    """
    common = f"{retain.__version__}\0{settings.recall_confidence}\0{settings.planner}\0"

    def name_of(key: RecallKey) -> str | None:
        query, _, token, state = key
        if token is None:
            return None
        text = f"{common}{token}\0{query!r}\0{state!r}".encode("utf-8", "surrogatepass")
        return "recall:" + hashlib.blake2b(text, digest_size=20).hexdigest()

    return MultiLevelCache.from_settings(
        settings, default_ttl=TTL_S, encode=encode, decode=decode, name_of=name_of
    )


def encode(recall: Recall) -> bytes:
    """The answer as JSON.

    Raises:
        NotEncodable: it holds what JSON does not.
    """
    try:
        return orjson.dumps(recall)
    except TypeError as error:
        raise NotEncodable(str(error)) from None


def decode(data: bytes) -> Recall:
    """The answer again, equal to the one that was encoded.

    Raises:
        ValueError, TypeError, KeyError: this is no answer.
    """
    values = orjson.loads(data)
    values["hits"] = tuple(
        Hit(**{**hit, "memory": Memory(**_as_memory(hit["memory"]))}) for hit in values["hits"]
    )
    return Recall(**values)


_LISTS = tuple(field.name for field in fields(Memory) if str(field.type).startswith("tuple"))
_TIMES = ("occurred_at", "recorded_at")


def _as_memory(values: Mapping[str, Any]) -> dict[str, Any]:
    lists = {name: tuple(values[name]) for name in _LISTS}
    times = {name: datetime.fromisoformat(values[name]) for name in _TIMES}
    return {**values, **lists, **times}
