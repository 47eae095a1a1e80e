"""Branches of a repository and what is checked out where, read from its files; asked before every recall.

Reftables are not read: there, head and branches are unknown.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from retain.git import head

PACKED_BYTES_MAX = 16 << 20
FOLDERS_MAX = 256
"""Folders of loose refs that are watched for changes."""
BRANCHES_MAX = 20_000

TRUNKS = ("main", "master", "trunk", "develop")
"""Names of the line that others are merged into, where the remote does not name it."""

_SYMBOLIC = re.compile(r"ref: refs/remotes/origin/(\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """What is checked out in a working tree.

    Attributes:
        root: top of the working tree.
        git_dir: its own git directory; a linked worktree and a submodule have theirs elsewhere.
        common_dir: the git directory that holds objects and branches.
        branch: empty where the head is detached or unknown.
        commit: hex; empty before the first commit or where unknown.
    """

    root: str
    git_dir: str
    common_dir: str
    branch: str
    commit: str


def checkout_at(folder: str) -> Checkout | None:
    """The working tree around a folder; None outside a repository."""
    found = head.find_git_dir(folder)
    if found is None:
        return None
    root, git_dir = found
    shared = os.path.normpath(head.common_dir(git_dir))  # one name for all working trees of a repository
    branch, commit = head.read_at(git_dir, shared)
    return Checkout(root=root, git_dir=git_dir, common_dir=shared, branch=branch, commit=commit)


class Watch:
    """Notices when a branch of a repository was made, moved or removed, by the times of a few files.

    A change within one tick of the file system's clock (4 ms on common kernels) after a look may be noticed
    only with the next one; the head itself is read anew each time.
    """

    def __init__(self, common_dir: str) -> None:
        self._common_dir = common_dir
        self._folders: tuple[str, ...] = ()
        self._times: tuple[int, ...] = ()

    def state(self) -> tuple[int, ...]:
        """A value that differs after a change; costs a few calls of ``stat``."""
        times = tuple(map(_changed_ns, self._folders))
        if not times or times != self._times:
            self._folders = self._all_folders()
            self._times = tuple(map(_changed_ns, self._folders))
        return self._times

    def _all_folders(self) -> tuple[str, ...]:
        found = [f"{self._common_dir}/packed-refs", f"{self._common_dir}/shallow"]
        for kind in ("heads", "remotes"):
            for folder, _, _ in os.walk(f"{self._common_dir}/refs/{kind}"):
                found.append(folder)
                if len(found) > FOLDERS_MAX:
                    return tuple(found)
        return tuple(found)


def _changed_ns(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - asked before every recall
    except OSError:
        return 0


def branches(common_dir: str) -> dict[str, str]:
    """Commits (hex) of local branches by name, and of remote ones as ``remotes/origin/name``."""
    found: dict[str, str] = {}
    for line in _text(f"{common_dir}/packed-refs", PACKED_BYTES_MAX).splitlines():
        commit, _, ref = line.partition(" ")
        if (name := _name(ref)) and head.is_commit(commit):
            found[name] = commit
    for kind in ("heads", "remotes"):
        top = f"{common_dir}/refs/{kind}"
        for folder, _, files in os.walk(top):
            for file in files:
                path = f"{folder}/{file}"
                name = _name(path[len(common_dir) + 1 :])
                commit = _text(path, head.SMALL).strip()
                if name and head.is_commit(commit):
                    found[name] = commit
            if len(found) > BRANCHES_MAX:
                return found
    return found


def trunk(common_dir: str, known: dict[str, str]) -> str:
    """The branch that others are merged into: what the remote calls its head, else a usual name; may be empty."""
    if match := _SYMBOLIC.match(_text(f"{common_dir}/refs/remotes/origin/HEAD", head.SMALL)):
        return match[1]
    names = [name for name in TRUNKS if name in known or f"remotes/origin/{name}" in known]
    if names:
        return names[0]
    local = [name for name in known if not name.startswith("remotes/")]
    return local[0] if len(local) == 1 else ""


def is_shallow(common_dir: str) -> bool:
    """Whether the history was cut when it was fetched."""
    return Path(common_dir, "shallow").exists()


def _name(ref: str) -> str:
    if ref.startswith("refs/heads/"):
        return ref[len("refs/heads/") :]
    if ref.startswith("refs/remotes/") and not ref.endswith("/HEAD"):
        return ref[len("refs/") :]
    return ""


def _text(path: str, limit: int) -> str:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - thousands of small files
            return file.read(limit).decode("utf-8", "replace")
    except OSError:
        return ""
