"""From a repository to the folders of its sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from retain.errors import InvalidInput
from retain.referee.building import errors_set, files_set, known_set, unanswerable_set
from retain.referee.commits import Kept, keep
from retain.referee.history import read_history
from retain.referee.sets import SPLITS, Draft, write_set

QUERIES_MIN = 10
"""A set with fewer queries proves nothing and is not written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What became of one set; ``folder`` is None where there were too few queries."""

    name: str
    folder: Path | None
    records: int
    queries: dict[str, int]


def make_sets(
    repository: Path, out: Path, *, name: str, foreign: Sequence[Path] = (), say: Callable[[str], None]
) -> Iterator[Made]:
    """Writes the sets of a repository to ``out/<name>-<set>``, and tells of each.

    Args:
        repository: git repository, bare or not.
        out: folder for the sets.
        name: names the sets, and is the group of their records.
        foreign: other repositories, for the queries that have no answer; without one there is no such set.
        say: takes a line of progress.

    Raises:
        InvalidInput: git cannot read a repository.
    """
    kept = _read(repository, say)
    if not kept:
        raise InvalidInput("repository", f"{repository}: no commit of it makes a record")
    yield _write(files_set(name, kept), out, f"{name}-files")
    yield _write(known_set(name, kept), out, f"{name}-known")
    yield _write(errors_set(name, kept), out, f"{name}-errors")
    if foreign:
        others = {short_name(path): _read(path, say) for path in foreign}
        yield _write(unanswerable_set(name, kept, others), out, f"{name}-unanswerable")


def short_name(repository: Path) -> str:
    """What a repository is called: the last part of its path that says something."""
    parts = [part.removesuffix(".git") for part in repository.resolve().parts]
    return next((part for part in reversed(parts) if part and part != "repo"), "repository")


def _read(repository: Path, say: Callable[[str], None]) -> list[Kept]:
    kept = keep(read_history(repository))
    say(f"{repository}: {len(kept):,} records")
    return kept


def _write(draft: Draft, out: Path, name: str) -> Made:
    queries = {split: sum(row["split"] == split for row in draft.queries) for split in SPLITS}
    enough = len(draft.queries) >= QUERIES_MIN
    if enough:
        write_set(draft, out / name)
    folder = out / name if enough else None
    return Made(name=name, folder=folder, records=len(draft.corpus), queries=queries)
