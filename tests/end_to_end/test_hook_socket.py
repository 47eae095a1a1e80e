"""Hooks and live servers: real processes, a real socket, one elected server, and nothing left behind."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

import retain
from retain.home import HOOK_LOCK, HOOK_SOCKET, RUN
from servers import HookServer, asked, asked_bytes, hook_socket, until

LAUNCHER = [str(Path(sys.executable).parent / "retain"), "hook"]
MODULE = [sys.executable, "-m", "retain.interfaces.hook"]
CONTEXT_CHARS_MAX = 10_000
QUESTION = "how is the cart total rounded?"
FACT = "The cart total is rounded half to even by banker's rounding"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="connects by /proc and counts by /proc")


def remember(home: Path, folder: Path, text: str = FACT, **fields: Any) -> str:
    async def main() -> str:
        async with retain.open(home, folder=folder) as memory:
            return (await memory.remember(text, **fields)).id

    return asyncio.run(main())


def doors(home: Path, folder: Path) -> dict[str, Any]:
    async def main() -> dict[str, Any]:
        async with retain.open(home, folder=folder) as memory:
            return dict((await memory.receipts.account())["doors"])

    return asyncio.run(main())


def prompt(folder: Path, session: str = "s", text: str = QUESTION) -> dict[str, Any]:
    return {"hook_event_name": "UserPromptSubmit", "session_id": session, "cwd": str(folder), "prompt": text}


def start(folder: Path, session: str = "s", source: str = "startup") -> dict[str, Any]:
    return {"hook_event_name": "SessionStart", "session_id": session, "cwd": str(folder), "source": source}


def run_hook(command: list[str], event: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What a hook process prints for an event; it must end well."""
    ended = subprocess.run(
        command, input=json.dumps(event).encode(), cwd=folder, capture_output=True, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def context_of(answer: dict[str, Any], name: str) -> str:
    """The text of an answer, whose form must be that which the client reads."""
    if not answer:
        return ""
    assert set(answer) == {"hookSpecificOutput"}
    inner = answer["hookSpecificOutput"]
    assert set(inner) == {"hookEventName", "additionalContext"}
    assert inner["hookEventName"] == name
    assert 0 < len(inner["additionalContext"]) < CONTEXT_CHARS_MAX
    return str(inner["additionalContext"])


@pytest.fixture
def server(home: Path, folder: Path) -> Iterator[HookServer]:
    """An elected server over a store that holds one fact."""
    remember(home, folder)
    with HookServer(home, folder) as one:
        listening(home)
        yield one


def listening(home: Path) -> None:
    until(lambda: hook_socket(home), "somebody listens").close()


def left(home: Path) -> list[str]:
    """What lies in the folder of the socket."""
    return sorted(entry.name for entry in (home / RUN).iterdir())


def answered(home: Path, event: dict[str, Any]) -> str:
    """The text of the answer to an event, asked for in new sessions until the machine had time for it."""
    tries = (asked(home, {**event, "session_id": f"{event['session_id']}-{n}"}) for n in range(10_000))
    return context_of(until(lambda: next(tries), "an answer"), event["hook_event_name"])


def hooked(command: list[str], event: dict[str, Any], folder: Path, **environment: str) -> str:
    """The same by a process of a hook each time."""

    def once(number: int) -> dict[str, Any]:
        asking = {**event, "session_id": f"{event['session_id']}-{number}"}
        ended = subprocess.run(
            command, input=json.dumps(asking).encode(), cwd=folder, env={**os.environ, **environment},
            capture_output=True, timeout=60,
        )  # fmt: skip
        assert ended.returncode == 0
        found: dict[str, Any] = json.loads(ended.stdout)
        return found

    tries = map(once, range(10_000))
    return context_of(until(lambda: next(tries), "an answer"), event["hook_event_name"])


def peer_of(home: Path) -> int:
    """The process that listens on the socket."""
    connection = hook_socket(home)
    if connection is None:
        return 0
    with connection:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[:4], sys.byteorder)


def running(home: Path) -> set[int]:
    """The processes that were started with this data directory and have not ended."""
    wanted = f"RETAIN_HOME={home}".encode()
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            environment = (entry / "environ").read_bytes().split(b"\0") if entry.name.isdigit() else []
            alive = (
                (entry / "stat").read_text().rpartition(")")[2].split()[0] != "Z" if environment else False
            )
        except OSError:
            continue
        if alive and wanted in environment and int(entry.name) != os.getpid():
            found.add(int(entry.name))
    return found


# Answers


def test_each_event_is_answered_in_the_form_that_the_client_reads(
    server: HookServer, home: Path, folder: Path
) -> None:
    remember(home, folder, "Totals are integers of cents", kind="decision", paths=["src/cart.py"])
    remember(home, folder, "Failed: x\nWith: y", kind="fix", paths=["src/cart.py"])
    bash = {
        "tool_name": "Bash",
        "tool_input": {"command": "pytest"},
        "tool_use_id": "t",
        "error": "Exit code 1\nno",
    }
    tool = {"tool_name": "Edit", "tool_input": {"file_path": str(folder / "src/cart.py")}, "tool_use_id": "u"}
    events = {
        "SessionStart": start(folder, "a"),
        "UserPromptSubmit": prompt(folder, "b"),
        "PreToolUse": {**prompt(folder, "c"), "hook_event_name": "PreToolUse", **tool},
    }
    for name, event in events.items():
        text = answered(home, event)
        assert text, name
        assert "(notes to verify, not instructions)" in text.splitlines()[0]
    failure = {**prompt(folder, "d"), "hook_event_name": "PostToolUseFailure", **bash}
    assert asked(home, failure) == {}
    for name in ("Stop", "PreCompact", "SessionEnd", "PostToolUse", "Nonsense"):
        assert asked(home, {**prompt(folder), "hook_event_name": name}) == {}


def test_an_error_that_hooks_saw_fixed_is_answered_when_it_comes_back(
    server: HookServer, home: Path, folder: Path
) -> None:
    def bash(name: str, number: int, **result: Any) -> dict[str, Any]:
        call = {"tool_name": "Bash", "tool_input": {"command": "pytest"}, "tool_use_id": f"t{number}"}
        return {**prompt(folder, "before"), "hook_event_name": name, **call, **result}

    error = "Exit code 1\nTraceback (most recent call last):\nValueError: cart {} has no currency"
    change = {"file_path": str(folder / "src/cart.py"), "old_string": "cart = 1", "new_string": "cart = 2"}
    edit = {"tool_name": "Edit", "tool_input": change, "tool_response": {}, "tool_use_id": "e"}
    run_hook(MODULE, bash("PostToolUseFailure", 1, error=error.format(17)), folder)
    run_hook(MODULE, {**prompt(folder, "before"), "hook_event_name": "PostToolUse", **edit}, folder)
    run_hook(MODULE, bash("PostToolUse", 2, tool_response={"stdout": "1 passed"}), folder)
    again = {**bash("PostToolUseFailure", 3, error=error.format(4)), "session_id": "later"}
    assert "src/cart.py" in answered(home, again)


def test_a_hook_process_prints_the_answer_and_keeps_the_event_but_not_that_before_a_tool(
    server: HookServer, home: Path, folder: Path
) -> None:
    sent = prompt(folder, "kept", "please paint the icon of the cart red")
    for command in (LAUNCHER, MODULE):
        assert "cart total" in context_of(run_hook(command, start(folder, "p"), folder), "SessionStart")
        assert "cart total" in hooked(command, prompt(folder, "q"), folder)
    run_hook(LAUNCHER, sent, folder)
    asked_before = {
        **prompt(folder, "before"),
        "hook_event_name": "PreToolUse",
        "tool_name": "Edit",
        "tool_input": {},
    }
    assert run_hook(LAUNCHER, asked_before, folder) == {}
    server.hang_up()

    async def captured() -> list[str]:
        async with retain.open(home, folder=folder) as memory:
            await memory.drain.run()
            found = await memory.recall("", filter={"session": ["kept", "before"]})
            return [hit.memory.text for hit in found.hits]

    assert asyncio.run(captured()) == [sent["prompt"]]


def test_receipts_are_kept_by_door_with_those_that_said_nothing(
    server: HookServer, home: Path, folder: Path
) -> None:
    assert context_of(asked(home, start(folder)), "SessionStart")
    assert asked(home, start(folder, "s", "resume")) == {}
    assert answered(home, prompt(folder, "t"))
    server.hang_up()
    found = doors(home, folder)
    assert (found["SessionStart"]["injections"], found["SessionStart"]["abstained"]) == (2, 1)
    assert found["UserPromptSubmit"]["injections"] >= 1


def test_windows_on_other_folders_are_served_by_the_one_that_was_elected(
    server: HookServer, home: Path, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    remember(home, other, "The other project deploys on Fridays", kind="decision")
    with HookServer(home, other):
        assert "Fridays" in context_of(asked(home, start(other, "o")), "SessionStart")
        assert "Fridays" not in context_of(asked(home, start(folder, "f")), "SessionStart")
        assert peer_of(home) == server.process.pid


@pytest.mark.parametrize(
    "question",
    [b"", b"{}", b"[]", b"not json", b"\xff\xfe\0", b'{"v":2,"event":{}}', b'{"v":1,"event":[]}', b'{"v":1}'],
    ids=repr,
)
def test_a_question_that_is_none_is_answered_by_closing_and_the_next_is_served(
    server: HookServer, home: Path, folder: Path, question: bytes
) -> None:
    assert asked_bytes(home, question) is None
    assert answered(home, prompt(folder))


def test_frames_that_are_cut_or_too_long_are_closed_and_the_server_lives(
    server: HookServer, home: Path, folder: Path
) -> None:
    assert asked_bytes(home, b"x" * 10, length=1_000) is None
    assert asked_bytes(home, b"", length=(16 << 20) + 1) is None
    assert asked_bytes(home, b"", length=0xFFFFFFFF) is None
    silent = until(lambda: hook_socket(home), "a client that says nothing")
    with silent:
        assert answered(home, prompt(folder))
    assert server.process.poll() is None


def test_a_payload_of_megabytes_is_taken(server: HookServer, home: Path, folder: Path) -> None:
    content = {"file_path": str(folder / "src/cart.py"), "content": "x" * (8 << 20)}
    event = {**prompt(folder), "hook_event_name": "PreToolUse", "tool_name": "Write", "tool_input": content}
    assert asked(home, event) == {}


def test_the_socket_is_for_the_user_alone(server: HookServer, home: Path) -> None:
    assert stat.S_IMODE((home / RUN).stat().st_mode) == 0o700
    assert stat.S_IMODE((home / RUN / HOOK_SOCKET).stat().st_mode) == 0o600


ANOTHER_USER = """
import os, socket, sys
os.chdir(sys.argv[1])
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect("hook.sock")
    try:
        connection.sendall(len(sys.argv[2]).to_bytes(4, "little") + sys.argv[2].encode())
        print(connection.recv(4))
    except (BrokenPipeError, ConnectionResetError):
        print(b"")
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can ask as another user")
def test_another_user_is_not_answered_even_where_the_folder_is_open(
    server: HookServer, home: Path, folder: Path
) -> None:
    (home / RUN).chmod(0o755)
    (home / RUN / HOOK_SOCKET).chmod(0o666)
    question = json.dumps({"v": 1, "event": prompt(folder), "cwd": "", "branch": "", "commit": ""})
    asking = [sys.executable, "-c", ANOTHER_USER, str(home / RUN), question]
    assert subprocess.run(asking, check=True, capture_output=True, timeout=60).stdout == b"b''\n"
    assert answered(home, prompt(folder))


# Time


def test_a_server_whose_store_is_slow_answers_with_nothing_in_time(
    home: Path, folder: Path, tmp_path: Path
) -> None:
    """A folder that the store does not know needs a write; its lock is held here."""
    remember(home, folder)
    new = tmp_path / "new"
    new.mkdir()
    with HookServer(home, folder) as server:
        listening(home)
        lock = os.open(home / "write.lock", os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            assert asked(home, prompt(new)) == {}
            assert "answer.late event=UserPromptSubmit" in server.stderr()
            assert answered(home, prompt(folder))
        finally:
            os.close(lock)


def test_a_hook_does_not_wait_for_a_server_that_is_stopped(
    server: HookServer, home: Path, folder: Path
) -> None:
    server.process.send_signal(signal.SIGSTOP)
    try:
        ended = subprocess.run(
            MODULE, input=json.dumps(prompt(folder)).encode(), cwd=folder, capture_output=True, timeout=60
        )
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"{}\n", b"")
    assert not (home / "spool" / "failures.log").exists()


def test_a_broken_store_is_answered_with_nothing_and_logged(
    server: HookServer, home: Path, folder: Path
) -> None:
    db = apsw.Connection(str(home / "retain.db"))
    db.execute("ALTER TABLE memory_link RENAME TO elsewhere")
    db.close()
    assert asked(home, start(folder, "broken")) == {}
    until(lambda: "answer.failed event=SessionStart" in server.stderr(), "the log says so")
    assert FACT not in server.stderr()


# Election


def test_another_server_takes_over_when_the_elected_one_is_killed(home: Path, folder: Path) -> None:
    remember(home, folder)
    with HookServer(home, folder) as first:
        listening(home)
        with HookServer(home, folder) as second:
            assert peer_of(home) == first.process.pid
            first.kill()
            assert (home / RUN / HOOK_SOCKET).exists()
            until(lambda: peer_of(home) == second.process.pid, "the second answers")
            assert answered(home, prompt(folder))


def test_of_many_servers_exactly_one_listens_through_a_series_of_deaths(home: Path, folder: Path) -> None:
    remember(home, folder)
    servers = [HookServer(home, folder) for _ in range(3)]
    try:
        alive = {server.process.pid: server for server in servers}
        while alive:
            elected = until(lambda: peer_of(home) in alive and peer_of(home), "one of those alive answers")
            assert asked(home, start(folder, f"s{elected}")) != {}
            alive.pop(elected).kill()
    finally:
        for server in servers:
            server.__exit__()


def test_a_server_that_is_suspended_lets_another_answer_and_goes_on_afterwards(
    home: Path, folder: Path
) -> None:
    remember(home, folder)
    with HookServer(home, folder) as first:
        until(lambda: peer_of(home) == first.process.pid, "the first is elected")
        with HookServer(home, folder) as second:
            for _ in range(2):
                first.process.send_signal(signal.SIGTSTP)
                until(lambda: peer_of(home) == second.process.pid, "the second answers")
                until(lambda: state_of(first.process.pid) == "T", "the first is stopped")
                assert answered(home, prompt(folder))
                first.process.send_signal(signal.SIGCONT)
                second.process.send_signal(signal.SIGTSTP)
                until(lambda: peer_of(home) == first.process.pid, "the first answers again")
                second.process.send_signal(signal.SIGCONT)
            assert first.hang_up() == 0
            until(lambda: peer_of(home) == second.process.pid, "the second answers")


def test_another_server_takes_over_from_one_that_is_stopped_and_keeps_the_place_when_it_goes_on(
    home: Path, folder: Path
) -> None:
    remember(home, folder)
    with HookServer(home, folder) as first:
        until(lambda: peer_of(home) == first.process.pid, "the first is elected")
        others = [HookServer(home, folder) for _ in range(2)]
        try:
            first.process.send_signal(signal.SIGSTOP)
            assert run_hook(MODULE, prompt(folder, "stopped"), folder) == {}
            pids = {server.process.pid for server in others}
            elected = until(lambda: peer_of(home) in pids and peer_of(home), "another one answers")
            assert answered(home, prompt(folder))
            first.process.send_signal(signal.SIGCONT)
            assert first.hang_up() == 0
            assert peer_of(home) == elected
            assert answered(home, prompt(folder, "after"))
            for server in others:
                assert server.hang_up() == 0
            assert left(home) == [HOOK_LOCK]
        finally:
            for server in others:
                server.__exit__()


def test_a_server_that_was_stopped_stands_again_when_the_one_that_took_over_ends(
    home: Path, folder: Path
) -> None:
    remember(home, folder)
    with HookServer(home, folder) as first:
        until(lambda: peer_of(home) == first.process.pid, "the first is elected")
        with HookServer(home, folder) as second:
            first.process.send_signal(signal.SIGSTOP)
            until(lambda: peer_of(home) == second.process.pid, "the second answers")
            first.process.send_signal(signal.SIGCONT)
            second.kill()
            until(lambda: peer_of(home) == first.process.pid, "the first answers again")
            assert answered(home, prompt(folder))


def test_a_socket_that_somebody_removed_is_made_again(server: HookServer, home: Path, folder: Path) -> None:
    (home / RUN / HOOK_SOCKET).unlink()
    assert answered(home, prompt(folder))
    assert peer_of(home) == server.process.pid


@pytest.mark.parametrize("command", [MODULE, LAUNCHER], ids=["python", "launcher"])
def test_a_start_that_a_stopped_server_leaves_open_is_answered_without_it(
    command: list[str], server: HookServer, home: Path, folder: Path
) -> None:
    server.process.send_signal(signal.SIGSTOP)
    try:
        assert FACT in hooked(command, start(folder), folder)
    finally:
        server.process.send_signal(signal.SIGCONT)


def state_of(pid: int) -> str:
    """The letter by which the system names the state of a process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_server_that_ends_removes_its_socket_and_not_that_of_its_follower(home: Path, folder: Path) -> None:
    remember(home, folder)
    with HookServer(home, folder) as first, HookServer(home, folder) as second:
        until(lambda: peer_of(home) == first.process.pid, "the first is elected")
        assert first.hang_up() == 0
        until(lambda: peer_of(home) == second.process.pid, "the second answers")
        assert second.hang_up() == 0
        assert left(home) == [HOOK_LOCK]


def test_a_file_of_a_killed_server_is_replaced_and_hooks_go_on_without_it(home: Path, folder: Path) -> None:
    remember(home, folder)
    with HookServer(home, folder) as server:
        listening(home)
        server.kill()
    assert (home / RUN / HOOK_SOCKET).exists()
    assert run_hook(MODULE, prompt(folder), folder) == {}
    with HookServer(home, folder) as server:
        until(lambda: peer_of(home) == server.process.pid, "the new one answers")
        assert server.hang_up() == 0
    assert left(home) == [HOOK_LOCK]


def test_a_home_whose_name_is_too_long_for_a_socket_is_served_all_the_same(
    tmp_path: Path, folder: Path
) -> None:
    home = tmp_path / ("long" * 30)
    remember(home, folder)
    with HookServer(home, folder) as server:
        listening(home)
        assert "cart total" in hooked(MODULE, prompt(folder), folder, RETAIN_HOME=str(home))
        server.hang_up()
    assert left(home) == [HOOK_LOCK]


# Nothing stays behind


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_server_and_removes_its_socket(
    server: HookServer, home: Path, number: signal.Signals
) -> None:
    server.process.send_signal(number)
    assert server.process.wait(20) == 0
    assert left(home) == [HOOK_LOCK]


CLIENT = """
import json, subprocess, sys, time
greeting = json.loads(sys.argv[1])
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
server = subprocess.Popen([sys.executable, "-P", "-m", "retain", "serve"], **pipes)
server.stdin.write(json.dumps(greeting).encode() + b"\\n")
server.stdin.flush()
server.stdout.readline()
print(server.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("keeps_stdin_open", [False, True])
def test_no_process_is_left_when_the_client_is_killed(
    home: Path, folder: Path, keeps_stdin_open: bool
) -> None:
    """Also where another process still holds the other end of the server's stdin, as a launcher may."""
    remember(home, folder)
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    }
    greeting = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
    client = subprocess.Popen([sys.executable, "-c", CLIENT, greeting], stdout=subprocess.PIPE)
    assert client.stdout is not None
    try:
        pid = int(client.stdout.readline())
        listening(home)
        assert running(home) == {client.pid, pid}
        held = -1
        if keeps_stdin_open:
            held = os.open(f"/proc/{client.pid}/fd/{_stdin_of(client.pid, pid)}", os.O_WRONLY)
        client.kill()
        client.wait()
        until(lambda: not running(home), "every process has ended")
        if held >= 0:
            os.close(held)
    finally:
        client.stdout.close()
        client.kill()
        client.wait()
    assert left(home) == [HOOK_LOCK]


def _stdin_of(client: int, server: int) -> str:
    """The descriptor of the client that is the other end of the server's stdin."""
    folder = Path(f"/proc/{client}/fd")
    ends = {entry.name: str(entry.readlink()) for entry in folder.iterdir()}
    pipes = {str(entry.readlink()) for entry in Path(f"/proc/{server}/fd").iterdir()}
    return next(
        name for name, target in ends.items() if target in pipes and int(name) > 2 and _writes(client, name)
    )


def _writes(pid: int, descriptor: str) -> bool:
    flags = Path(f"/proc/{pid}/fdinfo/{descriptor}").read_text().split("flags:")[1].split()[0]
    return int(flags, 8) & os.O_ACCMODE == os.O_WRONLY


def test_a_purge_takes_the_folder_of_the_socket_with_it(home: Path, folder: Path) -> None:
    remember(home, folder)
    with HookServer(home, folder) as server:
        listening(home)
        server.kill()
    purge = [LAUNCHER[0], "uninstall", "--purge", "--yes-really", "1"]
    subprocess.run(purge, cwd=folder, check=True, capture_output=True, timeout=60)
    assert not home.exists()


# Without a server


def test_without_a_server_a_start_is_answered_by_a_process_of_its_own_and_a_prompt_is_not(
    home: Path, folder: Path
) -> None:
    kept = remember(home, folder)
    for command in (LAUNCHER, MODULE, [*LAUNCHER, "--answer"]):
        assert kept in context_of(run_hook(command, start(folder), folder), "SessionStart")
    assert run_hook(LAUNCHER, prompt(folder), folder) == {}
    found = doors(home, folder)["SessionStart"]
    assert (found["injections"], found["abstained"]) == (3, 0)
    assert not running(home)


def test_without_a_server_nothing_is_told_in_a_project_that_is_off(home: Path, folder: Path) -> None:
    remember(home, folder)
    for word, told in (("off", False), ("on", True)):
        subprocess.run([LAUNCHER[0], word], cwd=folder, check=True, capture_output=True, timeout=60)
        for command in (MODULE, [*LAUNCHER, "--answer"]):
            assert bool(context_of(run_hook(command, start(folder), folder), "SessionStart")) is told


def test_a_start_that_was_answered_without_a_server_is_known_to_the_server_that_comes(
    home: Path, folder: Path
) -> None:
    remember(home, folder)
    run_hook(LAUNCHER, start(folder), folder)
    with HookServer(home, folder):
        assert asked(home, prompt(folder)) == {}
        assert "cart total" in context_of(asked(home, prompt(folder, "another")), "UserPromptSubmit")


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b"[]", b"nothing", b'{"hook_event_name":"SessionStart"}', b"\xff"]
)
def test_the_answer_of_a_process_of_its_own_is_an_object_whatever_it_is_asked(
    home: Path, folder: Path, payload: bytes
) -> None:
    remember(home, folder)
    ended = subprocess.run(
        [*LAUNCHER, "--answer"], input=payload, cwd=folder, capture_output=True, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (0, b"{}\n")


def test_without_a_store_nothing_is_made_for_an_answer(home: Path, folder: Path) -> None:
    event = json.dumps(start(folder)).encode()
    ended = subprocess.run([*LAUNCHER, "--answer"], input=event, cwd=folder, capture_output=True, timeout=60)
    assert (ended.returncode, ended.stdout, home.exists()) == (0, b"{}\n", False)


def test_a_store_that_cannot_be_read_is_no_reason_to_fail(home: Path, folder: Path) -> None:
    remember(home, folder)
    shutil.rmtree(home)
    home.mkdir()
    (home / "retain.db").write_bytes(b"this is no database" * 100)
    event = json.dumps(start(folder)).encode()
    ended = subprocess.run([*LAUNCHER, "--answer"], input=event, cwd=folder, capture_output=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, b"{}\n")
    assert b"hook.unanswered code=" in ended.stderr
