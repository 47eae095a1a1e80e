"""The identity of a repository: the same after a rename, in a linked worktree, in a clone, in a container.

It is made of the root commit and the normalised address of the remote ``origin``; a folder that is no
repository, or a repository without either, is identified by its place. The root commit is asked of the
git executable once for each place (the store keeps the answer as an alias); a shallow clone has none.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from retain.git import head
from retain.git.executable import asked

GIT_TIMEOUT_S = 5.0
CONFIG_BYTES_MAX = 1 << 20
REMOTE_HOPS_MAX = 3
"""How far a remote that is itself a local clone is followed to its own remote."""

_SECTION = re.compile(r'^\s*\[\s*([\w.-]+)(?:\s+"([^"]*)")?\s*\]')
_URL = re.compile(r"^\s*url\s*=\s*(\S.*?)\s*$")
_WITH_SCHEME = re.compile(
    r"^[a-z][a-z0-9+.-]*://(?:[^/]*@)?(\[[^\]/]*\]|[^/:]+)(?::\d+)?/+(.*)$", re.IGNORECASE
)
_SCP_LIKE = re.compile(r"^(?:[^@/:]+@)?([^/:]+):(?!//)(.*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder as the store knows it.

    Attributes:
        root: top of the working tree, or the folder itself outside a repository.
        common_dir: the git directory that worktrees share; None outside a repository.
        alias: what stands for this place in the store; changes when another repository takes the place.
    """

    root: str
    common_dir: str | None
    alias: str


def locate(folder: str) -> Place:
    """The place around a folder, which need not exist."""
    try:
        real = os.path.realpath(folder)
    except ValueError:  # a NUL or a lone surrogate: no file system has such a folder
        name = folder.encode("utf-8", "replace").decode().replace("\0", "?")
        return Place(root=name, common_dir=None, alias=name)
    found = head.find_git_dir(real)
    if found is None:
        return Place(root=real, common_dir=None, alias=real)
    root, git_dir = found
    shared = os.path.realpath(head.common_dir(git_dir))
    try:
        inode = Path(shared).stat().st_ino
    except OSError:
        return Place(root=root, common_dir=None, alias=root)
    return Place(root=root, common_dir=shared, alias=f"{root}#{inode}")


def identity(place: Place) -> tuple[str, str]:
    """Identity and short name of a place; asks git for the root commit, which may take seconds at first."""
    name = os.path.basename(place.root) or place.root  # noqa: PTH119 - it is text, not a file
    if place.common_dir is None:
        return f"path:{place.root}", name
    remote = remote_address(place.common_dir)
    root = root_commit(place)
    if remote:
        name = remote.rsplit("/", 1)[-1]
    if not root and not remote:
        return f"path:{place.common_dir}", name
    return f"git:{root}:{remote}", name


def root_commit(place: Place) -> str:
    """The first commit of HEAD's history; empty without commits, in a shallow clone, or without git."""
    if place.common_dir is None or Path(place.common_dir, "shallow").exists():
        return ""
    roots = asked(place.root, "rev-list", "--max-parents=0", "HEAD", timeout_s=GIT_TIMEOUT_S) or ""
    return min(filter(head.is_commit, roots.split()), default="")


def remote_address(common_dir: str, hops: int = REMOTE_HOPS_MAX) -> str:
    """``host/path`` of the remote origin, without scheme, user, port and ``.git``; empty where there is none.

    A remote that is a local repository is followed to its own remote.
    """
    url = _origin_url(common_dir)
    if match := _WITH_SCHEME.match(url):
        return _address(match[1], match[2])
    if match := _SCP_LIKE.match(url):
        return _address(match[1], match[2])
    if url and hops:
        top = Path(common_dir).parent if common_dir.endswith("/.git") else Path(common_dir)
        target = top / url.removeprefix("file://")
        for candidate in (target / ".git", target):
            if (candidate / "config").is_file():
                return remote_address(str(candidate), hops - 1)
    return ""


def _address(host: str, path: str) -> str:
    return f"{host.lower()}/{path.strip('/').removesuffix('.git')}"


def _origin_url(common_dir: str) -> str:
    try:
        with Path(common_dir, "config").open(encoding="utf-8", errors="replace") as file:
            text = file.read(CONFIG_BYTES_MAX)
    except OSError:
        return ""
    section = None
    for line in text.splitlines():
        if match := _SECTION.match(line):
            section = (match[1].lower(), match[2])
        elif section == ("remote", "origin") and (match := _URL.match(line)):
            return match[1].strip('"')
    return ""
