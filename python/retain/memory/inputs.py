"""Checks what callers hand in, and says which field broke which limit. Nothing is cut silently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from retain.capture.redact import redact
from retain.config import Settings
from retain.errors import InvalidInput
from retain.git import head
from retain.model import KINDS, Between, Draft, Filter, Origin, read_time, to_us
from retain.retrieval.filters import both, parse_filter
from retain.storage.text import mentioned_files

TITLE_CHARS_MAX = 200
TITLE_CHARS_DERIVED = 120
PATHS_MAX = 64
PATH_CHARS_MAX = 1_024
SYMBOLS_MAX = 256
SYMBOL_CHARS_MAX = 256
TAGS_MAX = 32
TAG_CHARS_MAX = 64
SOURCE_ID_CHARS_MAX = 256
REASON_CHARS_MAX = 1_000
IDS_CHARS_MAX = 64

FIELDS = ("text", "title", "kind", "paths", "symbols", "tags", "occurred_at", "source_id")
"""What a caller may say of a memory; everything else is set by the channel."""


def text_field(value: object, field: str, limit: int, *, empty: bool = False) -> str:
    """A string that can be stored: within the limit, valid Unicode, without NUL.

    Raises:
        InvalidInput: not a string, empty where it must not be, too long, a lone surrogate, a NUL.
    """
    if not isinstance(value, str):
        raise InvalidInput(field, f"must be a string, not {type(value).__name__}")
    if len(value) > limit:
        raise InvalidInput(field, f"{len(value):,} characters exceed the limit of {limit:,}", limit=limit)
    if not empty and not value.strip():
        raise InvalidInput(field, "must not be empty")
    if (position := value.find("\0")) >= 0:
        raise InvalidInput(field, f"contains a NUL character at position {position}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(field, f"contains a lone surrogate at position {error.start}") from None
    return value


def list_field(value: object, field: str, most: int, chars: int) -> tuple[str, ...]:
    """A list of strings, each checked like a text; repeated ones are kept once, in order.

    Raises:
        InvalidInput: not a list, too many entries, or a bad entry, named by its index.
    """
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise InvalidInput(field, f"must be a list of strings, not {type(value).__name__}")
    if len(value) > most:
        raise InvalidInput(field, f"{len(value):,} entries exceed the limit of {most}", limit=most)
    return tuple(dict.fromkeys(text_field(v, f"{field}[{i}]", chars) for i, v in enumerate(value)))


def path_list(value: object, root: str) -> tuple[str, ...]:
    """Paths, made relative to the workspace where they lie inside it.

    Raises:
        InvalidInput: a bad entry, or one that climbs out with ``..``.
    """
    return tuple(
        dict.fromkeys(
            _relative(path, f"paths[{i}]", root)
            for i, path in enumerate(list_field(value, "paths", PATHS_MAX, PATH_CHARS_MAX))
        )
    )


def _relative(path: str, field: str, root: str) -> str:
    pure = PurePosixPath(path)
    if ".." in pure.parts:
        raise InvalidInput(
            field, "must not contain '..'", hint="give it relative to the top of the repository"
        )
    if root and pure.is_relative_to(root):
        pure = pure.relative_to(root)
    return str(pure)


def kind_field(value: object) -> str:
    """One of the kinds.

    Raises:
        InvalidInput: no such kind.
    """
    if not isinstance(value, str) or value not in KINDS:
        shown = value[:64] if isinstance(value, str) else type(value).__name__
        raise InvalidInput("kind", f"unknown kind {shown!r}; known: {', '.join(KINDS)}")
    return value


def count_field(value: object, field: str, low: int, high: int) -> int:
    """A whole number within bounds.

    Raises:
        InvalidInput: not an integer, or out of bounds.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInput(field, f"must be an integer, not {type(value).__name__}")
    if not low <= value <= high:
        shown = value if abs(value) < 10**12 else "the value"
        raise InvalidInput(field, f"{shown} is outside {low}..{high}", limit=f"{low}..{high}")
    return value


def id_field(value: object, field: str) -> str:
    """An id, as it is printed.

    Raises:
        InvalidInput: not in the form of an id.
    """
    text = text_field(value, field, IDS_CHARS_MAX).strip().lower()
    if len(text) != 36 or [i for i, c in enumerate(text) if c == "-"] != [8, 13, 18, 23]:
        raise InvalidInput(field, "not an id; ids look like 01a20852-fd2f-7000-a043-76db6ce6ea23")
    if not all(c in "0123456789abcdef-" for c in text):
        raise InvalidInput(field, "not an id; it holds other characters than 0-9, a-f and dashes")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """Through which door a service is used: what it writes carries this origin, folder and session."""

    origin: Origin = "user"
    folder: str = "/"
    session: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What a draft carries besides the caller's fields: who, where, in which session, and the text limit."""

    origin: Origin
    branch: str | None
    commit: str | None
    session: str | None
    root: str
    text_chars_max: int


def drafts_at(
    items: Sequence[Mapping[str, Any] | Draft], root: str, channel: Channel, settings: Settings
) -> list[Draft]:
    """The drafts of what a caller hands in together, stamped with what is checked out at a place now.

    Raises:
        InvalidInput: as ``drafts_of``.
    """
    branch, commit = head.read(root)
    stamp = Stamp(
        origin=channel.origin,
        branch=branch or None,
        commit=commit or None,
        session=channel.session,
        root=root,
        text_chars_max=settings.text_chars_max,
    )
    return drafts_of(items, stamp, settings.items_max)


def drafts_of(items: Sequence[Mapping[str, Any] | Draft], stamp: Stamp, most: int) -> list[Draft]:
    """The drafts of what a caller hands in together.

    Raises:
        InvalidInput: too many, or a wrong field, named with the item's number where there are several.
    """
    if len(items) > most:
        raise InvalidInput("items", f"{len(items):,} items exceed the limit of {most:,}", limit=most)
    if len(items) == 1:
        return [draft_of(items[0], stamp)]
    return [draft_of(item, stamp, f"items[{i}].") for i, item in enumerate(items)]


def draft_of(item: Mapping[str, Any] | Draft, stamp: Stamp, prefix: str = "") -> Draft:
    """The draft of a caller's fields, checked, redacted and stamped.

    Raises:
        InvalidInput: a field is unknown or wrong; its name carries the prefix.
    """
    try:
        fields = _fields_of(item)
        return _checked(fields, stamp)
    except InvalidInput as error:
        if not prefix:
            raise
        problem = str(error).partition(": ")[2]
        raise InvalidInput(prefix + error.field, problem, limit=error.limit, hint=error.hint) from None


def _fields_of(item: Mapping[str, Any] | Draft) -> Mapping[str, Any]:
    if isinstance(item, Draft):
        return {name: getattr(item, name) for name in FIELDS}
    if not isinstance(item, Mapping):
        raise InvalidInput("item", f"must be an object, not {type(item).__name__}")
    for name in item:
        if name not in FIELDS:
            raise InvalidInput(str(name)[:64], f"unknown field; known: {', '.join(FIELDS)}")
    return item


def _checked(item: Mapping[str, Any], stamp: Stamp) -> Draft:
    given = {name: value for name, value in item.items() if value is not None}
    counts: dict[str, int] = {}
    text = redacted(text_field(given.get("text"), "text", stamp.text_chars_max), counts)
    title = text_field(given.get("title", ""), "title", TITLE_CHARS_MAX, empty=True)
    paths = path_list(given.get("paths", ()), stamp.root) or path_list(_named_files(text), stamp.root)
    symbols = list_field(given.get("symbols", ()), "symbols", SYMBOLS_MAX, SYMBOL_CHARS_MAX)
    tags = list_field(given.get("tags", ()), "tags", TAGS_MAX, TAG_CHARS_MAX)
    return Draft(
        text=text,
        title=redacted(" ".join(title.split()), counts) or derived_title(text),
        kind=kind_field(given.get("kind", "note")),
        paths=_all_redacted(paths, counts),
        symbols=_all_redacted(symbols, counts),
        tags=_all_redacted(tags, counts),
        origin=stamp.origin,
        branch=stamp.branch,
        commit=stamp.commit,
        worktree=stamp.root if stamp.commit or stamp.branch else None,
        session=stamp.session,
        occurred_at=read_time(given["occurred_at"], "occurred_at") if "occurred_at" in given else None,
        source_id=_source_id(given["source_id"]) if "source_id" in given else None,
        redacted=counts,
    )


def _named_files(text: str) -> tuple[str, ...]:
    return tuple(path for path in mentioned_files(text, PATHS_MAX) if len(path) <= PATH_CHARS_MAX)


def _all_redacted(texts: Sequence[str], counts: dict[str, int]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(redacted(text, counts) for text in texts))


def _source_id(value: object) -> str:
    """An id that can be stored as it is; one that holds a secret is refused, for changed it would be no id."""
    text = text_field(value, "source_id", SOURCE_ID_CHARS_MAX)
    if found := redact(text).counts:
        raise InvalidInput("source_id", f"holds a secret ({', '.join(found)})")
    return text


def reason_field(value: object) -> str:
    """Why something was changed, without secrets; may be empty.

    Raises:
        InvalidInput: as ``text_field``.
    """
    return redacted(text_field(value, "reason", REASON_CHARS_MAX, empty=True), {})


def redacted(text: str, counts: dict[str, int]) -> str:
    """The text without secrets; what was taken out is added to the counts."""
    clean = redact(text)
    for rule, count in clean.counts.items():
        counts[rule] = counts.get(rule, 0) + count
    return clean.text


def derived_title(text: str) -> str:
    """A title from the first line that says something."""
    line = next((" ".join(part.split()) for part in text.splitlines() if part.strip()), "")
    return line if len(line) <= TITLE_CHARS_DERIVED else line[: TITLE_CHARS_DERIVED - 1].rstrip() + "…"


def stretch(
    path: object, since: datetime | str | float | None, until: datetime | str | float | None
) -> Filter:
    """The filter of a path and a stretch of time, each of which may be left open.

    Raises:
        InvalidInput: not a path, or not a time.
    """
    where = {"path": text_field(path, "path", PATH_CHARS_MAX)} if path is not None else None
    times = Between(
        field="time",
        low=None if since is None else to_us(read_time(since, "since")),
        high=None if until is None else to_us(read_time(until, "until")),
    )
    return both(parse_filter(where) if where else None, times)
