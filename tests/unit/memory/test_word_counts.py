"""In how many memories common words stand: what is kept, for how long, and by whom."""

from __future__ import annotations

import pytest
from tests.conftest import StoreOpener

from retain.cache import L1Cache
from retain.memory.word_counts import COMMON, GROWTH_MAX, LASTING, WordCounts
from retain.storage.sqlite import SqliteStore
from retain.storage.writes import WORDS_FACT, note_removal, set_facts

pytestmark = pytest.mark.anyio


def counts() -> WordCounts:
    return WordCounts(L1Cache(100))


def test_common_words_are_kept_and_rare_ones_are_counted_again() -> None:
    found = counts()
    found.keep({"cache": COMMON, "rare": COMMON - 1}, 10_000)
    assert found.known(["cache", "rare", "unheard"], 10_000) == {"cache": COMMON}


@pytest.mark.parametrize(
    ("total", "kept"), [(10_000, True), (10_000 * GROWTH_MAX, True), (10_201, False), (9_999, False)]
)
def test_a_count_serves_while_the_store_is_about_as_large(total: int, kept: bool) -> None:
    found = counts()
    found.keep({"cache": 5_000}, 10_000)
    assert bool(found.known(["cache"], total)) is kept


async def loaded(store: SqliteStore) -> WordCounts:
    """The counts of a process that opens the store now."""
    found = counts()
    await store.read(found.load)
    return found


async def test_a_later_process_knows_the_most_common_words(open_store: StoreOpener) -> None:
    async with open_store() as store:
        first = await loaded(store)
        first.keep({"cache": LASTING, "queue": LASTING - 1}, 10_000)
        await store.write(first.save)
        later = await loaded(store)
    assert later.known(["cache", "queue"], 10_000) == {"cache": LASTING}


async def test_words_that_were_counted_before_a_removal_are_not_kept(open_store: StoreOpener) -> None:
    async with open_store() as store:
        before = await loaded(store)
        before.keep({"cache": LASTING}, 10_000)
        await store.write(before.save)
        await store.write(note_removal)
        await store.write(before.save)
        later = await loaded(store)
    assert later.known(["cache"], 10_000) == {}


@pytest.mark.parametrize(
    "fact", [None, [], 1, {"cache": 7}, {"cache": [1]}, {"cache": [1, "2"]}, {"cache": [0, 5]}]
)
async def test_what_is_no_count_is_left_out(open_store: StoreOpener, fact: object) -> None:
    async with open_store() as store:
        await store.write(lambda db: set_facts(db, [(WORDS_FACT, fact)]))
        assert (await loaded(store)).known(["cache"], 5) == {}
