"""What commits change: their patch ids, forwards and backwards, the files they touch, the blobs they hold.

A patch id (as of ``git patch-id``) is the same for two commits that make the same change at different places
of history: a rebase, a cherry-pick, a squash of one commit. What was computed once is kept.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from retain.git.history import Deadline, History, keep_found

if TYPE_CHECKING:
    import pygit2

FILES_MAX = 2_000
"""A commit that touches more files has no patch id: comparing it costs too much."""
KEPT_MAX = 20_000
FILE_BYTES_MAX = 16 << 20


class Patches:
    """Changes of the commits of one repository.

    Args:
        history: its graph.
        file: where patch ids are kept between processes; None keeps them in RAM.
    """

    def __init__(self, history: History, file: Path | None = None) -> None:
        self._history = history
        self._file = file
        self._kept: OrderedDict[str, str] = OrderedDict()
        self._touched: OrderedDict[int, frozenset[str]] = OrderedDict()
        self._changed = False
        self._compared: set[int] = set()
        self._by_patch: dict[str, list[int]] = {}
        if file is not None:
            self._load(file)

    def of(self, number: int) -> str:
        """The patch id of a commit against its first parent; empty for a merge and where it cannot be told."""
        if self._history.is_merge(number):
            return ""
        return self._patch_id(self._parent(number), self._history.hex_of(number))

    def compare(self, numbers: Iterable[int], deadline: Deadline) -> None:
        """Makes commits findable by their patch id, each once.

        Raises:
            Late: the deadline came before all were read.
        """
        for number in numbers:
            if number not in self._compared:
                deadline.check()
                if patch := self.of(number):
                    self._by_patch.setdefault(patch, []).append(number)
                self._compared.add(number)

    def with_patch(self, patch: str) -> list[int]:
        """The compared commits with a patch id, in no particular order."""
        return self._by_patch.get(patch, [])

    def backwards(self, number: int) -> str:
        """The patch id of taking a commit back; of a merge, of all that it brought."""
        return self._patch_id(self._history.hex_of(number), self._parent(number))

    def between(self, base: int, tip: int) -> str:
        """The patch id of all that changed from one commit to another: what a squash makes."""
        return self._patch_id(self._history.hex_of(base), self._history.hex_of(tip))

    def touched(self, number: int) -> frozenset[str]:
        """The files that a commit changes against its first parent, under their old and new names."""
        known = self._touched.get(number)
        if known is None:
            known = self._files(self._parent(number), self._history.hex_of(number))
            self._touched[number] = known
            if len(self._touched) > KEPT_MAX:
                self._touched.popitem(last=False)
        return known

    def blob(self, number: int, path: str) -> str:
        """The blob (hex) that a file has in a commit; empty where there is none."""
        repository = self._history.repository()
        tree = _tree(repository, self._history.hex_of(number)) if repository else None
        if tree is None:
            return ""
        try:
            entry = tree[path]
        except (KeyError, ValueError):
            return ""
        return str(entry.id) if entry.type_str == "blob" else ""

    def save(self) -> None:
        """Keeps the patch ids in their file, where there are new ones."""
        if self._file is not None and self._changed:
            keep_found(self._file, orjson.dumps(dict(self._kept)))
            self._changed = False

    def _parent(self, number: int) -> str:
        parent = self._history.first_parent(number)
        return self._history.hex_of(parent) if parent >= 0 else ""

    def _patch_id(self, old: str, new: str) -> str:
        name = f"{old}{new}" if old else f"-{new}"
        known = self._kept.get(name)
        if known is None:
            known = self._diffed(old, new)
            self._kept[name] = known
            self._changed = True
            if len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        return known

    def _diffed(self, old: str, new: str) -> str:
        diff = self._diff(old, new)
        if diff is None or not 0 < len(diff) <= FILES_MAX:
            return ""
        return str(diff.patchid)

    def _files(self, old: str, new: str) -> frozenset[str]:
        diff = self._diff(old, new)
        if diff is None:
            return frozenset()
        return frozenset(name for delta in diff.deltas for name in (delta.old_file.path, delta.new_file.path))

    def _diff(self, old: str, new: str) -> pygit2.Diff | None:
        repository = self._history.repository()
        if repository is None:
            return None
        import pygit2

        before = _tree(repository, old) if old else None
        after = _tree(repository, new) if new else None
        try:
            if before is not None and after is not None:
                return before.diff_to_tree(after)
            tree, swap = (after, True) if before is None else (before, False)
            return None if tree is None else tree.diff_to_tree(swap=swap)
        except (pygit2.GitError, KeyError):
            return None  # an object is not there, as in a partial clone

    def _load(self, file: Path) -> None:
        try:
            if file.stat().st_size <= FILE_BYTES_MAX:
                self._kept.update(orjson.loads(file.read_bytes()))
        except (OSError, ValueError, TypeError):
            self._kept.clear()  # it is only a copy of what git has


def _tree(repository: pygit2.Repository, commit: str) -> pygit2.Tree | None:
    found = repository.get(commit)
    return getattr(found, "tree", None)


def blob_id(data: bytes) -> str:
    """The id that git gives to the content of a file (SHA-1), where no filter changes it on the way in."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
