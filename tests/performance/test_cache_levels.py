"""The seed's group "multi-level cache": twelve cases on a real server, a real disk and real RAM.

Run with ``--benchmark-enable`` for p50 and p95; without it each case runs once and its behaviour is asserted.
"""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import sys
import tracemalloc
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from retain.cache import L1Cache, MultiLevelCache
from retain.cache.l3 import DiskCache, DiskLevel
from retain.cache.levels import Level

TEXT = "x" * 1_000
SERVERS = ("redis-server", "valkey-server")


def _server_class() -> Any:
    path = Path(__file__).parents[1] / "unit" / "cache" / "conftest.py"
    spec = importlib.util.spec_from_file_location("cache_conftest", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.Server


@pytest.fixture
def run() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Runs coroutines on one loop for the length of the test."""
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture
def l2(tmp_path: Path, run: Any) -> Iterator[Level]:
    pytest.importorskip("redis", reason="redis is not installed")
    binary = next(filter(None, map(shutil.which, SERVERS)), None)
    if binary is None:
        pytest.skip("neither redis-server nor valkey-server is on the PATH")
    from retain.cache.l2 import RedisLevel

    server = _server_class()(binary, tmp_path)
    server.start()
    level = RedisLevel(server.url, timeout_s=10.0)
    yield level
    run(level.close())
    server.kill()


@pytest.fixture
def l3(tmp_path: Path) -> Iterator[Level]:
    level = DiskLevel(DiskCache(tmp_path / "disk"))
    yield level
    level._disk.close()


def test_an_l1_hit(benchmark: Any) -> None:
    cache = MultiLevelCache()
    cache.l1.set("key", TEXT)
    assert benchmark(cache.get_nowait, "key") == TEXT


def test_an_l1_miss(benchmark: Any) -> None:
    cache = MultiLevelCache()
    assert benchmark(cache.get_nowait, "key") is None
    assert cache.l1.stats()["misses"] >= 1


def test_an_l2_hit(benchmark: Any, run: Any, l2: Level) -> None:
    cache = MultiLevelCache(L1Cache(0), l2)
    run(cache.set("key", TEXT))
    assert benchmark(lambda: run(cache.get("key"))) == TEXT
    assert cache.stats()["l2"]["hits"] >= 1


def test_an_l3_hit(benchmark: Any, run: Any, l3: Level) -> None:
    cache = MultiLevelCache(L1Cache(0), None, l3)
    run(cache.set("key", TEXT))
    assert benchmark(lambda: run(cache.get("key"))) == TEXT
    assert cache.stats()["l3"]["hits"] >= 1


def test_a_thousand_simultaneous_operations(benchmark: Any, run: Any, l2: Level, l3: Level) -> None:
    cache = MultiLevelCache(L1Cache(100), l2, l3)

    async def storm() -> list[Any]:
        await asyncio.gather(*(cache.set(f"k{i}", i) for i in range(500)))
        return await asyncio.gather(*(cache.get(f"k{i}") for i in range(500)))

    assert benchmark(lambda: run(storm())) == list(range(500))
    assert cache.stats()["l2"]["errors"] == cache.stats()["l3"]["errors"] == 0


def test_a_read_heavy_load(benchmark: Any, run: Any, l3: Level) -> None:
    cache = MultiLevelCache(L1Cache(50), None, l3)
    run(cache.set_many({f"k{i}": i for i in range(100)}))

    async def load() -> int:
        for i in range(20):
            await cache.set(f"k{i}", i)
        return sum([await cache.get(f"k{i % 100}") for i in range(1_000)])

    assert benchmark(lambda: run(load())) == sum(i % 100 for i in range(1_000))


def test_eviction_takes_the_least_recently_used(benchmark: Any) -> None:
    def fill() -> L1Cache:
        cache = L1Cache(1_000)
        cache.set("kept", 1)
        for i in range(20_000):
            cache.set(i, i)
            if not i % 500:
                cache.get("kept")
        return cache

    cache = benchmark(fill)
    assert (len(cache), "kept" in cache, 0 in cache) == (1_000, True, False)


def test_eviction_costs_the_same_in_a_large_cache(benchmark: Any) -> None:
    caches = [L1Cache(entries) for entries in (1_000, 100_000)]
    for cache in caches:
        cache.set_many({i: i for i in range(100_000)})
    number = iter(range(100_000, 1 << 60))
    benchmark(lambda: caches[1].set(next(number), 1))
    caches[0].set(-1, 1)
    assert [len(cache) for cache in caches] == [1_000, 100_000]
    assert all(cache.stats()["evictions"] > 0 for cache in caches)


@pytest.mark.parametrize("level", ["l2", "l3"])
def test_promotion_into_l1(benchmark: Any, run: Any, level: str, request: pytest.FixtureRequest) -> None:
    cache = MultiLevelCache(**{level: request.getfixturevalue(level)})
    run(cache.set("key", TEXT))

    def promoted() -> Any:
        cache.l1.clear()
        return run(cache.get("key"))

    assert benchmark(promoted) == TEXT
    assert cache.get_nowait("key") == TEXT
    assert cache.stats()["l1"]["promotions"] >= 1


def test_large_values(benchmark: Any, run: Any, l2: Level, l3: Level) -> None:
    cache, value = MultiLevelCache(L1Cache(0), l2, l3), "y" * 500_000

    async def round_trip() -> Any:
        await cache.set("large", value)
        return await cache.get("large")

    assert benchmark(lambda: run(round_trip())) == value


def test_pressure_gives_way_within_the_bounds(benchmark: Any) -> None:
    cache = L1Cache(100_000, max_bytes=1 << 20)

    def press() -> int:
        for i in range(5_000):
            cache.set(i, TEXT)
        cache.resize(max_bytes=1 << 18)
        used = cache.stats()["bytes"]
        cache.resize(max_bytes=1 << 20)
        return used

    assert 0 < benchmark(press) <= 1 << 18


def test_footprint_and_cheap_statistics(benchmark: Any, run: Any, l3: Level) -> None:
    cache = MultiLevelCache(L1Cache(0), None, l3)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    run(cache.set_many({f"k{i}": TEXT for i in range(2_000)}))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 2_000 * len(TEXT) / 2  # the values lie on disk
    assert benchmark(cache.stats)["l3"]["level"]["entries"] == 2_000
