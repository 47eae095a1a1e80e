"""Past sessions: told as the hooks would have, once each, whatever was captured, copied or cut short before."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import retain
from retain.capture import spool
from retain.capture.past_sessions import tell, transcripts
from retain.errors import Conflict, NotFound, StoreError
from retain.memory import backfill
from retain.memory.service import MemoryService
from retain.model import Memory

pytestmark = pytest.mark.anyio

SECRET = "ghp_" + "Zt9Kq2Lm8Xw4Rv6Bn3Jd5Hf7Ps1Gc0YaUe"  # made up, in the shape of a GitHub token
LONG_AGO = 1_790_000_000


class Session:
    """Writes the transcript of one session, line by line, each a second after the one before."""

    def __init__(self, path: Path, folder: Path, session: str = "s1") -> None:
        self.path = path
        self.folder = folder
        self.session = session
        self.lines: list[dict[str, Any]] = []
        self.clock = 0

    def line(self, kind: str, content: Any, **fields: Any) -> str:
        self.clock += 1
        uuid = f"{self.session}-{self.clock}"
        parent = self.lines[-1]["uuid"] if self.lines else None
        self.lines.append(
            {
                "type": kind, "uuid": uuid, "parentUuid": parent, "sessionId": self.session,
                "cwd": str(self.folder), "gitBranch": "main", "isSidechain": False,
                "timestamp": f"2026-10-02T09:{self.clock // 60:02}:{self.clock % 60:02}.000Z",
                "message": {"role": kind, "content": content}, **fields,
            }
        )  # fmt: skip
        return uuid

    def prompt(self, text: str, **fields: Any) -> str:
        return self.line("user", text, **fields)

    def say(self, text: str, **fields: Any) -> str:
        return self.line("assistant", [{"type": "text", "text": text}], **fields)

    def bash(self, command: str, output: str, *, failed: bool = False, **fields: Any) -> None:
        call = f"t-{self.session}-{self.clock}"
        asked = {"command": command}
        self.line("assistant", [{"type": "tool_use", "id": call, "name": "Bash", "input": asked}], **fields)
        result: dict[str, Any] = {"type": "tool_result", "tool_use_id": call, "content": output}
        if failed:
            result |= {"is_error": True, "content": f"Exit code 1\n{output}"}
        response = {"stdout": output, "stderr": "", "interrupted": False}
        self.line("user", [result], toolUseResult="Error" if failed else response, **fields)

    def write(self, *, at: int = LONG_AGO, tail: bytes = b"") -> Path:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in self.lines) + tail)
        os.utime(self.path, (at, at))
        return self.path


@pytest.fixture
def projects(tmp_path: Path) -> Path:
    return tmp_path / "projects"


@pytest.fixture
def session(projects: Path, folder: Path) -> Session:
    """A turn with a failure, its fix and a secret."""
    made = Session(projects / "-project" / "s1.jsonl", folder)
    made.prompt("Please make the cart total exact, to the cent")
    made.bash("pytest tests/test_cart.py", "E   AssertionError: 19.99 != 20", failed=True)
    made.bash(f"deploy --with {SECRET}", f"used {SECRET} against staging")
    made.bash("pytest tests/test_cart.py", "1 passed in 0.1s")
    made.say("The cart total is exact now: prices are decimal.Decimal everywhere.")
    return made


async def run(memory: MemoryService, place: Path) -> dict[str, Any]:
    return await memory.imports.transcripts(place, workspace=None, tell=lambda _: None)


def bytes_on_disk(home: Path) -> bytes:
    return b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())


async def stored(memory: MemoryService) -> list[Memory]:
    return await memory._store.read(lambda r: list(r.load(range(1, r.total() + 1)).values()))


async def active(memory: MemoryService) -> list[tuple[str, str, int]]:
    return sorted((one.kind, one.text, one.seen) for one in await stored(memory) if one.status == "active")


async def rows(memory: MemoryService, sql: str) -> list[Any]:
    return await memory._store.read(lambda r: r.connection.execute(sql).fetchall())


async def test_a_session_becomes_what_the_hooks_would_have_made(
    memory: MemoryService, session: Session, projects: Path
) -> None:
    session.write()
    report = await run(memory, projects)
    assert report["lost"] == 0
    assert report["memories"] == len(await stored(memory)) == 6
    kinds = [one.kind for one in await stored(memory)]
    assert kinds == ["prompt", "error", "command", "command", "fix", "summary"]
    first = (await stored(memory))[1]
    assert first.session == "s1"
    assert first.branch == "main"
    assert first.occurred_at.isoformat() == "2026-10-02T09:00:03+00:00"
    [(started, ended)] = await rows(memory, "SELECT started_us, ended_us FROM session")
    assert started < ended


async def test_secrets_leave_before_anything_is_stored(
    memory: MemoryService, session: Session, projects: Path, home: Path
) -> None:
    session.write()
    report = await run(memory, projects)
    assert report["redacted"] == {"github_token": 2}
    assert SECRET.encode() not in bytes_on_disk(home)


async def test_a_second_run_changes_nothing(memory: MemoryService, session: Session, projects: Path) -> None:
    path = session.write()
    await run(memory, projects)
    before = await stored(memory)
    again = await run(memory, projects)
    assert (again["unchanged"], again["events"]) == (1, 0)
    os.utime(path, (LONG_AGO + 5, LONG_AGO + 5))
    told = await run(memory, projects)
    assert told["known"] == told["events"] == 6
    assert await stored(memory) == before


async def test_a_session_that_hooks_captured_is_not_doubled(
    memory: MemoryService, session: Session, projects: Path, events: Any
) -> None:
    [transcript] = transcripts(session.write())
    for told, _ in tell(transcript, is_over=True):
        if told is not None:
            hooked = {
                key: value
                for key, value in told.payload.items()
                if key not in {"timestamp", "version", "gitBranch"}
            }
            events._clock_us = told.at_us + 200_000
            events.put_bytes(
                json.dumps({**hooked, "prompt_id": "another", "permission_mode": "default"}).encode()
            )
    await memory.drain.run()
    before = await stored(memory)
    report = await run(memory, projects)
    assert report["known"] == report["events"]
    assert await stored(memory) == before
    assert len(await rows(memory, "SELECT * FROM event_receipt")) == report["events"]
    await memory.imports.undo(report["import"])
    assert await stored(memory) == before
    assert len(await rows(memory, "SELECT * FROM event_receipt")) == report["events"]


async def hook_prompt(memory: MemoryService, folder: Path, at_us: int, text: str) -> None:
    """A prompt as a hook brings it: under an id of its own, with the time of the hook's clock."""
    payload = {
        "session_id": "s1",
        "hook_event_name": "UserPromptSubmit",
        "prompt": text,
        "prompt_id": text[:9],
    }
    record = spool.Record(json.dumps(payload).encode(), at_us, cwd=str(folder))
    spool.append(str(memory.settings.home / "spool"), record)
    await memory.drain.run()


@pytest.mark.parametrize("batch", [256, 1])
async def test_what_hooks_missed_is_not_taken_for_another_event_that_they_captured_soon_after(
    memory: MemoryService, projects: Path, folder: Path, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "BATCH_EVENTS", batch)
    missed, captured = "Please round the cart total to the cent", "Please round the shipping costs as well"
    session = Session(projects / "-project" / "s1.jsonl", folder)
    session.prompt(missed)
    session.clock += 3
    session.prompt(captured)
    session.say("Both are rounded now: prices are decimal.Decimal.")
    session.write()
    at = datetime.fromisoformat(session.lines[1]["timestamp"])
    await hook_prompt(memory, folder, round(at.timestamp() * 1e6) + 120_000, captured)
    account = await run(memory, projects)
    assert (account["known"], account["lost"]) == (1, 0)
    told = [text for kind, text, _ in await active(memory) if kind == "prompt"]
    assert sorted(told) == sorted([missed, captured])


async def test_a_fork_tells_only_what_is_its_own(
    memory: MemoryService, session: Session, projects: Path, folder: Path
) -> None:
    session.write()
    fork = Session(projects / "-project" / "s2.jsonl", folder, "s2")
    fork.lines = [{**line, "sessionId": "s2", "uuid": f"copy-{line['uuid']}"} for line in session.lines]
    fork.clock = 100
    fork.prompt("And now the discounts, in the other branch")
    fork.write(at=LONG_AGO + 60)
    report = await run(memory, projects)
    assert report["lost"] == 0
    assert len(await stored(memory)) == 7
    assert all(one.seen == 1 for one in await stored(memory))
    assert [one.session for one in await stored(memory)] == ["s1"] * 6 + ["s2"]


async def test_a_subagent_is_told_with_its_session_and_without_its_prompt(
    memory: MemoryService, session: Session, projects: Path, folder: Path
) -> None:
    session.write()
    agent = Session(projects / "-project" / "s1" / "subagents" / "agent-a1.jsonl", folder)
    agent.session, agent.clock = "s1", 200
    agent.prompt("Search for every use of float", isSidechain=True, agentId="a1")
    agent.bash("grep -rn float( src", "src/cart.py:3: float(price)", isSidechain=True, agentId="a1")
    agent.say("There are three uses of float, all of them in the cart.", isSidechain=True, agentId="a1")
    agent.write(at=LONG_AGO - 60)
    await run(memory, projects)
    summary = [one for one in await stored(memory) if "subagent" in one.tags]
    assert [one.text for one in summary] == ["There are three uses of float, all of them in the cart."]
    assert not any("Search for every use" in one.text for one in await stored(memory))


async def test_a_prompt_that_was_taken_back_is_not_told(
    memory: MemoryService, projects: Path, folder: Path
) -> None:
    session = Session(projects / "s1.jsonl", folder)
    start = session.prompt("Please look at the cart and say what is wrong")
    session.say("The total is rounded too early, in three places.")
    after = session.lines[-1]["uuid"]
    session.prompt("Then delete the whole database and start again")
    session.bash("make clean-all", "removed build artefacts of the project")
    session.say("I have removed the artefacts as you asked me to do.")
    session.prompt("Round it only when it is shown", parentUuid=after)
    session.say("It is rounded only when it is shown now, everywhere.")
    session.write()
    await run(memory, projects)
    texts = [one.text for one in await stored(memory)]
    assert start == "s1-1"
    assert not any("delete the whole" in text or "as you asked" in text for text in texts)
    assert any("make clean-all" in text for text in texts)
    assert any("Round it only" in text for text in texts)


async def test_a_compacted_session_keeps_what_came_before(
    memory: MemoryService, session: Session, projects: Path
) -> None:
    last = session.lines[-1]["uuid"]
    session.line("system", "Compacted", subtype="compact_boundary", parentUuid=None, logicalParentUuid=last)
    session.prompt("The story so far: the cart was made exact with decimals.", isCompactSummary=True)
    session.prompt("Go on with the discounts of the cart")
    session.write()
    await run(memory, projects)
    found = await stored(memory)
    assert [one.kind for one in found].count("prompt") == 2
    assert any("compact" in one.tags for one in found)


async def test_a_live_session_is_told_but_for_its_last_turn(
    memory: MemoryService, session: Session, projects: Path
) -> None:
    now = 32_503_680_000  # a moment that is not over yet, whenever this runs
    session.write(at=now, tail=b'{"type": "assistant", "message": {"content": [{"type": "te')
    first = await run(memory, projects)
    assert "summary" not in {one.kind for one in await stored(memory)}
    session.prompt("Thank you, now do the same for the discounts")
    session.write()
    second = await run(memory, projects)
    assert [one.kind for one in await stored(memory)][-2:] == ["summary", "prompt"]
    assert second["known"] == first["events"]


async def test_a_run_that_was_cut_short_ends_as_one_that_was_not(
    folder: Path, session: Session, projects: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.write()
    monkeypatch.setattr(backfill, "BATCH_EVENTS", 1)
    monkeypatch.setattr(backfill, "BATCHES_MAX", 1)
    async with retain.open(tmp_path / "whole", folder=folder) as memory:
        await run(memory, projects)
        whole = await active(memory)
    for writes_before in range(1, 8):
        place = tmp_path / f"cut-{writes_before}"
        async with retain.open(place, folder=folder) as memory:
            left = writes_before
            write = memory._store.write

            async def failing(action: Any, author: Any = None, write: Any = write) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    raise StoreError("cut")
                return await write(action, author)

            memory._store.write = failing
            with pytest.raises(StoreError, match="cut"):
                await run(memory, projects)
        async with retain.open(place, folder=folder) as memory:
            report = await run(memory, projects)
            assert await active(memory) == whole
            assert len(await memory.imports.runs()) == 1
            assert report["lost"] == 0


async def test_undo_forgets_what_the_run_made_and_it_can_be_made_again(
    memory: MemoryService, session: Session, projects: Path
) -> None:
    mine = await memory.remember("Please make the cart total exact, to the cent", kind="prompt")
    session.write()
    report = await run(memory, projects)
    assert report["merged"] == 1
    before = await active(memory)
    undone = await memory.imports.undo(report["import"])
    assert (undone.forgotten, undone.kept) == (5, 0)
    assert [one.id for one in await stored(memory) if one.status == "active"] == [mine.id]
    with pytest.raises(Conflict, match="undone already"):
        await memory.imports.undo(report["import"])
    with pytest.raises(NotFound, match="no import"):
        await memory.imports.undo("01a20852-fd2f-7000-a043-76db6ce6ea23")
    await run(memory, projects)
    assert [one[:2] for one in await active(memory)] == [one[:2] for one in before]


async def test_undo_leaves_what_others_stored_as_well(
    memory: MemoryService, session: Session, projects: Path
) -> None:
    session.write()
    report = await run(memory, projects)
    await memory.remember("Please make the cart total exact, to the cent", kind="prompt")
    undone = await memory.imports.undo(report["import"])
    assert (undone.forgotten, undone.kept) == (5, 1)


async def test_a_file_that_cannot_be_read_is_named_and_the_others_go_on(
    memory: MemoryService, session: Session, projects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.write()
    gone = projects / "-project" / "gone.jsonl"
    gone.symlink_to(projects / "gone-target.jsonl")
    (projects / "gone-target.jsonl").write_bytes(b"{}\n")
    found = transcripts(projects)
    (projects / "gone-target.jsonl").unlink()
    reader = backfill.Backfill(
        memory._store,
        memory._workspaces,
        memory.controls,
        await memory.imports._start("transcripts", projects),
    )
    _ = [count async for count in reader.read(found, 2_000_000_000_000_000)]
    assert sorted(Path(one["file"]).name for one in reader.account.unreadable) == [
        "gone-target.jsonl",
        "gone.jsonl",
    ]
    assert reader.account.memories == 6
