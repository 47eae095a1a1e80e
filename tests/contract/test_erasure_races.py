"""What is made of texts while they are erased is not stored after them: every step of the making is tried."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import retain
from retain.memory import counting
from retain.memory.embedding import Embedding
from retain.memory.service import MemoryService
from retain.storage import erasure, spaces, writes

pytestmark = pytest.mark.anyio

MEMORIES = 120
STEPS_MAX = 200


class Between:
    """A store that does something else before its n-th transaction, and then goes on."""

    def __init__(self, store: Any, step: int, act: Callable[[], Awaitable[None]]) -> None:
        self._store, self._left, self._act = store, step, act

    @property
    def reached(self) -> bool:
        return self._left < 0

    async def _pass(self) -> None:
        if self._left == 0:
            await self._act()
        self._left -= 1

    async def read(self, query: Any) -> Any:
        await self._pass()
        return await self._store.read(query)

    async def read_behind(self, query: Any) -> Any:
        await self._pass()
        return await self._store.read_behind(query)

    async def write(self, change: Any, author: Any = None) -> Any:
        await self._pass()
        return await self._store.write(change, author)


async def at_every_step(home: Path, make: Callable[[MemoryService, Any], Awaitable[None]]) -> int:
    """Erases a memory at the first, second, ... step of a making, until a making has no such step; returns how many."""
    texts = [f"note {n} on the parser of invoice {n * 7919}" for n in range(MEMORIES)]
    async with retain.open(home, folder="/") as memory:
        await memory.remember_many([{"text": text, "tags": [f"t{n % 7}"]} for n, text in enumerate(texts)])
        for step in range(STEPS_MAX):
            word = f"zebra{chr(97 + step // 26)}{chr(97 + step % 26)}quagga"
            doomed = await memory.remember_many(
                [
                    {"text": f"{word} {word} plan {n}", "tags": [word], "paths": [f"{word}.py"]}
                    for n in range(8)
                ]
            )

            async def erase(ids: list[str] = [one.id for one in doomed]) -> None:  # noqa: B006 - of this step
                for one in ids:
                    await memory.forget(one)
                await memory.keeping.erase(ids)

            store = Between(memory._store, step, erase)
            await make(memory, store)
            if not store.reached:
                return step
            await memory._store.write_anew()
            assert erasure.files_with(home, [word.encode()])[0] == [], f"erased at step {step}"
    raise AssertionError("a making without an end")


async def test_statistics_that_were_being_counted_do_not_bring_erased_tags_back(home: Path) -> None:
    async def count(_: MemoryService, store: Any) -> None:
        await counting.count_and_keep(store, kept_from=1)

    steps = await at_every_step(home, count)
    assert steps >= len(counting.FIELDS)


async def test_statistics_are_kept_where_nothing_was_erased(home: Path) -> None:
    async with retain.open(home, folder="/") as memory:
        await memory.remember("a note", tags=["t"])
        await counting.count_and_keep(memory._store, kept_from=1)
        assert await memory._store.read(counting.kept) is not None
        await counting.count_and_keep(memory._store, kept_from=2)
        await memory._store.write(writes.note_removal)
        assert await memory._store.read(counting.kept) is None


async def test_a_space_that_was_being_fitted_does_not_bring_erased_words_back(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retain.memory.embedding.STRETCH", MEMORIES // 3)  # a round is like the one before it

    async def fit(memory: MemoryService, store: Any) -> None:
        await memory._store.write(lambda db: spaces.retire_kind(db, "corpus"))
        embedding = Embedding(memory.settings, store, lambda: None)
        await embedding.run()
        await embedding.close()

    assert await at_every_step(home, fit) >= 10
