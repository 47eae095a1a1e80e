"""Single flight: whoever asks for a key that is being computed waits for that, and gets what it gives.

``L1Cache.get_or_compute`` comes here when a key is missing. The leader runs its loader, threads that follow wait. An
error is everybody's, and the next call tries again. A leader that is interrupted, or exits, says nothing about the key,
so one of its followers leads in its place, with its own loader. ``MultiLevelCache`` does the same for coroutines.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from retain.cache.l1 import L1Cache

MISSING = object()


class Abandoned(Exception):
    """The leader left without a value or an error."""


class Flight:
    """One computation for one key, entered by its leader."""

    __slots__ = ("flights", "future", "key", "thread", "value", "waits_for")

    def __init__(self, flights: dict[Hashable, Flight], key: Hashable) -> None:
        """A flight of this thread that nobody knows of yet."""
        self.flights = flights
        self.key = key
        self.thread = threading.get_ident()
        self.waits_for: Flight | None = None
        self.value: Any = MISSING
        self.future: Future[Any] = Future()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Out of the table first: who is told of an error and asks again starts anew.
        del self.flights[self.key]
        if error is None:
            self.future.set_result(self.value)
        elif isinstance(error, Exception):
            self.future.set_exception(error)
        else:
            self.future.set_exception(Abandoned())

    def board(self) -> None:
        """Notes that this thread is about to wait here.

        Raises:
            RuntimeError: this flight waits for the thread, so that both would wait for ever.
        """
        me = threading.get_ident()
        for flight in list(self.flights.values()):
            if flight.thread == me:
                flight.waits_for = self
        ahead: Flight | None = self
        while ahead is not None:
            if ahead.thread == me:
                raise RuntimeError(f"the loader of {self.key!r} asks for what is computed by its own caller")
            ahead = ahead.waits_for


def stored(cache: L1Cache, key: Hashable) -> Any:
    """What another flight stored since the caller missed it, without counting a second miss."""
    return cache.get(key, MISSING) if key in cache else MISSING


def compute_once(
    cache: L1Cache,
    flights: dict[Hashable, Flight],
    key: Hashable,
    loader: Callable[[], Any],
    ttl: float | None,
) -> Any:
    """The value of a missing key: the loader's, or that of the flight under way."""
    while True:
        mine = Flight(flights, key)
        flight = flights.setdefault(key, mine)  # one step under the interpreter lock
        if flight is not mine:
            flight.board()
            try:
                return flight.future.result()
            except Abandoned:
                continue
        with mine:
            mine.value = stored(cache, key)
            if mine.value is MISSING:
                mine.value = loader()
                cache.set(key, mine.value, ttl)
            return mine.value
