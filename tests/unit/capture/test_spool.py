"""The spool: whole records through torn tails, damage, sealing, stopped lock holders and full disks."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import posix
import resource
import signal
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retain.capture import spool
from retain.capture.spool import Damage, Record

# The children below only touch files and end; no thread of this process matters to them.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

forked = multiprocessing.get_context("fork")

meta = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=40)
records = st.builds(
    Record,
    st.binary(max_size=300) | st.just(b"RTS1" * 20),
    st.integers(0, 2**63 - 1),
    cwd=meta,
    branch=meta,
    commit=meta,
    truncated=st.booleans(),
)


def fields(record: Record) -> tuple[object, ...]:
    return tuple(getattr(record, name) for name in Record.__slots__)


def found_in(data: bytes) -> list[tuple[object, ...]]:
    return [fields(item) for item in spool.scan(data) if isinstance(item, Record)]


def everything_in(directory: Path) -> list[Record]:
    """The records of all segments, the live one included; fails on damage."""
    items = []
    for path in sorted(directory.glob("*" + spool.SUFFIX)):
        items += list(spool.scan(path.read_bytes()))
    assert not [item for item in items if isinstance(item, Damage)]
    return [item for item in items if isinstance(item, Record)]


@pytest.fixture
def directory(home: Path) -> Path:
    return home / "spool"


@contextmanager
def process(target: Callable[..., None], *arguments: object) -> Iterator[multiprocessing.process.BaseProcess]:
    child = forked.Process(target=target, args=arguments)
    child.start()
    try:
        yield child
    finally:
        child.kill()
        child.join()


@settings(max_examples=200, deadline=None)
@given(st.lists(records, max_size=6))
def test_what_is_written_is_read_back_in_order(written: list[Record]) -> None:
    assert found_in(b"".join(map(spool.encode, written))) == [fields(record) for record in written]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_accounted_for_one_by_one(data: bytes) -> None:
    position = 0
    for item in spool.scan(data):
        assert isinstance(item, Damage)
        assert item.offset == position
        assert data[position : position + len(item.data)] == item.data
        position += len(item.data)
    assert position == len(data)


@settings(max_examples=200, deadline=None)
@given(st.lists(records, min_size=1, max_size=4), st.data())
def test_no_damage_is_read_as_a_record_and_no_whole_record_is_lost_to_it(
    written: list[Record], data: st.DataObject
) -> None:
    parts = list(map(spool.encode, written))
    hurt = data.draw(st.integers(0, len(parts) - 1))
    at = data.draw(st.integers(0, len(parts[hurt]) - 1))
    flip = data.draw(st.integers(1, 255))
    parts[hurt] = parts[hurt][:at] + bytes([parts[hurt][at] ^ flip]) + parts[hurt][at + 1 :]
    items = list(spool.scan(b"".join(parts)))
    assert [fields(i) for i in items if isinstance(i, Record)] == [
        fields(record) for n, record in enumerate(written) if n != hurt
    ]
    damage = [item for item in items if isinstance(item, Damage)]
    assert b"".join(item.data for item in damage) == parts[hurt]
    assert damage[0].offset == sum(map(len, parts[:hurt]))


def test_a_tail_torn_at_any_byte_costs_only_the_torn_record() -> None:
    first, second = Record(b"first", 1, cwd="/a"), Record(b"second", 2, cwd="/b")
    whole, torn = spool.encode(first), spool.encode(second)
    for length in range(len(torn)):
        items = list(spool.scan(whole + torn[:length]))
        assert fields(items[0]) == fields(first)
        rest = items[1:]
        assert [item.data for item in rest if isinstance(item, Damage)] == ([torn[:length]] if length else [])
        assert len(rest) == (1 if length else 0)


def test_records_appended_after_a_torn_one_are_found() -> None:
    torn = spool.encode(Record(b"never finished", 1))
    after = spool.encode(Record(b"after", 2))
    for length in range(1, len(torn)):
        damage, record = spool.scan(torn[:length] + after)
        assert isinstance(damage, Damage)
        assert isinstance(record, Record)
        assert record.payload == b"after"


def test_a_record_that_claims_to_be_longer_than_its_segment_is_damage() -> None:
    data = bytearray(spool.encode(Record(b"x", 1)))
    data[20:24] = (2**32 - 1).to_bytes(4, "little")
    assert [type(item) for item in spool.scan(bytes(data))] == [Damage]


@pytest.mark.parametrize(("us", "kept"), [(-5, 0), (2**70, 2**63 - 1)])
def test_a_clock_that_is_wrong_loses_no_record(us: int, kept: int) -> None:
    (record,) = spool.scan(spool.encode(Record(b"x", us)))
    assert isinstance(record, Record)
    assert record.received_at_us == kept


def test_a_lone_surrogate_in_a_path_is_replaced() -> None:
    (record,) = spool.scan(spool.encode(Record(b"x", 1, cwd="/a\udcff")))
    assert isinstance(record, Record)
    assert record.cwd == "/a?"


def test_files_and_directories_are_for_the_user_alone_whatever_the_umask(directory: Path) -> None:
    before = os.umask(0)
    try:
        spool.append(str(directory), Record(b"x", 1))
        with locked_by_a_child(directory):
            spool.append(str(directory), Record(b"y", 2))
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert set(modes.values()) == {0o600}
    assert len(modes) == 2
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(directory.parent.stat().st_mode) == 0o700


def test_a_symlink_in_the_place_of_the_live_segment_is_refused(directory: Path, tmp_path: Path) -> None:
    directory.mkdir(parents=True)
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    (directory / spool.LIVE).symlink_to(target)
    with pytest.raises(OSError, match="symbolic links") as caught:
        spool.append(str(directory), Record(b"x", 1))
    assert caught.value.errno == errno.ELOOP
    with pytest.raises(OSError, match="symbolic links"):
        spool.seal(str(directory), "seal-1")
    assert target.read_bytes() == b"precious"


def test_sealing_gives_the_records_a_name_and_the_next_writer_a_new_segment(directory: Path) -> None:
    spool.append(str(directory), Record(b"old", 1))
    assert spool.seal(str(directory), "seal-1")
    assert not spool.seal(str(directory), "seal-2")
    spool.append(str(directory), Record(b"new", 2))
    assert spool.segments(str(directory)) == ["seal-1.spool"]
    assert [r.payload for r in everything_in(directory)] == [b"new", b"old"]


def test_an_empty_live_segment_is_not_sealed(directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory / spool.LIVE).touch()
    assert not spool.seal(str(directory), "seal-1")


def test_a_missing_spool_holds_nothing(directory: Path) -> None:
    assert not spool.seal(str(directory), "seal-1")
    assert spool.segments(str(directory)) == []
    assert spool.waiting_bytes(str(directory)) == 0


def test_segments_come_oldest_first_and_waiting_bytes_count_records_only(directory: Path) -> None:
    directory.mkdir(parents=True)
    sizes = {"own-03-7.spool": 5, "seal-02-9.spool": 7, "own-01-8.spool": 11, spool.LIVE: 13}
    for name, size in (sizes | {"failures.log": 100, "own-04-1.part": 100}).items():
        (directory / name).write_bytes(b"x" * size)
    assert spool.segments(str(directory)) == ["own-01-8.spool", "seal-02-9.spool", "own-03-7.spool"]
    assert spool.waiting_bytes(str(directory)) == sum(sizes.values())


def test_own_segments_are_read_with_the_sealed_one_of_their_time_and_not_before_it_is_sealed(
    directory: Path,
) -> None:
    directory.mkdir(parents=True)
    for name in ("seal-10-1", "own-15-2", "own-17-3", "seal-20-1", "own-25-4", "own-40-5"):
        (directory / f"{name}.spool").write_bytes(b"x")
    assert spool.groups(str(directory), 30) == [
        ["seal-10-1.spool"],
        ["own-15-2.spool", "own-17-3.spool", "seal-20-1.spool"],
        ["own-25-4.spool"],
    ]
    assert spool.groups(str(directory / "nothing"), 30) == []


def test_records_of_own_segments_take_their_place_by_time_and_the_others_stay_as_they_are() -> None:
    def parts(*times: list[int]) -> list[list[Record]]:
        return [[Record(b"%d" % time, time) for time in part] for part in times]

    def merged(*times: list[int]) -> list[int]:
        return [record.received_at_us for record in spool.in_order(parts(*times))]

    assert merged([3], [5], [1, 2, 4, 6]) == [1, 2, 3, 4, 5, 6]
    assert merged([9], [0], [1, 2]) == [0, 1, 2, 9]
    assert merged([4], [5, 2, 3]) == [5, 2, 3, 4]
    assert merged([2, 1]) == [2, 1]
    assert merged() == []


# Contention: real processes, started together by a barrier.

WRITERS = 6
RECORDS_EACH = 60


def _write_many(directory: str, writer: int, ready: Barrier) -> None:
    ready.wait()
    for number in range(RECORDS_EACH):
        spool.append(directory, Record(b"%d:%d " % (writer, number) * 50, number, cwd="/w"))


def test_sealing_while_processes_append_loses_and_doubles_nothing(directory: Path) -> None:
    ready = forked.Barrier(WRITERS + 1)
    writers = [forked.Process(target=_write_many, args=(str(directory), n, ready)) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    ready.wait()
    sealed = 0
    seen: list[bytes] = []
    while any(writer.is_alive() for writer in writers):
        sealed += spool.seal(str(directory), f"seal-{time.time_ns():020d}-0")
        for name in spool.segments(str(directory)):  # read and remove as the drain does, while they write
            items = list(spool.scan((directory / name).read_bytes()))
            assert all(isinstance(item, Record) for item in items)
            seen += [item.payload for item in items if isinstance(item, Record)]
            (directory / name).unlink()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    seen += [record.payload for record in everything_in(directory)]
    counted = Counter(seen)
    assert sealed >= 2
    assert set(counted.values()) == {1}
    assert set(counted) == {b"%d:%d " % (w, n) * 50 for w in range(WRITERS) for n in range(RECORDS_EACH)}
    for writer_number in range(
        WRITERS
    ):  # and the order of each writer was kept wherever it stayed in one segment
        assert sum(p.startswith(b"%d:" % writer_number) for p in seen) == RECORDS_EACH


def _hold_lock(path: str, ready: Barrier) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    ready.wait()
    signal.pause()


@contextmanager
def locked_by_a_child(directory: Path) -> Iterator[int]:
    """The live segment is locked by another process, which is stopped; gives its id."""
    directory.mkdir(parents=True, exist_ok=True)
    ready = forked.Barrier(2)
    with process(_hold_lock, str(directory / spool.LIVE), ready) as child:
        ready.wait()
        assert child.pid is not None
        os.kill(child.pid, signal.SIGSTOP)
        yield child.pid


def test_a_stopped_lock_holder_makes_the_writer_make_a_segment_of_its_own_in_time(directory: Path) -> None:
    with locked_by_a_child(directory):
        started = time.monotonic()
        spool.append(str(directory), Record(b"alone", 1))
        elapsed_ms = (time.monotonic() - started) * 1000
        assert spool.LOCK_WAIT_MS <= elapsed_ms < 2_000
        (name,) = spool.segments(str(directory))
        assert name.startswith("own-")
        assert [r.payload for r in everything_in(directory)] == [b"alone"]


def test_a_stopped_lock_holder_does_not_stop_the_reader(directory: Path) -> None:
    spool.append(str(directory), Record(b"before", 1))
    with locked_by_a_child(directory):
        started = time.monotonic()
        assert not spool.seal(str(directory), "seal-1")
        assert (time.monotonic() - started) * 1000 < 20 * spool.SEAL_WAIT_MS
    assert spool.seal(str(directory), "seal-1")
    assert [r.payload for r in everything_in(directory)] == [b"before"]


def test_a_writer_whose_segment_is_sealed_while_it_waits_for_the_lock_writes_to_the_new_one(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.append(str(directory), Record(b"old", 1))
    lock = spool._lock_until
    sealed: list[bool] = []

    def seal_first(fd: int, deadline: float) -> bool:
        if not sealed:
            sealed.append(True)
            (directory / spool.LIVE).rename(directory / "seal-1.spool")
        return lock(fd, deadline)

    monkeypatch.setattr(spool, "_lock_until", seal_first)
    spool.append(str(directory), Record(b"new", 2))
    assert [
        i.payload for i in spool.scan((directory / "seal-1.spool").read_bytes()) if isinstance(i, Record)
    ] == [b"old"]
    live = (directory / spool.LIVE).read_bytes()
    assert [i.payload for i in spool.scan(live) if isinstance(i, Record)] == [b"new"]


def test_a_reader_that_finds_its_segment_sealed_by_another_seals_nothing(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.append(str(directory), Record(b"old", 1))
    lock = spool._lock_until

    def seal_first(fd: int, deadline: float) -> bool:
        (directory / spool.LIVE).rename(directory / "seal-1.spool")
        return lock(fd, deadline)

    monkeypatch.setattr(spool, "_lock_until", seal_first)
    assert not spool.seal(str(directory), "seal-2")
    assert spool.segments(str(directory)) == ["seal-1.spool"]


# Anomalies: the disk is full, a sync fails.


def _append_beyond_the_limit(directory: str, limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        spool.append(directory, Record(b"y" * 4096, 2))
    except OSError as error:
        os._exit(0 if error.errno == errno.EFBIG else 2)
    os._exit(1)


@pytest.mark.parametrize("room", [0, 1, 35, 36, 1000, 4095])
def test_a_full_disk_leaves_nothing_of_the_record_and_the_records_before_whole(
    directory: Path, room: int
) -> None:
    spool.append(str(directory), Record(b"x" * 100, 1))
    size = (directory / spool.LIVE).stat().st_size
    with process(_append_beyond_the_limit, str(directory), size + room) as child:
        child.join()
        assert child.exitcode == 0
    assert (directory / spool.LIVE).stat().st_size == size
    spool.append(str(directory), Record(b"z", 3))
    assert [record.payload for record in everything_in(directory)] == [b"x" * 100, b"z"]


@pytest.mark.parametrize("room", [0, 500])
def test_a_full_disk_leaves_nothing_of_a_segment_of_its_own(directory: Path, room: int) -> None:
    with locked_by_a_child(directory), process(_append_beyond_the_limit, str(directory), room) as child:
        child.join()
        assert child.exitcode == 0
        assert [path.name for path in directory.iterdir()] == [spool.LIVE]


@pytest.mark.parametrize("own_segment", [False, True])
def test_a_failing_sync_is_told_and_not_swallowed(
    directory: Path, monkeypatch: pytest.MonkeyPatch, own_segment: bool
) -> None:
    def fails(_: int) -> None:
        raise OSError(errno.EIO, "sync")

    monkeypatch.setattr(spool, "_fdatasync", fails)
    directory.mkdir(parents=True)
    if own_segment:
        with locked_by_a_child(directory), pytest.raises(OSError, match="sync"):
            spool.append(str(directory), Record(b"x", 1))
        assert spool.segments(str(directory)) == []
    else:
        with pytest.raises(OSError, match="sync"):
            spool.append(str(directory), Record(b"x", 1))


class Disk:
    """The module posix, with writes of seven bytes at the most of which the n-th fails."""

    def __init__(self, failing: int) -> None:
        self.writes = 0
        self.failing = failing

    def __getattr__(self, name: str) -> object:
        return getattr(posix, name)

    def write(self, fd: int, data: memoryview) -> int:
        self.writes += 1
        if self.writes == self.failing:
            raise OSError(errno.ENOSPC, "full")
        return posix.write(fd, data[:7])


def test_writes_that_take_only_a_part_are_continued(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "posix", Disk(failing=0))
    spool.append(str(directory), Record(b"x" * 100, 1))
    assert [record.payload for record in everything_in(directory)] == [b"x" * 100]


def test_whichever_write_fails_the_records_before_stay_whole(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.append(str(directory), Record(b"first", 1))
    size = (directory / spool.LIVE).stat().st_size
    writes = -(-len(spool.encode(Record(b"x" * 50, 2))) // 7)
    for failing in range(1, writes + 1):
        monkeypatch.setattr(spool, "posix", Disk(failing))
        with pytest.raises(OSError, match="full"):
            spool.append(str(directory), Record(b"x" * 50, 2))
        assert (directory / spool.LIVE).stat().st_size == size
    monkeypatch.setattr(spool, "posix", Disk(writes + 1))
    spool.append(str(directory), Record(b"x" * 50, 2))
    assert len(everything_in(directory)) == 2
