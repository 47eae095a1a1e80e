"""The embedded store: opened safely, read in snapshots, never two threads on one connection, whole when closed."""

from __future__ import annotations

import asyncio
import gc
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import apsw
import pytest

from retain.config import Settings
from retain.errors import (
    PoolClosed,
    PoolTimeout,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreUnusable,
)
from retain.storage import migrations
from retain.storage.connection import connect, make_home, translated
from retain.storage.reads import Reader
from retain.storage.side_lock import LOCK_FILE, PRESENCE_FILE
from retain.storage.sqlite import READER_IDLE_S, SqliteStore
from retain.storage.writes import STATE_FACT

pytestmark = pytest.mark.anyio

Opener = Callable[..., AbstractAsyncContextManager[SqliteStore]]


def put(name: str) -> Callable[[apsw.Connection], object]:
    return lambda db: db.execute("INSERT INTO fact VALUES (?, '1')", (name,))


def names(reader: Reader) -> set[str]:
    """The facts that a test wrote; the store's own token is not among them."""
    return {name for (name,) in reader.connection.execute("SELECT name FROM fact")} - {STATE_FACT}


def modes_in(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


async def test_what_was_written_is_read_and_is_there_after_reopening(open_store: Opener) -> None:
    async with open_store() as store:
        await store.write(put("kept"))
        assert await store.read(names) == {"kept"}
        assert store.writer_stats() == {"writes": 1, "commits": 1}
    async with open_store() as store:
        assert await store.read(names) == {"kept"}


async def test_files_are_for_the_user_alone_under_a_common_umask(open_store: Opener, home: Path) -> None:
    before = os.umask(0o022)
    try:
        async with open_store() as store:
            await store.write(put("x"))
            modes = modes_in(home)
    finally:
        os.umask(before)
    assert set(modes) == {"retain.db", "retain.db-wal", "retain.db-shm", LOCK_FILE, PRESENCE_FILE}
    assert set(modes.values()) == {0o600}
    assert modes_in(home.parent)[home.name] == 0o700


async def test_the_write_ahead_log_is_kept_when_the_store_closes(open_store: Opener, home: Path) -> None:
    async with open_store() as store:
        await store.write(put("x"))
        await store.read(names)
    assert (home / "retain.db-wal").stat().st_size > 0


async def test_writers_sync_fully_and_readers_cannot_write(open_store: Opener) -> None:
    async with open_store() as store:
        assert await store.write(lambda db: (db.pragma("synchronous"), db.pragma("journal_mode"))) == (
            2,
            "wal",
        )
        with pytest.raises(StoreUnusable, match=r"readonly|query_only"):
            await store.read(lambda reader: reader.connection.execute("DELETE FROM fact"))
        assert await store.read(names) == set()


async def test_a_read_is_one_snapshot_whatever_is_written_meanwhile(open_store: Opener) -> None:
    seen, go_on = threading.Event(), threading.Event()

    def twice(reader: Reader) -> tuple[set[str], set[str]]:
        first = names(reader)
        seen.set()
        go_on.wait(60)
        return first, names(reader)

    async with open_store() as store:
        await store.write(put("before"))
        reading = asyncio.ensure_future(store.read(twice))
        await asyncio.to_thread(seen.wait)
        await store.write(put("meanwhile"))
        go_on.set()
        assert await reading == ({"before"}, {"before"})
        assert await store.read(names) == {"before", "meanwhile"}


async def test_reads_run_side_by_side_up_to_the_number_of_readers(open_store: Opener) -> None:
    together = threading.Barrier(3)
    async with open_store(readers=3) as store:
        await asyncio.gather(*(store.read(lambda _: together.wait(60)) for _ in range(3)))
        assert store.pool_stats().pool_size == 3


async def test_work_that_nobody_waits_for_leaves_half_of_the_readers_to_answers(open_store: Opener) -> None:
    release, two_at_work, at_work = threading.Event(), threading.Event(), []

    def behind(_: Reader) -> None:
        at_work.append("behind")
        if len(at_work) == 2:
            two_at_work.set()
        release.wait(60)

    async with open_store(readers=4, acquire_timeout_ms=200) as store:
        working = [asyncio.ensure_future(store.read_behind(behind)) for _ in range(4)]
        await asyncio.to_thread(two_at_work.wait, 60)
        together = threading.Barrier(2)
        await asyncio.gather(*(store.read(lambda _: together.wait(60)) for _ in range(2)))
        assert len(at_work) == 2
        release.set()
        await asyncio.gather(*working)
        assert len(at_work) == 4


async def test_one_reader_serves_both_answers_and_what_nobody_waits_for(open_store: Opener) -> None:
    async with open_store(readers=1) as store:
        assert await asyncio.gather(store.read_behind(names), store.read(names)) == [set(), set()]


async def test_no_reader_in_time_is_a_timeout(open_store: Opener) -> None:
    release = threading.Event()
    async with open_store(readers=1, acquire_timeout_ms=200) as store:
        await store.read(names)
        holding = asyncio.ensure_future(store.read(lambda _: release.wait(60)))
        await asyncio.sleep(0)
        with pytest.raises(PoolTimeout):
            await store.read(names)
        release.set()
        await holding
        assert await store.read(names) == set()


@pytest.mark.parametrize("times", [1, 3])
async def test_the_connection_of_a_cancelled_read_is_not_lent_before_its_thread_is_done(
    times: int, open_store: Opener
) -> None:
    begun, release = threading.Event(), threading.Event()
    running = []

    def slow(reader: Reader) -> None:
        running.append("slow")
        begun.set()
        release.wait(60)
        running.remove("slow")

    def alone(reader: Reader) -> set[str]:
        assert not running, "two threads on one connection"
        return names(reader)

    async with open_store(readers=1) as store:
        cancelled = asyncio.ensure_future(store.read(slow))
        await asyncio.to_thread(begun.wait)
        for _ in range(times):
            cancelled.cancel()
            await asyncio.sleep(0)
        following = asyncio.ensure_future(store.read(alone))
        await asyncio.wait([following], timeout=0.02)
        assert not following.done()
        release.set()
        assert await following == set()
        with pytest.raises(asyncio.CancelledError):
            await cancelled


async def test_a_cancelled_read_stops_a_query_that_would_run_for_long(open_store: Opener) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    begun = threading.Event()

    def query(reader: Reader) -> object:
        reader.connection.create_scalar_function("begin_now", lambda: begun.set() or 0, 0)
        return reader.connection.execute(endless + " WHERE begin_now() = 0").get

    async with open_store(readers=1) as store:
        reading = asyncio.ensure_future(store.read(query))
        await asyncio.to_thread(begun.wait)
        reading.cancel()
        async with asyncio.timeout(60):
            with pytest.raises(asyncio.CancelledError):
                await reading
        assert await store.read(names) == set()


async def test_the_version_changes_with_every_commit_of_any_store_and_only_then(open_store: Opener) -> None:
    async with open_store() as mine, open_store() as other:
        before = mine.version()
        assert mine.version() == before
        await mine.read(names)
        assert mine.version() == before
        await mine.write(put("a"))
        after = mine.version()
        assert after != before
        await other.write(put("b"))
        assert mine.version() not in {before, after}


async def test_an_error_of_sqlite_in_a_read_is_ours_and_costs_no_reader(open_store: Opener) -> None:
    async with open_store(readers=1) as store:
        for _ in range(3):
            with pytest.raises(StoreError, match="no such table"):
                await store.read(lambda reader: reader.connection.execute("SELECT * FROM missing_table"))
        with pytest.raises(KeyError):
            await store.read(lambda _: {}["mine"])
        assert (store.pool_stats().pool_size, store.pool_stats().pool_available) == (1, 1)


async def test_readers_that_nobody_asked_for_long_are_closed_while_nothing_is_read(
    open_store: Opener,
) -> None:
    async with open_store() as store:
        await store.tend_readers()
        assert store.pool_stats().pool_size == 0  # a store that is only watched opens none
        await asyncio.gather(*(store.read(lambda reader: reader.total()) for _ in range(2)))
        await store._readers.tend()
        assert store.pool_stats().pool_size >= 1
        now = store._readers._clock()
        store._readers._clock = lambda: now + READER_IDLE_S + 1
        await store._readers.tend()
        assert store.pool_stats().pool_size == 0
        assert await store.read(lambda reader: reader.total()) == 0


async def test_closing_finishes_pending_writes_and_closes_once(open_store: Opener) -> None:
    async with open_store() as store:
        pending = [asyncio.ensure_future(store.write(put(f"n{n}"))) for n in range(100)]
        await asyncio.sleep(0)
        await store.close()
        await asyncio.gather(*pending)
        await store.close()
        with pytest.raises(StoreError, match="closed"):
            store.version()
        with pytest.raises(StoreError, match="closed"):
            await store.write(put("late"))
        with pytest.raises(PoolClosed):
            await store.read(names)
        with pytest.raises(StoreError, match="closed"):
            await store._open_reader()
    async with open_store() as store:
        assert len(await store.read(names)) == 100


async def test_a_read_that_runs_while_the_store_closes_is_finished(open_store: Opener) -> None:
    begun, release = threading.Event(), threading.Event()

    def slow(reader: Reader) -> set[str]:
        begun.set()
        release.wait(60)
        return names(reader)

    async with open_store() as store:
        await store.write(put("x"))
        reading = asyncio.ensure_future(store.read(slow))
        await asyncio.to_thread(begun.wait)
        await store.close()
        release.set()
        assert await reading == {"x"}


# What cannot be opened


def open_fails(home: Path, error: type[StoreError], message: str) -> StoreError:
    with pytest.raises(error, match=message) as caught:
        asyncio.run(SqliteStore.open(Settings(home=home, write_timeout_ms=50)))
    gc.collect()  # a connection left open would warn here
    return caught.value


@pytest.mark.parametrize(
    "content", [b"text " * 1000, b"SQLite format 3\0" + b"\xff" * 5000], ids=["text", "header"]
)
def test_a_file_that_is_no_database_is_damaged_and_not_touched(content: bytes, home: Path) -> None:
    home.mkdir()
    (home / "retain.db").write_bytes(content)
    assert open_fails(home, StoreCorrupt, "damaged").hint
    assert (home / "retain.db").read_bytes() == content


def test_a_store_of_a_newer_retain_is_refused_and_not_touched(home: Path, database: Path) -> None:
    connection = connect(database, writable=True)
    connection.pragma("user_version", migrations.VERSION + 1)
    connection.close()
    assert "upgrade" in (open_fails(home, StoreUnusable, "schema version").hint or "")


def test_a_sqlite_that_can_lose_commits_is_refused_before_anything_is_made(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
    open_fails(home, StoreUnusable, "can lose commits")
    assert not home.exists()


def test_a_directory_in_the_place_of_the_database_is_refused(home: Path) -> None:
    (home / "retain.db").mkdir(parents=True)
    open_fails(home, StoreUnusable, "cannot be used")


def test_a_symlink_to_nowhere_in_the_place_of_the_database_is_refused(home: Path, tmp_path: Path) -> None:
    home.mkdir()
    (home / "retain.db").symlink_to(tmp_path / "missing")
    open_fails(home, StoreUnusable, "cannot be used")
    assert not (tmp_path / "missing").exists()


def test_a_file_in_the_place_of_the_data_directory_is_refused(home: Path) -> None:
    home.write_text("a file")
    open_fails(home, StoreUnusable, "is not a directory")
    open_fails(home / "below", StoreUnusable, "cannot be used: Not a directory")


def test_a_data_directory_of_another_user_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(StoreUnusable, match="belongs to another user"):
        make_home(home, home / "retain.db")


def test_a_lock_file_that_cannot_be_opened_is_refused(home: Path) -> None:
    (home / LOCK_FILE).mkdir(parents=True)
    open_fails(home, StoreUnusable, "cannot be opened")


def test_a_new_store_that_another_process_keeps_locked_is_busy(home: Path) -> None:
    home.mkdir()
    script = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, 2); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, home / LOCK_FILE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert open_fails(home, StoreBusy, "write lock was not free").retryable
        child.kill()
    asyncio.run(open_and_close(home))


async def open_and_close(home: Path) -> None:
    await (await SqliteStore.open(Settings(home=home))).close()


async def test_stores_that_open_a_new_database_at_the_same_time_all_succeed(home: Path) -> None:
    stores = await asyncio.gather(*(SqliteStore.open(Settings(home=home)) for _ in range(4)))
    await asyncio.gather(*(store.write(put(str(n))) for n, store in enumerate(stores)))
    assert await stores[0].read(names) == {"0", "1", "2", "3"}
    for store in stores:
        await store.close()


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (apsw.BusyError, StoreBusy),
        (apsw.LockedError, StoreBusy),
        (apsw.FullError, StoreFull),
        (apsw.CorruptError, StoreCorrupt),
        (apsw.NotADBError, StoreCorrupt),
        (apsw.CantOpenError, StoreUnusable),
        (apsw.ReadOnlyError, StoreUnusable),
        (apsw.PermissionsError, StoreUnusable),
        (apsw.IOError, StoreError),
        (apsw.ConstraintError, StoreError),
    ],
)
def test_every_error_of_sqlite_becomes_one_of_ours(error: type[apsw.Error], ours: type[StoreError]) -> None:
    with pytest.raises(StoreError) as caught, translated():
        raise error("from below")
    assert type(caught.value) is ours
    assert isinstance(caught.value.__cause__, error)


async def test_a_text_that_is_no_utf8_any_more_is_damage(open_store: Opener) -> None:
    async with open_store() as store:
        with pytest.raises(StoreCorrupt, match="not UTF-8"):
            await store.read(lambda reader: reader.connection.execute("SELECT CAST(x'ff' AS TEXT)").get)
