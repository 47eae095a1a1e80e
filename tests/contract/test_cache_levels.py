"""Answers do not depend on the cache levels: off, L1 alone, and with a disk, cold, warm and after a write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import retain
from retain.memory import recall_cache

pytestmark = pytest.mark.anyio

TEXTS = [
    "We use decimal.Decimal for money, because float sums depend on their order.",
    "Releases are cut from main on Tuesdays.\nNever on Fridays: ü ☃.",
    "The flaky checkout test summed floats over a set.",
    "Money is rounded half up, once, in to_cents.",
]
QUERIES = ["how do we store money?", "when do we release", "to_cents", "nothing of this kind", "floats"]
LEVELS: list[dict[str, Any]] = [{"cache_entries_max": 0}, {}, {"cache_disk_bytes_max": 1 << 20}]


@pytest.fixture(autouse=True)
def made(home: Path) -> None:
    home.mkdir()


async def answers(home: Path, **settings: Any) -> list[Any]:
    """What each query finds, without what tells how it was found."""
    async with retain.open(home, folder=home, **settings) as memory:
        found = [await memory.recall(query) for query in QUERIES for _ in range(2)]
        return [(r.hits, r.hidden, r.abstained, r.confidence) for r in found]


async def plans(home: Path, **settings: Any) -> list[str]:
    async with retain.open(home, folder=home, **settings) as memory:
        return [(await memory.recall(query)).plan["name"] for query in QUERIES]


def _ids(found: list[Any]) -> list[Any]:
    return [([hit.memory for hit in hits], *rest) for hits, *rest in found]


async def test_answers_are_the_same_with_every_choice_of_levels(home: Path) -> None:
    async with retain.open(home, folder=home) as memory:
        await memory.remember_many([{"text": text, "tags": ["t"]} for text in TEXTS])
    for _ in range(2):
        found = [_ids(await answers(home, **levels)) for levels in LEVELS for _ in range(2)]
        assert all(one == found[0] for one in found)
        async with retain.open(home, folder=home) as memory:
            await memory.remember("Money of customers is stored in integer cents.")


async def test_a_new_process_finds_answers_on_disk_until_anything_is_written(home: Path) -> None:
    disk = {"cache_disk_bytes_max": 1 << 20}
    async with retain.open(home, folder=home) as memory:
        await memory.remember_many([{"text": text} for text in TEXTS])
    assert "cached" not in await plans(home, **disk)
    assert set(await plans(home, **disk)) == {"cached"}
    assert "cached" not in await plans(home, recall_confidence=11, **disk)
    async with retain.open(home, folder=home) as memory:
        (hit,) = (await memory.recall("releases")).hits
        await memory.forget(hit.memory.id)
    assert "cached" not in await plans(home, **disk)
    async with retain.open(home, folder=home, **disk) as memory:
        assert (await memory.recall("releases tuesdays")).abstained


async def test_an_answer_is_read_back_as_it_was(home: Path) -> None:
    async with retain.open(home, folder=home) as memory:
        await memory.remember_many([{"text": text, "paths": ["a.py"], "tags": ["x", "y"]} for text in TEXTS])
        recall = await memory.recall("money floats")
    assert recall.hits
    assert recall_cache.decode(recall_cache.encode(recall)) == recall
