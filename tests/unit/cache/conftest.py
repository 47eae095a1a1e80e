"""A real server on a spare loopback port, a clock, and levels to put a cache on."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from retain.cache.levels import Entry
from retain.errors import CacheLevelDown
from servers import RedisServer


@pytest.fixture
def server(redis: RedisServer) -> RedisServer:
    """A running server."""
    return redis


class Clock:
    """A time that only a test moves."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class DictLevel:
    """The simplest level that keeps the promises of one, and fails when it is told to."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.down = False
        self.asked: list[str] = []

    def _check(self, what: str) -> None:
        self.asked.append(what)
        if self.down:
            raise CacheLevelDown("told to fail")

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        self._check("get")
        return {key: self.entries[key].value for key in keys if key in self.entries}

    async def set_many(self, entries: Sequence[Entry], *, only_new: bool = False) -> None:
        self._check("set")
        for entry in entries:
            if not (only_new and entry.key in self.entries):
                self.entries[entry.key] = entry

    async def delete_many(self, keys: Sequence[str]) -> int:
        self._check("delete")
        return sum(self.entries.pop(key, None) is not None for key in keys)

    async def invalidate_tag(self, tag: str) -> None:
        self._check("tag")
        self.entries = {key: entry for key, entry in self.entries.items() if tag not in entry.tags}

    async def clear(self) -> None:
        self._check("clear")
        self.entries.clear()

    def stats(self) -> dict[str, int]:
        return {"entries": len(self.entries)}

    async def close(self) -> None:
        self._check("close")


@pytest.fixture
def levels() -> tuple[DictLevel, DictLevel]:
    """An L2 and an L3."""
    return DictLevel(), DictLevel()
