"""The build backend: maturin, and before it the native hook client, which a wheel carries as a script.

Maturin builds the extension alone; what lies in its data folder goes into the wheel as it is. So the hook client
is built here and laid there, for a wheel and for an editable install. A source distribution of maturin holds the
crates that the extension needs; the client's is added. ``maturin build`` by itself does not run this, and ships
what the folder holds.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import maturin
from maturin import (  # the rest of the protocol is maturin's own
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

ROOT = Path(__file__).resolve().parents[1]
CRATE = ROOT / "rust" / "hook"
NAME = "retain-hook"
BUILD = (
    "cargo",
    "build",
    "--package",
    NAME,
    "--profile",
    "hook",
    "--locked",
    "--message-format",
    "json-render-diagnostics",
)


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: Any = None) -> str:
    """Builds a wheel with the hook client in it; returns its name."""
    lay_hook_client()
    return maturin.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(wheel_directory: str, config_settings: Any = None, metadata_directory: Any = None) -> str:
    """Builds an editable wheel with the hook client in it; returns its name."""
    lay_hook_client()
    return maturin.build_editable(wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory: str, config_settings: Any = None) -> str:
    """Builds a source distribution with the crate of the hook client in it; returns its name."""
    name: str = maturin.build_sdist(sdist_directory, config_settings)
    path = Path(sdist_directory, name)
    whole = path.with_suffix(".part")
    top = name.removesuffix(".tar.gz")
    manifest = f"{top}/Cargo.toml"  # maturin writes one that names only the crates it took
    with tarfile.open(path) as made, tarfile.open(whole, "w:gz") as added:
        for member in made:
            if member.name != manifest:
                added.addfile(member, made.extractfile(member))
        for source in (ROOT / "Cargo.toml", CRATE / "Cargo.toml", *sorted(CRATE.glob("src/*.rs"))):
            added.add(source, f"{top}/{source.relative_to(ROOT).as_posix()}", filter=_of_nobody)
    whole.replace(path)
    return name


def _of_nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def lay_hook_client() -> Path:
    """Builds the hook client and lays it beside the launcher; says where.

    Raises:
        subprocess.CalledProcessError: it does not compile; cargo has told why.
    """
    lines = subprocess.run(BUILD, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    made = next(filter(None, (json.loads(line).get("executable") for line in reversed(lines))))
    target = ROOT / "packaging" / "wheel-data" / "scripts" / NAME
    part = target.with_suffix(".part")  # a copy in place would fail where the old one runs
    shutil.copy2(made, part)
    part.replace(target)
    return target


if __name__ == "__main__":
    print(lay_hook_client())
