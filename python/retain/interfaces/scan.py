"""``retain scan``: looks for secrets in files, a text or the store; says rule and place, never the secret."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retain.capture import redact
from retain.config import Settings, read_settings
from retain.errors import InvalidInput
from retain.interfaces import replies, settings_file
from retain.interfaces.commands import with_memory
from retain.rules import allowances

if TYPE_CHECKING:
    from retain.interfaces.cli import Output

FILE_BYTES_MAX = 64 * 1024 * 1024
SHOWN_MAX = 200
PASSED_OVER = frozenset((".git", "node_modules", ".venv", "__pycache__", ".tox", ".mypy_cache", "target"))
"""Folders that hold no text of a user, or text that others wrote."""


def scan(arguments: Namespace, out: Output) -> int:
    """Finds secrets, or takes them out of the store; exit code 1 where some were found and left."""
    settings = read_settings(arguments.home)[0]
    if arguments.allow is not None:
        return _allow(settings, arguments.allow, out)
    redact.configure(pii=bool(settings.redact_pii), allowed=allowances(settings.redact_allow))
    if arguments.scrub:
        return _scrub(arguments, out)
    if arguments.store:
        found = with_memory(arguments, lambda memory: memory.keeping.scrubbing.findings())
        return _told(found, {"searched": "store"}, out)
    if arguments.text is not None:
        if arguments.text == "-":
            text = sys.stdin.buffer.read(FILE_BYTES_MAX + 1).decode("utf-8", "replace")
        else:
            text = arguments.text
        if len(text) > FILE_BYTES_MAX:
            raise InvalidInput("text", f"longer than {FILE_BYTES_MAX:,} bytes", limit=FILE_BYTES_MAX)
        return _told(list(_of_text(text, "-")), {"searched": "text"}, out)
    return _files(Path(arguments.path or "."), out)


def _files(place: Path, out: Output) -> int:
    if not place.exists():
        raise InvalidInput("path", f"there is no {str(place)[:200]!r}")
    found: list[dict[str, Any]] = []
    unread: list[OSError] = []
    counts = {"files": 0, "bytes": 0, "skipped": 0}
    for path in _below(place, unread.append):
        try:
            size = path.stat().st_size
            data = path.read_bytes() if size <= FILE_BYTES_MAX else None
        except OSError:
            data = None
        if data is None:
            counts["skipped"] += 1
        elif b"\0" not in data[:8_192]:
            counts["files"] += 1
            counts["bytes"] += len(data)
            found += _of_text(data.decode("utf-8", "replace"), str(path))
    counts["skipped"] += len(unread)
    return _told(found, counts, out)


def _below(place: Path, refused: Callable[[OSError], None]) -> Iterator[Path]:
    """The files at and below a place; links are not followed, and folders that cannot be listed are told of."""
    if place.is_file():
        yield place
        return
    for folder, names, files in os.walk(place, onerror=refused):
        names[:] = sorted(name for name in names if name not in PASSED_OVER)
        yield from (
            path for name in sorted(files) if (path := Path(folder, name)).is_file() and not path.is_symlink()
        )


def _of_text(text: str, name: str) -> Iterator[dict[str, Any]]:
    line, position = 1, 0
    for one in redact.find(text):
        line += text.count("\n", position, one.start)
        position = one.start
        column = one.start - text.rfind("\n", 0, one.start)
        yield {
            "rule": one.rule, "path": name, "line": line, "column": column, "chars": one.end - one.start,
            "fingerprint": one.fingerprint,
        }  # fmt: skip


def _told(found: list[dict[str, Any]], counts: dict[str, Any], out: Output) -> int:
    lines = [f"{_place(one)}  {one['rule']}  {one['fingerprint']}" for one in found[:SHOWN_MAX]]
    if len(found) > SHOWN_MAX:
        lines.append(f"and {len(found) - SHOWN_MAX:,} more; --json shows all")
    told = replies.counted(len(found), "secret", "secrets")
    where = f" in {replies.counted(counts['files'], 'file', 'files')}" if "files" in counts else ""
    skipped = f"; {counts['skipped']:,} files or folders could not be read" if counts.get("skipped") else ""
    lines.append((out.paint.bad(told) if found else out.paint.good("No secret")) + where + skipped)
    out.answer({"found": found, **counts}, "\n".join(lines))
    return replies.EXIT_FAILED if found or counts.get("skipped") else replies.EXIT_OK


def _place(one: dict[str, Any]) -> str:
    if "memory" in one:
        return f"memory {one['memory']} {one['field']} {one['start']}-{one['end']}"
    return f"{replies.printable(one['path'])}:{one['line']}:{one['column']}"


def _scrub(arguments: Namespace, out: Output) -> int:
    done = with_memory(arguments, lambda memory: memory.keeping.scrubbing.run())
    secrets = sum(done["secrets"].values())
    memories = replies.counted(done["rewritten"], "memory", "memories")
    said = (
        f"{out.paint.good('Scrubbed')}: {replies.counted(secrets, 'secret', 'secrets')} out of {memories} "
        f"({done['merged']:,} then said what another says) and {done['rows']:,} other rows; "
        f"{replies.counted(done['backups_rewritten'] + done['copies_rewritten'], 'backup', 'backups')} and "
        f"{replies.counted(done['files_rewritten'], 'file', 'files')} rewritten"
    )
    lines = [said]
    copies = done["backups_unreadable"] + done["copies_unreadable"]
    if done["unreadable"] or copies:
        missed = f"{done['unreadable']:,} memories, {copies:,} backups"
        lines.append(out.paint.bad(f"Not readable, so not searched: {missed}"))
    if not done["log_emptied"]:
        lines.append(
            out.paint.doubtful("A session still reads the write-ahead log: run it again when it ends.")
        )
    if not done["caches_emptied"]:
        lines.append(out.paint.doubtful(replies.CACHE_AWAY))
    lines.append(
        out.paint.dim("Files that were exported, and copies of the store made by hand, are not reached.")
    )
    out.answer(done, "\n".join(lines))
    whole = not (done["unreadable"] or copies) and done["log_emptied"] and done["caches_emptied"]
    return replies.EXIT_OK if whole else replies.EXIT_FAILED


def _allow(settings: Settings, said: str, out: Output) -> int:
    rule, fingerprint = allowances((said,))[0]
    if rule not in redact.rule_names():
        raise InvalidInput("allow", f"there is no rule {rule[:64]!r}")
    settings_file.change(settings.home, ("redact_allow",), [*settings.redact_allow, said])
    answer = {"rule": rule, "fingerprint": f"{fingerprint:016x}"}
    out.answer(answer, f"{out.paint.good('Allowed')}: {rule} {fingerprint:016x}; it is no longer taken out")
    return replies.EXIT_OK
