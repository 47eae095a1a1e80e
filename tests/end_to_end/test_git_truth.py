"""What is recalled where: every case of docs/git.md, told to a real repository and asked through the service."""

from __future__ import annotations

import re
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from retain.interfaces.questions import told_event
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


@case("an octopus merge brings every branch in")
async def _(s: Story) -> None:
    for name, word in (("one", "zebra"), ("two", "okapi")):
        s.git("checkout", "-q", "-b", name, "main")
        await s.told(word)
        s.commit(name, **{f"{name}_txt": name})
    s.git("checkout", "-q", "main")
    s.commit("other", c_txt="c")
    s.git("merge", "-q", "-m", "both", "one", "two")
    assert [await s.state("zebra"), await s.state("okapi")] == ["fresh", "fresh"]


@case("a merge whose conflicts were resolved by hand brings the branch in")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.edited("a.txt", "quagga\n")
    s.commit("work")
    s.git("checkout", "-q", "main")
    s.commit("other", a_txt="elk\n")
    s.git("merge", "-q", "-s", "ours", "--no-commit", "feature")
    s.commit("Merge", a_txt="elk and quagga\n")
    assert await s.state("quagga") == "fresh"


@case("what was merged into another branch is withheld where that was not merged")
async def _(s: Story) -> None:
    s.git("branch", "develop")
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    s.commit("work", a_txt="changed")
    s.git("checkout", "-q", "develop")
    s.git("merge", "-q", "--no-ff", "-m", "Merge", "feature")
    s.git("branch", "-q", "-D", "feature")
    assert await s.state("zebra") == "fresh"
    s.git("checkout", "-q", "main")
    assert await s.state("zebra") == "hidden"
    s.git("merge", "-q", "--no-ff", "-m", "Merge develop", "develop")
    assert await s.state("zebra") == "fresh"


@case("a renamed branch keeps its memories")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    s.commit("work", a_txt="changed")
    s.git("branch", "-m", "feature", "better-name")
    assert await s.state("zebra") == "fresh"
    s.git("checkout", "-q", "main")
    assert await s.state("zebra") == "hidden"
    s.git("merge", "-q", "--no-ff", "-m", "Merge", "better-name")
    assert await s.state("zebra") == "fresh"


@case("a new branch with the name of a dead one is another branch")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "fix")
    await s.told("zebra")
    s.commit("work", a_txt="changed")
    s.git("checkout", "-q", "main")
    s.git("branch", "-q", "-D", "fix")
    s.commit("other", b_txt="b2")
    s.git("checkout", "-q", "-b", "fix")
    await s.told("okapi")
    assert [await s.state("zebra"), await s.state("okapi")] == ["abandoned", "fresh"]


@case("a branch that only the remote still has is withheld, not dead")
async def _(s: Story) -> None:
    bare = s.path.parent / "remote.git"
    s.git("init", "-q", "--bare", str(bare))
    s.git("remote", "add", "origin", str(bare))
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    s.commit("work", a_txt="changed")
    s.git("push", "-q", "origin", "feature")
    s.git("checkout", "-q", "main")
    s.git("branch", "-q", "-D", "feature")
    assert await s.state("zebra") == "hidden"


@case("a branch without reflogs is judged by its commits")
async def _(s: Story) -> None:
    s.git("config", "core.logAllRefUpdates", "false")
    shutil.rmtree(s.path / ".git" / "logs")
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    s.commit("work", a_txt="changed")
    s.git("checkout", "-q", "main")
    s.commit("other", b_txt="b2")
    assert await s.state("zebra") == "hidden"
    s.git("merge", "-q", "--no-ff", "-m", "Merge", "feature")
    assert await s.state("zebra") == "fresh"


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


@case("a squashed branch that was deleted stays in")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    s.commit("one", a_txt="one")
    s.commit("two", b_txt="two")
    s.git("checkout", "-q", "main")
    s.git("merge", "-q", "--squash", "feature")
    s.commit("Feature (#1)")
    s.git("branch", "-q", "-D", "feature")
    assert await s.state("zebra") == "fresh"


@case("what was added to a branch after its squash stays out")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    s.commit("one", a_txt="one")
    s.commit("two", b_txt="two")
    s.git("checkout", "-q", "main")
    s.git("merge", "-q", "--squash", "feature")
    s.commit("Feature (#1)")
    s.git("checkout", "-q", "feature")
    await s.told("okapi")
    s.commit("three", c_txt="three")
    s.git("checkout", "-q", "main")
    assert [await s.state("zebra"), await s.state("okapi")] == ["fresh", "hidden"]


@case("a rebased commit is known though its message was changed")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    done = s.commit("work", a_txt="changed")
    s.git("checkout", "-q", "main")
    s.commit("other", b_txt="b2")
    s.git("cherry-pick", "--no-commit", done)
    s.git("commit", "-q", "-m", "said in other words")
    s.git("branch", "-q", "-D", "feature")
    assert await s.state("zebra") == "fresh"


@case("a patch that somebody else applied brings the memories in")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.edited("a.txt", "quagga\n")
    done = s.commit("work")
    s.git("checkout", "-q", "main")
    s.commit("other", b_txt="b2")
    patch = s.git("show", "--format=", done) + "\n"
    (s.path.parent / "p").write_text(patch)
    s.git("apply", "--index", str(s.path.parent / "p"))
    s.git("-c", "user.name=B", "commit", "-q", "-m", "patch by mail", "--author=B <b@example.org>")
    assert await s.state("quagga") == "fresh"


@case("an amended commit keeps its memories")
async def _(s: Story) -> None:
    await s.edited("a.txt", "quagga\n")
    s.commit("work")
    await s.told("zebra")
    s.write("a.txt", "more\n")
    s.git("commit", "-q", "-a", "--amend", "-m", "work, said better")
    assert [await s.state("zebra"), await s.state("quagga")] == ["fresh", "fresh"]


@case("a branch whose commits were amended comes in when it is merged")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    s.commit("work", a_txt="one")
    await s.told("zebra")
    s.write("a.txt", "other\n")
    s.git("commit", "-q", "-a", "--amend", "-m", "another message")
    assert await s.state("zebra") == "fresh"
    s.git("checkout", "-q", "main")
    assert await s.state("zebra") == "hidden"
    s.git("merge", "-q", "--no-ff", "-m", "Merge", "feature")
    assert await s.state("zebra") == "fresh"


@case("commits that were melted into one on their branch keep their memories")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    s.commit("one", a_txt="one")
    await s.told("zebra")
    s.commit("two", b_txt="two")
    await s.told("okapi")
    s.git("reset", "-q", "--soft", "main")
    s.commit("all at once")
    assert [await s.state("zebra"), await s.state("okapi")] == ["fresh", "fresh"]


@case("a force-pushed branch comes in when what it became is merged")
async def _(s: Story) -> None:
    bare, other = s.path.parent / "remote.git", s.path.parent / "other"
    s.git("init", "-q", "--bare", "-b", "main", str(bare))
    s.git("remote", "add", "origin", str(bare))
    s.git("push", "-q", "origin", "main")
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    s.commit("work", a_txt="changed")
    s.git("push", "-q", "origin", "feature")
    s.git("clone", "-q", str(bare), str(other))
    s.git("checkout", "-q", "main", at=other)
    s.commit("meanwhile", at=other, b_txt="b2")
    s.git("checkout", "-q", "feature", at=other)
    s.git("rebase", "-q", "main", at=other)
    s.git("push", "-q", "--force", "origin", "feature", at=other)
    s.git("checkout", "-q", "main", at=other)
    s.git("merge", "-q", "--no-ff", "-m", "Merge feature", "feature", at=other)
    s.git("push", "-q", "origin", "main", at=other)
    s.git("checkout", "-q", "main")
    assert await s.state("zebra") == "hidden"
    s.git("pull", "-q", "--ff-only", "origin", "main")
    assert await s.state("zebra") == "fresh"


@case("a commit that was reset away is a dead end")
async def _(s: Story) -> None:
    await s.edited("a.txt", "quagga\n")
    s.commit("work")
    await s.told("zebra")
    s.git("reset", "-q", "--hard", "HEAD~1")
    assert await s.state("zebra") == "abandoned"


@case("a commit that git has thrown away cannot be checked, and is not withheld")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    s.commit("work", a_txt="changed")
    await s.told("zebra")
    s.git("checkout", "-q", "main")
    s.git("branch", "-q", "-D", "feature")
    s.git("reflog", "expire", "--expire=now", "--all")
    s.git("gc", "-q", "--prune=now")
    assert await s.state("zebra") == "unverifiable"


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


@case("a revert without the usual message is known by its patch")
async def _(s: Story) -> None:
    await s.edited("a.txt", "quagga\n")
    done = s.commit("work")
    s.commit("other", b_txt="b2")
    s.git("revert", "--no-commit", done)
    s.git("commit", "-q", "-m", "Back to how it was")
    assert await s.state("quagga") == "reverted"


@case("with a reverted merge goes all that it brought")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    s.commit("one", a_txt="one")
    await s.told("okapi")
    s.commit("two", b_txt="two")
    s.git("checkout", "-q", "main")
    await s.told("heron")
    s.commit("other", c_txt="c")
    s.git("merge", "-q", "--no-ff", "-m", "Merge", "feature")
    s.git("revert", "--no-edit", "-m", "1", "HEAD")
    assert [await s.state(w) for w in ("zebra", "okapi", "heron")] == ["reverted", "reverted", "fresh"]


@case("a squash that was reverted takes the memories of its branch back")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    s.commit("one", a_txt="one")
    s.commit("two", b_txt="two")
    s.git("checkout", "-q", "main")
    s.git("merge", "-q", "--squash", "feature")
    done = s.commit("Feature (#1)")
    s.git("revert", "--no-edit", done)
    assert await s.state("zebra") == "reverted"


@case("work that was picked again after its revert holds again")
async def _(s: Story) -> None:
    await s.edited("a.txt", "quagga\n")
    done = s.commit("work")
    s.git("revert", "--no-edit", done)
    s.git("cherry-pick", done)
    assert await s.state("quagga") == "fresh"


async def _mended(s: Story, *, between: Callable[[], str] | None = None) -> None:
    """A turn in which an error is met, mended and gone; ``between`` runs after the edit."""
    bash = {"tool_name": "Bash", "tool_input": {"command": "python3 check.py"}}
    s.hook("UserPromptSubmit", prompt="The check fails, mend it")
    s.hook("PostToolUseFailure", **bash, error="Exit code 1\nValueError: zebra\n")
    await s.edited("a.txt", "quagga\n")
    if between is not None:
        between()
    s.hook("PostToolUse", **bash, tool_response={"stdout": "ok", "stderr": ""})
    s.hook("Stop", last_assistant_message="Done: the okapi is read from the file now, and the check passes.")
    await s.service.drain.run()


@case("a fix and a summary from before the commit of their work go with its revert")
async def _(s: Story) -> None:
    s.commit("a file", a_txt="b\n")
    await _mended(s)
    s.commit("work")
    assert [await s.state("Passes now"), await s.state("okapi")] == ["fresh", "fresh"]
    s.git("revert", "--no-edit", "HEAD")
    assert [await s.state("Passes now"), await s.state("okapi")] == ["reverted", "reverted"]


@case("a fix and a summary from after the commit of their work go with its revert")
async def _(s: Story) -> None:
    s.commit("a file", a_txt="b\n")
    await _mended(s, between=lambda: s.commit("work"))
    s.commit("other", b_txt="b2\n")
    assert [await s.state("Passes now"), await s.state("okapi")] == ["fresh", "fresh"]
    s.git("revert", "--no-edit", "HEAD")
    assert [await s.state("Passes now"), await s.state("okapi")] == ["fresh", "fresh"]
    s.git("revert", "--no-edit", "HEAD~2")
    assert [await s.state("Passes now"), await s.state("okapi")] == ["reverted", "reverted"]


@case(
    "a decision told after the commit of its work goes with its revert, and one told before the next commit with that"
)
async def _(s: Story) -> None:
    s.commit("a file", a_txt="b\n")
    s.hook("UserPromptSubmit", prompt="Which stripes?")
    s.commit("work", a_txt="zebra\n")
    s.hook("Stop", last_assistant_message="We chose the zebra over the horse, because stripes are wanted.")
    s.hook("UserPromptSubmit", prompt="And which neck?")
    s.hook(
        "Stop", last_assistant_message="We chose the giraffe over the camel, because a long neck is wanted."
    )
    await s.service.drain.run()
    s.commit("neck", b_txt="giraffe\n")
    assert [await s.state("zebra"), await s.state("giraffe")] == ["fresh", "fresh"]
    s.git("revert", "--no-edit", "HEAD")
    assert [await s.state("zebra"), await s.state("giraffe")] == ["fresh", "reverted"]
    s.git("revert", "--no-edit", "HEAD~2")
    assert [await s.state("zebra"), await s.state("giraffe")] == ["reverted", "reverted"]


@case("what a prompt is told unasked is marked as a recall marks it")
async def _(s: Story) -> None:
    s.commit("a file", a_txt="b\n")
    await _mended(s)
    s.commit("work")
    s.git("revert", "--no-edit", "HEAD")
    asked = {"session_id": "s2", "cwd": str(s.path), "prompt": "Why was there a ValueError of the zebra?"}
    told = await s.service.injector.inject(told_event({"hook_event_name": "UserPromptSubmit", **asked}, ""))
    lines = [line for line in told.splitlines() if "zebra" in line]
    assert lines
    assert all("reverted by" in line for line in lines), lines


@case("a revert on another branch changes nothing here")
async def _(s: Story) -> None:
    await s.edited("a.txt", "quagga\n")
    done = s.commit("work")
    s.git("checkout", "-q", "-b", "trial")
    s.git("revert", "--no-edit", done)
    assert await s.state("quagga") == "reverted"
    s.git("checkout", "-q", "main")
    assert await s.state("quagga") == "fresh"


# Detached heads


@case("a detached head on main does not see a branch")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    s.commit("work", a_txt="changed")
    s.git("checkout", "-q", "--detach", "main")
    assert await s.state("zebra") == "hidden"


@case("a detached head on a branch's commit sees that branch")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    s.commit("work", a_txt="changed")
    await s.told("okapi")
    s.git("checkout", "-q", "--detach", "feature")
    assert [await s.state("zebra"), await s.state("okapi")] == ["fresh", "fresh"]


@case("what was made on a detached head holds where its commit is")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "--detach", "main")
    s.commit("trial", a_txt="changed")
    await s.told("zebra")
    s.git("branch", "kept")
    assert await s.state("zebra") == "fresh"
    s.git("checkout", "-q", "main")
    assert await s.state("zebra") == "hidden"
    s.git("merge", "-q", "--ff-only", "kept")
    assert await s.state("zebra") == "fresh"


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


@case("work that was never committed on a deleted branch is a dead end")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.edited("a.txt", "quagga\n")
    s.git("checkout", "-q", "--", ".")
    s.git("checkout", "-q", "main")
    assert await s.state("quagga") == "hidden"
    s.git("branch", "-q", "-D", "feature")
    assert await s.state("quagga") == "abandoned"
    assert s.facts["note"] == "dead end: tried on feature, never committed"


@case("a dead end that is merged after all is one no more")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    done = s.commit("work", a_txt="changed")
    s.git("checkout", "-q", "main")
    s.git("branch", "-q", "-D", "feature")
    assert await s.state("zebra") == "abandoned"
    s.git("merge", "-q", "--ff-only", done)
    assert await s.state("zebra") == "fresh"


# Working trees, submodules, clones


@case("each linked working tree asks for its own branch")
async def _(s: Story) -> None:
    tree = s.path.parent / "tree"
    s.git("worktree", "add", "-q", "-b", "feature", str(tree))
    there = await s.open_at(tree)
    await s.told("zebra", service=there)
    s.commit("work", at=tree, a_txt="changed")
    assert await s.state("zebra", there) == "fresh"
    assert await s.state("zebra") == "hidden"
    s.git("merge", "-q", "--ff-only", "feature")
    assert await s.state("zebra") == "fresh"


@case("a session that moves to another working tree is asked there")
async def _(s: Story) -> None:
    tree = s.path.parent / "tree"
    s.git("worktree", "add", "-q", "-b", "feature", str(tree))
    moved = await s.open_at(s.path, session="s1")
    s.hook("UserPromptSubmit", tree, prompt="Please build the house behind the pond.")
    await s.service.drain.run()
    await s.told("zebra", service=await s.open_at(tree))
    s.commit("work", at=tree, a_txt="changed")
    assert await s.state("zebra", moved) == "fresh"
    assert await s.state("zebra") == "hidden"
    s.hook("UserPromptSubmit", prompt="Back to the pond itself and its borders now.")
    await s.service.drain.run()
    assert await s.state("zebra", moved) == "hidden"


@case("what main learns while a linked working tree has a branch stays on main")
async def _(s: Story) -> None:
    tree = s.path.parent / "tree"
    s.git("worktree", "add", "-q", "-b", "feature", str(tree))
    await s.edited("a.txt", "quagga\n")
    s.commit("work")
    there = await s.open_at(tree)
    assert await s.state("quagga", there) == "hidden"
    s.git("merge", "-q", "--ff-only", "main", at=tree)
    assert await s.state("quagga", there) == "fresh"


@case("a working tree of a bare repository is one like any other")
async def _(s: Story) -> None:
    bare, tree = s.path.parent / "bare.git", s.path.parent / "tree"
    s.git("clone", "-q", "--bare", str(s.path), str(bare))
    s.git("worktree", "add", "-q", "-b", "feature", str(tree), at=bare)
    there = await s.open_at(tree)
    await s.told("zebra", service=there)
    s.commit("work", at=tree, a_txt="changed")
    assert await s.state("zebra", there) == "fresh"
    s.git("checkout", "-q", "--detach", "main", at=tree)
    assert await s.state("zebra", there) == "hidden"


@case("a submodule has branches of its own")
async def _(s: Story) -> None:
    inner = s.path.parent / "inner"
    inner.mkdir()
    s.git("init", "-q", "-b", "main", at=inner)
    s.commit("inner root", at=inner, x_txt="x")
    s.git("submodule", "--quiet", "add", str(inner), "sub")
    s.commit("with a submodule")
    sub = s.path / "sub"
    there = await s.open_at(sub)
    s.git("checkout", "-q", "-b", "feature", at=sub)
    await s.told("zebra", service=there)
    s.commit("work", at=sub, x_txt="x2")
    assert await s.state("zebra", there) == "fresh"
    s.git("checkout", "-q", "main", at=sub)
    assert await s.state("zebra", there) == "hidden"


@case("a clone sees what it has fetched and merged")
async def _(s: Story) -> None:
    clone = s.path.parent / "clone"
    s.git("clone", "-q", str(s.path), str(clone))
    there = await s.open_at(clone)
    s.git("checkout", "-q", "-b", "feature")
    s.commit("work", a_txt="changed")
    await s.told("zebra")
    assert await s.state("zebra", there) == "unverifiable"
    s.git("fetch", "-q", "origin", at=clone)
    assert await s.state("zebra", there) == "hidden"
    s.git("merge", "-q", "--ff-only", "origin/feature", at=clone)
    assert await s.state("zebra", there) == "fresh"


@case("in a shallow clone what lies beyond the cut cannot be checked")
async def _(s: Story) -> None:
    s.commit("one", a_txt="one")
    clone = s.path.parent / "clone"
    s.git("clone", "-q", "--depth", "1", f"file://{s.path}", str(clone))
    there = await s.open_at(clone)
    await s.told("zebra", service=there)
    assert await s.state("zebra", there) == "fresh"
    s.commit("two", a_txt="two")
    s.commit("three", a_txt="three")
    s.git("fetch", "-q", "--depth", "1", "origin", "main", at=clone)
    s.git("reset", "-q", "--hard", "FETCH_HEAD", at=clone)
    assert await s.state("zebra", there) == "unverifiable"
    s.git("fetch", "-q", "--unshallow", "origin", at=clone)
    assert await s.state("zebra", there) == "fresh"


# No repository, or none that can be read


@case("a folder outside git withholds nothing")
async def _(s: Story) -> None:
    folder = s.path.parent / "plain"
    folder.mkdir()
    there = await s.open_at(folder)
    await s.told("zebra", service=there)
    assert await s.state("zebra", there) == "fresh"


@case("a repository without commits withholds nothing")
async def _(s: Story) -> None:
    folder = s.path.parent / "empty"
    folder.mkdir()
    s.git("init", "-q", "-b", "main", at=folder)
    there = await s.open_at(folder)
    await s.told("zebra", service=there)
    assert await s.state("zebra", there) == "fresh"


@case("a damaged repository is said to be unreadable, and withholds nothing")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    s.commit("work", a_txt="changed")
    s.git("checkout", "-q", "main")
    shutil.rmtree(s.path / ".git" / "objects")
    assert await s.state("zebra") == "unverifiable"


@case("where the repository is gone its memories are shown as they are")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    s.commit("work", a_txt="changed")
    workspace = await s.workspace()
    shutil.rmtree(s.path / ".git")
    assert await s.state("zebra", workspace=workspace) == "fresh"


@case("a repository with SHA-256 is said to be unreadable, and withholds nothing")
async def _(s: Story) -> None:
    folder = s.path.parent / "sha256"
    folder.mkdir()
    s.git("init", "-q", "-b", "main", "--object-format=sha256", at=folder)
    s.commit("root", at=folder, a_txt="a")
    there = await s.open_at(folder)
    s.git("checkout", "-q", "-b", "feature", at=folder)
    await s.told("zebra", service=there)
    assert await s.state("zebra", there) == "fresh"
    s.git("checkout", "-q", "main", at=folder)
    assert await s.state("zebra", there) == "unverifiable"


# What is bound to no branch, and how one asks


@case("a note without files holds on every branch")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra", "note")
    s.commit("work", a_txt="changed")
    s.git("checkout", "-q", "main")
    assert await s.state("zebra") == "fresh"


@case("a note about files holds where they are the same")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra", "note", paths=("b.txt",))
    s.commit("work", a_txt="changed")
    await s.told("okapi", "note", paths=("a.txt",))
    s.git("checkout", "-q", "main")
    assert [await s.state("zebra"), await s.state("okapi")] == ["fresh", "hidden"]


@case("what the user said to hold always holds on every branch")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    s.hook("UserPromptSubmit", prompt="Always use zebra crossings instead of tunnels from now on.")
    s.hook("UserPromptSubmit", prompt="Now build the okapi house behind the pond, please.")
    await s.service.drain.run()
    s.commit("work", a_txt="changed")
    s.git("checkout", "-q", "main")
    assert [await s.state("zebra"), await s.state("okapi")] == ["fresh", "hidden"]


@case("the same memory made on two branches holds on both")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "one")
    await s.told("zebra")
    s.commit("one", a_txt="one")
    s.git("checkout", "-q", "-b", "two", "main")
    assert await s.state("zebra") == "hidden"
    await s.told("zebra")
    assert await s.state("zebra") == "fresh"
    s.git("checkout", "-q", "one")
    assert await s.state("zebra") == "fresh"
    s.git("checkout", "-q", "main")
    assert await s.state("zebra") == "hidden"


@case("a filter on the branch shows what is withheld elsewhere, marked")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    s.commit("work", a_txt="changed")
    s.git("checkout", "-q", "main")
    assert await s.state("zebra", filter={"branch": "feature"}) == "other_branch"
    assert s.facts["note"] == "on feature, not merged"


@case("the digest of a workspace withholds what a recall withholds")
async def _(s: Story) -> None:
    await s.told("heron")
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    s.commit("work", a_txt="changed")
    assert "zebra" in (await s.service.context())[0].text
    s.git("checkout", "-q", "main")
    text = (await s.service.context())[0].text
    assert "heron" in text
    assert "zebra" not in text


@case("an answer that was kept changes when a branch moves")
async def _(s: Story) -> None:
    s.git("checkout", "-q", "-b", "feature")
    await s.told("zebra")
    s.commit("work", a_txt="changed")
    s.git("checkout", "-q", "main")
    assert await s.state("zebra") == "hidden"
    assert (await s.service.recall("zebra")).plan["name"] == "cached"
    tree = s.path.parent / "tree"
    s.git("worktree", "add", "-q", "--detach", str(tree))
    s.git("checkout", "-q", "-B", "main-2", "feature", at=tree)
    s.git("branch", "-q", "-D", "feature")
    assert await s.state("zebra") == "hidden"
    s.git("merge", "-q", "--ff-only", "main-2")
    assert await s.state("zebra") == "fresh"


# The list


@pytest.mark.anyio
@pytest.mark.parametrize("name", CASES)
async def test_memories_are_recalled_where_they_hold(name: str, story: Story) -> None:
    await CASES[name](story)


def test_every_case_is_listed_in_the_docs() -> None:
    listed = re.findall(r"^\d+\. (.+)\.$", DOCS.read_text(), re.MULTILINE)
    assert listed == [name[0].upper() + name[1:] for name in CASES]
