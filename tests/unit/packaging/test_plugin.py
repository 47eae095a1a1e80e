"""The plugin is what the client takes: manifest, marketplace, hooks, server and skills, by the client's own rules."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import retain
from retain.interfaces import client_entries as entries
from retain.interfaces.trial import try_server

ROOT = Path(__file__).resolve().parents[3]
PLUGIN = ROOT / "plugin"

MANIFEST_KEYS = {
    "$schema", "name", "displayName", "version", "description", "author", "homepage", "repository", "license",
    "keywords", "metadata", "defaultEnabled", "skills", "commands", "agents", "hooks", "mcpServers", "outputStyles",
    "lspServers", "workflows", "userConfig", "channels", "dependencies", "experimental", "icon", "network",
}  # fmt: skip
EVENTS = set(
    """
    PreToolUse PostToolUse PostToolUseFailure PostToolBatch Notification UserPromptSubmit UserPromptExpansion
    SessionStart SessionEnd Stop StopFailure SubagentStart SubagentStop PreCompact PostCompact PreModelSwitch
    PostModelSwitch PermissionRequest PermissionDenied Setup TeammateIdle TaskCreated TaskCompleted Elicitation
    ElicitationResult ConfigChange WorktreeCreate WorktreeRemove InstructionsLoaded CwdChanged FileChanged
    DirectoryAdded MessageDisplay
    """.split()
)
WITHOUT_MATCHER = {"UserPromptSubmit", "Stop", "PostToolBatch"}
HANDLER_KEYS = {
    "type", "command", "args", "async", "asyncRewake", "shell", "timeout", "if", "statusMessage", "onFailure",
}  # fmt: skip
SERVER_KEYS = {"type", "command", "args", "env", "timeout", "alwaysLoad"}
PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")
PLACEHOLDERS = {"CLAUDE_PLUGIN_ROOT", "CLAUDE_PLUGIN_DATA", "CLAUDE_PROJECT_DIR"}
RESERVED_SERVERS = {"workspace", "claude-in-chrome", "computer-use", "Claude Preview", "Claude Browser"}
TIMEOUT_S_MAX = 600


def problems_of_manifest(manifest: dict[str, Any]) -> Iterator[str]:
    """What the client's strict validation refuses: a missing or odd name, an unknown key, a path outside."""
    if not re.fullmatch(r"[a-z0-9]+(?:-[a-z0-9]+)*", str(manifest.get("name", ""))):
        yield "name is not in kebab case"
    yield from (f"unknown key {key}" for key in manifest.keys() - MANIFEST_KEYS)
    if not re.fullmatch(r"\d+\.\d+\.\d+", str(manifest.get("version", ""))):
        yield "version is not of three numbers"
    author = manifest.get("author")
    if not isinstance(author, dict) or not author.get("name") or author.keys() - {"name", "email", "url"}:
        yield "author is no {name, email, url}"
    if not all(isinstance(word, str) for word in manifest.get("keywords", [])):
        yield "keywords are not text"
    for key in ("skills", "commands", "agents", "hooks", "mcpServers"):
        path = manifest.get(key, "./")
        if isinstance(path, str) and (not path.startswith("./") or ".." in path):
            yield f"{key} does not begin with ./ or leaves the plugin"


def problems_of_hooks(content: dict[str, Any]) -> Iterator[str]:
    yield from (f"unknown key {key}" for key in content.keys() - {"description", "hooks"})
    for event, groups in content.get("hooks", {}).items():
        if event not in EVENTS:
            yield f"unknown event {event}"
        for group in groups:
            yield from (f"{event}: unknown key {key}" for key in group.keys() - {"matcher", "hooks"})
            if "matcher" in group and event in WITHOUT_MATCHER:
                yield f"{event} has no matcher"
            for handler in group["hooks"]:
                yield from (f"{event}: {problem}" for problem in problems_of_handler(event, handler))


def problems_of_handler(event: str, handler: dict[str, Any]) -> Iterator[str]:
    yield from (f"unknown key {key}" for key in handler.keys() - HANDLER_KEYS)
    if handler.get("type") != "command":
        yield "not a command; http hooks do not run at SessionStart, mcp_tool hooks need a connected server"
    if not isinstance(handler.get("args"), list):
        yield "not in exec form: a shell would be started"
    timeout = handler.get("timeout")
    if not isinstance(timeout, int) or not 1 <= timeout <= TIMEOUT_S_MAX:
        yield f"the timeout {timeout!r} is not in seconds"
    if event == "SessionEnd" and handler.get("async"):
        yield "async hooks are killed when a session without a terminal ends"
    words = [handler.get("command", ""), *handler.get("args", [])]
    yield from problems_of_words(words)


def problems_of_words(words: list[str]) -> Iterator[str]:
    for word in words:
        for name in PLACEHOLDER.findall(word):
            if name not in PLACEHOLDERS:
                yield f"unknown placeholder {name}"
        if ".." in word.split("/"):
            yield "a path leaves the plugin"
        if word.startswith("${CLAUDE_PLUGIN_ROOT}/"):
            path = PLUGIN / word.removeprefix("${CLAUDE_PLUGIN_ROOT}/")
            if not path.is_file():
                yield f"{word} is not there"


def loaded(name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((PLUGIN / name).read_bytes())
    return value


def handlers() -> dict[str, dict[str, Any]]:
    return {event: groups[0]["hooks"][0] for event, groups in loaded("hooks/hooks.json")["hooks"].items()}


def run(part: str, path: Path | str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Runs the plugin's script as the client would, with a PATH that has the tools of the system first."""
    return subprocess.run(
        ["sh", str(PLUGIN / "scripts" / "run"), part],
        input=b'{"hook_event_name": "Stop", "session_id": "s"}',
        capture_output=True,
        cwd=cwd,
        env={"PATH": f"{path}:/usr/bin:/bin", "HOME": str(cwd), **environment},
        check=False,
    )


def test_the_manifest_passes_strictly() -> None:
    assert list(problems_of_manifest(loaded(".claude-plugin/plugin.json"))) == []


def test_the_marketplace_lists_the_plugin_by_a_path_inside() -> None:
    market = json.loads((ROOT / ".claude-plugin" / "marketplace.json").read_bytes())
    assert market.keys() == {"name", "description", "owner", "plugins"}
    assert market["owner"]["name"]
    assert not market["name"].startswith(("claude-", "anthropic-"))
    (listed,) = market["plugins"]
    assert listed["name"] == loaded(".claude-plugin/plugin.json")["name"]
    assert listed["source"].startswith("./")
    assert (ROOT / listed["source"] / ".claude-plugin" / "plugin.json").is_file()


def test_versions_are_those_of_the_package() -> None:
    market = json.loads((ROOT / ".claude-plugin" / "marketplace.json").read_bytes())
    found = {loaded(".claude-plugin/plugin.json")["version"], market["plugins"][0]["version"]}
    assert found == {retain.__version__}


def test_the_hooks_pass_strictly_and_are_those_of_an_installation() -> None:
    content = loaded("hooks/hooks.json")
    assert list(problems_of_hooks(content)) == []
    assert set(content["hooks"]) == set(entries.HOOK_EVENTS)
    assert content["hooks"]["PreToolUse"][0]["matcher"] == entries.MATCHERS["PreToolUse"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"timeout": 10_000}, "not in seconds"),
        ({"args": None}, "exec form"),
        ({"args": ["${CLAUDE_PLUGIN_ROOT}/gone"]}, "is not there"),
        ({"args": ["${HOME}/x"]}, "unknown placeholder"),
        ({"type": "http"}, "not a command"),
        ({"when": 1}, "unknown key"),
    ],
)
def test_the_validation_finds_what_is_wrong(change: dict[str, Any], told: str) -> None:
    handler = {**handlers()["Stop"], **change}
    assert any(told in problem for problem in problems_of_handler("Stop", handler))
    assert list(problems_of_hooks({"hooks": {"SesionStart": []}})) == ["unknown event SesionStart"]
    assert list(problems_of_manifest({"name": "Two Words", "hook": 1}))


def test_only_hooks_that_no_end_of_a_session_follows_run_in_the_background() -> None:
    asynchronous = {event for event, handler in handlers().items() if handler.get("async")}
    assert asynchronous == {"PostToolUse", "PreCompact", "PostCompact"}


def test_the_server_is_named_so_that_its_tools_fit() -> None:
    servers = loaded(".mcp.json")["mcpServers"]
    assert servers.keys() == {"retain"}
    entry = servers["retain"]
    assert entry.keys() <= SERVER_KEYS
    assert "retain" not in RESERVED_SERVERS
    assert list(problems_of_words([entry["command"], *entry["args"]])) == []
    assert len("mcp__plugin_retain_retain__remember") <= 128


def test_there_are_three_skills_with_a_name_and_a_reason_to_use_them() -> None:
    skills = sorted((PLUGIN / "skills").iterdir())
    assert [skill.name for skill in skills] == ["recall", "remember", "status"]
    for skill in skills:
        text = (skill / "SKILL.md").read_text(encoding="utf-8")
        _, head, body = text.split("---\n", 2)
        fields = dict(line.split(": ", 1) for line in head.strip().splitlines())
        assert fields.keys() == {"name", "description"}
        assert fields["name"] == skill.name
        assert "Use " in fields["description"]
        assert len(fields["description"]) <= 1_024
        assert len(body.split()) > 80


def test_the_plugin_has_its_own_readme_and_licence() -> None:
    assert len((PLUGIN / "README.md").read_text(encoding="utf-8").split()) >= 40
    assert (PLUGIN / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert os.access(PLUGIN / "scripts" / "run", os.X_OK)
    assert not (PLUGIN / "CLAUDE.md").exists()


def test_a_hook_of_the_plugin_spools_an_event(tmp_path: Path) -> None:
    launcher = entries.Installation.here().launcher
    if launcher is None:
        pytest.skip("retain is installed without a launcher")
    done = run("hook", Path(launcher).parent, tmp_path, RETAIN_HOME=str(tmp_path / "data"))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"{}\n", b"")
    assert any(path.stat().st_size for path in (tmp_path / "data" / "spool").glob("*.spool"))


def test_the_server_of_the_plugin_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = entries.Installation.here().launcher
    if launcher is None:
        pytest.skip("retain is installed without a launcher")
    monkeypatch.setenv("PATH", f"{Path(launcher).parent}:/usr/bin:/bin")
    entry = loaded(".mcp.json")["mcpServers"]["retain"]
    words = [
        word.replace("${CLAUDE_PLUGIN_ROOT}", str(PLUGIN)) for word in (entry["command"], *entry["args"])
    ]
    tried = try_server(words, str(tmp_path), {})
    assert tried.ok, tried.detail


def test_a_hook_without_retain_does_nothing_and_fails_nothing(tmp_path: Path) -> None:
    done = run("hook", "/nonexistent", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"{}\n", b"")
    assert list(tmp_path.iterdir()) == []


def test_a_server_without_retain_says_what_to_install(tmp_path: Path) -> None:
    done = run("serve", "/nonexistent", tmp_path)
    assert done.returncode == 127
    assert b"retain is not on the PATH" in done.stderr
    assert done.stdout == b""


def test_the_native_client_comes_first_and_uvx_stays_off_the_network(tmp_path: Path) -> None:
    binaries = tmp_path / "bin"
    binaries.mkdir()

    def write(name: str) -> None:
        (binaries / name).write_text(f'#!/bin/sh\necho "{name} $*"\n', encoding="utf-8")
        (binaries / name).chmod(0o755)

    write("uvx")
    assert run("hook", binaries, tmp_path).stdout == b"{}\n", "the name alone is another project's"
    assert run("serve", binaries, tmp_path).returncode == 127
    taken = {"RETAIN_FROM": "/a folder"}
    assert (
        run("hook", binaries, tmp_path, **taken).stdout
        == b"uvx --offline --quiet --from /a folder retain hook\n"
    )
    assert run("serve", binaries, tmp_path, **taken).stdout == b"uvx --quiet --from /a folder retain serve\n"
    write("retain")
    assert run("hook", binaries, tmp_path).stdout == b"retain hook\n"
    assert run("serve", binaries, tmp_path).stdout == b"retain serve\n"
    write("retain-hook")
    assert run("hook", binaries, tmp_path).stdout == b"retain-hook hook\n"
