"""mem0: a JSON export, as ``get_all`` returns it or as the platform writes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from retain.capture.moving.records import Found, Item, Source, clean, item, mapping, texts
from retain.capture.parse import load_json
from retain.errors import InvalidInput

LISTS = ("results", "memories", "data")
BYTES_MAX = 1 << 30


def open_source(place: Path) -> Source:
    """The memories of an export, and its relations where it has a graph.

    Raises:
        InvalidInput: it cannot be read, or holds no list of memories.
    """
    try:
        size = place.stat().st_size
        value = load_json(place.read_bytes()) if size <= BYTES_MAX else None
    except OSError as error:
        raise InvalidInput("file", f"{place}: {error.strerror or error}") from None
    about = mapping(value)
    memories = value if isinstance(value, list) else next(
        (about[name] for name in LISTS if isinstance(about.get(name), list)), None
    )  # fmt: skip
    if not isinstance(memories, list):
        raise InvalidInput("file", f"{place}: is no export of mem0: no list named {', '.join(LISTS)}")
    relations = about.get("relations")
    found = [("memory", one) for one in memories]
    found += [("relation", one) for one in relations] if isinstance(relations, list) else []
    return Source(place=str(place), count=len(found), records=_records(place, found))


def _records(path: Path, found: list[tuple[str, Any]]) -> Iterator[Found]:
    for number, (what, record) in enumerate(found):
        place = f"{path}: {what} {number}"
        made = _memory(mapping(record), number) if what == "memory" else _relation(mapping(record))
        yield Found(place=place, item=made, skipped="" if made else "has no text")


def _memory(record: Any, number: int) -> Item | None:
    text = clean(record.get("memory") or record.get("text") or record.get("content"))
    if not text.strip():
        return None
    about = mapping(record.get("metadata"))
    who = [
        f"{name}:{record[f'{name}_id']}"
        for name in ("user", "agent", "app", "run")
        if record.get(f"{name}_id")
    ]
    tags = ["mem0", *texts(record.get("categories")), *texts(about.get("tags")), *who]
    extra = [
        f"{key}: {value}"
        for key, value in about.items()
        if key != "tags" and isinstance(value, str | int | float)
    ]
    return item(
        clean(record.get("id")) or str(number),
        "\n".join([text, *extra]),
        title=" ".join(text.split())[:120],
        tags=tags,
        at=record.get("updated_at") or record.get("created_at"),
    )


def _relation(record: Any) -> Item | None:
    ends = [
        clean(record.get("source")),
        clean(record.get("relationship") or record.get("relation")),
        clean(record.get("target") or record.get("destination")),
    ]
    if not all(end.strip() for end in ends):
        return None
    return item(f"relation/{'/'.join(ends)}", " ".join(ends), tags=["mem0", "relation"])
