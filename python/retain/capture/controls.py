"""The file ``controls`` in the data directory: what a hook must know before it spools, in a form it reads at once.

It is compiled from the configuration and the store, which decide: the drain asks them again about every event
that was spooled. So a hook that cannot read the file, or is in doubt, spools.

The format is that of docs/controls.md: UTF-8, one entry a line, a word, one space, and the rest of the line::

    retain-controls 1
    off /home/me/secret
    on /home/me/secret/public
    private 4f1c2b9e-0d7a-4c6e-9a57-2f5d8f1b0c11

Hooks load this module, so it imports what ``capture/spool.py`` may import and nothing else.
"""

import posix

FILE = "controls"
FIRST_LINE = "retain-controls 1"
FILE_BYTES_MAX = 64 * 1024
SESSIONS_MAX = 200
HEAD_BYTES = 64 * 1024
"""A field of a payload is looked for in its first so many bytes."""

PRIVATE_MARK = "#private"
PUBLIC_MARK = "#public"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def compiled(projects: "Mapping[str, bool]", sessions: "Iterable[str]") -> bytes:
    """The bytes of the file; empty where there is nothing to hold back, and then there need be no file.

    Args:
        projects: whether to capture below each absolute path.
        sessions: ids of the private sessions, the newest first; those that would not fit are left out.
    """
    places = [
        f"{'on' if captured else 'off'} {path}"
        for path, captured in sorted(projects.items())
        if not any(letter in path for letter in "\n\r\0")
    ]
    if "off" not in {line[:3] for line in places}:
        places = []
    named = [f"private {one}" for one in sessions if _is_plain(one)][:SESSIONS_MAX]
    if not places and not named:
        return b""
    text = "\n".join([FIRST_LINE, *places, *named]) + "\n"
    return text.encode("utf-8", "surrogateescape")


def holds_back(home: str, payload: bytes, cwd: str) -> bool:
    """Whether an event must not even be spooled: its project is switched off, or its session is private.

    Args:
        home: the data directory.
        payload: what the client sent; its own ``cwd`` wins over that of the process.
        cwd: where the hook runs.

    Raises:
        OSError: the file is there and cannot be read.
    """
    data = _read(home + "/" + FILE)
    if not data or len(data) > FILE_BYTES_MAX:
        return False
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    if lines[0] != FIRST_LINE:
        return False
    sessions = {line[8:] for line in lines if line.startswith("private ")}
    if sessions and PUBLIC_MARK.encode() not in payload and _field(payload, b"session_id") in sessions:
        return True
    named = _field(payload, b"cwd")
    return said_of(_projects(lines), cwd if named == "" else named) is False


def _projects(lines: "list[str]") -> "dict[str, bool]":
    found = {line[4:]: False for line in lines if line.startswith("off ")}
    found.update({line[3:]: True for line in lines if line.startswith("on ")})
    return found


def said_of(projects: "Mapping[str, bool]", folder: "str | None") -> "bool | None":
    """Whether to capture in a folder, by the longest path at or above it; None where none says anything."""
    if folder is None or not folder.startswith("/"):
        return None
    place = folder.rstrip("/") or "/"
    while True:
        if place in projects:
            return projects[place]
        if place == "/":
            return None
        place = place.rpartition("/")[0] or "/"


def _read(path: str) -> bytes:
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW | posix.O_NONBLOCK)
    except FileNotFoundError:
        return b""
    try:
        return posix.read(fd, FILE_BYTES_MAX + 1)
    finally:
        posix.close(fd)


def _field(payload: bytes, name: bytes) -> "str | None":
    """The string after the first ``"name"`` of a payload: empty where it is not there, None where it is in doubt."""
    head = payload[:HEAD_BYTES]
    at = head.find(b'"' + name + b'"')
    if at < 0:
        return ""
    rest = head[at + len(name) + 2 :].lstrip(b" \t\r\n")
    if rest[:1] != b":":
        return None
    rest = rest[1:].lstrip(b" \t\r\n")
    end = rest.find(b'"', 1)
    if rest[:1] != b'"' or end < 0 or b"\\" in rest[:end]:
        return None
    return rest[1:end].decode("utf-8", "surrogateescape")


def _is_plain(session: str) -> bool:
    return 0 < len(session) <= 200 and session.isascii() and session.isprintable() and " " not in session
