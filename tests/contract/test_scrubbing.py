"""What is stored is searched again when the rules change, and nothing of what was taken out is left in any file."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

import retain
from retain.capture import redact
from retain.storage import erasure

pytestmark = pytest.mark.anyio


def secret(end: str = "k") -> str:
    """A key that no scanner should find in this file."""
    return "sk-" + "ant-" + "oat01-" + "Qm9vTHVua3lXYXRlclBpcGU5" + end


def allowing(*values: str) -> dict[str, list[str]]:
    """Settings under which these values are stored as they are."""
    marks = [redact.find(value)[0] for value in values]
    return {"redact_allow": [f"{one.rule}:{one.fingerprint}:of the documentation" for one in marks]}


async def test_rules_that_have_changed_rewrite_what_is_stored(home: Path) -> None:
    text = f"the staging key is {secret()} until march"
    async with retain.open(home, **allowing(secret())) as memory:
        kept = await memory.remember(text, tags=["keys"], paths=["deploy/key.env"])
        long = await memory.remember(f"{'settlement of invoices ' * 800}{secret()}")
        other = await memory.remember("the queue is drained by one process")
        await memory.keeping.backup()
        assert (await memory.get(kept.id)).text == text
    async with retain.open(home) as memory:
        before = await memory.get(other.id)
        assert [one["rule"] for one in await memory.keeping.scrubbing.findings()] == ["anthropic_key"] * 3
        done = await memory.keeping.scrubbing.run()
        assert (done["rewritten"], done["backups_rewritten"], done["unreadable"]) == (2, 1, 0)
        assert done["secrets"] == {"anthropic_key": 3}
        now = await memory.get(kept.id)
        assert now.text == "the staging key is [redacted:anthropic_key] until march"
        assert (now.tags, now.paths, now.redacted) == (("keys",), ("deploy/key.env",), {"anthropic_key": 2})
        assert secret() not in (await memory.get(long.id)).text
        assert await memory.get(other.id) == before
        assert (await memory.recall("staging key march")).hits[0].memory.id == kept.id
        assert (await memory.verify())["ok"]
        again = await memory.keeping.scrubbing.run()
        assert (again["rewritten"], again["rows"], again["backups_rewritten"]) == (0, 0, 0)
        actions = [entry["action"] for entry in (await memory.audit.entries(limit=50))["entries"]]
        assert actions.count("rewritten") == 2
        assert actions.count("scrubbed") == 1
    assert erasure.files_with(home, [secret().encode()])[0] == []


async def test_what_says_the_same_without_its_secrets_becomes_one(home: Path) -> None:
    values = [secret("a"), secret("b")]
    async with retain.open(home, **allowing(*values)) as memory:
        first, second = [(await memory.remember(f"the deploy key is {value}")).id for value in values]
    async with retain.open(home) as memory:
        assert (await memory.keeping.scrubbing.run())["merged"] == 1
        kept, gone = sorted([await memory.get(first), await memory.get(second)], key=lambda one: one.status)
        assert (kept.status, kept.seen) == ("active", 2)
        assert gone.status == "forgotten"
        assert gone.reason == f"without its secrets it says what {kept.id} says"
        assert (await memory.verify())["ok"]


async def test_dead_letters_and_what_was_set_aside_are_rewritten(home: Path) -> None:
    async with retain.open(home) as memory:
        await memory.remember("anything")
    db = apsw.Connection(str(home / "retain.db"))
    db.execute(
        "INSERT INTO dead_letter VALUES ('e', 1, 'no reason', ?)",
        (('{"password": "' + "Lk7" + 'w9Qz12", "note": "' + secret() + '"}').encode(),),
    )
    db.close()
    damaged = home / "spool" / "damaged"
    damaged.mkdir(parents=True, exist_ok=True)
    (damaged / "stretch").write_bytes(b"\xff\x00" + secret().encode() + b"\xfe")
    async with retain.open(home) as memory:
        done = await memory.keeping.scrubbing.run()
        assert (done["rows"], done["files_rewritten"]) == (1, 1)
        assert done["secrets"] == {"anthropic_key": 1, "json_key": 1}
    assert (damaged / "stretch").read_bytes() == b"\xff\x00[redacted:anthropic_key]\xfe"
    assert erasure.files_with(home, [secret().encode(), b"w9Qz12"])[0] == []


async def test_personal_data_goes_where_that_is_asked_for(home: Path) -> None:
    text = "ask ada@analytical.org about the invoice"
    async with retain.open(home) as memory:
        kept = await memory.remember(text)
        assert (await memory.get(kept.id)).text == text
    async with retain.open(home, redact_pii=1) as memory:
        assert (await memory.keeping.scrubbing.run())["secrets"] == {"mail_address": 2}
        assert (await memory.get(kept.id)).text == "ask [redacted:mail_address] about the invoice"
        new = await memory.remember("call +49 30 901820 before noon")
        assert new.redacted
