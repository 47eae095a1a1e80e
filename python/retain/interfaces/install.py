"""``retain install`` and ``uninstall``: our MCP entry and our hooks, into the files of a client and out again."""

from __future__ import annotations

import difflib
import json
import shutil
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retain.capture.redact import redact
from retain.config import read_settings
from retain.errors import InvalidInput
from retain.interfaces import client_entries as entries
from retain.interfaces import client_files as files
from retain.interfaces import clients, json_text, replies
from retain.interfaces.client_backups import ABSENT, Backups, folders_made
from retain.interfaces.clients import CLAUDE_CODE, CLIENTS, Client
from retain.interfaces.surroundings import plugin_enabled
from retain.retrieval.context import one_line

if TYPE_CHECKING:
    from retain.interfaces.cli import Output

BACKUPS_LOOKED_AT = 20
HOOKS, SERVER = "hooks", "server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A file that an installation touches, as it was read, and what of ours belongs into it."""

    part: str
    client: Client
    file: files.ClientFile

    def without(self, content: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """A content of the file without our entries, and which they were."""
        if self.part == HOOKS:
            return entries.without_hooks(content)
        return entries.without_server(content, self.client.group)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to happen to one file.

    Attributes:
        place: the file.
        names: events, or the server, that change; none where the file is as it should be.
        data: its new bytes; None where it is to be deleted.
        made: folders that were made for the file, and go with it.
        as_before: whether ``data`` is what was there before the installation.
    """

    place: Place
    names: tuple[str, ...]
    data: bytes | None
    made: tuple[Path, ...] = ()
    as_before: bool = False

    @property
    def file(self) -> files.ClientFile:
        """The file as it was read."""
        return self.place.file


def install(arguments: Namespace, out: Output) -> int:
    """Writes hooks and MCP entry; a second run changes nothing."""
    here = entries.Installation.here(arguments.home)
    places = read_places(arguments, arguments.client or CLAUDE_CODE)
    if places[0].part == HOOKS and (plugin := plugin_enabled(places[0].file.path)) is not None:
        out.aside(f"retain: the plugin {plugin} is switched on as well; one of the two is enough")
    changes = [_installed(place, here, arguments) for place in places]
    if arguments.print:
        _print(places, here, arguments, out)
        return replies.EXIT_OK
    done = carry_out(changes, arguments, out)
    title = places[0].client.title
    check = ", then run `retain doctor`" if title == CLIENTS[CLAUDE_CODE].title else ""
    tell(
        done,
        out,
        nothing="Installed already; nothing to change.",
        next_step=f"Next: start {title} anew{check}.",
        dry_run=arguments.dry_run,
    )
    return replies.EXIT_OK


def uninstall(arguments: Namespace, out: Output) -> int:
    """Takes out what ``install`` wrote, and nothing else; the memories stay, unless ``--purge`` asks."""
    settings = read_settings(arguments.home)[0]
    home = settings.home
    purge = None
    if arguments.purge:
        from retain.interfaces.purge import Purge

        purge = Purge.asked_for(settings, arguments.yes_really, dry_run=arguments.dry_run)
    elif arguments.yes_really is not None:
        raise InvalidInput("yes-really", "is only for --purge")
    places = _places_with_entries(arguments, out)
    held = [Backups(one) for one in dict.fromkeys([home, *_pinned(places)])]
    changes = [_uninstalled(place, held) for place in places]
    done = carry_out(changes, arguments, out)
    for change, backup in done:
        for backups in held if change.names and not arguments.dry_run else ():
            backups.drop(change.file.target, None if change.as_before else backup)
    removed = purge.carry_out() if purge is not None and not arguments.dry_run else None
    stay = f"The memories stay in {home}; `retain uninstall --purge` erases them."
    tell(
        done,
        out,
        nothing="Not installed; nothing to take out.",
        next_step=removed.sentence if removed is not None else stay,
        dry_run=arguments.dry_run,
        extra={"purged": removed.as_object()} if removed is not None else {},
    )
    return replies.EXIT_OK


def read_places(arguments: Namespace, name: str) -> list[Place]:
    """The files of a client, by argument or where the client keeps them.

    Raises:
        InvalidInput: one of them cannot be edited; then none is touched.
    """
    client = CLIENTS[name]
    servers = Path(arguments.mcp) if arguments.mcp else clients.servers_file(name, arguments.scope)
    mcp = files.read_client_file(servers, "mcp", client.form)
    served = Place(part=SERVER, client=client, file=mcp)
    if name != CLAUDE_CODE:
        if arguments.settings:
            raise InvalidInput("settings", f"is for {CLAUDE_CODE}; {client.title} has no hooks")
        return [served]
    hooked = Path(arguments.settings) if arguments.settings else clients.hooks_file(arguments.scope)
    settings = files.read_client_file(hooked, "settings")
    if settings.target == mcp.target:
        raise InvalidInput(
            "mcp", f"{mcp.path} is the settings file; the MCP servers have a file of their own"
        )
    return [Place(part=HOOKS, client=client, file=settings), served]


def _places_with_entries(arguments: Namespace, out: Output) -> list[Place]:
    """The files of the client that is named; where none is, also those of the others that hold our entry."""
    found = read_places(arguments, arguments.client or CLAUDE_CODE)
    if arguments.client or arguments.settings or arguments.mcp:
        return found
    for name, client in CLIENTS.items():
        if name == CLAUDE_CODE or (arguments.scope == "project" and not client.project):
            continue
        try:
            places = read_places(arguments, name)
        except InvalidInput as error:
            out.aside(f"retain: {client.title} was not looked at: {error}")
            continue
        found += [place for place in places if place.without(place.file.content)[1]]
    return found


def _installed(place: Place, here: entries.Installation, arguments: Namespace) -> Change:
    """The change that brings our entries into a file."""
    name = str(place.file.path)
    if place.part == HOOKS:
        content, names = entries.with_hooks(place.file.content, here.hook(), name)
    else:
        entry = _server_entry(place.client, here, arguments)
        content, names = entries.with_server(place.file.content, entry, name, place.client.group)
    return Change(place=place, names=tuple(names), data=_edited(place, content))


def _server_entry(client: Client, here: entries.Installation, arguments: Namespace) -> dict[str, Any]:
    """Our MCP entry. In a file of a project, which others share, the launcher goes by name where PATH finds it."""
    entry = client.shaped(here.server())
    found = shutil.which("retain")
    if arguments.scope == "project" and here.launcher and found and Path(found).samefile(here.launcher):
        entry["command"] = "retain"
    return entry


def _edited(place: Place, content: dict[str, Any]) -> bytes:
    return files.edited(place.file, content, group=place.client.group, name=entries.SERVER)


def _pinned(places: Sequence[Place]) -> Iterator[Path]:
    """The data directories that were asked for at installation; the backups of then lie there."""
    for place in places:
        found = entries.homes_of_hooks if place.part == HOOKS else entries.homes_of_server
        yield from map(Path, found(place.file.content, place.client.group))


def _uninstalled(place: Place, held: Sequence[Backups]) -> Change:
    """The change that takes our entries out of a file.

    Where a backup holds just what is left, its bytes come back, however they were formatted. Where nothing is
    left and there was no file before, it goes.
    """
    content, names = place.without(place.file.content)
    if not names:
        return Change(place=place, names=(), data=place.file.data)
    kept = [one for backups in held for one in backups.of(place.file.target)[:BACKUPS_LOOKED_AT]]
    wanted = json.dumps(content, default=str)
    for backup in kept:
        if backup.name.endswith(ABSENT):
            if not content:
                made = tuple(folders_made(backup))
                return Change(place=place, names=tuple(names), data=None, made=made, as_before=True)
        elif (data := _clean_bytes(place, backup, wanted)) is not None:
            return Change(place=place, names=tuple(names), data=data, as_before=True)
    if not content and not kept and place.file.style == files.Style():
        return Change(place=place, names=tuple(names), data=None)
    return Change(place=place, names=tuple(names), data=_edited(place, content))


def _clean_bytes(place: Place, backup: Path, wanted: str) -> bytes | None:
    """The bytes of a backup that has none of our entries and otherwise the wanted content."""
    try:
        found = files.read_client_file(backup, "backup", place.file.form)
    except InvalidInput:
        return None
    if place.without(found.content)[1]:
        return None
    fits = json.dumps(_without_empty(found.content, place.client.group), default=str) == wanted
    return found.data if fits else None


def _without_empty(content: dict[str, Any], group: str) -> dict[str, Any]:
    """The content without the empty containers that ``install`` would have filled."""
    hooks = content.get("hooks")
    if isinstance(hooks, dict):
        kept = {
            event: groups
            for event, groups in hooks.items()
            if groups != [] or event not in entries.HOOK_EVENTS
        }
        content = {**content, "hooks": kept}
    return {name: part for name, part in content.items() if part != {} or name not in {"hooks", group}}


def carry_out(
    changes: Sequence[Change], arguments: Namespace, out: Output
) -> list[tuple[Change, Path | None]]:
    """Writes the files that change, or with ``--dry-run`` shows how they would; gives each with its backup."""
    now = datetime.now(UTC)
    backups = Backups(read_settings(arguments.home)[0].home)
    done: list[tuple[Change, Path | None]] = []
    for change in changes:
        backup = None
        if change.names and arguments.dry_run:
            if not out.as_json:
                out.say("\n".join(difference(change, out.paint)), as_is=True)
        elif change.names and change.data is None:
            files.remove(change.file, change.made)
        elif change.names and change.data is not None:
            backup = files.replace(change.file, change.data, backups, now)
        done.append((change, backup))
    return done


def _print(places: list[Place], here: entries.Installation, arguments: Namespace, out: Output) -> None:
    """Prints what would be written into empty files, for those who edit theirs by hand."""
    shown: list[dict[str, Any]] = []
    for place in places:
        empty = files.ClientFile(
            path=place.file.path, target=place.file.target, data=None, content={}, style=files.Style(),
            form=place.file.form,
        )  # fmt: skip
        change = _installed(Place(part=place.part, client=place.client, file=empty), here, arguments)
        assert change.data is not None, "an installation deletes nothing"
        shown.append({"path": str(place.file.path), "part": place.part, "text": change.data.decode()})
    lines = [f"# {one_line(one['path'], 300)}\n{one['text']}" for one in shown]
    out.answer({"files": shown}, "\n".join(lines).rstrip("\n"), as_is=True)


def difference(change: Change, paint: replies.Paint) -> Iterator[str]:
    """The change as a diff; secrets that stand near it are not shown."""
    old, new = (_readable(data, change.file.form) for data in (change.file.data, change.data))
    name = one_line(str(change.file.path), 300)
    for line in difflib.unified_diff(old, new, name, name, n=1, lineterm=""):
        shown = replies.printable(redact(line).text)
        colour = paint.good if line.startswith("+") else paint.bad if line.startswith("-") else paint.dim
        yield colour(shown)


def _readable(data: bytes | None, form: str) -> list[str]:
    """The lines of a file; one without line breaks is spread out first."""
    if not data or not data.strip():
        return []
    text = data.removeprefix(files.BOM).decode()
    if form == files.JSON and "\n" not in text.strip():
        text = files.written(json_text.scan(text).value, files.Style()).decode()
    return text.splitlines()


def tell(
    done: list[tuple[Change, Path | None]],
    out: Output,
    *,
    nothing: str,
    next_step: str,
    dry_run: bool,
    extra: dict[str, Any] | None = None,
) -> None:
    """Says what happened to each file, and what comes next."""
    changed = any(change.names for change, _ in done)
    if out.as_json:
        value = {"changed": changed, "dry_run": dry_run, "files": [_as_object(*item) for item in done]}
        out.value({**value, **(extra or {})})
        return
    if extra:
        nothing = f"{nothing}\n{next_step}"
    if not changed:
        out.say(out.paint.good(nothing))
        return
    if dry_run:
        out.say(out.paint.doubtful("Nothing was changed (--dry-run)."))
        return
    out.say("\n".join([*(line for item in done for line in _account(*item, out.paint)), "", next_step]))


def _account(change: Change, backup: Path | None, paint: replies.Paint) -> Iterator[str]:
    label = "Hooks     " if change.place.part == HOOKS else "MCP server"
    what = "no change"
    if change.names:
        listed = ", ".join(change.names) if change.place.part == HOOKS else change.names[0]
        what = f"deleted (it held nothing else): {listed}" if change.data is None else listed
    yield f"{paint.bold(label)}  {one_line(str(change.file.path), 300)}"
    yield f"            {paint.good(what) if change.names else paint.dim(what)}"
    if backup is not None:
        yield paint.dim(f"            the file as it was: {one_line(str(backup), 300)}")


def _as_object(change: Change, backup: Path | None) -> dict[str, Any]:
    return {
        "path": str(change.file.path),
        "part": change.place.part,
        "changed": list(change.names),
        "deleted": bool(change.names) and change.data is None,
        "backup": str(backup) if backup else None,
    }
