"""The native hook client and the Python hook do the same: equal records, places, failures, questions and answers."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from retain.capture import losses, spool
from retain.capture.parse import parse_event
from retain.git import head

NATIVE = Path(sys.executable).with_name("retain-hook")
PYTHON = [sys.executable, "-m", "retain.interfaces.hook"]
NOBODY = 65534
HOOKS = {"native": [str(NATIVE)], "python": PYTHON}

needs_native = pytest.mark.skipif(not NATIVE.exists(), reason="this installation has no native hook client")


def start(
    command: Sequence[str | Path], payload: bytes, *, cwd: Path | bytes, home: Path, **more: str | None
) -> subprocess.CompletedProcess[bytes]:
    """Runs a hook whose data lie in ``home``; a variable that is None is not set."""
    given: Mapping[str, str | None] = {**os.environ, "RETAIN_HOME": str(home), **more}
    environment = {name: value for name, value in given.items() if value is not None}
    return subprocess.run(
        command, input=payload, cwd=cwd, env=environment, capture_output=True, timeout=60, check=False
    )


@pytest.fixture(params=[pytest.param("native", marks=needs_native), "python"])
def hook(request: pytest.FixtureRequest) -> list[str]:
    """The command of either hook."""
    return HOOKS[request.param]


def kept_in(home: Path) -> list[spool.Record]:
    found = []
    for path in sorted((home / "spool").glob("*.spool")):
        found += list(spool.scan(path.read_bytes()))
    assert all(isinstance(item, spool.Record) for item in found)
    return [item for item in found if isinstance(item, spool.Record)]


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A native client that has a stand-in for Python beside it, which says what it was asked and given."""
    if not NATIVE.exists():
        pytest.skip("this installation has no native hook client")
    folder = tmp_path / "beside"
    folder.mkdir()
    shutil.copy2(NATIVE, folder / "retain-hook")
    python = folder / "python3"
    python.write_text('#!/bin/sh\nprintf \'{"asked":"%s","event":\' "$*"; cat; echo "}"\n')
    python.chmod(0o755)
    return folder / "retain-hook"


@pytest.fixture
def both(tmp_path: Path) -> Callable[..., spool.Record]:
    """Gives an event to both hooks in one folder; the records must be equal, and so must their bytes."""
    if not NATIVE.exists():
        pytest.skip("this installation has no native hook client")
    homes = {"native": tmp_path / "native", "python": tmp_path / "python"}

    def run(payload: bytes, cwd: Path | bytes) -> spool.Record:
        records = {}
        for name, command in HOOKS.items():
            done = start(command, payload, cwd=cwd, home=homes[name])
            assert (done.returncode, done.stdout, done.stderr) == (0, b"{}\n", b"")
            (records[name],) = kept_in(homes[name])
            shutil.rmtree(homes[name])
        native, python = records["native"], records["python"]
        native.received_at_us = python.received_at_us
        assert spool.encode(native) == spool.encode(python)
        return native

    return run


def event(name: str, **fields: Any) -> bytes:
    return json.dumps({"session_id": "s", "hook_event_name": name, **fields}).encode()


RANDOM = random.Random(20261123)
PAYLOADS = [
    event("PostToolUse", tool_name="Edit", tool_use_id="t", tool_input={"file_path": "/p/é.py"}),
    event("Stop", last_assistant_message='"quoted" \\ and \n lines'),
    event("PostToolUse", tool_input={"hook_event_name": "PreToolUse"}),
    event("UserPromptSubmit", prompt='{"hook_event_name":"PreToolUse"}'),
    event("SessionEnd", reason="other"),
    event("SubagentStop"),
    event("PreCompact", trigger="auto"),
    event("PostCompact", compact_summary="x" * 100_000),
    b'{"hook_event_name": "Stop"',
    b"\xff\xfe not text",
    b"[]",
    b"\0",
    b"RTS1" * 30,
    *(RANDOM.randbytes(RANDOM.randrange(1, 300)) for _ in range(6)),
]


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: repr(payload[:24]))
def test_the_same_event_makes_the_same_record(
    payload: bytes, both: Callable[..., spool.Record], tmp_path: Path
) -> None:
    record = both(payload, tmp_path)
    assert record.payload == payload
    told = parse_event(payload, received_at_us=1, cwd="/", branch=None, commit=None, truncated=False)
    again = parse_event(record.payload, received_at_us=2, cwd="/", branch=None, commit=None, truncated=False)
    assert told.id == again.id


def test_what_is_over_the_limit_is_cut_at_the_same_byte(
    both: Callable[..., spool.Record], tmp_path: Path
) -> None:
    record = both(b"{" + b"x" * spool.PAYLOAD_BYTES_MAX, tmp_path)
    assert (len(record.payload), record.truncated) == (spool.PAYLOAD_BYTES_MAX, True)


def test_a_folder_whose_name_is_no_text_is_named_alike(
    both: Callable[..., spool.Record], tmp_path: Path
) -> None:
    folder = os.fsencode(tmp_path) + b"/caf\xe9 \xf0\x9f\x98\x80 \xed\xa0\x80"
    Path(os.fsdecode(folder)).mkdir()
    assert both(b"{}", folder).cwd == f"{tmp_path}/caf? \U0001f600 ???"


def places_of_git(repo: Any, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Working trees of every kind, each as it stands when it is given."""
    deep = repo.path / "a" / "b"
    deep.mkdir(parents=True)
    yield "no commit", repo.path
    first = repo.commit("one")
    yield "loose ref", deep
    repo("checkout", "-q", "-b", "feature/with-slash")
    repo.commit("two")
    repo("tag", "-a", "-m", "annotated", "v1")
    repo("pack-refs", "--all")
    yield "packed ref", repo.path
    repo("worktree", "add", "-q", "-b", "linked", str(tmp_path / "linked"))
    yield "worktree", tmp_path / "linked"
    repo("checkout", "-q", "--detach", first)
    yield "detached", repo.path
    outer = type(repo)(tmp_path / "outer")
    outer.commit("outer")
    outer("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(repo.path), "sub")
    yield "submodule", tmp_path / "outer" / "sub"
    yield "outside", tmp_path
    yield "root", Path("/")


def broken_places(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Folders whose files of git say what they should not."""
    commit = "0123456789abcdef" * 2 + "01234567"
    for number, (head_text, more) in enumerate(
        [
            (b"garbage", {}),
            (commit.encode() + b"\r\n", {}),
            (b"ref: refs/heads/.invalid\n", {}),
            (b"ref:\x1c refs/heads/x \xc2\xa0\n", {"refs/heads/x": commit.encode()}),
            (b"ref: refs/heads/a\0b\n", {}),
            (b"ref: HEAD\n", {}),
            (b"ref: refs/tags/v1\n", {"packed-refs": b"x\n" + commit.encode() + b" refs/tags/v1\n"}),
            (b"ref: refs/heads/c\xff\n", {"packed-refs": commit.encode() + b" refs/heads/c\xff\n"}),
            (b"ref: refs/heads/d\n", {"commondir": b"../elsewhere\n"}),
            (b"ref: refs/heads/cut\n", {"packed-refs": commit.encode() + b" refs/heads/cut"}),
        ]
    ):
        git = tmp_path / f"broken-{number}" / ".git"
        (git / "refs" / "heads").mkdir(parents=True)
        (git / "HEAD").write_bytes(head_text)
        for name, data in more.items():
            (git / name).write_bytes(data)
        yield repr(head_text), git.parent
    link = tmp_path / "file"
    link.mkdir()
    (link / ".git").write_bytes(b"gitdir: ../broken-1/.git\n")
    yield "gitfile", link
    (tmp_path / "no-file").mkdir()
    (tmp_path / "no-file" / ".git").write_bytes(b"nothing")
    yield "no gitfile", tmp_path / "no-file"


def test_branch_and_commit_are_read_alike_wherever_one_stands(
    both: Callable[..., spool.Record], git_repo: Any, tmp_path: Path
) -> None:
    found = {}
    for name, folder in chain(places_of_git(git_repo(), tmp_path), broken_places(tmp_path)):
        record = both(b"{}", folder)
        assert (record.branch, record.commit) == head.read(str(folder)), name
        found[name] = (record.branch, bool(record.commit))
    assert found["packed ref"] == ("feature/with-slash", True)
    assert found["worktree"] == ("linked", True)
    assert found["detached"] == ("", True)
    assert found["no commit"] == ("main", False)
    assert found["submodule"][1]
    assert found["outside"] == ("", False)


@needs_native
@pytest.mark.parametrize(
    "places",
    [
        {"RETAIN_HOME": "{}/a"},
        {"RETAIN_HOME": "{}/a/"},
        {"RETAIN_HOME": "{}//a/./b/../c"},
        {"RETAIN_HOME": "relative/../place"},
        {"RETAIN_HOME": "~/x", "HOME": "{}/user"},
        {"RETAIN_HOME": "~", "HOME": "{}/user//"},
        {"XDG_DATA_HOME": "{}/share//", "HOME": "{}/user"},
        {"XDG_DATA_HOME": "share", "HOME": "{}/user"},
        {"RETAIN_HOME": "", "HOME": "{}/user/"},
    ],
    ids=str,
)
def test_the_data_directory_is_the_same(places: dict[str, str], tmp_path: Path) -> None:
    given = {name: value.replace("{}", str(tmp_path)) for name, value in places.items()}
    unset = dict.fromkeys({"RETAIN_HOME", "XDG_DATA_HOME", "HOME"} - set(given))
    done = start([NATIVE], b"{}", cwd=tmp_path, home=tmp_path, **{**unset, **given})
    assert (done.returncode, done.stdout, done.stderr) == (0, b"{}\n", b"")
    script = "import os, sys; from retain.home import data_home; print(data_home(os.environ, sys.platform))"
    library = str(Path(head.__file__).parents[2])
    asked = start([sys.executable, "-c", script], b"", cwd=tmp_path, home=tmp_path,
                  **{**unset, **given, "PYTHONPATH": library})  # fmt: skip
    assert len(kept_in(Path(asked.stdout.decode().strip()))) == 1


@pytest.mark.parametrize(
    "places", [{"HOME": ""}, {"HOME": "relative"}, {"RETAIN_HOME": "~somebody/x"}], ids=str
)
def test_a_place_of_a_rare_form_is_left_to_the_python_hook(
    places: dict[str, str], beside: Path, tmp_path: Path
) -> None:
    given: dict[str, str | None] = {"RETAIN_HOME": None, "XDG_DATA_HOME": None, **places}
    done = start([beside], b'{"a": 1}', cwd=tmp_path, home=tmp_path, **given)
    assert json.loads(done.stdout) == {"asked": "-P -m retain hook", "event": {"a": 1}}


@needs_native
def test_a_directory_asked_for_wins_over_the_environment(tmp_path: Path) -> None:
    done = start(
        [NATIVE, "hook", "--home", tmp_path / "pinned"], b"{}", cwd=tmp_path, home=tmp_path / "other"
    )
    assert (done.returncode, done.stdout) == (0, b"{}\n")
    assert len(kept_in(tmp_path / "pinned")) == 1
    assert not (tmp_path / "other").exists()


def test_what_comes_before_a_tool_is_not_kept(hook: list[str], tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = start(hook, event("PreToolUse", tool_name="Edit"), cwd=tmp_path, home=home)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"{}\n", b"")
    assert not home.exists()


NAMED = b'"hook_event_name":'


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff{" + NAMED + b'"PreToolUse"}',
        b"{" + NAMED + b'"PreToolUse","x":"\xc3"}',
        b"{" + NAMED + b'"PreToolUse",' + NAMED + b'"Stop"}',
        b'{"x":{' + NAMED + b'"PreToolUse"},' + NAMED + b"5}",
        b"{" + NAMED + b'"",' + NAMED + b'"PreToolUse"}',
        b"{" + NAMED + b'"Pre\\u0054oolUse"}',
        b"{" + NAMED + b'"PreToolUse',
        b"{" + NAMED + b" " * 290 + b'"PreToolUse"}',
        b"{" + NAMED + b'"PreToolUse"}' + b" " * spool.PAYLOAD_BYTES_MAX,
    ],
    ids=lambda payload: repr(payload[:40]),
)
def test_an_event_whose_name_is_in_doubt_is_kept(hook: list[str], payload: bytes, tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = start(hook, payload, cwd=tmp_path, home=home)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"{}\n", b"")
    assert [record.payload for record in kept_in(home)] == [payload[: spool.PAYLOAD_BYTES_MAX]]


@pytest.mark.parametrize(
    "payload",
    [
        b"{" + NAMED + b' \n\t\r"PreToolUse"}',
        b"{" + NAMED + b'"PreToolUse","x":{' + NAMED + b'"PreToolUse"}}',
        b"[" + NAMED + b" " * 280 + b'"PreToolUse"',
        b'{"x":"\xc3\xa9",' + NAMED + b'"PreToolUse"',
    ],
    ids=lambda payload: repr(payload[:40]),
)
def test_a_name_is_found_without_reading_the_event(hook: list[str], payload: bytes, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert start(hook, payload, cwd=tmp_path, home=home).stdout == b"{}\n"
    assert not home.exists()


# Failures


def hinder_with_a_directory(home: Path) -> None:
    (home / "spool" / spool.LIVE).mkdir(parents=True)


def hinder_with_a_link(home: Path) -> None:
    (home / "spool").mkdir(parents=True)
    (home / "spool" / spool.LIVE).symlink_to("/dev/null")


def hinder_with_a_file(home: Path) -> None:
    home.mkdir(parents=True)
    (home / "spool").write_text("")


@needs_native
@pytest.mark.parametrize("hinder", [hinder_with_a_directory, hinder_with_a_link, hinder_with_a_file])
def test_failures_are_told_in_the_same_words(hinder: Callable[[Path], None], tmp_path: Path) -> None:
    told = []
    for name, command in HOOKS.items():
        home = tmp_path / name
        hinder(home)
        done = start(command, event("Stop"), cwd=tmp_path, home=home)
        assert (done.returncode, done.stdout) == (0, b"{}\n")
        told.append(done.stderr.split(b" hook.failed ")[1])
    assert told[0] == told[1]


@needs_native
def test_on_a_full_disk_each_lost_event_is_counted_and_nothing_is_left_behind(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert start([NATIVE], b"{}", cwd=tmp_path, home=home).returncode == 0
    kept = (home / "spool" / spool.LIVE).read_bytes()
    for command in HOOKS.values():
        # No file may grow beyond 512 bytes: one line of the list fits, the next does not.
        full = ["sh", "-c", 'ulimit -f 1; exec "$@"', "sh", *command]
        for _ in range(3):
            (home / "spool" / losses.FAILURES).write_bytes(b"1 hook.failed type=OSError errno=28\n" * 14)
            done = start(full, b"x" * 4096, cwd=tmp_path, home=home)
            assert (done.returncode, done.stdout) == (0, b"{}\n")
            assert b"errno=27" in done.stderr
        lost = losses.all_of(str(home / "spool"))
        assert lost is not None
        assert (lost.count, lost.since_us) == (15, 1)
        assert (home / "spool" / spool.LIVE).read_bytes() == kept


def begin(source: str = "startup") -> bytes:
    return event("SessionStart", source=source)


def lose_two(hook: list[str], home: Path) -> losses.Losses:
    """Two events that could not be kept; the disk is well again."""
    hinder_with_a_directory(home)
    for _ in range(2):
        start(hook, event("Stop"), cwd=home, home=home)
    (home / "spool" / spool.LIVE).rmdir()
    lost = losses.untold(str(home / "spool"))
    assert lost is not None
    return lost


def test_a_session_is_told_once_that_events_were_lost(hook: list[str], tmp_path: Path) -> None:
    home = tmp_path / "home"
    lost = lose_two(hook, home)
    first = start(hook, begin(), cwd=tmp_path, home=home)
    message = json.loads(first.stdout)["systemMessage"]
    assert message == losses.warning("", lost)
    assert message.startswith("retain: 2 events were not kept since 20")
    assert losses.untold(str(home / "spool")) is None
    again = start(hook, begin(), cwd=tmp_path, home=home)
    assert again.stdout == b"{}\n"


def test_a_loss_is_told_again_where_the_message_could_not_be_printed(hook: list[str], tmp_path: Path) -> None:
    home = tmp_path / "home"
    lose_two(hook, home)
    with Path("/dev/full").open("wb") as full:
        environment = {**os.environ, "RETAIN_HOME": str(home)}
        done = subprocess.run(
            hook,
            input=begin(),
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=environment,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, b"")
    assert losses.untold(str(home / "spool")) is not None
    assert b"2 events were not kept" in start(hook, begin(), cwd=tmp_path, home=home).stdout


@pytest.mark.parametrize(("source", "told"), [("startup", True), ("resume", True), ("compact", False)])
def test_a_session_that_cannot_be_kept_is_told_so_when_it_begins_and_not_when_it_goes_on(
    hook: list[str], source: str, told: bool, tmp_path: Path
) -> None:
    done = start(hook, begin(source), cwd=tmp_path, home=Path("/dev/null/retain"))
    message = losses.warning(os.strerror(20), None)
    assert json.loads(done.stdout) == ({"systemMessage": message} if told else {})
    assert done.returncode == 0


def test_on_a_full_disk_a_session_is_told_when_it_begins_and_the_next_one_of_what_was_lost(
    hook: list[str], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    full = ["sh", "-c", 'ulimit -f 1; exec "$@"', "sh", *hook]  # 512 bytes
    long = event("SessionStart", source="startup", transcript_path="x" * 4096)
    for lost in range(2):
        done = start(full, long, cwd=tmp_path, home=home)
        before = "); 1 event was not kept since 20" if lost else "). "
        assert done.returncode == 0
        message = json.loads(done.stdout)["systemMessage"]
        assert message.startswith(f"retain: events are not kept ({os.strerror(27)}{before}"), message
    prompt = event("UserPromptSubmit", prompt="x" * 4096)
    assert start(full, prompt, cwd=tmp_path, home=home).stdout == b"{}\n"
    well = json.loads(start(hook, begin(), cwd=tmp_path, home=home).stdout)["systemMessage"]
    assert well.startswith("retain: 2 events were not kept since 20")


@pytest.mark.skipif(os.getuid() != 0, reason="needs the right to become another user")
def test_on_a_disk_that_cannot_be_written_a_session_is_told_and_nothing_is_made(
    hook: list[str], read_only: Path
) -> None:
    done = as_user(NOBODY, hook, begin(), RETAIN_HOME=str(read_only / "data"))
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"systemMessage": losses.warning(os.strerror(13), None)}
    assert b"hook.failed type=PermissionError errno=13" in done.stderr
    assert [path.name for path in read_only.rglob("*")] == ["data"]


@pytest.mark.skipif(os.getuid() != 0, reason="needs the right to become another user")
def test_without_any_home_a_session_is_told_and_nothing_is_made(hook: list[str], read_only: Path) -> None:
    before = set(Path("/").iterdir()) | set(read_only.rglob("*"))
    done = as_user(2**31 - 7, hook, begin())
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"systemMessage": losses.warning(losses.NO_HOME, None)}
    assert b"hook.failed type=LookupError errno=None" in done.stderr
    assert as_user(2**31 - 7, hook, event("Stop")).stdout == b"{}\n"
    assert set(Path("/").iterdir()) | set(read_only.rglob("*")) == before


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder that everybody may read, with one in it that nobody but its owner may write to."""
    with tempfile.TemporaryDirectory(prefix="retain-", dir="/tmp") as top:
        for folder in (Path(top), Path(top, "data")):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o555)
        yield Path(top)


def as_user(
    user: int, hook: list[str], payload: bytes, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Runs a hook as another user, with nothing but this in its environment, where that user may run it."""
    with tempfile.TemporaryDirectory(prefix="retain-", dir="/tmp") as top:
        Path(top).chmod(0o755)
        if hook == HOOKS["native"]:
            hook = [shutil.copy2(NATIVE, top)]
            code = "import os, sys; os.setuid(int(sys.argv[1])); os.execv(sys.argv[2], sys.argv[2:])"
        else:  # imported first: this user may not read the package
            code = ("import os, sys, pwd; from retain.interfaces import hook, hook_asking; "
                    "from retain.capture import losses; os.setuid(int(sys.argv[1])); "
                    "sys.exit(hook.main())")  # fmt: skip
        command = [sys.executable, "-c", code, str(user), *hook]
        return subprocess.run(
            command, input=payload, cwd="/", env=environment, capture_output=True, timeout=60, check=False
        )


@pytest.mark.parametrize("payload", [event("Stop"), begin(), event("UserPromptSubmit", prompt="x")])
def test_nothing_is_made_outside_of_the_data_directory(
    hook: list[str], payload: bytes, tmp_path: Path
) -> None:
    (tmp_path / "cwd").mkdir()
    (tmp_path / "user").mkdir()
    done = start(hook, payload, cwd=tmp_path / "cwd", home=tmp_path / "home", HOME=str(tmp_path / "user"),
                 TMPDIR=str(tmp_path / "cwd"))  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, b"{}\n", b"")
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert made == {"cwd", "user", "home", "home/spool", f"home/spool/{spool.LIVE}"}


# Answers of a server


@contextmanager
def server(home: Path, answer: bytes | None) -> Iterator[list[bytes]]:
    """Listens on the socket of a data directory and gives one answer to whoever asks; None hangs up."""
    run = home / "run"
    run.mkdir(parents=True)
    asked: list[bytes] = []
    listener = socket.socket(socket.AF_UNIX)
    folder = os.open(run, os.O_RDONLY)
    listener.bind(f"/proc/self/fd/{folder}/hook.sock" if len(str(run)) > 90 else str(run / "hook.sock"))
    os.close(folder)
    listener.listen()

    def serve() -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            reader = connection.makefile("rb")
            asked.append(reader.read(int.from_bytes(reader.read(4), "little")))
            if answer is not None:
                connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield asked
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def framed(answer: bytes) -> bytes:
    return len(answer).to_bytes(4, "little") + answer


ANSWER = b'{"hookSpecificOutput":{"hookEventName":"SessionStart","additionalContext":"h\xc3\xa9llo"}}'


@pytest.mark.parametrize("depth", [1, 12])
def test_an_answer_is_printed_as_it_comes_and_the_question_says_where_and_what(
    hook: list[str], depth: int, tmp_path: Path, git_repo: Any
) -> None:
    repo = git_repo('with "quotes"')
    commit = repo.commit()
    home = tmp_path.joinpath(*["long-name-of-a-folder"] * depth)
    payload = event("SessionStart", source="startup", prompt="é")
    with server(home, framed(ANSWER)) as asked:
        done = start(hook, payload, cwd=repo.path, home=home)
    assert (done.returncode, done.stdout, done.stderr) == (0, ANSWER, b"")
    assert [record.payload for record in kept_in(home)] == [payload]
    assert json.loads(asked[0]) == {
        "v": 1, "event": json.loads(payload), "cwd": str(repo.path), "branch": "main", "commit": commit,
    }  # fmt: skip


@pytest.mark.parametrize(
    "reply",
    [None, b"", b"\1", framed(b""), framed(b"plain text"), framed(b"{"), b"\xff\xff\xff\xff{}",
     framed(b"{" + b" " * (64 << 10) + b"}"), framed(b"{\xff}"), framed(b"{}") + b"more"],
    ids=lambda reply: repr(reply)[:24],
)  # fmt: skip
def test_an_answer_that_is_not_as_agreed_is_none(
    hook: list[str], reply: bytes | None, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    with server(home, reply):
        done = start(hook, event("SessionStart", source="startup"), cwd=tmp_path, home=home)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"{}\n", b"")
    assert len(kept_in(home)) == 1


def test_only_events_that_can_be_answered_are_asked_about(hook: list[str], tmp_path: Path) -> None:
    home = tmp_path / "home"
    with server(home, framed(ANSWER)) as asked:
        for name in ("PostToolUse", "Stop", "SessionEnd", "PreCompact", "PostCompact", "SubagentStop"):
            assert start(hook, event(name), cwd=tmp_path, home=home).stdout == b"{}\n"
        assert asked == []


def test_a_socket_that_is_a_file_or_that_nobody_listens_on_is_no_server(
    hook: list[str], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    with server(home, framed(ANSWER)):
        pass
    assert (home / "run" / "hook.sock").exists()
    prompt = event("UserPromptSubmit", prompt="hello")
    assert start(hook, prompt, cwd=tmp_path, home=home).stdout == b"{}\n"
    (home / "run" / "hook.sock").unlink()
    (home / "run" / "hook.sock").write_text("")
    assert start(hook, prompt, cwd=tmp_path, home=home).stdout == b"{}\n"
    assert len(kept_in(home)) == 2


@pytest.mark.skipif(os.getuid() != 0, reason="needs the right to give a file to another user")
def test_a_socket_of_another_user_is_not_asked(hook: list[str], tmp_path: Path) -> None:
    home = tmp_path / "home"
    with server(home, framed(ANSWER)) as asked:
        os.chown(home / "run" / "hook.sock", 65534, 65534)
        assert start(hook, event("UserPromptSubmit"), cwd=tmp_path, home=home).stdout == b"{}\n"
        assert asked == []


def test_a_server_that_says_nothing_does_not_hold_the_prompt_up(hook: list[str], tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "run").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(home / "run" / "hook.sock"))
        listener.listen()
        done = start(hook, event("UserPromptSubmit", prompt="x"), cwd=tmp_path, home=home)
    assert (done.returncode, done.stdout) == (0, b"{}\n")


def test_without_a_server_the_python_beside_answers_a_start(beside: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    payload = event("SessionStart", source="startup")
    assert start([beside], payload, cwd=tmp_path, home=home).stdout == b"{}\n", "there is no store yet"
    (home / "retain.db").touch()
    done = start([beside], payload, cwd=tmp_path, home=home)
    assert json.loads(done.stdout) == {"asked": "-P -m retain hook --answer", "event": json.loads(payload)}
    assert start([beside], event("UserPromptSubmit"), cwd=tmp_path, home=home).stdout == b"{}\n"
