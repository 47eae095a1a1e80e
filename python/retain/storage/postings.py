"""bm25 of a question's words from the pages of the full-text index, to the last bit as FTS5 gives it, for less.

Of what ranking takes FTS5, two thirds are one look-up a row for its length, and each word is counted once more. Here
the pages of the words are read as they lie, inside the same snapshot, and the lengths of rows are kept for the process.
What is not as expected is left to FTS5: another version of the format, or a page that cannot be read.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

import apsw

from retain._core import Postings, RowLengths, ascending_keys
from retain.storage.rows import to_json, to_list

__all__ = ["Index", "Ranked", "RowLengths", "index_of", "keys_of_list", "ranked", "read_lengths"]

FORMAT = 4
"""The version of the format of FTS5 that is read here."""

STRUCTURE, AVERAGES = 10, 1
"""Rows of the data table of FTS5 that list the segments, and count rows and tokens."""

SEGMENT_BITS = 37
DELETED_SEGMENT = 1 << 16
LISTED = b"\xff\x00\x00\x01"
"""What a list of segments begins with that tells of deleted rows, behind four bytes of a cookie."""


MAIN = b"0"
"""What each term begins with in an index without prefixes."""


class Segment(NamedTuple):
    """A segment: its number, its first and last page, its newest flush, and how many pages of deleted rows it has."""

    number: int
    first: int
    last: int
    newest: int
    deleted: int


class Index(NamedTuple):
    """The full-text index of a snapshot.

    Attributes:
        segments: that it is made of.
        deleted: of each its pages of deleted rows.
        places: number and first page of each, as JSON.
        flushes: the number of the next flush.
        rows: in the index.
        tokens: of all rows.
    """

    segments: tuple[Segment, ...]
    deleted: tuple[list[bytes], ...]
    places: str
    flushes: int
    rows: int
    tokens: int


def index_of(db: apsw.Connection) -> Index | None:
    """What the index of a snapshot is made of; None where its format is another."""
    version = db.execute("SELECT v FROM memory_fts_config WHERE k = 'version'").get
    block = db.execute("SELECT block FROM memory_fts_data WHERE id = ?", (STRUCTURE,)).get
    averages = db.execute("SELECT block FROM memory_fts_data WHERE id = ?", (AVERAGES,)).get
    if version != FORMAT or not block or block[4:8] != LISTED or not averages:
        return None
    segments, flushes = _segments(block)
    rows, *tokens = _numbers(averages, 0)
    deleted = tuple(_deleted(db, one) for one in segments)
    places = to_json([(one.number, one.first) for one in segments])
    return Index(tuple(segments), deleted, places, flushes, rows, sum(tokens))


def _segments(block: bytes) -> tuple[list[Segment], int]:
    """The segments that the index is made of, and the number of the next flush."""
    levels, _, _, *rest = _numbers(block, 8)
    numbers = iter(rest)
    found = []
    for _ in range(levels):
        next(numbers)
        for _ in range(next(numbers)):
            number, first, last, _, newest, deleted, _, _ = (next(numbers) for _ in range(8))
            found.append(Segment(number, first, last, newest, deleted))
    return found, 1 + max((one.newest for one in found), default=0)


def _deleted(db: apsw.Connection, segment: Segment) -> list[bytes]:
    start = (segment.number + DELETED_SEGMENT) << SEGMENT_BITS
    rows = db.execute(
        "SELECT block FROM memory_fts_data WHERE id >= ? AND id < ?", (start, start + segment.deleted)
    )
    return [block for (block,) in rows]


def _numbers(data: bytes, at: int) -> list[int]:
    """Numbers as SQLite writes them, up to the end."""
    found, value, length = [], 0, 0
    for byte in data[at:]:
        length += 1
        value = value << 8 | byte if length == 9 else value << 7 | byte & 0x7F
        if byte < 0x80 or length == 9:
            found.append(value)
            value = length = 0
    return found


class Ranked:
    """The rows of some words, to be ranked.

    Args:
        db: a connection, inside the snapshot of the index.
        index: of that snapshot.
        rows: of the words.
        lengths: of rows, as far as they were read before.
    """

    def __init__(self, db: apsw.Connection, index: Index, rows: Postings, lengths: RowLengths) -> None:
        self._db = db
        self._index = index
        self._rows = rows
        self._lengths = lengths

    def keep(self, keys: array[int]) -> None:
        """Leaves only the rows with these keys (int64), given ascending."""
        self._rows.keep(keys)

    def best(self, most: int) -> list[tuple[int, float]]:
        """The best rows with their bm25, larger is better; of equal ones the newer key first.

        Raises:
            ValueError: a length cannot be read.
        """
        missing = self._rows.missing(self._lengths)
        if missing:
            read_lengths(self._db, self._lengths, self._index, missing)
        return self._rows.best(self._lengths, self._index.rows, self._index.tokens, most)


def keys_of_list(text: str) -> array[int]:
    """The keys of a JSON list, ascending and each once; of 50,000 in a thirtieth of the time that Python takes."""
    keys = array("q")
    keys.frombytes(ascending_keys(text))
    return keys


def read_lengths(db: apsw.Connection, lengths: RowLengths, index: Index, keys: Sequence[int]) -> None:
    """Reads how many tokens rows have.

    Raises:
        ValueError: a length cannot be read.
    """
    rows = db.execute(
        "SELECT group_concat(d.id || ' ' || d.origin || ' ' || hex(d.sz)) FROM json_each(?) k "
        "CROSS JOIN memory_fts_docsize d ON d.id = k.value",
        (to_list(list(keys)),),
    ).get
    lengths.put(rows or "", index.flushes)


def ranked(
    db: apsw.Connection,
    index: Index,
    lengths: RowLengths,
    words: Sequence[Sequence[str]],
    weights: Sequence[float],
) -> Ranked:
    """The rows that hold some words.

    Args:
        db: a connection, inside the snapshot of the index.
        index: of that snapshot.
        lengths: of rows, as far as they were read before.
        words: the stems of each, several for a phrase; the order is that of the sum.
        weights: of the columns.

    Raises:
        ValueError: a page cannot be read.
    """
    rows = Postings(weights)
    for segment, deleted in zip(index.segments, index.deleted, strict=True):
        rows.segment(segment.newest, deleted)
    for stems in words:
        for place in range(len(stems) - 1, -1, -1):  # the last stem of an identifier is mostly the rarest
            _look_up(db, index, rows, stems[place])
            if len(stems) > 1:
                rows.part(place)
        if len(stems) > 1:
            rows.phrase()
        else:
            rows.end()
    return Ranked(db, index, rows, lengths)


def _look_up(db: apsw.Connection, index: Index, rows: Postings, stem: str) -> None:
    """Reads the lists of a stem.

    Raises:
        ValueError: a page is missing, or cannot be read.
    """
    term = MAIN + stem.encode()
    leaves = db.execute(_LEAVES, (term, index.places)).fetchall()
    blocks = [block for _, block in leaves if isinstance(block, bytes)]
    if len(blocks) < len(leaves):
        raise ValueError("a page of the full-text index is missing")
    for number in rows.begin(term, blocks):
        end = (index.segments[number].number << SEGMENT_BITS) + index.segments[number].last
        for (page,) in db.execute(_PAGES, (leaves[number][0], end)):
            if not rows.extend(number, page):
                break


_LEAVES = (
    "SELECT s.page, (SELECT block FROM memory_fts_data WHERE id = s.page) FROM (SELECT "
    f"((value ->> 0) << {SEGMENT_BITS}) + max(value ->> 1, coalesce((SELECT pgno >> 1 FROM memory_fts_idx "
    "WHERE segid = value ->> 0 AND term <= ?1 ORDER BY term DESC LIMIT 1), 0)) AS page FROM json_each(?2)) s"
)
"""The leaf of each segment that a term stands in, if any does."""

_PAGES = "SELECT block FROM memory_fts_data WHERE id > ? AND id <= ? ORDER BY id"
