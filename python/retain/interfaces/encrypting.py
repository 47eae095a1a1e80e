"""``retain encrypt``, ``decrypt`` and ``key``: encryption at rest, and the key to it."""

from __future__ import annotations

import shutil
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retain import keys
from retain.config import read_settings
from retain.errors import Conflict, InvalidInput
from retain.interfaces import replies
from retain.interfaces.commands import with_memory
from retain.memory import encrypting
from retain.memory.reports import encryption
from retain.sealing import Unsealable, unsealed
from retain.storage.connection import check_ciphers
from retain.whole_files import create

if TYPE_CHECKING:
    from retain.interfaces.cli import Output
    from retain.memory.service import MemoryService

KEY_FILE_BYTES_MAX = 1_024
_LOST = "Without the key nobody can read the store. Keep a copy elsewhere: retain key export FILE"


def encrypt(arguments: Namespace, out: Output) -> int:
    """Encrypts the data directory, or goes on where it was cut short; exit code 1 where plain text is still found."""
    check_ciphers()
    with_memory(arguments, _emptied)
    done = encrypting.encrypt(read_settings(arguments.home)[0], in_file=arguments.key_file)
    return _report(done, "Encrypted", out)


def decrypt(arguments: Namespace, out: Output) -> int:
    """Makes the data directory plain again."""
    with_memory(arguments, _emptied)
    done = encrypting.decrypt(read_settings(arguments.home)[0])
    out.answer(
        done, f"{out.paint.good('Plain again')}: {_counts(done)}. The key is kept, for exports need it."
    )
    return replies.EXIT_OK


def key(arguments: Namespace, out: Output) -> int:
    """Shows, rotates, exports or imports the key, or opens a sealed file."""
    return {"show": _show, "rotate": _rotate, "export": _export, "import": _import, "open": _open}[
        arguments.action
    ](arguments, out)


async def _emptied(memory: MemoryService) -> None:
    """What waits is digested first, and no level of the cache holds what it held."""
    await memory.drain.run()
    await memory.keeping.empty_caches()


def _show(arguments: Namespace, out: Output) -> int:
    found = encryption(read_settings(arguments.home)[0])
    said = replies.at_rest(found)
    if found["unfinished"]:
        said += "\n" + out.paint.bad("The last change was cut short: run the same command again.")
    out.answer(found, said)
    return (
        replies.EXIT_FAILED
        if found["unfinished"] or (found["key"] and not found["place"])
        else replies.EXIT_OK
    )


def _rotate(arguments: Namespace, out: Output) -> int:
    with_memory(arguments, _emptied)
    done = encrypting.rotate(read_settings(arguments.home)[0], in_file=arguments.key_file)
    return _report(done, "Encrypted anew", out)


def _export(arguments: Namespace, out: Output) -> int:
    found = keys.of_home(read_settings(arguments.home)[0].home)
    if found is None:
        raise Conflict("the store is not encrypted", hint="`retain encrypt`")
    path = _named(arguments)
    try:
        create(path, keys.written(found).encode("ascii"))
    except OSError as error:
        raise InvalidInput("file", f"{path} cannot be written: {error.strerror}") from error
    out.answer({"key": found.id, "file": str(path)}, f"Key {found.id} written to {path}, for you alone")
    return replies.EXIT_OK


def _import(arguments: Namespace, out: Output) -> int:
    path = _named(arguments)
    try:
        with path.open("rb") as file:
            text = file.read(KEY_FILE_BYTES_MAX).decode("ascii", "replace")
    except OSError as error:
        raise InvalidInput("file", f"{path} cannot be read: {error.strerror}") from error
    found = keys.read(text)
    place = keys.keep(found, in_file=arguments.key_file)
    out.answer({"key": found.id, "place": place}, f"Key {found.id} is in {place}")
    return replies.EXIT_OK


def _open(arguments: Namespace, _: Output) -> int:
    """Prints what a sealed file holds: an export, or a file that was set aside."""
    path = _named(arguments)
    try:
        with path.open("rb") as file:
            shutil.copyfileobj(unsealed(file, keys.find), sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except Unsealable as error:
        raise InvalidInput("file", f"{path} cannot be opened with its key: {error}") from None
    except OSError as error:
        raise InvalidInput("file", f"{path} cannot be read: {error.strerror}") from error
    return replies.EXIT_OK


def _named(arguments: Namespace) -> Path:
    if arguments.file is None:
        raise InvalidInput("file", "is missing", hint=f"retain key {arguments.action} FILE")
    return Path(arguments.file).expanduser().absolute()


def _counts(done: Mapping[str, Any]) -> str:
    backups = replies.counted(done["backups"], "backup", "backups")
    files = replies.counted(done["files"], "file that was set aside", "files that were set aside")
    return f"{'the store, ' if done['store'] else ''}{backups}, {files}"


def _report(done: Mapping[str, Any], verb: str, out: Output) -> int:
    proof, unreadable = done["proof"], done["backups_unreadable"]
    lines = [
        f"{out.paint.good(verb)}: {_counts(done)}",
        f"Key {done['key']} in {done['place']}",
        f"Searched {proof['files']:,} files, {replies.size(proof['bytes'])}, for {proof['texts']:,} texts of memories: "
        + (out.paint.bad(f"still in {', '.join(proof['found_in'])}") if proof["found_in"] else "in none"),
    ]
    lines += [out.paint.bad(f"Damaged and left as it was: backup {name}") for name in unreadable]
    out.answer(done, "\n".join([*lines, _LOST]))
    return replies.EXIT_FAILED if proof["found_in"] or unreadable else replies.EXIT_OK
