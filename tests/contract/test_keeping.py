"""Backups, going back in time and erasure, on real stores."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path

import apsw
import pytest

import retain
from retain.config import Settings
from retain.errors import Conflict, InvalidInput, NotFound, StoreBusy, StoreCorrupt, StoreError
from retain.memory.keeping import restore_backup
from retain.memory.service import MemoryService
from retain.storage import migrations
from retain.storage.audit import BY_UPGRADE, attach
from retain.storage.backups import BACKUPS, NAME_FORMAT, Backups, alone
from retain.storage.connection import opened
from retain.storage.sqlite import SqliteStore

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True, params=["plain", "encrypted"])
def at_rest(request: pytest.FixtureRequest) -> None:
    """Every promise holds for an encrypted data directory too."""
    if request.param == "encrypted":
        request.getfixturevalue("encrypted")


LONG = "a line about the settlement of invoices that nobody should ever read again\n" * 200


def aged(home: Path, hours: int) -> None:
    """Makes every backup so much older."""
    for manifest in sorted((home / BACKUPS).glob("*.json")):
        at = datetime.strptime(manifest.stem, NAME_FORMAT).replace(tzinfo=UTC) - timedelta(hours=hours)
        name = at.strftime(NAME_FORMAT)
        data = manifest.read_text().replace(manifest.stem, name)
        manifest.unlink()
        manifest.with_name(f"{name}.json").write_text(data)


def week_of(moment: str) -> tuple[int, int]:
    return datetime.fromisoformat(moment).isocalendar()[:2]


async def active(memory: MemoryService) -> set[str]:
    return {one.text for one in (await memory.timeline(limit=50)).memories}


def files(home: Path) -> list[Path]:
    return [path for path in home.rglob("*") if path.is_file()]


def chunks(home: Path) -> list[Path]:
    return sorted((home / BACKUPS / "chunks").iterdir())


async def test_a_backup_holds_what_was_there_and_the_next_only_what_changed(
    memory: MemoryService, home: Path, tmp_path: Path
) -> None:
    numbers = random.Random(1)
    texts = [f"fact {n}: {' '.join(str(numbers.random()) for _ in range(40))}" for n in range(300)]
    await memory.remember_many([{"text": text} for text in texts])
    first = await memory.keeping.backup()
    await memory.remember("one more")
    second = await memory.keeping.backup()
    assert 0 < second["new_bytes"] < first["new_bytes"] / 2
    told = await memory.keeping.backups(check=True)
    assert [one["backup"] for one in told["backups"]] == [first["backup"], second["backup"]]
    assert told["problems"] == []
    backups = Backups(home / BACKUPS)
    backups.assemble(backups.named(first["backup"]), tmp_path / "copy.db")
    copy = opened(tmp_path / "copy.db")
    assert copy.execute("SELECT count(*) FROM memory").get == 300
    copy.close()
    assert (home / BACKUPS).stat().st_mode & 0o777 == 0o700
    assert all(one.stat().st_mode & 0o777 == 0o600 for one in chunks(home))


async def test_a_backup_is_due_when_the_last_is_old_and_something_was_changed(home: Path) -> None:
    async with retain.open(home, backup_hours=1) as memory:
        keeping = memory.keeping
        due = keeping._backup_due
        assert await memory._store.read(due)
        await memory.remember("a fact")
        await keeping.backup()
        assert not await memory._store.read(due)
        aged(home, hours=2)
        assert not await memory._store.read(due)
        await memory.remember("another fact")
        assert await memory._store.read(due)


async def test_a_live_server_makes_the_backup_that_is_due_and_drops_the_stale_ones(home: Path) -> None:
    """No daemon: whoever lives looks every ten minutes, and the first one does it for all."""
    async with retain.open(home, backups_kept=2) as first, retain.open(home, backups_kept=2) as second:
        for number in range(4):
            await first.remember(f"fact {number}")
            await first.keeping.look()
            await second.keeping.look()  # nothing was changed since
            weeks = [week_of(one["at"]) for one in (await first.keeping.backups())["backups"]]
            assert len(weeks[-2:]) == min(number + 1, 2)
            assert len({*weeks[:-2]} - {*weeks[-2:]}) == len(
                weeks[:-2]
            )  # only the newest of a week is spared
            aged(home, hours=25)
        told = await first.keeping.backups(check=True)
        assert told["problems"] == []


async def test_what_looks_is_among_what_a_server_runs_beside_its_answers(home: Path) -> None:
    async with retain.open(home, drain=True) as memory:
        running = {task.get_coro().__qualname__ for task in asyncio.all_tasks()}  # type: ignore[union-attr]
        assert "Keeping.keep_running" in running
        assert "Scrubbing.keep_running" in running
        assert memory.settings.backup_hours > 0


async def test_a_backup_that_another_process_is_making_is_left_to_it(home: Path) -> None:
    async with retain.open(home) as memory:
        await memory.remember("a fact")
        with alone(home), pytest.raises(StoreBusy):
            await memory.keeping.look()
        await memory.keeping.look()
        assert len((await memory.keeping.backups())["backups"]) == 1


async def test_a_damaged_chunk_is_found_and_not_restored(memory: MemoryService, home: Path) -> None:
    await memory.remember("a fact")
    made = await memory.keeping.backup()
    damaged = chunks(home)[0]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    (home / BACKUPS / "broken.json").write_text("{")
    problems = (await memory.keeping.backups(check=True))["problems"]
    assert len(problems) == 2
    assert "broken.json is no manifest" in problems
    assert any(damaged.name[:16] in problem for problem in problems)
    await memory.close()
    with pytest.raises(StoreCorrupt, match="chunk"):
        restore_backup(memory.settings, made["backup"])
    async with retain.open(home) as again:
        assert (await again.verify())["ok"]


async def test_old_backups_are_dropped_with_what_only_they_need(home: Path) -> None:
    async with retain.open(home, backups_kept=2) as memory:
        for number in range(5):
            await memory.remember(f"fact {number}")
            await memory.keeping.backup()
        told = await memory.keeping.backups(check=True)
        assert len(told["backups"]) == 2
        assert told["problems"] == []


def test_one_backup_a_week_outlives_the_newest(tmp_path: Path) -> None:
    backups = Backups(tmp_path / "backups")
    source = apsw.Connection(":memory:")
    source.execute("CREATE TABLE t (x)")
    monday = datetime(2026, 6, 1, 12, tzinfo=UTC)
    for day in range(70):
        backups.make(source, monday + timedelta(days=day), (1, ""))
    stale = backups.stale(7)
    backups.drop(*stale)
    kept = [one.at for one in backups.known()]
    assert len(kept) == 7 + 7
    assert [moment.weekday() for moment in kept[:7]] == [6] * 7
    assert kept[-1] == monday + timedelta(days=69)
    source.close()


async def test_a_damaged_store_is_replaced_by_a_backup_and_set_aside(home: Path) -> None:
    async with retain.open(home) as memory:
        stored = await memory.remember("the fact that counts")
        await memory.keeping.backup()
        await memory.remember("came later")
        settings = memory.settings
        with pytest.raises(StoreBusy, match="has the store open"):
            restore_backup(settings, "latest")
    settings.database.write_bytes(b"not a database" * 1000)
    settings.database.with_name("retain.db-wal").unlink()
    with pytest.raises(StoreError):
        async with retain.open(home):
            pass
    done = restore_backup(settings, "latest")
    assert (home / done["set_aside"]).read_bytes().startswith(b"not a database")
    async with retain.open(home) as memory:
        assert await active(memory) == {"the fact that counts"}
        assert (await memory.recall("fact that counts")).hits[0].memory.id == stored.id
        assert (await memory.verify())["ok"]
    with pytest.raises(NotFound, match="no backup"):
        restore_backup(settings, "20200101T000000.000000Z")


async def test_going_back_can_be_undone_by_going_back_again(memory: MemoryService) -> None:
    kept = await memory.remember("kept")
    gone = await memory.remember("forgotten later")
    before = datetime.now(UTC).isoformat()
    await memory.forget(gone.id)
    await memory.revise(kept.id, "kept, better said")
    later = datetime.now(UTC).isoformat()
    done = await memory.keeping.restore(before)
    assert (done["active"], done["forgotten"]) == (2, 1)
    assert await active(memory) == {"kept", "forgotten later"}
    await memory.keeping.restore(later)
    assert await active(memory) == {"kept, better said"}
    assert (await memory.verify())["ok"]
    with pytest.raises(InvalidInput, match="future"):
        await memory.keeping.restore("2999-01-01")


async def test_the_past_is_asked_in_a_copy_and_the_present_stays(
    memory: MemoryService, tmp_path: Path, folder: Path
) -> None:
    await memory.remember("we deploy with ansible")
    then = datetime.now(UTC).isoformat()
    await memory.forget((await memory.recall("how do we deploy?")).hits[0].memory.id)
    await memory.remember("we deploy with terraform")
    place = tmp_path / "past"
    place.mkdir()
    await memory.keeping.write_past(place / "retain.db", then)
    async with retain.open(place, folder=folder) as past:
        block, _ = await past.context("how do we deploy?")
        assert "ansible" in block.text
        assert "terraform" not in block.text
    assert await active(memory) == {"we deploy with terraform"}


@pytest.mark.parametrize("text", ["a secret plan about zebras", LONG, 'with "quotes"\nand lines'])
async def test_what_is_erased_stands_in_no_file_any_more(
    memory: MemoryService, home: Path, text: str
) -> None:
    stored = await memory.remember(text)
    better = await memory.revise(stored.id, text + " (revised)")
    await memory.remember("something else", tags=["t"])
    await memory.keeping.backup()
    await memory.forget(better.id)
    with pytest.raises(Conflict, match="is active"):
        await memory.keeping.erase([(await memory.timeline()).memories[0].id])
    done = await memory.keeping.erase([better.id])
    assert sorted(done["erased"]) == sorted([stored.id, better.id])
    assert done["backups_rewritten"] == 1
    assert done["proof"]["texts"] >= 2
    assert done["proof"]["found_in"] == []
    assert done["log_emptied"]
    with pytest.raises(NotFound):
        await memory.get(stored.id)
    assert (await memory.verify())["ok"]
    assert (await memory.keeping.backups(check=True))["problems"] == []
    await memory.close()
    needle = text.encode()[:40]
    assert [path for path in files(home) if needle in path.read_bytes()] == []
    fts = opened(home / "retain.db")
    assert fts.execute("SELECT count(*) FROM memory_vocab WHERE term IN ('zebra', 'invoic', 'quot')").get == 0
    fts.close()


async def test_a_text_that_is_left_in_a_file_is_reported(memory: MemoryService, home: Path) -> None:
    stored = await memory.remember("a secret plan about zebras")
    (home / "notes.txt").write_text("copied: a secret plan about zebras")
    await memory.forget(stored.id)
    assert (await memory.keeping.erase([stored.id]))["proof"]["found_in"] == ["notes.txt"]


async def test_a_forgotten_memory_waits_for_its_time(home: Path) -> None:
    async with retain.open(home, undo_days=30) as memory:
        stored = await memory.remember("a fact")
        await memory.forget(stored.id)
        assert (await memory.keeping.erase())["erased"] == []
        await memory.keeping.unforget(stored.id)
        assert await active(memory) == {"a fact"}


async def test_a_backup_is_made_beside_a_writer_and_is_one_snapshot(home: Path, tmp_path: Path) -> None:
    writer = (
        "import asyncio, sys, retain\n"
        "async def main():\n"
        "    async with retain.open(sys.argv[1], folder='/') as memory:\n"
        "        print('ready', flush=True)\n"
        "        for n in range(200):\n"
        "            await memory.remember_many([{'text': f'{n} one'}, {'text': f'{n} two'}])\n"
        "asyncio.run(main())\n"
    )
    async with retain.open(home, folder="/") as memory:
        with subprocess.Popen(  # noqa: ASYNC220 - its output is one line
            [sys.executable, "-c", writer, str(home)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            while process.poll() is None:
                await memory.keeping.backup()
            assert process.returncode == 0
    backups = Backups(home / BACKUPS)
    for number, one in enumerate(backups.known()):
        path = tmp_path / f"{number}.db"
        backups.assemble(one, path)
        copy = opened(path)
        assert copy.execute("SELECT count(*) FROM memory").get % 2 == 0
        copy.close()


async def test_a_store_being_replaced_cannot_be_opened(home: Path) -> None:
    async with retain.open(home) as memory:
        settings: Settings = memory.settings
    with SqliteStore.closed_everywhere(settings), pytest.raises(StoreBusy, match="being replaced"):
        async with retain.open(home):
            pass


@pytest.mark.parametrize("jump_s", [-86_400 * 400, -3_600, 86_400 * 400])
async def test_a_clock_that_jumps_loses_nothing_and_breaks_nothing(
    memory: MemoryService, monkeypatch: pytest.MonkeyPatch, jump_s: int
) -> None:
    before = await memory.remember("before the jump")
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + jump_s * 1_000_000_000)
    after = await memory.remember("after the jump")
    await memory.forget(before.id)
    monkeypatch.undo()
    assert (await memory.recall("the jump")).hits[0].memory.id == after.id
    await memory.keeping.unforget(before.id)
    assert await active(memory) == {"before the jump", "after the jump"}
    assert (await memory.verify())["ok"]


async def test_a_backup_of_an_older_schema_is_mended_from_and_erased_from(home: Path) -> None:
    async with retain.open(home) as memory:
        stored = await memory.remember("a secret plan about zebras")
        old = apsw.Connection(":memory:")
        for name in migrations.MIGRATIONS[:5]:
            attach(old, lambda: BY_UPGRADE)
            sql = resources.files(migrations).joinpath(name).read_text(encoding="utf-8")
            old.execute(sql)
        old.pragma("user_version", 5)
        old.execute("INSERT INTO workspace VALUES (1, 'w', 'w', 'w', '/', 1)")
        old.execute(
            "INSERT INTO memory (workspace, id, kind, title, body, paths, symbols, tags, origin, status, occurred_us, "
            "recorded_us, seen_us, dedup, content_hash, extra, redacted) VALUES "
            "(1, ?, 'note', '', 'a secret plan about zebras', '[]', '[]', '[]', 'user', 'active', 1, 1, 1, x'00', "
            "x'00', '{}', '{}')",
            (stored.id,),
        )
        Backups(home / BACKUPS).make(old, datetime.now(UTC), (1, ""))
        old.close()
        assert (await memory.keeping.mend())["mended"] == []
        await memory.forget(stored.id)
        done = await memory.keeping.erase([stored.id])
        assert done["backups_rewritten"] == 1
        assert done["proof"]["found_in"] == []
