"""The whole of it on a real store: remember and recall, alone and together, growing, repeated, under pressure."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import apsw
import orjson
import pytest

import retain
from retain.capture import spool
from retain.config import Settings
from retain.memory.relief import watched
from retain.memory.service import MemoryService
from suite.texts import Note, notes

pytestmark = pytest.mark.benchmark(group="system integration")

SIZE = 1_000
FIRST = 5
EACH = 20
"""How many notes of a store are asked for."""

PATIENCE_S = 60


class Opened:
    """A service over a filled store, and the loop it lives on."""

    def __init__(self, run: Callable[..., Any], home: Path, texts: Sequence[Note], **settings: int) -> None:
        self.notes = texts
        self.home = home
        self._run = run
        self._stack = AsyncExitStack()
        opening = retain.open(home, folder=home.parent, **settings)
        self.memory: MemoryService = run(self._stack.enter_async_context(opening))
        run(self.memory.remember_many([{"text": note.text} for note in texts]))

    @property
    def asked(self) -> Sequence[Note]:
        """Notes from all over the store."""
        return self.notes[:: max(1, len(self.notes) // EACH)]

    def timed(self, texts: Sequence[Note]) -> list[float]:
        """Microseconds of each recall of a name, one at a time; each must find its note among the first five."""

        async def ask() -> list[float]:
            times = []
            for note in texts:
                started = time.perf_counter_ns()
                answer = await self.memory.recall(note.name, limit=FIRST)
                times.append((time.perf_counter_ns() - started) / 1_000)
                assert holds(answer, note)
            return times

        return self._run(ask())  # type: ignore[no-any-return]

    def close(self) -> None:
        self._run(self._stack.aclose())


def holds(answer: retain.Recall, note: Note) -> bool:
    return any(note.name in hit.memory.text for hit in answer.hits)


def ids(answers: Sequence[retain.Recall]) -> list[list[str]]:
    return [[hit.memory.id for hit in answer.hits] for answer in answers]


@pytest.fixture
def opened(run: Any, tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    services: list[Opened] = []

    def make(size: int = SIZE, **settings: int) -> Opened:
        services.append(Opened(run, tmp_path / f"data{len(services)}", notes(size), **settings))
        return services[-1]

    yield make
    for service in services:
        service.close()


async def in_turns(works: Sequence[Callable[[], Awaitable[Any]]], width: int) -> list[Any]:
    """The answers of all works, so many at one time."""
    free = asyncio.Semaphore(width)

    async def one(work: Callable[[], Awaitable[Any]]) -> Any:
        async with free:
            return await work()

    return await asyncio.gather(*map(one, works))


# Queries


def test_an_end_to_end_query_costs_a_small_multiple_of_the_bare_index(
    measured: Any, opened: Callable[..., Opened], best_ns: Any
) -> None:
    service = opened(cache_entries_max=0)
    times = measured.each(lambda: service.timed(service.asked))
    plain = apsw.Connection(":memory:")
    plain.execute("CREATE VIRTUAL TABLE t USING fts5(text, tokenize = 'porter')")
    plain.executemany("INSERT INTO t (text) VALUES (?)", [(note.text,) for note in service.notes])

    def bare() -> None:
        for note in service.asked:
            match = " OR ".join(f'"{word}"' for word in note.name.split("_"))
            rows = plain.execute("SELECT text FROM t WHERE t MATCH ? ORDER BY bm25(t) LIMIT 5", (match,))
            assert any(note.name in text for (text,) in rows)

    floor = best_ns(bare) / len(service.asked) / 1_000
    plain.close()
    assert statistics.median(times) < 60 * floor


def test_concurrent_queries_get_the_answers_of_those_asked_one_by_one(
    measured: Any, run: Any, opened: Callable[..., Opened]
) -> None:
    service = opened(cache_entries_max=0)
    works = [lambda n=note: service.memory.recall(n.text[:80], limit=FIRST) for note in service.asked]
    expected = ids(run(in_turns(works, 1)))
    assert ids(measured.rounds(lambda: run(in_turns(works, EACH)))) == expected


def test_caching_answers_a_repeated_query_sooner_and_the_same(
    measured: Any, run: Any, opened: Callable[..., Opened], best_ns: Any
) -> None:
    cached, uncached = opened(), opened(cache_entries_max=0)
    question = cached.notes[7].text[:120]

    def ask(service: Opened) -> retain.Recall:
        return run(service.memory.recall(question, limit=FIRST))  # type: ignore[no-any-return]

    first = ask(cached)
    again = measured(ask, cached)
    assert again.plan["name"] == "cached"
    assert ids([again]) == ids([first])
    assert best_ns(lambda: ask(cached)) < best_ns(lambda: ask(uncached))


@pytest.mark.parametrize("off", ["cache_entries_max", "planner", "drain_batch", "group_commit_max"])
def test_throughput_with_a_component_on_is_not_below_that_without_it(
    measured: Any, run: Any, opened: Callable[..., Opened], best_ns: Any, off: str
) -> None:
    """Events drained, writes together, each question twice; the answers are equal."""
    least = 1 if off in {"drain_batch", "group_commit_max"} else 0
    services = {"on": opened(300), "off": opened(300, **{off: least})}
    numbers = iter(range(10**9))

    async def work(service: Opened) -> list[list[str]]:
        for _ in range(8):
            prompt = {"hook_event_name": "UserPromptSubmit", "prompt": f"please mend step {next(numbers)}"}
            spool.append(
                str(service.home / "spool"), spool.Record(orjson.dumps(prompt), 1, cwd=str(service.home))
            )
        assert (await service.memory.drain.run()).memories == 8
        texts = [f"written among others, number {next(numbers)}" for _ in range(16)]
        await asyncio.gather(*map(service.memory.remember, texts))
        answers = [await service.memory.recall(note.name, limit=FIRST) for note in [*service.asked] * 2]
        return [[hit.memory.text for hit in answer.hits] for answer in answers]

    found = {name: run(work(service)) for name, service in services.items()}
    assert found["on"] == found["off"]
    measured.rounds(lambda: run(work(services["on"])))
    on, without = (best_ns(lambda name=name: run(work(services[name])), rounds=3) for name in ("on", "off"))
    measured.note["time_over_that_without"] = on / without
    assert on < 1.5 * without


# Load


def test_the_cache_stays_within_its_bytes_under_load(
    measured: Any, run: Any, opened: Callable[..., Opened]
) -> None:
    service = opened(cache_bytes_max=200_000)
    measured.each(lambda: service.timed(service.notes[:100]), rounds=3)
    stats = run(service.memory.stats())["process"]["cache"]["l1"]
    assert 0 < stats["bytes"] <= 200_000
    assert stats["evictions"] > 0


def test_pressure_cleans_up_the_caches_while_queries_are_answered(
    measured: Any, run: Any, opened: Callable[..., Opened]
) -> None:
    """A limit that this process is already above: the caches give way, and every answer stays right."""
    service = opened()
    memory = service.memory

    async def pressed() -> tuple[int, int]:
        for note in service.asked:
            assert holds(await memory.recall(note.name, limit=FIRST), note)
        before = memory._recalls.l1.stats()["entries"]
        settings = Settings(home=service.home, memory_limit_bytes=1 << 20)
        manager = watched(
            settings,
            memory._store,
            memory.drain,
            memory._recalls.l1,
            memory._recaller.counts._cache,
            1_024,
        )
        async with manager, asyncio.timeout(PATIENCE_S):
            while not manager.stats()["handlers"]["allocator"]["runs"]:
                assert holds(await memory.recall(service.notes[3].name, limit=FIRST), service.notes[3])
        return before, memory._recalls.l1.stats()["entries"]

    before, after = measured.rounds(lambda: run(pressed()), rounds=1)
    assert before >= EACH
    assert after < before


def test_sustained_load_stays_level(measured: Any, run: Any, opened: Callable[..., Opened]) -> None:
    service = opened(cache_entries_max=0)
    times = measured.each(lambda: service.timed(service.asked), rounds=10)
    for _ in range(10):
        times += service.timed(service.asked)
    half = len(times) // 2
    assert statistics.median(times[half:]) <= 3 * statistics.median(times[:half])
    assert run(service.memory.stats())["process"]["pool"]["requests_errors"] == 0


def test_growing_data_volume_does_not_cost_in_proportion(
    measured: Any, opened: Callable[..., Opened], best_ns: Any
) -> None:
    small, large = opened(size=150, cache_entries_max=0), opened(size=1_500, cache_entries_max=0)
    asked = large.notes[:150:8]
    measured.each(lambda: large.timed(asked))
    one = best_ns(lambda: small.timed(asked), rounds=5)
    ten = best_ns(lambda: large.timed(asked), rounds=5)
    assert ten <= 8 * one


def test_growing_concurrency_does_not_lower_the_throughput(
    measured: Any, run: Any, opened: Callable[..., Opened], best_ns: Any
) -> None:
    service = opened(cache_entries_max=0)
    works = [lambda n=note: service.memory.recall(n.name, limit=FIRST) for note in service.asked * 2]

    def at(width: int) -> float:
        return best_ns(lambda: run(in_turns(works, width)), rounds=3)  # type: ignore[no-any-return]

    measured.rounds(lambda: run(in_turns(works, 40)), rounds=3)
    alone = at(1)
    for width in (4, 40):
        assert at(width) <= 2.5 * alone


def test_under_extreme_load_reads_and_writes_at_once_all_end_well(
    measured: Any, run: Any, opened: Callable[..., Opened]
) -> None:
    """Hundreds of calls at one time on four readers and one writer: all are answered, and the store is whole."""
    service = opened(size=500, cache_entries_max=0)
    memory, numbers = service.memory, iter(range(10**9))

    async def storm() -> tuple[list[bool], int]:
        recalls = [memory.recall(note.name, limit=FIRST) for note in service.notes[:200]]
        writes = [memory.remember(f"written meanwhile, number {next(numbers)}") for _ in range(200)]
        found = await asyncio.gather(*recalls, *writes)
        right = [holds(answer, note) for answer, note in zip(found[:200], service.notes, strict=False)]
        return right, len({stored.id for stored in found[200:]})

    right, stored = measured.rounds(lambda: run(storm()), rounds=3)
    assert all(right)
    assert stored == 200
    stats = run(memory.stats())
    assert stats["process"]["writer"]["commits"] < stats["process"]["writer"]["writes"]
    assert stats["process"]["pool"]["pool_size"] <= 4
    assert service.timed(service.asked)


def test_what_is_remembered_can_be_recalled_at_once(
    measured: Any, run: Any, opened: Callable[..., Opened]
) -> None:
    service = opened(size=200)
    numbers = iter(range(10**9))

    async def remember_and_recall() -> bool:
        name = f"fresh_name_{next(numbers)}"
        stored = await service.memory.remember(f"the switch {name} turns the lights on")
        answer = await service.memory.recall(name, limit=1)
        return stored.id == answer.hits[0].memory.id

    assert measured.rounds(lambda: run(remember_and_recall()))
