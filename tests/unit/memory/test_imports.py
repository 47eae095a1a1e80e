"""Imports of records: every one is stored, merged or skipped with a reason, and a whole import can be taken back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import retain
from retain.capture.moving.records import Found, Source, item
from retain.errors import NotFound
from retain.memory.service import MemoryService

pytestmark = pytest.mark.anyio

SECRET = "ghp_" + "Zt9Kq2Lm8Xw4Rv6Bn3Jd5Hf7Ps1Gc0YaUe"  # made up, in the shape of a GitHub token


def source(*found: Found, count: int | None = None) -> Source:
    def records() -> Iterator[Found]:
        yield from found

    return Source(place="/peer.db", count=len(found) if count is None else count, records=records())


def found(record: str, text: str, **fields: Any) -> Found:
    return Found(place=f"peer {record}", item=item(record, text, **fields))


async def run(memory: MemoryService, given: Source, workspace: str | None = None) -> dict[str, Any]:
    return await memory.imports.records("peer", given, workspace=workspace, tell=lambda _: None)


async def texts(memory: MemoryService) -> list[str]:
    loaded = await memory._store.read(lambda r: list(r.load(range(1, r.total() + 1)).values()))
    return [one.text for one in loaded if one.status == "active"]


async def test_the_account_adds_up(memory: MemoryService) -> None:
    await memory.remember("known already")
    report = await run(
        memory,
        source(
            found("1", "new"),
            found("2", "known already"),
            found("3", f"token {SECRET}"),
            Found(place="peer 4", skipped="was deleted there"),
            found("5", "x", at="2026-10-02", tags=["t"]),
            found("6", " \n"),
        ),
    )
    assert {name: report[name] for name in ("in", "stored", "merged", "skipped", "lost", "redacted")} == {
        "in": 6, "stored": 3, "merged": 1, "skipped": 2, "lost": 0, "redacted": 1,
    }  # fmt: skip
    assert [one["record"] for one in report["records"]] == ["peer 4", "peer 6"]
    assert report["reasons"] == {"text: must not be empty": 1, "was deleted there": 1}
    assert SECRET not in "".join(await texts(memory))


async def test_a_record_that_a_reader_swallows_is_told_as_lost(memory: MemoryService) -> None:
    assert (await run(memory, source(found("1", "new"), count=3)))["lost"] == 2


async def test_an_import_again_merges_everything(memory: MemoryService) -> None:
    records = [found(str(number), f"fact {number}") for number in range(450)]
    first = await run(memory, source(*records))
    again = await run(memory, source(*records))
    assert (first["stored"], again["stored"], again["merged"]) == (450, 0, 450)
    assert (await memory.imports.undo(again["import"])).forgotten == 0
    assert len(await texts(memory)) == 450


async def test_what_its_source_says_anew_replaces_the_old_and_undo_brings_that_back(
    memory: MemoryService,
) -> None:
    await run(memory, source(found("1", "the port is 5432")))
    report = await run(memory, source(found("1", "the port is 5433")))
    assert (report["stored"], report["revised"]) == (1, 1)
    assert await texts(memory) == ["the port is 5433"]
    await memory.imports.undo(report["import"])
    assert await texts(memory) == ["the port is 5432"]
    assert [hit.memory.text for hit in (await memory.recall("port")).hits] == ["the port is 5432"]


async def test_two_records_with_one_id_are_both_kept(memory: MemoryService) -> None:
    report = await run(memory, source(found("1", "one"), found("1", "two")))
    assert (report["stored"], report["revised"]) == (2, 0)
    assert sorted(await texts(memory)) == ["one", "two"]


async def test_a_text_longer_than_a_memory_is_kept_in_parts(home: Path, folder: Path) -> None:
    async with retain.open(home, folder=folder, text_chars_max=1_000) as memory:
        text = "\n".join(f"line {number}" for number in range(400))
        report = await run(memory, source(found("1", text, title="Long")))
        assert (report["stored"], report["lost"]) == (1, 0)
        assert "".join(await texts(memory)) == text
        assert (await memory.imports.undo(report["import"])).forgotten == len(text) // 900 + 1


async def test_records_go_to_the_workspace_of_their_folder_or_to_the_one_that_is_named(
    memory: MemoryService, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    await run(memory, source(found("1", "elsewhere", folder=str(other))))
    assert (await memory.recall("elsewhere")).hits == ()
    place, _ = await memory._workspaces.at(str(other))
    assert len((await memory.recall("elsewhere", workspace=place.id)).hits) == 1
    await run(memory, source(found("2", "somewhere")), workspace=place.id)
    assert len((await memory.recall("somewhere", workspace=place.id)).hits) == 1
    with pytest.raises(NotFound):
        await run(memory, source(found("3", "nowhere")), workspace="01a20852-fd2f-7000-a043-76db6ce6ea23")


async def test_every_run_is_kept_with_its_report(memory: MemoryService) -> None:
    report = await run(memory, source(found("1", "new")))
    await memory.imports.undo(report["import"])
    [kept] = await memory.imports.runs()
    assert (kept.id, kept.source, kept.place, kept.status) == (report["import"], "peer", "/peer.db", "undone")
    assert kept.report["stored"] == 1
