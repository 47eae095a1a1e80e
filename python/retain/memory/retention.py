"""Retention: memories of a kind are forgotten when they are older than the setting says; by default none is.

A live server looks through a stretch of the store now and then; ``retain forget --expired`` looks through all of it.
Nothing is written, and no cache is emptied, where nothing has expired.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from retain.config import Settings
from retain.errors import RetainError
from retain.storage import expiry
from retain.storage.audit import BY_RETENTION
from retain.storage.sqlite import SqliteStore

logger = logging.getLogger(__name__)

STRETCH_KEYS = 5_000
"""Keys looked at in one step; most memories forgotten in one transaction."""

STEP_S = 10
ROUND_S = 3_600
DAY_US = 24 * 3_600 * 1_000_000


class Retention:
    """Forgets what has expired.

    Args:
        store: where.
        settings: gives those that hold now.
    """

    def __init__(self, store: SqliteStore, settings: Callable[[], Settings]) -> None:
        self._store = store
        self._settings = settings
        self._above = 0

    async def keep_running(self) -> None:
        """Looks through the store stretch by stretch, again and again, until cancelled."""
        while True:
            is_round = True
            try:
                is_round = await self.step()
            except RetainError as error:
                logger.warning("retention.failed error=%s", error.code)
            await asyncio.sleep(ROUND_S if is_round else STEP_S)

    async def step(self) -> bool:
        """Looks through the next stretch; True where that was the last one, or nothing expires."""
        days = dict(self._settings().retention)
        if not days:
            return True
        last, _ = await self._stretch(days, self._above, is_trial=False)
        self._above += STRETCH_KEYS
        if self._above >= last:
            self._above = 0
        return self._above == 0

    async def run(self, *, is_trial: bool = False) -> dict[str, int]:
        """Forgets all that has expired, or only counts it; returns how many of each kind.

        Raises:
            StoreError: the store refused; what was forgotten before stays forgotten.
        """
        days = dict(self._settings().retention)
        counts: dict[str, int] = {}
        above, last = 0, 1 if days else 0
        while above < last:
            last, found = await self._stretch(days, above, is_trial=is_trial)
            for kind, count in found.items():
                counts[kind] = counts.get(kind, 0) + count
            above += STRETCH_KEYS
        return counts

    async def _stretch(
        self, days: Mapping[str, int], above: int, *, is_trial: bool
    ) -> tuple[int, dict[str, int]]:
        """The highest key of the store, and what expired in a stretch of keys."""
        now_us = time.time_ns() // 1000
        before_us = {kind: now_us - count * DAY_US for kind, count in days.items()}
        last, found = await self._store.read_behind(
            lambda r: (
                expiry.last_key(r.connection),
                expiry.expired(r.connection, before_us, above, STRETCH_KEYS),
            )
        )
        if is_trial or not found:
            counts: dict[str, int] = {}
            for _, kind in found:
                counts[kind] = counts.get(kind, 0) + 1
            return last, counts
        counts = await self._store.write(
            lambda db: expiry.expire(db, before_us, above, STRETCH_KEYS, days), BY_RETENTION
        )
        logger.info("retention.forgot memories=%d", sum(counts.values()))
        return last, counts
