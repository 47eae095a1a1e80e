"""The first level of the cache: hits, misses, eviction, bounds, threads."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from retain.cache import L1Cache

pytestmark = pytest.mark.benchmark(group="L1 cache")

ENTRIES = 10_000
NAMES = [f"{number:020d}" for number in range(ENTRIES)]


@pytest.fixture(params=["lru", "wtinylfu"])
def full(request):
    cache = L1Cache(ENTRIES, policy=request.param)
    for name in NAMES:
        cache.set(name, name)
    return cache


def read_all(get):
    for name in NAMES:
        get(name)


def test_a_hit_costs_a_small_multiple_of_a_dict_get(measured, full, best_ns):
    plain = dict.fromkeys(NAMES)
    measured(read_all, full.get)
    assert [full.get(name) for name in NAMES] == NAMES
    assert best_ns(lambda: read_all(full.get)) <= 30 * best_ns(lambda: read_all(plain.get))


def test_a_miss_gives_the_default_and_costs_no_more_than_a_few_hits(measured, full, best_ns):
    others = [f"other {name}" for name in NAMES]

    def misses():
        return [full.get(name, None) for name in others]

    assert set(measured(misses)) == {None}
    assert best_ns(misses) <= 30 * best_ns(lambda: [full.get(name) for name in NAMES])


def test_many_keys_in_one_call_are_those_that_are_there(measured, full):
    assert measured(full.get_many, [*NAMES, "absent"]) == {name: name for name in NAMES}


def test_eviction_costs_the_same_in_a_large_cache_as_in_a_small_one(measured, best_ns):
    def filled(size):
        cache = L1Cache(size)
        cache.set_many((number, None) for number in range(size))
        return cache

    def evict(cache, start=10**9):
        for number in range(start, start + 500):
            cache.set(number, None)

    small, large = filled(1_000), filled(200_000)
    measured(evict, large)
    starts = iter(range(10**10, 10**11, 1_000))
    assert best_ns(lambda: evict(large, next(starts))) <= 15 * best_ns(lambda: evict(small, next(starts)))
    assert (len(small), len(large)) == (1_000, 200_000)


def test_eviction_under_lru_drops_what_was_used_longest_ago(measured):
    def turned_over():
        cache = L1Cache(1_000)
        for number in range(1_000):
            cache.set(number, number)
        for number in range(0, 1_000, 2):
            cache.get(number)
        for number in range(1_000, 1_500):
            cache.set(number, number)
        return cache

    cache = measured(turned_over)
    assert sorted(cache.keys()) == [*range(0, 1_000, 2), *range(1_000, 1_500)]


def test_large_values_stay_within_the_bound_of_bytes(measured):
    values = [bytes(100_000) for _ in range(100)]

    def stored():
        cache = L1Cache(ENTRIES, max_bytes=2_000_000)
        for number, value in enumerate(values):
            cache.set(number, value)
        return cache

    stats = measured(stored).stats()
    assert stats["bytes"] <= 2_000_000
    assert stats["entries"] == 19
    assert stats["evictions"] == 81


def test_a_read_heavy_load_is_counted_exactly(measured):
    def load():
        cache = L1Cache(ENTRIES)
        for start in range(0, ENTRIES, 10):
            cache.set(NAMES[start], start)
            for name in NAMES[start : start + 9]:
                cache.get(name)
        return cache.stats()

    stats = measured(load)
    assert (stats["hits"], stats["misses"]) == (ENTRIES // 10, 8 * ENTRIES // 10)


def test_eight_threads_at_once_lose_nothing(measured):
    def together():
        cache = L1Cache(8 * 500)

        def work(thread):
            for number in range(500):
                cache.set((thread, number), number)
            return sum(cache.get((thread, number)) == number for number in range(500))

        with ThreadPoolExecutor(8) as threads:
            return sum(threads.map(work, range(8))), len(cache)

    assert measured(together) == (4_000, 4_000)


def test_an_evicted_value_is_let_go(measured):
    value = object()
    before = sys.getrefcount(value)

    def turned_over():
        cache = L1Cache(10)
        for number in range(100):
            cache.set(number, value)
        held = sys.getrefcount(value) - before
        cache.clear()
        return held

    assert measured(turned_over) == 10
    assert sys.getrefcount(value) == before


def test_statistics_cost_no_more_than_a_few_dozen_hits(measured, full, best_ns):
    measured(full.stats)
    assert best_ns(full.stats) <= best_ns(lambda: read_all(full.get)) / 20
