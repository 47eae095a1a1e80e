"""The git executable: asked with fixed words, without a shell, and not for longer than the caller can wait."""

from __future__ import annotations

import subprocess

from retain.config import git_environment


def asked(root: str, *words: str, timeout_s: float) -> str | None:
    """What git prints; None where it fails, is not there, or does not answer in time.

    Args:
        root: top of a working tree.
        words: the command and its arguments.
        timeout_s: when it is given up.
    """
    try:
        answer = subprocess.run(
            ["git", "-C", root, *words],
            env=git_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=True,
            encoding="utf-8",
            errors="replace",
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout
