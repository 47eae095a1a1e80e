"""Between a Memory and its row: JSON columns, compressed bodies, content hashes."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import orjson

from retain.errors import StoreCorrupt
from retain.model import Draft, Memory, from_us

INLINE_BYTES_MAX = 2_048
"""Texts up to this size lie in the row itself; larger ones in memory_body."""

PLAIN, ZLIB = 0, 1
ZLIB_LEVEL = 6

COLUMNS = (
    "m.key, w.id, m.id, m.kind, m.title, m.body, m.paths, m.symbols, m.tags, m.origin, m.status, m.branch, "
    "m.commit_id, m.session, m.occurred_us, m.recorded_us, m.seen, m.source_id, m.content_hash, m.supersedes, "
    "m.superseded_by, m.reason, m.extra, m.redacted, m.worktree, m.dirty, m.blobs, m.trust, m.held, b.codec, b.data"
)
TABLES = "memory m JOIN workspace w ON w.key = m.workspace LEFT JOIN memory_body b ON b.memory = m.key"

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_TEXT_OR_NONE = frozenset({str, type(None)})


def content_hash(kind: str, title: str, text: str) -> bytes:
    """What is checked on every read: BLAKE2b-128 of kind, title and text."""
    return _hash(kind, title, text)


def dedup_hash(draft: Draft) -> bytes:
    """Equal for two drafts exactly where they are duplicates: all that a user would see is the same."""
    return _hash(draft.kind, draft.title, draft.text, to_json(draft.paths), to_json(sorted(draft.tags)))


def _hash(*parts: str) -> bytes:
    framed: list[bytes] = []
    for part in parts:
        data = part.encode()
        framed += (len(data).to_bytes(8, "little"), data)
    return blake2b(b"".join(framed), digest_size=16).digest()


def split_body(text: str) -> tuple[str | None, tuple[int, bytes] | None]:
    """Where a text is stored: in the row, or as (codec, data) out of it."""
    data = text.encode()
    if len(data) <= INLINE_BYTES_MAX:
        return text, None
    packed = zlib.compress(data, ZLIB_LEVEL)
    return None, (ZLIB, packed) if len(packed) < len(data) else (PLAIN, data)


def to_json(value: Any) -> str:
    """JSON text of a column."""
    return orjson.dumps(value).decode()


def to_list(values: Sequence[str] | Sequence[int]) -> str:
    """JSON text of words or keys that a question is asked with.

    Not by orjson (3.13 and before): it does not look whether it got room for what it writes, and where there is none
    the process ends by SIGSEGV. Under a memory limit a server must be able to say that there is none.

    Raises:
        MemoryError: there is no room.
    """
    return _ENCODER.encode(values)


def to_memory(row: Sequence[Any]) -> Memory:
    """The memory of a row of ``COLUMNS``.

    Raises:
        StoreCorrupt: its text does not have the hash that was stored with it, or a column cannot be read.
    """
    try:
        return _memory(row)
    except (ValueError, TypeError, OverflowError) as error:
        raise StoreCorrupt(f"memory {row[2]} cannot be read: {error}", hint="run `retain verify`") from error


def _memory(row: Sequence[Any]) -> Memory:
    (_, workspace, memory_id, kind, title, body, paths, symbols, tags, origin, status, branch, commit,
     session, occurred_us, recorded_us, seen, source_id, stored_hash, supersedes, superseded_by, reason,
     extra, redacted, worktree, dirty, blobs, trust, held, codec, data) = row  # fmt: skip
    text = body if body is not None else unpacked(memory_id, codec, data)
    named = (memory_id, origin, status, branch, commit, session, worktree, source_id, reason, trust, held)
    if not _TEXT_OR_NONE.issuperset(map(type, named)):
        raise TypeError("a text is none")  # damage can make it bytes, or a number
    if content_hash(kind, title, text) != stored_hash:
        raise StoreCorrupt(
            f"memory {memory_id} does not have the content that was stored", hint="run `retain verify`"
        )
    return Memory(
        id=memory_id,
        workspace=workspace,
        kind=kind,
        title=title,
        text=text,
        paths=tuple(orjson.loads(paths)),
        symbols=tuple(orjson.loads(symbols)),
        tags=tuple(orjson.loads(tags)),
        origin=origin,
        trust=trust,
        held=held,
        status=status,
        branch=branch,
        commit=commit,
        worktree=worktree,
        dirty=None if dirty is None else bool(dirty),
        blobs=orjson.loads(blobs) if blobs else {},
        session=session,
        occurred_at=from_us(occurred_us),
        recorded_at=from_us(recorded_us),
        source_id=source_id,
        supersedes=supersedes,
        superseded_by=superseded_by,
        reason=reason,
        content_hash=stored_hash.hex(),
        seen=seen,
        extra=orjson.loads(extra),
        redacted=orjson.loads(redacted),
    )


def unpacked(memory_id: str, codec: int | None, data: bytes | None) -> str:
    """The text that lies out of its row.

    Raises:
        StoreCorrupt: it cannot be read.
    """
    try:
        if data is None:
            raise ValueError
        return (zlib.decompress(data) if codec == ZLIB else data).decode()
    except (ValueError, zlib.error):
        raise StoreCorrupt(
            f"the text of memory {memory_id} cannot be read", hint="run `retain verify`"
        ) from None
