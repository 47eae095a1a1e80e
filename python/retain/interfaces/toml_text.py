"""Puts one table into a TOML text, and takes it out again; every other byte stays as it is."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

_HEADER = re.compile(r"^[ \t]*\[(?P<name>[^\[\]\n]+)\][ \t]*(?:#[^\n]*)?$", re.MULTILINE)
_ANY_HEADER = re.compile(r"^[ \t]*\[", re.MULTILINE)
_ASSIGNMENT = re.compile(r"^[ \t]*(?P<key>[A-Za-z0-9_-]+)[ \t]*=", re.MULTILINE)


def parsed(text: str) -> dict[str, Any]:
    """The content of a text.

    Raises:
        ValueError: not TOML; the message names line and column.
    """
    return tomllib.loads(text)


def rewritten(text: str, wanted: dict[str, Any], group: str, name: str) -> str:
    """The text with the table ``[group.name]`` as it is wanted: added at the end, brought up to date, or gone.

    Args:
        text: the whole file, with line ends of one character.
        wanted: the content that is wanted; it differs from that of the text in this table only.
        group: the table that holds it.
        name: its name.

    Raises:
        ValueError: the table is not written under a header of its own, so it cannot be changed in place.
    """
    before = parsed(text).get(group, {}).get(name)
    after = wanted.get(group, {}).get(name)
    if before == after:
        return text
    if after is None:
        made = _without(text, group, name)
    elif before is None:
        made = _with(text, f"[{group}.{name}]\n{_assigned(after)}")
    else:
        made = _updated(
            text, group, name, {key: value for key, value in after.items() if before.get(key) != value}
        )
    try:
        fits = parsed(made) == wanted
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"[{group}.{name}] cannot be changed in place; write it under a header of its own")
    return made


def _with(text: str, table: str) -> str:
    if not text.strip():
        return text + table
    return text + ("" if text.endswith("\n") else "\n") + "\n" + table


def _assigned(values: dict[str, Any]) -> str:
    """Strings and lists of strings, one assignment a line; as TOML they are written like JSON."""
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())


def _spans(text: str, group: str, name: str) -> list[tuple[int, int]]:
    """Where the table and the tables below it stand, each with its header."""
    found = []
    for header in _HEADER.finditer(text):
        keys = [key.strip().strip("\"'") for key in header["name"].split(".")]
        if keys[:2] == [group, name] and _is_table(text, header, group, name):
            following = _ANY_HEADER.search(text, header.end())
            found.append((header.start(), following.start() if following else len(text)))
    return found


def _is_table(text: str, header: re.Match[str], group: str, name: str) -> bool:
    """Whether a line that looks like a header is one, and not a line of a longer string."""
    probe = text[: header.start("name")] + "retain-probe" + text[header.end("name") :]
    try:
        return bool(parsed(probe).get(group, {}).get(name) != parsed(text)[group][name])
    except (ValueError, KeyError):
        return False


def _without(text: str, group: str, name: str) -> str:
    joined: list[tuple[int, int]] = []
    for start, end in _spans(text, group, name):
        first = joined.pop()[0] if joined and joined[-1][1] == start else start
        joined.append((first, end))
    for start, end in reversed(joined):
        cut = start - 1 if end == len(text) and text[:start].endswith("\n\n") else start
        text = text[:cut] + text[end:]
    return text


def _updated(text: str, group: str, name: str, changed: dict[str, Any]) -> str:
    """The text with some assignments of the table replaced, and those added that it lacks."""
    spans = _spans(text, group, name)
    if not spans:
        return text
    start, end = spans[0]
    body = text[start:end]
    for key, value in changed.items():
        new = _assigned({key: value})
        place = next((found for found in _ASSIGNMENT.finditer(body) if found["key"] == key), None)
        if place is None:
            head = body.index("\n") + 1 if "\n" in body else len(body)
            body = body[:head] + ("" if body[:head].endswith("\n") else "\n") + new + body[head:]
        else:
            body = body[: place.start()] + new + body[_value_end(body, place.start()) :]
    return text[:start] + body + text[end:]


def _value_end(body: str, start: int) -> int:
    """Where the assignment that begins at ``start`` ends: the first line end at which it can be read."""
    end = start
    while end < len(body):
        end = body.find("\n", end) + 1 or len(body)
        try:
            tomllib.loads(body[start:end])
        except ValueError:
            continue
        return end
    return end
