"""What memories were shown and used in sum."""

from __future__ import annotations

import apsw

from retain.storage import injections


def test_what_is_usual_is_read_off_the_newest_memories_that_were_shown(db: apsw.Connection) -> None:
    db.pragma("foreign_keys", False)
    older = [(key, 50, 50) for key in range(100)]
    newer = [(100 + key, 2, 1) for key in range(injections.USUAL_OF)]
    assert injections.usual(db) == (0, 0)
    with db:
        db.executemany("INSERT INTO memory_feedback VALUES (?, ?, ?)", older + newer)
    assert injections.usual(db) == (2 * injections.USUAL_OF, injections.USUAL_OF)
