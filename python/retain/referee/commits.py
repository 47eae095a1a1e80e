"""Which commits of a history become records, and what a record says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from retain.referee.history import Commit, FileChange
from retain.referee.wording import content_words, without_references

FILES_MAX = 30
"""A commit that changes more files is a sweep over the repository, not a fact about it."""

SUBJECT_CHARS_MAX = 160
PATHS_TOLD_MAX = 30
SYMBOLS_TOLD_MAX = 40

_BOT = re.compile(
    r"\[bot\]|\b(?:dependabot|renovate|pre-commit-ci|pyup|greenkeeper|github-actions|allcontributors)\b|\bbot\b",
    re.IGNORECASE,
)
_NOISE = re.compile(
    r"^(?:merge\b|revert\b|auto-?merge|squashed|wip\b|initial commit|forgot\b"
    # versions and dependencies
    r"|(?:chore|build|fix|deps?|ci)\((?:deps|deps-dev|ci|release)\)|(?:deps|ci|style|release|lint|typo)\s*:"
    r"|(?:bump|upgrade|update|pin|unpin|require)\b.*(?:\d+\.\d|\b(?:versions?|deps?|dependenc(?:y|ies)|requirements|lock"
    r"|lockfile|pre-commit|submodule|typeshed|copyright|contributors|authors)\b)|bump\b"
    r"|(?:bump|version|release|releasing|tag|tagging|prepare|preparing|cut)\b.*\d+\.\d+"
    r"|(?:bump|release|version bump|new release|pre-?release|post-?release)s?\W*$|v?\d+\.\d+[\w.]*\W*$"
    r"|back to dev|start(?:ing)? (?:work on |development )?v?\d|sync typeshed|update (?:authors|contributors|changelog)"
    r"|(?:update|add|fix|more|tweak)?\s*(?:the )?(?:changelog|changes|release notes?|news|readme)\W*$"
    # continuous integration
    r"|(?:\[?ci\]?|travis|appveyor|github actions?|gha|codecov|coveralls|circleci|azure|tox)\b"
    # style
    r"|(?:run|apply|use|ran)\s+(?:black|isort|rustfmt|cargo fmt|clippy|ruff|autopep8|pyupgrade|prettier|pre-?commit)\b"
    r"|(?:re)?format(?:ting)?(?: (?:code|files?|with black|everything))?\W*$|\S*\s*(?:whitespace|pep-?8|flake8|pyflakes"
    r"|lint(?:s|ing|er)?"
    r"|rustfmt|clippy|isort|code style|coding style|style|cosmetics?|spelling|wording|grammar|formatting)\W*$)"
    r"|\btypos?\b|\bmisspell",
    re.IGNORECASE,
)
_DANGLING = re.compile(r"[\s,;:(\[-]*(?:\b(?:closes|refs?|fixes|fix|see|issue|and)[\s,;:]*)+$", re.IGNORECASE)
_SHARED_BY_ALL = re.compile(
    r"(?:^|/)(?:change(?:s|log|_log)|history|news|release[-_]?notes?|authors|contributors|thanks|whatsnew|version)"
    r"[^/]*$|(?:^|/)(?:changelog|changes|newsfragments|news|unreleased[^/]*|release-notes)/"
    r"|(?:^|/)\.(?:github|circleci|gitlab|travis|azure)[^/]*(?:/|$)|(?:^|/)(?:\.?travis|\.?appveyor|azure-pipelines|tox)\.\w+$"
    r"|\.lock$|(?:^|/)(?:package-lock\.json|requirements[^/]*\.txt|\.pre-commit-config\.yaml|\.gitignore|_?version\.py)$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A commit that became a record; ``ord`` is its place in time among those."""

    id: str
    ord: int
    time_s: int
    subject: str
    body: str
    files: tuple[FileChange, ...]

    def text(self, *, body: bool = True) -> str:
        """The record's text: subject, body, files with their changed lines, symbols."""
        return record_text([self.subject, self.body if body else ""], self.files)

    def date(self) -> dict[str, str]:
        """When it was committed, as the corpus carries it."""
        moment = datetime.fromtimestamp(self.time_s, UTC)
        return {"date": moment.date().isoformat(), "time": moment.isoformat()}

    def specific_files(self) -> tuple[FileChange, ...]:
        """Its files without those that every other commit touches by habit."""
        return tuple(change for change in self.files if not _SHARED_BY_ALL.search(change.path))


def keep(history: Iterable[Commit]) -> list[Kept]:
    """The commits that say something: no bumps, bots, style, CI, reverts, sweeps, repeated subjects."""
    kept: list[Kept] = []
    seen: set[str] = set()
    for commit in history:
        subject, body = subject_and_body(commit.message)
        if not subject or subject.lower() in seen or not 0 < len(commit.files) <= FILES_MAX:
            continue
        if _BOT.search(commit.author) or _NOISE.search(subject) or len(content_words(subject)) < 2:
            continue
        seen.add(subject.lower())
        kept.append(
            Kept(
                id=commit.sha[:12], ord=len(kept), time_s=commit.time_s, subject=subject,
                body=body, files=commit.files,
            )
        )  # fmt: skip
    return kept


def subject_and_body(message: str) -> tuple[str, str]:
    """The first paragraph on one line, as git has it, where it is short; else the first line; then the rest."""
    paragraph, _, rest = message.strip().partition("\n\n")
    subject = " ".join(without_references(paragraph).split())
    if len(subject) > SUBJECT_CHARS_MAX:
        first, _, rest = message.strip().partition("\n")
        subject = " ".join(without_references(first).split())
    return _DANGLING.sub("", subject), without_references(rest.replace("\0", ""))


def record_text(paragraphs: Iterable[str], files: Iterable[FileChange]) -> str:
    """Text with the lines ``Files:`` and ``Touches:`` that every record of a commit ends with."""
    changed = sorted(files, key=lambda change: -(change.added + change.removed))
    told = ", ".join(f"{c.path} (+{c.added} -{c.removed})" for c in changed[:PATHS_TOLD_MAX])
    symbols = list(dict.fromkeys(symbol for change in changed for symbol in change.symbols))
    lines = [part for part in paragraphs if part]
    lines += [f"Files: {told}"] if told else []
    lines += [f"Touches: {', '.join(symbols[:SYMBOLS_TOLD_MAX])}"] if symbols else []
    return "\n".join(lines)
