"""Power goes, the disk fills, the device fails: what was acknowledged is there, and nothing is corrupt.

The store's own writer runs on a file system that notes every write and sync. Killing a process shows nothing of
this: what it wrote stays in the page cache of the kernel. Here the unsynced part is lost, torn or kept at random.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from pathlib import Path

import apsw
import pytest
from tests.recording_vfs import Journal, RecordingVFS

from retain.errors import StoreError
from retain.model import Draft, new_id
from retain.storage import migrations
from retain.storage.connection import connect
from retain.storage.integrity import verify
from retain.storage.reads import Reader
from retain.storage.writer import GroupCommitWriter
from retain.storage.writes import NewMemory, add_memory, add_workspace, forget, supersede

pytestmark = pytest.mark.anyio

CUTS = 400
FAULTS_STEP = 3
_names = count()


class Bench:
    """A store on a recording file system, written to by the writer that the server uses."""

    def __init__(
        self, folder: Path, fail: Callable[[str], Exception | None] = lambda _: None, *, full: bool = True
    ) -> None:
        self.database = folder / "retain.db"
        self.database.touch(mode=0o600)
        self.journal = Journal()
        self.vfs = RecordingVFS(f"recording-{next(_names)}", self.journal, fail)
        self.full = full
        self.writer = GroupCommitWriter(self._connect, folder / "write.lock", group_max=8, timeout_ms=60_000)
        self.alive: set[str] = set()
        self.gone: set[str] = set()

    def _connect(self) -> apsw.Connection:
        connection = connect(self.database, writable=True, vfs=self.vfs.vfs_name)
        try:
            return self._prepared(connection)
        except BaseException:
            connection.close()  # it holds the only lock
            raise

    def _prepared(self, connection: apsw.Connection) -> apsw.Connection:
        connection.pragma("locking_mode", "EXCLUSIVE")
        assert connection.pragma("journal_mode", "WAL") == "wal"
        connection.execute("PRAGMA wal_autocheckpoint = 40")
        if not self.full:
            connection.execute("PRAGMA synchronous = NORMAL")
        with connection:
            migrations.migrate(connection)
            add_workspace(connection, workspace_id="w", identity="w", name="w", root="/", alias="/", now_us=1)
        return connection

    async def remember(self, text: str) -> None:
        new = NewMemory(id=new_id(), workspace=1, draft=Draft(text=text), now_us=1)
        await self.writer.run(lambda db: add_memory(db, new))
        self.journal.acknowledge(f"+{new.id}")
        self.alive.add(new.id)

    async def drop_one(self) -> None:
        old = self.alive.pop()
        await self.writer.run(lambda db: forget(db, old, "wrong"))
        self.journal.acknowledge(f"-{old}")

    async def revise_one(self, text: str) -> None:
        old = self.alive.pop()
        new = NewMemory(id=new_id(), workspace=1, draft=Draft(text=text), now_us=1)
        await self.writer.run(lambda db: supersede(db, old, new, ""))
        self.journal.acknowledge(f"-{old}")
        self.journal.acknowledge(f"+{new.id}")
        self.alive.add(new.id)

    async def work(self, rounds: int) -> None:
        for number in range(rounds):
            texts = [f"round {number} fact {n} " + "words of some length " * (n * 20) for n in range(4)]
            await asyncio.gather(*(self.remember(text) for text in texts))
            await self.drop_one()
            await self.revise_one(f"round {number} said better")


def problems_after(files: dict[str, bytes], folder: Path, acknowledged: list[str]) -> list[str]:
    """Opens what a power cut left, as a server would, and says what is corrupt or lost."""
    for name in ("retain.db", "retain.db-wal", "retain.db-shm", "retain.db-journal"):
        (folder / name).unlink(missing_ok=True)
        if name in files:
            (folder / name).write_bytes(files[name])
    (folder / "retain.db").touch()
    connection = connect(folder / "retain.db", writable=True)
    try:
        if not acknowledged and migrations.current_version(connection) == 0:
            return []
        found = [f"{c.name}: {p}" for c in verify(Reader(connection)) for p in c.problems]
        status = {str(i): str(s) for i, s in connection.execute("SELECT id, status FROM memory")}
    finally:
        connection.close()
    wanted: dict[str, bool] = {}
    for entry in acknowledged:
        wanted[entry[1:]] = entry[0] == "+"
    found += [f"lost {name}" for name, there in wanted.items() if name not in status]
    found += [
        f"came back {name}" for name, there in wanted.items() if not there and status.get(name) == "active"
    ]
    return found


def survey(bench: Bench, folder: Path) -> tuple[int, int, int]:
    """Cuts the power at many moments; returns how many cuts, and at how many something was corrupt or lost."""
    corrupt = lost = 0
    total = len(bench.journal.events)
    folder.mkdir()
    for number in range(CUTS):
        cut = 1 + number * total // CUTS
        left = problems_after(
            bench.journal.after_power_cut(cut, number), folder, bench.journal.acknowledged(cut)
        )
        lost += any(one.startswith(("lost", "came back")) for one in left)
        corrupt += any(not one.startswith(("lost", "came back")) for one in left)
    return CUTS, corrupt, lost


async def test_after_a_power_cut_nothing_acknowledged_is_lost_and_nothing_is_corrupt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(tmp_path)
    await bench.work(12)
    await asyncio.to_thread(bench.writer.close)
    cuts, corrupt, lost = await asyncio.to_thread(survey, bench, tmp_path / "cut")
    with capsys.disabled():
        print(f"\n{cuts} power cuts: {corrupt} corrupt, {lost} lost something acknowledged")
    assert (corrupt, lost) == (0, 0)


async def test_the_simulation_would_find_a_writer_that_does_not_sync(tmp_path: Path) -> None:
    """With synchronous=NORMAL a commit is not on disk when it returns: the same survey must see that."""
    bench = Bench(tmp_path, full=False)
    await bench.work(12)
    await asyncio.to_thread(bench.writer.close)
    _, corrupt, lost = await asyncio.to_thread(survey, bench, tmp_path / "cut")
    assert corrupt == 0
    assert lost > CUTS / 10


class Fault:
    """Fails the n-th operation of one kind, and every later one while it lasts."""

    def __init__(self, what: str, nth: int, error: Callable[[], Exception], lasting: int) -> None:
        self.what, self.left, self.error, self.lasting = what, nth, error, lasting
        self.raised = 0
        self.off = False

    def __call__(self, what: str) -> Exception | None:
        if self.off or what != self.what:
            return None
        self.left -= 1
        if -self.lasting < self.left <= 0:
            self.raised += 1
            return self.error()
        return None


def device_error() -> Exception:
    return apsw.IOError("the device failed")


def disk_full() -> Exception:
    return apsw.FullError("the disk is full")


@pytest.mark.parametrize(
    ("what", "error", "lasting"),
    [
        ("write", device_error, 1),
        ("write", disk_full, 5),
        ("sync", device_error, 1),
        ("read", device_error, 1),
        ("truncate", device_error, 1),
    ],
)
async def test_the_nth_failure_is_told_and_costs_nothing_that_was_acknowledged(
    tmp_path: Path,
    what: str,
    error: Callable[[], Exception],
    lasting: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """n = 1, 4, 7, ...: each failure reaches the caller, the store stays whole, and the next write works."""
    runs = told = 0
    for nth in count(1, FAULTS_STEP):
        folder = tmp_path / str(nth)
        folder.mkdir()
        fault = Fault(what, nth, error, lasting)
        bench = Bench(folder, fault)
        fault.off = True
        await bench.remember("before the failure")
        fault.off = False
        errors = 0
        for number in range(6):
            try:
                await bench.remember(f"fact {number} " + "words " * 200)
            except StoreError:
                errors += 1
        fault.off = True
        await bench.remember("after the failure")
        await asyncio.to_thread(bench.writer.close)
        runs += 1
        told += bool(errors)
        connection = connect(bench.database, writable=False)
        stored = {
            str(name) for (name,) in connection.execute("SELECT id FROM memory WHERE status = 'active'")
        }
        whole = [problem for check in verify(Reader(connection)) for problem in check.problems]
        connection.close()
        assert bench.alive <= stored
        assert whole == []
        if not fault.raised:
            break
    with capsys.disabled():
        print(f"\n{runs} {what} failures, {told} told to the caller, 0 acknowledged lost")
    assert runs > 1 or what == "truncate"
