"""Every door that tells memories: what another branch holds is withheld there, what was reverted is marked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retain.interfaces.cli import main
from retain.interfaces.mcp_tools import call, tools
from retain.interfaces.questions import told_event
from story import Story

pytestmark = pytest.mark.anyio

ELSEWHERE, REVERTED = "zebra", "okapi"

Told = Callable[[Story, pytest.CaptureFixture[str]], Awaitable[str]]


def at(seconds: float | None = None) -> str:
    """A moment as a command takes it; None is now."""
    return (datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)).isoformat()


async def cli(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints; it exits with 0."""
    code = await asyncio.to_thread(main, list(arguments))
    printed = capsys.readouterr().out
    assert code == 0, printed
    return printed


async def tool(s: Story, name: str, **given: object) -> str:
    async def service() -> object:
        return s.service

    return await call(tools(s.service.settings), name, given, service)  # type: ignore[arg-type]


async def hook(s: Story, name: str, **fields: object) -> str:
    payload = {"hook_event_name": name, "session_id": "s9", "cwd": str(s.path), **fields}
    return await s.service.injector.inject(told_event(payload, ""))


async def ids(s: Story) -> list[str]:
    """Of both memories, whatever holds."""
    found = await s.service.recall("", filter={"branch": ["feature", "main"]}, limit=50)
    return [hit.memory.id for hit in found.hits]


async def published(s: Story, capsys: pytest.CaptureFixture[str]) -> str:
    file = s.path.parent / "PUBLISHED.md"
    await cli(capsys, "publish", str(file))
    return file.read_text() if file.exists() else ""


DOORS: dict[str, Told] = {
    "tool recall": lambda s, _: tool(s, "recall", query=f"{ELSEWHERE} {REVERTED} settled"),
    "tool recall by filter": lambda s, _: tool(s, "recall", query="", filter={"kind": "decision"}),
    "tool timeline": lambda s, _: tool(s, "timeline"),
    "tool timeline around": lambda s, _: tool(s, "timeline", around=at(s.clock.now_s)),
    "tool timeline of a file": lambda s, _: tool(s, "timeline", path="a.txt"),
    "tool context": lambda s, _: tool(s, "context"),
    "tool context of a prompt": lambda s, _: tool(s, "context", prompt=f"{ELSEWHERE} {REVERTED} settled here"),
    "hook startup": lambda s, _: hook(s, "SessionStart", source="startup"),
    "hook clear": lambda s, _: hook(s, "SessionStart", source="clear"),
    "hook resume": lambda s, _: hook(s, "SessionStart", source="resume"),
    "hook prompt": lambda s, _: hook(s, "UserPromptSubmit", prompt=f"{ELSEWHERE} {REVERTED} what was settled here"),
    "hook edit": lambda s, _: hook(
        s, "PreToolUse", tool_name="Edit", tool_input={"file_path": str(s.path / "a.txt"), "old_string": "a"}
    ),
    "recall": lambda _, c: cli(c, "recall", f"{ELSEWHERE} {REVERTED} settled"),
    "recall --json": lambda _, c: cli(c, "recall", "settled", "--json"),
    "recall --as-of": lambda _, c: cli(c, "recall", f"{ELSEWHERE} {REVERTED} settled", "--as-of", at()),
    "context": lambda _, c: cli(c, "context"),
    "context --as-of": lambda _, c: cli(c, "context", "--as-of", at()),
    "explain": lambda _, c: cli(c, "explain", f"{ELSEWHERE} {REVERTED} settled", "--json"),
    "timeline": lambda _, c: cli(c, "timeline"),
    "timeline --json": lambda _, c: cli(c, "timeline", "--json"),
    "publish": published,
    "verify --claims": lambda _, c: cli(c, "verify", "--claims", "--all"),
}  # fmt: skip
"""Each as it is asked, with what it answers."""

SILENT = {"hook resume", "hook edit", "publish"}
"""Doors at which a reverted memory may be withheld as well."""

COUNTED = {
    "tool timeline",
    "tool timeline around",
    "timeline",
    "timeline --json",
    "tool recall",
    "tool context",
}


@pytest.fixture
async def divided(story: Story, monkeypatch: pytest.MonkeyPatch) -> Story:
    """A decision on a branch that is not merged, and one on main whose work was reverted."""
    monkeypatch.chdir(story.path)
    await story.told(REVERTED, paths=("a.txt",))
    done = story.commit("work", a_txt="okapi\n")
    story.git("checkout", "-q", "-b", "feature")
    await story.told(ELSEWHERE, paths=("a.txt",))
    story.commit("other work", a_txt="zebra\n")
    story.git("checkout", "-q", "main")
    story.git("revert", "--no-edit", done)
    assert await story.state(ELSEWHERE) == "hidden"
    assert await story.state(REVERTED) == "reverted"
    return story


def lines_with(told: str, word: str) -> list[str]:
    return [line for line in told.splitlines() if word in line and "settled" in line]


@pytest.mark.parametrize("door", DOORS)
async def test_no_door_tells_what_does_not_hold_here_as_a_fact(
    divided: Story, capsys: pytest.CaptureFixture[str], door: str
) -> None:
    told = await DOORS[door](divided, capsys)
    assert lines_with(told, ELSEWHERE) == [], told
    assert "reverted" in told if lines_with(told, REVERTED) else door in SILENT, told
    if door in COUNTED:
        assert "other_branch" in told or "other branch" in told, told


@pytest.mark.parametrize("way", ["get", "show", "show --json"])
async def test_who_asks_by_id_is_told_both_with_what_became_of_them(
    divided: Story, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    wanted = await ids(divided)
    assert len(wanted) == 2
    for one in wanted:
        if way == "get":
            told = await tool(divided, "get", ids=[one])
        else:
            told = await cli(capsys, "show", one, *way.split()[1:])
        assert (
            ("on feature" in told or "other_branch" in told) if ELSEWHERE in told else "reverted by" in told
        ), told


@pytest.mark.parametrize("form", ["jsonl", "markdown"])
async def test_an_export_holds_everything_with_its_branch(
    divided: Story, capsys: pytest.CaptureFixture[str], tmp_path: Path, form: str
) -> None:
    file = tmp_path / "out"
    await cli(capsys, "export", str(file), "--format", form)
    told = file.read_text()
    assert ELSEWHERE in told
    assert REVERTED in told
    assert '"branch":"feature"' in told
    assert '"branch":"main"' in told


async def test_a_timeline_is_filled_with_what_holds(
    divided: Story, capsys: pytest.CaptureFixture[str]
) -> None:
    divided.git("checkout", "-q", "feature")
    for number in range(6):
        await divided.told(f"{ELSEWHERE} {number}")
    divided.git("checkout", "-q", "main")
    answer = json.loads(await cli(capsys, "timeline", "--limit", "1", "--json"))
    assert [one["title"].split()[0] for one in answer["memories"]] == [REVERTED]
    assert answer["memories"][0]["state"] == "reverted"
    assert answer["hidden"] == {"other_branch": 7}
