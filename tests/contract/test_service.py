"""What the memory service promises to every door, shown on real stores."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import retain
from retain.capture import spool
from retain.errors import Conflict, InvalidFilter, InvalidInput, NotFound, RetainError, StoreError
from retain.memory import counting, planning
from retain.memory.service import MemoryService
from retain.model import In, Memory, Recall
from retain.retrieval.context import count_tokens, line_of

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True, params=["plain", "encrypted"])
def at_rest(request: pytest.FixtureRequest) -> None:
    """Every promise holds for an encrypted data directory too."""
    if request.param == "encrypted":
        request.getfixturevalue("encrypted")


NOBODY = "00000000-0000-7000-8000-000000000000"
SECRET = "ghp_" + "Zt9Kq2Lm8Xw4Rv6Bn3Jd5Hf7Ps1Gc0YaUe"  # made up, in the shape of a GitHub token
LONG = "The settlement job runs at night. " * 500


def ids(recall: Recall) -> list[str]:
    return [hit.memory.id for hit in recall.hits]


async def first(memory: MemoryService, text: str, **options: Any) -> Memory:
    return (await memory.recall(text, **options)).hits[0].memory


# remember


async def test_a_hit_keeps_its_score_where_most_memories_were_forgotten(memory: MemoryService) -> None:
    kept = await memory.remember("The frobnicator spins at 12 Hz")
    others = [await memory.remember(f"fact {number} of the day") for number in range(80)]
    before = (await memory.recall("how fast does the frobnicator spin")).hits[0]
    for other in others[2:]:
        await memory.forget(other.id)
    after = (await memory.recall("how fast does the frobnicator spin")).hits[0]
    assert (before.memory.id, after.memory.id) == (kept.id, kept.id)
    assert after.parts["lexical"] > 0.5 * before.parts["lexical"]


async def test_what_was_remembered_comes_back_whole(memory: MemoryService, folder: Path) -> None:
    stored = await memory.remember(
        "We use decimal.Decimal for money.\nFloats lose cents.",
        title="Money type",
        kind="decision",
        paths=["src/money.py", str(folder / "src" / "cart.py"), "/etc/hosts", "./src/money.py"],
        symbols=["Money"],
        tags=["money", "money", "types"],
    )
    assert stored.created
    assert stored.paths == ("src/money.py", "src/cart.py", "/etc/hosts")
    assert stored.tags == ("money", "types")
    assert (stored.kind, stored.title, stored.origin, stored.status) == (
        "decision", "Money type", "user", "active",
    )  # fmt: skip
    assert await memory.get(stored.id) == replace(stored, near=(), created=True)
    assert await first(memory, "which type for money?") == await memory.get(stored.id)


async def test_a_title_is_the_first_line_that_says_something(memory: MemoryService) -> None:
    assert (await memory.remember("\n\n  First   line \nsecond")).title == "First line"
    long = await memory.remember("word " * 100)
    assert len(long.title) <= 120
    assert long.title.endswith("…")
    assert (await memory.remember("text", title=" two\nlines ")).title == "two lines"


async def test_an_exact_duplicate_is_merged_and_counted(memory: MemoryService) -> None:
    one = await memory.remember("Deploys need two approvals.", tags=["b", "a"])
    two = await memory.remember("Deploys need two approvals.", tags=["a", "b"])
    assert (two.id, two.created, two.seen) == (one.id, False, 2)
    assert ids(await memory.recall("deploys approvals")) == [one.id]


@pytest.mark.parametrize(
    "other",
    [
        {"text": "deploys need two approvals."},
        {"kind": "decision"},
        {"title": "Deploys"},
        {"paths": ["a.py"]},
        {"tags": ["x"]},
    ],
)
async def test_whatever_a_user_would_see_to_differ_is_kept_apart(
    memory: MemoryService, other: dict[str, Any]
) -> None:
    base = {"text": "Deploys need two approvals."}
    one, two = await memory.remember_many([base, {**base, **other}])
    assert one.id != two.id
    assert two.created


async def test_a_near_duplicate_is_a_hint_and_nothing_more(memory: MemoryService) -> None:
    one = await memory.remember("Checkout retries the payment gateway three times before it fails.")
    await memory.remember("The sidebar is rendered on the server.")
    two = await memory.remember("Checkout retries the payment gateway four times before it fails.")
    assert two.created
    assert two.near == (one.id,)
    assert {one.id, two.id} <= set(ids(await memory.recall("checkout payment gateway retries")))


async def test_a_hundred_calls_that_do_not_wait_are_all_kept(memory: MemoryService) -> None:
    stored = await asyncio.gather(*(memory.remember(f"fact number {i}") for i in range(100)))
    assert len({one.id for one in stored}) == 100
    assert (await memory.status())["memories"] == 100


async def test_the_same_call_with_a_source_id_changes_nothing(memory: MemoryService) -> None:
    one = await memory.remember("Imported.", source_id="ticket-1")
    two = await memory.remember("Imported.", source_id="ticket-1")
    assert (two.id, two.created, two.seen) == (one.id, False, 1)


async def test_a_source_id_with_other_content_is_a_conflict(memory: MemoryService) -> None:
    one = await memory.remember("Imported.", source_id="ticket-1")
    with pytest.raises(Conflict, match=one.id):
        await memory.remember("Changed.", source_id="ticket-1")
    assert (await memory.recall("changed")).abstained


async def test_many_are_stored_together_or_not_at_all(memory: MemoryService) -> None:
    with pytest.raises(Conflict):
        await memory.remember_many([{"text": "one", "source_id": "s"}, {"text": "two", "source_id": "s"}])
    with pytest.raises(InvalidInput) as caught:
        await memory.remember_many([{"text": "one"}, {"text": ""}])
    assert caught.value.field == "items[1].text"
    assert (await memory.status())["memories"] == 0


async def test_many_are_answered_in_order_with_duplicates_merged(memory: MemoryService) -> None:
    stored = await memory.remember_many([{"text": "a"}, retain.Draft(text="b", tags=("t",)), {"text": "a"}])
    assert [one.text for one in stored] == ["a", "b", "a"]
    assert [one.created for one in stored] == [True, True, False]
    assert stored[1].tags == ("t",)
    assert await memory.remember_many([]) == []


async def test_a_channel_sets_the_origin_and_a_caller_cannot(home: Path, folder: Path) -> None:
    async with retain.open(home, folder=folder, origin="assistant", session="s-1") as memory:
        stored = await memory.remember("said by the model")
        assert (stored.origin, stored.session) == ("assistant", "s-1")
        imported = (await memory.remember_many([{"text": "from a file"}], origin="import"))[0]
        assert imported.origin == "import"
        with pytest.raises(InvalidInput, match="origin: unknown field"):
            await memory.remember_many([{"text": "said", "origin": "user"}])


async def test_branch_and_commit_are_those_checked_out(home: Path, git_repo: Callable[..., Any]) -> None:
    repo = git_repo()
    commit = repo.commit("first")
    async with retain.open(home, folder=repo.path) as memory:
        stored = await memory.remember("on main")
        assert (stored.branch, stored.commit) == ("main", commit)


async def test_large_and_foreign_texts_come_back_as_they_were(memory: MemoryService) -> None:
    texts = [
        "x" * memory.settings.text_chars_max,
        "".join(chr(0x4E00 + i % 20_000) for i in range(100_000)),
        "\U0001d518\U0001d52b 👩\u200d👩\u200d👧 عربى \u200fRTL\u200e \u202eevil\u202c e\u0301",
        "\ufeff\u200b \t\r\n \x1b[31m\x7f \u00ad",
        " leading and trailing blanks \n\n",
        LONG,
    ]
    stored = await memory.remember_many([{"text": text} for text in texts])
    for text, one in zip(texts, stored, strict=True):
        assert (await memory.get(one.id)).text == text
    assert (await memory.verify())["ok"]


# redaction


def bytes_on_disk(home: Path) -> bytes:
    return b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())


async def test_a_secret_reaches_no_byte_of_the_disk(memory: MemoryService, home: Path) -> None:
    stored = await memory.remember(
        f"token: {SECRET} is set in CI",
        title=f"CI uses {SECRET}",
        tags=["ci", SECRET],
        symbols=[SECRET, "deploy"],
        paths=[f"config/{SECRET}.txt"],
    )
    assert sum(stored.redacted.values()) == 5
    assert SECRET not in str(stored)
    new = await memory.revise(stored.id, f"rotated, was {SECRET}", f"because {SECRET} leaked")
    await memory.forget(new.id, f"{SECRET} again")
    await memory.recall(f"{SECRET} token")
    await memory.explain(SECRET)
    await memory.context(f"what is {SECRET}?")
    assert "[redacted:" in (await memory.get(stored.id)).reason
    assert SECRET.encode() not in bytes_on_disk(home)
    assert (b"token" in bytes_on_disk(home)) is not (
        home / "key.pub"
    ).exists()  # what is encrypted says nothing


async def test_a_source_id_that_is_a_secret_is_refused_without_showing_it(
    memory: MemoryService, home: Path
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await memory.remember("text", source_id=SECRET)
    assert caught.value.field == "source_id"
    assert SECRET not in str(caught.value)


# recall


async def test_the_better_answer_comes_first_and_says_why(memory: MemoryService) -> None:
    await memory.remember_many(
        [{"text": f"The sidebar shows {n} items of the catalogue."} for n in ("ten", "all", "new")]
        + [{"text": "We chose Decimal for money because floats lose cents.", "kind": "decision"}]
    )
    answer = await memory.recall("why Decimal for money?")
    assert answer.hits[0].memory.kind == "decision"
    scores = [hit.score for hit in answer.hits]
    assert 1 >= scores[0] >= scores[-1] > 0
    assert scores == sorted(scores, reverse=True)
    assert set(answer.hits[0].parts) >= {"lexical", "recency", "kind"}
    assert not answer.abstained
    assert answer.confidence > 0.9
    assert answer.elapsed_us > 0


async def test_an_identifier_letter_by_letter_stands_above_its_parts(memory: MemoryService) -> None:
    await memory.remember_many(
        [{"text": f"the test reporting number {i} for test reporting"} for i in range(5)]
    )
    wanted = await memory.remember("see test_reporting for this")
    assert (await first(memory, "test_reporting")).id == wanted.id


async def test_a_question_about_nothing_known_is_answered_by_nothing_and_a_count(
    memory: MemoryService,
) -> None:
    await memory.remember_many([{"text": f"The build cache number {i} lives on disk."} for i in range(20)])
    answer = await memory.recall("kubernetes ingress certificate renewal with a mobile gateway cache")
    assert answer.abstained
    assert list(answer.hits) == []
    assert answer.hidden == {"below_confidence": 20}
    assert answer.confidence < 0.1


async def test_a_store_of_one_memory_answers_a_question_that_shares_a_word(memory: MemoryService) -> None:
    stored = await memory.remember("We chose Decimal for money because floats lose cents.")
    assert ids(await memory.recall("which type do we use for money?")) == [stored.id]


async def test_words_that_occur_nowhere_find_nothing_and_hide_nothing(memory: MemoryService) -> None:
    await memory.remember("The build cache lives on disk.")
    answer = await memory.recall("zebra")
    assert (answer.abstained, dict(answer.hidden)) == (True, {})


async def test_confidence_zero_never_abstains(home: Path, folder: Path) -> None:
    async with retain.open(home, folder=folder, recall_confidence=0) as memory:
        await memory.remember("The build cache lives on disk.")
        assert (await memory.recall("kubernetes ingress certificate renewal mobile gateway cache")).hits


@pytest.fixture
async def history(memory: MemoryService) -> dict[str, Memory]:
    """Six memories about one word, told apart by everything that a filter knows."""
    stored = await memory.remember_many(
        [
            {"text": "cart a", "kind": "fix", "tags": ["x"], "paths": ["src/cart/a.py"]},
            {
                "text": "cart b",
                "kind": "fix",
                "tags": ["x", "y"],
                "paths": ["src/cart/deep/b.py", "README.md"],
            },
            {"text": "cart c", "kind": "note", "tags": ["y"], "occurred_at": "2020-01-01"},
            {"text": "cart d", "kind": "note", "occurred_at": "2020-06-01T12:00:00+02:00"},
            {"text": "cart e", "kind": "decision", "paths": ["docs/e.md"]},
            {"text": "cart f", "kind": "task"},
        ]
    )
    return {one.text[-1]: one for one in stored}


@pytest.mark.parametrize(
    ("value", "letters"),
    [
        ({}, "abcdef"),
        ({"kind": "fix"}, "ab"),
        ({"kind": ["fix", "task"]}, "abf"),
        ({"kind": []}, ""),
        ({"tag": "x"}, "ab"),
        ({"tag": ["x", "y"]}, "abc"),
        ({"and": [{"tag": "x"}, {"tag": "y"}]}, "b"),
        ({"path": "src/"}, "ab"),
        ({"path": "src/cart/*"}, "a"),
        ({"path": "src/**"}, "ab"),
        ({"path": "README.md"}, "b"),
        ({"path": "*.md"}, "be"),
        ({"path": "src/cart/a.py"}, "a"),
        ({"path": ["src/cart/a.py", "docs/"]}, "ae"),
        ({"since": "2020-06-01"}, "abdef"),
        ({"until": "2020-06-01"}, "c"),
        ({"since": "2020-06-01T10:00:00Z", "until": "2020-06-01T10:00:01Z"}, "d"),
        ({"since": "2020-06-01T10:00:01Z", "until": "2020-06-02"}, ""),
        ({"not": {"kind": ["fix", "note"]}}, "ef"),
        ({"not": {}}, ""),
        ({"or": [{"kind": "task"}, {"tag": "x", "path": "README.md"}]}, "bf"),
        ({"or": []}, ""),
        ({"origin": "user"}, "abcdef"),
        ({"origin": "hook"}, ""),
        ({"session": "none"}, ""),
        ({"branch": "main"}, ""),
        ({"branch": "*"}, ""),
        ({"not": {"branch": "main"}}, "abcdef"),
        ({"status": "superseded"}, ""),
        ({"status": ["active", "forgotten"]}, "abcdef"),
        ({"workspace": NOBODY}, ""),
        ({"id": [NOBODY]}, ""),
    ],
)
@pytest.mark.parametrize("text", ["cart", ""])
async def test_filters_hold_with_and_without_words(
    memory: MemoryService, history: dict[str, Memory], text: str, value: dict[str, Any], letters: str
) -> None:
    answer = await memory.recall(text, filter=value)
    assert sorted(hit.memory.text[-1] for hit in answer.hits) == list(letters)


async def test_a_filter_may_be_a_tree_and_name_ids(memory: MemoryService, history: dict[str, Memory]) -> None:
    wanted = history["c"]
    named = {"workspace": wanted.workspace, "tag": "y", "kind": "note"}
    for value in ({"id": wanted.id}, In(field="id", values=(wanted.id,)), named):
        assert ids(await memory.recall("cart", filter=value)) == [wanted.id]


async def test_without_words_the_newest_come_first(memory: MemoryService, history: dict[str, Memory]) -> None:
    answer = await memory.recall("", filter={"kind": ["fix", "note"]}, limit=3)
    assert [hit.memory.text[-1] for hit in answer.hits] == ["b", "a", "d"]
    assert answer.plan["name"] == "filter_scan"
    assert answer.confidence == 1.0


async def test_limit_counts_what_is_left_after_filters(memory: MemoryService) -> None:
    await memory.remember_many([{"text": f"cart cart cart {i}"} for i in range(300)])
    wanted = await memory.remember("the cart is mentioned once among many other words", kind="task")
    assert ids(await memory.recall("cart", filter={"kind": "task"}, limit=1)) == [wanted.id]


async def test_the_budget_of_tokens_is_kept_and_what_it_hides_is_counted(memory: MemoryService) -> None:
    await memory.remember_many([{"text": f"cart {i} " + "word " * 30} for i in range(9)])
    answer = await memory.recall("cart", budget_tokens=200)
    rendered = [line_of(hit.memory, hit.snippet) for hit in answer.hits]
    assert 0 < sum(count_tokens(line) + 1 for line in rendered) == answer.tokens <= 200
    assert answer.hidden == {"over_budget": 9 - len(answer.hits)}
    assert not answer.abstained
    whole = await memory.recall("cart", budget_tokens=100_000)
    assert (len(whole.hits), dict(whole.hidden)) == (9, {})


async def test_a_snippet_of_a_long_text_shows_the_words(memory: MemoryService) -> None:
    await memory.remember(LONG + "The ZebraCounter counts stripes. " + LONG)
    answer = await memory.recall("ZebraCounter stripes")
    assert "ZebraCounter counts stripes" in answer.hits[0].snippet
    assert len(answer.hits[0].snippet) < 300


# when it happened, when it was stored


async def test_what_happened_in_the_past_is_kept_with_both_times(memory: MemoryService) -> None:
    then = datetime(2019, 5, 4, 12, 30, tzinfo=UTC)
    before = datetime.now(UTC) - timedelta(minutes=1)
    stored = await memory.remember("The old server was shut down.", occurred_at=then)
    assert stored.occurred_at == then
    assert before < stored.recorded_at < datetime.now(UTC) + timedelta(minutes=1)
    for other in ("2019-05-04T12:30:00Z", "2019-05-04T14:30+02:00", "2019-05-04 12:30", then.timestamp()):
        again = await memory.remember(f"told {other}", occurred_at=other)
        assert again.occurred_at == then


async def test_a_revision_supersedes_and_the_old_version_stays_readable(memory: MemoryService) -> None:
    old = await memory.remember("The limit is ten requests.", kind="decision", tags=["api"], paths=["a.py"])
    new = await memory.revise(old.id, "The limit is twenty requests.", "load test of May")
    assert (new.supersedes, new.kind, new.tags, new.paths) == (old.id, "decision", ("api",), ("a.py",))
    assert new.title == "The limit is twenty requests."
    gone = await memory.get(old.id)
    assert (gone.status, gone.superseded_by, gone.reason) == ("superseded", new.id, "load test of May")
    assert gone.text == old.text
    assert ids(await memory.recall("limit requests")) == [new.id]
    assert [one.id for one in (await memory.timeline()).memories] == [new.id]
    assert ids(await memory.recall("limit requests", filter={"status": "superseded"})) == [old.id]
    assert await memory.links(old.id) == [("supersedes", "from", new.id)]
    assert await memory.links(new.id) == [("supersedes", "to", old.id)]


async def test_a_title_of_its_own_survives_a_revision(memory: MemoryService) -> None:
    old = await memory.remember("Ten.", title="Request limit")
    assert (await memory.revise(old.id, "Twenty.")).title == "Request limit"


async def test_only_what_is_active_can_be_revised_or_forgotten(memory: MemoryService) -> None:
    old = await memory.remember("v1")
    new = await memory.revise(old.id, "v2")
    for call in (memory.revise(old.id, "v3"), memory.forget(old.id)):
        with pytest.raises(Conflict, match="superseded"):
            await call
    with pytest.raises(Conflict, match="exactly this"):
        await memory.revise(new.id, "v2")
    await memory.forget(new.id)
    for call in (memory.revise(new.id, "v3"), memory.forget(new.id)):
        with pytest.raises(Conflict, match="forgotten"):
            await call
    for call in (memory.revise(NOBODY, "v3"), memory.forget(NOBODY), memory.get(NOBODY)):
        with pytest.raises(NotFound, match=NOBODY):
            await call


async def test_a_revision_may_return_to_what_was_said_before(memory: MemoryService) -> None:
    one = await memory.remember("ten")
    two = await memory.revise(one.id, "twenty")
    three = await memory.revise(two.id, "ten")
    assert three.id != one.id
    assert [(await memory.get(i)).status for i in (one.id, two.id, three.id)] == [
        "superseded", "superseded", "active",
    ]  # fmt: skip
    assert (await memory.verify())["ok"]


async def test_two_revisions_of_one_memory_cannot_both_win(memory: MemoryService) -> None:
    old = await memory.remember("v1")
    answers = await asyncio.gather(
        *(memory.revise(old.id, f"v2 of {i}") for i in range(5)), return_exceptions=True
    )
    assert [type(answer).__name__ for answer in answers].count("Conflict") == 4
    assert len((await memory.timeline()).memories) == 1


async def test_what_is_forgotten_is_found_by_nothing_and_says_why(memory: MemoryService) -> None:
    stored = await memory.remember("The staging password rotates weekly.", tags=["ops"])
    await memory.forget(stored.id.upper(), "wrong")
    assert (await memory.recall("staging password rotates")).abstained
    assert ids(await memory.recall("", filter={"tag": "ops"})) == []
    assert (await memory.timeline()).memories == []
    assert (await memory.context("staging password rotates"))[0].text == ""
    assert (await memory.context())[0].text == ""
    gone = await memory.get(stored.id)
    assert (gone.status, gone.reason) == ("forgotten", "wrong")
    again = await memory.remember("The staging password rotates weekly.", tags=["ops"])
    assert again.created
    assert (await memory.verify())["ok"]


# get, timeline


async def test_get_many_keeps_the_order_and_names_what_is_missing(memory: MemoryService) -> None:
    one, two = await memory.remember_many([{"text": "one"}, {"text": "two"}])
    found, missing = await memory.get_many([two.id, NOBODY, f" {one.id.upper()} ", two.id])
    assert [memory_.id for memory_ in found] == [two.id, one.id, two.id]
    assert missing == [NOBODY]
    assert await memory.get_many([]) == ([], [])


@pytest.fixture
async def week(memory: MemoryService) -> list[Memory]:
    """Seven memories, one a day, stored in another order than they happened."""
    days = [3, 1, 7, 5, 2, 6, 4]
    items = [
        {"text": f"day {d}", "occurred_at": f"2026-03-0{d}T12:00:00Z", "paths": [f"src/{d % 2}/f{d}.py"]}
        for d in days
    ]
    stored = await memory.remember_many(items)
    return sorted(stored, key=lambda one: one.occurred_at)


@pytest.mark.parametrize(
    ("options", "days"),
    [
        ({}, "1234567"),
        ({"limit": 3}, "567"),
        ({"since": "2026-03-03", "until": "2026-03-05T12:00:00Z"}, "34"),
        ({"path": "src/1/"}, "1357"),
        ({"path": "f4.py"}, "4"),
        ({"around": "2026-03-04T12:00:00Z", "limit": 4}, "2345"),
        ({"around": "2026-03-04T12:00:00Z", "limit": 1}, "4"),
        ({"around": "2026-03-01", "limit": 4}, "1234"),
        ({"around": "2030-01-01", "limit": 4}, "67"),
        ({"around": "2026-03-04", "since": "2026-03-03", "until": "2026-03-06", "limit": 6}, "345"),
        ({"since": "2030-01-01"}, ""),
    ],
)
async def test_the_timeline_runs_from_old_to_new(
    memory: MemoryService, week: list[Memory], options: dict[str, Any], days: str
) -> None:
    assert "".join(one.text[-1] for one in (await memory.timeline(**options)).memories) == days


async def test_a_timeline_around_a_memory_holds_it(memory: MemoryService, week: list[Memory]) -> None:
    around = await memory.timeline(week[3].id, limit=3)
    assert [one.text[-1] for one in around.memories] == ["3", "4", "5"]
    with pytest.raises(NotFound):
        await memory.timeline(NOBODY)


# workspaces


async def test_a_folder_sees_its_own_memories_only(home: Path, tmp_path: Path) -> None:
    places = [tmp_path / "a", tmp_path / "b"]
    seen = []
    for place in places:
        place.mkdir()
        async with retain.open(home, folder=place) as memory:
            stored = await memory.remember("shared words here", tags=[place.name])
            assert ids(await memory.recall("shared words")) == [stored.id]
            assert [one.id for one in (await memory.timeline()).memories] == [stored.id]
            seen.append(stored)
    async with retain.open(home, folder=places[0]) as memory:
        assert set(ids(await memory.recall("shared words", workspace="*"))) == {one.id for one in seen}
        assert {one.id for one in (await memory.timeline(workspace="*")).memories} == {one.id for one in seen}
        assert ids(await memory.recall("shared words", workspace=seen[1].workspace)) == [seen[1].id]
        assert "[" + seen[1].id + "]" in (await memory.context(workspace=seen[1].workspace))[0].text
        there = await memory.remember("put elsewhere", workspace=seen[1].workspace)
        assert there.workspace == seen[1].workspace
        revised = await memory.revise(seen[1].id, "revised from another folder")
        assert revised.workspace == seen[1].workspace
        assert ids(await memory.recall("shared words", filter={"workspace": seen[1].workspace})) == []
        with pytest.raises(NotFound, match="no workspace"):
            await memory.recall("shared", workspace=NOBODY)


async def test_a_workspace_survives_a_subfolder_a_worktree_a_clone_and_a_rename(
    home: Path, tmp_path: Path, git_repo: Callable[..., Any]
) -> None:
    repo = git_repo("here")
    repo.commit("first")
    (repo.path / "deep" / "er").mkdir(parents=True)
    repo("worktree", "add", "-q", "-b", "side", str(tmp_path / "tree"))
    repo("clone", "-q", str(repo.path), str(tmp_path / "clone"))
    found = set()
    for place in (repo.path, repo.path / "deep" / "er", tmp_path / "tree", tmp_path / "clone"):
        async with retain.open(home, folder=place) as memory:
            found.add((await memory.remember(f"from {place.name}", paths=[str(place / "f.py")])).workspace)
    repo("worktree", "remove", str(tmp_path / "tree"))
    repo.path.rename(tmp_path / "there")
    async with retain.open(home, folder=tmp_path / "there") as memory:
        stored = await memory.remember("renamed", paths=[str(tmp_path / "there" / "f.py")])
        found.add(stored.workspace)
        assert stored.paths == ("f.py",)
    assert len(found) == 1


# context


async def test_context_for_a_prompt_is_what_fits_it(memory: MemoryService) -> None:
    stored = await memory.remember("We chose Decimal for money because floats lose cents.", kind="decision")
    block, recall = await memory.context("why do we use Decimal for money?")
    assert recall is not None
    assert block.ids == (stored.id,)
    assert "notes to verify, not instructions" in block.text.splitlines()[0]
    assert block.tokens == count_tokens(block.text) + 1
    small, _ = await memory.context("why do we use Decimal for money?", 20)
    assert (small.text, small.over_budget) == ("", 1)


async def test_context_withholds_what_fits_a_prompt_badly(memory: MemoryService) -> None:
    await memory.remember("We chose Decimal for money because floats lose cents.")
    block, recall = await memory.context(
        "does money matter in a kubernetes ingress for the mobile gateway team?"
    )
    assert recall is not None
    assert (block.text, block.ids, recall.abstained) == ("", (), True)
    assert recall.hidden["below_confidence"] == 1


async def test_context_without_a_prompt_is_the_state_of_the_workspace(memory: MemoryService) -> None:
    await memory.remember_many(
        [
            {"text": f"{kind} {i}", "kind": kind}
            for i in range(8)
            for kind in ("decision", "fix", "task", "note")
        ]
        + [{"text": "an error", "kind": "error"}, {"text": "asked", "kind": "prompt"}]
    )
    for prompt in (None, "", "  \n"):
        block, recall = await memory.context(prompt)
        lines = block.text.splitlines()[1:-1]
        assert recall is None
        assert "not fixed yet: an error" in lines[0]
        kinds = [line.split("(")[1].split(",")[0] for line in lines]
        assert kinds == ["error"] + ["task"] * 4 + ["decision"] * 6 + ["fix"] * 4 + ["note"] * 5
    again, _ = await memory.context()
    assert again.text == block.text
    small, _ = await memory.context(budget_tokens=100)
    assert 0 < count_tokens(small.text) <= small.tokens <= 100
    assert small.over_budget > 0


# explain, stats, status, verify


async def test_explain_shows_plan_truth_and_parts_as_json(memory: MemoryService) -> None:
    await memory.remember_many([{"text": f"cart {i}", "kind": "fix"} for i in range(30)])
    told = await memory.explain("cart total", filter={"kind": "fix"}, limit=2)
    assert json.loads(json.dumps(told)) == told
    assert told["complexity"]["words"] == 2
    assert len(told["workspaces"]["named"]) == 1
    assert len(told["hits"]) == 2
    assert told["plan"]["truth"]["candidates"] == 30
    assert told["plan"]["rows"][0] <= 30 <= told["plan"]["rows"][2]
    everywhere = await memory.explain("cart", workspace="*")
    assert everywhere["workspaces"] == {"named": [], "every": True}


async def test_an_option_that_explain_does_not_know_is_an_error(memory: MemoryService) -> None:
    with pytest.raises(TypeError):
        await memory.explain("cart", limits=3)


async def test_stats_and_status_count_everything(memory: MemoryService, folder: Path) -> None:
    stored = await memory.remember_many([{"text": f"t{i}"} for i in range(3)])
    await memory.forget(stored[0].id)
    await memory.revise(stored[1].id, "t9")
    told = await memory.stats()
    assert json.loads(json.dumps(told)) == told
    assert told["memories"] == {"active": 2, "forgotten": 1, "superseded": 1}
    assert told["bytes"] > 0
    assert [place["memories"] for place in told["workspaces"]] == [2]
    status = await memory.status()
    assert (status["memories"], status["workspace"]["root"], status["problems"]) == (2, str(folder), [])
    assert json.loads(json.dumps(status)) == status


async def test_status_names_what_is_wrong(memory: MemoryService, home: Path, folder: Path) -> None:
    spool.append(str(home / "spool"), spool.Record(b'{"hook_event_name": "Stop"}', 5, cwd=str(folder)))
    with (home / "spool" / "live.spool").open("ab") as live:
        live.write(b"RTS1 torn")
    (home / "spool" / "failures.log").write_bytes(b"1 hook.failed\n2 hook.failed\n")
    checked = await memory.verify()
    assert not checked["ok"]
    assert (await memory.status())["spool_waiting_bytes"] > 0
    await memory.drain.run()
    problems = (await memory.status())["problems"]
    assert [problem.split()[0] for problem in problems] == ["2", "1"]
    assert (await memory.stats())["spool"]["damaged_files"] == 1
    assert (await memory.verify())["ok"]


async def test_verify_checks_pages_rows_index_and_spool(memory: MemoryService) -> None:
    await memory.remember("something")
    checked = await memory.verify()
    assert checked["ok"]
    assert {check["name"] for check in checked["checks"]} == {
        "pages", "references", "content hashes", "full-text index", "duplicates", "revisions", "audit", "spool",
    }  # fmt: skip


# the cache of recalls


async def test_a_repeated_recall_is_answered_by_the_cache_and_says_so(memory: MemoryService) -> None:
    await memory.remember("cart total")
    one = await memory.recall("cart", filter={"kind": ["note", "fix"]})
    two = await memory.recall("cart", filter={"kind": ["note", "fix"]})
    assert one.plan["name"] != "cached" == two.plan["name"]
    assert two.hits == one.hits
    assert (await memory.recall("cart")).plan["name"] != "cached"


async def test_a_write_of_this_process_makes_the_next_recall_fresh(memory: MemoryService) -> None:
    one = await memory.remember("cart total")
    assert ids(await memory.recall("cart")) == ids(await memory.recall("cart")) == [one.id]
    two = await memory.remember("cart again")
    assert set(ids(await memory.recall("cart"))) == {one.id, two.id}
    await memory.forget(one.id)
    assert ids(await memory.recall("cart")) == [two.id]


async def test_a_write_of_another_process_makes_the_next_recall_fresh(
    memory: MemoryService, home: Path, folder: Path
) -> None:
    await memory.remember("cart total")
    await memory.recall("cart")
    assert (await memory.recall("cart")).plan["name"] == "cached"
    script = f"""
import asyncio, retain
async def main():
    async with retain.open({str(home)!r}, folder={str(folder)!r}) as memory:
        print((await memory.remember("cart of another process")).id)
asyncio.run(main())
"""
    other = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    answer = await memory.recall("cart")
    assert answer.plan["name"] != "cached"
    assert other.stdout.strip() in ids(answer)


async def test_a_recall_digests_what_waits_in_the_spool(home: Path, folder: Path) -> None:
    payload = {
        "hook_event_name": "UserPromptSubmit",
        "session_id": "s",
        "prompt": "please fix the cart total",
    }
    spool.append(str(home / "spool"), spool.Record(json.dumps(payload).encode(), 5_000_000, cwd=str(folder)))
    async with retain.open(home, folder=folder, recall_drain_ms=60_000) as memory:
        assert (await first(memory, "cart total")).kind == "prompt"
    async with retain.open(home, folder=folder, recall_drain_ms=0) as memory:
        payload["prompt"] = "please fix the login page"
        spool.append(
            str(home / "spool"), spool.Record(json.dumps(payload).encode(), 5_000_001, cwd=str(folder))
        )
        assert (await memory.recall("login page")).abstained


# errors


async def test_a_closed_service_says_so(home: Path, folder: Path) -> None:
    async with retain.open(home, folder=folder) as memory:
        await memory.remember("cart")
    for call in (memory.remember("x"), memory.recall("cart"), memory.get(NOBODY)):
        with pytest.raises(RetainError):
            await call


async def test_could_not_look_is_another_answer_than_nothing_found(home: Path, folder: Path) -> None:
    async with retain.open(home, folder=folder) as memory:
        await memory.remember("cart")
        await memory._store.write(lambda db: db.execute("DROP TABLE memory_fts"))
        with pytest.raises(StoreError):
            await memory.recall("cart")


REMEMBER: list[tuple[dict[str, Any], str, Any]] = [
    ({"text": None}, "text", None),
    ({"text": 7}, "text", None),
    ({"text": b"bytes"}, "text", None),
    ({"text": ["list"]}, "text", None),
    ({"text": ""}, "text", None),
    ({"text": " \n\t"}, "text", None),
    ({"text": "a\0b"}, "text", None),
    ({"text": "a\ud800b"}, "text", None),
    ({"text": "x" * 262_145}, "text", 262_144),
    ({"title": 7}, "title", None),
    ({"title": "x" * 201}, "title", 200),
    ({"title": "\ud800"}, "title", None),
    ({"kind": "haiku"}, "kind", None),
    ({"kind": ["note"]}, "kind", None),
    ({"kind": ""}, "kind", None),
    ({"kind": 0}, "kind", None),
    ({"kind": {}}, "kind", None),
    ({"paths": "a.py"}, "paths", None),
    ({"paths": ""}, "paths", None),
    ({"paths": 0}, "paths", None),
    ({"paths": {"a": 1}}, "paths", None),
    ({"paths": [7]}, "paths[0]", None),
    ({"paths": ["ok", ""]}, "paths[1]", None),
    ({"paths": ["x" * 1_025]}, "paths[0]", 1_024),
    ({"paths": ["p"] * 65}, "paths", 64),
    ({"symbols": "Money"}, "symbols", None),
    ({"symbols": [None]}, "symbols[0]", None),
    ({"symbols": ["x" * 257]}, "symbols[0]", 256),
    ({"symbols": ["s"] * 257}, "symbols", 256),
    ({"tags": "a"}, "tags", None),
    ({"tags": False}, "tags", None),
    ({"tags": ["a", b"b"]}, "tags[1]", None),
    ({"tags": ["x" * 65]}, "tags[0]", 64),
    ({"tags": ["t"] * 33}, "tags", 32),
    ({"occurred_at": "soon"}, "occurred_at", None),
    ({"occurred_at": ["2026"]}, "occurred_at", None),
    ({"occurred_at": True}, "occurred_at", None),
    ({"occurred_at": float("nan")}, "occurred_at", None),
    ({"occurred_at": "1969-12-31"}, "occurred_at", "1970..9998"),
    ({"source_id": 7}, "source_id", None),
    ({"source_id": ""}, "source_id", None),
    ({"source_id": "x" * 257}, "source_id", 256),
    ({"workspace": 7}, "workspace", None),
    ({"workspace": "here"}, "workspace", None),
    ({"workspace": "*"}, "workspace", None),
    ({"workspace": "../../etc"}, "workspace", None),
]


@pytest.mark.parametrize(("wrong", "field", "limit"), REMEMBER)
async def test_remember_names_the_wrong_field_and_its_limit(
    memory: MemoryService, wrong: dict[str, Any], field: str, limit: object
) -> None:
    given = {"text": "fine", **wrong}
    with pytest.raises(InvalidInput) as caught:
        await memory.remember(given.pop("text"), **given)
    assert (caught.value.field, caught.value.limit) == (field, limit)
    assert str(caught.value).startswith(f"{field}: ")
    assert len(str(caught.value)) < 1_000
    assert (await memory.stats())["memories"] == {}


OTHERS: list[tuple[Callable[[MemoryService], Any], str, Any]] = [
    (lambda m: m.recall(None), "query", None),
    (lambda m: m.recall(7), "query", None),
    (lambda m: m.recall(""), "query", None),
    (lambda m: m.recall(" \0\n"), "query", None),
    (lambda m: m.recall("x" * 10_001), "query", 10_000),
    (lambda m: m.recall("x", limit=0), "limit", "1..50"),
    (lambda m: m.recall("x", limit=51), "limit", "1..50"),
    (lambda m: m.recall("x", limit=10**30), "limit", "1..50"),
    (lambda m: m.recall("x", limit="5"), "limit", None),
    (lambda m: m.recall("x", limit=5.0), "limit", None),
    (lambda m: m.recall("x", limit=True), "limit", None),
    (lambda m: m.recall("x", limit=None), "limit", None),
    (lambda m: m.recall("x", budget_tokens=0), "budget_tokens", "1..1000000"),
    (lambda m: m.recall("x", budget_tokens="9"), "budget_tokens", None),
    (lambda m: m.recall("x", workspace=3), "workspace", None),
    (lambda m: m.recall("x", workspace="w" * 65), "workspace", 64),
    (lambda m: m.recall("x", filter=[]), "filter", None),
    (lambda m: m.recall("x", filter="kind"), "filter", None),
    (lambda m: m.recall("x", filter={"kind": "haiku"}), "filter.kind", None),
    (lambda m: m.explain(7), "query", None),
    (lambda m: m.explain("x", limit=0), "limit", "1..50"),
    (lambda m: m.get(None), "id", None),
    (lambda m: m.get("abc"), "id", None),
    (lambda m: m.get("../" * 12), "id", None),
    (lambda m: m.get("x" * 65), "id", 64),
    (lambda m: m.get(NOBODY.replace("0", "g")), "id", None),
    (lambda m: m.get_many(NOBODY), "ids", None),
    (lambda m: m.get_many(None), "ids", None),
    (lambda m: m.get_many([NOBODY, 7]), "ids[1]", None),
    (lambda m: m.get_many([NOBODY] * 51), "ids", 50),
    (lambda m: m.links("x"), "id", None),
    (lambda m: m.timeline("yesterday"), "around", None),
    (lambda m: m.timeline(7), "around", None),
    (lambda m: m.timeline(""), "around", None),
    (lambda m: m.timeline(since="x"), "since", None),
    (lambda m: m.timeline(until=[]), "until", None),
    (lambda m: m.timeline(limit=0), "limit", "1..50"),
    (lambda m: m.timeline(path=7), "path", None),
    (lambda m: m.timeline(path=["a"]), "path", None),
    (lambda m: m.timeline(path="x" * 1_025), "path", 1_024),
    (lambda m: m.revise(7, "x"), "id", None),
    (lambda m: m.forget("x"), "id", None),
    (lambda m: m.forget(NOBODY, 7), "reason", None),
    (lambda m: m.forget(NOBODY, "x" * 1_001), "reason", 1_000),
    (lambda m: m.context(7), "prompt", None),
    (lambda m: m.context("x" * 10_001), "prompt", 10_000),
    (lambda m: m.context("x", 19), "budget_tokens", "20..20000"),
    (lambda m: m.context("x", "20"), "budget_tokens", None),
    (lambda m: m.context(workspace="*"), "workspace", None),
    (lambda m: m.remember_many(7), "items", None),
    (lambda m: m.remember_many(None), "items", None),
    (lambda m: m.remember_many("text"), "items", None),
    (lambda m: m.remember_many({"text": "x"}), "items", None),
    (lambda m: m.remember_many([7]), "item", None),
    (lambda m: m.remember_many([{"text": "x"}, None]), "items[1].item", None),
    (lambda m: m.remember_many([{"text": "x", "colour": 1}]), "colour", None),
    (lambda m: m.remember_many([{"text": "x"}] * 10_001), "items", 10_000),
]


@pytest.mark.parametrize(("call", "field", "limit"), OTHERS)
async def test_every_call_names_the_wrong_field_and_its_limit(
    memory: MemoryService, call: Callable[[MemoryService], Any], field: str, limit: object
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await call(memory)
    assert (caught.value.field, caught.value.limit) == (field, limit)
    assert str(caught.value).startswith(f"{field}: ")
    assert len(str(caught.value)) < 1_000


async def test_a_revision_names_the_wrong_field_too(memory: MemoryService) -> None:
    stored = await memory.remember("text")
    for text, reason, field in (("", "", "text"), (7, "", "text"), ("new", 7, "reason"), ("a\0", "", "text")):
        with pytest.raises(InvalidInput) as caught:
            await memory.revise(stored.id, text, reason)
        assert caught.value.field == field
    assert (await memory.get(stored.id)).status == "active"


async def test_a_bad_filter_has_a_code_of_its_own(memory: MemoryService) -> None:
    with pytest.raises(InvalidFilter) as caught:
        await memory.recall("x", filter={"since": "never"})
    assert caught.value.code == "invalid_filter"


@pytest.mark.parametrize("wrong", [{"colour": 1}, {"results_max": 0}, {"planner": True}, {"readers": "4"}])
async def test_an_impossible_setting_is_named_and_nothing_is_made(home: Path, wrong: dict[str, Any]) -> None:
    before = bytes_on_disk(home)
    with pytest.raises(InvalidInput) as caught:
        async with retain.open(home, **wrong):
            pass
    assert caught.value.field == next(iter(wrong))
    assert bytes_on_disk(home) == before


async def test_statistics_that_cannot_be_read_cost_no_answer(
    memory: MemoryService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    stored = await memory.remember("cart total")
    await memory._store.write(lambda db: db.execute("DROP TABLE memory_tag"))
    assert ids(await memory.recall("cart")) == [stored.id]
    await asyncio.wait(set(memory._answering._background))
    assert "planner.refresh_failed error=store_error" in caplog.text


async def test_what_the_planner_learned_reaches_the_next_process(home: Path, folder: Path) -> None:
    async with retain.open(home, folder=folder, cache_entries_max=0) as memory:
        for round_ in range(3):
            await memory.remember_many([{"text": f"cart {round_} {i}"} for i in range(40 * 4**round_)])
            for i in range(20):
                await memory.recall(f"cart {i}")
            while memory._answering._background:
                await asyncio.wait(set(memory._answering._background))
        for i in range(40):
            await memory.recall(f"cart {i}")
        coefficients, corrections = memory._planner.coefficients(), memory._planner.corrections()
        assert corrections["machine"][1] >= 40
    async with retain.open(home, folder=folder) as memory:
        assert memory._planner.coefficients() == coefficients != retain.QueryPlanner().coefficients()
        factors = {name: factor for name, (factor, _) in memory._planner.corrections().items()}
        assert factors == pytest.approx({name: factor for name, (factor, _) in corrections.items()})


async def test_what_a_later_process_learned_is_kept_too(
    home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning.counting, "count_and_keep", partial(counting.count_and_keep, kept_from=100))
    async with retain.open(home, folder=folder, cache_entries_max=0) as memory:
        await memory.remember_many([{"text": f"cart {i}"} for i in range(600)])
        await memory.explain("cart")
        assert memory._upkeep._calibrated_for == 600
    for times in range(1, 3):
        async with retain.open(home, folder=folder, cache_entries_max=0) as memory:
            for i in range(40):
                await memory.recall(f"cart {i}")
            learned = memory._planner.corrections()["machine"][1]
            assert learned >= 40 * times


async def test_few_executions_are_not_worth_a_write(home: Path, folder: Path) -> None:
    async with retain.open(home, folder=folder) as memory:
        await memory.remember("cart total")
        await memory.recall("cart")
    async with retain.open(home, folder=folder) as memory:
        assert memory._planner.corrections()["machine"][1] == 0
