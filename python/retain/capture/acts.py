"""What an event did, as rules look at it: its tool, its command, the files it was about."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from retain.capture.fields import fields_of, items_of, text_of
from retain.capture.shell import simple_commands
from retain.capture.wording import words
from retain.model import Event
from retain.rules import Act

PATHS_MAX = 200

_PATH_FIELDS = ("file_path", "notebook_path", "path", "filePath", "file", "filename", "source", "destination")
_SHOWS = words(
    """
    cat bat less more head tail tac nl grep egrep fgrep rg ag sed awk gawk perl jq yq cut sort strings xxd od
    hexdump base64 openssl echo printf tee diff vi vim nano type Get-Content ssh-keygen keytool cp
    """
)
"""Programs whose output or arguments are likely to be what stands in a file they name."""
_REDIRECTION = re.compile(r"^\d?[<>&|]{1,3}")


def act_of(event: Event, root: str) -> Act:
    """The act of an event; without a tool for one that is about none.

    Args:
        event: as it came, or prepared.
        root: top of the project; relative paths are those of the event's folder.
    """
    tool = text_of(event.payload, "tool_name")
    if not tool:
        return Act(root=root)
    asked = fields_of(event.payload, "tool_input")
    command = text_of(asked, "command")
    named = [*_named(asked), *_named(fields_of(event.payload, "tool_response"))]
    shown = _shown(command) if command else _found(event.payload)
    return Act(
        tool=tool,
        command=command,
        paths=tuple(dict.fromkeys(_from(event.cwd, path) for path in named[:PATHS_MAX])),
        shown=tuple(dict.fromkeys(_from(event.cwd, path) for path in shown)),
        root=root,
    )


def _named(fields: Mapping[str, Any]) -> list[str]:
    one = [text_of(fields, name) for name in _PATH_FIELDS]
    many = [path for name in ("paths", "files") for path in items_of(fields, name) if isinstance(path, str)]
    return [path for path in (*one, *many) if path]


def _found(payload: Mapping[str, Any]) -> list[str]:
    """The files that a search shows lines of; of names alone nothing is given away."""
    response = fields_of(payload, "tool_response")
    if not text_of(response, "content"):
        return []
    return [name for name in items_of(response, "filenames")[:PATHS_MAX] if isinstance(name, str)]


def _shown(command: str) -> list[str]:
    return list(_words_of(command))[:PATHS_MAX]


def _words_of(command: str) -> Iterator[str]:
    for simple in simple_commands(command):
        shows = bool(simple) and simple[0].rpartition("/")[2] in _SHOWS
        before = ""
        for word in simple[1:]:
            bare = _REDIRECTION.sub("", word)
            if bare and not word.startswith("-") and (shows or bare != word or _REDIRECTION.match(before)):
                yield bare
            before = word


def _from(folder: str, path: str) -> str:
    return path if path.startswith(("/", "~")) or not folder or ":" in path[:3] else f"{folder}/{path}"
