"""``retain.open``: the one place where everything is wired together."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from retain.cache import L1Cache
from retain.capture import redact
from retain.config import Settings, is_started_by_client, project_directory, read_settings, session_id
from retain.git.repositories import Repositories
from retain.memory import counting
from retain.memory.claims import BUDGET_S as CLAIMS_BUDGET_S
from retain.memory.claims import ClaimCheck
from retain.memory.controls import Controls
from retain.memory.conversation import ConversationCheck
from retain.memory.drain import Drain
from retain.memory.embedding import Embedding
from retain.memory.embedding_cache import EmbeddingCache
from retain.memory.inputs import Channel
from retain.memory.questions import Questions
from retain.memory.recall_cache import open_recall_cache
from retain.memory.recalling import Recaller
from retain.memory.receipts import Receipts
from retain.memory.semantics import Semantics
from retain.memory.service import MemoryService
from retain.memory.serving import Serving
from retain.memory.truth import BUDGET_S, GRAPHS, PATIENCE_S, CommitCheck, Gate
from retain.memory.word_counts import WordCounts
from retain.memory.workspaces import Workspaces
from retain.model import Origin
from retain.retrieval import calibration
from retain.retrieval.models import has_model, open_model, wait_of
from retain.retrieval.planner import QueryPlanner
from retain.retrieval.space import Embedder
from retain.retrieval.vectors import VectorIndex
from retain.rules import allowances
from retain.storage.audit import Author, Door
from retain.storage.sqlite import SqliteStore

FREQUENCY_ENTRIES = 16_384


async def _planner(
    settings: Settings, store: SqliteStore, frequencies: L1Cache
) -> tuple[QueryPlanner, WordCounts]:
    """The planner and the counts of words, with what earlier processes kept."""
    counts = WordCounts(frequencies)
    learned, known = await store.read(
        lambda reader: (calibration.learned_before(reader), counting.kept(reader))
    )
    await store.read(counts.load)
    planner = QueryPlanner(learned.coefficients, learned.corrections, enabled=bool(settings.planner))
    if known is not None:
        planner.update(known)
    return planner, counts


def _checks(settings: Settings, *, live: bool) -> tuple[CommitCheck, ClaimCheck]:
    """What every answer is checked by; who goes on in the background waits less."""
    commits = CommitCheck(Repositories(settings.home / GRAPHS), BUDGET_S if live else PATIENCE_S)
    return commits, ClaimCheck(CLAIMS_BUDGET_S if live else PATIENCE_S)


def _recaller(
    settings: Settings,
    planner: QueryPlanner,
    counts: WordCounts,
    semantics: Semantics | None,
    gate: Gate,
) -> Recaller:
    sure = settings.recall_confidence / 100
    return Recaller(planner, counts, sure, semantics=semantics, gate=gate)


@asynccontextmanager
async def open(  # noqa: A001 - the public name is retain.open
    home: str | os.PathLike[str] | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    origin: Origin = "user",
    session: str | None = None,
    door: Door = "python",
    drain: bool = False,
    **settings: Any,
) -> AsyncIterator[MemoryService]:
    """Opens the memories of a data directory for the length of the block.

    Args:
        home: data directory; None reads RETAIN_HOME, then the platform's place for user data.
        folder: whose workspace is meant; None is the project of the session, else the current folder.
        origin: who speaks through this service; every memory written carries it. In a process that a session of the
            client started it is the assistant at most.
        session: id of the session; None reads it from the client's environment.
        door: through which door the store is used, as the audit will say.
        drain: keep draining the spool and watch the footprint in the background. Without it, recalls drain what waits.
        **settings: values that win over environment and file, see ``retain.config.Settings``.

    Raises:
        InvalidInput, StoreUnusable: an impossible setting; the store cannot be opened, and nothing was changed.
    """
    chosen, session = read_settings(home, settings)[0], session or session_id()
    redact.configure(pii=bool(chosen.redact_pii), allowed=allowances(chosen.redact_allow))
    recalls, origin = open_recall_cache(chosen), speaking(origin)
    store = await SqliteStore.open(chosen, Author(door=door, actor=origin, session=session or ""))
    frequencies = L1Cache(FREQUENCY_ENTRIES, policy="wtinylfu")
    planner, counts = await _planner(chosen, store, frequencies)
    workspaces, place = Workspaces(store), os.fspath(folder or project_directory())
    channel = Channel(origin=origin, folder=place, session=session)
    receipts = Receipts(store, workspaces, folder=place, session=session)
    controls = Controls(chosen, store, lambda: read_settings(home, settings)[0])
    model, embeddings = partial(open_model, chosen), EmbeddingCache(recalls)
    semantics = Semantics(_serving(chosen, model, embeddings), VectorIndex(), planner, live=drain)
    checks = _checks(chosen, live=drain)
    service = MemoryService(
        chosen,
        store,
        channel=channel,
        planner=planner,
        recalls=recalls,
        recaller=_recaller(chosen, planner, counts, semantics, Gate((*checks, ConversationCheck()))),
        workspaces=workspaces,
        drain=Drain(chosen, store, workspaces, receipts, semantics.serving, controls),
        receipts=receipts,
        controls=controls,
        semantics=semantics,
        checks=checks,
    )
    embed = partial(Embedding, chosen, store, model, cache=embeddings, precedence=service.precedence)
    embedding = embed() if drain and chosen.vectors else None
    ahead = partial(semantics.read_ahead, store, workspaces, place)
    keeping = await _lasting(store, service, embedding, ahead) if drain else []
    if drain and chosen.pressure_interval_ms:
        from retain.memory.relief import keep_watching, watched

        given = (chosen, store, service.drain, recalls.l1, frequencies, FREQUENCY_ENTRIES)
        service.pressure = watched(*given, embedding=embedding, semantics=semantics)
        keeping.append(keep_watching(service.pressure))
    try:
        async with _in_background(keeping):
            yield service
    finally:
        if embedding is not None:
            await embedding.close()
        await semantics.serving.questions.close()
        await service.close()


def speaking(origin: Origin) -> Origin:
    """Who speaks: in a process that a session of the client started, a model may have written the command."""
    return "assistant" if origin == "user" and is_started_by_client() else origin


async def _lasting(
    store: SqliteStore,
    service: MemoryService,
    embedding: Embedding | None,
    ahead: Callable[[], Coroutine[Any, Any, None]],
) -> list[Coroutine[Any, Any, None]]:
    """What a live server does beside its answers; first it reads ahead."""
    await store.tend_readers()  # whoever lives long
    scrubbing = service.keeping.scrubbing
    lasting = (service.drain, service.keeping, service.retention, service.claims, scrubbing, embedding)
    return [*(one.keep_running() for one in lasting if one), _read_ahead(store, ahead), service.prepare()]


async def _read_ahead(store: SqliteStore, vectors: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """One after the other: what is read ahead holds one reader, and leaves the others to questions."""
    await vectors()
    await store.read_lengths()


@asynccontextmanager
async def _in_background(keeping: Sequence[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Runs them beside the block, and waits for them to end after it."""
    tasks = [asyncio.create_task(one) for one in keeping]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _serving(settings: Settings, model: Callable[[], Embedder | None], embeddings: EmbeddingCache) -> Serving:
    """Who makes vectors of questions and of new memories; nobody where vectors are switched off."""
    questions = Questions(model, embeddings, wait_s=wait_of(settings), expected=has_model(settings))
    return Serving(questions, enabled=bool(settings.vectors))
