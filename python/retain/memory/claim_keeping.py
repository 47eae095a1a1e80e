"""The claims of a workspace as a whole: derived in the background, listed, and put right where they no longer hold."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import apsw

from retain.errors import InvalidInput, NotFound, RetainError
from retain.git.checking import DRIFTED, FRESH, STALE, worst
from retain.git.lineage import OTHER_BRANCH, Verdict
from retain.memory import inputs
from retain.memory.claims import ClaimCheck, Deriver, Found, claim_of
from retain.memory.precedence import STRETCH, Precedence
from retain.memory.truth import Asker, CommitCheck
from retain.model import Draft
from retain.storage import claims as rows
from retain.storage import writes
from retain.storage.audit import note
from retain.storage.sqlite import SqliteStore
from retain.storage.truth import key_of, provenance

if TYPE_CHECKING:
    from retain.memory.service import MemoryService

logger = logging.getLogger(__name__)

BATCH = 64
REST = 4.0
"""The background rests this many times as long as a batch took."""
INTERVAL_S = 1.0
START_S = 3.0

AT_ONCE_MAX = 8
"""Memories that are stored together with their claims; of more, claims are derived behind."""

KEYS_AT_ONCE = 10_000
"""So many keys are looked through in one read: some 10 ms, and a reader is free again."""

HOWS = ("keep", "revise", "supersede", "forget")


@dataclass(slots=True)
class _Turn:
    """One turn through the memories, from the newest down: where it began, and below which key it goes on."""

    newest: int = 0
    below: int | None = None


class ClaimKeeping:
    """Keeps the claims of one workspace.

    Args:
        store: where.
        check: finds out what became of them.
        asker: gives from where is asked.
        precedence: of the questions, to which the background gives way.
        commits: knows which memories are of another branch, whose claims are not about these files.
    """

    def __init__(
        self,
        store: SqliteStore,
        check: ClaimCheck,
        asker: Callable[[], Awaitable[Asker]],
        precedence: Precedence,
        commits: CommitCheck,
    ) -> None:
        self._store = store
        self._check = check
        self._asker = asker
        self._precedence = precedence
        self._done_to = 0
        self._commits = commits

    async def keep_running(self) -> None:
        """Derives what is new after every change of the store, until cancelled."""
        seen, wait_s, turn = -1, INTERVAL_S, _Turn()
        await asyncio.sleep(START_S)
        while True:
            version = self._store.version()
            if version != seen:
                started = time.perf_counter()
                try:
                    if not await self._step(turn, self._precedence):
                        seen = version
                    wait_s = INTERVAL_S
                except RetainError as error:
                    logger.warning("claims.not_derived error=%s", error.code)
                    wait_s = min(60.0, 2 * wait_s)
                await asyncio.sleep(REST * (time.perf_counter() - started))
            await asyncio.sleep(wait_s if version == seen else 0.05)

    async def catch_up(self) -> int:
        """Derives all that is still to be derived; returns of how many memories."""
        count, turn = 0, _Turn()
        while done := await self._step(turn):
            count += done
        return count

    async def _step(self, turn: _Turn, precedence: Precedence | None = None) -> int:
        """Derives the claims of the next memories, the newest first; returns of how many.

        Args:
            turn: how far those before have come.
            precedence: of the questions to which it gives way; None does not.
        """
        asker = await self._asker()
        waiting = await self._next(turn, asker.workspace, precedence)
        if not waiting:
            return 0
        found: list[Found] = []
        deriver = Deriver(asker)
        for start in range(0, len(waiting), STRETCH):
            if precedence:
                await precedence.quiet()
            found += await asyncio.to_thread(deriver.of, waiting[start : start + STRETCH])
        now_us = time.time_ns() // 1000

        def put(db: apsw.Connection) -> None:
            for key, commit, claims in found:
                if db.execute("SELECT 1 FROM memory WHERE key = ?", (key,)).fetchone():
                    rows.put_claims(db, key, claims, commit=commit, at_us=now_us)

        await self._store.write(put)
        turn.below = waiting[-1].key
        return len(waiting)

    async def _next(self, turn: _Turn, workspace: int, precedence: Precedence | None) -> list[rows.Unclaimed]:
        """The next memories without claims; what was looked through is not looked through again after each commit."""
        while True:
            begins = turn.below is None
            if turn.below is None:
                turn.newest = await self._store.read_behind(lambda reader: reader.total())
                turn.below = turn.newest + 1
            while turn.below > self._done_to + 1:
                above = max(self._done_to, turn.below - 1 - KEYS_AT_ONCE)
                waiting = await self._look(workspace, above, turn.below, precedence)
                if waiting:
                    return waiting
                turn.below = above + 1
            self._done_to, turn.below = max(self._done_to, turn.newest), None
            if begins:
                return []

    async def _look(
        self, workspace: int, above: int, below: int, precedence: Precedence | None
    ) -> list[rows.Unclaimed]:
        """Looks between two keys; beside questions it waits until nobody asks, and rests after it."""
        if precedence:
            await precedence.quiet()
        started = time.perf_counter()
        waiting = await self._store.read_behind(
            lambda reader: rows.unclaimed(reader.connection, workspace, BATCH, above=above, below=below)
        )
        if precedence and not waiting:
            await asyncio.sleep(REST * (time.perf_counter() - started))
        return waiting

    async def of(self, drafts: Sequence[Draft]) -> list[Found]:
        """The claims of new memories, to be stored with them; of many none, they are derived behind."""
        if len(drafts) > AT_ONCE_MAX:
            return []
        asker = await self._asker()
        waiting = [
            rows.Unclaimed(
                key=0,
                text=f"{one.title}\n{one.text}",
                paths=one.paths,
                symbols=one.symbols,
                commit=one.commit or "",
            )
            for one in drafts
        ]
        return await asyncio.to_thread(Deriver(asker).of, waiting)

    @staticmethod
    def put(db: apsw.Connection, added: Sequence[writes.Added], claims: Sequence[Found], now_us: int) -> None:
        """Stores the claims of memories that were new, inside the caller's transaction."""
        for one, (_, commit, found) in zip(added, claims, strict=True) if claims else ():
            if one.created:
                rows.put_claims(db, one.key, found, commit=commit, at_us=now_us)

    async def report(self) -> dict[str, Any]:
        """Every memory of the workspace that has claims, with the state of each, as JSON values.

        ``counts`` says how many memories have which state, ``hidden`` how many belong to another branch.
        """
        await self.catch_up()
        asker = await self._asker()
        hidden: dict[str, int] = {}

        def look(reader: Any) -> list[dict[str, Any]]:
            db = reader.connection
            known = rows.claimed(db, asker.workspace)
            fates = self._fates(reader, asker, [one.key for one in known])
            keys = [one.key for one in known if fates[one.key].state != OTHER_BRANCH]
            if len(keys) < len(known):
                hidden[OTHER_BRANCH] = len(known) - len(keys)
                known = [one for one in known if fates[one.key].state != OTHER_BRANCH]
            claims = rows.claims_of(db, keys)
            findings, _ = self._check.findings(reader, asker, keys, None)
            listed = []
            for one in known:
                state = worst(findings[one.key])
                told = [
                    {
                        "kind": claim.kind, "claim": claim.told(), "path": claim.path, "line": claim.line,
                        "state": found.state, "note": found.note, "diff": found.diff(), "now_at": found.path,
                    }
                    for claim, found in zip(map(claim_of, claims[one.key][1]), findings[one.key], strict=True)
                ]  # fmt: skip
                listed.append(
                    {
                        "id": one.id, "kind": one.kind, "title": one.title, "state": state.state,
                        "outcome": fates[one.key].why, "claims": told,
                    }
                )  # fmt: skip
            return listed

        listed = await self._store.read(look)
        counts: dict[str, int] = {}
        for one in listed:
            counts[one["state"]] = counts.get(one["state"], 0) + 1
        return {"memories": listed, "counts": counts, "hidden": hidden}

    def _fates(self, reader: Any, asker: Asker, keys: Sequence[int]) -> dict[int, Verdict]:
        """What became of the work of memories, by their keys."""
        known = provenance(reader.connection, keys)
        verdicts, _ = self._commits.verdicts(asker, known)
        return {row.key: verdict for row, verdict in zip(known, verdicts, strict=True)}

    async def reconcile(
        self,
        service: MemoryService,
        memory_id: str,
        how: str,
        *,
        text: str | None = None,
        by: str | None = None,
    ) -> dict[str, Any]:
        """Puts a memory right whose claims no longer hold.

        Args:
            service: stores new versions.
            memory_id: which.
            how: ``keep`` (it is right as it is: what no longer holds is not checked any more), ``revise`` (a new
                version with ``text``, or without it with new paths and values in the place of the old),
                ``supersede`` (by the memory ``by``), or ``forget``.
            text: of a revision.
            by: id of the memory that says it better.

        Raises:
            InvalidInput: a field is wrong, or there is nothing to revise by itself.
            NotFound: no such memory.
            Conflict: an assistant would take away what the user said, as in ``supersede``, ``revise`` and ``forget``.
        """
        if how not in HOWS:
            raise InvalidInput("how", f"must be one of {', '.join(HOWS)}", limit=", ".join(HOWS))
        memory = await service.get(memory_id)
        if how == "forget":
            await service.forget(memory.id, "its claims no longer hold")
            return {"id": memory.id, "how": how}
        if how == "supersede":
            if by is None:
                raise InvalidInput("by", "is missing; say which memory supersedes it")
            other = await service.get(inputs.id_field(by, "by"))
            await service.supersede(memory.id, other.id, "its claims no longer hold")
            return {"id": memory.id, "how": how, "by": other.id}
        if how == "keep":
            return {"id": memory.id, "how": how, "dropped": await self._keep(service, memory.id)}
        if text is None:
            text = await self._followed(memory.id, memory.text)
        new = await service.revise(memory.id, text, "its claims no longer held")
        return {"id": memory.id, "how": how, "by": new.id, "text": new.text}

    async def _broken(self, memory_id: str) -> tuple[int, list[tuple[rows.ClaimRow, Any]]]:
        await self.catch_up()
        asker = await self._asker()

        def look(reader: Any) -> tuple[int, list[tuple[rows.ClaimRow, Any]]]:
            key = key_of(reader.connection, memory_id)
            if key is None:
                raise NotFound(f"id: no memory {memory_id}")
            findings, _ = self._check.findings(reader, asker, [key], None)
            _, claims = rows.claims_of(reader.connection, [key]).get(key, ("", []))
            return key, list(zip(claims, findings.get(key, []), strict=True))

        return await self._store.read(look)

    async def _keep(self, service: MemoryService, memory_id: str) -> int:
        key, found = await self._broken(memory_id)
        holding = [claim for claim, one in found if one.state == FRESH]
        now_us = time.time_ns() // 1000

        def put(db: apsw.Connection) -> None:
            rows.put_claims(db, key, holding, commit="", at_us=now_us)
            note(db, "kept", memory_id, {"claims_dropped": len(found) - len(holding)})

        await service.keep_as_is(memory_id, put)
        return len(found) - len(holding)

    async def _followed(self, memory_id: str, text: str) -> str:
        """The text with the paths and values of now in the place of those that changed."""
        _, found = await self._broken(memory_id)
        new = text
        for row, one in found:
            claim = claim_of(row)
            if one.state == DRIFTED and one.path:
                new = new.replace(claim.path, one.path)
            elif one.state == DRIFTED and claim.value and one.after:
                new = new.replace(claim.value, one.after.removeprefix(f"{claim.name} = "))
        if new == text:
            kinds = f"{DRIFTED} or {STALE}"
            raise InvalidInput("text", "is missing", hint=f"nothing {kinds} in it can be replaced by itself")
        return new
