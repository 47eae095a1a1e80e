"""Packs what other hosts install: the Claude Desktop bundle, and the entry of the MCP registry.

    python tools/pack.py mcpb WHEEL [DIRECTORY]     a .mcpb (a zip with manifest.json at its top), default dist/
    python tools/pack.py registry OWNER PACKAGE     server.json, on stdout: the account that publishes it, and the
                                                    name that the package was published by

The bundle holds the wheel and is for its platform. It has the same bytes whenever it is packed from the same files.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from pathlib import Path

PACKAGING = Path(__file__).resolve().parents[1] / "packaging"
LONG_AGO = (1980, 1, 1, 0, 0, 0)
WHEEL = re.compile(r"retain-(?P<version>[^-]+)-[^-]+-[^-]+-(?P<platform>[^-]+)\.whl")
PUBLISHED = re.compile(r"[a-z0-9]+(?:[-_.][a-z0-9]+)*")
OWNER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,37}[A-Za-z0-9])?")


def bundle(wheel: Path, directory: Path) -> Path:
    """Writes the bundle; gives its path."""
    found = WHEEL.fullmatch(wheel.name)
    if found is None:
        raise SystemExit(f"{wheel} is no wheel of retain")
    source = PACKAGING / "mcpb"
    manifest = json.loads((source / "manifest.json").read_bytes())
    if found["version"] != manifest["version"]:
        raise SystemExit(f"{wheel} is of another version than {manifest['version']}")
    platform = found["platform"]
    if platform != "any":
        manifest["compatibility"]["platforms"] = ["darwin" if platform.startswith("macosx") else "linux"]
    project = (source / "pyproject.toml").read_text(encoding="utf-8").replace('"WHEEL"', f'"{wheel.name}"')
    held = {
        "manifest.json": json.dumps(manifest, indent=2, ensure_ascii=False).encode() + b"\n",
        "pyproject.toml": project.encode(),
        "server.py": (source / "server.py").read_bytes(),
        wheel.name: wheel.read_bytes(),
    }
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{manifest['name']}-{manifest['version']}.mcpb"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in held.items():
            entry = zipfile.ZipInfo(name, LONG_AGO)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return path


def registry_entry(owner: str, package: str) -> str:
    """The registry's server.json with the account that owns the name, and the package's published name."""
    if not OWNER.fullmatch(owner):
        raise SystemExit(f"OWNER must be an account name, not {owner[:64]!r}")
    if not PUBLISHED.fullmatch(package):
        raise SystemExit(f"PACKAGE must be the name of a package, not {package[:64]!r}")
    text = (PACKAGING / "registry" / "server.json").read_text(encoding="utf-8")
    return text.replace("io.github.OWNER/", f"io.github.{owner}/").replace('"PACKAGE"', f'"{package}"')


def main(arguments: list[str]) -> None:
    match arguments:
        case ["mcpb", wheel]:
            print(bundle(Path(wheel), Path("dist")))
        case ["mcpb", wheel, directory]:
            print(bundle(Path(wheel), Path(directory)))
        case ["registry", owner, package]:
            print(registry_entry(owner, package), end="")
            print(f"The published README needs: <!-- mcp-name: io.github.{owner}/retain -->", file=sys.stderr)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
