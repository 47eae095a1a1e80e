"""Folders of Markdown: basic-memory, the memory files that Claude Code keeps, and CLAUDE.md by reference."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from retain.capture.moving.records import Found, Item, Source, clean, item
from retain.errors import InvalidInput

INDEX = "MEMORY.md"
FILE_BYTES_MAX = 4 * 1024 * 1024
HEADINGS_MAX = 40
LINES_LOOKED_AT = 200
RULE_FOLDERS = (Path("rules"), Path(".claude", "rules"))
INSTRUCTIONS = ("CLAUDE.md", "CLAUDE.local.md", str(Path(".claude", "CLAUDE.md")))

_FRONT = re.compile(r"\A---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_FIELD = re.compile(r"^(?P<indent>\s*)(?P<key>[A-Za-z_][\w-]*):[ \t]*(?P<value>.*)$")
_HASHTAG = re.compile(r"(?<!\S)#([A-Za-z][\w/-]{1,60})")
_OBSERVATION = re.compile(r"^\s*-\s+\[[^\]\n]{1,60}\]\s.*$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A Markdown file: the fields of its front matter (nested ones by their own name), and the rest."""

    fields: Mapping[str, Any]
    body: str


def page(text: str) -> Page:
    """Reads front matter as far as these tools write it: scalars, lists, one level of nesting."""
    found = _FRONT.match(text)
    if found is None:
        return Page(fields={}, body=text)
    fields: dict[str, Any] = {}
    key = ""
    for line in found[1].splitlines():
        field = _FIELD.match(line)
        if field is not None:
            key = field["key"]
            if field["value"] or key not in fields:
                fields[key] = _value(field["value"])
        elif line.strip().startswith("- ") and key:
            known = fields.get(key)
            fields[key] = [*(known if isinstance(known, list) else []), _value(line.strip()[2:])]
    return Page(fields=fields, body=text[found.end() :])


def _value(text: str) -> Any:
    text = text.strip()
    if text[:1] == "[" and text[-1:] == "]":
        return [_value(part) for part in text[1:-1].split(",") if part.strip()]
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def open_basic_memory(place: Path) -> Source:
    """The notes of a project of basic-memory.

    Raises:
        InvalidInput: no such folder.
    """
    return _source(place, _files(place, "basic-memory"), _note)


def open_auto_memory(place: Path) -> Source:
    """The memory files of every project of Claude Code, or of one: not their indexes, which repeat them.

    Raises:
        InvalidInput: no such folder.
    """
    files = [path for path in _files(place, "auto-memory") if "memory" in path.parent.parts]
    return _source(place, files, _auto_memory)


def open_claude_md(place: Path) -> Source:
    """The instructions of a project folder: CLAUDE.md, CLAUDE.local.md and rules, each as a reference.

    Raises:
        InvalidInput: no such folder.
    """
    if place.is_file():
        return _source(place, [place], _reference)
    if not place.is_dir():
        raise InvalidInput("file", f"{place}: no such file or folder")
    files = [place / name for name in INSTRUCTIONS if (place / name).is_file()]
    for folder in RULE_FOLDERS:
        files += sorted((place / folder).rglob("*.md"))
    return _source(place, files, _reference)


def _files(place: Path, tool: str) -> list[Path]:
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise InvalidInput("file", f"{place}: no such file or folder", hint=f"name the folder of {tool}")
    return sorted(
        Path(top, name)
        for top, _, names in os.walk(place)
        if not any(part.startswith(".") for part in Path(top).relative_to(place).parts)
        for name in names
        if name.lower().endswith(".md")
    )


Read = Callable[[Path, Path, bytes], Item | str]
"""The item of a file, given the folder it was found below and its bytes; or why it gives none."""


def _source(place: Path, files: list[Path], read: Read) -> Source:
    return Source(place=str(place), count=len(files), records=_records(place, files, read))


def _records(place: Path, files: list[Path], read: Read) -> Iterator[Found]:
    top = place if place.is_dir() else place.parent
    for path in files:
        shown = clean(str(path))
        try:
            if path.stat().st_size > FILE_BYTES_MAX:
                yield Found(place=shown, skipped=f"is larger than {FILE_BYTES_MAX:,} bytes")
                continue
            data = path.read_bytes()
        except OSError as error:
            yield Found(place=shown, skipped=f"cannot be read: {error.strerror or error}")
            continue
        made = read(path, top, data)
        if isinstance(made, str):
            yield Found(place=shown, skipped=made)
        else:
            yield Found(place=shown, item=made)


def _note(path: Path, top: Path, data: bytes) -> Item | str:
    text = data.decode("utf-8-sig", "replace")
    read = page(text)
    if not read.body.strip():
        return "has no text"
    where = clean(str(path.relative_to(top)))
    tags = [
        "basic-memory",
        *_tags(read.fields.get("tags")),
        *_HASHTAG.findall("\n".join(_OBSERVATION.findall(text))),
    ]
    kind = clean(read.fields.get("type"))
    return item(
        clean(read.fields.get("permalink")) or where,
        read.body.strip(),
        title=clean(read.fields.get("title")) or path.stem,
        tags=[*tags, kind] if kind and kind != "note" else tags,
        at=read.fields.get("created") or read.fields.get("date") or path.stat().st_mtime,
    )


def _auto_memory(path: Path, _top: Path, data: bytes) -> Item | str:
    if path.name == INDEX:
        return "is the index of the memory files beside it"
    read = page(data.decode("utf-8-sig", "replace"))
    if not read.body.strip():
        return "has no text"
    kind = clean(read.fields.get("type"))
    about = clean(read.fields.get("description"))
    project = next((parent.parent for parent in path.parents if parent.name == "memory"), path.parent)
    folder = _folder_of(project)
    return item(
        f"{clean(project.name)}/{clean(path.stem)}",
        f"{about}\n\n{read.body.strip()}" if about else read.body.strip(),
        title=about or clean(read.fields.get("name")) or path.stem,
        tags=[
            "auto-memory",
            *([kind] if kind else []),
            *([] if folder else [f"project:{clean(project.name)}"[:64]]),
        ],
        at=read.fields.get("modified") or path.stat().st_mtime,
        folder=folder,
    )


def _folder_of(project: Path) -> str | None:
    """The folder that a project's name stands for: the name is lossy, the lines of its transcripts are not."""
    for transcript in sorted(project.glob("*.jsonl")):
        try:
            with transcript.open("rb") as file:
                for line, _ in zip(file, range(LINES_LOOKED_AT), strict=False):
                    record = orjson.loads(line)
                    if isinstance(record, dict) and isinstance(record.get("cwd"), str):
                        return str(record["cwd"])
        except (OSError, orjson.JSONDecodeError):
            continue
    return None


def _reference(path: Path, top: Path, data: bytes) -> Item | str:
    """Where the instructions lie and what they are about: their text stays where the client reads it."""
    text = data.decode("utf-8-sig", "replace")
    if not text.strip():
        return "is empty"
    headings = [line.lstrip("# ").strip() for line in text.splitlines() if line.startswith("#")][
        :HEADINGS_MAX
    ]
    shown = clean(str(path.relative_to(top)))
    digest = sha256(data).hexdigest()
    lines = [f"{shown} holds instructions for this project ({len(data):,} bytes, sha256 {digest}).",
             *(f"- {clean(heading)}" for heading in headings if heading)]  # fmt: skip
    return item(
        clean(str(path.absolute())),
        "\n".join(lines),
        title=f"{shown}: {clean(headings[0])}" if headings and headings[0] else shown,
        paths=[str(path.absolute())],
        tags=["claude-md", "reference"],
        at=path.stat().st_mtime,
        folder=str(top.absolute()),
    )


def _tags(value: Any) -> list[str]:
    if isinstance(value, list):
        return [clean(one).lstrip("#") for one in value if isinstance(one, str)]
    return [part.strip().lstrip("#") for part in clean(value).split(",") if part.strip()]
