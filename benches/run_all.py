"""Every bench, one after the other, and one table: what, ours, beside a floor or a peer, target.

    python benches/run_all.py --repo PATH [--quick] [--only NAME,...] [--venv DIR] [--json benches-result.json]

--repo names a git history with 10,000 commits or more (bare or not). --quick takes fewer rounds and smaller
stores. Each bench is a process of its own and can be run alone, see its docstring. The exit code is 1 where a
bench failed or an answer was wrong; a missed target of speed is told, and left to a person to judge.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from measuring import Figure, table
from retain._core import BUILD_PROFILE

HERE = Path(__file__).resolve().parent
BENCHES: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "hook_time": ((), ("--rounds", "30")),
    "start_time": ((), ("--rounds", "4", "--memories", "1000")),
    "stdio_latency": ((), ("--sizes", "1000", "--queries", "40", "--remembers", "100")),
    "known_items": ((), ("--memories", "1000", "--queries", "40")),
    "writers": ((), ()),
    "parts": ((), ("--rounds", "3")),
    "l1_cache": ((), ("--quick",)),
    "queue_and_batches": ((), ("--items", "200000", "--large", "1000000")),
    "pool": ((), ()),
    "pressure": ((), ("--crossings", "40", "--idle-s", "3")),
    "planner": ((), ("--memories", "10000", "--queries", "100")),
    "vectors": ((), ("--sizes", "10000,100000", "--queries", "20")),
    "footprint": ((), ()),
}
"""Arguments of a whole run and of a quick one, by bench."""

NEEDS_HISTORY = frozenset({"stdio_latency", "known_items", "planner"})


def command(name: str, given: argparse.Namespace, result: Path) -> list[str]:
    """How a bench is started."""
    argv = [sys.executable, str(HERE / f"{name}.py"), "--json", str(result), *BENCHES[name][given.quick]]
    if name in NEEDS_HISTORY:
        argv += ["--repo", str(given.repo)]
    if name == "footprint" and given.venv is not None:
        argv += ["--venv", str(given.venv)]
    return argv


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
    parser.add_argument("--repo", type=Path, required=True)
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
    print(table([Figure(**figure) for part in found.values() for figure in part["figures"]]))
    machine = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
    }
    text = json.dumps({"machine": machine, "failed": failed, "benches": found}, indent=2)
    given.json.write_text(text + "\n", encoding="utf-8")
    print(f"\nwritten to {given.json}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
