"""The commands that say what is kept, as a person and as a program uses them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def controls(home: Path) -> str:
    path = home / "controls"
    return path.read_text() if path.exists() else ""


def test_a_project_is_switched_off_and_on_again(ask: Callable[..., Any], home: Path, folder: Path) -> None:
    assert ask("off", "--here") == {"folder": str(folder), "capture": False}
    assert controls(home) == f"retain-controls 1\noff {folder}\n"
    shown = ask("config")["projects"]
    assert shown["value"] == {str(folder): False}
    assert shown["source"] == str(home / "config.toml")
    assert ask("off")["capture"] is False
    assert ask("on") == {"folder": str(folder), "capture": True}
    assert controls(home) == ""
    assert ask("config")["projects"]["value"] == {}


def test_a_folder_inside_one_that_is_off_is_switched_on(
    ask: Callable[..., Any], home: Path, folder: Path
) -> None:
    (folder / "open").mkdir()
    ask("off", str(folder))
    assert ask("on", "open")["capture"] is True
    assert controls(home) == f"retain-controls 1\noff {folder}\non {folder}/open\n"


def test_on_says_where_the_project_itself_forbids_it(run: Run, folder: Path) -> None:
    (folder / ".retain.toml").write_text("capture = false\n")
    code, said, _ = run("on")
    assert (code, "Capture stays off" in said, ".retain.toml" in said) == (1, True, True)
    assert "can only take away" in run("config")[1]


def test_off_takes_a_path_or_here(run: Run) -> None:
    assert run("off", "/tmp", "--here")[0] == 2
    assert run("off", "")[0] == 2


def test_a_session_is_made_private_shown_and_public_again(
    ask: Callable[..., Any], run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("private", "on")[0] == 2
    assert ask("private") == {"private": []}
    assert ask("private", "on", "--session", "s-1") == {"session": "s-1", "private": True, "changed": True}
    assert controls(home) == "retain-controls 1\nprivate s-1\n"
    assert [one["session"] for one in ask("private")["private"]] == ["s-1"]
    monkeypatch.setenv("CLAUDE_CODE_SESSION_ID", "s-1")
    code, _, said = run("remember", "a secret wish")
    assert (code, "this session is private" in said) == (1, True)
    assert ask("private", "off")["changed"] is True
    assert run("remember", "no secret")[0] == 0
    assert controls(home) == ""


def test_settings_are_set_and_unset_with_their_source(ask: Callable[..., Any], run: Run, home: Path) -> None:
    answer = ask("config", "set", "retention.prompt", "90")
    assert (answer["value"], answer["source"]) == ({"prompt": 90}, str(home / "config.toml"))
    assert ask("config", "set", "paths_deny", "@secrets,*.sqlite")["value"][-1] == "*.sqlite"
    assert ask("config", "set", "readers", "6")["changed"] is True
    assert ask("config", "set", "readers", "6")["changed"] is False
    assert ask("config", "unset", "readers")["source"] == "default"
    assert ask("config", "unset", "retention")["value"] == {}
    assert run("config")[0] == 0


def test_the_environment_still_wins_and_set_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETAIN_RETENTION", "prompt=7, error=30")
    assert (
        "retention = error=30, prompt=7 (environment), but"
        in run("config", "set", "retention.prompt", "9")[1]
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("set", "raeders", "5"), "raeders: unknown setting"), (("set", "readers", "x"), "readers: must be an integer"),
        (("set", "readers", "99"), "readers: 99 is outside 1..64"), (("set", "readers"), "value: is missing"),
        (("set",), "key: is missing"), (("unset", "readers", "5"), "value: is not for unset"),
        (("set", "retention.prmpt", "5"), "retention.prmpt: unknown kind"),
        (("set", "retention", "5"), "retention: must be KIND=DAYS"), (("set", "readers.x", "5"), "has no entries"),
        (("set", "retention.prompt", "0"), "retention.prompt: 0 is outside 1..36500"),
        (("set", "projects", "x"), "use `retain off`"),
        (("set", "paths_deny", "[5]"), "paths_deny[0]: must be a string"),
        (("set", "tools_deny", "Bash("), "tools_deny[0]: 'Bash(' is no pattern of a tool"),
    ],
)  # fmt: skip
def test_a_bad_value_is_named_and_nothing_is_written(
    run: Run, home: Path, arguments: tuple[str, ...], named: str
) -> None:
    code, _, said = run("config", *arguments)
    assert code == 2
    assert named in said
    assert not (home / "config.toml").exists()


def test_a_bad_value_in_the_file_can_be_taken_out(run: Run, home: Path) -> None:
    home.mkdir()
    (home / "config.toml").write_text("readers = 99\nvectors = 0\n")
    assert run("config")[0] == 2
    assert run("config", "unset", "readers")[0] == 0
    assert (home / "config.toml").read_text() == "vectors = 0\n"


def test_a_dry_run_goes_by_the_same_rules(ask: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    line = {
        "type": "user", "uuid": "u", "parentUuid": None, "sessionId": "old", "cwd": str(folder),
        "timestamp": "2026-10-02T09:00:00.000Z", "message": {"role": "user", "content": "mend the cart total"},
    }  # fmt: skip
    (tmp_path / "old.jsonl").write_text(json.dumps(line) + "\n")
    ask("off")
    for dry in (["--dry-run"], []):
        report = ask("import", "transcripts", str(tmp_path / "old.jsonl"), *dry)
        assert (report["excluded"], report["kept"], report["lost"]) == (1, 0, 0)
