"""A queue ordered by any comparable key, in Python: for keys that are no 64-bit ints."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any

_Entry = tuple[Any, int, Any]


class KeyedQueue:
    """The part of ``BatchQueue`` that a processor needs, for keys that only Python can compare.

    A binary heap in each lane: about log2 n comparisons of keys to push or pop, each a call into the key
    where it is not a builtin; 10 to 30 times the cost of ``BatchQueue``. Equal keys keep their order.
    """

    __slots__ = ("_lanes", "_numbers")

    def __init__(self) -> None:
        self._lanes: dict[str, list[_Entry]] = {}
        self._numbers = count()

    def push_many(self, items: list[Any], keys: Iterable[Any] | None, lane: str = "") -> int:
        """Adds items in this order, and returns the number of the first."""
        heap = self._lanes.setdefault(lane, [])
        first = next(self._numbers)
        number = first - 1
        for number, (item, key) in enumerate(zip(items, keys or (), strict=True), start=first):
            heappush(heap, (key, number, item))
        self._numbers = count(number + 1)
        return first

    def pop_numbered(self, n: int, lane: str) -> tuple[list[Any], list[int]]:
        """Removes up to ``n`` items of a lane, in order, and returns them and their numbers."""
        heap = self._lanes.get(lane, [])
        entries = [heappop(heap) for _ in range(min(n, len(heap)))]
        if not heap:
            self._lanes.pop(lane, None)
        return [item for _, _, item in entries], [number for _, number, _ in entries]

    def next_lane(self, busy: set[str] | None = None) -> str | None:
        """The lane of the first item, of the lanes that are not busy."""
        heads = [
            (heap[0][:2], lane) for lane, heap in self._lanes.items() if heap and lane not in (busy or ())
        ]
        return min(heads)[1] if heads else None

    def shed(self, n: int, oldest: bool = False) -> tuple[list[Any], list[int]]:
        """Removes up to ``n`` items, the last or the oldest; O(n) in the items that wait."""
        every = [entry for heap in self._lanes.values() for entry in heap]
        every.sort(key=(lambda entry: entry[1]) if oldest else (lambda entry: entry[:2]), reverse=not oldest)
        gone = every[:n]
        numbers = {number for _, number, _ in gone}
        for lane, heap in list(self._lanes.items()):
            heap[:] = [entry for entry in heap if entry[1] not in numbers]
            heapify(heap)
            if not heap:
                del self._lanes[lane]
        return [item for _, _, item in gone], [number for _, number, _ in gone]

    def lanes(self) -> dict[str, int]:
        """Each lane that holds items, with their count."""
        return {lane: len(heap) for lane, heap in self._lanes.items()}

    def clear(self) -> None:
        """Removes all items."""
        self._lanes.clear()

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))
