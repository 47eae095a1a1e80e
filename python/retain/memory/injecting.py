"""What is put before the model unasked, when a hook of the client tells of an event.

A session is never shown the same memory twice, nor what it did itself: both still stand in its conversation,
until that is compacted. What a session was shown is known from its receipts, so another server that takes over
knows it too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from retain.capture.client_memory import Loaded, loaded_in
from retain.capture.distil import distil, prepare
from retain.capture.file_changes import relative_path
from retain.config import Settings
from retain.errors import RetainError
from retain.memory import hindsight
from retain.memory.answering import Answering
from retain.memory.briefing import CHARS_MAX, GOES_ON, Visit, at_start, state_of
from retain.memory.controls import OFF, Controls
from retain.memory.dating import named
from retain.memory.digest import RECALL_HEADING
from retain.memory.drain import Drain
from retain.memory.hindsight import NOTHING
from retain.memory.prompts import only_asks, question_of
from retain.memory.recalling import effective, gated
from retain.memory.receipts import Receipts
from retain.memory.sight import Sight
from retain.memory.truth import CommitCheck, Gate
from retain.memory.workspaces import Workspaces
from retain.model import All, Between, Event, Filter, Hit, In, Memory, Not, Query, Workspace
from retain.retrieval.context import FENCE_TOKENS, Block, fenced, fit, line_of
from retain.retrieval.duplicates import SUMS_UP, restated
from retain.retrieval.filters import both
from retain.storage import sessions
from retain.storage.reads import Reader
from retain.storage.sessions import Earlier
from retain.storage.sqlite import SqliteStore
from retain.storage.trust import boundary
from retain.trust import TOLD_UNASKED

SESSIONS_MAX = 256
"""Sessions whose state is kept in RAM; another one is read from its receipts."""

HITS_MAX = 6
SHOWN_MAX = 300
"""Memories shown last that a query leaves out; of those shown before them, hits are dropped afterwards."""

SUMMED_UP_MAX = 20
"""Decisions and summaries shown before that a found one is compared with."""

SCORE_SHARE_MIN = 0.5
"""Of the best score; what fits less well than that is left for a recall that is asked for."""

DRAIN_S = 0.5
"""How long a start may wait for events that are not drained yet."""

SHARES = {"UserPromptSubmit": 0.5, "PreToolUse": 0.3, "PostToolUseFailure": 0.3}
"""Of the budget of a start; these come often."""

STARTS = frozenset({"SessionStart", "UserPromptSubmit"})
"""Events after which a session knows what is told at a start."""

EDITORS = {
    "Edit": "file_path",
    "Write": "file_path",
    "MultiEdit": "file_path",
    "NotebookEdit": "notebook_path",
}
"""Tools that change a file, and where their input names it."""


@dataclass(slots=True)
class Told:
    """What a conversation holds already: memories, files, whether its start was answered, and since when.

    Its events are answered one after the other, in their ``turn``: tools run side by side.
    """

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    ids: dict[str, None] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    started: bool = False
    since_us: int = 0
    loaded: Loaded | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """An event with its workspace and what its session was told."""

    event: Event
    place: Workspace
    key: int
    told: Told
    sight: Sight

    @property
    def earlier(self) -> Earlier:
        """What happened outside of this conversation."""
        return Earlier(workspace=self.key, session=self.event.session, since_us=self.told.since_us)


class Injector:
    """Answers the events of any session in any workspace of one store.

    Args:
        settings: budget, and the confidence that a prompt's answer must have.
        store: is read.
        workspaces: tell the workspace of an event by its folder.
        receipts: keep what was shown.
        drain: is given a moment before a session starts.
        answering: answers the queries that prompts are.
        commits: what git knows.
        gate: checks what is told unasked.
        controls: nothing is told in a project that is switched off.
    """

    def __init__(
        self,
        settings: Settings,
        store: SqliteStore,
        workspaces: Workspaces,
        receipts: Receipts,
        drain: Drain,
        *,
        answering: Answering,
        commits: CommitCheck,
        gate: Gate | None,
        controls: Controls,
    ) -> None:
        self._settings = settings
        self._store = store
        self._workspaces = workspaces
        self._receipts = receipts
        self._drain = drain
        self._answering = answering
        self._commits = commits
        self._gate = gate
        self._controls = controls
        self._tokens = settings.context_tokens
        self._told: dict[tuple[int, str, str], Told] = {}
        self._answers: dict[str, Callable[[Scene, int], Awaitable[tuple[Block, dict[str, int] | None]]]] = {
            "SessionStart": self._start,
            "UserPromptSubmit": self._prompt,
            "PreToolUse": self._edit,
            "PostToolUseFailure": self._failure,
        }

    async def inject(self, event: Event) -> str:
        """The text for the model; empty where there is nothing to say. What was shown leaves a receipt.

        Raises:
            RetainError: the store could not be asked.
        """
        answer = self._answers.get(event.name)
        if answer is None:
            return ""
        if (await self._controls.here(event.cwd, event.session))[0] == OFF:
            return ""
        place, key = await self._workspaces.at(event.cwd)
        told = await self._told_to(event, key)
        async with told.turn:
            scene = Scene(
                event=event, place=place, key=key, told=told, sight=await self._sight(event, place, key, told)
            )
            block, hidden = await answer(scene, int(self._tokens * SHARES.get(event.name, 1)) - FENCE_TOKENS)
            told.started = told.started or event.name in STARTS
            if block.over_budget and hidden is not None:
                hidden["over_budget"] = hidden.get("over_budget", 0) + block.over_budget
            if block.ids or hidden is not None:
                told.ids.update(dict.fromkeys(block.ids))
                await self._receipts.shown(
                    event.name,
                    block.ids,
                    tokens=block.tokens,
                    hidden=hidden,
                    folder=event.cwd,
                    session=event.session,
                )
        word = await self._store.read(lambda reader: boundary(reader.connection, event.session))
        return fenced(block, word).text

    async def _sight(self, event: Event, place: Workspace, key: int, told: Told) -> Sight:
        """What may be told where the event happened; the client loads its files at a start, so then they are read."""

        def look() -> Sight:
            if told.loaded is None or event.name == "SessionStart":
                told.loaded = loaded_in(event.cwd)
            return Sight(gate=self._gate, asker=self._commits.asker(key, place.root), loaded=told.loaded)

        return await asyncio.to_thread(look)

    async def _told_to(self, event: Event, key: int) -> Told:
        """What a conversation holds; each agent of a session has its own."""
        agent = event.payload.get("agent_id")
        name = (key, event.session, agent if isinstance(agent, str) else "")
        if name not in self._told:
            before = await self._store.read(lambda reader: _told_before(reader, key, event.session))
            fresh = Told(since_us=before.since_us, started=True) if name[2] else before
            self._told.setdefault(name, fresh)
        told = self._told[name] = self._told.pop(name)
        while len(self._told) > SESSIONS_MAX:
            del self._told[next(iter(self._told))]
        return told

    async def _start(self, scene: Scene, budget: int) -> tuple[Block, dict[str, int] | None]:
        with suppress(TimeoutError, RetainError, OSError):
            async with asyncio.timeout(DRAIN_S):
                await self._drain.run()
        source = scene.event.payload.get("source")
        told = scene.told
        if source not in GOES_ON:
            told.ids.clear()
            told.files.clear()
            told.since_us = time.time_ns() // 1000
        visit = Visit(
            place=scene.place, key=scene.key, session=scene.event.session,
            source=source if isinstance(source, str) else "", told=frozenset(told.ids), sight=scene.sight,
        )  # fmt: skip
        block = await self._store.read(lambda reader: at_start(reader, visit, budget))
        return block, dict(scene.sight.hidden)

    async def _prompt(self, scene: Scene, budget: int) -> tuple[Block, dict[str, int] | None]:
        first = NOTHING if scene.told.started else await self._belated_start(scene)
        prompt = scene.event.payload.get("prompt")
        question = question_of(prompt) if isinstance(prompt, str) else ""
        if not question:
            return first, {} if first.ids else None
        shown = dict.fromkeys((*scene.told.ids, *first.ids))
        where = _outside(scene, list(shown)[-SHOWN_MAX:])
        words = question[: self._settings.query_chars_max]
        query = Query(
            text=words, filter=where, workspace=scene.place.id, limit=HITS_MAX, period=named(words, where)
        )
        asker = scene.sight.asker
        assert asker is not None, "a scene has one"
        recall = await self._answering.recall(effective(query), asker)
        recall = gated(recall, self._settings.context_confidence)
        room = CHARS_MAX - len(first.text.encode("utf-16-le")) // 2 - 1
        sight = scene.sight
        telling = [
            hit for hit in recall.hits if not (hit.memory.kind == "prompt" and only_asks(hit.memory.text))
        ]
        least = SCORE_SHARE_MIN * max((hit.score for hit in telling), default=0.0)
        fresh = sight.tells(telling)
        near = [hit for hit in fresh if hit.score >= least and hit.memory.id not in shown]
        newest = _newest_lists(near)
        told = await self._summed_up(shown, [hit.memory for hit in newest])
        again = restated([*told, *(hit.memory for hit in newest)])
        kept = [hit for place, hit in enumerate(newest, len(told)) if place not in again]
        lines = ((hit.memory.id, line_of(hit.memory, hit.snippet, hit.note)) for hit in kept)
        block = fit(lines, budget, RECALL_HEADING, chars_max=room)
        left_out = {
            **sight.hidden,
            "below_the_best": len(fresh) - len(near),
            "overtaken": len(near) - len(newest),
            "only_asked": len(recall.hits) - len(telling),
            "said_again": len(newest) - len(kept),
        }
        return _joined(first, block), {**recall.hidden, **{why: n for why, n in left_out.items() if n}}

    async def _summed_up(self, shown: Collection[str], found: Sequence[Memory]) -> list[Memory]:
        """Decisions and summaries that a conversation was shown, of the sessions whose summaries were found."""
        sessions_found = sorted({one.session for one in found if one.kind == "summary" and one.session})
        if not sessions_found or not shown:
            return []
        where = All(
            parts=(
                In(field="session", values=tuple(sessions_found)),
                In(field="kind", values=tuple(sorted(SUMS_UP))),
                In(field="id", values=tuple(sorted(list(shown)[-SHOWN_MAX:]))),
            )
        )

        def look(reader: Reader) -> list[Memory]:
            keys = [candidate.key for candidate in reader.filtered(where, SUMMED_UP_MAX)]
            return list(reader.load(keys).values())

        return await self._store.read(look)

    async def _belated_start(self, scene: Scene) -> Block:
        """What a session is told that was never answered at its start: a client may drop those answers."""
        visit = Visit(
            place=scene.place, key=scene.key, session=scene.event.session, source="startup",
            told=frozenset(scene.told.ids), sight=scene.sight,
        )  # fmt: skip
        return await self._store.read(lambda reader: state_of(reader, visit, self._tokens))

    async def _edit(self, scene: Scene, budget: int) -> tuple[Block, dict[str, int] | None]:
        payload = scene.event.payload
        asked = payload.get("tool_input")
        name = EDITORS.get(str(payload.get("tool_name")))
        given = asked.get(name) if isinstance(asked, dict) and name else None
        path = relative_path(given, scene.place.root) if isinstance(given, str) and given else ""
        if not path or path in scene.told.files:
            return NOTHING, None
        ids, earlier = frozenset(scene.told.ids), scene.earlier
        block = await self._store.read(
            lambda reader: hindsight.about_file(reader, earlier, path, ids, budget, scene.sight)
        )
        scene.told.files.add(path)
        return block, None

    async def _failure(self, scene: Scene, budget: int) -> tuple[Block, dict[str, int] | None]:
        ids, earlier, event, root = frozenset(scene.told.ids), scene.earlier, scene.event, scene.place.root

        def look(reader: Reader) -> Block:
            return hindsight.about_error(reader, earlier, error_of(event, root), ids, budget, scene.sight)

        return await self._store.read(look), None


def error_of(event: Event, root: str) -> Mapping[str, Any]:
    """What the drain keeps of the error of an event: signature, command; empty where it sees none."""
    drafts = distil(prepare(event), root=root)
    return next((draft.extra for draft in drafts if draft.kind == "error"), {})


def _newest_lists(hits: Sequence[Hit]) -> list[Hit]:
    """The hits without the states of a to-do list that a newer one of the same session among them has overtaken."""
    newest: dict[str | None, datetime] = {}
    for memory in (hit.memory for hit in hits if "total" in hit.memory.extra):
        newest[memory.session] = max(memory.occurred_at, newest.get(memory.session, memory.occurred_at))
    return [
        hit
        for hit in hits
        if "total" not in hit.memory.extra or hit.memory.occurred_at == newest[hit.memory.session]
    ]


def _told_before(reader: Reader, key: int, session: str) -> Told:
    since_us = sessions.compacted_at(reader.connection, key, session)
    ids, doors = sessions.shown_to(reader.connection, key, session, since_us)
    return Told(
        ids=dict.fromkeys(sorted(ids)),
        started="SessionStart" in doors or "UserPromptSubmit" in doors,
        since_us=since_us,
    )


def _outside(scene: Scene, ids: Sequence[str]) -> Filter:
    """Neither what the session did since it was last compacted, nor what it was shown, nor untrusted text.

    A page that was fetched may have been written to be remembered; it comes only to whoever asks for it.
    """
    own = In(field="session", values=(scene.event.session,))
    lately = Between(field="time", low=scene.told.since_us) if scene.told.since_us else None
    shown = Not(part=In(field="id", values=tuple(sorted(ids)))) if ids else None
    return both(Not(part=both(own, lately)), TOLD_UNASKED, shown)


def _joined(first: Block, second: Block) -> Block:
    if not (first.text and second.text):
        return replace(second if second.text else first, over_budget=first.over_budget + second.over_budget)
    return Block(
        text=f"{first.text}\n{second.text}",
        ids=(*first.ids, *second.ids),
        tokens=first.tokens + second.tokens,
        over_budget=first.over_budget + second.over_budget,
    )
