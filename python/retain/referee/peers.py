"""Any MCP server as a contestant: a JSON file says how it is started, and how its tools store and search.

    {"command": ["{root}/node_modules/.bin/mcp-server-memory"], "environment": {"MEMORY_FILE_PATH": "{home}/m.json"},
     "store": {"tool": "create_entities", "arguments": {"entities": [{"name": "{id}", "observations": ["{text}"]}]}},
     "search": {"tool": "search_nodes", "arguments": {"query": "{query}"}}}

``{root}`` is the folder of the file, ``{home}`` an empty folder; ``{k}`` alone is a number. Ids
are read from an answer in the order in which they first appear, so the id must be a part of what is stored.

Two parts may be left out. ``store_many`` stores several records in one call: its ``item`` is made for each record, and
``{items}`` in its arguments is the list of at most ``most`` of them. ``filtered`` searches among the records of one
``{tag}``, which ``store`` and ``store_many`` must then keep.
"""

from __future__ import annotations

import re
import string
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from retain.config import child_environment
from retain.errors import InvalidInput
from retain.referee.contestants import CALL_S_MAX
from retain.referee.sets import Record
from retain.referee.stdio_client import Server

TAG = "commit"

_ID = re.compile(r"[\w.:/+-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A tool and its arguments, with places to fill in."""

    tool: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A tool that stores several records, its arguments, what stands for each record in them, and how many it takes."""

    tool: str
    arguments: Mapping[str, Any]
    item: Mapping[str, Any]
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRecipe:
    """How a peer is started and asked; None for what it cannot do."""

    command: Sequence[str]
    environment: Mapping[str, str]
    store: Call
    search: Call
    store_many: Batch | None = None
    filtered: Call | None = None


def read_recipe(file: Path) -> PeerRecipe:
    """Reads the JSON file of a peer.

    Raises:
        InvalidInput: it cannot be read, or lacks a part.
    """
    try:
        given = orjson.loads(file.read_bytes())
        return PeerRecipe(
            command=list(given["command"]),
            environment=dict(given.get("environment", {})),
            store=Call(**given["store"]),
            search=Call(**given["search"]),
            store_many=Batch(**given["store_many"]) if "store_many" in given else None,
            filtered=Call(**given["filtered"]) if "filtered" in given else None,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput("contestant", f"{file}: {type(error).__name__}: {error}") from None


class Peer:
    """An MCP server over stdio, with a home of its own. It cannot leave out later records by itself."""

    filters_time = False

    def __init__(self, recipe: PeerRecipe, root: Path, home: Path, call_s_max: float = CALL_S_MAX) -> None:
        self._recipe = recipe
        self._known: set[str] = set()
        argv, environment = started(recipe, root, home)
        self._server = Server(argv, home, environment, deadline_s=call_s_max)
        self._server.greet()

    def load(self, records: Sequence[Record]) -> None:
        """Stores the records, one call each."""
        for record in records:
            self._known.add(record.id)
            values = {
                "id": record.id, "text": record.text, "time": record.moment.isoformat(), "tag": TAG,
            }  # fmt: skip
            self._call(self._recipe.store, values)

    def search(self, query: str, k: int, before: datetime | None) -> list[str]:
        """The ids in the answer, in the order in which they first appear."""
        assert before is None, "a peer is given no later records"
        answer = self._call(self._recipe.search, {"query": query, "k": k})
        return hit_ids(answer, self._known, k)

    def close(self) -> None:
        """Ends the server."""
        self._server.__exit__()

    def _call(self, call: Call, values: Mapping[str, Any]) -> str:
        arguments: dict[str, Any] = filled(dict(call.arguments), values)
        return self._server.call(call.tool, **arguments)


def hit_ids(answer: str, known: Collection[str], k: int) -> list[str]:
    """At most k of the known ids that an answer names, in the order in which they first appear."""
    return [one for one in dict.fromkeys(_ID.findall(answer)) if one in known][:k]


def started(recipe: PeerRecipe, root: Path, home: Path) -> tuple[list[str], dict[str, str]]:
    """The command of a peer that lives in a home, and its whole environment."""
    places = {"root": str(root), "home": str(home)}
    added = {name: filled(value, places) for name, value in recipe.environment.items()}
    argv = [filled(part, places) for part in recipe.command]
    return argv, child_environment(home) | {"HOME": str(home)} | added


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """The template with ``{name}`` replaced in its strings; a string that is one name takes the value itself."""
    if isinstance(template, Mapping):
        return {name: filled(value, values) for name, value in template.items()}
    if isinstance(template, list):
        return [filled(value, values) for value in template]
    if not isinstance(template, str):
        return template
    alone = template.removeprefix("{").removesuffix("}")
    if template == f"{{{alone}}}" and alone in values:
        return values[alone]
    return string.Formatter().vformat(template, (), values)
