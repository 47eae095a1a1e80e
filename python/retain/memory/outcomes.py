"""What became of a memory: the commits and test runs after it, where its work landed, what was tried on an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from retain.capture.shell import read_run
from retain.capture.wording import one_line
from retain.git.lineage import ABANDONED, FRESH, OTHER_BRANCH, REVERTED
from retain.memory.truth import Asker, CommitCheck
from retain.storage.reads import Reader
from retain.storage.truth import Later, aftermath, fix_of, key_of, provenance

COMMITS_MAX = 5
TESTS_MAX = 5
ATTEMPTS_MAX = 10
CHARS_MAX = 100

LED_ON = frozenset({"decision", "prompt", "task", "file_change", "fix", "note", "summary"})
"""Kinds of which it is told what came after; what a command or an error led to is its fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a memory.

    Attributes:
        state: as of the gate, where the question comes from; note: why.
        landed: the commit of the head's history that holds its work; empty where none was found.
        commits: the first commits of its session after it, as (short hash, subject).
        tests: test runs of its session after it, as (command, whether they passed), up to the last of a commit.
        attempts: what was changed in vain before an error disappeared.
        fixed_by: id of the fix of an error.
    """

    state: str = FRESH
    note: str = ""
    landed: str = ""
    commits: tuple[tuple[str, str], ...] = ()
    tests: tuple[tuple[str, bool], ...] = ()
    attempts: tuple[str, ...] = ()
    fixed_by: str = ""

    def as_json(self) -> dict[str, Any]:
        """The outcome as JSON values."""
        return {
            "state": self.state,
            "note": self.note,
            "landed": self.landed,
            "commits": [{"commit": commit, "subject": subject} for commit, subject in self.commits],
            "tests": [{"command": command, "passed": passed} for command, passed in self.tests],
            "attempts": list(self.attempts),
            "fixed_by": self.fixed_by,
        }

    def lines(self) -> list[str]:
        """What there is to tell, one thing a line; empty where there is nothing."""
        passed = sum(one for _, one in self.tests)
        tests = (
            f"tests run after it: {passed} passed, {len(self.tests) - passed} failed" if self.tests else ""
        )
        told = [
            _fate(self),
            *(f"led to {commit} {subject}" for commit, subject in self.commits),
            tests + (f"; the last: {self.tests[-1][0]}" if self.tests else ""),
            *(f"did not help: {attempt}" for attempt in self.attempts),
            f"fixed by [{self.fixed_by}]" if self.fixed_by else "",
        ]
        return [one for one in told if one]


def _fate(outcome: Outcome) -> str:
    if outcome.state == FRESH:
        return f"in this history as {outcome.landed[:10]}" if outcome.landed else ""
    if outcome.state in {REVERTED, ABANDONED, OTHER_BRANCH}:
        return outcome.note
    return f"{outcome.state}: {outcome.note}"


def outcome_of(reader: Reader, commits: CommitCheck, asker: Asker, memory_id: str) -> Outcome:
    """What became of a memory that is there, seen from the asker."""
    db = reader.connection
    key = key_of(db, memory_id)
    rows = provenance(db, [key]) if key is not None else []
    here = [row for row in rows if row.workspace == asker.workspace]
    if not rows:
        return Outcome()
    verdict = commits.verdicts(asker, here)[0][0] if here else None
    later = aftermath(db, memory_id) if rows[0].kind in LED_ON else []
    made, tests = _told(later)
    fixed_by = ""
    attempts: tuple[str, ...] = ()
    if rows[0].kind in {"error", "fix"} and (fix := fix_of(db, memory_id)):
        fixed_by = fix[0] if fix[0] != memory_id else ""
        attempts = _attempts(orjson.loads(fix[1]))
    return Outcome(
        state=verdict.state if verdict else FRESH,
        note=verdict.why if verdict else "",
        landed=verdict.landed if verdict else "",
        commits=made,
        tests=tests,
        attempts=attempts,
        fixed_by=fixed_by,
    )


def _told(later: list[Later]) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, bool], ...]]:
    """The first commits, and the test runs up to the first one after the last of them."""
    commits: list[tuple[str, str]] = []
    tests: list[tuple[str, bool]] = []
    for one in later:
        if one.kind == "commit":
            if len(commits) == COMMITS_MAX:
                break
            commits.append((one.commit[:10], one_line(one.title)[:CHARS_MAX]))
        elif one.command and read_run(one.command).is_test:
            tests.append((one_line(one.command)[:CHARS_MAX], one.kind == "command"))
    return tuple(commits), tuple(tests[-TESTS_MAX:])


def _attempts(extra: Mapping[str, Any]) -> tuple[str, ...]:
    known = extra.get("attempts")
    return tuple(str(one) for one in known[:ATTEMPTS_MAX]) if isinstance(known, list) else ()
