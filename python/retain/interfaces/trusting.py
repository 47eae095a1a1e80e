"""The commands of the user on trust: review and revoke."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from retain.errors import InvalidInput
from retain.interfaces import replies
from retain.interfaces.commands import with_memory
from retain.retrieval.context import one_line

if TYPE_CHECKING:
    from retain.interfaces.cli import Output

SHOWN_CHARS = 300


def review(arguments: Namespace, out: Output) -> int:
    """Lists what was held back, or decides about one of them."""
    if arguments.action == "list":
        if arguments.id:
            raise InvalidInput("id", "is not for list")
        found = with_memory(arguments, lambda memory: memory.trusting.waiting(arguments.limit))
        value = [{**replies.memory_object(one.memory), "held": one.reason} for one in found]
        lines = [
            f"{one.memory.id}  {out.paint.doubtful(one.reason)}, from {one.memory.origin}\n"
            f"    {one_line(f'{one.memory.title} — {one.memory.text}', SHOWN_CHARS)}"
            for one in found
        ]
        lines += (
            ["", "retain review accept ID lets one be told unasked; reject ID forgets it."] if found else []
        )
        out.answer(value, "\n".join(lines) or "Nothing waits for a review.")
        return replies.EXIT_OK
    if not arguments.id:
        raise InvalidInput("id", f"is missing: which memory to {arguments.action}")
    accepts = arguments.action == "accept"
    with_memory(
        arguments,
        lambda memory: (memory.trusting.accept if accepts else memory.trusting.reject)(arguments.id),
    )
    wanted = arguments.id.strip().lower()
    said = "Confirmed by the user" if accepts else "Forgotten"
    out.answer({"accepted" if accepts else "rejected": wanted}, f"{out.paint.good(said)}: {wanted}")
    return replies.EXIT_OK


def revoke(arguments: Namespace, out: Output) -> int:
    """Forgets all that came from one source, or takes that back."""
    if arguments.undo is not None:
        back = with_memory(arguments, lambda memory: memory.trusting.undo(arguments.undo))
        count = replies.counted(len(back.memories), "memory", "memories")
        out.answer(
            {"undone": back.id, "memories": list(back.memories)}, f"{out.paint.good('Active again')}: {count}"
        )
        return replies.EXIT_OK
    given = {kind: getattr(arguments, f"of_{kind}") for kind in ("session", "origin", "url", "import")}
    kind, value = next((kind, value) for kind, value in given.items() if value is not None)
    done = with_memory(arguments, lambda memory: memory.trusting.revoke(kind, value))
    count = replies.counted(len(done.memories), "memory", "memories")
    out.answer(
        {"revocation": done.id, "source": done.source, "memories": list(done.memories)},
        f"{out.paint.good('Forgotten')}: {count} of {one_line(done.source, SHOWN_CHARS)}"
        + (f"\nTo take it back: retain revoke --undo {done.id}" if done.memories else ""),
    )
    return replies.EXIT_OK
