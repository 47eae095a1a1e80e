"""``retain import jsonl``: memories from a file, one JSON object a line, in batches."""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson

import retain
from retain.errors import Conflict, InvalidInput, RetainError
from retain.interfaces import replies

if TYPE_CHECKING:
    from retain.interfaces.cli import Output
    from retain.memory.service import MemoryService

BATCH_LINES = 500
LINE_BYTES_MAX = 8 * 1024 * 1024
BATCH_BYTES_MAX = 32 * 1024 * 1024
"""A batch ends early where its lines reach this, so that long lines do not fill the memory."""

ERRORS_KEPT = 1_000
ERRORS_SHOWN = 20


@dataclass(slots=True)
class Tally:
    """What became of the lines; blank ones do not count."""

    lines: int = 0
    stored: int = 0
    merged: int = 0
    failed: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)

    def fail(self, number: int, error: RetainError) -> None:
        """Counts a line that was refused, and keeps why for the first thousand of them."""
        self.failed += 1
        if len(self.errors) < ERRORS_KEPT:
            told = replies.error_object(error)["error"]
            kept = {name: told[name] for name in ("code", "field", "message", "hint")}
            self.errors.append({"line": number, **kept})


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the file that is a JSON object, and its number, from 1."""

    number: int
    item: Mapping[str, Any]


def import_from(arguments: Namespace, out: Output) -> int:
    """Runs ``retain import``: each source by its reader, ``list`` and ``undo`` by the store.

    Raises:
        InvalidInput: the arguments do not fit together, or the place holds nothing of that source.
    """
    from retain.interfaces import moving_in

    match arguments.format:
        case "jsonl":
            if arguments.file is None:
                raise InvalidInput("file", "is missing", hint="`-` reads stdin")
            if arguments.dry_run:
                raise InvalidInput(
                    "dry-run", "is not for jsonl, whose lines are stored as if remembered one by one"
                )
            return import_file(arguments, out)
        case "retain":
            from retain.interfaces.exporting import import_export

            return import_export(arguments, out)
        case "list":
            return moving_in.list_imports(arguments, out)
        case "undo":
            return moving_in.undo(arguments, out)
        case _:
            return moving_in.move_in(arguments, out)


def import_file(arguments: Namespace, out: Output) -> int:
    """Stores the memories of a file; the good lines are kept where others fail (then the exit code is 1)."""
    tally = Tally()
    progress = Progress(tally, shown=sys.stderr.isatty() and not out.as_json)
    try:
        with opened(arguments.file) as file, asyncio.Runner() as runner:
            stack = AsyncExitStack()
            memory = runner.run(stack.enter_async_context(retain.open(arguments.home, door="cli")))
            try:
                # Lines are read outside of the event loop, so that Ctrl-C ends a wait for input.
                for batch in batches(read_lines(file, tally)):
                    runner.run(store(memory, batch, tally, arguments.workspace))
                    progress.show()
            finally:
                runner.run(stack.aclose())
    except BaseException:
        progress.clear()
        if tally.stored + tally.merged:
            out.aside(
                f"retain: stopped after line {tally.lines:,}; {tally.stored:,} stored, {tally.merged:,} merged"
            )
        raise
    progress.clear()
    value = {
        "in": tally.lines, "stored": tally.stored, "merged": tally.merged, "failed": tally.failed,
        "errors": tally.errors,
    }  # fmt: skip
    if out.as_json:
        out.value(value)
    else:
        tell(tally, out)
    return replies.EXIT_FAILED if tally.failed else replies.EXIT_OK


@contextmanager
def opened(name: str) -> Iterator[IO[bytes]]:
    """The file, or stdin where the name is ``-``.

    Raises:
        InvalidInput: it cannot be opened.
    """
    try:
        file = sys.stdin.buffer if name == "-" else Path(name).open("rb")  # noqa: SIM115 - closed below
    except (OSError, ValueError) as error:
        raise InvalidInput("file", f"{name}: {getattr(error, 'strerror', None) or error}") from None
    try:
        yield file
    finally:
        if name != "-":
            file.close()


def read_lines(file: IO[bytes], tally: Tally) -> Iterator[tuple[Line, int]]:
    """The lines that are JSON objects, with their bytes; others are counted as failed.

    A line longer than 8 MiB is refused and skipped without being held.
    """
    number = 0
    while data := file.readline(LINE_BYTES_MAX + 1):
        number += 1
        if len(data) > LINE_BYTES_MAX:
            while data and not data.endswith(b"\n"):
                data = file.readline(LINE_BYTES_MAX)
            tally.lines += 1
            problem = f"longer than the limit of {LINE_BYTES_MAX:,} bytes"
            tally.fail(number, InvalidInput("line", problem, limit=LINE_BYTES_MAX))
            continue
        if number == 1:
            data = data.removeprefix(b"\xef\xbb\xbf")
        if not data.strip():
            continue
        tally.lines += 1
        try:
            yield Line(number, parsed(data)), len(data)
        except InvalidInput as error:
            tally.fail(number, error)


def parsed(data: bytes) -> Mapping[str, Any]:
    """The object of one line.

    Raises:
        InvalidInput: not JSON, not UTF-8, or another value than an object.
    """
    try:
        item = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise InvalidInput("line", f"not JSON: {error.msg} (character {error.pos + 1})") from None
    if not isinstance(item, dict):
        raise InvalidInput("line", f"must be a JSON object, not {type(item).__name__}")
    return item


def batches(lines: Iterator[tuple[Line, int]]) -> Iterator[list[Line]]:
    """Lines in groups of at most 500 and about 32 MiB."""
    batch: list[Line] = []
    held = 0
    for line, count in lines:
        batch.append(line)
        held += count
        if len(batch) >= BATCH_LINES or held >= BATCH_BYTES_MAX:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


async def store(memory: MemoryService, batch: Sequence[Line], tally: Tally, workspace: str | None) -> None:
    """Stores a batch in one transaction; where a line of it is refused, in halves, down to that line.

    Raises:
        RetainError: the store itself failed; that is not the fault of a line.
    """
    try:
        stored = await memory.remember_many(
            [line.item for line in batch], workspace=workspace, origin="import"
        )
    except (InvalidInput, Conflict) as error:
        if getattr(error, "field", None) == "workspace":
            raise
        if len(batch) == 1:
            tally.fail(batch[0].number, error)
            return
        middle = len(batch) // 2
        await store(memory, batch[:middle], tally, workspace)
        await store(memory, batch[middle:], tally, workspace)
        return
    created = sum(entry.created for entry in stored)
    tally.stored += created
    tally.merged += len(stored) - created


def tell(tally: Tally, out: Output) -> None:
    """Prints the account for people: errors to stderr, counts to stdout."""
    for error in sorted(tally.errors, key=lambda kept: int(kept["line"]))[:ERRORS_SHOWN]:
        out.aside(f"line {error['line']}: {error['message'].removeprefix('line: ')}")
    if tally.failed > ERRORS_SHOWN:
        out.aside(f"... and {tally.failed - ERRORS_SHOWN:,} more; --json lists {ERRORS_KEPT:,}")
    failed = f"{tally.failed:,} failed"
    parts = [f"{tally.lines:,} in", f"{tally.stored:,} stored", f"{tally.merged:,} merged"]
    out.say(" · ".join([*parts, out.paint.bad(failed) if tally.failed else failed]))


class Progress:
    """One line on a terminal that says how far the import is."""

    def __init__(self, tally: Tally, *, shown: bool) -> None:
        self._tally = tally
        self._shown = shown

    def show(self) -> None:
        """Writes the line anew."""
        if self._shown:
            done = self._tally
            sys.stderr.write(
                f"\r\x1b[K{done.lines:,} lines · {done.stored:,} stored · {done.failed:,} failed"
            )
            sys.stderr.flush()

    def clear(self) -> None:
        """Removes the line."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
