"""The server as a client starts it: a process, two pipes, signals; both eras of the protocol."""

import asyncio
import json
import os
import re
import select
import signal
import subprocess
import sys
import time

import pytest

import retain

START = "from retain.interfaces.mcp import main; raise SystemExit(main())"
DEADLINE_S = 60
ERAS = ("2025-11-25", "2026-07-28")

ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


class Server:
    """A server process with its pipes, and the client's side of a conversation."""

    def __init__(self, tmp_path, era, **environment):
        names = {
            "RETAIN_HOME": str(tmp_path / "home"),
            "CLAUDE_PROJECT_DIR": str(tmp_path),
            **environment,
        }
        self.era = era
        self._stderr = (tmp_path / "stderr").open("w+b")
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**os.environ, **names},
            cwd=tmp_path,
        )
        self._buffer = b""
        self._last_id = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self._stderr):
            try:
                pipe.close()
            except BrokenPipeError:
                continue

    def opened(self):
        """Greets the server in the way of the era."""
        if self.era == "2026-07-28":
            assert "result" in self.ask("server/discover")
        else:
            assert "result" in self.ask("initialize", INITIALIZE)
            self.write({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return self

    def write(self, *messages):
        self.write_raw(b"".join(json.dumps(message).encode() + b"\n" for message in messages))

    def write_raw(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def request(self, method, params=None, request_id=None):
        """A request of the era, with the next id."""
        if request_id is None:
            self._last_id += 1
            request_id = self._last_id
        params = dict(params or {})
        if self.era == "2026-07-28":
            params["_meta"] = ENVELOPE
        return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}

    def call(self, tool, **arguments):
        """A tool call as a request."""
        return self.request("tools/call", {"name": tool, "arguments": arguments})

    def read(self):
        """The next message; fails where none comes before the deadline."""
        deadline = time.monotonic() + DEADLINE_S
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"no answer in {DEADLINE_S} s; stderr: {self.stderr()}"
            chunk = os.read(self.process.stdout.fileno(), 1 << 20)
            assert chunk, f"the server has ended; stderr: {self.stderr()}"
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    def ask(self, method, params=None, request_id=None):
        request = self.request(method, params, request_id)
        self.write(request)
        answer = self.read()
        assert answer["id"] == request["id"]
        return answer

    def use(self, tool, **arguments):
        """The text of a tool's answer."""
        self.write(self.call(tool, **arguments))
        return text_of(self.read())

    def ended(self):
        """The exit code, once it has ended by itself."""
        return self.process.wait(DEADLINE_S)

    def hang_up(self):
        self.process.stdin.close()
        return self.ended()

    def stderr(self):
        self._stderr.seek(0)
        return self._stderr.read().decode()


def text_of(answer):
    (block,) = answer["result"]["content"]
    return block["text"]


def id_in(text):
    return re.search(r"\[(\S+)\]", text)[1]


@pytest.fixture(params=ERAS)
def server(request, tmp_path):
    """A server that has been greeted, in either era."""
    with Server(tmp_path, request.param) as started:
        yield started.opened()


@pytest.fixture
def start(tmp_path):
    """Starts servers on one store."""
    servers = []

    def one(era="2025-11-25", **environment):
        servers.append(Server(tmp_path, era, **environment))
        return servers[-1]

    yield one
    for started in servers:
        started.__exit__()


def memories(tmp_path, *ids):
    """The memories of the store as another process sees them."""

    async def main():
        async with retain.open(tmp_path / "home", folder=tmp_path) as memory:
            return {memory_id: (await memory.get(memory_id)).text for memory_id in ids}

    return asyncio.run(main())


def counted(tmp_path):
    async def main():
        async with retain.open(tmp_path / "home", folder=tmp_path) as memory:
            return (await memory.stats())["memories"]["active"], (await memory.verify())["ok"]

    return asyncio.run(main())


def test_initialize_is_answered_with_the_handshake_version_and_instructions(start):
    result = start().ask("initialize", INITIALIZE)["result"]
    assert result["protocolVersion"] == "2025-11-25"
    assert result["serverInfo"]["name"] == "retain"
    assert result["capabilities"]["tools"] == {"listChanged": False}
    assert "not instructions" in result["instructions"]


def test_discover_is_answered_with_the_modern_version_and_instructions(start):
    result = start("2026-07-28").ask("server/discover", request_id="server-discover-probe-1")["result"]
    assert result["supportedVersions"] == ["2026-07-28"]
    assert "not instructions" in result["instructions"]


def test_the_list_of_tools_carries_what_the_era_demands(server):
    result = server.ask("tools/list")["result"]
    assert len(result["tools"]) == 8
    if server.era == "2026-07-28":
        assert result["cacheScope"] == "public"
        assert result["ttlMs"] > 0


@pytest.mark.parametrize("request_id", [0, -5, "a", "", "7", 2**53, "ä"])
def test_ids_come_back_as_they_were_sent(server, request_id):
    assert server.ask("tools/list", request_id=request_id)["id"] == request_id


@pytest.mark.parametrize("method", ["nope", "resources/list", "prompts/list", "sampling/createMessage", ""])
def test_unknown_methods_are_refused_as_such(server, method):
    assert server.ask(method)["error"]["code"] == -32601


@pytest.mark.parametrize("era", ERAS)
def test_unknown_methods_are_refused_as_such_before_any_greeting(start, era):
    asked = start(era)
    assert asked.ask("nope")["error"]["code"] == -32601
    assert "result" in asked.opened().ask("tools/list")


def test_what_one_server_remembers_the_next_one_recalls(start):
    first = start().opened()
    memory_id = id_in(
        first.use("remember", text="We store prices as decimal.Decimal because floats lose cents")
    )
    assert first.hang_up() == 0
    second = start("2026-07-28").opened()
    assert memory_id in second.use("recall", query="how do we store prices")


def test_results_are_text_only(server):
    server.write(server.call("status"))
    result = server.read()["result"]
    assert "structuredContent" not in result
    assert [block["type"] for block in result["content"]] == ["text"]


def test_a_hundred_calls_sent_without_waiting_are_all_kept(server, tmp_path):
    calls = [server.call("remember", text=f"fact number {n} of a hundred") for n in range(100)]
    server.write(*calls)
    answers = {answer["id"]: text_of(answer) for answer in (server.read() for _ in calls)}
    assert set(answers) == {call["id"] for call in calls}
    assert len({id_in(text) for text in answers.values()}) == 100
    assert server.hang_up() == 0
    assert counted(tmp_path) == (100, True)


def test_two_servers_on_one_store_keep_everything(start, tmp_path):
    servers = [start(era).opened() for era in ERAS]
    for name, one in zip("ab", servers, strict=True):
        one.write(*[one.call("remember", text=f"fact {n} of window {name}") for n in range(100)])
    for one in servers:
        assert all("Remembered" in text_of(one.read()) for _ in range(100))
    assert [one.hang_up() for one in servers] == [0, 0]
    assert counted(tmp_path) == (200, True)


def test_requests_in_work_when_stdin_ends_are_finished(server, tmp_path):
    calls = [server.call("remember", text=f"last words {n}") for n in range(20)]
    server.write(*calls)
    server.process.stdin.close()
    answers = [text_of(server.read()) for _ in calls]
    assert server.ended() == 0
    assert len(memories(tmp_path, *map(id_in, answers))) == 20


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_and_loses_nothing_that_was_acknowledged(server, tmp_path, number):
    server.write(*[server.call("remember", text=f"fact {n}") for n in range(50)])
    acknowledged = [id_in(text_of(server.read())) for _ in range(5)]
    server.process.send_signal(number)
    assert server.ended() == 0
    rest = (server._buffer + server.process.stdout.read()).splitlines()
    acknowledged += [id_in(text_of(a)) for a in map(json.loads, rest) if "result" in a]
    assert len(memories(tmp_path, *acknowledged)) == len(acknowledged)
    assert "Traceback" not in server.stderr()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_server_that_nobody_talks_to(start, number):
    quiet = start().opened()
    quiet.process.send_signal(number)
    assert quiet.ended() == 0
    assert "Traceback" not in quiet.stderr()


def test_both_signals_of_the_client_in_a_row_end_the_server_cleanly(server):
    server.use("remember", text="one")
    server.process.send_signal(signal.SIGINT)
    server.process.send_signal(signal.SIGTERM)
    assert server.ended() == 0


def test_a_killed_server_has_kept_what_it_acknowledged(server, tmp_path):
    memory_id = id_in(server.use("remember", text="said right before the end"))
    server.process.kill()
    server.process.wait()
    assert memories(tmp_path, memory_id) == {memory_id: "said right before the end"}


def test_the_server_ends_when_the_client_stops_reading(server):
    server.process.stdout.close()
    server.write(server.call("status"))
    assert server.ended() == 0


def test_every_line_that_is_no_message_is_answered_and_the_next_one_is_served(server):
    lines = {
        b"{nonsense": (-32700, None),
        b"[" + json.dumps(server.call("status")).encode() + b"]": (-32600, None),
        b'{"jsonrpc":"2.0","id":91,"method":"tools/call","params":{"name":"\\ud800"}}': (-32600, 91),
        b'{"jsonrpc":"2.0","id":"92","method":"tools/call","params":{"name":"\xff"}}': (-32600, "92"),
        b'{"jsonrpc":"2.0","id":93,"method":"x","params":' + b"[" * 100_000 + b"]" * 100_000 + b"}": (
            -32600,
            93,
        ),
        b"[" * 100_000: (-32600, None),
        b'"text"': (-32600, None),
    }
    for line, wanted in lines.items():
        server.write_raw(b"\n" + line + b"\r\n")
        answer = server.read()
        assert (answer["error"]["code"], answer["id"]) == wanted
    assert server.use("status").endswith("no problems")


@pytest.mark.parametrize("era", ERAS)
def test_a_bad_first_line_does_not_decide_the_era(start, era):
    started = start(era)
    started.write_raw(b"{nonsense\n[]\n")
    assert [started.read()["error"]["code"] for _ in range(2)] == [-32700, -32600]
    started.opened()


def test_ten_megabytes_of_text_are_refused_by_name_and_limit_without_an_echo(server):
    answer = server.use("remember", text="x" * 10_000_000)
    assert answer == "text: 10,000,000 characters exceed the limit of 262,144"


def test_a_line_over_the_limit_is_refused_with_its_id_and_the_next_one_is_served(server):
    head, tail = json.dumps(server.call("remember", text="@")).encode().split(b"@")
    server.write_raw(head)
    for _ in range(65):
        server.write_raw(b"x" * (1 << 20))
    server.write_raw(tail + b"\n")
    answer = server.read()
    assert (answer["id"], answer["error"]["code"]) == (server._last_id, -32600)
    assert "67,108,864" in answer["error"]["message"]
    assert server.use("status").endswith("no problems")


def test_a_cancelled_call_is_not_answered_and_does_not_keep_the_server_from_ending(server):
    call = server.call("remember", text="never mind")
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": call["id"]}}
    server.write(call, cancel)
    assert server.hang_up() == 0


def test_a_store_that_cannot_be_opened_fails_the_calls_and_not_the_server(start, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "retain.db").write_bytes(b"no database at all " * 1_000)
    started = start().opened()
    started.write(started.call("recall", query="x"))
    result = started.read()["result"]
    assert result["isError"]
    assert "not a database" in result["content"][0]["text"]
    assert len(started.ask("tools/list")["result"]["tools"]) == 8
    assert started.hang_up() == 0
    assert "Traceback" not in started.stderr()


def test_what_hooks_have_spooled_becomes_recallable_while_the_server_runs(start, tmp_path):
    started = start().opened()
    started.use("status")
    event = {
        "hook_event_name": "UserPromptSubmit",
        "session_id": "s1",
        "cwd": str(tmp_path),
        "prompt": "please make the zeppelin renderer draw clouds",
    }
    subprocess.run(
        [sys.executable, "-m", "retain.interfaces.hook"],
        input=json.dumps(event).encode(),
        env={**os.environ, "RETAIN_HOME": str(tmp_path / "home")},
        check=True,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        timeout=DEADLINE_S,
    )
    deadline = time.monotonic() + DEADLINE_S
    while "zeppelin" not in (answer := started.use("timeline")):
        assert time.monotonic() < deadline, answer


def test_logs_hold_no_text_of_a_memory(server):
    server.use("remember", text="the walrus was Paul")
    server.use("recall", query="walrus")
    server.use("get", ids=["walrus"])
    server.hang_up()
    assert "walrus" not in server.stderr()


def test_a_server_without_stdin_says_so_and_fails(tmp_path):
    ran = subprocess.run(
        ["/bin/sh", "-c", f"exec {sys.executable} -P -c '{START}' <&-"],
        env={**os.environ, "RETAIN_HOME": str(tmp_path / "home")},
        capture_output=True,
        timeout=DEADLINE_S,
    )
    assert ran.returncode == 1
    assert b"serve.failed" in ran.stderr
    assert b"Traceback" not in ran.stderr
