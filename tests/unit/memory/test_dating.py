"""A question's time lifts what happened then; alone it filters, and the answer says what it left out."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import retain
from retain.memory.service import MemoryService
from retain.model import Recall

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC)


def today() -> date:
    """The day that a question of this moment counts from; a run may go past midnight."""
    return datetime.now(UTC).astimezone().date()


def told(recall: Recall) -> Any:
    return recall.plan["truth"].get("time", {})


async def fill(memory: MemoryService) -> None:
    for day in range(30):
        await memory.remember(
            f"Settled the cart rounding in step {day}", occurred_at=NOW - timedelta(days=day, hours=1)
        )


async def test_a_time_beside_words_lifts_and_hides_nothing(tmp_path: Path) -> None:
    async with retain.open(tmp_path, folder=tmp_path) as memory:
        await fill(memory)
        found = await memory.recall("cart rounding 9 days ago", limit=30)
        when = today() - timedelta(days=9)
        assert found.hits[0].memory.occurred_at.astimezone().date() == when
        assert len(found.hits) == 30
        assert "period" not in found.hits[0].parts
        assert found.hits[-1].parts["period"] < 1
        assert told(found)["as"] == "wish"
        assert "outside_time" not in found.hidden


async def test_a_time_alone_filters_and_counts_what_it_leaves_out(tmp_path: Path) -> None:
    async with retain.open(tmp_path, folder=tmp_path) as memory:
        await fill(memory)
        found = await memory.recall("what did we do in the last 10 days?", limit=30)
        dates = {hit.memory.occurred_at.astimezone().date() for hit in found.hits}
        assert min(dates) >= today() - timedelta(days=10)
        assert told(found)["as"] == "filter"
        assert found.hidden == {"outside_time": 30 - len(found.hits)}


async def test_where_nothing_happened_then_the_words_stand(tmp_path: Path) -> None:
    async with retain.open(tmp_path, folder=tmp_path) as memory:
        await memory.remember("The fiscal calendar begins in March 1999 for them")
        found = await memory.recall("in March 1999")
        assert len(found.hits) == 1
        assert told(found) == {"phrase": "in March 1999", "as": "words: nothing happened then"}


async def test_a_release_is_where_its_commit_is(tmp_path: Path) -> None:
    async with retain.open(tmp_path, folder=tmp_path) as memory:
        await fill(memory)
        moment = NOW - timedelta(days=12)
        await memory.remember("Release version 2.1.0", kind="commit", occurred_at=moment)
        before = await memory.recall("cart rounding before the release", limit=3)
        since = await memory.recall("cart rounding since version 2.1.0 release", limit=3)
        assert all(hit.memory.occurred_at < moment for hit in before.hits)
        assert told(before)["until"] == moment.isoformat()
        assert since.hits


async def test_an_unknown_release_is_told(tmp_path: Path) -> None:
    async with retain.open(tmp_path, folder=tmp_path) as memory:
        await fill(memory)
        found = await memory.recall("cart rounding before v9.9.9")
        assert told(found) == {"phrase": "before v9.9.9", "as": "words: no such release is known"}
        assert found.hits


async def test_a_filter_by_time_leaves_the_words_alone(tmp_path: Path) -> None:
    async with retain.open(tmp_path, folder=tmp_path) as memory:
        await fill(memory)
        found = await memory.recall("cart rounding yesterday", filter={"since": "2001-01-01"})
        assert told(found) == {}


async def test_explain_shows_the_time(tmp_path: Path) -> None:
    async with retain.open(tmp_path, folder=tmp_path) as memory:
        await fill(memory)
        answer = await memory.explain("cart rounding yesterday")
        assert answer["plan"]["truth"]["time"]["phrase"] == "yesterday"


async def test_a_time_in_every_workspace_is_understood(tmp_path: Path) -> None:
    async with retain.open(tmp_path, folder=tmp_path) as memory:
        await fill(memory)
        found = await memory.recall("cart rounding yesterday", workspace="*")
        assert told(found)["as"] == "wish"
