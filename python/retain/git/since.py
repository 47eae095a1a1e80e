"""What happened in a repository since a commit: asked of the git executable, within a second, or left unsaid."""

from __future__ import annotations

from dataclasses import dataclass

from retain.git.executable import asked

GIT_TIMEOUT_S = 1.0
COMMITS_MAX = 51
"""Commits that are read; one more than anybody counts up to."""

_FIELDS = "%H%x1f%an%x1f%s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit: its full hash, the name of its author, its first line."""

    id: str
    author: str
    subject: str


def commits_since(root: str, commit: str) -> tuple[Commit, ...]:
    """The commits of HEAD that were not reachable from a commit, newest first, at most ``COMMITS_MAX``.

    Empty where git cannot tell: no such commit (any more), no git, or no answer within a second.

    Args:
        root: top of a working tree.
        commit: a full hash.
    """
    told = asked(
        root, "log", f"--max-count={COMMITS_MAX}", f"--format={_FIELDS}", "--no-show-signature",
        f"{commit}..HEAD", "--", timeout_s=GIT_TIMEOUT_S,
    )  # fmt: skip
    rows = [line.split("\x1f", 2) for line in (told or "").split("\n")]
    return tuple(Commit(id=row[0], author=row[1], subject=row[2]) for row in rows if len(row) == 3)
