"""Going back: to any moment, as an independently kept account of that moment says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retain.errors import Conflict, InvalidInput, NotFound
from retain.model import Draft, new_id
from retain.storage import audit, migrations
from retain.storage.audit import attach
from retain.storage.rewind import rewind, unforget
from retain.storage.rows import content_hash
from retain.storage.writes import NewMemory, add_memory, add_workspace, forget, supersede

Remember = Callable[..., Any]

TEXTS = st.integers(0, 5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("remember"), TEXTS),
        st.tuples(st.just("forget"), st.integers(0, 20)),
        st.tuples(st.just("revise"), st.integers(0, 20), TEXTS),
        st.tuples(st.just("unforget"), st.integers(0, 20)),
        st.tuples(st.just("restore"), st.integers(0, 30)),
    ),
    max_size=25,
)


class Twin:
    """A store with a clock of its own, and beside it the plain account: what was active after each step."""

    def __init__(self) -> None:
        self.db = apsw.Connection(":memory:")
        migrations.migrate(self.db)
        self.now = self.db.execute("SELECT at_us FROM audit").get
        attach(self.db, lambda: audit.BY_HOOK)
        self.db.create_scalar_function("audit_now", lambda: self.now, 0)
        add_workspace(self.db, workspace_id="w", identity="w", name="w", root="/", alias="/", now_us=1)
        self.active: dict[str, str] = {}
        self.known: list[str] = []
        self.past: list[tuple[int, dict[str, str]]] = [(self.now, {})]

    def step(self, what: str, *given: int) -> None:
        self.now += 1_000_000
        self.db.execute("SAVEPOINT step")
        try:
            getattr(self, what)(*given)
        except (Conflict, IndexError):
            self.db.execute("ROLLBACK TO step")
        self.db.execute("RELEASE step")
        self.past.append((self.now, dict(self.active)))

    def _new(self, text: int) -> NewMemory:
        return NewMemory(id=new_id(), workspace=1, draft=Draft(text=f"fact {text}"), now_us=self.now)

    def remember(self, text: int) -> None:
        added = add_memory(self.db, self._new(text))
        if added.created:
            self.known.append(added.id)
            self.active[added.id] = f"fact {text}"

    def forget(self, which: int) -> None:
        forget(self.db, self.known[which], "")
        del self.active[self.known[which]]

    def revise(self, which: int, text: int) -> None:
        old = self.known[which]
        added = supersede(self.db, old, self._new(text), "")
        del self.active[old]
        if added.created:
            self.known.append(added.id)
            self.active[added.id] = f"fact {text}"

    def unforget(self, which: int) -> None:
        unforget(self.db, self.known[which])
        row = self.db.execute("SELECT body FROM memory WHERE id = ?", (self.known[which],))
        self.active[self.known[which]] = str(row.get)

    def restore(self, step: int) -> None:
        moment, then = self.past[step]
        rewind(self.db, moment, "restored")
        self.active = dict(then)


def stored(db: apsw.Connection) -> dict[str, str]:
    return {str(i): str(t) for i, t in db.execute("SELECT id, body FROM memory WHERE status = 'active'")}


def searchable(db: apsw.Connection) -> set[str]:
    rows = db.execute(
        "SELECT m.id FROM memory_fts f JOIN memory m ON m.key = f.rowid WHERE memory_fts MATCH 'fact' "
        "AND m.status = 'active'"
    )
    return {str(name) for (name,) in rows}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_any_moment_comes_back_as_the_account_says(steps: list[tuple[Any, ...]]) -> None:
    twin = Twin()
    for step in steps:
        twin.step(*step)
        assert stored(twin.db) == twin.active
    for moment, then in reversed(twin.past):
        for at_us in (moment, moment + 999_999):  # nothing happened in between
            twin.db.execute("SAVEPOINT look")
            rewind(twin.db, at_us, "restored")
            assert stored(twin.db) == then
            assert searchable(twin.db) == set(then)
            assert list(audit.problems(twin.db)) == []
            twin.db.execute("ROLLBACK TO look; RELEASE look")
    twin.db.close()


def test_a_store_from_before_the_audit_cannot_go_back_beyond_it(tmp_path: Path) -> None:
    db = apsw.Connection(":memory:")
    for name in migrations.MIGRATIONS[:4]:
        db.execute(Path(migrations.__path__[0], name).read_text(encoding="utf-8"))
    add_workspace(db, workspace_id="w", identity="w", name="w", root="/", alias="/", now_us=1)
    old = new_id()
    db.execute(
        "INSERT INTO memory (workspace, id, kind, title, body, paths, symbols, tags, origin, status, occurred_us, "
        "recorded_us, seen_us, dedup, content_hash, extra, redacted) VALUES "
        "(1, ?, 'note', '', 'an old fact', '[]', '[]', '[]', 'user', 'active', 5, 5, 5, x'00', ?, '{}', '{}')",
        (old, content_hash("note", "", "an old fact")),
    )
    db.pragma("user_version", 4)
    migrations.migrate(db)
    begun = db.execute("SELECT at_us FROM audit WHERE number = 1").get
    assert list(audit.problems(db)) == []
    with pytest.raises(InvalidInput, match="has kept its history since"):
        rewind(db, begun - 1, "restored")
    forget(db, old, "")
    rewind(db, begun, "restored")
    assert set(stored(db)) == {old}
    db.close()


def found(db: apsw.Connection, word: str) -> list[Any]:
    return [key for (key,) in db.execute("SELECT rowid FROM memory_fts WHERE memory_fts MATCH ?", (word,))]


def test_what_is_brought_back_is_found_again_by_its_words(remember: Remember, db: apsw.Connection) -> None:
    added = remember("zebras have stripes", paths=("zoo/zebra.py",), tags=("animal",))
    forget(db, added.id, "wrong")
    assert found(db, "zebra") == []
    unforget(db, added.id)
    assert found(db, "zebra") == [added.key]
    assert found(db, "animal") == [added.key]


def test_only_what_is_forgotten_and_said_by_no_other_comes_back(
    remember: Remember, db: apsw.Connection
) -> None:
    added = remember("a fact")
    with pytest.raises(Conflict, match="is active, not forgotten"):
        unforget(db, added.id)
    forget(db, added.id, "")
    twin = remember("a fact", id=new_id())
    with pytest.raises(Conflict, match=twin.id):
        unforget(db, added.id)
    with pytest.raises(NotFound):
        unforget(db, new_id())
