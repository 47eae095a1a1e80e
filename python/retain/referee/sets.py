"""The sets and their files: ``corpus.jsonl.gz``, ``queries.jsonl.gz``, ``qrels.jsonl.gz`` in one folder.

corpus: id, group, text; where known ord (place in time), date, time (ISO 8601), kind.
queries: id, group, text, cat, split (``tune`` or ``test``); with ord, only records of a lower ord are searched.
qrels: qid, docid, rel (gain 1 or 2). A query without qrels has no answer.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from retain.errors import InvalidInput

CORPUS, QUERIES, QRELS = "corpus.jsonl.gz", "queries.jsonl.gz", "qrels.jsonl.gz"
SPLITS = ("tune", "test")
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

_FILES = re.compile(r"^Files: (.+ \(\+\d+ -\d+\).*)$", re.MULTILINE)
_FILE = re.compile(r"(.+?) \(\+\d+ -\d+\)(?:, |$)")
_TOUCHES = re.compile(r"^Touches: (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One thing to remember. ``moment`` grows with the order of the records of a group."""

    id: str
    group: str
    text: str
    moment: datetime
    ord: int | None = None
    kind: str = "commit"

    def parts(self) -> Parts:
        """Title, body, paths and symbols, read from the text of a record in the form of a commit."""
        files = _FILES.search(self.text)
        touches = _TOUCHES.search(self.text, files.end() if files else 0)
        end = min((match.start() for match in (files, touches) if match), default=len(self.text))
        title, _, body = self.text[:end].strip().partition("\n")
        return Parts(
            title=title if files or body else "",
            body=body.strip() or title,
            paths=tuple(_FILE.findall(files[1])) if files else (),
            symbols=tuple(touches[1].split(", ")) if touches else (),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The fields of a record's text."""

    title: str
    body: str
    paths: tuple[str, ...]
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One query. ``relevant`` holds the gain by record; empty where nothing answers it.

    Only records before the moment ``before`` may be searched; None searches all.
    """

    id: str
    group: str
    text: str
    cat: str
    split: str
    relevant: Mapping[str, int]
    before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedSet:
    """Records in order of time, by group, and the queries on them."""

    name: str
    records: Mapping[str, Sequence[Record]]
    questions: Sequence[Question]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A set as it is written: rows of the three files."""

    corpus: list[dict[str, Any]] = field(default_factory=list)
    queries: list[dict[str, Any]] = field(default_factory=list)
    qrels: list[dict[str, Any]] = field(default_factory=list)


def write_set(draft: Draft, folder: Path) -> None:
    """Writes the three files; the same set gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in ((CORPUS, draft.corpus), (QUERIES, draft.queries), (QRELS, draft.qrels)):
        data = b"".join(orjson.dumps(row) + b"\n" for row in rows)
        (folder / name).write_bytes(gzip.compress(data, mtime=0))


def read_set(folder: Path, split: str | None = None) -> JudgedSet:
    """Reads a set, or the queries of one split of it.

    Raises:
        InvalidInput: a file is missing or is not what it should be.
    """
    try:
        corpus = _rows(folder / CORPUS)
        gains: dict[str, dict[str, int]] = {}
        for row in _rows(folder / QRELS):
            gains.setdefault(row["qid"], {})[row["docid"]] = int(row["rel"])
        records = _in_order(corpus)
        moments = {group: _moments(of_group) for group, of_group in records.items()}
        questions = [
            Question(
                id=row["id"], group=row["group"], text=row["text"], cat=row.get("cat", ""),
                split=row.get("split", "test"), relevant=gains.get(row["id"], {}),
                before=_before(moments.get(row["group"], []), row.get("ord")),
            )
            for row in _rows(folder / QUERIES)
            if split is None or row.get("split", "test") == split
        ]  # fmt: skip
    except OSError as error:
        raise InvalidInput(
            "set",
            f"{error.filename or folder}: {error.strerror or error}",
            hint="`retain bench make` makes sets",
        ) from None
    except (ValueError, KeyError, TypeError, EOFError) as error:
        raise InvalidInput("set", f"{folder}: {type(error).__name__}: {error}") from None
    return JudgedSet(name=folder.name, records=records, questions=questions)


def _rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path) as file:
        return [orjson.loads(line) for line in file if line.strip()]


def _in_order(corpus: Iterable[Mapping[str, Any]]) -> dict[str, list[Record]]:
    """Records by group, in order; days and seconds that step back are moved behind the record before."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in corpus:
        groups.setdefault(row["group"], []).append(row)
    found: dict[str, list[Record]] = {}
    for group, rows in groups.items():
        last = EPOCH
        for row in sorted(rows, key=lambda row: row.get("ord", 0)):
            last = max(_moment(row), last + timedelta(seconds=1))
            record = Record(
                id=row["id"], group=group, text=row["text"], moment=last,
                ord=row.get("ord"), kind=row.get("kind", "commit"),
            )  # fmt: skip
            found.setdefault(group, []).append(record)
    return found


def _moment(row: Mapping[str, Any]) -> datetime:
    said = row.get("time") or row.get("date")
    if not said:
        return EPOCH
    try:
        moment = datetime.fromisoformat(said)
    except ValueError:  # a date in words, as conversations carry them: the order alone is known
        return EPOCH
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _moments(records: Sequence[Record]) -> list[tuple[int, datetime]]:
    return [(record.ord, record.moment) for record in records if record.ord is not None]


def _before(moments: Sequence[tuple[int, datetime]], ord_: int | None) -> datetime | None:
    """The moment of the first record that is not before this place; None where all of them are."""
    if ord_ is None:
        return None
    return next((moment for place, moment in moments if place >= ord_), None)
