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
    place = os.fspath(folder) if folder is not None else str(project_directory())
    channel = Channel(origin=origin, folder=place, session=session or session_id())
    receipts = Receipts(store, workspaces, folder=channel.folder, session=channel.session)
    frequencies = L1Cache(FREQUENCY_ENTRIES, policy="wtinylfu")
    open_embedder = partial(open_model, chosen)
    semantics = (
        Semantics(Serving(open_embedder), VectorIndex(), planner, live=drain) if chosen.vectors else None
    )
    service = MemoryService(
        chosen,
        store,
        channel=channel,
        planner=planner,
        recalls=recalls,
        recaller=Recaller(planner, frequencies, chosen.recall_confidence / 100, semantics=semantics),
        workspaces=workspaces,
        drain=Drain(chosen, store, workspaces, receipts),
        receipts=receipts,
    )
    embedding = Embedding(chosen, store, open_embedder) if drain and chosen.vectors else None
    background: list[asyncio.Task[None]] = []
    if drain:
        await store.tend_readers()  # whoever lives long
        keeping = [service.drain.keep_running(), *([embedding.keep_running()] if embedding else [])]
        background += map(asyncio.create_task, keeping)
    if drain and chosen.pressure_interval_ms:
        from retain.memory.relief import keep_watching, watched

        given = (chosen, store, service.drain, recalls.l1, frequencies, FREQUENCY_ENTRIES)
        service.pressure = watched(*given, embedding=embedding, semantics=semantics)
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
