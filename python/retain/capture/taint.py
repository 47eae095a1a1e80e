"""What a session reads that anybody may have written: pages, answers of other servers, files from elsewhere.

What the assistant says afterwards may be made of it, whether it knows or not.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

from retain.capture.acts import act_of
from retain.capture.fields import fields_of, text_of
from retain.capture.shell import simple_commands
from retain.capture.wording import words
from retain.model import Event
from retain.storage.trust import Taint
from retain.suspicion import LOOKED_AT_CHARS, attack_in

WEB = frozenset({"WebFetch", "WebSearch"})

LOCAL = words(
    """
    Bash BashOutput KillShell KillBash Read Edit Write MultiEdit NotebookEdit NotebookRead Grep Glob LS LSP
    TodoWrite TodoRead Task Agent TaskCreate TaskUpdate TaskList TaskGet TaskOutput TaskStop ExitPlanMode
    EnterPlanMode EnterWorktree
    ExitWorktree AskUserQuestion Skill SlashCommand ToolSearch Monitor CronCreate CronList CronDelete StructuredOutput
    """
)
"""Tools of the client that bring in nothing from elsewhere by themselves; any other may."""

_READERS = frozenset({"Read", "NotebookRead", "Grep", "Glob", "LS", "Bash"})
_OWN_TOOL = re.compile(r"mcp__(?:plugin_)?retain(?:_|\Z)")
_VENDORED = frozenset(
    {
        "node_modules", "site-packages", "dist-packages", "bower_components", ".venv", "venv", "vendor", ".cargo",
        ".tox", ".nox", ".gradle", ".m2", "Pods", "third_party", "jspm_packages", ".yarn", ".pnpm-store",
    }
)  # fmt: skip
"""Folders of a project with what others wrote."""

_FETCHES = words(
    """
    curl wget http https xh aria2c ftp sftp scp ssh rsync nc ncat telnet lynx w3m links elinks gh glab hub svn
    docker podman kubectl journalctl psql mysql mariadb mongo mongosh redis-cli aws gcloud az heroku vercel
    """
)
_ASKS = {
    "npm": ("view", "info", "show", "search", "audit"), "pnpm": ("view", "info", "search"), "yarn": ("info", "npm"),
    "pip": ("download", "index", "search", "show"), "pip3": ("download", "index", "search", "show"),
    "cargo": ("search", "info"), "gem": ("search", "info"), "brew": ("info", "search"), "go": ("doc", "list"),
    "git": ("clone", "ls-remote"), "apt": ("show", "search"), "apt-cache": ("show", "search"),
}  # fmt: skip
"""Programs that show, with one of these words, what others wrote."""
_URL = re.compile(r"\b(?:https?|ftp)://[^\s'\"<>|;)]+")
_LOCAL_HOST = re.compile(r"[a-z]+://(?:localhost|127\.\d+\.\d+\.\d+|\[::1\]|0\.0\.0\.0)(?![\w.-])")
_DETAIL_CHARS_MAX = 500
_HARMLESS = ("/dev/", "/proc/self")


def taint_of(event: Event, root: str) -> Taint | None:
    """What of an event brings untrusted text into its session; None where nothing does.

    Args:
        event: as it came, or prepared.
        root: top of the project; what lies outside of it was written elsewhere.
    """
    if event.name == "UserPromptSubmit":
        sign = attack_in(text_of(event.payload, "prompt"))
        return Taint(source="text", detail=f"prompt: {sign}") if sign else None
    tool = text_of(event.payload, "tool_name")
    if event.name not in {"PostToolUse", "PostToolUseFailure"} or not tool or _OWN_TOOL.match(tool):
        return None
    return _from_elsewhere(event, tool, root) or _by_signs(event, tool)


def may_taint(payload: Mapping[str, Any]) -> bool:
    """Whether the event of a past session is worth a look, by its tool and its file alone."""
    tool = text_of(payload, "tool_name")
    if not tool or _OWN_TOOL.match(tool):
        return False
    named = text_of(fields_of(payload, "tool_input"), "file_path")
    return tool not in LOCAL or (tool in _READERS and bool(_outside(named, text_of(payload, "cwd"))))


def _from_elsewhere(event: Event, tool: str, root: str) -> Taint | None:
    asked = fields_of(event.payload, "tool_input")
    if tool in WEB:
        return Taint(
            source="web", detail=(text_of(asked, "url") or text_of(asked, "query"))[:_DETAIL_CHARS_MAX]
        )
    if tool not in LOCAL:
        return Taint(source="tool", detail=tool[:_DETAIL_CHARS_MAX])
    if tool not in _READERS:
        return None
    act = act_of(event, root)
    for path in (*act.paths, *act.shown):
        if place := _outside(path, root):
            return Taint(source="file", detail=place[:_DETAIL_CHARS_MAX])
    command = text_of(asked, "command")
    if command and (fetched := _fetches(command)):
        return Taint(source="web" if "://" in fetched else "command", detail=fetched[:_DETAIL_CHARS_MAX])
    return None


def _outside(path: str, root: str) -> str:
    """The path where it lies outside of the project or in a folder of others' code; else empty."""
    if not path or path.startswith(_HARMLESS):
        return ""
    if path.startswith("~"):
        return path
    whole = posixpath.normpath(path if path.startswith("/") else posixpath.join(root or "/", path))
    inside = bool(root) and (whole == root or whole.startswith(root.rstrip("/") + "/"))
    if not inside:
        return whole
    return whole if not _VENDORED.isdisjoint(whole[len(root) :].split("/")) else ""


def _fetches(command: str) -> str:
    """The address, else the program, by which a command shows what others wrote."""
    named = _URL.findall(command)
    foreign: list[str] = [one for one in named if not _LOCAL_HOST.match(one)]
    if foreign:
        return foreign[0]
    for simple in simple_commands(command):
        program = simple[0].rpartition("/")[2] if simple else ""
        if (program in _FETCHES and not named) or any(word in _ASKS.get(program, ()) for word in simple[1:3]):
            return program
    if not _VENDORED.isdisjoint(re.split(r"[\s/'\"=:]+", command)):
        return "files of others"
    return ""


def _by_signs(event: Event, tool: str) -> Taint | None:
    """Text in the project that wants to steer the model was not written for the project."""
    shown = "\n".join(
        _texts((event.payload.get("tool_response"), event.payload.get("error")), [LOOKED_AT_CHARS])
    )
    sign = attack_in(shown) if shown else ""
    return Taint(source="text", detail=f"{tool}: {sign}") if sign else None


def _texts(value: Any, room: list[int]) -> Iterator[str]:
    """The strings in a JSON value, up to a number of characters."""
    if room[0] <= 0:
        return
    if isinstance(value, str):
        yield value[: room[0]]
        room[0] -= len(value)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part, room)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part, room)
