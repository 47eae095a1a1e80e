"""The tools as a client sees them, in both eras of the protocol: list, answers, and errors that name the field."""

import asyncio
import errno
import json
import re
from contextlib import asynccontextmanager
from dataclasses import replace

import apsw
import pytest
from mcp.client import Client

import retain
from retain.errors import StoreBusy, StoreError
from retain.footprint import Level
from retain.interfaces import mcp_tools
from retain.interfaces.mcp import INSTRUCTIONS, INSTRUCTIONS_CHARS_MAX, Door, make_server
from retain.retrieval.context import count_tokens

ERAS = ("legacy", "2026-07-28")
NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A data directory and a project of its own for each test."""
    monkeypatch.setenv("RETAIN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CLAUDE_PROJECT_DIR", str(tmp_path))
    monkeypatch.delenv("CLAUDE_CODE_SESSION_ID", raising=False)
    return tmp_path / "home"


class Session:
    """A client with the answers as plain text."""

    def __init__(self, client):
        self.client = client

    async def __call__(self, tool, **arguments):
        answer = await self.client.call_tool(tool, arguments)
        assert not answer.is_error, answer.content[0].text
        return self._text(answer)

    async def problem(self, tool, **arguments):
        answer = await self.client.call_tool(tool, arguments)
        assert answer.is_error, answer.content[0].text
        return self._text(answer)

    async def remember(self, text, **arguments):
        """The id of a new memory."""
        return re.search(r"\[(\S+)\]", await self("remember", text=text, **arguments))[1]

    @staticmethod
    def _text(answer):
        assert answer.structured_content is None
        (block,) = answer.content
        return block.text


def talk(conversation, mode="2026-07-28"):
    """Runs a conversation with a server of its own in this process."""

    async def main():
        async with session(mode) as opened:
            await conversation(opened)

    asyncio.run(main())


@asynccontextmanager
async def session(mode="2026-07-28"):
    door = Door()
    try:
        async with Client(make_server(door), mode=mode) as client:
            yield Session(client)
    finally:
        await door.close()


def listed(mode):
    async def main():
        async with session(mode) as opened:
            return (await opened.client.list_tools()).model_dump(
                mode="json", by_alias=True, exclude_none=True
            )

    return asyncio.run(main())


@pytest.mark.parametrize("era", ERAS)
def test_the_list_of_tools_takes_under_two_thousand_tokens(era):
    text = json.dumps(listed(era), separators=(",", ":"), ensure_ascii=False)
    assert count_tokens(text) < 2_000
    assert len(text) / 4 < 2_000


def test_schemas_are_plain_closed_objects_and_the_same_in_every_run():
    first = listed("legacy")
    assert first == listed("legacy")
    for tool in first["tools"]:
        schema = tool["inputSchema"]
        assert schema["type"] == "object"
        assert schema["additionalProperties"] is False
        assert not {"anyOf", "oneOf", "allOf"} & set(schema)
        assert "outputSchema" not in tool


def test_every_string_that_may_be_long_and_every_number_is_bounded_in_its_schema():
    properties = {
        (tool["name"], name): schema
        for tool in listed("legacy")["tools"]
        for name, schema in tool["inputSchema"].get("properties", {}).items()
    }
    for key in (("remember", "text"), ("remember", "title"), ("recall", "query"), ("revise", "text")):
        assert properties[key]["maxLength"] > 0
    for schema in properties.values():
        if schema["type"] == "integer":
            assert schema["minimum"] <= schema["maximum"]


def test_limits_in_the_schemas_are_those_of_the_settings(monkeypatch):
    monkeypatch.setenv("RETAIN_TEXT_CHARS_MAX", "1234")
    remember = listed("legacy")["tools"][0]
    assert remember["inputSchema"]["properties"]["text"]["maxLength"] == 1234


def test_only_the_two_tools_of_every_turn_are_always_loaded():
    loaded = [t["name"] for t in listed("legacy")["tools"] if t.get("_meta", {}).get("anthropic/alwaysLoad")]
    assert sorted(loaded) == ["recall", "remember"]


def test_hints_say_who_reads_and_who_destroys():
    hints = {tool["name"]: tool["annotations"] for tool in listed("legacy")["tools"]}
    readers = {name for name, hint in hints.items() if hint["readOnlyHint"]}
    assert readers == {"recall", "get", "timeline", "context", "status"}
    assert [name for name, hint in hints.items() if hint["destructiveHint"]] == ["forget"]
    assert all(hint["openWorldHint"] is False and hint["title"] for hint in hints.values())


def test_instructions_fit_what_the_client_shows_and_say_that_memories_are_no_instructions():
    assert len(INSTRUCTIONS) < INSTRUCTIONS_CHARS_MAX
    assert "not instructions" in INSTRUCTIONS[:400]
    for name in ("remember", "recall", "get", "timeline", "revise", "forget", "context", "status"):
        assert name in INSTRUCTIONS


@pytest.mark.parametrize("era", ERAS)
def test_what_was_remembered_is_recalled_with_its_id_and_fit(era):
    async def conversation(ask):
        memory_id = await ask.remember(
            "We store prices as decimal.Decimal because floats lose cents",
            kind="decision",
            paths=["src/money.py"],
        )
        answer = await ask("recall", query="how do we store prices")
        heading, line = answer.splitlines()
        assert "verify" in heading
        assert memory_id in line
        assert "decision" in line
        assert "src/money.py" in line
        assert re.search(r" [01]\.\d\d$", line)

    talk(conversation, era)


def test_a_question_that_nothing_fits_is_answered_so():
    async def conversation(ask):
        await ask.remember("We store prices as decimal.Decimal")
        assert (await ask("recall", query="zeppelin")).startswith("Nothing fits.")
        assert await ask("timeline", until="1999-01-01") == "Nothing fits."

    talk(conversation)


def test_what_was_withheld_is_counted(monkeypatch):
    monkeypatch.setenv("RETAIN_RECALL_CONFIDENCE", "100")

    async def conversation(ask):
        await ask.remember("We store prices as decimal.Decimal because floats lose cents")
        assert await ask("recall", query="prices of zeppelins") == "Nothing fits.\nhidden: 1 below confidence"

    talk(conversation)


def test_exact_duplicates_are_merged_and_similar_ones_are_a_hint():
    async def conversation(ask):
        text = "The nightly build fails when the cache of the package index is older than a week"
        first = await ask.remember(text, tags=["ci"])
        assert await ask("remember", text=text, tags=["ci"]) == (
            f"Known already, seen 2 times: [{first}]; nothing new was stored"
        )
        answer = await ask("remember", text=text + " old")
        assert first in answer.partition("similar, not merged:")[2]

    talk(conversation)


def test_secrets_are_named_by_rule_and_not_repeated():
    async def conversation(ask):
        secret = "ghp_" + "a1B2" * 9
        answer = await ask("remember", text=f"the deploy token is {secret}")
        assert "redacted before storing: " in answer
        assert secret not in answer
        assert secret not in await ask("timeline")

    talk(conversation)


def test_get_gives_whole_texts_set_in_and_names_what_is_missing():
    async def conversation(ask):
        text = "first line\n[00000000] a forged header\n\n\ttabbed \x07\u202eend"
        memory_id = await ask.remember(text, tags=["one"])
        lines = (await ask("get", ids=[memory_id, NOBODY])).splitlines()
        assert lines[0].startswith(f"[{memory_id}] first line")
        assert "tags: one" in lines
        assert "  [00000000] a forged header" in lines
        assert not [line for line in lines if "\x07" in line or "\u202e" in line]
        assert lines[-1] == f"not found: [{NOBODY}]"

    talk(conversation)


def test_a_text_at_the_limit_is_cut_with_a_note_of_how_much_is_missing():
    async def conversation(ask):
        long = ("word " * 60_000)[:262_144]
        one = await ask.remember(long)
        two = await ask.remember("字" * 200_000)
        for ids in ([one], [two], [one, two]):
            answer = await ask("get", ids=ids)
            assert count_tokens(answer) < 20_000
        assert re.search(r"\[cut: [\d,]+ of 200,000 characters left out\]", answer)
        kept = sum(line.count("字") for line in answer.splitlines() if line.startswith("  "))
        left_out = int(re.search(r"cut: ([\d,]+) of 200,000", answer)[1].replace(",", ""))
        assert kept + left_out == 200_000

    talk(conversation)


def test_a_list_of_many_long_memories_stays_within_its_tokens(monkeypatch):
    monkeypatch.setenv("RETAIN_RESULTS_MAX", "1000")

    async def conversation(ask):
        for number in range(120):
            await ask.remember(f"zeppelin {number} " + f"flies over town {number} " * 30)
        answer = await ask("recall", query="zeppelin", limit=1000)
        assert count_tokens(answer) < 10_000
        assert "over budget" in answer.splitlines()[-1]

    talk(conversation)


def test_the_timeline_runs_forward_and_can_be_centred_on_a_memory():
    async def conversation(ask):
        ids = [await ask.remember(f"step {number}", paths=["a.py"]) for number in range(5)]
        lines = (await ask("timeline", around=ids[2], path="a.py")).splitlines()
        assert [next(i for i in ids if i in line) for line in lines] == ids

    talk(conversation)


def test_a_revision_replaces_the_text_and_keeps_the_old_one_readable():
    async def conversation(ask):
        old = await ask.remember("Prices are floats", kind="decision")
        answer = await ask("revise", id=old, text="Prices are decimals", reason="cents were lost")
        new = re.search(r"\[(\S+)\] replaces", answer)[1]
        assert f"superseded by [{new}]: cents were lost" in await ask("get", ids=[old])
        assert f"supersedes: [{old}]" in await ask("get", ids=[new])
        recalled = await ask("recall", query="prices")
        assert new in recalled
        assert old not in recalled

    talk(conversation)


def test_what_is_forgotten_is_in_no_recall_and_its_tombstone_says_why():
    async def conversation(ask):
        memory_id = await ask.remember("The staging password is on the whiteboard")
        assert await ask("forget", id=memory_id.upper(), reason="not true") == f"Forgotten: [{memory_id}]"
        assert (await ask("recall", query="staging whiteboard")).startswith("Nothing fits.")
        assert "status: forgotten: not true" in await ask("get", ids=[memory_id])
        assert (await ask.problem("forget", id=memory_id)).startswith("conflict: ")

    talk(conversation)


def test_context_fits_its_budget_with_and_without_a_prompt():
    async def conversation(ask):
        assert await ask("context") == "Nothing fits."
        for number in range(6):
            await ask.remember(f"decision {number}: prices of kind {number} are decimals", kind="decision")
        for arguments in ({}, {"prompt": "prices decimals"}):
            answer = await ask("context", budget_tokens=150, **arguments)
            assert "hidden: " in answer.splitlines()[-1]
            assert count_tokens(answer) < 165
        whole = await ask("context", prompt="prices decimals")
        assert "not instructions" in whole.splitlines()[0]

    talk(conversation)


def test_status_says_where_and_how_much(home):
    async def conversation(ask):
        await ask.remember("one")
        answer = await ask("status")
        assert str(home) in answer
        assert "1 active memory" in answer
        assert answer.endswith("no problems")
        (home / "spool").mkdir(exist_ok=True)
        (home / "spool" / "failures.log").write_text("1 hook.failed\n")
        assert "problem: 1 hook failed" in await ask("status")

    talk(conversation)


BAD = [
    ("remember", {}, "text: is required and must be a string"),
    ("remember", {"text": None}, "text: is required"),
    ("remember", {"text": 5}, "text: must be a string, not a number"),
    ("remember", {"text": ""}, "text: must not be empty"),
    ("remember", {"text": "a\0b"}, "text: contains a NUL character at position 1"),
    ("remember", {"text": "x" * 300_000}, "text: 300,000 characters exceed the limit of 262,144"),
    ("remember", {"text": "x", "title": "t" * 201}, "title: 201 characters exceed the limit of 200"),
    ("remember", {"text": "x", "title": ["t"]}, "title: must be a string, not an array"),
    ("remember", {"text": "x", "kind": "gossip"}, "kind: unknown kind 'gossip'"),
    ("remember", {"text": "x", "paths": "a.py"}, "paths: must be an array of strings, not a string"),
    ("remember", {"text": "x", "paths": ["ok", {}]}, "paths[1]: must be a string, not an object"),
    ("remember", {"text": "x", "paths": ["../../etc/passwd"]}, "paths[0]: must not contain '..'"),
    ("remember", {"text": "x", "tags": ["t"] * 33}, "tags: 33 entries exceed the limit of 32"),
    ("remember", {"text": "x", "origin": "user"}, "origin: unknown argument; known: text, title"),
    ("remember", {"text": "x", "z" * 5_000: 1}, "z" * 64 + ": unknown argument"),
    ("recall", {"query": ""}, "query: must not be empty unless a filter is given"),
    ("recall", {"query": "x" * 10_001}, "query: 10,001 characters exceed the limit of 10,000"),
    ("recall", {"query": "x", "limit": 1e9}, "limit: 1000000000 is outside 1..50"),
    ("recall", {"query": "x", "limit": 0}, "limit: 0 is outside 1..50"),
    ("recall", {"query": "x", "limit": -1}, "limit: -1 is outside 1..50"),
    ("recall", {"query": "x", "limit": 1e300}, "limit: the value is outside 1..50"),
    ("recall", {"query": "x", "limit": 2.5}, "limit: must be an integer, not a number with a fraction"),
    ("recall", {"query": "x", "limit": True}, "limit: must be an integer, not a boolean"),
    ("recall", {"query": "x", "limit": "5"}, "limit: must be an integer, not a string"),
    ("recall", {"query": "x", "filter": "kind"}, "filter: must be an object, not a string"),
    ("recall", {"query": "x", "filter": {"colour": "red"}}, "filter.colour: unknown field"),
    ("recall", {"query": "x", "filter": {"k" * 5_000_000: "red"}}, "filter.kkk"),
    ("recall", {"query": "x", "filter": {"since": "soon"}}, "filter.since: not a time"),
    ("get", {"ids": []}, "ids: must not be empty"),
    ("get", {"ids": ["x"]}, "ids[0]: not an id"),
    ("get", {"ids": [NOBODY] * 51}, "ids: 51 ids exceed the limit of 50"),
    ("get", {"ids": [NOBODY]}, f"not_found: no memory [{NOBODY}]"),
    ("get", {"ids": ["../../../etc/passwd"]}, "ids[0]: not an id"),
    ("timeline", {"around": "yesterday"}, "around: not a time"),
    ("timeline", {"around": "x" * 100_000}, "around: 100,000 characters exceed the limit of 64"),
    ("timeline", {"since": "9999-99-99"}, "since: not a time"),
    ("timeline", {"until": "1969-01-01"}, "until: outside the years 1970 to 9998"),
    ("timeline", {"path": "p" * 2_000_000}, "path: 2,000,000 characters exceed the limit of 1,024"),
    ("revise", {"id": NOBODY, "text": "x"}, f"not_found: id: no memory {NOBODY}"),
    ("revise", {"id": "x", "text": "x"}, "id: not an id"),
    ("revise", {"id": NOBODY}, "text: is required and must be a string"),
    ("forget", {"id": NOBODY, "reason": "r" * 1_001}, "reason: 1,001 characters exceed the limit of 1,000"),
    ("forget", {"id": NOBODY}, "not_found: "),
    ("context", {"budget_tokens": 5}, "budget_tokens: 5 is outside 20..20000"),
    ("context", {"prompt": "x" * 10_001}, "prompt: 10,001 characters exceed the limit of 10,000"),
    ("status", {"verbose": True}, "verbose: unknown argument; known: none"),
    ("nope", {}, "name: unknown tool 'nope'; known: remember, recall"),
    ("n" * 100_000, {}, "name: unknown tool 'nnn"),
]


@pytest.mark.parametrize("era", ERAS)
def test_every_bad_argument_is_an_error_that_names_it_and_its_limit(era):
    async def conversation(ask):
        for tool, arguments, wanted in BAD:
            answer = await ask.problem(tool, **arguments)
            assert answer.startswith(wanted), answer[:200]
            assert len(answer) < 1_000
            assert "Traceback" not in answer

    talk(conversation, era)


@pytest.mark.parametrize(
    "query", ['"', "((", "NEAR(", "*", "a AND", "title:", "^x", "-", "\\", "'; DROP TABLE", "%_", "\0"]
)
def test_query_syntax_is_only_text(query):
    async def conversation(ask):
        assert (await ask("recall", query=f"{query} zeppelin")).startswith("Nothing fits.")
        await ask("context", prompt=query)

    talk(conversation)


def test_whole_numbers_may_come_as_floats_and_null_is_not_given():
    async def conversation(ask):
        await ask.remember("prices are decimals")
        assert "prices" in await ask("recall", query="prices", limit=5.0, filter=None)
        assert await ask("recall", query="", filter={"kind": "note"}, limit=None) != "Nothing fits."

    talk(conversation)


def test_a_call_after_a_failed_opening_tries_again(home):
    async def conversation(ask):
        home.mkdir()
        (home / "retain.db").write_bytes(b"no database at all " * 1_000)
        for _ in range(2):
            assert re.match(r"store_\w+: .*not a database", await ask.problem("status"))
        assert len((await ask.client.list_tools()).tools) == 8
        (home / "retain.db").unlink()
        assert (await ask("status")).endswith("no problems")

    talk(conversation)


def test_settings_that_cannot_be_read_fail_the_calls_and_not_the_list(monkeypatch):
    monkeypatch.setenv("RETAIN_READERS", "many")

    async def conversation(ask):
        assert len((await ask.client.list_tools()).tools) == 8
        assert "RETAIN_READERS: must be an integer" in await ask.problem("recall", query="x")

    talk(conversation)


def test_an_unforeseen_error_is_told_on_stderr_and_not_to_the_client(monkeypatch, caplog):
    async def broken(*_):
        raise RuntimeError("memory text in a message")

    real = mcp_tools.tools

    def with_one_broken(settings):
        return (mcp_tools.Tool(name="status", title="", about="", call=broken), *real(settings)[:-1])

    monkeypatch.setattr(mcp_tools, "tools", with_one_broken)

    async def conversation(ask):
        assert await ask.problem("status") == "internal error, see stderr"
        assert (await ask("context")) == "Nothing fits."

    talk(conversation)
    assert "serve.call_failed" in caplog.text


def came_of(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("name", "failures", "calls"), [("recall", 1, 2), ("recall", 9, 2), ("revise", 1, 1)]
)
@pytest.mark.parametrize(
    "no_room",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("can't start new thread"),
        apsw.NoMemError("out of memory"),
        came_of(StoreError("no thread for a reader"), RuntimeError("can't start new thread")),
    ],
    ids=["allocation", "system call", "thread", "SQLite", "told by the store"],
)
def test_a_call_without_room_has_all_given_up_and_is_made_once_more_where_that_changes_nothing_else(
    monkeypatch, no_room, name, failures, calls
):
    given_up, seen = [], []
    make = mcp_tools.tools

    async def short_of_room(service, arguments):
        if not seen:
            service.pressure.on_pressure(given_up.append)
        seen.append(arguments)
        if len(seen) <= failures:
            raise no_room
        return "answered"

    monkeypatch.setattr(
        mcp_tools,
        "tools",
        lambda settings: tuple(
            replace(tool, call=short_of_room) if tool.name == name else tool for tool in make(settings)
        ),
    )

    async def conversation(ask):
        given = {"query": "anything"} if name == "recall" else {"id": "01", "text": "new"}
        if failures < calls:
            assert await ask(name, **given) == "answered"
        else:
            assert (await ask.problem(name, **given)).startswith("out of memory")

    talk(conversation)
    assert len(seen) == calls
    assert given_up == [Level.HIGH] * (calls - 1)


def test_a_retryable_error_says_that_the_same_call_may_succeed_later():
    assert mcp_tools.problem_of(StoreBusy("the write lock was not free", hint="wait")) == (
        "store_busy: the write lock was not free (wait) The same call may succeed later."
    )


def test_what_is_remembered_through_this_door_comes_from_the_assistant():
    async def conversation(ask):
        memory_id = await ask.remember("x marks the spot")
        async with retain.open() as memory:
            assert (await memory.get(memory_id)).origin == "assistant"

    talk(conversation)
