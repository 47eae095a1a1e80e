"""Install and uninstall touch what is theirs in Claude Code's files, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import stat
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from retain.errors import Conflict, InvalidInput
from retain.home import CLIENT_FILES
from retain.interfaces import client_entries as entries
from retain.interfaces import client_files as files
from retain.interfaces.cli import main
from retain.interfaces.client_backups import Backups
from retain.interfaces.install import read_places

SETTINGS = {
    "model": "opus",
    "permissions": {"allow": ["Bash(git *)"], "deny": []},
    "ratio": 1.50,
    "größe": "ä → 𝄞",
    "hooks": {
        "Stop": [{"hooks": [{"type": "command", "command": "say done"}]}],
        "PreToolUse": [{"matcher": "Bash", "hooks": [{"type": "command", "command": "check"}]}],
    },
    "statusLine": {"type": "command", "command": "line"},
}
SERVERS = {"numStartups": 7, "mcpServers": {"other": {"command": "x", "args": []}}, "projects": {"/a": {}}}


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    return tmp_path / "settings.json"


@pytest.fixture
def servers(tmp_path: Path) -> Path:
    return tmp_path / "servers.json"


@pytest.fixture
def run(settings: Path, servers: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs install or uninstall on the two files and gives exit code, stdout and stderr."""

    def go(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments, "--settings", str(settings), "--mcp", str(servers)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return go


STYLES = {
    "two_spaces": {"indent": 2},
    "four_spaces": {"indent": 4},
    "tabs": {"indent": "\t"},
    "compact": {"separators": (",", ":")},
    "one_line": {},
    "two_spaces_unicode": {"indent": 2, "ensure_ascii": False},
    "compact_unicode": {"separators": (",", ":"), "ensure_ascii": False},
}


def dumped(value: object, **style: Any) -> bytes:
    return json.dumps(value, **style).encode()


def ours(path: Path) -> list[tuple[str, dict[str, Any]]]:
    content = json.loads(path.read_bytes())
    return [(event, entry) for event, entry in entries.hooks_of(content) if entries.is_our_hook(entry)]


def backups_of(path: Path) -> list[Path]:
    return Backups(path.parent / "data").of(path)


def without_backups(path: Path) -> None:
    shutil.rmtree(path.parent / "data" / CLIENT_FILES)


def test_fresh_files_get_a_hook_for_each_event_and_a_server(run: Any, settings: Path, servers: Path) -> None:
    code, said, _ = run("install")
    assert code == 0
    assert sorted(event for event, _ in ours(settings)) == sorted(entries.HOOK_EVENTS)
    for _, entry in ours(settings):
        assert entry["type"] == "command"
        assert Path(entry["command"]).is_absolute()
        assert entry["timeout"] == 10
        assert [entry["command"], *entry["args"]] == entries.Installation.here().hook_command()
    server = json.loads(servers.read_bytes())["mcpServers"]["retain"]
    assert server["type"] == "stdio"
    assert Path(server["command"]).is_absolute()
    assert server["args"][-1] == "serve"
    assert "retain doctor" in said
    assert stat.S_IMODE(settings.stat().st_mode) == 0o600
    assert settings.read_bytes().endswith(b"}\n")


def test_installing_twice_changes_nothing_and_says_so(run: Any, settings: Path, servers: Path) -> None:
    settings.write_bytes(dumped(SETTINGS, indent=2))
    run("install")
    before = settings.read_bytes(), servers.read_bytes(), sorted(settings.parent.iterdir())
    code, said, _ = run("install")
    assert code == 0
    assert "nothing to change" in said
    assert before == (settings.read_bytes(), servers.read_bytes(), sorted(settings.parent.iterdir()))


@pytest.mark.parametrize("tail", ["", "\n"], ids=["no_newline", "newline"])
@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES.keys())
@pytest.mark.parametrize("backups", [True, False], ids=["with_backup", "without_backup"])
def test_uninstall_gives_the_same_bytes_back(
    run: Any, settings: Path, servers: Path, style: dict[str, Any], tail: str, backups: bool
) -> None:
    settings.write_bytes(dumped(SETTINGS, **style) + tail.encode())
    servers.write_bytes(dumped(SERVERS, **style) + tail.encode())
    before = settings.read_bytes(), servers.read_bytes()
    assert run("install")[0] == 0
    assert settings.read_bytes() != before[0]
    if not backups:
        without_backups(settings)
        assert backups_of(settings) == []
    assert run("uninstall")[0] == 0
    assert (settings.read_bytes(), servers.read_bytes()) == before


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES.keys())
def test_install_keeps_the_style_of_the_file(run: Any, settings: Path, style: dict[str, Any]) -> None:
    settings.write_bytes(dumped(SETTINGS, **style))
    run("install")
    assert settings.read_bytes() == dumped(json.loads(settings.read_bytes()), **style)


def test_a_file_formatted_by_hand_comes_back_from_its_backup(run: Any, settings: Path) -> None:
    by_hand = (
        b'{ "model":"opus",\n\n   "hooks":{"Stop":[ ]}, "n": 1e3, "s": "a\\/b",\r\n "last": [1,2,\n3] }  \n\n'
    )
    settings.write_bytes(by_hand)
    run("install")
    installed = json.loads(settings.read_bytes())
    assert {key: installed[key] for key in ("model", "n", "s", "last")} == {
        "model": "opus", "n": 1000.0, "s": "a/b", "last": [1, 2, 3],
    }  # fmt: skip
    assert b"1e3" in settings.read_bytes()
    run("uninstall")
    assert settings.read_bytes() == by_hand


def test_a_file_formatted_by_hand_keeps_its_meaning_without_the_backup(run: Any, settings: Path) -> None:
    by_hand = b'{ "model":"opus",\n   "list": [1,2,\n3], "hooks":{"Notification":[ ]} }'
    settings.write_bytes(by_hand)
    run("install")
    without_backups(settings)
    run("uninstall")
    assert json.loads(settings.read_bytes()) == json.loads(by_hand)


def test_changes_made_after_the_installation_survive_the_uninstallation(run: Any, settings: Path) -> None:
    settings.write_bytes(dumped(SETTINGS, indent=2))
    run("install")
    changed = json.loads(settings.read_bytes())
    changed["model"] = "sonnet"
    changed["hooks"]["Stop"].append({"hooks": [{"type": "command", "command": "later"}]})
    settings.write_bytes(dumped(changed, indent=2))
    run("uninstall")
    left = json.loads(settings.read_bytes())
    assert left["model"] == "sonnet"
    assert [group["hooks"][0]["command"] for group in left["hooks"]["Stop"]] == ["say done", "later"]
    assert set(left["hooks"]) == {"Stop", "PreToolUse"}


def test_every_other_key_stays_in_its_place(run: Any, settings: Path, servers: Path) -> None:
    settings.write_bytes(dumped(SETTINGS, indent=2))
    servers.write_bytes(dumped(SERVERS, indent=2))
    run("install")
    after = json.loads(settings.read_bytes())
    edits = [group for group in after["hooks"]["PreToolUse"] if entries.is_our_hook(group["hooks"][0])]
    assert [group["matcher"] for group in edits] == ["Edit|Write|MultiEdit|NotebookEdit"]
    assert list(after) == list(SETTINGS)
    assert list(after["hooks"])[:2] == ["Stop", "PreToolUse"]
    assert {**after, "hooks": None} == {**SETTINGS, "hooks": None}
    assert list(json.loads(servers.read_bytes())["mcpServers"]) == ["other", "retain"]


def test_each_changed_file_has_a_private_backup_with_its_old_bytes(run: Any, settings: Path) -> None:
    settings.write_bytes(dumped(SETTINGS, indent=2))
    settings.chmod(0o640)
    run("install")
    backups = backups_of(settings)
    assert [backup.read_bytes() for backup in backups] == [dumped(SETTINGS, indent=2)]
    assert stat.S_IMODE(backups[0].stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.stat().st_mode) == 0o640


def test_files_that_install_made_are_gone_after_uninstall(run: Any, settings: Path, servers: Path) -> None:
    run("install")
    run("uninstall")
    assert not settings.exists()
    assert not servers.exists()


def test_an_empty_object_of_the_user_is_kept(run: Any, settings: Path) -> None:
    settings.write_bytes(b"{}\n")
    run("install")
    run("uninstall")
    assert settings.read_bytes() == b"{}\n"


def test_uninstalling_what_is_not_installed_changes_nothing(run: Any, settings: Path) -> None:
    settings.write_bytes(dumped(SETTINGS, indent=3))
    code, said, _ = run("uninstall")
    assert code == 0
    assert "Not installed" in said
    assert settings.read_bytes() == dumped(SETTINGS, indent=3)
    assert list(settings.parent.glob("*backup*")) == []


def test_a_linked_settings_file_stays_a_link(run: Any, settings: Path, tmp_path: Path) -> None:
    target = tmp_path / "dotfiles" / "claude.json"
    target.parent.mkdir()
    target.write_bytes(dumped(SETTINGS, indent=2))
    settings.symlink_to(target)
    run("install")
    assert settings.is_symlink()
    assert len(ours(target)) == len(entries.HOOK_EVENTS)
    run("uninstall")
    assert settings.is_symlink()
    assert target.read_bytes() == dumped(SETTINGS, indent=2)


def test_a_dry_run_prints_a_diff_and_changes_nothing(run: Any, settings: Path) -> None:
    key = "sk-ant-api03-" + "a1B2" * 12
    settings.write_bytes(dumped({"apiKey": key, "hooks": {}}, indent=2))
    code, said, _ = run("install", "--dry-run")
    assert code == 0
    assert f"+++ {settings}" in said
    assert '+            "timeout": 10' in said
    assert key not in said
    assert settings.read_bytes() == dumped({"apiKey": key, "hooks": {}}, indent=2)
    assert list(settings.parent.iterdir()) == [settings]


def test_a_dry_run_on_one_long_line_is_readable(run: Any, settings: Path) -> None:
    settings.write_bytes(dumped(SETTINGS, separators=(",", ":")))
    _, said, _ = run("install", "--dry-run")
    assert max(map(len, said.splitlines())) < 600


def test_json_says_what_changed(run: Any, settings: Path, servers: Path) -> None:
    settings.write_bytes(b"{}")
    value = json.loads(run("install", "--json")[1])
    assert value["changed"] is True
    assert [file["path"] for file in value["files"]] == [str(settings), str(servers)]
    assert Path(value["files"][0]["backup"]).read_bytes() == b"{}"
    assert value["files"][1]["backup"] is None
    assert json.loads(run("install", "--json")[1])["changed"] is False


BROKEN = {
    "not_json": (b"{ // comment\n}", "left alone"),
    "a_list": (b"[1]", "list"),
    "not_utf8": (b'{"a": "\xff"}', "left alone"),
    "a_key_twice": (b'{"a": 1, "a": 2}', "'a' stands twice"),
    "too_large": (b'{"a": "' + b"x" * files.FILE_BYTES_MAX + b'"}', "too large"),
    "too_deep": (b'{"a": ' + b"[" * 300 + b"]" * 300 + b"}", "deeper"),
    "hooks_no_object": (b'{"hooks": []}', "hooks is not an object"),
    "event_no_list": (b'{"hooks": {"Stop": {}}}', "hooks.Stop is not a list"),
}


@pytest.mark.parametrize(("data", "told"), BROKEN.values(), ids=BROKEN.keys())
def test_a_file_that_cannot_be_edited_is_named_and_left_alone(
    run: Any, settings: Path, servers: Path, data: bytes, told: str
) -> None:
    settings.write_bytes(data)
    code, _, said = run("install")
    assert code == 2
    assert str(settings) in said
    assert told in said
    assert settings.read_bytes() == data
    assert not servers.exists()


def test_servers_that_are_no_object_are_left_alone(run: Any, settings: Path, servers: Path) -> None:
    servers.write_bytes(b'{"mcpServers": 1}')
    code, _, said = run("install")
    assert code == 2
    assert "mcpServers is not an object" in said
    assert not settings.exists()


def test_another_server_of_the_same_name_is_not_replaced(run: Any, settings: Path, servers: Path) -> None:
    servers.write_bytes(dumped({"mcpServers": {"retain": {"command": "docker", "args": ["run", "x"]}}}))
    before = servers.read_bytes()
    code, _, said = run("install")
    assert code == 1
    assert "did not write" in said
    assert servers.read_bytes() == before
    assert not settings.exists()
    run("uninstall")
    assert servers.read_bytes() == before


def test_a_directory_or_a_pipe_is_no_settings_file(run: Any, settings: Path) -> None:
    settings.mkdir()
    assert run("install")[0] == 2
    settings.rmdir()
    os.mkfifo(settings)
    assert run("install")[0] == 2


def test_both_parts_cannot_go_into_one_file(run: Any, settings: Path, servers: Path) -> None:
    settings.write_bytes(b"{}")
    servers.symlink_to(settings)
    code, _, said = run("install")
    assert code == 2
    assert "mcp:" in said


def test_an_older_installation_is_brought_up_to_date_in_place(
    run: Any, settings: Path, servers: Path
) -> None:
    old = {
        "type": "command",
        "command": "/old/bin/retain",
        "args": ["hook"],
        "timeout": 5,
        "statusMessage": "m",
    }
    stale = {"hooks": {"Stop": [{"hooks": [{"command": "first"}, old]}, {"hooks": [old]}]}}
    settings.write_bytes(dumped(stale, indent=2))
    server = {"type": "stdio", "command": "/old/bin/retain", "args": ["serve"], "env": {"A": "b"}}
    servers.write_bytes(dumped({"mcpServers": {"retain": server}}, indent=2))
    run("install")
    stop = json.loads(settings.read_bytes())["hooks"]["Stop"]
    assert len(stop) == 1
    assert stop[0]["hooks"][0] == {"command": "first"}
    renewed = stop[0]["hooks"][1]
    assert (renewed["timeout"], renewed["statusMessage"]) == (5, "m")
    assert renewed["args"] == entries.Installation.here().hook()["args"]
    after = json.loads(servers.read_bytes())["mcpServers"]["retain"]
    assert after["command"] != "/old/bin/retain"
    assert after["env"] == {"A": "b"}


def test_a_home_that_is_asked_for_is_written_down(
    run: Any, settings: Path, servers: Path, tmp_path: Path
) -> None:
    run("install", "--home", str(tmp_path / "elsewhere"))
    assert {entry["args"][-1] for _, entry in ours(settings)} == {str(tmp_path / "elsewhere")}
    server = json.loads(servers.read_bytes())["mcpServers"]["retain"]
    assert server["args"][-2:] == ["--home", str(tmp_path / "elsewhere")]
    run("uninstall")
    assert not settings.exists()


def test_without_arguments_the_files_are_those_of_claude_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["install"]) == 0
    assert (tmp_path / "user" / ".claude" / "settings.json").is_file()
    assert (tmp_path / "user" / ".claude.json").is_file()
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "named"))
    assert main(["install"]) == 0
    assert (tmp_path / "named" / "settings.json").is_file()
    assert (tmp_path / "named" / ".claude.json").is_file()


def test_a_file_that_changed_meanwhile_is_not_overwritten(settings: Path) -> None:
    settings.write_bytes(b'{"a": 1}')
    read = files.read_client_file(settings, "settings")
    settings.write_bytes(b'{"a": 2}')
    with pytest.raises(Conflict, match="changed while"):
        files.replace(read, b"{}", Backups(settings.parent / "data"), datetime.now(UTC))
    assert settings.read_bytes() == b'{"a": 2}'
    assert [path for path in settings.parent.rglob("*") if path.is_file()] == [settings]


def test_a_directory_that_cannot_be_written_is_an_error(settings: Path) -> None:
    blocked = files.read_client_file(settings.parent / "file" / "settings.json", "settings")
    (settings.parent / "file").write_bytes(b"")
    with pytest.raises(InvalidInput, match="cannot be written"):
        files.replace(blocked, b"{}", Backups(settings.parent / "data"), datetime.now(UTC))
    assert backups_of(settings) == []


def test_two_backups_of_one_second_have_two_names(settings: Path) -> None:
    now = datetime(2026, 11, 23, 12, 0, 5, tzinfo=UTC)
    for content in (b'{"a": 1}', b'{"a": 2}'):
        settings.write_bytes(content)
        files.replace(
            files.read_client_file(settings, "settings"), b"{}", Backups(settings.parent / "data"), now
        )
    newest, oldest = backups_of(settings)
    assert oldest.name.endswith("-settings.json.20261123T120005Z-00")
    assert (oldest.read_bytes(), newest.read_bytes()) == (b'{"a": 1}', b'{"a": 2}')


@pytest.mark.parametrize(
    "text",
    [
        b'\xef\xbb\xbf{\r\n  "a": 1\r\n}\r\n',
        b'{\n  "a": [],\n  "b": {},\n  "c": [\n    1.0,\n    1e400,\n    null\n  ]\n}',
        b'{"lone":"\\ud800"}',
        b'{\n\t"a":1\n}',
        b"  ",
    ],
    ids=["bom_and_crlf", "numbers", "lone_surrogate", "tab_without_blank", "blank"],
)
def test_odd_files_are_read_and_written_without_a_change(settings: Path, text: bytes) -> None:
    settings.write_bytes(text)
    read = files.read_client_file(settings, "settings")
    assert read.style.exact
    if read.content:
        assert files.written(read.content, read.style) == text


@pytest.mark.parametrize(
    ("entry", "mine", "another"),
    [
        ({"type": "command", "command": "/v/bin/retain", "args": ["hook"]}, True, False),
        (entries.Installation(python="/p", library="/l", launcher=None).hook(), True, False),
        (
            entries.Installation(
                python="/p", library="/l", launcher=None, native_hook="/v/bin/retain-hook"
            ).hook(),
            True,
            False,
        ),
        ({"type": "command", "command": "/v/bin/retain hook"}, False, True),
        ({"type": "command", "command": "/v/bin/retain-hook", "args": []}, False, True),
        ({"type": "command", "command": "retain", "args": ["stats"]}, False, False),
        ({"type": "command", "command": "say retained"}, False, False),
        ({"type": "command", "command": 7, "args": "hook"}, False, False),
        ("text", False, False),
    ],
)
def test_our_hooks_are_told_from_others(entry: object, mine: bool, another: bool) -> None:
    assert (entries.is_our_hook(entry), entries.is_other_hook(entry)) == (mine, another)


@pytest.mark.parametrize("native", [None, "/v/bin/retain-hook"])
def test_the_place_of_a_data_directory_that_was_asked_for_is_known(native: str | None) -> None:
    def arguments(home: str | None) -> list[str]:
        return entries.Installation(
            python="/p", library="/l", launcher=None, native_hook=native, home=home
        ).hook_command()[1:]

    assert entries.home_place(arguments(None)) is None
    place = entries.home_place(arguments("/data"))
    assert place is not None
    assert arguments("/data")[place] == "/data"
    assert arguments(None), "a command without arguments might be started by a shell"


def test_a_server_without_a_launcher_is_started_by_the_interpreter() -> None:
    here = entries.Installation(python="/v/bin/python", library="/l", launcher=None)
    assert here.server() == {
        "type": "stdio", "command": "/v/bin/python", "args": ["-P", "-m", "retain", "serve"],
    }  # fmt: skip
    assert entries.is_our_server(here.server())


def test_settings_of_a_strange_shape_are_passed_over(run: Any, settings: Path) -> None:
    strange: dict[str, Any] = {
        "hooks": {"Stop": [1, {"hooks": 2}, {"hooks": [3, None]}, {"hooks": []}], "Other": "x"}
    }
    settings.write_bytes(dumped(strange, indent=2))
    assert run("install")[0] == 0
    assert json.loads(settings.read_bytes())["hooks"]["Stop"][:4] == strange["hooks"]["Stop"]
    run("uninstall")
    assert json.loads(settings.read_bytes()) == strange


def test_the_places_of_claude_code_default_to_the_users_files(tmp_path: Path) -> None:
    arguments = Namespace(settings=None, mcp=None, scope="user")
    settings, mcp = (place.file for place in read_places(arguments, "claude-code"))
    assert settings.path == tmp_path / "user" / ".claude" / "settings.json"
    assert mcp.path == tmp_path / "user" / ".claude.json"
