"""Each importer reads what its tool wrote: every record once, as a memory or with the reason why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import apsw
import pytest

from retain.capture.moving.catalogue import FORMATS
from retain.capture.moving.markdown import page
from retain.capture.moving.records import Found, Item, item, moment
from retain.capture.moving.sqlite_files import opened
from retain.errors import InvalidInput

FIXTURES = Path(__file__).parents[2] / "fixtures" / "moving"


def database(path: Path, *fixtures: str, change: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    db = apsw.Connection(str(path))
    for name in fixtures:
        db.execute((FIXTURES / name).read_text())
    db.execute(change)
    db.close()
    return path


def read(name: str, place: Path) -> list[Found]:
    source = FORMATS[name].open(place)
    found = list(source.records)
    assert len(found) == source.count
    return found


def items(name: str, place: Path) -> list[Item]:
    return [found.item for found in read(name, place) if found.item is not None]


def test_claude_mem_gives_observations_summaries_and_prompts(tmp_path: Path) -> None:
    database(tmp_path / "claude-mem.db", "claude-mem.sql")
    decision, bugfix, discovery, summary, prompt = items("claude-mem", tmp_path)
    assert (decision.kind, decision.title) == ("decision", "Decimal for money")
    assert "floats lose cents" in decision.text
    assert "- round only when shown" in decision.text
    assert decision.paths == ("src/cart.py", "src/price.py")
    assert decision.tags == ("claude-mem", "decision", "trade-off", "project:shopfront")
    assert decision.occurred_at is not None
    assert decision.occurred_at.isoformat() == "2026-10-02T09:00:00+00:00"
    assert (bugfix.kind, discovery.kind, summary.kind, prompt.kind) == ("fix", "note", "summary", "prompt")
    assert "Next: migrate old orders" in summary.text


def test_mcp_memory_service_leaves_out_what_was_deleted_there(tmp_path: Path) -> None:
    found = read("mcp-memory-service", database(tmp_path / "sqlite_vec.db", "mcp-memory-service.sql"))
    kept = [one.item for one in found if one.item is not None]
    assert [one.kind for one in kept] == ["decision", "note", "note"]
    assert kept[0].tags[:2] == ("money", "cart")
    assert {"infra", "observation"} <= set(kept[2].tags)
    assert [one.skipped for one in found if one.skipped] == ["was deleted there"]


@pytest.mark.parametrize("backend", ["exact", "chroma"])
def test_mempalace_gives_its_drawers_whichever_backend_keeps_them(tmp_path: Path, backend: str) -> None:
    name = {"exact": "sqlite_exact.sqlite3", "chroma": "chroma.sqlite3"}[backend]
    database(tmp_path / "palace" / name, f"mempalace-{backend}.sql")
    first, second = items("mempalace", tmp_path)
    assert first.text == "We chose decimal.Decimal for prices because floats lose cents."
    assert first.tags == ("mempalace", "wing:shopfront", "room:decisions", "hall_facts")
    assert (first.paths, second.paths) == (("src/cart.py",), ())


def test_the_knowledge_graph_of_a_palace_comes_along(tmp_path: Path) -> None:
    database(tmp_path / "sqlite_exact.sqlite3", "mempalace-exact.sql")
    database(tmp_path / "knowledge_graph.sqlite3", "mempalace-graph.sql")
    texts = [one.text for one in items("mempalace", tmp_path)[2:]]
    assert texts == [
        "Ada works_on shopfront\nsince 2026-09-01",
        "shopfront uses decimal\nsince 2026-10-02\nuntil 2026-11-01",
    ]


def test_server_memory_gives_entities_and_relations(tmp_path: Path) -> None:
    path = tmp_path / "memory.jsonl"
    path.write_bytes(
        (FIXTURES / "server-memory.jsonl").read_bytes() + b'\n{"type": "entity"\n[1]\n{"type":"x"}\n'
    )
    found = read("server-memory", path)
    assert [one.item.title for one in found if one.item] == [
        "shopfront (project)",
        "Ada (person)",
        "Ada works on shopfront",
    ]
    assert [(one.place.rpartition(": ")[2], one.skipped) for one in found if not one.item] == [
        ("line 4", "is no JSON object"),
        ("line 5", "is no JSON object"),
        ("line 6", "is neither entity nor relation"),
    ]


@pytest.mark.parametrize("wrap", ["results", "memories", ""])
def test_mem0_exports_of_every_shape(tmp_path: Path, wrap: str) -> None:
    memory = {
        "id": "m1", "memory": "Prefers tabs", "metadata": {"area": "style", "tags": ["editor"]},
        "created_at": "2026-09-01T10:00:00-07:00", "user_id": "ada", "categories": ["preferences"],
    }  # fmt: skip
    value: Any = [memory, {"id": "m2", "memory": ""}, 5]
    if wrap:
        value = {wrap: value, "relations": [{"source": "ada", "relationship": "uses", "target": "vim"}, {}]}
    path = tmp_path / "mem0.json"
    path.write_text(json.dumps(value))
    found = read("mem0", path)
    first = found[0].item
    assert first is not None
    assert (first.text, first.tags) == (
        "Prefers tabs\narea: style",
        ("mem0", "preferences", "editor", "user:ada"),
    )
    assert [one.skipped for one in found[1:3]] == ["has no text"] * 2
    assert [one.item and one.item.text for one in found[3:]] == (["ada uses vim", None] if wrap else [])


def test_what_mem0_gives_of_its_store_is_read_whole() -> None:
    first, second, third, last = items("mem0", FIXTURES / "mem0.json")
    assert (first.text, first.tags) == ("Ada prefers tabs over spaces", ("mem0", "user:ada"))
    assert second.text.splitlines() == [
        "The build fails on Python 3.14: pin pydantic below 3", "project: shop", "priority: 2",
    ]  # fmt: skip
    assert second.tags == third.tags == ("mem0", "build", "pins", "user:ada", "agent:reviewer", "run:run-7")
    assert last.text.startswith("Deploys happen on Thursday, with ")
    assert str(last.occurred_at) > str(first.occurred_at) > "2026-11"


NOTE = """---
title: Cart
type: component
permalink: shop/cart
tags:
- money
- cart
---
# Cart
- [decision] Prices are decimal #exact (see the RFC)
- relates_to [[Orders]]
"""


def test_basic_memory_gives_each_note_whole(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "Cart.md").write_text(NOTE)
    (tmp_path / "empty.md").write_text("---\ntitle: x\n---\n")
    (tmp_path / "picture.png").write_bytes(b"x")
    (tmp_path / ".obsidian").mkdir()
    (tmp_path / ".obsidian" / "hidden.md").write_text("x")
    empty, found = read("basic-memory", tmp_path)
    note = found.item
    assert note is not None
    assert (note.record, note.title) == ("shop/cart", "Cart")
    assert note.tags == ("basic-memory", "money", "cart", "exact", "component")
    assert "relates_to [[Orders]]" in note.text
    assert empty.skipped == "has no text"


def test_auto_memory_gives_topics_with_their_project(tmp_path: Path) -> None:
    project = tmp_path / "-home-ada-shop"
    (project / "memory").mkdir(parents=True)
    (project / "s.jsonl").write_text('{"type":"mode"}\n{"type":"user","cwd":"/home/ada/shop"}\n')
    (project / "memory" / "MEMORY.md").write_text("- [Prices](prices.md)")
    (project / "memory" / "prices.md").write_text(
        "---\nname: prices\ndescription: How prices are kept\nmetadata:\n  type: project\n"
        "  modified: 2026-10-02T09:00:00Z\n---\nAs decimal.Decimal.\n"
    )
    index, topic = read("auto-memory", tmp_path)
    assert index.skipped == "is the index of the memory files beside it"
    made = topic.item
    assert made is not None
    assert (made.title, made.folder, made.tags) == (
        "How prices are kept",
        "/home/ada/shop",
        ("auto-memory", "project"),
    )
    assert "As decimal.Decimal." in made.text
    assert made.occurred_at is not None
    assert made.occurred_at.year == 2026


def test_claude_md_is_referred_to_and_not_copied(tmp_path: Path) -> None:
    (tmp_path / "CLAUDE.md").write_text("# Shop\nNever use floats for money.\n## Tests\nrun make test\n")
    (tmp_path / ".claude" / "rules").mkdir(parents=True)
    (tmp_path / ".claude" / "rules" / "api.md").write_text("# API\nx")
    first, rule = items("claude-md", tmp_path)
    assert "- Shop\n- Tests" in first.text
    assert "sha256" in first.text
    assert "floats" not in first.text
    assert first.title == "CLAUDE.md: Shop"
    assert rule.title == ".claude/rules/api.md: API"


def test_history_gives_prompts_in_their_projects(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    lines = [
        {"display": "Fix the cart", "timestamp": 1790000000000, "project": "/w", "sessionId": "s"},
        {
            "display": "see [Pasted text #1]", "timestamp": 1, "project": "/w",
            "pastedContents": {"1": {"id": 1, "type": "text", "content": "boom"}},
        },
        {"display": "/clear", "timestamp": 2, "project": "/w"},
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, lines)))
    found = read("history", path)
    assert [one.item.text if one.item else None for one in found] == [
        "Fix the cart",
        "see [Pasted text #1]\n\nboom",
        None,
    ]
    assert found[0].item is not None
    assert (found[0].item.kind, found[0].item.folder) == ("prompt", "/w")


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_what_is_not_there_or_something_else_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="absent"):
        FORMATS[name].open(tmp_path / "absent")


@pytest.mark.parametrize("name", ["claude-mem", "mcp-memory-service", "mempalace"])
def test_another_database_or_no_database_is_refused(tmp_path: Path, name: str) -> None:
    other = tmp_path / "other.sqlite3"
    other.write_bytes(b"no database at all, but long enough to be looked at as one" * 20)
    with pytest.raises(InvalidInput, match="cannot be read"):
        FORMATS[name].open(other)
    other.unlink()
    database(other, change="CREATE TABLE t (x)")
    with pytest.raises(InvalidInput, match="has no table"):
        FORMATS[name].open(other)


def test_a_row_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    bad = "UPDATE memories SET content = CAST(x'ff00fe' AS TEXT) WHERE rowid = 1"
    found = read("mcp-memory-service", database(tmp_path / "m.db", "mcp-memory-service.sql", change=bad))
    assert found[0].item is None
    assert "memories 1" in found[0].place
    assert "cannot be read" in found[0].skipped
    assert len([one for one in found if one.item]) == 2


def test_a_database_of_another_tool_is_not_changed(tmp_path: Path) -> None:
    path = database(tmp_path / "claude-mem.db", "claude-mem.sql")
    before = path.read_bytes()
    read("claude-mem", path)
    assert path.read_bytes() == before
    db = opened(path, "observations", "claude-mem")
    with pytest.raises(apsw.ReadOnlyError):
        db.execute("DELETE FROM observations")


def test_what_does_not_fit_a_field_is_named_in_the_text() -> None:
    made = item("r", "body", title="t" * 300, tags=["x" * 100, "short"], paths=["../out", "in"])
    assert made.title == "t" * 199 + "…"
    assert made.tags == ("short",)
    assert made.paths == ("in",)
    assert all(part in made.text for part in ("t" * 300, "x" * 100, "../out", "body"))
    assert item("r", "a\0b\ud800").text == "a\ufffdb\ufffd"


def test_moments_in_every_unit() -> None:
    for value in (
        1790000000,
        1790000000.0,
        1790000000000,
        1790000000000000,
        "1790000000000",
        "2026-09-21T14:13:20Z",
    ):
        found = moment(value)
        assert found is not None
        assert found.isoformat() == "2026-09-21T14:13:20+00:00"
    assert [moment(value) for value in (None, "soon", [], True, float("inf"))] == [None] * 5


def test_front_matter_as_these_tools_write_it() -> None:
    read_page = page("---\ntitle: \"A: b\"\ntags: [x, 'y']\nmetadata:\n  type: user\n---\nbody")
    assert read_page.fields == {"title": "A: b", "tags": ["x", "y"], "metadata": "", "type": "user"}
    assert read_page.body == "body"
    assert page("no front").fields == {}
