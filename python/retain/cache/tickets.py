"""Who reads a key below L1 while it is written: what was read then may be old, and must not be kept."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager


class Ticket:
    """Held while a key is read below L1 or computed; void once the key was written meanwhile."""

    __slots__ = ("holders", "valid")

    def __init__(self, valid: bool) -> None:
        self.holders = 0
        self.valid = valid


class Tickets:
    """The tickets of one cache, on one event loop."""

    def __init__(self) -> None:
        self._held: dict[Hashable, Ticket] = {}
        self._writing: dict[Hashable, int] = {}
        self._writing_all = 0

    @contextmanager
    def reading(self, keys: Iterable[Hashable]) -> Iterator[dict[Hashable, Ticket]]:
        """Holds a ticket for each key; what was read may be kept while its ticket is valid."""
        held = {key: self._take(key) for key in keys}
        try:
            yield held
        finally:
            for key, ticket in held.items():
                ticket.holders -= 1
                if not ticket.holders and self._held.get(key) is ticket:
                    del self._held[key]

    def _take(self, key: Hashable) -> Ticket:
        ticket = self._held.get(key)
        if ticket is None:
            # What is read while a write is under way may be the value before it.
            ticket = self._held[key] = Ticket(not self._writing_all and key not in self._writing)
        ticket.holders += 1
        return ticket

    def _void(self, key: Hashable) -> None:
        ticket = self._held.pop(key, None)
        if ticket is not None:
            ticket.valid = False

    @contextmanager
    def changing(self, keys: Sequence[Hashable]) -> Iterator[None]:
        """Makes void what is being read of these keys, until the change is through."""
        for key in keys:
            self._void(key)
            self._writing[key] = self._writing.get(key, 0) + 1
        try:
            yield
        finally:
            for key in keys:
                self._writing[key] -= 1
                if not self._writing[key]:
                    del self._writing[key]
                    self._held.pop(key, None)

    @contextmanager
    def changing_all(self) -> Iterator[None]:
        """Makes void whatever is being read, until the change is through."""
        for key in list(self._held):
            self._void(key)
        self._writing_all += 1
        try:
            yield
        finally:
            self._writing_all -= 1
            for key in list(self._held):
                self._void(key)
