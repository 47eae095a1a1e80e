"""What the planner counts is kept in the store, and a later process goes on from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import retain
from retain.memory import counting
from retain.retrieval.planner import QueryPlanner, Statistics
from retain.storage import writes
from retain.storage.erasure import erase

pytestmark = pytest.mark.anyio

KINDS = ("note", "decision", "fix")


async def filled(memory: Any) -> None:
    for number in range(12):
        await memory.remember(
            f"Note {number} on the parser",
            kind=KINDS[number % 3],
            tags=["even" if number % 2 == 0 else "odd"],
        )


async def test_what_is_counted_survives_the_store(home: Path, folder: Path) -> None:
    async with retain.open(home, folder=folder) as memory:
        await filled(memory)
        store = memory._store
        known = await counting.count(store)
        assert dict(known.values["kind"][0]) == {"note": 4, "decision": 4, "fix": 4}
        assert await store.read(counting.kept) is None
        fact = (writes.STATISTICS_FACT, counting.as_fact(known))
        await store.write(lambda db: writes.set_facts(db, [fact]))
        again = await store.read(counting.kept)
    assert again is not None
    assert json.dumps(counting.as_fact(again)) == json.dumps(counting.as_fact(known))


def test_what_went_while_it_was_counted_keeps_nobody_from_planning() -> None:
    planner = QueryPlanner()
    planner.update(Statistics(total=3, values={"kind": ([("note", 3)], 1, 3)}, time_bounds=[]))
    assert planner.total == 3


async def test_the_next_process_plans_with_what_the_last_one_counted(home: Path, folder: Path) -> None:
    async with retain.open(home, folder=folder) as memory:
        await filled(memory)
        fact = (writes.STATISTICS_FACT, counting.as_fact(await counting.count(memory._store)))
        await memory._store.write(lambda db: writes.set_facts(db, [fact]))
    async with retain.open(home, folder=folder) as memory:
        assert memory._recaller._planner.total == 12  # before anything was counted in this one
        assert (await memory.recall("parser", filter={"kind": "fix"})).hits


@pytest.mark.parametrize(
    "told", [7, [], {}, {"format": 99}, {"format": 1, "total": 3}, {"format": 1, "total": "x", "values": []}]
)
async def test_a_fact_that_cannot_be_read_is_counted_anew(home: Path, folder: Path, told: Any) -> None:
    async with retain.open(home, folder=folder) as memory:
        await memory._store.write(lambda db: writes.set_facts(db, [(writes.STATISTICS_FACT, told)]))
    async with retain.open(home, folder=folder) as memory:
        assert await memory._store.read(counting.kept) is None
        await filled(memory)
        assert (await memory.recall("parser")).hits


async def test_what_is_erased_leaves_the_statistics_too(home: Path, folder: Path) -> None:
    async with retain.open(home, folder=folder) as memory:
        await filled(memory)
        store = memory._store
        fact = (writes.STATISTICS_FACT, counting.as_fact(await counting.count(store)))
        await store.write(lambda db: writes.set_facts(db, [fact]))
        await store.write(lambda db: erase(db, [(1, "any")]))
        assert await store.read(counting.kept) is None
