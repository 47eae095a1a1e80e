"""A secret leaves every column, every file of the data directory and every level of the cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

import retain
from retain.capture import redact
from retain.errors import StoreBusy
from retain.memory.service import MemoryService
from retain.storage import audit, erasure
from retain.storage.backups import BACKUPS, Backups, alone
from retain.storage.scratch import scratch
from servers import RedisServer

pytestmark = pytest.mark.anyio

SECRET = "sk-" + "ant-" + "oat01-" + "Qm9vTHVua3lXYXRlclBpcGU5k"
MARK = redact.find(SECRET)[0]
ALLOWED = {"redact_allow": [f"{MARK.rule}:{MARK.fingerprint}:of the documentation"]}
"""Settings under which the secret is stored as it is."""
ANY = {"text": "we keep money in cents, see src/money.py"}
TOLD = {"text": f"the staging key is {SECRET} until march"}
DISK = {"cache_disk_bytes_max": 1 << 20}

ALONE = {
    "id", "kind", "status", "origin", "commit_id", "session", "dedup", "content_hash", "supersedes", "superseded_by",
    "redacted", "trust", "held", "digest", "hash", "actor", "door", "action", "subject", "detail", "state", "name",
    "outcome", "used", "hidden", "rule", "copy", "event", "own", "salt", "band", "data", "model", "source",
}  # fmt: skip
"""Columns that hold ids, hashes, numbers and words of retain's own, wherever they are not named in ``TEXTS``."""

PLACES = {
    ("workspace", "root"), ("workspace_alias", "path"), ("memory", "worktree"), ("import_file", "path"),
    ("memory", "blobs"),
}  # fmt: skip
"""Folders and files of this machine, by which they are found again; ``blobs`` is tried with a value of its own."""

TEXTS = {
    ("memory", "paths"): "UPDATE memory SET paths = json_array(?)",
    ("memory", "symbols"): "UPDATE memory SET symbols = json_array(?)",
    ("memory", "tags"): "UPDATE memory SET tags = json_array(?)",
    ("memory", "branch"): "UPDATE memory SET branch = ?",
    ("memory", "reason"): "UPDATE memory SET reason = ?",
    ("memory", "extra"): "UPDATE memory SET extra = json_object('said', ?)",
    ("memory", "source_id"): "UPDATE memory SET source_id = ?",
    ("memory_sighting", "branch"): "INSERT INTO memory_sighting SELECT key, ?, 'c', 1 FROM memory",
    (
        "memory_claim",
        "path",
    ): "INSERT INTO memory_claim SELECT key, 90, 'path', ?, '', '', 0, 'd' FROM memory",
    (
        "memory_claim",
        "name",
    ): "INSERT INTO memory_claim SELECT key, 91, 'symbol', 'a.py', ?, '', 1, 'd' FROM memory",
    (
        "memory_claim",
        "value",
    ): "INSERT INTO memory_claim SELECT key, 92, 'line', 'a.py', 'X', ?, 1, 'd' FROM memory",
    ("session", "source"): "INSERT INTO session (workspace, id, started_us, source) VALUES (1, 's1', 1, ?)",
    (
        "session",
        "end_reason",
    ): "INSERT INTO session (workspace, id, started_us, end_reason) VALUES (1, 's2', 1, ?)",
    ("session", "tracker"): "INSERT INTO session (workspace, id, started_us, tracker) VALUES (1, 's3', 1, ?)",
    ("session_taint", "detail"): "INSERT INTO session_taint VALUES (1, 's1', 'web', ?, 1)",
    ("dead_letter", "error"): "INSERT INTO dead_letter VALUES ('e1', 1, ?, x'')",
    ("dead_letter", "payload"): "INSERT INTO dead_letter VALUES ('e2', 1, '', CAST(? AS BLOB))",
    (
        "import_run",
        "place",
    ): ("INSERT INTO import_run (id, source, place, status, started_us) VALUES ('i1', 'x', ?, 'done', 1)"),
    ("import_run", "report"): (
        "INSERT INTO import_run (id, source, place, status, started_us, report) "
        "VALUES ('i2', 'x', '', 'done', 1, json_object('said', ?))"
    ),
    ("workspace", "identity"): "UPDATE workspace SET identity = 'git:0:host/' || ?",
    ("workspace", "name"): "UPDATE workspace SET name = ?",
    ("fact", "value"): "INSERT INTO fact VALUES ('planner.statistics', json_array(?))",
}
"""Every column that holds what a user, a tool or a repository wrote, and how a secret comes into it."""

BY_REMEMBERING = {
    ("memory", "title"), ("memory", "body"), ("memory_body", "data"), ("memory_tag", "tag"), ("memory_path", "path"),
}  # fmt: skip
NOT_OURS = {"memory_vocab", "secret", "audit_entry"}


@pytest.fixture(autouse=True)
def usual_rules() -> Iterator[None]:
    """The rules are the process's; the next test has them as they were."""
    yield
    redact.configure(pii=False, allowed=())


def planted(home: Path, statement: str, value: str) -> None:
    """Puts a value past every door into a store that nobody has open."""
    db = apsw.Connection(str(home / "retain.db"))
    audit.attach(db, audit.Author)
    db.execute(statement, (value,))
    db.close()


def columns(home: Path) -> set[tuple[str, str]]:
    """Table and column of everything in the schema that can hold characters."""
    db = apsw.Connection(str(home / "retain.db"), flags=apsw.SQLITE_OPEN_READONLY)
    tables = [
        name
        for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        if not name.startswith(("memory_fts", "sqlite_")) and name not in NOT_OURS
    ]
    found = {
        (table, row[1])
        for table in tables
        for row in db.execute(f"PRAGMA table_info({table})").fetchall()
        if row[2] in {"TEXT", "BLOB"}
    }
    db.close()
    return found


async def stored(home: Path, *items: dict[str, Any]) -> None:
    """Remembers under rules that leave the secret."""
    async with retain.open(home, folder="/", **ALLOWED) as memory:
        await memory.remember_many(items)


async def scrubbed(home: Path, **settings: Any) -> dict[str, Any]:
    async with retain.open(home, folder="/", **settings) as memory:
        return await memory.keeping.scrubbing.run()


def holding(home: Path) -> list[str]:
    """The files of the data directory that hold the secret."""
    return erasure.files_with(home, [SECRET.encode()])[0]


async def test_every_column_of_the_schema_is_known_to_hold_texts_or_not_to(home: Path) -> None:
    await stored(home, ANY)
    unknown = {one for one in columns(home) - set(TEXTS) - PLACES - BY_REMEMBERING if one[1] not in ALONE}
    assert unknown == set(), (
        "say in TEXTS how a secret comes into it, and have storage/scrubbing.py look at it"
    )


@pytest.mark.parametrize("column", TEXTS, ids=".".join)
async def test_a_secret_leaves_the_column(home: Path, column: tuple[str, str]) -> None:
    await stored(home, ANY)
    planted(home, TEXTS[column], SECRET)
    done = await scrubbed(home)
    assert done["unreadable"] == 0
    assert holding(home) == []
    again = await scrubbed(home)
    assert (again["rewritten"], again["rows"]) == (0, 0)


async def test_a_secret_leaves_all_that_remembering_fills(home: Path) -> None:
    long = "settlement of invoices " * 800
    await stored(
        home,
        TOLD,
        {"text": long + SECRET},
        {"text": "x", "title": SECRET, "tags": [SECRET], "paths": [SECRET]},
    )
    assert (await scrubbed(home))["rewritten"] == 3
    assert holding(home) == []
    db = apsw.Connection(str(home / "retain.db"))
    assert db.execute("SELECT tag FROM memory_tag").get == "[redacted:anthropic_key]"
    db.close()


async def test_the_files_that_a_memory_names_by_blob_are_searched(home: Path) -> None:
    await stored(home, ANY)
    planted(home, "UPDATE memory SET blobs = json_object(?, 'b10b')", f"deploy/{SECRET}.env")
    await scrubbed(home)
    assert holding(home) == []


async def asked(memory: MemoryService) -> None:
    """Puts an answer that quotes the memory into every level of the cache."""
    for _ in range(2):
        assert SECRET in (await memory.recall("staging key march")).hits[0].memory.text


async def test_no_level_of_the_cache_keeps_it(home: Path, redis: RedisServer) -> None:
    levels = {"redis_url": redis.url, **DISK}
    async with retain.open(home, folder="/", **ALLOWED, **levels) as memory:
        await memory.remember(f"the staging key is {SECRET} until march")
        await asked(memory)
    assert any(SECRET.encode() in value for value in redis.held().values())
    assert any(name.startswith("cache/") for name in holding(home))
    done = await scrubbed(home, **levels)
    assert done["caches_emptied"]
    assert not any(SECRET.encode() in value for value in redis.held().values())
    assert holding(home) == []


async def test_a_cache_server_that_is_away_is_said_and_emptied_later(home: Path, redis: RedisServer) -> None:
    async with retain.open(home, folder="/", **ALLOWED, redis_url=redis.url) as memory:
        await memory.remember(f"the staging key is {SECRET} until march")
        redis.kill()
        redact.configure(pii=False, allowed=())
        done = await memory.keeping.scrubbing.run()
        assert not done["caches_emptied"]
    redis.start()
    assert (await scrubbed(home, redis_url=redis.url))["caches_emptied"]


async def test_disk_caches_of_other_processes_are_emptied_too(home: Path) -> None:
    async with (
        retain.open(home, folder="/", **ALLOWED, **DISK) as first,
        retain.open(home, folder="/", **ALLOWED, **DISK) as second,
    ):
        await first.remember(f"the staging key is {SECRET} until march")
        await asked(first)
        await asked(second)
        redact.configure(pii=False, allowed=())
        await first.keeping.scrubbing.run()
        assert holding(home) == []
        assert (await second.recall("staging key march")).hits
        await second.recall("staging key march")
    async with retain.open(home, folder="/", **DISK) as third:
        await third.recall("staging key march")
    assert holding(home) == []


async def test_what_stands_beside_the_store_is_rewritten_or_removed(home: Path) -> None:
    await stored(home, TOLD)
    db = apsw.Connection(str(home / "retain.db"))
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    copy = (home / "retain.db").read_bytes()
    (home / "retain.db.replaced-20260101T000000Z").write_bytes(copy)
    (home / "retain.db.restored").write_bytes(copy)
    left = home / "scratch-abc"
    left.mkdir()
    (left / "retain.db").write_bytes(copy)
    os.utime(left, (1, 1))
    with scratch(home) as kept:  # of a process that lives
        os.utime(kept, (1, 1))
        done = await scrubbed(home)
        assert kept.is_dir()
    assert done["copies_rewritten"] == 1
    assert holding(home) == []
    aside = apsw.Connection(str(home / "retain.db.replaced-20260101T000000Z"))
    assert "[redacted:anthropic_key]" in aside.execute("SELECT body FROM memory").get
    aside.close()


async def test_a_copy_that_cannot_be_read_is_counted(home: Path) -> None:
    await stored(home, ANY)
    (home / "retain.db.replaced-20260101T000000Z").write_bytes(b"SQLite format 3\0" + b"\xff" * 5_000)
    assert (await scrubbed(home))["copies_unreadable"] == 1


async def test_a_scrub_that_was_cut_off_is_gone_on_with(home: Path) -> None:
    async with retain.open(home, folder="/", **ALLOWED, **DISK) as memory:
        await memory.remember(f"the staging key is {SECRET} until march")
        await asked(memory)
    async with retain.open(home, folder="/", **DISK) as memory:
        with alone(home), pytest.raises(StoreBusy):
            await memory.keeping.scrubbing.run()
    assert holding(home) != []
    done = await scrubbed(home, **DISK)
    assert done["rewritten"] == 0
    assert holding(home) == []


async def test_nothing_of_git_brings_a_secret_into_a_file(home: Path, git_repo: Any) -> None:
    repo = git_repo("project")
    repo("remote", "add", "origin", f"https://me:{SECRET}@example.org/{SECRET}/repo.git")
    (repo.path / "money.py").write_text("CENTS = 100\n")
    repo("add", ".")
    repo.commit(f"rotate {SECRET}")
    repo("checkout", "-q", "-b", "work")
    repo.commit(f"more {SECRET}")
    async with retain.open(home, folder=repo.path) as memory:
        await memory.remember("CENTS is 100 in money.py", paths=["money.py"])
        await memory.recall("cents money")
    repo("checkout", "-q", "main")
    async with retain.open(home, folder=repo.path) as memory:
        await memory.recall("cents money")
        await memory.claims.report()
    assert holding(home) == []


async def test_an_erasure_reaches_what_a_scrub_reaches(home: Path, redis: RedisServer) -> None:
    levels = {"redis_url": redis.url, **DISK}
    async with (
        retain.open(home, folder="/", **ALLOWED, **levels) as memory,
        retain.open(home, folder="/", **ALLOWED, **levels) as other,
    ):
        gone = await memory.remember(TOLD["text"])
        await asked(memory)
        await asked(other)
        await memory.keeping.backup()
        backups = Backups(home / BACKUPS)
        backups.assemble(backups.known()[0], home / "retain.db.replaced-20260101T000000Z")
        await memory.forget(gone.id)
        done = await memory.keeping.erase([gone.id])
    assert done["proof"]["found_in"] == []
    assert done["caches_emptied"]
    assert holding(home) == []
    assert not any(SECRET.encode() in value for value in redis.held().values())
