"""The leg of a recall that goes by meaning: what fits the filter, by whichever way, in whatever is in RAM."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import retain
from retain.errors import EmbeddingFailed
from retain.memory import semantics as module
from retain.memory.embedding import Embedding
from retain.memory.recalling import effective
from retain.memory.semantics import NEAREST, NOTHING, Nearest, Semantics, against_first, between
from retain.memory.service import MemoryService
from retain.model import Filter, Glob, In, Query
from retain.retrieval.planner import Plan, QueryPlanner
from retain.retrieval.space import MODEL
from retain.retrieval.vector_plan import VectorPlan
from retain.retrieval.vectors import VectorIndex
from retain.storage.reads import Reader

pytestmark = pytest.mark.anyio

PAIRS = ("lease acquire", "porter stem", "schema migrate", "spool drain", "cosine vector", "glob folder")
COUNT = 360


@pytest.fixture
async def filled(home: Path, folder: Path) -> AsyncIterator[MemoryService]:
    """Six topics; every 60th memory has the tag rare, every second one the tag even."""
    async with retain.open(home, folder=folder, recall_confidence=0) as memory:
        await memory.remember_many(
            [
                {
                    "text": f"note {n}: {PAIRS[n % 6]}",
                    "tags": ["even"] * (n % 2 == 0) + ["rare"] * (n % 60 == 0),
                    "paths": [f"src/{n % 4}/a{n}.py"],
                }
                for n in range(COUNT)
            ]
        )
        background = Embedding(memory.settings, memory._store, lambda: None)
        await background.run()
        await background.close()
        await memory._upkeep.refresh()
        yield memory


async def ask(
    memory: MemoryService, text: str, where: Filter | None = None, semantics: Semantics | None = None
) -> Nearest:
    """What the leg says by itself."""
    scope = (await memory._scope(None))[0].id
    query = effective(Query(text=text, filter=where, workspace=scope, limit=10))

    def look(reader: Reader) -> Nearest:
        return (semantics or memory._semantics).nearest(reader, query, memory._planner.create_plan(query))

    return await memory._store.read(look)


async def keys_with(memory: MemoryService, tag: str) -> set[int]:
    sql = "SELECT memory FROM memory_tag WHERE tag = ?"
    return await memory._store.read(lambda r: {key for (key,) in r.connection.execute(sql, (tag,))})


def tagged(tag: str) -> Filter:
    return In(field="tag", values=(tag,))


async def test_the_nearest_are_those_of_the_topic_whatever_their_words(filled: MemoryService) -> None:
    found = await ask(filled, "acquire")
    shares = found.shares["corpus"]
    assert len(shares) == len(found.candidates) == NEAREST
    best = sorted(shares, key=lambda key: -shares[key])[:60]
    assert {key % 6 for key in best} == {1}, "the first of six topics"
    assert max(shares.values()) == 1.0
    assert found.whole


@pytest.mark.parametrize("way", ["listed", "tested"])
@pytest.mark.parametrize("tag", ["rare", "even"])
async def test_either_way_gives_the_nearest_of_those_that_fit_and_never_fewer(
    filled: MemoryService, way: str, tag: str
) -> None:
    class Chooses(QueryPlanner):
        def plan_vectors(self, plan: Plan, k: int, priced: Any) -> VectorPlan:
            return replace(filled._planner.plan_vectors(plan, k, priced), way=way, driver=None)

    fitting = await keys_with(filled, tag)
    semantics = Semantics(filled._semantics.serving, VectorIndex(), Chooses(), live=False)
    found = await ask(filled, "acquire", tagged(tag), semantics)
    assert set(found.shares["corpus"]) <= fitting
    assert len(found.candidates) == min(NEAREST, len(fitting))
    assert found.shares == (await ask(filled, "acquire", tagged(tag))).shares, "as the planner's own choice"


async def test_the_plan_shows_its_estimates_beside_the_truth(filled: MemoryService) -> None:
    fitting = await keys_with(filled, "rare")
    (search,) = (await ask(filled, "acquire", tagged("rare"))).searches
    assert search["way"] == "listed"
    assert search["rows"][0] <= len(fitting) <= search["rows"][2]
    assert search["truth"]["rows"] == len(fitting)
    assert search["truth"]["matrix"] == search["matrix"]["way"] == "vector_ids"
    assert set(search["rejected"]) == {"tested"}
    assert search["rejected"]["tested"] > search["cost_us"][1] > 0
    (plain,) = (await ask(filled, "acquire")).searches
    assert (plain["way"], plain["rejected"]) == ("all", {})
    explained = await filled.explain("acquire", filter={"tag": "rare"})
    assert explained["plan"]["truth"]["meaning"]["searches"][0]["way"] == "listed"


async def test_a_glob_is_tested_like_any_filter(filled: MemoryService) -> None:
    found = await ask(filled, "acquire", Glob(field="path", pattern="src/0/**"))
    assert {key % 4 for key in found.shares["corpus"]} == {1}


async def test_nothing_is_searched_without_words_or_where_no_vector_can_fit(filled: MemoryService) -> None:
    assert await ask(filled, " ") is NOTHING
    assert await ask(filled, "acquire", In(field="status", values=("forgotten",))) is NOTHING
    assert NOTHING.truth() == {}


async def test_words_that_no_memory_has_lie_nowhere(filled: MemoryService) -> None:
    found = await ask(filled, "zzyzx")
    assert (found.shares, found.candidates, found.whole) == ({}, [], True)


async def test_vectors_too_many_to_read_on_the_way_are_left_out_until_they_are_read(
    filled: MemoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOADED_INLINE_MAX", COUNT - 1)
    index = VectorIndex()
    semantics = Semantics(filled._semantics.serving, index, filled._planner, live=True)
    early = await ask(filled, "acquire", semantics=semantics)
    assert (early.shares, early.whole) == ({}, False)
    assert early.truth()["meaning"]["left_out"] == {"corpus-1": "vectors are being read"}
    assert len(semantics.wanted) == 1
    await filled._store.read(semantics.load)
    assert semantics.wanted == set()
    assert (await ask(filled, "acquire", semantics=semantics)).whole
    patient = Semantics(filled._semantics.serving, VectorIndex(), filled._planner, live=False)
    assert (await ask(filled, "acquire", semantics=patient)).whole, "nobody would read them later"


async def test_what_was_unloaded_is_read_again(filled: MemoryService) -> None:
    before = await ask(filled, "acquire")
    held = filled._semantics.stats()["bytes"]
    assert filled._semantics.unload() == held > 0
    assert filled._semantics.stats()["bytes"] == 0
    assert (await ask(filled, "acquire")).shares == before.shares


async def test_an_embedder_that_fails_leaves_its_space_out(filled: MemoryService) -> None:
    class Fails:
        def embed_query(self, text: str) -> bytes:
            raise EmbeddingFailed("the model is away")

    serving = filled._semantics.serving

    class Away:
        def at(self, reader: Reader) -> list[Any]:
            return [(space, Fails()) for space, _ in serving.at(reader)]

    semantics = Semantics(Away(), VectorIndex(), filled._planner, live=False)  # type: ignore[arg-type]
    found = await ask(filled, "acquire", semantics=semantics)
    assert (found.shares, found.left_out) == ({}, {"corpus-1": "the model is away"})
    assert not found.whole


@pytest.mark.parametrize(
    ("name", "known"), [("all-minilm-l6-v2-int8-6b5d2f0e76d0", True), ("onnx-6b5d2f0e76d0", False)]
)
async def test_only_cosines_of_a_model_that_the_gate_was_fitted_on_are_told(
    filled: MemoryService, name: str, known: bool
) -> None:
    serving = filled._semantics.serving

    class Named:
        def at(self, reader: Reader) -> list[Any]:
            return [(replace(space, name=name, kind=MODEL), asks) for space, asks in serving.at(reader)]

    semantics = Semantics(Named(), VectorIndex(), filled._planner, live=False)  # type: ignore[arg-type]
    found = await ask(filled, "acquire", semantics=semantics)
    assert (await ask(filled, "acquire")).cosines == {}, "the fitted space is none"
    assert set(found.cosines) == (set(found.shares[MODEL]) if known else set())


def test_a_share_is_the_place_between_the_last_and_the_first() -> None:
    assert between([]) == {}
    assert between([(1, 0.5), (2, 0.5)]) == {1: 1.0, 2: 1.0}
    few = between([(1, 0.8), (2, 0.4)])
    assert few == {1: 1.0, 2: 0.5}, "fewer than were asked for: the last is not the worst there is"
    many = between([(n, 1 - n / 200) for n in range(NEAREST)])
    assert (many[0], many[NEAREST - 1]) == (1.0, 0.0)


def test_the_share_of_a_model_is_the_cosine_against_the_first() -> None:
    assert against_first([]) == {}
    assert against_first([(1, 0.8), (2, 0.4), (3, -0.1)]) == {1: 1.0, 2: 0.5, 3: 0.0}
    assert against_first([(1, -0.1), (2, -0.2)]) == {}, "all of them point away"
