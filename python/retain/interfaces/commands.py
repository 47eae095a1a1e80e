"""The commands on memories: remember, recall, show, timeline, revise, forget, context."""

from __future__ import annotations

import asyncio
import json
import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import retain
from retain.config import read_settings
from retain.errors import InvalidInput
from retain.interfaces import replies
from retain.model import read_time
from retain.retrieval.context import one_line
from retain.storage.scratch import scratch

if TYPE_CHECKING:
    from retain.interfaces.cli import Output
    from retain.memory.outcomes import Outcome
    from retain.memory.service import MemoryService
    from retain.model import Memory, Timeline

T = TypeVar("T")

UTF8_BYTES_MAX = 4
"""Most bytes of one character."""


def with_memory(arguments: Namespace, action: Callable[[MemoryService], Awaitable[T]]) -> T:
    """Opens the store of ``--home`` for the length of an action."""

    async def go() -> T:
        async with retain.open(arguments.home, door="cli") as memory:
            return await action(memory)

    return asyncio.run(go())


def as_of(arguments: Namespace, action: Callable[[MemoryService], Awaitable[T]]) -> T:
    """Opens the store as it was at ``--as-of``, in a copy that is thrown away; without it the store itself."""
    moment: str | None = arguments.as_of
    if moment is None:
        return with_memory(arguments, action)

    async def go() -> T:
        async with retain.open(arguments.home, door="cli") as memory:
            await memory.drain.run()
            with scratch(memory.settings.home) as directory:
                await memory.keeping.write_past(directory / memory.settings.database.name, moment)
                async with retain.open(directory, door="cli") as past:
                    return await action(past)

    return asyncio.run(go())


def moment(said: str | None, field: str) -> str | None:
    """A time as ISO 8601: as it was given, or the past moment that words like ``yesterday`` mean here.

    Raises:
        InvalidInput: neither.
    """
    from retain.memory.moments import past_moment  # a command loads only what it needs

    if said is None:
        return None
    try:
        read_time(said, field)
    except InvalidInput:
        return past_moment(said, field, datetime.now().astimezone()).isoformat()
    return said


def recall(arguments: Namespace, out: Output) -> int:
    """Finds memories by words and filter."""
    tree = read_filter(arguments.filter)
    found = as_of(
        arguments,
        lambda memory: memory.recall(
            " ".join(arguments.query),
            filter=tree,
            limit=arguments.limit,
            workspace=arguments.workspace,
            budget_tokens=arguments.budget,
        ),
    )
    out.answer(replies.recall_object(found), replies.recall_text(found, out.paint))
    return replies.EXIT_OK


def remember(arguments: Namespace, out: Output) -> int:
    """Stores a memory."""
    text = read_text(arguments)
    stored = with_memory(
        arguments,
        lambda memory: memory.remember(
            text,
            title=arguments.title,
            kind=arguments.kind,
            paths=arguments.path,
            symbols=arguments.symbol,
            tags=arguments.tag,
            occurred_at=arguments.occurred_at,
            source_id=arguments.source_id,
            workspace=arguments.workspace,
        ),
    )
    out.answer(replies.remembered_object(stored), _remembered(stored, out))
    return replies.EXIT_OK


def show(arguments: Namespace, out: Output) -> int:
    """Shows one memory, whole, with its links."""

    async def load(memory: MemoryService) -> tuple[Memory, list[tuple[str, str, str]], Outcome]:
        found = await memory.get(arguments.id)
        outcomes = await memory.outcomes([found.id])
        return found, await memory.links(arguments.id), outcomes[found.id]

    found, links, outcome = with_memory(arguments, load)
    value = replies.memory_object(found)
    value["links"] = [{"kind": kind, "direction": way, "id": other} for kind, way, other in links]
    value["outcome"] = outcome.as_json()
    out.answer(value, _whole(found, links, outcome, out.paint), as_is=True)
    return replies.EXIT_OK


def _around(said: str | None) -> str | None:
    from retain.memory.inputs import id_field  # a command loads only what it needs

    with suppress(InvalidInput):
        return id_field(said, "around")
    return moment(said, "around")


def timeline(arguments: Namespace, out: Output) -> int:
    """Shows memories in order of time, oldest first."""
    around = _around(arguments.around)
    since, until = moment(arguments.since, "since"), moment(arguments.until, "until")
    found = with_memory(
        arguments,
        lambda memory: memory.timeline(
            around,
            since=since,
            until=until,
            path=arguments.path,
            limit=arguments.limit,
            workspace=arguments.workspace,
        ),
    )
    told = [{**replies.memory_object(one.memory), "state": one.state, "note": one.note} for one in found.told]
    out.answer({"memories": told, "hidden": dict(found.hidden)}, _timeline(found, out.paint))
    return replies.EXIT_OK


def revise(arguments: Namespace, out: Output) -> int:
    """Stores a new version of a memory."""
    text = read_text(arguments)
    new = with_memory(arguments, lambda memory: memory.revise(arguments.id, text, arguments.reason))
    lines = [f"{out.paint.good('Revised')} {new.supersedes}, which stays readable. The new version:", ""]
    out.answer(replies.memory_object(new), "\n".join([*lines, *replies.memory_lines(new, out.paint)]))
    return replies.EXIT_OK


def forget(arguments: Namespace, out: Output) -> int:
    """Takes a memory out of every recall, or all that has expired.

    Raises:
        InvalidInput: neither or both are asked for.
    """
    if arguments.expired:
        if arguments.id or arguments.reason:
            raise InvalidInput("expired", "excludes an id and a reason")
        return _forget_expired(arguments, out)
    if not arguments.id or arguments.dry_run:
        raise InvalidInput(
            "id" if not arguments.id else "dry-run", "is missing" if not arguments.id else "is for --expired"
        )
    with_memory(arguments, lambda memory: memory.forget(arguments.id, arguments.reason))
    wanted = arguments.id.strip().lower()
    said = f"{out.paint.good('Forgotten')}: no recall will show {wanted}"
    out.answer({"forgotten": wanted}, f"{said}; `retain unforget {wanted}` brings it back until it is erased")
    return replies.EXIT_OK


def _forget_expired(arguments: Namespace, out: Output) -> int:
    counts = with_memory(arguments, lambda memory: memory.retention.run(is_trial=arguments.dry_run))
    total = sum(counts.values())
    listed = ", ".join(f"{count:,} {kind}" for kind, count in sorted(counts.items()))
    verb = "Would forget" if arguments.dry_run else "Forgot"
    text = (
        f"{verb} {replies.counted(total, 'memory', 'memories')}: {listed}"
        if total
        else "Nothing has expired."
    )
    out.answer({"expired": counts, "dry_run": arguments.dry_run}, text)
    return replies.EXIT_OK


def context(arguments: Namespace, out: Output) -> int:
    """Prints the block that a session would be given."""
    prompt = " ".join(arguments.prompt) or None
    block, found = as_of(
        arguments,
        lambda memory: memory.context(prompt, arguments.budget, workspace=arguments.workspace),
    )
    hidden = {**(found.hidden if found else {}), **block.hidden}
    value = {
        "text": block.text, "ids": list(block.ids), "tokens": block.tokens,
        "over_budget": block.over_budget, "hidden": hidden,
    }  # fmt: skip
    if out.as_json:
        out.value(value)
        return replies.EXIT_OK
    if block.text:
        out.say(replies.printable(block.text))
    over = {"over budget": block.over_budget, **hidden}
    withheld = replies.hidden_text(over)
    told = f"{block.tokens:,} tokens" if block.text else "nothing to say: no memory fits"
    out.aside(told + (f" · withheld: {withheld}" if withheld else ""))
    return replies.EXIT_OK


def read_filter(text: str | None) -> dict[str, Any] | None:
    """The filter of ``--filter``; what it may hold is checked by the service.

    Raises:
        InvalidInput: not JSON, or not an object.
    """
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("filter", f"not JSON: {error}", hint='for example {"kind": "decision"}') from None
    if not isinstance(value, dict):
        raise InvalidInput("filter", f"must be a JSON object, not {type(value).__name__}")
    return value


def read_text(arguments: Namespace) -> str:
    """The text of an argument, or of stdin where it is ``-`` or missing; one line break at its end is dropped.

    Raises:
        InvalidInput: missing at a terminal, too long, or not UTF-8.
    """
    if arguments.text not in {None, "-"}:
        return str(arguments.text)
    if arguments.text is None and sys.stdin.isatty():
        raise InvalidInput("text", "is missing", hint="give it as an argument, or pipe it in")
    chars_max = read_settings(arguments.home)[0].text_chars_max
    bytes_max = chars_max * UTF8_BYTES_MAX + 1  # the line break at the end is dropped
    data = sys.stdin.buffer.read(bytes_max + 1)
    if len(data) > bytes_max:
        raise InvalidInput("text", f"exceeds the limit of {chars_max:,} characters", limit=chars_max)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput("text", f"is not UTF-8 at byte {error.start}") from None
    return text.removesuffix("\n")


def _remembered(memory: Memory, out: Output) -> str:
    paint = out.paint
    first = paint.good("Remembered") if memory.created else paint.doubtful("Known already") + ", seen again"
    lines = [first, *replies.memory_lines(memory, paint)]
    if memory.redacted:
        rules = ", ".join(f"{count} {rule}" for rule, count in memory.redacted.items())
        lines.append(f"    {paint.doubtful('secrets left out')}: {rules}")
    lines += [f"    similar: {other}" for other in memory.near]
    return "\n".join(lines)


def _whole(memory: Memory, links: list[tuple[str, str, str]], outcome: Outcome, paint: replies.Paint) -> str:
    facts = [
        ("id", memory.id),
        ("workspace", memory.workspace),
        ("status", memory.status + (f" ({one_line(memory.reason, 300)})" if memory.reason else "")),
        ("origin", memory.origin),
        ("trust", f"{memory.trust}, held for review ({memory.held})" if memory.held else memory.trust),
        ("occurred", replies.local_time(memory.occurred_at)),
        ("recorded", replies.local_time(memory.recorded_at)),
        ("branch", memory.branch or ""),
        ("commit", memory.commit or ""),
        ("session", memory.session or ""),
        ("paths", ", ".join(memory.paths)),
        ("symbols", ", ".join(memory.symbols)),
        ("tags", ", ".join(memory.tags)),
        ("source id", memory.source_id or ""),
        ("supersedes", memory.supersedes or ""),
        ("superseded by", memory.superseded_by or ""),
        ("seen", f"{memory.seen} times" if memory.seen > 1 else ""),
        ("left out", ", ".join(f"{count} {rule}" for rule, count in memory.redacted.items())),
        *((f"{kind} {way}", other) for kind, way, other in links),
        *(("outcome", line) for line in outcome.lines()),
    ]
    shown = [(name, one_line(value, 2_000)) for name, value in facts if value]
    heading = f"{paint.kind(memory.kind)}  {paint.bold(one_line(memory.title, 200))}"
    return "\n".join([heading, "", replies.printable(memory.text), "", replies.table(shown, paint)])


def _timeline(found: Timeline, paint: replies.Paint) -> str:
    withheld = replies.hidden_text(found.hidden)
    last = [paint.dim(f"withheld: {withheld}")] if withheld else []
    if not found.told:
        return "\n".join([paint.dim("Nothing found"), *last])
    lines: list[str] = []
    day = ""
    for one in found.told:
        memory = one.memory
        date, clock, zone = replies.local_time(memory.occurred_at).split()
        if f"{date}  {zone}" != day:
            day = f"{date}  {zone}"
            lines += [*([""] if lines else []), f"{paint.bold(date)}  {paint.dim(zone)}"]
        lines.append(f"  {clock}  {paint.kind(memory.kind.ljust(11))}  {one_line(memory.title, 100)}")
        if one.note:
            lines.append(f"         {paint.doubtful(one_line(one.note, 200))}")
        lines.append(paint.dim(f"         {memory.id}"))
    return "\n".join([*lines, *last])
