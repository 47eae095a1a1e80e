"""The hook door: whatever comes in and whatever is broken, it answers ``{}``, exits 0 and keeps the event.

The tests start real processes: the launcher as a client starts it, and the module.
"""

from __future__ import annotations

import errno
import io
import json
import os
import posix
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from retain.capture import losses, spool
from retain.capture.spool import Record
from retain.interfaces import hook

LAUNCHER = [str(Path(sys.executable).parent / "retain"), "hook"]
MODULE = [sys.executable, "-m", "retain.interfaces.hook"]
NATIVE = [str(Path(sys.executable).parent / "retain-hook")]
COMMANDS = {"launcher": LAUNCHER, "module": MODULE}
if Path(NATIVE[0]).exists():  # else the launcher runs what the module is
    COMMANDS["native"] = NATIVE
EVENT = json.dumps({"hook_event_name": "UserPromptSubmit", "session_id": "s-1", "prompt": "héllo"}).encode()
NOBODY = 65534

Answer = subprocess.CompletedProcess[bytes]
Run = Callable[..., Answer]


@pytest.fixture(params=COMMANDS)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Runs a hook with a payload and returns how it ended."""

    def start(payload: bytes = EVENT, *, cwd: Path | None = None, without: tuple[str, ...] = (),
              more: Mapping[str, str] | None = None) -> Answer:  # fmt: skip
        environment = {name: value for name, value in os.environ.items() if name not in without} | dict(
            more or {}
        )
        return subprocess.run(
            COMMANDS[request.param], input=payload, cwd=cwd or tmp_path, env=environment,
            capture_output=True, timeout=60,
        )  # fmt: skip

    return start


def kept_in(home: Path) -> list[Record]:
    live = home / "spool" / spool.LIVE
    return (
        [item for item in spool.scan(live.read_bytes()) if isinstance(item, Record)] if live.exists() else []
    )


def assert_answered(answer: Answer, *, failed: str | None = None) -> None:
    """It answered as it must, and told of a failure on stderr exactly where there was one."""
    assert (answer.returncode, answer.stdout) == (0, b"{}\n")
    assert (failed.encode() in answer.stderr) if failed else (answer.stderr == b""), answer.stderr


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    "payload", [EVENT, b"{not json", b"\0\xff\xfe", b"[" * 10_000, b" "], ids=lambda p: repr(p[:10])
)
def test_every_payload_is_kept_byte_for_byte_and_is_for_the_user_alone(
    run: Run, payload: bytes, home: Path
) -> None:
    before = time.time_ns() // 1000
    assert_answered(run(payload))
    (record,) = kept_in(home)
    assert (record.payload, record.truncated) == (payload, False)
    assert before <= record.received_at_us <= time.time_ns() // 1000
    assert stat.S_IMODE(home.stat().st_mode) == stat.S_IMODE((home / "spool").stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "spool" / spool.LIVE).stat().st_mode) == 0o600


def test_nothing_on_stdin_is_nothing_to_keep(run: Run, home: Path) -> None:
    assert_answered(run(b""))
    assert not home.exists()


def test_a_payload_over_the_limit_is_read_to_its_end_kept_to_the_limit_and_flagged(
    run: Run, home: Path
) -> None:
    assert_answered(run(b"x" * (20 << 20)))
    (record,) = kept_in(home)
    assert (len(record.payload), record.truncated) == (spool.PAYLOAD_BYTES_MAX, True)


def test_nothing_is_made_outside_the_data_directory(run: Run, home: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    before = files_below(tmp_path)
    assert_answered(run(cwd=project))
    made = files_below(tmp_path) - before
    assert made == {"data", "data/spool", f"data/spool/{spool.LIVE}"}


def test_without_retain_home_the_event_goes_to_the_place_of_the_platform(run: Run, tmp_path: Path) -> None:
    assert_answered(run(without=("RETAIN_HOME",)))
    assert len(kept_in(tmp_path / "user/.local/share/retain")) == 1


@pytest.mark.parametrize("place", ["/proc/no-such-place/retain", "/dev/null/retain"])
def test_a_place_that_cannot_be_made_is_told_on_stderr(run: Run, place: str) -> None:
    assert_answered(run(more={"RETAIN_HOME": place}), failed="hook.failed type=")


def test_a_directory_in_the_place_of_the_live_segment_is_told_on_stderr_and_in_the_list(
    run: Run, home: Path
) -> None:
    (home / "spool" / spool.LIVE).mkdir(parents=True)
    for count in (1, 2):
        assert_answered(run(), failed="retain: ")
        lines = (home / "spool" / losses.FAILURES).read_text().splitlines()
        assert len(lines) == count
        assert f"hook.failed type=IsADirectoryError errno={errno.EISDIR}" in lines[-1]
    assert stat.S_IMODE((home / "spool" / losses.FAILURES).stat().st_mode) == 0o600


def test_a_file_in_the_place_of_the_spool_is_told_on_stderr(run: Run, home: Path) -> None:
    home.mkdir()
    (home / "spool").write_text("not a directory")
    assert_answered(run(), failed="type=NotADirectoryError")
    assert (home / "spool").read_text() == "not a directory"


def test_the_text_of_the_event_is_not_told_with_the_failure(run: Run, home: Path) -> None:
    (home / "spool" / spool.LIVE).mkdir(parents=True)
    answer = run(b'{"prompt": "hunter2"}')
    assert b"hunter2" not in answer.stderr + (home / "spool" / losses.FAILURES).read_bytes()


# What the hook knows of git


def test_branch_commit_and_folder_are_those_at_the_moment_of_the_event(
    run: Run, git_repo: object, home: Path
) -> None:
    repo = git_repo()  # type: ignore[operator]
    first = repo.commit("one")
    deep = repo.path / "src"
    deep.mkdir()
    assert_answered(run(cwd=deep))
    repo("checkout", "-q", "-b", "topic")
    second = repo.commit("two")
    repo("pack-refs", "--all")
    assert_answered(run(cwd=repo.path))
    repo("checkout", "-q", "--detach", "HEAD~1")
    assert_answered(run(cwd=repo.path))
    found = [(record.cwd, record.branch, record.commit) for record in kept_in(home)]
    assert found == [
        (str(deep), "main", first),
        (str(repo.path), "topic", second),
        (str(repo.path), "", first),
    ]


def test_a_linked_worktree_gives_its_own_branch_and_commit(
    run: Run, git_repo: object, home: Path, tmp_path: Path
) -> None:
    repo = git_repo()  # type: ignore[operator]
    repo.commit("one")
    repo("worktree", "add", "-q", "-b", "linked", str(tmp_path / "linked"))
    repo("commit", "-q", "--allow-empty", "-m", "two", at=tmp_path / "linked")
    commit = repo("rev-parse", "HEAD", at=tmp_path / "linked")
    assert_answered(run(cwd=tmp_path / "linked"))
    assert [(record.branch, record.commit) for record in kept_in(home)] == [("linked", commit)]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_folder_that_was_deleted_is_recorded_as_unknown(
    command: list[str], home: Path, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = 'cd "$1" && rmdir "$1" && shift && exec "$@"'
    answer = subprocess.run(
        ["sh", "-c", script, "sh", str(gone), *command], input=EVENT, capture_output=True, timeout=60
    )
    assert (answer.returncode, answer.stdout) == (0, b"{}\n")
    assert [(record.cwd, record.branch, record.payload) for record in kept_in(home)] == [("", "", EVENT)]


# The launcher


def test_the_launcher_is_found_through_symlinks(home: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "direct").symlink_to(LAUNCHER[0])
    (tmp_path / "bin" / "relative").symlink_to("direct")
    answer = subprocess.run(
        [tmp_path / "bin" / "relative", "hook"], input=EVENT, capture_output=True, timeout=60
    )
    assert_answered(answer)
    assert len(kept_in(home)) == 1


def test_the_launcher_loads_no_module_that_costs(home: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-X", "importtime", "-I", "-S", "-c",
         f"import sys; sys.path.insert(0, {str(Path(hook.__file__).parents[2])!r}); import retain.interfaces.hook"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    loaded = {line.rsplit("|", 1)[1].strip() for line in shown.stderr.splitlines() if "|" in line}
    assert "retain.capture.spool" in loaded
    assert not loaded & {
        "os",
        "re",
        "json",
        "enum",
        "dataclasses",
        "pathlib",
        "typing",
        "logging",
        "hashlib",
        "retain._core",
    }


@pytest.mark.parametrize("closed", [0, 1, 2])
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_closed_descriptor_is_no_reason_to_fail(command: list[str], closed: int, home: Path) -> None:
    if closed == 2:
        (home / "spool" / spool.LIVE).mkdir(parents=True)  # so that there is something to tell
    redirection = {0: "<&-", 1: ">&-", 2: "2>&-"}[closed]
    answer = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *command], input=EVENT, capture_output=True, timeout=60
    )
    assert answer.returncode == 0
    assert answer.stdout == (b"" if closed == 1 else b"{}\n")
    if closed == 2:
        assert "IsADirectoryError" in (home / "spool" / losses.FAILURES).read_text()
    elif closed == 1:
        assert len(kept_in(home)) == 1


def test_a_warning_goes_in_front_of_what_the_server_said() -> None:
    assert hook.with_warning(b"{}", 'a "b"') == b'{"systemMessage":"a \\"b\\""}'
    assert hook.with_warning(b'{"a":1}', "b") == b'{"systemMessage":"b","a":1}'
    assert hook.with_warning(b'{"systemMessage":"x"}', "b") == b'{"systemMessage":"x"}'
    assert hook.with_warning(b"{}", "") == b"{}"


# The same code in this process, where single calls can be made to fail


@pytest.fixture
def in_process(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[bytes], int]]:
    monkeypatch.setitem(posix.environ, b"RETAIN_HOME", os.fsencode(home))
    kept = os.dup(0)

    def start(payload: bytes) -> int:
        source = tmp_path / "stdin"
        source.write_bytes(payload)
        fd = os.open(source, os.O_RDONLY)
        os.dup2(fd, 0)
        os.close(fd)
        return hook.main()

    yield start
    os.dup2(kept, 0)
    os.close(kept)


def test_a_hook_keeps_the_event_and_answers(
    in_process: Callable[[bytes], int], home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert in_process(EVENT) == 0
    assert in_process(b"") == 0
    assert capfd.readouterr().out == "{}\n{}\n"
    assert [record.payload for record in kept_in(home)] == [EVENT]


def test_a_hook_that_cannot_keep_the_event_tells_and_lists_it(
    in_process: Callable[[bytes], int], home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (home / "spool" / spool.LIVE).mkdir(parents=True)
    assert in_process(EVENT) == 0
    told = capfd.readouterr()
    assert told.out == "{}\n"
    assert told.err.removeprefix("retain: ") == (home / "spool" / losses.FAILURES).read_text()


def test_the_list_of_failures_stops_growing_at_its_limit(
    in_process: Callable[[bytes], int], home: Path
) -> None:
    (home / "spool" / spool.LIVE).mkdir(parents=True)
    listed = home / "spool" / losses.FAILURES
    listed.write_bytes(b"x" * (losses.BYTES_MAX - 1))
    in_process(EVENT)
    size = listed.stat().st_size
    in_process(EVENT)
    assert listed.stat().st_size == size > losses.BYTES_MAX


def test_a_symlink_in_the_place_of_the_list_is_not_followed(
    in_process: Callable[[bytes], int], home: Path, tmp_path: Path
) -> None:
    (home / "spool" / spool.LIVE).mkdir(parents=True)
    (home / "spool" / losses.FAILURES).symlink_to(tmp_path / "target")
    assert in_process(EVENT) == 0
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("missing", ["home", "cwd", "stdout", "stderr"])
def test_whatever_is_missing_the_hook_returns_zero(
    missing: str, in_process: Callable[[bytes], int], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def __getattr__(self, name: str) -> object:
            return getattr(posix, name)

        def getcwd(self) -> str:
            if missing == "cwd":
                raise FileNotFoundError
            return posix.getcwd()

        def write(self, fd: int, data: bytes) -> int:
            if fd == {"stdout": 1, "stderr": 2}.get(missing):
                raise OSError(errno.EBADF, "closed")
            return posix.write(fd, data)

    monkeypatch.setattr(hook, "posix", Broken())
    if missing == "home":
        monkeypatch.setitem(posix.environ, b"RETAIN_HOME", b"")
        monkeypatch.setattr(hook, "data_home", lambda *_: (_ for _ in ()).throw(LookupError()))
    if missing == "stderr":
        (home / "spool" / spool.LIVE).mkdir(parents=True)
    assert in_process(EVENT) == 0
    assert len(kept_in(home) if missing in {"cwd", "stdout"} else []) == (missing in {"cwd", "stdout"})
    if missing == "stderr":
        assert "IsADirectoryError" in (home / "spool" / losses.FAILURES).read_text()


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 200_000])
def test_reading_keeps_the_limit_and_says_whether_something_was_left_out(size: int, tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(bytes(range(256)) * (size // 256 + 1))
    os.truncate(tmp_path / "input", size)
    with io.FileIO(tmp_path / "input") as file:
        data, truncated = hook.read_bounded(file.fileno(), 10)
    assert (data, truncated) == (bytes(range(256))[: min(size, 10)], size > 10)
