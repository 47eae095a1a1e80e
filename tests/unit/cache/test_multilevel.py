"""Three levels as one cache: promotion, write-through, single flight, staleness, and levels that fail."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retain.cache import L1Cache, MultiLevelCache, Unstored
from retain.cache.histogram import Histogram
from retain.cache.levels import CircuitBreaker
from retain.cache.records import NotEncodable, Record, encode_json, pack, unpack
from retain.config import Settings
from retain.errors import CacheLevelDown

pytestmark = pytest.mark.anyio

OFF = 0


async def settled(cache: MultiLevelCache) -> None:
    """Waits for what the cache does in the background: a write comes after all earlier ones."""
    await cache.set("settled", 1)


async def test_a_value_goes_through_to_every_level(levels: Any) -> None:
    l2, l3 = levels
    cache = MultiLevelCache(l2=l2, l3=l3)
    await cache.set("a", {"n": [1, None, "ü"]})
    await cache.set_many({"b": 2, "c": None})
    assert set(l2.entries) == set(l3.entries) == {"a", "b", "c"}
    assert cache.get_nowait("a") == await cache.get("a") == {"n": [1, None, "ü"]}
    assert await cache.get_many("abcd") == {"a": {"n": [1, None, "ü"]}, "b": 2, "c": None}
    assert (await cache.get("d"), await cache.get("d", 5)) == (None, 5)
    assert [await cache.contains(key) for key in "acd"] == [True, True, False]
    assert l2.asked.count("set") == l3.asked.count("set") == 2


async def test_a_hit_in_l1_asks_no_other_level(levels: Any) -> None:
    l2, l3 = levels
    cache = MultiLevelCache(l2=l2, l3=l3)
    await cache.set("a", 1)
    l2.asked.clear()
    assert (await cache.get("a"), await cache.get_many("a"), l2.asked) == (1, {"a": 1}, [])


async def test_a_hit_on_disk_is_promoted_to_the_levels_above(levels: Any) -> None:
    l2, l3 = levels
    await MultiLevelCache(l3=l3).set_many({"a": 1, "b": 2}, tags=("t",))
    cache = MultiLevelCache(l2=l2, l3=l3)
    assert await cache.get_many("ab") == {"a": 1, "b": 2}
    await settled(cache)
    assert {"a", "b"} <= set(l2.entries)
    assert (cache.get_nowait("a"), cache.l1.get("b")) == (1, 2)
    stats = cache.stats()
    assert (stats["l1"]["promotions"], stats["l2"]["promotions"], stats["l3"]["hits"]) == (2, 2, 2)
    await cache.invalidate_tag("t")
    assert await cache.get_many("ab") == {}


async def test_a_promoted_value_lives_no_longer_than_before(levels: Any, clock: Any) -> None:
    l2, l3 = levels
    await MultiLevelCache(l3=l3, clock=clock).set("a", 1, ttl=10)
    clock.now += 4
    cache = MultiLevelCache(l2=l2, l3=l3, clock=clock)
    assert await cache.get("a") == 1
    await settled(cache)
    assert l2.entries["a"].ttl == 6
    clock.now += 6
    assert await MultiLevelCache(l2=l2, clock=clock).get("a") is None


@pytest.mark.parametrize("value", [(1, 2), {1: 2}, math.nan, object(), {"a": (1,)}, b"bytes"], ids=repr)
async def test_what_json_would_change_stays_in_l1(value: Any, levels: Any) -> None:
    l2, l3 = levels
    await MultiLevelCache(l2=l2).set("a", "an older value")
    cache = MultiLevelCache(l2=l2, l3=l3)
    await cache.set("a", value)
    assert await cache.get("a") is value
    assert (l2.entries, l3.entries, cache.stats()["not_encodable"]) == ({}, {}, 1)


async def test_a_key_without_a_name_stays_in_l1(levels: Any) -> None:
    cache = MultiLevelCache(l2=levels[0])
    await cache.set(("tuple", 1), 1)
    await cache.delete(("tuple", 2))
    assert (await cache.get(("tuple", 1)), levels[0].asked) == (1, [])


async def test_delete_tag_and_clear_reach_every_level(levels: Any) -> None:
    l2, l3 = levels
    cache = MultiLevelCache(l2=l2, l3=l3, stale_ttl=5)
    await cache.set_many({"a": 1, "b": 2}, ttl=60, tags=("t",))
    await cache.set_many({"c": 3, "d": 4}, ttl=60)
    await cache.delete("c")
    await cache.invalidate_tag("t")
    assert await cache.get_many("abcd") == {"d": 4}
    assert set(l2.entries) == set(l3.entries) == {"d"}
    await cache.clear()
    assert (await cache.get_many("abcd"), l2.entries, l3.entries) == ({}, {}, {})
    assert await cache.get_or_compute("a", lambda: 9) == 9


async def test_a_level_that_fails_is_skipped_and_counted(levels: Any) -> None:
    l2, l3 = levels
    cache = MultiLevelCache(L1Cache(OFF), l2, l3)
    l2.down = True
    await cache.set("a", 1)
    assert await cache.get("a") == 1
    assert await cache.get_or_compute("b", lambda: 2) == 2
    await cache.delete("a")
    await cache.invalidate_tag("t")
    await cache.clear()
    assert (await cache.get("a"), cache.stats()["l2"]["errors"] >= 5) == (None, True)


async def test_a_cache_beside_another_shares_levels_and_counts_for_itself(levels: Any) -> None:
    l2, l3 = levels
    cache = MultiLevelCache(l2=l2, l3=l3)
    other = cache.beside(L1Cache(), "l3")
    await other.set("a", 1)
    assert ("a" in l3.entries, "a" in l2.entries) == (True, False)
    other.l1.clear()
    assert await other.get("a") == 1
    assert (other.stats()["l3"]["hits"], cache.stats()["l3"]["hits"]) == (1, 0)
    assert "l2" not in other.stats()
    await cache.clear()
    assert (await other.get("a"), other.get_nowait("a")) == (None, None), "what clears one clears the other"
    await other.close()
    await cache.set("b", 2)
    cache.l1.clear()
    assert await cache.get("b") == 2, "the level stays open"


@pytest.mark.parametrize("change", ["set", "delete", "tag", "clear"])
async def test_a_level_that_was_away_never_gives_what_was_changed_meanwhile(change: str, levels: Any) -> None:
    l2, _ = levels
    cache = MultiLevelCache(l2=l2)
    await cache.set("a", "old", tags=("t",))
    l2.down = True
    if change == "set":
        await cache.set("a", "new")
    elif change == "delete":
        await cache.delete("a")
    elif change == "tag":
        await cache.invalidate_tag("t")
    else:
        await cache.clear()
    cache.l1.clear()
    l2.down = False
    assert await cache.get("a") is None
    assert (cache.stats()["l2"]["owed"], l2.entries) == (0, {})


async def test_writes_of_one_key_reach_a_slow_level_in_their_order(levels: Any) -> None:
    l2, _ = levels
    gate, plain = asyncio.Event(), l2.set_many

    async def slow(entries: Any, *, only_new: bool = False) -> None:
        await gate.wait()
        await plain(entries, only_new=only_new)

    l2.set_many = slow
    cache = MultiLevelCache(l2=l2)
    writes = [asyncio.create_task(cache.set("a", i)) for i in range(20)]
    writes.append(asyncio.create_task(cache.set("b", 1)))
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*writes)
    assert await MultiLevelCache(l2=l2).get("a") == 19
    assert l2.asked.count("set") <= 2


@pytest.mark.parametrize("change", ["set", "delete", "tag", "clear"])
async def test_a_value_read_while_it_is_changed_is_not_promoted(change: str, levels: Any) -> None:
    l2, _ = levels
    await MultiLevelCache(l2=l2).set("a", "old", tags=("t",))
    gate, plain = asyncio.Event(), l2.get_many

    async def slow(keys: Any) -> Any:
        found = await plain(keys)
        await gate.wait()
        return found

    l2.get_many = slow
    cache = MultiLevelCache(l2=l2)
    reading = asyncio.create_task(cache.get("a"))
    await asyncio.sleep(0)
    changes: dict[str, Callable[[], Any]] = {
        "set": lambda: cache.set("a", "new"),
        "delete": lambda: cache.delete("a"),
        "tag": lambda: cache.invalidate_tag("t"),
        "clear": cache.clear,
    }
    await changes[change]()
    gate.set()
    assert await reading == "old"
    assert cache.get_nowait("a") == ("new" if change == "set" else None)


async def test_a_hundred_who_miss_make_one_computation() -> None:
    cache, calls, gate = MultiLevelCache(), [], asyncio.Event()

    async def load() -> int:
        calls.append(1)
        await gate.wait()
        return 7

    asking = [asyncio.create_task(cache.get_or_compute("a", load)) for _ in range(100)]
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*asking) == [7] * 100
    assert (len(calls), cache.stats()["joined"], cache.stats()["in_flight"]) == (1, 99, 0)
    assert await cache.get_or_compute("a", load) == 7
    assert len(calls) == 1


async def test_an_error_reaches_all_who_wait_and_the_next_call_tries_again() -> None:
    cache, calls = MultiLevelCache(), []

    async def fail() -> int:
        calls.append(1)
        await asyncio.sleep(0)
        raise LookupError("no")

    answers = await asyncio.gather(
        *(cache.get_or_compute("a", fail) for _ in range(50)), return_exceptions=True
    )
    assert {type(answer) for answer in answers} == {LookupError}
    assert (len(calls), cache.stats()["failed"]) == (1, 1)
    assert await cache.get_or_compute("a", lambda: 1) == 1


async def test_one_who_leaves_takes_nobody_with_him_and_the_last_one_stops_the_loader() -> None:
    cache, stopped, gate = MultiLevelCache(), asyncio.Event(), asyncio.Event()

    async def load() -> int:
        try:
            await gate.wait()
        except asyncio.CancelledError:
            stopped.set()
            raise
        return 1

    first, second = (asyncio.create_task(cache.get_or_compute("a", load)) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert not stopped.is_set()
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    await stopped.wait()
    assert await cache.get_or_compute("a", lambda: 2) == 2


@pytest.mark.parametrize("change", ["set", "delete", "tag", "clear"])
async def test_what_was_computed_while_the_key_changed_is_given_and_not_kept(
    change: str, levels: Any
) -> None:
    cache, gate = MultiLevelCache(l2=levels[0]), asyncio.Event()

    async def load() -> str:
        await gate.wait()
        return "computed"

    asking = asyncio.create_task(cache.get_or_compute("a", load, tags=("t",)))
    for _ in range(5):
        await asyncio.sleep(0)
    changes: dict[str, Callable[[], Any]] = {
        "set": lambda: cache.set("a", "set"),
        "delete": lambda: cache.delete("a"),
        "tag": lambda: cache.invalidate_tag("t"),
        "clear": cache.clear,
    }
    await changes[change]()
    gate.set()
    assert await asking == "computed"
    assert await cache.get("a") == ("set" if change == "set" else None)


async def test_a_computed_value_reaches_every_level_and_is_found_there_by_the_next(levels: Any) -> None:
    l2, l3 = levels
    first = MultiLevelCache(l2=l2, l3=l3)
    assert await first.get_or_compute("a", lambda: [1], tags=("t",), size=len) == [1]
    await first.close()
    second = MultiLevelCache(l2=l2, l3=l3)
    assert await second.get_or_compute("a", lambda: pytest.fail("computed again")) == [1]
    assert second.stats()["computed"] == 0


async def test_none_is_remembered_for_a_while_where_that_is_wanted(levels: Any, clock: Any) -> None:
    calls: list[int] = []
    cache = MultiLevelCache(L1Cache(OFF), levels[0], negative_ttl=5, clock=clock)
    for _ in range(2):
        assert await cache.get_or_compute("a", lambda: calls.append(1)) is None
        await settled(cache)
    assert (len(calls), await cache.contains("a"), cache.stats()["negative"]) == (1, True, 1)
    clock.now += 5
    assert await cache.get_or_compute("a", lambda: 3) == 3
    forgetful = MultiLevelCache(negative_ttl=None)
    assert await forgetful.get_or_compute("a", lambda: None) is None
    assert await forgetful.get_or_compute("a", lambda: 4) == 4


async def test_an_unstored_value_is_given_and_not_kept() -> None:
    cache = MultiLevelCache()
    assert await cache.get_or_compute("a", lambda: Unstored(1)) == 1
    assert not await cache.contains("a")


async def test_a_stale_value_is_given_at_once_and_computed_anew_behind_it(levels: Any, clock: Any) -> None:
    l2, _ = levels
    options: Any = {"default_ttl": 10, "stale_ttl": 20, "clock": clock}
    await MultiLevelCache(l2=l2, **options).set("a", "old")
    assert l2.entries["a"].ttl == 30
    clock.now += 15
    cache, computed = MultiLevelCache(l2=l2, **options), asyncio.Event()

    def load() -> str:
        computed.set()
        return "new"

    assert await cache.get("a") is None  # plain reads give only what is fresh
    assert await cache.get_or_compute("a", load) == "old"
    await computed.wait()
    await cache.close()
    assert cache.get_nowait("a") == "new"
    assert await MultiLevelCache(l2=l2, **options).get("a") == "new"
    assert cache.stats()["stale"] == 1


async def test_a_stale_value_stays_while_computing_anew_fails(levels: Any, clock: Any) -> None:
    l2, _ = levels
    cache = MultiLevelCache(L1Cache(OFF), l2, default_ttl=10, stale_ttl=20, clock=clock)
    cache._stale = None  # only what stands below
    await cache.set("a", "old")
    clock.now += 15
    failed = asyncio.Event()

    def fail() -> str:
        failed.set()
        raise OSError

    assert await cache.get_or_compute("a", fail) == "old"
    await failed.wait()
    assert await cache.get_or_compute("a", fail) == "old"
    await cache.close()


async def test_a_value_that_l1_lost_early_is_given_stale_within_the_process() -> None:
    cache, computed = MultiLevelCache(L1Cache(1), default_ttl=60, stale_ttl=60), asyncio.Event()

    def load() -> int:
        computed.set()
        return 3

    await cache.set("a", 1)
    await cache.set("b", 2)
    assert await cache.get_or_compute("a", load) == 1
    await computed.wait()
    assert cache.get_nowait("a") == 3


async def test_warming_takes_pairs_or_a_function_that_gives_them(levels: Any) -> None:
    async def load() -> dict[str, int]:
        return {"c": 3}

    cache = MultiLevelCache(l2=levels[0])
    assert await cache.warm({"a": 1}) == 1
    assert await cache.warm([("b", 2), ("b", 2)]) == 1
    assert await cache.warm(load, ttl=60, tags=("t",)) == 1
    assert await cache.get_many("abc") == {"a": 1, "b": 2, "c": 3}
    assert set(levels[0].entries) == {"a", "b", "c"}


async def test_bytes_that_are_no_record_count_as_absent_and_are_replaced(levels: Any) -> None:
    l2, l3 = levels
    await MultiLevelCache(l3=l3).set("a", 1)
    cache = MultiLevelCache(l2=l2, l3=l3)
    for foreign in (b"", b"\x02" + bytes(10), pack(Record(b"not json")), pack(Record(b"1"))[:5]):
        cache.l1.clear()
        l2.entries["a"] = type(l3.entries["a"])("a", foreign)
        assert await cache.get("a") == 1
    assert cache.stats()["unreadable"] == 4


async def test_statistics_tell_hits_misses_and_latencies_of_each_level(levels: Any) -> None:
    cache = MultiLevelCache(l2=levels[0], l3=levels[1])
    await cache.set("a", 1)
    for _ in range(640):
        await cache.get("a")
    await cache.get("b")
    stats = cache.stats()
    assert (stats["l1"]["hits"], stats["l1"]["latency"]["samples"]) == (640, 10)
    assert (stats["l2"]["misses"], stats["l3"]["misses"], stats["l2"]["latency"]["samples"]) == (1, 1, 1)
    assert stats["l1"]["latency"]["p50_us"] <= stats["l1"]["latency"]["p99_us"]


async def test_the_settings_name_the_levels(home: Path) -> None:
    assert {"l2", "l3"}.isdisjoint(MultiLevelCache.from_settings(Settings(home=home)).stats())
    cache = MultiLevelCache.from_settings(Settings(home=home, cache_disk_bytes_max=1 << 20))
    await cache.set("a", 1)
    await cache.close()
    again = MultiLevelCache.from_settings(Settings(home=home, cache_disk_bytes_max=1 << 20))
    assert await again.get("a") == 1
    await again.close()


def test_a_disk_level_that_cannot_be_had_is_left_out(home: Path) -> None:
    home.mkdir()
    (home / "cache").write_text("a file")
    cache = MultiLevelCache.from_settings(Settings(home=home, cache_disk_bytes_max=1 << 20))
    assert {"l2", "l3"}.isdisjoint(cache.stats())


def test_a_breaker_pauses_longer_each_time_and_forgets_once_it_works(clock: Any) -> None:
    breaker = CircuitBreaker(failures_max=1, pause_s=1, pause_max_s=4, clock=clock)
    for pause in (1, 2, 4, 4):
        breaker.check("it")
        breaker.failed()
        clock.now += pause - 0.01
        with pytest.raises(CacheLevelDown):
            breaker.check("it")
        clock.now += 0.01
    breaker.check("it")
    with pytest.raises(CacheLevelDown):
        breaker.check("it")  # the trial is still under way
    breaker.succeeded()
    breaker.check("it")
    assert not breaker.is_open


def test_quantiles_lie_within_an_eighth_of_the_truth() -> None:
    histogram = Histogram()
    assert histogram.quantile_us(0.5) == 0
    for ns in range(1, 100_001):
        histogram.add(ns)
    for share in (0.01, 0.5, 0.95, 0.99):
        assert share * 100 <= histogram.quantile_us(share) <= share * 100 * 1.125 + 0.001
    histogram.add(0)
    histogram.add(1 << 80)
    assert histogram.samples == 100_002


def test_a_record_is_read_back_as_it_was() -> None:
    for record in (Record(b""), Record(b"x", 12.5, ("a", "ü")), Record(b"\0" * 9, math.inf)):
        assert unpack(pack(record)) == record
    assert [unpack(data) for data in (b"", b"\x01", b"\x02" * 20, b"\x01" + bytes(8) + b"\xff\xff")] == [
        None
    ] * 4
    with pytest.raises(NotEncodable):
        encode_json({"a": (1,)})
