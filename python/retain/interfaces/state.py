"""``retain status``, and the tool of that name: where the memories are, how many, and what is wrong."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from retain.interfaces import replies
from retain.retrieval.context import one_line

if TYPE_CHECKING:
    from retain.interfaces.cli import Output

NAMES_SHOWN = 20


def status(arguments: Namespace, out: Output) -> int:
    """Prints a short account of the store, of this folder, and of what is wrong."""
    from retain.interfaces.commands import with_memory

    found = with_memory(arguments, lambda memory: memory.status())
    out.answer(found, status_text(found))
    return replies.EXIT_OK


def status_text(found: Mapping[str, Any]) -> str:
    """The account for people and for the model, a line each."""
    place, counted = found["workspace"], replies.counted
    here, everywhere = (
        counted(count, "active memory", "active memories") for count in (place["memories"], found["memories"])
    )
    happened = counted(found["sessions"], "session", "sessions"), counted(found["events"], "event", "events")
    lines = [
        f"retain {found['version']}, data in {found['home']}",
        f"workspace {one_line(place['name'], 80)} at {place['root']}: {here}",
        f"all workspaces: {everywhere} ({counts_text(found['kinds'])})",
        f"{', '.join(happened)} ({counted(found['redacted'], 'secret', 'secrets')} redacted)",
        f"{replies.size(found['spool_waiting_bytes'])} waiting in the spool",
        f"At rest: {replies.at_rest(found['encryption'])}",
        *([] if found["capture"] == "on" else [f"capture is {found['capture']} here"]),
        *_review(found["review"]),
        *_pressure(found["pressure"]),
        *(f"problem: {problem}" for problem in found["problems"]),
    ]
    return "\n".join(lines if found["problems"] else [*lines, "no problems"])


def counts_text(counts: Mapping[str, int]) -> str:
    """Names with their counts, the first ones."""
    return ", ".join(f"{name} {count:,}" for name, count in list(counts.items())[:NAMES_SHOWN]) or "none"


def _review(waiting: Mapping[str, int]) -> list[str]:
    if not waiting:
        return []
    why = ", ".join(f"{count} {reason}" for reason, count in sorted(waiting.items()))
    memories = replies.counted(sum(waiting.values()), "memory waits", "memories wait")
    return [f"{memories} for a review by the user ({why}): retain review"]


def _pressure(last: Mapping[str, Any]) -> list[str]:
    """Footprint and limit, where somebody watches them."""
    if last["level"] in {"off", "unknown"}:
        return []
    used, limit = last["used_bytes"] >> 20, last["limit_bytes"] >> 20
    return [
        f"RAM: pressure {last['level']}, {used} of {limit} MiB ({last['source']}), relieved {last['reliefs']} times"
    ]
