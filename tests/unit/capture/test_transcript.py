"""A transcript is told again as the hook events of its session."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import retain.capture.transcript as transcript_module
from retain.capture.distil import REDACTED_KEY, ErrorTracker, distil, prepare
from retain.capture.parse import parse_event
from retain.capture.transcript import replay
from retain.model import Draft

DEMO = Path(transcript_module.__file__).parent.parent / "demo_session.jsonl"


def line(kind: str, content: Any, **fields: Any) -> dict[str, Any]:
    message = {"role": kind, "content": content}
    return {"type": kind, "uuid": "u", "sessionId": "s1", "cwd": "/w", "message": message, **fields}


def call(number: int, name: str = "Bash", **asked: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"t{number}", "name": name, "input": asked}


def result(number: int, content: Any = "ok", **fields: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": f"t{number}", "content": content, **fields}


def told(tmp_path: Path, *records: dict[str, Any] | bytes) -> list[dict[str, Any]]:
    path = tmp_path / "session.jsonl"
    path.write_bytes(b"\n".join(r if isinstance(r, bytes) else json.dumps(r).encode() for r in records))
    return list(replay(path))


def names(payloads: list[dict[str, Any]]) -> list[str]:
    return [payload["hook_event_name"] for payload in payloads]


def test_a_turn_is_told_in_order(tmp_path: Path) -> None:
    payloads = told(
        tmp_path,
        line(
            "user",
            "Fix it",
            uuid="p1",
            timestamp="2026-11-18T09:00:00.000Z",
            gitBranch="main",
            version="2.1.330",
        ),
        line("assistant", [{"type": "text", "text": "Looking."}, call(1, command="make")]),
        line("user", [result(1)], toolUseResult={"stdout": "ok"}),
        line("assistant", [{"type": "text", "text": "Fixed."}]),
    )
    assert names(payloads) == ["SessionStart", "UserPromptSubmit", "PostToolUse", "Stop", "SessionEnd"]
    prompt, used, stop = payloads[1:4]
    assert prompt["prompt"] == "Fix it"
    assert {prompt["session_id"], used["session_id"]} == {"s1"}
    assert (used["cwd"], used["prompt_id"], used["gitBranch"]) == ("/w", "p1", "main")
    assert (used["tool_name"], used["tool_input"], used["tool_use_id"]) == ("Bash", {"command": "make"}, "t1")
    assert used["tool_response"] == {"stdout": "ok"}
    assert stop["last_assistant_message"] == "Fixed."
    assert used["transcript_path"].endswith("session.jsonl")


def test_each_turn_ends_with_its_last_message(tmp_path: Path) -> None:
    payloads = told(
        tmp_path,
        line("user", "one"),
        line("assistant", [{"type": "text", "text": "first"}]),
        line("user", "two"),
    )
    assert names(payloads) == ["SessionStart", "UserPromptSubmit", "Stop", "UserPromptSubmit", "SessionEnd"]


def test_a_failed_tool_is_told_as_failure(tmp_path: Path) -> None:
    payloads = told(
        tmp_path,
        line(
            "assistant",
            [call(1, command="make"), call(2, "Edit"), call(3), {"type": "tool_use", "id": "t4", "input": 5}],
        ),
        line("user", [result(1, "Exit code 2\nboom", is_error=True)], toolUseResult="Error: Exit code 2"),
        line("user", [result(2, "<tool_use_error>No match</tool_use_error>", is_error=True)]),
        line("user", [result(3, [{"type": "text", "text": "[Request interrupted by user]"}], is_error=True)]),
        line("user", [result(4, 7)]),
    )
    first, second, third, fourth = payloads[1:5]
    assert (first["hook_event_name"], first["error"]) == ("PostToolUseFailure", "Exit code 2\nboom")
    assert second["error"] == "No match"
    assert third["is_interrupt"] is True
    assert (fourth["tool_name"], fourth["tool_input"], fourth["tool_response"]) == ("", {}, "")


def test_two_results_on_one_line_use_their_own_content(tmp_path: Path) -> None:
    payloads = told(
        tmp_path,
        line("assistant", [call(1), call(2)]),
        line("user", [result(2, "b"), result(1, "a")], toolUseResult={"stdout": "mixed"}),
    )
    assert [payload["tool_response"] for payload in payloads[1:3]] == ["b", "a"]


def test_a_compaction_is_told_with_its_summary(tmp_path: Path) -> None:
    payloads = told(
        tmp_path,
        line("system", None, subtype="compact_boundary", compactMetadata={"trigger": "manual"}),
        line("user", "The story so far", isCompactSummary=True),
        line("system", None, subtype="compact_boundary"),
        line("system", None, subtype="other"),
    )
    assert names(payloads) == ["SessionStart", "PreCompact", "PostCompact", "PreCompact", "SessionEnd"]
    assert payloads[2]["compact_summary"] == "The story so far"
    assert [payloads[number]["trigger"] for number in (1, 2, 3)] == ["manual", "manual", "auto"]


def test_asides_noise_and_metadata_are_left_out(tmp_path: Path) -> None:
    payloads = told(
        tmp_path,
        {"type": "summary", "summary": "x", "leafUuid": "y"},
        {"type": "permission-mode", "sessionId": "s1"},
        line("user", "meta", isMeta=True),
        line("user", "side", isSidechain=True),
        line("user", "team", teamName="t"),
        line("user", "<command-name>/clear</command-name>"),
        line("user", [{"type": "image"}]),
        line("user", 5),
        {"type": "future", "uuid": "u"},
        {"type": "user"},
    )
    assert names(payloads) == ["SessionStart", "SessionEnd"]


def test_unreadable_lines_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript_module, "LINE_BYTES_MAX", 300)
    long = json.dumps(line("user", "x" * 2_000)).encode()
    payloads = told(
        tmp_path,
        b"not json",
        b"[1]",
        long,
        b"",
        line("user", "kept"),
        b'{"type": "user", "message": {"content": "cut',
    )
    assert [payload["prompt"] for payload in payloads if "prompt" in payload] == ["kept"]
    assert names(told(tmp_path, line("user", "kept"), long[:700])) == [
        "SessionStart",
        "UserPromptSubmit",
        "SessionEnd",
    ]


def test_another_session_id_starts_a_session(tmp_path: Path) -> None:
    payloads = told(
        tmp_path, line("user", "one"), line("user", "two", sessionId="s2"), line("user", "x", sessionId=5)
    )
    starts = [payload for payload in payloads if payload["hook_event_name"] == "SessionStart"]
    assert [(start["session_id"], start["source"]) for start in starts] == [
        ("s1", "startup"),
        ("s2", "resume"),
    ]


def test_a_result_without_its_call_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript_module, "PENDING_MAX", 1)
    payloads = told(
        tmp_path, line("assistant", [call(1), call(2)]), line("user", [result(1), result(2), result(3)])
    )
    assert [payload["tool_use_id"] for payload in payloads if "tool_use_id" in payload] == ["t2"]


def test_an_empty_transcript_tells_nothing(tmp_path: Path) -> None:
    assert told(tmp_path, b"") == []
    with pytest.raises(FileNotFoundError):
        list(replay(tmp_path / "absent.jsonl"))


def demo_drafts() -> tuple[list[Draft], dict[str, int]]:
    tracker = ErrorTracker()
    found: list[Draft] = []
    counts: dict[str, int] = {}
    for payload in replay(DEMO):
        data = json.dumps(payload).encode()
        event = parse_event(
            data, received_at_us=1, cwd="/", branch=payload["gitBranch"], commit=None, truncated=False
        )
        event = prepare(event)
        counts |= event.payload[REDACTED_KEY]
        drafts = distil(event)
        found += [*drafts, *tracker.observe(event, drafts)]
    return found, counts


def test_the_demo_session_gives_every_kind_but_notes() -> None:
    drafts, counts = demo_drafts()
    assert {draft.kind for draft in drafts} == {
        "prompt", "file_change", "command", "error", "fix", "decision", "task", "search", "summary", "commit",
    }  # fmt: skip
    assert counts == {"private": 1, "url_password": 1, "authorization_header": 1}
    assert any("decimal.Decimal for money instead of float" in draft.title for draft in drafts)


def test_nothing_secret_of_the_demo_session_is_left() -> None:
    drafts, _ = demo_drafts()
    kept = json.dumps([[draft.title, draft.text, dict(draft.extra)] for draft in drafts])
    secrets = ["Harbor-EXAMPLE-7731", "shp_EXAMPLE", "Marta", "10.20.30.40"]
    assert all(secret in DEMO.read_text() for secret in secrets)
    assert not any(secret in kept for secret in secrets)


def test_the_demo_transcript_is_small_and_chained() -> None:
    records = [json.loads(text) for text in DEMO.read_text().splitlines()]
    chained = [record for record in records if "uuid" in record]
    assert 40 <= len(records) <= 60
    assert DEMO.stat().st_size < 60 * 1024
    for before, after in pairwise(chained):
        assert after["parentUuid"] == before["uuid"]
        assert after["timestamp"] > before["timestamp"]
