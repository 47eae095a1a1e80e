"""``retain import``: past sessions and the memories of other tools, with a parity report, a dry run and undo."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import retain
from retain.capture.moving.catalogue import FORMATS
from retain.capture.past_sessions import CODEX, FILES, GEMINI
from retain.config import CONFIG_FILE, client_files, codex_directory, user_directory
from retain.errors import InvalidInput
from retain.interfaces import replies
from retain.model import from_us
from retain.storage.scratch import scratch

if TYPE_CHECKING:
    from retain.capture.moving.records import Source
    from retain.interfaces.cli import Output
    from retain.memory.imports import Progress
    from retain.memory.service import MemoryService

BAR_CHARS = 30
SHOWN_EVERY_S = 0.1
REASONS_SHOWN = 20


def move_in(arguments: Namespace, out: Output) -> int:
    """Reads one source into the store, or with ``--dry-run`` into a copy of it; exit code 1 where any was lost."""
    bar = Bar(shown=sys.stderr.isatty() and not out.as_json)
    place = _place(arguments.format, arguments.file)

    async def run() -> dict[str, Any]:
        async with retain.open(arguments.home, door="cli") as memory:
            await memory.drain.run()  # what the hooks have captured must be known before it is met again
            if not arguments.dry_run:
                return await _read(memory, arguments, place, bar.show)
            with scratch(memory.settings.home) as directory:
                await memory.imports.copy_to(directory / memory.settings.database.name)
                with suppress(FileNotFoundError):  # the rules hold for a trial as well
                    shutil.copy(memory.settings.home / CONFIG_FILE, directory)
                async with retain.open(directory) as copy:
                    return await _read(copy, arguments, place, bar.show)

    try:
        report = asyncio.run(run())
    finally:
        bar.clear()
    report["dry_run"] = arguments.dry_run
    out.answer(report, told(report))
    return replies.EXIT_FAILED if report["lost"] or report.get("unreadable") else replies.EXIT_OK


def list_imports(arguments: Namespace, out: Output) -> int:
    """Prints every import that was made, oldest first."""

    async def runs() -> list[Any]:
        async with retain.open(arguments.home, door="cli") as memory:
            return await memory.imports.runs()

    found = asyncio.run(runs())
    value = [
        {
            "import": run.id, "source": run.source, "place": run.place, "status": run.status,
            "started_at": from_us(run.started_us).isoformat(timespec="seconds"), "report": dict(run.report),
        }
        for run in found
    ]  # fmt: skip
    lines = [
        f"{run.id}  {replies.local_time(from_us(run.started_us))}  {run.status:<7}  {run.source}  {run.place}"
        for run in found
    ]
    out.answer(value, "\n".join(lines) or "No import was made.")
    return replies.EXIT_OK


def undo(arguments: Namespace, out: Output) -> int:
    """Forgets what one import created."""
    if arguments.file is None:
        raise InvalidInput("id", "is missing", hint="`retain import list` shows the ids")

    async def take_back() -> Any:
        async with retain.open(arguments.home, door="cli") as memory:
            return await memory.imports.undo(arguments.file)

    done = asyncio.run(take_back())
    value = {"import": arguments.file, "forgotten": done.forgotten, "kept": done.kept}
    kept = f" · {done.kept:,} kept, for they were stored elsewhere too" if done.kept else ""
    out.answer(value, f"{done.forgotten:,} forgotten{kept}")
    return replies.EXIT_OK


def _place(name: str, given: str | None) -> Path:
    """Where to read: as given, else where the tool keeps its data.

    Raises:
        InvalidInput: it must be given.
    """
    if given is not None:
        return Path(given).expanduser()
    if name in {"transcripts", "auto-memory"}:
        return client_files()[0].parent / "projects"
    if name == CODEX:
        return codex_directory()
    if name == GEMINI:
        return user_directory() / ".gemini" / "tmp"
    if name == "history":
        return client_files()[0].parent / "history.jsonl"
    default = FORMATS[name].default
    if default is None:
        raise InvalidInput("file", "is missing", hint=f"name the file or folder of {name}")
    return Path(default).expanduser()


async def _read(
    memory: MemoryService, arguments: Namespace, place: Path, tell: Callable[[Progress], None]
) -> dict[str, Any]:
    if arguments.format in FILES:
        return await memory.imports.transcripts(
            place,
            workspace=arguments.workspace,
            tell=tell,
            source=arguments.format,
            own=arguments.file is None,
        )
    source = await asyncio.to_thread(_opened, arguments.format, place, memory.settings.database)
    return await memory.imports.records(arguments.format, source, workspace=arguments.workspace, tell=tell)


def _opened(name: str, place: Path, database: Path) -> Source:
    """The source at a place that is not the store itself: a second opening would drop SQLite's locks on it."""
    if place.is_file() and place.samefile(database):
        raise InvalidInput("file", "is the store itself")
    return FORMATS[name].open(place)


def told(report: Mapping[str, Any]) -> str:
    """The account of an import for people."""
    lines = [
        f"{'Tried' if report['dry_run'] else 'Import'} {report['import']}: {report['source']} from {report['place']}"
    ]
    if report["source"] in FILES:
        lines.append(_of_transcripts(report))
    else:
        names = ("in", "stored", "merged", "skipped", "lost")
        lines.append(" · ".join(f"{report[name]:,} {name}" for name in names))
        extra = [f"{report[name]:,} {name}" for name in ("revised", "redacted") if report[name]]
        lines += [" · ".join(extra)] if extra else []
        lines += [
            f"  skipped {count:,}: {reason}"
            for reason, count in list(report["reasons"].items())[:REASONS_SHOWN]
        ]
        lines += [f"  {one['record']}: {one['reason']}" for one in report["records"][:REASONS_SHOWN]]
    lines += [
        "Nothing was stored." if report["dry_run"] else f"Undo it with: retain import undo {report['import']}"
    ]
    return "\n".join(lines)


def _of_transcripts(report: Mapping[str, Any]) -> str:
    counts = {
        "known before": report["known"], "kept": report["kept"], "merged": report["merged"],
        "without a memory": report["empty"], "kept out by rules": report["excluded"], "dead": report["dead"],
        "lost": report["lost"],
    }  # fmt: skip
    lines = [
        (
            f"{replies.counted(report['files'], 'file', 'files')} ({report['unchanged']:,} unchanged), "
            f"{report['bytes'] / 1e6:,.1f} MB read"
        ),
        f"{report['events']:,} events: " + " · ".join(f"{count:,} {name}" for name, count in counts.items()),
        f"{report['memories']:,} memories, {sum(report['redacted'].values()):,} secrets taken out",
    ]
    lines += [f"  {one['file']}: {one['problem']}" for one in report["unreadable"][:REASONS_SHOWN]]
    return "\n".join(lines)


class Bar:
    """A progress bar on a terminal; silent elsewhere."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._started = self._last = time.monotonic()

    def show(self, progress: Progress) -> None:
        """Draws the bar anew, at most ten times a second."""
        now = time.monotonic()
        if not self._shown or (now - self._last < SHOWN_EVERY_S and progress.done < progress.total):
            return
        self._last = now
        share = min(1.0, progress.done / progress.total) if progress.total else 1.0
        filled = int(share * BAR_CHARS)
        left = (now - self._started) * (1 - share) / share if share else 0
        sys.stderr.write(
            f"\r\x1b[K[{'#' * filled}{'.' * (BAR_CHARS - filled)}] {share:4.0%} · "
            f"{progress.memories:,} memories · {left:,.0f} s left"
        )
        sys.stderr.flush()

    def clear(self) -> None:
        """Removes the bar."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
