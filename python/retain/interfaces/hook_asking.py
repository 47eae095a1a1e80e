"""What a hook is answered: by a live server over its socket, and a start without one by a process of its own.

A frame is its length in four bytes, little-endian, and that many bytes of JSON. The question goes out before the
record is synced, and the answer is read after, so that the server works while the disk does. Loaded by hook
processes whose event can be answered, so it imports nothing that costs; the native hook client has the same rules
(``rust/hook/src/ask.rs``, ``cold.rs``).
"""

import _socket
import posix
import sys
import time

from retain.home import DATABASE, HOOK_SOCKET, RUN
from retain.interfaces.hook import BLANKS, is_text, quoted, whole_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from retain.capture.spool import Record

COLD_S = 0.8
"""Of a start's time, what is left to a process of its own where a server is there and does not answer."""

ASKED_BYTES_MAX = 1024 * 1024
"""Longest event that a server is asked about."""

REPLY_BYTES_MAX = 64 * 1024
"""Longest answer that is printed."""

ADDRESS_BYTES_MAX = 100
"""Of a socket's address; Linux takes 107, macOS 103."""

READ_BYTES = 8192
LENGTH_BYTES = 4
LINUX_PEER_BYTES = 12

ANSWER_CODE = """\
import sys
sys.path.insert(0, sys.argv[1])
try:
    from retain.interfaces.hook_answer import main
except Exception as error:
    print("{}")
    sys.stderr.write(f"retain: hook.unanswered type={type(error).__name__}\\n")
    sys.exit(0)
sys.exit(main())"""
"""What answers a start without a server: ``retain hook --answer`` without the command line around it."""


class Answering:
    """The answer to an event: a server that is there has the question when this is made.

    Args:
        home: the data directory.
        record: the event.
        deadline: when the answer must be there, by the monotonic clock.
        is_start: whether a process of its own may answer where no server does.
    """

    def __init__(self, home: str, record: "Record", deadline: float, *, is_start: bool) -> None:
        self._home = home
        self._payload = record.payload
        self._deadline = deadline
        self._is_start = is_start
        self._left = question(record.payload, record.cwd, record.branch, record.commit)
        self._socket = None
        try:
            self._socket = _reach(f"{home}/{RUN}") if self._left else None
            self._send()
        except OSError:
            return  # nobody is there, or the answer will show it

    def answer(self) -> bytes:
        """The bytes to print; empty where there is nothing to say."""
        try:
            said = self._read(self._deadline - (COLD_S if self._is_start else 0))
        except OSError:
            said = b""
        finally:
            if self._socket is not None:
                self._socket.close()
        if said or not self._is_start or not self._has_store():
            return said
        return cold(self._payload, self._deadline)

    def _send(self) -> None:
        while self._left and self._socket is not None:
            self._left = self._left[self._socket.send(self._left) :]

    def _read(self, deadline: float) -> bytes:
        """The answer of the server; empty where it is not as agreed. Past the deadline, what is there already.

        Raises:
            OSError: the server has not answered in time, or went away.
        """
        reply = b""
        while self._socket is not None:
            self._socket.settimeout(max(deadline - time.monotonic(), 0))
            self._send()
            part = self._socket.recv(READ_BYTES)
            reply += part
            whole = LENGTH_BYTES + int.from_bytes(reply[:LENGTH_BYTES], "little")
            if not part or len(reply) > whole or whole > LENGTH_BYTES + REPLY_BYTES_MAX:
                break
            if len(reply) == whole:
                return printable(reply[LENGTH_BYTES:])
        return b""

    def _has_store(self) -> bool:
        try:
            posix.stat(f"{self._home}/{DATABASE}")
        except OSError:
            return False
        return True


def question(payload: bytes, cwd: str, branch: str, commit: str) -> bytes:
    """The frame of a question; empty where the event is none that a server is asked about."""
    event = whole_object(payload)
    if not event or len(event) > ASKED_BYTES_MAX:
        return b""
    asked = b'{"v":1,"event":%s,"cwd":%s,"branch":%s,"commit":%s}' % (
        event, *(quoted(text) for text in (cwd, branch, commit)),
    )  # fmt: skip
    return len(asked).to_bytes(LENGTH_BYTES, "little") + asked


def _reach(run: str) -> "_socket.socket":
    """A connection to the server's socket, if that is this user's.

    Raises:
        OSError: nobody listens, or another user does.
    """
    found = posix.lstat(f"{run}/{HOOK_SOCKET}")
    me = posix.getuid()
    if found.st_mode & 0o170000 != 0o140000 or found.st_uid != me:
        raise PermissionError
    asking = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        asking.settimeout(0)
        if len(run) + len(HOOK_SOCKET) < ADDRESS_BYTES_MAX:
            asking.connect(f"{run}/{HOOK_SOCKET}")
        else:
            folder = posix.open(run, posix.O_RDONLY | posix.O_CLOEXEC)
            try:
                asking.connect(f"/proc/self/fd/{folder}/{HOOK_SOCKET}")
            finally:
                posix.close(folder)
        if _peer(asking, me) != me:
            raise PermissionError
    except BaseException:
        asking.close()
        raise
    return asking


def _peer(asking: "_socket.socket", me: int) -> int:
    """The user on the other end; where the system is not asked so, the owner of the socket's file must do."""
    if not hasattr(_socket, "SO_PEERCRED"):
        return me
    credentials = asking.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, LINUX_PEER_BYTES)
    return int.from_bytes(credentials[4:8], sys.byteorder)


def cold(payload: bytes, deadline: float) -> bytes:
    """The answer of a process of its own to a start; empty where it does not come by the deadline."""
    import _thread
    import select  # rarely needed

    library = __file__.rpartition("/retain/interfaces/")[0]
    theirs_in, ours_in = posix.pipe()
    ours_out, theirs_out = posix.pipe()
    ends = [(posix.POSIX_SPAWN_DUP2, theirs_in, 0), (posix.POSIX_SPAWN_DUP2, theirs_out, 1)]
    command = [sys.executable, "-P", "-c", ANSWER_CODE, library]
    child = posix.posix_spawn(sys.executable, command, posix.environ, file_actions=ends)
    posix.close(theirs_in)
    posix.close(theirs_out)
    # By itself, since the child may not read what the pipe does not hold; it ends with this process.
    _thread.start_new_thread(_feed, (ours_in, payload))
    ready = select.poll()
    ready.register(ours_out, select.POLLIN)
    reply = b""
    while ready.poll(max(deadline - time.monotonic(), 0) * 1000):
        part = posix.read(ours_out, READ_BYTES)
        reply += part
        if not part or len(reply) > REPLY_BYTES_MAX:
            return printable(reply)
    if reply.endswith(b"\n"):
        return printable(reply)  # said, and not done with what it keeps for itself
    posix.kill(child, 9)
    return b""


def _feed(pipe: int, payload: bytes) -> None:
    try:
        while payload:
            payload = payload[posix.write(pipe, payload) :]
    except OSError:
        pass
    finally:
        posix.close(pipe)


def printable(reply: bytes) -> bytes:
    """Bytes that may be printed as an answer, else none: the client takes anything but an object for plain text."""
    fits = reply.startswith(b"{") and reply.rstrip(BLANKS).endswith(b"}")
    return reply if fits and len(reply) <= REPLY_BYTES_MAX and is_text(reply) else b""
