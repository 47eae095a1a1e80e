"""The commands that say what is kept: off, on, private, ``config set`` and ``config unset``."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retain.config import (
    CONFIG_FILE,
    Settings,
    place_of,
    project_directory,
    read_settings,
    session_id,
    value_of,
)
from retain.errors import InvalidInput
from retain.git.repository import locate
from retain.interfaces import replies, settings_file
from retain.interfaces.commands import with_memory
from retain.retrieval.context import one_line

if TYPE_CHECKING:
    from retain.interfaces.cli import Output
    from retain.memory.service import MemoryService

TABLES = ("retention",)
"""Settings of which one entry can be set by ``NAME.ENTRY``."""


def off(arguments: Namespace, out: Output) -> int:
    """Switches capture off in a folder and below.

    Raises:
        InvalidInput: no such folder; a name with a slip in it would switch nothing off.
    """
    return _switch(arguments, out, captured=False)


def on(arguments: Namespace, out: Output) -> int:
    """Switches capture on again."""
    return _switch(arguments, out, captured=True)


def _switch(arguments: Namespace, out: Output, *, captured: bool) -> int:
    home = place_of(arguments.home)
    folder = _folder(arguments.path, here=arguments.here)
    if not captured and not Path(folder).is_dir():
        raise InvalidInput("path", f"{one_line(folder, 300)} is no folder")
    keys = ("projects", folder)
    settings_file.change(home, keys, None if captured else {"capture": False})
    project = with_memory(arguments, lambda memory: _state(memory, folder))
    if captured and not project.captured:  # a folder above is switched off
        settings_file.change(home, keys, {"capture": True})
        project = with_memory(arguments, lambda memory: _state(memory, folder))
    value = {"folder": folder, "capture": project.captured and project.file.captured}
    if value["capture"] == captured:
        told = out.paint.good("on") if captured else out.paint.doubtful("off")
        text = f"Capture is {told} in {one_line(folder, 300)} and below."
    else:
        text = f"Capture stays off: {one_line(project.file.path, 300)} {project.file.problem or 'says so'}."
    out.answer(value, text)
    return replies.EXIT_OK if value["capture"] == captured else replies.EXIT_FAILED


async def _state(memory: MemoryService, folder: str) -> Any:
    await memory.controls.refresh()
    return memory.controls.project(folder)


def _folder(path: str | None, *, here: bool) -> str:
    if path is not None and here:
        raise InvalidInput("here", "and a path exclude each other")
    if path is None:
        return locate(str(project_directory())).root
    folder = Path(path).expanduser()
    if "\0" in path or not path:
        raise InvalidInput("path", "must name a folder")
    return str(folder.resolve())


def private(arguments: Namespace, out: Output) -> int:
    """Makes a session private from now on, ends that, or says which sessions are private."""
    session = arguments.session or session_id()
    if arguments.action == "show":
        rows = with_memory(arguments, lambda memory: memory.controls.private())
        value: dict[str, Any] = {"private": [{"session": one, "since": at.isoformat()} for one, at in rows]}
        lines = [f"{replies.local_time(at)}  {one_line(one, 200)}" for one, at in rows]
        out.answer(value, "\n".join(lines) or "No session is private.")
        return replies.EXIT_OK
    if not session:
        raise InvalidInput("session", "is missing", hint="--session ID; inside a session the client gives it")
    is_on = arguments.action == "on"
    changed = with_memory(arguments, lambda memory: memory.controls.make_private(session, is_on=is_on))
    shown = one_line(session, 200)
    text = (
        f"Session {shown} is {out.paint.doubtful('private')} from now on: nothing of it is stored."
        if is_on
        else f"Session {shown} is not private any more."
        if changed
        else f"Session {shown} was not private."
    )
    out.answer({"session": session, "private": is_on, "changed": changed}, text)
    return replies.EXIT_OK


def config_set(arguments: Namespace, out: Output) -> int:
    """Sets a value in the configuration file."""
    name, entry = _named(arguments.key)
    if arguments.value is None:
        raise InvalidInput("value", "is missing")
    knob = next(one for one in fields(Settings) if one.name == name)
    if entry:
        value = value_of(knob, f"{entry}={arguments.value}", name)[entry]
    else:
        value = value_of(knob, arguments.value, name)
    return _changed(arguments, out, (name, entry) if entry else (name,), value)


def config_unset(arguments: Namespace, out: Output) -> int:
    """Takes a value out of the configuration file; the default holds again."""
    name, entry = _named(arguments.key)
    if arguments.value is not None:
        raise InvalidInput("value", "is not for unset")
    return _changed(arguments, out, (name, entry) if entry else (name,), None)


def _changed(arguments: Namespace, out: Output, keys: tuple[str, ...], value: Any) -> int:
    home = place_of(arguments.home)
    changed = settings_file.change(home, keys, value)
    _, sourced = read_settings(arguments.home)
    now = next(item for item in sourced if item.name == keys[0])
    answer = {"name": keys[0], "value": now.value, "source": now.source, "changed": changed}
    over = now.source not in {"default", str(home / CONFIG_FILE)}
    note = f", but the {now.source} says otherwise" if over else ""
    out.answer(
        answer,
        f"{'Changed' if changed else 'As it was'}: {keys[0]} = {replies.shown(now.value)} ({now.source}){note}",
    )
    return replies.EXIT_OK


def _named(key: str | None) -> tuple[str, str]:
    name, _, entry = (key or "").partition(".")
    known = [one.name for one in fields(Settings) if one.name != "home"]
    if not key:
        raise InvalidInput("key", "is missing", hint="`retain config` lists them")
    if name == "projects":
        raise InvalidInput("projects", "is not set like this", hint="use `retain off` and `retain on`")
    if name not in known:
        raise InvalidInput(name[:64], "unknown setting", hint="see `retain config`")
    if entry and name not in TABLES:
        raise InvalidInput(key[:64], f"{name} has no entries")
    return name, entry
