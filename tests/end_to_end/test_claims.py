"""What memories say of files, told to a real repository: held, changed, moved, gone, and put right."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import retain
from retain.errors import InvalidInput
from retain.memory import claim_keeping
from retain.memory.service import MemoryService
from story import Story

pytestmark = pytest.mark.anyio

CONF = "TIMEOUT = 30\n\n\nclass Pool:\n    def acquire(self):\n        return self.free.pop()\n"


@pytest.fixture
async def story(tmp_path: Path, home: Path) -> AsyncIterator[Story]:
    path = tmp_path / "repo"
    path.mkdir()

    async def nowhere(folder: Path) -> MemoryService:
        raise AssertionError(folder)

    async with retain.open(home, folder=path, recall_confidence=0, recall_drain_ms=0) as service:
        story = Story(path, home, service, nowhere)
        story.git("init", "-q", "-b", "main")
        story.write("src/conf.py", CONF)
        story.write(
            "package.json", '{"scripts": {"lint": "eslint ."}, "devDependencies": {"eslint": "^8.1.0"}}'
        )
        story.commit("root")
        yield story


async def states(s: Story) -> dict[str, str]:
    report = await s.service.claims.report()
    return {one["title"]: one["state"] for one in report["memories"]}


async def state_of(s: Story, word: str) -> tuple[str, str]:
    recall = await s.service.recall(word)
    found = [(hit.state, hit.note) for hit in recall.hits if word in hit.memory.text]
    return found[0] if found else ("hidden" if recall.hidden.get("stale") else "nothing", "")


async def test_a_note_whose_claims_hold_is_shown_as_it_is(s: Story) -> None:
    await s.service.remember("zebra: `Pool.acquire` in src/conf.py hands out a connection")
    assert await state_of(s, "zebra") == ("fresh", "")
    assert list((await states(s)).values()) == ["fresh"]


@pytest.mark.parametrize("said", ["TIMEOUT is 30 in src/conf.py", "TIMEOUT in src/conf.py is 30"])
async def test_a_constant_that_changed_in_the_working_tree_is_said_with_its_new_value(
    s: Story, said: str
) -> None:
    await s.service.remember(f"zebra: {said}")
    assert await state_of(s, "zebra") == ("fresh", "")
    s.write("src/conf.py", CONF.replace("30", "45"))
    state, note = await state_of(s, "zebra")
    assert state == "drifted"
    assert "TIMEOUT is 45 now, was 30" in note
    s.write("src/conf.py", CONF + "# back again\n")
    assert await state_of(s, "zebra") == ("fresh", "")


async def test_a_note_of_which_nothing_holds_any_more_is_withheld_and_counted(s: Story) -> None:
    await s.service.remember("zebra: the pool lives in src/conf.py")
    s.git("rm", "-q", "src/conf.py")
    s.commit("gone")
    assert (await state_of(s, "zebra"))[0] == "hidden"


async def test_a_decision_of_which_nothing_holds_any_more_is_marked(s: Story) -> None:
    await s.service.remember("zebra: we chose src/conf.py for the pool", kind="decision")
    s.git("rm", "-q", "src/conf.py")
    s.commit("gone")
    state, note = await state_of(s, "zebra")
    assert state == "drifted"
    assert "src/conf.py is gone" in note


async def test_a_renamed_file_is_followed_and_the_note_can_be_revised_by_itself(s: Story) -> None:
    memory = await s.service.remember("zebra: `Pool` in src/conf.py hands out connections")
    s.git("mv", "src/conf.py", "src/pool.py")
    s.commit("move")
    state, note = await state_of(s, "zebra")
    assert state == "drifted"
    assert "src/conf.py is src/pool.py now" in note
    done = await s.service.claims.reconcile(s.service, memory.id, "revise")
    assert "src/pool.py" in done["text"]
    assert "src/conf.py" not in done["text"]
    assert set((await states(s)).values()) == {"fresh"}
    assert (await s.service.get(done["by"])).paths == ("src/pool.py",)


async def test_a_file_that_was_renamed_and_rewritten_since_is_followed(s: Story) -> None:
    await s.service.remember("zebra: TIMEOUT = 30 in src/conf.py, and `Pool` hands out connections")
    s.git("mv", "src/conf.py", "src/pool.py")
    s.commit("move")
    s.write("src/pool.py", "".join(f"LIMIT_{n} = {n}\n" for n in range(200)) + CONF.replace("30", "45"))
    s.commit("rewrite")
    s.git("mv", "src/pool.py", "src/pools.py")
    s.commit("move again")
    state, note = await state_of(s, "zebra")
    assert state == "drifted"
    assert "src/conf.py is src/pools.py now" in note
    assert "TIMEOUT is 45 now, was 30" in note
    assert "gone" not in note


async def test_a_claim_says_the_line_where_it_holds(s: Story) -> None:
    s.write("src/conf.py", "# 30\nRETRIES = 30\nTIMEOUT = 30\n")
    s.write(
        "package.json", '{\n"scripts": {\n"lint": "eslint ."},\n"devDependencies": {\n"eslint": "^8.1.0"}}'
    )
    await s.service.remember(
        'zebra: TIMEOUT is 30 in src/conf.py; `npm run lint`; "eslint": "^8.1.0" in package.json'
    )
    report = await s.service.claims.report()
    lines = {(one["kind"], one["claim"].split()[0]): one["line"] for one in report["memories"][0]["claims"]}
    assert lines["constant", "TIMEOUT"] == 3
    assert lines["command", "npm"] == 3
    assert lines["dependency", "eslint"] == 5


async def test_a_file_that_moved_and_grew_too_large_is_named_as_it_is_now(s: Story) -> None:
    await s.service.remember("zebra: `Pool` in src/conf.py hands out connections")
    s.git("mv", "src/conf.py", "src/pool.py")
    s.commit("move")
    s.write("src/pool.py", "x = 1\n" * 300_000)
    report = await s.service.claims.report()
    notes = [one["note"] for one in report["memories"][0]["claims"]]
    assert "src/pool.py: too large" in notes


async def test_a_symbol_that_moved_to_another_file_is_found_there(s: Story) -> None:
    await s.service.remember("zebra: `Pool` is defined in src/conf.py")
    s.write("src/other.py", "class Pool:\n    pass\n")
    s.write("src/conf.py", "TIMEOUT = 30\n")
    s.commit("move the class")
    state, note = await state_of(s, "zebra")
    assert state == "drifted"
    assert "Pool is in src/other.py now" in note


async def test_white_space_and_line_breaks_change_nothing(s: Story) -> None:
    await s.service.remember("zebra: src/conf.py has `return self.free.pop()`")
    s.write("src/conf.py", CONF.replace("return self.free.pop()", "return self.free.pop(\n        )"))
    assert await state_of(s, "zebra") == ("fresh", "")


async def test_commands_and_versions_are_checked_where_the_manifest_names_them(s: Story) -> None:
    await s.service.remember("zebra: `npm run lint` before a push, eslint `^8.1.0` in package.json")
    s.write("package.json", '{"scripts": {}, "devDependencies": {"eslint": "^9.0.0"}}')
    report = (await s.service.claims.report())["memories"][0]
    notes = " ".join(claim["note"] for claim in report["claims"])
    assert "npm run lint is no longer a command of package.json" in notes
    assert "eslint is ^9.0.0 now, was ^8.1.0" in notes


async def test_what_is_kept_is_not_asked_about_again(s: Story) -> None:
    memory = await s.service.remember("zebra: TIMEOUT is 30 in src/conf.py")
    s.write("src/conf.py", CONF.replace("30", "45"))
    assert (await state_of(s, "zebra"))[0] == "drifted"
    assert (await s.service.claims.reconcile(s.service, memory.id, "keep"))["dropped"] == 1
    assert await state_of(s, "zebra") == ("fresh", "")


async def test_a_memory_can_be_superseded_by_another_one(s: Story) -> None:
    old = await s.service.remember("zebra: TIMEOUT is 30 in src/conf.py")
    new = await s.service.remember("zebra quagga: TIMEOUT has no limit")
    await s.service.claims.reconcile(s.service, old.id, "supersede", by=new.id)
    assert (await s.service.get(old.id)).superseded_by == new.id


async def test_a_wrong_way_of_putting_right_is_named(s: Story) -> None:
    memory = await s.service.remember("zebra: TIMEOUT is 30 in src/conf.py")
    with pytest.raises(InvalidInput, match="how: must be one of"):
        await s.service.claims.reconcile(s.service, memory.id, "burn")
    with pytest.raises(InvalidInput, match="by: is missing"):
        await s.service.claims.reconcile(s.service, memory.id, "supersede")
    with pytest.raises(InvalidInput, match="text: is missing"):
        await s.service.claims.reconcile(s.service, memory.id, "revise")


async def test_paths_that_lead_out_of_the_repository_give_no_claims(s: Story) -> None:
    await s.service.remember("zebra: see ../secret.txt and /etc/passwd and src/../../x.py")
    assert await states(s) == {}


async def test_claims_are_derived_for_memories_that_came_before_them(s: Story) -> None:
    memory = await s.service.remember("zebra: TIMEOUT is 30 in src/conf.py")
    await s.service._store.write(lambda db: db.execute("DELETE FROM memory_claim"))
    await s.service._store.write(lambda db: db.execute("DELETE FROM memory_claimed"))
    s.write("src/conf.py", CONF.replace("30", "45"))
    s.commit("raise it")
    report = (await s.service.claims.report())["memories"]
    assert [(one["id"], one["state"]) for one in report] == [(memory.id, "drifted")]


@pytest.fixture
def s(story: Story) -> Story:
    return story


@pytest.mark.parametrize("at_once", [7, 10_000])
async def test_claims_of_many_memories_are_derived_and_of_those_that_come_later(
    s: Story, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(claim_keeping, "KEYS_AT_ONCE", at_once)

    async def derived(names: range) -> int:
        await s.service.remember_many([{"text": f"zebra{n}: TIMEOUT is 30 in src/conf.py"} for n in names])
        return await s.service.claims.catch_up()

    assert await derived(range(150)) == 150
    assert await derived(range(150, 170)) == 20
    assert await s.service.claims.catch_up() == 0
    assert list((await states(s)).values()) == ["fresh"] * 170
