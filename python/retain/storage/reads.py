"""What is read, each method on one connection inside one snapshot."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar, cast

import apsw
import orjson

from retain.errors import StoreCorrupt
from retain.model import Filter, Memory, Workspace, from_us
from retain.storage import postings
from retain.storage.conditions import condition
from retain.storage.rows import COLUMNS, TABLES, to_list, to_memory, unpacked

T = TypeVar("T")

WEIGHTS = (1.0, 1.0, 2.0, 1.0, 0.4)
"""bm25 weights of title, body, paths, symbols and context, chosen on tuning splits (docs/decisions.md)."""

BM25 = f"bm25(memory_fts, {', '.join(map(str, WEIGHTS))})"

IDS_PER_STATEMENT = 500
KEPT_MAX = 256
"""What a reader keeps of one state of the store."""

HISTOGRAM_BUCKETS = 32
COMMON_VALUES = 64
SAMPLED_ENTRIES = 1_024
"""Entries of a field with very many values that stand for all of them."""
PHRASES_COUNTED_MAX = 1_000

_INT, _TEXT = frozenset({int}), frozenset({str})

_COUNTED = {
    "kind": "SELECT kind, count(*) FROM memory GROUP BY 1",
    "status": "SELECT status, count(*) FROM memory GROUP BY 1",
    "origin": "SELECT origin, count(*) FROM memory GROUP BY 1",
    "trust": "SELECT trust, count(*) FROM memory GROUP BY 1",
    "branch": "SELECT branch, count(*) FROM memory WHERE branch IS NOT NULL GROUP BY 1",
    "session": "SELECT session, count(*) FROM memory WHERE session IS NOT NULL GROUP BY 1",
    "workspace": "SELECT w.id, count(*) FROM memory m JOIN workspace w ON w.key = m.workspace GROUP BY 1",
    "tag": "SELECT tag, count(*) FROM memory_tag GROUP BY 1",
    "path": "SELECT path, count(*) FROM memory_path GROUP BY 1",
}

_HAVING = {
    "tag": "SELECT count(DISTINCT memory) FROM memory_tag",
    "path": "SELECT count(DISTINCT memory) FROM memory_path",
}
"""How many memories have a field that may have several values."""


class Candidate(NamedTuple):
    """A row that fits; a tuple, because a recall makes a hundred of them.

    Attributes:
        key: of the memory.
        bm25: larger is better; 0 without text.
        occurred_us: when it happened.
        kind: of the memory.
        workspace: its key, where it was read.
        paths: the files that the memory names as JSON, where they were read.
    """

    key: int
    bm25: float
    occurred_us: int
    kind: str
    workspace: int = 0
    paths: str = "[]"


def candidates_of(rows: Iterable[Sequence[Any]]) -> list[Candidate]:
    """The rows as candidates.

    Raises:
        StoreCorrupt: damage has made a column another type.
    """
    found = [_whole(row) if len(row) == _WIDTH else Candidate(*row) for row in rows]
    if found:
        _, _, moments, kinds, _, paths = zip(*found, strict=True)
        if not (_INT.issuperset(map(type, moments)) and _TEXT.issuperset(map(type, kinds + paths))):
            damaged = next(one for one in found if not _is_sound(one))
            raise StoreCorrupt(f"row {damaged.key} of the store is damaged", hint="run `retain verify`")
    return found


_whole, _WIDTH = Candidate._make, len(Candidate._fields)
"""A row with every field becomes a candidate in half the time."""


def _is_sound(one: Candidate) -> bool:
    return type(one.occurred_us) is int and type(one.kind) is str and type(one.paths) is str


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldCounts:
    """How often the values of a field occur.

    Attributes:
        common: the most common values, each with its rows.
        distinct: how many values there are.
        rows: how many rows have the field.
        entries: how many values all rows have together.
        sample: an even sample of the entries, where the most common values leave many out.
    """

    common: tuple[tuple[str, int], ...]
    distinct: int
    rows: int
    entries: int = 0
    sample: tuple[str, ...] = ()


class Reader:
    """Queries over one read connection; not for use by two threads at once.

    Args:
        connection: to one store.
        lengths: of the rows of its full-text index, shared by every reader of the store; None keeps them for this one.
    """

    def __init__(self, connection: apsw.Connection, lengths: postings.RowLengths | None = None) -> None:
        self._db = connection
        self._lengths = lengths or postings.RowLengths()
        self.damaged: set[int] = set()
        self._state: tuple[int, int] | None = None
        self._kept: dict[Hashable, Any] = {}
        self._tokenizer = connection.fts5_tokenizer("porter", ["unicode61", "remove_diacritics", "2"])

    @property
    def connection(self) -> apsw.Connection:
        """The connection, for maintenance such as integrity checks."""
        return self._db

    def kept(self, name: Hashable, find: Callable[[], T]) -> T:
        """What ``find`` gives; found once for each state of the store that this connection sees.

        Args:
            name: of what is found, with everything that it depends on besides the store.
            find: reads it.
        """
        state = (int(self._db.pragma("data_version")), self._db.total_changes())
        if state != self._state or len(self._kept) >= KEPT_MAX:
            self._state, self._kept = state, {}
        if name not in self._kept:
            self._kept[name] = find()
        found: T = self._kept[name]
        return found

    def tokens(self, text: str) -> list[str]:
        """The stems of a text in order, exactly as the index made them."""
        data = text.encode("utf-8", "replace")
        found = self._tokenizer(
            data, apsw.FTS5_TOKENIZE_QUERY, None, include_offsets=False, include_colocated=False
        )
        return cast("list[str]", found)

    def document_frequencies(self, terms: Sequence[str]) -> dict[str, int]:
        """In how many memories each stem occurs; terms that occur nowhere are left out."""
        rows = self._db.execute(
            "SELECT v.term, v.doc FROM json_each(?) k CROSS JOIN memory_vocab v ON v.term = k.value",
            (to_list(terms),),
        )
        return {str(term): int(count) for term, count in rows}

    def terms_from(self, start: str, most: int) -> list[tuple[str, int]]:
        """Stems of the index that begin with ``start``, each with the number of its memories, in order."""
        rows = self._db.execute(
            "SELECT term, doc FROM memory_vocab WHERE term >= ? AND term < ? LIMIT ?",
            (start, start + "\U0010ffff", most),
        )
        return [(str(term), int(count)) for term, count in rows]

    def phrase_frequency(self, phrase: str) -> int:
        """In how many memories the words of a phrase stand side by side, counted up to a limit."""
        quoted = '"' + phrase.replace('"', '""') + '"'
        rows = self._db.execute(
            "SELECT count(*) FROM (SELECT 1 FROM memory_fts WHERE memory_fts MATCH ? LIMIT ?)",
            (quoted, PHRASES_COUNTED_MAX),
        )
        return int(rows.get)

    def lexical(self, match: str, where: Filter, limit: int) -> list[Candidate]:
        """The best rows by weighted bm25 that match the FTS5 expression and fit the filter."""
        sql, values = condition(where)
        rows = self._db.execute(
            f"SELECT m.key, -{BM25} AS score, m.occurred_us, m.kind, m.workspace, m.paths FROM memory_fts "
            f"CROSS JOIN memory m ON m.key = memory_fts.rowid WHERE memory_fts MATCH ? AND {sql} "
            "ORDER BY score DESC, m.key DESC LIMIT ?",
            (match, *values, limit),
        )
        return candidates_of(rows)

    def ranked(self, words: Sequence[Sequence[str]]) -> postings.Ranked | None:
        """The rows that hold some words (the stems of each); None where only FTS5 can tell."""
        index = self._index()
        if (
            index is None or self._db.txn_state("main") == apsw.SQLITE_TXN_WRITE
        ):  # FTS5 may hold words back still
            return None
        try:
            return postings.ranked(self._db, index, self._lengths, words, WEIGHTS)
        except ValueError:
            return None

    def read_lengths(self, start: int, most: int) -> int:
        """Reads the lengths of so many rows of the full-text index from a key on; where to go on, 0 at the end."""
        index, end = self._index(), self.total() + 1
        if index is None or start >= end:
            return 0
        upto = min(start + most, end)
        with suppress(ValueError):
            postings.read_lengths(self._db, self._lengths, index, range(start, upto))
        return upto

    def _index(self) -> postings.Index | None:
        return self.kept("index", lambda: postings.index_of(self._db))

    def filtered(self, where: Filter, limit: int, *, newest_first: bool = True) -> list[Candidate]:
        """The newest (or oldest) rows that fit the filter; a negative limit takes all."""
        sql, values = condition(where)
        order = "DESC" if newest_first else "ASC"
        rows = self._db.execute(
            "SELECT m.key, 0.0, m.occurred_us, m.kind FROM memory m "
            f"WHERE {sql} ORDER BY m.occurred_us {order}, m.key {order} LIMIT ?",
            (*values, limit),
        )
        return candidates_of(rows)

    def unfixed_errors(self, workspace_id: str, limit: int) -> list[int]:
        """Keys of the newest active errors of a workspace that no fix is linked to."""
        rows = self._db.execute(
            "SELECT m.key FROM memory m JOIN workspace w ON w.key = m.workspace "
            "WHERE w.id = ? AND m.kind = 'error' AND m.status = 'active' AND NOT EXISTS "
            "(SELECT 1 FROM memory_link l WHERE l.target = m.key AND l.kind = 'fixes') "
            "ORDER BY m.occurred_us DESC, m.key DESC LIMIT ?",
            (workspace_id, limit),
        )
        return [int(key) for (key,) in rows]

    def load(self, keys: Sequence[int]) -> dict[int, Memory]:
        """Memories by key, their content hashes checked.

        One whose text is not the one that was stored is left out and noted in ``damaged``: it must neither be shown
        nor keep the others from being shown. Whoever asks for it by its id gets the error.
        """
        found: dict[int, Memory] = {}
        for start in range(0, len(keys), IDS_PER_STATEMENT):
            for row in self._rows(keys[start : start + IDS_PER_STATEMENT]):
                try:
                    found[row[0]] = to_memory(row)
                except StoreCorrupt:
                    self.damaged.add(row[0])
        return found

    def _rows(self, keys: Sequence[int]) -> list[Any]:
        """Rows of memories; where one of them holds what is no text any more, the others."""
        sql = f"SELECT {COLUMNS} FROM {TABLES} WHERE m.key IN ({_marks(keys)})"
        try:
            return self._db.execute(sql, tuple(keys)).fetchall()
        except UnicodeDecodeError:
            if len(keys) == 1:
                self.damaged.add(keys[0])
                return []
            return [row for key in keys for row in self._rows([key])]

    def texts(self, keys: Sequence[int]) -> Iterator[tuple[int, str]]:
        """Title, text, paths and symbols of memories by key as one text; not checked, so nothing to be shown."""
        rows = self._db.execute(
            "SELECT m.key, m.id, m.title, m.body, m.paths, m.symbols, b.codec, b.data FROM json_each(?) k "
            "CROSS JOIN memory m ON m.key = k.value LEFT JOIN memory_body b ON b.memory = m.key",
            (to_list(keys),),
        )
        for key, memory_id, title, body, paths, symbols, codec, data in rows:
            text = body if body is not None else unpacked(memory_id, codec, data)
            yield key, "\n".join((title, text, *orjson.loads(paths), *orjson.loads(symbols)))

    def titles(self, keys: Sequence[int]) -> Iterator[tuple[int, str]]:
        """Titles of memories by key; not checked, so nothing to be shown."""
        rows = self._db.execute(
            "SELECT m.key, m.title FROM json_each(?) k CROSS JOIN memory m ON m.key = k.value",
            (to_list(keys),),
        )
        return ((int(key), str(title)) for key, title in rows)

    def by_ids(self, ids: Sequence[str]) -> dict[str, Memory]:
        """Memories by id, in any status."""
        return memories_by_id(self._db, ids)

    def links(self, memory_id: str) -> list[tuple[str, str, str]]:
        """Links of a memory as (kind, direction, id of the other one)."""
        rows = self._db.execute(
            "SELECT l.kind, 'to', o.id FROM memory_link l JOIN memory m ON m.key = l.source "
            "JOIN memory o ON o.key = l.target WHERE m.id = ? UNION ALL "
            "SELECT l.kind, 'from', o.id FROM memory_link l JOIN memory m ON m.key = l.target "
            "JOIN memory o ON o.key = l.source WHERE m.id = ? ORDER BY 1, 2, 3",
            (memory_id, memory_id),
        )
        return [(str(kind), str(direction), str(other)) for kind, direction, other in rows]

    def workspace_at(self, path: str) -> Workspace | None:
        """The workspace that was seen at this place before."""
        return self._workspace("JOIN workspace_alias a ON a.workspace = w.key WHERE a.path = ?", path)

    def workspace_by_id(self, workspace_id: str) -> Workspace | None:
        """The workspace with this id."""
        return self._workspace("WHERE w.id = ?", workspace_id)

    def _workspace(self, tail: str, value: str) -> Workspace | None:
        row = self._db.execute(
            f"SELECT w.id, w.identity, w.name, w.root FROM workspace w {tail}", (value,)
        ).fetchone()
        return Workspace(id=row[0], identity=row[1], name=row[2], root=row[3]) if row else None

    def workspaces(self) -> list[tuple[Workspace, int]]:
        """Every workspace with its number of active memories."""
        rows = self._db.execute(
            "SELECT w.id, w.identity, w.name, w.root, count(m.key) FROM workspace w "
            "LEFT JOIN memory m ON m.workspace = w.key AND m.status = 'active' GROUP BY w.key ORDER BY w.name"
        )
        return [(Workspace(id=i, identity=y, name=n, root=r), c) for i, y, n, r, c in rows]

    def workspace_key(self, workspace_id: str) -> int | None:
        """The internal key of a workspace."""
        row = self._db.execute("SELECT key FROM workspace WHERE id = ?", (workspace_id,)).fetchone()
        return int(row[0]) if row else None

    def total(self) -> int:
        """Upper bound of the number of memories, in constant time."""
        return self._number("SELECT coalesce(max(key), 0) FROM memory")

    def indexed(self) -> int:
        """Number of memories in the full-text index, by which its bm25 weighs words; in constant time.

        FTS5 keeps it as the first number of the record of averages (row 1 of its data table, a varint of SQLite).
        """
        block = self._db.execute("SELECT block FROM memory_fts_data WHERE id = 1").get
        number = 0
        for byte in block or b"":
            number = number << 7 | byte & 0x7F
            if byte < 0x80:
                break
        return number

    def _number(self, sql: str) -> int:
        row = self._db.execute(sql).fetchone()
        return int(row[0]) if row else 0

    def field_counts(self, field: str) -> FieldCounts:
        """The values of a field and how often they occur, for the planner's statistics."""
        pairs = self._pairs(_COUNTED[field] + " ORDER BY 2 DESC")
        rows = self._number(_HAVING[field]) if field in _HAVING else sum(count for _, count in pairs)
        return FieldCounts(
            common=tuple(pairs[:COMMON_VALUES]),
            distinct=len(pairs),
            rows=rows,
            entries=sum(count for _, count in pairs),
            sample=_sample(sorted(pairs)) if len(pairs) > COMMON_VALUES else (),
        )

    def time_bounds(self) -> list[int]:
        """Bounds of an equi-depth histogram of occurred_us, low to high, at least two; empty without memories."""
        total = int(self._db.execute("SELECT count(*) FROM memory").get)
        if total == 0:
            return []
        step = max(1, total // HISTOGRAM_BUCKETS)
        rows = self._db.execute(
            "SELECT occurred_us FROM (SELECT occurred_us, row_number() OVER (ORDER BY occurred_us) AS n "
            "FROM memory) WHERE (n - 1) % ? = 0 OR n = ? ORDER BY n",
            (step, total),
        )
        bounds = [int(us) for (us,) in rows]
        return bounds if len(bounds) > 1 else bounds * 2

    def counts(self) -> dict[str, Any]:
        """Numbers of memories by kind and status, sessions, receipts by outcome, dead letters, redactions."""
        return {
            "memories": dict(self._pairs("SELECT status, count(*) FROM memory GROUP BY 1")),
            "kinds": dict(
                self._pairs("SELECT kind, count(*) FROM memory WHERE status = 'active' GROUP BY 1")
            ),
            "sessions": int(self._db.execute("SELECT count(*) FROM session").get),
            "events": dict(self._pairs("SELECT outcome, count(*) FROM event_receipt GROUP BY 1")),
            "dead_letters": int(self._db.execute("SELECT count(*) FROM dead_letter").get),
            "redacted": dict(
                self._pairs(
                    "SELECT j.key, sum(j.value) FROM event_receipt r, json_each(r.redacted) j "
                    "WHERE r.redacted != '{}' GROUP BY 1 ORDER BY 1"
                )
            ),
        }

    def _pairs(self, sql: str) -> list[tuple[str, int]]:
        return [(str(name), int(count)) for name, count in self._db.execute(sql)]

    def dead_letters(self, limit: int) -> list[Mapping[str, Any]]:
        """The newest events that could not be digested, and why."""
        rows = self._db.execute(
            "SELECT id, received_us, error FROM dead_letter ORDER BY received_us DESC LIMIT ?", (limit,)
        )
        return [{"id": i, "received_at": from_us(us).isoformat(), "error": error} for i, us, error in rows]

    def fact(self, name: str) -> Any:
        """A fact that was kept, or None."""
        row = self._db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return orjson.loads(row[0]) if row else None


def _sample(pairs: Sequence[tuple[str, int]]) -> tuple[str, ...]:
    """Entries at even distances, in the order of their values: as good as a histogram over them."""
    ends = list(accumulate(count for _, count in pairs))
    taken = min(SAMPLED_ENTRIES, ends[-1])
    places = (bisect_right(ends, (2 * n + 1) * ends[-1] // (2 * taken)) for n in range(taken))
    return tuple(pairs[place][0] for place in places)


def memories_by_id(db: apsw.Connection, ids: Sequence[str]) -> dict[str, Memory]:
    """Memories by id, in any status; a write reads back what it stored inside its own transaction."""
    found: dict[str, Memory] = {}
    for start in range(0, len(ids), IDS_PER_STATEMENT):
        part = ids[start : start + IDS_PER_STATEMENT]
        rows = db.execute(f"SELECT {COLUMNS} FROM {TABLES} WHERE m.id IN ({_marks(part)})", tuple(part))
        found |= {row[2]: to_memory(row) for row in rows}
    return found


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
