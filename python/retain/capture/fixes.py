"""An error and what made it disappear: needs the history of a session, which this object holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from retain.capture.shell import Run, read_run
from retain.capture.wording import COMMAND_CHARS_MAX, bounded, one_line
from retain.model import Draft, Event

SESSIONS_MAX = 64
"""The least recently seen session is forgotten beyond this."""
FAILURES_MAX = 32
"""Open failures of one session; the oldest goes first."""
ATTEMPTS_MAX = 8
"""Changes that did not help, remembered of a failure."""
STEPS_MAX = 20
"""Files, and commands, remembered between a failure and its fix."""


@dataclass(slots=True, kw_only=True)
class _Failure:
    """A command that failed and has not succeeded since; ``files`` and ``steps`` grow with what is done to it."""

    program: str
    targets: tuple[str, ...]
    is_test: bool
    tests: tuple[str, ...]
    command: str
    line: str
    signature: str
    source_id: str
    files: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    since: tuple[str, ...] = ()  # files changed since it failed the last time
    attempts: tuple[str, ...] = ()  # what was changed before it failed again
    earlier: tuple[tuple[str, str], ...] = ()  # source id and signature of what it failed with before


_WATCHED = frozenset({"file_change", "error", "command", "commit"})


class ErrorTracker:
    """Watches the drafts of each session and tells when a command that failed succeeds again.

    Feed it every event with its drafts, in order. It holds at most ``SESSIONS_MAX`` sessions of
    ``FAILURES_MAX`` failures; ``to_json`` and ``from_json`` carry them over a restart. A caller that stores
    the state together with the drafts loses no fix in a crash.
    """

    def __init__(self) -> None:
        self._sessions: dict[str, list[_Failure]] = {}

    @classmethod
    def from_json(cls, text: str) -> ErrorTracker:
        """The tracker that ``to_json`` described; what cannot be read is left out."""
        tracker = cls()
        state = orjson.loads(text)
        sessions = state if isinstance(state, Mapping) else {}
        for session, failures in list(sessions.items())[-SESSIONS_MAX:]:
            rows = failures if isinstance(failures, list) else []
            tracker._sessions[str(session)] = [row for row in map(_read_failure, rows[-FAILURES_MAX:]) if row]
        return tracker

    def to_json(self) -> str:
        """The state as JSON, sessions from the least to the most recently seen."""
        return orjson.dumps(self._sessions).decode()

    def heeds(self, session: str, drafts: Sequence[Draft]) -> bool:
        """Whether these drafts of a session can change the state: where nothing failed, only an error does."""
        watched = _WATCHED if self._sessions.get(session) else {"error"}
        return any(draft.kind in watched for draft in drafts)

    def observe(self, event: Event, drafts: Sequence[Draft]) -> tuple[Draft, ...]:
        """Takes in the drafts of one event; returns a ``fix`` for each failure that they end."""
        if not drafts or not event.session:
            return ()
        failures = self._sessions.pop(event.session, [])
        fixes: list[Draft] = []
        for draft in drafts:
            failures, fixed = _step(failures, draft)
            fixes += [
                _fix(event, failure, draft, number + len(fixes)) for number, failure in enumerate(fixed)
            ]
        if failures:
            self._sessions[event.session] = failures[-FAILURES_MAX:]
        while len(self._sessions) > SESSIONS_MAX:
            del self._sessions[next(iter(self._sessions))]
        return tuple(fixes)


def _step(failures: list[_Failure], draft: Draft) -> tuple[list[_Failure], list[_Failure]]:
    """The failures that stay open after a draft, and those that it ends."""
    command = draft.extra.get("command")
    if draft.kind == "file_change":
        add = _Adding(draft.paths)
        for one in failures:
            one.files, one.since = add(one.files), add(one.since)
        return failures, []
    if draft.kind not in {"error", "command", "commit"} or not isinstance(command, str):
        return failures, []
    run = read_run(command)
    if draft.kind == "error":
        opened = _opened(run, draft, command)
        again = [one for one in failures if one.program == opened.program and one.targets == opened.targets]
        if again:
            last = again[-1]
            tried = (f"{', '.join(last.since)}, then: {one_line(opened.line)}",) if last.since else ()
            opened.files, opened.steps = last.files, last.steps
            opened.attempts = (*last.attempts, *tried)[-ATTEMPTS_MAX:]
            before = [pair for one in again for pair in (*one.earlier, (one.source_id, one.signature))]
            opened.earlier = tuple(dict.fromkeys(before))[-ATTEMPTS_MAX:]
        return [one for one in failures if one not in again] + [opened], []
    add, ends = _Adding((one_line(command),)), _ender(run)
    ended: list[_Failure] = []
    open_still: list[_Failure] = []
    for one in failures:
        if ends(one):
            ended.append(one)
        else:
            one.steps = add(one.steps)
            open_still.append(one)
    return open_still, ended


class _Adding:
    """Adds the same to many lists: a session has up to 32 open failures, and each hears of everything.

    Lists that are equal afterwards are one object, and that is looked at once.
    """

    __slots__ = ("_equal", "_more", "_seen")

    def __init__(self, more: Sequence[str]) -> None:
        self._more = tuple(dict.fromkeys(more))
        self._seen: dict[
            int, tuple[tuple[str, ...], tuple[str, ...]]
        ] = {}  # holds what its keys are the ids of
        self._equal: dict[tuple[str, ...], tuple[str, ...]] = {}

    def __call__(self, known: tuple[str, ...]) -> tuple[str, ...]:
        seen = self._seen.get(id(known))
        if seen is None:
            longer = _with_new(known, self._more)
            seen = self._seen[id(known)] = known, self._equal.setdefault(longer, longer)
        return seen[1]


def _with_new(known: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    new = [one for one in more if one not in known]
    return (*known, *new)[-STEPS_MAX:] if new else known


def _opened(run: Run, draft: Draft, command: str) -> _Failure:
    return _Failure(
        program=run.program,
        targets=tuple(sorted(run.targets)),
        is_test=run.is_test,
        tests=tuple(test for test in draft.extra.get("tests", ()) if isinstance(test, str)),
        command=bounded(command, COMMAND_CHARS_MAX),
        line=str(draft.extra.get("line", "")),
        signature=str(draft.extra.get("signature", "")),
        source_id=draft.source_id or "",
    )


def _ender(run: Run) -> Callable[[_Failure], bool]:
    """Tells of a failure whether a success of this run shows that it is gone."""
    targets = tuple(sorted(run.targets))
    within = tuple(target + mark for target in targets for mark in ("::", "/", "["))

    def ends(failure: _Failure) -> bool:
        if not run.program or run.program != failure.program:
            return False
        if targets == failure.targets:
            return True
        if not (run.is_test and failure.is_test):
            return False
        wanted = failure.tests or failure.targets
        if not targets or not wanted:
            return not targets
        return all(test in run.targets or test.startswith(within) for test in wanted)

    return ends


def _fix(event: Event, failure: _Failure, success: Draft, number: int) -> Draft:
    command = str(success.extra["command"])
    changed = [f"Changed in between: {', '.join(failure.files)}"] if failure.files else []
    steps = [f"Run in between: {'; '.join(failure.steps)}"] if failure.steps else []
    tried = [f"Did not help: {attempt}" for attempt in failure.attempts]
    last = [f"Changed before it passed: {', '.join(failure.since)}"] if tried and failure.since else []
    nothing = [] if changed or steps else ["Nothing was changed in between: it passed on a rerun."]
    text = "\n".join(
        [
            f"Failed: {failure.command}",
            f"With: {failure.line}",
            *changed,
            *steps,
            *tried,
            *last,
            *nothing,
            f"Passes now: {command}",
        ]
    )
    return Draft(
        kind="fix",
        title=one_line(f"Fixed: {failure.line or failure.command}"),
        text=bounded(text),
        paths=failure.files,
        tags=("fix",) if changed or steps else ("fix", "rerun"),
        origin="hook",
        branch=event.branch,
        commit=event.commit,
        session=event.session,
        occurred_at=event.received_at,
        source_id=f"{event.id}:fix:{number}",
        extra={
            "signature": failure.signature,
            "error_source_id": failure.source_id,
            "earlier_errors": [list(pair) for pair in failure.earlier],
            "command": bounded(command, COMMAND_CHARS_MAX),
            "files": list(failure.files),
            "steps": list(failure.steps),
            "attempts": list(failure.attempts),
        },
    )


def _read_failure(row: Any) -> _Failure | None:
    try:
        lists = {key: tuple(map(str, row[key])) for key in ("targets", "tests", "files", "steps")}
        lists |= {key: tuple(map(str, row.get(key, ()))) for key in ("since", "attempts")}
        earlier = tuple((str(source_id), str(signature)) for source_id, signature in row.get("earlier", ()))
        texts = {key: str(row[key]) for key in ("program", "command", "line", "signature", "source_id")}
        return _Failure(**lists, **texts, earlier=earlier, is_test=bool(row["is_test"]))  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError):
        return None
