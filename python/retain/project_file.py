"""``.retain.toml`` at the top of a project: what its authors do not want captured.

A repository is not trusted: its file can only take away. It is asked beside the user's own rules, and an event
must pass both; it cannot switch capture on, and nothing in it widens a list of the user.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from retain.errors import InvalidInput
from retain.rules import Rules, check_patterns

PROJECT_FILE = ".retain.toml"
PROJECT_FILE_BYTES_MAX = 64 * 1024
LISTS = ("tools_allow", "tools_deny", "paths_allow", "paths_deny")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectFile:
    """What the file of a project asks for.

    Attributes:
        path: of the file, whether or not there is one.
        captured: False where it switches capture off, or where it cannot be understood: what it forbids is
            not known then, so nothing is kept.
        given: its values by name, as far as they were understood.
        problem: why it cannot be understood; empty where it can.
    """

    path: str
    captured: bool = True
    rules: Rules = field(default_factory=Rules)
    given: Mapping[str, Any]
    problem: str = ""


def read_project_file(root: str) -> ProjectFile:
    """The file of a project; one that asks for nothing where there is none. Never raises."""
    path = os.path.join(root, PROJECT_FILE)  # noqa: PTH118 - it is text
    try:
        data = _bytes_of(path)
    except FileNotFoundError:
        return ProjectFile(path=path, given={})
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else str(error)
        return ProjectFile(path=path, given={}, captured=False, problem=f"cannot be read: {problem}")
    try:
        given = tomllib.loads(data.decode("utf-8"))
        captured, rules = _checked(given)
    except InvalidInput as error:
        return ProjectFile(path=path, given={}, captured=False, problem=str(error))
    except (ValueError, RecursionError):
        return ProjectFile(path=path, given={}, captured=False, problem="is not TOML in UTF-8")
    return ProjectFile(path=path, given=given, captured=captured, rules=rules)


def _bytes_of(path: str) -> bytes:
    """A link or a pipe that a repository brings is not followed."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError("not a regular file")
        data = file.read(PROJECT_FILE_BYTES_MAX + 1)
    if len(data) > PROJECT_FILE_BYTES_MAX:
        raise ValueError(f"larger than {PROJECT_FILE_BYTES_MAX:,} bytes")
    return data


def _checked(given: Mapping[str, Any]) -> tuple[bool, Rules]:
    for name in given:
        if name != "capture" and name not in LISTS:
            raise InvalidInput(name[:64], f"unknown setting; known: capture, {', '.join(LISTS)}")
    captured = given.get("capture", True)
    if not isinstance(captured, bool):
        raise InvalidInput("capture", "must be true or false")
    lists = {name: check_patterns(name, given[name]) for name in LISTS if name in given}
    return captured, Rules(**lists)
