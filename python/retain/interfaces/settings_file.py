"""Changes one value of ``config.toml`` and leaves every other byte as it was.

The text is edited statement by statement, and the result is read again: where it does not say exactly what was
meant, nothing is written.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retain.config import CONFIG_FILE, check_config
from retain.errors import InvalidInput
from retain.interfaces import client_files

STATEMENT_LINES_MAX = 400

Keys = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Statement:
    """``key = value`` and the lines it takes, or the header of a table, which has no value."""

    first: int
    last: int
    table: Keys
    value: Mapping[str, Any] | None


def change(home: Path, keys: Keys, value: Any) -> bool:
    """Sets a value in the configuration of a data directory, or takes it out where it is None.

    Returns:
        False where the file says so already.

    Raises:
        InvalidInput: the file, as it would be, is refused; or it cannot be edited safely.
        Conflict: somebody changed the file meanwhile.
    """
    file = client_files.read_plain_file(home / CONFIG_FILE, "config")
    text = _decoded(file)
    fresh = edited(text, keys, value)
    if fresh == text:
        return False
    check_config(home, fresh)
    client_files.overwrite(file, fresh.encode())
    return True


def edited(text: str, keys: Keys, value: Any) -> str:
    """The text with one value set, or taken out where it is None.

    Raises:
        InvalidInput: not TOML, or written in a way that cannot be edited safely.
    """
    before = _loaded(text)
    wanted = _with(before, keys, value)
    if wanted == _pruned(before):
        return text
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.replace("\r\n", "\n").split("\n")
    fresh = newline.join(_changed(lines, keys, value))
    if _pruned(_loaded(fresh)) != wanted:
        raise InvalidInput(
            ".".join(keys), "stands in the file in a way that cannot be changed safely; edit it by hand"
        )
    return fresh


def _decoded(file: client_files.ClientFile) -> str:
    try:
        return (file.data or b"").decode()
    except UnicodeDecodeError as error:
        raise InvalidInput("config", f"{file.path} is not UTF-8 at byte {error.start}") from None


def _loaded(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            "config", f"{CONFIG_FILE} is not TOML: {error}", hint="mend the file first"
        ) from None


def _with(values: Mapping[str, Any], keys: Keys, value: Any) -> dict[str, Any]:
    made = dict(values)
    if len(keys) > 1:
        inner = made.get(keys[0])
        made[keys[0]] = _with(inner if isinstance(inner, Mapping) else {}, keys[1:], value)
    elif value is None:
        made.pop(keys[0], None)
    else:
        made[keys[0]] = value
    return _pruned(made)


def _pruned(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without tables that hold nothing."""
    inner = {key: _pruned(one) if isinstance(one, Mapping) else one for key, one in values.items()}
    return {key: one for key, one in inner.items() if one != {}}


def _changed(lines: Sequence[str], keys: Keys, value: Any) -> list[str]:
    found = list(_statements(lines))
    for one in found:
        below = keys[len(one.table) :]
        if one.value is None or keys[: len(one.table)] != one.table or not below or below[0] not in one.value:
            continue
        if value is None and len(below) == 1:
            return _without_lines(lines, found, one)
        fresh = _with(one.value, below, value)
        kept = [] if not fresh else [_written(fresh)]
        return (
            [*lines[: one.first], *kept, *lines[one.last + 1 :]]
            if kept
            else _without_lines(lines, found, one)
        )
    if value is None:
        return [line for n, line in enumerate(lines) if n not in _lines_of_tables(found, keys)]
    return _inserted(lines, found, keys, value)


def _without_lines(lines: Sequence[str], found: Sequence[_Statement], gone: _Statement) -> list[str]:
    """Without a statement, and without the header of its table where that holds nothing more."""
    dropped = set(range(gone.first, gone.last + 1))
    if not any(one.table == gone.table and one.value is not None and one is not gone for one in found):
        dropped |= {
            one.first for one in found if one.table == gone.table and one.value is None and gone.table
        }
    return [line for number, line in enumerate(lines) if number not in dropped]


def _lines_of_tables(found: Sequence[_Statement], keys: Keys) -> set[int]:
    return {n for one in found if one.table[: len(keys)] == keys for n in range(one.first, one.last + 1)}


def _inserted(lines: Sequence[str], found: Sequence[_Statement], keys: Keys, value: Any) -> list[str]:
    table = keys[:-1]
    own = [one for one in found if one.table == table]
    statement = f"{_key(keys[-1])} = {_literal(value)}"
    if own:
        place = own[-1].last + 1
    elif not table:
        place = min((one.first for one in found), default=len(lines))
        place = len(lines) - 1 if place == len(lines) and not lines[-1] else place
    else:
        body = list(lines)
        while body and not body[-1].strip():
            body.pop()
        header = f"[{'.'.join(map(_key, table))}]"
        return [*body, *([""] if body else []), header, statement, ""]
    return [*lines[:place], statement, *lines[place:]]


def _statements(lines: Sequence[str]) -> Iterator[_Statement]:
    table: Keys = ()
    number = 0
    while number < len(lines):
        line = lines[number].strip()
        if not line or line.startswith("#"):
            number += 1
            continue
        if line.startswith("["):
            table = _path_of(line)
            yield _Statement(number, number, table, None)
            number += 1
            continue
        last = _end_of(lines, number)
        yield _Statement(number, last, table, tomllib.loads("\n".join(lines[number : last + 1])))
        number = last + 1


def _end_of(lines: Sequence[str], first: int) -> int:
    """The last line of the statement that begins in a line: the first with which it can be read."""
    for last in range(first, min(len(lines), first + STATEMENT_LINES_MAX)):
        try:
            tomllib.loads("\n".join(lines[first : last + 1]))
        except tomllib.TOMLDecodeError:
            continue
        return last
    raise InvalidInput("config", f"line {first + 1} begins a statement that is too long to be edited")


def _path_of(header: str) -> Keys:
    inner: Any = tomllib.loads(header)
    path: list[str] = []
    while isinstance(inner, dict) and inner:
        path.append(next(iter(inner)))
        inner = inner[path[-1]]
    return tuple(path)


def _written(values: Mapping[str, Any]) -> str:
    """One statement of a value that may lie deep: dotted while there is one key, inline from there on."""
    path: list[str] = []
    inner: Any = values
    while isinstance(inner, Mapping) and len(inner) == 1:
        key, inner = next(iter(inner.items()))
        path.append(_key(key))
    return f"{'.'.join(path)} = {_literal(inner)}"


def _key(key: str) -> str:
    return key if key.replace("-", "").replace("_", "").isalnum() and key.isascii() else _literal(key)


def _literal(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_literal(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
