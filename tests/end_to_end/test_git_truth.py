"""What is recalled where: every case of docs/git.md, told to a real repository and asked through the service."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

import retain
from retain.memory.service import MemoryService
from story import Story

Case = Callable[[Story], Awaitable[None]]
CASES: dict[str, Case] = {}
DOCS = Path(__file__).parents[2] / "docs" / "git.md"


def case(name: str) -> Callable[[Case], Case]:
    """A case by its name in docs/git.md."""

    def keep(told: Case) -> Case:
        assert name not in CASES, name
        CASES[name] = told
        return told

    return keep


@pytest.fixture
async def story(tmp_path: Path, home: Path) -> AsyncIterator[Story]:
    """A repository with one commit on main and a file, and a service that stands in it."""
    path = tmp_path / "repo"
    path.mkdir()
    async with AsyncExitStack() as opened:

        async def open_at(folder: Path) -> MemoryService:
            return await opened.enter_async_context(
                retain.open(home, folder=folder, recall_confidence=0, recall_drain_ms=0)
            )

        story = Story(path, home, await open_at(path), open_at)
        story.git("init", "-q", "-b", "main")
        story.commit("root", a_txt="a\n" * 30, b_txt="b\n" * 30)
        yield story


# Branches and merges


@case("a decision on an unmerged branch is withheld on main")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    s.commit("work", a_txt="changed\n")
    assert await s.state("zebra") == "fresh"
    s.git("checkout", "-q", "main")
    assert await s.state("zebra") == "hidden"


@case("a decision made before the first commit of a branch does not count as merged")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    s.git("checkout", "-q", "main")
    assert await s.state("zebra") == "hidden"
    s.commit("other", b_txt="b2\n")
    assert await s.state("zebra") == "hidden"


@case("a merge commit brings the memories of a branch in")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    await s.edited("a.txt", "quagga\n")
    s.commit("work")
    s.git("checkout", "-q", "main")
    s.commit("other", b_txt="b2\n")
    assert await s.state("quagga") == "hidden"
    s.git("merge", "-q", "--no-ff", "-m", "Merge branch 'feature'", "feature")
    assert await s.state("zebra") == "fresh"
    assert await s.state("quagga") == "fresh"


@case("a fast-forward brings the memories of a branch in")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    s.commit("work", a_txt="changed\n")
    s.git("checkout", "-q", "main")
    assert await s.state("zebra") == "hidden"
    s.git("merge", "-q", "--ff-only", "feature")
    assert await s.state("zebra") == "fresh"


@case("a branch that was merged and deleted stays in")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    s.commit("work", a_txt="changed\n")
    s.git("checkout", "-q", "main")
    s.git("merge", "-q", "--ff-only", "feature")
    s.git("branch", "-q", "-d", "feature")
    assert await s.state("zebra") == "fresh"


@case("work after a merge stays out until the next merge")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    s.commit("work", a_txt="changed\n")
    s.git("checkout", "-q", "main")
    s.git("merge", "-q", "--no-ff", "-m", "Merge", "feature")
    s.git("checkout", "-q", "feature")
    await s.told("okapi")
    s.commit("more", a_txt="changed again\n")
    s.git("checkout", "-q", "main")
    assert await s.state("zebra") == "fresh"
    assert await s.state("okapi") == "hidden"


@case("a branch sees what was known on main when it was made")
async def _(s: Story) -> None:
    await s.told("zebra")
    s.git("checkout", "-q", "-b", "feature")
    assert await s.state("zebra") == "fresh"
    s.commit("work", a_txt="changed\n")
    assert await s.state("zebra") == "fresh"


@case("uncommitted work that moves to a new branch moves with it")
async def _(s: Story) -> None:
    await s.edited("a.txt", "quagga\n")
    s.git("checkout", "-q", "-b", "feature")
    assert await s.state("quagga") == "fresh"
    s.commit("work")
    assert await s.state("quagga") == "fresh"
    s.git("checkout", "-q", "main")
    assert await s.state("quagga") == "hidden"


@case("what main has gained since is withheld on an older branch until it takes it in")
async def _(s: Story) -> None:
    s.git("branch", "feature")
    await s.edited("a.txt", "quagga\n")
    s.commit("main work")
    s.git("checkout", "-q", "feature")
    s.commit("work", b_txt="b2\n")
    assert await s.state("quagga") == "hidden"
    s.git("merge", "-q", "--no-ff", "-m", "take main in", "main")
    assert await s.state("quagga") == "fresh"


@case("two branches do not see each other's work")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "one")
    await s.told("zebra")
    s.commit("one", a_txt="one\n")
    s.git("checkout", "-q", "main")
    s.git("checkout", "-q", "-b", "two")
    await s.told("okapi")
    s.commit("two", b_txt="two\n")
    assert await s.state("zebra") == "hidden"
    s.git("checkout", "-q", "one")
    assert await s.state("okapi") == "hidden"
    assert await s.state("zebra") == "fresh"


@case("a branch off a branch sees its parent's work")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "one")
    await s.told("zebra")
    s.git("checkout", "-q", "-b", "two")
    assert await s.state("zebra") == "fresh"
    s.commit("two", b_txt="two\n")
    assert await s.state("zebra") == "fresh"
    s.git("checkout", "-q", "main")
    assert await s.state("zebra") == "hidden"


# Squash, rebase, cherry-pick


@case("a squash merge brings the memories of a branch in")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    await s.edited("a.txt", "quagga\n")
    s.commit("one")
    s.commit("two", b_txt="two\n")
    s.git("checkout", "-q", "main")
    s.commit("other", c_txt="c\n")
    s.git("merge", "-q", "--squash", "feature")
    s.commit("Feature (#1)")
    assert await s.state("zebra") == "fresh"
    assert await s.state("quagga") == "fresh"


@case("a rebased and fast-forwarded branch comes in")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    s.commit("work", a_txt="changed\n")
    s.git("checkout", "-q", "main")
    s.commit("other", b_txt="b2\n")
    s.git("checkout", "-q", "feature")
    s.git("rebase", "-q", "main")
    assert await s.state("zebra") == "fresh"
    s.git("checkout", "-q", "main")
    assert await s.state("zebra") == "hidden"
    s.git("merge", "-q", "--ff-only", "feature")
    assert await s.state("zebra") == "fresh"


@case("a cherry-picked commit brings its memories in, and no others")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    picked = s.commit("one", a_txt="changed\n")
    await s.told("okapi")
    s.commit("two", b_txt="two\n")
    s.git("checkout", "-q", "main")
    s.commit("other", c_txt="c\n")
    s.git("cherry-pick", picked)
    assert await s.state("zebra") == "fresh"
    assert await s.state("okapi") == "hidden"


# Reverts


@case("reverted work is marked with the commit that took it back")
async def _(s: Story) -> None:
    await s.told("zebra")
    await s.edited("a.txt", "quagga\n")
    done = s.commit("work")
    assert await s.state("quagga") == "fresh"
    s.git("revert", "--no-edit", done)
    assert await s.state("quagga") == "reverted"
    assert s.git("rev-parse", "HEAD")[:10] in s.facts["note"]
    assert await s.state("zebra") == "reverted"


@case("a revert that was reverted leaves the work as it is")
async def _(s: Story) -> None:
    await s.edited("a.txt", "quagga\n")
    done = s.commit("work")
    s.git("revert", "--no-edit", done)
    s.git("revert", "--no-edit", "HEAD")
    assert await s.state("quagga") == "fresh"


# Dead ends


@case("a branch deleted without a merge is a dead end")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    s.commit("work", a_txt="changed\n")
    s.git("checkout", "-q", "main")
    s.git("branch", "-q", "-D", "feature")
    assert await s.state("zebra") == "abandoned"
    assert s.facts["note"] == "dead end: tried on feature, never merged"


# The list


@pytest.mark.anyio
@pytest.mark.parametrize("name", CASES)
async def test_memories_are_recalled_where_they_hold(name: str, story: Story) -> None:
    await CASES[name](story)


def test_every_case_is_listed_in_the_docs() -> None:
    listed = re.findall(r"^\d+\. (.+)\.$", DOCS.read_text(), re.MULTILINE)
    assert listed == [name[0].upper() + name[1:] for name in CASES]
