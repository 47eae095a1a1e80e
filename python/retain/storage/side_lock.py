"""Locks between processes, on files beside the database: that of its one writer, and that of whoever has it open.

The writer's is taken before BEGIN IMMEDIATE.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
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
        self._path = path
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
                    raise busy(self._path, timeout_s) from None
            time.sleep(LOCK_POLL_S)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Closes the file; the lock goes with it."""
        os.close(self._fd)


def busy(path: Path, timeout_s: float) -> StoreBusy:
    """The error of whoever waited so long in vain for the lock on a file; its hint says who holds it."""
    return StoreBusy(f"the write lock was not free within {timeout_s:g} s", hint=_held_by(path))


def _held_by(path: Path) -> str:
    """Who holds the lock, where the system tells (Linux), and whether that process was stopped."""
    with suppress(OSError, ValueError):
        status = path.stat()
        place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            kind, _, _, pid, file, *_ = line.split()[1:]
            if kind == "FLOCK" and file == place and int(pid) > 0:
                state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
                if state == "T":
                    return f"process {pid} holds it and was stopped; `kill -CONT {pid}` lets it go on"
                return f"process {pid} holds it"
    return "another process holds it"


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
