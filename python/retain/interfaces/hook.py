"""The hook door: one event from stdin into the spool, an answer where a server has one, then exit 0.

Started by the launcher as ``python -I -S``, so that a hook costs little more than an empty interpreter.
It therefore imports nothing but the spool and the place of the data, and the socket only for an event that
can be answered. It prints the server's answer, else ``{}`` (no decision, no context), and always exits 0: a
memory tool must never block or fail a session. What went wrong is told on stderr, which the client keeps in
its debug log, and, where an event could not be kept, in ``spool/failures.log``, which ``retain status`` and
``retain doctor`` report.
"""

import posix
import sys
import time

from retain.capture import spool
from retain.git import head
from retain.home import DATABASE, HOOK_SOCKET, RUN, SPOOL, data_home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket


ANSWERED_S = {"SessionStart": 2.0, "UserPromptSubmit": 0.05, "PreToolUse": 0.05, "PostToolUseFailure": 0.05}
"""Events that a server answers, and how long its answer is waited for, in seconds."""

NOT_KEPT = "PreToolUse"
"""Its content comes again when the tool has run."""

ANSWER_BYTES_MAX = 64 * 1024
ADDRESS_BYTES_MAX = 100
"""Of a socket's address; Linux takes 107, macOS 103."""

PIPE_BYTES = 16 * 1024
"""What a new pipe takes at once, whatever the system."""

FIELD_BYTES_MAX = 300
BLANKS = b" \t\r\n"

EMPTY = b"{}"

ANSWER_CODE = """\
import sys
sys.path.insert(0, sys.argv[1])
try:
    from retain.interfaces.hook_answer import main
except Exception as error:
    print("{}")
    sys.stderr.write(f"retain: hook.unanswered type={type(error).__name__}\\n")
    sys.exit(0)
sys.exit(main(sys.argv[2]))"""
"""What answers a start without a server: ``retain hook --answer`` without the command line around it."""


def main() -> int:
    """Spools one event and prints the answer to it; returns 0, always."""
    received_at_us = time.time_ns() // 1000
    directory = ""
    answer = EMPTY
    try:
        home = data_home(_environment(), sys.platform)
        directory = home + "/" + SPOOL
        payload, truncated = read_bounded(0, spool.PAYLOAD_BYTES_MAX)
        cwd = _cwd()
        if payload and not _is_held_back(home, payload, cwd):
            branch, commit = head.read(cwd)
            record = spool.Record(
                payload, received_at_us, cwd=cwd, branch=branch, commit=commit, truncated=truncated
            )
            answer = _taken(home, directory, record)
    except BaseException as error:  # noqa: BLE001 - the outermost frame of a hook: it must not fail a session
        _tell(directory, received_at_us, error)
    try:
        posix.write(1, answer + b"\n")
    except OSError:
        return 0
    return 0


def _taken(home: str, directory: str, record: spool.Record) -> bytes:
    """Keeps an event, and gives the answer to it; one that cannot be kept is answered all the same."""
    payload = record.payload
    name = field(payload, b'"hook_event_name"')
    failed = ""
    if name != NOT_KEPT or record.truncated:
        try:
            spool.append(directory, record)
        except OSError as error:
            failed = posix.strerror(error.errno) if error.errno else type(error).__name__
            _tell(directory, record.received_at_us, error)
    warning = _warning(directory, payload, failed) if name == "SessionStart" else ""
    answer = EMPTY
    if name in ANSWERED_S and not record.truncated:
        answer = _answer(home, name, payload, (record.cwd, record.branch, record.commit), warning)
    return with_warning(answer, warning)


def field(payload: bytes, key: bytes) -> str:
    """The text of a key, given with its quotes; empty where the payload does not say it, or not always the same.

    An object deep inside may hold the key as well, and must not decide. The server reads the event in earnest.
    """
    found = ""
    at = payload.find(key)
    while at >= 0:
        after = at + len(key)
        rest = payload[after : after + FIELD_BYTES_MAX].lstrip(BLANKS)
        value, end, _ = rest[1:].lstrip(BLANKS)[1:].partition(b'"')
        quoted = rest[:1] == b":" and rest[1:].lstrip(BLANKS)[:1] == b'"'
        text = value.decode("ascii", "replace")
        if not (quoted and end and value.isascii()) or b"\\" in value or (found and text != found):
            return ""
        found = text
        at = payload.find(key, after)
    return found


def _warning(directory: str, payload: bytes, failed: str) -> str:
    """What the user must be told at this start of events that were not kept; empty for nothing. Told once."""
    try:
        posix.stat(directory + "/failures.log")
    except OSError:
        if not failed:
            return ""
    if field(payload, b'"source"') == "compact":
        return ""  # the session was told when it began
    from retain.capture import losses  # only where something was lost

    before = losses.untold(directory)
    if before is not None:
        try:  # noqa: SIM105 - contextlib would cost a hook more than its work
            losses.mark_told(directory, before)
        except OSError:
            pass  # it is told again
    return losses.warning(failed, before)


def with_warning(answer: bytes, warning: str) -> bytes:
    """An answer with a message for the user put in front, where there is one and it has none of its own."""
    if not warning or b'"systemMessage"' in answer:
        return answer
    rest = answer[1:]
    comma = b"" if rest.lstrip()[:1] == b"}" else b","
    return b'{"systemMessage":' + _quoted(warning) + comma + rest


def _answer(home: str, name: str, payload: bytes, place: "tuple[str, str, str]", warning: str) -> bytes:
    """What a server says to an event, within its time; without a server a start is answered by a process of ours."""
    deadline = time.monotonic() + ANSWERED_S[name]
    try:
        answer = _asked(home + "/" + RUN, payload, place, deadline)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        if name == "SessionStart":
            _hand_over(home, payload, warning)
        return EMPTY
    except (OSError, ValueError) as error:
        _say(f"hook.unanswered event={name} type={type(error).__name__}\n".encode())
        return EMPTY
    return answer if answer.startswith(b"{") else EMPTY


def _asked(run: str, payload: bytes, place: "tuple[str, str, str]", deadline: float) -> bytes:
    """Sends one question to the socket in ``run`` and returns the answer.

    Raises:
        OSError: nobody listens, or the answer did not come in time.
        ValueError: the answer is over its limit.
    """
    import _socket

    question = b'{"v":1,"event":%s,"cwd":%s,"branch":%s,"commit":%s,"record":""}' % (
        payload, *(_quoted(text) for text in place),
    )  # fmt: skip
    folder = posix.open(run, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        if posix.fstat(folder).st_uid != posix.getuid():
            raise PermissionError
        name = run if len(run) + len(HOOK_SOCKET) < ADDRESS_BYTES_MAX else f"/proc/self/fd/{folder}"
        asking = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            _wait_at_most(asking, deadline)
            asking.connect(f"{name}/{HOOK_SOCKET}")
            asking.sendall(len(question).to_bytes(4, "little") + question)
            size = int.from_bytes(_received(asking, 4, deadline), "little")
            if size > ANSWER_BYTES_MAX:
                raise ValueError(size)
            return _received(asking, size, deadline)
        finally:
            asking.close()
    finally:
        posix.close(folder)


def _received(asking: "socket", size: int, deadline: float) -> bytes:
    data = b""
    while len(data) < size:
        _wait_at_most(asking, deadline)
        part = asking.recv(size - len(data))
        if not part:
            raise ConnectionAbortedError
        data += part
    return data


def _wait_at_most(asking: "socket", deadline: float) -> None:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    asking.settimeout(left)


def _quoted(text: str) -> bytes:
    """A text as JSON; what cannot be said in UTF-8 is replaced."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return ('"' + "".join(c if c >= " " else f"\\u{ord(c):04x}" for c in plain) + '"').encode(
        "utf-8", "replace"
    )


def _hand_over(home: str, payload: bytes, warning: str) -> None:
    """Becomes a process that answers a start by itself, where there is a store that could tell something."""
    try:
        posix.stat(home + "/" + DATABASE)
    except OSError:
        return
    if len(payload) > PIPE_BYTES:
        return
    reading, writing = posix.pipe()
    posix.write(writing, payload)
    posix.close(writing)
    posix.dup2(reading, 0)
    library = __file__.rpartition("/retain/interfaces/")[0]
    posix.execv(sys.executable, [sys.executable, "-P", "-c", ANSWER_CODE, library, warning])


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
    if not _say(data):
        data = b"stderr is closed; " + data
    if not directory:
        return
    from retain.capture import losses  # only a hook that failed pays for it

    try:
        losses.note(directory, data)
    except OSError:
        return


def _say(line: bytes) -> bool:
    """Tells stderr; False where that is closed."""
    try:
        posix.write(2, b"retain: " + line)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
