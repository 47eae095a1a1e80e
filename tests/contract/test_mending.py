"""Damage is found on read, never shown, never hides the rest, and is mended from what is still whole."""

from __future__ import annotations

import random
import shutil
from importlib import resources
from pathlib import Path

import apsw
import pytest

import retain
from retain.errors import NotFound, StoreCorrupt, StoreError
from retain.memory.keeping import restore_backup
from retain.memory.service import MemoryService
from retain.storage import migrations
from retain.storage.audit import BY_UPGRADE, attach
from retain.storage.rows import content_hash
from retain.trust import TRUSTS

pytestmark = pytest.mark.anyio

SINCE_TRUST = 9
"""The schema from which on a memory says how far it may be believed."""


def flip(home: Path, old: bytes, new: bytes) -> None:
    """Changes bytes in the database file as a failing disk would; nobody has it open."""
    database = home / "retain.db"
    connection = apsw.Connection(str(database))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    data = database.read_bytes()
    assert old in data
    database.write_bytes(data.replace(old, new))


async def test_a_flipped_bit_is_not_shown_and_does_not_hide_the_rest(home: Path) -> None:
    async with retain.open(home) as memory:
        bad = await memory.remember("zebra stripes number one")
        good = await memory.remember("zebra stripes number two")
    flip(home, b"zebra stripes number one", b"zebra strypes number one")
    async with retain.open(home) as memory:
        found = await memory.recall("zebra stripes")
        assert [hit.memory.id for hit in found.hits] == [good.id]
        assert found.hidden["damaged"] == 1
        with pytest.raises(StoreCorrupt):
            await memory.get(bad.id)
        with pytest.raises(StoreCorrupt, match="1 of these memories are damaged"):
            await memory.timeline()
        assert not (await memory.verify())["ok"]


@pytest.mark.parametrize("new", [b"zebra strypes", b"zebra \xff\xfe\xff\xff\xff\xff\xff"])
async def test_what_a_backup_has_whole_is_mended(home: Path, new: bytes) -> None:
    async with retain.open(home) as memory:
        bad = await memory.remember("zebra stripes number one", tags=["t"])
        await memory.keeping.backup()
        later = await memory.remember("giraffe spots, after the backup")
    flip(home, b"zebra stripes", new)
    flip(home, b"giraffe spots", b"giraffe sp\x00ts")
    async with retain.open(home) as memory:
        done = await memory.keeping.mend()
        assert done["mended"] == [bad.id]
        assert done["set_apart"] == [later.id]
        assert (await memory.recall("zebra stripes")).hits[0].memory.text == "zebra stripes number one"
        assert (await memory.recall("giraffe spots")).hits == ()
        assert (await memory.keeping.mend())["set_apart"] == []
        checks = {one["name"]: one["problems"] for one in (await memory.verify())["checks"]}
        assert [name for name, problems in checks.items() if problems] == ["content hashes"]


async def test_rows_of_the_index_that_went_missing_are_made_again(memory: MemoryService) -> None:
    stored = await memory.remember("zebra stripes")
    other = await memory.remember("forgotten later")
    await memory._store.write(lambda db: db.execute("DELETE FROM memory_fts").fetchall())
    await memory.forget(other.id)
    assert not (await memory.verify())["ok"]
    assert (await memory.keeping.mend())["index_rows"] == 1
    assert (await memory.recall("zebra stripes")).hits[0].memory.id == stored.id
    assert (await memory.verify())["ok"]


@pytest.mark.parametrize("seed", range(5))
async def test_a_store_with_torn_pages_comes_back_with_all_that_is_whole(home: Path, seed: int) -> None:
    """Random pages are overwritten: the backup replaces the store, and what came later is saved where it is whole."""
    async with retain.open(home) as memory:
        before = [await memory.remember(f"fact {n}: {'x' * 300}") for n in range(60)]
        await memory.keeping.backup()
        after = [await memory.remember(f"later fact {n}: {'y' * 300}") for n in range(60)]
        settings = memory.settings
    flip(home, b"fact 0:", b"fact 0:")  # moves everything out of the log
    database = home / "retain.db"
    data = bytearray(database.read_bytes())
    rng = random.Random(seed)
    for page in rng.sample(range(1, len(data) // 4096), 8):
        data[page * 4096 + 100 : (page + 1) * 4096] = rng.randbytes(3996)
    database.write_bytes(data)
    done = restore_backup(settings, "latest")
    async with retain.open(home) as memory:
        assert (await memory.verify())["ok"]
        for one in before:
            assert (await memory.get(one.id)).text == one.text
        found, _ = await memory.get_many([one.id for one in after[:50]])
        assert {one.text for one in found} <= {one.text for one in after}
        counts = (await memory.stats())["memories"]["active"]
        assert counts == 60 + done["salvaged"]


async def test_what_is_no_database_any_more_is_replaced_by_the_backup_alone(home: Path) -> None:
    async with retain.open(home) as memory:
        await memory.remember("a fact")
        await memory.keeping.backup()
        settings = memory.settings
    flip(home, b"a fact", b"a fact")
    (home / "retain.db").write_bytes(b"\x00garbage" * 5_000)
    with pytest.raises(StoreError):
        async with retain.open(home):
            pass
    done = restore_backup(settings, "latest")
    assert (done["salvaged"], done["unreadable"]) == (0, 0)
    async with retain.open(home) as memory:
        assert (await memory.verify())["ok"]


def old_store(path: Path, version: int) -> dict[str, str]:
    """Writes a store of an older schema with a memory of each origin and one of a session that read a page."""
    db = apsw.Connection(str(path))
    attach(db, lambda: BY_UPGRADE)
    for number, name in enumerate(migrations.MIGRATIONS[:version], start=1):
        db.execute(resources.files(migrations).joinpath(name).read_text(encoding="utf-8"))
        db.pragma("user_version", number)
    db.execute("INSERT INTO workspace VALUES (1, 'w', 'path:/w', 'w', '/w', 1)")
    rows = {
        "user": ("user", "note", "a", "{}"),
        "assistant": ("assistant", "note", "a", "{}"),
        "tool": ("tool", "search", "b", '{"tool": "WebFetch"}'),
        "tainted": ("assistant", "note", "b", "{}"),
    }
    ids = {}
    for number, (name, (origin, kind, session, extra)) in enumerate(rows.items(), start=1):
        ids[name] = f"01a20852-fd2f-7000-a043-76db6ce6ea{number:02}"
        text = f"the {name} said that the parser keeps its tables"
        db.execute(
            "INSERT INTO memory (workspace, id, kind, title, body, paths, symbols, tags, origin, status, session, "
            "occurred_us, recorded_us, seen_us, dedup, content_hash, extra, redacted) "
            "VALUES (1, ?, ?, '', ?, '[]', '[]', '[]', ?, 'active', ?, ?, 1, 1, ?, ?, ?, '{}')",
            (
                ids[name],
                kind,
                text,
                origin,
                session,
                number,
                bytes([number]),
                content_hash(kind, "", text),
                extra,
            ),
        )
    db.close()
    return ids


@pytest.mark.parametrize("version", range(1, migrations.VERSION + 1))
async def test_a_damaged_store_of_any_older_schema_is_read(home: Path, version: int) -> None:
    async with retain.open(home) as memory:
        await memory.remember("a fact")
        await memory.keeping.backup()
        settings = memory.settings
    for end in ("", "-wal", "-shm"):
        (home / f"retain.db{end}").unlink(missing_ok=True)
    ids = old_store(home / "retain.db", version)
    before = (home / "retain.db").read_bytes()
    done = restore_backup(settings, "latest")
    assert (done["salvaged"], done["unreadable"]) == (4, 0)
    assert (home / done["set_aside"]).read_bytes() == before
    async with retain.open(home) as memory:
        trust = {name: (await memory.get(one)).trust for name, one in ids.items()}
        assert (await memory.verify())["ok"]
    if version < SINCE_TRUST:
        assert trust == {"user": "user", "assistant": "claimed", "tool": "untrusted", "tainted": "untrusted"}
    else:
        assert set(trust.values()) == {"untrusted"}  # as these rows were written


FLIPS = 150


async def test_a_flipped_bit_anywhere_never_changes_what_is_told(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One bit of the file is turned, at a place at random: what is read is what was stored, or it is refused."""
    async with retain.open(home) as memory:
        texts = [f"fact {n} of the zebra: {chr(97 + n % 26) * 40}" for n in range(80)]
        items = [{"text": text, "tags": [f"t{n % 5}"], "title": f"title {n}"} for n, text in enumerate(texts)]
        known = {one.id: one for one in await memory.remember_many(items)}
        await memory.keeping.backup()
    flip(home, b"fact 0 of", b"fact 0 of")  # moves everything out of the log
    whole = (home / "retain.db").read_bytes()
    rng = random.Random(7)
    told = refused = unreadable = mended = 0
    for number in range(FLIPS):
        data = bytearray(whole)
        data[rng.randrange(100, len(data))] ^= 1 << rng.randrange(8)
        place = tmp_path / str(number)
        shutil.copytree(home, place)
        (place / "retain.db").write_bytes(data)
        try:
            async with retain.open(place) as memory:
                for one in known.values():
                    try:
                        read = await memory.get(one.id)
                    except (StoreError, NotFound):
                        refused += 1
                    else:
                        told += 1
                        assert (read.title, read.text) == (one.title, one.text)
                        assert read.trust not in TRUSTS or TRUSTS.index(read.trust) >= TRUSTS.index(one.trust)
                found = await memory.recall("zebra fact", limit=50)
                assert {hit.memory.text for hit in found.hits} <= set(texts)
                assert all(isinstance(hit.memory.id, str) for hit in found.hits)
                mended += len((await memory.keeping.mend())["mended"])
        except StoreError:
            unreadable += 1
        shutil.rmtree(place)
    with capsys.disabled():
        print(
            f"\n{FLIPS} flipped bits: {told:,} reads told as stored, {refused:,} refused, 0 changed; "
            f"{mended} mended from the backup, {unreadable} stores refused as a whole"
        )
    assert told > refused
