"""What a check of the installation found, and how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from retain.interfaces.replies import Paint, counted
from retain.retrieval.context import one_line

OK, WARN, FAIL = "ok", "warn", "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found: ``verdict`` is ok, warn or fail; ``mend`` says what to do about it."""

    check: str
    verdict: str
    detail: str
    mend: str | None = None


def report(findings: Sequence[Finding], paint: Paint) -> str:
    """The findings for people."""
    colours: dict[str, Callable[[str], str]] = {OK: paint.good, WARN: paint.doubtful, FAIL: paint.bad}
    width = max(len(finding.check) for finding in findings)
    lines = []
    for finding in findings:
        verdict = colours[finding.verdict](finding.verdict.ljust(4))
        lines.append(f"{verdict}  {finding.check.ljust(width)}  {one_line(finding.detail, 400)}")
        if finding.mend:
            lines.append(f"      {' ' * width}  {paint.bold('→')} {one_line(finding.mend, 400)}")
    counts = {name: sum(finding.verdict == name for finding in findings) for name in (OK, WARN, FAIL)}
    warned = counted(counts[WARN], "warning", "warnings")
    tail = f"{counts[OK]} ok · {warned} · {counts[FAIL]} failed"
    return "\n".join([*lines, "", tail])
