"""Sessions of Codex and Gemini CLI are told again as the hook events they would have been."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retain.capture.foreign import command_of, files_of_patch
from retain.capture.past_sessions import CODEX, GEMINI, tell, transcripts
from retain.interfaces.cli import main

FIXTURES = Path(__file__).parents[2] / "fixtures" / "sessions"
ROLLOUT = FIXTURES / "rollout-2026-08-10T13-00-00-documented.jsonl"
CHAT = FIXTURES / "session-2026-08-10T13-02-documented.jsonl"
OLD_CHAT = CHAT.with_suffix(".json")


def told(path: Path, source: str, *, is_over: bool = True) -> list[dict[str, Any]]:
    (one,) = [found for found in transcripts(path.parent, source) if found.path == path]
    return [dict(event.payload) for event, _ in tell(one, is_over=is_over) if event is not None]


def put(folder: Path, name: str, *records: Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def outline(payloads: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["hook_event_name"], one.get("tool_name", "")) for one in payloads]


def test_a_rollout_of_codex_is_told_in_order() -> None:
    payloads = told(ROLLOUT, CODEX)
    assert outline(payloads) == [
        ("UserPromptSubmit", ""),
        ("PostToolUseFailure", "Bash"),
        ("PostToolUse", "Edit"),
        ("PostToolUse", "Write"),
        ("PostToolUse", "Bash"),
        ("PostCompact", ""),
        ("Stop", ""),
        ("UserPromptSubmit", ""),
        ("PostToolUse", "Bash"),
        ("Stop", ""),
        ("SessionEnd", ""),
    ]
    assert {one["session_id"] for one in payloads} == {"019a7f3e-8fef-7681-a054-b5bb75fcb97d"}
    assert {(one["cwd"], one["gitBranch"]) for one in payloads} == {("/w/shop", "money")}
    failure, edit, write, passed = payloads[1:5]
    assert failure["tool_input"]["command"] == passed["tool_input"]["command"] == "pytest tests/test_money.py"
    assert failure["error"].startswith("Exit code 1\nE   AssertionError")
    assert passed["tool_response"]["stdout"] == "1 passed in 0.01s"
    assert edit["tool_input"] == {
        "file_path": "/w/shop/src/money.py",
        "old_string": "    return sum(items)",
        "new_string": "    return sum(items, Decimal(0))",
    }
    assert write["tool_input"]["file_path"] == "/w/shop/src/rounding.py"
    assert write["tool_input"]["content"].startswith("def rounded(value):\n")
    assert len({one["tool_use_id"] for one in payloads if "tool_use_id" in one}) == 5
    assert payloads[8]["tool_input"]["command"] == "git commit -am 'Totals are decimals'"


def test_an_older_rollout_without_envelopes_is_told(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        "rollout-2025-06-01-old.jsonl",
        {
            "id": "s-old",
            "timestamp": "2025-06-01T10:00:00.000Z",
            "instructions": None,
            "git": {"branch": "b"},
        },
        {"record_type": "state"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Why is it slow?"}]},
        {
            "type": "function_call",
            "name": "shell",
            "call_id": "c",
            "arguments": '{"command": ["make", "all"]}',
        },
        {
            "type": "function_call_output",
            "call_id": "c",
            "output": '{"output": "no rule", "metadata": {"exit_code": 2}}',
        },
    )
    prompt, failure, _ = told(path, CODEX)
    assert (prompt["session_id"], prompt["prompt"]) == ("s-old", "Why is it slow?")
    assert (failure["tool_input"]["command"], failure["error"]) == ("make all", "Exit code 2\nno rule")


def test_a_patch_that_failed_is_told_as_a_failure(tmp_path: Path) -> None:
    patch = "*** Begin Patch\n*** Update File: a.py\n@@\n-x\n+y\n*** End Patch"
    call, answer = {"input": patch, "call_id": "c"}, {"output": "no such context", "call_id": "c"}
    path = put(
        tmp_path,
        "rollout-x.jsonl",
        {"type": "session_meta", "payload": {"id": "s", "cwd": "/w"}},
        {"type": "response_item", "payload": {"type": "custom_tool_call", "name": "apply_patch", **call}},
        {"type": "event_msg", "payload": {"type": "patch_apply_end", "call_id": "c", "success": False}},
        {"type": "response_item", "payload": {"type": "custom_tool_call_output", **answer}},
    )
    failure = told(path, CODEX)[0]
    assert (failure["hook_event_name"], failure["error"]) == ("PostToolUseFailure", "no such context")


def test_prompts_of_a_subagent_are_not_those_of_a_person(tmp_path: Path) -> None:
    meta = {"id": "s", "cwd": "/w", "source": {"subagent": {"thread_spawn": {}}}}
    said = {
        "type": "message",
        "role": "assistant",
        "content": [{"text": "The parser drops the last line of a file."}],
    }
    asked = {"type": "message", "role": "user", "content": [{"text": "Look at the parser of this project"}]}
    path = put(
        tmp_path,
        "rollout-x.jsonl",
        {"type": "session_meta", "payload": meta},
        {"type": "response_item", "payload": asked},
        {"type": "response_item", "payload": said},
    )
    assert outline(told(path, CODEX)) == [("SubagentStop", "")]


@pytest.mark.parametrize("path", [CHAT, OLD_CHAT], ids=["json_lines", "one_object"])
def test_a_chat_of_gemini_is_told_as_it_was_in_the_end(path: Path) -> None:
    payloads = told(path, GEMINI)
    assert outline(payloads) == [
        ("UserPromptSubmit", ""),
        ("PostToolUseFailure", "Bash"),
        ("PostToolUse", "Edit"),
        ("PostToolUse", "Write"),
        ("PostToolUseFailure", "Edit"),
        ("PostToolUse", "Bash"),
        ("Stop", ""),
        ("SessionEnd", ""),
    ]
    assert {one["cwd"] for one in payloads} == {"/w/shop"}, "found by the hash of the path"
    failure, edit = payloads[1:3]
    assert failure["error"] == "Exit code 1\nTypeError: total is not a function"
    assert edit["tool_input"]["new_string"] == "export function total() {}"
    assert payloads[5]["tool_response"]["stdout"] == "3 passing"
    assert not any("Delete everything" in json.dumps(one) for one in payloads), "it was taken back"


def test_the_folder_of_a_chat_is_that_written_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "shop" / "chats" / CHAT.name
    path.parent.mkdir(parents=True)
    shutil.copy(CHAT, path)
    (tmp_path / "shop" / ".project_root").write_text("/elsewhere/shop\n", encoding="utf-8")
    assert {one["cwd"] for one in told(path, GEMINI)} == {"/elsewhere/shop"}


def test_a_session_that_may_go_on_keeps_its_last_turn() -> None:
    assert outline(told(ROLLOUT, CODEX, is_over=False))[-1] == ("PostToolUse", "Bash")
    assert outline(told(CHAT, GEMINI, is_over=False))[-1] == ("PostToolUse", "Bash")


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["bash", "-lc", "a | b"], "a | b"),
        (["git", "commit", "-m", "two words"], "git commit -m 'two words'"),
        ("make", "make"),
        ([1, 2], ""),
        (None, ""),
    ],
)
def test_commands_are_told_as_they_were_meant(words: Any, command: str) -> None:
    assert command_of(words) == command


def test_a_patch_of_many_files_is_bounded() -> None:
    patch = "".join(f"*** Add File: f{number}\n+x\n" for number in range(500))
    assert len(list(files_of_patch(patch))) == 200


KEYS = """
id type payload sessionId messages content role text timestamp call_id output arguments name cwd toolCalls args result
status $set $rewindTo git source projectHash kind action command functionResponse
""".split()
WORDS = """
session_meta response_item message function_call function_call_output user assistant gemini success run_shell_command
apply_patch custom_tool_call event_msg exec_command_end compacted
""".split()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS), inner | st.sampled_from(WORDS), max_size=5)
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(VALUES, max_size=5), cut=st.integers(0, 40))
def test_nothing_that_a_file_may_hold_breaks_the_readers(
    tmp_path: Path, records: list[Any], cut: int
) -> None:
    data = "".join(json.dumps(record) + "\n" for record in records).encode()
    data = data[: max(0, len(data) - cut)]
    for name, source in (("rollout-a.jsonl", CODEX), ("session-a.jsonl", GEMINI), ("session-a.json", GEMINI)):
        (tmp_path / name).write_bytes(data)
        told(tmp_path / name, source)


@pytest.mark.parametrize(
    ("source", "path", "place"),
    [
        ("codex", ROLLOUT, ".codex/sessions/2026/08/10"),
        ("codex", ROLLOUT, ".codex/archived_sessions"),
        ("gemini", CHAT, ".gemini/tmp/shop/chats"),
        ("gemini", OLD_CHAT, ".gemini/tmp/0123/chats"),
    ],
)
def test_sessions_are_imported_once_from_where_their_client_keeps_them(
    source: str, path: Path, place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "user" / place
    folder.mkdir(parents=True)
    shutil.copy(path, folder)
    os.utime(folder / path.name, (1_786_000_000, 1_786_000_000))

    def run(*arguments: str) -> Any:
        assert main(["import", *arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    tried = run(source, "--dry-run")
    assert (tried["lost"], tried["files"]) == (0, 1)
    done = run(source)
    assert (done["lost"], done["dead"], done["unreadable"]) == (0, 0, [])
    assert done["memories"] == tried["memories"] >= 5
    assert run(source)["memories"] == 0
    os.utime(folder / path.name)
    again = run(source)
    assert (again["memories"], again["lost"]) == (0, 0)
    assert run("undo", done["import"])["forgotten"] == done["memories"]
