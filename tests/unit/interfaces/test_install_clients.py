"""Other clients, projects, printing, and the erasure that an uninstallation can bring."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from retain.interfaces import client_entries as entries
from retain.interfaces.cli import main
from retain.interfaces.clients import CLIENTS, servers_file
from retain.interfaces.grammar import CLIENT_NAMES

Capture = pytest.CaptureFixture[str]

OPEN_STORE = """
import asyncio, sys, retain
async def go():
    async with retain.open() as memory:
        await memory.remember("held")
        print("open", flush=True)
        sys.stdin.read()
asyncio.run(go())
"""


OPEN_FILE = """
import apsw, sys
connection = apsw.Connection(sys.argv[1])
list(connection.execute("SELECT 1 FROM memory"))
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the client's project."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.setenv("CLAUDE_PROJECT_DIR", str(folder))
    return folder


def value_of(capsys: Capture) -> Any:
    return json.loads(capsys.readouterr().out)


def test_the_command_line_knows_the_clients_of_the_table() -> None:
    assert tuple(CLIENTS) == CLIENT_NAMES


def test_vs_code_gets_its_own_key_and_keeps_its_comments(tmp_path: Path) -> None:
    path = servers_file("vscode", "user")
    path.parent.mkdir(parents=True)
    path.write_text('{\n\t// mine\n\t"inputs": [], // none\n}\n', encoding="utf-8")
    assert main(["install", "--client", "vscode"]) == 0
    text = path.read_text(encoding="utf-8")
    assert text.startswith('{\n\t// mine\n\t"inputs": [], // none\n\t"servers": {\n\t\t"retain": {\n')
    assert '"type": "stdio"' in text


def test_codex_gets_a_table_at_the_end_and_a_changed_one_is_brought_up_to_date() -> None:
    path = servers_file("codex", "user")
    path.parent.mkdir(parents=True)
    path.write_text(
        'model = "o"\n\n[mcp_servers.retain] # mine\nstartup_timeout_sec = 30\nargs = [\n  "serve", # here\n]\n'
        'command = "/old/bin/retain"\n\n[mcp_servers.retain.env]\nA = "b"\n\n[tui]\nx = 1\n',
        encoding="utf-8",
    )
    assert main(["install", "--client", "codex"]) == 0
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    entry = content["mcp_servers"]["retain"]
    assert (entry["startup_timeout_sec"], entry["env"]) == (30, {"A": "b"})
    assert entry["command"] != "/old/bin/retain"
    assert "# here" in path.read_text(encoding="utf-8")
    assert main(["uninstall", "--client", "codex"]) == 0
    assert path.read_text(encoding="utf-8") == 'model = "o"\n\n[tui]\nx = 1\n'


def test_codex_home_moves_the_file_of_codex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "elsewhere"))
    assert main(["install", "--client", "codex"]) == 0
    assert (tmp_path / "elsewhere" / "config.toml").is_file()


def test_a_table_that_cannot_be_edited_in_place_is_told(capsys: Capture) -> None:
    path = servers_file("codex", "user")
    path.parent.mkdir(parents=True)
    path.write_text('mcp_servers = { other = { command = "x" } }\n', encoding="utf-8")
    assert main(["install", "--client", "codex"]) == 2
    assert "cannot be changed in place" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == 'mcp_servers = { other = { command = "x" } }\n'


@pytest.mark.parametrize(
    ("client", "text", "line"),
    [
        ("claude-code", '{\n  "a": 1,\n  // no\n}', "line 3 column 3"),
        ("cursor", '{\n  "a": 1\n  "b": 2\n}', "line 3 column 3"),
        ("codex", "a = 1\nb =\n", "line 2"),
    ],
)
def test_a_file_that_cannot_be_parsed_is_named_with_its_line(
    client: str, text: str, line: str, capsys: Capture
) -> None:
    path = servers_file(client, "user")
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    assert main(["install", "--client", client]) == 2
    said = capsys.readouterr().err
    assert str(path) in said
    assert line in said
    assert path.read_text(encoding="utf-8") == text


def test_a_project_gets_its_server_to_share_and_its_hooks_to_itself(project: Path) -> None:
    assert main(["install", "--scope", "project"]) == 0
    shared = json.loads((project / ".mcp.json").read_bytes())["mcpServers"]["retain"]
    assert shared["args"] == ["serve"]
    assert entries.is_our_server(shared)
    hooks = json.loads((project / ".claude" / "settings.local.json").read_bytes())["hooks"]
    assert set(hooks) == set(entries.HOOK_EVENTS)
    assert main(["uninstall", "--scope", "project"]) == 0
    assert list(project.iterdir()) == []


def test_a_launcher_on_the_path_goes_by_name_into_a_file_that_is_shared(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = entries.Installation.here().launcher
    if launcher is None:
        pytest.skip("retain is installed without a launcher")
    monkeypatch.setenv("PATH", str(Path(launcher).parent))
    assert main(["install", "--scope", "project"]) == 0
    assert json.loads((project / ".mcp.json").read_bytes())["mcpServers"]["retain"]["command"] == "retain"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["install", "--scope", "project"]) == 0
    assert json.loads((project / ".mcp.json").read_bytes())["mcpServers"]["retain"]["command"] == launcher


@pytest.mark.parametrize("client", ["windsurf", "claude-desktop"])
def test_a_client_without_files_of_a_project_says_so(client: str, project: Path, capsys: Capture) -> None:
    assert main(["install", "--scope", "project", "--client", client]) == 2
    assert "scope: " in capsys.readouterr().err


@pytest.mark.parametrize("client", CLIENTS)
def test_printing_writes_nothing(client: str, tmp_path: Path, capsys: Capture) -> None:
    assert main(["install", "--client", client, "--print"]) == 0
    said = capsys.readouterr().out
    assert f"# {servers_file(client, 'user')}\n" in said
    assert "serve" in said
    assert not (tmp_path / "user").exists()
    assert not (tmp_path / "data").exists()


def test_uninstalling_takes_the_entry_out_of_every_client_that_has_it(
    tmp_path: Path, capsys: Capture
) -> None:
    for client in ("claude-code", "cursor", "codex"):
        assert main(["install", "--client", client]) == 0
    broken = servers_file("gemini", "user")
    broken.parent.mkdir()
    broken.write_text("{", encoding="utf-8")
    capsys.readouterr()
    assert main(["uninstall"]) == 0
    assert "Gemini CLI was not looked at" in capsys.readouterr().err
    assert [path for path in (tmp_path / "user").rglob("*") if path.is_file()] == [broken]


def test_hooks_are_a_matter_of_claude_code(tmp_path: Path, capsys: Capture) -> None:
    assert main(["install", "--client", "cursor", "--settings", str(tmp_path / "s")]) == 2
    assert "settings: " in capsys.readouterr().err


def test_a_purge_erases_what_retain_made_and_says_what_that_was(
    tmp_path: Path, home: Path, capsys: Capture
) -> None:
    main(["install"])
    for text in ("one fact to keep", "another fact to keep"):
        main(["remember", text])
    (home / "mine.txt").write_text("x", encoding="utf-8")
    capsys.readouterr()
    assert main(["uninstall", "--purge", "--yes-really", "2", "--json"]) == 0
    told = value_of(capsys)["purged"]
    assert (told["memories"], told["left"]) == (2, ["mine.txt"])
    assert told["files"] >= 2
    assert told["bytes"] > 0
    assert [path.name for path in home.iterdir()] == ["mine.txt"]
    assert [path for path in (tmp_path / "user").rglob("*") if path.is_file()] == []


def test_a_purge_of_all_leaves_no_data_directory(home: Path, capsys: Capture) -> None:
    main(["remember", "one fact to keep"])
    assert main(["backup"]) == 0
    assert main(["uninstall", "--purge", "--yes-really", "1"]) == 0
    assert "Erased 1 memory" in capsys.readouterr().out
    assert not home.exists()
    assert main(["uninstall", "--purge", "--yes-really", "0"]) == 0
    assert "nothing to erase" in capsys.readouterr().out


@pytest.mark.parametrize("typed", [None, "0", "yes", ""])
def test_a_purge_that_is_not_confirmed_changes_nothing(
    typed: str | None, home: Path, capsys: Capture
) -> None:
    main(["install"])
    main(["remember", "one fact to keep"])
    settings = home.parent / "user" / ".claude" / "settings.json"
    before = settings.read_bytes()
    confirmation = [] if typed is None else ["--yes-really", typed]
    capsys.readouterr()
    assert main(["uninstall", "--purge", *confirmation]) == 2
    assert "yes-really" in capsys.readouterr().err
    assert settings.read_bytes() == before
    assert (home / "retain.db").is_file()


def test_a_purge_waits_for_nobody_while_another_process_has_the_store(home: Path, capsys: Capture) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", OPEN_STORE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"open\n"
        assert main(["uninstall", "--purge", "--yes-really", "1"]) == 1
        assert "a process has the store open" in capsys.readouterr().err
        assert (home / "retain.db").stat().st_size > 0
    finally:
        holder.stdin.close()
        holder.wait()
        holder.stdout.close()
    assert main(["uninstall", "--purge", "--yes-really", "1"]) == 0
    assert not home.exists()


def test_a_purge_stays_out_while_another_program_has_the_file(home: Path, capsys: Capture) -> None:
    main(["remember", "one fact to keep"])
    holder = subprocess.Popen(
        [sys.executable, "-c", OPEN_FILE, str(home / "retain.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"open\n"
        assert main(["uninstall", "--purge", "--yes-really", "1"]) == 1
        assert "a process has the store open" in capsys.readouterr().err
    finally:
        holder.stdin.close()
        holder.wait()
        holder.stdout.close()


def test_a_purge_of_a_store_that_cannot_be_read_does_not_call_it_empty(home: Path, capsys: Capture) -> None:
    home.mkdir()
    (home / "retain.db").write_bytes(b"no database" * 100)
    assert main(["uninstall", "--purge", "--yes-really", "0"]) == 2
    assert "it is unreadable" in capsys.readouterr().err
    assert main(["uninstall", "--purge", "--yes-really", "unreadable"]) == 0
    assert not home.exists()


def test_a_purge_follows_no_link(home: Path, tmp_path: Path) -> None:
    main(["remember", "one fact to keep"])
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_bytes(b"x")
    (home / "model").symlink_to(tmp_path / "kept")
    assert main(["uninstall", "--purge", "--yes-really", "1"]) == 0
    assert (tmp_path / "kept" / "file").read_bytes() == b"x"
    assert not home.exists()


def test_what_install_makes_is_private(tmp_path: Path, home: Path) -> None:
    main(["install", "--client", "gemini"])
    path = servers_file("gemini", "user")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "client-files").stat().st_mode) == 0o700
