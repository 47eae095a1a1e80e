"""The graph of commits is what git has: numbers, ancestors, lines; read from objects, from its file, made at random."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from retain.git.history import NO_COMMIT, Deadline, History, Late, line_to, merge_base

Builder = Callable[..., "GitRepo"]  # noqa: F821 - the class lives in conftest.py


def random_history(rng: random.Random) -> History:
    """A graph without objects: each commit has none to three parents among the six before it."""
    history = History("/nowhere")
    history._first, history._second = array("i"), array("i")
    for number in range(rng.randint(2, 60)):
        near = range(max(0, number - 6), number)
        parents = rng.sample(near, min(len(near), rng.choice([1, 1, 1, 2, 3]))) if rng.random() < 0.97 else []
        history._first.append(parents[0] if parents else NO_COMMIT)
        history._second.append(parents[1] if len(parents) > 1 else NO_COMMIT)
        if len(parents) > 2:
            history._more[number] = parents[2:]
    return history


def reachable(history: History, top: int) -> set[int]:
    """The plain twin of ``ancestors``."""
    seen, waiting = {top}, [top]
    while waiting:
        for parent in history.parents(waiting.pop()):
            if parent not in seen:
                seen.add(parent)
                waiting.append(parent)
    return seen


@pytest.mark.parametrize("seed", range(20))
def test_ancestors_lines_and_merge_bases_are_those_of_a_plain_walk(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(10):
        history = random_history(rng)
        for _ in range(20):
            top, other = rng.randrange(len(history)), rng.randrange(len(history))
            truth = reachable(history, top)
            found = history.ancestors(top)
            for number in rng.sample(range(len(history)), min(5, len(history))):
                assert (number in found) == (number in truth)
            if rng.random() < 0.3:
                assert list(found.newest_first()) == sorted(truth, reverse=True)
            line = [top]
            while (parent := history.first_parent(line[-1])) != NO_COMMIT:
                line.append(parent)
            assert list(history.line(top)) == line[::-1]
            shared = truth & reachable(history, other)
            assert merge_base(history, other, found) == max(shared, default=NO_COMMIT)
            if other in line:
                assert line_to(history, top, other, 100) == line[: line.index(other)][::-1]
            else:
                assert line_to(history, top, other, 100) is None


def test_a_graph_from_its_file_is_the_one_that_was_read(git_repo: Builder, tmp_path: Path) -> None:
    repo = git_repo()
    commits = [repo.commit(f"commit {number}") for number in range(5)]
    repo("checkout", "-q", "-b", "side", commits[2])
    side = repo.commit("side")
    repo("checkout", "-q", "main")
    repo("merge", "-q", "--no-ff", "-m", "merge", "side")
    repo("commit", "-q", "--allow-empty", "-m", f"Revert\n\nThis reverts commit {commits[1]}.")
    tip = repo("rev-parse", "HEAD")
    file = tmp_path / "graph"
    first = History(str(repo.path / ".git"), file)
    first.find(tip, Deadline(None))
    first.save()
    first.close()
    again = History("/nowhere", file)
    assert len(again) == len(first) == 8
    known = again.ancestors(again.number(tip))
    assert all(again.number(commit) in known for commit in [*commits, side])
    assert [again.hex_of(number) for number in known.newest_first()] == [
        first.hex_of(number) for number in first.ancestors(first.number(tip)).newest_first()
    ]
    assert again.reverts() == first.reverts() != {}
    assert (file.stat().st_mode & 0o777, file.parent.exists()) == (0o600, True)


@pytest.mark.parametrize("damage", [b"", b"RTG1", b"x" * 500])
def test_a_file_that_is_no_graph_is_read_anew(git_repo: Builder, tmp_path: Path, damage: bytes) -> None:
    repo = git_repo()
    tip = repo.commit()
    file = tmp_path / "graph"
    file.write_bytes(damage)
    history = History(str(repo.path / ".git"), file)
    assert history.find(tip, Deadline(None)) == 0


def test_a_file_with_a_flipped_bit_is_read_anew(git_repo: Builder, tmp_path: Path) -> None:
    repo = git_repo()
    tip = repo.commit()
    file = tmp_path / "graph"
    history = History(str(repo.path / ".git"), file)
    history.find(tip, Deadline(None))
    history.save()
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert len(History(str(repo.path / ".git"), file)) == 0


def test_what_is_not_there_is_no_commit(git_repo: Builder, tmp_path: Path) -> None:
    repo = git_repo()
    repo.commit()
    history = History(str(repo.path / ".git"))
    assert history.find("0" * 39 + "1", Deadline(None)) == NO_COMMIT
    assert history.find("no hash", Deadline(None)) == NO_COMMIT
    assert History(str(tmp_path / "missing")).find("0" * 40, Deadline(None)) == NO_COMMIT
    tree = repo("rev-parse", "HEAD^{tree}")
    assert history.find(tree, Deadline(None)) == NO_COMMIT


def test_a_deadline_that_has_passed_stops_the_reading_and_keeps_what_was_read(git_repo: Builder) -> None:
    repo = git_repo()
    marks = "".join(
        f"commit refs/heads/main\ncommitter A <a@b.c> {n} +0000\ndata 0\n\n" for n in range(1, 2_001)
    )
    import subprocess

    subprocess.run(["git", "fast-import", "--quiet"], cwd=repo.path, input=marks.encode(), check=True)
    tip = repo("rev-parse", "main")
    history = History(str(repo.path / ".git"))
    with pytest.raises(Late):
        history.find(tip, Deadline(0.0))
    assert len(history) < 2_000
    assert history.find(tip, Deadline(None)) == 1_999
    assert list(islice(history.ancestors(1_999).newest_first(), 3)) == [1_999, 1_998, 1_997]
