"""``retain publish``: what the user decided and noted, in a file between markers; only on request."""

from __future__ import annotations

import difflib
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from retain.git.lineage import FRESH, UNVERIFIABLE
from retain.interfaces import client_files, replies
from retain.interfaces.commands import with_memory
from retain.retrieval import publishing
from retain.retrieval.context import one_line

if TYPE_CHECKING:
    from retain.interfaces.cli import Output
    from retain.memory.service import MemoryService
    from retain.model import Memory

PUBLISHED = frozenset({FRESH, UNVERIFIABLE})
"""States of what may stand in a file as a fact; a mark would not be looked at again there."""


NOTHING = "there is nothing to publish. Only decisions and notes of your own are: retain remember --kind decision TEXT"


def publish(arguments: Namespace, out: Output) -> int:
    """Writes the block into a file, or takes it out again.

    Raises:
        InvalidInput: the file cannot be read or written, or its markers are broken; it was not touched.
        Conflict: somebody changed the file meanwhile.
    """
    file = client_files.read_plain_file(Path(arguments.file), "file")
    before = file.data or b""
    ids: tuple[str, ...] = ()
    if arguments.remove:
        after = publishing.without_block(before)
    else:
        kinds = tuple(arguments.kind or publishing.KINDS)
        found = with_memory(
            arguments,
            lambda memory: told_by_user(memory, kinds, arguments.limit, workspace=arguments.workspace),
        )
        ids = tuple(memory.id for memory in found)
        has_block = publishing.without_block(before) != before
        after = (
            publishing.with_block(before, list(map(publishing.line_of, found)))
            if found or has_block
            else before
        )
    changes = after != before
    if changes and not arguments.dry_run:
        client_files.overwrite(file, after)
        with_memory(arguments, lambda memory: memory.audit.published(len(ids)))
    value = {
        "file": str(file.path), "changed": changes, "dry_run": arguments.dry_run, "ids": ids,
        "bytes": len(after),
    }  # fmt: skip
    told = _told(arguments, str(file.path), before, after, len(ids))
    out.answer(value, told, as_is=arguments.dry_run)
    return replies.EXIT_OK


async def told_by_user(
    memory: MemoryService, kinds: Sequence[str], limit: int, *, workspace: str | None = None
) -> list[Memory]:
    """What may be published of a workspace: the newest of these kinds that the user said and that holds."""
    wanted = {"and": [{"kind": list(kinds)}, {"trust": ["user", "confirmed"]}]}
    found = await memory.recall("", filter=wanted, limit=limit, workspace=workspace)
    holding = [hit.memory for hit in found.hits if hit.state in PUBLISHED]
    return publishing.chosen(holding, limit)


def _told(arguments: Namespace, path: str, before: bytes, after: bytes, count: int) -> str:
    shown = one_line(path, 300)
    why = "." if arguments.remove or count else f": {NOTHING}"
    if arguments.dry_run:
        old, new = (data.decode("utf-8", "replace").splitlines() for data in (before, after))
        difference = difflib.unified_diff(old, new, fromfile=shown, tofile=shown, lineterm="")
        return replies.printable("\n".join(difference)) or f"{shown} would stay as it is{why}"
    if after == before:
        return f"{shown} is as it was{why}"
    if arguments.remove:
        return f"The block is out of {shown}."
    named = replies.counted(count, "memory", "memories")
    return f"{named} in {shown}, between {publishing.BEGIN.decode()} and its end."
