"""Checks of what surrounds an installation: trust, switches of others, a second installation, sessions soon gone."""

from __future__ import annotations

import os
import subprocess
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from retain.capture.past_sessions import Transcript, transcripts
from retain.config import (
    Settings,
    client_files,
    project_directory,
    search_path,
)
from retain.errors import RetainError
from retain.git.repository import locate
from retain.interfaces import client_entries as entries
from retain.interfaces import client_files as files
from retain.interfaces.clients import CLAUDE_CODE, CLIENTS, servers_file
from retain.interfaces.findings import FAIL, OK, WARN, Finding
from retain.interfaces.replies import counted
from retain.model import from_us
from retain.project_file import read_project_file

PLUGIN = "retain@"
"""How the plugin's id begins; its marketplace follows."""

KEPT_DAYS = 30
"""How long the client keeps transcripts where ``cleanupPeriodDays`` is not set."""
SOON_DAYS = 7
DAY_S = 86_400
VERSION_LIMIT_S = 10
SESSIONS_LOOKED_AT = 10_000


def project() -> Iterator[Finding]:
    """A file of this project that cannot be understood: it keeps everything out."""
    file = read_project_file(locate(str(project_directory())).root)
    if file.problem:
        detail = f"nothing is captured here: {file.path} {file.problem}"
        yield Finding(check="project file", verdict=WARN, detail=detail, mend=f"mend or remove {file.path}")


def plugin_enabled(settings: Path) -> str | None:
    """The id of the retain plugin where the user's or the project's settings switch it on."""
    local = project_directory() / ".claude"
    for path in (settings, local / "settings.json", local / "settings.local.json"):
        switched = content_of(path).get("enabledPlugins")
        for name, value in switched.items() if isinstance(switched, dict) else ():
            if name.startswith(PLUGIN) and value is True:
                return str(name)
    return None


def switches(settings: Path, managed: Path) -> Iterator[Finding]:
    """Settings of others that switch our hooks off: those of the project, and those of whoever manages the machine."""
    local = project_directory() / ".claude"
    for path in (local / "settings.json", local / "settings.local.json"):
        if path != settings and content_of(path).get("disableAllHooks") is True:
            detail = f"disableAllHooks is set in {path}: nothing is captured in this project"
            yield Finding(
                check="hooks", verdict=FAIL, detail=detail, mend="take disableAllHooks out of the file"
            )
    content = content_of(managed)
    for name in ("disableAllHooks", "allowManagedHooksOnly"):
        if content.get(name) is True:
            detail = f"{name} is set in {managed}: hooks of users do not run; recall works through MCP alone"
            mend = "ask whoever manages this machine; past sessions can still be brought in: retain import transcripts"
            yield Finding(check="hooks", verdict=FAIL, detail=detail, mend=mend)


def trust(state: Path) -> Iterator[Finding]:
    """Whether the client trusts the project's folder; before, its interactive sessions run no hooks there."""
    projects = content_of(state).get("projects")
    if not isinstance(projects, dict) or not projects:
        return
    here = project_directory()
    for folder in (here, *here.parents):
        about = projects.get(str(folder))
        if isinstance(about, dict) and about.get("hasTrustDialogAccepted") is True:
            yield Finding(check="trust", verdict=OK, detail=f"{folder} is trusted")
            return
    detail = f"{here} is not trusted yet: sessions there run no hooks"
    mend = "start your client in that folder once and accept; in a folder that is no project, nothing is to be done"
    yield Finding(check="trust", verdict=WARN, detail=detail, mend=mend)


def twice(settings: Path, ours: int, plugin: str | None, *, spawn: bool) -> Iterator[Finding]:
    """A plugin beside hooks in the settings, and other installations of retain on the PATH."""
    if plugin is not None and ours:
        detail = f"the plugin {plugin} and the hooks in {settings} both run: every hook costs its time twice"
        mend = "retain uninstall --client claude-code, or take the plugin out"
        yield Finding(check="two installations", verdict=WARN, detail=detail, mend=mend)
    here = entries.Installation.here()
    found = {os.path.realpath(path): path for path in _on_path("retain")}
    if here.launcher is not None:
        found.pop(os.path.realpath(here.launcher), None)
        first = next(iter(_on_path("retain")), None)
        if plugin is not None and first is None:
            detail = f"the plugin looks for retain on the PATH, and {Path(here.launcher).parent} is not on it"
            mend = f"put {Path(here.launcher).parent} on the PATH"
            yield Finding(check="path", verdict=WARN, detail=detail, mend=mend)
    for path in found.values():
        version = _version(path) if spawn else ""
        detail = f"another retain is on the PATH: {path}{version}"
        mend = "remove one of the two: pip uninstall retain, in its environment"
        yield Finding(check="two installations", verdict=WARN, detail=detail, mend=mend)


def native(ours: list[Mapping[str, Any]]) -> Iterator[Finding]:
    """Whether hooks run at native speed."""
    here = entries.Installation.here()
    name = "native hook"
    if here.native_hook is None:
        mend = "a wheel that was built for this platform brings it; install retain anew from one"
        yield Finding(
            check=name, verdict=OK, detail="not in this installation; hooks run in Python", mend=mend
        )
    elif ours and not any(Path(str(entry.get("command"))).name == entries.NATIVE_HOOK for entry in ours):
        detail = f"{here.native_hook} is there, and the hooks do not use it"
        yield Finding(check=name, verdict=WARN, detail=detail, mend="retain install")
    else:
        yield Finding(check=name, verdict=OK, detail=here.native_hook)


def sweeping(settings: Path, store: Settings) -> Iterator[Finding]:
    """Past sessions that the client will delete soon and of which nothing is remembered."""
    name = "past sessions"
    days = content_of(settings).get("cleanupPeriodDays")
    kept = days if isinstance(days, int | float) and not isinstance(days, bool) and days > 0 else KEPT_DAYS
    folder = client_files()[0].parent / "projects"
    if not folder.is_dir():
        return
    before_ns = int((time.time() - max(0.0, kept - SOON_DAYS) * DAY_S) * 1e9)
    sessions = [one for one in transcripts(folder) if one.agent is None and one.mtime_ns < before_ns]
    try:
        unknown = _unknown(sessions[:SESSIONS_LOOKED_AT], store)
    except RetainError as error:
        yield Finding(check=name, verdict=WARN, detail=f"could not be compared with the store: {error}")
        return
    if not unknown:
        yield Finding(check=name, verdict=OK, detail="none is about to be swept unread")
        return
    oldest = from_us(min(one.mtime_ns for one in unknown) // 1000).date()
    detail = (
        f"{counted(len(unknown), 'session is', 'sessions are')} deleted by the client within {SOON_DAYS} days "
        f"(it keeps {kept:g}; the oldest is of {oldest}), and nothing was remembered of that"
    )
    yield Finding(check=name, verdict=WARN, detail=detail, mend="retain import transcripts")


def other_clients() -> Iterator[Finding]:
    """The entries in the files of other clients, where there are any: that what they start is still there."""
    for name, client in CLIENTS.items():
        if name == CLAUDE_CODE:
            continue
        path = servers_file(name, "user")
        try:
            servers = files.read_client_file(path, "mcp", client.form).content.get(client.group)
        except RetainError as error:
            yield Finding(check=name, verdict=WARN, detail=str(error), mend="mend the file")
            continue
        entry = servers.get(entries.SERVER) if isinstance(servers, dict) else None
        if not isinstance(entry, dict) or not entries.is_our_server(entry):
            continue
        command = str(entry.get("command"))
        if command == "retain" or os.access(command, os.X_OK):
            yield Finding(check=name, verdict=OK, detail=f"{command} in {path}")
        else:
            mend = f"retain install --client {name}"
            yield Finding(
                check=name, verdict=FAIL, detail=f"{command} in {path} is not there any more", mend=mend
            )


def _unknown(sessions: list[Transcript], store: Settings) -> list[Transcript]:
    if not sessions or not store.database.exists():
        return sessions
    from retain.interfaces.commands import with_memory

    return with_memory(Namespace(home=store.home), lambda memory: memory.imports.unknown(sessions))


def content_of(path: Path) -> Mapping[str, Any]:
    """The object of a settings file; what cannot be read is told by the check of that file itself."""
    try:
        return files.read_client_file(path, "settings").content
    except RetainError:
        return {}


def _on_path(name: str) -> list[str]:
    found = (os.path.join(folder, name) for folder in search_path() if folder)  # noqa: PTH118 - as PATH has it
    return [path for path in found if os.access(path, os.X_OK) and not Path(path).is_dir()]


def _version(path: str) -> str:
    try:
        done = subprocess.run(
            [path, "--version"],
            capture_output=True,
            timeout=VERSION_LIMIT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    words = done.stdout.decode("utf-8", "replace").split()
    return f" ({words[-1][:40]})" if done.returncode == 0 and words else ""
