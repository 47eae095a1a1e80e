"""The audit as a user reads it: the newest rows, all of one memory, and whether the chain is whole."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from retain.memory import inputs
from retain.model import read_time, to_us
from retain.storage import audit
from retain.storage.sqlite import SqliteStore

ROWS_MAX = 10_000


class Audit:
    """Reads the audit of a store; nothing writes it but the store's own triggers."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    async def entries(
        self,
        *,
        subject: str | None = None,
        since: datetime | str | float | None = None,
        limit: int = 20,
    ) -> dict[str, Any]:
        """The newest rows, the oldest of them first, with number and hash of the audit's last row.

        Args:
            subject: id of a memory or of an import; None takes every row.
            since: earliest moment.
            limit: most rows.

        Raises:
            InvalidInput: a field is wrong.
        """
        inputs.count_field(limit, "limit", 1, ROWS_MAX)
        wanted = None if subject is None else inputs.id_field(subject, "id")
        since_us = None if since is None else to_us(read_time(since, "since"))
        rows, (number, last) = await self._store.read(
            lambda reader: (
                audit.entries(reader.connection, subject=wanted, since_us=since_us, limit=limit),
                audit.head(reader.connection),
            )
        )
        return {"entries": [asdict(row) for row in rows], "head": {"number": number, "hash": last}}

    async def published(self, memories: int) -> None:
        """Notes that so many memories were written into a file of the user, or with 0 that they were taken out."""
        await self._store.write(lambda db: audit.note(db, "published", "store", {"memories": memories}))
