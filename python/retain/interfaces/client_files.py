"""The two JSON files of Claude Code that retain writes into: read, change, write back, all else untouched.

A file keeps its style (indentation, separators, escapes, line ends, byte order mark), its mode and its place
behind a symbolic link. It is replaced in one step, and only if nobody has changed it since it was read.
"""

from __future__ import annotations

import glob
import json
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from retain.errors import Conflict, InvalidInput

FILE_BYTES_MAX = 10 * 1024 * 1024
DEPTH_MAX = 200
BACKUP = ".retain-backup-"
BACKUPS_OF_A_SECOND = 100
BOM = b"\xef\xbb\xbf"

_LONE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a JSON file is written.

    Attributes:
        indent: what one level is indented by; None: everything on one line.
        separators: between items, and between key and value.
        ascii_only: whether other characters are escaped.
        newline: what ends a line.
        tail: what follows the last brace.
        bom: whether a byte order mark comes first.
        exact: whether the file, written anew in this style, has the same bytes.
    """

    indent: str | None = "  "
    separators: tuple[str, str] = (",", ": ")
    ascii_only: bool = False
    newline: str = "\n"
    tail: str = "\n"
    bom: bool = False
    exact: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFile:
    """A JSON file as it was read.

    Attributes:
        path: as the user named it; ``target`` is what it points to.
        data: its bytes; None where there is no file.
        content: its object; empty where there is no file.
    """

    path: Path
    target: Path
    data: bytes | None
    content: dict[str, Any]
    style: Style


def read_client_file(path: Path, field: str) -> ClientFile:
    """Reads a file; one that is missing, or holds nothing, reads as an empty object.

    Args:
        path: where it is; symbolic links are followed.
        field: the name of the argument, for errors.

    Raises:
        InvalidInput: too large, not readable, not a JSON object, or a key in it stands twice.
    """
    path = path.expanduser().absolute()
    try:
        target = Path(os.path.realpath(path))
        data = _bytes_of(target)
    except (OSError, ValueError) as error:
        raise InvalidInput(field, f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if data is None or not data.strip():
        return ClientFile(path=path, target=target, data=data, content={}, style=Style())
    if len(data) > FILE_BYTES_MAX:
        raise InvalidInput(field, f"{path} is too large", limit=FILE_BYTES_MAX)
    try:
        text = data.removeprefix(BOM).decode()
        content = parse(text)
        style = style_of(text, content, bom=data.startswith(BOM))
    except (ValueError, RecursionError) as error:
        problem = str(error) or type(error).__name__
        raise InvalidInput(field, f"{path} is left alone: {problem}", hint="mend the file first") from None
    return ClientFile(path=path, target=target, data=data, content=content, style=style)


def _bytes_of(target: Path) -> bytes | None:
    """At most one byte more than the limit; a device or a pipe is no file to edit."""
    try:
        if not stat.S_ISREG(target.stat().st_mode):
            raise ValueError("not a regular file")
        with target.open("rb") as file:
            return file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return None


def parse(text: str) -> dict[str, Any]:
    """The object of a JSON text.

    Raises:
        ValueError: not JSON, not an object, or a key that stands twice (one of them would be lost).
    """

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(items)
        if len(made) != len(items):
            twice = next(key for i, (key, _) in enumerate(items) if key in dict(items[:i]))
            raise ValueError(f"the key {twice!r} stands twice in one object")
        return made

    value = json.loads(text, object_pairs_hook=pairs, parse_float=Verbatim)
    if not isinstance(value, dict):
        raise ValueError(f"it holds a JSON {type(value).__name__}, not an object")  # noqa: TRY004 - as bad JSON is
    return value


class Verbatim(float):
    """A number with a fraction or an exponent, written back as it was spelled."""

    spelled: str

    def __new__(cls, text: str) -> Self:
        """Keeps the spelling beside the value."""
        made = super().__new__(cls, text)
        made.spelled = text
        return made


def style_of(text: str, content: dict[str, Any], *, bom: bool = False) -> Style:
    """The style that a text is written in, or the nearest one where it was formatted by hand."""
    newline = "\r\n" if "\r\n" in text else "\n"
    body = text.replace("\r\n", "\n")
    tail = body[len(body.rstrip()) :]
    if not content:
        return Style(newline=newline, tail=tail, bom=bom)
    indented = re.search(r"[\[{]\n([ \t]+)", body)
    indent = indented[1] if indented else None
    joints = [(",", ": "), (",", ":")] if indented else [(",", ":"), (", ", ": ")]
    for separators in joints:
        for ascii_only in (False, True):
            style = Style(
                indent=indent,
                separators=separators,
                ascii_only=ascii_only,
                newline=newline,
                tail=tail,
                bom=bom,
            )
            if written(content, style).removeprefix(BOM) == text.encode():
                return style
    return Style(
        indent=indent if indented or "\n" not in body.strip() else "  ",
        separators=(",", ": ") if indented or "\n" in body.strip() else (", ", ": "),
        newline=newline,
        tail=tail,
        bom=bom,
        exact=False,
    )


def written(content: dict[str, Any], style: Style) -> bytes:
    """The bytes of an object in a style."""
    text = _encode(content, style, 0) + style.tail
    whole = _LONE.sub(lambda lone: f"\\u{ord(lone[0]):04x}", text)
    data = whole.replace("\n", style.newline).encode()
    return BOM + data if style.bom else data


def _encode(value: Any, style: Style, depth: int) -> str:
    """As ``json.dumps``, but numbers keep their spelling."""
    if depth > DEPTH_MAX:
        raise ValueError(f"nested deeper than {DEPTH_MAX} levels")
    if isinstance(value, Verbatim):
        return value.spelled
    if isinstance(value, dict) and value:
        key_end = style.separators[1]
        return _joined(
            [
                f"{json.dumps(key, ensure_ascii=style.ascii_only)}{key_end}{_encode(part, style, depth + 1)}"
                for key, part in value.items()
            ],
            "{}",
            style,
            depth,
        )
    if isinstance(value, list) and value:
        return _joined([_encode(part, style, depth + 1) for part in value], "[]", style, depth)
    return json.dumps(value, ensure_ascii=style.ascii_only)


def _joined(parts: list[str], braces: str, style: Style, depth: int) -> str:
    if style.indent is None:
        return braces[0] + style.separators[0].join(parts) + braces[1]
    pad = "\n" + style.indent * (depth + 1)
    return f"{braces[0]}{pad}{(style.separators[0] + pad).join(parts)}\n{style.indent * depth}{braces[1]}"


def replace(file: ClientFile, data: bytes, now: datetime) -> Path | None:
    """Writes new bytes in place of the file that was read, in one step, after a backup of the old ones.

    Returns:
        The backup; None where there was no file.

    Raises:
        Conflict: somebody changed the file meanwhile; nothing was written.
        InvalidInput: it cannot be written.
    """
    target = file.target
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(target.stat().st_mode) if file.data is not None else 0o600
        backup = _back_up(file, mode, now) if file.data is not None else None
        fresh = target.with_name(f".{target.name}.retain-{os.getpid()}-{os.urandom(4).hex()}")
        try:
            _create(fresh, data, mode)
            _keep_owner(target, fresh)
            if _bytes_of(target) != file.data:
                _discard(backup)
                raise Conflict(f"{file.path} changed while it was being edited", hint="run the command again")
            fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)
        _sync(target.parent)
    except OSError as error:
        raise InvalidInput("file", f"{file.path} cannot be written: {error.strerror}") from None
    return backup


def remove(file: ClientFile) -> None:
    """Deletes a file that retain made and that holds nothing any more."""
    with suppress(FileNotFoundError):
        file.target.unlink()
    _sync(file.target.parent)


def backups_of(file: ClientFile) -> list[Path]:
    """The backups of a file, newest first."""
    found = file.target.parent.glob(glob.escape(file.target.name) + BACKUP + "*")
    return sorted(found, key=lambda path: path.name, reverse=True)


def _back_up(file: ClientFile, mode: int, now: datetime) -> Path:
    assert file.data is not None, "only what was read is backed up"
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    for number in range(BACKUPS_OF_A_SECOND):
        suffix = f"-{number:02d}" if number else ""
        backup = file.target.with_name(f"{file.target.name}{BACKUP}{stamp}{suffix}")
        with suppress(FileExistsError):
            _create(backup, file.data, mode)
            _keep_owner(file.target, backup)
            return backup
    raise Conflict(f"{file.path}: too many backups within one second", hint="run the command again")


def _discard(backup: Path | None) -> None:
    if backup is not None:
        backup.unlink(missing_ok=True)


def _create(path: Path, data: bytes, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fchmod(fd, mode)
        os.fsync(fd)


def _keep_owner(old: Path, new: Path) -> None:
    """Gives a new file the owner of the old one, where this process may; else it is the user's own."""
    with suppress(OSError):
        owner = old.stat()
        if (owner.st_uid, owner.st_gid) != (os.getuid(), os.getgid()):
            os.chown(new, owner.st_uid, owner.st_gid)


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
