"""What a transaction knows of the sessions whose events it stores: read once, written back once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import apsw
import orjson

from retain.capture.distil import ErrorTracker
from retain.model import Draft, Event
from retain.storage import writes


@dataclass(slots=True)
class _Session:
    """The open failures of a session, also as they are stored, and its last prompt where that was asked for."""

    tracker: ErrorTracker
    stored: str
    moved: bool = False
    opened_us: int | None = None
    prompt: str | None = None


class SessionStates:
    """The sessions of one transaction.

    Whoever stores events with it calls ``flush`` before the transaction ends: a crash in between loses neither an
    event nor what it changed here.
    """

    def __init__(self) -> None:
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
        return known.prompt

    def prompted(self, workspace: int, session: str) -> None:
        """Says that a prompt was stored: which is the last is asked anew."""
        known = self._known.get((workspace, session))
        if known is not None:
            known.prompt = None

    def flush(self, db: apsw.Connection) -> None:
        """Stores what changed."""
        for (workspace, session), known in self._known.items():
            if known.moved:
                known.moved = False
                state = orjson.dumps(known.tracker.to_json()).decode()
                if state != known.stored:
                    writes.set_tracker_state(db, workspace, session, state)
                    known.stored = state

    def _at(self, db: apsw.Connection, workspace: int, session: str) -> _Session:
        known = self._known.get((workspace, session))
        if known is None:
            stored = writes.tracker_state(db, workspace, session)
            known = _Session(ErrorTracker.from_json(orjson.loads(stored)), stored)
            self._known[workspace, session] = known
        return known
