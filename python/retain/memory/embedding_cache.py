"""Embeddings of a model kept by a hash of model and content: in L1, and on disk where the settings give it room.

A question asked again, a text that stands in two memories, a space that is built anew by the same model: none of
them asks the model again. What the fitted space makes is not kept, for it costs no more than looking it up.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from retain.cache import L1Cache, MultiLevelCache
from retain.cache.records import NotEncodable
from retain.retrieval.space import Embedder, Passage

BYTES_MAX = 4 * 1024 * 1024
"""RAM of the first level: some 8,000 vectors of 384 numbers."""

ENTRY_BYTES = 512


class EmbeddingCache:
    """Vectors by model and text, for one event loop; ``known`` may be called by any thread.

    Args:
        beside: the cache whose level on disk it shares; None keeps vectors in RAM only.
    """

    def __init__(self, beside: MultiLevelCache | None = None) -> None:
        l1 = L1Cache(BYTES_MAX // ENTRY_BYTES, max_bytes=BYTES_MAX)
        coded: dict[str, Any] = {"encode": _encode, "decode": bytes}
        self._levels = MultiLevelCache(l1, **coded) if beside is None else beside.beside(l1, "l3", **coded)

    def known(self, model: str, question: str) -> bytes | None:
        """The vector of a question, where the first level has it."""
        found: bytes | None = self._levels.get_nowait(_key(model, "?", question))
        return found

    def keep(self, model: str, question: str, vector: bytes) -> None:
        """Keeps the vector of a question in the first level."""
        self._levels.l1.set(_key(model, "?", question), vector)

    async def question(self, model: str, text: str, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """The vector of a question; those who ask for the same one meanwhile wait for one computation.

        Raises:
            EmbeddingFailed: as ``make``.
        """
        found: bytes = await self._levels.get_or_compute(_key(model, "?", text), make)
        return found

    async def documents(self, embedder: Embedder, passages: Sequence[Passage]) -> list[bytes]:
        """A vector for each memory in their order; only new texts are embedded, on a thread.

        Raises:
            EmbeddingFailed: the model cannot be reached or does not work.
        """
        keys = [_key(embedder.name, "", passage.as_text()) for passage in passages]
        known: dict[str, bytes] = await self._levels.get_many(keys)
        fresh = {key: passage for key, passage in zip(keys, passages, strict=True) if key not in known}
        if fresh:
            vectors = await asyncio.to_thread(embedder.embed_documents, list(fresh.values()))
            made = dict(zip(fresh, vectors, strict=True))
            await self._levels.set_many(made)
            known = {**known, **made}
        return [known[key] for key in keys]

    def unload(self) -> None:
        """Gives up what is in RAM."""
        self._levels.l1.clear()

    def stats(self) -> dict[str, Any]:
        """Counters of each level."""
        return self._levels.stats()

    async def close(self) -> None:
        """Finishes writes; the level on disk stays open."""
        await self._levels.close()


def _key(model: str, kind: str, text: str) -> str:
    said = f"{model}\0{kind}\0{text}".encode("utf-8", "replace")
    return "embedding:" + hashlib.blake2b(said, digest_size=20).hexdigest()


def _encode(vector: object) -> bytes:
    if not isinstance(vector, bytes):
        raise NotEncodable("an embedding is bytes")
    return vector
