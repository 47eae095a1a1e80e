"""``retain uninstall --purge``: erases the data directory, after the number of memories was typed."""

from __future__ import annotations

import fnmatch
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from retain.config import CONFIG_FILE, Settings
from retain.errors import Conflict, InvalidInput
from retain.home import CLIENT_FILES, DATABASE, PUBLIC_KEY, RUN, SPOOL
from retain.interfaces import replies
from retain.storage.removal import alone

_OURS = "backups cache git controls model model-* scratch-* *.lock *.sock"
OWN = (f"{DATABASE}*", PUBLIC_KEY, SPOOL, RUN, CLIENT_FILES, CONFIG_FILE, *_OURS.split())
"""What retain makes in its data directory; whatever else lies there is left, and named."""

UNREADABLE = "unreadable"
"""What is to be typed where the memories cannot be counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What was erased."""

    home: Path
    memories: int | None
    files: int
    bytes: int
    left: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """For people."""
        if not self.files:
            return f"There was nothing to erase in {self.home}."
        told = "memories that could not be counted"
        if self.memories is not None:
            told = replies.counted(self.memories, "memory", "memories")
        files = f"{replies.counted(self.files, 'file', 'files')}, {replies.size(self.bytes)}"
        erased = f"Erased {told}: {files}, in {self.home}."
        return f"{erased} Left, for retain did not make it: {', '.join(self.left)}." if self.left else erased

    def as_object(self) -> dict[str, Any]:
        """For programs."""
        return {
            "home": str(self.home), "memories": self.memories, "files": self.files, "bytes": self.bytes,
            "left": list(self.left),
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Purge:
    """An erasure that was confirmed."""

    settings: Settings
    expected: str

    @classmethod
    def asked_for(cls, settings: Settings, typed: str | None, *, dry_run: bool) -> Self:
        """Asks for the number of memories, unless it was given.

        Raises:
            StoreBusy: another process has the store open.
            InvalidInput: something else was typed, or nobody is there to type.
        """
        with alone(settings) as count:
            expected = _expected(count)
        if typed is None and not dry_run:
            if not sys.stdin.isatty():
                hint = f"for scripts: --yes-really {expected}"
                raise InvalidInput("yes-really", "nobody is there to type the number of memories", hint=hint)
            told = "The memories" if count is None else replies.counted(count, "memory", "memories")
            sys.stderr.write(f"{told} in {settings.home} will be erased for good. Type {expected} to go on: ")
            sys.stderr.flush()
            typed = sys.stdin.readline().strip()
        if not dry_run and typed != expected:
            problem = f"{(typed or '')[:64]!r} is not the number of memories; nothing was erased"
            raise InvalidInput("yes-really", problem, hint=f"it is {expected}")
        return cls(settings=settings, expected=expected)

    def carry_out(self) -> Removed:
        """Erases what retain made in the data directory, and the directory where nothing else is in it.

        Raises:
            StoreBusy: another process opened the store meanwhile.
            Conflict: memories came in meanwhile.
        """
        files = size = 0
        home = self.settings.home
        with alone(self.settings) as count:
            if _expected(count) != self.expected:
                raise Conflict("memories came in meanwhile; nothing was erased", hint="run the command again")
            for path in _own(home):
                for one in _files_of(path):
                    files += 1
                    size += one.lstat().st_size
                _erase(path)
        left = tuple(sorted(path.name for path in home.iterdir())) if home.is_dir() else ()
        if home.is_dir() and not left:
            home.rmdir()
        return Removed(home=home, memories=count, files=files, bytes=size, left=left)


def _expected(count: int | None) -> str:
    return UNREADABLE if count is None else str(count)


def _own(home: Path) -> list[Path]:
    if not home.is_dir():
        return []
    return [path for path in home.iterdir() if any(fnmatch.fnmatchcase(path.name, name) for name in OWN)]


def _files_of(path: Path) -> Iterator[Path]:
    if path.is_symlink() or not path.is_dir():
        yield path
        return
    yield from (one for one in path.rglob("*") if one.is_symlink() or not one.is_dir())


def _erase(path: Path) -> None:
    """A link goes, what it leads to stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
