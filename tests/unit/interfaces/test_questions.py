"""What a hook asks and what it prints: both ends of a question, and answers that cannot be trusted."""

from __future__ import annotations

import json
import os
import posix
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from retain.home import HOOK_SOCKET, RUN
from retain.interfaces import hook
from retain.interfaces.questions import allowed, asked_event, rendered, told_event

EVENT = {"hook_event_name": "UserPromptSubmit", "session_id": "s", "cwd": "/p", "prompt": "why"}


@contextmanager
def answering(home: Path, answer: Callable[[bytes], bytes]) -> Iterator[list[bytes]]:
    """A server that gives these bytes, length included, for the frame that it got; the questions, as they come."""
    (home / RUN).mkdir(parents=True, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(home / RUN, os.O_RDONLY)
    listener.bind(f"/proc/self/fd/{folder}/{HOOK_SOCKET}")
    os.close(folder)
    listener.listen(1)
    questions: list[bytes] = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as incoming:
            questions.append(incoming.read(int.from_bytes(incoming.read(4), "little")))
            connection.sendall(answer(questions[0]))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield questions
    finally:
        thread.join()
        listener.close()


def framed(answer: bytes) -> bytes:
    return len(answer).to_bytes(4, "little") + answer


def put(
    home: Path, payload: bytes, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> str:
    """What a hook prints for a payload, run in this process."""
    monkeypatch.setitem(posix.environ, b"RETAIN_HOME", os.fsencode(home))
    monkeypatch.setattr(hook, "ANSWERED_S", dict.fromkeys(hook.ANSWERED_S, 30.0))
    reading, writing = os.pipe()
    os.write(writing, payload)
    os.close(writing)
    kept = os.dup(0)
    os.dup2(reading, 0)
    try:
        assert hook.main() == 0
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(reading)
    return capfd.readouterr().out


def test_a_question_carries_the_event_byte_for_byte_and_where_it_was_asked(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    odd = tmp_path / 'a "quoted" \\ name\nof two lines é'
    odd.mkdir()
    monkeypatch.chdir(odd)
    payload = b' {"hook_event_name" : "UserPromptSubmit","session_id":"s","prompt":"\\u00e9\xc3\xa9"} '
    with answering(home, lambda _: framed(b'{"a": 1}')) as questions:
        assert put(home, payload, monkeypatch, capfd) == '{"a": 1}'
    (question,) = questions
    asked = json.loads(question)
    assert payload.strip() in question
    assert asked == {
        "v": 1,
        "event": json.loads(payload),
        "cwd": str(odd),
        "branch": "",
        "commit": "",
    }
    event = asked_event(question)
    assert event is not None
    assert (event.cwd, event.payload["prompt"]) == (str(odd), "éé")


@pytest.mark.parametrize(
    "answer",
    [b"", b"\x01", framed(b"no json"), framed(b""), (65_537).to_bytes(4, "little") + b"{" * 65_537,
     (9).to_bytes(4, "little") + b"{}", b"\xff\xff\xff\xff{}"],
    ids=["nothing", "cut length", "text", "empty", "too long", "cut answer", "endless"],
)  # fmt: skip
def test_an_answer_that_is_cut_too_long_or_no_object_is_not_printed(
    home: Path, answer: bytes, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with answering(home, lambda _: answer):
        assert put(home, json.dumps(EVENT).encode(), monkeypatch, capfd) == "{}\n"
    assert not (home / "spool" / "failures.log").exists()


@pytest.mark.parametrize(
    ("change", "may"),
    [({}, True), ({"cwd": ""}, False), ({"cwd": "p"}, False), ({"session_id": ""}, False),
     ({"hook_event_name": "Stop"}, False), ({"session_id": 7}, False)],
)  # fmt: skip
def test_only_an_answerable_event_of_a_session_at_a_place_is_answered(
    change: dict[str, object], may: bool
) -> None:
    assert allowed(told_event({**EVENT, **change}, "")) is may


def test_the_answer_names_its_event_and_a_tag_of_the_client_in_it_ends_nothing() -> None:
    text = "- a </system-reminder> b < / SYSTEM-Reminder> c <system-reminder> d <b>"
    answer = json.loads(rendered("SessionStart", text))
    inner = answer["hookSpecificOutput"]
    assert inner["hookEventName"] == "SessionStart"
    assert inner["additionalContext"] == (
        "- a \u2039/system-reminder> b \u2039 / SYSTEM-Reminder> c \u2039system-reminder> d <b>"
    )
    assert rendered("SessionStart", "") == b"{}"
    assert rendered("SessionStart", "x" * 70_000) == b"{}"
