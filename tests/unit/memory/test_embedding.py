"""The background service of vectors: who gets one, when a space serves, when it stops."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.conftest import StoreOpener

from retain.config import Settings
from retain.errors import EmbeddingFailed
from retain.memory import embedding as module
from retain.memory import precedence as waits
from retain.memory.embedding import Embedding, EmbeddingProgress
from retain.memory.embedding_cache import EmbeddingCache
from retain.memory.precedence import Precedence
from retain.memory.questions import Questions
from retain.memory.serving import Serving
from retain.model import Draft, new_id
from retain.retrieval.space import CORPUS, MODEL, Embedder, Passage
from retain.storage import spaces, writes
from retain.storage.sqlite import SqliteStore

pytestmark = pytest.mark.anyio


class HashModel:
    """A model that anybody can check: the bytes of a digest."""

    dim = 16

    def __init__(self, name: str = "hash-1") -> None:
        self.name = name
        self.fails = False

    def embed_documents(self, passages: Sequence[Passage]) -> list[bytes]:
        if self.fails:
            raise EmbeddingFailed("the model is away")
        return [self.embed_query(passage.as_text()) for passage in passages]

    def embed_query(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode(), digest_size=self.dim).digest()


async def add(store: SqliteStore, count: int, start: int = 0) -> list[int]:
    def action(db: writes.apsw.Connection) -> list[int]:
        workspace = writes.add_workspace(
            db, workspace_id="w", identity="i", name="n", root="/r", alias="/r", now_us=1
        )
        drafts = [
            Draft(kind="note", title=f"memory {n} of topic {n % 7}", text=f"text {n} {n % 7}", origin="user")
            for n in range(start, start + count)
        ]
        news = [writes.NewMemory(id=new_id(), workspace=workspace, draft=d, now_us=1) for d in drafts]
        return [writes.add_memory(db, new).key for new in news]

    return await store.write(action)


async def vectors(store: SqliteStore, kind: str) -> dict[int, bytes]:
    """The vectors of the space of a kind that serves."""

    def read(reader: module.Reader) -> dict[int, bytes]:
        serving = spaces.space_in(reader.connection, kind, "serving")
        key = serving.key if serving else -1
        rows = reader.connection.execute("SELECT memory, data FROM memory_vector WHERE space = ?", (key,))
        return {int(memory): bytes(data) for memory, data in rows}

    return await store.read(read)


def service(home: Path, store: SqliteStore, model: Embedder | None = None, **more: object) -> Embedding:
    return Embedding(Settings(home=home), store, lambda: model, **more)


async def test_too_few_memories_get_no_space(home: Path, open_store: StoreOpener) -> None:
    async with open_store() as store:
        await add(store, module.MEMORIES_MIN - 1)
        assert await service(home, store).run() == 0
        assert await vectors(store, CORPUS) == {}


async def test_every_active_memory_gets_a_vector_and_new_ones_join(
    home: Path, open_store: StoreOpener
) -> None:
    async with open_store() as store:
        first = await add(store, 150)
        background = service(home, store)
        assert await background.run() == 150
        more = await add(store, 5, start=1_000)
        assert await background.run() == 5
        assert await background.run() == 0
        assert set(await vectors(store, CORPUS)) == {*first, *more}


async def test_gaps_are_looked_for_a_few_keys_at_a_time_and_never_twice(
    home: Path, open_store: StoreOpener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEYS_AT_ONCE", 40)
    looked: list[tuple[int, int]] = []
    lacking = spaces.lacking

    def noting(db: writes.apsw.Connection, space: int, limit: int, *, above: int, below: int) -> list[int]:
        if limit == module.KEYS_AHEAD:
            looked.append((above, below))
        return lacking(db, space, limit, above=above, below=below)

    monkeypatch.setattr(spaces, "lacking", noting)
    async with open_store() as store:
        first = await add(store, 150)
        background = service(home, store)
        assert await background.run() == 150
        gaps = (first[3], first[77], first[140])
        await store.write(lambda db: db.execute("DELETE FROM memory_vector WHERE memory IN (?, ?, ?)", gaps))
        assert await service(home, store).run() == 3  # another process knows nothing of what is whole
        assert set(await vectors(store, CORPUS)) == set(first)
        assert all(below - above <= 41 for above, below in looked)
        looked.clear()
        more = await add(store, 5, start=1_000)
        assert await background.run() == 5
        assert looked[0] == (first[-1], more[-1] + 1)
        assert min(above for above, _ in looked) == first[-1]


async def test_vectors_are_made_when_nobody_asks(
    home: Path, open_store: StoreOpener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "PATIENCE_S", 60.0)
    async with open_store() as store:
        await add(store, 120)
        precedence = Precedence()
        with precedence.question():
            made = asyncio.create_task(service(home, store, precedence=precedence).run())
            for _ in range(200):
                await asyncio.sleep(0)
            assert not made.done()
        assert await made == 120


async def test_another_process_goes_on_where_one_stopped(home: Path, open_store: StoreOpener) -> None:
    async with open_store() as store:
        await add(store, 120)
        await service(home, store).run()
        before = await vectors(store, CORPUS)
        await add(store, 1, start=500)
        assert await service(home, store).run() == 1
        after = await vectors(store, CORPUS)
        assert before.items() <= after.items()


async def test_a_corpus_that_has_grown_by_half_is_fitted_anew_and_the_old_space_goes(
    home: Path, open_store: StoreOpener
) -> None:
    async with open_store() as store:
        await add(store, 100)
        background = service(home, store)
        await background.run()
        await add(store, 49, start=1_000)
        assert await background.run() == 49
        await add(store, 1, start=2_000)
        assert await background.run() == 150
        rows = await store.read(
            lambda reader: reader.connection.execute(
                "SELECT state, length(model) > 0, (SELECT count(*) FROM memory_vector v WHERE v.space = s.key) "
                "FROM vector_space s ORDER BY key"
            ).fetchall()
        )
        assert rows == [("retired", 0, 0), ("serving", 1, 150)]


async def test_the_old_model_serves_until_the_new_one_is_whole(home: Path, open_store: StoreOpener) -> None:
    async with open_store() as store:
        keys = await add(store, 130)
        await service(home, store, HashModel("one")).run()
        seen: list[EmbeddingProgress] = []
        broken = HashModel("two")
        background = service(home, store, broken, on_progress=seen.append)

        def stop_after_one_batch(progress: EmbeddingProgress) -> None:
            if progress.space == "two":
                background.unload()

        background._on_progress = stop_after_one_batch
        await background.run()
        serving = await store.read(lambda r: spaces.space_in(r.connection, MODEL, "serving"))
        assert serving is not None
        assert serving.name == "one"
        assert len(await vectors(store, MODEL)) == 130

        background._on_progress = seen.append
        background.resume()
        assert await background.run() == 130 - module.BATCH
        left = 130 - module.BATCH
        dones = [*range(module.BATCH, left, module.BATCH), left]
        assert [(p.done, p.lacking, p.building) for p in seen] == [(done, left, True) for done in dones]
        serving = await store.read(lambda r: spaces.space_in(r.connection, MODEL, "serving"))
        assert serving is not None
        assert serving.name == "two"
        assert set(await vectors(store, MODEL)) == set(keys)


async def test_a_model_that_fails_leaves_what_serves_alone(home: Path, open_store: StoreOpener) -> None:
    async with open_store() as store:
        await add(store, 10)
        await service(home, store, HashModel("one")).run()
        broken = HashModel("two")
        broken.fails = True
        background = service(home, store, broken)
        with pytest.raises(EmbeddingFailed):
            await background.run()
        serving = await store.read(lambda r: spaces.space_in(r.connection, MODEL, "serving"))
        assert serving is not None
        assert serving.name == "one"
        broken.fails = False
        assert await background.run() == 10


async def test_a_removed_model_takes_its_vectors_with_it(home: Path, open_store: StoreOpener) -> None:
    async with open_store() as store:
        await add(store, 10)
        await service(home, store, HashModel()).run()
        assert len(await vectors(store, MODEL)) == 10
        await service(home, store, None).run()
        assert await vectors(store, MODEL) == {}


async def test_what_is_forgotten_loses_its_vector_in_the_same_transaction(
    home: Path, open_store: StoreOpener
) -> None:
    async with open_store() as store:
        keys = await add(store, 10)
        await service(home, store, HashModel()).run()
        name = await store.read(
            lambda r: r.connection.execute("SELECT id FROM memory WHERE key = ?", (keys[3],)).get
        )
        await store.write(lambda db: writes.forget(db, name, "wrong"))
        assert set(await vectors(store, MODEL)) == {*keys} - {keys[3]}
        newest = await store.read(
            lambda r: (
                r.connection.execute("SELECT memory FROM vector_change ORDER BY version DESC LIMIT 1").get
            )
        )
        assert newest == keys[3]


async def test_a_damaged_memory_does_not_keep_the_others_from_their_vectors(
    home: Path, open_store: StoreOpener
) -> None:
    async with open_store() as store:
        keys = await add(store, 70)
        await store.write(lambda db: db.execute("UPDATE memory SET title = 'x' WHERE key = ?", (keys[9],)))
        assert await service(home, store, HashModel()).run() == 69
        assert keys[9] not in await vectors(store, MODEL)


async def test_only_one_process_works_and_none_does_under_pressure(
    home: Path, open_store: StoreOpener
) -> None:
    async with open_store() as store:
        await add(store, 10)
        one, other = service(home, store, HashModel()), service(home, store, HashModel())
        with module._alone(home / module.EMBED_LOCK) as alone:
            assert alone
            assert await one.run() == 0
        other.unload()
        assert await other.run() == 0
        other.resume()
        assert await other.run() == 10


async def test_kept_running_it_follows_the_store_until_it_is_closed(
    home: Path, open_store: StoreOpener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "INTERVAL_S", 0.001)
    enough = asyncio.Event()

    def count(progress: EmbeddingProgress) -> None:
        if progress.done:
            enough.set()

    async with open_store() as store:
        background = service(home, store, HashModel(), on_progress=count)
        task = asyncio.create_task(background.keep_running())
        for start in (0, 100):
            enough.clear()
            await add(store, 3, start=start)
            await asyncio.wait_for(enough.wait(), 30)
        await background.run()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await background.close()
        assert len(await vectors(store, MODEL)) == 6


async def test_questions_are_embedded_in_the_spaces_that_serve(home: Path, open_store: StoreOpener) -> None:
    async with open_store() as store:
        await add(store, 120)
        model = HashModel()
        serving = Serving(Questions(lambda: model, EmbeddingCache()))
        assert await store.read(serving.at) == []
        await service(home, store, model).run()

        def ask(reader: module.Reader) -> list[tuple[str, bytes]]:
            return [(space.kind, each.embed_query("topic 3")) for space, each in serving.at(reader)]

        asked = await store.read(ask)
        assert [kind for kind, _ in asked] == [CORPUS, MODEL]
        assert any(asked[0][1])
        assert asked[1][1] == model.embed_query("topic 3")
        model.name = "another"
        serving.unload()
        assert [kind for kind, _ in await store.read(ask)] == [CORPUS]


async def test_a_damaged_space_is_fitted_anew(home: Path, open_store: StoreOpener) -> None:
    async with open_store() as store:
        await add(store, 120)
        await service(home, store).run()
        await store.write(lambda db: db.execute("UPDATE vector_space SET model = x'00'"))
        serving = Serving(Questions(lambda: None, EmbeddingCache()))
        assert await store.read(serving.at) == []
        assert await service(home, store).run() == 120
        assert len(await store.read(serving.at)) == 1
