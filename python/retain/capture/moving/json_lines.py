"""Files with one JSON object a line: the graph of server-memory, and the history of prompts of Claude Code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from retain.capture.distil import is_prompt_noise
from retain.capture.moving.records import Found, Item, Source, clean, item, mapping, texts
from retain.capture.parse import load_json
from retain.capture.transcript import LINE_BYTES_MAX
from retain.errors import InvalidInput

Read = Callable[[dict[str, Any], int], Item | str]
"""The item of a line, or why it gives none; the number of the line counts from 1."""


def open_graph(place: Path) -> Source:
    """The entities and relations of a ``memory.jsonl`` of server-memory.

    Raises:
        InvalidInput: there is none.
    """
    return _source(place, _graph)


def open_history(place: Path) -> Source:
    """The prompts of a ``history.jsonl`` of Claude Code, each in the workspace of its project.

    Raises:
        InvalidInput: there is none.
    """
    return _source(place, _history)


def _source(place: Path, read: Read) -> Source:
    try:
        with place.open("rb") as file:
            count = sum(1 for line in file if line.strip())
    except OSError as error:
        raise InvalidInput("file", f"{place}: {error.strerror or error}") from None
    return Source(place=str(place), count=count, records=_records(place, read))


def _records(path: Path, read: Read) -> Iterator[Found]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            place = f"{path}: line {number}"
            record = load_json(line) if len(line) <= LINE_BYTES_MAX else None
            found = read(record, number) if isinstance(record, dict) else "is no JSON object"
            if isinstance(found, str):
                yield Found(place=place, skipped=found)
            else:
                yield Found(place=place, item=found)


def _graph(record: dict[str, Any], _number: int) -> Item | str:
    kind = record.get("type")
    if kind == "entity":
        name, what = clean(record.get("name")).strip(), clean(record.get("entityType")).strip()
        if not name:
            return "is an entity without a name"
        facts = [f"- {fact}" for fact in texts(record.get("observations"))]
        head = f"{name} ({what})" if what else name
        text = "\n".join([head, *facts])
        return item(f"entity/{name}", text, title=head, tags=[tag for tag in ("server-memory", what) if tag])
    if kind == "relation":
        ends = [clean(record.get(key)).strip() for key in ("from", "relationType", "to")]
        if not all(ends):
            return "is a relation without its ends"
        text = " ".join(ends)
        return item(f"relation/{'/'.join(ends)}", text, title=text, tags=["server-memory", "relation"])
    return "is neither entity nor relation"


def _history(record: dict[str, Any], _number: int) -> Item | str:
    text = clean(record.get("display")).strip()
    pasted = [
        clean(mapping(one).get("content"))
        for one in mapping(record.get("pastedContents")).values()
        if clean(mapping(one).get("content")).strip()
    ]
    if is_prompt_noise(text) and not pasted:
        return "says nothing by itself: a command of the client, or an answer of one word"
    folder = record.get("project")
    return item(
        f"{record.get('timestamp')}/{clean(record.get('sessionId'))}",
        "\n\n".join([text, *pasted]),
        kind="prompt",
        at=record.get("timestamp"),
        folder=folder if isinstance(folder, str) and folder else None,
    )
