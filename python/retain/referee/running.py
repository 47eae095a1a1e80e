"""Asks a contestant the questions of a set, within a limit of time, and measures its answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from retain.errors import RetainError
from retain.referee.contestants import Contestant
from retain.referee.metrics import DEPTH, Interval, bootstrap, measure, paired
from retain.referee.sets import EPOCH, JudgedSet, Question, Record

Opener = Callable[[Path], Contestant]
"""Makes a contestant that keeps its files in an empty folder."""

SAY_EVERY_S = 5.0
LOAD_RECORDS = 250


class OutOfTime(RetainError):
    """The contestant took longer than it may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Every measure of every question of a category, in the order of the set, and the time of each search.

    ``failed`` says why a contestant has no answers.
    """

    contestant: str
    values: Mapping[str, Sequence[Mapping[str, float]]]
    search_ms: Sequence[float] = ()
    load_s: float = 0.0
    failed: str = ""

    def of(self, category: str, name: str) -> list[float]:
        """One measure of a category."""
        return [row[name] for row in self.values.get(category, ()) if name in row]

    def interval(self, category: str, name: str) -> Interval:
        """Mean and bootstrap interval of a measure."""
        return bootstrap(self.of(category, name))

    def against(self, other: Answers, category: str, name: str) -> Interval:
        """Paired difference to another contestant on the same questions."""
        return paired(self.of(category, name), other.of(category, name))


def ask(
    judged: JudgedSet, name: str, opener: Opener, *, limit_s: float, say: Callable[[str], None]
) -> Answers:
    """Gives a contestant the records of each group and asks its questions.

    A contestant that fails, or takes longer than ``limit_s`` for the set, ends with the reason.
    """
    clock = _Clock(f"{judged.name}: {name}", limit_s, say)
    ranked: dict[str, list[str]] = {}
    try:
        for group, questions in _by_group(judged.questions).items():
            with TemporaryDirectory(prefix="retain-bench-") as place:
                records = judged.records.get(group, ())
                with closing(opener(Path(place))) as contestant:
                    ranked |= dict(_answers(contestant, records, questions, clock))
    except (RetainError, OSError) as error:
        reason = f"{type(error).__name__}: {error}"[:300]
        say(f"{clock.who}: gave up after {clock.passed_s():.0f} s: {reason}")
        return Answers(contestant=name, values={}, failed=reason)
    values: dict[str, list[Mapping[str, float]]] = {}
    for question in judged.questions:
        values.setdefault(question.cat, []).append(measure(ranked[question.id], question.relevant))
    say(f"{clock.who}: {len(ranked):,} questions in {clock.passed_s():.1f} s")
    return Answers(contestant=name, values=values, search_ms=clock.search_ms, load_s=clock.load_s)


class _Clock:
    """How long a contestant may still take, and what its searches took."""

    def __init__(self, who: str, limit_s: float, say: Callable[[str], None]) -> None:
        self.who = who
        self.search_ms: list[float] = []
        self.load_s = 0.0
        self._say = say
        self._limit_s = limit_s
        self._started = self._said = time.perf_counter()

    def passed_s(self) -> float:
        return time.perf_counter() - self._started

    def load(self, contestant: Contestant, records: Sequence[Record]) -> None:
        """Loads in small pieces, so that a slow contestant is stopped in time."""
        started = time.perf_counter()
        for start in range(0, len(records), LOAD_RECORDS):
            contestant.load(records[start : start + LOAD_RECORDS])
            self._check(f"{start:,} of {len(records):,} records")
        self.load_s += time.perf_counter() - started

    def search(self, contestant: Contestant, question: Question, *, filtered: bool) -> list[str]:
        started = time.perf_counter()
        found = contestant.search(question.text, DEPTH, question.before if filtered else None)
        self.search_ms.append((time.perf_counter() - started) * 1000)
        self._check(f"{len(self.search_ms):,} questions")
        return found

    def _check(self, how_far: str) -> None:
        now = time.perf_counter()
        if now - self._started > self._limit_s:
            raise OutOfTime(f"more than {self._limit_s:.0f} s; came to {how_far}")
        if now - self._said > SAY_EVERY_S:
            self._said = now
            self._say(f"{self.who}: {how_far}")


def _answers(
    contestant: Contestant, records: Sequence[Record], questions: Sequence[Question], clock: _Clock
) -> Iterator[tuple[str, list[str]]]:
    """The ids found for each question. Who cannot filter by time gets the records as time goes by."""
    if contestant.filters_time:
        clock.load(contestant, records)
        for question in questions:
            yield question.id, clock.search(contestant, question, filtered=True)
        return
    loaded = 0
    for question in sorted(questions, key=_when):
        before = question.before
        end = len(records) if before is None else sum(record.moment < before for record in records)
        clock.load(contestant, records[loaded:end])
        loaded = end
        yield question.id, clock.search(contestant, question, filtered=False)


def _when(question: Question) -> tuple[bool, datetime]:
    return question.before is None, question.before or EPOCH


def _by_group(questions: Sequence[Question]) -> dict[str, list[Question]]:
    groups: dict[str, list[Question]] = {}
    for question in questions:
        groups.setdefault(question.group, []).append(question)
    return groups
