"""Puts the time that a question names to use: as a wish that lifts what happened then, or as a filter.

A wish hides nothing. It becomes a filter only where the question says nothing else, and then the answer counts what
lies outside. Where nothing happened at that time, the words stand as they are: they may mean something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from retain.model import Between, Filter, Period, Query, from_us
from retain.retrieval.filters import both, mentions
from retain.retrieval.times import period_of
from retain.storage import structure, ways
from retain.storage.reads import Reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Dated:
    """A query whose time is understood.

    Attributes:
        query: with the words that are left, and the filter where the time is one.
        wish: the time, where it is only preferred.
        outside: memories that the time alone leaves out.
        told: what became of the time, as JSON values; empty where the question names none.
    """

    query: Query
    wish: Between | None = None
    outside: int = 0
    told: Mapping[str, Any] = field(default_factory=dict)


def named(text: str, tree: Filter | None) -> Period | None:
    """The time that a question names now; none where its filter says the time.

    To the minute, so that the same question soon after is the same query to the cache.
    """
    if mentions(tree, "time"):
        return None
    return period_of(text, datetime.now(UTC).replace(second=0, microsecond=0))


def dated(reader: Reader, query: Query) -> Dated:
    """Reads the period of an ``effective`` query against what the store holds."""
    period = query.period
    if period is None or query.filter is None:
        return Dated(query=query)
    places = ways.workspaces_of(reader.connection, query.filter)
    low, high = period.low, period.high
    if period.release:
        moment = structure.release_moment(reader.connection, places, _named(period.release))
        if moment is None:
            return Dated(query=query, told={"phrase": period.phrase, "as": "words: no such release is known"})
        low, high = (None, moment) if period.side == "before" else (moment, None)
    if not structure.has_any(reader.connection, places, low, high):
        return Dated(query=query, told={"phrase": period.phrase, "as": "words: nothing happened then"})
    told = {
        "phrase": period.phrase,
        "from": None if low is None else from_us(low).isoformat(),
        "until": None if high is None else from_us(high).isoformat(),
        "as": "filter" if period.alone else "wish",
    }
    when = Between(field="time", low=low, high=high)
    if not period.alone:
        return Dated(query=replace(query, text=period.rest), wish=when, told=told)
    return Dated(
        query=replace(query, text="", filter=both(query.filter, when)),
        outside=structure.outside(reader.connection, query.filter, low, high),
        told=told,
    )


def _named(release: str) -> list[str]:
    """The words by which a release is looked up: its version where it is named, else ``release``."""
    words = [word for word in release.split() if word.lower() not in {"last", "latest", "previous"}]
    return [word for word in words if any(map(str.isdigit, word))] or words
