"""What an earlier version indexed in its own way is found again once the index is made anew."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

import retain
from retain.memory import keeping
from retain.memory.service import MemoryService

pytestmark = pytest.mark.anyio

OLD = "決済ジョブは夜に実行されます"
"""The first version kept unspaced writing as one word."""


async def _as_before(memory: MemoryService, keys: int) -> None:
    def put(db: apsw.Connection) -> None:
        db.execute("DELETE FROM memory_fts")
        for key in range(1, keys + 1):
            db.execute("INSERT INTO memory_fts (rowid, body) VALUES (?, ?)", (key, OLD))

    await memory._store.write(put)


async def test_a_memory_of_an_earlier_version_is_found_by_a_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "REINDEXED_AT_ONCE", 2)
    async with retain.open(tmp_path, folder=tmp_path, recall_confidence=0) as memory:
        for number in range(5):
            await memory.remember(f"{OLD} {number}")
        forgotten = await memory.remember(f"{OLD} forgotten")
        await memory.forget(forgotten.id)
        await _as_before(memory, 5)
        assert not (await memory.recall("夜に")).hits
        assert await memory.keeping.reindex() == 5
        assert len((await memory.recall("夜に")).hits) == 5
        assert (await memory.verify())["ok"]


async def test_an_empty_store_has_nothing_to_index(tmp_path: Path) -> None:
    async with retain.open(tmp_path, folder=tmp_path) as memory:
        assert await memory.keeping.reindex() == 0
