"""VectorIndex: the vectors of a store in RAM, searched exactly, in step with every process that writes.

SQLite is the truth. A matrix is loaded at the first search of its workspace, and before each search picks up what
the log of changes says is new. Nothing is returned that the snapshot of the search does not hold.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, TypeAlias

import apsw

from retain._core import VectorMatrix, quantise
from retain.storage.reads import Reader
from retain.storage.vectors import vector_changes, vector_dim, vector_rows, vector_version, with_vectors

Accepts = Callable[[Sequence[int]], Collection[int]]
Floats: TypeAlias = "bytes | array[float]"

LOADED_AT_ONCE = 8_192
"""Rows that go to the matrix in one call."""

CALIBRATED_ROWS_MIN = 20_000
"""Below this, all ways but the plain ones are out of the question, and those need no measuring."""

CALIBRATED_KEYS = 8_192
WIDENED_BY = 4
ASKED_MORE = 1.25
"""So many times what should do is asked about at first beside the best: to ask again costs another search."""

CALIBRATED_ROUNDS = 3
FLOAT_BYTES = 4


def floats(vector: bytes) -> array[float]:
    """A vector of signed bytes, as embedders make them, in float32."""
    return array("f", memoryview(vector).cast("b"))


def row_of(vector: Floats) -> bytes:
    """A vector of float32 as it is stored: its direction in signed bytes.

    Raises:
        ValueError: a component is infinite or not a number.
    """
    return quantise(vector, len(memoryview(vector).cast("B")) // FLOAT_BYTES)


def asked_first(k: int, share: float) -> int:
    """How many of the best are asked about at first, so that ``k`` of them are likely to be accepted."""
    return k + round(ASKED_MORE * k * (1 - share) / share)


class Searched(NamedTuple):
    """What a search found: (key, cosine) best first; the way that the largest matrix went; keys that were tested."""

    hits: list[tuple[int, float]]
    way: str
    tested: int


@dataclass(slots=True)
class _Held:
    """A matrix and the changes that are in it.

    While rows change, ``reached`` is ahead of ``version``: who finds both at the version of its own snapshot,
    the one before and the other after a search, has searched exactly that snapshot.
    """

    matrix: VectorMatrix
    version: int = 0
    reached: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class VectorIndex:
    """One matrix for each space and workspace. May be used by several threads at once."""

    def __init__(self, clock_ns: Callable[[], int] = time.perf_counter_ns) -> None:
        """An index that has loaded nothing.

        Args:
            clock_ns: measures what the ways of searching cost on this machine.
        """
        self._held: dict[tuple[int, int], _Held] = {}
        self._lock = threading.Lock()
        self._clock_ns = clock_ns

    def search(
        self,
        reader: Reader,
        space: int,
        workspaces: Sequence[int],
        query: Floats,
        k: int,
        *,
        allowed: Sequence[int] | None = None,
        accepts: Accepts | None = None,
        share: float = 1.0,
    ) -> Searched:
        """The ``k`` memories whose vectors point most nearly where the query does, best first, as (key, cosine).

        A filter never leaves fewer than it must: the ``k`` best of those that fit come back.

        Args:
            reader: inside a snapshot; what it does not hold is not returned.
            space: key of the embedding space.
            workspaces: keys of the workspaces to search.
            query: as many float32 as the space has dimensions.
            k: how many at most.
            allowed: keys of memories to search among; quickest ascending. For filters that few memories fit.
            accepts: those of the keys given that fit a filter; asked about the best only, and again
                about further ones until enough fit. For filters that many memories fit.
            share: how large a part of the memories is expected to be accepted; it sets how many are asked about first.

        Raises:
            ValueError: the query has another number of dimensions than the space, or is not finite.
        """
        packed = None if allowed is None else array("q", allowed)
        first = k if accepts is None else asked_first(k, share)
        found: list[tuple[int, float]] = []
        way, largest, tested = "", -1, 0
        for workspace in workspaces:
            held = self._follow(reader.connection, space, workspace)
            hits, went, asked = _search(
                reader.connection, (space, workspace), held, query, k, first, packed, accepts
            )
            found += hits
            tested += asked if accepts is not None else 0
            if len(held.matrix) > largest:
                way, largest = went, len(held.matrix)
        return Searched(sorted(found, key=lambda hit: (-hit[1], -hit[0]))[:k], way, tested)

    def load(self, reader: Reader, space: int, workspace: int) -> int:
        """Brings the vectors of a workspace into RAM, or up to date; returns how many there are."""
        return len(self._follow(reader.connection, space, workspace).matrix)

    def is_loaded(self, space: int, workspace: int) -> bool:
        """Whether a search need not read all vectors of the workspace first."""
        held = self._held.get((space, workspace))
        return held is not None and held.version > 0

    def price(self, space: int, workspaces: Sequence[int], matching: int | None, k: int) -> tuple[str, float]:
        """What a search would take, by the costs measured when each matrix was loaded; one not loaded costs nothing.

        Args:
            space: key of the embedding space.
            workspaces: keys of the workspaces to search.
            matching: among how many keys, which are taken to lie evenly in the workspaces; None is all rows.
            k: hits wanted.

        Returns:
            The way that the largest matrix would go, and microseconds in all.
        """
        held = [self._held.get((space, workspace)) for workspace in workspaces]
        matrices = sorted((one.matrix for one in held if one is not None), key=len, reverse=True)
        total = sum(map(len, matrices))
        way, us = "", 0.0
        for matrix in matrices:
            share = len(matrix) / total if total else 0.0
            prices = matrix.prices(None if matching is None else round(matching * share), k)
            cheapest = min(prices, key=lambda name: prices[name])
            way, us = way or cheapest, us + prices[cheapest]
        return way, us

    @property
    def bytes(self) -> int:
        """What the matrices take."""
        return sum(held.matrix.bytes for held in list(self._held.values()))

    def unload(self) -> int:
        """Lets go of every matrix; the next search loads again. Returns the bytes that are free once searches end."""
        with self._lock:
            freed = self.bytes
            self._held = {}
        return freed

    def _follow(self, db: apsw.Connection, space: int, workspace: int) -> _Held:
        with self._lock:
            held = self._held.get((space, workspace))
            if held is None:
                held = self._held[space, workspace] = _Held(VectorMatrix(vector_dim(db, space)))
        current = vector_version(db, space, workspace)
        if held.version < current:
            with held.lock:
                if held.version < current:
                    self._update(db, space, workspace, held, current)
        return held

    def _update(self, db: apsw.Connection, space: int, workspace: int, held: _Held, current: int) -> None:
        changes = vector_changes(db, space, workspace, held.version) if held.version else None
        held.reached = current
        if changes is None:
            held.matrix = self._loaded(db, space, workspace, held.matrix.dim)
        else:
            held.matrix.remove(array("q", [memory for memory, data in changes if data is None]))
            for keys, rows in _chunks((memory, data) for memory, data in changes if data is not None):
                held.matrix.put(keys, rows)
        held.version = current

    def _loaded(self, db: apsw.Connection, space: int, workspace: int, dim: int) -> VectorMatrix:
        matrix, known = VectorMatrix(dim), array("q")
        for keys, rows in _chunks(vector_rows(db, space, workspace)):
            matrix.put(keys, rows)
            known.extend(keys)
        if len(matrix) >= CALIBRATED_ROWS_MIN:
            matrix.set_costs(calibrated(matrix, known, self._clock_ns))
        return matrix


def _chunks(rows: Iterator[tuple[int, bytes]]) -> Iterator[tuple[array[int], bytes]]:
    while chunk := list(islice(rows, LOADED_AT_ONCE)):
        keys, parts = zip(*chunk, strict=True)
        yield array("q", keys), b"".join(parts)


def _search(
    db: apsw.Connection,
    place: tuple[int, int],
    held: _Held,
    query: Floats,
    k: int,
    first: int,
    allowed: array[int] | None,
    accepts: Accepts | None,
) -> tuple[list[tuple[int, float]], str, int]:
    """The best of one matrix that the snapshot holds and the filter accepts, however many must be looked at."""
    current, wanted = vector_version(db, *place), first
    asked: set[int] = set()
    fitting: set[int] = set()
    while True:
        matrix = held.matrix
        before = held.version
        hits, way = matrix.search(query, wanted, allowed)
        fresh: Collection[int] = [key for key, _ in hits if key not in asked]
        asked.update(fresh)
        if not before == held.reached == current:
            fresh = with_vectors(db, *place, list(fresh))
        fitting.update(fresh if accepts is None else accepts(list(fresh)))
        kept = [hit for hit in hits if hit[0] in fitting]
        if len(kept) >= k or len(hits) < wanted:
            return kept[:k], way, len(asked)
        wanted *= WIDENED_BY


def calibrated(
    matrix: VectorMatrix, keys: Sequence[int], clock_ns: Callable[[], int]
) -> dict[str, tuple[float, float]]:
    """What each way of searching this matrix costs: microseconds to begin, and for each row.

    Args:
        matrix: with at least ``CALIBRATED_ROWS_MIN`` rows.
        keys: those of its rows.
        clock_ns: nanoseconds from any beginning.
    """
    rows = len(keys)
    query = array("f", [(-1.0) ** (i * i // 3) for i in range(matrix.dim)])

    def us(way: str, count: int) -> float:
        step = max(1, rows // count)
        times = []
        for turn in range(CALIBRATED_ROUNDS):  # each time other rows, which are not in a cache yet
            among = (
                None if count == rows else array("q", keys[turn * step // CALIBRATED_ROUNDS :: step][:count])
            )
            start = clock_ns()
            matrix.search(query, 10, among, way)
            times.append(clock_ns() - start)
        return min(times) / 1000

    def by_row(way: str, count: int, startup_us: float) -> tuple[float, float]:
        return startup_us, max(0.0, us(way, count) - startup_us) / count

    one = us("vector_ids", 1)
    rescoring = us("vector_bit_ids", CALIBRATED_KEYS // 8)
    return {
        "vector_scan": by_row("vector_scan", rows, one),
        "vector_ids": by_row("vector_ids", CALIBRATED_KEYS, one),
        "vector_bits": by_row("vector_bits", rows, rescoring),
        "vector_bit_ids": by_row("vector_bit_ids", CALIBRATED_KEYS, rescoring),
    }
