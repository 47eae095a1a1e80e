"""Every payload becomes an event, and the same payload the same event."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from retain.capture.parse import DEPTH_MAX, RAW_CHARS_MAX, TOO_DEEP, load_json, parse_event
from retain.model import Event

STOP = {"session_id": "s1", "hook_event_name": "Stop", "cwd": "/w", "last_assistant_message": "done"}


def read(payload: bytes | dict[str, Any], *, truncated: bool = False, cwd: str = "/hook") -> Event:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return parse_event(
        data, received_at_us=1_000_000, cwd=cwd, branch="main", commit="abc", truncated=truncated
    )


def test_an_event_carries_what_the_client_and_the_hook_said() -> None:
    event = read({**STOP, "new_field": {"kept": [1]}})
    assert (event.name, event.session, event.branch, event.commit) == ("Stop", "s1", "main", "abc")
    assert event.payload["new_field"] == {"kept": [1]}
    assert event.received_at == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert event.damaged is None


def test_the_payloads_cwd_wins_over_the_hooks() -> None:
    assert read(STOP).cwd == "/w"
    assert read({"hook_event_name": "Stop", "cwd": 5}).cwd == "/hook"


def test_an_unknown_event_is_kept_by_its_name() -> None:
    assert read({"hook_event_name": "PostModelSwitch", "to_model": "m"}).name == "PostModelSwitch"
    assert read({"hook_event_name": 7}).name == "unknown"


def test_a_replay_has_the_same_id_whatever_its_volatile_fields_say() -> None:
    first = read({**STOP, "duration_ms": 5, "transcript_path": "/a", "permission_mode": "plan"})
    again = read(json.dumps(dict(reversed(STOP.items())), indent=2).encode())
    assert first.id == again.id
    assert len(first.id) == 32


@pytest.mark.parametrize(
    "change",
    [
        {"session_id": "s2"},
        {"hook_event_name": "SubagentStop"},
        {"prompt_id": "p"},
        {"tool_use_id": "t"},
        {"last_assistant_message": "done!"},
    ],
)
def test_another_event_has_another_id(change: dict[str, str]) -> None:
    assert read({**STOP, **change}).id != read(STOP).id


def test_damaged_payloads_that_begin_alike_have_different_ids() -> None:
    head = b'{"prompt": "' + b"x" * (RAW_CHARS_MAX + 10)
    assert read(head + b"1", truncated=True).id != read(head + b"2", truncated=True).id


def test_lone_surrogates_and_nul_become_replacement_characters() -> None:
    event = read(b'{"a\\u0000": "x\\ud800y", "b": ["\\u0000"], "pair": "\\ud83d\\ude00"}')
    assert event.payload == {"a\ufffd": "x\ufffdy", "b": ["\ufffd"], "pair": "\U0001f600"}
    assert event.damaged is None


def test_numbers_that_json_or_a_store_cannot_hold_are_tamed() -> None:
    event = read(
        b'{"n": NaN, "i": -Infinity, "big": 123456789012345678901234567890, "huge": 1e999, "min": -9223372036854775808}'
    )
    assert event.payload == {
        "n": None, "i": None, "big": 1.2345678901234568e29, "huge": None, "min": -(2**63),
    }  # fmt: skip
    assert read(b'{"near": 18446744073709551615}').payload["near"] == float(2**64 - 1)


def test_raw_control_characters_a_byte_order_mark_and_broken_utf8_are_read() -> None:
    assert read(b'{"a": "line\nbreak"}').payload == {"a": "line\nbreak"}
    assert read(b'\xef\xbb\xbf{"a": 1}').payload == {"a": 1}
    assert read(b'{"a": "\xff"}').payload == {"a": "\ufffd"}


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b'"text"', b"7", b"null", b"not json", b"\xff\xfe", b"{" * 100_000]
)
def test_what_is_no_object_is_damaged_and_kept_raw(payload: bytes) -> None:
    event = read(payload)
    assert event.damaged == "not_json"
    assert event.payload["raw"] == payload.decode("utf-8", "replace")[:RAW_CHARS_MAX]
    assert event.cwd == "/hook"


def test_deep_nesting_is_cut_at_the_limit() -> None:
    depth = DEPTH_MAX + 50
    event = read(b'{"a":' * depth + b"1" + b"}" * depth)
    value: Any = event.payload
    for _ in range(DEPTH_MAX):
        value = value["a"]
    assert value == TOO_DEEP
    assert read(b'{"a":' * 50_000 + b"1" + b"}" * 50_000).damaged == "not_json"


def test_a_truncated_payload_keeps_its_scalars_and_its_tool_input() -> None:
    whole = {
        "session_id": "s1", "hook_event_name": "PostToolUse", "cwd": "/w", "flag": True, "count": 3, "ratio": 0.5,
        "nothing": None, "tool_name": "Write", "list": ["no", {"deep": "no"}],
        "tool_input": {"file_path": "/w/a.py", "content": "print('\u00e4\\n')" + "x" * 100},
    }  # fmt: skip
    event = read(json.dumps(whole).encode()[:-60], truncated=True)
    assert event.damaged == "truncated"
    assert (event.name, event.session, event.cwd) == ("PostToolUse", "s1", "/w")
    assert event.payload["tool_input"]["file_path"] == "/w/a.py"
    assert event.payload["tool_input"]["content"].startswith("print('\u00e4\\n')xx")
    kept = {key: event.payload[key] for key in ("flag", "count", "ratio", "nothing", "tool_name")}
    assert kept == {"flag": True, "count": 3, "ratio": 0.5, "nothing": None, "tool_name": "Write"}
    assert "deep" not in event.payload


def test_salvage_takes_what_it_can_of_broken_scalars() -> None:
    text = '{"a": bare, "b": 12, "tool_input": 5, "c": "cut \\u12'
    event = read(text.encode())
    assert event.payload == {"a": "bare", "b": 12, "tool_input": 5, "c": "cut \\u12", "raw": text}
    clash = read(b'{"tool_input": 5, "tool_input": {"command": "ls"}, "x')
    assert clash.payload["tool_input"] == 5


def test_a_number_of_too_many_digits_does_not_stop_the_reader() -> None:
    assert read(b'{"a": ' + b"9" * 10_000 + b"}").payload == {"a": None}
    assert read(b'{"a": ' + b"9" * 10_000).payload["a"] == "9" * 10_000


@pytest.mark.parametrize("unit", [b'{"', b'"a":', b"[{", b'\\"', b'"\\', b"{}", b'"a":"b",', b'"'])
def test_a_long_run_of_noise_is_read_in_one_pass(unit: bytes) -> None:
    assert read(unit * (250_000 // len(unit))).damaged == "not_json"


def test_load_json_gives_none_for_what_it_cannot_read() -> None:
    assert load_json(b'{"a": "\\ud800"}') == {"a": "\ufffd"}
    assert load_json(b"{") is None
