"""What the benches share: summaries of samples, the table of figures, and what the system says of a process.

A figure stands beside what it is measured against: a floor or a peer of the same run, or a peer's figure of
an earlier run, which then says so. A wall time alone says little about a busy machine; a ratio says more.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A sample of times, in the unit it was given in."""

    n: int
    least: float
    median: float
    p95: float
    p99: float
    most: float


def summary(values: Sequence[float]) -> Summary:
    """Order statistics; a percentile is the value at or above that share of the sample."""
    ordered = sorted(values)

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    return Summary(
        n=len(ordered), least=ordered[0], median=statistics.median(ordered),
        p95=at(0.95), p99=at(0.99), most=ordered[-1],
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table.

    Attributes:
        what: what was measured.
        ours: the value of retain.
        unit: its unit.
        beside: what it is compared with, and its value.
        ratio: ours over that.
        target: what is asked for.
        met: whether it is reached; None where nothing is asked for.
    """

    what: str
    ours: float
    unit: str
    beside: str = ""
    ratio: float | None = None
    target: str = ""
    met: bool | None = None


def against(
    what: str, ours: float, unit: str, name: str, floor: float, *, ratio_max: float | None = None
) -> Figure:
    """A figure beside a floor or a peer of the same run, in the same unit."""
    ratio = ours / floor if floor else None
    return Figure(
        what=what, ours=ours, unit=unit, beside=f"{name} {short(floor)}", ratio=ratio,
        target="" if ratio_max is None else f"ratio <= {ratio_max:g}",
        met=None if ratio_max is None or ratio is None else ratio <= ratio_max,
    )  # fmt: skip


def at_most(what: str, ours: float, unit: str, most: float, *, beside: str = "") -> Figure:
    """A figure with an upper bound."""
    return Figure(
        what=what, ours=ours, unit=unit, beside=beside, target=f"<= {short(most)}", met=ours <= most
    )


def at_least(what: str, ours: float, unit: str, least: float, *, beside: str = "") -> Figure:
    """A figure with a lower bound."""
    return Figure(
        what=what, ours=ours, unit=unit, beside=beside, target=f">= {short(least)}", met=ours >= least
    )


def right(what: str, found: int, asked: int) -> Figure:
    """How many answers were right; all must be."""
    return at_least(f"{what}: right answers", found, f"of {asked}", asked)


def short(value: float) -> str:
    """A number with three digits that say something."""
    if value == int(value) and abs(value) < 1e7:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(figures: Sequence[Figure]) -> str:
    """The figures as text in columns."""
    head = ("what", "retain", "unit", "beside", "ratio", "target", "")
    rows = [
        (
            f.what, short(f.ours), f.unit, f.beside, "" if f.ratio is None else f"{f.ratio:.2f}", f.target,
            "" if f.met is None else "ok" if f.met else "MISSED",
        )
        for f in figures
    ]  # fmt: skip
    return in_columns([head, *rows], flush_right={1, 4})


def in_columns(rows: Sequence[Sequence[str]], flush_right: Collection[int] = ()) -> str:
    """Rows as text in columns; those of the numbers in ``flush_right`` end where their column ends."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if i in flush_right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """A parser with what every bench takes."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as JSON")
    return parser


def publish(figures: Sequence[Figure], details: Mapping[str, Any], path: Path | None) -> int:
    """Prints the table, writes the JSON; returns 1 where an answer was wrong, else 0.

    A target of speed that was missed is told and does not fail: that is for a person to judge.
    """
    print(table(figures))
    if path is not None:
        found = {"figures": [asdict(figure) for figure in figures], "details": dict(details)}
        path.write_text(json.dumps(found, indent=2, default=_as_json) + "\n", encoding="utf-8")
    return int(any("right answers" in figure.what and figure.met is False for figure in figures))


def _as_json(value: object) -> object:
    if isinstance(value, Summary):
        return asdict(value)
    raise TypeError(type(value).__name__)


def base_python() -> str:
    """The interpreter itself: neither a virtual environment's link nor a version manager's shim."""
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return str(Path(sys.base_prefix) / "bin" / name)


def launcher() -> str:
    """The ``retain`` command of this environment."""
    return str(Path(sys.executable).parent / "retain")


def clean_environment(**names: str) -> dict[str, str]:
    """This environment without what would steer retain or the client, and with the given names."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RETAIN_", "CLAUDE", "PYTHON", "XDG_"))}
    return kept | names


def resident_mb(pid: int) -> float:
    """Resident memory of a process in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_MB


def cpu_ms(pid: int) -> float:
    """User and system time of a process in milliseconds, to a clock tick."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) * TICK_MS


def process_tree(pid: int) -> list[int]:
    """A process and everything that descends from it and still runs."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(child) for child in _read(task).split()]
    return found


def tree_cpu_ms(pid: int) -> float:
    """User and system time of a process tree in milliseconds, with that of children that have ended."""
    stats = (_read(Path(f"/proc/{one}/stat")).rpartition(")")[2].split() for one in process_tree(pid))
    return sum(sum(map(int, stat[11:15])) for stat in stats) * TICK_MS


def tree_resident_mb(pid: int) -> float:
    """Resident memory of a process tree in MB; pages that two processes share count twice."""
    stats = (_read(Path(f"/proc/{one}/statm")).split() for one in process_tree(pid))
    return sum(int(stat[1]) for stat in stats if stat) * PAGE_MB


def _read(path: Path) -> str:
    """What the system says there; nothing where the process has ended meanwhile."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
