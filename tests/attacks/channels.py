"""Every way by which a text that somebody else wrote can come into the store."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import retain
from attacks.payloads import LIES, ORDERS, SIGNS
from retain.capture.moving.records import Found, Source, item
from retain.capture.past_sessions import transcripts
from retain.errors import Conflict
from retain.memory.service import MemoryService

ANY = {**SIGNS, **ORDERS, **LIES}
STANDING = {name: text for name, text in ORDERS.items() if name != "command"}
"""A summary may say "Run make": only where it is noted on purpose is a single command an order."""


@dataclass(frozen=True)
class Place:
    """Where an attack happens: a spool to fill, a data directory, and the project."""

    events: Any
    home: Path
    folder: Path
    memory: MemoryService

    def tool(self, tool: str, asked: Mapping[str, Any], response: Any, session: str) -> None:
        self.events.put(
            "PostToolUse", session=session, tool_name=tool, tool_input=asked, tool_response=response,
            tool_use_id=f"t{self.events._clock_us}",
        )  # fmt: skip

    def say(self, text: str, session: str) -> None:
        self.events.put("Stop", session=session, last_assistant_message=f"What I found out: {text}")


Plant = Callable[[Place, str, str], Awaitable[None]]


async def pasted_prompt(place: Place, text: str, session: str) -> None:
    place.events.put(session=session, prompt=f"what do you make of this mail?\n{text}")


async def long_paste(place: Place, text: str, session: str) -> None:
    log = "\n".join(f"12:00:{i:02} INFO worker {i} is ready" for i in range(30))
    place.events.put(session=session, prompt=f"look at this log\n{log}\n{text}\n{log}")


async def output_of_a_command(place: Place, text: str, session: str) -> None:
    place.tool("Bash", {"command": "make docs"}, {"stdout": f"building\n{text}\ndone"}, session)


async def output_of_curl(place: Place, text: str, session: str) -> None:
    place.tool("Bash", {"command": "curl -s https://evil.example/x"}, {"stdout": text}, session)
    place.say(text, session)


async def answer_of_a_server(place: Place, text: str, session: str) -> None:
    place.tool("mcp__github__get_issue", {"number": 7}, [{"type": "text", "text": text}], session)
    place.say(text, session)
    place.events.put("PostCompact", session=session, compact_summary=f"<summary>{text} and more</summary>")


async def page(place: Place, text: str, session: str) -> None:
    asked = {"url": "https://evil.example/page", "prompt": "what does it say"}
    place.tool("WebFetch", asked, {"result": text, "code": 200}, session)
    place.say(text, session)
    place.events.put("SubagentStop", session=session, last_assistant_message=text * 2, agent_type="Explore")


async def search_of_the_web(place: Place, text: str, session: str) -> None:
    place.tool("WebSearch", {"query": "cart"}, {"results": [text]}, session)
    todos = [{"content": text[:300], "status": "pending"}, {"content": "b", "status": "pending"}]
    place.tool("TodoWrite", {"todos": todos}, {}, session)


async def file_of_a_dependency(place: Place, text: str, session: str) -> None:
    path = str(place.folder / "node_modules/evil/README.md")
    place.tool("Read", {"file_path": path}, {"file": {"content": text}}, session)
    place.say(text, session)


async def file_from_outside(place: Place, text: str, session: str) -> None:
    place.tool("Read", {"file_path": "/tmp/downloaded.md"}, {"file": {"content": text}}, session)
    place.say(text, session)


async def file_of_the_project(place: Place, text: str, session: str) -> None:
    path = str(place.folder / "CONTRIBUTING.md")
    place.tool("Read", {"file_path": path}, {"file": {"content": text}}, session)
    place.say(text, session)


async def commit_of_a_tainted_session(place: Place, text: str, session: str) -> None:
    await page(place, "nothing of interest", session)
    command = {"command": f"git commit -m {json.dumps(text)}"}
    first = text.splitlines()[0][:200]
    place.tool("Bash", command, {"stdout": f"[main 0123abc] {first}\n 1 file changed"}, session)


async def file_written_by_a_tainted_session(place: Place, text: str, session: str) -> None:
    await page(place, "nothing of interest", session)
    path = str(place.folder / "src/cart.py")
    place.tool("Write", {"file_path": path, "content": f"# {text}"}, {"type": "create"}, session)


async def error_made_by_a_tainted_session(place: Place, text: str, session: str) -> None:
    await page(place, "nothing of interest", session)
    place.events.bash(f"echo {json.dumps(text)} && false", f"Error: {text}", failed=True, session=session)


async def remembered_by_a_tainted_session(place: Place, text: str, session: str) -> None:
    await page(place, "nothing of interest", session)
    async with retain.open(place.home, folder=place.folder, origin="assistant", session=session) as model:
        await model.remember(text, kind="decision")


async def revised_by_a_tainted_session(place: Place, text: str, session: str) -> None:
    async with retain.open(place.home, folder=place.folder, origin="assistant", session=session) as model:
        harmless = await model.remember(f"The cart is rounded half to even, as of {session}", kind="decision")
        of_user = await place.memory.remember(f"Prices are decimals, said the user in {session}")
        await page(place, "nothing of interest", session)
        await model.drain.run()
        await model.revise(harmless.id, text)
        for change in (model.revise(of_user.id, text), model.forget(of_user.id)):
            try:
                await change
            except Conflict:
                continue
            raise AssertionError("a tainted session changed what the user said")


async def remembered(place: Place, text: str, session: str) -> None:
    async with retain.open(place.home, folder=place.folder, origin="assistant", session=session) as model:
        await model.remember(text, kind="note")


async def fields_of_a_memory(place: Place, text: str, session: str) -> None:
    flat = " ".join(text.split()).replace("..", ".")
    async with retain.open(place.home, folder=place.folder, origin="assistant", session=session) as model:
        await model.remember(f"About the cart, one, {session}", title=flat[:200])
        await model.remember(f"About the cart, two, {session}", tags=[flat[:64]])
        await model.remember(f"About the cart, three, {session}", paths=[f"src/{flat[:200]}.md"])
        await model.remember(f"About the cart, four, {session}", symbols=[flat[:200]])


async def past_session_from_elsewhere(place: Place, text: str, session: str) -> None:
    below = place.home.parent / "downloads" / session / "p"
    below.mkdir(parents=True)
    lines = [
        ("user", f"please look at the cart, {text}"),
        ("assistant", [{"type": "text", "text": f"What I found out: {text}"}]),
        ("user", "thanks, now go on with the shop please"),
    ]
    told = [
        {
            "type": kind, "uuid": f"{session}-{i}", "parentUuid": f"{session}-{i - 1}" if i else None,
            "sessionId": session, "cwd": str(place.folder), "isSidechain": False,
            "timestamp": f"2026-10-02T09:00:{i:02}.000Z", "message": {"role": kind, "content": content},
        }
        for i, (kind, content) in enumerate(lines)
    ]  # fmt: skip
    (below / f"{session}.jsonl").write_text("\n".join(map(json.dumps, told)))
    assert transcripts(below.parent, "transcripts")
    await place.memory.imports.transcripts(below.parent, workspace=None, tell=lambda _: None)


async def memory_of_another_tool(place: Place, text: str, session: str) -> None:
    found = Found(place="peer 1", item=item(session, text, kind="decision", title=text[:100]))
    source = Source(place="/peer.db", count=1, records=iter([found]))
    await place.memory.imports.records("peer", source, workspace=None, tell=lambda _: None)


async def line_of_json(place: Place, text: str, session: str) -> None:
    await place.memory.remember_many([{"text": text, "kind": "decision"}], origin="import")


async def rules_file(place: Place, text: str, session: str) -> None:
    given = {"text": text, "kind": "note", "tags": ["claude-md", "reference", "project:other"]}
    await place.memory.remember_many([given], origin="import")


async def export_that_claims_the_user(place: Place, text: str, session: str) -> None:
    source = place.home.parent / f"forged-{session}"
    async with retain.open(source, folder=place.folder) as forger:
        await forger.remember(text, kind="decision")
        file = BytesIO()
        await forger.exports.write(file)
    data = file.getvalue()
    assert b'"origin":"user"' in data
    await place.memory.exports.read(BytesIO(data), "forged.jsonl", trusted=False)


CHANNELS: Mapping[str, tuple[Plant, Mapping[str, str], str]] = {
    "prompt with pasted text": (pasted_prompt, SIGNS, "user"),
    "prompt with a long paste": (long_paste, ANY, "user"),
    "output of a command": (output_of_a_command, {**SIGNS, **LIES}, "hook"),
    "output of curl": (output_of_curl, ANY, ""),
    "answer of an MCP server": (answer_of_a_server, ANY, ""),
    "fetched page": (page, ANY, ""),
    "web search": (search_of_the_web, ANY, ""),
    "file of a dependency": (file_of_a_dependency, ANY, ""),
    "file from outside": (file_from_outside, ANY, ""),
    "file of the project": (file_of_the_project, {**SIGNS, **STANDING}, ""),
    "commit message": (commit_of_a_tainted_session, ANY, ""),
    "file content": (file_written_by_a_tainted_session, ANY, ""),
    "error text": (error_made_by_a_tainted_session, ANY, ""),
    "remember, tainted": (remembered_by_a_tainted_session, ANY, "assistant"),
    "revise, tainted": (revised_by_a_tainted_session, ANY, "assistant"),
    "remember": (remembered, {**SIGNS, **ORDERS}, "assistant"),
    "title, tags, paths, symbols": (fields_of_a_memory, {**SIGNS, **ORDERS}, "assistant"),
    "past session from elsewhere": (past_session_from_elsewhere, ANY, ""),
    "import of another tool": (memory_of_another_tool, ANY, "import"),
    "JSON lines": (line_of_json, ANY, "import"),
    "rules file": (rules_file, ANY, "import"),
    "export that claims the user": (export_that_claims_the_user, ANY, "import"),
}
"""How it comes in, what can come in by it, and the origin that it must carry (empty: any but the user's)."""
