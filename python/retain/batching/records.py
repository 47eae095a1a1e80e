"""What a batch processor tells about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from retain.errors import RetainError

T = TypeVar("T")

WhenFull = Literal["refuse", "wait", "shed_lowest", "shed_oldest"]
"""What happens to an item for which there is no room; see ``BatchProcessor``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStats:
    """Counters since the processor was made, and what is there now.

    Attributes:
        waiting: items queued now, those that wait for another try included.
        retrying: of these, those that wait for another try.
        running: items in the hands of the handler now.
        done: items handled.
        batches: batches handled.
        retries: batches tried again.
        dead: items given up.
        letters: dead letters kept now.
        refused: items not taken for want of room.
        shed: items that made room for others.
        cancelled: items dropped because nobody waited for them any more, or their worker was cancelled.
        sizes: most items of a batch now, by lane that has a size of its own; "" is all others'.
    """

    waiting: int
    retrying: int
    running: int
    done: int
    batches: int
    retries: int
    dead: int
    letters: int
    refused: int
    shed: int
    cancelled: int
    sizes: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter(Generic[T]):
    """An item that was given up, why, after how many tries, and of which lane it was."""

    item: T
    error: Exception
    attempts: int
    lane: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What just happened to a batch.

    Attributes:
        kind: "done", "retry" (it failed and is tried again), "dead" (given up) or "shed".
        lane: whose.
        items: how many.
        attempt: the try that this was, from 1; 0 for "shed".
        waiting: items queued now.
        done: items handled so far.
    """

    kind: Literal["done", "retry", "dead", "shed"]
    lane: str
    items: int
    attempt: int
    waiting: int
    done: int


def is_retryable(error: Exception) -> bool:
    """Whether a failure may pass by itself: what retain's own errors say, and time-outs."""
    return error.retryable if isinstance(error, RetainError) else isinstance(error, TimeoutError)
