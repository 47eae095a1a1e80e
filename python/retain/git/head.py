"""Reads branch and commit of a working tree from the files of git, without git and without imports that cost.

A hook calls this at the moment of the event: later, the branch may be another one.
"""

import posix

SMALL = 4096
"""Bytes read of HEAD, of a gitfile or of a loose ref; none of them is ever longer."""

PACKED_BYTES_MAX = 1 << 20
"""Packed refs are searched up to this size; beyond it the commit is left unknown."""

REFTABLE_MARK = "refs/heads/.invalid"
"""What HEAD holds where the refs lie in a reftable, which is not read here."""


def find_git_dir(cwd: str) -> "tuple[str, str] | None":
    """The working tree around a folder and its git directory, or None outside a repository."""
    if not cwd.startswith("/"):
        return None
    folder = cwd.rstrip("/") or "/"
    while True:
        dot_git = folder.rstrip("/") + "/.git"
        try:
            mode = posix.stat(dot_git).st_mode
        except OSError:
            mode = 0
        if mode & 0o170000 == 0o040000:
            return folder, dot_git
        if mode & 0o170000 == 0o100000:
            target = _read(dot_git, SMALL).strip()
            if target.startswith("gitdir:"):
                return folder, _join(folder, target[len("gitdir:") :].strip())
        parent = folder.rpartition("/")[0] or "/"
        if parent == folder:
            return None
        folder = parent


def common_dir(git_dir: str) -> str:
    """The git directory that linked worktrees share: objects, packed refs and configuration live there."""
    named = _read(git_dir + "/commondir", SMALL).strip()
    return _join(git_dir, named) if named else git_dir


def read(cwd: str) -> tuple[str, str]:
    """Branch and commit checked out around a folder; empty where unknown, branch empty when detached."""
    found = find_git_dir(cwd)
    return read_at(found[1], common_dir(found[1])) if found else ("", "")


def read_at(git_dir: str, shared: str) -> tuple[str, str]:
    """The same of a git directory and the one it shares with other worktrees."""
    text = _read(git_dir + "/HEAD", SMALL).strip()
    if not text.startswith("ref:"):
        return "", text if is_commit(text) else ""
    ref = text[4:].strip()
    if ref == REFTABLE_MARK or "\0" in ref:
        return "", ""
    branch = ref.removeprefix("refs/heads/")
    commit = _read(f"{shared}/{ref}", SMALL).strip()
    if not is_commit(commit):
        commit = _packed(shared + "/packed-refs", ref)
    return branch, commit


def _packed(path: str, ref: str) -> str:
    text = _read(path, PACKED_BYTES_MAX)
    for line in text[: text.rfind("\n") + 1].split("\n"):  # without a last line that may have been cut
        if line.endswith(" " + ref) and is_commit(line.split(" ", 1)[0]):
            return line.split(" ", 1)[0]
    return ""


def is_commit(text: str) -> bool:
    """Whether a text is a full hash, SHA-1 or SHA-256."""
    return len(text) in {40, 64} and all(c in "0123456789abcdef" for c in text)


def _join(base: str, path: str) -> str:
    return path if path.startswith("/") else base + "/" + path


def _read(path: str, limit: int) -> str:
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except (OSError, ValueError):  # ValueError: the name that a file of git gave holds a NUL
        return ""
    try:
        return posix.read(fd, limit).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        posix.close(fd)
