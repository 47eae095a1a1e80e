"""Bytes from the spool become an Event. Nothing a client sends can make this raise.

The order of attempts: orjson, the standard library's parser (which takes lone surrogates, NaN and raw
control characters), and at last a salvage of the scalars at the top, in one pass over the text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any

import orjson

from retain.model import Event, from_us

RAW_CHARS_MAX = 64 * 1024
"""How much of a damaged payload is kept in ``payload["raw"]``."""
DEPTH_MAX = 100
"""Containers nested deeper than this are replaced by a note."""
NAME_CHARS_MAX = 200
"""Event names and session ids are cut here."""

TOO_DEEP = "[nested too deep]"
UNKNOWN_EVENT = "unknown"
VOLATILE = frozenset({"duration_ms", "transcript_path", "permission_mode", "effort"})
"""Fields that may differ between two deliveries of the same event."""

_REPLACEMENT = "\ufffd"
_UNFIT = re.compile("[\x00\ud800-\udfff]")
_TOKEN = re.compile(
    r'"(?P<text>(?:[^"\\]++|\\.)*+)(?P<end>"?)|(?P<mark>[{}\[\]:,])|(?P<bare>[^\s"{}\[\]:,\\]++)', re.DOTALL
)
_LITERALS: Mapping[str, bool | None] = {"true": True, "false": False, "null": None}
_INT64 = range(-(2**63), 2**63)
_LONG_NUMBER = re.compile(rb"[0-9]{19}")


def parse_event(
    payload: bytes,
    *,
    received_at_us: int,
    cwd: str,
    branch: str | None,
    commit: str | None,
    truncated: bool,
) -> Event:
    """Reads what the hook spooled.

    Args:
        payload: the bytes of the client's stdin, perhaps cut.
        received_at_us: when the hook read them, in microseconds since the epoch.
        cwd: the hook's working directory; the payload's own ``cwd`` wins.
        branch: the branch that the hook read.
        commit: the commit that the hook read.
        truncated: whether the hook cut the bytes at its limit.

    Returns:
        An event whose strings hold neither NUL nor lone surrogates and whose id is the same for every
        delivery of the same event. Where the payload could not be read as an object, ``damaged`` says so
        and ``payload`` holds the scalars that could be saved, and the start of the text as ``raw``.
    """
    value, is_clean = (None, False) if truncated else _load(payload)
    damaged = None
    if not isinstance(value, dict):
        damaged, is_clean = "truncated" if truncated else "not_json", False
        value = _salvage(payload.decode("utf-8", "replace"))
    fields: dict[str, Any] = value if is_clean else _clean(value, DEPTH_MAX)
    name = _text(fields, "hook_event_name")[:NAME_CHARS_MAX] or UNKNOWN_EVENT
    session = _text(fields, "session_id")[:NAME_CHARS_MAX]
    return Event(
        id=_identity(session, name, fields, payload if damaged else None),
        name=name,
        session=session,
        cwd=_text(fields, "cwd") or cwd,
        received_at=from_us(received_at_us),
        payload=fields,
        branch=branch,
        commit=commit,
        damaged=damaged,
    )


def event_of(
    fields: Mapping[str, Any], *, received_at_us: int, branch: str | None = None, commit: str | None = None
) -> Event:
    """The event of a payload that ``load_json`` has read, for example from a transcript."""
    name = _text(fields, "hook_event_name")[:NAME_CHARS_MAX] or UNKNOWN_EVENT
    session = _text(fields, "session_id")[:NAME_CHARS_MAX]
    return Event(
        id=_identity(session, name, fields),
        name=name,
        session=session,
        cwd=_text(fields, "cwd"),
        received_at=from_us(received_at_us),
        payload=fields,
        branch=branch,
        commit=commit,
    )


def load_json(data: bytes) -> Any:
    """The JSON value of a text, cleaned as in ``parse_event``; None where it cannot be read."""
    value, is_clean = _load(data)
    return value if is_clean else _clean(value, DEPTH_MAX)


def _load(payload: bytes) -> tuple[Any, bool]:
    """The JSON value, and whether it is known to be as ``_clean`` would leave it."""
    try:
        return orjson.loads(payload), _needs_no_cleaning(payload)
    except orjson.JSONDecodeError:
        pass
    try:
        text = payload.decode("utf-8", "replace").removeprefix("\ufeff")
        return json.loads(text, strict=False, parse_int=_integer), False
    except (ValueError, RecursionError):
        return None, False


def _needs_no_cleaning(payload: bytes) -> bool:
    """Of JSON that orjson took, which lets neither lone surrogates nor infinite numbers through."""
    return (
        b"\\u0000" not in payload
        and payload.count(b"{") + payload.count(b"[") <= DEPTH_MAX
        and _LONG_NUMBER.search(payload) is None
    )


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < len("-9223372036854775808") else float(digits)


def _clean(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _UNFIT.sub(_REPLACEMENT, value)
    if isinstance(value, dict | list) and not depth:
        return TOO_DEEP
    if isinstance(value, dict):
        return {_UNFIT.sub(_REPLACEMENT, key): _clean(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item, depth - 1) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and value not in _INT64:
        value = float(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    return value if isinstance(value, str) else ""


def _canonical(fields: Mapping[str, Any]) -> bytes:
    stable = {key: value for key, value in fields.items() if key not in VOLATILE}
    return orjson.dumps(stable, option=orjson.OPT_SORT_KEYS)


def _identity(session: str, name: str, fields: Mapping[str, Any], damaged: bytes | None = None) -> str:
    """What two deliveries of an event share.

    A call of a tool is known by its id and what was asked: a transcript tells the rest of it in other words
    than the hook did. Any other event is known by its content.
    """
    call = _text(fields, "tool_use_id")
    reference = call or _text(fields, "prompt_id")
    known_by = {"tool_input": fields.get("tool_input")} if call and "tool_input" in fields else fields
    content = _canonical(known_by) if damaged is None else damaged
    digest = blake2b(digest_size=16)
    for part in (session.encode(), name.encode(), reference.encode(), content):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def _salvage(text: str) -> dict[str, Any]:
    """The scalars at the top of a broken object and inside its ``tool_input``, and the text itself."""
    found: dict[str, Any] = {}
    for path, value in _scalars(text):
        match path:
            case [key]:
                found.setdefault(key, value)
            case ["tool_input", key]:
                inner = found.setdefault("tool_input", {})
                if isinstance(inner, dict):
                    inner.setdefault(key, value)
    found["raw"] = text[:RAW_CHARS_MAX]
    return found


def _scalars(text: str) -> Iterator[tuple[list[str], Any]]:
    """Yields (path of keys, scalar) for scalars at depth one and two, in one pass."""
    keys: list[str] = ["", ""]
    depth = 0
    waiting = ""
    is_value = False
    for token in _TOKEN.finditer(text):
        mark = token["mark"]
        if mark is None:
            scalar = _scalar(token)
            if is_value and 1 <= depth <= len(keys):
                yield keys[:depth], scalar
            waiting = scalar if isinstance(scalar, str) else ""
            is_value = False
        elif mark == ":":
            is_value = True
            if 1 <= depth <= len(keys):
                keys[depth - 1] = waiting
        else:
            depth = max(0, depth + _DEPTH_STEPS[mark])
            is_value = False


_DEPTH_STEPS: Mapping[str, int] = {"{": 1, "[": 1, "}": -1, "]": -1, ",": 0}


def _scalar(token: re.Match[str]) -> Any:
    if token["text"] is None:
        bare = token["bare"]
        return _LITERALS[bare] if bare in _LITERALS else _number(bare)
    try:
        return json.loads(f'"{token["text"]}"', strict=False)
    except ValueError:
        return token["text"]


def _number(bare: str) -> float | int | str:
    try:
        return int(bare) if bare.lstrip("-").isdecimal() else float(bare)
    except ValueError:
        return bare
