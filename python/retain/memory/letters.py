"""Dead letters are tried again: what a version could not digest, a later one perhaps can."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import apsw

from retain.capture.parse import parse_event
from retain.memory.controls import Controls, Verdict
from retain.memory.digesting import LETTER_BYTES_MAX, LETTER_KEY, Digested, digest
from retain.memory.drain import Kept, judged
from retain.memory.serving import Serving
from retain.memory.sessions import SessionStates
from retain.memory.workspaces import Workspaces
from retain.model import Event
from retain.storage import audit, imports
from retain.storage.letters import Letter, keep_reason, letters, take
from retain.storage.reads import Reader
from retain.storage.sqlite import SqliteStore
from retain.trust import UNTRUSTED

LETTERS_AT_ONCE = 32
"""Letters of one transaction: 8 MiB of text at most."""
LEFT_TOLD_MAX = 20
"""Letters that are named with their reason when they still cannot be digested."""

_Tried = tuple[Letter, Event, Verdict, Digested | None]


@dataclass(slots=True)
class Retried:
    """What became of letters: digested, to how many memories, and kept out by a rule of now."""

    digested: int = 0
    memories: int = 0
    excluded: int = 0


class Letters:
    """The dead letters of one store.

    Args:
        store: where.
        workspaces: resolves the folders of events.
        serving: makes the vectors of what is stored.
        controls: say what is kept.
    """

    def __init__(
        self, store: SqliteStore, workspaces: Workspaces, serving: Serving, controls: Controls
    ) -> None:
        self._store = store
        self._workspaces = workspaces
        self._serving = serving
        self._controls = controls

    async def retry(self) -> dict[str, Any]:
        """Digests every letter anew, in order of time, as the drain would; what fails again stays with its reason.

        Of a letter that was cut, what was kept is digested. What the rules of now keep out is counted, and goes.

        Returns:
            How many were ``digested`` to how many ``memories``, how many rules ``excluded``, how many are ``left``,
            and under ``reasons`` the newest of those with the reason of each.

        Raises:
            StoreError: the store refused; what was committed stays, and the same call goes on from there.
        """
        done = Retried()
        after = (-1, "")
        while batch := await self._store.read(partial(_next, after)):
            read = [_read(letter) for letter in batch]
            events = [event for event, _ in read]
            verdicts = await self._controls.judge(events)
            roots = [await self._root(one, event) for one, event in zip(batch, events, strict=True)]
            tried = await asyncio.to_thread(_digested, batch, read, verdicts, roots)
            await self._store.read(self._serving.prepare)
            for kept in await self._store.write(partial(self._keep, tried=tried)):
                done.excluded += kept.outcome == "excluded"
                done.digested += kept.outcome != "excluded"
                done.memories += kept.memories
            after = (batch[-1].received_us, batch[-1].id)
        left, reasons = await self._store.read(
            lambda r: (r.counts()["dead_letters"], r.dead_letters(LEFT_TOLD_MAX))
        )
        return {**asdict(done), "left": left, "reasons": reasons}

    async def _root(self, letter: Letter, event: Event) -> str:
        """The folder that paths are made relative to: where the event happened, if that is still there."""
        known = await self._workspaces.known_at(event.cwd)
        if known is None or known[1] != letter.workspace:
            return letter.root
        return (await self._workspaces.at(event.cwd))[0].root

    def _keep(self, db: apsw.Connection, tried: Sequence[_Tried]) -> list[Kept]:
        sessions = SessionStates()
        answers = []
        for letter, event, verdict, item in tried:
            if item is not None and item.error is not None:
                keep_reason(db, letter.id, item.error)
                continue
            if not take(db, letter.id):
                continue  # another process was faster
            kept = judged(db, verdict, item, event, sessions)
            if letter.run is not None:
                for added in kept.added:
                    imports.note_memory(db, letter.run, added)
            audit.note(db, "mended", letter.id, {"outcome": kept.outcome, "memories": kept.memories})
            answers.append(kept)
        sessions.flush(db)
        self._serving.add(db, [added for kept in answers for added in kept.added])
        return answers


def _next(after: tuple[int, str], reader: Reader) -> list[Letter]:
    return letters(reader.connection, after, LETTERS_AT_ONCE)


def _read(letter: Letter) -> tuple[Event, str | None]:
    """The event of a letter, with what was known beside it where that was kept, and the tier of where it came from."""
    event = parse_event(
        letter.payload,
        received_at_us=letter.received_us,
        cwd=letter.root,
        branch=None,
        commit=None,
        truncated=len(letter.payload) >= LETTER_BYTES_MAX,
    )
    payload = dict(event.payload)
    kept = payload.pop(LETTER_KEY, None)
    beside = kept if isinstance(kept, dict) else {"trust": None if letter.run is None else UNTRUSTED}
    whole = replace(
        event,
        id=letter.id,
        name=letter.name,
        session=letter.session,
        cwd=beside.get("cwd") or event.cwd,
        branch=beside.get("branch"),
        commit=beside.get("commit"),
        damaged=beside.get("damaged") or event.damaged,
        payload=payload,
    )
    return whole, beside["trust"]


def _digested(
    batch: Sequence[Letter],
    read: Sequence[tuple[Event, str | None]],
    verdicts: Sequence[Verdict],
    roots: Sequence[str],
) -> list[_Tried]:
    return [
        (letter, event, verdict, None if verdict.rule else _late(letter, event, root, trust))
        for letter, (event, trust), verdict, root in zip(batch, read, verdicts, roots, strict=True)
    ]


def _late(letter: Letter, event: Event, root: str, trust: str | None) -> Digested:
    return replace(digest(event, letter.payload, root, letter.workspace, trust=trust), late=True)
