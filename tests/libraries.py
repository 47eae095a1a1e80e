"""A store that is filled without waiting for the disk, read through the real reader."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retain.memory import counting
from retain.model import Draft, new_id
from retain.retrieval.planner import Statistics
from retain.storage import migrations, writes
from retain.storage.connection import connect
from retain.storage.reads import Reader

NOW_US = 1_795_000_000_000_000


class Library:
    """Memories of one workspace; each is a minute newer than the one before."""

    def __init__(self, directory: Path) -> None:
        path = directory / "library.db"
        path.touch()
        self._db = connect(path, writable=True)
        self._db.execute("PRAGMA synchronous = OFF")
        with self._db:
            migrations.migrate(self._db)
            self.workspace = new_id()
            self._key = writes.add_workspace(
                self._db, workspace_id=self.workspace, identity="i", name="n", root="/r", alias="/r", now_us=0
            )
        self._clock = itertools.count(NOW_US, 60_000_000)
        self.reader = Reader(self._db)

    def add(self, text: str, **fields: Any) -> int:
        """The key of a new memory."""
        return self.add_many([(text, fields)])[0]

    def add_many(self, items: Sequence[tuple[str, dict[str, Any]]]) -> list[int]:
        """The keys of new memories, stored in one transaction."""
        with self._db:
            return [
                writes.add_memory(
                    self._db,
                    writes.NewMemory(
                        id=new_id(),
                        workspace=self._key,
                        draft=Draft(text=text, **fields),
                        now_us=next(self._clock),
                    ),
                ).key
                for text, fields in items
            ]

    def statistics(self) -> Statistics:
        """What the planner is told of this store."""
        counts = {name: self.reader.field_counts(name) for name in counting.FIELDS}
        return counting.together(self.reader.total(), counts, self.reader.time_bounds())

    def close(self) -> None:
        self._db.close()
