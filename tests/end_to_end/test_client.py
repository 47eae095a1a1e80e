"""The real client takes the plugin: no login, no network, no model, and a HOME of its own.

Runs only where RETAIN_TEST_CLAUDE names a client binary; it is never looked for.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLIENT = os.environ.get("RETAIN_TEST_CLAUDE", "")  # read before the fixtures hide what begins with RETAIN_
LIMIT_S = 120
FACT = "Money is decimal.Decimal in this repository, because float sums depend on their order."

pytestmark = [
    pytest.mark.client,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not CLIENT, reason="RETAIN_TEST_CLAUDE names no client"),
]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def user(tmp_path: Path) -> Path:
    folder = tmp_path / "user"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


@pytest.fixture
def run(user: Path, project: Path, home: Path) -> Run:
    """Runs a command in the project as a user who has nothing but the client and retain."""
    environment = {
        "HOME": str(user),
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "RETAIN_HOME": str(home),
        "LANG": "C.UTF-8",
        "DISABLE_AUTOUPDATER": "1",
    }

    def go(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=project, env=environment, capture_output=True, text=True, timeout=LIMIT_S,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip

    return go


def said(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout + done.stderr


def install_plugin(run: Run) -> None:
    for command in (("marketplace", "add", str(ROOT)), ("install", "retain@retain")):
        done = run(CLIENT, "plugin", *command)
        assert done.returncode == 0, said(done)


def debug_logs(user: Path) -> str:
    logs = (user / ".claude" / "debug").glob("*") if (user / ".claude" / "debug").is_dir() else ()
    return "".join(path.read_text(encoding="utf-8", errors="replace") for path in logs if path.is_file())


@pytest.mark.parametrize("place", ["plugin", "."])
def test_plugin_and_marketplace_pass_strict_validation(run: Run, place: str) -> None:
    done = run(CLIENT, "plugin", "validate", str(ROOT / place), "--strict")
    assert done.returncode == 0, said(done)


def test_the_server_of_the_plugin_connects(run: Run) -> None:
    install_plugin(run)
    listed = said(run(CLIENT, "mcp", "list"))
    assert re.search(r"retain.*Connected", listed), listed


def test_hooks_of_the_plugin_capture_a_session_and_add_what_memory_knows(run: Run, user: Path) -> None:
    install_plugin(run)
    assert run("retain", "remember", FACT, "--kind", "decision").returncode == 0
    done = run(CLIENT, "--init-only", "--debug")
    assert done.returncode == 0, said(done)
    assert FACT[:40] in said(done) + debug_logs(user)
    assert run("retain", "drain").returncode == 0
    counted = json.loads(run("retain", "stats", "--json").stdout)
    assert counted["sessions"] >= 1, counted
    assert sum(counted["events"].values()) >= 2, counted


def test_an_installation_connects_and_leaves_the_files_as_they_were(run: Run, user: Path) -> None:
    settings, state = user / ".claude" / "settings.json", user / ".claude.json"
    settings.parent.mkdir()
    settings.write_bytes(b'{ "model":"opus" }')
    assert run("retain", "install").returncode == 0
    listed = said(run(CLIENT, "mcp", "list"))
    assert re.search(r"retain.*Connected", listed), listed
    assert run("retain", "uninstall").returncode == 0
    assert settings.read_bytes() == b'{ "model":"opus" }'
    assert not state.exists() or b"retain" not in state.read_bytes().replace(bytes(user), b"")
