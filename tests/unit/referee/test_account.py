"""The account says what a contestant's silence was worth."""

from __future__ import annotations

import pytest

from retain.referee.account import silence, table
from retain.referee.metrics import measure
from retain.referee.running import Answers
from retain.referee.sets import JudgedSet, Question


def question(name: str, cat: str, *relevant: str) -> Question:
    return Question(id=name, group="g", text=name, cat=cat, split="test", relevant=dict.fromkeys(relevant, 1))


JUDGED = JudgedSet(
    name="some-unanswerable",
    records={"g": ()},
    questions=[
        question("a", "answerable", "r"),
        question("b", "answerable", "r"),
        question("c", "foreign"),
        question("d", "foreign"),
        question("e", "unanswerable"),
        question("f", "unanswerable"),
    ],
)


def answers(*silent: str) -> Answers:
    values: dict[str, list[dict[str, float]]] = {}
    for one in JUDGED.questions:
        values.setdefault(one.cat, []).append(measure([] if one.id in silent else ["r"], one.relevant))
    return Answers(contestant="retain", values=values)


def test_silence_is_judged_on_both_sides() -> None:
    assert silence(JUDGED, [answers("a", "c", "d", "e")])["retain"] == {
        "precision": 0.75,
        "recall": 0.75,
        "answerable": 0.5,
    }


def test_who_is_never_silent_has_neither() -> None:
    assert silence(JUDGED, [answers()])["retain"] == {"precision": 0.0, "recall": 0.0, "answerable": 0.0}


def test_a_set_in_which_everything_has_an_answer_tells_nothing_of_it() -> None:
    known = JudgedSet(name="some-known", records={"g": ()}, questions=JUDGED.questions[:2])
    assert silence(known, [answers("a")]) == {}


def test_who_failed_is_left_out() -> None:
    assert silence(JUDGED, [Answers(contestant="retain", values={}, failed="no")]) == {}


@pytest.mark.parametrize("part", ["precision 0.75", "recall 0.75", "0.500"])
def test_the_table_shows_it(part: str) -> None:
    assert part in table(JUDGED, [answers("a", "c", "d", "e")])
