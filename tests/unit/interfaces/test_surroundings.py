"""What the doctor finds around an installation."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from retain.config import client_files, read_settings
from retain.interfaces import client_checks, surroundings
from retain.interfaces.cli import main
from retain.interfaces.clients import servers_file
from retain.interfaces.findings import Finding

DAY_S = 86_400


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work" / "project"
    folder.mkdir(parents=True)
    monkeypatch.setenv("CLAUDE_PROJECT_DIR", str(folder))
    return folder


@pytest.fixture
def settings(tmp_path: Path, project: Path) -> Path:
    path = tmp_path / "user" / ".claude" / "settings.json"
    path.parent.mkdir(parents=True)
    return path


def put(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def verdicts(findings: Any) -> list[tuple[str, str]]:
    return [(finding.check, finding.verdict) for finding in findings]


def transcript(tmp_path: Path, name: str, days: float) -> Path:
    path = tmp_path / "user" / ".claude" / "projects" / "-w" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    line = {"type": "user", "uuid": "u", "sessionId": name, "cwd": "/w", "timestamp": "2026-10-20T09:00:00.000Z",
            "message": {"role": "user", "content": "Please mend the parser of the configuration"}}  # fmt: skip
    path.write_text(json.dumps(line) + "\n", encoding="utf-8")
    at = time.time() - days * DAY_S
    os.utime(path, (at, at))
    return path


@pytest.mark.parametrize("name", ["disableAllHooks", "allowManagedHooksOnly"])
def test_hooks_that_the_machine_switches_off_are_found(settings: Path, tmp_path: Path, name: str) -> None:
    managed = put(tmp_path / "managed.json", {name: True})
    (found,) = surroundings.switches(settings, managed)
    assert (found.verdict, name in found.detail) == ("fail", True)
    assert "MCP alone" in found.detail
    assert list(surroundings.switches(settings, put(managed, {name: False}))) == []


def test_hooks_that_the_project_switches_off_are_found(settings: Path, project: Path, tmp_path: Path) -> None:
    local = put(project / ".claude" / "settings.local.json", {"disableAllHooks": True})
    (found,) = surroundings.switches(settings, tmp_path / "none.json")
    assert str(local) in found.detail


@pytest.mark.parametrize(
    ("trusted", "verdict"), [("project", "ok"), ("above", "ok"), ("not", "warn"), ("elsewhere", "warn")]
)
def test_a_folder_that_is_not_trusted_is_found(
    tmp_path: Path, project: Path, trusted: str, verdict: str
) -> None:
    folder = {"project": project, "above": project.parent, "not": project, "elsewhere": tmp_path / "x"}[
        trusted
    ]
    state = put(
        tmp_path / "state.json", {"projects": {str(folder): {"hasTrustDialogAccepted": trusted != "not"}}}
    )
    assert verdicts(surroundings.trust(state)) == [("trust", verdict)]


def test_nothing_is_said_of_trust_where_the_client_was_never_started(tmp_path: Path, project: Path) -> None:
    assert list(surroundings.trust(tmp_path / "none.json")) == []


def test_the_plugin_counts_as_an_installation(settings: Path, tmp_path: Path) -> None:
    put(settings, {"enabledPlugins": {"retain@retain": True, "other@x": True}})
    assert ("hooks", "ok") in verdicts(client_checks.hooks(settings, spawn=False))
    servers = put(tmp_path / "servers.json", {})
    assert verdicts(client_checks.server(servers, settings, spawn=False)) == [("mcp server", "ok")]
    put(settings, {"enabledPlugins": {"retain@retain": False}})
    assert ("hooks", "fail") in verdicts(client_checks.hooks(settings, spawn=False))


def test_the_plugin_beside_an_installation_is_one_too_many(settings: Path) -> None:
    put(settings, {"enabledPlugins": {"retain@retain": True}})
    assert main(["install"]) == 0
    found = [one for one in client_checks.hooks(settings, spawn=False) if one.check == "two installations"]
    assert any("retain@retain" in one.detail for one in found)


def test_another_retain_on_the_path_is_named_with_its_version(
    settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "bin" / "retain"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\necho retain 0.0.7\n", encoding="utf-8")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{other.parent}:/usr/bin:/bin")
    (found,) = surroundings.twice(settings, 10, None, spawn=True)
    assert f"{other} (0.0.7)" in found.detail


def test_the_plugin_needs_retain_on_the_path(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    found = verdicts(surroundings.twice(settings, 0, "retain@retain", spawn=False))
    assert ("path", "warn") in found


def test_hooks_in_python_beside_a_native_client_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binaries = tmp_path / "bin"
    binaries.mkdir()
    monkeypatch.setattr("sys.executable", str(binaries / "python3"))
    monkeypatch.setattr("sysconfig.get_path", lambda *_: str(binaries))
    entry = {"command": "/v/bin/python3"}
    assert verdicts(surroundings.native([entry])) == [("native hook", "ok")]
    (binaries / "retain-hook").write_bytes(b"")
    assert verdicts(surroundings.native([entry])) == [("native hook", "warn")]
    assert verdicts(surroundings.native([{"command": "/v/bin/retain-hook"}])) == [("native hook", "ok")]


def found_sessions(settings: Path) -> Finding:
    (found,) = surroundings.sweeping(settings, read_settings()[0])
    return found


def test_sessions_that_are_about_to_be_swept_are_counted(settings: Path, tmp_path: Path) -> None:
    for name, days in (("old", 29), ("older", 40), ("new", 2)):
        transcript(tmp_path, name, days)
    found = found_sessions(settings)
    assert (found.verdict, found.mend) == ("warn", "retain import transcripts")
    assert "2 sessions are deleted" in found.detail
    assert "it keeps 30" in found.detail
    put(settings, {"cleanupPeriodDays": 365})
    assert found_sessions(settings).verdict == "ok"
    put(settings, {"cleanupPeriodDays": 5})
    assert "3 sessions are" in found_sessions(settings).detail


def test_sessions_that_were_imported_or_captured_may_be_swept(settings: Path, tmp_path: Path) -> None:
    old = transcript(tmp_path, "old", 29)
    assert main(["import", "transcripts"]) == 0
    assert found_sessions(settings).verdict == "ok"
    moved = old.parent.parent / "-moved" / old.name
    moved.parent.mkdir()
    old.rename(moved)
    assert found_sessions(settings).verdict == "ok", "its session is known, wherever the file lies"
    transcript(tmp_path, "another", 29)
    assert found_sessions(settings).verdict == "warn"


def test_a_store_that_cannot_be_read_is_not_called_well(settings: Path, tmp_path: Path, home: Path) -> None:
    transcript(tmp_path, "old", 29)
    home.mkdir()
    (home / "retain.db").write_bytes(b"no database" * 100)
    found = found_sessions(settings)
    assert (found.verdict, "could not be compared" in found.detail) == ("warn", True)


def test_entries_of_other_clients_are_looked_at() -> None:
    assert main(["install", "--client", "codex"]) == 0
    assert verdicts(surroundings.other_clients()) == [("codex", "ok")]
    path = servers_file("codex", "user")
    path.write_text('[mcp_servers.retain]\ncommand = "/gone/retain"\nargs = ["serve"]\n', encoding="utf-8")
    (found,) = surroundings.other_clients()
    assert (found.verdict, found.mend) == ("fail", "retain install --client codex")
    path.write_text("[", encoding="utf-8")
    assert verdicts(surroundings.other_clients()) == [("codex", "warn")]


def test_an_installation_of_the_project_is_one(settings: Path, project: Path, tmp_path: Path) -> None:
    assert main(["install", "--scope", "project"]) == 0
    hooks, servers = client_files()
    assert ("hooks", "ok") in verdicts(client_checks.hooks(hooks, spawn=False))
    assert verdicts(client_checks.server(servers, hooks, spawn=False)) == [("mcp server", "ok")]
    assert main(["install"]) == 0
    assert ("hooks", "warn") in verdicts(client_checks.hooks(hooks, spawn=False))
