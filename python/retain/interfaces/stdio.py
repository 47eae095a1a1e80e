"""MCP over stdin and stdout: one JSON-RPC message a line, and an answer to every line that asks for one.

It feeds the streams that the SDK's server reads and writes, as the SDK's own transport does, and differs in
four things. A line that is no message is answered (-32700, -32600) instead of dropped. A line has a limit in
bytes, and requests in work have a limit in number. Descriptors are read only when they are ready, so a
cancelled reader never hangs. At the end of stdin the requests in work are finished before the server stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import re
import select
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import anyio
import orjson
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp_types.jsonrpc import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
)
from pydantic import BaseModel, ValidationError

from retain.interfaces.reserve import Reserve

logger = logging.getLogger(__name__)

LINE_BYTES_MAX = 64 * 1024 * 1024
METHOD_CHARS_MAX = 256
ID_CHARS_MAX = 1_024
"""Methods and ids are echoed in answers, so they are short."""

REQUESTS_MAX = 128
"""Most requests in work; further ones wait in the pipe, where they cannot time out for want of a reader."""

END_GRACE_S = 15.0
"""How long requests in work may take after stdin has ended; longer than a write may wait for its lock."""

STOP_GRACE_S = 0.04
"""How long requests in work may take after a signal; the client kills half a second later."""

FLUSH_GRACE_S = 0.04
"""How long answers may wait for a client that does not read, once the server has ended."""

READ_BYTES = 256 * 1024
WRITE_BYTES = select.PIPE_BUF
"""A pipe that is ready takes this many bytes without blocking."""

EDGE_BYTES = 4_096
"""What is kept of either end of a line over the limit, to find its id."""

_ID = rb'"id"\s*:\s*(-?\d{1,18}|"[^"\\\x00-\x1f]{0,1024}")'
_ID_FIRST = re.compile(
    rb'\s*\{\s*(?:"(?:jsonrpc|method)"\s*:\s*"[^"\\]{0,256}"\s*,\s*){0,2}' + _ID + rb"\s*[,}]"
)
_ID_LAST = re.compile(rb",\s*" + _ID + rb"\s*\}\s*\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Oversized:
    """A line over the limit: its size in bytes, the limit, and its two ends."""

    size: int
    limit: int
    head: bytes
    tail: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a line is no message, as a JSON-RPC error; the id is None where it cannot be told."""

    code: int
    message: str
    id: int | str | None = None


class Lines:
    """Cuts a stream of bytes into lines; never holds more than the limit and one chunk.

    Args:
        limit: longest line in bytes, the newline not counted.
    """

    def __init__(self, limit: int = LINE_BYTES_MAX) -> None:
        self._limit = limit
        self._clear()

    def feed(self, chunk: bytes) -> Iterator[bytes | Oversized]:
        """The lines that end in this chunk, without their newlines."""
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._add(end)
            yield self._take()
        self._add(rest)

    def last(self) -> bytes | Oversized:
        """What came after the last newline."""
        return self._take()

    def _clear(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._head = self._tail = b""

    def _add(self, part: bytes) -> None:
        over = self._size > self._limit
        self._size += len(part)
        if not over:
            self._parts.append(part)
        if self._size > self._limit:
            joined = self._tail + part if over else b"".join(self._parts)
            self._parts = []
            self._head = self._head or joined[:EDGE_BYTES]
            self._tail = joined[-EDGE_BYTES:]

    def _take(self) -> bytes | Oversized:
        line: bytes | Oversized = (
            Oversized(size=self._size, limit=self._limit, head=self._head, tail=self._tail)
            if self._size > self._limit
            else b"".join(self._parts)
        )
        self._clear()
        return line


def read_message(line: bytes | Oversized) -> JSONRPCMessage | Refusal:
    """The message of a line, or why it is none. Nothing of the line but its id goes into the refusal."""
    if isinstance(line, Oversized):
        reason = f"invalid request: the message of {line.size:,} bytes exceeds the limit of {line.limit:,}"
        return Refusal(code=INVALID_REQUEST, message=reason, id=_id_at_edges(line.head, line.tail))
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return _unparsed(line, str(error).partition(":")[0])
    if isinstance(value, dict):
        return _message_of(value)
    kind = "a batch" if isinstance(value, list) else "not an object"
    return Refusal(code=INVALID_REQUEST, message=f"invalid request: {kind}; send one JSON-RPC message a line")


def _message_of(value: dict[str, Any]) -> JSONRPCMessage | Refusal:
    method = value.get("method")
    model: type[JSONRPCRequest | JSONRPCNotification | JSONRPCResponse | JSONRPCError]
    if "method" in value:
        model = JSONRPCRequest if "id" in value else JSONRPCNotification
    else:
        model = JSONRPCError if "error" in value else JSONRPCResponse
    if isinstance(method, str) and len(method) > METHOD_CHARS_MAX:
        return _invalid(value, f"method: {len(method):,} characters exceed the limit of {METHOD_CHARS_MAX}")
    if "id" in value and "method" in value and _id_of(value) is None:
        return _invalid(value, f"id: must be a string of at most {ID_CHARS_MAX:,} characters or an integer")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        return _invalid(value, f"{_field_of(error)} is missing or wrong")


def _unparsed(line: bytes, reason: str) -> Refusal:
    """Tells JSON that cannot be taken (a lone surrogate, too deep) from what is no JSON at all."""
    try:
        value = json.loads(line.decode("utf-8", "replace"), parse_constant=_no_constant)
    except RecursionError:
        found = _id_at_edges(line, line)
        return Refusal(code=INVALID_REQUEST, message=f"invalid request: {reason}", id=found)
    except ValueError:
        return Refusal(code=PARSE_ERROR, message=f"parse error: {reason}")
    return _invalid(value if isinstance(value, dict) else {}, reason)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _invalid(value: dict[str, Any], reason: str) -> Refusal:
    return Refusal(code=INVALID_REQUEST, message=f"invalid request: {reason}", id=_id_of(value))


def _field_of(error: ValidationError) -> str:
    """The first wrong member of the envelope; members of params are the server's to judge."""
    where = error.errors(include_url=False, include_context=False, include_input=False)[0]["loc"]
    return str(where[0]) if where else "message"


def _id_of(value: dict[str, Any]) -> int | str | None:
    """The id of a message where it is one that can be answered to."""
    found = value.get("id")
    if isinstance(found, str):
        return found if len(found) <= ID_CHARS_MAX and _is_unicode(found) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _id_at_edges(head: bytes, tail: bytes) -> int | str | None:
    """The id of an object too large or too deep to parse, where it stands among its first or last members."""
    found = _ID_FIRST.match(head[:EDGE_BYTES]) or _ID_LAST.search(tail[-EDGE_BYTES:])
    try:
        return _id_of({"id": orjson.loads(found[1])}) if found else None
    except orjson.JSONDecodeError:
        return None


@contextlib.contextmanager
def claimed() -> Iterator[tuple[int, int]]:
    """Private descriptors of stdin and stdout; meanwhile fd 0 is empty and fd 1 is stderr.

    So a stray ``print`` or a child's output cannot break the stream of messages.

    Raises:
        OSError: stdin or stdout is closed.
    """
    stdin = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3)
    stdout = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(nothing, 0)
    try:
        os.dup2(2, 1)
    except OSError:
        os.dup2(nothing, 1)
    os.close(nothing)
    try:
        yield stdin, stdout
    finally:
        os.dup2(stdin, 0)
        os.dup2(stdout, 1)
        os.close(stdin)
        os.close(stdout)


Incoming = MemoryObjectReceiveStream[SessionMessage | Exception]
Outgoing = MemoryObjectSendStream[SessionMessage]


class StdioTransport:
    """Carries the messages of one connection between two descriptors and a server.

    Args:
        stdin: a descriptor to read from, of any kind.
        stdout: a descriptor to write to.
        reserve: room for a message where there is no other.
    """

    def __init__(self, stdin: int, stdout: int, reserve: Reserve) -> None:
        self._reserve = reserve
        self._stdin = stdin
        self._buffer = bytearray(READ_BYTES)  # made once: a server at its limit must still be able to read
        self._stdout = stdout
        self._inbox, self._incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        self._outgoing, self._outbox = anyio.create_memory_object_stream[SessionMessage](0)
        self._refusals = self._outgoing.clone()
        self._reading = anyio.CancelScope()
        self._finishing = anyio.CancelScope()
        self._in_work = 0
        self._settling = asyncio.Condition()
        self.answered = asyncio.Event()
        """Set when the first answer has been written."""

    async def run(self, serve: Callable[[Incoming, Outgoing], Awaitable[None]]) -> None:
        """Serves until stdin ends, the client stops reading, or ``stop`` is called."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._read)
            written = asyncio.Event()
            group.start_soon(self._write, written)
            await serve(self._incoming, self._outgoing)
            self.stop()
            with anyio.move_on_after(FLUSH_GRACE_S):
                await written.wait()
            group.cancel_scope.cancel()

    def stop(self) -> None:
        """Reads no further; what is in work has a moment to be answered. Call it on the loop's thread."""
        self._finish_within(STOP_GRACE_S)

    def _finish_within(self, grace_s: float) -> None:
        self._finishing.deadline = min(self._finishing.deadline, anyio.current_time() + grace_s)
        self._reading.cancel()

    async def _read(self) -> None:
        async with self._inbox, self._refusals:
            with self._reading, contextlib.suppress(anyio.BrokenResourceError):
                await self._read_lines()
            self._finish_within(END_GRACE_S)
            with self._finishing:
                await self._until_in_work_below(1)

    async def _read_lines(self) -> None:
        lines = Lines()
        while chunk := await self._chunk():
            for line in lines.feed(chunk):
                await self._take(line)
        await self._take(lines.last())

    async def _chunk(self) -> bytes:
        """The next bytes; empty at the end. A descriptor that is ready does not block its reader."""
        await anyio.lowlevel.checkpoint()
        if not _ready(self._stdin, select.POLLIN):
            await anyio.wait_readable(self._stdin)
        try:
            count = os.readv(self._stdin, [self._buffer])
            return self._with_room(lambda: bytes(memoryview(self._buffer)[:count]))
        except OSError as error:
            logger.warning("stdio.read_failed errno=%s", error.errno)
            return b""

    def _with_room(self, make: Callable[[], bytes]) -> bytes:
        """What ``make`` gives; where it finds no room, once more with that of the reserve."""
        try:
            return make()
        except MemoryError:
            if not self._reserve.spend():
                raise
            return make()

    async def _take(self, line: bytes | Oversized) -> None:
        if isinstance(line, bytes) and not line.strip():
            return
        message = read_message(line)
        if isinstance(message, Refusal):
            self._in_work += 1
            error = ErrorData(code=message.code, message=message.message)
            await self._refusals.send(SessionMessage(JSONRPCError(jsonrpc="2.0", id=message.id, error=error)))
        elif isinstance(message, JSONRPCRequest):
            await self._until_in_work_below(REQUESTS_MAX)
            self._in_work += 1
            metadata = ServerMessageMetadata(on_request_unanswered=self._settled)
            await self._inbox.send(SessionMessage(message, metadata))
        else:
            await self._inbox.send(SessionMessage(message))

    async def _until_in_work_below(self, count: int) -> None:
        async with self._settling:
            await self._settling.wait_for(lambda: self._in_work < count)

    async def _settled(self) -> None:
        async with self._settling:
            self._in_work -= 1
            self._settling.notify_all()

    async def _write(self, written: asyncio.Event) -> None:
        try:
            async with self._outbox:
                async for item in self._outbox:
                    message = item.message
                    await self._write_all(self._with_room(lambda: _line_of(message)))  # noqa: B023 - called at once
                    if isinstance(item.message, JSONRPCResponse | JSONRPCError):
                        self.answered.set()
                        await self._settled()
        except OSError as error:
            logger.info("stdio.write_failed errno=%s", error.errno)
            self._finish_within(0)
        finally:
            written.set()

    async def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if not _ready(self._stdout, select.POLLOUT):
                await anyio.wait_writable(self._stdout)
            view = view[os.write(self._stdout, view[:WRITE_BYTES]) :]


def _ready(descriptor: int, event: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(0))


def _line_of(message: JSONRPCMessage) -> bytes:
    """The message as a line; one that cannot be written becomes an error, so its id is still answered.

    Raises:
        MemoryError: there is no room for the line.
    """
    try:
        return _dumped(message)
    except ValueError as unwritable:
        if "MemoryError" in str(unwritable):  # pydantic says so in its own error
            raise MemoryError from unwritable
        logger.exception("stdio.unwritable type=%s", type(message).__name__)
        if not isinstance(message, JSONRPCResponse):
            return b""
        error = ErrorData(code=INTERNAL_ERROR, message="internal error, see stderr")
        return _dumped(JSONRPCError(jsonrpc="2.0", id=message.id, error=error))


def _dumped(message: BaseModel) -> bytes:
    return message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
