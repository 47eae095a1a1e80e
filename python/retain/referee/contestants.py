"""Who can be asked: an adapter takes records and answers queries. Here plain FTS5 and retain itself."""

from __future__ import annotations

import asyncio
import bisect
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import apsw

from retain.config import child_environment, read_settings
from retain.errors import InvalidInput
from retain.memory.embedding import Embedding
from retain.memory.opening import open as open_memory
from retain.referee.sets import Record
from retain.referee.stdio_client import MEMORY_ID, Server
from retain.retrieval.models import MODEL_FILE, model_folder, open_model
from retain.storage.sqlite import SqliteStore

TITLE_CHARS_MAX = 200
CALL_S_MAX = 60.0

_WORD = re.compile(r"\w+")


class Contestant(Protocol):
    """What is judged. Records come in order of time; ``close`` ends every process that it started.

    ``filters_time`` says whether ``search`` can leave out later records itself. Of one that cannot, the run
    asks each query before it adds the records that are later than the query.
    """

    filters_time: bool

    def load(self, records: Sequence[Record]) -> None:
        """Takes further records, all later than those before."""

    def search(self, query: str, k: int, before: datetime | None) -> list[str]:
        """Ids of at most k records, best first; nothing where the contestant abstains."""

    def close(self) -> None:
        """Gives everything back."""


class PlainFts5:
    """SQLite's FTS5 out of the box: porter, one column, words joined by OR, order by bm25."""

    filters_time = True

    def __init__(self) -> None:
        self._db = apsw.Connection(":memory:")
        self._db.execute("CREATE VIRTUAL TABLE t USING fts5(text, tokenize = 'porter')")
        self._ids: list[str] = []
        self._moments: list[datetime] = []

    def load(self, records: Sequence[Record]) -> None:
        """Adds the texts; row ids grow with time."""
        first = len(self._ids)
        self._ids += [record.id for record in records]
        self._moments += [record.moment for record in records]
        with self._db:
            self._db.executemany(
                "INSERT INTO t (rowid, text) VALUES (?, ?)",
                [(first + i, record.text) for i, record in enumerate(records)],
            )

    def search(self, query: str, k: int, before: datetime | None) -> list[str]:
        """Best bm25 first."""
        end = len(self._ids) if before is None else bisect.bisect_left(self._moments, before)
        match = " OR ".join(f'"{word}"' for word in dict.fromkeys(_WORD.findall(query)))
        if not match:
            return []
        rows = self._db.execute(
            "SELECT rowid FROM t WHERE t MATCH ? AND rowid < ? ORDER BY bm25(t) LIMIT ?", (match, end, k)
        )
        return [self._ids[int(rowid)] for (rowid,) in rows]

    def close(self) -> None:
        """Drops the index."""
        self._db.close()


class RetainApi:
    """retain in this process, through ``retain.open``: the same recall without the pipe."""

    filters_time = True

    def __init__(self, home: Path, settings: Mapping[str, Any]) -> None:
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._records: dict[str, list[str]] = {}
        opened = open_memory(home, folder=home, origin="user", **settings)
        self._memory = self._runner.run(self._stack.enter_async_context(opened))

    def load(self, records: Sequence[Record]) -> None:
        """Stores the records as memories, as an import does."""
        stored = self._runner.run(self._memory.remember_many([item_of(record) for record in records]))
        for record, memory in zip(records, stored, strict=True):
            self._records.setdefault(memory.id, []).append(record.id)

    def search(self, query: str, k: int, before: datetime | None) -> list[str]:
        """Asks ``recall``."""
        found = self._runner.run(self._memory.recall(query, filter=until(before), limit=k))
        return self.records_of([hit.memory.id for hit in found.hits])[:k]

    def records_of(self, memories: Sequence[str]) -> list[str]:
        """The records behind memories; records with the same content are one memory."""
        return [record for memory in memories for record in self._records.get(memory, ())]

    def close(self) -> None:
        """Closes the store."""
        try:
            self._runner.run(self._stack.aclose())
        finally:
            self._runner.close()


class RetainModel(RetainApi):
    """The same where a model serves: each record has its vector before a question is asked.

    Args:
        home: data directory, new.
        settings: as for ``retain.open``.
        model: folder of the model, copied as if it were installed.

    Raises:
        InvalidInput: no model lies there.
    """

    def __init__(self, home: Path, settings: Mapping[str, Any], model: Path) -> None:
        if not (model / MODEL_FILE).exists():
            raise InvalidInput("contestant", f"no model in {model}", hint="retain model install")
        chosen = read_settings(home, dict(settings))[0]
        shutil.copytree(model, model_folder(chosen))
        super().__init__(home, settings)
        store = self._runner.run(SqliteStore.open(chosen))
        self._stack.push_async_callback(store.close)
        self._embedding = Embedding(chosen, store, partial(open_model, chosen))
        self._stack.push_async_callback(self._embedding.close)

    def load(self, records: Sequence[Record]) -> None:
        """Stores the records and makes their vectors, as a live server does in the background."""
        super().load(records)
        self._runner.run(self._embedding.run())


class RetainServed:
    """retain as Claude Code has it: a ``retain serve`` child, asked through its tools over stdio.

    Records come into the store as an import writes them, while the child runs.
    """

    def __init__(self, home: Path, settings: Mapping[str, Any], tool: str = "recall") -> None:
        self.filters_time = tool == "recall"
        self._tool = tool
        self._store = RetainApi(home, settings)
        self._stack = ExitStack()
        self._stack.callback(self._store.close)
        environment = child_environment(home) | {"CLAUDE_PROJECT_DIR": str(home)}
        environment |= {f"RETAIN_{name.upper()}": str(value) for name, value in settings.items()}
        argv = [sys.executable, "-m", "retain", "serve"]
        self._server = self._stack.enter_context(Server(argv, home, environment, deadline_s=CALL_S_MAX))
        self._server.greet()

    def load(self, records: Sequence[Record]) -> None:
        """Stores the records."""
        self._store.load(records)

    def search(self, query: str, k: int, before: datetime | None) -> list[str]:
        """Calls the tool and reads the ids at the ends of its lines."""
        if self._tool == "context":
            text = self._server.call("context", prompt=query)
        else:
            limits = {} if before is None else {"filter": until(before)}
            text = self._server.call("recall", query=query, limit=k, **limits)
        lines = (line for line in text.splitlines() if line.startswith("- "))
        found = [ids[-1] for line in lines if (ids := MEMORY_ID.findall(line))]
        return self._store.records_of(found)[:k]

    def close(self) -> None:
        """Ends the child and closes the store."""
        self._stack.close()


def item_of(record: Record) -> dict[str, Any]:
    """A record as ``retain import jsonl`` takes it."""
    parts = record.parts()
    return {
        "text": parts.body,
        "title": parts.title[:TITLE_CHARS_MAX] or None,
        "kind": record.kind,
        "paths": parts.paths,
        "symbols": parts.symbols,
        "occurred_at": record.moment,
    }


def until(before: datetime | None) -> dict[str, Any] | None:
    """The filter for records before a moment."""
    return None if before is None else {"until": before.isoformat()}
