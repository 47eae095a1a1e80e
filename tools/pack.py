"""Packs what other hosts install: the Claude Desktop bundle, and the entry of the MCP registry.

    python tools/pack.py mcpb [DIRECTORY]       a .mcpb (a zip with manifest.json at its top), default dist/
    python tools/pack.py registry OWNER         server.json under the account that publishes it, on stdout

The bundle has the same bytes whenever it is packed from the same files.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from pathlib import Path

PACKAGING = Path(__file__).resolve().parents[1] / "packaging"
BUNDLED = ("manifest.json", "pyproject.toml", "server.py")
LONG_AGO = (1980, 1, 1, 0, 0, 0)
OWNER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,37}[A-Za-z0-9])?")


def bundle(directory: Path) -> Path:
    """Writes the bundle; gives its path."""
    source = PACKAGING / "mcpb"
    manifest = json.loads((source / "manifest.json").read_bytes())
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{manifest['name']}-{manifest['version']}.mcpb"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in BUNDLED:
            entry = zipfile.ZipInfo(name, LONG_AGO)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, (source / name).read_bytes(), zipfile.ZIP_DEFLATED)
    return path


def registry_entry(owner: str) -> str:
    """The registry's server.json with the account that owns the name."""
    if not OWNER.fullmatch(owner):
        raise SystemExit(f"OWNER must be an account name, not {owner[:64]!r}")
    text = (PACKAGING / "registry" / "server.json").read_text(encoding="utf-8")
    return text.replace("io.github.OWNER/", f"io.github.{owner}/")


def main(arguments: list[str]) -> None:
    match arguments:
        case ["mcpb"]:
            print(bundle(Path("dist")))
        case ["mcpb", directory]:
            print(bundle(Path(directory)))
        case ["registry", owner]:
            print(registry_entry(owner), end="")
            print(f"The published README needs: <!-- mcp-name: io.github.{owner}/retain -->", file=sys.stderr)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
