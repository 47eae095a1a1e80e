"""MemoryService: what every door calls. Remember, recall, get, timeline, revise, forget, context, status."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from retain.cache import MultiLevelCache
from retain.capture.client_memory import loaded_in
from retain.config import Settings
from retain.errors import InvalidInput, NotFound
from retain.memory import digest, inputs, recalling, reports
from retain.memory.answering import Answering
from retain.memory.auditing import Audit
from retain.memory.claim_keeping import ClaimKeeping
from retain.memory.claims import ClaimCheck
from retain.memory.controls import Controls
from retain.memory.dating import named
from retain.memory.drain import Drain
from retain.memory.exporting import Exports
from retain.memory.imports import Imports
from retain.memory.injecting import Injector
from retain.memory.keeping import Keeping
from retain.memory.letters import Letters
from retain.memory.outcomes import Outcome, outcome_of
from retain.memory.planning import PlannerUpkeep
from retain.memory.receipts import Receipts
from retain.memory.retention import Retention
from retain.memory.sight import Sight
from retain.memory.storing import Storing
from retain.memory.trusting import Trusting
from retain.memory.truth import Asker, CommitCheck
from retain.memory.workspaces import Workspaces
from retain.model import (
    Draft,
    Filter,
    Memory,
    Origin,
    Query,
    Recall,
    Timeline,
    Workspace,
    read_time,
    to_us,
)
from retain.retrieval.context import FENCE_TOKENS, Block
from retain.retrieval.filters import parse_filter
from retain.retrieval.planner import QueryPlanner
from retain.storage.integrity import verify
from retain.storage.reads import Reader
from retain.storage.sqlite import SqliteStore
from retain.trust import TOLD_UNASKED

if TYPE_CHECKING:
    import apsw

    from retain.memory.semantics import Semantics
    from retain.pressure import MemoryManager

logger = logging.getLogger(__name__)

CONTEXT_HITS_MAX = 20


class MemoryService:
    """The memories of one data directory, seen from one folder. Made by ``retain.open``."""

    def __init__(
        self,
        settings: Settings,
        store: SqliteStore,
        *,
        channel: inputs.Channel,
        planner: QueryPlanner,
        recalls: MultiLevelCache,
        recaller: recalling.Recaller,
        workspaces: Workspaces,
        drain: Drain,
        receipts: Receipts,
        semantics: Semantics,
        controls: Controls,
        checks: tuple[CommitCheck, ClaimCheck],
    ) -> None:
        """Use ``retain.open``."""
        self._commits, claims = checks
        self.precedence = drain.precedence
        self.claims = ClaimKeeping(store, claims, self._asker, self.precedence, self._commits)
        self.settings = settings
        self.drain = drain
        self._store = store
        self._channel = channel
        self._planner = planner
        self._recalls = recalls
        self._recaller = recaller
        self._semantics = semantics
        self._workspaces = workspaces
        self._storing = Storing(settings, store, channel, recaller, semantics.serving)
        self._upkeep = PlannerUpkeep(planner, recaller.counts, store, enabled=bool(settings.planner))
        self.receipts = receipts
        self.controls = controls
        self.retention = Retention(store, lambda: controls.settings)
        self._answering = Answering(store, recalls, recaller, semantics, *checks, self._upkeep)
        self.pressure: MemoryManager | None = None
        self.injector = Injector(
            settings,
            store,
            workspaces,
            receipts,
            drain,
            answering=self._answering,
            controls=controls,
            commits=self._commits,
            gate=recaller.gate,
        )

    @property
    def audit(self) -> Audit:
        """Who changed what, when, and through which door."""
        return Audit(self._store)

    @property
    def keeping(self) -> Keeping:
        """Backups, going back in time, and erasure."""
        return Keeping(self.settings, self._store, self.drain, self._recalls)

    @property
    def letters(self) -> Letters:
        """Tries events again that could not be digested."""
        return Letters(self._store, self._workspaces, self._semantics.serving, self.controls)

    @property
    def trusting(self) -> Trusting:
        """The review of what was held back, and taking a source back."""
        return Trusting(self._store, origin=self._channel.origin)

    @property
    def exports(self) -> Exports:
        """Whole memories out of the store, and into it again."""
        return Exports(
            self.settings, self._store, self._workspaces,
            folder=self._channel.folder, by_user=self._channel.origin == "user",
        )  # fmt: skip

    @property
    def imports(self) -> Imports:
        """Moves past sessions and the memories of other tools in, and takes an import back."""
        return Imports(
            self.settings, self._store, self._workspaces, self.controls, folder=self._channel.folder
        )

    async def remember(
        self,
        text: str,
        *,
        title: str | None = None,
        kind: str = "note",
        paths: Sequence[str] = (),
        symbols: Sequence[str] = (),
        tags: Sequence[str] = (),
        occurred_at: datetime | str | float | None = None,
        source_id: str | None = None,
        workspace: str | None = None,
    ) -> Memory:
        """Stores a memory; when this returns it is on disk and findable.

        An exact duplicate is merged (``created`` is False); similar ones are named in ``near``.

        Args:
            text: what to remember; secrets in it are replaced before anything is stored.
            title: one line; None takes the first line of the text.
            kind: one of ``retain.model.KINDS``.
            paths: files it is about, relative to the repository or absolute; none takes those the text names.
            symbols: functions, classes, constants it is about.
            tags: words to find it by.
            occurred_at: when it happened (datetime, ISO 8601, seconds since the epoch); None is now.
            source_id: the caller's own id, unique in the workspace; the same call again changes nothing.
            workspace: id of a workspace; None is that of the folder.

        Raises:
            InvalidInput: a field is wrong; the error names it and its limit.
            Conflict: the source_id names a memory with other content.
            StoreError: it was not stored.
        """
        item = {
            "text": text, "title": title, "kind": kind, "paths": paths, "symbols": symbols, "tags": tags,
            "occurred_at": occurred_at, "source_id": source_id,
        }  # fmt: skip
        return (await self.remember_many([item], workspace=workspace))[0]

    async def remember_many(
        self,
        items: Iterable[Mapping[str, Any] | Draft],
        *,
        workspace: str | None = None,
        origin: Origin | None = None,
    ) -> list[Memory]:
        """Stores many memories in one transaction, all or none; items are mappings of ``remember``'s fields.

        Raises:
            InvalidInput: the field is named with the item's number, for example ``items[3].text``.
            Conflict: the session is private, or as ``remember``; nothing is stored.
            StoreError: nothing is stored.
        """
        if not isinstance(items, Iterable) or isinstance(items, str | bytes | Mapping):
            raise InvalidInput("items", f"must be a list of objects, not {type(items).__name__}")
        await self.controls.refuse_private(self._channel.session)
        place, key = await self._scope(workspace)
        if self._channel.origin != "user":
            await self.drain.before_recall()  # what the session has read by now
        derive = self.claims.of if workspace is None else None
        return await self._storing.add(list(items), origin, place, key, derive)

    async def recall(
        self,
        text: str,
        *,
        filter: Mapping[str, Any] | Filter | None = None,  # noqa: A002 - the public name
        limit: int = 10,
        workspace: str | None = None,
        budget_tokens: int | None = None,
    ) -> Recall:
        """Finds memories by words and filter, best first; by filter alone, newest first.

        Args:
            text: words, identifiers, an error line; an empty text needs a filter.
            filter: see ``retain.retrieval.filters``; None takes every active memory.
            limit: most hits.
            workspace: id of a workspace, ``"*"`` for every one; None is that of the folder.
            budget_tokens: most tokens of the hits when rendered one line each.

        Raises:
            InvalidInput: a field is wrong; the error names it and its limit.
            StoreError: it could not be looked up (which is not the same as nothing found).
        """
        query = await self._query(text, filter, limit, workspace)
        if budget_tokens is not None:
            inputs.count_field(budget_tokens, "budget_tokens", 1, 1_000_000)
        await self.drain.before_recall()
        asker = replace(await self._asker(), session=self._channel.session or "")
        recall = await self._answering.recall(recalling.effective(query), asker)
        return recall if budget_tokens is None else recalling.within_budget(recall, budget_tokens)[0]

    async def get(self, memory_id: str) -> Memory:
        """One memory in any status, whole.

        Raises:
            InvalidInput: not an id.
            NotFound: no memory has this id.
            StoreCorrupt: its text is not the one that was stored.
        """
        wanted = inputs.id_field(memory_id, "id")
        found = await self._by_ids([wanted])
        if wanted not in found:
            raise NotFound(f"id: no memory {wanted}")
        return found[wanted]

    async def get_many(self, ids: Sequence[str]) -> tuple[list[Memory], list[str]]:
        """Memories in the order asked for, and the ids that name none.

        Raises:
            InvalidInput: not ids, or too many.
        """
        if not isinstance(ids, Sequence) or isinstance(ids, str | bytes):
            raise InvalidInput("ids", f"must be a list of ids, not {type(ids).__name__}")
        if len(ids) > (most := self.settings.results_max):
            raise InvalidInput("ids", f"{len(ids)} ids exceed the limit of {most}", limit=most)
        wanted = [inputs.id_field(value, f"ids[{i}]") for i, value in enumerate(ids)]
        found = await self._by_ids(wanted)
        return [found[i] for i in wanted if i in found], [i for i in wanted if i not in found]

    async def links(self, memory_id: str) -> list[tuple[str, str, str]]:
        """Links of a memory as (kind, ``to`` or ``from``, id of the other one)."""
        wanted = inputs.id_field(memory_id, "id")
        return await self._store.read(lambda reader: reader.links(wanted))

    async def outcomes(self, ids: Sequence[str]) -> dict[str, Outcome]:
        """What became of memories that are there, by id: commits and tests after them, landed, reverted or dead."""
        asker = await self._asker()
        return await self._store.read(
            lambda reader: {one: outcome_of(reader, self._commits, asker, one) for one in ids}
        )

    async def timeline(
        self,
        around: str | None = None,
        *,
        since: datetime | str | float | None = None,
        until: datetime | str | float | None = None,
        path: str | None = None,
        limit: int = 20,
        workspace: str | None = None,
    ) -> Timeline:
        """Memories in order of time, oldest first: the newest ``limit``, or those around a moment.

        What does not hold here is withheld and counted, what is doubtful is marked, as in a recall.

        Args:
            around: id of a memory, or a time; half of the answer lies before it.
            since: earliest moment.
            until: moment before which they lie.
            path: a file, a folder with a slash at its end, or a glob.
            limit: most memories.
            workspace: id of a workspace, ``"*"`` for every one; None is that of the folder.

        Raises:
            InvalidInput: a field is wrong.
            NotFound: ``around`` is the id of no memory.
        """
        inputs.count_field(limit, "limit", 1, self.settings.results_max)
        tree = inputs.stretch(path, since, until)
        moment = await self._moment(around)
        query = recalling.effective(await self._query("", tree, limit, workspace))
        await self.drain.before_recall()
        asker = await self._asker()
        gate = self._recaller.gate
        return await self._store.read(lambda reader: digest.timeline(reader, query, moment, gate, asker))

    async def revise(self, memory_id: str, text: str, reason: str = "") -> Memory:
        """Stores a new version; the old one stays readable, marked as superseded.

        Raises:
            InvalidInput: a field is wrong.
            NotFound: no such memory.
            Conflict: it is not active, the text is the same, or an assistant that has read untrusted text would change
                what the user said.
        """
        old = await self.get(memory_id)
        reason = inputs.reason_field(reason)
        place, key = await self._workspaces.by_id(old.workspace)
        return await self._storing.replace(old, text, reason, place, key)

    async def forget(self, memory_id: str, reason: str = "") -> None:
        """Takes a memory out of every recall; its tombstone says when and why.

        Raises:
            InvalidInput: a field is wrong.
            NotFound: no such memory.
            Conflict: it is not active, or an assistant that has read untrusted text would forget what the user said.
        """
        wanted = inputs.id_field(memory_id, "id")
        reason = inputs.reason_field(reason)
        _, key = await self._scope(None)
        await self._storing.forget(wanted, reason, key)

    async def supersede(self, memory_id: str, by: str, reason: str = "") -> None:
        """Puts another memory that is there in the place of one, which stays readable, marked as superseded.

        Raises:
            InvalidInput: a field is wrong.
            NotFound: no such memory.
            Conflict: one of them is not active, or an assistant would take away what the user said, because it has read
                untrusted text or by an untrusted memory.
        """
        old, new = inputs.id_field(memory_id, "id"), inputs.id_field(by, "by")
        if old == new:
            raise InvalidInput("by", "must be another memory")
        reason = inputs.reason_field(reason)
        _, key = await self._scope(None)
        await self._storing.supersede(old, new, reason, key)

    async def keep_as_is(self, memory_id: str, put: Callable[[apsw.Connection], None]) -> None:
        """Writes down that a memory is right as it is, unless an assistant that has read untrusted text may not say so.

        Raises:
            Conflict: it is the user's.
        """
        _, key = await self._scope(None)
        await self._storing.keep_as_is(memory_id, key, put)

    async def context(
        self, prompt: str | None = None, budget_tokens: int | None = None, *, workspace: str | None = None
    ) -> tuple[Block, Recall | None]:
        """A block of text for the model: what fits a prompt, or without one the state of the workspace.

        Empty where nothing fits; the recall says then what was withheld. What the client has loaded by itself
        (CLAUDE.md, rules, its own memory) is left out; ``hidden`` of the block counts it.

        Raises:
            InvalidInput: a field is wrong.
        """
        budget = self.settings.context_tokens if budget_tokens is None else budget_tokens
        inputs.count_field(budget, "budget_tokens", 20, 20_000)
        words = "" if prompt is None else self._question(prompt, "prompt")
        if words.strip():
            most = min(CONTEXT_HITS_MAX, self.settings.results_max)
            recall = await self.recall(words, filter=TOLD_UNASKED, limit=most, workspace=workspace)
            recall = recalling.gated(recall, self.settings.context_confidence)
            loaded = await asyncio.to_thread(loaded_in, self._channel.folder)
            block = digest.recall_block(recall, budget - FENCE_TOKENS, loaded)
            return await self._store.read(lambda r: digest.quoted(r, block, self._channel.session)), recall
        place, _ = await self._scope(workspace)
        await self.drain.before_recall()
        loaded = await asyncio.to_thread(loaded_in, self._channel.folder)
        sight = Sight(gate=self._recaller.gate, asker=await self._asker(), loaded=loaded)

        def look(reader: Reader) -> Block:
            block = digest.workspace_block(reader, place, budget - FENCE_TOKENS, sight)
            return digest.quoted(reader, block, self._channel.session)

        return await self._store.read(look), None

    async def explain(
        self,
        text: str,
        *,
        filter: Mapping[str, Any] | Filter | None = None,  # noqa: A002 - the public name
        limit: int = 10,
        workspace: str | None = None,
    ) -> dict[str, Any]:
        """What a recall would do and why: plan, estimates beside the truth, scores in their parts.

        Raises:
            InvalidInput: as ``recall``.
        """
        query = await self._query(text, filter, limit, workspace)
        await self.drain.before_recall()
        await self._upkeep.refresh()
        await self._semantics.ask(query.text)
        asker = await self._asker()
        answer = await self._store.read(lambda r: self._recaller.answer(r, recalling.effective(query), asker))
        return self._upkeep.explained(recalling.effective(query), answer)

    async def stats(self) -> dict[str, Any]:
        """Counts of everything in the store, and of what this process did, as JSON values."""
        return await self._store.read(
            lambda reader: reports.stats(
                reader,
                self.settings,
                self._store,
                self._recalls,
                self._planner,
                self.drain.totals,
                self.pressure,
                self._semantics,
            )
        )

    async def status(self) -> dict[str, Any]:
        """A short account for a person: where, how much, and whether anything is wrong."""
        capture, problems = await self.controls.here(self._channel.folder, self._channel.session)
        place, _ = await self._scope(None)
        waiting = self.drain.waiting_bytes()
        found = await self._store.read(
            lambda r: reports.status(r, self.settings, place, waiting, self.pressure)
        )
        return {**found, "capture": capture, "problems": [*found["problems"], *problems]}

    async def verify(self) -> dict[str, Any]:
        """Checks the whole store and the spool; ``ok`` is False where anything is wrong."""
        checks = await self._store.read(verify)
        found = reports.verification((*checks, await asyncio.to_thread(reports.spool_check, self.settings)))
        return {**found, "encryption": await asyncio.to_thread(reports.encryption, self.settings)}

    async def prepare(self) -> None:
        """Reads what the first questions would wait for, where the folder's workspace is known already.

        A live server runs it beside the first answers; where it fails, questions read what they need.
        """
        known = await self._workspaces.known_at(self._channel.folder)
        if known is not None:
            await self._answering.prepare(self._commits.asker(known[1], known[0].root))

    async def close(self) -> None:
        """Stops background work and closes the store; queued writes are finished."""
        await self._answering.close()
        await self._upkeep.close()
        await self.drain.close()
        await self.receipts.flush()
        await self._recalls.close()
        await self._store.close()

    async def _scope(self, workspace: str | None) -> tuple[Workspace, int]:
        if workspace is None:
            return await self._workspaces.at(self._channel.folder)
        return await self._workspaces.by_id(inputs.id_field(workspace, "workspace"))

    async def _query(
        self, text: object, tree: Mapping[str, Any] | Filter | None, limit: object, workspace: str | None
    ) -> Query:
        words = self._question(text, "query")
        most = inputs.count_field(limit, "limit", 1, self.settings.results_max)
        if not words.strip() and tree is None:
            raise InvalidInput("query", "must not be empty unless a filter is given")
        parsed = tree if tree is None or isinstance(tree, Filter) else parse_filter(tree)
        scope = None if workspace == "*" else (await self._scope(workspace))[0].id
        return Query(text=words, filter=parsed, workspace=scope, limit=most, period=named(words, parsed))

    def _question(self, text: object, field: str) -> str:
        """A question may hold anything; only what can be stored could be found."""
        if isinstance(text, str):
            text = text.replace("\0", " ").encode("utf-8", "replace").decode()
        return inputs.text_field(text, field, self.settings.query_chars_max, empty=True)

    async def _asker(self) -> Asker:
        """From where this service asks: its workspace, and what is checked out there now."""
        place, key = await self._workspaces.at(self._channel.folder)
        return await self._answering.asker(key, place.root, self._channel.session)

    async def _by_ids(self, ids: Sequence[str]) -> dict[str, Memory]:
        return await self._store.read(lambda reader: reader.by_ids(ids))

    async def _moment(self, around: str | None) -> int | None:
        if around is None:
            return None
        text = inputs.text_field(around, "around", inputs.IDS_CHARS_MAX)
        if len(text) == 36 and text.count("-") == 4:
            return to_us((await self.get(text)).occurred_at)
        return to_us(read_time(text, "around"))
