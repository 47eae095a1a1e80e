"""Who goes first: the questions, and how long work beside them waits."""

from __future__ import annotations

import asyncio

import pytest

from retain.memory import precedence as module
from retain.memory.precedence import Precedence

pytestmark = pytest.mark.anyio


async def turns(count: int = 20) -> None:
    """Lets the loop run what is ready."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_without_a_question_nothing_waits() -> None:
    async with asyncio.timeout(module.QUIET_S / 2):
        await Precedence().quiet()


async def test_work_waits_until_the_last_of_the_questions_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 60.0)
    precedence = Precedence()
    with precedence.question():
        with precedence.question():
            waiting = asyncio.create_task(precedence.quiet())
            await turns()
        await turns()
        assert not waiting.done()
    await waiting


async def test_a_question_that_fails_is_over_too() -> None:
    precedence = Precedence()
    with pytest.raises(ValueError, match="no"), precedence.question():
        raise ValueError("no")
    await precedence.quiet()


async def test_under_questions_without_end_work_goes_on_when_its_patience_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    precedence = Precedence()
    with precedence.question():
        await precedence.quiet()
