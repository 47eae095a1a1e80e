"""``retain import`` as a user runs it: killed in the middle, tried out, told and taken back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import pytest

RETAIN = Path(sys.executable).with_name("retain")
FIXTURES = Path(__file__).parents[1] / "fixtures" / "moving"
SECRET = "ghp_" + "Zt9Kq2Lm8Xw4Rv6Bn3Jd5Hf7Ps1Gc0YaUe"  # made up, in the shape of a GitHub token
TURNS = 60
FILES = 12


def run(*arguments: str, home: Path, code: int = 0) -> str:
    done = subprocess.run([RETAIN, *arguments, "--home", home], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def answer(*arguments: str, home: Path, code: int = 0) -> Any:
    return json.loads(run(*arguments, "--json", home=home, code=code))


@pytest.fixture
def projects(tmp_path: Path) -> Path:
    """Sessions enough that an import takes some time, each with failures, fixes and a secret."""
    place = tmp_path / "projects" / "-work"
    place.mkdir(parents=True)
    for number in range(FILES):
        lines: list[dict[str, Any]] = []
        for turn in range(TURNS):
            name = f"{number:02}-{turn:03}"
            call = {
                "type": "tool_use",
                "id": f"t{name}",
                "name": "Bash",
                "input": {"command": f"pytest test_{turn % 7}.py"},
            }
            failed = turn % 3 == 0
            said = f"Exit code 1\nE   ValueError: {name}" if failed else f"{name} passed with {SECRET}"
            result = {"type": "tool_result", "tool_use_id": f"t{name}", "content": said, "is_error": failed}
            for kind, content in (
                ("user", f"Please mend part {name} of the cart"),
                ("assistant", [call]),
                ("user", [result]),
                ("assistant", [{"type": "text", "text": f"Part {name} of the cart is mended and tested."}]),
            ):
                at = len(lines)
                lines.append(
                    {
                        "type": kind, "uuid": f"u{number}-{at}", "parentUuid": lines[-1]["uuid"] if lines else None,
                        "sessionId": f"s{number}", "cwd": str(tmp_path), "timestamp":
                        f"2026-10-{number + 1:02}T{at // 3600:02}:{at // 60 % 60:02}:{at % 60:02}.000Z",
                        "message": {"role": kind, "content": content},
                    }
                )  # fmt: skip
        path = place / f"s{number}.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)) + "\n")
        os.utime(path, (1_790_000_000 + number, 1_790_000_000 + number))
    return place.parent


def state(home: Path) -> list[Any]:
    db = apsw.Connection(str(home / "retain.db"), flags=apsw.SQLITE_OPEN_READONLY)
    memories = list(
        db.execute(
            "SELECT kind, title, session, occurred_us, seen, status, source_id FROM memory ORDER BY 7, 2"
        )
    )
    receipts = list(db.execute("SELECT id, name, outcome, memories FROM event_receipt ORDER BY 1"))
    links = list(db.execute(
        "SELECT a.source_id, b.source_id, l.kind FROM memory_link l JOIN memory a ON a.key = l.source "
        "JOIN memory b ON b.key = l.target ORDER BY 1, 2"
    ))  # fmt: skip
    db.close()
    return [memories, receipts, links]


def test_an_import_that_is_killed_again_and_again_ends_as_one_that_was_not(
    projects: Path, tmp_path: Path
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    report = answer("import", "transcripts", str(projects), home=whole)
    assert (report["lost"], report["files"]) == (0, FILES)
    kills = 0
    for files_before in (1, 4, 8):
        with subprocess.Popen(
            [RETAIN, "import", "transcripts", projects, "--home", cut], stdout=subprocess.DEVNULL
        ) as importing:
            while importing.poll() is None and told_files(cut) < files_before:
                pass
            importing.send_signal(signal.SIGKILL)
        kills += importing.returncode == -signal.SIGKILL
    assert kills >= 1
    again = answer("import", "transcripts", str(projects), home=cut)
    assert again["lost"] == 0
    assert state(cut) == state(whole)
    assert answer("verify", home=cut)["ok"]
    assert len(answer("import", "list", home=cut)) == 1
    assert not any(SECRET.encode() in path.read_bytes() for path in cut.rglob("*") if path.is_file())


def told_files(home: Path) -> int:
    """How many transcripts another process has told to their end."""
    if not (home / "retain.db").exists():
        return 0
    db = apsw.Connection(str(home / "retain.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return int(db.execute("SELECT count(*) FROM import_file").get)
    except apsw.Error:
        return 0
    finally:
        db.close()


def test_a_dry_run_tells_the_same_and_stores_nothing(projects: Path, home: Path) -> None:
    tried = answer("import", "transcripts", str(projects), "--dry-run", home=home)
    assert answer("stats", home=home)["memories"] == {}
    assert answer("import", "list", home=home) == []
    done = answer("import", "transcripts", str(projects), home=home)
    assert (tried.pop("dry_run"), done.pop("dry_run")) == (True, False)
    assert {**tried, "import": ""} == {**done, "import": ""}


def test_a_person_reads_the_account_and_takes_the_import_back(tmp_path: Path, home: Path) -> None:
    path = tmp_path / "claude-mem.db"
    db = apsw.Connection(str(path))
    db.execute((FIXTURES / "claude-mem.sql").read_text())
    db.close()
    told = run("import", "claude-mem", str(path), home=home)
    assert "5 in · 5 stored · 0 merged · 0 skipped · 0 lost" in told
    assert "1 redacted" in told
    name = told.rpartition("undo ")[2].strip()
    assert "Prices are kept as decimal.Decimal" in run("recall", "decimal prices", home=home)
    assert run("import", "undo", name, home=home) == "5 forgotten\n"
    assert "Prices are kept" not in run("recall", "decimal prices", home=home)
    assert "undone   claude-mem" in run("import", "list", home=home)


def test_the_places_of_the_client_are_known(
    projects: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(projects.parent))
    (projects.parent / "history.jsonl").write_text(
        '{"display": "Fix the cart", "timestamp": 1790000000000, "project": "/w"}\n'
    )
    assert answer("import", "transcripts", "--dry-run", home=home)["files"] == FILES
    assert answer("import", "history", home=home)["stored"] == 1
    assert answer("import", "auto-memory", home=home)["in"] == 0


def test_wrong_usage_is_told_as_such(home: Path, tmp_path: Path) -> None:
    for arguments, field in (
        (["import", "diary"], "source"),
        (["import", "mem0"], "file"),
        (["import", "undo"], "id"),
        (["import", "jsonl", "-", "--dry-run"], "dry-run"),
        (["import", "transcripts", str(tmp_path / "absent")], "file"),
    ):
        assert answer(*arguments, home=home, code=2)["error"]["field"] == field
    answer("remember", "something", home=home)
    told = answer("import", "claude-mem", str(home / "retain.db"), home=home, code=2)
    assert told["error"]["message"] == "file: is the store itself"
