"""Locks between processes, on files beside the database: that of its one writer, and that of whoever has it open.

The writer's is taken before BEGIN IMMEDIATE.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from retain.errors import StoreBusy, StoreUnusable

LOCK_FILE = "write.lock"
PRESENCE_FILE = "open.lock"
LOCK_POLL_S = 0.005


class SideLock:
    """An exclusive lock between processes on a file beside the database.

    Args:
        path: the file; it is made where missing.
        timeout_s: longest wait for the lock; None waits in line, however long.

    Raises:
        StoreUnusable: the file cannot be opened.
    """

    def __init__(self, path: Path, *, timeout_s: float | None = None) -> None:
        self._timeout_s = timeout_s
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnusable(
                f"{path} cannot be opened: {error.strerror}", hint="set RETAIN_HOME"
            ) from error

    def __enter__(self) -> None:
        if self._timeout_s is None:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        else:
            self._lock_within(self._timeout_s)

    def _lock_within(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise busy(timeout_s) from None
            time.sleep(LOCK_POLL_S)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Closes the file; the lock goes with it."""
        os.close(self._fd)


def busy(timeout_s: float) -> StoreBusy:
    """The error of whoever waited so long in vain."""
    return StoreBusy(f"the write lock was not free within {timeout_s:g} s", hint="another process holds it")


def present(home: Path, mode: int = fcntl.LOCK_SH) -> int:
    """A descriptor that holds the lock of whoever has the store open: many at once, or one alone.

    Raises:
        StoreBusy: another process has it in a way that rules this one out.
    """
    fd = os.open(home / PRESENCE_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        what = "a process has the store open" if mode == fcntl.LOCK_EX else "the store is being replaced"
        raise StoreBusy(what, hint="close the sessions that use it, and try again") from None
    return fd
