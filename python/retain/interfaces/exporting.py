"""``retain export`` and ``retain import retain``: every memory to a file, and back."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from retain.errors import InvalidInput
from retain.interfaces import replies
from retain.interfaces.commands import with_memory
from retain.whole_files import whole

if TYPE_CHECKING:
    from retain.interfaces.cli import Output
    from retain.memory.service import MemoryService


def export(arguments: Namespace, out: Output) -> int:
    """Writes every memory to a file (0600), whole or not at all; an older file is replaced."""

    async def run(memory: MemoryService, file: IO[bytes]) -> int:
        await memory.drain.run()
        return await memory.exports.write(file, arguments.format, here=arguments.here, plain=arguments.plain)

    if arguments.file == "-":
        with_memory(arguments, lambda memory: run(memory, sys.stdout.buffer))
        sys.stdout.buffer.flush()
        return replies.EXIT_OK
    path = Path(arguments.file).expanduser().absolute()
    try:
        with whole(path) as file:
            count = with_memory(arguments, lambda memory: run(memory, file))
            size = file.tell()
    except OSError as error:
        raise InvalidInput("file", f"{path} cannot be written: {error.strerror}") from error
    value = {"file": str(path), "format": arguments.format, "memories": count, "bytes": size}
    memories = replies.counted(count, "memory", "memories")
    out.answer(value, f"{out.paint.good('Exported')} {memories}, {replies.size(size)}, to {path}")
    return replies.EXIT_OK


def import_export(arguments: Namespace, out: Output) -> int:
    """Stores what an export holds; exit code 1 where a record was lost.

    Raises:
        InvalidInput: no file, no export, or a dry run, which this format does not have.
    """
    if arguments.file is None:
        raise InvalidInput("file", "is missing", hint="name the file that `retain export` wrote")
    if arguments.dry_run:
        raise InvalidInput("dry-run", "is not for retain", hint="`retain import undo` takes it back")
    path = Path(arguments.file).expanduser().absolute()
    try:
        with path.open("rb") as file:
            report: dict[str, Any] = with_memory(
                arguments,
                lambda memory: memory.exports.read(file, str(path), trusted=arguments.trusted),
            )
    except OSError as error:
        raise InvalidInput("file", f"{path} cannot be read: {error.strerror}") from error
    names = ("in", "stored", "known", "skipped", "lost", "redacted")
    lines = [f"Import {report['import']} from {path}", " · ".join(f"{report[n]:,} {n}" for n in names)]
    lines += [f"  skipped {count:,}: {reason}" for reason, count in report["reasons"].items()]
    lines.append(f"Undo it with: retain import undo {report['import']}")
    out.answer(report, "\n".join(lines))
    return replies.EXIT_FAILED if report["lost"] else replies.EXIT_OK
