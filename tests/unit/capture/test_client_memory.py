"""What Claude Code loads by itself, read as it reads it; and memories that say the same are left out."""

from __future__ import annotations

from pathlib import Path

import pytest

import retain
from retain.capture.client_memory import (
    HOPS_MAX,
    INDEX_BYTES_MAX,
    Client,
    Loaded,
    LoadedFile,
    loaded_files,
    managed_file,
    slug_of,
)
from retain.interfaces.cli import main
from retain.memory.service import MemoryService


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(folder=tmp_path / "user" / ".claude", managed=tmp_path / "managed" / "CLAUDE.md")


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def loaded(folder: Path, client: Client, *at_hand: str) -> list[tuple[str, str]]:
    return [(file.role, file.text.strip()) for file in loaded_files(str(folder), client, at_hand)]


def test_instructions_are_read_in_the_order_of_the_client(folder: Path, client: Client) -> None:
    assert client.managed is not None
    put(client.managed, "of the firm")
    put(client.folder / "CLAUDE.md", "of the user")
    put(folder.parent / "CLAUDE.md", "above")
    put(folder / "CLAUDE.md", "of the project")
    put(folder / ".claude" / "CLAUDE.md", "of the project too")
    put(folder / "CLAUDE.local.md", "mine")
    put(folder / "below" / "CLAUDE.md", "loaded later")
    assert loaded(folder, client) == [
        ("managed", "of the firm"), ("user", "of the user"), ("project", "above"), ("project", "of the project"),
        ("project", "of the project too"), ("local", "mine"),
    ]  # fmt: skip


def test_imports_are_followed_four_hops_and_each_file_once(folder: Path, client: Client) -> None:
    put(folder / "CLAUDE.md", "top @a0.md and @a0.md, not `@code.md` nor a@b.md\n```\n@code.md\n```\n")
    put(folder / "code.md", "code")
    for hop in range(HOPS_MAX + 1):
        put(folder / f"a{hop}.md", f"hop {hop} @./a{hop + 1}.md. @CLAUDE.md")
    texts = [text for _, text in loaded(folder, client)]
    assert [text[:5] for text in texts] == ["top @", "hop 0", "hop 1", "hop 2", "hop 3"]


def test_an_import_from_outside_of_the_project_counts_for_the_user_alone(
    folder: Path, client: Client
) -> None:
    outside = put(folder.parent / "outside.md", "outside")
    put(folder / "CLAUDE.md", f"@{outside} @../outside.md")
    assert [text for _, text in loaded(folder, client)] == [f"@{outside} @../outside.md"]
    put(client.folder / "CLAUDE.md", f"@{outside}")
    assert ("user", "outside") in loaded(folder, client)


def test_rules_for_some_paths_are_loaded_with_such_a_file(folder: Path, client: Client) -> None:
    put(folder / ".claude" / "rules" / "deep" / "all.md", "always")
    put(folder / ".claude" / "rules" / "ts.md", '---\npaths: ["src/**/*.ts"]\n---\nfor ts')
    put(client.folder / "rules" / "mine.md", "my rule")
    assert loaded(folder, client) == [("rule", "my rule"), ("rule", "always")]
    assert ("rule", "for ts") in loaded(folder, client, "src/a/b.ts")
    assert ("rule", "for ts") not in loaded(folder, client, "src/a/b.py")


def test_comments_are_not_loaded(folder: Path, client: Client) -> None:
    put(folder / "CLAUDE.md", "a <!-- not\nthis --> b")
    assert loaded(folder, client) == [("project", "a  b")]


def test_the_index_of_the_clients_memory_is_loaded_as_far_as_the_client_does(
    folder: Path, client: Client
) -> None:
    index = client.folder / "projects" / slug_of(str(folder)) / "memory" / "MEMORY.md"
    put(index, "".join(f"- line {n}\n" for n in range(300)))
    ((role, text),) = loaded(folder, client)
    assert (role, text.splitlines()[-1]) == ("memory", "- line 199")
    put(index, "ä" * 30_000)
    assert len(loaded(folder, client)[0][1].encode()) == INDEX_BYTES_MAX
    put(client.folder / "settings.json", '{"autoMemoryEnabled": false}')
    assert loaded(folder, client) == []
    assert loaded(folder, Client(folder=client.folder, has_memory=False)) == []


def test_the_memory_may_lie_elsewhere_or_under_a_long_name(tmp_path: Path, client: Client) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    put(client.folder / "projects" / (slug_of(str(deep))[:200] + "-x1") / "memory" / "MEMORY.md", "long")
    assert loaded(deep, client) == [("memory", "long")]
    put(tmp_path / "mine" / "MEMORY.md", "elsewhere")
    put(client.folder / "settings.json", f'{{"autoMemoryDirectory": "{tmp_path}/mine"}}')
    assert loaded(deep, client) == [("memory", "elsewhere")]


@pytest.mark.parametrize("folder_name", ["/", "/no/such/folder", "rel", "a\0b"])
def test_any_folder_has_an_answer(folder_name: str, client: Client) -> None:
    assert loaded_files(folder_name, client) == []


def test_the_managed_file_is_that_of_the_platform() -> None:
    assert [str(managed_file(one)) for one in ("linux", "darwin")] == [
        "/etc/claude-code/CLAUDE.md", "/Library/Application Support/ClaudeCode/CLAUDE.md",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("We use uv, never pip.", True), ("we USE **uv** never\npip", True), ("We use uv", True),
        ("We use uv, never pip. Because it locks what it installs, and installs it in a second.", False),
        ("Deploys go out on Tuesday. We use uv, never pip.", True), ("We use uvx, never pip.", False),
        ("uv", False), ("Money", True), ("", False), ("!?", False), ("seen [0190-id]", True),
    ],
)  # fmt: skip
def test_a_text_is_held_word_for_word_or_nearly(text: str, held: bool) -> None:
    told = "# Rules\n- We use **uv**, never `pip`.\n- Deploys go out on Tuesday\n\n## Money\n(0190-id)"
    memory_id = "0190-id" if "id" in text else ""
    assert Loaded([LoadedFile(path=Path("x"), text=told, role="project")]).holds(text, memory_id) is held


@pytest.mark.anyio
async def test_a_block_leaves_out_what_the_client_has_loaded_and_counts_it(
    memory: MemoryService, folder: Path
) -> None:
    await memory.remember("Releases are cut from main on Tuesdays.", kind="decision")
    await memory.remember("Releases are announced on the list by hand.", kind="decision")
    assert len((await memory.context())[0].ids) == 2
    put(folder / "CLAUDE.md", "# Releases\n\nReleases are cut from *main* on Tuesdays\n")
    block, _ = await memory.context()
    assert (len(block.ids), dict(block.hidden)) == (1, {"loaded_by_client": 1})
    block, found = await memory.context("how are releases cut from main")
    assert found is not None
    assert len(found.hits) == len(block.ids) + 1
    assert dict(block.hidden) == {"loaded_by_client": 1}
    assert len((await memory.recall("releases")).hits) == 2  # whoever asks gets everything


def test_the_command_says_what_it_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert retain.__version__
    assert main(["remember", "Releases are cut from main on Tuesdays.", "--kind", "decision"]) == 0
    put(folder / "CLAUDE.md", "Releases are cut from main on Tuesdays.")
    assert main(["context"]) == 0
    assert "1 loaded by client" in capsys.readouterr().err
