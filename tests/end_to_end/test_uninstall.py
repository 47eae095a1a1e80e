"""A whole life of an installation: afterwards the files are as before, and no process and no file is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from retain.interfaces.client_entries import HOOK_EVENTS

SETTINGS = b'\xef\xbb\xbf{ "model":"opus",\r\n\t"hooks":{"Stop":[ ]}, "n": 1e3,\r\n "last": [1,2,\r\n3] }'
PROCESSES = Path("/proc")


def processes_of(home: Path) -> list[str]:
    """The processes whose environment names a data directory."""
    wanted = f"RETAIN_HOME={home}".encode()
    found = []
    for path in PROCESSES.glob("[0-9]*"):
        try:
            environment = (path / "environ").read_bytes().split(b"\0")
            command = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if wanted in environment and path.name != str(os.getpid()):
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


def outside(folder: Path, home: Path) -> dict[str, bytes | None]:
    return {
        str(path): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if home != path and home not in path.parents
    }


def retain(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "retain", *arguments],
        capture_output=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.skipif(not PROCESSES.is_dir(), reason="no /proc to count processes in")
def test_nothing_is_left_but_the_memories(tmp_path: Path, home: Path) -> None:
    user = tmp_path / "user"
    settings = user / ".claude" / "settings.json"
    settings.parent.mkdir(parents=True)
    settings.write_bytes(SETTINGS)
    before = outside(user, home)
    retain("install")
    retain("install", "--client", "codex")
    hooks = json.loads(settings.read_bytes().removeprefix(b"\xef\xbb\xbf"))["hooks"]
    for event in HOOK_EVENTS:
        entry = hooks[event][-1]["hooks"][0]
        payload = {
            "hook_event_name": event,
            "session_id": "s",
            "cwd": str(tmp_path),
            "prompt": "Mend the parser",
        }
        done = subprocess.run(
            [entry["command"], *entry["args"]],
            input=json.dumps(payload).encode(),
            capture_output=True,
            check=True,
        )
        assert done.stderr == b""
    server = json.loads((user / ".claude.json").read_bytes())["mcpServers"]["retain"]
    asked = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}  # fmt: skip
    with subprocess.Popen(
        [server["command"], *server["args"]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(json.dumps(asked).encode() + b"\n")
        running.stdin.flush()
        assert json.loads(running.stdout.readline())["result"]["serverInfo"]["name"] == "retain"
        assert processes_of(home) != []
        running.communicate()
    retain("doctor", "--no-spawn", "--json")
    retain("uninstall")
    assert outside(user, home) == before
    assert processes_of(home) == []
    assert {path.name for path in tmp_path.iterdir()} == {"user", home.name}
    assert (home / "retain.db").is_file()
    count = json.loads(retain("stats", "--json").stdout)["memories"]
    retain("uninstall", "--purge", "--yes-really", str(sum(count.values())))
    assert not home.exists()


def test_an_installation_with_a_data_directory_of_its_own_is_taken_out_to_the_byte(tmp_path: Path) -> None:
    settings = tmp_path / "user" / ".claude" / "settings.json"
    settings.parent.mkdir(parents=True)
    settings.write_bytes(SETTINGS)
    retain("install", "--home", str(tmp_path / "elsewhere"))
    assert settings.read_bytes() != SETTINGS
    retain("uninstall")
    assert settings.read_bytes() == SETTINGS
