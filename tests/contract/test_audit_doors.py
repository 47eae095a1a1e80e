"""Whatever door a change comes through, the audit says who made it, when, and through which door."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import pytest

import retain
from retain.capture import redact, spool
from retain.interfaces.cli import main
from retain.interfaces.mcp_tools import call, tools
from retain.memory.service import MemoryService
from retain.storage.audit import problems

pytestmark = pytest.mark.anyio

SECRET = "sk-" + "ant-" + "oat01-" + "Qm9vTHVua3lXYXRlclBpcGU5k"
MARK = redact.find(SECRET)[0]
ALLOWED = {"redact_allow": [f"{MARK.rule}:{MARK.fingerprint}:of the documentation"]}


@dataclass
class Place:
    """Where a test stands: the data directory, a project, and a memory of the user that is there."""

    home: Path
    folder: Path
    id: str = ""

    async def cli(self, *arguments: str) -> None:
        assert await asyncio.to_thread(main, [*arguments, "--home", str(self.home)]) == 0

    async def tool(self, name: str, **given: Any) -> None:
        async with retain.open(
            self.home, folder=self.folder, origin="assistant", door="mcp", session="s1"
        ) as memory:

            async def service() -> MemoryService:
                return memory

            await call(tools(memory.settings), name, given, service)

    def hook(self, **fields: Any) -> None:
        payload = {
            "hook_event_name": "UserPromptSubmit",
            "session_id": "s1",
            "cwd": str(self.folder),
            **fields,
        }
        record = spool.Record(json.dumps(payload).encode(), time.time_ns() // 1000, cwd=str(self.folder))
        spool.append(str(self.home / "spool"), record)

    async def live(self, act: Callable[[MemoryService], Awaitable[Any]], **settings: Any) -> None:
        """What a server of an assistant does by itself."""
        async with retain.open(
            self.home, folder=self.folder, origin="assistant", door="mcp", session="s1", **settings
        ) as memory:
            await act(memory)

    def entries(self) -> list[tuple[str, str, str, str, int]]:
        db = apsw.Connection(str(self.home / "retain.db"), flags=apsw.SQLITE_OPEN_READONLY)
        rows = db.execute("SELECT action, door, actor, session, at_us FROM audit ORDER BY number").fetchall()
        assert list(problems(db)) == []
        db.close()
        return rows


@pytest.fixture
async def place(home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(folder)
    (folder / "conf.py").write_text("TIMEOUT = 30\n")
    async with retain.open(home, folder=folder) as memory:
        kept = await memory.remember("TIMEOUT is 30 in conf.py", kind="decision")
    return Place(home, folder, kept.id)


async def forgotten(p: Place) -> None:
    async with retain.open(p.home, folder=p.folder) as memory:
        await memory.forget(p.id)


async def hook(p: Place) -> None:
    p.hook(prompt="please mend the total of the cart")
    await p.live(lambda memory: memory.drain.run())


async def erase(p: Place) -> None:
    await forgotten(p)
    await p.cli("erase", p.id)


async def unforget(p: Place) -> None:
    await forgotten(p)
    await p.cli("unforget", p.id)


async def supersede(p: Place) -> None:
    async with retain.open(p.home, folder=p.folder) as memory:
        other = await memory.remember("TIMEOUT has no limit")
    await p.cli("reconcile", p.id, "supersede", "--by", other.id)


async def accept(p: Place) -> None:
    async with retain.open(p.home, folder=p.folder) as memory:
        (held,) = await memory.remember_many([{"text": "always run make first"}], origin="tool")
    await p.cli("review", "accept", held.id)


async def revoke(p: Place) -> None:
    async with retain.open(p.home, folder=p.folder) as memory:
        await memory.remember_many([{"text": "of a page"}], origin="tool")
    await p.cli("revoke", "--origin", "tool")


async def imported(p: Place) -> None:
    await p.cli("export", str(p.folder / "out.jsonl"))
    await forgotten(p)
    async with retain.open(p.home, folder=p.folder) as memory:
        await memory.keeping.erase([p.id])
    await p.cli("import", "retain", str(p.folder / "out.jsonl"))


async def restore_backup(p: Place) -> None:
    await p.cli("backup")
    await p.cli("restore", "--backup", "latest")


async def restore_moment(p: Place) -> None:
    async with retain.open(p.home, folder=p.folder) as memory:
        now = (await memory.get(p.id)).recorded_at.isoformat()
    await forgotten(p)
    await p.cli("restore", "--at", now)


async def with_secret(p: Place) -> None:
    async with retain.open(p.home, folder=p.folder, **ALLOWED) as memory:
        await memory.remember(f"the key is {SECRET}")
    redact.configure(pii=False, allowed=())


async def scrub(p: Place) -> None:
    await with_secret(p)
    await p.cli("scan", "--scrub")


async def scrub_by_itself(p: Place) -> None:
    await with_secret(p)
    await p.live(lambda memory: memory.keeping.scrubbing.look())


async def mend(p: Place) -> None:
    await p.cli("backup")
    db = apsw.Connection(str(p.home / "retain.db"))
    db.execute("UPDATE memory SET title = 'another'")
    db.close()
    await p.cli("verify", "--mend")


async def erase_by_itself(p: Place) -> None:
    await forgotten(p)
    old = time.time_ns() // 1000 - 3 * 86_400_000_000
    db = apsw.Connection(str(p.home / "retain.db"))
    db.execute("DROP TRIGGER audit_kept")
    db.execute("UPDATE audit SET at_us = ? WHERE action = 'forgotten'", (old,))
    db.close()
    await p.live(lambda memory: memory.keeping.look(), undo_days=1, backup_hours=0)


DOORS: dict[str, tuple[Callable[[Place], Awaitable[None]], tuple[str, str, str, str]]] = {
    "hook": (hook, ("remembered", "hook", "hook", "")),
    "tool remember": (
        lambda p: p.tool("remember", text="the cart uses decimals"),
        ("remembered", "mcp", "assistant", "s1"),
    ),
    "tool revise": (
        lambda p: p.tool("revise", id=p.id, text="TIMEOUT is 31 in conf.py"),
        ("superseded", "mcp", "assistant", "s1"),
    ),
    "tool forget": (lambda p: p.tool("forget", id=p.id), ("forgotten", "mcp", "assistant", "s1")),
    "remember": (lambda p: p.cli("remember", "a new fact"), ("remembered", "cli", "user", "")),
    "revise": (lambda p: p.cli("revise", p.id, "TIMEOUT is 31"), ("superseded", "cli", "user", "")),
    "forget": (lambda p: p.cli("forget", p.id), ("forgotten", "cli", "user", "")),
    "unforget": (unforget, ("restored", "cli", "user", "")),
    "reconcile keep": (lambda p: p.cli("reconcile", p.id, "keep"), ("kept", "cli", "user", "")),
    "reconcile supersede": (supersede, ("superseded", "cli", "user", "")),
    "review accept": (accept, ("accepted", "cli", "user", "")),
    "revoke": (revoke, ("revoked", "cli", "user", "")),
    "import": (imported, ("remembered", "import", "import", "")),
    "publish": (lambda p: p.cli("publish", str(p.folder / "NOTES.md")), ("published", "cli", "user", "")),
    "backup": (lambda p: p.cli("backup"), ("backed up", "cli", "user", "")),
    "backup by itself": (
        lambda p: p.live(lambda m: m.keeping.look()),
        ("backed up", "retention", "user", ""),
    ),
    "restore --at": (restore_moment, ("restored to a moment", "cli", "user", "")),
    "restore --backup": (restore_backup, ("restored from a backup", "cli", "user", "")),
    "verify --mend": (mend, ("mended", "cli", "user", "")),
    "erase": (erase, ("erased", "cli", "user", "")),
    "scan --scrub": (scrub, ("rewritten", "cli", "user", "")),
    "scrub by itself": (scrub_by_itself, ("rewritten", "upgrade", "user", "")),
}
"""Each door, and the row that it leaves."""


@pytest.mark.parametrize("door", DOORS)
async def test_a_change_says_who_when_and_through_which_door(place: Place, door: str) -> None:
    act, expected = DOORS[door]
    before, began = len(place.entries()), time.time_ns() // 1000
    await act(place)
    new = place.entries()[before:]
    assert expected in [row[:4] for row in new], new
    assert all(began - 1_000_000 <= row[4] <= time.time_ns() // 1000 for row in new)


async def test_what_expires_by_itself_is_not_the_assistant_s_doing(place: Place) -> None:
    await erase_by_itself(place)
    db = apsw.Connection(str(place.home / "retain.db"), flags=apsw.SQLITE_OPEN_READONLY)
    assert db.execute("SELECT door, actor, session FROM audit WHERE action = 'erased'").fetchall() == [
        ("retention", "user", "")
    ]
    db.close()


async def test_a_command_inside_of_a_session_is_the_assistant_s(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAUDECODE", "1")
    await place.cli("backup")
    await place.cli("restore", "--backup", "latest")
    assert [row[:3] for row in place.entries()[-1:]] == [("restored from a backup", "cli", "assistant")]
