"""Accounts of the store for people and programs: stats, status, verification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw

import retain
from retain import keys
from retain.cache import MultiLevelCache
from retain.capture import losses, spool
from retain.config import Settings
from retain.memory.drain import DAMAGED, DrainReport
from retain.model import Recall, Workspace
from retain.retrieval.planner import QueryPlanner
from retain.storage import expiry
from retain.storage import trust as trusts
from retain.storage.connection import encrypted_with
from retain.storage.controls import excluded
from retain.storage.integrity import Check
from retain.storage.reads import Reader
from retain.storage.sqlite import SqliteStore

if TYPE_CHECKING:
    from retain.memory.semantics import Semantics
    from retain.pressure import MemoryManager

HIT_OVERHEAD_BYTES = 1_024


def weight(recall: Recall) -> int:
    """Bytes that a recall takes in the cache, near enough for its bound."""
    return 512 + sum(HIT_OVERHEAD_BYTES + len(hit.memory.text) + len(hit.snippet) for hit in recall.hits)


def stats(
    reader: Reader,
    settings: Settings,
    store: SqliteStore,
    recalls: MultiLevelCache,
    planner: QueryPlanner,
    drained: DrainReport,
    pressure: MemoryManager | None,
    semantics: Semantics,
) -> dict[str, Any]:
    """Counts of everything in the store, and of what this process did."""
    workspaces = [
        {"id": workspace.id, "name": workspace.name, "root": workspace.root, "memories": count}
        for workspace, count in reader.workspaces()
    ]
    return {
        "home": str(settings.home),
        "version": retain.__version__,
        "sqlite": apsw.sqlite_lib_version(),
        "bytes": _bytes_of(settings.database),
        "encryption": encryption(settings),
        **reader.counts(),
        "excluded": excluded(reader.connection),
        "expired": expiry.counted(reader.connection),
        "workspaces": workspaces,
        "spool": {
            "waiting_bytes": spool.waiting_bytes(str(settings.spool)),
            "damaged_files": len(_damaged(settings)),
            "failures": lost.count if (lost := losses.all_of(str(settings.spool))) else 0,
        },
        "process": {
            "cache": recalls.stats(),
            "pool": asdict(store.pool_stats()),
            "writer": store.writer_stats(),
            "planner": {"q_error": dict(planner.q_error())},
            "drained": asdict(drained),
            "vectors": semantics.stats(),
            "pressure": {"level": "off"} if pressure is None else pressure.stats(),
        },
    }


def status(
    reader: Reader, settings: Settings, place: Workspace, waiting_bytes: int, pressure: MemoryManager | None
) -> dict[str, Any]:
    """Where the store is, what it holds for this workspace, and what is wrong, if anything."""
    counts = reader.counts()
    trust = trusts.counts(reader.connection)
    here = next((count for workspace, count in reader.workspaces() if workspace.id == place.id), 0)
    problems = []
    if counts["dead_letters"]:
        problems.append(
            f"{counts['dead_letters']} events could not be digested (dead letters): "
            "`retain verify --mend` tries them again"
        )
    if lost := losses.all_of(str(settings.spool)):
        problems.append(_told(lost, settings))
    if damaged := _damaged(settings):
        problems.append(
            f"{len(damaged)} damaged stretches of the spool are kept in {settings.spool / DAMAGED}"
        )
    return {
        "version": retain.__version__,
        "home": str(settings.home),
        "workspace": {"id": place.id, "name": place.name, "root": place.root, "memories": here},
        "memories": counts["memories"].get("active", 0),
        "kinds": counts["kinds"],
        "sessions": counts["sessions"],
        "events": sum(counts["events"].values()),
        "redacted": sum(counts["redacted"].values()),
        "encryption": encryption(settings),
        "spool_waiting_bytes": waiting_bytes,
        "trust": trust["trust"],
        "review": trust["review"],
        "pressure": _pressure(pressure),
        "problems": problems,
    }


def encryption(settings: Settings) -> dict[str, Any]:
    """Whether the data directory is encrypted, with which key, where that is, and whether files still lack it.

    Raises:
        StoreUnusable: its public key cannot be understood.
    """
    name = keys.declared(settings.home)
    unfinished = settings.database.exists() and encrypted_with(settings.database) != name
    place = keys.place_of(name) if name else None
    return {"encrypted": name is not None, "key": name, "place": place, "unfinished": unfinished}


def spool_check(settings: Settings) -> Check:
    """Reads every waiting record of the spool and checks its sum."""
    directory = str(settings.spool)
    checked, problems = 0, []
    for name in (*spool.segments(directory), spool.LIVE):
        try:
            data = Path(directory, name).read_bytes()
        except FileNotFoundError:
            continue
        for item in spool.scan(data):
            checked += 1
            if isinstance(item, spool.Damage):
                problems.append(f"{name}: {len(item.data)} bytes at {item.offset} are no record")
    return Check(name="spool", checked=checked, problems=tuple(problems))


def verification(checks: Sequence[Check]) -> dict[str, Any]:
    """The checks as JSON values; ``ok`` where none found a problem."""
    return {
        "ok": not any(check.problems for check in checks),
        "checks": [
            {"name": check.name, "checked": check.checked, "problems": list(check.problems)}
            for check in checks
        ],
    }


def _pressure(manager: MemoryManager | None) -> dict[str, Any]:
    """Level, footprint and limit; level "off" where nobody watches."""
    if manager is None:
        return {"level": "off"}
    last = manager.stats()
    named = (
        "level",
        "used_bytes",
        "limit_bytes",
        "source",
        "resident_bytes",
        "given_up",
        "reliefs",
        "restores",
    )
    return {name: last[name] for name in named}


def _bytes_of(database: Path) -> int:
    """Size of database and WAL by their directory entries; the files themselves are not opened."""
    return sum(
        path.stat().st_size
        for path in (database, database.with_name(database.name + "-wal"))
        if path.exists()
    )


def _told(lost: losses.Losses, settings: Settings) -> str:
    since = "" if lost.since_us is None else f" since {losses.moment(lost.since_us)}"
    hooks = "1 hook" if lost.count == 1 else f"{lost.count} hooks"
    return (
        f"{hooks} failed to write the spool{since}, the last because: {lost.reason} "
        f"(see {settings.spool / losses.FAILURES})"
    )


def _damaged(settings: Settings) -> list[Path]:
    directory = settings.spool / DAMAGED
    return sorted(directory.iterdir()) if directory.is_dir() else []
