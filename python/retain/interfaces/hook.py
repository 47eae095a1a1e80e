"""The hook door: one event from stdin into the spool, an answer where a server has one, then exit 0.

Started by the launcher as ``python -I -S``, so that a hook costs little more than an empty interpreter.
It therefore imports nothing but the spool and the place of the data, and the socket only for an event that
can be answered. It prints the server's answer, else ``{}`` (no decision, no context), and always exits 0: a
memory tool must never block or fail a session. Where an event could not be kept, that is told on stderr, which
the client keeps in its debug log, in ``spool/failures.log``, which ``retain status`` and ``retain doctor`` report,
and once to the user at the start of a session.

The native hook client (``rust/hook``) does the same; one suite of tests holds the two to each other.
"""

import posix
import sys
import time

from retain.capture import spool
from retain.git import head
from retain.home import SPOOL, data_home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from retain.capture.losses import Losses
    from retain.interfaces.hook_asking import Answering

    Failure = OSError | LookupError

START = "SessionStart"

ANSWERED_S = {START: 2.0, "UserPromptSubmit": 0.05, "PreToolUse": 0.05, "PostToolUseFailure": 0.05}
"""Events that are answered, and the longest time from the start of this process to the answer, in seconds."""

NOT_KEPT = "PreToolUse"
"""Its content comes again when the tool has run."""

EMPTY = b"{}\n"

BLANKS = b" \t\r\n\x0c"
JSON_BLANKS = b" \t\r\n"

FIELD_BYTES_MAX = 300
"""From the end of a key to the end of its text."""


def main() -> int:
    """Takes one event and prints the answer to it; returns 0, always."""
    hook = Hook(time.monotonic(), time.time_ns() // 1000)
    try:
        answer = hook.run()
    except BaseException as error:  # noqa: BLE001 - the outermost frame of a hook: it must not fail a session
        hook.tell(error)
        answer = EMPTY
    try:
        while answer:
            answer = answer[posix.write(1, answer) :]
    except OSError:
        return 0
    hook.mark_told()
    return 0


class Hook:
    """One event on its way.

    Args:
        started: when this process began, by the monotonic clock.
        received_at_us: the same moment, microseconds since the epoch.
    """

    def __init__(self, started: float, received_at_us: int) -> None:
        self._started = started
        self._received_at_us = received_at_us
        self._home = ""
        self._lost: Failure | None = None
        self._told: Losses | None = None
        try:
            self._home = data_home(_environment(), sys.platform)
        except (OSError, LookupError) as error:
            self._lost = error

    @property
    def _directory(self) -> str:
        return f"{self._home}/{SPOOL}" if self._home else ""

    def run(self) -> bytes:
        """Keeps the event; gives what is to be printed."""
        payload, truncated = read_bounded(0, spool.PAYLOAD_BYTES_MAX)
        cwd = _cwd()
        if not payload or (self._home and _is_held_back(self._home, payload, cwd)):
            return EMPTY
        branch, commit = head.read(cwd)
        record = spool.Record(
            payload, self._received_at_us, cwd=cwd, branch=branch, commit=commit, truncated=truncated
        )
        name = None if truncated else field(payload, b'"hook_event_name"')
        written, failure = self._write(record) if name != NOT_KEPT else (None, None)
        answering = self._asked(name, record)
        try:
            if written is not None:
                written.sync()
        except OSError as error:
            failure = error
        # The session was told when it began, unless it begins now; read before this event is among them.
        warns = name == START and field(payload, b'"source"') != "compact"
        before = self._untold() if warns else None
        if failure is not None:
            self.tell(failure)
        answer = (answering and answering.answer()) or EMPTY
        return self._warned(answer, failure, before) if warns else answer

    def _asked(self, name: "str | None", record: spool.Record) -> "Answering | None":
        if name not in ANSWERED_S or not self._home:
            return None
        from retain.interfaces.hook_asking import Answering  # not for an event that is only kept

        return Answering(self._home, record, self._started + ANSWERED_S[name], is_start=name == START)

    def _write(self, record: spool.Record) -> "tuple[spool.Written | None, Failure | None]":
        if self._lost is not None:
            return None, self._lost
        try:
            return spool.write(self._directory, record), None
        except OSError as error:
            return None, error

    def _untold(self) -> "Losses | None":
        """Earlier losses that no session was told of."""
        try:
            posix.stat(f"{self._directory}/failures.log")
        except OSError:
            return None
        from retain.capture import losses  # only where something was lost

        return losses.untold(self._directory)

    def _warned(self, answer: bytes, failure: "Failure | None", before: "Losses | None") -> bytes:
        """The answer with a warning for the user where events are or were not kept and nobody said so yet."""
        if failure is None and before is None:
            return answer
        from retain.capture import losses

        warned = with_warning(answer, losses.warning(losses.reason_of(failure), before))
        if warned != answer:
            self._told = before
        return warned

    def mark_told(self) -> None:
        """Remembers that the user was told of losses, where that was printed; what fails here is told again."""
        if self._told is not None:
            from retain.capture import losses

            _tried(losses.mark_told, self._directory, self._told)

    def tell(self, error: BaseException) -> None:
        """Tells of an event that was not kept on stderr and in the list; never fails."""
        number = getattr(error, "errno", None)
        line = f"{self._received_at_us} hook.failed type={type(error).__name__} errno={number}\n"
        data = line.encode("ascii", "replace")
        if self._home:
            from retain.capture import losses  # only a hook that failed pays for it

            _tried(losses.note, self._directory, data)
        _tried(posix.write, 2, b"retain: " + data)


def _tried(function: "Callable[..., object]", *arguments: object) -> None:
    """Does what may fail: a full disk, a closed descriptor. There is nobody left to tell."""
    try:
        function(*arguments)
    except OSError:
        return


def with_warning(answer: bytes, warning: str) -> bytes:
    """An answer with a message for the user put in front, where there is one and it has none of its own."""
    if not warning or b'"systemMessage"' in answer:
        return answer
    rest = answer[1:]
    comma = b"" if rest.lstrip()[:1] == b"}" else b","
    return b'{"systemMessage":' + quoted(warning) + comma + rest


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


# What a hook needs to know of an event, without parsing it, and text as JSON (rust/hook/src/event.rs)


def field(payload: bytes, key: bytes) -> "str | None":
    """The text of a key, given with its quotes, where the payload says it once, or always the same.

    Inside a string of JSON the quotes of the key would be escaped, so that text which a user typed is no match; an
    object deep inside may hold the key as well, and then must not decide. In a payload that is no text nothing is
    believed. The server reads the event in earnest.
    """
    found = None
    at = payload.find(key)
    if at >= 0 and not is_text(payload):
        return None
    while at >= 0:
        at += len(key)
        value = _string_after_colon(payload[at : at + FIELD_BYTES_MAX])
        if value is None or found not in (None, value):
            return None
        found = value
        at = payload.find(key, at)
    return found


def _string_after_colon(text: bytes) -> "str | None":
    text = text.lstrip(JSON_BLANKS)
    quoted = text[1:].lstrip(JSON_BLANKS)
    value, end, _ = quoted[1:].partition(b'"')
    if text[:1] != b":" or quoted[:1] != b'"' or not end or b"\\" in value:
        return None
    return value.decode()


def whole_object(payload: bytes) -> bytes:
    """A payload that looks like a JSON object, without the white space around it; empty where it does not."""
    event = payload.strip(BLANKS)
    looks = len(event) >= 2 and event.startswith(b"{") and event.endswith(b"}")
    return event if looks and is_text(event) else b""


def is_text(data: bytes) -> bool:
    """Whether bytes are UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def quoted(text: str) -> bytes:
    """A text as JSON; what cannot be said in UTF-8 is replaced."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return ('"' + "".join(c if c >= " " else f"\\u{ord(c):04x}" for c in plain) + '"').encode(
        "utf-8", "replace"
    )


if __name__ == "__main__":
    sys.exit(main())
