"""The background service that keeps a vector for every active memory.

A space is fitted, or a model chosen; then what lacks a vector gets one, the newest memories first. A new space
is built beside the one that serves and takes its place when it is whole. One process at a time does this, by
a lock file; it stops under pressure and goes on later, since what is done is in the store.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import apsw

from retain.batching import BatchProcessor
from retain.config import Settings
from retain.errors import RetainError
from retain.memory.embedding_cache import EmbeddingCache
from retain.memory.precedence import STRETCH, Precedence
from retain.memory.serving import kept, passages_of
from retain.pressure import MemoryManager
from retain.retrieval.space import CORPUS, MODEL, NAME, TEXTS_MAX, CorpusEmbedder, Embedder, Fit
from retain.retrieval.vectors import floats, row_of
from retain.storage import spaces, writes
from retain.storage.reads import Reader
from retain.storage.spaces import SpaceRow
from retain.storage.sqlite import SqliteStore
from retain.storage.vectors import put_vectors

logger = logging.getLogger(__name__)

EMBED_LOCK = "embed.lock"

MEMORIES_MIN = 100
"""Fewer memories say too little of what belongs together."""

GROWTH = 1.5
"""The corpus is fitted anew when it is so many times as large as at the last fit."""

FIT_BYTES = 16 << 20
FIT_TEXT_BYTES = 12 << 10
"""RAM of a fit, and of each text in it, at the most: 10 MB at 500 texts, 85 MB at 20,000, words made up."""

BATCH = 32
REST = 4.0
"""Beside answers the service rests this many times as long as a batch took: it takes a fifth of a core at most."""

KEYS_AHEAD = 1_024

KEYS_AT_ONCE = 10_000
"""So many keys are looked through in one read: some 10 ms, and a reader is free again."""

SWEPT_AT_ONCE = 2_000
INTERVAL_S = 1.0
START_S = 3.0
"""A server's first questions come first, and the first readings of its limits."""
WAIT_MAX_S = 300.0
"""Longest wait before a model that failed is tried again."""

KEY_MAX = 1 << 62

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingProgress:
    """What the service does now.

    Attributes:
        space: name of the space it works in; empty where it rests.
        done: vectors made in this run.
        lacking: memories without a vector in that space when the run began.
        building: whether the space serves only when it is whole.
    """

    space: str = ""
    done: int = 0
    lacking: int = 0
    building: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """Where vectors go, and who makes them."""

    space: SpaceRow
    embedder: Embedder


class Embedding:
    """Embeds what lacks a vector, and fits when due.

    Args:
        settings: where the lock file lies.
        store: memories and vectors.
        open_model: gives the embedder of the model that is installed or configured, or None; may take long.
        on_progress: called after each batch.
        cache: keeps what a model made of a text; None keeps it in RAM, for this service alone.
        precedence: of the questions, to which it gives way; None knows of none.
    """

    def __init__(
        self,
        settings: Settings,
        store: SqliteStore,
        open_model: Callable[[], Embedder | None],
        on_progress: Callable[[EmbeddingProgress], None] = lambda _: None,
        cache: EmbeddingCache | None = None,
        precedence: Precedence | None = None,
    ) -> None:
        self._precedence = precedence or Precedence()
        self._lock_path = settings.home / EMBED_LOCK
        self._store = store
        self._open_model = open_model
        self._on_progress = on_progress
        self._cache = cache or EmbeddingCache()
        self._model: Embedder | None = None
        self._corpus: tuple[int, CorpusEmbedder] | None = None
        self._target: _Target | None = None
        self._complete: dict[int, int] = {}
        self._whole_to: int | None = None
        self._paused = False
        self._running: asyncio.Task[int] | None = None
        self.progress = EmbeddingProgress()
        self.pressure: MemoryManager | None = None
        self._rest = 0.0
        self._batches: BatchProcessor[int, bool] = BatchProcessor(self._embed, batch_size=BATCH)

    async def keep_running(self) -> None:
        """Looks after every change of the store, until cancelled."""
        seen, wait_s = -1, INTERVAL_S
        self._rest = REST
        await asyncio.sleep(START_S)
        while True:
            version = self._store.version()
            if version != seen and not self._paused:
                try:
                    newest = await self._store.read_behind(lambda reader: reader.total())
                    if (
                        newest != self._whole_to
                    ):  # most commits bring no memory, and counting all takes 70 ns each
                        await self.run()
                    seen, wait_s = version, INTERVAL_S
                except (RetainError, OSError) as error:
                    logger.warning("embedding.failed error=%s", error)
                    wait_s = min(2 * wait_s, WAIT_MAX_S)
            await asyncio.sleep(wait_s)

    async def run(self) -> int:
        """Brings every space up to date; returns how many vectors were made. Joins a run that is under way.

        Where another process does it, or under pressure, this returns 0 at once.

        Raises:
            RetainError: store or model refused; what is done stays done.
        """
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="retain-embedding")
            self._running.add_done_callback(self._finished)
        return await asyncio.shield(self._running)

    def unload(self) -> None:
        """Stops after the batch under way and gives up what embedders hold in RAM, until ``resume``."""
        self._paused = True
        self._model = self._corpus = None

    def resume(self) -> None:
        """Goes on."""
        self._paused = False

    async def close(self) -> None:
        """Stops; what is not stored yet is embedded at the next start."""
        self._paused = True
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await self._batches.close(0)

    def _finished(self, run: asyncio.Task[int]) -> None:
        self._running = None
        self.progress = EmbeddingProgress()
        if not run.cancelled():
            run.exception()

    async def _run(self) -> int:
        with _alone(self._lock_path) as alone:
            if not alone or self._paused:
                return 0
            newest = await self._store.read_behind(lambda reader: reader.total())
            made = await self._corpus_up_to_date()
            made += await self._model_up_to_date()
            await self._sweep()
            self._whole_to = None if self._paused else newest
            return made

    async def _sweep(self) -> None:
        """Deletes what retired spaces left, in small transactions."""
        while await self._store.read_behind(_has_retired_vectors) and not self._paused:
            await self._store.write(lambda db: spaces.sweep(db, SWEPT_AT_ONCE))

    async def _corpus_up_to_date(self) -> int:
        serving, building, active = await self._store.read_behind(_corpus_state)
        if building is None and _is_due(serving, active) and self._has_room(min(active, TEXTS_MAX)):
            building = await self._fit(active)
            if building is None:  # texts were erased meanwhile, and it was made of them too
                return await self._corpus_up_to_date()
        space = building or serving
        if space is None:
            return 0
        if self._corpus is None or self._corpus[0] != space.key:
            try:
                self._corpus = (
                    space.key,
                    await self._store.read_behind(lambda reader: kept(reader, space.key)),
                )
            except ValueError as error:  # damaged, or of another version: begin again
                logger.warning("embedding.not_loaded space=%s error=%s", space.name, error)
                await self._store.write(lambda db: spaces.retire_kind(db, CORPUS))
                return await self._corpus_up_to_date()
        return await self._fill(_Target(space=space, embedder=self._corpus[1]))

    def _has_room(self, texts: int) -> bool:
        """Whether a fit stays below the limit of RAM; where that is not known yet, it waits for the next change."""
        if self.pressure is None:
            return True
        last = self.pressure.stats()
        room = last["limit_bytes"] - last["used_bytes"] if last["level"] != "unknown" else 0
        return bool(room > FIT_BYTES + texts * FIT_TEXT_BYTES)

    async def _fit(self, active: int) -> SpaceRow | None:
        mark = await self._store.read_behind(_removals)
        keys = await self._store.read_behind(lambda reader: spaces.sample(reader.connection, TEXTS_MAX))
        fit = await self._store.read_behind(lambda reader: Fit(reader.tokens))
        for start in range(0, len(keys), STRETCH):
            await self._precedence.quiet()
            began = time.perf_counter()
            await self._store.read_behind(partial(_gather, fit=fit, keys=keys[start : start + STRETCH]))
            await asyncio.sleep(self._rest * (time.perf_counter() - began))
        started = time.perf_counter()
        embedder = await asyncio.to_thread(fit.embedder)
        logger.info("embedding.fitted memories=%d seconds=%.2f", len(keys), time.perf_counter() - started)
        model = await asyncio.to_thread(embedder.to_bytes)
        return await self._begin(CORPUS, embedder, model, active, mark)

    async def _model_up_to_date(self) -> int:
        if self._model is None:
            self._model = await asyncio.to_thread(self._open_model)
        serving, building, active = await self._store.read_behind(_model_state)
        if self._model is None:
            if serving or building:
                await self._store.write(lambda db: spaces.retire_kind(db, MODEL))
            return 0
        wanted = self._model.name
        if building is not None and building.name != wanted:
            building = None
        if building is None and (serving is None or serving.name != wanted):
            building = await self._begin(MODEL, self._model, b"", active)
        space = building or serving
        assert space is not None
        return await self._fill(_Target(space=space, embedder=self._model))

    async def _begin(
        self, kind: str, embedder: Embedder, model: bytes, active: int, mark: str | None = None
    ) -> SpaceRow | None:
        """Begins a space; not one that holds words of texts that left the store since ``mark``."""
        dim = await asyncio.to_thread(lambda: embedder.dim)  # an endpoint is asked for it

        def begin(db: apsw.Connection) -> SpaceRow | None:
            if mark is not None and writes.removals(db) != mark:
                return None
            now_us = time.time_ns() // 1000
            spaces.add_space(
                db,
                name=embedder.name,
                kind=kind,
                dim=dim,
                model=model,
                fitted_rows=active,
                now_us=now_us,
            )
            return spaces.space_in(db, kind, "building")

        return await self._store.write(begin)

    async def _fill(self, target: _Target) -> int:
        """Gives a vector to all that lack one; a space that was being built serves when that is done."""
        space = target.space
        above, made = self._complete.get(space.key, 0), 0
        newest = below = await self._newest()
        building = space.state == "building"
        self._target = target
        while not self._paused:
            below, keys = await self._next_lacking(space.key, above, below)
            if keys:
                if not made:
                    lacking = await self._count_lacking(space.key, above, newest)
                    self.progress = EmbeddingProgress(space=space.name, lacking=lacking, building=building)
                made += sum(await self._batches.submit_many(keys))
            elif building and not await self._store.write(partial(_serve, space=space.key, above=newest)):
                above, newest = newest, await self._newest()  # what came meanwhile
                below = newest
            else:
                self._complete = {**self._complete, space.key: newest}
                break
        return made

    async def _newest(self) -> int:
        return await self._store.read_behind(lambda reader: reader.total())

    async def _next_lacking(self, space: int, above: int, most: int) -> tuple[int, list[int]]:
        """The newest keys without a vector, up to one key and above another, and up to which key to look next."""
        while most > above and not self._paused:
            start = max(above, most - KEYS_AT_ONCE)
            keys = await self._beside(
                partial(spaces.lacking, space=space, limit=KEYS_AHEAD, above=start, below=most + 1)
            )
            if keys:
                return keys[-1] - 1, keys
            most = start
        return above, []

    async def _count_lacking(self, space: int, above: int, most: int) -> int:
        """How many have no vector, among those up to one key and above another."""
        count = 0
        for start in range(above, most, KEYS_AT_ONCE):
            end = min(most, start + KEYS_AT_ONCE)
            count += await self._beside(
                partial(spaces.count_lacking, space=space, above=start, below=end + 1)
            )
        return count

    async def _beside(self, look: Callable[[apsw.Connection], T]) -> T:
        """One of many short looks at the store: while nobody asks, and with a rest after it."""
        await self._precedence.quiet()
        started = time.perf_counter()
        found = await self._store.read_behind(lambda reader: look(reader.connection))
        await asyncio.sleep(self._rest * (time.perf_counter() - started))
        return found

    async def _embed(self, keys: Sequence[int]) -> Sequence[bool]:
        target = self._target
        if target is None or self._paused:
            return [False] * len(keys)
        started = time.perf_counter()
        vectors = await self._vectors(target.embedder, keys)
        rows = [(key, row_of(floats(vector))) for key, vector in vectors]
        await self._store.write(lambda db: put_vectors(db, target.space.key, rows))
        self.progress = replace(self.progress, done=self.progress.done + len(vectors))
        self._on_progress(self.progress)
        done = {key for key, _ in vectors}
        await asyncio.sleep(self._rest * (time.perf_counter() - started))
        return [key in done for key in keys]

    async def _vectors(self, embedder: Embedder, keys: Sequence[int]) -> list[tuple[int, bytes]]:
        def in_corpus(reader: Reader, keys: Sequence[int]) -> list[tuple[int, bytes]]:
            assert isinstance(embedder, CorpusEmbedder)
            found = passages_of(reader, keys)
            vectors = embedder.on(reader.tokens).embed_documents(list(found.values()))
            return list(zip(found, vectors, strict=True))

        if isinstance(embedder, CorpusEmbedder):
            made = []
            for start in range(0, len(keys), STRETCH):
                await self._precedence.quiet()
                made += await self._store.read_behind(partial(in_corpus, keys=keys[start : start + STRETCH]))
            return made
        found = await self._store.read_behind(lambda reader: passages_of(reader, keys))
        vectors = await self._cache.documents(embedder, list(found.values()))
        return list(zip(found, vectors, strict=True))


def _corpus_state(reader: Reader) -> tuple[SpaceRow | None, SpaceRow | None, int]:
    return _state(reader, CORPUS)


def _model_state(reader: Reader) -> tuple[SpaceRow | None, SpaceRow | None, int]:
    return _state(reader, MODEL)


def _state(reader: Reader, kind: str) -> tuple[SpaceRow | None, SpaceRow | None, int]:
    """The space that serves, the one that is being built, and the active memories."""
    db = reader.connection
    serving, building = spaces.space_in(db, kind, "serving"), spaces.space_in(db, kind, "building")
    return serving, building, spaces.active_memories(db)


def _has_retired_vectors(reader: Reader) -> bool:
    return spaces.has_retired_vectors(reader.connection)


def _removals(reader: Reader) -> str:
    return writes.removals(reader.connection)


def _gather(reader: Reader, fit: Fit, keys: Sequence[int]) -> None:
    fit.add(passages_of(reader, keys).values(), reader.tokens)


def _serve(db: apsw.Connection, space: int, above: int) -> bool:
    """Lets a space serve, unless a memory above a key lacks a vector in it: what was findable stays so."""
    if spaces.lacking(db, space, 1, above=above, below=KEY_MAX):
        return False
    spaces.serve(db, space)
    return True


def _is_due(serving: SpaceRow | None, active: int) -> bool:
    if serving is None:
        return active >= MEMORIES_MIN
    return serving.name != NAME or active >= GROWTH * serving.fitted_rows


@contextmanager
def _alone(path: os.PathLike[str]) -> Iterator[bool]:
    """Whether no other process holds the lock; it is held for the length of the block."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)
