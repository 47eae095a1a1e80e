"""What a hook reads before it spools: the file ``controls``, as docs/controls.md describes it.

Every hook client must answer these the same; the cases are a table so that another client can be held to it.
"""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from retain.capture import controls, spool
from retain.memory.controls import write_compiled

NATIVE = Path(sys.executable).with_name("retain-hook")
SESSION = "4f1c2b9e-0d7a-4c6e-9a57-2f5d8f1b0c11"
FILE = f"retain-controls 1\noff /p/secret\non /p/secret/open\noff /tmp/ünï\nprivate {SESSION}\n".encode()


def event(session: str = "s", cwd: str | None = "/p/free", **more: object) -> bytes:
    given = {"session_id": session, "hook_event_name": "Stop", **({"cwd": cwd} if cwd else {}), **more}
    return json.dumps(given, ensure_ascii=False, separators=(",", ":")).encode()


CASES = {
    "another project": (event(), "/p/free", False),
    "the project": (event(cwd="/p/secret"), "/p/free", True),
    "below it": (event(cwd="/p/secret/a/b"), "/p/free", True),
    "a name that only begins like it": (event(cwd="/p/secrets"), "/p/free", False),
    "switched on inside": (event(cwd="/p/secret/open/x"), "/p/secret", False),
    "letters of other scripts": (event(cwd="/tmp/ünï/x"), "/", True),
    "no cwd in the payload": (event(cwd=None), "/p/secret/x", True),
    "the payload wins over the process": (event(cwd="/p/free"), "/p/secret", False),
    "an escaped cwd is in doubt": (b'{"cwd":"\\/p\\/secret"}', "/p/secret", False),
    "a private session": (event(SESSION), "/", True),
    "with blanks": (f'{{ "session_id" :\n "{SESSION}" }}'.encode(), "/", True),
    "its end": (event(SESSION, prompt="#public go on"), "/", False),
    "another session": (event("x" + SESSION), "/", False),
    "an id in a text": (event("s", prompt=f'"session_id":"{SESSION}"'), "/", False),
    "only the first counts": (event("s", tool_input={"session_id": SESSION}), "/", False),
    "no JSON": (b"\xff\x00", "/p/free", False),
    "no JSON below": (b"{", "/p/secret", True),
}


@pytest.mark.parametrize("name", CASES)
def test_an_event_is_held_back_or_spooled(name: str, tmp_path: Path) -> None:
    payload, cwd, held = CASES[name]
    (tmp_path / "controls").write_bytes(FILE)
    assert controls.holds_back(str(tmp_path), payload, cwd) is held


@pytest.mark.parametrize("name", CASES)
@pytest.mark.skipif(not NATIVE.exists(), reason="this installation has no native hook client")
def test_the_native_client_asks_the_same_table(name: str, home: Path, tmp_path: Path) -> None:
    payload, cwd, held = CASES[name]
    here = tmp_path / "here"
    here.mkdir()
    home.mkdir()
    # The process cannot stand in the folders of the table: its own stands in the file in their place.
    said = {"/p/secret": b"off", "/p/secret/x": b"off", "/p/free": b"on", "/": b"on"}[cwd]
    (home / "controls").write_bytes(FILE + said + b" " + bytes(here) + b"\n")
    answer = subprocess.run([NATIVE], input=payload, cwd=here, capture_output=True, timeout=60)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, b"{}\n", b"")
    assert (home / "spool" / spool.LIVE).exists() is not held


@pytest.mark.parametrize("kind", ["directory", "link", "too long"])
@pytest.mark.skipif(not NATIVE.exists(), reason="this installation has no native hook client")
def test_a_file_that_cannot_be_read_holds_nothing_back_in_the_native_client(
    kind: str, home: Path, tmp_path: Path
) -> None:
    home.mkdir()
    path = home / "controls"
    data = b"retain-controls 1\noff /\n"
    if kind == "directory":
        path.mkdir()
    elif kind == "link":
        (tmp_path / "elsewhere").write_bytes(data)
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_bytes(data + b"x" * controls.FILE_BYTES_MAX)
    answer = subprocess.run([NATIVE], input=event(), capture_output=True, timeout=60)
    assert (answer.returncode, answer.stdout) == (0, b"{}\n")
    assert (home / "spool" / spool.LIVE).exists()


@pytest.mark.parametrize(
    "data", [b"", b"retain-controls 2\noff /\n", b"off /\n", FILE + b"x" * controls.FILE_BYTES_MAX], ids=len
)
def test_a_file_of_another_kind_holds_nothing_back(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "controls").write_bytes(data)
    assert not controls.holds_back(str(tmp_path), event(SESSION, "/p/secret"), "/")


def test_the_file_says_what_it_was_compiled_from(tmp_path: Path) -> None:
    made = controls.compiled(
        {"/p/secret": False, "/p/secret/open": True, "/tmp/ünï": False}, [SESSION, "a b", ""]
    )
    assert made == FILE
    write_compiled(tmp_path, made)
    assert stat.S_IMODE((tmp_path / "controls").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["controls"]
    write_compiled(tmp_path, controls.compiled({"/p": True}, []))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("cwd", "kept"), [("/p/secret", False), ("/p/free", True)])
def test_the_hook_process_asks_before_it_spools(cwd: str, kept: bool, home: Path) -> None:
    home.mkdir()
    (home / "controls").write_bytes(FILE)
    answer = subprocess.run(
        [sys.executable, "-m", "retain.interfaces.hook"],
        input=event(cwd=cwd),
        capture_output=True,
        timeout=60,
    )
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, b"{}\n", b"")
    assert (home / "spool" / spool.LIVE).exists() is kept


def test_a_file_that_cannot_be_read_holds_nothing_back_in_the_process(home: Path) -> None:
    (home / "controls").mkdir(parents=True)
    answer = subprocess.run(
        [sys.executable, "-m", "retain.interfaces.hook"], input=event(), capture_output=True, timeout=60
    )
    assert (answer.returncode, answer.stdout) == (0, b"{}\n")
    assert (home / "spool" / spool.LIVE).exists()
