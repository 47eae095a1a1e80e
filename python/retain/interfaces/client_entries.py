"""What retain writes into Claude Code's files, and how it knows its own entries again.

The hooks are exec-form commands: the native client that the wheel carries. Where there is none, it is the bare
interpreter, a few lines of code, and the folder of the package: measured, that is about a millisecond faster than
the launcher, which starts a shell first; where the folder is gone (the environment was built anew), the code hands
over to ``python -m retain hook``. All functions here work on parsed objects and change copies.
"""

from __future__ import annotations

import copy
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import retain
from retain.errors import Conflict, InvalidInput

HOOK_EVENTS = (
    "SessionStart",
    "UserPromptSubmit",
    "PreToolUse",
    "PostToolUse",
    "PostToolUseFailure",
    "Stop",
    "SubagentStop",
    "PreCompact",
    "PostCompact",
    "SessionEnd",
)
MATCHERS = {"PreToolUse": "Edit|Write|MultiEdit|NotebookEdit"}
"""Before a tool runs, only edits of files are of interest."""

HOOK_TIMEOUT_S = 10
"""Above the 1.5 s that SessionEnd hooks get by default; a hook takes some 20 ms."""

SERVER = "retain"
SERVERS = "mcpServers"
MARKER = "retain.interfaces.hook"

HOOK_CODE = f"""\
import sys
sys.path.insert(0, sys.argv[1])
if len(sys.argv) > 2:
    import os
    os.environ["RETAIN_HOME"] = sys.argv[2]
try:
    from {MARKER} import main
except ImportError:
    import os
    os.execv(sys.executable, [sys.executable, "-P", "-m", "retain", "hook"])
sys.exit(main())"""
"""What a hook runs: ``argv[1]`` is the folder of the package, ``argv[2]`` a data directory that was asked for."""

HOOK_ARGUMENTS = ("-I", "-S", "-c", HOOK_CODE)

NATIVE_HOOK = "retain-hook"
HOOK_WORD = "hook"
"""Given to the native client, which needs no word: a command without arguments might be started by a shell."""

HOME_OPTION = "--home"

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Where this retain is: the interpreter, the folder of the package, the launcher, an asked-for home.

    ``launcher`` is None where pip did not install one; then the interpreter starts the module. ``native_hook`` is
    None where the wheel carries no native client; then the interpreter runs the hook.
    """

    python: str
    library: str
    launcher: str | None
    native_hook: str | None = None
    home: str | None = None

    @classmethod
    def here(cls, home: str | None = None) -> Installation:
        """That of the running process."""
        folders = [Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))]
        folders.append(Path(sysconfig.get_path("scripts", "posix_user")))
        library = Path(retain.__file__).absolute().parent.parent
        absolute = str(Path(home).expanduser().absolute()) if home is not None else None
        return cls(
            python=sys.executable,
            library=str(library),
            launcher=_first_file(folders, "retain"),
            native_hook=_first_file(folders, NATIVE_HOOK),
            home=absolute,
        )

    def hook(self) -> JsonObject:
        """The hook entry of a settings file."""
        command, *arguments = self.hook_command()
        return {"type": "command", "command": command, "args": arguments, "timeout": HOOK_TIMEOUT_S}

    def hook_command(self) -> list[str]:
        """The shortest command that takes an event from stdin: the native client, else the interpreter."""
        if self.native_hook:
            return [self.native_hook, HOOK_WORD, *([HOME_OPTION, self.home] if self.home else [])]
        return [self.python, *HOOK_ARGUMENTS, self.library, *([self.home] if self.home else [])]

    def server(self) -> JsonObject:
        """The MCP entry."""
        command = [self.launcher] if self.launcher else [self.python, "-P", "-m", "retain"]
        pinned = ["--home", self.home] if self.home else []
        return {"type": "stdio", "command": command[0], "args": [*command[1:], "serve", *pinned]}


def _first_file(folders: list[Path], name: str) -> str | None:
    return next((str(folder / name) for folder in folders if (folder / name).is_file()), None)


def is_our_hook(entry: object) -> bool:
    """Whether a hook entry was written by ``retain install``, of this or of another installation."""
    command, arguments = _command(entry)
    if any(MARKER in argument for argument in arguments):
        return True
    if Path(command).name == NATIVE_HOOK:
        return arguments[:1] == [HOOK_WORD]
    return Path(command).name == "retain" and arguments == ["hook"]


def home_place(arguments: list[str]) -> int | None:
    """Where in the arguments of our hook the data directory stands that was asked for; None where none was."""
    after_package = len(HOOK_ARGUMENTS) + 1
    place = 2 if arguments[:2] == [HOOK_WORD, HOME_OPTION] else after_package
    return place if len(arguments) > place else None


def homes_of_hooks(content: Mapping[str, Any], _group: str = "") -> Iterator[str]:
    """The data directories that our hooks in a settings object were given."""
    for _, entry in hooks_of(content):
        _, arguments = _command(entry)
        if is_our_hook(entry) and (place := home_place(arguments)) is not None:
            yield arguments[place]


def homes_of_server(content: Mapping[str, Any], group: str = SERVERS) -> Iterator[str]:
    """The data directory that our MCP entry was given."""
    servers = content.get(group)
    entry = servers.get(SERVER) if isinstance(servers, dict) else None
    _, arguments = _command(entry)
    if is_our_server(entry) and "--home" in arguments:
        yield from arguments[arguments.index("--home") + 1 :][:1]


def is_other_hook(entry: object) -> bool:
    """Whether a hook entry runs retain in a form that ``retain install`` does not write."""
    command, arguments = _command(entry)
    words = [Path(word).name for word in (*command.split(), *arguments)]
    named = NATIVE_HOOK in words or ("retain" in words and "hook" in words) or MARKER in command
    return named and not is_our_hook(entry)


def is_our_server(entry: object) -> bool:
    """Whether an MCP entry was written by ``retain install``, of this or of another installation."""
    command, arguments = _command(entry)
    return (Path(command).name == "retain" and arguments[:1] == ["serve"]) or arguments[:4] == [
        "-P", "-m", "retain", "serve",
    ]  # fmt: skip


def hooks_of(content: Mapping[str, Any]) -> Iterator[tuple[str, JsonObject]]:
    """Every hook entry of a settings object with its event; what has another shape is passed over."""
    hooks = content.get("hooks")
    for event, groups in hooks.items() if isinstance(hooks, dict) else ():
        for group in groups if isinstance(groups, list) else ():
            entries = group.get("hooks") if isinstance(group, dict) else None
            for entry in entries if isinstance(entries, list) else ():
                if isinstance(entry, dict):
                    yield event, entry


def with_hooks(content: JsonObject, entry: JsonObject, name: str) -> tuple[JsonObject, list[str]]:
    """The settings with our entry once for each event; a timeout that the user set stays.

    Args:
        content: the settings.
        entry: ours.
        name: of the file, for errors.

    Returns:
        The new settings and the events that changed.

    Raises:
        InvalidInput: ``hooks`` or an event in it has a shape that Claude Code does not know.
    """
    new = copy.deepcopy(content)
    hooks = new.setdefault("hooks", {})
    if not isinstance(hooks, dict):
        raise InvalidInput("settings", f"{name} is left alone: hooks is not an object")
    changed = []
    for event in HOOK_EVENTS:
        before = copy.deepcopy(hooks.get(event))
        groups = hooks.setdefault(event, [])
        if not isinstance(groups, list):
            raise InvalidInput("settings", f"{name} is left alone: hooks.{event} is not a list")
        _put_once(groups, entry, MATCHERS.get(event))
        if groups != before:
            changed.append(event)
    return new, changed


def without_hooks(content: JsonObject) -> tuple[JsonObject, list[str]]:
    """The settings without our entries and without the containers that held nothing else, and the events."""
    new = copy.deepcopy(content)
    events = list(dict.fromkeys(event for event, entry in hooks_of(new) if is_our_hook(entry)))
    for event in events:
        groups = new["hooks"][event]
        kept = [group for group in groups if not _emptied(group)]
        if kept:
            new["hooks"][event] = kept
        else:
            del new["hooks"][event]
    if events and not new["hooks"]:
        del new["hooks"]
    return new, events


def with_server(
    content: JsonObject, entry: JsonObject, name: str, group: str = SERVERS
) -> tuple[JsonObject, list[str]]:
    """The object with our MCP entry; other keys that the user gave it (env, timeout) stay.

    Args:
        content: the object of the file.
        entry: ours.
        name: of the file, for errors.
        group: the key under which the servers stand.

    Raises:
        InvalidInput: what stands under that key is not an object.
        Conflict: an entry of the same name is not ours.
    """
    new = copy.deepcopy(content)
    servers = new.setdefault(group, {})
    if not isinstance(servers, dict):
        raise InvalidInput("mcp", f"{name} is left alone: {group} is not an object")
    old = servers.get(SERVER)
    if old is not None and not is_our_server(old):
        hint = f"remove it first: claude mcp remove --scope user {SERVER}" if group == SERVERS else None
        raise Conflict(
            f"{name} has a server named {SERVER!r} that this program did not write",
            hint=hint or f"take {SERVER!r} out of {group} in that file first",
        )
    servers[SERVER] = {**(old or {}), **entry}
    return new, [SERVER] if servers[SERVER] != old else []


def without_server(content: JsonObject, group: str = SERVERS) -> tuple[JsonObject, list[str]]:
    """The object without our MCP entry, and without the container where it held nothing else."""
    servers = content.get(group)
    if not isinstance(servers, dict) or not is_our_server(servers.get(SERVER)):
        return content, []
    new = copy.deepcopy(content)
    del new[group][SERVER]
    if not new[group]:
        del new[group]
    return new, [SERVER]


def _command(entry: object) -> tuple[str, list[str]]:
    if not isinstance(entry, dict):
        return "", []
    command, arguments = entry.get("command"), entry.get("args")
    return (
        command if isinstance(command, str) else "",
        [argument for argument in arguments if isinstance(argument, str)]
        if isinstance(arguments, list)
        else [],
    )


def _put_once(groups: list[Any], entry: JsonObject, matcher: str | None) -> None:
    """Brings our entry in a list of groups up to date, takes out repetitions of it, or adds it at the end."""
    found = False
    for group in list(groups):
        entries = group.get("hooks") if isinstance(group, dict) else None
        if not isinstance(entries, list):
            continue
        mine = [old for old in entries if is_our_hook(old)]
        for old in mine:
            if found:
                entries.remove(old)
            else:
                old.update({key: value for key, value in entry.items() if key != "timeout" or key not in old})
            found = True
        if mine and not entries:
            groups.remove(group)
    if not found:
        matched = {"matcher": matcher} if matcher else {}
        groups.append({**matched, "hooks": [copy.deepcopy(entry)]})


def _emptied(group: Any) -> bool:
    """Takes our entries out of a group; says whether they were all that it held."""
    entries = group.get("hooks") if isinstance(group, dict) else None
    if not isinstance(entries, list) or not any(map(is_our_hook, entries)):
        return False
    entries[:] = [entry for entry in entries if not is_our_hook(entry)]
    return not entries
