"""What the server gives up at each level, and takes back: the handlers on its real parts, with a gauge set by hand."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import retain
from retain.cache import L1Cache
from retain.config import read_settings
from retain.footprint import Level
from retain.memory import relief
from retain.memory.service import MemoryService
from retain.pressure import MemoryManager
from retain.storage.sqlite import SqliteStore

pytestmark = pytest.mark.anyio

ENTRIES = 1_000
READERS = 3


class Gauge:
    """Says what it was told to say."""

    def __init__(self) -> None:
        self.level = Level.NORMAL
        self.failing = False

    def start(self) -> None:
        if self.failing:
            raise OSError("no thread")

    def stop(self) -> None:
        """It has no thread."""

    def fileno(self) -> int:
        return -1

    def take(self) -> int:
        return self.level

    def measure(self) -> int:
        return self.level

    def history(self) -> list[tuple[float, int, int, int]]:
        return []

    def stats(self) -> dict[str, Any]:
        return {"used_bytes": 0, "limit_bytes": 1}


class Server:
    """The parts of a server that give way, and the manager that asks them to."""

    def __init__(self, service: MemoryService, gauge: Gauge) -> None:
        self.store: SqliteStore = service._store
        self.drain = service.drain
        self.recalls = L1Cache(ENTRIES, 1 << 20)
        self.frequencies = L1Cache(ENTRIES)
        self.gauge = gauge
        settings, _ = read_settings(None, {"cache_entries_max": ENTRIES, "cache_bytes_max": 1 << 20})
        self.manager = relief.watched(
            settings, self.store, self.drain, self.recalls, self.frequencies, ENTRIES, gauge=gauge
        )
        self.manager._timing._restore_s = 0

    async def press(self, level: Level) -> None:
        """The level changes; returns when relief has ended."""
        self.gauge.level = level
        self.manager.poll()
        while self.manager._running is not None:
            await asyncio.wait([self.manager._running])
            await asyncio.sleep(0)

    async def use_readers(self) -> int:
        """Opens several; how many there are."""
        barrier = asyncio.Barrier(READERS)

        async def read() -> None:
            async with self.store._readers.acquire():
                await barrier.wait()

        await asyncio.gather(*(read() for _ in range(READERS)))
        return self.readers()

    def readers(self) -> int:
        return self.store.pool_stats().pool_size

    def sizes(self) -> tuple[int, int, int]:
        """How many entries both caches hold of more than they may, and the events of a batch."""
        for cache in (self.recalls, self.frequencies):
            cache.set_many([(number, number) for number in range(2 * ENTRIES)])
        return len(self.recalls), len(self.frequencies), self.drain._batches.stats().sizes[""]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with retain.open(tmp_path / "home", folder=tmp_path, drain_batch=100) as service:
        server = Server(service, Gauge())
        async with server.manager:
            yield server


async def test_each_level_gives_up_more_and_a_lower_one_takes_it_back(server: Server) -> None:
    assert server.sizes() == (ENTRIES, ENTRIES, 100)
    await server.press(Level.LOW)
    assert server.sizes() == (500, 500, 100)
    await server.press(Level.MEDIUM)
    assert server.sizes() == (250, 250, 50)
    await server.press(Level.HIGH)
    assert server.sizes() == (0, 0, 25)
    await server.press(Level.NORMAL)
    assert server.sizes() == (ENTRIES, ENTRIES, 100)
    handlers = server.manager.stats()["handlers"]
    assert list(handlers) == ["recalls", "frequencies", "batches", "readers", "allocator"]
    assert all(handler["failures"] == 0 for handler in handlers.values())


async def test_readers_stay_at_low_are_emptied_at_medium_and_go_at_high(server: Server) -> None:
    assert await server.use_readers() == READERS
    await server.press(Level.LOW)
    assert server.readers() == READERS
    await server.press(Level.MEDIUM)
    assert (server.readers(), server.store.pool_stats().pool_available) == (READERS, READERS)
    await server.press(Level.HIGH)
    assert server.readers() <= 1
    assert await server.use_readers() == READERS


async def test_a_store_that_is_closed_meanwhile_is_no_failure(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    await server.store.write(lambda _: None)
    await server.store.close()
    with caplog.at_level(logging.WARNING):
        await server.press(Level.HIGH)
    assert "pressure.readers_kept" in caplog.text
    assert server.manager.stats()["handlers"]["readers"]["failures"] == 0
    assert server.manager.stats()["handlers"]["allocator"]["runs"] == 1


class Loop:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.parametrize(
    ("level", "collected"), [(Level.LOW, False), (Level.MEDIUM, False), (Level.HIGH, True)]
)
async def test_garbage_is_collected_at_high_only(level: Level, collected: bool) -> None:
    gc.collect()
    gc.disable()
    try:
        gone = weakref.ref(Loop())
        await relief.give_back(level)
        assert (gone() is None) is collected
    finally:
        gc.enable()


async def test_free_pages_go_back_even_when_no_thread_is_to_be_had() -> None:
    loop = asyncio.get_running_loop()
    await loop.shutdown_default_executor()  # from here on to_thread raises
    await relief.give_back(Level.HIGH)


async def test_watching_ends_with_its_task_and_leaves_the_interpreter_as_it_was(server: Server) -> None:
    await server.manager.stop()
    before = sys.getswitchinterval()
    watching = asyncio.create_task(relief.keep_watching(server.manager))
    await asyncio.sleep(0)
    assert sys.getswitchinterval() == pytest.approx(relief.SWITCH_INTERVAL_MS / 1000)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert watching.cancelled()
    assert sys.getswitchinterval() == before


async def test_without_a_thread_nothing_is_watched_and_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    gauge = Gauge()
    gauge.failing = True
    with caplog.at_level(logging.WARNING):
        await relief.keep_watching(MemoryManager(gauge=gauge))
    assert "pressure.not_watched" in caplog.text
