"""The whole of it on a real store: remember and recall, alone and together, growing and repeated."""

import asyncio
from contextlib import AsyncExitStack

import pytest

import retain

pytestmark = pytest.mark.benchmark(group="system")

SIZE = 2_000
FIRST = 5


class Opened:
    """A service over a filled store, and the loop it lives on."""

    def __init__(self, runner, home, notes, **settings):
        self.notes = notes
        self._runner = runner
        self._stack = AsyncExitStack()
        self.memory = self.run(
            self._stack.enter_async_context(retain.open(home, folder=home.parent, **settings))
        )
        self.run(self.memory.remember_many([{"text": note.text} for note in notes]))

    def run(self, work):
        return self._runner.run(work)

    def recalled(self, notes):
        """For each note, whether it is among the first five for its name; one recall at a time."""

        async def ask():
            answers = [await self.memory.recall(note.name, limit=FIRST) for note in notes]
            return [holds(answer, note) for answer, note in zip(answers, notes, strict=True)]

        return self.run(ask())

    def close(self):
        self.run(self._stack.aclose())


def holds(answer, note):
    return any(note.name in hit.memory.text for hit in answer.hits)


@pytest.fixture
def opened(runner, home, texts):
    services = []

    def make(size=SIZE, name="data", **settings):
        services.append(Opened(runner, home.parent / name, texts.notes(size), **settings))
        return services[-1]

    yield make
    for service in services:
        service.close()


def test_a_recall_finds_the_memory_that_is_meant(measured, opened):
    service = opened(cache_entries_max=0)
    assert all(measured(service.recalled, service.notes[:: SIZE // 20]))


def test_twenty_recalls_at_once_are_those_asked_one_by_one(measured, opened):
    service = opened(cache_entries_max=0)
    asked = service.notes[:: SIZE // 20]

    async def together():
        answers = await asyncio.gather(
            *(service.memory.recall(note.text[:80], limit=FIRST) for note in asked)
        )
        return [[hit.memory.id for hit in answer.hits] for answer in answers]

    async def one_by_one():
        answers = [await service.memory.recall(note.text[:80], limit=FIRST) for note in asked]
        return [[hit.memory.id for hit in answer.hits] for answer in answers]

    assert measured(lambda: service.run(together())) == service.run(one_by_one())


def test_a_repeated_recall_is_answered_from_the_cache_and_sooner(measured, opened, best_ns):
    cached, uncached = opened(), opened(name="uncached", cache_entries_max=0)
    question = cached.notes[7].text[:120]

    def ask(service):
        return service.run(service.memory.recall(question, limit=FIRST))

    first = ask(cached)
    again = measured(ask, cached)
    assert again.plan["name"] == "cached"
    assert [hit.memory.id for hit in again.hits] == [hit.memory.id for hit in first.hits]
    assert best_ns(lambda: ask(cached)) < best_ns(lambda: ask(uncached))


def test_what_is_remembered_can_be_recalled_at_once(measured, opened):
    service = opened(size=200)
    numbers = iter(range(10**9))

    async def remember_and_recall():
        name = f"fresh_name_{next(numbers)}"
        stored = await service.memory.remember(f"the switch {name} turns the lights on")
        answer = await service.memory.recall(name, limit=1)
        return stored.id == answer.hits[0].memory.id

    assert measured(lambda: service.run(remember_and_recall()))


def test_writes_that_wait_together_share_commits(measured, opened):
    service = opened(size=200)
    numbers = iter(range(10**9))

    async def together():
        texts = [f"one of many notes, number {next(numbers)}" for _ in range(64)]
        stored = await asyncio.gather(*map(service.memory.remember, texts))
        return {memory.id for memory in stored}, [memory.text for memory in stored] == texts

    ids, in_order = measured(lambda: service.run(together()))
    assert in_order
    assert len(ids) == 64
    writer = service.run(service.memory.stats())["process"]["writer"]
    assert writer["commits"] < writer["writes"]


def test_ten_times_the_memories_do_not_cost_ten_times_the_recall(measured, opened, best_ns):
    small, large = opened(size=200, name="small", cache_entries_max=0), opened(cache_entries_max=0)
    asked = slice(0, 200, 20)
    assert all(measured(large.recalled, large.notes[asked]))
    one = best_ns(lambda: small.recalled(small.notes[asked]), rounds=5)
    ten = best_ns(lambda: large.recalled(large.notes[asked]), rounds=5)
    assert ten <= 8 * one


def test_the_cache_of_recalls_stays_within_its_bytes(measured, opened):
    service = opened(cache_bytes_max=200_000)
    measured(service.recalled, service.notes[:100])
    stats = service.run(service.memory.stats())["process"]["cache"]
    assert 0 < stats["bytes"] <= 200_000
    assert stats["evictions"] > 0


def test_recalls_beside_writes_find_all_that_was_there_before(measured, opened):
    service = opened(size=500, cache_entries_max=0)
    numbers = iter(range(10**9))

    async def mixed():
        asked = service.notes[::25]
        recalls = [service.memory.recall(note.name, limit=FIRST) for note in asked]
        writes = [service.memory.remember(f"written meanwhile, number {next(numbers)}") for _ in asked]
        answers = await asyncio.gather(*recalls, *writes)
        return [holds(answer, note) for answer, note in zip(answers, asked, strict=False)]

    assert all(measured(lambda: service.run(mixed())))
