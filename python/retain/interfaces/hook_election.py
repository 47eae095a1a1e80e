"""Which server of a user answers hooks: the one that holds the lock of ``run/hook.lock``.

When the holder ends, in whatever way, the system lets the lock go. One that is stopped, or hangs, keeps it; then
another server puts a locked file of its own in the place of the old one. A lock counts only while its file is the
one at the path, so whoever was deposed sees it when it goes on.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from contextlib import suppress
from pathlib import Path

from retain.home import HOOK_LOCK

PING = (0).to_bytes(4, "little")
"""A frame of no length, which a server answers by closing."""

PING_S = 1.0
"""How long the holder may take for that."""

SILENT_PINGS_MAX = 2
"""A holder that does not answer as many in a row is replaced: one may fall into a moment's work."""


class Election:
    """One candidate.

    Args:
        folder: of the lock; it must be there, and be this user's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / HOOK_LOCK
        self._lock: int | None = None
        self._silent_pings = 0

    def won(self) -> bool:
        """Whether this process holds the lock now; asks for it where it does not.

        Raises:
            OSError: the file cannot be made or opened.
        """
        if self._lock is not None and not self.is_held():
            self.let_go()
        if self._lock is None:
            self._lock = _opened(self._path)
        return _locked(self._lock) and self.is_held()

    def is_held(self) -> bool:
        """Whether the file that this process has open is the one at the path."""
        return self._lock is not None and inode(self._path) == os.fstat(self._lock).st_ino

    def let_go(self) -> None:
        """Gives the lock up, where it is held."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def is_answered(self, address: str) -> bool:
        """Whether the holder gives a sign of life on its socket; it is deposed where it gave none several times.

        Raises:
            OSError: no lock can be made.
        """
        answered = await _answers(address)
        self._silent_pings = 0 if answered else self._silent_pings + 1
        if self._silent_pings >= SILENT_PINGS_MAX:
            self._silent_pings = 0
            self._depose()
        return answered

    def _depose(self) -> None:
        """Puts a locked file of ours in the place of the one that the holder has, unless another did so already."""
        if not self.is_held():
            return
        draft = self._folder / f"{HOOK_LOCK}.{os.getpid()}"
        with suppress(FileNotFoundError):
            draft.unlink()
        lock = _opened(draft)
        _locked(lock)
        draft.rename(self._path)
        self.let_go()
        self._lock = lock


async def _answers(address: str) -> bool:
    """Whether somebody closes the connection, or says something, in time."""
    try:
        async with asyncio.timeout(PING_S):
            reader, writer = await asyncio.open_unix_connection(address)
            try:
                writer.write(PING)
                await reader.read(1)
            finally:
                writer.close()
    except ConnectionResetError:
        return True
    except OSError:  # TimeoutError is one
        return False
    return True


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def inode(path: Path) -> int | None:
    """Of what lies at a path; None where nothing does."""
    try:
        return path.lstat().st_ino
    except OSError:
        return None
