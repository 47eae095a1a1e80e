"""Accelerators change how long an answer takes, never the answer."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

import retain
from retain.capture import spool
from retain.memory.service import MemoryService

pytestmark = pytest.mark.anyio

QUERIES = 200
OFF: dict[str, dict[str, int]] = {
    "cache": {"cache_entries_max": 0},
    "planner": {"planner": 0},
    "batching": {"drain_batch": 1, "group_commit_max": 1},
}
"""The accelerators, and the settings that switch each one off."""

SWITCHED_OFF = [names for count in (1, 2, 3) for names in combinations(OFF, count)]
WORDS = """cart checkout total cents decimal float login session token cookie invoice mail queue worker retry
timeout getUserById cart_total render_page HTTPServer""".split()
KINDS = ("note", "fix", "decision", "task", "error")


def memories(rng: random.Random) -> list[dict[str, Any]]:
    return [
        {
            "text": f"{' '.join(rng.choices(WORDS, k=rng.randint(3, 12)))} number {i}",
            "kind": rng.choice(KINDS),
            "tags": ["few"] if i % 700 == 0 else [f"t{i % 5}"],
            "paths": [f"src/part{i % 10}/file{i}.py"],
            "occurred_at": f"2026-{1 + i % 12:02}-{1 + i % 28:02}",
        }
        for i in range(2_100)
    ]


def events(folder: Path) -> list[spool.Record]:
    made = []
    for i in range(120):
        payload = {
            "hook_event_name": "UserPromptSubmit",
            "session_id": f"s{i % 3}",
            "prompt": f"please mend {WORDS[i % len(WORDS)]} in step {i}",
        }
        made.append(spool.Record(json.dumps(payload).encode(), 1_000_000 + i, cwd=str(folder)))
    return made


def queries(rng: random.Random) -> list[tuple[str, dict[str, Any]]]:
    values: list[dict[str, Any] | None] = [
        None, {"kind": "fix"}, {"tag": "few"}, {"tag": "t1"}, {"path": "src/part3/"}, {"since": "2026-06-01"},
        {"not": {"kind": ["note", "fix"]}}, {"or": [{"tag": "few"}, {"kind": "prompt"}]}, {"session": "s1"},
    ]  # fmt: skip
    made = []
    for _ in range(QUERIES):
        value = rng.choice(values)
        text = " ".join(rng.choices(WORDS, k=rng.choice([0, 1, 2, 5]))) if value else rng.choice(WORDS)
        made.append((text, {"filter": value, "limit": rng.choice([1, 5, 20])}))
    return made


async def answers(memory: MemoryService, wanted: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    """What each query finds, by text (ids differ from store to store); asked twice, in one order."""
    found = []
    for text, options in wanted + wanted[:20]:
        answer = await memory.recall(text, **options)
        # Scores hold the recency of this moment; all else must be equal.
        found.append(
            (
                [hit.memory.text for hit in answer.hits],
                [hit.snippet for hit in answer.hits],
                [hit.parts["lexical"] for hit in answer.hits],
                dict(answer.hidden),
                answer.abstained,
                answer.confidence,
            )
        )
    return found


async def asked(home: Path, folder: Path, settings: dict[str, int]) -> list[Any]:
    """Answers over a store that was written to, drained and asked with these settings."""
    async with retain.open(home, folder=folder, **settings) as memory:
        for record in events(folder):
            spool.append(str(home / "spool"), record)
        report = await memory.drain.run()
        assert (report.events, report.memories) == (120, 120)
        await asyncio.gather(*(memory.remember(f"told at once {i}") for i in range(30)))
        await memory.explain("cart")  # gives the planner its statistics
        return await answers(memory, queries(random.Random(4)))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a store that every run starts from, and the folder that it is about."""
    place = tmp_path_factory.mktemp("base")

    async def fill() -> None:
        async with retain.open(place / "data", folder=place) as memory:
            await memory.remember_many(memories(random.Random(3)))

    asyncio.run(fill())
    return place


@pytest.fixture(scope="module")
def expected(base: Path) -> list[Any]:
    """The answers with the defaults."""
    shutil.copytree(base / "data", base / "defaults")
    return asyncio.run(asked(base / "defaults", base, {}))


@pytest.mark.parametrize("names", SWITCHED_OFF, ids="+".join)
async def test_the_answers_are_those_of_the_defaults(
    home: Path, base: Path, expected: list[Any], names: Sequence[str]
) -> None:
    shutil.copytree(base / "data", home)
    settings = {name: value for off in names for name, value in OFF[off].items()}
    assert await asked(home, base, settings) == expected
    assert sum(bool(answer[0]) for answer in expected) > QUERIES / 2


async def test_the_answers_are_those_of_one_reader_with_nothing_else_on(
    home: Path, base: Path, expected: list[Any]
) -> None:
    shutil.copytree(base / "data", home)
    settings = {name: value for off in OFF.values() for name, value in off.items()}
    assert await asked(home, base, {**settings, "readers": 1}) == expected


async def test_what_is_switched_off_is_off(home: Path, folder: Path) -> None:
    async with retain.open(home, folder=folder, cache_entries_max=0, planner=0) as memory:
        await memory.remember_many(
            [{"text": f"cart {i}", "tags": ["few"] if i == 7 else []} for i in range(2_100)]
        )
        for _ in range(2):
            told = await memory.explain("cart", filter={"tag": "few"})
            assert told["plan"]["name"] == "lexical_first"
            assert (await memory.recall("cart", filter={"tag": "few"})).plan["name"] == "lexical_first"
