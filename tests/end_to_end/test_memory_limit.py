"""The server under a real memory limit keeps answering while its caches give way."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import pytest

import retain
from retain.interfaces.reserve import Reserve

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs prlimit (Linux)"),
]

START = "from retain.interfaces.mcp import main; raise SystemExit(main())"
DEADLINE_S = 60
MEMORIES = 1_500
WORDS = [f"word{number:04d}" for number in range(2_000)]
RAM = re.compile(r"RAM: pressure (\w+), (\d+) of (\d+) MiB \((\w+)\), relieved (\d+) times")
HEADROOM = 24 << 20
"""Bytes that the limit leaves above what the server holds when the limit comes."""


class ProtocolError(Exception):
    """The server answered with an error in place of a result."""


class Server:
    """A server process and the client's end of its pipes."""

    def __init__(self, folder: Path, group: Path | None = None, **environment: str) -> None:
        joining = [] if group is None else ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(group)]
        self.process = subprocess.Popen(
            [*joining, sys.executable, "-P", "-c", START], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env={**os.environ, "CLAUDE_PROJECT_DIR": str(folder), **environment},
        )  # fmt: skip
        self._last = 0
        self._buffer = b""
        self.request(
            "initialize",
            protocolVersion="2025-11-25", capabilities={}, clientInfo={"name": "test", "version": "1"},
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def request(self, method: str, **params: Any) -> dict[str, Any]:
        """Asks and waits for the result."""
        self._last += 1
        message = {"jsonrpc": "2.0", "id": self._last, "method": method, "params": params}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()
        answer = json.loads(self._line())
        assert answer["id"] == self._last
        if "result" not in answer:
            raise ProtocolError(answer["error"])
        return answer["result"]  # type: ignore[no-any-return]

    def call(self, tool: str, **arguments: Any) -> str:
        """The text of a tool's answer, which must be no failure."""
        result = self.request("tools/call", name=tool, arguments=arguments)
        assert not result.get("isError"), f"{tool}: {result} {self._last_words()}"
        return result["content"][0]["text"]  # type: ignore[no-any-return]

    def _last_words(self) -> str:
        """Ends the server; what it wrote to stderr, for a failure to show."""
        self.process.kill()
        return self.process.communicate()[1].decode(errors="replace")

    def try_call(self, tool: str, **arguments: Any) -> str:
        """The same, or what the failure says; empty where there was no room for that either."""
        try:
            result = self.request("tools/call", name=tool, arguments=arguments)
        except ProtocolError:
            return ""
        return result["content"][0]["text"]  # type: ignore[no-any-return]

    def _line(self) -> bytes:
        assert self.process.stdout is not None
        deadline = time.monotonic() + DEADLINE_S
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            assert ready, "no answer"
            chunk = os.read(self.process.stdout.fileno(), 1 << 20)
            assert chunk, "the server has ended"
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def pressure(self) -> tuple[str, int, int, str, int]:
        """Level, MiB in use, MiB of the limit, its source, reliefs; as the status says."""
        found = RAM.search(self.call("status"))
        assert found
        return found[1], int(found[2]), int(found[3]), found[4], int(found[5])

    def bytes_of(self, *names: str) -> int:
        """The sum of these lines of /proc/PID/status."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return sum(int(line.split()[1]) * 1024 for line in lines if line.partition(":")[0] in names)


def own_groups() -> list[tuple[Path, str]]:
    """Folders in which a group with the memory controller may be made, each with the name of its limit."""
    mounts = [line.split(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    paths = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    found = []
    for kind, limit in (("cgroup2", "memory.max"), ("cgroup", "memory.limit_in_bytes")):
        for head, tail in mounts:
            options = set(tail.split()[-1].split(","))
            if tail.split()[0] != kind or (kind == "cgroup" and "memory" not in options):
                continue
            root, point = head.split()[3:5]
            for _, controllers, path in paths:
                if (controllers == "") if kind == "cgroup2" else ("memory" in controllers.split(",")):
                    folder = Path(point) / os.path.relpath(path, root)
                    found += [(folder, limit), *([(folder.parent, limit)] if kind == "cgroup2" else [])]
    return found


@contextmanager
def memory_group() -> Iterator[tuple[Path, str]]:
    """A control group of this test's own, without a limit yet; skips where none can be made."""
    reasons = []
    for folder, limit in own_groups():
        group = folder / f"retain-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError as error:
            reasons.append(str(error))
            continue
        try:
            if (group / limit).exists():
                yield group, limit
                return
            reasons.append(f"{folder} does not hand the memory controller on")
        finally:
            group.rmdir()
    pytest.skip(f"no control group can be made here: {'; '.join(reasons) or 'no memory controller'}")


async def fill(folder: Path) -> None:
    """Long memories, of which each query finds many."""
    rng = random.Random(1)
    async with retain.open(folder=folder) as memory:
        texts = [" ".join(rng.choices(WORDS, k=300)) for _ in range(MEMORIES)]
        await memory.remember_many([{"text": f"{number} {text}"} for number, text in enumerate(texts)])


def query(number: int) -> dict[str, Any]:
    words = random.Random(number).sample(WORDS, 60)
    return {"query": " ".join(words), "limit": 50}


SETTINGS = {"RETAIN_PRESSURE_INTERVAL_MS": "5", "RETAIN_CACHE_BYTES_MAX": str(1 << 30)}


def answer_until_relieved(server: Server, source: str, least: int) -> None:
    """Asks, always another question, until the caches gave way to this limit, and a while; each is answered."""
    answered = 1
    while True:
        assert server.call("recall", **query(answered)).count("\n") > 1
        answered += 1
        level, used, most_mib, found, reliefs = server.pressure()
        if reliefs and found == source and answered > least:
            break
        assert answered < 5_000, "no pressure was ever found"
    assert level in {"normal", "low", "medium", "high"}
    assert used <= most_mib + 1  # the reading counts the stack, which RLIMIT_DATA does not
    assert server.call("remember", text="this is remembered under pressure").startswith("Remembered")
    assert server.call("recall", query="remembered under pressure").count("pressure") >= 1


async def test_the_server_keeps_answering_in_a_real_control_group_while_its_caches_give_way(
    tmp_path: Path,
) -> None:
    await fill(tmp_path)
    with memory_group() as (group, limit), Server(tmp_path, group, **SETTINGS) as server:
        server.call("recall", **query(0))
        used = (group / ("memory.current" if limit == "memory.max" else "memory.usage_in_bytes")).read_text()
        (group / limit).write_text(str(int(used) + HEADROOM))
        answer_until_relieved(server, "cgroup", 60)


@pytest.mark.parametrize("limit", ["rlimit_data", "setting"])
async def test_the_server_keeps_answering_under_a_limit_while_its_caches_give_way(
    tmp_path: Path, limit: str
) -> None:
    await fill(tmp_path)
    settings = dict(SETTINGS)
    if limit == "setting":
        with Server(tmp_path, **settings) as server:
            server.call("recall", **query(0))
            settings["RETAIN_MEMORY_LIMIT_BYTES"] = str(server.bytes_of("VmRSS") + HEADROOM)
    with Server(tmp_path, **settings) as server:
        server.call("recall", **query(0))
        server.call("remember", text="what a server at work has loaded counts as used")
        if limit == "rlimit_data":
            most = server.bytes_of("VmData", "VmStk") + HEADROOM
            resource.prlimit(server.process.pid, resource.RLIMIT_DATA, (most, most))
        answer_until_relieved(server, limit, 300)


@pytest.mark.parametrize("headroom", [512 << 10, 2 << 20, 6 << 20])
async def test_a_server_without_room_answers_so_or_ends_and_what_it_acknowledged_is_there(
    tmp_path: Path, headroom: int
) -> None:
    """The limit leaves less than a question takes: it neither hangs nor loses, and the next server goes on."""
    (tmp_path / "conf.py").write_text("TIMEOUT = 30\n" * 2_000)
    await fill(tmp_path)
    acknowledged: list[str] = []
    with Server(tmp_path, **SETTINGS) as server:
        server.call("recall", **query(0))
        server.call("remember", text="TIMEOUT is 30 in conf.py")
        most = server.bytes_of("VmData", "VmStk") + headroom
        resource.prlimit(server.process.pid, resource.RLIMIT_DATA, (most, most))
        answered = 0
        with suppress(AssertionError, BrokenPipeError):  # it has ended
            for number in range(1, 25):
                for tool, arguments in (("recall", query(number)), ("remember", {"text": f"fact {number}"})):
                    told = server.try_call(tool, **arguments)
                    answered += 1
                    if told.startswith("Remembered"):
                        acknowledged.append(told.partition("[")[2].partition("]")[0])
        assert answered == 48 or server.process.wait(DEADLINE_S) != 0
    with Server(tmp_path, **SETTINGS) as server:
        for one in acknowledged:
            assert one in server.call("get", ids=[one])
    async with retain.open(folder=tmp_path) as memory:
        assert (await memory.verify())["ok"]


def test_room_that_was_set_aside_is_spent_once_and_taken_back() -> None:
    reserve = Reserve()
    assert reserve.spend()
    assert not reserve.spend()
    reserve.refill()
    assert reserve.spend()
