"""The shared level on a real server: pipelines, tags, times, foreign bytes, and a server that dies."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from retain.cache import MultiLevelCache
from retain.cache.levels import CircuitBreaker, Entry
from retain.errors import CacheLevelDown, InvalidInput

pytest.importorskip("redis", reason="redis is not installed")

from redis.asyncio import Redis

from retain.cache.l2 import RedisLevel

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def connected(server: Any, **options: Any) -> AsyncIterator[RedisLevel]:
    level = RedisLevel(server.url, **{"prefix": "test:", "timeout_s": 5.0, **options})
    try:
        yield level
    finally:
        await level.close()


@asynccontextmanager
async def bare(server: Any) -> AsyncIterator[Any]:
    client = Redis.from_url(server.url)
    try:
        yield client
    finally:
        await client.aclose()


async def test_what_one_process_sets_another_one_gets(server: Any) -> None:
    async with (
        connected(server) as one,
        connected(server) as other,
        connected(server, prefix="else:") as third,
    ):
        await one.set("a", b"\0\xff1")
        await one.set_many([Entry("b", b""), Entry("c", b"3")])
        assert await other.get("a") == b"\0\xff1"
        assert await other.get_many(["a", "b", "c", "d"]) == {"a": b"\0\xff1", "b": b"", "c": b"3"}
        assert await third.get("a") is None
        assert await other.delete("a")
        assert not await other.delete("a")
        assert await one.get_many(["a"]) == {}
        assert await one.get_many([]) == {}


async def test_many_keys_cross_in_one_round_trip(server: Any) -> None:
    async with connected(server) as level, bare(server) as client:
        await level.set_many([Entry(f"k{i}", b"v") for i in range(100)])
        before = (await client.info("stats"))["total_commands_processed"]
        assert len(await level.get_many([f"k{i}" for i in range(100)])) == 100
        assert (await client.info("stats"))["total_commands_processed"] - before == 2  # MGET and INFO


async def test_every_entry_has_an_end(server: Any) -> None:
    async with connected(server, ttl_max_s=50) as level, bare(server) as client:
        await level.set_many(
            [Entry("for ever", b"1"), Entry("long", b"1", 1e12), Entry("short", b"1", 5, ("t",))]
        )
        left = [await client.pttl(f"test:e:{key}") for key in ("for ever", "long", "short")]
        assert 0 < left[2] <= 5_000 < left[0] <= 50_000
        assert 5_000 < left[1] <= 50_000
        assert all([await client.pttl(name) > 0 for name in await client.keys("test:*")])


async def test_a_tag_takes_its_entries_wherever_they_were_written(server: Any) -> None:
    async with connected(server) as one, connected(server) as other:
        await one.set("a", b"1", tags=("red", "round"))
        await other.set_many([Entry("b", b"2", None, ("red",)), Entry("c", b"3")])
        assert await other.get_many("abc") == {"a": b"1", "b": b"2", "c": b"3"}
        await one.invalidate_tag("red")
        assert await other.get_many("abc") == {"c": b"3"}
        assert await other.get("a") is None
        await other.set("a", b"4", tags=("red",))
        assert await one.get("a") == b"4"


async def test_a_tag_that_the_server_evicts_takes_its_entries_with_it(server: Any) -> None:
    async with connected(server) as level, bare(server) as client:
        await level.set("a", b"1", tags=("red",))
        await client.delete("test:t:red")
        await level.set("b", b"2", tags=("red",))
        assert await level.get_many("ab") == {"b": b"2"}


async def test_a_value_too_large_removes_the_older_one(server: Any) -> None:
    async with connected(server, value_bytes_max=10) as level:
        await level.set("a", b"small")
        await level.set("a", b"x" * 11)
        assert (await level.get("a"), level.stats()["too_large"]) == (None, 1)


async def test_only_new_leaves_what_is_there(server: Any) -> None:
    async with connected(server) as level:
        await level.set("a", b"newer")
        await level.set_many([Entry("a", b"older"), Entry("b", b"2")], only_new=True)
        assert await level.get_many("ab") == {"a": b"newer", "b": b"2"}


@pytest.mark.parametrize("prefix", ["test:", "*", "[a]?\\"])
async def test_clearing_takes_only_what_has_the_prefix(server: Any, prefix: str) -> None:
    async with connected(server, prefix=prefix) as level, bare(server) as client:
        await level.set_many([Entry(f"k{i}", b"v", None, ("t",)) for i in range(3_000)])
        await client.set("foreign", b"stays")
        await level.clear()
        assert await client.keys("*") == [b"foreign"]


@pytest.mark.parametrize(
    "foreign",
    [
        b"",
        b"\x01",
        b"\x02\0\0new",
        b"\x80\x04K\x01.",
        b"\x01\0\x05{}",
        b"\x01\0\x02[]v",
        b'\x01\0\x07{"t":1}v',
    ],
)
async def test_bytes_of_another_writer_count_as_absent(server: Any, foreign: bytes) -> None:
    async with connected(server) as level, bare(server) as client:
        await client.set("test:e:a", foreign)
        assert await level.get("a") is None
        assert await level.get_many(["a"]) == {}
        assert level.stats()["unreadable"] == 2


async def test_a_key_of_another_type_is_a_failure_and_not_an_answer(server: Any) -> None:
    async with connected(server) as level, bare(server) as client:
        await client.lpush("test:e:a", b"1")
        with pytest.raises(CacheLevelDown):
            await level.get("a")


async def test_a_server_that_died_is_left_alone_then_found_again(server: Any, clock: Any) -> None:
    breaker = CircuitBreaker(failures_max=2, pause_s=1, pause_max_s=3, clock=clock)
    async with connected(server, breaker=breaker) as level:
        await level.set("a", b"1")
        server.kill()
        for _ in range(4):
            with pytest.raises(CacheLevelDown):
                await level.get("a")
        assert (level.stats()["failures"], level.stats()["skipped"], level.stats()["open"]) == (2, 2, 1)
        clock.now += 1
        for _ in range(2):  # one trial, which fails: the next pause is twice as long
            with pytest.raises(CacheLevelDown):
                await level.get("a")
        clock.now += 1.9
        with pytest.raises(CacheLevelDown, match="left alone"):
            await level.get("a")
        assert level.stats()["failures"] == 3
        server.start()
        clock.now += 0.1
        assert await level.get("a") is None
        await level.set("a", b"2")
        assert await level.get("a") == b"2"
        assert level.stats()["open"] == 0


async def test_a_restart_between_two_calls_costs_no_failure(server: Any) -> None:
    async with connected(server) as level:
        await level.set("a", b"1")
        server.kill()
        server.start()
        assert await level.get("a") is None
        assert level.stats()["failures"] == 0


async def test_a_server_that_says_nothing_is_waited_for_only_so_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        level = RedisLevel(f"redis://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.05)
        async with asyncio.timeout(10):
            with pytest.raises(CacheLevelDown):
                await level.get("a")
        await level.close()


async def test_a_cache_goes_on_while_its_server_is_dead_and_never_gives_what_was_replaced(
    server: Any, clock: Any
) -> None:
    level = RedisLevel(
        server.url,
        prefix="test:",
        timeout_s=5.0,
        breaker=CircuitBreaker(failures_max=1, pause_s=1, clock=clock),
    )
    cache = MultiLevelCache(l2=level)
    await cache.set("replaced", "old")
    await cache.set("removed", "old")
    await cache.set("kept", "old")
    server.kill()
    await cache.set("replaced", "new")
    await cache.delete("removed")
    assert (await cache.get("replaced"), await cache.get("removed")) == ("new", None)
    assert await cache.get_or_compute("computed", lambda: 7) == 7
    server.start()
    async with bare(server) as client:  # what a server with a disk would still have
        cold = MultiLevelCache(l2=RedisLevel(server.url, prefix="test:", timeout_s=5.0))
        await cold.set_many({"replaced": "old", "removed": "old", "kept": "old"})
        await cold.close()
        assert await client.dbsize() == 3
    cache.l1.clear()
    clock.now += 1
    assert await cache.get_many(["replaced", "removed", "kept"]) == {"kept": "old"}
    assert cache.stats()["l2"]["owed"] == 0
    assert cache.stats()["l2"]["errors"] > 0
    await cache.close()


@pytest.mark.parametrize("url", ["nonsense", "http://127.0.0.1", "redis://127.0.0.1:port"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="redis_url"):
        RedisLevel(url)
