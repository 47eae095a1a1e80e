"""What a transaction of many writes puts off to its end: once for all of them it costs a fraction.

Words go into the full-text index together: whenever a statement with triggers begins (a memory, with its audit), that
index writes out what it had gathered, so that memories indexed one by one leave a segment each to be merged.
How much each source gave is read once and written back once. Receipts of events go in by the order of their key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import apsw

from retain.storage.rows import to_json

Place = tuple[int, str, str, int, bytes]
"""Of a count: workspace, session, origin, hour, and the mark of similar texts (empty: all of them)."""


class Later:
    """Of one transaction. Whoever stores memories with it calls ``flush`` before the transaction ends."""

    def __init__(self) -> None:
        self._words: list[Sequence[int | str]] = []
        self._receipts: dict[str, Sequence[int | str]] = {}
        self._drained: dict[str, bool] = {}
        self._counts: dict[Place, int] = {}
        self._changed: dict[Place, int] = {}

    def index(self, row: Sequence[int | str]) -> None:
        """Puts a memory into the full-text index: its key, then a text for each column."""
        self._words.append(row)

    def has_receipt(self, db: apsw.Connection, event_id: str) -> bool:
        """Whether this event was drained before."""
        if event_id in self._receipts:
            return True
        if event_id not in self._drained:
            self.look_up_receipts(db, [event_id])
        return self._drained[event_id]

    def look_up_receipts(self, db: apsw.Connection, event_ids: Sequence[str]) -> None:
        """Asks once which of many events were drained before."""
        self._drained.update(dict.fromkeys(event_ids, False))
        for (event_id,) in db.execute(
            "SELECT r.id FROM json_each(?) e CROSS JOIN event_receipt r ON r.id = e.value",
            (to_json(list(event_ids)),),
        ):
            self._drained[event_id] = True

    def add_receipt(
        self,
        *,
        event_id: str,
        workspace: int,
        session: str,
        name: str,
        received_us: int,
        drained_us: int,
        outcome: str,
        memories: int,
        redacted: Mapping[str, int],
    ) -> None:
        """Keeps that an event was drained and what became of it; a second time changes nothing."""
        found = to_json(dict(redacted)) if redacted else "{}"
        row = (event_id, workspace, session, name, received_us, drained_us, outcome, memories, found)
        self._receipts.setdefault(event_id, row)

    def one_more(self, db: apsw.Connection, place: Place, now_us: int) -> int:
        """Counts a memory of a source, and says how many there are with it."""
        count = self._counts.get(place)
        if count is None:
            kept = db.execute(
                "SELECT count FROM source_rate WHERE workspace = ? AND session = ? AND origin = ? AND hour = ? "
                "AND band = ?",
                place,
            ).get
            count = int(kept or 0)
        self._counts[place] = count + 1
        self._changed[place] = now_us
        return count + 1

    def drop_counts(self, db: apsw.Connection, before_us: int) -> None:
        """Forgets counts that nothing was added to since a moment."""
        self._write_counts(db)
        self._counts.clear()
        db.execute("DELETE FROM source_rate WHERE at_us < ?", (before_us,))

    def flush(self, db: apsw.Connection) -> None:
        """Does what was put off."""
        self._write_counts(db)
        if self._words:
            db.executemany(
                "INSERT INTO memory_fts (rowid, title, body, paths, symbols, context) VALUES (?, ?, ?, ?, ?, ?)",
                self._words,
            )
            self._words.clear()
        if self._receipts:  # in the order of their key they touch each page once
            db.executemany(
                "INSERT OR IGNORE INTO event_receipt VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [self._receipts[event_id] for event_id in sorted(self._receipts)],
            )
            self._receipts.clear()

    def _write_counts(self, db: apsw.Connection) -> None:
        if self._changed:
            db.executemany(
                "INSERT INTO source_rate VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
                "SET count = excluded.count, at_us = excluded.at_us",
                [(*place, self._counts[place], at_us) for place, at_us in self._changed.items()],
            )
            self._changed.clear()
