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

from loopback_model import Content, LoopbackModel, say, use

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

    def go(*command: str, **also: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=project, env={**environment, **also}, capture_output=True, text=True, timeout=LIMIT_S,
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


def turn(run: Run, prompt: str, *turns: Content, goes_on: bool = False) -> LoopbackModel:
    """A session of the client, or the last one resumed, with a model that does what ``turns`` say."""
    with LoopbackModel([*turns, say("Done: decimal commas are read.")]) as model:
        done = run(
            CLIENT, *(["-c"] if goes_on else []), "-p", prompt,
            "--allowedTools", "Bash,Edit,Read,mcp__plugin_retain_retain__recall",
            ANTHROPIC_BASE_URL=model.url, ANTHROPIC_API_KEY="none",
            CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
        )  # fmt: skip
    assert done.returncode == 0, said(done)
    return model


def broken(project: Path) -> Path:
    """A script that fails, in a commit."""
    script = project / "check.py"
    script.write_text('print(float("0,5"))\n')
    commit(project, "A check of decimal commas")
    return script


def commit(project: Path, message: str) -> None:
    git(project, "add", ".")
    git(project, "commit", "-qm", message)


def git(project: Path, *arguments: str) -> None:
    """Runs git at the time that it is: what a session did comes before the commit that holds it."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_DATE")}
    subprocess.run(["git", "-C", str(project), *arguments], env=environment, check=True, capture_output=True)


def mending(script: Path) -> tuple[Content, ...]:
    """A failing run, a look, an edit, a run that passes."""
    changed = {"old_string": "float(", "new_string": "str("}
    return (
        use("Bash", command="python3 check.py", description="run it"),
        use("Read", file_path=str(script)),
        use("Edit", file_path=str(script), **changed),
        use("Bash", command="python3 check.py", description="run it"),
    )


def kinds(run: Run) -> dict[str, int]:
    assert run("retain", "drain").returncode == 0
    counted: dict[str, int] = json.loads(run("retain", "stats", "--json").stdout)["kinds"]
    return counted


def test_a_whole_session_is_captured_and_the_next_one_knows_its_fix(run: Run, project: Path) -> None:
    install_plugin(run)
    script = broken(project)
    first = turn(run, "The check of decimal commas fails, mend it", *mending(script))
    assert "[memories " not in first.conversation  # nothing is known yet, nothing is told
    assert kinds(run) == {"command": 1, "error": 1, "file_change": 1, "fix": 1, "prompt": 1, "summary": 1}
    commit(project, "Decimal commas are read")
    second = turn(run, "What was wrong with decimal commas?", use("Bash", command="true", description="wait"))
    assert "Fixed: ValueError: could not convert string to float" in second.conversation


def test_what_a_revert_took_back_is_told_as_taken_back(run: Run, project: Path) -> None:
    install_plugin(run)
    turn(run, "The check of decimal commas fails, mend it", *mending(broken(project)))
    commit(project, "Decimal commas are read")
    git(project, "revert", "--no-edit", "HEAD")
    second = turn(run, "What was wrong with decimal commas?")
    told = [line for line in second.conversation.split("\\n") if "ValueError" in line]
    assert told, second.conversation
    assert all("reverted by" in line for line in told), told


def test_after_a_compaction_the_session_is_told_what_it_did(run: Run, user: Path, project: Path) -> None:
    install_plugin(run)
    turn(run, "The check of decimal commas fails, mend it", *mending(broken(project)))
    turn(run, "/compact", goes_on=True)
    # One of the turn, one of the compaction: the helper of the client that wrote the latter is not heard.
    assert kinds(run)["summary"] == 2
    transcript = b"".join(path.read_bytes() for path in (user / ".claude" / "projects").glob("*/*.jsonl"))
    added = [line for line in transcript.splitlines() if b'"hook_additional_context"' in line]
    assert any(b"What this session did before it was compacted" in line for line in added), added


def test_the_model_recalls_through_the_server_what_a_user_remembered(run: Run, project: Path) -> None:
    broken(project)
    install_plugin(run)
    assert run("retain", "remember", FACT, "--kind", "decision").returncode == 0
    recalled = use("mcp__plugin_retain_retain__recall", query="why is money a decimal")
    model = turn(run, "Look around", use("Bash", command="sleep 3", description="wait"), recalled)
    result = json.dumps(model.requests[-1]["messages"][-1])
    assert FACT[:40] in result, result


def test_nothing_of_ours_runs_after_the_session(run: Run, project: Path, home: Path) -> None:
    broken(project)
    install_plugin(run)
    turn(run, "Look around", use("Bash", command="sleep 3", description="wait"))
    assert not [place for place in Path("/proc").glob("[0-9]*") if str(home).encode() in _environment(place)]


def _environment(process: Path) -> bytes:
    """The environment of a process; empty where it has ended or is not ours."""
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""
