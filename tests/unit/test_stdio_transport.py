"""The stdio transport: every line is answered or is a message, nothing blocks, nothing grows without bound."""

import asyncio
import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.message import SessionMessage
from mcp_types.jsonrpc import (
    INVALID_REQUEST,
    PARSE_ERROR,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
)

from retain.interfaces import stdio
from retain.interfaces.reserve import Reserve
from retain.interfaces.stdio import Lines, Oversized, Refusal, StdioTransport, read_message

REQUEST = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "recall"}}


def line(**changes):
    return json.dumps({**REQUEST, **changes}).encode()


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_lines_are_those_of_the_whole_stream_however_it_is_cut(chunks):
    lines = Lines()
    found = [line for chunk in chunks for line in lines.feed(chunk)]
    assert [*found, lines.last()] == b"".join(chunks).split(b"\n")


@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(1, 20))
def test_a_line_over_the_limit_keeps_its_size_and_its_ends_and_those_around_it_are_whole(chunks, limit):
    lines = Lines(limit)
    found = [line for chunk in chunks for line in lines.feed(chunk)]
    for got, wanted in zip([*found, lines.last()], b"".join(chunks).split(b"\n"), strict=True):
        if len(wanted) <= limit:
            assert got == wanted
        else:
            assert got == Oversized(size=len(wanted), limit=limit, head=got.head, tail=got.tail)
            assert wanted.startswith(got.head)
            assert wanted.endswith(got.tail)


def test_a_line_over_the_limit_is_dropped_while_it_comes_and_not_collected():
    lines = Lines(1_000)
    for _ in range(100):
        assert not list(lines.feed(b"x" * 10_000))
    held = sum(len(part) for part in lines._parts) + len(lines._head) + len(lines._tail)
    assert held <= 2 * stdio.EDGE_BYTES


@pytest.mark.parametrize("request_id", [7, -1, 0, "7", "", "ä", 2**53, 2**63])
def test_a_request_keeps_its_id_and_the_type_of_it(request_id):
    message = read_message(line(id=request_id))
    assert isinstance(message, JSONRPCRequest)
    assert message.id == request_id
    assert type(message.id) is type(request_id)


def test_notifications_and_answers_are_messages_too():
    notification = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
    assert isinstance(read_message(notification), JSONRPCNotification)
    assert isinstance(read_message(b'{"jsonrpc":"2.0","id":1,"result":{}}'), JSONRPCResponse)
    error = b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no"}}'
    assert isinstance(read_message(error), JSONRPCError)


@pytest.mark.parametrize(
    "text", [b"{", b"nonsense", b'{"a":NaN}', b'{"id":7,}', b"\xef\xbb\xbf{}", b"\xff\xfe"]
)
def test_what_is_no_json_is_a_parse_error(text):
    refusal = read_message(text)
    assert (refusal.code, refusal.id) == (PARSE_ERROR, None)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"[" + line() + b"]", None),
        (b"[]", None),
        (b"7", None),
        (b"null", None),
        (b"{}", None),
        (line(jsonrpc="1.0"), 7),
        (line(method=5), 7),
        (line(params=[1]), 7),
        (line(params="x"), 7),
        (line(id=None), None),
        (line(id=1.5), None),
        (line(id=True), None),
        (line(id={"a": 1}), None),
        (line(id="x" * (stdio.ID_CHARS_MAX + 1)), None),
        (line(method="m" * (stdio.METHOD_CHARS_MAX + 1)), 7),
        (b'{"jsonrpc":"2.0","id":7,"method":"m","params":{"a":"\\ud800"}}', 7),
        (b'{"jsonrpc":"2.0","id":7,"method":"m","params":{"a":"\xed\xa0\x80"}}', 7),
        (b'{"jsonrpc":"2.0","id":7,"method":"m","params":{"a":"\xff"}}', 7),
        (b'{"jsonrpc":"2.0","id":"\\udfff","method":"m"}', None),
        (b'{"jsonrpc":"2.0","id":7,"method":"m","params":{"a":1e999}}', 7),
        (b'{"jsonrpc":"2.0","id":7,"method":"m","params":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}", 7),
        (b'{"method":"m","params":{"a":' + b"[" * 5_000 + b"]" * 5_000 + b'},"jsonrpc":"2.0","id":"z"}', "z"),
        (b"[" * 100_000, None),
    ],
)
def test_json_that_is_no_message_is_an_invalid_request_with_the_id_where_it_can_be_told(text, wanted):
    refusal = read_message(text)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.id) == (INVALID_REQUEST, wanted)


def test_a_refusal_never_repeats_what_was_sent():
    secret = "hunter2" * 40
    for text in (
        secret.encode(),
        line(params=secret),
        line(method=secret),
        line(id=[secret]),
        b'{"' + secret.encode(),
    ):
        assert "hunter2" not in read_message(text).message


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        (b'{"jsonrpc":"2.0","id":7,"method":"m","params":{"text":"', b'"}}', 7),
        (b'{"jsonrpc": "2.0", "method": "m", "id": "a", "params": {"text": "', b'"}}', "a"),
        (b'{"method":"m","params":{"text":"', b'"},"jsonrpc":"2.0","id":7}\r', 7),
        (b'{"method":"m","params":{"id":5,"text":"', b'"}}', None),
        (b'{"method":"m","params":{"text":"', b'","id":5}}', None),
        (b'{"method":"m","params":{"text":"', b', \\"id\\":5}"}}', None),
    ],
)
def test_the_id_of_a_line_over_the_limit_is_found_only_where_it_is_surely_the_messages_own(
    before, after, wanted
):
    lines = Lines(10_000)
    (found,) = lines.feed(before + b"x" * 20_000 + after + b"\n")
    refusal = read_message(found)
    assert (refusal.code, refusal.id) == (INVALID_REQUEST, wanted)
    assert "10,000" in refusal.message


class Client:
    """The client's ends of the two pipes of a transport."""

    def __init__(self):
        self.stdin, self._to_server = os.pipe()
        self._from_server, self.stdout = os.pipe()
        self._open = [self.stdin, self._to_server, self._from_server, self.stdout]

    def send(self, data):
        assert os.write(self._to_server, data) == len(data)

    def hang_up(self):
        self._close(self._to_server)

    def stop_reading(self):
        self._close(self._from_server)

    async def answers(self, count):
        found = b""
        while found.count(b"\n") < count:
            await anyio.wait_readable(self._from_server)
            found += os.read(self._from_server, 1 << 20)
        return [json.loads(answer) for answer in found.splitlines()]

    def fill(self):
        """Fills the pipe of the answers, so that the next one has to wait."""
        os.set_blocking(self.stdout, False)
        try:
            while True:
                os.write(self.stdout, b" " * 4_096)
        except BlockingIOError:
            os.set_blocking(self.stdout, True)

    def close(self):
        for descriptor in list(self._open):
            self._close(descriptor)

    def _close(self, descriptor):
        self._open.remove(descriptor)
        os.close(descriptor)


class Served:
    """A transport with a server that answers a request with its params, once it may."""

    def __init__(self, client):
        self.transport = StdioTransport(client.stdin, client.stdout, Reserve())
        self.may_answer = asyncio.Event()
        self.seen = []
        self.arrived = asyncio.Event()

    async def serve(self, incoming, outgoing):
        async with outgoing, anyio.create_task_group() as group:
            async with incoming:
                async for item in incoming:
                    self.seen.append(item.message)
                    self.arrived.set()
                    if isinstance(item.message, JSONRPCRequest):
                        group.start_soon(self._answer, item, outgoing)
            group.cancel_scope.cancel()

    async def _answer(self, item, outgoing):
        await self.may_answer.wait()
        request = item.message
        if request.method == "unanswered":
            await item.metadata.on_request_unanswered()
            return
        answer = JSONRPCResponse(jsonrpc="2.0", id=request.id, result=request.params or {})
        await outgoing.send(SessionMessage(answer))


@asynccontextmanager
async def connection():
    client = Client()
    served = Served(client)
    task = asyncio.create_task(served.transport.run(served.serve))
    try:
        yield client, served, task
        async with asyncio.timeout(30):
            await task
    finally:
        task.cancel()
        client.close()


def test_every_line_is_answered_and_blank_ones_are_none():
    async def main():
        async with connection() as (client, served, _):
            served.may_answer.set()
            client.send(b"\n  \r\n" + line(params={"a": "ä"}) + b"\r\n{\n[]\n" + line(id="z") + b"\n")
            answers = await client.answers(4)
            assert sorted((a["id"] is None, str(a["id"])) for a in answers) == [
                (False, "7"),
                (False, "z"),
                (True, "None"),
                (True, "None"),
            ]
            assert {"jsonrpc": "2.0", "id": 7, "result": {"a": "ä"}} in answers
            assert sorted(a["error"]["code"] for a in answers if "error" in a) == [
                PARSE_ERROR,
                INVALID_REQUEST,
            ]
            client.hang_up()

    asyncio.run(main())


def test_a_last_line_without_a_newline_is_still_a_message():
    async def main():
        async with connection() as (client, served, _):
            served.may_answer.set()
            client.send(line())
            client.hang_up()
            assert [answer["id"] for answer in await client.answers(1)] == [7]

    asyncio.run(main())


def test_requests_in_work_are_finished_after_stdin_has_ended():
    async def main():
        async with connection() as (client, served, task):
            client.send(line() + b"\n")
            await served.arrived.wait()
            client.hang_up()
            await asyncio.sleep(0)
            assert not task.done()
            served.may_answer.set()
            assert [answer["id"] for answer in await client.answers(1)] == [7]

    asyncio.run(main())


def test_a_request_that_is_never_answered_does_not_hold_up_the_end():
    async def main():
        async with connection() as (client, served, _):
            client.send(line(method="unanswered") + b"\n")
            await served.arrived.wait()
            served.may_answer.set()
            client.hang_up()

    asyncio.run(main())


def test_stop_ends_a_reader_that_waits_and_requests_that_hang():
    async def main():
        async with connection() as (client, served, _):
            client.send(line() + b"\n")
            await served.arrived.wait()
            served.transport.stop()

    asyncio.run(main())


def test_stop_shortens_the_wait_that_follows_the_end_of_stdin():
    async def main():
        async with connection() as (client, served, _):
            client.send(line() + b"\n")
            await served.arrived.wait()
            client.hang_up()
            await anyio.wait_all_tasks_blocked()
            served.transport.stop()

    asyncio.run(main())


def test_a_client_that_hangs_up_its_reading_end_ends_the_server():
    async def main():
        async with connection() as (client, served, _):
            client.stop_reading()
            served.may_answer.set()
            client.send(line() + b"\n")

    asyncio.run(main())


def test_a_client_that_does_not_read_does_not_keep_the_server_from_stopping():
    async def main():
        async with connection() as (client, served, _):
            client.fill()
            served.may_answer.set()
            client.send(line() + b"\n" + b"{\n" * 5)
            await served.arrived.wait()
            served.transport.stop()

    asyncio.run(main())


def test_an_answer_larger_than_the_pipe_arrives_whole():
    async def main():
        async with connection() as (client, served, _):
            served.may_answer.set()
            client.send(line(params={"pad": "x" * 50_000}) + b"\n")
            client.send(line(params={"n": 2}) + b"\n")
            pads = [answer["result"] for answer in await client.answers(2)]
            assert sorted(len(result.get("pad", "")) for result in pads) == [0, 50_000]
            client.hang_up()

    asyncio.run(main())


def test_requests_over_the_limit_wait_in_the_pipe(monkeypatch):
    monkeypatch.setattr(stdio, "REQUESTS_MAX", 3)

    async def main():
        async with connection() as (client, served, _):
            client.send(b"".join(line(id=i) + b"\n" for i in range(10)))
            await anyio.wait_all_tasks_blocked()
            assert len(served.seen) == 3
            served.may_answer.set()
            assert sorted(answer["id"] for answer in await client.answers(10)) == list(range(10))
            client.hang_up()

    asyncio.run(main())


def test_an_answer_that_cannot_be_written_becomes_an_error_with_its_id(caplog):
    answer = JSONRPCResponse(jsonrpc="2.0", id=7, result={"text": "\ud800"})
    written = json.loads(stdio._line_of(answer))
    assert (written["id"], written["error"]["message"]) == (7, "internal error, see stderr")
    assert stdio._line_of(JSONRPCNotification(jsonrpc="2.0", method="m", params={"a": "\ud800"})) == b""
    assert len(caplog.records) == 2


def test_the_first_answer_is_told():
    async def main():
        async with connection() as (client, served, _):
            assert not served.transport.answered.is_set()
            client.send(b"{\n")
            await client.answers(1)
            async with asyncio.timeout(30):
                await served.transport.answered.wait()
            client.hang_up()

    asyncio.run(main())


CLAIM = """
import os
from retain.interfaces.stdio import claimed
with claimed() as (stdin, stdout):
    print("stray", flush=True)
    os.system("echo child")
    assert os.read(0, 10) == b""
    os.write(stdout, os.read(stdin, 100))
print("restored", flush=True)
"""


def test_stray_output_goes_to_stderr_while_the_descriptors_are_claimed():
    ran = subprocess.run(
        [sys.executable, "-c", CLAIM], input=b"wire\n", capture_output=True, check=True, timeout=60
    )
    assert ran.stdout == b"wire\nrestored\n"
    assert b"stray" in ran.stderr
    assert b"child" in ran.stderr


def test_the_descriptors_can_be_claimed_with_stderr_closed():
    script = CLAIM.replace("import os\n", "import os\nos.close(2)\n", 1)
    ran = subprocess.run(
        [sys.executable, "-c", script], input=b"wire\n", capture_output=True, check=True, timeout=60
    )
    assert ran.stdout == b"wire\nrestored\n"
