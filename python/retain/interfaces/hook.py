"""The hook door: one event from stdin into the spool, then exit 0, whatever happens.

Started by the launcher as ``python -I -S``, so that a hook costs little more than an empty interpreter.
It therefore imports nothing but the spool and the place of the data. It always prints ``{}`` (no
decision, no context) and always exits 0: a memory tool must never block or fail a session. What went
wrong is told on stderr, which the client keeps in its debug log, and in ``spool/failures.log``, which
``retain status`` and ``retain doctor`` report.
"""

import posix
import sys
import time

from retain.capture import spool
from retain.git import head
from retain.home import SPOOL, data_home

FAILURES = "failures.log"
FAILURE_BYTES_MAX = 64 * 1024


def main() -> int:
    """Spools one event; returns 0, always."""
    received_at_us = time.time_ns() // 1000
    directory = ""
    try:
        home = data_home(_environment(), sys.platform)
        directory = home + "/" + SPOOL
        payload, truncated = read_bounded(0, spool.PAYLOAD_BYTES_MAX)
        cwd = _cwd()
        if payload and not _is_held_back(home, payload, cwd):
            branch, commit = head.read(cwd)
            spool.append(
                directory,
                spool.Record(
                    payload, received_at_us, cwd=cwd, branch=branch, commit=commit, truncated=truncated
                ),
            )
    except BaseException as error:  # noqa: BLE001 - the outermost frame of a hook: it must not fail a session
        _tell(directory, received_at_us, error)
    try:
        posix.write(1, b"{}\n")
    except OSError:
        return 0
    return 0


def read_bounded(fd: int, limit: int) -> tuple[bytes, bool]:
    """Reads a descriptor to its end, keeping at most ``limit`` bytes.

    Returns:
        The bytes, and whether some were left out. The rest is read and dropped, so that the writer
        of the pipe never sees it break.
    """
    chunks = []
    kept = 0
    truncated = False
    while chunk := posix.read(fd, 1 << 16):
        if kept < limit:
            chunks.append(chunk[: limit - kept])
            truncated = len(chunk) > limit - kept
            kept += len(chunks[-1])
        else:
            truncated = True
    return b"".join(chunks), truncated


def _is_held_back(home: str, payload: bytes, cwd: str) -> bool:
    """Whether the user has switched this project off, or made this session private; in doubt, no.

    The drain asks again about all that was spooled. The module is loaded only where there is something to read.
    """
    try:
        posix.stat(home + "/controls")
    except OSError:
        return False
    from retain.capture import controls

    try:
        return controls.holds_back(home, payload, cwd)
    except OSError:
        return False


def _environment() -> dict[str, str]:
    """The environment as text; ``posix`` has it as bytes."""
    return {
        name.decode("utf-8", "surrogateescape"): value.decode("utf-8", "surrogateescape")
        for name, value in posix.environ.items()
    }


def _cwd() -> str:
    try:
        return posix.getcwd()
    except OSError:
        return ""


def _tell(directory: str, at_us: int, error: BaseException) -> None:
    line = f"{at_us} hook.failed type={type(error).__name__} errno={getattr(error, 'errno', None)}\n"
    data = line.encode("ascii", "replace")
    try:
        posix.write(2, b"retain: " + data)
    except OSError:
        data = b"stderr is closed; " + data
    if not directory:
        return
    try:
        _note(directory, data)
    except OSError:
        return


def _note(directory: str, line: bytes) -> None:
    """Appends a line to the list of failures, while that is below its limit."""
    spool.make_directory(directory)
    path = directory + "/" + FAILURES
    fd = posix.open(
        path, posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC | posix.O_NOFOLLOW, 0o600
    )
    try:
        if posix.fstat(fd).st_size < FAILURE_BYTES_MAX:
            posix.write(fd, line)
    finally:
        posix.close(fd)


if __name__ == "__main__":
    sys.exit(main())
