"""What the session that asks did itself is not told to it again, and nothing else is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import retain

pytestmark = pytest.mark.anyio

QUESTION = "how is the total of a cart rounded"
FACT = "The total of a cart is rounded by Decimal.quantize, once, at the end"


async def told(
    home: Path, folder: Path, session: str | None, **asked: Any
) -> tuple[list[str], dict[str, int]]:
    """The kinds that a recall gives, and what it withholds."""
    async with retain.open(home, folder=folder, session=session, recall_confidence=0) as memory:
        recall = await memory.recall(QUESTION, **asked)
        return sorted(hit.memory.kind for hit in recall.hits), dict(recall.hidden)


@pytest.fixture
async def session(home: Path, folder: Path, events: Any) -> None:
    """A session that asked, changed a file, and remembered a fact on purpose."""
    async with retain.open(home, folder=folder, session="now", recall_confidence=0) as memory:
        await memory.remember(FACT, kind="decision")
        events.put(session="now", prompt="please look how the total of a cart is rounded")
        events.edit("cart.py", "total = round(cart)", "total = cart.rounded", session="now")
        await memory.drain.run()


@pytest.mark.usefixtures("session")
async def test_a_session_is_told_what_it_remembered_and_not_what_it_did(home: Path, folder: Path) -> None:
    assert await told(home, folder, "now") == (["decision"], {"this_session": 2})


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("other", ["another", None])
async def test_another_session_is_told_all(home: Path, folder: Path, other: str | None) -> None:
    assert await told(home, folder, other) == (["decision", "file_change", "prompt"], {})


@pytest.mark.usefixtures("session")
async def test_a_filter_on_the_session_asks_for_what_it_did(home: Path, folder: Path) -> None:
    kinds, hidden = await told(home, folder, "now", filter={"session": "now"})
    assert "file_change" in kinds
    assert "this_session" not in hidden


@pytest.mark.usefixtures("session")
@pytest.mark.parametrize(
    ("event", "fields"), [("PreCompact", {"trigger": "auto"}), ("SessionEnd", {"reason": "clear"})]
)
async def test_what_left_the_conversation_is_told_again(
    home: Path, folder: Path, events: Any, event: str, fields: dict[str, str]
) -> None:
    events.put(event, session="now", **fields)
    assert await told(home, folder, "now") == (["decision", "file_change", "prompt"], {})


@pytest.mark.usefixtures("session")
async def test_a_session_that_was_resumed_goes_on(home: Path, folder: Path, events: Any) -> None:
    events.put("SessionEnd", session="now", reason="other")
    events.put("SessionStart", session="now", source="resume")
    events.put(session="now", prompt="and now the tests of the module")
    kinds, hidden = await told(home, folder, "now")
    assert kinds == ["decision"]
    assert hidden["this_session"] >= 2
