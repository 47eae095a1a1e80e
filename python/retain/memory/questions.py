"""Questions put to the model that is installed or configured, so that no answer waits for it longer than it may.

The vector of a question is asked for before its words are looked up, and comes from the cache where it was asked
before. A model behind an address may take its time: after ``embedding_wait_ms`` the answer goes by words alone, and
what arrives later is kept for the next one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from retain.cache.levels import CircuitBreaker
from retain.errors import CacheLevelDown, EmbeddingFailed
from retain.memory.embedding_cache import EmbeddingCache
from retain.retrieval.space import Embedder
from retain.storage.spaces import SpaceRow

logger = logging.getLogger(__name__)

PENDING_MAX = 4
"""Questions at the model at the same time; a further one goes by words alone."""

T = TypeVar("T")


class Questions:
    """The vectors of questions in the space of a model.

    Args:
        open_model: gives the embedder of the model, or None where there is none; may take long.
        cache: keeps what was made.
        wait_s: longest wait of an answer for a model that is not in this process; None waits for its end.
        expected: whether a model is installed or configured, as far as is known before the store was read.
    """

    def __init__(
        self,
        open_model: Callable[[], Embedder | None],
        cache: EmbeddingCache,
        *,
        wait_s: float | None = None,
        expected: bool = True,
    ) -> None:
        self._open_model = open_model
        self._cache = cache
        self._wait_s = wait_s
        self._expected = expected
        self._model: Embedder | None = None
        self._opening = threading.Lock()
        self._breaker = CircuitBreaker()
        self._asked: set[asyncio.Task[None]] = set()
        self._pending = self.late = self.failed = 0

    async def prepare(self, text: str) -> None:
        """Has the vector of a question made, and waits for it as long as an answer may wait. Never raises.

        What arrives later is kept; only ``close`` ends it.
        """
        if not self._expected or not text.strip():
            return
        if self._model is not None and self._cache.known(self._model.name, text) is not None:
            return
        task = asyncio.create_task(self._ask(text))
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)
        done, _ = await asyncio.wait([task], timeout=self._wait_s)
        self.late += not done

    def serve(self, space: SpaceRow | None) -> bool:
        """Whether questions can be asked in the space of a model that serves; None: there is no such space."""
        self._expected = space is not None
        if space is None:
            return False
        try:
            model = self._opened()
        except EmbeddingFailed as error:
            logger.warning("embedding.not_loaded space=%s error=%s", space.name, error)
            return False
        return model is not None and model.name == space.name

    def embed_query(self, text: str) -> bytes:
        """The vector of a question that was prepared; a model in this process makes it where it was not.

        Raises:
            EmbeddingFailed: it is not there yet, or cannot be had.
        """
        model = self._opened()
        if model is None:
            raise EmbeddingFailed("there is no model any more")
        found = self._cache.known(model.name, text)
        if found is not None:
            return found
        if self._wait_s is not None:
            raise EmbeddingFailed(f"{model.name} gave no vector within {1000 * self._wait_s:.0f} ms")
        vector = model.embed_query(text)
        self._cache.keep(model.name, text, vector)
        return vector

    def unload(self) -> None:
        """Gives up the model and what was kept in RAM."""
        self._model = None
        self._cache.unload()

    def stats(self) -> dict[str, object]:
        """What the cache counts, and how many questions were answered without the model."""
        return {"late": self.late, "failed": self.failed, "cache": self._cache.stats()}

    async def settled(self) -> None:
        """Waits for every question that is at the model."""
        while self._asked:
            await asyncio.wait(list(self._asked))

    async def close(self) -> None:
        """Stops asking; what is under way is dropped."""
        for task in list(self._asked):
            task.cancel()
        await asyncio.gather(*self._asked, return_exceptions=True)
        await self._cache.close()

    async def _ask(self, text: str) -> None:
        try:
            model = self._model or await on_a_thread(self._opened)
            if model is not None:
                await self._cache.question(model.name, text, partial(self._make, model, text))
        except (EmbeddingFailed, CacheLevelDown) as error:
            self.failed += 1
            logger.warning("embedding.question_failed error=%s", error)

    async def _make(self, model: Embedder, text: str) -> bytes:
        self._breaker.check(model.name)
        if self._pending >= PENDING_MAX:
            raise EmbeddingFailed(f"{model.name} has {self._pending} questions at a time already")
        self._pending += 1
        try:
            vector = await on_a_thread(partial(model.embed_query, text))
        except EmbeddingFailed:
            self._breaker.failed()
            raise
        finally:
            self._pending -= 1
        self._breaker.succeeded()
        return vector

    def _opened(self) -> Embedder | None:
        with self._opening:
            if self._model is None:
                self._model = self._open_model()
            return self._model


async def on_a_thread(work: Callable[[], T]) -> T:
    """Runs work on a thread of its own that does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def deliver(result: T | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as problem:  # noqa: BLE001 - it is raised where the result is awaited
            error = problem
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(deliver, result, error)

    try:
        threading.Thread(target=run, name="retain-question", daemon=True).start()
    except RuntimeError as error:
        raise EmbeddingFailed(f"no thread to ask the model: {error}") from None
    return await future
