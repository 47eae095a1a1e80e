"""The planner's statistics: counted a field at a time with rests between, and kept in the store for later processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import apsw

from retain.retrieval.planner import Statistics
from retain.storage.reads import FieldCounts, Reader
from retain.storage.sqlite import SqliteStore
from retain.storage.writes import STATISTICS_FACT, removals, set_facts

T = TypeVar("T")

FIELDS = ("kind", "status", "origin", "trust", "branch", "session", "workspace", "tag", "path")

KEPT_FROM = 5_000
"""Memories from which statistics are kept: fewer are counted in less time than a write takes."""

FORMAT = 1
"""Counts the forms of the fact; another one is not read."""

REST_MAX_S = 2.0


async def count(store: SqliteStore) -> Statistics:
    """Reads the indexes once, a field at a time; after each it rests as long as that took.

    So it never holds more than one reader, nor more than half of a processor. Memories that come meanwhile are
    counted or not.

    Raises:
        StoreError: the store could not be read.
    """
    total = await store.read_behind(lambda reader: reader.total())
    counts = {}
    for name in FIELDS:
        counts[name] = await _with_rest(store, partial(Reader.field_counts, field=name))
    bounds = await _with_rest(store, Reader.time_bounds)
    return together(total, counts, bounds)


async def count_and_keep(store: SqliteStore, kept_from: int = KEPT_FROM) -> Statistics:
    """The same, kept for later processes where it took long; not after texts were erased, whose tags it may name.

    Raises:
        StoreError: the store could not be read or written.
    """
    mark = await store.read_behind(lambda reader: removals(reader.connection))
    known = await count(store)

    def keep(db: apsw.Connection) -> None:
        if removals(db) == mark:
            set_facts(db, [(STATISTICS_FACT, as_fact(known))])

    if known.total >= kept_from:
        await store.write(keep)
    return known


def together(total: int, counts: Mapping[str, FieldCounts], bounds: Sequence[int]) -> Statistics:
    """What was counted of the store and of each field, as the planner takes it."""
    return Statistics(
        total=total,
        values={name: (each.common, each.distinct, each.rows) for name, each in counts.items()},
        time_bounds=bounds,
        samples={name: (each.sample, each.entries) for name, each in counts.items() if each.sample},
    )


async def _with_rest(store: SqliteStore, read: Callable[[Reader], T]) -> T:
    started = time.perf_counter()
    found = await store.read_behind(read)
    await asyncio.sleep(min(REST_MAX_S, time.perf_counter() - started))
    return found


def as_fact(known: Statistics) -> dict[str, Any]:
    """Statistics as JSON values."""
    return {
        "format": FORMAT,
        "total": known.total,
        "values": {name: list(each) for name, each in known.values.items()},
        "time_bounds": list(known.time_bounds),
        "samples": {name: list(each) for name, each in known.samples.items()},
    }


def kept(reader: Reader) -> Statistics | None:
    """What an earlier process counted; None where there is nothing, or nothing that can be read here."""
    told = reader.fact(STATISTICS_FACT)
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        return None
    try:
        return Statistics(
            total=int(told["total"]),
            values={str(name): _values(each) for name, each in told["values"].items()},
            time_bounds=[int(bound) for bound in told["time_bounds"]],
            samples={
                str(name): ([str(value) for value in sample], int(entries))
                for name, (sample, entries) in told["samples"].items()
            },
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None  # it is counted anew


def _values(each: Sequence[Any]) -> tuple[list[tuple[str, int]], int, int]:
    common, distinct, rows = each
    return [(str(value), int(number)) for value, number in common], int(distinct), int(rows)
