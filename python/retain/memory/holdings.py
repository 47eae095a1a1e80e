"""What holds texts of one store: those who erase and scrub must reach all of it."""

from __future__ import annotations

from retain.cache import MultiLevelCache
from retain.config import Settings
from retain.memory.drain import Drain
from retain.storage.backups import BACKUPS, Backups
from retain.storage.sqlite import SqliteStore


class Holdings:
    """The store, what comes into it, and what was made of it.

    Args:
        settings: of the store.
        store: where.
        drain: empties the spool, whose events become memories.
        recalls: the cached answers, which hold texts too.
    """

    def __init__(
        self, settings: Settings, store: SqliteStore, drain: Drain, recalls: MultiLevelCache
    ) -> None:
        self._settings = settings
        self._store = store
        self._drain = drain
        self._recalls = recalls
        self._backups = Backups(settings.home / BACKUPS)
