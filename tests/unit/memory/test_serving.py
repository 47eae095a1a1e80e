"""The spaces that serve: a new memory is found by meaning as soon as it is acknowledged."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.memory.conftest import Spool

import retain
from retain.memory import serving
from retain.memory.embedding import Embedding
from retain.memory.service import MemoryService
from retain.retrieval.space import CORPUS
from retain.storage import spaces
from retain.storage.reads import Reader
from retain.storage.writes import Added

pytestmark = pytest.mark.anyio

PAIRS = ("lease acquire", "porter stem", "schema migrate", "spool drain", "cosine vector", "glob folder")
"""Words that always stand together; one of them tells of the other."""


async def fitted(memory: MemoryService) -> None:
    """Fills the store and fits a space to it, as a live server does in the background."""
    items = [
        {"text": f"note {n}: {PAIRS[n % len(PAIRS)]}, seen in round {n // len(PAIRS)}"} for n in range(120)
    ]
    await memory.remember_many(items)
    await embed(memory)


async def embed(memory: MemoryService) -> int:
    background = Embedding(memory.settings, memory._store, lambda: None)
    try:
        return await background.run()
    finally:
        await background.close()


async def lacking(memory: MemoryService) -> int:
    """Active memories without a vector in the space that serves."""

    def count(reader: Reader) -> int:
        space = spaces.space_in(reader.connection, CORPUS, "serving")
        assert space is not None
        return spaces.count_lacking(reader.connection, space.key, above=0, below=1 << 62)

    return await memory._store.read(count)


async def test_a_recall_right_after_the_acknowledgement_finds_it_by_meaning(home: Path, folder: Path) -> None:
    found = {}
    for vectors in (1, 0):
        place = home / str(vectors)
        async with retain.open(place, folder=folder, recall_confidence=0, vectors=vectors) as memory:
            await fitted(memory)
            assert await memory.recall("lease", limit=50)  # what is cached of before must not be given after
            stored = await memory.remember("why acquire hangs for ever")
            hits = (await memory.recall("lease", limit=50)).hits
            assert len(hits) >= 20
            found[vectors] = stored.id in [hit.memory.id for hit in hits]
    assert found == {1: True, 0: False}, "no word of the question stands in it"


async def test_a_revision_is_found_by_meaning_and_the_old_version_is_not(home: Path, folder: Path) -> None:
    async with retain.open(home, folder=folder, recall_confidence=0) as memory:
        await fitted(memory)
        old = await memory.remember("why acquire hangs for ever")
        new = await memory.revise(old.id, "why acquire hangs until the timeout")
        hits = [hit.memory.id for hit in (await memory.recall("lease", limit=50)).hits]
        assert (new.id in hits, old.id in hits) == (True, False)
        assert await lacking(memory) == 0


async def test_what_the_drain_stores_has_its_vector_at_once(home: Path, folder: Path, events: Spool) -> None:
    async with retain.open(home, folder=folder) as memory:
        await fitted(memory)
        events.prompts(5)
        events.edit("cart.py", "lease", "acquire")
        assert (await memory.drain.run()).memories > 0
        assert await lacking(memory) == 0


async def test_many_at_once_are_left_to_the_background(
    home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "EMBEDDED_AT_ONCE_MAX", 3)
    async with retain.open(home, folder=folder) as memory:
        await fitted(memory)
        await memory.remember_many([{"text": f"three {n}"} for n in range(3)])
        assert await lacking(memory) == 0
        await memory.remember_many([{"text": f"four {n}"} for n in range(4)])
        assert await lacking(memory) == 4
        assert await embed(memory) == 4


async def test_without_a_space_a_memory_is_stored_as_ever(memory: MemoryService) -> None:
    stored = await memory.remember("the first of all")
    assert [hit.memory.id for hit in (await memory.recall("first")).hits] == [stored.id]


async def test_a_space_that_another_process_replaced_gets_no_vector_of_the_old_one(
    home: Path, folder: Path
) -> None:
    async with retain.open(home, folder=folder) as memory:
        await fitted(memory)
        await memory.remember("acquire before")
        held = memory._semantics.serving
        await memory._store.write(lambda db: spaces.retire_kind(db, CORPUS))
        assert await embed(memory) == 121

        def behind(db: serving.apsw.Connection) -> int:
            key = db.execute("DELETE FROM memory_vector WHERE memory = 7 RETURNING memory").get
            held.add(db, [Added(id="", key=key, created=True)])
            return int(db.execute("SELECT count(*) FROM memory_vector WHERE memory = 7").get)

        assert await memory._store.write(behind) == 0
        await memory.remember("acquire after")  # which looks at the space first
        assert await lacking(memory) == 1


async def test_a_space_does_not_serve_before_what_came_meanwhile_is_in_it(home: Path, folder: Path) -> None:
    async with retain.open(home, folder=folder) as memory:
        await fitted(memory)
        await memory.remember_many([{"text": f"lease acquire, more {n}"} for n in range(90)])
        seen = []

        async def come() -> None:
            seen.append((await memory.remember(f"acquire, number {len(seen)}")).id)

        class Busy(Embedding):
            async def _embed(self, keys: object) -> object:  # type: ignore[override]
                done = await super()._embed(keys)  # type: ignore[arg-type]
                if len(seen) < 3:
                    await come()
                return done

        background = Busy(memory.settings, memory._store, lambda: None)
        await background.run()
        await background.close()
        assert len(seen) == 3
        assert await lacking(memory) == 0
