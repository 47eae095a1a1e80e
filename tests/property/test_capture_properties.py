"""Whatever comes in, capture answers, and answers the same twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from retain.capture.distil import DISTILLERS, TOOLS, ErrorTracker, distil, prepare
from retain.capture.parse import parse_event
from retain.capture.redact import redact, redact_json
from retain.capture.signature import normalise
from retain.capture.wording import TEXT_CHARS_MAX, TITLE_CHARS_MAX, bounded
from retain.model import KINDS, Event

FRAGMENTS = (
    "password", "=", ": ", '"', "'", "`", "\\", "token", "--api-key ", "<private>", "</private>",
    "://", "u:p@h", "Bearer ",
    "Lk7w9Qz12x", "${X}", "[redacted:", "]", "\n", " is ", "sk-" + "ant-api03-" + "aB3" * 12,
    "eyJ" + "aB3" * 9, ".", "{", "(", "-u a:b ",
    "-----BEGIN PRIVATE " + "KEY-----", "-----END PRIVATE " + "KEY-----", "QUJD" * 8, "curl",
    "AWS secret ", "\u0130", "\ufffd", "x" * 5,
)  # fmt: skip
SECRETIVE = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=5), max_size=30).map("".join)
WORDS = st.sampled_from(
    [
        "git commit -m x",
        "pytest",
        "[main abc1234] x",
        "Exit code 1\nboom",
        "<tick>",
        "/w/a.py",
        "we decided to x",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | WORDS | SECRETIVE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = (
    "session_id", "cwd", "prompt", "tool_name", "tool_use_id", "error", "is_interrupt",
    "last_assistant_message", "agent_type",
    "custom_instructions", "compact_summary", "task_subject", "task_description", "task_id",
)  # fmt: skip
INNER = (
    "command", "file_path", "notebook_path", "content", "old_string", "new_string", "new_source",
    "edits", "todos", "subject", "status",
    "taskId", "pattern", "path", "query", "url", "prompt", "stdout", "stderr", "exit_code",
    "structuredPatch", "filenames", "results",
    "result", "type", "task", "lines",
)  # fmt: skip
OBJECTS = st.dictionaries(st.sampled_from(INNER), JSON, max_size=8)
PAYLOADS = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=8)


def read(payload: bytes, *, truncated: bool = False) -> Event:
    return parse_event(payload, received_at_us=0, cwd="/w", branch=None, commit=None, truncated=truncated)


def as_bytes(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def texts_of(value: Any) -> Iterator[str]:
    """Every text in a JSON value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from texts_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_of(inner)


@given(st.binary(max_size=300), st.booleans())
@example(b"\\u0000", False)
@example(b'{"\\u0000": ["\\u0000"]}', False)
def test_any_bytes_become_an_event_that_can_be_stored(payload: bytes, truncated: bool) -> None:
    event = read(payload, truncated=truncated)
    assert read(payload, truncated=truncated) == event
    stored = json.dumps(event.payload, allow_nan=False, ensure_ascii=False)
    stored.encode()  # a lone surrogate could not be
    assert not any("\0" in text for text in texts_of(event.payload))
    assert json.loads(stored) == event.payload


@given(JSON | st.integers(2**62, 2**66) | st.text("\0a\\"), st.integers(min_value=0, max_value=120))
def test_an_event_that_needs_no_cleaning_is_read_as_one_that_is_cleaned(value: Any, depth: int) -> None:
    for _ in range(depth):
        value = [value]
    payload = as_bytes({"session_id": "s", "hook_event_name": "Stop", "rest": value})
    assert read(payload) == read(b"\xef\xbb\xbf" + payload)  # what begins with this mark is always cleaned


FILES = st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), max_size=30)


@given(FILES, st.sets(st.integers(0, 29)))
def test_open_failures_are_the_same_whether_their_state_was_carried_over_or_not(
    names: list[str], failing: set[int]
) -> None:
    kept, carried = ErrorTracker(), ErrorTracker()
    for number, name in enumerate(names):
        call = {"tool_name": "Bash", "tool_input": {"command": f"pytest {name}.py"}}
        changed = {"file_path": f"/w/{name}.py", "old_string": "a", "new_string": "b"}
        edit = {"hook_event_name": "PostToolUse", "tool_name": "Edit", "tool_input": changed}
        failed = {"hook_event_name": "PostToolUseFailure", "error": "Exit code 1\nboom", **call}
        passed = {"hook_event_name": "PostToolUse", "tool_response": {}, **call}
        for fields in (edit, failed if number in failing else passed):
            event = read(as_bytes({"session_id": "s", "number": number, **fields}))
            drafts = distil(prepare(event))
            assert drafts
            assert kept.observe(event, drafts) == carried.observe(event, drafts)
            assert kept.to_json() == carried.to_json()
            carried = ErrorTracker.from_json(carried.to_json())


@given(JSON, st.integers(min_value=0, max_value=400))
def test_any_cut_of_any_json_becomes_an_event(value: Any, length: int) -> None:
    cut = as_bytes({"session_id": "s", "hook_event_name": "Stop", "rest": value})[:length]
    event = read(cut, truncated=True)
    assert event.damaged == "truncated"
    assert event.session in {"", "s"}


@given(JSON)
def test_a_payload_sent_again_in_other_order_has_the_same_id(value: Any) -> None:
    fields = {"session_id": "s", "hook_event_name": "Stop", "x": value, "y": 1}
    assert read(as_bytes(fields)).id == read(as_bytes(dict(reversed(fields.items())))).id


@settings(max_examples=400)
@given(SECRETIVE)
def test_redacting_twice_is_redacting_once(text: str) -> None:
    once = redact(text)
    again = redact(once.text)
    assert again.text == once.text
    assert again.counts == {}


@given(JSON)
def test_redacting_json_twice_is_redacting_it_once(value: Any) -> None:
    once = redact_json(value)
    assert repr(redact_json(once.value).value) == repr(once.value)


@given(st.text(alphabet="abcdefgh \n", max_size=200))
def test_plain_letters_are_never_touched(text: str) -> None:
    assert redact(text).text == text


@pytest.mark.parametrize("name", [*DISTILLERS, "Unknown"])
@given(
    payload=PAYLOADS, asked=OBJECTS | JSON, response=OBJECTS | JSON, tool=st.sampled_from([*TOOLS, "Other"])
)
@settings(max_examples=60)
def test_any_payload_is_distilled_within_bounds(
    name: str, payload: Any, asked: Any, response: Any, tool: str
) -> None:
    fields = {
        "tool_name": tool,
        **payload,
        "hook_event_name": name,
        "tool_input": asked,
        "tool_response": response,
    }
    event = prepare(read(as_bytes(fields)))
    drafts = distil(event)
    tracker = ErrorTracker()
    fixes = tracker.observe(event, drafts)
    for draft in (*drafts, *fixes):
        assert draft.kind in KINDS
        assert draft.text.strip()
        assert len(draft.text) <= TEXT_CHARS_MAX + 1_024
        assert len(draft.title) <= TITLE_CHARS_MAX
        assert "\n" not in draft.title
        json.dumps(dict(draft.extra), allow_nan=False)
    assert ErrorTracker.from_json(json.loads(json.dumps(tracker.to_json()))).to_json() == tracker.to_json()
    assert distil(event) == drafts


@given(st.text(max_size=100) | SECRETIVE)
def test_a_signature_is_one_bounded_line(line: str) -> None:
    signature = normalise(line)
    assert len(signature) <= 300
    assert "\n" not in signature


@given(st.text(max_size=500), st.integers(min_value=0, max_value=500))
def test_a_cut_text_is_never_longer_than_its_limit(text: str, limit: int) -> None:
    cut = bounded(text, max(limit, 60))
    assert len(cut) <= max(limit, 60)
