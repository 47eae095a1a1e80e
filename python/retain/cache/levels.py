"""What a cache level below the first is, and how one that fails is left alone for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from retain.errors import CacheLevelDown


@dataclass(frozen=True, slots=True)
class Entry:
    """What is written to a level: bytes under a name, for at most ``ttl`` seconds (None: no bound)."""

    key: str
    value: bytes
    ttl: float | None = None
    tags: tuple[str, ...] = ()


class Level(Protocol):
    """A level of bytes below L1. Every call raises ``CacheLevelDown`` where the level cannot do it."""

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The values that are there."""

    async def set_many(self, entries: Sequence[Entry], *, only_new: bool = False) -> None:
        """Stores values over older ones, or with ``only_new`` only where there is none."""

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Removes keys; how many were there."""

    async def invalidate_tag(self, tag: str) -> None:
        """Makes every entry with this tag count as absent."""

    async def clear(self) -> None:
        """Removes every entry of this cache."""

    def stats(self) -> dict[str, int]:
        """The level's own counters, by name."""

    async def close(self) -> None:
        """Gives back connections and files."""


class CircuitBreaker:
    """Skips a thing that keeps failing, for a time that doubles until it works again.

    Args:
        failures_max: failures in a row after which it opens.
        pause_s: how long it stays open at first.
        pause_max_s: the longest pause.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        failures_max: int = 3,
        pause_s: float = 0.5,
        pause_max_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures_max = failures_max
        self._first_pause_s = pause_s
        self._pause_max_s = pause_max_s
        self._clock = clock
        self._failures = 0
        self._pause_s = pause_s
        self._open_until = 0.0
        self.opened = 0
        self.skipped = 0

    @property
    def is_open(self) -> bool:
        """Whether calls are skipped now."""
        return self._failures >= self._failures_max and self._clock() < self._open_until

    def check(self, name: str) -> None:
        """Lets a call pass, or refuses it.

        After a pause one call passes as a trial; the others are refused until it has succeeded.

        Raises:
            CacheLevelDown: it is open.
        """
        if self._failures < self._failures_max:
            return
        if self.is_open:
            self.skipped += 1
            raise CacheLevelDown(
                f"{name} failed {self._failures} times in a row and is left alone for a while"
            )
        self._open_until = self._clock() + self._pause_s

    def succeeded(self) -> None:
        """The last call worked: closed again."""
        if self._failures:
            self._failures = 0
            self._pause_s = self._first_pause_s

    def failed(self) -> None:
        """The last call failed."""
        self._failures += 1
        if self._failures < self._failures_max:
            return
        self.opened += 1
        if self._failures > self._failures_max:
            self._pause_s = min(self._pause_s * 2, self._pause_max_s)
        self._open_until = self._clock() + self._pause_s
