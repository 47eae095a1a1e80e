"""The configuration files of clients that retain writes into: read, change, write back, all else untouched.

What changes is written in the file's own style (indentation, separators, escapes, line ends, byte order mark),
what does not keeps its bytes. The file keeps its mode and its place behind a symbolic link. It is replaced in one
step, and only if nobody has changed it since it was read.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from retain.errors import Conflict, InvalidInput
from retain.interfaces import json_text, toml_text
from retain.interfaces.client_backups import Backups
from retain.interfaces.json_text import DEPTH_MAX, Verbatim
from retain.whole_files import create, sync

FILE_BYTES_MAX = 10 * 1024 * 1024
JSON, JSON_WITH_COMMENTS, TOML = "json", "json with comments", "toml"
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
    """A configuration file as it was read.

    Attributes:
        path: as the user named it; ``target`` is what it points to.
        data: its bytes; None where there is no file.
        content: its object; empty where there is no file.
        form: what it is written in.
    """

    path: Path
    target: Path
    data: bytes | None
    content: dict[str, Any]
    style: Style
    form: str = JSON


def read_client_file(path: Path, field: str, form: str = JSON) -> ClientFile:
    """Reads a file; one that is missing, or holds nothing, reads as an empty object.

    Args:
        path: where it is; symbolic links are followed.
        field: the name of the argument, for errors.
        form: what it is written in.

    Raises:
        InvalidInput: too large, not readable, not an object of that form, or a key in it stands twice.
    """
    plain = read_plain_file(path, field, form)
    path, target, data = plain.path, plain.target, plain.data
    if data is None or not data.strip():
        return plain
    try:
        content, style = _understood(data, form)
    except (ValueError, RecursionError) as error:
        problem = str(error) or type(error).__name__
        raise InvalidInput(field, f"{path} is left alone: {problem}", hint="mend the file first") from None
    return ClientFile(path=path, target=target, data=data, content=content, style=style, form=form)


def read_plain_file(path: Path, field: str, form: str = JSON) -> ClientFile:
    """Reads the bytes of a file, which may be missing; what they say is not asked.

    Raises:
        InvalidInput: too large, not readable, or no regular file.
    """
    path = path.expanduser().absolute()
    try:
        target = Path(os.path.realpath(path))
        data = _bytes_of(target)
    except (OSError, ValueError) as error:
        raise InvalidInput(field, f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if data is not None and len(data) > FILE_BYTES_MAX:
        raise InvalidInput(field, f"{path} is too large", limit=FILE_BYTES_MAX)
    return ClientFile(path=path, target=target, data=data, content={}, style=Style(), form=form)


def _understood(data: bytes, form: str) -> tuple[dict[str, Any], Style]:
    """The content of bytes, and how they are written."""
    bom = data.startswith(BOM)
    text = data.removeprefix(BOM).decode()
    if form == TOML:
        return toml_text.parsed(text), Style(newline="\r\n" if "\r\n" in text else "\n", bom=bom)
    content = json_text.scan(text, comments=form == JSON_WITH_COMMENTS).value
    return content, style_of(text, content, bom=bom)


def edited(file: ClientFile, content: dict[str, Any], *, group: str = "", name: str = "") -> bytes:
    """The bytes of a file that is to hold another content; what does not change keeps its bytes.

    Args:
        file: as it was read.
        content: what it is to hold.
        group: of TOML, the table that holds the one that changes.
        name: of TOML, the table that changes; no other may.

    Raises:
        InvalidInput: the change cannot be made in place.
    """
    if file.content == content and file.data is not None:
        return file.data
    text = (file.data or b"").removeprefix(BOM).decode()
    try:
        if file.form == TOML:
            made = _edited_toml(text, content, group, name)
        elif not text.strip():
            return written(content, file.style)
        else:
            made = json_text.rewritten(
                text, content, _hand(file.style), comments=file.form == JSON_WITH_COMMENTS
            )
    except ValueError as error:
        raise InvalidInput(
            "file", f"{file.path} is left alone: {error}", hint="mend the file first"
        ) from None
    return BOM + made.encode() if file.style.bom else made.encode()


def _edited_toml(text: str, content: dict[str, Any], group: str, name: str) -> str:
    plain = text.replace("\r\n", "\n")
    newline = "\r\n" if plain != text else "\n"
    if plain.replace("\n", newline) != text:
        raise ValueError("its lines end in two ways")
    return toml_text.rewritten(plain, content, group, name).replace("\n", newline)


def _hand(style: Style) -> json_text.Hand:
    """How a style writes what is inserted."""
    return json_text.Hand(
        encode=lambda value, depth: _without_lone(_encode(value, style, depth)),
        key=lambda key: _without_lone(json.dumps(key, ensure_ascii=style.ascii_only)) + style.separators[1],
        indent=style.indent,
        gap=style.separators[0][1:],
        newline=style.newline,
    )


def _bytes_of(target: Path) -> bytes | None:
    """At most one byte more than the limit; a device or a pipe is no file to edit."""
    try:
        if not stat.S_ISREG(target.stat().st_mode):
            raise ValueError("not a regular file")
        with target.open("rb") as file:
            return file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return None


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
    text = _without_lone(_encode(content, style, 0) + style.tail)
    data = text.replace("\n", style.newline).encode()
    return BOM + data if style.bom else data


def _without_lone(text: str) -> str:
    """The text with lone surrogates escaped; UTF-8 has none."""
    return _LONE.sub(lambda lone: f"\\u{ord(lone[0]):04x}", text)


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


def replace(file: ClientFile, data: bytes, backups: Backups, now: datetime) -> Path | None:
    """Writes new bytes in place of the file that was read, in one step, after a backup of the old ones.

    Returns:
        The backup; None where there was no file.

    Raises:
        Conflict: somebody changed the file meanwhile; nothing was written.
        InvalidInput: it cannot be written.
    """
    target = file.target
    missing = [path for path in target.parents if not path.exists()]
    backup = backups.keep(target, file.data, missing, now)
    try:
        overwrite(file, data)
    except (InvalidInput, Conflict):
        backup.unlink(missing_ok=True)
        raise
    return backup if file.data is not None else None


def overwrite(file: ClientFile, data: bytes) -> None:
    """Writes new bytes in place of the file that was read, in one step, with its mode and owner, without a backup.

    Raises:
        Conflict: somebody changed the file meanwhile; nothing was written.
        InvalidInput: it cannot be written.
    """
    target = file.target
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(target.stat().st_mode) if file.data is not None else 0o600
        fresh = target.with_name(f".{target.name}.retain-{os.getpid()}-{os.urandom(4).hex()}")
        try:
            create(fresh, data, mode)
            _keep_owner(target, fresh)
            if _bytes_of(target) != file.data:
                raise Conflict(f"{file.path} changed while it was being edited", hint="run the command again")
            fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)
        sync(target.parent)
    except OSError as error:
        raise InvalidInput("file", f"{file.path} cannot be written: {error.strerror}") from None


def remove(file: ClientFile, made: Sequence[Path]) -> None:
    """Deletes a file that retain made and that holds nothing any more, and the empty folders made for it."""
    with suppress(FileNotFoundError):
        file.target.unlink()
    sync(file.target.parent)
    for folder in made:
        with suppress(OSError):
            folder.rmdir()


def _keep_owner(old: Path, new: Path) -> None:
    """Gives a new file the owner of the old one, where this process may; else it is the user's own."""
    with suppress(OSError):
        owner = old.stat()
        if (owner.st_uid, owner.st_gid) != (os.getuid(), os.getgid()):
            os.chown(new, owner.st_uid, owner.st_gid)
