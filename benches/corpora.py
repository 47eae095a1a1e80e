"""Text for the benches: commit messages of a git history, read with the git executable, or made-up ones.

``--repo PATH`` names the repository (bare or not); any history with enough commits will do. The figures in
README and docs name the one that was used. Without it the text is made up from a seed: times and costs can be
compared, how well real questions are answered cannot.
"""

from __future__ import annotations

import random
import re
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from suite.texts import notes

WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]+")
IDENTIFIER = re.compile(r"\b(?:[a-z]+_[a-z_0-9]+|[a-z]+[A-Z][A-Za-z0-9]+|_[a-z]\w+)\b")
NOISE = re.compile(
    r"^(merge|bump|build\(deps|revert|\[pre-commit|\[?automated|update changelog)", re.IGNORECASE
)
"""Merges, version bumps and bot commits: the same text again and again, and nobody asks for them."""

RECORD, FIELD = "\x1e", "\x1f"

SYNONYMS = {
    "add": "introduce", "added": "introduced", "bug": "defect", "change": "alter", "check": "inspect",
    "code": "source", "error": "failure", "fail": "break", "failing": "breaking", "file": "document",
    "files": "documents", "fix": "repair", "fixed": "repaired", "fixes": "repairs", "function": "routine",
    "improve": "better", "make": "cause", "method": "routine", "move": "shift", "name": "label",
    "new": "fresh", "remove": "drop", "removed": "dropped", "rename": "relabel", "run": "execute",
    "support": "handle", "test": "trial", "tests": "trials", "update": "refresh", "use": "employ",
    "using": "employing", "value": "quantity", "warning": "notice", "work": "function",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit as a record to remember."""

    sha: str
    subject: str
    body: str

    @property
    def text(self) -> str:
        """Subject and body, as a user would store them."""
        return f"{self.subject}\n\n{self.body}".strip()


def commits(repo: Path, most: int, *, noise: bool = False) -> list[Commit]:
    """The newest commits without merges, each text once, oldest first; bumps and bots only with ``noise``."""
    out = subprocess.run(
        ["git", "-C", str(repo), "log", "--no-merges", f"--format=%H{FIELD}%s{FIELD}%b{RECORD}"],
        check=True, capture_output=True,
    ).stdout.decode("utf-8", "replace").replace("\0", "")  # fmt: skip
    found: dict[str, Commit] = {}
    for record in out.split(RECORD):
        if record.count(FIELD) != 2:
            continue
        sha, subject, body = record.strip("\n").split(FIELD)
        commit = Commit(sha=sha, subject=subject.strip(), body=body.strip())
        if commit.subject and (noise or not NOISE.match(commit.subject)):
            found.setdefault(commit.text, commit)
        if len(found) >= most:
            break
    return list(found.values())[::-1]


def made_up(count: int) -> list[Commit]:
    """That many texts in place of commits, the same at every run; each holds an identifier of its own."""
    found = []
    for number, note in enumerate(notes(count)):
        words = note.text.partition("\n")[2].split()
        found.append(Commit(sha=f"{number:040x}", subject=" ".join(words[:7]), body=" ".join(words[7:])))
    return found


def records(repo: Path | None, most: int, *, noise: bool = False) -> list[Commit]:
    """Commits of a history where one is named, else made-up ones."""
    return made_up(most) if repo is None else commits(repo, most, noise=noise)


def content_words(text: str) -> list[str]:
    """Words of a text that could be searched for, in order, each once."""
    return list(dict.fromkeys(word for word in WORD.findall(text) if len(word) > 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownItem:
    """A query whose right answer is one record."""

    query: str
    sha: str


def known_items(records: list[Commit], each: int, seed: int = 7) -> dict[str, list[KnownItem]]:
    """Queries for known items, by family.

    ``half``: half of a memory's words, two of them replaced by synonyms; ``short``: five words of its
    subject; ``identifier``: one identifier that occurs in no other memory.
    """
    rng = random.Random(seed)
    families: dict[str, list[KnownItem]] = {"half": [], "short": [], "identifier": []}
    uses = Counter(name for record in records for name in set(IDENTIFIER.findall(record.text)))
    shuffled = rng.sample(records, len(records))
    for record in shuffled:
        words = content_words(record.text)
        if len(families["half"]) < each and len(words) >= 12:
            families["half"].append(KnownItem(query=_half(words, rng), sha=record.sha))
        subject = content_words(record.subject)
        if len(families["short"]) < each and len(subject) >= 5:
            families["short"].append(KnownItem(query=" ".join(rng.sample(subject, 5)), sha=record.sha))
        rare = [name for name in IDENTIFIER.findall(record.text) if uses[name] == 1]
        if len(families["identifier"]) < each and rare:
            families["identifier"].append(KnownItem(query=rng.choice(rare), sha=record.sha))
    return families


def _half(words: list[str], rng: random.Random) -> str:
    kept = rng.sample(words, len(words) // 2)
    swapped = 0
    for i, word in enumerate(kept):
        if swapped < 2 and word.lower() in SYNONYMS:
            kept[i] = SYNONYMS[word.lower()]
            swapped += 1
    return " ".join(kept)
