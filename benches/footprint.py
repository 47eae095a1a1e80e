"""What an installation weighs: size and number of packages in a fresh environment, and the tokens of tools/list.

    python benches/footprint.py [--venv DIR] [--json FILE]

Without --venv, an environment is made in a temporary folder and the checkout is installed there with pip (the
extension is compiled, and the dependencies come from the configured index). With --venv the environment in DIR is
measured; it is made first where it is missing. Tokens are counted as retain counts them, never too few.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from measuring import Figure, arguments, at_most, clean_environment, publish
from measuring import right as right_answers
from retain.referee.stdio_client import ERAS, Server
from retain.retrieval.context import count_tokens

CHECKOUT = Path(__file__).resolve().parent.parent
TOOLS = frozenset("remember recall get timeline revise forget context status".split())
TOKENS_MAX = 2_000

# The peers' figures were measured once by this project; no part of this run.
PEER_SIZES = "peers: server-memory 29, memory-keeper 63, memory-service-lite 215, claude-mem 612"
PEER_PACKAGES = "peers: memory-service-lite 73, server-memory 99, memory-keeper 140, memorix 253"
PEER_TOKENS = "peers: claude-mem 2,300, server-memory 2,900, memory-service 11,000"

INVENTORY = """
import importlib.metadata as m, json, os, sysconfig
from pathlib import Path
site = Path(sysconfig.get_path("purelib"))
found = {}
for d in m.distributions(path=[str(site)]):
    files = {Path(d.locate_file(f)).resolve() for f in d.files or ()}
    found[d.metadata["Name"]] = sum(f.stat().st_size for f in files if f.is_file())
total = sum(p.lstat().st_size for p in site.rglob("*") if not p.is_dir())
print(json.dumps({"packages": found, "total": total, "version": m.version("retain")}))
"""
INSTALLER = frozenset({"pip", "setuptools", "wheel"})


def make(venv: Path) -> None:
    """A new environment with this checkout in it."""
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    subprocess.run(
        [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", str(CHECKOUT)],
        check=True, env=clean_environment(PIP_DISABLE_PIP_VERSION_CHECK="1"),
    )  # fmt: skip


def inventory(venv: Path) -> dict[str, Any]:
    """Each package with its bytes, and the bytes of all of site-packages."""
    out = subprocess.run(
        [str(venv / "bin" / "python"), "-I", "-c", INVENTORY], check=True, capture_output=True, text=True
    )
    return json.loads(out.stdout)


def listing(venv: Path, era: str) -> list[Mapping[str, Any]]:
    """The tools as the installed server lists them."""
    with tempfile.TemporaryDirectory(prefix="retain-tools-") as place:
        environment = clean_environment(RETAIN_HOME=f"{place}/home")
        with Server([str(venv / "bin" / "retain"), "serve"], Path(place), environment, era) as server:
            server.greet()
            return server.request("tools/list")["tools"]


def measure(venv: Path) -> tuple[list[Figure], dict[str, Any]]:
    """The figures of an environment."""
    found = inventory(venv)
    packages = {name: size / 1e6 for name, size in found["packages"].items() if name not in INSTALLER}
    installer_mb = sum(size for name, size in found["packages"].items() if name in INSTALLER) / 1e6
    total_mb = found["total"] / 1e6 - installer_mb
    figures = [
        Figure(what="install: site-packages without pip", ours=total_mb, unit="MB", beside=PEER_SIZES),
        Figure(what="install: packages", ours=len(packages), unit="", beside=PEER_PACKAGES),
        Figure(what="install: retain itself", ours=packages["retain"], unit="MB",
               beside=f"of {total_mb:.0f} MB, {packages['retain'] / total_mb:.1%}"),
    ]  # fmt: skip
    listed = {era: listing(venv, era) for era in ERAS}
    names = {tool["name"] for tools in listed.values() for tool in tools}
    for era, tools in listed.items():
        text = json.dumps(tools, separators=(",", ":"), ensure_ascii=False)
        figures.append(
            at_most(f"tools/list, {era}", count_tokens(text), "tokens", TOKENS_MAX, beside=PEER_TOKENS)
        )
    figures.append(right_answers("install: tools listed", len(names & TOOLS), len(TOOLS)))
    largest = dict(sorted(packages.items(), key=lambda item: -item[1])[:10])
    return figures, {"version": found["version"], "largest_mb": largest}


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--venv", type=Path)
    given = parser.parse_args()
    if given.venv is not None:
        if not (given.venv / "bin" / "retain").exists():
            make(given.venv)
        figures, details = measure(given.venv)
        return publish(figures, details, given.json)
    with tempfile.TemporaryDirectory(prefix="retain-footprint-") as place:
        make(Path(place, "venv"))
        figures, details = measure(Path(place, "venv"))
    return publish(figures, details, given.json)


if __name__ == "__main__":
    sys.exit(main())
