"""Whatever a client's file looks like, uninstalling gives back the bytes that were there before installing."""

from __future__ import annotations

import json
import random
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retain.home import CLIENT_FILES
from retain.interfaces import client_entries as entries
from retain.interfaces import json_text
from retain.interfaces.cli import main
from retain.interfaces.clients import CLIENTS, servers_file

BOM = b"\xef\xbb\xbf"
SCALARS = st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=8) | st.just(1.5)
KEYS = st.text('abcxyzé"\\/ ', min_size=1, max_size=6)
OBJECTS = st.dictionaries(
    KEYS,
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=5,
)
HOOKS = st.dictionaries(
    st.sampled_from(["Stop", "PreToolUse", "SessionStart"]),
    st.lists(st.just({"matcher": "Bash", "hooks": [{"type": "command", "command": "check"}]}), max_size=2),
    max_size=3,
)
JSON_CLIENTS = [name for name, client in CLIENTS.items() if client.form != "toml"]


def by_hand(value: Any, chance: random.Random, *, comments: bool) -> str:
    """JSON as a person may have written it: blanks anywhere, escapes or not, comments where they are allowed."""

    def gap() -> str:
        blanks = chance.choice(["", "", " ", "\t", "\n", "\n   ", "\r\n"])
        if comments and chance.random() < 0.15:
            return blanks + chance.choice(["/* { */", '// "a": [\n', "/* * // \n */"])
        return blanks

    def put(part: Any) -> str:
        if isinstance(part, dict):
            inner = [gap() + json.dumps(key, ensure_ascii=chance.random() < 0.5) + gap() + ":" + gap() + put(one)
                     for key, one in part.items()]  # fmt: skip
        elif isinstance(part, list):
            inner = [gap() + put(one) for one in part]
        else:
            return json.dumps(part, ensure_ascii=chance.random() < 0.5)
        after = "," if comments and inner and chance.random() < 0.3 else ""
        opening, closing = "{}" if isinstance(part, dict) else "[]"
        return opening + (gap() + ",").join(inner) + gap() + after + gap() + closing

    return gap() + put(value) + chance.choice(["", "\n", "\r\n", "\n\n"])


def everything(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def fresh(tmp_path: Path) -> Path:
    """The user's home directory, with nothing in it; the data directory is gone."""
    for name in ("user", "data"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    (tmp_path / "user").mkdir()
    return tmp_path / "user"


EXAMPLES = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@EXAMPLES
@given(
    content=OBJECTS,
    hooks=st.none() | HOOKS,
    seed=st.integers(0, 2**32),
    bom=st.booleans(),
    absent=st.sampled_from([None, "settings", "servers", "both", "empty", "blank"]),
)
def test_the_files_of_claude_code_come_back_byte_for_byte(
    tmp_path: Path, content: dict[str, Any], hooks: Any, seed: int, bom: bool, absent: str | None
) -> None:
    user = fresh(tmp_path)
    chance = random.Random(seed)
    extra = {} if hooks is None else {"hooks": hooks}
    servers = {**content, "mcpServers": {"other": {"command": "x"}}}
    texts = {
        ".claude/settings.json": by_hand({**content, **extra}, chance, comments=False),
        ".claude.json": by_hand(servers if seed % 2 else content, chance, comments=False),
    }
    if absent in {"empty", "blank"}:
        texts[".claude/settings.json"] = "" if absent == "empty" else " \r\n"
        bom = False
    for name, text in texts.items():
        if absent == "both" or absent == ("settings" if "settings" in name else "servers"):
            continue
        (user / name).parent.mkdir(exist_ok=True)
        (user / name).write_bytes((BOM if bom else b"") + text.encode("utf-8", "surrogatepass"))
    before = everything(user)
    assert main(["install"]) == 0
    assert everything(user) != before
    assert main(["install"]) == 0
    assert main(["uninstall"]) == 0
    assert everything(user) == before


@EXAMPLES
@given(
    content=OBJECTS,
    client=st.sampled_from(JSON_CLIENTS),
    seed=st.integers(0, 2**32),
    bom=st.booleans(),
    empty=st.booleans(),
)
def test_the_json_file_of_every_client_comes_back_and_keeps_all_that_is_not_ours(
    tmp_path: Path, content: dict[str, Any], client: str, seed: int, bom: bool, empty: bool
) -> None:
    fresh(tmp_path)
    comments = CLIENTS[client].form != "json"
    group = CLIENTS[client].group
    held = {**content, group: {} if empty else {"other": {"command": "x"}}}
    text = by_hand(held, random.Random(seed), comments=comments)
    path = servers_file(client, "user")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((BOM if bom else b"") + text.encode("utf-8", "surrogatepass"))
    before = everything(tmp_path / "user")
    assert main(["install", "--client", client]) == 0
    installed = json_text.scan(path.read_bytes().removeprefix(BOM).decode(), comments=comments).value
    assert entries.is_our_server(installed[group].pop("retain"))
    assert installed == json_text.scan(text, comments=comments).value
    assert main(["uninstall", "--client", client]) == 0
    assert everything(tmp_path / "user") == before


TOMLS = st.sampled_from(
    [
        "",
        "model = 'o'",
        '# mine\r\nmodel = "o"\r\n[mcp_servers.other]\r\ncommand = "x"\r\n',
        '[mcp_servers.other]\ncommand = "x"\n\n\n',
        "a = [\n  1, # one\n  2,\n]\n[tui]\nb = '''\n[mcp_servers.retain]\n'''\n",
        '[mcp_servers]\nother = { command = "x" }',
    ]
)


@EXAMPLES
@given(text=TOMLS, bom=st.booleans(), backups=st.booleans())
def test_the_file_of_codex_comes_back(tmp_path: Path, text: str, bom: bool, backups: bool) -> None:
    fresh(tmp_path)
    path = servers_file("codex", "user")
    path.parent.mkdir(parents=True)
    path.write_bytes((BOM if bom and text else b"") + text.encode())
    before = path.read_bytes()
    assert main(["install", "--client", "codex"]) == 0
    installed = tomllib.loads(path.read_bytes().removeprefix(BOM).decode())
    assert entries.is_our_server(installed["mcp_servers"]["retain"])
    if not backups:
        shutil.rmtree(tmp_path / "data" / CLIENT_FILES)
    assert main(["uninstall", "--client", "codex"]) == 0
    if backups:
        assert path.read_bytes() == before
    else:
        left = path.read_bytes() if path.exists() else b""
        assert tomllib.loads(left.removeprefix(BOM).decode()) == tomllib.loads(text)


@EXAMPLES
@given(content=OBJECTS, added=OBJECTS, seed=st.integers(0, 2**32))
def test_an_edit_keeps_every_comment_and_gives_just_what_was_asked_for(
    content: dict[str, Any], added: dict[str, Any], seed: int
) -> None:
    """The editor alone: members are added, taken out and changed at random, in a text with comments."""
    chance = random.Random(seed)
    text = by_hand(content, chance, comments=True)
    wanted = {key: value for key, value in content.items() if chance.random() < 0.7}
    wanted |= {key: value for key, value in added.items() if key not in content and wanted == content}
    hand = json_text.Hand(
        encode=lambda value, _depth: json.dumps(value),
        key=lambda key: json.dumps(key) + ": ",
        indent="  ",
        gap=" ",
    )
    made = json_text.rewritten(text, wanted, hand, comments=True)
    assert json_text.scan(made, comments=True).value == wanted
    if wanted == content:
        assert made == text


@pytest.mark.parametrize("client", CLIENTS)
def test_a_file_and_a_folder_that_installing_made_are_gone_afterwards(tmp_path: Path, client: str) -> None:
    user = fresh(tmp_path)
    assert main(["install", "--client", client]) == 0
    assert servers_file(client, "user").is_file()
    assert main(["uninstall"]) == 0
    assert everything(user) == {}
