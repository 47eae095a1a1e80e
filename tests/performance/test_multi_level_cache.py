"""The multi-level cache on a real server, a real disk and real RAM."""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apsw
import pytest

from retain.cache import L1Cache, MultiLevelCache
from retain.cache.disk_level import DiskLevel
from retain.cache.l3 import DiskCache
from retain.cache.levels import Level

pytestmark = pytest.mark.benchmark(group="multi-level cache")

TEXT = "x" * 1_000
ENTRIES = 10_000
NAMES = [f"{number:020d}" for number in range(ENTRIES)]
BATCH = 100


@pytest.fixture
def l2(redis_url: str, run: Any) -> Iterator[Level]:
    from retain.cache.l2 import RedisLevel

    level = RedisLevel(redis_url, timeout_s=10.0)
    run(level.clear())
    yield level
    run(level.close())


@pytest.fixture
def l3(tmp_path: Path) -> Iterator[Level]:
    level = DiskLevel(DiskCache(tmp_path / "disk"))
    yield level
    level._disk.close()


@pytest.fixture(params=["lru", "wtinylfu"])
def full(request: pytest.FixtureRequest) -> L1Cache:
    cache = L1Cache(ENTRIES, policy=request.param)
    cache.set_many((name, name) for name in NAMES)
    return cache


def read_all(get: Callable[[str], Any]) -> None:
    for name in NAMES:
        get(name)


async def gets_us(get: Callable[[str], Any]) -> list[float]:
    """Microseconds of each of a hundred awaited gets."""
    times = []
    for _ in range(BATCH):
        started = time.perf_counter_ns()
        await get("key")
        times.append((time.perf_counter_ns() - started) / 1_000)
    return times


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


# Hits and misses


def test_an_l1_hit_costs_a_small_multiple_of_a_dict_get(measured: Any, full: L1Cache, best_ns: Any) -> None:
    plain = dict.fromkeys(NAMES)
    assert measured(full.get, NAMES[7]) == NAMES[7]
    assert [full.get(name) for name in NAMES] == NAMES
    assert best_ns(lambda: read_all(full.get)) <= 30 * best_ns(lambda: read_all(plain.get))


def test_an_l1_hit_needs_no_await(measured: Any) -> None:
    cache = MultiLevelCache()
    cache.l1.set("key", TEXT)
    assert measured(cache.get_nowait, "key") == TEXT


def test_an_l1_miss_gives_the_default_and_costs_no_more_than_a_few_hits(
    measured: Any, full: L1Cache, best_ns: Any
) -> None:
    others = [f"other {name}" for name in NAMES]

    def misses() -> list[Any]:
        return [full.get(name, None) for name in others]

    assert measured(full.get, "other") is None
    assert set(misses()) == {None}
    assert full.stats()["misses"] >= ENTRIES
    assert best_ns(misses) <= 30 * best_ns(lambda: [full.get(name) for name in NAMES])


def test_an_l2_hit_costs_little_more_than_the_bare_client(
    measured: Any, run: Any, l2: Level, redis_url: str
) -> None:
    cache = MultiLevelCache(L1Cache(0), l2)
    run(cache.set("key", TEXT))
    assert run(cache.get("key")) == TEXT
    bare = importlib.import_module("redis.asyncio").Redis.from_url(redis_url)
    run(bare.set("key", TEXT))
    floor = [us for _ in range(5) for us in run(gets_us(bare.get))]
    ours = measured.each(lambda: run(gets_us(cache.get)))
    run(bare.aclose())
    assert cache.stats()["l2"]["hits"] >= BATCH
    assert median(ours) <= 4 * median(floor)


def test_an_l3_hit_costs_little_more_than_a_bare_select(
    measured: Any, run: Any, l3: Level, tmp_path: Path
) -> None:
    cache = MultiLevelCache(L1Cache(0), None, l3)
    run(cache.set("key", TEXT))
    assert run(cache.get("key")) == TEXT
    bare = apsw.Connection(str(tmp_path / "bare.db"))
    bare.execute("CREATE TABLE kept (name TEXT PRIMARY KEY, value TEXT)")
    bare.execute("INSERT INTO kept VALUES ('key', ?)", (TEXT,))

    async def select(name: str) -> Any:
        return await asyncio.to_thread(
            lambda: bare.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchall()
        )

    floor = [us for _ in range(5) for us in run(gets_us(select))]
    ours = measured.each(lambda: run(gets_us(cache.get)))
    bare.close()
    assert cache.stats()["l3"]["hits"] >= BATCH
    assert median(ours) <= 10 * median(floor)


def test_many_keys_in_one_call_are_those_that_are_there(measured: Any, full: L1Cache) -> None:
    assert measured(full.get_many, [*NAMES, "absent"]) == {name: name for name in NAMES}


# Load


def test_a_thousand_simultaneous_operations_are_all_answered(
    measured: Any, run: Any, l2: Level, l3: Level
) -> None:
    cache = MultiLevelCache(L1Cache(100), l2, l3)

    async def storm() -> list[Any]:
        await asyncio.gather(*(cache.set(f"k{i}", i) for i in range(500)))
        return await asyncio.gather(*(cache.get(f"k{i}") for i in range(500)))

    assert measured.rounds(lambda: run(storm())) == list(range(500))
    assert cache.stats()["l2"]["errors"] == cache.stats()["l3"]["errors"] == 0


def test_eight_threads_at_once_lose_nothing(measured: Any) -> None:
    def together() -> tuple[int, int]:
        cache = L1Cache(8 * 500)

        def work(thread: int) -> int:
            for number in range(500):
                cache.set((thread, number), number)
            return sum(cache.get((thread, number)) == number for number in range(500))

        with ThreadPoolExecutor(8) as threads:
            return sum(threads.map(work, range(8))), len(cache)

    assert measured.rounds(together) == (4_000, 4_000)


def test_a_read_heavy_load_finds_every_value(measured: Any, run: Any, l3: Level) -> None:
    cache = MultiLevelCache(L1Cache(50), None, l3)
    run(cache.set_many({f"k{i}": i for i in range(100)}))

    async def load() -> int:
        for i in range(20):
            await cache.set(f"k{i}", i)
        return sum([await cache.get(f"k{i % 100}") for i in range(1_000)])

    assert measured.rounds(lambda: run(load())) == sum(i % 100 for i in range(1_000))


def test_a_read_heavy_load_is_counted_exactly(measured: Any) -> None:
    def load() -> dict[str, Any]:
        cache = L1Cache(ENTRIES)
        for start in range(0, ENTRIES, 10):
            cache.set(NAMES[start], start)
            for name in NAMES[start : start + 9]:
                cache.get(name)
        return cache.stats()

    stats = measured(load)
    assert (stats["hits"], stats["misses"]) == (ENTRIES // 10, 8 * ENTRIES // 10)


# Eviction and promotion


def test_lru_eviction_on_a_large_set_drops_what_was_used_longest_ago(measured: Any) -> None:
    def turned_over() -> L1Cache:
        cache = L1Cache(ENTRIES)
        for number in range(ENTRIES):
            cache.set(number, number)
        for number in range(0, ENTRIES, 2):
            cache.get(number)
        for number in range(ENTRIES, ENTRIES + ENTRIES // 2):
            cache.set(number, number)
        return cache

    kept = measured(turned_over).keys()
    assert sorted(kept) == [*range(0, ENTRIES, 2), *range(ENTRIES, ENTRIES + ENTRIES // 2)]


def test_eviction_costs_the_same_in_a_large_cache_as_in_a_small_one(measured: Any, best_ns: Any) -> None:
    def filled(size: int) -> L1Cache:
        cache = L1Cache(size)
        cache.set_many((number, None) for number in range(size))
        return cache

    fresh = iter(range(10**10, 10**12))

    def evict(cache: L1Cache) -> None:
        for number in (next(fresh) for _ in range(500)):
            cache.set(number, None)

    small, large = filled(1_000), filled(200_000)
    measured(evict, large)
    assert best_ns(lambda: evict(large)) <= 15 * best_ns(lambda: evict(small))
    assert (len(small), len(large)) == (1_000, 200_000)
    assert all(cache.stats()["evictions"] > 0 for cache in (small, large))


def test_an_evicted_value_is_let_go(measured: Any) -> None:
    value = object()
    before = sys.getrefcount(value)

    def turned_over() -> int:
        cache = L1Cache(10)
        for number in range(100):
            cache.set(number, value)
        held = sys.getrefcount(value) - before
        cache.clear()
        return held

    assert measured(turned_over) == 10
    assert sys.getrefcount(value) == before


@pytest.mark.parametrize("level", ["l2", "l3"])
def test_a_hit_below_is_promoted_to_l1(
    measured: Any, run: Any, level: str, request: pytest.FixtureRequest
) -> None:
    cache = MultiLevelCache(**{level: request.getfixturevalue(level)})
    run(cache.set("key", TEXT))

    def promoted() -> Any:
        cache.l1.clear()
        return run(cache.get("key"))

    assert measured(promoted) == TEXT
    assert cache.get_nowait("key") == TEXT
    assert cache.stats()["l1"]["promotions"] >= 1


def test_a_hit_on_disk_is_promoted_to_l2_and_to_l1(measured: Any, run: Any, l2: Level, l3: Level) -> None:
    cache = MultiLevelCache(L1Cache(100), l2, l3)
    run(cache.set("key", TEXT))

    def promoted() -> Any:
        cache.l1.clear()
        run(l2.clear())
        return run(cache.get("key"))

    assert measured.rounds(promoted) == TEXT
    cache.l1.clear()
    before = cache.stats()["l3"]["hits"]
    assert run(cache.get("key")) == TEXT
    assert cache.stats()["l3"]["hits"] == before  # the second time it lay above the disk


# Bounds


def test_large_values_go_through_every_level_unchanged(measured: Any, run: Any, l2: Level, l3: Level) -> None:
    cache, value = MultiLevelCache(L1Cache(0), l2, l3), "y" * 500_000

    async def round_trip() -> Any:
        await cache.set("large", value)
        return await cache.get("large")

    assert measured.rounds(lambda: run(round_trip())) == value


def test_large_values_stay_within_the_bound_of_bytes(measured: Any) -> None:
    values = [bytes(100_000) for _ in range(100)]

    def stored() -> L1Cache:
        cache = L1Cache(ENTRIES, max_bytes=2_000_000)
        for number, value in enumerate(values):
            cache.set(number, value)
        return cache

    stats = measured(stored).stats()
    assert stats["bytes"] <= 2_000_000
    assert (stats["entries"], stats["evictions"]) == (19, 81)


def test_pressure_shrinks_the_cache_at_once_and_it_may_grow_again(measured: Any) -> None:
    cache = L1Cache(100_000, max_bytes=1 << 20)

    def press() -> tuple[int, int]:
        for i in range(5_000):
            cache.set(i, TEXT)
        before = cache.stats()["bytes"]
        cache.resize(max_bytes=1 << 18)
        used = cache.stats()["bytes"]
        cache.resize(max_bytes=1 << 20)
        return before, used

    before, used = measured.rounds(press)
    assert 0 < used <= 1 << 18 < before <= 1 << 20


@pytest.mark.parametrize("level", ["l2", "l3"])
def test_the_values_of_a_lower_level_take_no_bytes_of_this_process(
    measured: Any, run: Any, level: str, request: pytest.FixtureRequest
) -> None:
    cache = MultiLevelCache(L1Cache(0), **{level: request.getfixturevalue(level)})
    names = iter(range(10**9))

    def grown() -> int:
        entries = {f"k{next(names)}": TEXT for _ in range(2_000)}
        run(cache.set_many(dict.fromkeys(list(entries)[:10], TEXT)))  # connections and statements are made
        tracemalloc.start()
        run(cache.set_many(entries))
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return used

    measured.note["bytes_per_entry"] = measured.rounds(grown, rounds=3) / 2_000
    assert measured.note["bytes_per_entry"] < len(TEXT) / 2


def test_an_entry_of_l1_takes_no_more_python_bytes_than_one_of_a_dict(measured: Any) -> None:
    def grown(make: Callable[[], Any]) -> int:
        tracemalloc.start()
        kept = make()
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(kept) == ENTRIES
        return used

    def filled() -> L1Cache:
        cache = L1Cache(ENTRIES)
        for number in range(ENTRIES):
            cache.set(number + 10**6, None)
        return cache

    used = measured.rounds(grown, filled)
    assert used <= grown(lambda: {number + 10**6: None for number in range(ENTRIES)})


def test_statistics_cost_no_more_than_a_few_dozen_hits(measured: Any, full: L1Cache, best_ns: Any) -> None:
    cache = MultiLevelCache(full)
    assert measured(cache.stats)["l1"]["entries"] == ENTRIES
    assert best_ns(full.stats) <= best_ns(lambda: read_all(full.get)) / 20
