"""What each event becomes, and what it does not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from retain.capture.decisions import DECISIONS_MAX, find_decisions
from retain.capture.distil import DISTILLERS, REDACTED_KEY, ErrorTracker, distil, prepare
from retain.capture.file_changes import DIFF_LINES_MAX, SYMBOLS_MAX, hunk, relative_path, symbols_in
from retain.capture.fixes import FAILURES_MAX, SESSIONS_MAX, STEPS_MAX
from retain.capture.parse import parse_event
from retain.capture.searches import RESULTS_MAX
from retain.capture.shell import is_trivial, read_outcome, read_run
from retain.capture.signature import failed_tests, looks_failed, normalise, read_failure
from retain.capture.wording import OUTPUT_CHARS_MAX, TEXT_CHARS_MAX, TITLE_CHARS_MAX, bounded, one_line, plain
from retain.model import KINDS, Draft, Event

WORKSPACE = "/home/dev/shop"
TRACEBACK = """Traceback (most recent call last):
  File "/home/dev/shop/shop/cart.py", line 12, in total
    raise ValueError("bad line 17")
ValueError: bad line 17"""


def event(name: str, **fields: Any) -> Event:
    payload = {"session_id": "s1", "hook_event_name": name, "cwd": WORKSPACE, **fields}
    raw = parse_event(
        json.dumps(payload).encode(),
        received_at_us=1,
        cwd="/",
        branch="main",
        commit="c0ffee",
        truncated=False,
    )
    return prepare(raw)


def drafts(name: str, **fields: Any) -> tuple[Draft, ...]:
    return distil(event(name, **fields))


def only(name: str, **fields: Any) -> Draft:
    (draft,) = drafts(name, **fields)
    return draft


def tool_event(tool: str, asked: Mapping[str, Any], response: Any = None) -> Event:
    return event("PostToolUse", tool_name=tool, tool_input=asked, tool_response=response, tool_use_id="t")


def tool(tool: str, asked: Mapping[str, Any], response: Any = None) -> tuple[Draft, ...]:
    return distil(tool_event(tool, asked, response))


def bash_event(command: str, stdout: str = "", **response: Any) -> Event:
    return tool_event("Bash", {"command": command}, {"stdout": stdout, "stderr": "", **response})


def bash(command: str, stdout: str = "", **response: Any) -> tuple[Draft, ...]:
    return distil(bash_event(command, stdout, **response))


def failed_event(command: str, error: str) -> Event:
    return event("PostToolUseFailure", tool_name="Bash", tool_input={"command": command}, error=error)


def kinds(found: Sequence[Draft]) -> list[str]:
    return [draft.kind for draft in found]


class TestEveryEvent:
    def test_a_draft_says_where_and_when_it_was_made(self) -> None:
        source = event("UserPromptSubmit", prompt="Why is the checkout slow?")
        (draft,) = distil(source)
        assert (draft.branch, draft.commit, draft.session) == ("main", "c0ffee", "s1")
        assert draft.occurred_at == source.received_at
        assert draft.source_id == f"{source.id}:prompt:0"

    def test_distilling_is_deterministic(self) -> None:
        source = event("Stop", last_assistant_message="We decided to use SQLite because it is one file.")
        assert distil(source) == distil(source)

    @pytest.mark.parametrize(
        "name", ["SessionStart", "SessionEnd", "Notification", "PreToolUse", "unheard of"]
    )
    def test_events_without_content_give_no_memory(self, name: str) -> None:
        assert drafts(name, prompt="x", reason="clear", source="startup") == ()

    def test_every_event_of_the_issue_has_an_entry(self) -> None:
        session = {"SessionStart", "UserPromptSubmit", "PreCompact", "PostCompact", "SessionEnd"}
        turn = {"PostToolUse", "PostToolUseFailure", "Stop", "SubagentStop"}
        assert session | turn <= set(DISTILLERS)

    def test_a_draft_counts_the_placeholders_in_it(self) -> None:
        secret = "Lk7" + "w9QzEXAMPLE"
        draft = only("UserPromptSubmit", prompt=f"use password={secret} <private>mine</private> please")
        assert secret not in draft.text + draft.title
        assert draft.redacted == {"assignment": 1, "private": 1}

    def test_preparing_ignores_counts_that_the_client_sent(self) -> None:
        source = event(
            "UserPromptSubmit", prompt="[redacted:private] hello there", **{REDACTED_KEY: {"private": 9}}
        )
        assert source.payload[REDACTED_KEY] == {}
        assert distil(source)[0].redacted == {}

    def test_damage_is_told(self) -> None:
        raw = b'{"hook_event_name": "UserPromptSubmit", "prompt": "Explain the cart'
        source = parse_event(raw, received_at_us=1, cwd="/", branch=None, commit=None, truncated=True)
        (draft,) = distil(prepare(source))
        assert draft.text == "Explain the cart"
        assert draft.extra == {"damaged": "truncated"}

    def test_an_event_that_was_not_prepared_gives_no_counts(self) -> None:
        raw = json.dumps({"hook_event_name": "UserPromptSubmit", "prompt": "a [redacted:x] b"}).encode()
        source = parse_event(raw, received_at_us=1, cwd="/", branch=None, commit=None, truncated=False)
        assert distil(source)[0].redacted == {}


class TestPrompts:
    def test_a_prompt_is_the_users(self) -> None:
        draft = only("UserPromptSubmit", prompt="  Add a discount field\n\nto the cart  ")
        assert (draft.kind, draft.origin, draft.title) == ("prompt", "user", "Add a discount field")
        assert draft.text == "Add a discount field\n\nto the cart"

    @pytest.mark.parametrize(
        "prompt",
        [
            "", "   ", "yes", "Continue.", "/clear", "/compact \n",
            "<command-name>/model</command-name>", "<tick>1</tick>",
            "<local-command-stdout>ok</local-command-stdout>", "[Request interrupted by user for tool use]",
            "<session-start-hook>x", "<goal>x</goal>", "Caveat: The messages below were generated",
            "<private>all of it</private>",
            "<ide_opened_file>a.py</ide_opened_file>", "<system-reminder>x</system-reminder>",
        ],
    )  # fmt: skip
    def test_noise_is_no_prompt(self, prompt: str) -> None:
        assert drafts("UserPromptSubmit", prompt=prompt) == ()

    def test_what_the_editor_adds_is_left_out_and_the_rest_kept(self) -> None:
        prompt = "<ide_selection>x = 1</ide_selection>\nRename x\n<ide_selection>never closed"
        assert only("UserPromptSubmit", prompt=prompt).text == "Rename x\n<ide_selection>never closed"

    def test_a_path_or_a_command_with_words_is_a_prompt(self) -> None:
        assert kinds(drafts("UserPromptSubmit", prompt="/home/dev/a.py fails")) == ["prompt"]
        assert kinds(drafts("UserPromptSubmit", prompt="/review the payment code")) == ["prompt"]

    def test_instructions_of_a_compaction_are_the_users(self) -> None:
        draft = only("PreCompact", trigger="manual", custom_instructions="keep the schema")
        assert (draft.kind, draft.origin, draft.title) == ("prompt", "user", "Compact: keep the schema")
        assert drafts("PreCompact", trigger="auto", custom_instructions="") == ()


class TestSummaries:
    def test_the_last_message_of_a_turn_is_a_summary(self) -> None:
        draft = only("Stop", last_assistant_message="## Done\n\nThe cart now rounds once.")
        assert (draft.kind, draft.origin, draft.title) == ("summary", "assistant", "Done")
        assert drafts("Stop", last_assistant_message="Done.") == ()

    def test_a_subagents_summary_names_it(self) -> None:
        text = "The three call sites are in cart.py."
        assert only("SubagentStop", last_assistant_message=text, agent_type="Explore").tags == (
            "subagent",
            "Explore",
        )
        assert only("SubagentStop", last_assistant_message=text).tags == ("subagent",)

    def test_what_the_clients_own_helpers_say_is_nobodys_summary(self) -> None:
        said = {
            "last_assistant_message": "run the tests of the cart again",
            "agent_id": "a9",
            "agent_type": "",
        }
        assert drafts("SubagentStop", **said, agent_transcript_path="/home/u/agent-a9.jsonl") == ()

    def test_a_compact_summary_is_kept_without_its_analysis(self) -> None:
        summary = (
            "This session is being continued from another.\n<analysis>thinking</analysis>\n<summary>\n"
            "The cart was rebuilt from scratch.\n</summary>"
        )
        draft = only("PostCompact", trigger="auto", compact_summary=summary)
        assert (draft.text, draft.tags) == ("The cart was rebuilt from scratch.", ("compact",))


class TestDecisions:
    @pytest.mark.parametrize(
        "sentence",
        [
            "We decided to use Decimal for money because floats drift.",
            "Decision: orders keep their currency.",
            "Let's use SQLite instead of PostgreSQL for the demo.",
            "I chose a dataclass because the values never change.",
            "Chose BM25 over vectors.",
            "We'll store times as integers since SQLite sorts them.",
            "From now on every amount is in cents.",
            "We have agreed to ship on Friday.",
        ],
    )
    def test_a_choice_is_found_in_what_anyone_says(self, sentence: str) -> None:
        (decision,) = find_decisions(f"I looked around. {sentence} Tests pass.", by_user=False)
        assert decision.sentence == sentence
        assert decision.passage == f"I looked around. {sentence} Tests pass."

    @pytest.mark.parametrize(
        "sentence",
        [
            "Always run the linter before a commit.",
            "Never print customer rows.",
            "use tabs, not spaces",
            "Please use httpx instead of requests.",
            "You must never touch the migrations.",
            "Remember that staging is read-only.",
        ],
    )
    def test_a_rule_counts_only_from_the_user(self, sentence: str) -> None:
        assert find_decisions(sentence, by_user=True)[0].sentence == sentence
        assert find_decisions(sentence.replace("Please use", "One could use"), by_user=False) == []

    @pytest.mark.parametrize(
        "text",
        [
            "Should we use Decimal instead of float?",
            "We have not decided to use Redis yet because of cost.",
            "If we decided to use Redis, it would cost more.",
            "The test fails because the total is a float.",
            "I will read the file and run the tests.",
            "```\n# we decided to use Decimal because of cents\n```",
            "Never mind the warning.",
            "Let me use grep to find it.",
            "x" * 700 + " we decided to use y because z.",
        ],
    )
    def test_what_states_no_choice_is_no_decision(self, text: str) -> None:
        assert find_decisions(text, by_user=True) == []

    def test_neighbouring_sentences_are_one_decision(self) -> None:
        text = "We decided to use uv because it is fast. From now on the lock file is committed. Good."
        (decision,) = find_decisions(text, by_user=False)
        assert decision.passage == text

    def test_a_message_gives_only_so_many(self) -> None:
        text = "\n\n".join(f"We decided to use tool {n} for job {n}.\n\nSo it is." for n in range(20))
        assert len(find_decisions(text, by_user=False)) == DECISIONS_MAX

    def test_the_origin_is_who_said_it(self) -> None:
        by_user = drafts("UserPromptSubmit", prompt="From now on use Decimal for money.")
        by_assistant = drafts(
            "Stop", last_assistant_message="We decided to use Decimal because floats drift."
        )
        assert [(draft.kind, draft.origin) for draft in by_user] == [("prompt", "user"), ("decision", "user")]
        assert [(d.kind, d.origin) for d in by_assistant] == [
            ("summary", "assistant"),
            ("decision", "assistant"),
        ]


class TestFileChanges:
    def test_an_edit_tells_path_hunk_and_symbols(self) -> None:
        asked = {
            "file_path": f"{WORKSPACE}/shop/cart.py",
            "old_string": "def total(cart):\n    return 1\n",
            "new_string": "def total(cart):\n    return 2\n",
        }
        (draft,) = tool("Edit", asked)
        assert draft.title == "Edited shop/cart.py (total)"
        assert draft.text == "Edited shop/cart.py\n@@\n def total(cart):\n-    return 1\n+    return 2"
        assert (draft.paths, draft.symbols, draft.origin) == (("shop/cart.py",), ("total",), "hook")

    def test_the_clients_own_patch_is_preferred(self) -> None:
        patch = [
            {"newStart": 7, "lines": [" far", " near", "-old", "+new", " next", " away"]},
            {"lines": "broken"},
            5,
        ]
        asked = {"file_path": f"{WORKSPACE}/a.py", "old_string": "x", "new_string": "y"}
        (draft,) = tool("Edit", asked, {"structuredPatch": patch})
        assert draft.text == "Edited a.py\n@@ line 7\n near\n-old\n+new\n next"

    def test_a_new_file_shows_its_head(self) -> None:
        asked = {"file_path": f"{WORKSPACE}/a.ts", "content": "export class Cart {}\n" + "// x\n" * 200}
        (draft,) = tool("Write", asked, {"type": "create", "structuredPatch": []})
        assert draft.title == "Created a.ts (Cart)"
        assert draft.text.endswith("[... 121 more lines ...]")

    def test_an_overwritten_file_shows_what_changed(self) -> None:
        asked = {"file_path": f"{WORKSPACE}/a.py", "content": "b\n"}
        (draft,) = tool(
            "Write", asked, {"type": "update", "structuredPatch": [{"newStart": True, "lines": ["-a", "+b"]}]}
        )
        assert draft.text == "Rewrote a.py\n@@ line True\n-a\n+b"
        (blind,) = tool("Write", asked, {"type": "update"})
        assert blind.text == "Rewrote a.py\n+b"

    def test_several_edits_are_one_memory(self) -> None:
        edits = [{"old_string": "a", "new_string": "b"}, {"old_string": "c", "new_string": "d"}, "broken"]
        (draft,) = tool("MultiEdit", {"file_path": "/elsewhere/a.py", "edits": edits})
        assert draft.text == "Edited /elsewhere/a.py\n@@\n-a\n+b\n@@\n-c\n+d"

    def test_a_notebook_tells_what_was_done_to_its_cell(self) -> None:
        asked = {"notebook_path": f"{WORKSPACE}/n.ipynb", "new_source": "def f(): pass"}
        assert tool("NotebookEdit", asked)[0].title == "Edited a cell of n.ipynb (f)"
        assert (
            tool("NotebookEdit", {**asked, "edit_mode": "insert"})[0].title == "Added a cell to n.ipynb (f)"
        )

    def test_a_change_without_a_path_is_none(self) -> None:
        assert tool("Edit", {"old_string": "a", "new_string": "b"}) == ()

    def test_paths_are_relative_to_the_workspace_where_it_is_known(self) -> None:
        asked = {"file_path": "/home/dev/shop/a.py", "old_string": "a", "new_string": "b"}
        (draft,) = distil(tool_event("Edit", asked), root="/home/dev")
        assert draft.paths == ("shop/a.py",)

    @pytest.mark.parametrize(
        ("path", "root", "relative"),
        [
            ("/w/a/../b.py", "/w", "b.py"), ("/w2/b.py", "/w", "/w2/b.py"), ("/w/b.py", "", "/w/b.py"), ("", "/w", ""),
            ("C:\\Work\\a.py", "c:\\work", "a.py"), ("D:\\a.py", "C:\\w", "D:/a.py"), ("/w/../etc/x", "/w", "/etc/x"),
            ("/b.py", "/", "/b.py"), ("a.py", "/w", "a.py"),
        ],
    )  # fmt: skip
    def test_a_path_is_tidied_and_made_relative(self, path: str, root: str, relative: str) -> None:
        assert relative_path(path, root) == relative

    def test_symbols_are_read_in_seven_languages(self) -> None:
        text = "\n".join(
            [
                "async def fetch(x):", "class Cart(Base):", "+export function add(a) {",
                "const drop = async (x) => {",
                "pub(crate) fn parse<T>(x: T) {", "impl Store {", "func (c *Cart) Total() int {",
                "public static int compute(int a) {", "static void *make_node(size_t n) {",
                "export default class Page {",
                "    if (x) {", "return value;", "interface Shape {",
            ]
        )  # fmt: skip
        assert symbols_in(text) == (
            "fetch", "Cart", "add", "drop", "parse", "Store", "Total", "compute", "make_node", "Page", "Shape",
        )  # fmt: skip

    def test_symbols_are_limited(self) -> None:
        assert len(symbols_in("\n".join(f"def f{n}():" for n in range(100)))) == SYMBOLS_MAX

    def test_a_huge_hunk_is_listed_without_aligning(self) -> None:
        old = "\n".join(map(str, range(DIFF_LINES_MAX + 1)))
        assert hunk(old, "x").startswith("-0\n-1\n")
        assert hunk("same", "same") == ""


class TestCommands:
    def test_a_command_keeps_directory_exit_code_and_output(self) -> None:
        (draft,) = bash("pip install httpx", "\x1b[32mInstalled\x1b[0m\r\n10%\r100%")
        assert draft.text == f"$ pip install httpx\n(in {WORKSPACE}, exit code 0)\nInstalled\n100%"
        assert draft.extra["command"] == "pip install httpx"
        assert draft.extra["exit_code"] == 0

    @pytest.mark.parametrize(
        "command",
        [
            "ls -la", "cd src && pwd", "cat a.py | head -5", "echo hi", "git status",
            "git -P log -3", "grep -r x . 2>/dev/null",
            "A=1 ls", "find . -name '*.py' | wc -l", "sed -n 1,5p a.py", "", "# only a comment", "ls; echo 'unclosed",
        ],
    )  # fmt: skip
    def test_looking_around_is_not_kept(self, command: str) -> None:
        assert bash(command, "output") == ()

    @pytest.mark.parametrize(
        "command",
        [
            "echo x > a.txt",
            "find . -delete",
            "git commit -m x",
            "cat a | tee b",
            "sed -i s/a/b/ x",
            "ls | xargs rm",
        ],
    )
    def test_what_changes_something_is_not_trivial(self, command: str) -> None:
        assert not is_trivial(command)

    def test_long_output_keeps_mostly_its_tail(self) -> None:
        (draft,) = bash("make all", "head" + "x" * 50_000 + "tail")
        assert draft.text.endswith("tail")
        assert len(draft.text) < OUTPUT_CHARS_MAX + 200

    def test_output_may_come_as_text_or_with_a_code(self) -> None:
        assert read_outcome("Exit code 2\nboom") == read_outcome({"output": "boom", "exitCode": 2})
        assert read_outcome("fine").exit_code == 0
        assert read_outcome(None).output == ""
        assert read_outcome({"stdout": 5, "code": True}).exit_code == 0

    def test_a_commit_tells_hash_branch_and_subject(self) -> None:
        output = "[main (root-commit) 1a2b3c4] Add cart\n 2 files changed"
        (draft,) = bash("git add . && git commit -m 'Add cart'", output)
        assert (draft.kind, draft.title, draft.origin) == ("commit", "Add cart", "hook")
        assert {key: draft.extra[key] for key in ("commit", "branch")} == {
            "commit": "1a2b3c4",
            "branch": "main",
        }
        assert kinds(bash("git commit --dry-run", "nothing")) == ["command"]


class TestErrors:
    def test_a_failed_command_is_an_error_with_its_signature(self) -> None:
        (draft,) = distil(failed_event("python app.py", f"Exit code 1\n{TRACEBACK}"))
        assert (draft.kind, draft.title, draft.origin) == ("error", "ValueError: bad line 17", "hook")
        assert draft.extra["signature"] == "ValueError: bad line <n>"
        assert draft.extra["exit_code"] == 1
        assert draft.text.startswith(
            f"$ python app.py\n(in {WORKSPACE}, failed with exit code 1)\nValueError"
        )

    def test_a_traceback_behind_a_pipe_is_an_error_too(self) -> None:
        assert kinds(bash("python app.py | tail", TRACEBACK)) == ["error"]
        assert bash("cat app.log", TRACEBACK) == ()

    def test_a_response_with_an_exit_code_is_an_error(self) -> None:
        (draft,) = bash("make", "make: *** [all] Error 2", exit_code=2)
        assert draft.extra["exit_code"] == 2

    @pytest.mark.parametrize("command", ["grep x a.py", "diff a b", "cd x && test -f y"])
    def test_an_exit_code_that_answers_is_no_error(self, command: str) -> None:
        assert distil(failed_event(command, "Exit code 1\n")) == ()
        assert kinds(distil(failed_event(command, "Exit code 2\nNo such file or directory"))) == ["error"]

    def test_a_silent_failure_is_named_by_its_code(self) -> None:
        (draft,) = distil(failed_event("false-check", "Exit code 3"))
        assert draft.title == "exit code 3"

    def test_a_failed_tool_is_an_error(self) -> None:
        draft = only(
            "PostToolUseFailure",
            tool_name="Edit",
            tool_input={},
            error="String to replace not found in file.",
        )
        assert (draft.kind, draft.extra["tool"]) == ("error", "Edit")
        assert draft.extra["signature"] == "String to replace not found in file."

    @pytest.mark.parametrize(
        "fields", [{"error": "stopped", "is_interrupt": True}, {"error": ""}, {"error": 5}]
    )
    def test_an_interrupt_or_nothing_is_no_error(self, fields: dict[str, Any]) -> None:
        assert drafts("PostToolUseFailure", tool_name="Bash", tool_input={"command": "x"}, **fields) == ()

    @pytest.mark.parametrize(
        ("output", "line"),
        [
            ("FAILED a.py::t - x\nE   AssertionError: 1 != 2", "AssertionError: 1 != 2"),
            ("E       assert 1 == 2\nmore", "assert 1 == 2"),
            (f"{TRACEBACK}\n\nDuring handling\nshop.errors.CartError: empty", "shop.errors.CartError: empty"),
            (
                "warning: x\nerror[E0308]: mismatched types\nerror: aborting due to 1",
                "error[E0308]: mismatched types",
            ),
            ("thread 'main' panicked at src/a.rs:3", "panicked at src/a.rs:3"),
            ("a.ts(3,1): error TS2304: Cannot find name", "error TS2304: Cannot find name"),
            ("    --- FAIL: TestCart (0.00s)", "TestCart (0.00s)"),
            ("npm ERR! code 1\nnpm ERR! missing script", "npm ERR! missing script"),
            ("hello\nfatal: not a git repository", "fatal: not a git repository"),
            ("sh: 1: foo: command not found", "sh: 1: foo: command not found"),
            ("ok\nthe upload failed badly\nbye", "the upload failed badly"),
            ("one\ntwo", "two"),
            ("", ""),
            ("x\n" * 9_000 + "fatal: at the end", "fatal: at the end"),
        ],
    )
    def test_the_most_telling_line_is_picked(self, output: str, line: str) -> None:
        assert read_failure(output).line == line

    @pytest.mark.parametrize(
        ("line", "signature"),
        [
            ("No such file: '/home/a/b.py'", "No such file: '<path>'"),
            ("shop/cart.py:12: error", "<path>: error"),
            ("tests/t.py::test_x[1] failed", "<path> failed"),
            ("C:\\work\\a.py:3 bad", "<path> bad"),
            ("at 0x7f3a2b object", "at <addr> object"),
            ("id 123e4567-e89b-12d3-a456-426614174000", "id <id>"),
            ("2026-11-23T10:00:00.123Z late by 3.5s, 17 rows", "<time> late by <duration>, <n> rows"),
            ("10:00:01 key 'user-42' of commit 8c41f0d", "<time> key <value> of commit <hash>"),
            ("GET https://x.example/a?b=1 gave 404", "GET <url> gave <n>"),
            ("assert 30.009999999999998 == 30.01", "assert <n> == <n>"),
            ("utf8 and sha256 stay", "utf8 and sha256 stay"),
            ("password [redacted:assignment]", "password <secret>"),
        ],
    )
    def test_what_changes_between_runs_is_masked(self, line: str, signature: str) -> None:
        assert normalise(line) == signature
        assert normalise(signature) == signature

    def test_a_failed_run_and_its_tests_are_recognised(self) -> None:
        output = "FAILED t/a.py::x - boom\n--- FAIL: TestA (0.0s)\ntest cart::adds ... FAILED\n=== 1 failed in 2s ==="
        assert failed_tests(output) == ("t/a.py::x", "TestA", "cart::adds")
        assert looks_failed(output)
        assert not looks_failed("12 passed in 2s")


class TestFixes:
    def run(self, tracker: ErrorTracker, *events: Event) -> list[Draft]:
        return [fix for one in events for fix in tracker.observe(one, distil(one))]

    def edit(self, path: str = "shop/cart.py") -> Event:
        return tool_event("Edit", {"file_path": f"{WORKSPACE}/{path}", "old_string": "a", "new_string": "b"})

    def test_a_success_after_a_failure_is_a_fix_with_the_files_between(self) -> None:
        failed = failed_event("python -m pytest tests/a.py -x", f"Exit code 1\n{TRACEBACK}")
        (error,) = distil(failed)
        (fix,) = self.run(ErrorTracker(), failed, self.edit(), bash_event("pytest tests/a.py -q", "1 passed"))
        assert (fix.kind, fix.origin, fix.paths) == ("fix", "hook", ("shop/cart.py",))
        assert fix.extra["signature"] == error.extra["signature"]
        assert fix.extra["error_source_id"] == error.source_id
        assert "shop/cart.py" in fix.text

    def test_a_fix_ends_what_the_command_failed_with_before_as_well(self) -> None:
        lines = ("AssertionError: assert 1 == 2", "NameError: no name 'cart'", "ValueError: no total")
        failures = [failed_event("pytest tests/a.py", f"Exit code 1\nE   {line}") for line in lines]
        tracker = ErrorTracker()
        self.run(tracker, failures[0], self.edit(), failures[1], self.edit())
        tracker = ErrorTracker.from_json(json.loads(json.dumps(tracker.to_json())))
        (fix,) = self.run(tracker, failures[2], self.edit(), bash_event("pytest tests/a.py", "1 passed"))
        first, second, last = (distil(event)[0] for event in failures)
        assert fix.extra["error_source_id"] == last.source_id
        assert fix.extra["earlier_errors"] == [
            [error.source_id, error.extra["signature"]] for error in (first, second)
        ]

    def test_what_was_run_in_between_is_told(self) -> None:
        failed = failed_event("python app.py", "Exit code 1\nModuleNotFoundError: No module named 'httpx'")
        (fix,) = self.run(
            ErrorTracker(), failed, bash_event("pip install httpx"), bash_event("python app.py")
        )
        assert fix.extra["steps"] == ["pip install httpx"]

    def test_a_pass_without_a_change_is_marked_as_a_rerun(self) -> None:
        (fix,) = self.run(
            ErrorTracker(), failed_event("make test", "Exit code 2\nboom"), bash_event("make test")
        )
        assert fix.tags == ("fix", "rerun")

    def test_a_fix_is_told_once(self) -> None:
        tracker = ErrorTracker()
        events = (
            failed_event("make test", "Exit code 2\nboom"),
            bash_event("make test"),
            bash_event("make test"),
        )
        assert len(self.run(tracker, *events)) == 1
        assert tracker.to_json() == "{}"

    @pytest.mark.parametrize(
        ("failing", "output", "passing", "fixed"),
        [
            ("pytest tests/a.py", "boom", "pytest", True),
            ("pytest", "FAILED tests/a.py::x - boom", "pytest tests/a.py", True),
            ("pytest", "FAILED tests/a.py::x - boom", "pytest tests/b.py", False),
            ("pytest", "boom", "pytest tests/a.py", False),
            (
                "cd /w && uv run pytest tests/ -p no:x 2>&1 | tail -3",
                "boom",
                "python -m pytest ./tests",
                True,
            ),
            ("npm run build", "boom", "npm run test", False),
            ("CI=1 npm test", "boom", "npm test && git status", True),
            ("python a.py", "boom", "python b.py", False),
            ("timeout 5 python a.py", "boom", "python a.py", True),
            ("make", "boom", "make", True),
        ],
    )
    def test_a_success_counts_where_it_covers_the_failure(
        self, failing: str, output: str, passing: str, fixed: bool
    ) -> None:
        events = (failed_event(failing, f"Exit code 1\n{output}"), bash_event(passing, "ok"))
        assert bool(self.run(ErrorTracker(), *events)) is fixed

    def test_failing_again_keeps_what_was_tried(self) -> None:
        failed = failed_event("make test", "Exit code 2\nboom")
        (fix,) = self.run(
            ErrorTracker(), failed, self.edit("a.py"), failed, self.edit("b.py"), bash_event("make test")
        )
        assert fix.paths == ("a.py", "b.py")

    def test_sessions_do_not_mix(self) -> None:
        tracker = ErrorTracker()
        other = event(
            "PostToolUse",
            session_id="s2",
            tool_name="Bash",
            tool_input={"command": "make test"},
            tool_response={"stdout": ""},
        )
        assert self.run(tracker, failed_event("make test", "Exit code 2\nboom"), other) == []

    def test_the_state_survives_a_restart(self) -> None:
        tracker = ErrorTracker()
        self.run(
            tracker, failed_event("make test", "Exit code 2\nboom"), self.edit(), bash_event("pip install x")
        )
        state = tracker.to_json()
        again = ErrorTracker.from_json(state)
        assert again.to_json() == state
        ((failure,),) = json.loads(state).values()
        assert (failure["program"], failure["steps"]) == ("make test", ["pip install x"])
        assert len(self.run(again, bash_event("make test"))) == 1

    @pytest.mark.parametrize("state", [None, 5, [], {"s": 5}, {"s": [5, {}, {"targets": None}]}])
    def test_a_state_that_cannot_be_read_is_an_empty_one(self, state: Any) -> None:
        assert all(
            not rows for rows in json.loads(ErrorTracker.from_json(json.dumps(state)).to_json()).values()
        )

    def test_failures_sessions_and_steps_are_limited(self) -> None:
        tracker = ErrorTracker()
        for number in range(FAILURES_MAX + 5):
            self.run(tracker, failed_event(f"tool-{number}", "Exit code 1\nboom"))
        self.run(tracker, *[self.edit(f"f{number}.py") for number in range(STEPS_MAX + 5)])
        (rows,) = json.loads(tracker.to_json()).values()
        assert len(rows) == FAILURES_MAX
        assert len(rows[0]["files"]) == STEPS_MAX
        for number in range(SESSIONS_MAX + 5):
            source = failed_event("make", "Exit code 1\nboom")
            draft = distil(source)
            tracker.observe(
                Event(
                    **{**{name: getattr(source, name) for name in Event.__slots__}, "session": f"n{number}"}
                ),
                draft,
            )
        assert len(json.loads(tracker.to_json())) == SESSIONS_MAX

    def test_a_command_without_words_runs_nothing(self) -> None:
        assert read_run("").program == ""
        assert read_run("cargo --version").program == "cargo"


class TestTasks:
    def test_a_to_do_list_shows_its_state(self) -> None:
        todos = [
            {"content": "Find it", "status": "completed"},
            {"content": "Fix it", "status": "in_progress"},
            {"content": "Commit", "status": "pending"},
            {"content": ""},
            "broken",
        ]
        (draft,) = tool("TodoWrite", {"todos": todos})
        assert draft.title == "To do: 1 of 3 done; now Fix it"
        assert draft.text == "[x] Find it\n[>] Fix it\n[ ] Commit"
        assert tool("TodoWrite", {"todos": []}) == ()

    def test_a_task_reads_the_same_from_its_tool_and_its_event(self) -> None:
        (made,) = tool(
            "TaskCreate",
            {"subject": "Fix it", "description": "soon"},
            {"task": {"id": "1", "subject": "Fix it"}},
        )
        told = only("TaskCreated", task_id="1", task_subject="Fix it", task_description="soon")
        assert (made.title, made.text, made.extra) == (told.title, told.text, told.extra)

    def test_a_task_done_is_told(self) -> None:
        assert tool("TaskUpdate", {"taskId": "1", "status": "completed"})[0].title == "Task completed: task 1"
        assert tool("TaskUpdate", {"taskId": "1", "addBlocks": ["2"]}) == ()
        assert only("TaskCompleted", task_id="1", task_subject="Fix it").text == "[x] Fix it"
        assert drafts("TaskCompleted", task_id="1") == ()


class TestSearches:
    def test_a_search_in_files_lists_some_of_them(self) -> None:
        files = [f"{WORKSPACE}/f{number}.py" for number in range(RESULTS_MAX + 5)]
        (draft,) = tool("Grep", {"pattern": "float", "path": WORKSPACE + "/shop"}, {"filenames": files})
        assert draft.title == "Searched 'float' in shop"
        assert draft.origin == "tool"
        assert len(draft.paths) == RESULTS_MAX
        assert draft.text.endswith("[... 5 more files ...]")

    def test_a_search_without_a_find_is_not_kept(self) -> None:
        assert tool("Glob", {"pattern": "*.zig"}, {"filenames": []}) == ()
        assert tool("Grep", {"pattern": "x"}, {"content": "a.py:1:x", "filenames": []})[0].text.endswith(
            "a.py:1:x"
        )

    def test_a_web_search_keeps_titles_and_addresses(self) -> None:
        results = [{"content": [{"title": "Decimal", "url": "https://docs"}]}, "Use Decimal."]
        (draft,) = tool("WebSearch", {"query": "python money"}, {"results": results})
        assert draft.text == "Searched the web: python money\n- Decimal https://docs\nUse Decimal."
        assert tool("WebSearch", {}) == ()

    def test_a_page_is_kept_in_part(self) -> None:
        (draft,) = tool("WebFetch", {"url": "https://docs", "prompt": "what?"}, {"result": "x" * 100_000})
        assert draft.title == "Read https://docs"
        assert len(draft.text) < 10_000
        assert tool("WebFetch", {"url": "https://docs"}, "plain")[0].text == "Read https://docs\nplain"
        assert tool("WebFetch", {}) == ()


class TestLimits:
    @pytest.mark.parametrize(
        "name", ["mcp__retain__recall", "mcp__plugin_retain_retain__remember", "mcp__other__x", "Read"]
    )
    def test_our_own_and_unknown_tools_give_nothing(self, name: str) -> None:
        assert tool(name, {"command": "x", "file_path": "/a"}) == ()

    def test_our_own_tools_errors_give_nothing(self) -> None:
        assert drafts("PostToolUseFailure", tool_name="mcp__retain__recall", error="boom") == ()

    def test_a_huge_text_keeps_head_and_tail_around_a_marker(self) -> None:
        draft = only("UserPromptSubmit", prompt="start " + "x" * 200_000 + " end")
        assert len(draft.text) <= TEXT_CHARS_MAX
        assert draft.text.startswith("start ")
        assert draft.text.endswith(" end")
        assert "characters cut" in draft.text
        assert len(draft.title) <= TITLE_CHARS_MAX

    def test_cutting_says_how_much_is_gone(self) -> None:
        assert bounded("abc", 3) == "abc"
        assert len(bounded("x" * 1_000, 100)) <= 100
        assert bounded("x" * 1_000, 10).count("x") == 0

    def test_one_line_is_the_first_that_says_something(self) -> None:
        assert one_line("\n  \n a \t b\nc") == "a b"
        assert one_line("") == ""
        assert plain("a\r\nb\x1b]0;title\x07c") == "a\nbc"

    def test_every_kind_is_known(self) -> None:
        found = {draft.kind for draft in (*bash("make x"), *drafts("UserPromptSubmit", prompt="hello there"))}
        assert found <= set(KINDS)

    @pytest.mark.parametrize("name", sorted(DISTILLERS))
    @pytest.mark.parametrize(
        "junk", [None, 5, "text", [], {"a": []}, [[]], {"command": 5, "todos": 5, "edits": {}}]
    )
    def test_fields_of_the_wrong_type_never_raise(self, name: str, junk: Any) -> None:
        fields = dict.fromkeys(
            ("prompt", "tool_response", "error", "last_assistant_message", "tool_input"), junk
        )
        for tool_name in ("Bash", "Edit", "MultiEdit", "Grep", "TodoWrite", "WebSearch", "TaskCreate", junk):
            drafts(name, tool_name=tool_name, **fields)

    @pytest.mark.timeout(60)
    @pytest.mark.parametrize(
        "unit",
        [
            "a", " ", "\n", "<analysis>", "```", "we decided ", "a.", "=== 1 ", "1", "def a", "a b ", "a*&", "/a", "::",
            "\x1b]", "E   A", "A.", "Error", "<system-reminder>", "<<EOF\n", "'", "$(", "- ", "Tests: ",
            "FAILED a", "[a",
        ],
    )  # fmt: skip
    def test_a_text_made_to_be_slow_is_distilled_in_time(self, unit: str) -> None:
        text = unit * (250_000 // len(unit))
        bash(text, text)
        bash("make x", text)
        drafts("UserPromptSubmit", prompt=text)
        drafts("PostCompact", compact_summary=text)
        tool("Write", {"file_path": "/a.py", "content": text})
        tool("Edit", {"file_path": text, "old_string": text, "new_string": text[1:]})
