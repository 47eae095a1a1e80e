"""What the server gives up when RAM runs short: caches first, readers last. The table is in ``footprint.py``."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging

from retain.cache import L1Cache
from retain.config import Settings
from retain.errors import StoreError
from retain.footprint import Level, degradation
from retain.memory.drain import Drain
from retain.memory.embedding import Embedding
from retain.memory.semantics import Semantics
from retain.pressure import Gauge, MemoryManager
from retain.storage.sqlite import SqliteStore

logger = logging.getLogger(__name__)

SWITCH_INTERVAL_MS = 1
"""So that a thread of the server that computes does not keep the loop from giving way for longer."""

SLOW_MS = 10_000
"""Deadline of what may wait for a query to end or for the system to take pages back."""


def watched(
    settings: Settings,
    store: SqliteStore,
    drain: Drain,
    recalls: L1Cache,
    frequencies: L1Cache,
    most: int,
    *,
    embedding: Embedding | None = None,
    semantics: Semantics | None = None,
    gauge: Gauge | None = None,
) -> MemoryManager:
    """A manager, not started, with a handler for each part of the server that can give bytes back.

    This is where a further part is registered: what is cheapest to make again has the lowest number. An index
    or a model that can be read from disk again belongs between the caches and the batches, at MEDIUM::

        manager.on_pressure(lambda _: index.unload(), 25, name="vectors", level=Level.MEDIUM)

    Args:
        settings: limit, interval and the usual sizes.
        store: its readers keep pages.
        drain: takes batches.
        recalls: the cache of answers.
        frequencies: the cache of document frequencies.
        most: the usual number of its entries.
        embedding: holds a model or a space, and works in the background; None where vectors are off.
        semantics: holds vectors, read again by the next question that needs them; None where vectors are off.
        gauge: where readings come from; None is the native sampler.
    """
    limit, interval_ms = settings.memory_limit_bytes or None, settings.pressure_interval_ms
    manager = MemoryManager(
        limit,
        interval_ms=interval_ms,
        interval_max_ms=max(250, interval_ms),
        switch_interval_ms=SWITCH_INTERVAL_MS,
        gauge=gauge,
    )

    def shrink_recalls(level: Level) -> None:
        _resize(recalls, settings.cache_entries_max, settings.cache_bytes_max, level)

    def shrink_frequencies(level: Level) -> None:
        _resize(frequencies, most, 0, level)

    def shrink_batches(level: Level) -> None:
        drain.set_batch_share(degradation(level).batch_share)

    async def empty_readers(level: Level) -> None:
        await _empty_readers(store, level)

    manager.on_pressure(shrink_recalls, 10, name="recalls", restore=shrink_recalls)
    manager.on_pressure(shrink_frequencies, 20, name="frequencies", restore=shrink_frequencies)
    manager.on_pressure(shrink_batches, 30, name="batches", level=Level.MEDIUM, restore=shrink_batches)
    manager.on_pressure(empty_readers, 40, name="readers", level=Level.MEDIUM, deadline_ms=SLOW_MS)
    manager.on_pressure(give_back, 50, name="allocator", level=Level.MEDIUM, deadline_ms=SLOW_MS)
    if embedding is not None:
        _unload_embedder(manager, embedding)
    if semantics is not None:
        _unload_vectors(manager, semantics)
    return manager


def _unload_embedder(manager: MemoryManager, embedding: Embedding) -> None:
    """The background work knows the limit, and rests; it goes on below medium pressure."""
    embedding.pressure = manager

    def unload(_: Level) -> None:
        embedding.unload()

    def resume(level: Level) -> None:
        if level < Level.MEDIUM:
            embedding.resume()

    manager.on_pressure(unload, 35, name="embedder", level=Level.MEDIUM, restore=resume)


def _unload_vectors(manager: MemoryManager, semantics: Semantics) -> None:
    """The next question that needs them reads them again."""

    def unload(_: Level) -> None:
        semantics.unload()

    manager.on_pressure(unload, 45, name="vectors", level=Level.HIGH)


async def keep_watching(manager: MemoryManager) -> None:
    """Watches until cancelled. A system that has no thread to give is told of, and not watched."""
    try:
        await manager.start()
    except OSError as error:
        logger.warning("pressure.not_watched error=%s", error)
        return
    try:
        await asyncio.Event().wait()
    finally:
        await manager.stop()


async def give_back(level: Level) -> None:
    """Collects garbage where the level asks for it, and gives free pages back to the system."""
    plan = degradation(level)
    if plan.collect:
        gc.collect()
    if plan.trim:
        try:
            await asyncio.to_thread(trim)
        except RuntimeError:  # no memory for a thread: now, then, at the cost of a pause
            trim()


def _resize(cache: L1Cache, entries: int, size: int, level: Level) -> None:
    share = degradation(level).cache_share
    cache.resize(int(entries * share), int(size * share) if size else None)


async def _empty_readers(store: SqliteStore, level: Level) -> None:
    try:
        await store.shrink(drop_readers=degradation(level).readers_kept == "none")
    except StoreError as error:
        logger.warning("pressure.readers_kept error=%s", error)


def trim() -> None:
    """Has the allocator give free pages back to the system."""
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back is not None:  # glibc has it; other allocators give back by themselves
        give_back(0)
