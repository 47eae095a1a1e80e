"""``retain install`` and ``uninstall``: our hooks and our MCP entry, into Claude Code's files and out again."""

from __future__ import annotations

import difflib
import json
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retain.capture.redact import redact
from retain.config import client_files as client_paths
from retain.config import read_settings
from retain.errors import InvalidInput
from retain.interfaces import client_entries as entries
from retain.interfaces import client_files as files
from retain.interfaces import replies
from retain.retrieval.context import one_line

if TYPE_CHECKING:
    from retain.interfaces.cli import Output

BACKUPS_LOOKED_AT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to happen to one file.

    Attributes:
        part: ``hooks`` or ``server``.
        file: as it was read.
        names: events, or the server, that change; none where the file is as it should be.
        data: its new bytes; None where it is to be deleted.
    """

    part: str
    file: files.ClientFile
    names: tuple[str, ...]
    data: bytes | None


def install(arguments: Namespace, out: Output) -> int:
    """Writes hooks and MCP entry; a second run changes nothing."""
    here = entries.Installation.here(arguments.home)
    settings, mcp = read_both(arguments)
    hooked, events = entries.with_hooks(settings.content, here.hook(), str(settings.path))
    served, servers = entries.with_server(mcp.content, here.server(), str(mcp.path))
    changes = (
        Change(part="hooks", file=settings, names=tuple(events), data=files.written(hooked, settings.style)),
        Change(part="server", file=mcp, names=tuple(servers), data=files.written(served, mcp.style)),
    )
    done = carry_out(changes, arguments, out)
    tell(
        done,
        out,
        nothing="Installed already; nothing to change.",
        next_step="Next: start Claude Code anew, then run `retain doctor`.",
        dry_run=arguments.dry_run,
    )
    return replies.EXIT_OK


def uninstall(arguments: Namespace, out: Output) -> int:
    """Takes out what ``install`` wrote, and nothing else; the memories stay."""
    settings, mcp = read_both(arguments)
    home = read_settings(arguments.home)[0].home
    changes = []
    for part, file, without in (
        ("hooks", settings, entries.without_hooks),
        ("server", mcp, entries.without_server),
    ):
        content, names = without(file.content)
        changes.append(Change(part=part, file=file, names=tuple(names), data=restored(file, content)))
    done = carry_out(changes, arguments, out)
    tell(
        done,
        out,
        nothing="Not installed; nothing to take out.",
        next_step=f"The memories stay in {home}; delete that directory to erase them.",
        dry_run=arguments.dry_run,
    )
    return replies.EXIT_OK


def read_both(arguments: Namespace) -> tuple[files.ClientFile, files.ClientFile]:
    """The settings and the file of MCP servers, by argument or where Claude Code keeps them.

    Raises:
        InvalidInput: one of them cannot be edited; then neither is touched.
    """
    settings = files.read_client_file(Path(arguments.settings or client_paths()[0]), "settings")
    mcp = files.read_client_file(Path(arguments.mcp or client_paths()[1]), "mcp")
    if settings.target == mcp.target:
        raise InvalidInput(
            "mcp", f"{mcp.path} is the settings file; the MCP servers have a file of their own"
        )
    return settings, mcp


def restored(file: files.ClientFile, content: dict[str, Any]) -> bytes | None:
    """The bytes of a file without our entries.

    Where a backup holds just that, its bytes come back, however they were formatted. Where nothing is left
    and there is no backup, there was no file before: None.
    """
    backups = files.backups_of(file)[:BACKUPS_LOOKED_AT]
    wanted = json.dumps(content)
    for backup in backups:
        data = _clean_bytes(backup, wanted)
        if data is not None:
            return data
    if not content and not backups and file.data is not None and file.style == files.Style():
        return None
    return files.written(content, file.style)


def _clean_bytes(backup: Path, wanted: str) -> bytes | None:
    """The bytes of a backup that has none of our entries and otherwise the wanted content."""
    try:
        found = files.read_client_file(backup, "backup")
    except InvalidInput:
        return None
    if entries.without_hooks(found.content)[1] or entries.without_server(found.content)[1]:
        return None
    return found.data if json.dumps(_without_empty(found.content)) == wanted else None


def _without_empty(content: dict[str, Any]) -> dict[str, Any]:
    """The content without the empty containers that ``install`` would have filled."""
    hooks = content.get("hooks")
    if isinstance(hooks, dict):
        kept = {
            event: groups
            for event, groups in hooks.items()
            if groups != [] or event not in entries.HOOK_EVENTS
        }
        content = {**content, "hooks": kept}
    return {name: part for name, part in content.items() if part != {} or name not in {"hooks", "mcpServers"}}


def carry_out(
    changes: tuple[Change, ...] | list[Change], arguments: Namespace, out: Output
) -> list[tuple[Change, Path | None]]:
    """Writes the files that change, or with ``--dry-run`` shows how they would; gives each with its backup."""
    now = datetime.now(UTC)
    done: list[tuple[Change, Path | None]] = []
    for change in changes:
        backup = None
        if change.names and arguments.dry_run:
            if not out.as_json:
                out.say("\n".join(difference(change, out.paint)))
        elif change.names and change.data is None:
            files.remove(change.file)
        elif change.names and change.data is not None:
            backup = files.replace(change.file, change.data, now)
        done.append((change, backup))
    return done


def difference(change: Change, paint: replies.Paint) -> Iterator[str]:
    """The change as a diff; secrets that stand near it are not shown."""
    old, new = (_readable(data) for data in (change.file.data, change.data))
    name = one_line(str(change.file.path), 300)
    for line in difflib.unified_diff(old, new, name, name, n=1, lineterm=""):
        shown = replies.printable(redact(line).text)
        colour = paint.good if line.startswith("+") else paint.bad if line.startswith("-") else paint.dim
        yield colour(shown)


def _readable(data: bytes | None) -> list[str]:
    """The lines of a file; one without line breaks is spread out first."""
    if not data or not data.strip():
        return []
    text = data.removeprefix(files.BOM).decode()
    if "\n" not in text.strip():
        text = files.written(files.parse(text), files.Style()).decode()
    return text.splitlines()


def tell(
    done: list[tuple[Change, Path | None]], out: Output, *, nothing: str, next_step: str, dry_run: bool
) -> None:
    """Says what happened to each file, and what comes next."""
    changed = any(change.names for change, _ in done)
    if out.as_json:
        out.value({"changed": changed, "dry_run": dry_run, "files": [_as_object(*item) for item in done]})
        return
    if not changed:
        out.say(out.paint.good(nothing))
        return
    if dry_run:
        out.say(out.paint.doubtful("Nothing was changed (--dry-run)."))
        return
    out.say("\n".join([*(line for item in done for line in _account(*item, out.paint)), "", next_step]))


def _account(change: Change, backup: Path | None, paint: replies.Paint) -> Iterator[str]:
    label = "Hooks     " if change.part == "hooks" else "MCP server"
    what = "no change"
    if change.names:
        listed = ", ".join(change.names) if change.part == "hooks" else change.names[0]
        what = f"deleted (it held nothing else): {listed}" if change.data is None else listed
    yield f"{paint.bold(label)}  {one_line(str(change.file.path), 300)}"
    yield f"            {paint.good(what) if change.names else paint.dim(what)}"
    if backup is not None:
        yield paint.dim(f"            the file as it was: {one_line(str(backup), 300)}")


def _as_object(change: Change, backup: Path | None) -> dict[str, Any]:
    return {
        "path": str(change.file.path),
        "part": change.part,
        "changed": list(change.names),
        "deleted": bool(change.names) and change.data is None,
        "backup": str(backup) if backup else None,
    }
