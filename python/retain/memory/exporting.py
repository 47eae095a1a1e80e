"""Export and import of whole memories: JSON lines for programs, Markdown for people, both read again.

Each record holds all that a memory is: id, times, status, origin, links. Into an empty store and out again gives
the same bytes. The last line carries a sum over the lines before it, so that a file that was cut short is refused.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from itertools import islice
from typing import IO, Any

import apsw
import orjson

from retain import keys
from retain.config import Settings
from retain.errors import Conflict, InvalidInput
from retain.memory import inputs
from retain.memory.workspaces import Workspaces
from retain.model import KINDS, ORIGINS, STATUSES, new_id
from retain.sealing import SealedWriter, Unsealable, unsealed
from retain.storage import exports, imports, writes
from retain.storage.audit import BY_IMPORT
from retain.storage.reads import Reader
from retain.storage.sqlite import SqliteStore
from retain.trust import TRUSTS

FORMATS = ("jsonl", "markdown")
HEADER = b'{"retain_export":1}\n'
MARKDOWN_HEADER = b"<!-- retain export 1 -->\n"
COMMENT, END = b"<!-- retain ", b" -->\n"
LINE_BYTES_MAX = 64 * 1024 * 1024
BATCH_RECORDS = 200

_TEXTS = ("id", "kind", "title", "text", "origin", "status")
_MAYBE = ("branch", "commit", "session", "source_id", "supersedes", "superseded_by", "reason", "worktree")
_LISTS = ("paths", "symbols", "tags")
_COUNTS = ("occurred_us", "recorded_us", "seen")
_PLACE = ("id", "identity", "name", "root")
_LATER: Mapping[str, Any] = {
    "worktree": None, "dirty": None, "blobs": {}, "sightings": [], "trust": None, "held": None,
}  # fmt: skip
"""What exports of earlier schemas do not have."""
TEXTS_REDACTED = ("title", "text", "reason")


@dataclass(slots=True)
class Account:
    """What became of the records of a file: in = stored + known + skipped."""

    in_count: int = 0
    stored: int = 0
    known: int = 0
    skipped: int = 0
    redacted: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The account as JSON values."""
        lost = self.in_count - self.stored - self.known - self.skipped
        return {
            "in": self.in_count, "stored": self.stored, "known": self.known, "skipped": self.skipped,
            "lost": lost, "redacted": self.redacted, "reasons": self.reasons,
        }  # fmt: skip


class Exports:
    """Whole memories out of one store and into it."""

    def __init__(
        self, settings: Settings, store: SqliteStore, workspaces: Workspaces, *, folder: str, by_user: bool
    ) -> None:
        self._by_user = by_user
        self._settings = settings
        self._store = store
        self._workspaces = workspaces
        self._folder = folder

    async def write(
        self, file: IO[bytes], form: str = "jsonl", *, here: bool = False, plain: bool = False
    ) -> int:
        """Writes every memory, also superseded and forgotten ones, in one snapshot; returns how many.

        Args:
            file: where to.
            form: one of ``FORMATS``.
            here: only the memories of the folder's workspace.
            plain: do not seal the file, though the data directory is encrypted.

        Raises:
            InvalidInput: no such format.
            StoreError, OSError: it could not be read or written.
        """
        if form not in FORMATS:
            raise InvalidInput("format", f"unknown format {form[:64]!r}; known: {', '.join(FORMATS)}")
        workspace = (await self._workspaces.at(self._folder))[1] if here else None
        key = None if plain else await asyncio.to_thread(keys.of_home, self._settings.home)
        if key is None:
            return await self._store.read(partial(_write, put=file.write, form=form, workspace=workspace))
        with SealedWriter(file, key) as sealed:
            return await self._store.read(partial(_write, put=sealed.write, form=form, workspace=workspace))

    async def read(
        self, file: IO[bytes], place: str, *, trusted: bool, tell: Callable[[int], None] = lambda _: None
    ) -> dict[str, Any]:
        """Stores what an export holds; what is there already stays as it is. ``retain import undo`` takes it back.

        Args:
            file: an export in either format, from its beginning.
            place: what it is called in the list of imports.
            trusted: keep who said it. Otherwise all of it is from an import: a file can claim anything.
            tell: is told how many records are done.

        Raises:
            Conflict: ``trusted``, and it is not the user who asks.
            KeyMissing: it is sealed with a key that is not here.
            InvalidInput: no export, cut short, or a record that makes no sense (named by its number); what came
                before it is stored.
        """
        if trusted and not self._by_user:
            raise Conflict("trusted: only the user can vouch for a file, and this door speaks for another")
        account = Account()
        run = await self._store.write(
            lambda db: imports.start_run(db, run_id=new_id(), source="retain", place=place, now_us=_now_us()),
            BY_IMPORT,
        )
        records = _records(file)
        linked: list[tuple[str, Sequence[Sequence[str]]]] = []
        while batch := await asyncio.to_thread(_next_of, records):
            ready = [self._checked(record, number, account, trusted=trusted) for number, record in batch]
            answers = await self._store.write(partial(_keep, run=run.key, records=ready), BY_IMPORT)
            for answer in answers:
                _count(account, answer)
            linked += [(one["id"], one["links"]) for one in ready if one["links"]]
            tell(account.in_count)
        await self._store.write(partial(_link, linked=linked), BY_IMPORT)
        report = account.as_json()
        await self._store.write(lambda db: imports.finish_run(db, run.key, report, _now_us()), BY_IMPORT)
        return {"import": run.id, "source": run.source, "place": run.place, **report}

    def _checked(
        self, record: Mapping[str, Any], number: int, account: Account, *, trusted: bool
    ) -> dict[str, Any]:
        """The record with every field of the right kind and within its limit, and its secrets replaced."""
        account.in_count += 1
        try:
            known = _valid(record, self._settings.text_chars_max)
        except InvalidInput as error:
            problem = str(error).removeprefix(f"{error.field}: ")
            raise InvalidInput(f"record {number}: {error.field}", problem, limit=error.limit) from None
        counts: dict[str, int] = dict(known["redacted"])
        found: dict[str, int] = {}
        for name in TEXTS_REDACTED:
            if known[name]:
                known[name] = inputs.redacted(known[name], found)
        account.redacted += bool(found)
        known["redacted"] = {rule: counts.get(rule, 0) + found.get(rule, 0) for rule in {**counts, **found}}
        return known if trusted else {**known, "origin": "import", "trust": None, "held": None}


def _write(reader: Reader, *, put: Callable[[bytes], object], form: str, workspace: int | None) -> int:
    digest = blake2b(digest_size=16)
    count = 0

    def add(data: bytes) -> None:
        digest.update(data)
        put(data)

    add(HEADER if form == "jsonl" else MARKDOWN_HEADER)
    for record in exports.export_rows(reader.connection, workspace):
        count += 1
        add(exports.as_line(record) if form == "jsonl" else _as_markdown(record))
    end = orjson.dumps({"memories": count, "sum": digest.hexdigest()})
    put(end + b"\n" if form == "jsonl" else COMMENT + end + END)
    return count


def _as_markdown(record: Mapping[str, Any]) -> bytes:
    """A heading, all but the text in a comment, and the text as it is; the comment says how many bytes it has."""
    text: bytes = record["text"].encode()
    rest = {name: value for name, value in record.items() if name != "text"}
    meta = bytes(orjson.dumps({**rest, "text_bytes": len(text)})).replace(b">", b"\\u003e")
    heading = f"\n## {record['kind']}: {' '.join(record['title'].split())}\n\n".encode()
    return heading + COMMENT + meta + END + text + b"\n"


def _records(file: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and record, one after the other; ends well only behind a last line whose sum is right.

    Raises:
        InvalidInput: no export, cut short or changed.
    """
    file = unsealed(file, keys.find)
    first = file.readline(len(MARKDOWN_HEADER) + 1)
    if first not in {HEADER, MARKDOWN_HEADER}:
        raise InvalidInput("file", "is no export of retain")
    digest = blake2b(first, digest_size=16)
    for number, (data, record) in enumerate((_lines if first == HEADER else _sections)(file), start=1):
        if "sum" in record:
            if record != {"memories": number - 1, "sum": digest.hexdigest()} or file.read(1):
                break
            return
        digest.update(data)
        yield number, record
    raise InvalidInput("file", "was cut short or changed: the sum in its last line does not fit")


def _next_of(records: Iterator[tuple[int, dict[str, Any]]]) -> list[tuple[int, dict[str, Any]]]:
    try:
        return list(islice(records, BATCH_RECORDS))
    except Unsealable as error:
        raise InvalidInput("file", f"cannot be opened with its key: {error}") from None


def _lines(file: IO[bytes]) -> Iterator[tuple[bytes, dict[str, Any]]]:
    while line := file.readline(LINE_BYTES_MAX):
        yield line, _object(line)


def _sections(file: IO[bytes]) -> Iterator[tuple[bytes, dict[str, Any]]]:
    before = b""
    while line := file.readline(LINE_BYTES_MAX):
        if not line.startswith(COMMENT):
            before += line
            continue
        record = _object(line.removeprefix(COMMENT).removesuffix(END))
        if "sum" in record:
            yield before + line, record
            continue
        size = record.pop("text_bytes", None)
        if not isinstance(size, int) or not 0 <= size <= LINE_BYTES_MAX:
            raise InvalidInput("text_bytes", "must be the size of the text in bytes", limit=LINE_BYTES_MAX)
        text = file.read(size + 1)
        record["text"] = text[:-1].decode("utf-8", "replace")
        yield before + line + text, record
        before = b""


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(line)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InvalidInput("file", "holds a line that is no JSON object")
    return value


def _valid(record: Mapping[str, Any], text_chars_max: int) -> dict[str, Any]:
    record = {**_LATER, **record}
    names = {*_TEXTS, *_MAYBE, *_LISTS, *_COUNTS, *_LATER, "workspace", "extra", "redacted", "links"}
    if missing := sorted(names - record.keys()):
        raise InvalidInput(missing[0], "is missing")
    known = {name: record[name] for name in names}
    known["id"] = inputs.id_field(known["id"], "id")
    inputs.text_field(known["text"], "text", text_chars_max, empty=True)
    inputs.text_field(known["title"], "title", text_chars_max, empty=True)
    for name, values in (("kind", KINDS), ("origin", ORIGINS), ("status", STATUSES)):
        if known[name] not in values:
            raise InvalidInput(name, f"unknown {name} {str(known[name])[:64]!r}; known: {', '.join(values)}")
    if known["trust"] is not None and known["trust"] not in TRUSTS:
        raise InvalidInput("trust", f"unknown trust {str(known['trust'])[:64]!r}; known: {', '.join(TRUSTS)}")
    for name in (one for one in (*_MAYBE, "held") if known[one] is not None):
        inputs.text_field(known[name], name, inputs.PATH_CHARS_MAX, empty=True)
    for name in _LISTS:
        known[name] = inputs.list_field(known[name], name, 10_000, inputs.PATH_CHARS_MAX)
    for name in _COUNTS:
        inputs.count_field(known[name], name, 0, 1 << 60)
    for name in ("workspace", "extra", "redacted", "blobs"):
        _object_field(known[name], name)
    for name in _PLACE:
        inputs.text_field(known["workspace"].get(name), f"workspace.{name}", inputs.PATH_CHARS_MAX)
    _check_git_fields(known)
    known["sightings"] = [_sighting_field(one) for one in _list_field(known["sightings"], "sightings")]
    known["links"] = [_link_field(one) for one in _list_field(known["links"], "links")]
    return known


def _object_field(value: object, name: str) -> None:
    if not isinstance(value, dict):
        raise InvalidInput(name, f"must be an object, not {type(value).__name__}")


def _list_field(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidInput(name, f"must be a list, not {type(value).__name__}")
    return value


def _check_git_fields(known: Mapping[str, Any]) -> None:
    if not isinstance(known["dirty"], bool | None):
        raise InvalidInput("dirty", "must be true, false or null")
    for path, blob in known["blobs"].items():
        inputs.text_field(path, "blobs", inputs.PATH_CHARS_MAX)
        inputs.text_field(blob, "blobs", 64)


def _sighting_field(value: object) -> tuple[str, str, int]:
    if not isinstance(value, list) or len(value) != 3:
        raise InvalidInput("sightings", "must be lists of a branch, a commit and a time")
    branch = inputs.text_field(value[0], "sightings", inputs.PATH_CHARS_MAX, empty=True)
    commit = inputs.text_field(value[1], "sightings", 64, empty=True)
    return branch, commit, inputs.count_field(value[2], "sightings", 0, 1 << 60)


def _link_field(value: object) -> tuple[str, str]:
    if not isinstance(value, list) or len(value) != 2:
        raise InvalidInput("links", "must be pairs of a kind and an id")
    return inputs.text_field(value[0], "links", 64), inputs.id_field(value[1], "links")


def _keep(db: apsw.Connection, *, run: int, records: Sequence[Mapping[str, Any]]) -> list[writes.Added | str]:
    answers = []
    for record in records:
        place = record["workspace"]
        workspace = writes.add_workspace(
            db, workspace_id=place["id"], identity=place["identity"], name=place["name"], root=place["root"],
            alias=f"export:{place['identity']}", now_us=_now_us(),
        )  # fmt: skip
        answer = exports.import_row(db, workspace, record, _now_us())
        if isinstance(answer, writes.Added):
            imports.note_memory(db, run, answer)
        answers.append(answer)
    return answers


def _link(db: apsw.Connection, *, linked: Sequence[tuple[str, Sequence[Sequence[str]]]]) -> None:
    for source, links in linked:
        exports.import_links(db, source, links)


def _count(account: Account, answer: writes.Added | str) -> None:
    if isinstance(answer, str):
        account.skipped += 1
        reason = "another memory says exactly this" if "exactly" in answer else "its source_id is taken"
        account.reasons[reason] = account.reasons.get(reason, 0) + 1
    elif answer.created:
        account.stored += 1
    else:
        account.known += 1


def _now_us() -> int:
    return time.time_ns() // 1000
