"""``retain demo`` by the real command, in a repository and on a transcript that it has never seen."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

README = Path(__file__).resolve().parents[2] / "README.md"
RETAIN = Path(sys.executable).with_name("retain")
SECRET = "ghp_" + "Zt9Kq2Lm8Xw4Rv6Bn3Jd5Hf7Ps1Gc0YaUe"  # made up, in the shape of a GitHub token


@pytest.fixture
def repo(git_repo: Callable[..., Any]) -> Path:
    """A scripted repository with two commits and a file."""
    made = git_repo("shop")
    (made.path / "cart.py").write_text("TOTAL = 0.0\n")
    made("add", ".")
    made.commit("Add the cart")
    made.commit("Second")
    return made.path


def demo(repo: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RETAIN, "demo", *arguments], cwd=repo, capture_output=True, text=True, timeout=60, check=False
    )


def prompts_of(out: str) -> list[str]:
    """What is said below each prompt."""
    return re.split(r"(?m)^> ", out.split("The next session asks")[1].split("\nAnd now", maxsplit=1)[0])[1:]


def test_the_demo_captures_a_session_and_tells_the_next_one(repo: Path, home: Path) -> None:
    done = demo(repo)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"repository {repo} (on main at " in done.stdout
    assert re.search(
        r"redacted before anything was stored: 1 authorization_header, .*1 url_password", done.stdout
    )
    assert "[redacted:url_password]" in done.stdout
    prompts = prompts_of(done.stdout)
    assert len(prompts) == 3
    assert ["nothing is injected" in prompt for prompt in prompts] == [False, False, True]
    assert "decimal.Decimal" in prompts[0]
    assert "Fixed:" in prompts[1]
    for prompt in prompts:
        assert re.search(
            r"injected: \d+ tokens in [\d.]+ (?:µs|ms|s)(, with nothing read yet)? · withheld: ", prompt
        )
        assert re.search(
            r"why: plan lexical_first \(estimated [\d.]+ (?:µs|ms), took [\d.]+ (?:µs|ms|s)\)", prompt
        )
    assert "verified: ok" in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].endswith("retain install")
    assert "\x1b" not in done.stdout
    shown = README.read_text(encoding="utf-8").partition("```text\n")[2].partition("```")[0]
    assert "nothing is injected" in shown
    assert [line for line in shown.splitlines() if line.removesuffix(" …") not in done.stdout] == []
    assert not home.exists()  # the user's own data directory is not touched


def line(kind: str, content: Any, folder: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": kind, "cwd": folder, "sessionId": "11111111-2222-4333-8444-555555555555", "gitBranch": "main",
        "uuid": f"u{abs(hash(str(content)))}", "timestamp": "2026-11-18T09:12:27.049Z",
        "message": {"role": kind, "content": content}, **fields,
    }  # fmt: skip


def test_a_transcript_of_another_place_is_replayed_in_this_repository(repo: Path, tmp_path: Path) -> None:
    old = "/home/dev/elsewhere"
    call = {
        "type": "tool_use",
        "id": "t1",
        "name": "Bash",
        "input": {"command": f"python manage.py --token={SECRET} orders"},
    }
    result = {
        "type": "tool_result",
        "tool_use_id": "t1",
        "content": "FATAL: relation orders does not exist",
        "is_error": True,
    }
    said = "We decided to keep invoices in a bucket because the database grows too quickly for its disk."
    lines = [
        line("user", "Where should we keep invoices, and why is manage.py failing?", old),
        line("assistant", [call], old),
        line("user", [result], old, toolUseResult="Error: FATAL: relation orders does not exist"),
        line("assistant", [{"type": "text", "text": said}], old),
    ]
    transcript = tmp_path / "session.jsonl"
    transcript.write_text("".join(json.dumps(one) + "\n" for one in lines) + "not json\n")
    done = demo(repo, "--transcript", str(transcript))
    assert (done.returncode, done.stderr) == (0, "")
    assert SECRET not in done.stdout
    assert "[redacted:" in done.stdout
    assert old not in done.stdout
    assert str(repo) in done.stdout
    prompts = prompts_of(done.stdout)
    assert len(prompts) == 3
    assert [prompt for prompt in prompts if "nothing is injected" in prompt] == prompts[-1:]
    assert "invoices in a bucket" in prompts[0]


def test_the_demo_runs_outside_of_a_repository_too(tmp_path: Path) -> None:
    place = tmp_path / "plain"
    place.mkdir()
    done = demo(tmp_path, "--repo", str(place))
    assert done.returncode == 0
    assert "no commit yet" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--repo", "/no/such/place"), "repo: /no/such/place is not a directory"),
        (("--transcript", "/no/such/file.jsonl"), "transcript: /no/such/file.jsonl is not a file"),
        (("--transcript", "."), "is not a file"),
        (("--colour",), "unrecognized: --colour"),
    ],
)
def test_a_missing_path_is_named(repo: Path, arguments: tuple[str, ...], says: str) -> None:
    done = demo(repo, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_transcript_without_events_is_an_error(repo: Path, tmp_path: Path) -> None:
    for name, content in (("empty", b""), ("noise", b"\0\xff not a transcript\n[1, 2]\n{}\n")):
        (tmp_path / name).write_bytes(content)
        done = demo(repo, "--transcript", str(tmp_path / name))
        assert done.returncode == 2
        assert "holds no event that a hook would see" in done.stderr
