"""Questions go first: what is done beside the answers waits until nobody asks.

Python runs one thread at a time, and one that computes keeps it for a millisecond. A question gives it away at each
step of SQLite, and would wait for it some twenty times over: 8 ms of work took 40.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

QUIET_S = 0.05
"""Nobody asks where the last answer was given so long ago: questions come in bursts."""

PATIENCE_S = 0.5
"""Under questions without end, work beside them goes on by one stretch in this time."""

STRETCH = 4
"""Memories that are worked at before the next look for a question: some milliseconds."""


class Precedence:
    """Who goes first in one process; for its event loop alone."""

    def __init__(self) -> None:
        self._asking = 0
        self._answered_at = -QUIET_S

    @contextmanager
    def question(self) -> Iterator[None]:
        """For as long as a question is being answered."""
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1
            self._answered_at = time.monotonic()

    async def quiet(self) -> None:
        """Returns when nobody asks, or the patience is over."""
        until = time.monotonic() + PATIENCE_S
        while (now := time.monotonic()) < until and (self._asking or now < self._answered_at + QUIET_S):  # noqa: ASYNC110 - no event tells that time has passed
            await asyncio.sleep(QUIET_S)
