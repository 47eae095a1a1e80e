"""An error and what made it disappear: needs the history of a session, which this object holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

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


_FIELDS = tuple(field.name for field in fields(_Failure))
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
    def from_json(cls, state: Any) -> ErrorTracker:
        """The tracker that ``to_json`` described; what cannot be read is left out."""
        tracker = cls()
        sessions = state if isinstance(state, Mapping) else {}
        for session, failures in list(sessions.items())[-SESSIONS_MAX:]:
            rows = failures if isinstance(failures, list) else []
            tracker._sessions[str(session)] = [row for row in map(_read_failure, rows[-FAILURES_MAX:]) if row]
        return tracker

    def to_json(self) -> dict[str, Any]:
        """The state as JSON values, sessions from the least to the most recently seen."""
        return {
            session: [{name: getattr(failure, name) for name in _FIELDS} for failure in rows]
            for session, rows in self._sessions.items()
        }

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
        for one in failures:
            one.files, one.since = _add(one.files, draft.paths), _add(one.since, draft.paths)
        return failures, []
    if draft.kind not in {"error", "command", "commit"} or not isinstance(command, str):
        return failures, []
    run = read_run(command)
    if draft.kind == "error":
        again = [one for one in failures if one.program == run.program and set(one.targets) == run.targets]
        opened = _opened(run, draft, command)
        if again:
            last = again[-1]
            tried = (f"{', '.join(last.since)}, then: {one_line(opened.line)}",) if last.since else ()
            opened.files, opened.steps = last.files, last.steps
            opened.attempts = (*last.attempts, *tried)[-ATTEMPTS_MAX:]
        return [one for one in failures if one not in again] + [opened], []
    label = one_line(command)
    ended: list[_Failure] = []
    open_still: list[_Failure] = []
    for one in failures:
        if _ends(run, one):
            ended.append(one)
        else:
            one.steps = _add(one.steps, (label,))
            open_still.append(one)
    return open_still, ended


def _add(known: tuple[str, ...], more: Sequence[str]) -> tuple[str, ...]:
    if len(more) == 1:  # the rule; a session has up to 32 open failures, and each hears of everything
        return known if more[0] in known else (*known, *more)[-STEPS_MAX:]
    new = [one for one in dict.fromkeys(more) if one not in known]
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


def _ends(run: Run, failure: _Failure) -> bool:
    """Whether a success of this run shows that the failure is gone."""
    if not run.program or run.program != failure.program:
        return False
    if run.targets == set(failure.targets):
        return True
    if not (run.is_test and failure.is_test):
        return False
    wanted = failure.tests or failure.targets
    return not run.targets or (bool(wanted) and all(_covered(test, run.targets) for test in wanted))


def _covered(test: str, targets: frozenset[str]) -> bool:
    return any(
        test == target or test.startswith((f"{target}::", f"{target}/", f"{target}[")) for target in targets
    )


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
        texts = {key: str(row[key]) for key in ("program", "command", "line", "signature", "source_id")}
        return _Failure(**lists, **texts, is_test=bool(row["is_test"]))  # type: ignore[arg-type]
    except (KeyError, TypeError):
        return None
