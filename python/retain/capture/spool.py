"""The spool: where a hook puts an event so that it survives everything, in a few milliseconds.

A hook process loads little of retain besides this module, so it imports nothing that costs: no json, no
dataclasses, no logging, and ``posix`` where other code would write ``os`` (which costs a bare interpreter
a millisecond more).

A segment is a file of records, one after the other::

    magic    4 bytes  b"RTS1"
    digest  16 bytes  BLAKE2b-128 of all that follows in the record
    length   4 bytes  of meta and payload together
    meta_len 2 bytes
    flags    2 bytes  1: the payload was cut at the limit; 2: it is another record, sealed, behind the id of its key
    time_us  8 bytes  microseconds since the epoch when the hook ran
    meta              cwd, branch and commit, separated by NUL, UTF-8
    payload           what the client sent, byte for byte

All numbers are little-endian. Writers append to ``live.spool`` under flock and sync after the lock is
let go. Where the lock cannot be had in time (its holder is stopped), a writer makes a segment of its own.
A reader seals the live segment by renaming it under the same lock, and removes a segment only after
its records are committed. A torn or damaged stretch is skipped to the next magic and reported.
"""

import fcntl
import posix
import time

from retain.home import PUBLIC_KEY

try:
    from _blake2 import blake2b  # a tenth of the cost of importing hashlib
except ImportError:
    from hashlib import blake2b

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"RTS1"
HEADER_BYTES = 36
DIGEST_BYTES = 16
LIVE = "live.spool"
OWN = "own-"
SUFFIX = ".spool"
TRUNCATED, SEALED = 1, 2

LOCK_WAIT_MS = 20
"""Longest wait for the lock of the live segment before a segment of one's own is made."""

SEAL_WAIT_MS = 200
"""Longest wait of a reader for that lock; a writer that is stopped while it holds it must not stop the drain."""

PAYLOAD_BYTES_MAX = 16 * 1024 * 1024
"""Largest payload kept whole; a longer one is cut here and flagged."""

PUBLIC_KEY_BYTES_MAX = 256

TIME_US_MAX = 2**63 - 1

_fdatasync = getattr(posix, "fdatasync", posix.fsync)


class Record:
    """One spooled event, as bytes.

    Attributes:
        received_at_us: when the hook ran, microseconds since the epoch.
        cwd, branch, commit: where the hook ran; empty where unknown.
        truncated: whether the payload was cut at the limit.
        payload: what the client sent.
        sealed: whether the payload is another record, sealed.
    """

    __slots__ = ("branch", "commit", "cwd", "payload", "received_at_us", "sealed", "truncated")

    def __init__(
        self,
        payload: bytes,
        received_at_us: int,
        *,
        cwd: str = "",
        branch: str = "",
        commit: str = "",
        truncated: bool = False,
        sealed: bool = False,
    ) -> None:
        self.payload = payload
        self.received_at_us = received_at_us
        self.cwd = cwd
        self.branch = branch
        self.commit = commit
        self.truncated = truncated
        self.sealed = sealed


class Damage:
    """A stretch of a segment that is no record: where it starts and its bytes."""

    __slots__ = ("data", "offset")

    def __init__(self, offset: int, data: bytes) -> None:
        self.offset = offset
        self.data = data


def encode(record: Record) -> bytes:
    """The bytes of one record."""
    meta = "\0".join((record.cwd, record.branch, record.commit)).encode("utf-8", "replace")[:65535]
    time_us = min(max(record.received_at_us, 0), TIME_US_MAX)  # a clock may stand before 1970
    body = b"".join(
        (
            (len(meta) + len(record.payload)).to_bytes(4, "little"),
            len(meta).to_bytes(2, "little"),
            (TRUNCATED * record.truncated | SEALED * record.sealed).to_bytes(2, "little"),
            time_us.to_bytes(8, "little"),
            meta,
            record.payload,
        )
    )
    return MAGIC + _digest(body) + body


def _digest(body: bytes) -> bytes:
    return blake2b(body, digest_size=DIGEST_BYTES).digest()


def append(directory: str, record: Record) -> None:
    """Appends a record durably; when this returns, the record survives kill -9 and power loss.

    Args:
        directory: the spool directory; it is created with mode 0700 where missing.
        record: what to keep.

    Raises:
        OSError: it could not be written (no space, read-only), and nothing of the record is left behind;
            or it could not be synced, and may be there or not.
    """
    write(directory, record).sync()


class Written:
    """A record that is in its segment and may not be on the disk yet; a server can work on the event meanwhile."""

    __slots__ = ("_fd", "_new_in")

    def __init__(self, fd: int, new_in: str) -> None:
        self._fd = fd
        self._new_in = new_in

    def sync(self) -> None:
        """Waits for the disk.

        Raises:
            OSError: it could not; the record may be there or not.
        """
        try:
            _fdatasync(self._fd)
        finally:
            posix.close(self._fd)
        if self._new_in:
            _sync_directory(self._new_in)


def write(directory: str, record: Record) -> Written:
    """Writes a record; all of it or nothing.

    Raises:
        OSError: it could not be written, and nothing of it is left behind.
    """
    data = _at_rest(directory, record)
    fd = _open_live(directory)
    if fd is None:
        return _write_own(directory, data)
    try:
        start = _write_or_undo(fd, data)
        fcntl.flock(fd, fcntl.LOCK_UN)
    except BaseException:
        posix.close(fd)
        raise
    return Written(fd, directory if start == 0 else "")


def _at_rest(directory: str, record: Record) -> bytes:
    """The bytes of a record as they lie in the spool: sealed where the data directory is encrypted."""
    data = encode(record)
    line = _public_key(directory.rpartition("/")[0] + "/" + PUBLIC_KEY)
    if line is None:
        return data
    from retain.sealing import id_of_public, seal_event

    words = line.decode("ascii", "replace").split(" ")
    try:
        name, public = bytes.fromhex(words[2]), bytes.fromhex(words[3])
        if id_of_public(public) != name.hex():
            return data  # to a key that was changed nobody has the secret: rather kept plain than lost
    except (ValueError, IndexError):
        return data
    return encode(Record(name + seal_event(public, data), record.received_at_us, sealed=True))


def _public_key(path: str) -> bytes | None:
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW | posix.O_NONBLOCK)
    except OSError:
        return None
    try:
        return posix.read(fd, PUBLIC_KEY_BYTES_MAX)
    finally:
        posix.close(fd)


def _open_live(directory: str) -> int | None:
    """A locked descriptor of the live segment, made where missing; None where the lock is not had in time."""
    path = directory + "/" + LIVE
    deadline = time.monotonic() + LOCK_WAIT_MS / 1000
    while True:
        fd = _open_segment(directory, path)
        locked = _lock_until(fd, deadline)
        if locked and _is_still(fd, path):
            return fd
        posix.close(fd)
        if not locked:
            return None


def _open_segment(directory: str, path: str) -> int:
    flags = posix.O_WRONLY | posix.O_APPEND | posix.O_CLOEXEC | posix.O_NOFOLLOW | posix.O_CREAT
    try:
        return posix.open(path, flags, 0o600)
    except FileNotFoundError:
        make_directory(directory)
    return posix.open(path, flags, 0o600)


def make_directory(directory: str) -> None:
    """Creates the spool directory and the data directory around it, both with mode 0700."""
    from os import makedirs

    # Not pathlib: that costs a hook 5 ms
    makedirs(directory.rpartition("/")[0] or "/", mode=0o700, exist_ok=True)  # noqa: PTH103
    makedirs(directory, mode=0o700, exist_ok=True)  # noqa: PTH103


def _lock_until(fd: int, deadline: float) -> bool:
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.0005)
        else:
            return True


def _is_still(fd: int, path: str) -> bool:
    """Whether the descriptor is still the file at the path: a reader may have sealed it meanwhile."""
    try:
        there = posix.stat(path)
    except FileNotFoundError:
        return False
    here = posix.fstat(fd)
    return here.st_ino == there.st_ino and here.st_dev == there.st_dev


def _write_own(directory: str, data: bytes) -> Written:
    """Makes a segment of one record; it gets its final name only when it is whole and synced."""
    path = f"{directory}/{OWN}{time.time_ns():020d}-{posix.getpid()}"
    part = path + ".part"
    fd = posix.open(
        part, posix.O_WRONLY | posix.O_APPEND | posix.O_CLOEXEC | posix.O_CREAT | posix.O_EXCL, 0o600
    )
    try:
        _write_or_undo(fd, data)
        _fdatasync(fd)
        posix.rename(part, path + SUFFIX)
    except BaseException:
        posix.close(fd)
        posix.unlink(part)
        raise
    return Written(fd, directory)


def _write_or_undo(fd: int, data: bytes) -> int:
    """Writes all of the data or nothing; returns where it starts."""
    start = posix.fstat(fd).st_size
    view = memoryview(data)
    try:
        while view:
            view = view[posix.write(fd, view) :]
    except BaseException:
        posix.ftruncate(fd, start)
        raise
    return start


def _sync_directory(directory: str) -> None:
    fd = posix.open(directory, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        posix.fsync(fd)
    finally:
        posix.close(fd)


def seal(directory: str, name: str) -> bool:
    """Renames the live segment to ``name`` under its lock, so that no writer appends to it any more.

    Returns:
        False where there is no live segment, it is empty, or its lock is not had within ``SEAL_WAIT_MS``.
    """
    path = directory + "/" + LIVE
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        if posix.fstat(fd).st_size == 0:
            return False
        if not _lock_until(fd, time.monotonic() + SEAL_WAIT_MS / 1000) or not _is_still(fd, path):
            return False
        posix.rename(path, f"{directory}/{name}{SUFFIX}")
        # A writer that waits for the lock finds another file at the path and opens that one. The writer
        # that held it before may still be syncing; what it wrote is complete.
        _sync_directory(directory)
        return True
    finally:
        posix.close(fd)


def segments(directory: str) -> list[str]:
    """Names of the sealed and own segments, oldest first; the live one is not among them.

    Both kinds carry their time in nanoseconds after the first dash.
    """
    try:
        names = posix.listdir(directory)
    except FileNotFoundError:
        return []
    found = [name for name in names if name.endswith(SUFFIX) and name != LIVE]
    return sorted(found, key=lambda name: (name.split("-", 1)[-1], name))


def groups(directory: str, until_ns: int) -> "list[list[str]]":
    """The segments to be read together, oldest first: a sealed one, and before it the own ones of its time.

    Where a writer made a segment of its own, the live one held earlier records of its session, perhaps, and
    got later ones; so the two are merged (``in_order``). Own segments made after ``until_ns`` are left for the next
    time: what was written to the live segment before them may not be sealed yet.

    Args:
        directory: the spool.
        until_ns: a moment before the live segment was sealed, nanoseconds since the epoch.
    """
    found: list[list[str]] = []
    own: list[str] = []
    for name in segments(directory):
        if not name.startswith(OWN):
            found.append([*own, name])
            own = []
        elif _made_ns(name) <= until_ns:
            own.append(name)
    return [*found, own] if own else found


def _made_ns(name: str) -> int:
    digits = name.split("-")[1]
    return int(digits) if digits.isdigit() else 0


def in_order(parts: "list[list[Record]]") -> "list[Record]":
    """The records of a group: those of its last segment as they stand, the others before what was received later."""
    if not parts:
        return []
    merged = list(parts[-1])
    for record in (record for part in parts[:-1] for record in part):
        place = len(merged)
        while place and merged[place - 1].received_at_us > record.received_at_us:
            place -= 1
        merged.insert(place, record)
    return merged


def waiting_bytes(directory: str) -> int:
    """Bytes in the spool that are not drained yet; costs a few stat calls."""
    total = 0
    try:
        with posix.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX):
                    total += entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0
    return total


def scan(data: bytes) -> "Iterator[Record | Damage]":
    """The records of a segment in order, with each damaged stretch between them.

    Args:
        data: the bytes of the whole segment.
    """
    position = 0
    while position < len(data):
        record, end = _decode(data, position)
        if record is None:
            end = _resume(data, position + 1)
            yield Damage(position, data[position:end])
        else:
            yield record
        position = end


def _resume(data: bytes, start: int) -> int:
    """The next position that holds a whole record, or the end of the data."""
    while (found := data.find(MAGIC, start)) >= 0:
        if _decode(data, found)[0] is not None:
            return found
        start = found + 1
    return len(data)


def _decode(data: bytes, at: int) -> tuple[Record | None, int]:
    if data[at : at + 4] != MAGIC or len(data) < at + HEADER_BYTES:
        return None, at
    length = int.from_bytes(data[at + 20 : at + 24], "little")
    meta_len = int.from_bytes(data[at + 24 : at + 26], "little")
    end = at + HEADER_BYTES + length
    if end > len(data) or meta_len > length:
        return None, at
    if _digest(data[at + 20 : end]) != data[at + 4 : at + 20]:
        return None, at
    meta_end = at + HEADER_BYTES + meta_len
    parts = data[at + HEADER_BYTES : meta_end].decode("utf-8", "replace").split("\0")
    cwd, branch, commit = (*parts, "", "", "")[:3]
    flags = int.from_bytes(data[at + 26 : at + 28], "little")
    record = Record(
        data[meta_end:end],
        int.from_bytes(data[at + 28 : at + 36], "little"),
        cwd=cwd,
        branch=branch,
        commit=commit,
        truncated=bool(flags & TRUNCATED),
        sealed=bool(flags & SEALED),
    )
    return record, end
