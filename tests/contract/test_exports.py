"""Export and import: the same bytes again, whatever the texts hold, and no file that was cut short."""

from __future__ import annotations

import io
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson
import pytest

import retain
from retain.errors import InvalidInput
from retain.memory.service import MemoryService
from retain.storage.exports import as_line

pytestmark = pytest.mark.anyio

SECRET = "ghp_" + "Zt9Kq2Lm8Xw4Rv6Bn3Jd5Hf7Ps1Gc0YaUe"  # made up, in the shape of a GitHub token
TEXTS = [
    "plain",
    "ends with a line break\n",
    "\n\nbegins with two",
    'a "quoted" --> arrow and <!-- retain {"sum": 1} -->\nsecond line\r\nthird',
    "\u65e5\u672c\u8a9e \N{PARTY POPPER} \u2028 separators",
    "long " * 5_000,
]


async def fill(memory: MemoryService) -> None:
    """Memories of every status, with links."""
    for number, text in enumerate(TEXTS):
        await memory.remember(
            text, title=f"--> title {number}\u2028", kind="decision", paths=[f"a/{number}.py"],
            tags=["t", "u"], symbols=["f"], source_id=f"s-{number}", occurred_at=1_000_000 + number,
        )  # fmt: skip
    old = await memory.remember("the old way")
    await memory.revise(old.id, "the new way", "better")
    gone = await memory.remember("forgotten")
    await memory.forget(gone.id, "wrong")


def last_line(data: bytes, memories: int) -> bytes:
    return as_line({"memories": memories, "sum": blake2b(data, digest_size=16).hexdigest()})


async def exported(memory: MemoryService, form: str) -> bytes:
    file = io.BytesIO()
    await memory.exports.write(file, form)
    return file.getvalue()


@pytest.mark.parametrize("form", ["jsonl", "markdown"])
async def test_out_and_in_and_out_again_gives_the_same_bytes(
    memory: MemoryService, tmp_path: Path, form: str
) -> None:
    await fill(memory)
    first = await exported(memory, form)
    async with retain.open(tmp_path / "other", folder="/") as other:
        report = await other.exports.read(io.BytesIO(first), "export", trusted=True)
        assert (report["in"], report["stored"], report["lost"]) == (9, 9, 0)
        assert await exported(other, form) == first
        assert (await other.verify())["ok"]
        again = await other.exports.read(io.BytesIO(first), "export", trusted=True)
        assert (again["stored"], again["known"]) == (0, 9)
        assert await exported(other, form) == first
        found = await other.recall("the new way", workspace="*")
        assert found.hits[0].memory.text == "the new way"
        assert [kind for kind, _, _ in await other.links(found.hits[0].memory.id)] == ["supersedes"]


async def test_an_import_that_is_not_trusted_comes_from_an_import(
    memory: MemoryService, tmp_path: Path
) -> None:
    await memory.remember("said by the user")
    data = await exported(memory, "jsonl")
    async with retain.open(tmp_path / "other", folder="/") as other:
        report = await other.exports.read(io.BytesIO(data), "export", trusted=False)
        only = (await other.timeline(workspace="*")).memories[0]
        assert only.origin == "import"
        await other.imports.undo(report["import"])
        assert (await other.timeline(workspace="*")).memories == []


async def test_secrets_that_came_by_another_way_are_left_out(memory: MemoryService) -> None:
    await memory.remember("a plain fact")
    record = (await exported(memory, "jsonl")).replace(b"a plain fact", f"key {SECRET}".encode())
    lines = record.splitlines(keepends=True)
    data = b"".join(lines[:-1])
    async with retain.open(memory.settings.home / "other", folder="/") as other:
        report = await other.exports.read(io.BytesIO(data + last_line(data, 1)), "export", trusted=True)
        assert report["redacted"] == 1
        assert SECRET not in (await other.timeline(workspace="*")).memories[0].text


async def test_what_says_the_same_already_stays_and_is_counted(memory: MemoryService, tmp_path: Path) -> None:
    await memory.remember("a fact both know", source_id="one")
    data = await exported(memory, "jsonl")
    async with retain.open(tmp_path / "other", folder=memory._channel.folder) as other:
        await other.remember("a fact both know")
        report = await other.exports.read(io.BytesIO(data), "export", trusted=True)
        assert (report["stored"], report["skipped"], report["lost"]) == (0, 1, 0)
        assert report["reasons"] == {"another memory says exactly this": 1}


@pytest.mark.parametrize("form", ["jsonl", "markdown"])
@pytest.mark.parametrize("cut", [0, 10, 60, -2, -30])
async def test_a_file_that_was_cut_short_is_refused(
    memory: MemoryService, tmp_path: Path, form: str, cut: int
) -> None:
    await fill(memory)
    data = await exported(memory, form)
    async with retain.open(tmp_path / "other", folder="/") as other:
        with pytest.raises(InvalidInput, match=r"file|text_bytes"):
            await other.exports.read(io.BytesIO(data[:cut]), "export", trusted=True)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("id", "x", "record 1: id"),
        ("kind", "nonsense", "record 1: kind: unknown kind"),
        ("origin", "root", "record 1: origin"),
        ("status", 3, "record 1: status"),
        ("text", 5, "record 1: text"),
        ("paths", "a", "record 1: paths"),
        ("seen", -1, "record 1: seen"),
        ("occurred_us", 1.5, "record 1: occurred_us"),
        ("workspace", {}, "record 1: workspace.id"),
        ("extra", [], "record 1: extra"),
        ("links", {}, "record 1: links"),
        ("links", [["fixes"]], "record 1: links"),
        ("branch", 7, "record 1: branch"),
    ],
)
async def test_a_record_that_makes_no_sense_is_named(
    memory: MemoryService, tmp_path: Path, name: str, value: Any, said: str
) -> None:
    await memory.remember("a fact")
    header, line, _ = (await exported(memory, "jsonl")).splitlines(keepends=True)
    data = header + as_line({**orjson.loads(line), name: value})
    data += last_line(data, 1)
    async with retain.open(tmp_path / "other", folder="/") as other:
        with pytest.raises(InvalidInput, match=said):
            await other.exports.read(io.BytesIO(data), "export", trusted=True)
