"""What broke other memory servers: each is an error that names field and limit, or a correct answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import retain
from retain.capture import spool
from retain.errors import InvalidInput, NotFound
from retain.memory.service import MemoryService
from retain.retrieval.context import count_tokens

pytestmark = pytest.mark.anyio

MEGABYTES_10 = 10 * 1024 * 1024
NOBODY = "00000000-0000-7000-8000-000000000000"
CLIMBS = ("../../etc/passwd", "..", "a/../../b", "/etc/../etc/passwd", "..\0", "src/../..")


async def refused(call: Any, field: str, limit: object = None) -> None:
    started = time.monotonic()
    with pytest.raises(InvalidInput) as caught:
        await call
    assert (caught.value.field, caught.value.limit) == (field, limit)
    assert len(str(caught.value)) < 500
    str(caught.value).encode()
    assert time.monotonic() - started < 5


async def test_ten_megabytes_are_refused_by_name_and_not_echoed(memory: MemoryService) -> None:
    big = "x" * MEGABYTES_10
    await refused(memory.remember(big), "text", memory.settings.text_chars_max)
    await refused(memory.remember("fine", title=big), "title", 200)
    await refused(memory.remember("fine", kind=big), "kind")
    await refused(memory.remember("fine", paths=[big]), "paths[0]", 1_024)
    await refused(memory.remember("fine", tags=[big]), "tags[0]", 64)
    await refused(memory.remember("fine", source_id=big), "source_id", 256)
    await refused(memory.remember("fine", occurred_at=big), "occurred_at")
    await refused(memory.recall(big), "query", memory.settings.query_chars_max)
    await refused(memory.recall("x", workspace=big), "workspace", 64)
    await refused(memory.recall("x", filter={"tag": big}), "filter.tag", 1_024)
    await refused(memory.recall("x", filter={"kind": big}), "filter.kind", 1_024)
    await refused(memory.recall("x", filter={"since": big}), "filter.since")
    await refused(memory.get(big), "id", 64)
    await refused(memory.timeline(big), "around", 64)
    await refused(memory.timeline(since=big), "since")
    await refused(memory.context(big), "prompt", memory.settings.query_chars_max)
    await refused(memory.remember_many([{big: 1}]), big[:64])


async def test_a_large_memory_is_not_returned_with_every_query(memory: MemoryService) -> None:
    words = " ".join(f"w{i}" for i in range(30_000))
    large = await memory.remember(words)
    small = await memory.remember("the cart total w17 is rounded")
    answer = await memory.recall("cart total w17")
    assert answer.hits[0].memory.id == small.id
    assert all(len(hit.snippet) < 400 for hit in answer.hits)
    block, _ = await memory.context("cart total w17 rounded")
    assert count_tokens(block.text) <= memory.settings.context_tokens
    assert (await memory.get(large.id)).text == words


async def test_a_query_of_the_longest_kind_is_answered_quickly(memory: MemoryService) -> None:
    wanted = await memory.remember("the needle in the haystack")
    await memory.remember_many([{"text": f"hay number {i}"} for i in range(200)])
    for text in ("x" * 10_000, '"' * 10_000, "needle " * 1_428, " ".join(f"q{i}" for i in range(1_600))):
        started = time.monotonic()
        answer = await memory.recall(text)
        assert time.monotonic() - started < 5
        assert [hit.memory.id for hit in answer.hits] == ([wanted.id] if "needle" in text else [])


async def test_a_query_of_a_hundred_thousand_characters_is_refused_or_answered(
    home: Path, folder: Path
) -> None:
    text = "needle " + "hay and straw " * 7_200
    async with retain.open(home, folder=folder) as memory:
        await refused(memory.recall(text[:100_000]), "query", 10_000)
    async with retain.open(home, folder=folder, query_chars_max=1_000_000) as memory:
        wanted = await memory.remember("the needle")
        started = time.monotonic()
        assert [hit.memory.id for hit in (await memory.recall(text[:100_000])).hits] == [wanted.id]
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("limit", [10**9, 2**63, -1, 0])
async def test_a_limit_out_of_bounds_is_refused(memory: MemoryService, limit: int) -> None:
    await refused(memory.recall("x", limit=limit), "limit", "1..50")
    await refused(memory.timeline(limit=limit), "limit", "1..50")
    await refused(memory.explain("x", limit=limit), "limit", "1..50")


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\0", "\0 \0"])
async def test_an_empty_query_does_not_dump_the_store(memory: MemoryService, text: str) -> None:
    await memory.remember("something")
    await refused(memory.recall(text), "query")
    await refused(memory.explain(text), "query")
    assert len((await memory.recall(text, filter={})).hits) == 1


@pytest.mark.parametrize(
    "text", ['"', "((", "NEAR(", "*", "a AND", "title:", "--", "'", "🎉", "!!!", "\ud800", "\u202e"]
)
async def test_a_query_without_a_word_finds_nothing_and_fails_nothing(
    memory: MemoryService, text: str
) -> None:
    await memory.remember("something else entirely")
    answer = await memory.recall(text)
    assert (list(answer.hits), answer.abstained) == ([], True)
    block, _ = await memory.context(text)
    assert block.text == ""
    assert (await memory.explain(text))["abstained"]


@pytest.mark.parametrize("name", ["text", "title", "source_id", "kind"])
@pytest.mark.parametrize("bad", ["a\0b", "a\ud800b", "\udfff"])
async def test_what_cannot_be_stored_is_refused_with_its_place(
    memory: MemoryService, name: str, bad: str
) -> None:
    await refused(memory.remember_many([{"text": "fine", name: bad}]), name)


@pytest.mark.parametrize("name", ["paths", "tags", "symbols"])
@pytest.mark.parametrize("bad", ["a\0b", "a\ud800b"])
async def test_what_cannot_be_stored_in_a_list_is_refused_by_its_number(
    memory: MemoryService, name: str, bad: str
) -> None:
    await refused(memory.remember_many([{"text": "fine", name: ["ok", bad]}]), f"{name}[1]")


@pytest.mark.parametrize("climb", CLIMBS)
async def test_a_path_that_climbs_is_refused_where_it_is_stored_and_harmless_where_it_is_asked(
    memory: MemoryService, home: Path, climb: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await memory.remember("fine", paths=[climb])
    assert caught.value.field == "paths[0]"
    for call in (memory.get(climb), memory.recall("x", workspace=climb), memory.timeline(climb)):
        with pytest.raises(InvalidInput):
            await call
    stored = await memory.remember("fine", title=climb.replace("\0", ""), tags=[climb.replace("\0", "")])
    assert (await memory.recall("", filter={"path": climb})).abstained
    if "\0" not in climb:
        assert (await memory.recall("", filter={"tag": climb})).hits[0].memory.id == stored.id
        assert (await memory.timeline(path=climb)).memories == []
    made = {path.name for path in await asyncio.to_thread(lambda: list(home.iterdir()))}
    assert made <= {"retain.db", "retain.db-wal", "retain.db-shm", "write.lock", "open.lock"}


@pytest.mark.parametrize(
    "folder", ["../..", "relative", "/no/such/folder", "/a\0b", "/\ud800", "", "/" + "x" * 5_000, "~"]
)
async def test_any_folder_is_a_workspace(home: Path, folder: str) -> None:
    async with retain.open(home, folder=folder) as memory:
        stored = await memory.remember("something")
        assert [hit.memory.id for hit in (await memory.recall("something")).hits] == [stored.id]
        assert (await memory.status())["workspace"]["id"] == stored.workspace


async def test_a_filter_of_the_largest_kind_is_answered(memory: MemoryService) -> None:
    await memory.remember("something")
    for value in (
        {"and": [{"not": {"tag": f"t{i}"}} for i in range(250)]},
        {"not": {"path": [f"a{i}/*" for i in range(500)]}},
        {"not": {"tag": [f"t{i}" for i in range(1_000)]}},
        {"not": {"or": [{"path": f"f{i}"} for i in range(500)]}},
        {"not": {"branch": [f"b{i}*" for i in range(500)]}},
        {"id": [NOBODY] * 999, "not": {}},
    ):
        for text in ("something", ""):
            assert len((await memory.recall(text, filter=value)).hits) == ("id" not in value)
        await memory.explain("something", filter=value)


async def test_unknown_ids_are_not_found_and_not_invented(memory: MemoryService) -> None:
    for call in (
        memory.get(NOBODY),
        memory.revise(NOBODY, "x"),
        memory.forget(NOBODY),
        memory.timeline(NOBODY),
    ):
        with pytest.raises(NotFound):
            await call
    assert await memory.get_many([NOBODY] * 50) == ([], [NOBODY] * 50)
    assert await memory.links(NOBODY) == []


@pytest.mark.parametrize(
    "moment",
    ["1970-01-01", "1970-01-01T00:00:00.000001Z", "9998-12-31T23:59:59.999999Z", 0, 253_000_000_000.5],
)
async def test_times_far_away_are_stored_found_and_shown(memory: MemoryService, moment: str | float) -> None:
    await memory.remember("before and after")
    stored = await memory.remember("far away in time", occurred_at=moment)
    assert (await memory.get(stored.id)).occurred_at == stored.occurred_at
    at = stored.occurred_at.isoformat()
    found = await memory.recall("far away in time", filter={"since": at})
    assert stored.id in [hit.memory.id for hit in found.hits]
    assert all(0 <= hit.score <= 1 for hit in found.hits)
    assert stored.id in [one.id for one in (await memory.timeline(stored.id)).memories]
    assert str(stored.occurred_at.date()) in (await memory.context("far away in time"))[0].text
    assert (await memory.verify())["ok"]


@pytest.mark.parametrize(
    "moment", ["1969-12-31T23:59:59Z", "9999-01-01", "0001-01-01", -1, 1e12, float("inf")]
)
async def test_times_outside_of_the_calendar_are_refused(memory: MemoryService, moment: str | float) -> None:
    with pytest.raises(InvalidInput) as caught:
        await memory.remember("x", occurred_at=moment)
    assert caught.value.field == "occurred_at"


@pytest.mark.parametrize("clock_us", [0, 1, 2**62, 2**63 - 1])
async def test_events_of_a_clock_far_off_become_memories_too(
    memory: MemoryService, home: Path, folder: Path, clock_us: int
) -> None:
    payload = {
        "hook_event_name": "UserPromptSubmit",
        "session_id": "s",
        "prompt": "please fix the cart total",
    }
    directory = str(home / "spool")
    spool.append(directory, spool.Record(json.dumps(payload).encode(), clock_us, cwd=str(folder)))
    spool.append(
        directory,
        spool.Record(json.dumps(payload | {"prompt": "and the login"}).encode(), 5, cwd=str(folder)),
    )
    report = await memory.drain.run()
    assert (report.events, report.memories, report.dead) == (2, 2, 0)
    assert "cart total" in (await memory.recall("cart total")).hits[0].memory.text
    assert len((await memory.timeline()).memories) == 2
    assert (await memory.status())["spool_waiting_bytes"] == 0
    assert (await memory.verify())["ok"]


@pytest.mark.parametrize("now", [datetime(1971, 1, 1, tzinfo=UTC), datetime(2199, 1, 1, tzinfo=UTC)])
async def test_a_clock_that_stands_wrong_loses_nothing(
    home: Path, folder: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with retain.open(home, folder=folder) as memory:
        before = await memory.remember("the cart total, told at the right time")
        with monkeypatch.context() as wrong:
            wrong.setattr(time, "time_ns", lambda: int(now.timestamp() * 1e9))
            during = await memory.remember("the cart total, told at the wrong time")
            found = await memory.recall("cart total")
            assert {hit.memory.id for hit in found.hits} == {before.id, during.id}
            assert all(0 < hit.score <= 1 for hit in found.hits)
        after = await memory.remember("the cart total, told again")
        assert len({before.id, during.id, after.id}) == 3
        assert len((await memory.recall("cart total")).hits) == 3
        assert (await memory.verify())["ok"]


CALLS: list[Callable[[MemoryService], Any]] = [
    lambda m: m.recall("cart", filter={"kind": "fix"}),
    lambda m: m.context(),
    lambda m: m.context("cart"),
    lambda m: m.timeline(),
    lambda m: m.timeline("2026-01-01"),
    lambda m: m.stats(),
    lambda m: m.status(),
    lambda m: m.verify(),
    lambda m: m.explain("cart"),
    lambda m: m.drain.run(),
]


@pytest.mark.parametrize("call", CALLS)
async def test_an_empty_store_answers_everything(
    memory: MemoryService, call: Callable[[MemoryService], Any]
) -> None:
    await call(memory)
