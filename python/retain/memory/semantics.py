"""The leg of a recall that goes by meaning: memories whose vectors point where the question does.

Each space that serves is searched exactly, among the memories that fit the filter. What comes back is a share in
0..1 for each of the nearest: in the fitted space where its cosine stands between that of the last and that of the
first of them, in that of a model its cosine against that of the first.
A matrix too large to be read on the way of an answer is read beside it, and the answer goes by words alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from retain.errors import EmbeddingFailed, RetainError
from retain.memory.serving import Asks, Serving
from retain.memory.workspaces import Workspaces
from retain.model import Filter, In, Query
from retain.retrieval.confidence import MODELS_FITTED
from retain.retrieval.planner import Plan, QueryPlanner
from retain.retrieval.space import MODEL
from retain.retrieval.vector_plan import parts_of
from retain.retrieval.vectors import VectorIndex, floats
from retain.storage import ways
from retain.storage.conditions import condition
from retain.storage.reads import Candidate, Reader
from retain.storage.rows import to_list
from retain.storage.spaces import SpaceRow
from retain.storage.sqlite import SqliteStore
from retain.storage.vectors import vector_version

logger = logging.getLogger(__name__)

NEAREST = 50
"""Memories taken from each space."""

LOADED_INLINE_MAX = 20_000
"""Changes of a workspace up to which its vectors are read on the way of an answer: some 20 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """What the spaces say of a question.

    Attributes:
        shares: by kind of space, for each of the nearest memories how near it is against the first, in 0..1.
        cosines: of the nearest in the space of a model whose cosines the gate knows.
        candidates: all of them, without words.
        us: microseconds that it took, loading left out.
        searches: of each space the plan of its search, with the truth beside its estimates.
        left_out: spaces that were not asked, and why.
    """

    shares: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    cosines: Mapping[int, float] = field(default_factory=dict)
    candidates: Sequence[Candidate] = ()
    us: float = 0.0
    searches: Sequence[Mapping[str, Any]] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether every space was asked; a later answer may be better where one was not."""
        return not self.left_out

    def truth(self) -> dict[str, Any]:
        """What it did, as JSON values; nothing where there was nothing to do."""
        if not self.searches and not self.left_out:
            return {}
        found: dict[str, Any] = {
            "us": self.us,
            "way": self.searches[-1]["way"] if self.searches else "",
            "candidates": len(self.candidates),
            "searches": list(self.searches),
        }
        return {"meaning": {**found, "left_out": dict(self.left_out)} if self.left_out else found}


NOTHING = Nearest()


class Semantics:
    """Searches the spaces that serve.

    Args:
        serving: makes a question's vector in each space.
        index: holds the vectors.
        planner: knows what it costs to list the memories that fit a filter.
        live: whether something loads what ``wanted`` names; without it, everything is loaded inline.
    """

    def __init__(self, serving: Serving, index: VectorIndex, planner: QueryPlanner, *, live: bool) -> None:
        self.serving = serving
        self._index = index
        self._planner = planner
        self._live = live
        self.wanted: set[tuple[int, int]] = set()

    def unload(self) -> int:
        """Lets go of vectors and embedders; the next question reads them again. Returns the bytes of the vectors."""
        self.serving.unload()
        return self._index.unload()

    async def ask(self, text: str) -> None:
        """Has a model make the vector of a question, for as long as an answer may wait. Never raises."""
        await self.serving.questions.prepare(text)

    async def read_ahead(self, store: SqliteStore, workspaces: Workspaces, folder: str) -> None:
        """Reads the embedders that serve and the vectors of a folder's workspace, so that no question waits for them.

        A live server runs it beside the first answers; where it fails, questions read what they need.
        """
        try:
            known = await workspaces.known_at(folder)
            if known is not None:
                await store.read_behind(lambda reader: self._read_all(reader, known[1]))
        except RetainError as error:
            logger.warning("recall.vectors_not_prepared error=%s", error.code)

    async def read_wanted(self, store: SqliteStore) -> None:
        """Reads the vectors that an answer had to do without."""
        try:
            await store.read_behind(self.load)
        except RetainError as error:
            logger.warning("recall.vectors_not_loaded error=%s", error.code)

    def stats(self) -> dict[str, Any]:
        """Bytes of the vectors in RAM, and what was asked of a model."""
        return {"bytes": self._index.bytes, "questions": self.serving.questions.stats()}

    def load(self, reader: Reader) -> None:
        """Reads the vectors that a question found missing."""
        for space, workspace in tuple(self.wanted):
            self._index.load(reader, space, workspace)
        self.wanted = set()

    def nearest(self, reader: Reader, query: Query, plan: Plan, keys: Sequence[int] | None = None) -> Nearest:
        """The memories nearest to a question among those that fit the filter of its plan.

        Args:
            reader: inside a snapshot.
            query: with a text.
            plan: of the same query; its filter is what memories must fit.
            keys: of the active memories that fit it, ascending, where they were listed already.
        """
        if not query.text.strip() or not _takes_active(plan.filter):
            return NOTHING
        places = ways.workspaces_of(reader.connection, plan.filter)
        shares: dict[str, Mapping[int, float]] = {}
        cosines: Mapping[int, float] = {}
        searches, left_out, taken = [], {}, 0.0
        for space, asks in self.serving.at(reader):
            ready = [place for place in places if self._is_ready(reader, space, place)]
            if len(ready) < len(places):
                left_out[space.name] = "vectors are being read"
            started = time.perf_counter_ns()
            try:
                vector = self._vector(space, asks, query.text)
            except EmbeddingFailed as error:  # the words still answer; such an answer is not cached
                logger.info("recall.meaning_left_out space=%s error=%s", space.name, error)
                left_out[space.name] = str(error)
                continue
            if any(vector) and ready:
                hits, search = self._search(reader, space, ready, vector, plan, keys)
                shares[space.kind] = (against_first if space.kind == MODEL else between)(hits)
                cosines = dict(hits) if space.name.startswith(MODELS_FITTED) else cosines
                searches.append(search)
            taken += _since(started)
        keys = sorted({key for each in shares.values() for key in each})
        return Nearest(
            shares=shares,
            cosines=cosines,
            candidates=ways.candidates_at(reader.connection, keys),
            us=round(taken, 1),
            searches=searches,
            left_out=left_out,
        )

    def _read_all(self, reader: Reader, workspace: int) -> None:
        for space, _ in self.serving.at(reader):
            self._index.load(reader, space.key, workspace)

    def _is_ready(self, reader: Reader, space: SpaceRow, workspace: int) -> bool:
        if not self._live or self._index.is_loaded(space.key, workspace):
            return True
        if vector_version(reader.connection, space.key, workspace) <= LOADED_INLINE_MAX:
            return True
        self.wanted = {*self.wanted, (space.key, workspace)}
        return False

    def _vector(self, space: SpaceRow, asks: Asks, text: str) -> bytes:
        vector = asks.embed_query(text)
        if len(vector) != space.dim:
            raise EmbeddingFailed(f"{space.name} gave {len(vector)} numbers, its space has {space.dim}")
        return vector

    def _search(
        self,
        reader: Reader,
        space: SpaceRow,
        places: Sequence[int],
        vector: bytes,
        plan: Plan,
        keys: Sequence[int] | None,
    ) -> tuple[Sequence[tuple[int, float]], dict[str, Any]]:
        """The nearest with their cosines, by the cheapest way; and what that took, beside what was expected."""
        for place in places:
            if not self._index.is_loaded(space.key, place):
                self._index.load(reader, space.key, place)
        started = time.perf_counter_ns()
        chosen = self._planner.plan_vectors(plan, NEAREST, partial(self._index.price, space.key, places))
        search = partial(self._index.search, reader, space.key, places, floats(vector), NEAREST)
        if chosen.way == "all":
            found, rows = search(), None
        elif chosen.way == "listed":
            allowed = keys
            if allowed is None:
                allowed = ways.keys_fitting(reader.connection, plan.filter, chosen.driver)
            found, rows = search(allowed=allowed), len(allowed)
        else:
            found = search(accepts=partial(_accepted, reader, plan.filter), share=chosen.share)
            rows = found.tested
        truth: dict[str, Any] = {"us": _since(started), "matrix": found.way}
        if rows is not None:
            truth["rows"] = rows
        return found.hits, {"space": space.name, **chosen.as_json(), "truth": truth}


def _since(started_ns: int) -> float:
    return round((time.perf_counter_ns() - started_ns) / 1000, 1)


def between(hits: Sequence[tuple[int, float]]) -> dict[int, float]:
    """Each cosine's place between the last and the first; where all are alike, all are first."""
    if not hits:
        return {}
    first, last = hits[0][1], hits[-1][1] if len(hits) == NEAREST else 0.0
    width = first - last
    return {key: (cosine - last) / width if width > 0 else 1.0 for key, cosine in hits}


def against_first(hits: Sequence[tuple[int, float]]) -> dict[int, float]:
    """Each cosine against the first, in 0..1; to be among the nearest counts by itself in the space of a model."""
    if not hits or hits[0][1] <= 0:
        return {}
    return {key: max(0.0, cosine / hits[0][1]) for key, cosine in hits}


def _accepted(reader: Reader, where: Filter, keys: Sequence[int]) -> Collection[int]:
    """Those of the keys that fit a filter; by their keys, or SQLite may walk an index over all memories instead."""
    sql, values = condition(where)
    rows = reader.connection.execute(
        f"SELECT m.key FROM json_each(?) k CROSS JOIN memory m NOT INDEXED ON m.key = k.value WHERE {sql}",
        (to_list(keys), *values),
    )
    return {key for (key,) in rows}


def _takes_active(where: Filter) -> bool:
    """Whether an active memory can fit; only those have vectors."""
    named = [part.values for part in parts_of(where) if isinstance(part, In) and part.field == "status"]
    return all("active" in values for values in named)
