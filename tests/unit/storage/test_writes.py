"""What is written: exact duplicates merge, retries change nothing, history stays, contradictions are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import apsw
import pytest

from retain.errors import Conflict, NotFound
from retain.model import Draft, from_us, new_id
from retain.storage import writes
from retain.storage.later import Later
from retain.storage.reads import Reader
from retain.storage.writes import NewMemory

Remember = Callable[..., Any]


def revision(text: str, **fields: Any) -> NewMemory:
    return NewMemory(id=new_id(), workspace=1, draft=Draft(text=text, **fields), now_us=2000)


def test_an_exact_duplicate_is_merged_and_counted(remember: Remember, reader: Reader) -> None:
    first = remember("fact", tags=("b", "a"))
    second = remember("fact", tags=("a", "b"), now_us=5000)
    assert (first.created, second.created, second.id) == (True, False, first.id)
    assert reader.by_ids([first.id])[first.id].seen == 2
    for other in (
        {"title": "t"},
        {"kind": "decision"},
        {"paths": ("x",)},
        {"tags": ("a",)},
        {"workspace": 2},
    ):
        assert remember("fact", **({"tags": ("a", "b")} | other)).created


def test_a_memory_that_is_seen_on_another_branch_leaves_no_statement_unfinished(
    remember: Remember, db: apsw.Connection
) -> None:
    remember("fact", branch="main", commit="1" * 40)
    remember("fact", branch="side", commit="2" * 40)
    assert db.txn_state("main") == apsw.SQLITE_TXN_NONE
    assert db.execute("SELECT branch FROM memory_sighting").get == "side"


def test_the_same_id_again_changes_nothing(remember: Remember, reader: Reader) -> None:
    first = remember("fact", id="id-1")
    assert not remember("fact", id="id-1").created
    assert not remember("something else", id="id-1").created
    assert (reader.by_ids(["id-1"])["id-1"].seen, first.key) == (1, first.key)


def test_a_source_id_names_one_content_for_good(remember: Remember) -> None:
    first = remember("fact", source_id="s-1")
    again = remember("fact", source_id="s-1")
    assert (again.id, again.created) == (first.id, False)
    with pytest.raises(Conflict, match="s-1") as caught:
        remember("other fact", source_id="s-1")
    assert caught.value.hint
    assert remember("other fact", source_id="s-1", workspace=2).created


def test_a_duplicate_takes_over_the_first_source_id_it_is_given(remember: Remember, reader: Reader) -> None:
    first = remember("fact")
    remember("fact", source_id="s-1")
    assert reader.by_ids([first.id])[first.id].source_id == "s-1"
    assert remember("fact", source_id="s-1").id == first.id


def test_a_memory_happened_when_it_says_or_now(remember: Remember, reader: Reader) -> None:
    now, then = remember("now", now_us=7), remember("then", now_us=7, occurred_at=from_us(3))
    found = reader.load([now.key, then.key])
    assert (found[now.key].occurred_at, found[then.key].occurred_at) == (from_us(7), from_us(3))
    assert found[then.key].recorded_at == from_us(7)


def test_a_revision_supersedes_and_both_stay(remember: Remember, reader: Reader, db: apsw.Connection) -> None:
    old = remember("we use floats for money")
    new = writes.supersede(db, old.id, revision("we use decimals for money"), "floats round")
    found = reader.by_ids([old.id, new.id])
    assert (found[old.id].status, found[old.id].superseded_by, found[old.id].reason) == (
        "superseded",
        new.id,
        "floats round",
    )
    assert (found[new.id].status, found[new.id].supersedes) == ("active", old.id)
    assert reader.links(new.id) == [("supersedes", "to", old.id)]
    assert reader.links(old.id) == [("supersedes", "from", new.id)]
    with pytest.raises(Conflict, match="is superseded"):
        writes.supersede(db, old.id, revision("again"), "x")


def test_a_revision_that_says_the_same_is_refused(remember: Remember, db: apsw.Connection) -> None:
    old = remember("fact")
    with pytest.raises(Conflict, match="already says exactly this"):
        writes.supersede(db, old.id, revision("fact"), "x")


def test_what_is_forgotten_is_found_by_nothing_and_says_why(
    remember: Remember, reader: Reader, db: apsw.Connection
) -> None:
    gone = remember("unforgettable word")
    writes.forget(db, gone.id, "wrong")
    memory = reader.by_ids([gone.id])[gone.id]
    assert (memory.status, memory.reason) == ("forgotten", "wrong")
    assert db.execute("SELECT count(*) FROM memory_fts WHERE memory_fts MATCH 'unforgettable'").get == 0
    with pytest.raises(Conflict, match="is forgotten"):
        writes.forget(db, gone.id, "twice")
    assert remember("unforgettable word").created


@pytest.mark.parametrize("act", [writes.forget, lambda db, i, r: writes.supersede(db, i, revision("x"), r)])
def test_what_is_not_there_cannot_be_changed(act: Callable[..., object], db: apsw.Connection) -> None:
    with pytest.raises(NotFound, match="no memory nobody"):
        act(db, "nobody", "reason")


@pytest.mark.parametrize(
    ("source_id", "signature", "expected"),
    [("", "E1", ["error 2"]), ("s-1", "E1", ["error 1"]), ("s-3", "E9", ["error 3"]), ("", "E9", [])],
)
def test_a_fix_is_linked_to_the_error_it_ended_else_to_the_newest_of_its_signature(
    source_id: str,
    signature: str,
    expected: list[str],
    remember: Remember,
    reader: Reader,
    db: apsw.Connection,
) -> None:
    for at, of in [(1, "E1"), (2, "E1"), (3, "E2")]:
        remember(
            f"error {at}", kind="error", extra={"signature": of}, occurred_at=from_us(at), source_id=f"s-{at}"
        )
    remember("error elsewhere", workspace=2, kind="error", extra={"signature": "E9"})
    fix = remember("the fix", kind="fix")
    for _ in range(2):
        writes.link_to_error(db, fix.key, 1, source_id=source_id, signature=signature)
    links = reader.links(fix.id)
    assert [(kind, direction) for kind, direction, _ in links] == [("fixes", "to")] * len(expected)
    assert [reader.by_ids([other])[other].text for _, _, other in links] == expected


def test_a_workspace_keeps_its_key_and_learns_new_places(db: apsw.Connection, reader: Reader) -> None:
    def add(identity: str, alias: str, workspace_id: str = "w") -> int:
        return writes.add_workspace(
            db, workspace_id=workspace_id, identity=identity, name="n", root="/r", alias=alias, now_us=1
        )

    first = add("git:1", "/a")
    assert add("git:1", "/b", "ignored") == first
    second = add("git:2", "/b", "w2")  # another repository took the place
    assert second != first
    at = {place: reader.workspace_at(place) for place in ("/a", "/b", "/c")}
    assert (at["/a"].id, at["/b"].id, at["/c"]) == ("w", "w2", None)  # type: ignore[union-attr]
    assert reader.workspace_by_id("w2") == at["/b"]
    assert (reader.workspace_key("w2"), reader.workspace_key("nobody")) == (second, None)
    assert [(workspace.id, count) for workspace, count in reader.workspaces()] == [("w", 0), ("w2", 0)]


def test_a_session_is_opened_by_its_first_event_and_closed_by_its_end(
    remember: Remember, db: apsw.Connection
) -> None:
    remember()

    def touch(at_us: int, **fields: Any) -> tuple[object, ...]:
        writes.touch_session(db, workspace=1, session="s", at_us=at_us, **fields)
        return db.execute("SELECT started_us, ended_us, source, end_reason FROM session").fetchall()[0]

    assert touch(5) == (5, None, "", "")
    assert touch(3, source="startup") == (3, None, "startup", "")
    assert touch(9, end_reason="clear") == (3, 9, "startup", "clear")


def test_the_tracker_of_a_session_is_kept(remember: Remember, db: apsw.Connection) -> None:
    remember()
    assert writes.tracker_state(db, 1, "s") == "{}"
    writes.touch_session(db, workspace=1, session="s", at_us=1)
    writes.set_tracker_state(db, 1, "s", '{"a":1}')
    assert writes.tracker_state(db, 1, "s") == '{"a":1}'


def test_a_receipt_is_kept_once(remember: Remember, db: apsw.Connection, reader: Reader) -> None:
    remember()
    assert not Later().has_receipt(db, "e-1")
    for number, outcome in enumerate(("kept", "merged", "dead")):
        later = Later()
        for said in (outcome, "empty"):  # within a transaction, and in one after it
            later.add_receipt(
                event_id="e-1", workspace=1, session="s", name="Stop", received_us=1, drained_us=2 + number,
                outcome=said, memories=1, redacted={"key": 2},
            )  # fmt: skip
        assert later.has_receipt(db, "e-1")
        later.flush(db)
        assert Later().has_receipt(db, "e-1")
    assert reader.counts()["events"] == {"kept": 1}
    assert reader.counts()["redacted"] == {"key": 2}


def test_dead_letters_are_kept_once_and_listed_newest_first(db: apsw.Connection, reader: Reader) -> None:
    for event, at in [("e-1", 1), ("e-2", 2), ("e-1", 3)]:
        writes.add_dead_letter(db, event_id=event, received_us=at, error=f"error {at}", payload=b"p")
    assert [(letter["id"], letter["error"]) for letter in reader.dead_letters(9)] == [
        ("e-2", "error 2"),
        ("e-1", "error 1"),
    ]
    assert len(reader.dead_letters(1)) == 1
    assert reader.counts()["dead_letters"] == 2


def test_the_last_prompt_of_a_session_is_the_newest(remember: Remember, db: apsw.Connection) -> None:
    assert writes.last_prompt(db, 1, "s") == (0, "")
    for at, title in [(2, "second"), (1, "first")]:
        remember(title, title=title, kind="prompt", session="s", occurred_at=from_us(at))
    remember("other", title="other", kind="prompt", session="s2", occurred_at=from_us(9))
    assert writes.last_prompt(db, 1, "s")[1] == "second"


def test_facts_are_replaced(db: apsw.Connection, reader: Reader) -> None:
    assert reader.fact("planner") is None
    for value in ([1, 2], {"a": None}):
        writes.set_facts(db, [("planner", value)])
        assert reader.fact("planner") == value


@pytest.mark.anyio
async def test_the_same_memory_remembered_a_hundred_times_at_once_is_one(open_store: Any) -> None:
    async with open_store() as store:

        def add(db: apsw.Connection) -> bool:
            key = writes.add_workspace(
                db, workspace_id="w", identity="i", name="n", root="/", alias="/", now_us=1
            )
            return writes.add_memory(
                db, NewMemory(id=new_id(), workspace=key, draft=Draft(text="one"), now_us=1)
            ).created

        assert sum(await asyncio.gather(*(store.write(add) for _ in range(100)))) == 1
        (memory,) = (await store.read(lambda reader: reader.load([1]))).values()
        assert memory.seen == 100
