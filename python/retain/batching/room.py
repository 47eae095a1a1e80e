"""How many items may wait, and who stands in line for room."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from retain.batching.records import WhenFull
from retain.errors import QueueClosed, QueueFull


class Room:
    """The bound of a queue.

    Args:
        capacity: most waiting items; None: unbounded.
        rule: what happens beyond it.
        waiting: says how many items wait now.
    """

    __slots__ = ("_capacity", "_closed", "_line", "_reserved", "_rule", "_waiting", "refused", "sheds")

    def __init__(self, capacity: int | None, rule: WhenFull, waiting: Callable[[], int]) -> None:
        self._capacity, self._rule, self._waiting = capacity, rule, waiting
        self._line: deque[tuple[asyncio.Future[None], int]] = deque()
        self._reserved = 0
        self._closed = False
        self.refused = 0
        self.sheds = capacity is not None and rule.startswith("shed")

    def over(self) -> int:
        """How many items are too many."""
        return 0 if self._capacity is None else self._waiting() - self._capacity

    def check(self, count: int) -> None:
        """Refuses items that do not fit, or would go before those who stand in line.

        Raises:
            QueueFull, QueueClosed.
        """
        if self._closed:
            raise QueueClosed("the batch processor is closed")
        if self._capacity is not None and not self.sheds and (self._line or not self._has(count)):
            self.refused += count
            raise QueueFull(f"the queue is at its capacity of {self._capacity} items ({count} offered)")

    async def wait(self, count: int) -> None:
        """Returns when there is room and nobody waits who came before; the caller then pushes at once."""
        if self._closed or self._rule != "wait" or self._capacity is None or count > self._capacity:
            self.check(count)
            return
        if not self._line and self._has(count):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append((turn, count))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._reserved -= count
            elif (turn, count) in self._line:
                self._line.remove((turn, count))
            self.let_in()
            raise
        self._reserved -= count

    def let_in(self) -> None:
        """Gives room that came free to those who wait for it, in their order."""
        while self._line and self._has(self._line[0][1]):
            turn, count = self._line.popleft()
            if not turn.done():
                self._reserved += count
                turn.set_result(None)

    def close(self) -> None:
        """Takes nothing more; those in line get QueueClosed."""
        self._closed = True
        while self._line:
            turn, _ = self._line.popleft()
            if not turn.done():
                turn.set_exception(QueueClosed("the batch processor was closed"))

    def _has(self, count: int) -> bool:
        return self._capacity is None or self._waiting() + self._reserved + count <= self._capacity
