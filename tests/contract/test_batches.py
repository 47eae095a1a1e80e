"""What is stored does not depend on how many events a transaction takes: rows, marks, words, the audit."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import orjson
import pytest

import retain
from attacks.payloads import ORDERS, SIGNS
from retain.capture import spool
from retain.storage.trust import HOURLY, SIMILAR_HOURLY

pytestmark = pytest.mark.anyio

START_US = 1_795_000_000_000_000
MINUTE_US = 60_000_000
ALL_AT_ONCE = {"drain_batch": 4_096}
ONE_BY_ONE = {"drain_batch": 1}
WORDS = (
    "cart total round price queue retry session cookie parser größe naïve цена getUserById HTTPServer".split()
)
SECRET = "password = 'Zt9Kq2Lm8Xw4Rv6Bn3'"
SAME = "I decided to keep the retry of the queue below one second because the parser waits for it"

TABLES = {
    "memory": (
        "SELECT key, workspace, kind, title, body, paths, symbols, tags, origin, status, branch, commit_id, session, "
        "occurred_us, recorded_us, seen, seen_us, source_id, dedup, content_hash, reason, extra, redacted, worktree, "
        "dirty, blobs, trust, held FROM memory ORDER BY key"
    ),
    "tag": "SELECT * FROM memory_tag",
    "path": "SELECT * FROM memory_path",
    "link": "SELECT * FROM memory_link",
    "sighting": "SELECT * FROM memory_sighting",
    "body": "SELECT * FROM memory_body",
    "words": "SELECT * FROM temp.words ORDER BY term, doc, col, offset",
    "session": "SELECT * FROM session",
    "taint": "SELECT * FROM session_taint",
    "rate": "SELECT * FROM source_rate",
    "receipt": "SELECT id, session, name, received_us, outcome, memories, redacted FROM event_receipt ORDER BY id",
    "private": "SELECT * FROM private_session",
    "excluded": "SELECT id, rule FROM excluded_event ORDER BY id",
}


def payloads(rng: random.Random, count: int) -> Iterator[dict[str, Any]]:
    """Events of a few sessions in turns: work, pages, attacks, orders, secrets, floods, and some of them twice."""
    attacks = [text.format(m="x") for text in (*SIGNS.values(), *ORDERS.values())]
    kept: list[dict[str, Any]] = []
    for number in range(count):
        said = " ".join(rng.choices(WORDS, k=8))
        call = {"tool_use_id": f"t{number}", "session_id": f"s{rng.randrange(2)}"}
        file = {
            "file_path": f"/p/src/{rng.choice(WORDS)}.py",
            "old_string": said,
            "new_string": f"{said} {number}",
        }
        test = {"command": f"pytest tests/test_{rng.randrange(5)}.py"}
        event: dict[str, Any] = rng.choice(
            [
                {"hook_event_name": "UserPromptSubmit", "prompt": f"mend {said}"},
                {"hook_event_name": "UserPromptSubmit", "prompt": rng.choice(attacks)},
                {"hook_event_name": "UserPromptSubmit", "prompt": f"#p{rng.choice(['ublic'] * 5 + ['rivate'])} {said}"},
                {"hook_event_name": "Stop", "last_assistant_message": f"{SAME} {number}"},
                {"hook_event_name": "Stop", "last_assistant_message": f"I decided to {rng.choice(attacks)}"},
                {"hook_event_name": "PostToolUse", "tool_name": "Edit", "tool_input": file, "tool_response": {}},
                {"hook_event_name": "PostToolUseFailure", "tool_name": "Bash", "tool_input": test,
                 "error": f"Exit code 1\nE   ValueError: {rng.choice(WORDS)}"},
                {"hook_event_name": "PostToolUse", "tool_name": "Bash", "tool_input": test,
                 "tool_response": {"stdout": rng.choice([said, rng.choice(attacks), SECRET])}},
                {"hook_event_name": "PostToolUse", "tool_name": "WebFetch", "tool_input": {"url": "https://e.example"},
                 "tool_response": {"result": said}},
                {"hook_event_name": "SessionEnd", "reason": "other"},
            ]
        )  # fmt: skip
        kept.append({**event, **call, "cwd": "/p"})
        yield rng.choice(kept) if rng.random() < 0.1 else kept[-1]


def fill(home: Path, rng: random.Random, count: int) -> None:
    at_us = START_US
    for payload in payloads(rng, count):
        # Most follow one another in moments; now and then hours pass, so that counts of sources are dropped.
        at_us += 150 * MINUTE_US if rng.random() < 0.02 else rng.randrange(MINUTE_US // 6)
        record = spool.Record(json.dumps(payload).encode(), at_us, cwd="/p", branch="main", commit="1" * 40)
        spool.append(str(home / "spool"), record)


def stored(home: Path) -> dict[str, list[Any]]:
    """All that a store holds, but what differs from one to the next: ids, salts, and when it was drained."""
    db = apsw.Connection(str(home / "retain.db"))
    db.execute("CREATE VIRTUAL TABLE temp.words USING fts5vocab(main, memory_fts, instance)")
    found: dict[str, list[Any]] = {name: db.execute(sql).fetchall() for name, sql in TABLES.items()}
    keys: dict[Any, Any] = dict(db.execute("SELECT id, key FROM memory").fetchall())
    found["audit"] = []
    for number, door, actor, session, action, subject, detail in db.execute(
        "SELECT number, door, actor, session, action, subject, detail FROM audit ORDER BY number"
    ):
        said: dict[str, Any] = orjson.loads(detail)
        found["audit"].append(
            (number, door, actor, session, action, keys.get(subject, subject), {**said, "commitment": ""})
        )
    db.close()
    return found


@pytest.mark.parametrize("seed", range(2))
async def test_events_of_one_transaction_store_what_each_stores_in_its_own(tmp_path: Path, seed: int) -> None:
    found = []
    for name, settings in (("all", ALL_AT_ONCE), ("one", ONE_BY_ONE)):
        home = tmp_path / name
        fill(home, random.Random(seed), 300)
        async with retain.open(home, folder=tmp_path, **settings) as memory:
            report = await memory.drain.run()
            assert (report.dead, report.damaged_bytes) == (0, 0)
            assert (await memory.verify())["ok"]
            commits = memory._store.writer_stats()["commits"]
        found.append((stored(home), report, commits))
    (together, report, few), (apart, other, many) = found
    assert few * 20 < many
    assert report == other
    for table, rows in apart.items():
        assert together[table] == rows, table
    assert all((report.replayed, report.excluded, report.redacted))
    assert {"override", "flood", None} <= {row[-1] for row in apart["memory"]}
    assert {"untrusted", "observed", "user"} <= {row[-2] for row in apart["memory"]}


async def test_items_remembered_together_are_counted_and_found_as_one_by_one(tmp_path: Path) -> None:
    texts = [f"{SAME}, {WORDS[i % 10]}" for i in range(SIMILAR_HOURLY + 4)]
    texts += [f"another thing {i}" for i in range(HOURLY["assistant"])]
    items = [{"text": text, "occurred_at": 1_795_000_000} for text in texts]
    states = []
    for name in ("together", "apart"):
        home = tmp_path / name
        async with retain.open(home, folder=tmp_path, origin="assistant", session="s") as memory:
            if name == "together":
                kept = await memory.remember_many(items)
            else:
                kept = [await memory.remember(**item) for item in items]
            assert (await memory.verify())["ok"]
        rows = stored(home)
        states.append(([(one.trust, one.held) for one in kept], rows["words"], rows["audit"]))
    assert states[0] == states[1]
    assert {"flood", "quota"} <= {held for _, held in states[0][0]}
