"""``retain bench`` from a git history to an account, with a real server and a real peer process."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PEER = """
import json, sys
notes, alive = {}, sys.argv[1:] != ["mute"]
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    params = message["params"]
    if message["method"] == "initialize":
        result = {"serverInfo": {"name": "peer"}}
    elif params["name"] == "store":
        notes[params["arguments"]["key"]] = params["arguments"]["text"].lower()
        result = {"content": [{"type": "text", "text": "stored"}], "isError": not alive}
    else:
        words = params["arguments"]["query"].lower().split()
        best = sorted(notes, key=lambda key: -sum(word in notes[key] for word in words))
        result = {"content": [{"type": "text", "text": " ".join(f"[{key}]" for key in best)}]}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""
TOPICS = "cache pool queue planner".split()
VERBS = "grow shrink drain close open check".split()


def retain(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "retain", *arguments], capture_output=True, text=True, check=False
    )


def history(folder: Path) -> Path:
    """A repository in which four files are changed in turns, each commit with a body; and some noise."""
    subprocess.run(["git", "init", "-q", str(folder)], check=True)

    def commit(path: str, line: str, message: str, author: str = "A. Author <a@example.org>") -> None:
        file = folder / path
        file.parent.mkdir(exist_ok=True)
        with file.open("a", encoding="utf-8") as text:
            text.write(line)
        moment = f"2026-01-01T00:00:{commit.count % 60:02}+00:00"  # type: ignore[attr-defined]
        commit.count += 1  # type: ignore[attr-defined]
        stamps = {"GIT_AUTHOR_DATE": moment, "GIT_COMMITTER_DATE": moment}
        git = ["git", "-C", str(folder)]
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run(
            [*git, "commit", "-q", "-m", message, "--author", author], check=True, env=os.environ | stamps
        )

    commit.count = 0  # type: ignore[attr-defined]
    for verb in VERBS:
        for topic in TOPICS:
            error = f"ValueError: {verb} refused by the {topic} guard at {topic}/m.py:{commit.count}"  # type: ignore[attr-defined]
            commit(
                f"src/{topic}.py",
                f"def {verb}_{topic}():\n    return 1\n",
                f"Let the {topic} {verb} under load (#12)\n\nWhoever waits for long enough sees workers starve "
                f"without `{verb}_{topic}`.\n\n{error}\n",
            )
    commit("src/cache.py", "x = 1\n", "Bump version to 1.2.3")
    commit("src/cache.py", "y = 1\n", "Let the cache be", "dependabot[bot] <b@example.org>")
    commit("src/cache.py", "z = 1\n", "Fix typo in the cache")
    return folder


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sets of the small history, and of the same one as a stranger to itself."""
    place = tmp_path_factory.mktemp("bench")
    repository = history(place / "repo-small")
    bare = place / "bare.git"
    subprocess.run(["git", "clone", "-q", "--bare", str(repository), str(bare)], check=True)
    made = retain(
        "bench", "make", str(bare), str(place / "sets"), "--name", "small", "--foreign", str(repository)
    )
    assert made.returncode == 0, made.stderr
    return place / "sets"


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]


def test_the_files_set_asks_for_earlier_commits_of_the_same_file(sets: Path) -> None:
    corpus = {row["id"]: row for row in rows(sets / "small-files" / "corpus.jsonl.gz")}
    queries = {row["id"]: row for row in rows(sets / "small-files" / "queries.jsonl.gz")}
    # Noise is gone: 24 commits, of which the first fourth asks nothing.
    assert (len(corpus), len(queries)) == (24, 18)
    assert [row["split"] for row in queries.values()] == ["tune"] * 9 + ["test"] * 9
    for row in rows(sets / "small-files" / "qrels.jsonl.gz"):
        query, record = queries[row["qid"]], corpus[row["docid"]]
        topic = query["text"].split()[2]
        assert query["text"].endswith("under load")
        assert f"Files: src/{topic}.py (+2 -0)" in record["text"]
        assert record["ord"] < query["ord"]
    first = next(row for row in corpus.values() if row["ord"] == 0)
    assert first["text"].startswith("Let the cache grow under load\nWhoever waits")
    assert first["text"].endswith("Touches: grow_cache")


def test_the_known_set_hides_the_bodies_and_the_errors_set_moves_the_errors(sets: Path) -> None:
    assert all("Whoever" not in row["text"] for row in rows(sets / "small-known" / "corpus.jsonl.gz"))
    assert all("Whoever" in row["text"] for row in rows(sets / "small-known" / "queries.jsonl.gz"))
    records = rows(sets / "small-errors" / "corpus.jsonl.gz")
    kinds = [row["kind"] for row in records]
    assert (kinds.count("error"), kinds.count("fix")) == (24, 24)
    texts = "\n".join(row["text"] for row in records)
    for query in rows(sets / "small-errors" / "queries.jsonl.gz"):
        assert query["text"].startswith("ValueError: ")
        assert query["text"] not in texts


def test_a_query_whose_names_occur_here_is_not_called_unanswerable(sets: Path) -> None:
    cats = {row["cat"] for row in rows(sets / "small-unanswerable" / "queries.jsonl.gz")}
    assert cats == {"foreign", "answerable"}


def test_contestants_are_asked_over_stdio_and_in_process_with_the_same_answers(
    sets: Path, tmp_path: Path
) -> None:
    (tmp_path / "peer.py").write_text(PEER, encoding="utf-8")
    recipe = {
        "command": [sys.executable, "{root}/peer.py"],
        "store": {"tool": "store", "arguments": {"key": "{id}", "text": "{text}"}},
        "search": {"tool": "search", "arguments": {"query": "{query}", "limit": "{k}"}},
    }
    (tmp_path / "peer.json").write_text(json.dumps(recipe), encoding="utf-8")
    names = ["retain", "retain-api", "fts5", "peer"]
    ended = retain(
        "bench", "run", str(sets / "small-files"), str(sets / "small-errors"),
        "--contestant", f"retain,retain-api,fts5,{tmp_path / 'peer.json'}", "--split", "all", "--json",
        "--setting", "vectors=0",  # a live server makes them behind, and has them or not by the time of a question
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    files, errors = json.loads(ended.stdout)["sets"]
    for account, category in ((files, "files"), (errors, "errors")):
        measures = account["categories"][category]["measures"]
        assert list(measures) == names
        assert measures["retain"] == measures["retain-api"]
        assert list(account["categories"][category]["minus_fts5"]) == ["retain", "retain-api", "peer"]
        for name in names:
            # Every query names its topic, and at most five of 24 records lie before it in its file.
            assert measures[name]["R@10"]["low"] <= measures[name]["R@10"]["mean"] <= 1
            assert measures[name]["R@10"]["mean"] > 0.5, (name, category)
    assert "small-files: peer: 18 questions" in ended.stderr


def test_a_peer_that_fails_does_not_end_the_run(sets: Path, tmp_path: Path) -> None:
    (tmp_path / "peer.py").write_text(PEER, encoding="utf-8")
    recipe = {
        "command": [sys.executable, "{root}/peer.py", "mute"],
        "store": {"tool": "store", "arguments": {"key": "{id}", "text": "{text}"}},
        "search": {"tool": "search", "arguments": {"query": "{query}"}},
    }
    (tmp_path / "peer.json").write_text(json.dumps(recipe), encoding="utf-8")
    ended = retain(
        "bench", "run", str(sets / "small-known"), "--contestant", f"{tmp_path / 'peer.json'},fts5"
    )
    assert ended.returncode == 1
    assert "peer gave no answers: ServerFailed: stored" in ended.stdout
    assert "known: " in ended.stdout
    assert "nDCG@10" in ended.stdout


def test_a_contestant_has_a_limit_of_time(sets: Path) -> None:
    ended = retain("bench", "run", str(sets / "small-known"), "--contestant", "fts5", "--limit-s", "0")
    assert ended.returncode == 1
    assert "fts5 gave no answers: OutOfTime" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["make", "/nowhere/at/all", "out"], "/nowhere/at/all"),
        (["run", "/nowhere/at/all"], "/nowhere/at/all"),
        (["run", "/nowhere", "--contestant", "nobody"], "unknown 'nobody'"),
        (["run", "/nowhere", "--setting", "planner"], "must be name=number"),
    ],
)
def test_what_cannot_be_run_is_refused_with_its_name(arguments: list[str], problem: str) -> None:
    ended = retain("bench", *arguments)
    assert ended.returncode == 2
    assert problem in ended.stderr


def test_a_run_over_several_sets_ends_with_one_row_for_each_category(sets: Path) -> None:
    folders = [str(sets / f"small-{name}") for name in ("known", "errors", "unanswerable")]
    ended = retain("bench", "run", *folders, "--contestant", "fts5", "--split", "all")
    assert ended.returncode == 0, ended.stderr
    rows = ended.stdout.partition("R@10 (errors: hit@3")[2].splitlines()[1:]
    names = ["small-known", "small-errors", "small-unanswerable, foreign", "small-unanswerable, answerable"]
    assert [row.split("n=")[0].strip() for row in rows] == names
