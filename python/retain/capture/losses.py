"""Events that a hook could not keep: the list of them, what the user is told, and that it was told.

A line of ``failures.log`` is the moment in microseconds, ``hook.failed``, the kind of error and its number.
Where a full disk has no room for a line, the list grows by one NUL, which needs none. ``failures.told`` holds how
many bytes of the list the user was told of at the start of a session. Loaded by hook processes, so it imports
nothing that costs; the native hook client has the same rules (``rust/hook/src/losses.rs``).
"""

import fcntl
import posix
import time

from retain.capture import spool

FAILURES = "failures.log"
TOLD = "failures.told"
BYTES_MAX = 64 * 1024
LOCK_TRIES = 20
LOCK_PAUSE_S = 0.001
FULL = "the disk was full"
NO_HOME = "neither RETAIN_HOME nor HOME names a place"


class Losses:
    """What a list says.

    Attributes:
        count: events that were not kept.
        since_us: the moment of the first that has one, microseconds since the epoch; None where none has.
        reason: why the last was not kept, in the words of the system.
        size: bytes of the list that this speaks of, from its start.
    """

    __slots__ = ("count", "reason", "since_us", "size")

    def __init__(self, count: int, since_us: int | None, reason: str, size: int) -> None:
        self.count = count
        self.since_us = since_us
        self.reason = reason
        self.size = size


def note(directory: str, line: bytes) -> None:
    """Adds a line to the list, while that is below its limit; on a full disk, a mark.

    Raises:
        OSError: neither could be written.
    """
    spool.make_directory(directory)
    flags = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC | posix.O_NOFOLLOW
    fd = posix.open(f"{directory}/{FAILURES}", flags, 0o600)
    try:
        locked = _lock(fd)
        size = posix.fstat(fd).st_size
        if size >= BYTES_MAX:
            return
        try:
            whole = posix.write(fd, line) == len(line)
        except OSError:
            whole = False
        if locked and not whole:
            posix.ftruncate(fd, size)  # without the part that was written
            posix.ftruncate(fd, size + 1)
    finally:
        posix.close(fd)


def _lock(fd: int) -> bool:
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_S)
        else:
            return True
    return False


def all_of(directory: str) -> Losses | None:
    """What the whole list says; None where nothing was lost."""
    return _summed(_read(f"{directory}/{FAILURES}"), 0)


def untold(directory: str) -> Losses | None:
    """What the list says that no session was told yet; None where that is nothing."""
    data = _read(f"{directory}/{FAILURES}")
    told = _read(f"{directory}/{TOLD}").strip()
    start = int(told) if told.isdigit() else 0
    return _summed(data, start if start <= len(data) else 0)  # a list that was removed begins anew


def mark_told(directory: str, losses: Losses) -> None:
    """Remembers that the user was told.

    Raises:
        OSError: it could not be written; the user is then told again.
    """
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC | posix.O_NOFOLLOW
    fd = posix.open(f"{directory}/{TOLD}", flags, 0o600)
    try:
        posix.write(fd, b"%d" % losses.size)
    finally:
        posix.close(fd)


def warning(failed: str, before: Losses | None) -> str:
    """What the user is told at the start of a session; empty where there is nothing to tell.

    Args:
        failed: why the event of this start could not be kept; empty where it was.
        before: earlier losses that were not told yet.
    """
    earlier = ""
    if before is not None:
        events = "1 event was" if before.count == 1 else f"{before.count} events were"
        since = "" if before.since_us is None else f" since {moment(before.since_us)}"
        earlier = f"{events} not kept{since} ({before.reason})"
    now = f"events are not kept ({failed})" if failed else ""
    text = "; ".join(part for part in (now, earlier) if part)
    return f"retain: {text}. `retain doctor` says how to mend it." if text else ""


def reason_of(error: BaseException | None) -> str:
    """Why an event is not kept, in the words of the system; empty for no error."""
    if isinstance(error, LookupError):
        return NO_HOME
    number = getattr(error, "errno", None)
    return posix.strerror(number) if number else type(error).__name__ if error else ""


def moment(us: int) -> str:
    """A moment in UTC, to the minute."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(us // 1_000_000))


def _summed(data: bytes, start: int) -> Losses | None:
    text = data[start:].decode("ascii", "replace")
    count = text.count("\n") + text.count("\0")
    if not count:
        return None
    lines = [line for line in text.replace("\0", "\n").split("\n") if line]
    first = lines[0].partition(" ")[0] if lines else ""
    reason = _reason(lines[-1]) if lines else FULL
    return Losses(count, int(first) if first.isdigit() else None, reason, len(data))


def _reason(line: str) -> str:
    number = line.rpartition("errno=")[2]
    if number.isdigit():
        return posix.strerror(int(number))
    return line.rpartition("type=")[2].partition(" ")[0]


def _read(path: str) -> bytes:
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW)
    except OSError:
        return b""
    try:
        return posix.read(fd, 3 * BYTES_MAX)
    except OSError:
        return b""
    finally:
        posix.close(fd)
