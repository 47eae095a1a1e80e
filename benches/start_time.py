"""From starting `retain serve` to its first answers, beside minimal servers of the same SDK, in one run.

    python benches/start_time.py [--rounds 15] [--memories 10000] [--json FILE]

The floors are a low-level ``Server`` and an ``MCPServer`` with one trivial tool, on the SDK's own stdio transport.
Each start is a new process; the kinds of server take turns. Measured are the time until the first result
(``initialize``, or ``server/discover`` in the newer era) and the time until the result of the first ``recall``
(of the trivial tool at the floors), sent as soon as the first result is there. Retain starts on no store at all,
and on one with 10,000 memories, where the recall must find the right one.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import retain
from measuring import (
    Figure,
    Summary,
    against,
    arguments,
    clean_environment,
    cpu_ms,
    launcher,
    publish,
    summary,
)
from measuring import right as right_answers
from retain.referee.stdio_client import ERAS, HANDSHAKE, Server
from suite.texts import Note, notes

RATIO_MAX = 1.3
WARM_UP = 1
CHUNK = 1_000

LOWLEVEL = """
import anyio
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

async def list_tools(context, params):
    tool = {"name": "recall", "description": "x", "inputSchema": {"type": "object"}}
    return types.ListToolsResult.model_validate({"tools": [tool]})

async def call_tool(context, params):
    return types.CallToolResult(content=[types.TextContent(type="text", text="Nothing fits.")])

async def main():
    server = Server("floor", version="1", on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())

anyio.run(main)
"""

MCPSERVER = '''
from mcp.server import MCPServer

server = MCPServer("floor", version="1", log_level="WARNING")

@server.tool(structured_output=False)
async def recall(query: str) -> str:
    """x"""
    return "Nothing fits."

server.run()
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of server: how it is started, where, and what its first recall asks and must answer."""

    name: str
    argv: Sequence[str]
    folder: Path
    home: Path
    query: str
    expected: str
    cold: bool = False


@dataclass(slots=True)
class Times:
    """Milliseconds of each start: to the first result, to the first recall, and of CPU until then."""

    first: list[float] = field(default_factory=list)
    recall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    right: int = 0
    asked: int = 0


async def fill(home: Path, folder: Path, texts: Sequence[Note]) -> None:
    """Stores the notes through the Python API."""
    async with retain.open(home, folder=folder) as memory:
        for start in range(0, len(texts), CHUNK):
            await memory.remember_many([{"text": note.text} for note in texts[start : start + CHUNK]])


def kinds(place: Path, texts: Sequence[Note]) -> list[Kind]:
    """The servers that are compared."""
    folder = place / "project"
    folder.mkdir()
    for name, source in (("lowlevel", LOWLEVEL), ("mcpserver", MCPSERVER)):
        (place / f"{name}.py").write_text(source, encoding="utf-8")
    asyncio.run(fill(place / "full", folder, texts))
    wanted = texts[len(texts) // 2]
    shared = {"folder": folder, "query": wanted.name}
    floor = {**shared, "home": place / "none", "expected": "Nothing fits."}
    return [
        Kind(name="lowlevel", argv=[sys.executable, str(place / "lowlevel.py")], **floor),
        Kind(name="mcpserver", argv=[sys.executable, str(place / "mcpserver.py")], **floor),
        Kind(
            name="retain, no store", argv=[launcher(), "serve"], **shared, home=place / "cold",
            expected="Nothing fits.", cold=True,
        ),
        Kind(
            name=f"retain, {len(texts):,} memories", argv=[launcher(), "serve"], **shared,
            home=place / "full", expected=wanted.name,
        ),
    ]  # fmt: skip


def start_once(kind: Kind, number: int, era: str, times: Times) -> None:
    """One start: two answers, and the end of the process."""
    home = kind.home / f"{era}-{number}" if kind.cold else kind.home
    environment = clean_environment(RETAIN_HOME=str(home), CLAUDE_PROJECT_DIR=str(kind.folder))
    with Server(kind.argv, kind.folder, environment, era) as server:
        server.greet()
        first_ns = time.perf_counter_ns()
        answer = server.call("recall", query=kind.query)
        recall_ns = time.perf_counter_ns()
        used_ms = cpu_ms(server.pid)
    times.right += kind.expected in answer
    times.asked += 1
    if number >= WARM_UP:
        times.first.append((first_ns - server.started_ns) / 1e6)
        times.recall.append((recall_ns - server.started_ns) / 1e6)
        times.cpu.append(used_ms)


def figures_of(era: str, found: dict[str, dict[str, Summary]]) -> list[Figure]:
    """Ratios to both floors; the target is the one to the leaner of them, the low-level server."""
    figures = []
    for name, sums in found.items():
        if not name.startswith("retain"):
            continue
        for part, label in (
            ("first", "first result"),
            ("recall", "first recall"),
            ("cpu", "CPU to first recall"),
        ):
            what = f"start {era}, {name}: {label}"
            target = None if part == "cpu" else RATIO_MAX
            for floor, ratio_max in (("lowlevel", target), ("mcpserver", None)):
                beside = found[floor][part].median
                figures.append(
                    against(f"{what}, median", sums[part].median, "ms", floor, beside, ratio_max=ratio_max)
                )
            figures.append(
                against(f"{what}, min", sums[part].least, "ms", "lowlevel", found["lowlevel"][part].least)
            )
    return figures


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--memories", type=int, default=10_000)
    given = parser.parse_args()
    figures: list[Figure] = []
    details = {}
    right = asked = 0
    with tempfile.TemporaryDirectory(prefix="retain-start-") as place:
        compared = kinds(Path(place), notes(given.memories))
        for era in ERAS:
            times = {kind.name: Times() for kind in compared}
            for number in range(given.rounds + WARM_UP):
                for kind in compared if number % 2 else reversed(compared):
                    start_once(kind, number, era, times[kind.name])
            right += sum(t.right for t in times.values())
            asked += sum(t.asked for t in times.values())
            sums = {
                name: {"first": summary(t.first), "recall": summary(t.recall), "cpu": summary(t.cpu)}
                for name, t in times.items()
            }
            figures += figures_of("2025" if era == HANDSHAKE else "2026", sums)
            details[era] = sums
    figures.append(right_answers("start", right, asked))
    return publish(figures, {"ms": details}, given.json)


if __name__ == "__main__":
    sys.exit(main())
