"""Files that are there whole and on disk, or as they were: for whatever retain replaces as a whole.

What is written goes to a file of its own beside the old one, and then takes its place in one step (``rename(2)``).
Several processes may replace the same file at once: each writes its own, and the last one stays. What a killed process
leaves behind is removed when the same file is next replaced; a lock on it (``flock``) tells the living from the dead.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

MODE = 0o600
_FRESH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_NAME_BYTES = 6


def write_whole(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replaces a file by these bytes, as ``whole`` does."""
    with whole(path, durable=durable) as file:
        file.write(data)


@contextmanager
def whole(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """A file to be written, for its owner alone (0600), which takes the place of ``path`` at the end of the block.

    Where the block or the writing fails nothing is left, and an older file stays as it was.

    Args:
        path: in a folder that is there; a symbolic link is replaced, not followed.
        durable: whether file and name are on disk after the block. Without, a power cut may leave any bytes, so what
            is read from it must be checked.

    Raises:
        OSError: it cannot be written.
    """
    _remove_left(path)
    fresh, file = _begun(path)
    try:
        with file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
            fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    if durable:
        sync(path.parent)


def create(path: Path, data: bytes, mode: int = MODE) -> None:
    """Writes a file that must not be there yet; its bytes are on disk when this returns.

    Raises:
        FileExistsError: it is there.
        OSError: it cannot be written.
    """
    with os.fdopen(os.open(path, _FRESH, MODE), "wb") as file:
        file.write(data)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Brings the names in a folder to the disk.

    Raises:
        OSError: there is no such folder, or the disk does not take them.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _begun(path: Path) -> tuple[Path, BinaryIO]:
    """A new file that nobody else has, locked for as long as it is open."""
    while True:
        fresh = path.with_name(f"{path.name}.{os.urandom(_NAME_BYTES).hex()}.part")
        file = os.fdopen(os.open(fresh, _FRESH, MODE), "wb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # taken for a dead one's before it was locked
            pass
        except OSError:
            file.close()
            fresh.unlink(missing_ok=True)
            raise
        else:
            if os.fstat(file.fileno()).st_nlink:
                return fresh, file
        file.close()


def _remove_left(path: Path) -> None:
    """Removes what writers of this file left that were killed."""
    name = re.compile(re.escape(path.name) + rf"\.[0-9a-f]{{{2 * _NAME_BYTES}}}\.part")
    found: list[Path] = []
    with suppress(OSError):  # a folder may be written to and not read
        found = [left for left in path.parent.iterdir() if name.fullmatch(left.name)]
    for left in found:
        with suppress(OSError):
            descriptor = os.open(left, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink(missing_ok=True)
            finally:
                os.close(descriptor)
