"""The command line as a person and as a program uses it: answers, exit codes, and how it ends."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import retain
from retain.capture import spool
from retain.interfaces import client_entries, importing, replies
from retain.interfaces.cli import main
from retain.model import from_us

RETAIN = [sys.executable, "-P", "-m", "retain"]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is found by processes that are started, and the current folder is no repository."""
    monkeypatch.setenv("PYTHONPATH", str(Path(retain.__file__).parents[1]))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def start(*arguments: str | bytes, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Runs a command in a process of its own."""
    return subprocess.run([*RETAIN, *arguments], capture_output=True, timeout=60, check=False, **options)


def jsonl(path: Path, lines: Sequence[object]) -> str:
    path.write_bytes(
        b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)
    )
    return str(path)


# Memories


def test_what_one_process_remembers_another_one_recalls(ask: Callable[..., Any]) -> None:
    done = start(
        "remember", "we use decimal.Decimal for money", "--kind", "decision", "--path", "src/money.py"
    )
    assert done.returncode == 0, done.stderr
    found = ask("recall", "decimal", "money")
    assert [hit["text"] for hit in found["hits"]] == ["we use decimal.Decimal for money"]
    assert found["hits"][0]["paths"] == ["src/money.py"]
    assert found["hits"][0]["origin"] == "user"
    assert 0 < found["hits"][0]["score"] <= 1
    assert not found["abstained"]
    assert found["hidden"] == {}
    assert found["elapsed_us"] > 0
    assert found["plan"]["name"]


def test_every_field_of_remember_is_kept(ask: Callable[..., Any]) -> None:
    stored = ask(
        "remember", "text", "--title", "title", "--kind", "fix", "--path", "a.py", "--path", "b.py",
        "--symbol", "f", "--tag", "x", "--occurred-at", "2026-01-02", "--source-id", "s1",
    )  # fmt: skip
    assert stored["created"]
    shown = ask("show", stored["id"])
    wanted = {
        "title": "title", "kind": "fix", "paths": ["a.py", "b.py"], "symbols": ["f"], "tags": ["x"],
        "occurred_at": "2026-01-02T00:00:00+00:00", "source_id": "s1", "status": "active", "links": [],
    }  # fmt: skip
    assert {name: shown[name] for name in wanted} == wanted


def test_remember_reads_stdin(ask: Callable[..., Any]) -> None:
    assert ask("remember", stdin="häßlich\nzwei\n".encode())["text"] == "häßlich\nzwei"
    assert ask("remember", "-", stdin=b"one")["text"] == "one"


def test_no_count_is_told_of_a_text_that_was_not_read_to_its_end(run: Run) -> None:
    assert "text: 262,145 characters exceed" in run("remember", stdin=b"a" * 262_145)[2]
    assert "text: exceeds the limit of 262,144 characters" in run("remember", stdin=b"a" * 4_000_000)[2]


def test_remember_says_what_it_did(run: Run) -> None:
    assert run("remember", "a fact")[1].startswith("Remembered")
    assert run("remember", "a fact")[1].startswith("Known already")
    said = run("remember", "the key is sk-ant-api03-" + "a1B2" * 12)[1]
    assert "secrets left out: 1" in said
    assert "a1B2" not in said


def test_a_revised_memory_is_replaced_and_stays_readable(ask: Callable[..., Any], run: Run) -> None:
    old = ask("remember", "the port is 8080")
    new = ask("revise", old["id"], "the port is 9090", "--reason", "moved")
    assert new["supersedes"] == old["id"]
    assert [hit["id"] for hit in ask("recall", "port")["hits"]] == [new["id"]]
    before = ask("show", old["id"])
    assert (before["status"], before["superseded_by"], before["reason"]) == ("superseded", new["id"], "moved")
    assert "9090" in run("show", new["id"])[1]
    assert run("revise", new["id"], "-", stdin=b"the port is 7070")[0] == 0


def test_a_forgotten_memory_is_not_recalled(ask: Callable[..., Any], run: Run) -> None:
    stored = ask("remember", "the port is 8080")
    code, said, _ = run("forget", stored["id"], "--reason", "wrong")
    assert code == 0
    assert stored["id"] in said
    assert ask("recall", "port")["hits"] == []
    assert run("forget", stored["id"])[0] == 1


def test_the_timeline_is_in_order_and_bounded(ask: Callable[..., Any], run: Run) -> None:
    for day in (3, 1, 2):
        ask("remember", f"day {day}", "--occurred-at", f"2026-01-0{day}", "--path", "src/a.py")
    titles = [memory["title"] for memory in ask("timeline")["memories"]]
    assert titles == ["day 1", "day 2", "day 3"]
    since = ask("timeline", "--since", "2026-01-02", "--until", "2026-01-03")["memories"]
    assert [memory["title"] for memory in since] == ["day 2"]
    assert len(ask("timeline", "--limit", "1")["memories"]) == 1
    assert ask("timeline", "--path", "docs/")["memories"] == []
    assert len(ask("timeline", "--around", "2026-01-02", "--path", "src/")["memories"]) == 3
    assert run("timeline", "--path", "docs/")[1] == "Nothing found\n"
    assert "day 2" in run("timeline")[1]


def test_recall_takes_filter_limit_budget_and_workspace(ask: Callable[..., Any], tmp_path: Path) -> None:
    for number in range(5):
        ask("remember", f"cache note {number}", "--tag", f"t{number}")
    assert len(ask("recall", "cache", "--limit", "2")["hits"]) == 2
    assert [hit["tags"] for hit in ask("recall", "cache", "--filter", '{"tag": "t3"}')["hits"]] == [["t3"]]
    assert len(ask("recall", "--filter", '{"kind": "note"}')["hits"]) == 5
    tight = ask("recall", "cache", "--budget", "60")
    assert 0 < tight["tokens"] <= 60
    assert tight["hidden"]["over_budget"] == 5 - len(tight["hits"])
    (tmp_path / "other").mkdir()
    elsewhere = {"cwd": str(tmp_path / "other")}
    assert json.loads(start("recall", "cache", "--json", **elsewhere).stdout)["hits"] == []
    assert (
        len(json.loads(start("recall", "cache", "--json", "--workspace", "*", **elsewhere).stdout)["hits"])
        == 5
    )


def test_where_the_budget_holds_nothing_that_is_said(run: Run) -> None:
    run("remember", "We use tabs")
    _, out, _ = run("recall", "tabs", "--budget", "5")
    assert out.startswith("Nothing within the budget")
    assert "withheld: 1 over budget" in out


def test_times_may_be_said_in_words_wherever_a_command_takes_one(ask: Callable[..., Any], run: Run) -> None:
    kept = ask("remember", "We use tabs")
    ask("remember", "We used spaces", "--occurred-at", "2020-01-01")
    for said in (
        ("--since", "yesterday"),
        ("--since", "2 hours ago"),
        ("--around", kept["id"], "--limit", "1"),
    ):
        assert [one["text"] for one in ask("timeline", *said)["memories"]] == ["We use tabs"], said
    assert [one["text"] for one in ask("timeline", "--until", "yesterday")["memories"]] == ["We used spaces"]
    assert ask("audit", "--since", "yesterday")["entries"]
    assert ask("stats", "--receipt", "--since", "yesterday")["injections"] == 0
    for command in (("timeline", "--around"), ("audit", "--since"), ("stats", "--receipt", "--since")):
        code, _, problem = run(*command, "the day before")
        assert code == 2
        assert "not a time\n  say 'Tuesday 14:00'" in problem


def test_erasing_what_is_not_there_says_so(run: Run) -> None:
    gone = "01a20852-fd2f-7000-a043-76db6ce6ea23"
    code, out, _ = run("erase", gone)
    assert (code, f"There was no memory {gone} any more." in out) == (0, True)


def test_a_changed_setting_is_told_as_config_shows_it(run: Run) -> None:
    assert "retention = prompt=90 (" in run("config", "set", "retention.prompt", "90")[1]
    assert "retention = - (default)" in run("config", "unset", "retention.prompt")[1]
    assert "-0" not in run("explain", "nothing like it")[1]


def test_context_prints_the_block_and_keeps_its_remarks_apart(run: Run, ask: Callable[..., Any]) -> None:
    assert run("context")[1:] == ("", "nothing to say: no memory fits\n")
    ask("remember", "we use decimal.Decimal for money", "--kind", "decision")
    code, said, aside = run("context", "decimal", "for", "money")
    assert code == 0
    assert "decimal.Decimal" in said
    assert "tokens" in aside
    value = ask("context", "--budget", "200")
    assert len(value["ids"]) == 1
    assert 0 < value["tokens"] <= 200


def test_home_names_the_data_directory_before_or_after_the_command(run: Run, tmp_path: Path) -> None:
    there = str(tmp_path / "there")
    assert run("--home", there, "remember", "a fact about foxes")[0] == 0
    assert "foxes" in run("recall", "foxes", "--home", there)[1]
    assert "Nothing found" in run("recall", "foxes")[1]


# Import


def test_an_import_keeps_the_good_lines_and_numbers_the_bad_ones(
    ask: Callable[..., Any], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "LINE_BYTES_MAX", 1_000)
    monkeypatch.setattr(importing, "BATCH_LINES", 4)
    lines: list[object] = [
        b"\xef\xbb\xbf" + json.dumps({"text": "first", "source_id": "s1", "tags": ["t"]}).encode() + b"\n",
        b"{bad\n",
        [1],
        {"text": ""},
        b"\n",
        {"text": "a", "bogus": 1},
        {"text": "x" * 2_000},
        b'{"text": "\\ud800"}\n',
        b'{"text": "\xff"}\n',
        {"text": "other content", "source_id": "s1"},
        {"text": "first", "source_id": "s1", "tags": ["t"]},
        {
            "text": "second",
            "kind": "decision",
            "paths": ["a.py"],
            "symbols": ["f"],
            "occurred_at": "2026-01-02",
        },
        b'{"text": "last, without a line break"}',
    ]
    value = ask("import", "jsonl", jsonl(tmp_path / "in.jsonl", lines))
    assert {name: value[name] for name in ("in", "stored", "merged", "failed")} == {
        "in": 12, "stored": 3, "merged": 1, "failed": 8,
    }  # fmt: skip
    assert {error["line"]: error["field"] for error in value["errors"]} == {
        2: "line", 3: "line", 4: "text", 6: "bogus", 7: "line", 8: "line", 9: "line", 10: None,
    }  # fmt: skip
    found = ask("recall", "second")["hits"][0]
    assert (found["origin"], found["kind"], found["paths"]) == ("import", "decision", ["a.py"])
    code, said, aside = run("import", "jsonl", str(tmp_path / "in.jsonl"))
    assert code == 1
    assert said == "12 in · 0 stored · 4 merged · 8 failed\n"
    assert "line 2: not JSON" in aside


def test_an_import_without_errors_succeeds_from_stdin_in_several_batches(
    ask: Callable[..., Any], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "BATCH_BYTES_MAX", 500)
    data = b"".join(json.dumps({"text": f"memory number {n}"}).encode() + b"\n" for n in range(50))
    code, said, aside = run("import", "jsonl", "-", stdin=data)
    assert (code, said, aside) == (0, "50 in · 50 stored · 0 merged · 0 failed\n", "")
    assert ask("stats")["memories"] == {"active": 50}


def test_many_errors_are_counted_and_the_first_ones_shown(run: Run) -> None:
    _, said, aside = run("import", "jsonl", "-", stdin=b"{\n" * 30)
    assert "30 failed" in said
    assert len(aside.splitlines()) == importing.ERRORS_SHOWN + 1
    assert "10 more" in aside


def test_an_import_that_cannot_start_names_the_field(ask: Callable[..., Any], tmp_path: Path) -> None:
    assert ask("import", "jsonl", str(tmp_path / "nowhere"))["error"]["field"] == "file"
    assert ask("import", "jsonl", str(tmp_path))["error"]["field"] == "file"
    assert ask("import", "csv", "x")["error"]["field"] == "source"
    unknown = ask("import", "jsonl", "-", "--workspace", "x", stdin=b'{"text": "a"}\n')
    assert unknown["error"]["field"] == "workspace"


def test_an_import_that_the_user_stops_keeps_what_was_stored(ask: Callable[..., Any]) -> None:
    with subprocess.Popen(
        [*RETAIN, "import", "jsonl", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        for number in range(2 * importing.BATCH_LINES):
            process.stdin.write(json.dumps({"text": f"memory number {number}"}).encode() + b"\n")
        process.stdin.flush()
        wait_until(lambda: ask("stats")["memories"].get("active", 0) == 2 * importing.BATCH_LINES)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in said
    assert b"500 stored" in said or b"1,000 stored" in said


def wait_until(holds: Callable[[], bool]) -> None:
    """Asks again until it holds; the time limit of the test is the end of it."""
    while not holds():
        pass


def test_an_import_shows_its_progress_on_a_terminal(tmp_path: Path) -> None:
    file = jsonl(tmp_path / "in.jsonl", [{"text": f"memory number {n}"} for n in range(600)])
    said = on_a_terminal("import", "jsonl", file)
    assert "500 lines" in said
    assert "600 in" in said


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """What a command prints to a terminal."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [*RETAIN, *arguments], stdin=slave, stdout=slave, stderr=slave,
        env={**os.environ, "TERM": "xterm", **environment},
    ) as process:  # fmt: skip
        os.close(slave)
        said = b""
        with contextlib.suppress(OSError):  # the end of a terminal is an error on Linux
            while chunk := os.read(master, 65_536):
                said += chunk
        assert process.wait(60) == 0, said
    os.close(master)
    return said.decode()


def test_colours_are_on_a_terminal_only_and_can_be_refused(ask: Callable[..., Any], run: Run) -> None:
    ask("remember", "a fact about foxes")
    assert "\x1b[" in on_a_terminal("recall", "foxes")
    assert "\x1b[" not in on_a_terminal("recall", "foxes", NO_COLOR="1")
    assert "\x1b[" not in run("recall", "foxes")[1]
    assert json.loads(on_a_terminal("recall", "foxes", "--json"))["hits"]


def test_lines_fit_the_terminal_and_go_on_below_their_last_column(ask: Callable[..., Any], run: Run) -> None:
    text = "the fact about foxes goes on and on, over the edge of every terminal that was ever built"
    ask("remember", text, "--kind", "decision")
    shown = on_a_terminal("recall", "foxes", NO_COLOR="1", COLUMNS="40")
    assert shown.splitlines()[1].startswith(" " * 16)
    assert max(len(line) for line in shown.splitlines() if text[:3] in line) <= 40
    assert " ".join(shown.split()).count(text) == 1
    assert text in run("recall", "foxes")[1]


def test_the_text_of_one_memory_is_shown_as_it_is(ask: Callable[..., Any]) -> None:
    text = "x = " + "1 + " * 40 + "1"
    stored = ask("remember", text)
    assert text in on_a_terminal("show", stored["id"], NO_COLOR="1", COLUMNS="40")


# Wrong usage


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("recal",), "command: unknown 'recal'; did you mean 'recall'?"),
        (("frobnicate",), "command: unknown 'frobnicate'\n"),
        (("review", "foo"), "action: unknown 'foo'; known: list, accept, reject"),
        (("import", "trancripts"), "source: unknown 'trancripts'; did you mean 'transcripts'?"),
        (("restore",), "arguments: one is needed of --at, --backup"),
        (("restore", "--at", "soon"), "say 'Tuesday 14:00'"),
        (("show", "42"), "id: not an id; ids look like"),
        (("off", "/no/such/folder"), "path: /no/such/folder is no folder"),
        (("bench", "run", "/no/such/set"), "set: /no/such/set/corpus.jsonl.gz: No such file or directory"),
    ],
)
def test_wrong_usage_is_told_in_the_words_of_the_user(run: Run, given: tuple[str, ...], said: str) -> None:
    code, _, told = run(*given)
    assert code == 2
    assert told.startswith("retain: ")
    assert said in told


def without_rights() -> None:
    """Takes from a process of root what lets it read every folder; run before it becomes the command."""
    if os.geteuid() == 0:
        prctl, capbset_drop = ctypes.CDLL(None).prctl, 24
        for overriding in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            assert prctl(capbset_drop, overriding, 0, 0, 0) == 0


@pytest.mark.skipif(os.geteuid() == 0 and sys.platform != "linux", reason="root reads everything")
@pytest.mark.parametrize(
    ("command", "code"), [(("scan",), 1), (("import", "transcripts"), 2), (("import", "codex"), 2)]
)
def test_a_folder_that_cannot_be_listed_does_not_look_empty(
    tmp_path: Path, command: tuple[str, ...], code: int
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    done = start(*command, str(closed), preexec_fn=without_rights)
    closed.chmod(0o700)
    assert done.returncode == code, done
    assert b"could not be read" in done.stdout or b"Permission denied" in done.stderr


# Looking inside


def test_explain_shows_plan_truth_and_scores(ask: Callable[..., Any], run: Run) -> None:
    ask("remember", "a fact about foxes")
    value = ask("explain", "foxes", "--filter", '{"kind": "note"}')
    assert value["plan"]["truth"]
    assert value["hits"][0]["parts"]
    said = run("explain", "foxes", "--limit", "5")[1]
    assert "fts_match" in said
    assert "really" in said
    assert "a fact about foxes" in said


def test_status_and_doctor_say_what_is_wrong_here(ask: Callable[..., Any], run: Run, home: Path) -> None:
    folder = Path.cwd()
    told = run("status")[1]
    assert told.rstrip().endswith("no problems")
    assert "1 active memory" in told or "0 active memories" in told
    assert "0 bytes waiting in the spool" in told
    (folder / ".retain.toml").write_text("capture = [")
    (home / "spool").mkdir(exist_ok=True)
    (home / "spool" / "failures.log").write_text("1 hook.failed type=OSError errno=28\n")
    problem = f"nothing is captured here: {folder}/.retain.toml is not TOML"
    code, said, _ = run("status")
    assert code == 0
    assert f"problem: {problem}" in said.replace("\n", " ")
    assert "1 hook failed to write the spool since 1970-01-01" in said.replace("\n", " ")
    assert ask("status")["capture"] == "off"
    findings = json.loads(run("doctor", "--no-spawn", "--json")[1])["findings"]
    found = {finding["check"]: finding for finding in findings}
    assert found["project file"]["detail"].startswith(problem)


def test_stats_count_and_verify_finds_everything_right(ask: Callable[..., Any], run: Run, home: Path) -> None:
    ask("remember", "a fact")
    counts = ask("stats")
    assert counts["memories"] == {"active": 1}
    assert counts["home"] == str(home)
    assert "1 active" in run("stats")[1]
    assert ask("verify")["ok"] is True
    code, said, _ = run("verify")
    assert code == 0
    assert said.count("ok") >= 6


def test_the_audit_tells_every_change_and_its_door(run: Run, ask: Callable[..., Any]) -> None:
    stored = ask("remember", "a fact")["id"]
    run("forget", stored)
    found = ask("audit", stored)
    assert [row["action"] for row in found["entries"]] == ["remembered", "forgotten"]
    assert {row["door"] for row in found["entries"]} == {"cli"}
    assert found["head"]["hash"] == found["entries"][-1]["hash"]
    code, said, _ = run("audit")
    assert code == 0
    assert "forgotten" in said
    assert found["head"]["hash"] in said
    assert run("audit", "no-id")[0] == 2


def test_a_store_is_kept_taken_back_and_moved(run: Run, ask: Callable[..., Any], tmp_path: Path) -> None:
    stored = ask("remember", "a fact about zebras")["id"]
    made = ask("backup")
    assert ask("backup", "--list")["backups"][0]["backup"] == made["backup"]
    assert run("backup", "--check")[0] == 0
    then = from_us(ask("audit")["entries"][-1]["at_us"]).isoformat()
    ask("forget", stored)
    assert ask("recall", "zebras")["hits"] == []
    assert ask("recall", "zebras", "--as-of", then)["hits"][0]["id"] == stored
    assert "zebras" in ask("context", "zebras", "--as-of", then)["text"]
    assert ask("restore", "--at", then)["active"] == 1
    shown = replies.local_time(datetime.fromisoformat(then), seconds=True)
    assert f"As it was at {shown}: " in run("restore", "--at", then)[1]
    for form in ("jsonl", "markdown"):
        path = tmp_path / f"all.{form}"
        assert ask("export", str(path), "--format", form)["memories"] == 1
        assert path.stat().st_mode & 0o777 == 0o600
        assert ask("import", "retain", str(path))["known"] == 1
    assert run("export", "-")[1].startswith('{"retain_export":1}')
    ask("forget", stored)
    assert ask("unforget", stored) == {"active": stored}
    ask("forget", stored)
    done = ask("erase", stored)
    assert done["erased"] == [stored]
    assert done["proof"]["found_in"] == []
    assert run("restore", "--at", "next week")[0] == 2
    assert run("restore", "--backup", "20200101T000000.000000Z")[0] == 1
    assert run("restore")[0] == 2


def test_verify_fails_where_the_spool_is_damaged(run: Run, ask: Callable[..., Any], home: Path) -> None:
    ask("remember", "a fact")
    (home / "spool").mkdir(mode=0o700)
    (home / "spool" / "live.spool").write_bytes(b"RTS1 this is no record")
    code, said, _ = run("verify")
    assert code == 1
    assert "damaged  spool" in said
    assert ask("verify")["ok"] is False


def test_drain_digests_what_the_hook_spooled(ask: Callable[..., Any], run: Run, home: Path) -> None:
    event = {"hook_event_name": "UserPromptSubmit", "session_id": "s", "prompt": "why is the cache cold"}
    spooled = start("hook", input=json.dumps(event).encode())
    assert (spooled.returncode, spooled.stdout) == (0, b"{}\n")
    assert spool.waiting_bytes(str(home / "spool")) > 0
    said = run("drain")[1]
    assert "1 event · 1 new memory" in said
    assert ask("drain")["events"] == 0
    assert spool.waiting_bytes(str(home / "spool")) == 0
    assert ask("recall", "cold cache")["hits"][0]["kind"] == "prompt"


def test_hook_takes_a_home(home: Path, tmp_path: Path) -> None:
    start("hook", "--home", str(tmp_path / "there"), input=b'{"hook_event_name": "Stop"}')
    assert spool.waiting_bytes(str(tmp_path / "there" / "spool")) > 0
    assert not home.exists()


def test_config_says_where_each_value_came_from(
    ask: Callable[..., Any], run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir()
    (home / "config.toml").write_text("readers = 2\n")
    monkeypatch.setenv("RETAIN_RESULTS_MAX", "40")
    value = ask("config")
    assert value["home"]["source"] == "environment"
    assert value["results_max"] == {"value": 40, "source": "environment", "doc": value["results_max"]["doc"]}
    assert value["readers"]["source"] == str(home / "config.toml")
    assert value["drain_batch"]["source"] == "default"
    assert ask("config", "--home", str(home))["home"]["source"] == "argument"
    assert "readers" in run("config")[1]


# Doctor


def test_the_doctor_finds_a_fresh_installation_well(
    run: Run, ask: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    assert run("install")[0] == 0
    value = ask("doctor")
    assert value["ok"], value
    assert {finding["verdict"] for finding in value["findings"]} == {"ok"}
    details = [finding["detail"] for finding in value["findings"]]
    assert any(detail.startswith("takes an event in") for detail in details)
    assert any(detail.startswith("answers as retain") for detail in details)
    assert [path for path in (tmp_path / "data").iterdir() if path.name != "client-files"] == []


def test_the_doctor_says_how_to_mend_what_is_missing(run: Run) -> None:
    code, said, _ = run("doctor", "--no-spawn")
    assert code == 1
    assert "retain install" in said
    assert "2 failed" in said


def findings(value: Any, verdict: str) -> str:
    return "\n".join(finding["detail"] for finding in value["findings"] if finding["verdict"] == verdict)


def test_the_doctor_sees_what_is_wrong_in_the_settings(
    run: Run, ask: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("install")
    file = tmp_path / "user" / ".claude" / "settings.json"
    content = json.loads(file.read_bytes())
    hooks = content["hooks"]
    content["disableAllHooks"] = True
    hooks["Stop"][0]["hooks"][0]["timeout"] = 10_000
    del hooks["SessionEnd"][0]["hooks"][0]["timeout"]
    del hooks["PreCompact"]
    hooks["Stop"].append({"hooks": [{"type": "command", "command": "/old/bin/retain", "args": ["hook"]}]})
    hooks["Stop"].append({"hooks": [{"type": "command", "command": "retain hook"}]})
    file.write_text(json.dumps(content))
    local = tmp_path / "work" / ".claude" / "settings.json"
    run("install", "--settings", str(local))
    value = ask("doctor", "--no-spawn")
    failed, warned = findings(value, "fail"), findings(value, "warn")
    assert "disableAllHooks" in failed
    assert "PreCompact" in failed
    assert "/old/bin/retain is not there" in failed
    assert "10000 (the unit is seconds; this looks like milliseconds)" in warned
    assert "SessionEnd has no timeout" in warned
    assert "more than one installation" in warned
    assert "another hook runs retain" in warned
    assert str(local) in warned


@pytest.mark.parametrize(
    ("server", "told"),
    [
        ({"command": "docker", "args": []}, "not ours"),
        ({"command": "/gone/retain", "args": ["serve"]}, "not there any more"),
        (None, "no entry"),
    ],
    ids=["foreign", "gone", "none"],
)
def test_the_doctor_sees_what_is_wrong_with_the_server(
    ask: Callable[..., Any], tmp_path: Path, server: object, told: str
) -> None:
    file = tmp_path / "servers.json"
    file.write_text(json.dumps({"mcpServers": {"retain": server} if server else {}}))
    assert told in findings(ask("doctor", "--no-spawn", "--mcp", str(file)), "fail")


def script(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("#!/bin/sh\necho oh dear >&2\nexit 3\n", "oh dear"),
        ('#!/bin/sh\nread a\necho noise\necho \'{"id": 1, "error": {"code": -1}}\'\n', "refused"),
        ("not a program", "could not be started"),
    ],
    ids=["dies", "refuses", "no_program"],
)
def test_the_doctor_tries_the_server(ask: Callable[..., Any], tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "bin").mkdir()
    command = script(tmp_path / "bin" / "retain", text)
    file = tmp_path / "servers.json"
    file.write_text(json.dumps({"mcpServers": {"retain": {"command": command, "args": ["serve"]}}}))
    assert told in findings(ask("doctor", "--mcp", str(file)), "fail")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("#!/bin/sh\necho broken >&2\nexit 1\n", "ended with 1: broken"),
        ("#!/bin/sh\necho '{}'\n", "spooled nothing"),
        ("not a program", "could not be started"),
    ],
    ids=["dies", "forgets", "no_program"],
)
def test_the_doctor_tries_the_hook(ask: Callable[..., Any], tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "bin").mkdir()
    command = script(tmp_path / "bin" / "retain", text)
    entry = {"type": "command", "command": command, "args": ["hook"], "timeout": 10}
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"hooks": {"Stop": [{"hooks": [entry]}]}}))
    assert told in findings(ask("doctor", "--settings", str(file)), "fail")


def test_the_doctor_compares_the_data_directories(run: Run, ask: Callable[..., Any], tmp_path: Path) -> None:
    pinned = str(tmp_path / "pinned")
    run("install", "--home", pinned)
    assert pinned in findings(ask("doctor"), "warn")
    assert ask("doctor", "--home", pinned)["ok"]
    assert not Path(pinned, "spool").exists()


def test_the_doctor_looks_at_directory_store_and_spool(ask: Callable[..., Any], home: Path) -> None:
    ask("remember", "a fact")
    (home / "spool" / "damaged").mkdir(parents=True)
    (home / "spool" / "damaged" / "x-0").write_bytes(b"?")
    (home / "spool" / "failures.log").write_bytes(b"1 hook.failed\n2 hook.failed\n")
    home.chmod(0o755)
    (home / "retain.db").chmod(0o644)
    warned = findings(ask("doctor", "--no-spawn"), "warn")
    assert "mode 755" in warned
    assert "mode 644" in warned
    assert "2 hooks could not write" in warned
    assert "1 damaged stretch is kept" in warned


def test_the_doctor_survives_a_store_that_is_none(ask: Callable[..., Any], home: Path) -> None:
    home.mkdir(mode=0o700)
    (home / "retain.db").write_bytes(b"this is no database, " * 100)
    assert "damaged" in findings(ask("doctor", "--no-spawn"), "fail")


def test_the_doctor_survives_files_that_are_no_json(ask: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "broken.json"
    file.write_text("{")
    other = tmp_path / "broken2.json"
    other.write_text("[")
    failed = findings(ask("doctor", "--no-spawn", "--settings", str(file), "--mcp", str(other)), "fail")
    assert str(file) in failed
    assert str(other) in failed


def test_the_doctor_sees_a_home_that_is_a_file(ask: Callable[..., Any], home: Path) -> None:
    home.write_bytes(b"")
    assert "is not a directory" in findings(ask("doctor", "--no-spawn"), "fail")


CHECKED_ANYWAY = {"python", "sqlite", "encryption", "store", "spool", "hooks", "mcp server"}


def test_the_doctor_goes_on_behind_a_data_directory_that_leads_nowhere(
    ask: Callable[..., Any], home: Path
) -> None:
    home.symlink_to(home.name)
    value = ask("doctor", "--no-spawn")
    checked = {finding["check"] for finding in value["findings"]}
    assert checked >= CHECKED_ANYWAY
    assert "config.toml: cannot be read" in findings(value, "fail")


def test_the_doctor_goes_on_behind_a_data_directory_that_it_may_not_read(
    ask: Callable[..., Any], home: Path
) -> None:
    ask("remember", "a fact")
    home.chmod(0)
    if os.access(home, os.R_OK):
        pytest.skip("this user may read everything")
    value = ask("doctor", "--no-spawn")
    home.chmod(0o700)
    assert {finding["check"] for finding in value["findings"]} >= CHECKED_ANYWAY | {"settings"}
    failed = findings(value, "fail")
    assert f"{home} cannot be read or written to or entered" in failed
    assert f"could not look: {home / 'retain.db'}: Permission denied" in failed


def test_the_doctor_goes_on_behind_settings_that_nobody_understands(
    ask: Callable[..., Any], home: Path
) -> None:
    ask("remember", "a fact")
    (home / "config.toml").write_text("no_such_setting = 1\n")
    value = ask("doctor", "--no-spawn")
    assert {finding["check"] for finding in value["findings"]} >= CHECKED_ANYWAY | {"settings"}
    assert "no_such_setting" in findings(value, "fail")


def test_a_hook_still_works_when_its_folder_is_gone(home: Path) -> None:
    here = client_entries.Installation(python=sys.executable, library="/gone", launcher=None)
    entry = here.hook()
    done = subprocess.run(
        [entry["command"], *entry["args"]],
        input=b'{"hook_event_name": "Stop"}',
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"{}\n"), done.stderr
    assert spool.waiting_bytes(str(home / "spool")) > 0


# Errors and endings


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["recall", ""], "query"),
        (["recall", "x", "--limit", "0"], "limit"),
        (["recall", "x", "--limit", "many"], "limit"),
        (["recall", "x", "--budget", "0"], "budget_tokens"),
        (["recall", "x", "--filter", "{"], "filter"),
        (["recall", "x", "--filter", "[]"], "filter"),
        (["recall", "x", "--filter", '{"bogus": 1}'], "filter.bogus"),
        (["recall", "x" * 20_000], "query"),
        (["recall", "x", "--workspace", "../.."], "workspace"),
        (["remember", ""], "text"),
        (["remember", "a\udcff"], "text"),
        (["remember", "x", "--kind", "bogus"], "kind"),
        (["remember", "x", "--path", "../x"], "paths[0]"),
        (["remember", "x", "--occurred-at", "soon"], "occurred_at"),
        (["remember", "x", "--occurred-at", "0001-01-01"], "occurred_at"),
        (["show", "../../etc/passwd"], "id"),
        (["show"], "id"),
        (["timeline", "--since", "x"], "since"),
        (["timeline", "--around", "x"], "around"),
        (["forget", "01a20852-fd2f-7000-a043-76db6ce6ea2"], "id"),
        (["context", "--budget", "1"], "budget_tokens"),
        (["stats", "--home", ""], "home"),
        (["bogus"], "command"),
        (["recall", "--bogus", "x"], "arguments"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_wrong_input_names_its_field_and_exits_with_2(run: Run, arguments: list[str], field: str) -> None:
    code, said, _ = run(*arguments, "--json")
    assert code == 2
    error = json.loads(said)["error"]
    assert error["field"] == field
    assert error["code"] in {"invalid_input", "invalid_filter"}
    code, said, aside = run(*arguments)
    assert (code, said) == (2, "")
    assert aside.startswith("retain: ")
    assert "Traceback" not in aside


@pytest.mark.parametrize("query", ['"', "((", "NEAR(", "*", "a AND", "title:x", "-", "\udcff\udcfe", "'; --"])
def test_any_text_is_a_query(run: Run, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETAIN_RECALL_CONFIDENCE", "0")
    run("remember", "a fact about foxes")
    code, _, aside = run("recall", "--", query)
    assert (code, aside) == (0, "")
    assert "foxes" in run("recall", "--", f"{query} a fact about foxes")[1]


def test_bytes_that_are_no_text_are_refused_or_looked_for() -> None:
    refused = start("remember", b"caf\xe9", "--json")
    assert refused.returncode == 2
    assert json.loads(refused.stdout)["error"]["field"] == "text"
    assert start("remember", "-", input=b"caf\xe9").returncode == 2
    assert start("recall", b"caf\xe9").returncode == 0
    assert start("recall", b"x", b"--home", b"/dev/null/\xff").returncode == 1


def test_too_much_text_is_refused_with_its_limit(ask: Callable[..., Any]) -> None:
    for data in (b"x" * 10_000_000, "ü".encode() * 5_000_000):
        error = ask("remember", stdin=data)["error"]
        assert error["field"] == "text"
        assert error["limit"] == 262_144


def test_an_id_that_names_nothing_exits_with_1(run: Run) -> None:
    code, said, _ = run("show", "01a20852-fd2f-7000-a043-76db6ce6ea23", "--json")
    assert code == 1
    assert json.loads(said)["error"]["code"] == "not_found"


def test_an_unusable_home_is_an_error_with_a_hint(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    code, _, aside = run("stats", "--home", str(tmp_path / "file"))
    assert code == 1
    assert "not a directory" in aside
    assert "\n  " in aside


def test_an_unexpected_error_is_a_sentence_and_a_traceback_only_on_request(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> int:
        raise ZeroDivisionError("boom")

    monkeypatch.setattr("retain.interfaces.inspection.stats", broken)
    code, _, aside = run("stats")
    assert code == 1
    assert aside.startswith("retain: unexpected ZeroDivisionError: boom")
    assert caplog.records == []
    monkeypatch.setenv("RETAIN_DEBUG", "1")
    assert json.loads(run("stats", "--json")[1])["error"]["code"] == "internal_error"
    assert caplog.records[0].exc_info


def test_a_reader_that_goes_away_is_no_failure(run: Run) -> None:
    for number in range(50):
        run("remember", f"{number} " + "long text " * 1_000)
    with subprocess.Popen(
        [*RETAIN, "recall", "long", "--limit", "50", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_a_full_disk_behind_stdout_is_an_error() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*RETAIN, "config"], stdout=full, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert done.returncode == 1
    assert b"No space left" in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


def test_closed_streams_are_survived() -> None:
    command = " ".join([*RETAIN, "remember", "text"])
    done = subprocess.run(["/bin/sh", "-c", f"{command} <&- >&- 2>&-"], timeout=60, check=False)
    assert done.returncode == 0
    assert json.loads(start("stats", "--json").stdout)["memories"] == {"active": 1}


def test_output_survives_a_terminal_that_knows_only_ascii(run: Run) -> None:
    run("remember", "größe → 𝄞")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = start("recall", "größe", env=environment)
    assert done.returncode == 0
    assert b"gr\\xf6\\xdfe" in done.stdout
    done = start("recall", "größe", "--json", env=environment)
    assert json.loads(done.stdout)["hits"][0]["text"] == "größe → 𝄞"


def test_help_and_version_are_answers(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["recall", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
    said = capsys.readouterr().out
    assert f"retain {retain.__version__}" in said
    assert "usage: retain recall" in said
    assert main([]) == 2


def test_every_command_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    commands = """demo serve hook recall remember show timeline revise forget unforget erase export
        backup restore context import explain stats
        verify audit drain config doctor install uninstall""".split()
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert [command for command in commands if f"\n  {command} " not in said] == []


def test_a_command_loads_only_what_it_needs() -> None:
    code = "import sys; from retain.interfaces.cli import main; main(['config']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {"mcp", "apsw", "retain._core", "retain.interfaces.doctor", "retain.interfaces.mcp"}
