"""Files as they are somewhere: in a working tree, or in a commit. Read for checking, never executed.

Only what lies within the tree is read, no link is followed out of it, and nothing but regular files up to a limit.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Protocol

from retain.git.source import Source

if TYPE_CHECKING:
    import pygit2

FILE_BYTES_MAX = 1 << 20
"""Larger files are not read: what is said of them cannot be checked."""
SOURCES_KEPT = 96
FILES_MAX = 50_000
DELTAS_MAX = 20_000
RENAMES_MAX = 1_000
COMMITS_WALKED = 500
"""Among so many of the newest commits, first parents only, the one is looked for that moved a file away."""
MOVES_MAX = 8

Stamp = tuple[object, ...]
"""Changes whenever a file does; empty where there is none."""


class Unreadable(Exception):
    """A file is there, and cannot be read or is too large."""


class Tree(Protocol):
    """Files by their paths from the top, with forward slashes."""

    def stamp(self, path: str) -> Stamp:
        """What changes with the file; empty where there is no file or folder."""
        ...

    def source(self, path: str) -> Source | None:
        """The text of a file; None where there is none.

        Raises:
            Unreadable: it is too large, or cannot be read.
        """
        ...

    def names(self) -> frozenset[str]:
        """Every file, or none where that is not known."""
        ...


def tidy(path: str) -> str:
    """A path from the top of a tree; empty where it leads out of it, or is none."""
    name = path.strip().replace("\\", "/").removeprefix("./")
    if not name or "\0" in name or "\n" in name or name.startswith(("/", "~")) or ":" in name.split("/")[0]:
        return ""
    name = posixpath.normpath(name)
    return "" if name in {".", ".."} or name.startswith(("../", ".git/")) else name


class _Kept:
    """The sources read last, by path and stamp."""

    def __init__(self) -> None:
        self._sources: OrderedDict[tuple[str, Stamp], Source] = OrderedDict()

    def get(self, path: str, stamp: Stamp) -> Source | None:
        found = self._sources.get((path, stamp))
        if found is not None:
            self._sources.move_to_end((path, stamp))
        return found

    def put(self, path: str, stamp: Stamp, data: bytes) -> Source:
        made = Source(path, data.decode("utf-8", "replace").replace("\r\n", "\n"))
        self._sources[path, stamp] = made
        while len(self._sources) > SOURCES_KEPT:
            self._sources.popitem(last=False)
        return made


class WorkTree:
    """The files below a folder as they are now.

    Args:
        root: its top.
        listed: names of its files, as the commit that is checked out has them; renames are looked for there.
    """

    def __init__(self, root: str, listed: frozenset[str] = frozenset()) -> None:
        self.root = root
        self.listed = listed
        self._kept = _Kept()

    def stamp(self, path: str) -> Stamp:
        """Kind, size, time of change and inode; one call of ``stat``."""
        try:
            found = os.stat(f"{self.root}/{path}")  # noqa: PTH116 - asked for every path before an answer
        except (OSError, ValueError):
            return ()
        return (stat.S_IFMT(found.st_mode), found.st_size, found.st_mtime_ns, found.st_ino)

    def source(self, path: str) -> Source | None:
        """The text of a file now."""
        stamp = self.stamp(path)
        if not stamp:
            return None
        if stamp[0] != stat.S_IFREG:
            return None
        known = self._kept.get(path, stamp)
        return known or self._kept.put(path, stamp, self._read(path))

    def _read(self, path: str) -> bytes:
        top = os.path.realpath(self.root)
        real = os.path.realpath(f"{self.root}/{path}")
        if not real.startswith(top + os.sep):
            raise Unreadable("leads out of the folder")
        try:
            with open(real, "rb") as file:  # noqa: PTH123 - many small files
                size = os.fstat(
                    file.fileno()
                ).st_size  # read without it, a buffer of the limit is made for each file
                data = file.read(min(size, FILE_BYTES_MAX) + 1)
        except OSError as error:
            raise Unreadable(error.strerror or "cannot be read") from None
        if len(data) > FILE_BYTES_MAX:
            raise Unreadable("too large")
        return data

    def names(self) -> frozenset[str]:
        """What is tracked and still there."""
        return self.listed


class CommitTree:
    """The files of a commit.

    Args:
        repository: where it is.
        commit: hex.
    """

    def __init__(self, repository: pygit2.Repository, commit: str) -> None:
        self._repository = repository
        self._tree: pygit2.Tree = repository[commit].peel(_tree_type())
        self._kept = _Kept()
        self._names: frozenset[str] | None = None

    def stamp(self, path: str) -> Stamp:
        """The id of the blob or tree."""
        try:
            return (str(self._tree[path].id),)
        except (KeyError, ValueError):
            return ()

    def source(self, path: str) -> Source | None:
        """The text of a file in the commit."""
        try:
            found: Any = self._tree[path]
        except (KeyError, ValueError):
            return None
        if found.type_str != "blob" or found.filemode == LINK:
            return None
        stamp = (str(found.id),)
        known = self._kept.get(path, stamp)
        if known is not None:
            return known
        if found.size > FILE_BYTES_MAX:
            raise Unreadable("too large")
        return self._kept.put(path, stamp, found.data)

    def names(self) -> frozenset[str]:
        """Every file of the commit."""
        if self._names is None:
            self._names = frozenset(_walk(self._tree))
        return self._names


LINK = 0o120000


def _tree_type() -> Any:
    import pygit2

    return pygit2.Tree


def _walk(top: pygit2.Tree) -> list[str]:
    found: list[str] = []
    waiting: list[tuple[str, Any]] = [("", top)]
    while waiting and len(found) < FILES_MAX:
        before, tree = waiting.pop()
        for entry in tree:
            name = f"{before}{entry.name}"
            if entry.type_str == "tree":
                waiting.append((f"{name}/", entry))
            elif entry.type_str == "blob":
                found.append(name)
    return found


def moved_to(repository: pygit2.Repository, path: str, commit: str) -> str:
    """Where a file that a commit lacks went, by the commit that moved it away; empty where it was removed.

    Two trees far apart do not tell: the file may have been changed since too much to be like what it was.
    """
    import pygit2

    try:
        now = repository[commit].peel(pygit2.Commit)
        for _ in range(MOVES_MAX):
            if path in now.tree:
                return path
            since = _last_with(now, path)
            path = renames(repository, str(since[0].id), str(since[1].id)).get(path, "") if since else ""
            if not path:
                return ""
    except (KeyError, ValueError, pygit2.GitError):
        return ""
    return ""


def _last_with(now: pygit2.Commit, path: str) -> tuple[pygit2.Commit, pygit2.Commit] | None:
    """The newest commit that has the path and the one after it; None where there is none among those looked at."""
    for _ in range(COMMITS_WALKED):
        before = next(iter(now.parents), None)
        if before is None:
            return None
        if path in before.tree:
            return before, now
        now = before
    return None


def renames(repository: pygit2.Repository, old: str, new: str) -> dict[str, str]:
    """New paths of files that went between two commits, by the likeness of their content."""
    import pygit2

    try:
        before, after = repository[old].peel(pygit2.Tree), repository[new].peel(pygit2.Tree)
        diff = before.diff_to_tree(after)
        if len(diff) > DELTAS_MAX:
            return {}
        diff.find_similar(flags=pygit2.enums.DiffFind.FIND_RENAMES, rename_limit=RENAMES_MAX)
    except (KeyError, ValueError, pygit2.GitError):
        return {}
    renamed = pygit2.enums.DeltaStatus.RENAMED
    return {one.old_file.path: one.new_file.path for one in diff.deltas if one.status == renamed}
