"""What may be kept: switched-off projects, private sessions, lists of tools and files; at the drain and the imports."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import retain
from retain.errors import Conflict
from retain.memory.service import MemoryService
from retain.model import Memory

pytestmark = pytest.mark.anyio

TOLD = "the wedding is on the third of May"


async def stored(memory: MemoryService) -> list[Memory]:
    return await memory._store.read(lambda r: list(r.load(range(1, r.total() + 1)).values()))


async def excluded(memory: MemoryService) -> dict[str, int]:
    found: dict[str, int] = (await memory.stats())["excluded"]
    return found


async def count(memory: MemoryService, table: str) -> int:
    return int(await memory._store.read(lambda r: r.connection.execute(f"SELECT count(*) FROM {table}").get))


def configure(home: Path, text: str) -> None:
    home.mkdir(parents=True, exist_ok=True)
    (home / "config.toml").write_text(text, encoding="utf-8")


def bytes_on_disk(home: Path) -> bytes:
    return b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())


# A project that is switched off


async def test_nothing_of_a_project_that_is_off_is_stored_and_a_live_process_follows_the_file(
    memory: MemoryService, events: Any, home: Path, folder: Path
) -> None:
    events.put(prompt="please mend the cart total")
    assert (await memory.drain.run()).memories == 1
    configure(home, f'[projects."{folder}"]\ncapture = false\n')
    before = (
        await count(memory, "workspace"),
        await count(memory, "session"),
        await count(memory, "event_receipt"),
    )
    events.put(prompt=TOLD, session="new")
    report = await memory.drain.run()
    assert (report.events, report.excluded, report.memories) == (1, 1, 0)
    assert await excluded(memory) == {"off": 1}
    after = (
        await count(memory, "workspace"),
        await count(memory, "session"),
        await count(memory, "event_receipt"),
    )
    assert after == before
    assert TOLD.encode() not in bytes_on_disk(home)
    assert f"off {folder}\n" in (home / "controls").read_text()
    configure(home, "")
    events.put(prompt="please mend the cart total again")
    assert (await memory.drain.run()).memories == 1
    assert not (home / "controls").exists()


async def test_a_folder_inside_is_on_again_and_a_link_to_a_folder_is_that_folder(
    memory: MemoryService, events: Any, home: Path, folder: Path, tmp_path: Path
) -> None:
    (folder / "open").mkdir()
    (tmp_path / "link").symlink_to(folder)
    configure(home, f"[projects]\n'{folder}'.capture = false\n'{folder}/open'.capture = true\n")
    for cwd in (folder, folder / "open", tmp_path / "link" / "sub"):
        events.put(prompt=f"please look into {cwd.name} now", cwd=str(cwd))
    report = await memory.drain.run()
    assert (report.excluded, report.memories) == (2, 1)


async def test_a_linked_worktree_goes_with_its_repository(
    home: Path, git_repo: Callable[..., Any], tmp_path: Path
) -> None:
    repo = git_repo()
    repo.commit()
    repo("worktree", "add", "-q", str(tmp_path / "elsewhere"))
    configure(home, f'projects."{repo.path}".capture = false\n')
    async with retain.open(home, folder=tmp_path) as memory:
        await memory.controls.refresh()
        assert not memory.controls.project(str(tmp_path / "elsewhere")).captured
        assert memory.controls.project(str(tmp_path)).captured


async def test_a_configuration_that_breaks_while_it_is_followed_leaves_the_rules_as_they_were(
    memory: MemoryService, events: Any, home: Path, folder: Path
) -> None:
    configure(home, f'projects."{folder}".capture = false\n')
    await memory.controls.refresh()
    configure(home, "projects = 5\n")
    events.put(prompt=TOLD)
    assert (await memory.drain.run()).excluded == 1
    problems = (await memory.status())["problems"]
    assert [one for one in problems if "projects: must be a table" in one]


# The file of the project


async def test_the_file_of_a_project_takes_away_and_gives_nothing(
    memory: MemoryService, events: Any, home: Path, folder: Path
) -> None:
    configure(home, f'tools_deny = ["WebFetch"]\nprojects."{folder}".capture = false\n')
    (folder / ".retain.toml").write_text('capture = true\npaths_deny = ["!.env"]\n')
    events.put(prompt=TOLD)
    await memory.drain.run()
    configure(home, "")
    events.edit(".env", "a = 1", "a = 2")
    await memory.drain.run()
    (folder / ".retain.toml").write_text('paths_deny = ["docs/**"]\n')
    events.edit("docs/a.md", "one", "two")
    events.edit("src/a.py", "one", "two")
    await memory.drain.run()
    (folder / ".retain.toml").write_text("capture = false\n")
    events.put(prompt=TOLD + ", again")
    await memory.drain.run()
    assert await excluded(memory) == {
        ".retain.toml off": 1, ".retain.toml paths_deny: docs/**": 1, "off": 1, "paths_deny: .env": 1,
    }  # fmt: skip
    assert [one.paths for one in await stored(memory)] == [("src/a.py",)]


@pytest.mark.parametrize(
    "data",
    [b"capture = ", b"\xff", b"captures = true", b"paths_deny = 5", b"capture = 0", b"#" * 70_000, None],
    ids=lambda data: repr(data)[:20],
)
async def test_a_project_file_that_cannot_be_understood_keeps_everything_out_and_says_so(
    memory: MemoryService, events: Any, folder: Path, data: bytes | None
) -> None:
    if data is None:
        (folder / ".retain.toml").symlink_to("/dev/zero")
    else:
        (folder / ".retain.toml").write_bytes(data)
    events.put(prompt=TOLD)
    assert (await memory.drain.run()).excluded == 1
    status = await memory.status()
    assert status["capture"] == "off"
    assert [one for one in status["problems"] if one.startswith("nothing is captured here: ")]


# Tools and files


async def test_events_are_kept_out_by_tool_and_file_and_counted_by_rule(
    memory: MemoryService, events: Any, home: Path
) -> None:
    configure(home, 'tools_deny = ["mcp__*", "Bash(vault *)"]\n')
    events.put("PostToolUse", tool_name="mcp__jira__get", tool_input={}, tool_use_id="1")
    events.bash("vault read x", TOLD, failed=False)
    events.bash("vault read y", TOLD, failed=True)
    events.edit("api/.env.local", "TOTAL=1", f"TOTAL='{TOLD}'")
    events.bash(f"echo '{TOLD}' > .env", "", failed=False)
    events.bash("make build", "built", failed=False)
    events.edit(".env.example", "TOTAL=", "TOTAL=0")
    report = await memory.drain.run()
    assert (report.events, report.excluded, report.memories) == (7, 5, 2)
    assert await excluded(memory) == {
        "paths_deny: .env": 1, "paths_deny: .env.*": 1, "tools_deny: Bash(vault *)": 2, "tools_deny: mcp__*": 1,
    }  # fmt: skip
    assert TOLD.encode() not in bytes_on_disk(home)


async def test_a_command_that_only_uses_a_secret_file_is_kept(memory: MemoryService, events: Any) -> None:
    events.bash("docker compose --env-file .env up", "no such service", failed=True)
    assert (await memory.drain.run()).memories == 1


async def test_a_replay_counts_nothing_twice(memory: MemoryService, events: Any) -> None:
    events.edit(".env", "a", "b")
    events.put(prompt="#private " + TOLD)
    segment = (events.directory / "live.spool").read_bytes()
    await memory.drain.run()
    (events.directory / "seal-00000000000000000001-1.spool").write_bytes(segment)
    report = await memory.drain.run()
    assert (report.replayed, report.excluded) == (2, 0)
    assert await excluded(memory) == {"paths_deny: .env": 1, "private": 1}


# Private sessions


async def test_a_session_is_private_from_its_mark_to_the_end_of_it(
    memory: MemoryService, events: Any, home: Path
) -> None:
    events.put(prompt="please mend the cart total")
    events.put(prompt=f"#private {TOLD}")
    events.bash("make wedding", TOLD, failed=False)
    events.put(prompt="the other session goes on as before", session="other")
    report = await memory.drain.run()
    assert (report.excluded, report.memories) == (2, 2)
    assert "private s\n" in (home / "controls").read_text()
    events.put("Stop", last_assistant_message=f"I know that {TOLD} now.")
    events.put(prompt="#public please mend the cart total again")
    events.put("PostCompact", compact_summary=f"They said that {TOLD}, and mended the cart.")
    events.put("Stop", last_assistant_message="The cart is mended again, and it rounds to cents.")
    report = await memory.drain.run()
    assert (report.excluded, report.memories) == (2, 2)
    assert await excluded(memory) == {"private": 4}
    assert "please mend the cart total again" in [one.text for one in await stored(memory)]
    assert TOLD.encode() not in bytes_on_disk(home)
    assert not (home / "controls").exists()


@pytest.mark.parametrize("prompt", ["#privately speaking", "it is #private", "#private-ish", "private"])
async def test_other_words_are_no_mark(memory: MemoryService, events: Any, prompt: str) -> None:
    events.put(prompt=prompt + " please mend the cart total")
    assert (await memory.drain.run()).excluded == 0


async def test_a_session_made_private_by_command_drops_what_comes_and_refuses_to_remember(
    home: Path, folder: Path, events: Any
) -> None:
    async with retain.open(home, folder=folder, session="s") as memory:
        events.put(prompt="please mend the cart total")
        assert await memory.controls.make_private("s", is_on=True)
        assert not await memory.controls.make_private("s", is_on=True)
        events.go_on_now()
        events.put(prompt=TOLD)
        report = await memory.drain.run()
        assert (report.excluded, report.memories) == (1, 1)
        with pytest.raises(Conflict, match="this session is private"):
            await memory.remember(TOLD)
        await memory.receipts.shown("recall", [])
        assert (await memory.receipts.account())["injections"] == 0
        assert (await memory.status())["capture"] == "private"
        assert await memory.controls.make_private("s", is_on=False)
        assert (await memory.remember("the cart is mended")).created
    assert TOLD.encode() not in bytes_on_disk(home)


async def test_private_stretches_of_a_text_stay_out(memory: MemoryService, events: Any, home: Path) -> None:
    events.put(prompt=f"please mend the cart <private>{TOLD}</private> and its total")
    await memory.drain.run()
    assert [one.text for one in await stored(memory)] == [
        "please mend the cart [redacted:private] and its total"
    ]
    assert TOLD.encode() not in bytes_on_disk(home)


# Imports


def transcript(path: Path, folder: Path, prompts: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, Any]] = [
        {
            "type": "user", "uuid": f"u{n}", "parentUuid": f"u{n - 1}" if n else None, "sessionId": "old",
            "cwd": str(folder), "timestamp": f"2026-10-02T09:00:0{n}.000Z",
            "message": {"role": "user", "content": prompt},
        }
        for n, prompt in enumerate(prompts)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


async def backfill(memory: MemoryService, place: Path) -> dict[str, Any]:
    return await memory.imports.transcripts(place, workspace=None, tell=lambda _: None)


async def test_past_sessions_are_judged_by_the_same_rules(
    memory: MemoryService, home: Path, folder: Path, tmp_path: Path
) -> None:
    said = [
        "please mend the cart total",
        f"#private {TOLD}",
        f"indeed, {TOLD}",
        "#public and mend the header too",
    ]
    place = transcript(tmp_path / "projects" / "old.jsonl", folder, said)
    report = await backfill(memory, place.parent)
    assert (report["excluded"], report["kept"], report["lost"]) == (2, 2, 0)
    assert TOLD.encode() not in bytes_on_disk(home)
    assert await memory.controls.private() == []


async def test_what_a_project_kept_out_can_be_imported_when_it_is_on_again(
    memory: MemoryService, home: Path, folder: Path, tmp_path: Path
) -> None:
    place = transcript(tmp_path / "projects" / "old.jsonl", folder, ["please mend the cart total"])
    configure(home, f'projects."{folder}".capture = false\n')
    report = await backfill(memory, place.parent)
    assert (report["excluded"], report["kept"], report["lost"]) == (1, 0, 0)
    configure(home, "")
    report = await backfill(memory, place.parent)
    assert (report["excluded"], report["kept"], report["lost"]) == (0, 1, 0)


async def test_records_of_other_tools_are_refused_with_the_rule(memory: MemoryService, folder: Path) -> None:
    from retain.capture.moving.records import Found, Item, Source

    items = [
        Item(record="1", text="the token lies in .env", paths=(".env",), folder=str(folder)),
        Item(record="2", text="the cart lies in src", paths=("src/cart.py",), folder=str(folder)),
    ]
    source = Source(
        place="x", count=2, records=iter([Found(place="1", item=items[0]), Found(place="2", item=items[1])])
    )
    report = await memory.imports.records("test", source, workspace=None, tell=lambda _: None)
    assert (report["stored"], report["skipped"], report["lost"]) == (1, 1, 0)
    assert report["reasons"] == {"is kept out by a rule (paths_deny: .env)": 1}
