"""``retain doctor``: checks the whole installation, and says for each finding how to mend it."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import sys
from argparse import Namespace
from collections.abc import Generator, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from retain.capture import losses
from retain.config import Settings, client_files, managed_settings, place_of, read_settings
from retain.errors import RetainError
from retain.interfaces import client_checks, replies, surroundings
from retain.interfaces.findings import FAIL, OK, WARN, Finding, report

if TYPE_CHECKING:
    from retain.interfaces.cli import Output

FREE_BYTES_LOW = 200 * 1024 * 1024
FREE_BYTES_LEAST = 20 * 1024 * 1024
WAITING_BYTES_MANY = 64 * 1024 * 1024
_NEEDS = {"read": os.R_OK, "written to": os.W_OK, "entered": os.X_OK}


def doctor(arguments: Namespace, out: Output) -> int:
    """Runs every check; exit code 1 where one fails."""
    findings = list(examine(arguments))
    failed = any(finding.verdict == FAIL for finding in findings)
    value = {"ok": not failed, "findings": [asdict(finding) for finding in findings]}
    out.answer(value, report(findings, out.paint))
    return replies.EXIT_FAILED if failed else replies.EXIT_OK


def examine(arguments: Namespace) -> Iterator[Finding]:
    """The findings in the order in which their causes follow each other."""
    yield from versions()
    settings = yield from _settings(arguments)
    hooks_file = Path(arguments.settings or client_files()[0])
    servers_file = Path(arguments.mcp or client_files()[1])
    spawn = not arguments.no_spawn
    checks = {
        "data directory": data_directory(settings.home),
        "encryption": encryption(settings),
        "store": store(settings),
        "spool": spool(settings),
        "project": surroundings.project(),
        "hooks": client_checks.hooks(hooks_file, spawn=spawn),
        "mcp server": client_checks.server(servers_file, hooks_file, spawn=spawn),
        "one store": client_checks.one_store(hooks_file, servers_file, settings.home),
        "switches": surroundings.switches(hooks_file, managed_settings()),
        "trust": surroundings.trust(servers_file),
        "past sessions": surroundings.sweeping(hooks_file, settings),
        "other clients": surroundings.other_clients(),
    }
    for name, findings in checks.items():
        yield from _whatever_fails(name, findings)


def _settings(arguments: Namespace) -> Generator[Finding, None, Settings]:
    """The settings; where they cannot be read, that is a finding, and what they are without."""
    try:
        return read_settings(arguments.home)[0]
    except RetainError as error:
        settings = Settings(home=place_of(arguments.home))
        yield Finding(check="settings", verdict=FAIL, detail=str(error), mend=error.hint)
        return settings


def _whatever_fails(check: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """What a check finds; where it could not look, that is its finding, and the checks after it go on."""
    try:
        yield from findings
    except RetainError as error:
        yield Finding(check=check, verdict=FAIL, detail=str(error), mend=error.hint)
    except OSError as error:
        detail = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        yield Finding(
            check=check, verdict=FAIL, detail=f"could not look: {detail}", mend="let yourself read it"
        )


def versions() -> Iterator[Finding]:
    """Python, SQLite and the extension."""
    import apsw

    import retain
    from retain.storage.connection import check_sqlite

    python = platform.python_version()
    yield Finding(check="python", verdict=OK, detail=f"{python} at {sys.executable}")
    yield Finding(
        check="retain", verdict=OK, detail=f"{retain.__version__} at {Path(retain.__file__).parent}"
    )
    version = apsw.sqlite_lib_version()
    try:
        check_sqlite(version)
    except RetainError as error:
        yield Finding(check="sqlite", verdict=FAIL, detail=str(error), mend=error.hint)
    else:
        yield Finding(check="sqlite", verdict=OK, detail=f"{version} through apsw {apsw.apsw_version()}")


def encryption(settings: Settings) -> Iterator[Finding]:
    """Whether the data directory is encrypted, its key is here, and the SQLite that is loaded has ciphers."""
    from importlib.metadata import distributions

    from retain.memory.reports import encryption as state
    from retain.storage.connection import CIPHER_BUILD, check_ciphers

    name = "encryption"
    builds = {found.name.lower().replace("_", "-") for found in distributions()} & {"apsw", "apsw-sqlite3mc"}
    if len(builds) > 1:
        detail = "apsw and apsw-sqlite3mc are both installed: they are one module, and the last one wins"
        yield Finding(check="sqlite", verdict=WARN, detail=detail, mend=CIPHER_BUILD)
    try:
        found = state(settings)
        if found["encrypted"]:
            check_ciphers()
    except RetainError as error:
        yield Finding(check=name, verdict=FAIL, detail=str(error), mend=error.hint)
        return
    if found["encrypted"] and found["place"] is None:
        mend = "`retain key import FILE`, or set RETAIN_KEYS to the folder of the key"
        yield Finding(check=name, verdict=FAIL, detail=replies.at_rest(found), mend=mend)
    elif found["unfinished"]:
        mend = "run `retain encrypt`, `retain key rotate` or `retain decrypt` again"
        yield Finding(check=name, verdict=WARN, detail="the last change was cut short", mend=mend)
    else:
        yield Finding(check=name, verdict=OK, detail=replies.at_rest(found))


def data_directory(home: Path) -> Iterator[Finding]:
    """The data directory: there, ours, private, writable, with space."""
    name = "data directory"
    try:
        status = home.stat()
    except FileNotFoundError:
        yield Finding(check=name, verdict=OK, detail=f"{home} is not there yet; the first use makes it")
        return
    except OSError as error:
        mend = "set RETAIN_HOME to a directory of yours"
        yield Finding(check=name, verdict=FAIL, detail=f"{home}: {error.strerror}", mend=mend)
        return
    if not stat.S_ISDIR(status.st_mode):
        yield Finding(
            check=name,
            verdict=FAIL,
            detail=f"{home} is not a directory",
            mend="set RETAIN_HOME to another place",
        )
    elif status.st_uid != os.getuid():
        mend = f"chown it to you, or set RETAIN_HOME (its owner is user {status.st_uid})"
        yield Finding(check=name, verdict=FAIL, detail=f"{home} belongs to another user", mend=mend)
    elif missing := [what for what, need in _NEEDS.items() if not os.access(home, need)]:
        detail = f"{home} cannot be {' or '.join(missing)}"
        yield Finding(check=name, verdict=FAIL, detail=detail, mend=f"chmod 700 {home}")
    elif mode := stat.S_IMODE(status.st_mode) & 0o077:
        detail = f"{home} can be entered by others (mode {mode | 0o700:o})"
        yield Finding(check=name, verdict=WARN, detail=detail, mend=f"chmod 700 {home}")
    else:
        yield Finding(check=name, verdict=OK, detail=f"{home} is yours alone")
    if stat.S_ISDIR(status.st_mode):
        yield _space(home)


def _space(home: Path) -> Finding:
    free = shutil.disk_usage(home).free
    if free >= FREE_BYTES_LOW:
        return Finding(check="free space", verdict=OK, detail=replies.size(free))
    verdict = FAIL if free < FREE_BYTES_LEAST else WARN
    mend = "free some space, or move the directory and set RETAIN_HOME"
    return Finding(check="free space", verdict=verdict, detail=f"only {replies.size(free)}", mend=mend)


def store(settings: Settings) -> Iterator[Finding]:
    """Whether the store opens, and what it holds."""
    if not settings.database.exists():
        yield Finding(check="store", verdict=OK, detail="no memories yet")
        return
    from retain.interfaces.commands import with_memory

    try:
        counts = with_memory(Namespace(home=settings.home), lambda memory: memory.stats())
    except RetainError as error:
        mend = error.hint or "keep a copy of the data directory, then run `retain verify`"
        yield Finding(check="store", verdict=FAIL, detail=str(error), mend=mend)
        return
    memories = replies.counted(counts["memories"].get("active", 0), "memory", "memories")
    yield Finding(check="store", verdict=OK, detail=f"{memories}, {replies.size(counts['bytes'])}")
    if counts["dead_letters"]:
        letters = replies.counted(counts["dead_letters"], "event", "events")
        detail = f"{letters} could not be digested; they are kept in the store"
        mend = "upgrade retain, then `retain verify --mend` tries them again; report it if that does not help"
        yield Finding(check="dead letters", verdict=WARN, detail=detail, mend=mend)
    if mode := stat.S_IMODE(settings.database.stat().st_mode) & 0o077:
        detail = f"{settings.database} can be read by others (mode {mode | 0o600:o})"
        yield Finding(check="store", verdict=WARN, detail=detail, mend=f"chmod 600 {settings.database}")


def spool(settings: Settings) -> Iterator[Finding]:
    """What waits in the spool, and what went wrong on the way into it."""
    directory = settings.spool
    segments = [path for path in directory.glob("*.spool") if path.is_file()] if directory.is_dir() else []
    waiting = sum(path.stat().st_size for path in segments)
    if waiting > WAITING_BYTES_MANY:
        detail = f"{replies.size(waiting)} wait to be digested; no server seems to take them"
        yield Finding(check="spool", verdict=WARN, detail=detail, mend="retain drain")
    else:
        yield Finding(check="spool", verdict=OK, detail=f"{replies.size(waiting)} waiting")
    if lost := losses.all_of(str(directory)):
        failures = directory / losses.FAILURES
        since = "" if lost.since_us is None else f" since {losses.moment(lost.since_us)}"
        hooks = replies.counted(lost.count, "hook", "hooks")
        detail = f"{hooks} could not write an event{since}, the last because: {lost.reason} (see {failures})"
        yield Finding(
            check="failed hooks", verdict=WARN, detail=detail, mend=f"mend the cause, then remove {failures}"
        )
    damaged = directory / "damaged"
    if damaged.is_dir() and (count := len(list(damaged.iterdir()))):
        detail = f"{replies.counted(count, 'damaged stretch is', 'damaged stretches are')} kept in {damaged}"
        yield Finding(
            check="damage", verdict=WARN, detail=detail, mend="look at the disk; remove them when you have"
        )
