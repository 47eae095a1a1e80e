"""What a caller of the first cache level may rely on."""

import gc
import math
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from retain.cache import L1Cache


def wait_past(seconds: float) -> None:
    """Burn the processor until the clock that expiry uses has moved on; no test sleeps."""
    end = time.monotonic() + seconds
    while time.monotonic() <= end:
        pass


class Colliding:
    """A key that shares its hash with all others and says what it was asked."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Colliding) and self.name == other.name


def test_a_stored_value_is_given_back_and_a_missing_one_is_the_default() -> None:
    cache = L1Cache()
    cache.set("a", [1])
    assert cache.get("a") == [1]
    assert cache.get("b") is None
    assert cache.get("b", 5) == 5
    assert "a" in cache
    assert "b" not in cache
    assert len(cache) == 1


def test_keys_are_equal_as_in_a_dict() -> None:
    cache = L1Cache()
    values: dict[Any, str] = {}
    for key in ["1", b"1", 1, 2.0, True, None, (1, "x"), frozenset({1}), math.nan, "".join(["1"])]:
        cache.set(key, f"of {key!r}")
        values[key] = f"of {key!r}"
    assert len(cache) == len(values)
    for key in [*values, 1.0, 2, False, (1.0, "x"), "".join(["", "1"])]:
        assert cache.get(key) == values.get(key)


def test_an_unhashable_key_is_a_type_error() -> None:
    cache = L1Cache()
    with pytest.raises(TypeError, match="unhashable"):
        cache.set([], 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unhashable"):
        cache.get({})  # type: ignore[call-overload]


def test_colliding_keys_are_told_apart_by_their_own_equality() -> None:
    cache = L1Cache()
    for n in range(50):
        cache.set(Colliding(str(n)), n)
    assert [cache.get(Colliding(str(n))) for n in range(50)] == list(range(50))
    cache.set(Colliding("3"), "new")
    assert len(cache) == 50
    assert cache.pop(Colliding("3")) == "new"
    assert cache.get(Colliding("3")) is None


def test_equality_that_raises_leaves_the_cache_as_it_was() -> None:
    class Broken(Colliding):
        __hash__ = Colliding.__hash__

        def __eq__(self, other: object) -> bool:
            raise LookupError("no answer")

    cache = L1Cache()
    cache.set(Broken("a"), 1)
    for call in (cache.get, cache.delete, cache.pop, cache.__contains__, lambda key: cache.set(key, 2)):
        with pytest.raises(LookupError, match="no answer"):
            call(Broken("b"))
    assert len(cache) == 1
    assert cache.stats()["insertions"] == 1


def test_equality_may_use_the_cache_it_is_asked_by() -> None:
    cache = L1Cache(max_entries=3)

    class Meddling(Colliding):
        __hash__ = Colliding.__hash__

        def __eq__(self, other: object) -> bool:
            cache.clear()
            cache.set("other", 1)
            return super().__eq__(other)

    cache.set(Meddling("a"), 1)
    assert cache.get(Meddling("a")) is None, "it was removed while it was being found"
    cache.set(Meddling("b"), 2)
    cache.set(Meddling("b"), 3)
    assert len(cache) <= 3


def test_a_destructor_may_use_the_cache_that_drops_its_object() -> None:
    cache = L1Cache(max_entries=1)
    seen: list[object] = []

    class Farewell:
        def __del__(self) -> None:
            seen.append(len(cache))
            cache.get("key")

    cache.set("key", Farewell())
    cache.set("key", Farewell())
    cache.set("other", Farewell())
    cache.delete("other")
    cache.set("third", Farewell())
    cache.clear()
    cache.set("off", Farewell(), size=1)
    cache.resize(max_entries=0)
    cache.set("off", Farewell())
    assert len(seen) == 6


def test_lru_evicts_what_was_used_longest_ago() -> None:
    cache = L1Cache(max_entries=2)
    cache.set("a", 1)
    cache.set("b", 2)
    cache.get("a")
    cache.set("c", 3)
    assert sorted(cache.keys()) == ["a", "c"]
    assert cache.stats()["evictions"] == 1


def test_wtinylfu_keeps_what_is_read_again_through_a_scan() -> None:
    kept: dict[str, int] = {}
    for policy in ("lru", "wtinylfu"):
        cache = L1Cache(max_entries=100, policy=policy)
        for n in range(50):
            cache.set(n, n)
        for n in [*range(50), *range(50)]:
            cache.get(n)
        for n in range(1000, 2000):
            cache.set(n, n)
        kept[policy] = len(cache.get_many(range(50)))
    assert kept == {"lru": 0, "wtinylfu": 50}


@pytest.mark.parametrize("policy", ["lru", "wtinylfu"])
def test_a_cache_of_no_entries_is_switched_off(policy: str) -> None:
    cache = L1Cache(0, policy=policy)
    cache.set("a", 1)
    cache.set_many({"b": 2})
    assert cache.get("a", "default") == "default"
    assert len(cache) == 0


def test_bytes_are_bounded_by_given_or_estimated_sizes() -> None:
    cache = L1Cache(max_bytes=1000)
    cache.set("given", object(), size=600)
    assert cache.stats()["bytes"] == 600
    cache.set("k", "x" * 500)
    assert cache.keys() == ["k"]
    assert cache.stats()["bytes"] == 64 + (48 + 1) + (48 + 500)
    cache.set("k", b"x" * 1000)
    assert len(cache) == 0, "what exceeds the limit alone is not stored"
    cache.set(5, None, size=0)
    cache.set(6, None)
    assert cache.stats()["bytes"] == 64 + 64 + 64


def test_an_entry_is_gone_when_its_time_is_over() -> None:
    cache = L1Cache(ttl=1e-6)
    cache.set("short", 1)
    cache.set("long", 2, ttl=1000)
    cache.set("for ever", 3, ttl=math.inf)
    wait_past(2e-6)
    assert "short" not in cache
    assert cache.get("short") is None
    assert cache.pop("short", "gone") == "gone"
    assert cache.delete("short") is False
    assert cache.get_many(["short", "long", "for ever"]) == {"long": 2, "for ever": 3}
    assert len(cache) == 2
    assert cache.stats()["expirations"] == 1


def test_length_and_keys_count_only_what_is_alive() -> None:
    cache = L1Cache()
    cache.set_many([(n, n) for n in range(100)], ttl=1e-6)
    cache.set("stays", 1)
    wait_past(2e-6)
    assert len(cache) == 1
    assert cache.keys() == ["stays"]
    assert cache.stats()["expirations"] == 100


def test_an_entry_is_gone_when_it_was_not_used_for_the_idle_time() -> None:
    cache = L1Cache(idle_ttl=1e-6)
    cache.set("a", 1)
    wait_past(2e-6)
    assert "a" not in cache
    assert cache.get("a") is None
    patient = L1Cache(idle_ttl=1000, ttl=1e-6)
    patient.set("a", 1)
    patient.set("b", 2, ttl=1000)
    wait_past(2e-6)
    assert patient.keys() == ["b"]
    with pytest.raises(ValueError, match=r"^idle_ttl:"):
        L1Cache(idle_ttl=0)


def test_arguments_may_come_in_every_way_that_the_contract_names() -> None:
    cache = L1Cache()
    cache.set("a", 1, 1000)
    cache.set(key="b", value=2, size=5)
    cache.set("c", value=3, tags=["t"])
    assert cache.get_many("abc") == {"a": 1, "b": 2, "c": 3}
    assert cache.get_or_compute(key="d", loader=lambda: 4, ttl=1000) == 4
    for wrong in ((), ("a", 1, 2)):
        with pytest.raises(TypeError, match="get expected"):
            cache.get(*wrong)
    for call in (cache.set, cache.get_or_compute):
        with pytest.raises(TypeError):
            call("a")  # type: ignore[operator]
    with pytest.raises(TypeError):
        cache.set("a", 1, nothing=2)  # type: ignore[call-arg]


@pytest.mark.parametrize("ttl", [0, -1, math.nan, -math.inf])
def test_a_time_to_live_not_above_zero_is_a_value_error(ttl: float) -> None:
    cache = L1Cache()
    with pytest.raises(ValueError, match=r"^ttl:"):
        L1Cache(ttl=ttl)
    with pytest.raises(ValueError, match=r"^ttl:"):
        cache.set("a", 1, ttl=ttl)
    with pytest.raises(ValueError, match=r"^ttl:"):
        cache.set_many({"a": 1}, ttl=ttl)
    assert len(cache) == 0


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"max_entries": -1}, "max_entries"),
        ({"max_entries": 2**32}, "max_entries"),
        ({"max_bytes": -1}, "max_bytes"),
        ({"policy": "fifo"}, "policy"),
    ],
)
def test_a_bad_limit_is_a_value_error_that_names_it(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}:"):
        L1Cache(**arguments)


def test_a_negative_size_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"^size:"):
        L1Cache().set("a", 1, size=-1)


def test_a_tag_removes_every_entry_that_carries_it() -> None:
    cache = L1Cache()
    cache.set("a", 1, tags=("x", "y"))
    cache.set("b", 2, tags={"x"})
    cache.set("c", 3, tags=iter(["y"]))
    assert cache.invalidate_tag("x") == 2
    assert cache.invalidate_tag("x") == 0
    assert cache.keys() == ["c"]
    cache.set("c", 4)
    assert cache.invalidate_tag("y") == 0, "the new value has no tags"


def test_tags_are_several_strings_and_not_one() -> None:
    cache = L1Cache()
    with pytest.raises(TypeError, match=r"^tags:"):
        cache.set("a", 1, tags="xy")
    with pytest.raises(TypeError):
        cache.set("a", 1, tags=(1,))  # type: ignore[arg-type]
    assert len(cache) == 0


def test_many_are_set_from_a_mapping_or_from_pairs() -> None:
    cache = L1Cache()
    cache.set_many({"a": 1, "b": 2})
    cache.set_many((key, len(key)) for key in ["ccc", "dddd"])
    assert cache.get_many(["a", "dddd", "none"]) == {"a": 1, "dddd": 4}
    with pytest.raises(TypeError):
        cache.set_many([1])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        cache.set_many(5)  # type: ignore[arg-type]


def test_pop_and_delete_remove() -> None:
    cache = L1Cache()
    cache.set_many({"a": 1, "b": 2})
    assert cache.pop("a") == 1
    assert cache.pop("a") is None
    assert cache.delete("b") is True
    assert cache.delete("b") is False


def test_a_smaller_limit_evicts_at_once_and_none_leaves_a_limit() -> None:
    cache = L1Cache(max_entries=10, max_bytes=100)
    for n in range(10):
        cache.set(n, n, size=10)
    cache.resize(max_bytes=50)
    assert sorted(cache.keys()) == [5, 6, 7, 8, 9]
    cache.resize(max_entries=2)
    assert sorted(cache.keys()) == [8, 9]
    with pytest.raises(ValueError, match=r"^max_entries:"):
        cache.resize(max_entries=2**32)
    with pytest.raises(ValueError, match=r"^max_bytes:"):
        cache.resize(max_bytes=-1)


def test_statistics_count_reads_and_writes() -> None:
    cache = L1Cache(max_entries=2)
    cache.set("a", 1)
    cache.set("a", 2)
    cache.set("b", 3)
    cache.set("c", 4)
    cache.get("c")
    cache.get_many(["b", "a"])
    assert "zzz" not in cache
    cache.pop("zzz")
    stats = cache.stats()
    assert stats.pop("bytes") > 0
    expected = {"hits": 2, "misses": 1, "insertions": 4, "evictions": 1, "expirations": 0, "entries": 2}
    assert stats == expected
    cache.clear()
    assert cache.stats() == {**expected, "entries": 0, "bytes": 0}


def test_a_cycle_through_the_cache_is_collected() -> None:
    class Holder:
        cache: L1Cache

    holder = Holder()
    holder.cache = L1Cache()
    holder.cache.set("me", holder)
    holder.cache.set(holder, "me")
    alive = weakref.ref(holder)
    del holder
    gc.collect()
    assert alive() is None


def test_the_last_reference_to_a_value_goes_with_the_entry() -> None:
    class Value:
        pass

    cache = L1Cache(max_entries=2)
    values = [Value() for _ in range(6)]
    alive = [weakref.ref(value) for value in values]
    for n, value in enumerate(values):
        cache.set(n, value)
    del value, values
    assert [ref() is not None for ref in alive] == [False] * 4 + [True] * 2
    cache.clear()
    assert alive[5]() is None


def test_threads_may_share_a_cache() -> None:
    cache = L1Cache(max_entries=500, policy="wtinylfu", ttl=1000)
    start = threading.Barrier(4)

    def work(seed: int) -> None:
        start.wait()
        for n in range(5000):
            key = (n * seed) % 1000
            cache.set(key, key, tags=("even",) if key % 2 == 0 else ())
            assert cache.get(key, key) == key
            assert cache.get(Colliding(str(key % 5)), key) is not None
            if n % 500 == 0:
                cache.invalidate_tag("even")
                cache.set(Colliding(str(key % 5)), key)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, (1, 3, 7, 11)))
    assert len(cache) <= 500
