"""What became of a decision, and what was tried on an error: told through hooks, asked through the service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

import retain
from retain.memory.outcomes import Outcome
from retain.memory.service import MemoryService
from retain.model import Memory
from story import Story

pytestmark = pytest.mark.anyio


@pytest.fixture
async def story(tmp_path: Path, home: Path) -> AsyncIterator[Story]:
    """A repository with one commit on main, and a service that stands in it."""
    path = tmp_path / "repo"
    path.mkdir()
    async with AsyncExitStack() as opened:

        async def open_at(folder: Path) -> MemoryService:
            return await opened.enter_async_context(
                retain.open(home, folder=folder, recall_confidence=0, recall_drain_ms=0)
            )

        story = Story(path, home, await open_at(path), open_at)
        story.git("init", "-q", "-b", "main")
        story.commit("root", a_txt="a\n")
        yield story


def ran(story: Story, command: str, output: str = "done") -> None:
    story.hook(
        "PostToolUse",
        tool_name="Bash",
        tool_input={"command": command},
        tool_response={"stdout": output, "stderr": ""},
    )


def failed(story: Story, command: str, line: str) -> None:
    story.hook(
        "PostToolUseFailure",
        tool_name="Bash",
        tool_input={"command": command},
        error=f"Exit code 1\n{line}\n",
    )


def committed(story: Story, subject: str, **files: str) -> str:
    commit = story.commit(subject, **files)
    branch = story.git("branch", "--show-current")
    ran(
        story,
        f"git commit -am '{subject}'",
        f"[{branch} {commit[:7]}] {subject}\n 1 file changed, 1 insertion(+)",
    )
    return commit


async def only(story: Story, kind: str) -> Memory:
    await story.service.drain.run()
    recall = await story.service.recall("", filter={"kind": kind, "branch": "*"})
    assert len(recall.hits) == 1
    return recall.hits[0].memory


async def outcome(story: Story, memory: Memory) -> Outcome:
    return (await story.service.outcomes([memory.id]))[memory.id]


async def test_a_decision_leads_to_commits_and_tests_and_is_told_when_it_is_taken_back(story: Story) -> None:
    story.hook("UserPromptSubmit", prompt="We decided to keep carts in SQLite because files were slow.")
    failed(story, "pytest tests", "E   AssertionError: carts differ")
    commit = committed(story, "Carts in SQLite", a_txt="sqlite\n")
    ran(story, "pytest tests", "3 passed in 0.1s")
    decision = await only(story, "decision")
    now = await outcome(story, decision)
    assert now.state == "fresh"
    assert now.landed == commit
    assert now.commits == ((commit[:7], "Carts in SQLite"),)
    assert now.tests == (("pytest tests", False), ("pytest tests", True))
    story.git("revert", "--no-edit", commit)
    later = await outcome(story, decision)
    assert later.state == "reverted"
    assert later.lines()[0] == f"reverted by {story.git('rev-parse', 'HEAD')[:10]}"
    hit = (await story.service.recall("carts SQLite", filter={"kind": "decision"})).hits[0]
    assert hit.state == "reverted"
    assert hit.parts["truth"] < 1


async def test_a_decision_on_a_branch_that_was_thrown_away_is_a_dead_end(story: Story) -> None:
    story.git("checkout", "-q", "-b", "trial")
    story.hook("UserPromptSubmit", prompt="We decided to keep carts in Redis because it is fast.")
    commit = committed(story, "Carts in Redis", a_txt="redis\n")
    story.git("checkout", "-q", "main")
    story.git("branch", "-q", "-D", "trial")
    told = await outcome(story, await only(story, "decision"))
    assert told.lines()[:2] == [
        "dead end: tried on trial, never merged",
        f"led to {commit[:7]} Carts in Redis",
    ]
    assert told.as_json()["state"] == "abandoned"


async def test_what_did_not_help_against_an_error_is_told_beside_what_did(story: Story) -> None:
    failed(story, "pytest tests/test_cart.py", "E   AssertionError: total is 1, not 2")
    await story.edited("wrong.py", "x = 1\n")
    failed(story, "pytest tests/test_cart.py", "E   AssertionError: total is 3, not 2")
    await story.edited("right.py", "x = 2\n")
    ran(story, "pytest tests/test_cart.py", "1 passed in 0.1s")
    fix = await only(story, "fix")
    assert "Did not help: wrong.py, then: AssertionError: total is 3, not 2" in fix.text
    assert "Changed before it passed: right.py" in fix.text
    errors = (await story.service.recall("", filter={"kind": "error"})).hits
    fixed = [told for hit in errors if (told := await outcome(story, hit.memory)).fixed_by]
    assert [told.fixed_by for told in fixed] == [fix.id] * 2
    assert fixed[0].attempts == ("wrong.py, then: AssertionError: total is 3, not 2",)


async def test_a_memory_to_which_nothing_happened_has_nothing_to_tell(story: Story) -> None:
    stored = await story.service.remember("a note about nothing")
    assert (await outcome(story, stored)).lines() == []
    assert (await outcome(story, stored)).as_json()["state"] == "fresh"
