"""Calling what a pool is told to call: sync or async."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

C = TypeVar("C")
Hook = Callable[[C], Awaitable[None] | None]


async def call(hook: Hook[C], connection: C) -> None:
    """Calls a hook, and awaits what it gave."""
    answer = hook(connection)
    if answer is not None:
        await finish(answer)


async def finish(answer: object) -> None:
    """Awaits what a hook gave, if that can be awaited."""
    if inspect.isawaitable(answer):
        await answer
