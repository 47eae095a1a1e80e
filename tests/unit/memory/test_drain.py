"""The drain: events become memories exactly once, in order, and nothing that happens loses one."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import retain
from retain.capture import distil as distilling
from retain.capture.redact import redact
from retain.errors import StoreBusy
from retain.memory.digesting import ERROR_CHARS_MAX, LETTER_BYTES_MAX
from retain.memory.drain import DrainReport
from retain.memory.service import MemoryService
from retain.model import Memory
from retain.storage import writes

pytestmark = pytest.mark.anyio

SECRET = "ghp_" + "Zt9Kq2Lm8Xw4Rv6Bn3Jd5Hf7Ps1Gc0YaUe"  # made up, in the shape of a GitHub token


async def stored(memory: MemoryService) -> list[Memory]:
    """Every active memory, oldest first."""
    return await memory._store.read(lambda r: list(r.load(range(1, r.total() + 1)).values()))


def bytes_on_disk(home: Path) -> bytes:
    return b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())


async def rows(memory: MemoryService, sql: str) -> list[Any]:
    return await memory._store.read(lambda r: r.connection.execute(sql).fetchall())


async def test_events_become_memories_and_the_spool_is_empty(memory: MemoryService, events: Any) -> None:
    events.prompts(100)
    report = await memory.drain.run()
    assert (report.events, report.memories, report.replayed, report.dead) == (100, 100, 0, 0)
    assert [one.text[-6:] for one in await stored(memory)][:2] == ["0 of s", "1 of s"]
    assert events.files() == []
    assert memory.drain.waiting_bytes() == 0
    assert (await memory.drain.run()).events == 0
    assert memory.drain.totals.events == 100


async def test_an_empty_or_missing_spool_is_no_work(memory: MemoryService) -> None:
    assert await memory.drain.run() == DrainReport()


async def test_a_replay_after_a_crash_between_commit_and_removal_changes_nothing(
    memory: MemoryService, events: Any
) -> None:
    events.prompts(10)
    events.bash("pytest tests/a.py", "FAILED tests/a.py::test_x - assert 1 == 2", failed=True)
    events.bash("pytest tests/a.py", "1 passed", failed=False)
    segment = (events.directory / "live.spool").read_bytes()
    first = await memory.drain.run()
    before = await stored(memory)
    (events.directory / "seal-00000000000000000001-1.spool").write_bytes(segment)
    again = await memory.drain.run()
    assert (again.events, again.replayed, again.memories) == (first.events, first.events, 0)
    assert await stored(memory) == before
    assert events.files() == []


async def test_the_same_event_delivered_twice_is_one_memory(memory: MemoryService, events: Any) -> None:
    events.put(prompt="please mend the cart total", prompt_id="p1")
    events.put(prompt="please mend the cart total", prompt_id="p1", transcript_path="/elsewhere")
    report = await memory.drain.run()
    assert (report.events, report.memories, report.replayed) == (2, 1, 1)


async def test_the_same_words_on_another_occasion_are_one_memory_seen_twice(
    memory: MemoryService, events: Any
) -> None:
    events.put(prompt="please mend the cart total", prompt_id="p1")
    events.put(prompt="please mend the cart total", prompt_id="p2", session="t")
    report = await memory.drain.run()
    assert (report.events, report.memories, report.replayed) == (2, 1, 0)
    assert [one.seen for one in await stored(memory)] == [2]
    assert (await memory.stats())["events"] == {"kept": 1, "merged": 1}


async def test_damage_is_set_aside_and_counted_and_the_rest_goes_on(
    memory: MemoryService, events: Any, caplog: pytest.LogCaptureFixture
) -> None:
    events.prompts(3, "a")
    live = events.directory / "live.spool"
    with live.open("ab") as file:
        file.write(b"torn record RTS1 of a crash")
    events.prompts(3, "b")
    with live.open("ab") as file:
        file.write(b"RTS1 at the end")
    report = await memory.drain.run()
    assert (report.events, report.memories, report.damaged_bytes) == (6, 6, 42)
    kept = sorted((events.directory / "damaged").iterdir())
    assert sorted(path.read_bytes() for path in kept) == [b"RTS1 at the end", b"torn record RTS1 of a crash"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in kept)
    assert "stretches=2 bytes=42" in caplog.text
    assert len((await memory.status())["problems"]) == 1
    assert events.files() == []


async def test_a_segment_of_damage_only_is_set_aside(memory: MemoryService, events: Any) -> None:
    events.directory.mkdir(parents=True)
    (events.directory / "own-1-1.spool").write_bytes(b"\0" * 4096)
    assert (await memory.drain.run()).damaged_bytes == 4096
    assert events.files() == []


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"hook_event_name": 7}', b'{"hook_event_name": "Stop", "cwd": 5}',
     b'{"hook_event_name": "PostToolUse", "tool_name": "Bash", "tool_input": []}', b"[" * 5_000,
     b'{"hook_event_name": "Stop", "cwd": "/a\\u0000b"}', b'{"hook_event_name": "Stop", "cwd": "../.."}',
     b'{"hook_event_name": "UserPromptSubmit", "prompt": "\\ud800 please mend the cart"}',
     b'{"hook_event_name": "' + b"x" * 5_000 + b'", "session_id": "' + b"y" * 5_000 + b'"}'],
)  # fmt: skip
async def test_no_payload_stops_the_spool(memory: MemoryService, events: Any, payload: bytes) -> None:
    events.put_bytes(payload)
    events.put_bytes(payload, truncated=True)
    events.prompts(1)
    report = await memory.drain.run()
    assert report.events == 3
    assert report.memories >= 1
    assert events.files() == []
    assert (await memory.verify())["ok"]


async def test_a_poison_event_becomes_a_dead_letter_without_secrets(
    memory: MemoryService,
    events: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    home: Path,
) -> None:
    def explode(event: Any, root: str) -> Any:
        raise LookupError(f"cannot read {event.payload['last_assistant_message']} of {SECRET}")

    monkeypatch.setitem(distilling.DISTILLERS, "Stop", explode)
    told = f'export TOKEN="{SECRET}"\npassword: "hunter2-and-more"\n<private>the wedding</private>'
    events.prompts(5, "before")
    events.put("Stop", last_assistant_message=told, padding="x" * 600_000, session="middle")
    events.prompts(5, "after")
    report = await memory.drain.run()
    assert (report.events, report.memories, report.dead) == (11, 10, 1)
    ((payload, error),) = await rows(memory, "SELECT payload, error FROM dead_letter")
    assert error.startswith("LookupError: cannot read")
    assert len(error) <= ERROR_CHARS_MAX
    assert len(payload) == LETTER_BYTES_MAX
    for hidden in (SECRET, "hunter2", "wedding"):
        assert hidden not in error
        assert hidden.encode() not in payload
        assert hidden not in caplog.text
        assert hidden.encode() not in bytes_on_disk(home)
    assert "drain.dead event=Stop error=LookupError" in caplog.text
    assert (await memory.stats())["events"]["dead"] == 1
    assert "1 events could not be digested" in (await memory.status())["problems"][0]
    assert events.files() == []
    assert (await memory.drain.run()).events == 0


async def test_a_letter_that_cannot_be_redacted_is_kept_empty(
    memory: MemoryService, events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Redaction never fails on its own; an engine that does stands for a bug in it.
    from retain.capture import redact as redaction

    class Broken:
        def redact(self, text: str) -> Any:
            if "kaboom" in text:
                raise RecursionError("in a rule")
            return whole.redact(text)

        def redact_many(self, texts: list[str]) -> Any:
            return [self.redact(text) for text in texts]

    whole = redaction._rules.redactor
    monkeypatch.setattr(redaction._rules, "redactor", Broken())
    with pytest.raises(RecursionError):
        redact("kaboom!")
    events.put(prompt=f"kaboom {SECRET}")
    events.prompts(1)
    report = await memory.drain.run()
    assert (report.events, report.memories, report.dead) == (2, 1, 1)
    assert await rows(memory, "SELECT payload FROM dead_letter") == [(b"",)]


async def test_secrets_of_an_event_are_counted_and_gone(
    memory: MemoryService, events: Any, home: Path
) -> None:
    events.put(prompt=f"the token is {SECRET}, please use it")
    report = await memory.drain.run()
    assert sum(report.redacted.values()) == 1
    assert SECRET.encode() not in bytes_on_disk(home)
    assert sum((await memory.stats())["redacted"].values()) == 1


async def test_a_session_is_opened_once_and_closed_with_its_reason(
    memory: MemoryService, events: Any
) -> None:
    events.prompts(1)
    events.put("SessionStart", source="startup")
    events.put("SessionStart", source="x" * 500, session="long")
    events.put("SessionEnd", reason="clear")
    events.put("SessionEnd", session="t")
    await memory.drain.run()
    found = await rows(
        memory, "SELECT id, source, end_reason, ended_us > started_us FROM session ORDER BY id"
    )
    assert found == [("long", "x" * 64, "", None), ("s", "startup", "clear", 1), ("t", "", "other", 0)]


async def test_memories_carry_session_time_branch_and_the_prompt_they_came_from(
    memory: MemoryService, events: Any
) -> None:
    events.put(prompt="the zebra counter is wrong")
    payload = {
        "hook_event_name": "PostToolUse", "session_id": "s", "cwd": str(events.folder), "tool_name": "Write",
        "tool_input": {"file_path": str(events.folder / "src" / "a.py"), "content": "def count(): ..."},
        "tool_response": {"type": "create"},
    }  # fmt: skip
    events.put_bytes(json.dumps(payload).encode(), branch="feat/a", commit="c" * 40)
    await memory.drain.run()
    prompt, change = await stored(memory)
    assert (change.kind, change.paths, change.branch, change.commit, change.session, change.origin) == (
        "file_change", ("src/a.py",), "feat/a", "c" * 40, "s", "hook",
    )  # fmt: skip
    assert change.occurred_at > prompt.occurred_at
    answer = await memory.recall("zebra", filter={"kind": "file_change"})
    assert answer.hidden or answer.hits  # the prompt's words lead to what was done for it


async def test_an_error_and_what_ended_it_are_linked_across_drains(
    memory: MemoryService, events: Any
) -> None:
    events.bash("pytest tests/cart.py", "E  assert 9.99 == 10\nFAILED tests/cart.py::test_total", failed=True)
    await memory.drain.run()
    (error,) = await stored(memory)
    assert "not fixed yet" in (await memory.context())[0].text
    events.put(
        "PostToolUse", tool_name="Edit", tool_response={},
        tool_input={"file_path": str(events.folder / "cart.py"), "old_string": "a", "new_string": "b"},
    )  # fmt: skip
    events.bash("pytest tests/cart.py", "1 passed", failed=False, session="other")
    await memory.drain.run()
    assert [one.kind for one in await stored(memory)] == ["error", "file_change", "command"]
    events.bash("pytest tests/cart.py", "2 passed", failed=False)
    await memory.drain.run()
    (fix,) = [one for one in await stored(memory) if one.kind == "fix"]
    assert fix.paths == ("cart.py",)
    assert await memory.links(fix.id) == [("fixes", "to", error.id)]
    assert "not fixed yet" not in (await memory.context())[0].text


async def test_events_of_a_session_are_taken_in_order_whatever_the_batch(
    home: Path, folder: Path, events: Any
) -> None:
    for n in range(12):
        events.bash(
            "pytest tests/cart.py", f"E  assert {n} == 10\nFAILED tests/cart.py::test_{n}", failed=True
        )
        events.put(prompt=f"so try number {n} of the cart")
        events.bash("pytest tests/cart.py", f"{n + 1} passed", failed=False)
    async with retain.open(home, folder=folder, drain_batch=1) as memory:
        await memory.drain.run()
        kinds = [one.kind for one in await stored(memory)]
        assert kinds.count("fix") == 12
        assert kinds[:4] == ["error", "prompt", "command", "fix"]


async def test_what_the_drain_makes_can_be_revised(memory: MemoryService, events: Any) -> None:
    events.put(prompt="please mend the cart total")
    events.bash("pytest tests/cart.py", "E  assert 9.99 == 10\nFAILED tests/cart.py::test_total", failed=True)
    names = "\n".join(f"def function_number_{i}(): ..." for i in range(400))
    events.put(
        "PostToolUse", tool_name="Write", tool_response={"type": "create"},
        tool_input={"file_path": "/else/where/../a.py", "content": names},
    )  # fmt: skip
    events.put(
        "PostToolUse", tool_name="Grep", tool_input={"pattern": "cart"},
        tool_response={"filenames": [f"../up/{i}.py" for i in range(100)]},
    )  # fmt: skip
    await memory.drain.run()
    found = await stored(memory)
    assert {one.kind for one in found} == {"prompt", "error", "file_change", "search"}
    for one in found:
        assert (await memory.revise(one.id, "said better")).paths == one.paths


async def test_one_drain_at_a_time_and_callers_of_this_process_join_it(
    memory: MemoryService, events: Any, lock_here: Callable[[Path], Any]
) -> None:
    events.prompts(20)
    reports = await asyncio.gather(*(memory.drain.run() for _ in range(5)))
    assert all(report is reports[0] for report in reports)
    events.prompts(5, "t")
    with lock_here(events.directory / "drain.lock"):
        assert await memory.drain.run() == DrainReport()
        assert (await memory.recall("cart total step", limit=1)).hits
        assert memory.drain.waiting_bytes() > 0
    assert (await memory.drain.run()).memories == 5


DRAIN = """
import asyncio, sys, retain
async def main():
    async with retain.open(sys.argv[1], folder=sys.argv[2], drain_batch=3) as memory:
        print("ready", flush=True)
        sys.stdin.readline()
        made = 0
        while memory.drain.waiting_bytes():
            made += (await memory.drain.run()).memories
        print(made)
asyncio.run(main())
"""


def test_two_processes_that_drain_at_once_take_each_event_once(home: Path, folder: Path, events: Any) -> None:
    for session in ("a", "b", "c"):
        events.prompts(40, session)
    both = [
        subprocess.Popen(
            [sys.executable, "-c", DRAIN, str(home), str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    answers = [process.communicate("go\n", timeout=60)[0] for process in _told(both)]
    assert [process.returncode for process in both] == [0, 0]
    assert sum(int(answer) for answer in answers) == 120

    async def count() -> Any:
        async with retain.open(home, folder=folder) as memory:
            return len(await stored(memory)), (await memory.verify())["ok"]

    assert asyncio.run(count()) == (120, True)
    assert events.files() == []


def _told(processes: list[Any]) -> list[Any]:
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    return processes


async def test_a_drain_leaves_the_collection_of_cycles_as_it_was(memory: MemoryService, events: Any) -> None:
    for collects in (True, False):
        try:
            (gc.enable if collects else gc.disable)()
            events.prompts(3, f"session-{collects}")
            assert (await memory.drain.run()).events == 3
            assert gc.isenabled() is collects
        finally:
            gc.enable()


async def test_what_a_memory_is_about_is_the_newest_prompt_not_the_last_to_come(
    memory: MemoryService, events: Any
) -> None:
    began_us = events._clock_us
    for at, animal in [(20, "zebras"), (10, "lions"), (30, "zebras"), (40, "geese")]:
        events._clock_us = began_us + at
        events.put(prompt=f"please count the {animal}", number=at)
        events.bash("make count", f"counted {at}", failed=False)
    await memory.drain.run()
    about = "SELECT m.body FROM memory_fts f JOIN memory m ON m.key = f.rowid WHERE memory_fts MATCH 'context : {}' "
    found = {
        animal: [
            str(body).split()[-1] for (body,) in await rows(memory, about.format(animal)) if "counted" in body
        ]
        for animal in ("zebras", "lions", "geese")
    }
    assert found == {"zebras": ["20", "10", "30"], "lions": [], "geese": ["40"]}


async def test_a_transaction_that_fails_leaves_no_open_failure_behind(
    memory: MemoryService, events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    events.bash("pytest a.py", "E  assert 1 == 2\nFAILED a.py::test_a", failed=True)
    await memory.drain.run()
    refused = [StoreBusy("not now")]
    store_tracker = writes.set_tracker_state

    def refuse_once(*args: Any) -> None:
        store_tracker(*args)
        if refused:
            raise refused.pop()

    monkeypatch.setattr(writes, "set_tracker_state", refuse_once)
    events.bash("pytest b.py", "E  assert 3 == 4\nFAILED b.py::test_b", failed=True)
    events.bash("pytest b.py", "1 passed", failed=False)
    await memory.drain.run()
    assert not refused
    assert [one.kind for one in await stored(memory)].count("fix") == 1
    ((state,),) = await rows(memory, "SELECT tracker FROM session WHERE id = 's'")
    assert [one["targets"] for one in json.loads(state)["s"]] == [["a.py"]]


async def test_a_store_that_refuses_leaves_the_spool_as_it_is(
    home: Path, folder: Path, events: Any, hold: Callable[[Path], Any]
) -> None:
    async with retain.open(home, folder=folder, write_timeout_ms=50, drain_attempts=2) as memory:
        await memory.remember("makes the workspace")
        events.prompts(10)
        waiting = memory.drain.waiting_bytes()
        with hold(home / "write.lock"):
            with pytest.raises(StoreBusy):
                await memory.drain.run()
            assert memory.drain.waiting_bytes() == waiting
            assert not (await memory.recall("workspace")).abstained  # a recall goes on with what is there
        while memory.drain.waiting_bytes():
            try:
                report = await memory.drain.run()
            except StoreBusy:  # the writer may still be waking up
                continue
        assert report.memories == 10
        assert len(await stored(memory)) == 11


async def test_the_background_drain_goes_on_after_a_failure(
    home: Path, folder: Path, events: Any, hold: Callable[[Path], Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    settings = {"write_timeout_ms": 50, "drain_attempts": 1, "drain_interval_ms": 10}
    async with retain.open(home, folder=folder, **settings) as memory:
        await memory.remember("makes the workspace")
    async with retain.open(home, folder=folder, drain=True, **settings) as memory, asyncio.timeout(30):
        with hold(home / "write.lock"):
            events.prompts(3)
            while "drain.failed" not in caplog.text:
                await stored(memory)
        while memory.drain.totals.memories < 3:
            await stored(memory)
    assert events.files() == []


async def test_closing_in_the_middle_of_a_drain_loses_nothing(home: Path, folder: Path, events: Any) -> None:
    events.prompts(200)
    async with retain.open(home, folder=folder, drain_batch=2) as memory:
        running = asyncio.create_task(memory.drain.run())
        while not await stored(memory):
            continue
    with pytest.raises(asyncio.CancelledError):
        await running
    assert events.files() != []
    async with retain.open(home, folder=folder) as memory:
        report = await memory.drain.run()
        assert (report.events, report.replayed > 0) == (200, True)
        assert len(await stored(memory)) == 200


async def test_a_recall_waits_for_the_spool_no_longer_than_it_was_told(
    home: Path, folder: Path, events: Any
) -> None:
    events.prompts(400)
    async with retain.open(home, folder=folder, recall_drain_ms=1, drain_batch=1) as memory:
        await memory.recall("cart total")
        assert memory.drain.waiting_bytes() > 0
