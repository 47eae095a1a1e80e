"""What ``MultiLevelCache.get_or_compute`` computes with: loaders, what they return, and who waits for it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

Loader = Callable[[], Any | Awaitable[Any]]


class Unstored:
    """What a loader returns for a value that its callers get and the cache does not keep."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Flight:
    """One computation of a value, and how many wait for it."""

    __slots__ = ("future", "key", "task", "waiters")

    def __init__(self, key: Hashable, future: asyncio.Future[Any]) -> None:
        self.key = key
        self.future = future
        self.task: asyncio.Task[None] | None = None
        self.waiters = 0


def settle(future: asyncio.Future[Any], value: Any) -> None:
    """Gives the value to those who wait, if anybody still does."""
    if not future.done():
        future.set_result(value)


async def value_of(made: Any) -> Any:
    """What a loader returned, awaited where it must be."""
    return await made if inspect.isawaitable(made) else made
