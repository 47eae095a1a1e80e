"""What keeps the planner knowing: statistics as the store grows, calibration, and what earlier processes learned."""

from __future__ import annotations

import logging
from typing import Any

import apsw

from retain.errors import RetainError
from retain.memory import counting
from retain.memory.recalling import Answer
from retain.memory.word_counts import WordCounts
from retain.model import Query
from retain.retrieval import calibration
from retain.retrieval.planner import Execution, QueryPlanner, Statistics, label
from retain.storage import writes
from retain.storage.sqlite import SqliteStore

logger = logging.getLogger(__name__)

STATISTICS_GROWTH = 1.1
"""The store is counted anew when it has so many times the memories of the last count."""

CALIBRATION_GROWTH = 8.0
"""And measured anew: its pages no longer fit where they did."""

LEARNED_MIN = 32
"""Executions below this are not worth a write when the process ends."""

SAVE_EVERY = 512


class PlannerUpkeep:
    """Feeds a planner beside the answers.

    Args:
        planner: what to feed.
        counts: of words, kept with what was learned.
        store: where statistics come from and what was learned is kept.
        enabled: False does nothing but to observe: the planner is switched off.
    """

    def __init__(
        self, planner: QueryPlanner, counts: WordCounts, store: SqliteStore, *, enabled: bool
    ) -> None:
        self._planner = planner
        self._counts = counts
        self._store = store
        self._enabled = enabled
        self._planned_for = planner.total
        self._looked_at = -1
        self._calibrated_for: int | None = None
        self._unsaved = 0

    def explained(self, query: Query, answer: Answer) -> dict[str, Any]:
        """What a recall did and why, as JSON values: plan, estimates beside the truth, each score in its parts.

        ``estimate`` is what the planner says of the query before its words are counted, ``next`` what it would do
        after it has learned from this execution, which it does here.
        """
        recall, planner = answer.recall, self._planner
        complexity, needs = planner.analyze_complexity(query), planner.analyze_workspace_requirements(query)
        estimate = {"cost_us": planner.estimate_cost(query), "bytes": planner.estimate_memory_usage(query)}
        following = planner.optimize_with_history(query, [answer.execution])
        again = planner.optimize_plan(answer.execution.plan)
        self._unsaved += 1
        return {
            "complexity": {
                "level": complexity.level,
                "conditions": complexity.conditions,
                "depth": complexity.depth,
                "words": complexity.words,
            },
            "workspaces": {"named": list(needs.named), "every": needs.every},
            "plan": recall.plan,
            "estimate": {name: [round(one, 1) for one in each] for name, each in estimate.items()},
            "next": {
                "name": label(following),
                "cost_us": [round(one, 1) for one in following.cost_us],
                "this_plan_us": [round(one, 1) for one in again.cost_us],
            },
            "q_error": dict(planner.q_error()),
            "factors": {name: round(factor, 3) for name, factor in planner.factors().items()},
            "coefficients": {name: list(each) for name, each in planner.coefficients().items()},
            "abstained": recall.abstained,
            "confidence": recall.confidence,
            "hidden": dict(recall.hidden),
            "elapsed_us": recall.elapsed_us,
            "hits": [
                {
                    "id": hit.memory.id,
                    "title": hit.memory.title,
                    "score": hit.score,
                    "parts": dict(hit.parts),
                    "state": hit.state,
                    "note": hit.note,
                }
                for hit in recall.hits
            ],
        }

    def observe(self, execution: Execution) -> None:
        """Lets the planner learn from an execution."""
        self._planner.observe(execution)
        self._unsaved += 1

    def is_due(self) -> bool:
        """Whether there may be something to refresh: the store has changed since the last look, or much was learned."""
        return self._enabled and (self._store.version() != self._looked_at or self._unsaved >= SAVE_EVERY)

    async def refresh(self) -> None:
        """New statistics where the store has grown by a tenth; a calibration where there is none; now and then a save.

        Raises:
            StoreError: the store could not be read or written; the planner goes on with what it knows.
        """
        if not self._enabled:
            return
        self._looked_at = self._store.version()
        total = await self._store.read_behind(lambda reader: reader.total())
        if total > self._planned_for * STATISTICS_GROWTH:
            self._planned_for = total
            known = await self._statistics(total)
            self._planner.update(known)
            await self._calibrate(known)
        if self._unsaved >= SAVE_EVERY:
            await self._save()

    async def refresh_quietly(self) -> None:
        """The same beside an answer: where it fails, the planner goes on with what it knows."""
        try:
            await self.refresh()
        except RetainError as error:
            logger.warning("planner.refresh_failed error=%s", error.code)

    async def close(self) -> None:
        """Keeps what was learned since the last time, where it is worth it."""
        if not self._enabled or self._unsaved < LEARNED_MIN:
            return
        try:
            await self._save()
        except RetainError as error:
            logger.warning("planner.save_failed error=%s", error.code)

    async def _statistics(self, total: int) -> Statistics:
        """Those that another process keeps, where they are of as many memories; else it counts, and keeps them."""
        known = await self._store.read_behind(counting.kept)
        if known is not None and known.total * STATISTICS_GROWTH >= total:
            return known
        return await counting.count_and_keep(self._store)

    async def _calibrate(self, known: Statistics) -> None:
        """Measures what the operators cost, once a machine and again in a store that has become another one."""
        if known.total < await self._measured_at() * CALIBRATION_GROWTH:
            return
        if await self._store.read_behind(lambda reader: calibration.calibrate(reader, self._planner, known)):
            self._calibrated_for = known.total
            await self._save()

    async def _measured_at(self) -> int:
        """How many memories the store had when the operators were measured; 0 where they were not."""
        if self._calibrated_for is None:
            self._calibrated_for = (await self._store.read_behind(calibration.learned_before)).memories
        return self._calibrated_for

    async def _save(self) -> None:
        if not (memories := await self._measured_at()):
            return
        learned = {
            "memories": memories,
            "coefficients": self._planner.coefficients(),
            "corrections": self._planner.corrections(),
        }
        self._unsaved = 0

        def keep(db: apsw.Connection) -> None:
            writes.set_facts(db, [(calibration.fact_name(), learned)])
            self._counts.save(db)

        await self._store.write(keep)
