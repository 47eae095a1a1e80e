"""What goes to the handler in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Batch(Generic[T]):
    """Items of one lane with their numbers, and the try that comes next."""

    __slots__ = ("attempt", "lane", "numbers", "values")

    def __init__(self, lane: str, values: list[T], numbers: list[int]) -> None:
        self.lane = lane
        self.values = values
        self.numbers = numbers
        self.attempt = 1

    def drop(self, places: Sequence[int]) -> list[int]:
        """Takes items out by their places, and returns their numbers."""
        gone = set(places)
        numbers = [self.numbers[place] for place in places]
        self.values = [value for place, value in enumerate(self.values) if place not in gone]
        self.numbers = [number for place, number in enumerate(self.numbers) if place not in gone]
        return numbers

    def singly(self) -> list[Batch[T]]:
        """Each item as a batch of its own."""
        return [
            Batch(self.lane, [value], [number])
            for value, number in zip(self.values, self.numbers, strict=True)
        ]
