"""What a session is told at its start by a process of its own, because no server lives yet.

It opens the store for this one answer: one connection, one snapshot, no pool, no writer, no event loop.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from retain.capture.client_memory import loaded_in
from retain.config import Settings
from retain.git.repositories import Repositories
from retain.git.repository import locate
from retain.memory.briefing import GOES_ON, Visit, at_start
from retain.memory.sight import Sight
from retain.memory.truth import GRAPHS, PATIENCE_S, CommitCheck, Gate
from retain.model import Event, new_id
from retain.retrieval.context import FENCE_TOKENS, Block, fenced
from retain.storage import controls, injections, migrations, sessions
from retain.storage.connection import connect, translated
from retain.storage.reads import Reader
from retain.storage.side_lock import LOCK_FILE, SideLock, present
from retain.storage.trust import boundary
from retain.storage.writes import renew_token

LOCK_S = 0.5
"""How long a receipt may wait for the write lock; without it the first prompt is told the same again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdAnswer:
    """What is to be shown, and what its receipt needs."""

    block: Block
    workspace: int
    session: str
    hidden: Mapping[str, int]


def answer_start(settings: Settings, event: Event) -> ColdAnswer | None:
    """The answer to a SessionStart; None where there is no store of this version, or its place is unknown to it.

    Raises:
        StoreError: the store cannot be read.
    """
    if not settings.database.exists():
        return None
    with _opened(settings), translated():
        connection = connect(settings.database, writable=False)
        try:
            if migrations.current_version(connection) != migrations.VERSION:
                return None
            connection.execute("BEGIN")
            return _answer(Reader(connection), event, settings)
        finally:
            connection.close()


@contextmanager
def _opened(settings: Settings) -> Iterator[None]:
    """A stretch of time in which nobody may replace the store."""
    presence = present(settings.home)
    try:
        yield
    finally:
        os.close(presence)


def _answer(reader: Reader, event: Event, settings: Settings) -> ColdAnswer | None:
    place = locate(event.cwd)
    workspace = reader.workspace_at(place.alias)
    key = reader.workspace_key(workspace.id) if workspace else None
    if workspace is None or key is None:
        return None
    source = event.payload.get("source")
    since_us = sessions.compacted_at(reader.connection, key, event.session)
    told, _ = sessions.shown_to(reader.connection, key, event.session, since_us)
    here = replace(workspace, root=place.root)
    commits = CommitCheck(Repositories(settings.home / GRAPHS), PATIENCE_S)
    asker = commits.asker(key, place.root)
    sight = Sight(gate=Gate([commits]), asker=asker, loaded=loaded_in(event.cwd))
    visit = Visit(
        place=here, key=key, session=event.session, told=told if source in GOES_ON else (),
        source=source if isinstance(source, str) else "", sight=sight,
    )  # fmt: skip
    block = at_start(reader, visit, settings.context_tokens - FENCE_TOKENS)
    over = {"over_budget": block.over_budget} if block.over_budget else {}
    hidden = {**sight.hidden, **over}
    word = boundary(reader.connection, event.session)
    return ColdAnswer(block=fenced(block, word), workspace=key, session=event.session, hidden=hidden)


def keep_receipt(settings: Settings, answer: ColdAnswer) -> None:
    """Stores that the session was told this, or that there was nothing to tell.

    Raises:
        StoreError: it was not stored.
    """
    injection = injections.Injection(
        id=new_id(), workspace=answer.workspace, session=answer.session, door="SessionStart",
        at_us=time.time_ns() // 1000, memories=answer.block.ids, tokens=answer.block.tokens, hidden=answer.hidden,
    )  # fmt: skip
    lock = SideLock(settings.home / LOCK_FILE, timeout_s=LOCK_S)
    try:
        with _opened(settings), translated():
            connection = connect(settings.database, writable=True)
            try:
                with lock:
                    connection.execute("BEGIN IMMEDIATE")
                    private = controls.stretches(connection, [answer.session])
                    if not controls.is_within(private.get(answer.session, ()), injection.at_us):
                        injections.add(connection, injection)
                    renew_token(connection)
                    connection.execute("COMMIT")
            finally:
                connection.close()
    finally:
        lock.close()
