"""What says the same is shown once; a number, a file or a kind makes it another fact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import retain
from retain.model import Memory
from retain.retrieval.duplicates import distinct

TEXT = (
    "The settlement job runs at night because the bank closes its interface for payments in the evening hours"
)


def memory(text: str = TEXT, **fields: Any) -> Memory:
    bare: dict[str, Any] = dict.fromkeys(Memory.__dataclass_fields__)
    now = datetime(2026, 11, 23, tzinfo=UTC)
    bare |= {"title": "", "kind": "note", "workspace": "w", "paths": (), "occurred_at": now, "text": text}
    return Memory(**{**bare, **fields})


def kept(*memories: Memory, most: int = 10) -> tuple[Sequence[int], int]:
    return distinct(memories, most)


def test_a_text_with_other_case_and_marks_is_told_once() -> None:
    assert kept(memory(), memory(TEXT.upper() + "!"), memory("quite another thing")) == ([0, 2], 1)


@pytest.mark.parametrize(
    "other",
    [
        memory(TEXT + " 2"),
        memory(paths=("a.py",)),
        memory(kind="fix"),
        memory(branch="next"),
        memory(workspace="v"),
        memory(TEXT + " " + TEXT.replace("night", "noon") * 3),
        memory("The settlement job fails"),
    ],
)
def test_what_differs_in_substance_is_another_fact(other: Memory) -> None:
    assert kept(memory(), other) == ([0, 1], 0)


def test_what_mended_two_errors_is_told_of_both() -> None:
    one, other = (memory(title=f"Fixed: {name}", kind="fix") for name in ("KeyError", "TypeError"))
    assert kept(one, other) == ([0, 1], 0)


def test_no_more_than_wanted_are_looked_at() -> None:
    assert kept(memory("one"), memory("two"), memory("one!"), most=2) == ([0, 1], 0)


@pytest.mark.anyio
async def test_a_recall_leaves_out_a_repeat_and_counts_it(tmp_path: Path) -> None:
    async with retain.open(tmp_path, folder=tmp_path) as service:
        for ending in ("", " always"):
            await service.remember(TEXT + ending)
        other = await service.remember("The settlement report is sent to the bank by mail")
        found = await service.recall("settlement bank", limit=3)
        assert len(found.hits) == 2
        assert other.id in {hit.memory.id for hit in found.hits}
        assert found.hidden["duplicates"] == 1


def test_the_better_one_stays() -> None:
    assert kept(replace(memory(), id="best"), memory())[0] == [0]
