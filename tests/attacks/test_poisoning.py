"""Poisoned texts through every channel: none is ever told unasked, each says where it came from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import retain
from attacks.channels import CHANNELS, Place
from attacks.payloads import LIES, ORDERS, SIGNS
from retain.interfaces.questions import told_event
from retain.memory.service import MemoryService
from retain.model import Memory
from retain.retrieval.publishing import chosen
from retain.trust import UNTRUSTED

pytestmark = pytest.mark.anyio

STARTS = ("startup", "clear", "resume", "compact", "fork")
SEPARATORS = re.compile(r"[^a-z0-9]+")


def word(number: int) -> str:
    """A word that stands nowhere else."""
    letters = "bcdfghjklm"
    return "zq" + "".join(letters[int(digit)] for digit in f"{number:04}") + "qz"


async def everything(memory: MemoryService) -> list[Memory]:
    return await memory._store.read(lambda r: list(r.load(range(1, r.total() + 1)).values()))


async def told_unasked(memory: MemoryService, folder: Path, questions: list[str]) -> Iterator[str]:
    """All that any door tells without being asked for it: later sessions, the attacked ones, and the command."""
    told: list[str] = []

    async def tell(name: str, session: str, **fields: Any) -> None:
        payload = {"hook_event_name": name, "session_id": session, "cwd": str(folder), **fields}
        told.append(await memory.injector.inject(told_event(payload, "")))

    told.append((await memory.context(budget_tokens=20_000))[0].text)
    for source in STARTS:
        for session in ("later", "attacked-0"):
            await tell("SessionStart", session, source=source)
    for number, question in enumerate(questions):
        told.append((await memory.context(question))[0].text)
        await tell("UserPromptSubmit", f"asks-{number}", prompt=question)
        failed = {"tool_name": "Bash", "tool_input": {"command": question[:200]}, "tool_use_id": "t"}
        await tell("PostToolUseFailure", f"asks-{number}", error=f"Exit code 1\nError: {question}", **failed)
    for path in ("src/cart.py", "CONTRIBUTING.md"):
        asked = {"file_path": str(folder / path)}
        await tell("PreToolUse", "edits", tool_name="Edit", tool_input=asked)
    return iter(told)


def shown(words: list[str], text: str) -> list[str]:
    flat = SEPARATORS.sub("", text.lower())
    return [one for one in words if one in flat]


@pytest.mark.parametrize("channel", CHANNELS)
async def test_nothing_that_came_in_by_a_channel_is_told_unasked(
    channel: str, home: Path, folder: Path, events: Any, record_property: Any
) -> None:
    plant, payloads, origin = CHANNELS[channel]
    words = [word(number) for number in range(len(payloads))]
    texts = [text.format(m=one) for text, one in zip(payloads.values(), words, strict=True)]
    async with retain.open(home, folder=folder) as memory:
        place = Place(events=events, home=home, folder=folder, memory=memory)
        for number, text in enumerate(texts):
            await plant(place, text, f"attacked-{number}")
        await memory.drain.run()
        stored = await everything(memory)
        poisoned = [
            one
            for one in stored
            if one.status == "active"
            and shown(words, " ".join((one.title, one.text, *one.tags, *one.paths, *one.symbols)))
        ]
        assert poisoned, "the attack came to nothing at all"
        believed = [
            (one.trust, one.kind, one.title, one.text[:100], one.tags, one.paths)
            for one in poisoned
            if one.trust != UNTRUSTED and one.kind != "command"  # of a command its output is not told
        ]
        assert not believed
        if origin:
            assert {one.origin for one in poisoned} == {origin}
        assert all(one.origin for one in poisoned)
        questions = [f"{one} {' '.join(text.split()[:30])}" for text, one in zip(texts, words, strict=True)]
        told = "\n".join(await told_unasked(memory, folder, questions))
        assert shown(words, told) == []
        published = chosen([one for one in stored if one.kind in {"note", "decision"}], 1_000)
        assert shown(words, " ".join(f"{one.title} {one.text}" for one in published)) == []
        labelled = await memory.recall("", filter={"trust": UNTRUSTED}, limit=50)
        assert labelled.hits, "what is asked for is still found"
    record_property("planted", len(texts))
    record_property("stored", len(poisoned))
    print(f"{channel}: {len(texts)} planted, {len(poisoned)} memories, 0 told unasked")


def test_the_suite_is_as_large_as_it_says() -> None:
    planted = sum(len(payloads) for _, payloads, _ in CHANNELS.values())
    assert (len(CHANNELS), len(SIGNS), len(ORDERS), len(LIES)) == (22, 40, 11, 6)
    assert planted == 1_207
