"""Dead letters: what a version could not digest, another digests as if it had come only now, once."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import retain
from retain.capture import distil as distilling
from retain.interfaces.cli import main
from retain.memory.service import MemoryService
from retain.sealing import Key

pytestmark = pytest.mark.anyio

SECRET = "ghp_" + "Zt9Kq2Lm8Xw4Rv6Bn3Jd5Hf7Ps1Gc0YaUe"  # made up, in the shape of a GitHub token
PROMPT = "please mend the cart total of the zebra shop"
COMMIT = "c0ffee" + "0" * 34


class Broken:
    """A distiller that cannot read its events, as an older version could not, until it is whole."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def breaks(self, *names: str, because: str = "no such field") -> None:
        def explode(event: Any, root: str) -> Any:
            raise LookupError(because)

        for name in names:
            self._monkeypatch.setitem(distilling.DISTILLERS, name, explode)

    def mends(self) -> None:
        self._monkeypatch.undo()


@pytest.fixture
def distiller() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        yield Broken(patch)


def bytes_on_disk(home: Path) -> bytes:
    return b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())


async def rows(memory: MemoryService, sql: str) -> list[Any]:
    return await memory._store.read(lambda r: r.connection.execute(sql).fetchall())


async def told(memory: MemoryService) -> list[Any]:
    found = (await memory.timeline(limit=50)).memories
    return [one for one in found if one.kind != "session"]


def prompt(events: Any, said: str, **fields: Any) -> None:
    payload = {"hook_event_name": "UserPromptSubmit", "session_id": "s", "prompt": said, **fields}
    events.put_bytes(json.dumps(payload).encode(), branch="main", commit=COMMIT)


async def test_a_dead_letter_that_can_be_digested_now_is_the_memory_that_it_would_have_been(
    memory: MemoryService, events: Any, distiller: Broken
) -> None:
    distiller.breaks("UserPromptSubmit")
    prompt(events, f"{PROMPT}, the token is {SECRET}")
    await memory.drain.run()
    assert "`retain verify --mend`" in (await memory.status())["problems"][0]
    ((name, at_us),) = await rows(memory, "SELECT id, received_us FROM event_receipt WHERE outcome = 'dead'")
    distiller.mends()
    done = await memory.letters.retry()
    assert done == {"digested": 1, "memories": 1, "excluded": 0, "left": 0, "reasons": []}
    (one,) = await told(memory)
    assert one.text == f"{PROMPT}, the token is [redacted:github_token]"
    assert (one.branch, one.commit, one.session, one.origin, one.trust) == (
        "main", COMMIT, "s", "user", "user",
    )  # fmt: skip
    receipts = await rows(memory, "SELECT id, received_us, outcome, memories FROM event_receipt")
    assert receipts == [(name, at_us, "kept", 1)]
    entries = (await memory.audit.entries(limit=9))["entries"]
    assert [(one["door"], one["subject"], one["detail"]) for one in entries if one["action"] == "mended"] == [
        ("python", name, {"memories": 1, "outcome": "kept"})
    ]
    assert (await memory.status())["problems"] == []
    assert (await memory.verify())["ok"]


async def test_trying_again_changes_nothing_and_neither_does_a_replay(
    memory: MemoryService, events: Any, distiller: Broken
) -> None:
    distiller.breaks("UserPromptSubmit")
    prompt(events, PROMPT)
    segment = (events.directory / "live.spool").read_bytes()
    await memory.drain.run()
    distiller.mends()
    await memory.letters.retry()
    before = await told(memory), await memory.audit.entries(limit=50)
    assert (await memory.letters.retry())["digested"] == 0
    (events.directory / "seal-00000000000000000001-1.spool").write_bytes(segment)
    assert (await memory.drain.run()).replayed == 1
    assert (await told(memory), await memory.audit.entries(limit=50)) == before


async def test_what_still_fails_stays_whole_with_the_reason_of_now_and_the_rest_goes_on(
    memory: MemoryService, events: Any, distiller: Broken
) -> None:
    distiller.breaks("UserPromptSubmit", "Stop")
    for n in range(40):
        prompt(events, f"{PROMPT}, part {n}")
    events.put("Stop", last_assistant_message="the cart counts in decimals now, and so do its tests")
    await memory.drain.run()
    (letter,) = await rows(
        memory, "SELECT payload FROM dead_letter d JOIN event_receipt USING (id) WHERE name = 'Stop'"
    )
    distiller.mends()
    distiller.breaks("Stop", because=f"another field, beside {SECRET}")
    for _ in range(2):
        done = await memory.letters.retry()
        assert done["left"] == 1
        assert done["reasons"][0]["error"] == "LookupError: another field, beside [redacted:github_token]"
    assert await rows(memory, "SELECT payload FROM dead_letter") == [letter]
    assert (await memory.stats())["events"] == {"kept": 40, "dead": 1}
    assert len(await told(memory)) == 40


async def test_a_letter_of_an_encrypted_store_is_digested_and_stands_in_no_file(
    encrypted: Key, home: Path, folder: Path, events: Any, distiller: Broken
) -> None:
    distiller.breaks("UserPromptSubmit")
    prompt(events, PROMPT)
    async with retain.open(home, folder=folder) as memory:
        assert (await memory.drain.run()).dead == 1
    distiller.mends()
    async with retain.open(home, folder=folder) as memory:
        assert (await memory.letters.retry())["memories"] == 1
        assert [one.text for one in await told(memory)] == [PROMPT]
    assert PROMPT.encode() not in bytes_on_disk(home)


async def test_a_letter_that_the_rules_of_now_keep_out_goes_and_is_counted(
    home: Path, folder: Path, events: Any, distiller: Broken
) -> None:
    distiller.breaks("UserPromptSubmit")
    prompt(events, PROMPT)
    async with retain.open(home, folder=folder) as memory:
        await memory.drain.run()
    distiller.mends()
    (home / "config.toml").write_text(f'projects."{folder}".capture = false\n')
    async with retain.open(home, folder=folder) as memory:
        done = await memory.letters.retry()
        assert (done["digested"], done["excluded"], done["left"]) == (0, 1, 0)
        assert await told(memory) == []
        assert await rows(
            memory, "SELECT count(*) FROM dead_letter UNION ALL SELECT count(*) FROM event_receipt"
        ) == [(0,), (0,)]
        assert (await memory.stats())["excluded"] == {"off": 1}


async def test_what_was_cut_is_digested_as_far_as_it_goes_and_what_was_kept_empty_stays(
    memory: MemoryService, events: Any, distiller: Broken
) -> None:
    distiller.breaks("Stop", "UserPromptSubmit")
    events.put("Stop", last_assistant_message="the cart counts in decimals now", padding="x" * 600_000)
    prompt(events, PROMPT)
    await memory.drain.run()
    await memory._store.write(
        lambda db: db.execute("UPDATE dead_letter SET payload = x'' WHERE length(payload) < 9999")
    )
    distiller.mends()
    done = await memory.letters.retry()
    assert (done["digested"], done["left"]) == (1, 1)
    assert [one.text for one in await told(memory)] == ["the cart counts in decimals now"]
    assert (await memory.stats())["events"] == {"damaged": 1, "dead": 1}


async def test_a_late_event_ends_no_failure_and_is_about_the_prompt_before_it(
    memory: MemoryService, events: Any, distiller: Broken
) -> None:
    distiller.breaks("PostToolUse")
    events.put(prompt=PROMPT)
    events.bash("pytest tests/a.py", "1 passed", failed=False)
    events.edit("a.py", "one", "two")
    events.put(prompt="now look at the giraffe exporter instead")
    events.bash("pytest tests/a.py", "FAILED tests/a.py::test_x - assert 1 == 2", failed=True)
    assert (await memory.drain.run()).dead == 2
    distiller.mends()
    assert (await memory.letters.retry())["digested"] == 2
    assert {one.kind for one in await told(memory)} == {"prompt", "file_change", "error", "command"}
    about = "SELECT kind FROM memory JOIN memory_fts f ON f.rowid = key WHERE memory_fts MATCH 'context: {}' ORDER BY 1"
    assert await rows(memory, about.format("zebra")) == [("command",), ("file_change",), ("prompt",)]
    assert await rows(memory, about.format("giraffe")) == [("error",)]
    events.bash("pytest tests/a.py", "1 passed", failed=False)
    await memory.drain.run()
    assert [one.kind for one in await told(memory)].count("fix") == 1


@pytest.mark.parametrize("own", [True, False])
async def test_a_letter_of_an_import_has_its_trust_and_goes_with_it(
    memory: MemoryService, folder: Path, tmp_path: Path, distiller: Broken, own: bool
) -> None:
    line = {
        "type": "user", "uuid": "u1", "parentUuid": None, "sessionId": "s1", "cwd": str(folder),
        "timestamp": "2026-10-02T09:00:00.000Z", "message": {"role": "user", "content": PROMPT},
    }  # fmt: skip
    place = tmp_path / "projects" / "p" / "s1.jsonl"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps(line) + "\n")
    os.utime(place, (1_790_000_000, 1_790_000_000))
    distiller.breaks("UserPromptSubmit")
    run = await memory.imports.transcripts(place.parent.parent, workspace=None, tell=lambda _: None, own=own)
    distiller.mends()
    assert (await memory.letters.retry())["memories"] == 1
    assert [one.trust for one in await told(memory)] == ["user" if own else "untrusted"]
    await memory.imports.undo(run["import"])
    assert await told(memory) == []


async def test_an_import_that_is_undone_leaves_no_letters(
    memory: MemoryService, folder: Path, tmp_path: Path, distiller: Broken
) -> None:
    line = {
        "type": "user", "uuid": "u1", "parentUuid": None, "sessionId": "s1", "cwd": str(folder),
        "timestamp": "2026-10-02T09:00:00.000Z", "message": {"role": "user", "content": PROMPT},
    }  # fmt: skip
    place = tmp_path / "projects" / "p" / "s1.jsonl"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps(line) + "\n")
    distiller.breaks("UserPromptSubmit")
    run = await memory.imports.transcripts(place.parent.parent, workspace=None, tell=lambda _: None, own=True)
    assert (await memory.stats())["dead_letters"] == 1
    await memory.imports.undo(run["import"])
    assert (await memory.stats())["dead_letters"] == 0


def test_the_command_says_how_many_were_digested_and_which_still_fail(
    home: Path, folder: Path, events: Any, distiller: Broken, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    distiller.breaks("UserPromptSubmit", "Stop")
    prompt(events, PROMPT)
    events.put("Stop", last_assistant_message="the cart counts in decimals now, and so do its tests")
    main(["drain", "--home", str(home)])
    distiller.mends()
    distiller.breaks("Stop", because="another field")
    capsys.readouterr()
    assert main(["verify", "--mend", "--home", str(home)]) == 0
    said = capsys.readouterr().out
    assert "Digested 1 dead letter: 1 new memory" in said
    assert "Still not digested: 1 event, kept in the store" in said
    assert "LookupError: another field" in said
    main(["status", "--home", str(home)])
    assert "`retain verify --mend` tries them again" in capsys.readouterr().out
    main(["verify", "--mend", "--json", "--home", str(home)])
    letters = json.loads(capsys.readouterr().out)["mend"]["letters"]
    assert (letters["digested"], letters["left"]) == (0, 1)
