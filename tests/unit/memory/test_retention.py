"""Retention: what is older than its kind is kept is forgotten like anything else, and nothing more."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import retain
from retain.interfaces.cli import main
from retain.memory import retention
from retain.memory.service import MemoryService

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC)
DAYS = {"prompt": 30, "command": 7}


async def fill(memory: MemoryService) -> None:
    for kind in ("prompt", "command", "decision"):
        for age in (1, 20, 100):
            await memory.remember(
                f"a {kind} of {age} days ago", kind=kind, occurred_at=NOW - timedelta(days=age)
            )


async def left(memory: MemoryService) -> set[str]:
    return {one.text for one in (await memory.timeline(limit=50)).memories}


async def test_each_kind_is_kept_as_long_as_its_setting_says(home: Path, folder: Path) -> None:
    async with retain.open(home, folder=folder, retention=DAYS) as memory:
        await fill(memory)
        assert await memory.retention.run(is_trial=True) == {"prompt": 1, "command": 2}
        assert len(await left(memory)) == 9
        assert await memory.retention.run() == {"prompt": 1, "command": 2}
        assert await left(memory) == {
            "a prompt of 1 days ago", "a prompt of 20 days ago", "a command of 1 days ago",
            "a decision of 1 days ago", "a decision of 20 days ago", "a decision of 100 days ago",
        }  # fmt: skip
        assert await memory.retention.run() == {}
        stats = await memory.stats()
        assert stats["expired"] == {"prompt": 1, "command": 2}
        gone = await memory.recall("command", filter={"status": "forgotten"})
        assert {hit.memory.reason for hit in gone.hits} <= {"retention: command is kept for 7 days"}
        entries = (await memory.audit.entries(limit=3))["entries"]
        assert {(entry["action"], entry["door"]) for entry in entries} == {("forgotten", "retention")}
        assert (await memory.verify())["ok"]


async def test_by_default_everything_is_kept_and_no_step_writes(memory: MemoryService) -> None:
    await fill(memory)
    before = memory._store.state()
    assert await memory.retention.step()
    assert await memory.retention.run() == {}
    assert memory._store.state() == before


async def test_what_was_met_again_is_as_old_as_the_last_time(home: Path, folder: Path) -> None:
    async with retain.open(home, folder=folder, retention={"command": 7}) as memory:
        for age in (100, 0):
            again = await memory.remember("make build", kind="command", occurred_at=NOW - timedelta(days=age))
        assert again.seen == 2
        assert await memory.retention.run() == {}


async def test_steps_go_through_the_store_by_stretches_and_begin_again(
    home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "STRETCH_KEYS", 4)
    async with retain.open(home, folder=folder, retention={"decision": 10}) as memory:
        await fill(memory)
        assert [await memory.retention.step() for _ in range(3)] == [False, False, True]
        assert len(await left(memory)) == 7
        assert await memory.retention.run() == {}


async def test_a_live_process_follows_the_setting(memory: MemoryService, home: Path) -> None:
    await fill(memory)
    (home / "config.toml").write_text("[retention]\nprompt = 30\n")
    await memory.controls.refresh()
    assert await memory.retention.step()
    assert len(await left(memory)) == 8


def test_the_command_counts_and_forgets(home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch,
                                        capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    assert main(["remember", "an old prompt", "--kind", "prompt", "--occurred-at", "2020-01-01"]) == 0
    assert main(["config", "set", "retention.prompt", "90"]) == 0
    capsys.readouterr()
    assert main(["forget", "--expired", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"expired": {"prompt": 1}, "dry_run": True}
    assert main(["forget", "--expired"]) == 0
    assert capsys.readouterr().out == "Forgot 1 memory: 1 prompt\n"
    assert main(["forget", "--expired"]) == 0
    assert capsys.readouterr().out == "Nothing has expired.\n"


@pytest.mark.parametrize("arguments", [[], ["--dry-run"], ["x", "--expired"], ["x", "--dry-run"]])
def test_forget_takes_one_id_or_what_has_expired(arguments: list[str]) -> None:
    assert main(["forget", *arguments]) == 2
