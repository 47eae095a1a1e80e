"""What a transaction knows of the sessions whose events it stores: read once, written back once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import apsw

from retain.capture.distil import ErrorTracker
from retain.model import Draft, Event
from retain.storage import injections, writes
from retain.storage.later import Later

TRACKERS_KEPT = 16
"""Sessions whose open failures a drain keeps parsed between two transactions."""


class Trackers:
    """The open failures of sessions as the last transaction left them, parsed.

    One counts only beside the very text that it was stored as, so that what was rolled back, or written by another
    process, is read anew.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[int, str], tuple[str, ErrorTracker]] = {}

    def take(self, place: tuple[int, str], stored: str) -> ErrorTracker:
        """The tracker that a session's text describes; it is the caller's until it is put back."""
        text, tracker = self._kept.pop(place, ("", None))
        return tracker if tracker is not None and text == stored else ErrorTracker.from_json(stored)

    def put(self, place: tuple[int, str], stored: str, tracker: ErrorTracker) -> None:
        """Keeps a tracker beside the text that was stored of it; those of the sessions longest ago go."""
        self._kept[place] = stored, tracker
        while len(self._kept) > TRACKERS_KEPT:
            del self._kept[next(iter(self._kept))]


@dataclass(slots=True)
class _Session:
    """The open failures of a session, also as they are stored, and its last prompt where that was asked for."""

    tracker: ErrorTracker
    stored: str
    moved: bool = False
    opened_us: int | None = None
    prompt: tuple[int, str] | None = None  # when, and its title
    edited: dict[str, bool] = field(default_factory=dict)  # by the commit that was checked out
    shown: bool | None = None


class SessionStates:
    """The sessions of one transaction, and in ``later`` what else it puts off to its end.

    Whoever stores events with it calls ``flush`` before the transaction ends: a crash in between loses neither an
    event nor what it changed here.

    Args:
        trackers: those of the transactions before; None reads each anew.
    """

    def __init__(self, trackers: Trackers | None = None) -> None:
        self.later = Later()
        self._trackers = Trackers() if trackers is None else trackers
        self._known: dict[tuple[int, str], _Session] = {}

    def touch(
        self,
        db: apsw.Connection,
        workspace: int,
        session: str,
        at_us: int,
        *,
        source: str,
        end_reason: str | None,
    ) -> None:
        """Opens a session at its first event; closes it where ``end_reason`` is given."""
        known = self._at(db, workspace, session)
        if known.opened_us is not None and known.opened_us <= at_us and not source and end_reason is None:
            return
        writes.touch_session(
            db, workspace=workspace, session=session, at_us=at_us, source=source, end_reason=end_reason
        )
        known.opened_us = at_us if known.opened_us is None else min(known.opened_us, at_us)

    def fixes(
        self, db: apsw.Connection, workspace: int, event: Event, drafts: Sequence[Draft]
    ) -> tuple[Draft, ...]:
        """The failures that an event ended; what it opened or went by is noted."""
        known = self._at(db, workspace, event.session)
        if not known.tracker.heeds(event.session, drafts):
            return ()
        known.moved = True
        return known.tracker.observe(event, drafts)

    def last_prompt(self, db: apsw.Connection, workspace: int, session: str) -> str:
        """Title of the newest prompt of a session; empty where it has none."""
        known = self._at(db, workspace, session)
        if known.prompt is None:
            known.prompt = writes.last_prompt(db, workspace, session)
        return known.prompt[1]

    def prompted(self, workspace: int, session: str, at_us: int, title: str | None) -> None:
        """Says that a prompt was stored; where it has no title, or is not the newest, the last is asked anew."""
        known = self._known.get((workspace, session))
        if known is not None:
            is_last = title is not None and known.prompt is not None and at_us >= known.prompt[0]
            known.prompt = (at_us, title or "") if is_last else None

    def has_edits(self, db: apsw.Connection, workspace: int, session: str, commit: str) -> bool:
        """Whether a session changed a file while this commit was checked out."""
        edited = self._at(db, workspace, session).edited
        if commit not in edited:
            edited[commit] = writes.has_edits(db, workspace, session, commit)
        return edited[commit]

    def edited(self, workspace: int, session: str) -> None:
        """Says that a change of a file was stored: whether a session made one is asked anew."""
        known = self._known.get((workspace, session))
        if known is not None:
            known.edited.clear()

    def was_shown(self, db: apsw.Connection, workspace: int, session: str) -> bool:
        """Whether any memory was ever shown to a session, or where it is not known to which."""
        known = self._at(db, workspace, session)
        if known.shown is None:
            known.shown = injections.any_to(db, workspace, session)
        return known.shown

    def flush(self, db: apsw.Connection) -> None:
        """Stores what changed and what was put off."""
        self.later.flush(db)
        for (workspace, session), known in self._known.items():
            if known.moved:
                known.moved = False
                state = known.tracker.to_json()
                if state != known.stored:
                    writes.set_tracker_state(db, workspace, session, state)
                    known.stored = state
            self._trackers.put((workspace, session), known.stored, known.tracker)

    def _at(self, db: apsw.Connection, workspace: int, session: str) -> _Session:
        known = self._known.get((workspace, session))
        if known is None:
            stored = writes.tracker_state(db, workspace, session)
            known = _Session(self._trackers.take((workspace, session), stored), stored)
            self._known[workspace, session] = known
        return known
