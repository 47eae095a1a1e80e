"""What every importer yields: one entry for each record of the source, kept or skipped with a reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from retain.errors import InvalidInput
from retain.model import read_time

TITLE_CHARS = 200
TAG_CHARS = 64
TAGS = 30
PATHS = 64
PATH_CHARS = 1_024
RECORD_CHARS = 160
SECONDS_MAX = 1e11
"""Larger numbers count milliseconds, or microseconds."""

_UNFIT = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One record as a memory.

    Attributes:
        record: the record's own id in its source; another text under the same id is a new version.
        folder: the folder it belongs to, where the source knows; else the workspace of the import.
    """

    record: str
    text: str
    title: str = ""
    kind: str = "note"
    paths: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    occurred_at: datetime | None = None
    folder: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A record: where it stands (file and record), and the memory it gives or why it gives none."""

    place: str
    item: Item | None = None
    skipped: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An opened source: how many records it holds, counted apart from reading them, and the records."""

    place: str
    count: int
    records: Iterator[Found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A tool that memories can be moved in from.

    Attributes:
        default: where its data lies if nobody says otherwise; None must be told.
        open: opens it; raises InvalidInput where there is nothing of that tool.
    """

    default: str | None
    open: Callable[[Path], Source]


def item(
    record: str,
    text: str,
    *,
    title: str = "",
    kind: str = "note",
    paths: Sequence[str] = (),
    tags: Sequence[str] = (),
    at: Any = None,
    folder: str | None = None,
) -> Item:
    """An item within the limits of a memory; tags and paths that do not fit are named in the text."""
    whole = clean(text)
    fit_tags = tuple(dict.fromkeys(clean(tag).strip() for tag in tags if clean(tag).strip()))
    fit_paths = tuple(path for path in dict.fromkeys(map(clean, paths)) if path.strip())
    if len(fit_tags) > TAGS or any(len(tag) > TAG_CHARS for tag in fit_tags):
        whole += f"\n\nTags: {', '.join(fit_tags)}"
        fit_tags = tuple(tag for tag in fit_tags if len(tag) <= TAG_CHARS)[:TAGS]
    kept = tuple(path for path in fit_paths if len(path) <= PATH_CHARS and ".." not in Path(path).parts)
    if len(kept) < len(fit_paths) or len(kept) > PATHS:
        whole += f"\n\nFiles: {', '.join(fit_paths)}"
        kept = kept[:PATHS]
    heading = " ".join(clean(title).split())
    if len(heading) > TITLE_CHARS:
        whole = f"{heading}\n\n{whole}"
        heading = heading[: TITLE_CHARS - 1].rstrip() + "…"
    return Item(
        record=clean(record)[:RECORD_CHARS],
        text=whole,
        title=heading,
        kind=kind,
        paths=kept,
        tags=fit_tags,
        occurred_at=moment(at),
        folder=folder,
    )


def clean(text: Any) -> str:
    """A text that can be stored: NUL and lone surrogates become replacement characters."""
    return _UNFIT.sub("\ufffd", text) if isinstance(text, str) else "" if text is None else str(text)


def moment(value: Any) -> datetime | None:
    """When a record was made: ISO 8601, or seconds, milliseconds or microseconds since the epoch; None if unknown."""
    if isinstance(value, str) and value.strip().replace(".", "", 1).isdigit() and len(value.strip()) > 8:
        value = float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        for _ in range(2):
            value = value / 1_000 if abs(value) > SECONDS_MAX else value
    try:
        return read_time(value, "time") if isinstance(value, str | int | float | datetime) else None
    except InvalidInput:
        return None


def texts(value: Any) -> list[str]:
    """The strings of a list."""
    return [clean(one) for one in value if isinstance(one, str)] if isinstance(value, list | tuple) else []


def mapping(value: Any) -> Mapping[str, Any]:
    """An object, or an empty one."""
    return value if isinstance(value, Mapping) else {}
