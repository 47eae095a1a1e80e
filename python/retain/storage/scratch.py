"""Copies of the store beside it: those that a process works on for a while, and those that were set aside.

A folder of the first kind is locked while its process lives. What a process left that was killed is swept by the next
one that looks: it holds whatever the store held, and would hold it for ever.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "scratch-"
UNLOCKED_S = 60.0
"""A folder that is younger may be about to be locked."""
RESTORED = ".restored"
SET_ASIDE = ".replaced-"


@contextmanager
def scratch(home: Path) -> Iterator[Path]:
    """A folder (0700) in the data directory for the length of the block."""
    with tempfile.TemporaryDirectory(dir=home, prefix=PREFIX) as folder:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield Path(folder)
        finally:
            os.close(lock)


def sweep(home: Path) -> int:
    """Removes the folders of processes that are no more; returns how many."""
    left = [path for path in home.glob(PREFIX + "*") if path.is_dir() and not path.is_symlink()]
    return sum(_is_left(path) and _removed(path) for path in left)


def set_aside(database: Path) -> list[Path]:
    """The damaged stores that backups have replaced, the oldest first."""
    beside = sorted(database.parent.glob(database.name + SET_ASIDE + "*"))
    return [
        path for path in beside if path.is_file() and not path.name.endswith(("-wal", "-shm", "-journal"))
    ]


def _is_left(path: Path) -> bool:
    try:
        if time.time() - path.stat().st_mtime < UNLOCKED_S:
            return False
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


def _removed(path: Path) -> bool:
    shutil.rmtree(path, ignore_errors=True)
    return not path.exists()
