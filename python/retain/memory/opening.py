"""``retain.open``: the one place where everything is wired together."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from retain.cache import L1Cache
from retain.config import project_directory, read_settings, session_id
from retain.memory.drain import Drain
from retain.memory.embedding import Embedding, Serving
from retain.memory.recall_cache import open_recall_cache
from retain.memory.recalling import Recaller
from retain.memory.receipts import Receipts
from retain.memory.semantics import Semantics
from retain.memory.service import Channel, MemoryService
from retain.memory.workspaces import Workspaces
from retain.model import Origin
from retain.retrieval import calibration
from retain.retrieval.models import open_model
from retain.retrieval.planner import QueryPlanner
from retain.retrieval.vectors import VectorIndex
from retain.storage.sqlite import SqliteStore

FREQUENCY_ENTRIES = 16_384


@asynccontextmanager
async def open(  # noqa: A001 - the public name is retain.open
    home: str | os.PathLike[str] | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    origin: Origin = "user",
    session: str | None = None,
    drain: bool = False,
    **settings: Any,
) -> AsyncIterator[MemoryService]:
    """Opens the memories of a data directory for the length of the block.

    Args:
        home: data directory; None reads RETAIN_HOME, then the platform's place for user data.
        folder: whose workspace is meant; None is the project of the session, else the current folder.
        origin: who speaks through this service; every memory written carries it.
        session: id of the session; None reads it from the client's environment.
        drain: keep draining the spool and watch the footprint in the background. Without it, recalls drain what waits.
        **settings: values that win over environment and file, see ``retain.config.Settings``.

    Raises:
        InvalidInput: an unknown or impossible setting.
        StoreUnusable: the store cannot be opened; nothing was changed.
    """
    chosen, _ = read_settings(home, settings)
    recalls = open_recall_cache(chosen)
    store = await SqliteStore.open(chosen)
    learned = await store.read(calibration.learned_before)
    planner = QueryPlanner(learned.coefficients, learned.corrections, enabled=bool(chosen.planner))
    workspaces = Workspaces(store)
    receipts = Receipts(store)
    frequencies = L1Cache(FREQUENCY_ENTRIES, policy="wtinylfu")
    open_embedder = partial(open_model, chosen)
    semantics = (
        Semantics(Serving(open_embedder), VectorIndex(), planner, live=drain) if chosen.vectors else None
    )
    service = MemoryService(
        chosen,
        store,
        channel=Channel(
            origin=origin,
            folder=os.fspath(folder) if folder is not None else str(project_directory()),
            session=session or session_id(),
        ),
        planner=planner,
        recalls=recalls,
        recaller=Recaller(planner, frequencies, chosen.recall_confidence / 100, semantics),
        workspaces=workspaces,
        drain=Drain(chosen, store, workspaces, receipts),
        receipts=receipts,
    )
    background = [asyncio.create_task(service.drain.keep_running())] if drain else []
    if drain:  # whoever lives long
        await store.tend_readers()
    embedding = Embedding(chosen, store, open_embedder) if drain and chosen.vectors else None
    if embedding is not None:
        background.append(asyncio.create_task(embedding.keep_running()))
    if drain and chosen.pressure_interval_ms:
        from retain.memory.relief import keep_watching, watched

        service.pressure = watched(
            chosen, store, service.drain, recalls.l1, frequencies, FREQUENCY_ENTRIES,
            embedding=embedding, semantics=semantics,
        )  # fmt: skip
        background.append(asyncio.create_task(keep_watching(service.pressure)))
    try:
        yield service
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        if embedding is not None:
            await embedding.close()
        await service.close()
