"""What memories say of the code: listed by ``verify --claims``, put right by ``reconcile``."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from retain.interfaces import replies
from retain.interfaces.commands import with_memory
from retain.retrieval.context import one_line

if TYPE_CHECKING:
    from retain.interfaces.cli import Output

FRESH = "fresh"


def listed(arguments: Namespace, out: Output) -> int:
    """Lists memories of this repository whose claims no longer hold, with ``--all`` every one that has claims."""
    report = with_memory(arguments, lambda memory: memory.claims.report())
    shown = [one for one in report["memories"] if arguments.all or one["state"] != FRESH]
    lines: list[str] = []
    for one in shown:
        state = (out.paint.good if one["state"] == FRESH else out.paint.doubtful)(one["state"].ljust(12))
        lines += [f"{state}  {one_line(one['title'], 100)}", out.paint.dim(f"              {one['id']}")]
        if one["outcome"]:
            lines.append(f"              {out.paint.doubtful(one_line(one['outcome'], 200))}")
        told = (tuple(_told(claim, arguments.all)) for claim in one["claims"])
        lines += [f"              {line}" for claim in dict.fromkeys(told) for line in claim]
    counts = ", ".join(f"{count:,} {state}" for state, count in sorted(report["counts"].items()))
    withheld = replies.hidden_text(report["hidden"])
    lines.append(
        f"Memories with claims: {counts or 'none'}" + (f"; not listed: {withheld}" if withheld else "")
    )
    if any(one["state"] != FRESH for one in shown):
        lines.append("Put one right: `retain reconcile ID keep|revise|supersede|forget`")
    out.answer({**report, "memories": shown}, "\n".join(lines))
    return replies.EXIT_OK


def _told(claim: dict[str, Any], everything: bool) -> list[str]:
    if claim["state"] == FRESH:
        return [f"holds: {one_line(claim['claim'], 160)}"] if everything else []
    return [
        one_line(claim["note"] or claim["claim"], 200),
        *(one_line(line, 200) for line in claim["diff"].splitlines()),
    ]


def reconcile(arguments: Namespace, out: Output) -> int:
    """Puts a memory right that the code no longer agrees with."""
    done = with_memory(
        arguments,
        lambda memory: memory.claims.reconcile(
            memory, arguments.id, arguments.how, text=arguments.text, by=arguments.by
        ),
    )
    said = {
        "keep": "Kept as it is",
        "revise": f"Revised by {done.get('by')}",
        "supersede": f"Superseded by {done.get('by')}",
        "forget": "Forgotten",
    }[done["how"]]
    out.answer(done, f"{out.paint.good(said)}: {done['id']}")
    return replies.EXIT_OK
