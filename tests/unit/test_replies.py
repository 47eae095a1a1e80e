"""The table of replies is complete, and what is printed is safe on a terminal and for a parser."""

from __future__ import annotations

import io
import json
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from retain import errors
from retain.errors import InvalidInput, NotFound, RetainError, StoreBusy
from retain.interfaces import replies
from retain.model import Hit, Memory, Recall


def every_error() -> list[type[RetainError]]:
    return [
        thing for thing in vars(errors).values() if isinstance(thing, type) and issubclass(thing, RetainError)
    ]


MEMORY = Memory(
    id="01a20852-fd2f-7000-a043-76db6ce6ea23",
    workspace="01a20852-fd2f-7000-a043-76db6ce6ea24",
    kind="decision",
    title="Decimal for money",
    text="We use decimal.Decimal for money.",
    paths=("src/a.py", "src/b.py", "src/c.py", "src/d.py"),
    branch="main",
    occurred_at=datetime(2026, 11, 23, 12, tzinfo=UTC),
)
PLAIN = replies.Paint(on=False)


@pytest.mark.parametrize("error", every_error(), ids=lambda error: error.code)
def test_every_error_has_a_row_in_the_table(error: type[RetainError]) -> None:
    assert error.code in replies.REPLIES


def test_no_two_errors_share_a_code() -> None:
    codes = [error.code for error in every_error()]
    assert len(codes) == len(set(codes))


def test_wrong_input_is_a_usage_error_and_everything_else_a_failure() -> None:
    usage = {code for code, reply in replies.REPLIES.items() if reply.exit == replies.EXIT_USAGE}
    assert usage == {"invalid_input", "invalid_filter"}
    assert all(reply.exit != replies.EXIT_OK for reply in replies.REPLIES.values())


def test_an_error_for_programs_names_field_and_limit() -> None:
    error = InvalidInput("limit", "99 is outside 1..50", limit="1..50", hint="ask for fewer")
    assert replies.error_object(error) == {
        "error": {
            "code": "invalid_input",
            "message": "limit: 99 is outside 1..50",
            "field": "limit",
            "limit": "1..50",
            "hint": "ask for fewer",
            "retryable": False,
        }
    }


def test_the_table_gives_a_hint_where_the_error_has_none() -> None:
    assert replies.error_object(StoreBusy("busy"))["error"]["hint"] == replies.REPLIES["store_busy"].hint
    assert replies.error_text(StoreBusy("busy", hint="wait")).endswith("wait")


def test_an_error_without_a_hint_is_one_line() -> None:
    assert replies.error_text(NotFound("id: no memory x")) == "retain: id: no memory x"


def test_an_unknown_code_fails_like_any_error() -> None:
    class Strange(RetainError):
        code = "strange"

    assert replies.exit_code(Strange("what")) == replies.EXIT_FAILED


def test_control_codes_in_an_error_do_not_reach_the_terminal() -> None:
    text = replies.error_text(NotFound("id: \x1b[31mred\x07\nretain: fine"))
    assert "\x1b" not in text
    assert "\n" not in text


def test_a_memory_for_programs_has_every_documented_key() -> None:
    value = replies.memory_object(MEMORY)
    wanted = """id workspace kind title text paths symbols tags origin status branch commit session
        occurred_at recorded_at source_id supersedes superseded_by"""
    assert set(wanted.split()) <= set(value)
    assert "score" not in value
    assert replies.memory_object(MEMORY, 0.5)["score"] == 0.5
    assert json.loads(replies.as_json(value))["occurred_at"] == "2026-11-23T12:00:00+00:00"


def test_a_recall_for_programs_has_every_documented_key() -> None:
    recall = Recall(
        hits=(Hit(memory=MEMORY, score=0.9, parts={"lexical": 0.9}),),
        hidden={"below_confidence": 2},
        plan={"name": "lexical_first"},
        abstained=False,
        elapsed_us=7,
        tokens=3,
    )
    value = replies.recall_object(recall)
    assert set(value) == {"hits", "hidden", "abstained", "confidence", "plan", "elapsed_us", "tokens"}
    assert value["hits"][0]["score"] == 0.9


def test_json_can_be_encoded_whatever_is_in_it() -> None:
    text = replies.as_json({"a": "\udcff é"})
    assert text.encode() == b'{"a": "\\udcff \xc3\xa9"}'
    assert replies.as_json({"a": "é"}, ascii_only=True) == '{"a": "\\u00e9"}'


def test_text_of_a_memory_cannot_move_the_cursor() -> None:
    evil = Memory(id="i", workspace="w", kind="note", title="\x1b]0;pwned\x07", text="a\x1b[2Jb\u202ec")
    shown = "\n".join(replies.memory_lines(evil, PLAIN)) + replies.printable(evil.text)
    assert not any(code in shown for code in "\x1b\x07\u202e")
    assert replies.printable("one\r\n\ttwo") == "one\n\ttwo"


def test_tag_characters_do_not_carry_hidden_text_to_a_terminal() -> None:
    hidden = "".join(chr(0xE0000 + ord(letter)) for letter in "obey") + "\U000e0100"
    assert replies.printable(f"a{hidden}b") == "a" + "�" * 5 + "b"


def test_colours_are_for_terminals_whose_user_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert replies.Paint.for_stream(Terminal()).on
    assert not replies.Paint.for_stream(io.StringIO()).on
    monkeypatch.setenv("NO_COLOR", "1")
    assert not replies.Paint.for_stream(Terminal()).on
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not replies.Paint.for_stream(Terminal()).on


def test_paint_that_is_off_changes_nothing() -> None:
    on = replies.Paint(on=True)
    for name in ("bold", "dim", "good", "bad", "doubtful", "kind"):
        assert getattr(PLAIN, name)("x") == "x"
        assert getattr(on, name)("x") == f"\x1b[{getattr(on, name)('x')[2:].split('m')[0]}mx\x1b[0m"


def test_what_the_terminal_cannot_encode_is_escaped() -> None:
    assert replies.encodable("é → \udcff", "latin-1") == "é \\u2192 \\udcff"
    assert replies.encodable("é", None) == "é"


@pytest.mark.parametrize(
    ("us", "shown"), [(12, "12 µs"), (1_500, "1.5 ms"), (2_500_000, "2.5 s")], ids=["us", "ms", "s"]
)
def test_durations_read_well(us: int, shown: str) -> None:
    assert replies.duration(us) == shown


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 bytes"), (2_048, "2.0 KiB"), (3 << 20, "3.0 MiB"), (5 << 30, "5.0 GiB")]
)
def test_sizes_read_well(count: int, shown: str) -> None:
    assert replies.size(count) == shown


def test_numbers_agree_with_their_nouns() -> None:
    assert replies.counted(1, "memory", "memories") == "1 memory"
    assert replies.counted(1_200, "memory", "memories") == "1,200 memories"


def test_nothing_found_and_nothing_convincing_are_different_answers() -> None:
    empty = Recall(hits=(), hidden={}, plan={}, abstained=True)
    weak = Recall(hits=(), hidden={"below_confidence": 3}, plan={}, abstained=True)
    assert replies.recall_text(empty, PLAIN).startswith("Nothing found")
    assert replies.recall_text(weak, PLAIN).startswith("Nothing convincing")
    assert "withheld: 3 below confidence" in replies.recall_text(weak, PLAIN)


def test_a_hit_is_shown_with_score_provenance_and_id() -> None:
    recall = Recall(
        hits=(Hit(memory=MEMORY, score=0.914, parts={}),), hidden={}, plan={}, abstained=False, tokens=40
    )
    shown = replies.recall_text(recall, PLAIN)
    assert "0.91  decision  Decimal for money" in shown
    assert "on main · src/a.py, src/b.py, src/c.py +1" in shown
    assert MEMORY.id in shown
    assert "1 memory" in shown
    assert "40 tokens" in shown


def test_a_doubt_about_a_memory_stands_under_its_title() -> None:
    hit = Hit(memory=MEMORY, score=0.5, parts={}, state="drifted", note="code has changed: TIMEOUT is 45 now")
    recall = Recall(hits=(hit,), hidden={}, plan={}, abstained=False)
    shown = replies.recall_text(recall, PLAIN).splitlines()
    assert shown[1].strip() == "code has changed: TIMEOUT is 45 now"


@pytest.mark.parametrize("title", ["We round half to even", "We round half…"])
def test_a_text_that_begins_with_its_title_is_shown_once(title: str) -> None:
    memory = replace(MEMORY, title=title, text="We round half to even,\nas the tax office wants.")
    assert replies.memory_lines(memory, PLAIN)[:2] == [
        "decision  We round half to even, as the tax office wants.",
        f"    {replies.details_of(memory)}",
    ]


# What is wider than a terminal


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("short enough", "short enough"),
        ("no column, so nothing is indented", "no column, so\nnothing is\nindented"),
        ("  a  the last column", "  a  the last\n     column"),
        ("  - an entry of a list", "  - an entry of a\n    list"),
        ("ab  \x1b[2mcolours take no room\x1b[0m", "ab  \x1b[2mcolours take\n    no room\x1b[0m"),
        ("see /a/path/that/is/never/broken now", "see\n/a/path/that/is/never/broken\nnow"),
        ("数据 数据 数据 数据", "数据 数据 数据\n数据"),
        ("one\ntwo", "one\ntwo"),
    ],
)
def test_a_line_is_broken_between_words_and_goes_on_below_its_last_column(line: str, shown: str) -> None:
    assert replies.folded(line, 17) == shown


@pytest.mark.parametrize(
    ("zone", "minute", "second"),
    [
        ("UTC", "2026-11-23 23:30 UTC", "2026-11-23 23:30:15 UTC"),
        ("CET-1", "2026-11-24 00:30 UTC+01:00", "2026-11-24 00:30:15 UTC+01:00"),
        ("NST3:30", "2026-11-23 20:00 UTC-03:30", "2026-11-23 20:00:15 UTC-03:30"),
    ],
)
def test_a_time_is_the_reader_s_own_and_says_its_zone(
    monkeypatch: pytest.MonkeyPatch, zone: str, minute: str, second: str
) -> None:
    moment = datetime(2026, 11, 23, 23, 30, 15, tzinfo=UTC)
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        told = (replies.local_time(moment), replies.local_time(moment, seconds=True))
    time.tzset()
    assert told == (minute, second)
