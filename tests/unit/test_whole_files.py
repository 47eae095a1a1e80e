"""Files that are replaced as a whole: whole and on disk, or as they were; and nobody else reads them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from retain.whole_files import create, sync, whole, write_whole

ENDS_ON_THE_WAY = """
import os, sys
from pathlib import Path
from retain.whole_files import whole

with whole(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os._exit(9)
"""


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.usefixtures("open_umask")
def test_a_file_is_for_its_owner_alone_also_while_it_is_written_and_where_the_old_one_was_open_to_all(
    tmp_path: Path,
) -> None:
    path = tmp_path / "keys.txt"
    path.write_bytes(b"old")
    path.chmod(0o644)
    with whole(path) as file:
        file.write(b"new")
        assert [mode_of(one) for one in tmp_path.iterdir() if one != path] == [0o600]
    assert (path.read_bytes(), mode_of(path)) == (b"new", 0o600)
    assert names(tmp_path) == ["keys.txt"]


def test_until_the_end_of_the_block_the_old_file_is_there_whole(tmp_path: Path) -> None:
    path = tmp_path / "one"
    write_whole(path, b"old")
    with whole(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "one"
    write_whole(path, b"old")
    with pytest.raises(ZeroDivisionError), whole(path) as file:
        file.write(b"%d" % (1 // 0))
    assert (path.read_bytes(), names(tmp_path)) == (b"old", ["one"])


def test_where_the_disk_does_not_take_the_bytes_the_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "one"
    write_whole(path, b"old")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"new")
    assert (path.read_bytes(), names(tmp_path)) == (b"old", ["one"])


def test_the_bytes_are_on_disk_before_the_name_and_then_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "one", []
    write_whole(path, b"old")
    really = os.fsync

    def note(descriptor: int) -> None:
        seen.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), path.read_bytes()))
        really(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    write_whole(path, b"new")
    assert seen == [(False, b"old"), (True, b"new")]
    seen.clear()
    write_whole(path, b"newer", durable=False)
    assert (seen, path.read_bytes()) == ([], b"newer")


def test_what_a_killed_process_left_is_removed_and_what_another_is_writing_is_not(tmp_path: Path) -> None:
    path, other = tmp_path / "one", tmp_path / "one.of.another.0123456789ab.part"
    other.write_bytes(b"not ours")
    ended = subprocess.run([sys.executable, "-c", ENDS_ON_THE_WAY, str(path)], check=False)
    assert ended.returncode == 9
    assert len(names(tmp_path)) == 2
    with whole(path) as file:
        file.write(b"first")
        assert len(names(tmp_path)) == 2
        write_whole(path, b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["one", other.name]


def test_a_link_is_replaced_and_what_it_points_to_is_not_written_to(tmp_path: Path) -> None:
    target, path = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"theirs")
    path.symlink_to(target)
    write_whole(path, b"ours")
    assert (target.read_bytes(), path.read_bytes(), path.is_symlink()) == (b"theirs", b"ours", False)


@pytest.mark.usefixtures("open_umask")
def test_what_must_not_be_there_yet_is_made_once_with_its_mode(tmp_path: Path) -> None:
    create(tmp_path / "one", b"first")
    create(tmp_path / "two", b"first", 0o640)
    assert (mode_of(tmp_path / "one"), mode_of(tmp_path / "two")) == (0o600, 0o640)
    with pytest.raises(FileExistsError):
        create(tmp_path / "one", b"second")
    assert (tmp_path / "one").read_bytes() == b"first"


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "none" / "one", b"")
