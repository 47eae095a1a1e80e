"""The writer: group commit, each write for itself, one process at a time, and nothing acknowledged lost.

The anomalies are made by a file system of our own below SQLite, in which the n-th write or sync fails.
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from retain.errors import StoreBusy, StoreCorrupt, StoreError, StoreFull, StoreUnusable
from retain.storage.connection import connect
from retain.storage.side_lock import SideLock
from retain.storage.writer import GroupCommitWriter
from retain.storage.writes import STATE_FACT

pytestmark = pytest.mark.anyio

Opener = Callable[..., Any]


@pytest.fixture
def lock_path(home: Path) -> Path:
    return home / "write.lock"


@pytest.fixture
def writer_on(database: Path, lock_path: Path) -> Opener:
    """Opens a writer on the test's database for the length of a block."""

    @asynccontextmanager
    async def opened(
        group_max: int = 64, timeout_ms: int = 10_000, opening: Callable[[], apsw.Connection] | None = None
    ) -> AsyncIterator[GroupCommitWriter]:
        writer = GroupCommitWriter(
            opening or (lambda: connect(database, writable=True)),
            lock_path,
            group_max=group_max,
            timeout_ms=timeout_ms,
        )
        yield writer
        await asyncio.to_thread(writer.close)

    return opened


def put(name: str) -> Callable[[apsw.Connection], str]:
    def action(db: apsw.Connection) -> str:
        db.execute("INSERT INTO fact VALUES (?, 'x')", (name,))
        return name

    return action


def stored(database: Path) -> set[str]:
    """What a new connection finds, after SQLite itself has said that the file is whole."""
    connection = connect(database, writable=False)
    try:
        assert connection.execute("PRAGMA integrity_check").get == "ok"
        return {name for (name,) in connection.execute("SELECT name FROM fact")}
    finally:
        connection.close()


@contextmanager
def held(path: Path, *, stopped: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """Another process holds the side lock."""
    script = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, 2); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        if stopped:
            child.send_signal(signal.SIGSTOP)
        try:
            yield child
        finally:
            child.kill()


async def test_writes_that_come_together_share_a_commit(writer_on: Opener, database: Path) -> None:
    async with writer_on() as writer:
        names = [f"n{n}" for n in range(200)]
        assert await asyncio.gather(*(writer.run(put(name)) for name in names)) == names
        assert writer.writes == 200
        assert writer.commits <= 10
    assert stored(database) == set(names)


async def test_a_group_is_never_larger_than_its_limit(writer_on: Opener) -> None:
    async with writer_on(group_max=3) as writer:
        await asyncio.gather(*(writer.run(put(f"n{n}")) for n in range(10)))
        assert writer.commits >= 4


async def test_one_bad_write_does_not_take_its_neighbours_with_it(writer_on: Opener, database: Path) -> None:
    def bad(db: apsw.Connection) -> None:
        db.execute("INSERT INTO fact VALUES ('half', 'x')")
        raise KeyError("mine")

    def wrong(db: apsw.Connection) -> None:
        db.execute("INSERT INTO no_such_table VALUES (1)")

    async with writer_on() as writer:
        answers = await asyncio.gather(
            writer.run(put("a")), writer.run(bad), writer.run(put("b")), writer.run(wrong), writer.run(put("a")),
            writer.run(put("c")), return_exceptions=True,
        )  # fmt: skip
        assert [type(answer) for answer in answers] == [str, KeyError, str, StoreError, StoreError, str]
        assert writer.commits <= 2
    assert stored(database) == {"a", "b", "c"}


async def test_a_write_that_ends_the_transaction_fails_the_whole_group_and_stores_nothing(
    writer_on: Opener, database: Path
) -> None:
    def ends_it(db: apsw.Connection) -> None:
        db.execute("ROLLBACK")
        raise KeyError("gone")

    async with writer_on() as writer:
        await writer.run(put("before"))
        begun, release = threading.Event(), threading.Event()
        blocking = asyncio.ensure_future(writer.run(lambda _: begun.set() or release.wait(60)))
        await asyncio.to_thread(begun.wait)
        group = [asyncio.ensure_future(writer.run(action)) for action in (put("a"), ends_it, put("b"))]
        await asyncio.sleep(0)
        release.set()
        await blocking
        answers = await asyncio.gather(*group, return_exceptions=True)
        assert [type(answer) for answer in answers] == [KeyError] * 3
        await writer.run(put("after"))
    assert stored(database) == {"before", "after"}


async def test_a_lock_held_past_the_limit_is_busy_and_the_write_never_runs(
    writer_on: Opener, database: Path, lock_path: Path
) -> None:
    async with writer_on(timeout_ms=100) as writer:
        with held(lock_path, stopped=True) as child:
            with pytest.raises(StoreBusy, match=r"not free within 0\.1 s") as caught:
                await writer.run(put("late"))
            assert caught.value.retryable
            assert caught.value.hint in {
                f"process {child.pid} holds it and was stopped; `kill -CONT {child.pid}` lets it go on",
                f"process {child.pid} holds it",  # the signal has not reached it yet
                "another process holds it",  # the system does not tell
            }
        await writer.run(put("next"))
    assert stored(database) == {"next"}


async def test_closing_does_not_stand_in_line_for_writes_that_nobody_waits_for(
    writer_on: Opener, database: Path, lock_path: Path
) -> None:
    async with writer_on(timeout_ms=200) as writer:
        with held(lock_path, stopped=True):
            late = [asyncio.ensure_future(writer.run(put(f"late{n}"))) for n in range(3)]
            answers = await asyncio.gather(*late, return_exceptions=True)
            assert [type(answer) for answer in answers] == [StoreBusy] * 3
            joined: list[float | None] = []
            thread = writer._thread
            assert thread is not None
            thread.join = joined.append  # type: ignore[assignment]
            writer.close()
            assert joined == []
            del thread.join
        thread.join()
    assert stored(database) == set()


async def test_a_lock_given_back_in_time_lets_the_write_through(
    writer_on: Opener, database: Path, lock_path: Path
) -> None:
    async with writer_on() as writer:
        with held(lock_path) as child:
            waiting = asyncio.ensure_future(writer.run(put("patient")))
            await asyncio.sleep(0)
            assert child.stdin is not None
            child.stdin.close()
            assert await waiting == "patient"
    assert stored(database) == {"patient"}


async def test_a_write_that_has_begun_is_waited_for_past_the_limit(writer_on: Opener, database: Path) -> None:
    begun, release = threading.Event(), threading.Event()

    def slow(db: apsw.Connection) -> str:
        begun.set()
        release.wait(60)
        return put("slow")(db)

    async with writer_on(timeout_ms=100) as writer:
        while not begun.is_set():  # on a busy machine the limit may pass before the write begins
            waiting = asyncio.ensure_future(writer.run(slow))
            while not (begun.is_set() or waiting.done()):  # noqa: ASYNC110 - another thread sets it
                await asyncio.sleep(0.001)
        done, _ = await asyncio.wait([waiting], timeout=0.3)
        assert not done  # the limit is long past, but to say "not stored" now would be a lie
        release.set()
        assert await waiting == "slow"
    assert stored(database) == {"slow"}


async def test_a_cancelled_write_that_has_not_begun_never_runs(
    writer_on: Opener, database: Path, lock_path: Path
) -> None:
    async with writer_on() as writer:
        with held(lock_path):
            cancelled = asyncio.ensure_future(writer.run(put("cancelled")))
            await asyncio.sleep(0)
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
        await writer.run(put("next"))
        assert writer.writes == 1
    assert stored(database) == {"next"}


async def test_a_cancelled_write_that_has_begun_is_finished_and_disturbs_nobody(
    writer_on: Opener, database: Path
) -> None:
    begun, release = threading.Event(), threading.Event()

    def slow(db: apsw.Connection) -> str:
        begun.set()
        release.wait(60)
        return put("slow")(db)

    async with writer_on() as writer:
        cancelled = asyncio.ensure_future(writer.run(slow))
        await asyncio.to_thread(begun.wait)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        release.set()
        await writer.run(put("next"))
    assert stored(database) == {"slow", "next"}


async def test_closing_finishes_what_was_queued(writer_on: Opener, database: Path) -> None:
    async with writer_on() as writer:
        waiting = [asyncio.ensure_future(writer.run(put(f"n{n}"))) for n in range(150)]
        await asyncio.sleep(0)
        await asyncio.to_thread(writer.close)
        assert await asyncio.gather(*waiting) == [f"n{n}" for n in range(150)]
        with pytest.raises(StoreError, match="closed"):
            await writer.run(put("late"))
    assert len(stored(database)) == 150


async def test_a_close_that_comes_while_a_group_is_gathered_ends_the_writer_after_it(
    writer_on: Opener, database: Path
) -> None:
    begun, release = threading.Event(), threading.Event()

    def slow(_: apsw.Connection) -> None:
        begun.set()
        release.wait(60)

    async with writer_on() as writer:
        first = asyncio.ensure_future(writer.run(slow))
        await asyncio.to_thread(begun.wait)
        second = asyncio.ensure_future(writer.run(put("second")))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(asyncio.to_thread(writer.close))
        while not writer._closed:  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0)
        release.set()
        await asyncio.gather(first, second, closing)
    assert stored(database) == {"second"}


def test_a_loop_that_is_gone_does_not_stop_the_writer(database: Path, lock_path: Path) -> None:
    writer = GroupCommitWriter(
        lambda: connect(database, writable=True), lock_path, group_max=8, timeout_ms=10_000
    )
    begun, release = threading.Event(), threading.Event()

    def slow(db: apsw.Connection) -> None:
        begun.set()
        release.wait(60)
        put("orphan")(db)

    async def leave() -> None:
        task = asyncio.ensure_future(writer.run(slow))
        await asyncio.to_thread(begun.wait)
        task.cancel()

    asyncio.run(leave())
    release.set()
    assert asyncio.run(writer.run(put("next"))) == "next"
    writer.close()
    assert stored(database) == {"orphan", "next"}


async def test_a_connection_that_cannot_be_opened_fails_the_write_and_is_tried_again(
    writer_on: Opener, database: Path
) -> None:
    failures: list[Exception] = [apsw.CantOpenError("no"), apsw.IOError("disk")]

    def opening() -> apsw.Connection:
        if failures:
            raise failures.pop(0)
        return connect(database, writable=True)

    async with writer_on(opening=opening) as writer:
        with pytest.raises(StoreUnusable):
            await writer.run(put("a"))
        with pytest.raises(StoreError, match="IOError: disk"):
            await writer.run(put("b"))
        await writer.run(put("c"))
    assert stored(database) == {"c"}


async def test_a_lock_file_that_cannot_be_opened_fails_the_write_and_is_tried_again(
    writer_on: Opener, lock_path: Path
) -> None:
    os.mkdir(lock_path)  # noqa: PTH102
    async with writer_on() as writer:
        with pytest.raises(StoreUnusable, match="cannot be opened"):
            await writer.run(put("a"))
        os.rmdir(lock_path)  # noqa: PTH106
        await writer.run(put("b"))


def test_a_lock_with_a_limit_gives_up_after_it_and_is_had_when_free(home: Path, lock_path: Path) -> None:
    home.mkdir()
    lock = SideLock(lock_path, timeout_s=0.02)
    with held(lock_path), pytest.raises(StoreBusy), lock:
        raise AssertionError("had a lock that another process holds")
    with lock:
        other = os.open(lock_path, os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(other)
    lock.close()


async def test_a_full_database_is_told_as_full_and_keeps_what_was_acknowledged(
    writer_on: Opener, database: Path
) -> None:
    def limit(db: apsw.Connection) -> None:
        db.pragma("max_page_count", db.pragma("page_count") + 4)

    def large(name: str) -> Callable[[apsw.Connection], object]:
        return lambda db: db.execute("INSERT INTO fact VALUES (?, ?)", (name, "x" * 9_000))

    async with writer_on() as writer:
        await writer.run(limit)
        kept = set()
        with pytest.raises(StoreFull) as caught:  # noqa: PT012 - which write it is depends on page sizes
            for n in itertools.count():
                await writer.run(large(f"n{n}"))
                kept.add(f"n{n}")
        assert caught.value.retryable
        await writer.run(lambda db: db.pragma("max_page_count", 10_000))
        await writer.run(large("after"))
    assert stored(database) == kept | {"after"}


ACKNOWLEDGE = """
import asyncio, resource, sys
from pathlib import Path
from retain.config import Settings
from retain.errors import StoreError
from retain.storage.sqlite import SqliteStore

async def main(home, room):
    store = await SqliteStore.open(Settings(home=Path(home)))
    put = lambda n: lambda db: db.execute("INSERT INTO fact VALUES (?, ?)", (str(n), "x" * 500))
    await store.write(put("first"))
    size = Path(home, "retain.db-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, size + room))
    for n in range(10_000):
        answers = await asyncio.gather(*(store.write(put(f"{n}.{i}")) for i in range(3)), return_exceptions=True)
        for i, answer in enumerate(answers):
            if isinstance(answer, Exception):
                print("failed", type(answer).__name__, isinstance(answer, StoreError), flush=True)
                return
            print("stored", f"{n}.{i}", flush=True)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.mark.parametrize("room", [0, 100, 5_000, 40_000])
def test_a_full_disk_is_an_error_and_nothing_acknowledged_is_lost(room: int, home: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", ACKNOWLEDGE, home, str(room)], capture_output=True, text=True, timeout=120
    )
    lines = [line.split() for line in child.stdout.splitlines()]
    assert lines, child.stderr
    assert lines[-1][0] == "failed"
    assert lines[-1][2] == "True"
    acknowledged = {line[1] for line in lines if line[0] == "stored"} | {"first"}
    assert stored(home / "retain.db") >= acknowledged


# The n-th write or sync of the file system fails, for n = 1, 2, 3, ...


class Disk(apsw.VFS):
    """A file system in which one call of a kind fails, once; the calls are counted."""

    def __init__(self, name: str) -> None:
        self.calls = {"write": 0, "sync": 0}
        self.failing: tuple[str, int, type[apsw.Error]] | None = None
        self.failed = False
        super().__init__(name, base="")

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> DiskFile:  # noqa: N802
        return DiskFile(self, name, flags)

    def arm(self, kind: str, number: int, error: type[apsw.Error]) -> None:
        self.calls = {"write": 0, "sync": 0}
        self.failing = (kind, number, error)

    def step(self, kind: str) -> None:
        self.calls[kind] += 1
        if self.failing is not None and self.failing[:2] == (kind, self.calls[kind]):
            self.failed = True
            raise self.failing[2]("planted")


class DiskFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: apsw.URIFilename | str | None, flags: list[int]) -> None:
        self._disk = disk
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.step("write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.step("sync")
        super().xSync(flags)


def open_on(disk: str, database: Path) -> apsw.Connection:
    """A connection through a file system without shared memory, which WAL allows to a single connection."""
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READWRITE, vfs=disk)
    connection.execute(
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL"
    )
    return connection


@pytest.mark.parametrize("error", [apsw.IOError, apsw.FullError])
@pytest.mark.parametrize("kind", ["write", "sync"])
async def test_whichever_call_of_the_disk_fails_what_was_acknowledged_is_stored_and_what_failed_is_not(
    kind: str, error: type[apsw.Error], writer_on: Opener, database: Path, tmp_path: Path
) -> None:
    name = f"faulty-{kind}-{error.__name__}"
    disk = Disk(name)
    fresh = tmp_path / "fresh.db"
    shutil.copy(database, fresh)
    failed = True
    rounds = 0
    while failed:
        rounds += 1
        disk.failed = False
        shutil.copy(fresh, database)
        database.with_name(database.name + "-wal").unlink(missing_ok=True)
        acknowledged, refused = {"before"}, set()
        async with writer_on(opening=lambda: open_on(name, database)) as writer:
            await writer.run(put("before"))
            disk.arm(kind, rounds, error)
            for group in range(3):
                names = [f"{group}.{n}" for n in range(3)]
                answers = await asyncio.gather(*(writer.run(put(n)) for n in names), return_exceptions=True)
                for n, answer in zip(names, answers, strict=True):
                    if isinstance(answer, BaseException):
                        assert isinstance(answer, StoreFull if error is apsw.FullError else StoreError)
                        refused.add(n)
                    else:
                        acknowledged.add(n)
            failed = disk.failed
            disk.failing = None
            await writer.run(put("after"))  # the disk works again, and so does the writer
        assert stored(database) == acknowledged | {"after"}
        assert bool(refused) <= failed
    assert rounds > 3
    disk.unregister()


async def test_a_group_whose_rollback_fails_too_costs_the_connection_and_not_the_writer(
    writer_on: Opener, database: Path
) -> None:
    class Stubborn:
        """A connection that can neither commit nor roll back."""

        def __init__(self, inner: apsw.Connection) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

        def execute(self, sql: str, *values: object) -> object:
            if sql in {"COMMIT", "ROLLBACK"}:
                raise apsw.IOError(sql)
            return self._inner.execute(sql, *values)

    opened: list[apsw.Connection] = []

    def opening() -> Any:
        opened.append(connect(database, writable=True))
        return Stubborn(opened[0]) if len(opened) == 1 else opened[-1]

    async with writer_on(opening=opening) as writer:
        with pytest.raises(StoreError):
            await writer.run(put("a"))
        await writer.run(put("b"))
        assert len(opened) == 2
    assert stored(database) == {"b"}


@pytest.fixture
def overwritten(database: Path) -> Path:
    """A database whose every byte is wrong."""
    database.with_name("retain.db-wal").unlink()  # SQLite would mend the file from it
    database.write_bytes(b"this is no database, but it is long enough to look like one" * 100)
    return database


async def test_a_damaged_database_is_told_as_damaged(overwritten: Path, writer_on: Opener) -> None:
    async with writer_on() as writer:
        with pytest.raises(StoreCorrupt, match="damaged"):
            await writer.run(put("a"))


HAMMER = """
import asyncio, sys
from pathlib import Path
from retain.config import Settings
from retain.storage.sqlite import SqliteStore

async def main(home, name, count):
    store = await SqliteStore.open(Settings(home=Path(home)))
    print("ready", flush=True)
    sys.stdin.readline()
    put = lambda n: lambda db: db.execute("INSERT INTO fact VALUES (?, 'x')", (f"{name}.{n}",))
    await asyncio.gather(*(store.write(put(n)) for n in range(count)))
    await store.close()
    print(count, flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def test_processes_that_write_at_the_same_time_lose_nothing(home: Path) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", HAMMER, home, name, "300"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in "abc"
    ]
    for child in children:  # all have the store open, on a data directory that none of them found
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    answers = []
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        answers.append(child.communicate(timeout=120)[0])
        assert child.returncode == 0
    assert answers == ["300\n"] * 3
    written = {f"{name}.{n}" for name in "abc" for n in range(300)}
    assert stored(home / "retain.db") == written | {STATE_FACT}


async def test_a_write_that_fails_alone_stores_nothing_and_leaves_the_state_as_it_was(
    database: Path, lock_path: Path
) -> None:
    marked: list[str] = []

    def bad(db: apsw.Connection) -> None:
        db.execute("INSERT INTO fact VALUES ('half', 'x')")
        raise KeyError("mine")

    writer = GroupCommitWriter(
        lambda: connect(database, writable=True), lock_path, group_max=1, timeout_ms=10_000,
        before_commit=lambda _: marked.append("committed"),
    )  # fmt: skip
    with pytest.raises(KeyError):
        await writer.run(bad)
    assert marked == []
    await writer.run(put("after"))
    await asyncio.to_thread(writer.close)
    assert marked == ["committed"]
    assert stored(database) == {"after"}


async def test_a_write_that_ends_its_transaction_is_never_acknowledged(
    writer_on: Opener, database: Path
) -> None:
    async with writer_on() as writer:
        with pytest.raises(StoreError):
            await writer.run(lambda db: db.execute("ROLLBACK").fetchall())
        await writer.run(put("after"))
    assert stored(database) == {"after"}


async def test_a_statement_that_a_write_left_unfinished_does_not_keep_the_next_ones_out(
    database: Path, writer_on: Opener
) -> None:
    unfinished: list[apsw.Cursor] = []

    def careless(db: apsw.Connection) -> None:
        db.execute("INSERT INTO fact VALUES ('one', 'x'), ('two', 'x')")
        cursor = db.execute("SELECT name FROM fact")
        next(cursor)
        unfinished.append(cursor)

    async with writer_on() as writer, writer_on() as another:
        await writer.run(careless)
        await another.run(put("three"))
        assert await writer.run(put("four")) == "four"
    assert {"one", "two", "three", "four"} <= stored(database)
