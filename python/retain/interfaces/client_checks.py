"""Checks of what Claude Code's files say of retain, and that what they start works."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from retain.config import client_files as client_paths
from retain.config import project_directory
from retain.errors import RetainError
from retain.interfaces import client_entries as entries
from retain.interfaces import client_files as files
from retain.interfaces import surroundings, trial
from retain.interfaces.findings import FAIL, OK, WARN, Finding
from retain.interfaces.replies import counted
from retain.retrieval.context import one_line

TIMEOUT_S_MAX = 600
HOOK_MS_MAX = 1_000
"""A hook that takes longer is felt, even on a busy machine."""
SLOW = "look at the disk of the data directory and at the load; set RETAIN_HOME to a local disk"
INSTALL = "retain install"


def hooks(path: Path, *, spawn: bool) -> Iterator[Finding]:
    """Our hooks in the settings: one for each event, switched on, with sane limits, and working."""
    try:
        settings = files.read_client_file(path, "settings")
    except RetainError as error:
        yield Finding(
            check="hooks", verdict=FAIL, detail=str(error), mend="mend the file, then run `retain doctor`"
        )
        return
    found = list(entries.hooks_of(settings.content))
    ours = [(event, entry) for event, entry in found if entries.is_our_hook(entry)]
    plugin = surroundings.plugin_enabled(path)
    if plugin is not None and not ours:
        yield Finding(check="hooks", verdict=OK, detail=f"those of the plugin {plugin}")
    elif not ours and (local := _project_hooks(path)) is not None:
        yield Finding(check="hooks", verdict=OK, detail=f"of this project, in {local}")
    elif not ours:
        yield Finding(check="hooks", verdict=FAIL, detail=f"none in {path}", mend=INSTALL)
    elif missing := [event for event in entries.HOOK_EVENTS if event not in {event for event, _ in ours}]:
        detail = f"{path} has none for {', '.join(missing)}"
        yield Finding(check="hooks", verdict=FAIL, detail=detail, mend=INSTALL)
    else:
        number = counted(len(entries.HOOK_EVENTS), "event", "events")
        yield Finding(check="hooks", verdict=OK, detail=f"{number} in {path}")
    if settings.content.get("disableAllHooks") is True:
        detail = f"disableAllHooks is set in {path}: nothing is captured"
        yield Finding(check="hooks", verdict=FAIL, detail=detail, mend="take disableAllHooks out of the file")
    yield from _timeouts(ours)
    yield from _installations(found, ours)
    yield from surroundings.twice(path, len(ours), plugin, spawn=spawn)
    yield from surroundings.native([entry for _, entry in ours])
    if ours:
        yield from _commands([entry for _, entry in ours], spawn=spawn)


def _timeouts(ours: list[tuple[str, dict[str, Any]]]) -> Iterator[Finding]:
    for event, entry in ours:
        limit = entry.get("timeout")
        if isinstance(limit, int | float) and not isinstance(limit, bool) and 1 <= limit <= TIMEOUT_S_MAX:
            continue
        mend = f"set it to {entries.HOOK_TIMEOUT_S}"
        if limit is None:
            if event == "SessionEnd":
                detail = "SessionEnd has no timeout; the client then stops it after 1.5 s"
                yield Finding(check="hook timeout", verdict=WARN, detail=detail, mend=mend)
            continue
        looks = " (the unit is seconds; this looks like milliseconds)" if _is_large(limit) else ""
        detail = f"{event} has the timeout {limit!r}{looks}"
        yield Finding(check="hook timeout", verdict=WARN, detail=detail, mend=mend)


def _is_large(limit: object) -> bool:
    return isinstance(limit, int | float) and limit > TIMEOUT_S_MAX


def _installations(
    found: list[tuple[str, dict[str, Any]]], ours: list[tuple[str, dict[str, Any]]]
) -> Iterator[Finding]:
    """Two sets of hooks cost time twice, and where they are of two stores, each has half of the truth."""
    kinds = {repr((entry.get("command"), entry.get("args"))) for _, entry in ours}
    others = [entry for _, entry in found if entries.is_other_hook(entry)]
    events = [event for event, _ in ours]
    if len(kinds) > 1 or len(events) != len(set(events)):
        detail = "the settings have hooks of more than one installation of retain, or one twice"
        yield Finding(check="hooks", verdict=WARN, detail=detail, mend="retain uninstall && retain install")
    if others:
        named = one_line(str(others[0].get("command")), 80)
        detail = f"another hook runs retain as well: {named}"
        yield Finding(check="hooks", verdict=WARN, detail=detail, mend="take it out of the settings by hand")
    local = _project_hooks(client_paths()[0])
    if ours and local is not None:
        detail = f"{local} has hooks of retain as well"
        mend = f"retain uninstall --settings {local}"
        yield Finding(check="hooks", verdict=WARN, detail=detail, mend=mend)


def _project_hooks(settings: Path) -> Path | None:
    """The settings of the project that hold hooks of ours, where they are not those of the user."""
    folder = project_directory() / ".claude"
    for local in (folder / "settings.json", folder / "settings.local.json"):
        if local != settings and _has_our_hooks(local):
            return local
    return None


def _has_our_hooks(path: Path) -> bool:
    try:
        content = files.read_client_file(path, "settings").content
    except RetainError:
        return False
    return any(
        entries.is_our_hook(entry) or entries.is_other_hook(entry) for _, entry in entries.hooks_of(content)
    )


def _commands(ours: list[dict[str, Any]], *, spawn: bool) -> Iterator[Finding]:
    """Each different command once: that it is there, and that it takes an event."""
    distinct = {repr((entry.get("command"), entry.get("args"))): entry for entry in ours}
    for entry in distinct.values():
        command = str(entry["command"])
        if problem := _not_executable(command):
            yield Finding(check="hook command", verdict=FAIL, detail=problem, mend=INSTALL)
        elif spawn:
            with tempfile.TemporaryDirectory(prefix="retain-doctor-") as scratch:
                tried = trial.try_hook([command, *entry.get("args", [])], scratch)
            slow = tried.elapsed_ms > HOOK_MS_MAX
            mend = SLOW if tried.ok and slow else None if tried.ok else INSTALL
            verdict = FAIL if not tried.ok else WARN if slow else OK
            yield Finding(check="hook command", verdict=verdict, detail=tried.detail, mend=mend)


def server(path: Path, settings: Path, *, spawn: bool) -> Iterator[Finding]:
    """Our MCP entry: there, its command there, and answering."""
    name = "mcp server"
    try:
        content = files.read_client_file(path, "mcp").content
    except RetainError as error:
        yield Finding(
            check=name, verdict=FAIL, detail=str(error), mend="mend the file, then run `retain doctor`"
        )
        return
    servers = content.get("mcpServers")
    entry = servers.get(entries.SERVER) if isinstance(servers, dict) else None
    if entry is None and (plugin := surroundings.plugin_enabled(settings)) is not None:
        yield Finding(check=name, verdict=OK, detail=f"that of the plugin {plugin}")
        return
    if entry is None and path == client_paths()[1]:
        shared = project_directory() / ".mcp.json"
        found = surroundings.content_of(shared).get(entries.SERVERS)
        entry = found.get(entries.SERVER) if isinstance(found, dict) else None
        path = shared if entry is not None else path
    if not isinstance(entry, dict) or not entries.is_our_server(entry):
        what = "an entry of that name that is not ours" if entry is not None else "no entry"
        yield Finding(check=name, verdict=FAIL, detail=f"{path} has {what}", mend=INSTALL)
        return
    command, arguments = str(entry["command"]), [str(argument) for argument in entry.get("args", [])]
    command = shutil.which(command) or command
    if problem := _not_executable(command):
        yield Finding(check=name, verdict=FAIL, detail=problem, mend=INSTALL)
        return
    yield Finding(check=name, verdict=OK, detail=f"{command} in {path}")
    if spawn:
        with tempfile.TemporaryDirectory(prefix="retain-doctor-") as scratch:
            given = entry.get("env")
            tried = trial.try_server(
                [command, *_without_home(arguments)], scratch, given if isinstance(given, dict) else {}
            )
        mend = None if tried.ok else f"{INSTALL}; {' '.join([command, *arguments])} shows what it says"
        yield Finding(check=name, verdict=OK if tried.ok else FAIL, detail=tried.detail, mend=mend)


def _without_home(arguments: list[str]) -> list[str]:
    return arguments[: arguments.index("--home")] if "--home" in arguments else arguments


def _not_executable(command: str) -> str | None:
    if os.access(command, os.X_OK) and not Path(command).is_dir():
        return None
    return (
        f"{command} is not there any more" if not Path(command).exists() else f"{command} is not executable"
    )


def one_store(settings: Path, servers: Path, home: Path) -> Iterator[Finding]:
    """Hooks and server that name different data directories would never meet."""
    pinned = {
        *entries.homes_of_hooks(surroundings.content_of(settings)),
        *entries.homes_of_server(surroundings.content_of(servers)),
    }
    different = sorted(place for place in pinned if Path(place) != home)
    if different:
        detail = f"Claude Code uses {', '.join(different)}; this command looks at {home}"
        mend = f"retain doctor --home {different[0]}, or retain uninstall && retain install"
        yield Finding(check="one store", verdict=WARN, detail=detail, mend=mend)
