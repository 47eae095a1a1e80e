"""What may be kept of an event: switched-off projects, private sessions, rules of the user and of the project.

The configuration is read again when its file changes, so that a live server follows ``retain off`` at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import apsw

from retain.capture import controls as compiled
from retain.capture.acts import act_of
from retain.capture.fields import text_of
from retain.capture.parse import NAME_CHARS_MAX
from retain.config import CONFIG_FILE, Settings
from retain.errors import Conflict, RetainError
from retain.git.repository import locate
from retain.memory.inputs import text_field
from retain.model import Event, from_us, to_us
from retain.project_file import PROJECT_FILE, ProjectFile, read_project_file
from retain.rules import PATTERN_CHARS_MAX, Act
from retain.storage import controls as stored
from retain.storage.controls import Stretch
from retain.storage.sqlite import SqliteStore
from retain.whole_files import write_whole

logger = logging.getLogger(__name__)

OFF, PRIVATE = "off", "private"
PROJECT_OFF, PROJECT_UNREAD = f"{PROJECT_FILE} off", f"{PROJECT_FILE} cannot be read"
WHOLE_PROJECT = frozenset({OFF, PROJECT_OFF, PROJECT_UNREAD})
SUMMARIES = frozenset({"PreCompact", "PostCompact"})
"""They tell of the whole session; of one that was private at any time they are not kept."""

_MARK = re.compile(r"\s*(#private|#public)(?![\w-])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether an event is kept (no rule), and whether it begins or ends a private stretch of its session."""

    rule: str | None = None
    begins: bool = False
    ends: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What holds in a folder: its top, whether the user captures there, and what its own file says."""

    root: str
    captured: bool
    file: ProjectFile


class Controls:
    """Judges events by what the user, the project and the session say.

    Args:
        settings: those that the process was opened with.
        store: knows the private sessions.
        reread: the settings as they are now.
    """

    def __init__(self, settings: Settings, store: SqliteStore, reread: Callable[[], Settings]) -> None:
        self._store = store
        self._reread = reread
        self._home = settings.home
        self._settings = settings
        self._config = _stat(settings.home / CONFIG_FILE)
        self._switches = _with_real_paths(settings.projects)
        self._projects: dict[str, Project] = {}
        self._state: object = None
        self._written: bytes | None = None
        self.problem = ""

    @property
    def settings(self) -> Settings:
        """The settings as they stood in the file at the last look; where that is broken, as before."""
        return self._settings

    async def refresh(self) -> None:
        """Follows the configuration, and writes anew what hooks read; never fails."""
        self._projects.clear()
        now = _stat(self._home / CONFIG_FILE)
        if now != self._config:
            self._config, self._state = now, None
            await asyncio.to_thread(self._follow)
        state = self._store.state()
        if state == self._state:
            return
        try:
            private = await self._store.read(
                lambda r: stored.private_sessions(r.connection, compiled.SESSIONS_MAX)
            )
            wanted = compiled.compiled(self._switches, [session for session, _ in private])
            if wanted != self._written:
                await asyncio.to_thread(write_compiled, self._home, wanted)
                self._written = wanted
            self._state = state
        except (RetainError, OSError) as error:
            logger.warning("controls.not_written error=%s", type(error).__name__)

    def _follow(self) -> None:
        try:
            self._settings = self._reread()
        except RetainError as error:
            # What was forbidden stays so: the rules of before are kept until the file is mended.
            self.problem = f"the configuration is not followed: {error}"
            logger.warning("controls.config_refused code=%s", error.code)
            return
        self.problem = ""
        self._switches = _with_real_paths(self._settings.projects)

    def project(self, folder: str) -> Project:
        """What holds in a folder; blocking. Kept until the next ``refresh``."""
        known = self._projects.get(folder)
        if known is None:
            place = locate(folder)
            said = [compiled.said_of(self._switches, one) for one in (folder, _real(folder))]
            if said == [None, None] and (place.common_dir or "").endswith("/.git"):
                # A linked worktree goes with the working tree that its repository was made in.
                said = [compiled.said_of(self._switches, (place.common_dir or "").removesuffix("/.git"))]
            file = read_project_file(place.root)
            known = self._projects[folder] = Project(root=place.root, captured=False not in said, file=file)
        return known

    async def here(self, folder: str, session: str | None) -> tuple[str, list[str]]:
        """Whether a session is captured in a folder (on, off, private), and what is wrong with the rules."""
        await self.refresh()
        project = await asyncio.to_thread(self.project, folder)
        problems = [self.problem] if self.problem else []
        if project.file.problem:
            problems.append(f"nothing is captured here: {project.file.path} {project.file.problem}")
        if not project.captured or not project.file.captured:
            return OFF, problems
        return PRIVATE if await self.is_private(session) else "on", problems

    async def judge(self, events: Sequence[Event]) -> list[Verdict]:
        """The verdicts on events, which are given in order of time within a session.

        Raises:
            StoreError: the store cannot say which sessions are private.
        """
        await self.refresh()
        sessions = {event.session for event in events if event.session}
        stretches = await self._store.read(lambda r: stored.stretches(r.connection, sessions))
        return await asyncio.to_thread(self._judged, events, stretches)

    async def is_private(self, session: str | None) -> bool:
        """Whether a session is private now."""
        if not session:
            return False
        found = await self._store.read(lambda r: stored.stretches(r.connection, [session]))
        return stored.is_within(found.get(session, ()), time.time_ns() // 1000)

    async def refuse_private(self, session: str | None) -> None:
        """Lets nothing be stored from within a private session.

        Raises:
            Conflict: the session is private.
        """
        if await self.is_private(session):
            raise Conflict(
                "this session is private: nothing of it is stored", hint="`retain private off` ends that"
            )

    async def private(self) -> list[tuple[str, datetime]]:
        """The sessions that are private now, and since when; the newest first."""
        found = await self._store.read(lambda r: stored.private_sessions(r.connection, compiled.SESSIONS_MAX))
        return [(session, from_us(since)) for session, since in found]

    async def make_private(self, session: str, *, is_on: bool) -> bool:
        """Makes a session private from now on, or ends that; False where it was so already.

        Raises:
            InvalidInput: no id of a session.
        """
        name = text_field(session, "session", NAME_CHARS_MAX)
        was = await self.is_private(name)
        at_us = time.time_ns() // 1000
        change = stored.open_stretch if is_on else stored.close_stretch
        await self._store.write(lambda db: change(db, name, at_us))
        await self.refresh()
        return was != is_on

    def refused(self, folder: str, paths: Sequence[str]) -> str | None:
        """The rule that keeps a record out which another tool made in a folder, about files; blocking."""
        project = self.project(folder)
        return self._refused(project, Act(paths=tuple(paths), root=project.root))

    def _judged(self, events: Sequence[Event], stretches: dict[str, list[Stretch]]) -> list[Verdict]:
        return [self._verdict(event, stretches.setdefault(event.session, [])) for event in events]

    def _verdict(self, event: Event, stretches: list[Stretch]) -> Verdict:
        at_us = to_us(event.received_at)
        mark = mark_of(event) if event.session else ""
        begins = mark == compiled.PRIVATE_MARK and not stored.is_within(stretches, at_us)
        ends = mark == compiled.PUBLIC_MARK
        if begins:
            stretches.append((at_us, None))
        if ends:
            stretches[:] = [
                (since, at_us if until is None and since <= at_us else until) for since, until in stretches
            ]
        if stored.is_within(stretches, at_us) or (stretches and event.name in SUMMARIES):
            return Verdict(rule=PRIVATE, begins=begins, ends=ends)
        project = self.project(event.cwd or "/")
        return Verdict(rule=self._refused(project, act_of(event, project.root)), ends=ends)

    def _refused(self, project: Project, act: Act) -> str | None:
        if not project.captured:
            return OFF
        if not project.file.captured:
            return PROJECT_UNREAD if project.file.problem else PROJECT_OFF
        if rule := self._settings.rules.against(act):
            return rule
        theirs = project.file.rules.against(act)
        return f"{PROJECT_FILE} {theirs}"[: 2 * PATTERN_CHARS_MAX] if theirs else None


def mark_of(event: Event) -> str:
    """The mark that a prompt begins with (``#private`` or ``#public``); empty without one."""
    if event.name != "UserPromptSubmit":
        return ""
    found = _MARK.match(text_of(event.payload, "prompt"))
    return found[1] if found else ""


def keep_marks(db: apsw.Connection, event: Event, verdict: Verdict) -> None:
    """Begins or ends the private stretch that an event marks; a second time changes nothing."""
    at_us = to_us(event.received_at)
    if verdict.begins:
        stored.open_stretch(db, event.session, at_us)
    if verdict.ends:
        stored.close_stretch(db, event.session, at_us)


def keep_out(db: apsw.Connection, event: Event, rule: str) -> bool:
    """Counts an event that is not kept, inside the caller's transaction; False where it was counted before."""
    return stored.exclude(db, event_id=event.id, received_us=to_us(event.received_at), rule=rule)


def write_compiled(home: Path, data: bytes) -> None:
    """Puts what hooks read in place, in one step; nothing to say is no file.

    Raises:
        OSError: it cannot be written.
    """
    path = home / compiled.FILE
    if not data:
        path.unlink(missing_ok=True)
        return
    with suppress(FileNotFoundError):
        if path.read_bytes() == data:
            return
    write_whole(path, data)


def _with_real_paths(projects: Sequence[tuple[str, bool]]) -> Mapping[str, bool]:
    """The switches, also under the names that their folders have behind symbolic links."""
    real = {_real(path): captured for path, captured in projects}
    return {**real, **dict(projects)}


def _real(folder: str) -> str:
    try:
        return os.path.realpath(folder)
    except ValueError:
        return folder


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
