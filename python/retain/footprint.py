"""What is decided about the footprint: levels, what each gives up, when relief is due, where it is going.

Pure: time and readings come as arguments. The levels themselves are found in Rust, next to the gauge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

TREND_SAMPLES_MAX = 64
CONFIDENCE_MIN = 0.5
"""Below this confidence of the trend there is no forecast."""

EXHAUSTED_COOLDOWNS_MAX = 32
"""Relief that did not help is repeated ever more rarely, up to this many cooldowns apart."""


class Level(IntEnum):
    """How much the footprint presses on its limit."""

    UNKNOWN = -1
    NORMAL = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Degradation:
    """What a server gives up at a level.

    Attributes:
        cache_share: share of its usual size that a cache keeps.
        batch_share: share of the usual items of a batch.
        readers_kept: whether idle connections keep their pages ("all"), only themselves ("empty"), or go ("none").
        trim: whether free pages are given back to the system.
        collect: whether garbage is looked for.
    """

    cache_share: float
    batch_share: float
    readers_kept: str
    trim: bool
    collect: bool


_NOTHING = Degradation(cache_share=1.0, batch_share=1.0, readers_kept="all", trim=False, collect=False)
_STRATEGY = {
    Level.UNKNOWN: _NOTHING,
    Level.NORMAL: _NOTHING,
    Level.LOW: replace(_NOTHING, cache_share=0.5),
    Level.MEDIUM: replace(_NOTHING, cache_share=0.25, batch_share=0.5, readers_kept="empty", trim=True),
    Level.HIGH: Degradation(cache_share=0.0, batch_share=0.25, readers_kept="none", trim=True, collect=True),
}


def degradation(level: Level) -> Degradation:
    """The strategy at a level: caches first, then batches and pages of readers, at last the readers."""
    return _STRATEGY[level]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """Where the footprint is going: bytes a second, and in 0..1 how steadily (Kendall's tau)."""

    bytes_per_s: float
    confidence: float


def trend_of(points: Sequence[tuple[float, int]]) -> Trend:
    """The Theil-Sen slope of (seconds, bytes): the median over all pairs, so that outliers do not count.

    Costs O(n^2); of many points an even choice of 64 is taken.
    """
    from statistics import median

    step = max(1, -(-len(points) // TREND_SAMPLES_MAX))
    chosen = points[::-1][::step][::-1]
    slopes = [
        (used - before) / (at - since)
        for i, (at, used) in enumerate(chosen)
        for since, before in chosen[:i]
        if at > since
    ]
    if not slopes:
        return Trend(bytes_per_s=0.0, confidence=0.0)
    agreement = sum((slope > 0) - (slope < 0) for slope in slopes)
    return Trend(bytes_per_s=median(slopes), confidence=abs(agreement) / len(slopes))


def seconds_to_limit(trend: Trend, used_bytes: int, limit_bytes: int) -> float | None:
    """When the limit is reached if the trend holds; None where it does not rise, or not steadily."""
    if trend.bytes_per_s <= 0 or trend.confidence < CONFIDENCE_MIN or limit_bytes <= 0:
        return None
    return max(0, limit_bytes - used_bytes) / trend.bytes_per_s


class Timing:
    """When relief and restoring are due. Pure: time comes as an argument.

    A rise is relieved at once. While the level stays, relief is repeated after a cooldown, which doubles
    for as long as it does not help. What was given up is taken back only after the level has been lower
    for ``restore_s``, so that caches that fill again do not make it swing.
    """

    def __init__(self, cooldown_s: float, restore_s: float) -> None:
        self._cooldown_s = cooldown_s
        self._restore_s = restore_s
        self._cooldowns = 1
        self._relieved_at = 0.0
        self._lower_since: float | None = None
        self.given_up = Level.NORMAL

    def relief_due(self, level: Level, now: float) -> bool:
        """Whether handlers are to run now."""
        if level >= self.given_up:
            self._lower_since = None
        if level <= Level.NORMAL:
            return False
        if level > self.given_up:
            return True
        return level == self.given_up and now >= self._relieved_at + self._cooldown_s * self._cooldowns

    def relieved(self, before: Level, after: Level, now: float) -> None:
        """Relief at a level has ended at another one."""
        again = before == self.given_up
        self._cooldowns = (
            min(self._cooldowns * 2, EXHAUSTED_COOLDOWNS_MAX) if again and after >= before else 1
        )
        self.given_up = max(before, self.given_up)
        self._relieved_at = now

    def restore_due(self, level: Level, now: float) -> bool:
        """Whether the level has been lower for long enough."""
        if max(level, Level.NORMAL) >= self.given_up:
            return False
        if self._lower_since is None:
            self._lower_since = now
        return now >= self._lower_since + self._restore_s

    def restored(self, level: Level, now: float) -> None:
        """Handlers are at this level again."""
        self._relieved_at = now
        self.given_up = max(level, Level.NORMAL)
        self._lower_since = None
        self._cooldowns = 1

    def wake_in(self, level: Level, now: float) -> float | None:
        """Seconds until something may be due though the level does not change; None: nothing will."""
        if level > Level.NORMAL and level == self.given_up:
            return max(0.0, self._relieved_at + self._cooldown_s * self._cooldowns - now)
        if self._lower_since is not None:
            return max(0.0, self._lower_since + self._restore_s - now)
        return None
