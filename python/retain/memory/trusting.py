"""What the user decides about trust: the review of what was held back, and taking back all that one source brought in.

Neither is for a model: a door through which an assistant speaks is refused.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import apsw

from retain.errors import Conflict, InvalidInput
from retain.memory import inputs
from retain.model import ORIGINS, Draft, Memory, Origin, new_id
from retain.storage import rewind, trust, writes
from retain.storage.audit import note
from retain.storage.sqlite import SqliteStore
from retain.trust import BY_ORIGIN, TRUSTS, UNTRUSTED, may_be_told

LISTED_MAX = 1_000
URL_CHARS_MAX = 500
SESSION_CHARS_MAX = 256
SOURCES = ("session", "origin", "url", "import")
REJECTED = "rejected in the review"

_URL = re.compile(r"https?://[^\s/]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """Who speaks through a door, and in which session of the client, where that is known."""

    origin: Origin
    session: str | None

    def at_most(self, origin: Origin | None) -> Origin:
        """The origin that a caller names, unless it is more than its door allows."""
        named = origin or self.origin
        return (
            named if TRUSTS.index(BY_ORIGIN[named]) <= TRUSTS.index(BY_ORIGIN[self.origin]) else self.origin
        )

    def lowered(self, db: apsw.Connection, new: writes.NewMemory) -> writes.NewMemory:
        """What an assistant says that may have read untrusted text is untrusted."""
        if self.origin == "user" or not self._may_be_tainted(db, new.workspace):
            return new
        return replace(new, draft=replace(new.draft, trust=UNTRUSTED))

    def revising(self, old: Memory, draft: Draft) -> Draft:
        """The draft of a new version, with what the old one was about."""
        if may_be_told(old.trust):
            # What the old version is about was checked when it came in; capture takes more than callers may say.
            return replace(draft, paths=_paths(old, draft), symbols=old.symbols, tags=old.tags)
        if self.origin == "user":  # only what the user says now is the user's
            return replace(draft, title=inputs.derived_title(draft.text), paths=_paths(old, draft))
        return replace(draft, trust=old.trust)

    def refuse_tainted(self, db: apsw.Connection, workspace: int, memory_id: str) -> None:
        """Text of a tool must not make an assistant take away what the user said.

        Raises:
            Conflict: it would.
        """
        if self.origin == "user" or not trust.is_of_user(db, memory_id):
            return
        if self._may_be_tainted(db, workspace):
            raise Conflict(
                f"id: memory {memory_id} is the user's, and this session has read untrusted text",
                hint="tell the user what should change; `retain revise` and `retain forget` are theirs",
            )

    def refuse_untrusted(self, db: apsw.Connection, memory_id: str, by: str) -> None:
        """Nor may an assistant let an untrusted memory take the place of what the user said.

        Raises:
            Conflict: it would.
        """
        if self.origin != "user" and trust.is_of_user(db, memory_id) and trust.is_untrusted(db, by):
            raise Conflict(
                f"by: memory {by} is untrusted, and {memory_id} is the user's",
                hint="`retain review accept` and `retain reconcile` are the user's",
            )

    def lower(self, db: apsw.Connection, memory_id: str, source: str) -> None:
        """Lowers what stands now in the place of a memory to the tier of that, unless the user said it or says so."""
        if self.origin != "user" and trust.is_untrusted(db, source) and not trust.is_of_user(db, memory_id):
            trust.distrust(db, memory_id)

    def _may_be_tainted(self, db: apsw.Connection, workspace: int) -> bool:
        return trust.may_be_tainted(db, workspace, self.session, time.time_ns() // 1000)


def _paths(old: Memory, draft: Draft) -> tuple[str, ...]:
    """The files of a new version: where its words name files, those take the place of what only the old ones named."""
    if not draft.paths:
        return old.paths
    kept = (path for path in old.paths if path not in old.text or path in draft.text)
    return tuple(dict.fromkeys((*kept, *draft.paths)))[: inputs.PATHS_MAX]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A memory that waits for a review, and why."""

    memory: Memory
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """A source that was taken back: the id to undo it by, and the memories that are forgotten now."""

    id: str
    source: str
    memories: tuple[str, ...]


class Trusting:
    """Review and revocation for one store.

    Args:
        store: the memories.
        origin: who speaks through this door; only the user may decide.
    """

    def __init__(self, store: SqliteStore, *, origin: Origin) -> None:
        self._store = store
        self._origin = origin

    async def waiting(self, limit: int = 50) -> list[Held]:
        """The memories that wait for a review, newest first."""
        inputs.count_field(limit, "limit", 1, LISTED_MAX)

        def look(db: apsw.Connection, by_ids: Callable[[list[str]], dict[str, Memory]]) -> list[Held]:
            rows = trust.held(db, limit)
            found = by_ids([name for name, _ in rows])
            return [Held(memory=found[name], reason=reason) for name, reason in rows if name in found]

        return await self._store.read(lambda reader: look(reader.connection, reader.by_ids))

    async def accept(self, memory_id: str) -> None:
        """Lets a memory be told unasked from now on, as one that the user confirmed.

        Raises:
            InvalidInput: not an id.
            NotFound: no such memory.
            Conflict: an assistant asks, it is not active, or it needs no review.
        """
        self._refuse_models("accept")
        wanted = inputs.id_field(memory_id, "id")
        await self._store.write(lambda db: trust.accept(db, wanted))

    async def reject(self, memory_id: str) -> None:
        """Forgets a memory that waits for a review; ``unforget`` brings it back, still untrusted.

        Raises:
            InvalidInput: not an id.
            NotFound: no such memory.
            Conflict: an assistant asks, or it is not active.
        """
        self._refuse_models("reject")
        wanted = inputs.id_field(memory_id, "id")
        await self._store.write(lambda db: writes.forget(db, wanted, REJECTED))

    async def revoke(self, kind: str, value: str) -> Revoked:
        """Forgets everything that came from one source, and what was made of it.

        Args:
            kind: one of ``SOURCES``.
            value: id of a session, an origin, the beginning of an address, id of an import.

        Raises:
            InvalidInput: no such kind of source, or a value that names none.
            NotFound: no such import.
            Conflict: an assistant asks.
        """
        self._refuse_models("revoke")
        find = _finder(kind, value)
        revocation = new_id()
        source = f"{kind} {value.strip()}"

        def forget_all(db: apsw.Connection) -> list[str]:
            wanted = find(db)
            for one in wanted:
                writes.forget(db, one, f"{_reason(revocation)} {source}"[: inputs.REASON_CHARS_MAX])
            note(db, "revoked", revocation, {"kind": kind, "memories": len(wanted)})
            return wanted

        return Revoked(id=revocation, source=source, memories=tuple(await self._store.write(forget_all)))

    async def undo(self, revocation: str) -> Revoked:
        """Brings back what a revocation forgot; of what was said anew since then the new one stays.

        Raises:
            InvalidInput: not an id, or nothing was revoked under it.
            Conflict: an assistant asks.
        """
        self._refuse_models("undo")
        wanted = inputs.id_field(revocation, "id")

        def bring_back(db: apsw.Connection) -> list[str]:
            back = []
            for one in trust.forgotten_because(db, _reason(wanted)):
                try:
                    rewind.unforget(db, one)
                except Conflict:
                    continue
                back.append(one)
            if not back:
                raise InvalidInput("id", f"nothing is forgotten because of revocation {wanted}")
            note(db, "revocation undone", wanted, {"memories": len(back)})
            return back

        return Revoked(id=wanted, source="", memories=tuple(await self._store.write(bring_back)))

    def _refuse_models(self, what: str) -> None:
        if self._origin != "user":
            raise Conflict(
                f"{what}: only the user decides what is trusted, and this door speaks for the {self._origin}",
                hint="run it in a terminal of your own, outside of the session",
            )


def _reason(revocation: str) -> str:
    return f"revoked by {revocation}:"


def _finder(kind: str, value: str) -> Callable[[apsw.Connection], list[str]]:
    if kind not in SOURCES:
        raise InvalidInput("source", f"unknown {kind[:64]!r}; known: {', '.join(SOURCES)}")
    if kind == "session":
        session = inputs.text_field(value, kind, SESSION_CHARS_MAX)
        return lambda db: trust.of_session(db, session)
    if kind == "origin":
        if value not in ORIGINS or value == "user":
            known = ", ".join(one for one in ORIGINS if one != "user")
            raise InvalidInput(kind, f"unknown {str(value)[:64]!r}; known: {known}")
        return lambda db: trust.of_origin(db, value)
    if kind == "import":
        run = inputs.id_field(value, kind)
        return lambda db: trust.of_import(db, run)
    prefix = inputs.text_field(value, kind, URL_CHARS_MAX).strip()
    if not _URL.match(prefix):
        raise InvalidInput(kind, "must begin with http:// or https:// and a host")
    return lambda db: trust.of_url(db, prefix)
