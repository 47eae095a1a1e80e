"""The arguments of a tool: their JSON schema for the client, and the check of what the client sends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from retain.errors import InvalidInput

NAME_CHARS_SHOWN = 64

Type = Literal["string", "integer", "strings", "object"]

_NOUNS: Mapping[Type, str] = {
    "string": "a string",
    "integer": "an integer",
    "strings": "an array of strings",
    "object": "an object",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument of a tool.

    Attributes:
        type: what it must be; ``strings`` is an array of strings.
        about: description for the model; empty where the name says it.
        required: whether it must be given.
        bounds: further words of the schema (maxLength, enum, ...). They tell the model the limits; the
            service checks them and names the field and the limit.
    """

    type: Type
    about: str = ""
    required: bool = False
    bounds: Mapping[str, Any] = field(default_factory=dict)


def schema_of(arguments: Mapping[str, Argument]) -> dict[str, Any]:
    """The JSON schema of a tool's input: a plain object."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: _property(argument) for name, argument in arguments.items()},
    }
    if required := [name for name, argument in arguments.items() if argument.required]:
        schema["required"] = required
    return schema | {"additionalProperties": False}


def _property(argument: Argument) -> dict[str, Any]:
    about = {"description": argument.about} if argument.about else {}
    if argument.type == "strings":
        return {"type": "array", "items": {"type": "string"}, **argument.bounds, **about}
    return {"type": argument.type, **argument.bounds, **about}


def checked(arguments: Mapping[str, Argument], given: Mapping[str, Any]) -> dict[str, Any]:
    """The given arguments with the right types; null counts as not given, 5.0 as 5.

    Raises:
        InvalidInput: an unknown name, a missing argument, or a wrong type; names the argument.
    """
    for name in given:
        if name not in arguments:
            raise InvalidInput(
                name[:NAME_CHARS_SHOWN], f"unknown argument; known: {', '.join(arguments) or 'none'}"
            )
    values = {}
    for name, argument in arguments.items():
        value = given.get(name)
        if value is not None:
            values[name] = _typed(value, name, argument.type)
        elif argument.required:
            raise InvalidInput(name, f"is required and must be {_NOUNS[argument.type]}")
    return values


def _typed(value: object, name: str, wanted: Type) -> object:
    if wanted == "integer":
        return _whole(value, name)
    if wanted == "strings":
        return _strings(value, name)
    if not isinstance(value, str if wanted == "string" else dict):
        raise _wrong(value, name, wanted)
    return value


def _whole(value: object, name: str) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(value, name, "integer")
    return value


def _strings(value: object, name: str) -> list[str]:
    if not isinstance(value, list):
        raise _wrong(value, name, "strings")
    for position, item in enumerate(value):
        if not isinstance(item, str):
            raise _wrong(item, f"{name}[{position}]", "string")
    return value


def _wrong(value: object, name: str, wanted: Type) -> InvalidInput:
    return InvalidInput(name, f"must be {_NOUNS[wanted]}, not {_kind(value)}")


def _kind(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return "null" if value is None else "a boolean"
    if isinstance(value, int | float):
        return "a number with a fraction" if isinstance(value, float) else "a number"
    return "a string" if isinstance(value, str) else "an array" if isinstance(value, list) else "an object"
