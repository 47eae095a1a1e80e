"""The leg of a recall that goes by meaning: memories whose vectors point where the question does.

Each space that serves is searched exactly, among the memories that fit the filter. What comes back is a share in
0..1 for each of the nearest: where its cosine stands between that of the last and that of the first of them.
A matrix too large to be read on the way of an answer is read beside it, and the answer goes by words alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from retain.errors import EmbeddingFailed
from retain.memory.embedding import Serving
from retain.model import All, Filter, Glob, In, Query
from retain.retrieval.planner import MULTI_VALUED, Plan, QueryPlanner
from retain.retrieval.vectors import VectorIndex, floats
from retain.storage import ways
from retain.storage.conditions import condition
from retain.storage.reads import Candidate, Reader
from retain.storage.rows import to_json
from retain.storage.spaces import SpaceRow
from retain.storage.vectors import vector_version

logger = logging.getLogger(__name__)

NEAREST = 50
"""Memories taken from each space."""

LOADED_INLINE_MAX = 20_000
"""Changes of a workspace up to which its vectors are read on the way of an answer: some 20 ms."""

LISTED_US = 0.1
"""Microseconds a key that is read from an index alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """What the spaces say of a question.

    Attributes:
        shares: by kind of space, for each of the nearest memories its place between last and first, in 0..1.
        candidates: all of them, without words.
        us: microseconds that it took, loading left out.
        way: how each space was searched.
        whole: False where a matrix was not in RAM yet and was left out.
    """

    shares: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    candidates: Sequence[Candidate] = ()
    us: float = 0.0
    way: str = ""
    whole: bool = True


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
        self._serving = serving
        self._index = index
        self._planner = planner
        self._live = live
        self.wanted: set[tuple[int, int]] = set()

    def unload(self) -> int:
        """Lets go of vectors and embedders; the next question reads them again. Returns the bytes of the vectors."""
        self._serving.unload()
        return self._index.unload()

    def prepare(self, reader: Reader, workspace: int) -> None:
        """Reads the embedders that serve and the vectors of a workspace, by its key."""
        for space, _ in self._serving.at(reader):
            self._index.load(reader, space.key, workspace)

    def load(self, reader: Reader) -> None:
        """Reads the vectors that a question found missing."""
        for space, workspace in tuple(self.wanted):
            self._index.load(reader, space, workspace)
        self.wanted = set()

    def nearest(self, reader: Reader, query: Query, plan: Plan) -> Nearest:
        """The memories nearest to a question among those that fit the filter of its plan.

        Args:
            reader: inside a snapshot.
            query: with a text.
            plan: of the same query; its filter is what memories must fit.
        """
        if not query.text.strip() or not _takes_active(plan.filter):
            return NOTHING
        places = ways.workspaces_of(reader.connection, plan.filter)
        shares: dict[str, dict[int, float]] = {}
        taken, way, whole = 0.0, "", True
        for space, embedder in self._serving.at(reader):
            ready = [place for place in places if self._is_ready(reader, space, place)]
            whole = whole and len(ready) == len(places)
            started = time.perf_counter_ns()
            try:
                vector = embedder.embed_query(query.text)
            except EmbeddingFailed as error:  # the words still answer; such an answer is not cached
                logger.warning("recall.meaning_left_out space=%s error=%s", space.name, error)
                whole = False
                continue
            if any(vector) and ready:
                way, hits = self._search(reader, space, ready, vector, plan)
                shares[space.kind] = between(hits)
            taken += (time.perf_counter_ns() - started) / 1000
        keys = sorted({key for each in shares.values() for key in each})
        return Nearest(
            shares=shares,
            candidates=ways.candidates_at(reader.connection, keys),
            us=round(taken, 1),
            way=way,
            whole=whole,
        )

    def _is_ready(self, reader: Reader, space: SpaceRow, workspace: int) -> bool:
        if not self._live or self._index.is_loaded(space.key, workspace):
            return True
        if vector_version(reader.connection, space.key, workspace) <= LOADED_INLINE_MAX:
            return True
        self.wanted = {*self.wanted, (space.key, workspace)}
        return False

    def _search(
        self, reader: Reader, space: SpaceRow, places: Sequence[int], vector: bytes, plan: Plan
    ) -> tuple[str, list[tuple[int, float]]]:
        """By the cheaper of two ways: list what fits and scan that, or scan all and test the best."""
        search = partial(self._index.search, reader, space.key, places, floats(vector), NEAREST)
        if _is_plain(plan.filter):
            return "all", search()
        share = min(1.0, max(plan.rows[1], 1.0) / max(self._planner.total, 1))
        listing_us, driver = self._listing(plan)
        few_us, all_us = self._scanning(space, places, share)
        if listing_us + few_us < self._testing_us(plan.filter, share) + all_us:
            return "listed", search(allowed=ways.keys_fitting(reader.connection, plan.filter, driver))
        return "tested", search(accepts=partial(_accepted, reader, plan.filter), share=share)

    def _listing(self, plan: Plan) -> tuple[float, int | None]:
        """What it costs to list the memories that fit, and by the index of which condition."""
        if ways.is_in_index(plan.filter):
            return plan.rows[1] * LISTED_US, None
        everything = Query(text="", filter=plan.filter, limit=max(1, self._planner.total))
        listing = self._planner.create_plan(everything)
        return listing.cost_us[1], listing.driver

    def _scanning(self, space: SpaceRow, places: Sequence[int], share: float) -> tuple[float, float]:
        """What it costs to scan the vectors of a share of the memories, and of all; nothing where that is little."""
        few, every = 0.0, 0.0
        for place in places:
            costs = self._index.costs(space.key, place)
            if costs:
                few += share * self._planner.total * min(costs["vector_ids"][1], costs["vector_bit_ids"][1])
                every += self._planner.total * min(costs["vector_scan"][1], costs["vector_bits"][1])
        return few, every

    def _testing_us(self, where: Filter, share: float) -> float:
        """What it costs to test the best until enough of them fit."""
        known = self._planner.coefficients()
        each = sum(known[operator][1] for operator in ("row_fetch", "page_read", *_probes(where)))
        return min(NEAREST / share, self._planner.total) * each


def _probes(where: Filter) -> list[str]:
    """What testing a row costs beside reading it."""
    found = []
    for part in _parts(where):
        if isinstance(part, Glob):
            found.append("glob_test")
        elif isinstance(part, In) and part.field in MULTI_VALUED:
            found.append("side_probe")
    return found


def between(hits: Sequence[tuple[int, float]]) -> dict[int, float]:
    """Each cosine's place between the last and the first; where all are alike, all are first."""
    if not hits:
        return {}
    first, last = hits[0][1], hits[-1][1] if len(hits) == NEAREST else 0.0
    width = first - last
    return {key: (cosine - last) / width if width > 0 else 1.0 for key, cosine in hits}


def _accepted(reader: Reader, where: Filter, keys: Sequence[int]) -> Collection[int]:
    """Those of the keys that fit a filter; by their keys, or SQLite may walk an index over all memories instead."""
    sql, values = condition(where)
    rows = reader.connection.execute(
        f"SELECT m.key FROM json_each(?) k CROSS JOIN memory m NOT INDEXED ON m.key = k.value WHERE {sql}",
        (to_json(keys), *values),
    )
    return {key for (key,) in rows}


def _parts(where: Filter) -> tuple[Filter, ...]:
    return where.parts if isinstance(where, All) else (where,)


def _takes_active(where: Filter) -> bool:
    """Whether an active memory can fit; only those have vectors."""
    named = [part.values for part in _parts(where) if isinstance(part, In) and part.field == "status"]
    return all("active" in values for values in named)


def _is_plain(where: Filter) -> bool:
    """Whether every active memory of the workspaces fits."""
    named = [part.field if isinstance(part, In) else "" for part in _parts(where)]
    return set(named) <= {"workspace", "status"} and "status" in named
