"""Answers to recalls, from the cache or from the store, and what is done beside them so that later ones are better."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from retain.cache import MultiLevelCache, Unstored
from retain.errors import RetainError
from retain.memory import reports
from retain.memory.claims import ClaimCheck
from retain.memory.planning import PlannerUpkeep
from retain.memory.recall_cache import RecallKey
from retain.memory.recalling import Answer, Recaller
from retain.memory.semantics import Semantics
from retain.memory.truth import Asker, CommitCheck
from retain.model import Query, Recall
from retain.storage import writes
from retain.storage.sqlite import SqliteStore
from retain.storage.truth import last_worktree

logger = logging.getLogger(__name__)


class Answering:
    """Answers queries of one process.

    Args:
        store: the memories.
        recalls: cache of answers; an answer belongs to a state of the store and of what is checked out.
        recaller: looks it up on a reader.
        semantics: has the vectors of questions made, and reads those that an answer had to do without.
        commits: what git knows.
        claims: what the files say.
        upkeep: learns from what each execution cost.
    """

    def __init__(
        self,
        store: SqliteStore,
        recalls: MultiLevelCache,
        recaller: Recaller,
        semantics: Semantics,
        commits: CommitCheck,
        claims: ClaimCheck,
        upkeep: PlannerUpkeep,
    ) -> None:
        self._store = store
        self._recalls = recalls
        self._recaller = recaller
        self._semantics = semantics
        self._commits = commits
        self._claims = claims
        self._upkeep = upkeep
        self._moved_at = -1
        self._moved_to = ""
        self._background: set[asyncio.Task[None]] = set()

    async def asker(self, workspace: int, root: str, session: str | None) -> Asker:
        """Who asks: from the working tree that the session was in last, where it has moved, else from ``root``."""
        version, _ = self._store.state()
        if session is not None and self._moved_at != version:
            self._moved_to = await self._store.read(
                lambda reader: last_worktree(reader.connection, workspace, session)
            )
            self._moved_at = version
        if self._moved_to and self._moved_to != root:
            moved = self._commits.asker(workspace, self._moved_to)
            here = self._commits.asker(workspace, root)
            if moved.same_repository(here):
                return moved
            return here
        return self._commits.asker(workspace, root)

    async def recall(self, query: Query, asker: Asker) -> Recall:
        """The answer to an effective query, as of the state of the store and of git when it was asked."""
        started = time.perf_counter_ns()
        version, token = self._store.state()
        place = (asker.session, asker.state, 0) if asker.session else asker.state
        key: RecallKey = (query, version, token, place)
        cached: Recall | None = self._recalls.get_nowait(key)
        if cached is not None and (now := self._claims.changed(asker, cached.files)) is not None:
            key = (query, version, token, (f"files {asker.session}", asker.state, now))
            cached = self._recalls.get_nowait(key)
            if cached is not None and self._claims.changed(asker, cached.files) is not None:
                await self._recalls.delete(key)
                cached = None
        if cached is None:
            fresh: list[Recall] = []
            cached = await self._recalls.get_or_compute(
                key, lambda: self._answer(query, asker, token, fresh), size=reports.weight
            )
            if fresh:
                return fresh[0]
        assert cached is not None, "a recall is never None"
        elapsed_us = (time.perf_counter_ns() - started) // 1000
        return replace(cached, plan={**cached.plan, "name": "cached"}, elapsed_us=elapsed_us)

    async def prepare(self, asker: Asker) -> None:
        """Reads the history of a workspace, so that no question waits for it or does without."""
        try:
            if await asyncio.to_thread(self._commits.get_ready, asker):
                from retain.memory.relief import trim

                await asyncio.to_thread(trim)  # reading a long history leaves free pages behind
        except RetainError as error:
            logger.warning("recall.not_prepared error=%s", error.code)

    async def close(self) -> None:
        """Stops background work, and keeps what was read of git."""
        if ending := list(self._background):
            for task in ending:
                task.cancel()
            await asyncio.wait(ending)  # each gives its reader back, which the store then closes
        await asyncio.to_thread(self._commits.close)

    async def _answer(
        self, query: Query, asker: Asker, token: str | None, fresh: list[Recall]
    ) -> Recall | Unstored:
        """Looks it up; an answer of a later state than the token's is not kept."""
        await self._semantics.ask(query.text)
        seen, answer = await self._store.read(
            lambda reader: (reader.fact(writes.STATE_FACT), self._recaller.answer(reader, query, asker))
        )
        self._upkeep.observe(answer.execution)
        if answer.unsettled or self._semantics.wanted:
            self._run_in_background(lambda: self._make_whole(answer, asker))
        elif self._upkeep.is_due():
            self._run_in_background(self._upkeep.refresh_quietly)
        fresh.append(answer.recall)
        return answer.recall if seen == token and answer.whole else Unstored(answer.recall)

    async def _make_whole(self, answer: Answer, asker: Asker) -> None:
        """Reads what an answer had to do without: vectors, and what git knows."""
        try:
            await self._semantics.read_wanted(self._store)
            if answer.unsettled:
                places = await self._store.read_behind(
                    lambda reader: self._commits.places(reader, asker, answer.unsettled)
                )
                await asyncio.to_thread(self._commits.settle, asker, places)
                await self._store.read_behind(
                    lambda reader: self._claims.settle(reader, asker, answer.unsettled)
                )
        except RetainError as error:
            logger.warning("recall.not_made_whole error=%s", error.code)

    def _run_in_background(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Runs work beside the answers until it ends or this is closed; one at a time."""
        if not self._background:
            task = asyncio.create_task(work())
            self._background.add(task)
            task.add_done_callback(self._background.discard)
