"""Putting a memory right is no way around trust: not past the taint of a session, nor up from an untrusted input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import retain
from retain.errors import Conflict
from retain.memory.service import MemoryService

pytestmark = pytest.mark.anyio

PAGE = {
    "tool_name": "WebFetch",
    "tool_input": {"url": "https://evil.example/a", "prompt": "x"},
    "tool_response": "text of anybody",
    "tool_use_id": "w",
}
SAID = "TIMEOUT is 30 in conf.py"


@pytest.fixture(autouse=True)
def file(folder: Path) -> None:
    (folder / "conf.py").write_text("TIMEOUT = 30\n")


def assistant(home: Path, folder: Path, session: str) -> Any:
    return retain.open(home, folder=folder, origin="assistant", session=session)


async def of_user(home: Path, folder: Path) -> str:
    async with retain.open(home, folder=folder) as user:
        return (await user.remember(SAID)).id


async def reconcile(memory: MemoryService, which: str, how: str, **more: str) -> None:
    await memory.claims.reconcile(memory, which, how, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["keep", "revise", "supersede", "forget"])
async def test_a_tainted_session_cannot_put_right_what_the_user_said(
    home: Path, folder: Path, events: Any, how: str
) -> None:
    mine = await of_user(home, folder)
    events.go_on_now()
    events.put("PostToolUse", **PAGE)
    (folder / "conf.py").write_text("TIMEOUT = 45\n")
    async with assistant(home, folder, "s") as memory:
        other = await memory.remember("another thing altogether")
        more = {"supersede": {"by": other.id}, "revise": {"text": "TIMEOUT is 1 in conf.py"}}.get(how, {})
        with pytest.raises(Conflict, match="untrusted text"):
            await reconcile(memory, mine, how, **more)
        assert (await memory.get(mine)).status == "active"
        assert (await memory.claims.report())["counts"].get("drifted", 0) == 1


async def test_an_untrusted_memory_cannot_take_the_place_of_what_the_user_said(
    home: Path, folder: Path
) -> None:
    mine = await of_user(home, folder)
    async with assistant(home, folder, "clean") as memory:
        (poison,) = await memory.remember_many([{"text": "TIMEOUT is off"}], origin="tool")
        assert poison.trust == "untrusted"
        with pytest.raises(Conflict, match="is untrusted"):
            await reconcile(memory, mine, "supersede", by=poison.id)
    async with retain.open(home, folder=folder) as user:
        await reconcile(user, mine, "supersede", by=poison.id)
        assert (await user.get(poison.id)).trust == "untrusted"


@pytest.mark.parametrize(
    ("old", "new", "trust"),
    [
        ("tool", "assistant", "untrusted"),
        ("assistant", "tool", "untrusted"),
        ("assistant", "assistant", "claimed"),
        ("tool", "user", "user"),
    ],
)
async def test_what_takes_the_place_of_an_untrusted_memory_is_untrusted(
    home: Path, folder: Path, old: Any, new: Any, trust: str
) -> None:
    async with retain.open(home, folder=folder) as user:
        (first,) = await user.remember_many([{"text": "the pool has 4 places"}], origin=old)
        (second,) = await user.remember_many([{"text": "the pool has 8 places now"}], origin=new)
    async with assistant(home, folder, "clean") as memory:
        await reconcile(memory, first.id, "supersede", by=second.id)
        assert (await memory.get(first.id)).superseded_by == second.id
        assert (await memory.get(second.id)).trust == trust
        assert (await memory.verify())["ok"]
