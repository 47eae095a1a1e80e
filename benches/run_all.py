"""Every bench, one after the other, and two tables: all figures beside their peers, and the targets of the core.

    python benches/run_all.py [--repo PATH] [--quick] [--only NAME,...] [--venv DIR] [--json benches-result.json]

--repo names a git history with 10,000 commits or more (bare or not); without it the texts are made up from a
seed. --quick takes fewer rounds and smaller stores. Each bench is a process of its own and can be run alone, see
its docstring. Peers that are not installed are named: ``pip install -r benches/peers.txt`` brings them. The exit
code is 1 where a bench failed or an answer was wrong; a missed target of speed is told, and left to a person to
judge.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from measuring import Figure, table
from retain._core import BUILD_PROFILE
from targets import judged, table_of_targets

HERE = Path(__file__).resolve().parent
BENCHES: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "hook_time": ((), ("--rounds", "30", "--row", "100")),
    "drain": ((), ("--events", "5000")),
    "prompt_time": ((), ("--size", "1000", "--prompts", "40")),
    "start_time": ((), ("--rounds", "4", "--memories", "1000")),
    "stdio_latency": ((), ("--sizes", "1000", "--queries", "40", "--remembers", "100")),
    "known_items": ((), ("--memories", "1000", "--queries", "40")),
    "writers": ((), ()),
    "parts": ((), ("--rounds", "3")),
    "l1_cache": ((), ("--quick",)),
    "hit_ratios": ((), ("--sizes", "1000")),
    "cache_levels": ((), ("--memories", "500", "--queries", "30")),
    "queue_and_batches": ((), ("--items", "200000", "--large", "1000000")),
    "pool": ((), ()),
    "pressure": ((), ("--crossings", "40", "--idle-s", "3")),
    "planner": ((), ("--memories", "10000", "--queries", "100")),
    "scale": (("--sizes", "1000,10000,100000"), ("--sizes", "1000,10000", "--queries", "12")),
    "peer_servers": ((), ("--sizes", "1000", "--queries", "12", "--remembers", "12", "--fill-s", "30")),
    "vectors": ((), ("--sizes", "10000,100000", "--queries", "20")),
    "footprint": ((), ()),
    "backfill": ((), ("--megabytes", "10")),
    "gates": ((), ("--commits", "20000", "--memories", "2000", "--queries", "60")),
}
"""Arguments of a whole run and of a quick one, by bench."""

TAKES_HISTORY = frozenset(
    {"prompt_time", "stdio_latency", "known_items", "planner", "cache_levels", "scale", "peer_servers"}
)


def command(name: str, given: argparse.Namespace, result: Path) -> list[str]:
    """How a bench is started."""
    argv = [sys.executable, str(HERE / f"{name}.py"), "--json", str(result), *BENCHES[name][given.quick]]
    if name in TAKES_HISTORY and given.repo is not None:
        argv += ["--repo", str(given.repo)]
    if name == "footprint" and given.venv is not None:
        argv += ["--venv", str(given.venv)]
    return argv


def peers() -> dict[str, str | None]:
    """The version of each peer in ``peers.txt``; None where it is not installed."""
    lines = (HERE / "peers.txt").read_text(encoding="utf-8").splitlines()
    found: dict[str, str | None] = {}
    for name in (re.split(r"[\[<>=]", line)[0] for line in lines if line and not line.startswith("#")):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def run(name: str, given: argparse.Namespace, place: Path) -> tuple[dict[str, Any], bool]:
    """What a bench found, and whether it ended well."""
    result = place / f"{name}.json"
    print(f"== {name}", file=sys.stderr, flush=True)
    done = subprocess.run(command(name, given, result), stdout=subprocess.DEVNULL, check=False)
    found = (
        json.loads(result.read_text(encoding="utf-8")) if result.exists() else {"figures": [], "details": {}}
    )
    return found, done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repo", type=Path, help="git history to take texts from, instead of made-up ones")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default=",".join(BENCHES), help="names of benches, separated by commas")
    parser.add_argument("--venv", type=Path, help="environment that footprint measures, instead of a new one")
    parser.add_argument("--json", type=Path, default=Path("benches-result.json"), metavar="FILE")
    given = parser.parse_args()
    if BUILD_PROFILE != "release":
        parser.error(f"the extension is a {BUILD_PROFILE} build; measure a release build")
    chosen = given.only.split(",")
    if unknown := [name for name in chosen if name not in BENCHES]:
        parser.error(f"--only: no bench {unknown[0]!r}; known: {', '.join(BENCHES)}")
    found, failed = {}, []
    with tempfile.TemporaryDirectory(prefix="retain-benches-") as place:
        for name in chosen:
            found[name], well = run(name, given, Path(place))
            if not well:
                failed.append(name)
    figures = {name: [Figure(**figure) for figure in part["figures"]] for name, part in found.items()}
    print(table([figure for part in figures.values() for figure in part]))
    targets, beside = judged(figures), peers()
    print(f"\n{table_of_targets(targets)}")
    if absent := [name for name, version in beside.items() if version is None]:
        print(f"\npeers that are not installed: {', '.join(absent)} (pip install -r benches/peers.txt)")
    machine = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
    }
    text = json.dumps(
        {
            "machine": machine, "texts": str(given.repo or "made up"), "peers": beside, "failed": failed,
            "targets": [asdict(target) for target in targets], "benches": found,
        },
        indent=2,
    )  # fmt: skip
    given.json.write_text(text + "\n", encoding="utf-8")
    print(f"\nwritten to {given.json}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
