"""What the reflogs tell: where branches began, where they ended, which commits were made on them, what replaced what.

A branch that was deleted takes its own log with it; the logs of the heads (one a working tree) keep what was done
while it was checked out.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

LOG_BYTES_MAX = 256 * 1024
"""Of each log the end is read, up to this size."""
LOGS_MAX = 512

_LINE = re.compile(rb"([0-9a-f]{40,64}) ([0-9a-f]{40,64}) [^\n\t]*?> (\d+) [+-]\d+(?:\t([^\n]*))?")
_MOVED = re.compile(r"checkout: moving from (\S+) to (\S+)")
_RENAMED = re.compile(r"Branch: renamed refs/heads/(\S+) to refs/heads/(\S+)", re.IGNORECASE)
_CREATED = re.compile(r"branch: Created from (\S+)")
_MADE = re.compile(
    r"(?:commit|cherry-pick|revert|am|rebase)\b[^(:]*(?:\((?:initial|amend|merge|cherry-pick)\))?:|(?:merge|pull)\b[^(]*?:"
    r"|(?:pull|rebase)\b[^(:]*\((?:pick|reword|edit|squash|fixup|continue)\)"
)
_REMOTE = re.compile(r"(?:refs/heads/|(?:refs/remotes/)?origin/)")
_NONE = re.compile("0+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """When a branch was made (seconds since the epoch), at which commit, and from which branch, where known."""

    at: int
    commit: str
    parent: str


@dataclass(slots=True)
class Journal:
    """What was read; commits are hex, branches go by their short names."""

    births: dict[str, Birth] = field(default_factory=dict)
    tips: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    made: dict[str, set[str]] = field(default_factory=dict)
    amended: dict[str, str] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)

    def last_tip(self, branch: str, before: int | None = None) -> str:
        """The newest commit that the branch is known to have pointed to, before a moment; empty where unknown."""
        latest, found = -1, ""
        for at, commit in self.tips.get(branch, ()):
            if at >= latest and (before is None or at <= before):
                latest, found = at, commit
        return found

    def name_now(self, branch: str) -> str:
        """What a branch is called after it was renamed."""
        seen = {branch}
        while (later := self.renamed.get(branch)) and later not in seen:
            seen.add(later)
            branch = later
        return branch


@dataclass(frozen=True, slots=True)
class _Entry:
    old: str
    new: str
    at: int
    message: str


Kept = dict[str, tuple[tuple[int, int], list[_Entry]]]
"""Logs that were read, by path: their time and size, and what they hold."""


def read_journal(common_dir: str, kept: Kept | None = None) -> Journal:
    """The journal of a repository, empty where it keeps no logs; those that are as in ``kept`` are not read again."""
    kept = {} if kept is None else kept
    journal = Journal()
    heads = [f"{common_dir}/logs/HEAD", *sorted(map(str, Path(common_dir).glob("worktrees/*/logs/HEAD")))]
    moves: dict[tuple[str, int], str] = {}
    for path in heads[:LOGS_MAX]:
        _read_head(journal, _entries(path, kept), moves)
    top = f"{common_dir}/logs/refs/heads"
    count = 0
    for folder, _, files in os.walk(top):
        for file in files:
            count += 1
            if count > LOGS_MAX:
                return journal
            path = f"{folder}/{file}"
            _read_branch(journal, path[len(top) + 1 :], _entries(path, kept), moves)
    return journal


def _read_head(journal: Journal, entries: list[_Entry], moves: dict[tuple[str, int], str]) -> None:
    """Follows the head from branch to branch; before the first move, the branch is the one it moves from."""
    current = next((m[1] for entry in entries if (m := _MOVED.match(entry.message))), "")
    for entry in entries:
        if moved := _MOVED.match(entry.message):
            _tip(journal, moved[1], entry.at, entry.old)
            current = moved[2]
            moves.setdefault((current, entry.at), moved[1])
            _tip(journal, current, entry.at, entry.new)
        elif renamed := _RENAMED.match(entry.message):
            journal.renamed[renamed[1]] = renamed[2]
            current = renamed[2] if current == renamed[1] else current
        else:
            _note(journal, current, entry)


def _read_branch(
    journal: Journal, branch: str, entries: list[_Entry], moves: dict[tuple[str, int], str]
) -> None:
    for number, entry in enumerate(entries):
        created = _CREATED.match(entry.message)
        if number == 0 and created and _NONE.fullmatch(entry.old):
            source = _REMOTE.sub("", created[1])
            parent = moves.get((branch, entry.at), "") if source == "HEAD" else source
            journal.births[branch] = Birth(at=entry.at, commit=entry.new, parent=parent)
        if renamed := _RENAMED.match(entry.message):
            journal.renamed[renamed[1]] = renamed[2]
        _note(journal, branch, entry)


def _note(journal: Journal, branch: str, entry: _Entry) -> None:
    if not branch:
        return
    _tip(journal, branch, entry.at, entry.new)
    action = entry.message.split(":", 1)[0]
    if _MADE.match(entry.message) and "fast-forward" not in entry.message.lower():
        journal.made.setdefault(branch, set()).add(entry.new)
    if action == "commit (amend)" and entry.old != entry.new:
        journal.amended[entry.old] = entry.new


def _tip(journal: Journal, branch: str, at: int, commit: str) -> None:
    if not _NONE.fullmatch(commit):
        journal.tips.setdefault(branch, []).append((at, commit))


def _entries(path: str, kept: Kept) -> list[_Entry]:
    try:
        facts = os.stat(path)  # noqa: PTH116 - many small files
        known = kept.get(path)
        if known is not None and known[0] == (facts.st_mtime_ns, facts.st_size):
            return known[1]
        with open(path, "rb") as file:  # noqa: PTH123 - the same
            file.seek(max(0, facts.st_size - LOG_BYTES_MAX))
            data = file.read(LOG_BYTES_MAX)
    except OSError:
        return []
    found: list[_Entry] = []
    for line in data.split(b"\n")[bool(facts.st_size > LOG_BYTES_MAX) :]:
        if match := _LINE.match(line):
            old, new, at, message = match.groups()
            text = (message or b"").decode("utf-8", "replace")
            found.append(_Entry(old.decode(), new.decode(), int(at), text))
    kept[path] = ((facts.st_mtime_ns, facts.st_size), found)
    return found
