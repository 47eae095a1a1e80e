"""Power goes, the disk fills, the device fails: what was acknowledged is there, and nothing is corrupt.

The store's own writer runs on a file system that notes every write and sync. Killing a process shows nothing of
this: what it wrote stays in the page cache of the kernel. Here the unsynced part is lost, torn or kept at random.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.recording_vfs import Journal, RecordingVFS

from retain.errors import StoreError
from retain.model import Draft, new_id
from retain.storage import (
    claims,
    controls,
    erasure,
    imports,
    migrations,
    scrubbing,
    spaces,
    trust,
    truth,
    writes,
)
from retain.storage.connection import connect
from retain.storage.integrity import verify
from retain.storage.later import Later
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

    async def write_late(self, name: str, number: int) -> None:
        act = LATE[name][0]
        await self.writer.run(lambda db: act(db, number))
        self.journal.acknowledge(f"?{name}:{number}")

    async def work(self, rounds: int) -> None:
        for number in range(rounds):
            texts = [f"round {number} fact {n} " + "words of some length " * (n * 20) for n in range(4)]
            await asyncio.gather(*(self.remember(text) for text in texts))
            await self.drop_one()
            await self.revise_one(f"round {number} said better")


def key_of(db: apsw.Connection, text: str) -> int:
    """The key of a memory that is stored on the way."""
    return add_memory(
        db, NewMemory(id=new_id(), workspace=1, draft=Draft(text=text, origin="tool"), now_us=1)
    ).key


def put_claim(db: apsw.Connection, n: int) -> None:
    row = ("path", f"{n}.py", "", "", 0, "d")
    claims.put_claims(db, key_of(db, f"claim {n} " + "x " * 300), [row] * (1 + n % 20), commit="c", at_us=n)


def sight(db: apsw.Connection, n: int) -> None:
    truth.add_sightings(db, key_of(db, f"sighting {n}"), [(f"branch-{n}", "c", n)])


def taint_session(db: apsw.Connection, n: int) -> None:
    trust.taint(
        db, 1, f"tainted-{n}", trust.Taint(source="web", detail="https://example.org/" + "x" * 300), 1
    )


def accept(db: apsw.Connection, n: int) -> None:
    key = key_of(db, f"always run make first, {n}")
    trust.accept(db, db.execute("SELECT id FROM memory WHERE key = ?", (key,)).get)


def go_private(db: apsw.Connection, n: int) -> None:
    controls.open_stretch(db, f"private-{n}", n)


def keep_out(db: apsw.Connection, n: int) -> None:
    controls.exclude(db, event_id=f"out-{n}", received_us=n, rule="off")


def carry(db: apsw.Connection, n: int) -> None:
    writes.touch_session(db, workspace=1, session=f"carried-{n}", at_us=n, end_reason="clear")
    writes.set_tracker_state(db, 1, f"carried-{n}", '{"open": "' + "x" * 3_000 + '"}')


def drained(db: apsw.Connection, n: int) -> None:
    later = Later()
    later.add_receipt(
        event_id=f"event-{n}", workspace=1, session="s", name="Stop", received_us=n, drained_us=n, outcome="kept",
        memories=1, redacted={},
    )  # fmt: skip
    later.flush(db)


def import_one(db: apsw.Connection, n: int) -> None:
    run = imports.start_run(db, run_id=new_id(), source="x", place=f"place-{n}", now_us=n)
    imports.finish_run(db, run.key, {"stored": n}, n)


def erase_one(db: apsw.Connection, n: int) -> None:
    key = key_of(db, f"erased {n} " + "y " * 500)
    erasure.erase(db, [(key, "")])
    db.execute("INSERT INTO fact VALUES (?, '1')", (f"erased-{n}",))


def scrub_one(db: apsw.Connection, n: int) -> None:
    key = key_of(db, f"scrubbed {n} of hunter2 " + "z " * 500)

    def clean(value: Any) -> tuple[Any, dict[str, int]]:
        found = isinstance(value, str) and "hunter2" in value
        return (value.replace("hunter2", "***"), {"word": 1}) if found else (value, {})

    scrubbing.rewrite(db, [key], clean)


def begin_space(db: apsw.Connection, n: int) -> None:
    spaces.add_space(db, name=f"space-{n}", kind="model", dim=8, model=b"m" * 5_000, fitted_rows=1, now_us=n)


LATE: dict[str, tuple[Callable[[apsw.Connection, int], None], str]] = {
    "claims": (put_claim, "SELECT 1 FROM memory_claim WHERE path = ?1 || '.py'"),
    "git": (sight, "SELECT 1 FROM memory_sighting WHERE branch = 'branch-' || ?1"),
    "trust: taint": (taint_session, "SELECT tainted_us FROM session WHERE id = 'tainted-' || ?1"),
    "trust: review": (
        accept,
        "SELECT 1 FROM memory WHERE body = 'always run make first, ' || ?1 AND trust = 'confirmed'",
    ),
    "controls: private": (go_private, "SELECT 1 FROM private_session WHERE session = 'private-' || ?1"),
    "controls: excluded": (keep_out, "SELECT 1 FROM excluded_event WHERE id = 'out-' || ?1"),
    "sessions": (carry, "SELECT end_reason = 'clear' FROM session WHERE id = 'carried-' || ?1"),
    "drain": (drained, "SELECT 1 FROM event_receipt WHERE id = 'event-' || ?1"),
    "imports": (import_one, "SELECT status = 'done' FROM import_run WHERE place = 'place-' || ?1"),
    "erasure": (
        erase_one,
        "SELECT NOT EXISTS (SELECT 1 FROM memory WHERE body LIKE 'erased %') FROM fact WHERE name = 'erased-' || ?1",
    ),
    "scrub": (
        scrub_one,
        "SELECT 1 FROM memory WHERE body LIKE 'scrubbed ' || ?1 || ' of ***%'",
    ),
    "vectors": (begin_space, "SELECT 1 FROM vector_space WHERE name = 'space-' || ?1"),
}
"""Ways of writing besides memories themselves: what is done for a number, and what shows that it was."""


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
        late = [entry[1:].rsplit(":", 1) for entry in acknowledged if entry[0] == "?"]
        found += [f"lost {name} {n}" for name, n in late if not connection.execute(LATE[name][1], (n,)).get]
    finally:
        connection.close()
    wanted: dict[str, bool] = {}
    for entry in (one for one in acknowledged if one[0] != "?"):
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


async def test_the_same_holds_for_every_other_way_of_writing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(tmp_path)
    for number in range(8):
        await asyncio.gather(*(bench.write_late(name, number) for name in LATE))
    await asyncio.to_thread(bench.writer.close)
    cuts, corrupt, lost = await asyncio.to_thread(survey, bench, tmp_path / "cut")
    with capsys.disabled():
        print(f"\n{cuts} power cuts in {len(LATE)} ways of writing: {corrupt} corrupt, {lost} lost something")
    assert (corrupt, lost) == (0, 0)


@pytest.mark.parametrize("what", ["write", "sync"])
async def test_a_failure_in_any_way_of_writing_is_told_and_stores_nothing_of_it(
    tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    failures = 0
    for name in LATE:
        for nth in count(1, FAULTS_STEP):
            folder = tmp_path / f"{name.replace(': ', '-')}-{nth}"
            folder.mkdir()
            fault = Fault(what, nth, device_error, 1)
            fault.off = True
            bench = Bench(folder, fault)
            await bench.remember("before the failure")
            fault.off = False
            told = False
            try:
                await bench.write_late(name, 1)
            except StoreError:
                told = True
            fault.off = True
            await bench.remember("after the failure")
            await asyncio.to_thread(bench.writer.close)
            connection = connect(bench.database, writable=False)
            stored = bool(connection.execute(LATE[name][1], ("1",)).get)
            whole = [problem for check in verify(Reader(connection)) for problem in check.problems]
            connection.close()
            assert whole == []
            assert stored != told
            if not fault.raised:
                break
            failures += 1
    with capsys.disabled():
        print(
            f"\n{failures} {what} failures in {len(LATE)} ways of writing: each told or harmless, 0 half stored"
        )
    assert failures >= len(LATE) // 2


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
