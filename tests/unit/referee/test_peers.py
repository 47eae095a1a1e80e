"""Peers: their files say how they are started, store and search; answers are read by the ids in them."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retain.errors import InvalidInput
from retain.referee.peers import Peer, filled, hit_ids, read_recipe, started
from retain.referee.sets import Record

FILES = sorted((Path(__file__).resolve().parents[3] / "benches" / "peers").glob("*.json"))
VALUES = {
    "id": "a1",
    "text": "why {braces} stay",
    "tag": "half",
    "time": "2026-01-01T00:00:00Z",
    "query": "q",
    "k": 5,
}

SERVER = """
import json, sys
kept = []
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    if asked["method"] == "initialize":
        result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}
    else:
        print(json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": {}}), flush=True)
        given = asked["params"]["arguments"]
        kept.append(given["key"]) if "key" in given else None
        result = {"content": [{"type": "text", "text": f"found [{key}]"} for key in reversed(kept)]}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_peer_file_of_the_benches_parses_and_has_no_place_that_nothing_fills(
    file: Path, tmp_path: Path
) -> None:
    recipe = read_recipe(file)
    argv, environment = started(recipe, tmp_path / "root", tmp_path / "home")
    assert argv[0].startswith(str(tmp_path / "root"))
    assert not [value for name in recipe.environment for value in [environment[name]] if "{" in value]
    stored = filled(dict(recipe.store.arguments), VALUES)
    assert "a1" in str(stored)
    assert "why {braces} stay" in str(stored)
    assert "q" in filled(dict(recipe.search.arguments), VALUES).values()
    if recipe.store_many is not None:
        item = filled(dict(recipe.store_many.item), VALUES)
        assert [item] in filled(dict(recipe.store_many.arguments), {"items": [item]}).values()
    if recipe.filtered is not None:
        assert "half" in str(filled(dict(recipe.filtered.arguments), VALUES))
        assert "half" in str(stored), "a filter needs what the store keeps"


@pytest.mark.parametrize(
    "content", ["", "{}", '{"command": [], "store": {"tool": "s"}, "search": {"tool": "f"}}']
)
def test_a_peer_file_that_lacks_a_part_is_refused_by_name(content: str, tmp_path: Path) -> None:
    (tmp_path / "peer.json").write_text(content, encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"peer\.json"):
        read_recipe(tmp_path / "peer.json")


def test_ids_are_read_in_the_order_of_the_answer_each_once() -> None:
    assert hit_ids("[b] then (a), [b] and other", {"a", "b", "c"}, 5) == ["b", "a"]
    assert hit_ids("a b c", {"a", "b", "c"}, 2) == ["a", "b"]


def test_a_peer_that_answers_in_several_parts_after_a_notification_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "peer.json").write_text(
        '{"command": ["' + sys.executable + '", "{root}/server.py"],'
        ' "store": {"tool": "save", "arguments": {"key": "{id}"}},'
        ' "search": {"tool": "find", "arguments": {"query": "{query}", "limit": "{k}"}}}',
        encoding="utf-8",
    )
    (tmp_path / "server.py").write_text(SERVER, encoding="utf-8")
    peer = Peer(read_recipe(tmp_path / "peer.json"), tmp_path, tmp_path)
    try:
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        peer.load([Record(id=name, group="g", text=name, moment=moment) for name in ("one", "two", "three")])
        assert peer.search("anything", 2, None) == ["three", "two"]
    finally:
        peer.close()
