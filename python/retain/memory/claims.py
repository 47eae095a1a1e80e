"""Claims of memories: derived beside the answers, checked before each of them, put right by whoever asks.

What a memory says of files is checked against the files of the working tree as they are now. What was found out about a
claim is kept until its file changes, so that a warm check costs a look at the file's times.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from retain.capture.redact import redact
from retain.git.checking import DRIFTED, FRESH, ORPHANED, STALE, UNVERIFIABLE, Finding, check, worst
from retain.git.claims import Claim, derive
from retain.git.history import open_repository
from retain.git.source import Source
from retain.git.trees import CommitTree, Tree, Unreadable, WorkTree, moved_to, renames
from retain.memory.truth import CLEAR, Asker, Mark
from retain.storage.claims import ClaimRow, Unclaimed, claims_of
from retain.storage.reads import Reader
from retain.storage.truth import Provenance

BUDGET_S = 0.004
"""How long an answer of a server waits for what it has not checked yet."""
FINDINGS_MAX = 100_000
TREES_MAX = 4
NOTE_CHARS_MAX = 160

TOLD_ON_PURPOSE = frozenset({"note"})
"""Kinds that say how things are: withheld where none of it holds. The others say what happened, and are marked."""

Found = tuple[int, str, list[ClaimRow]]
"""Key of a memory, the commit in which its claims are true, the claims."""

_Known = tuple[object, Finding, bool]
"""The stamp of the file, what was found, and whether it was looked for elsewhere."""


@dataclass(slots=True)
class _Place:
    """What is known of one working tree."""

    tree: WorkTree
    commit: str = ""
    known: OrderedDict[ClaimRow, _Known] = field(default_factory=OrderedDict)
    renamed: dict[str, dict[str, str]] = field(default_factory=dict)


class ClaimCheck:
    """Whether the files still say what a memory says of them.

    Args:
        budget_s: how long an answer may wait; what is not checked by then passes unmarked, and is checked behind it.
    """

    def __init__(self, budget_s: float) -> None:
        self._budget_s = budget_s
        self._places: OrderedDict[str, _Place] = OrderedDict()
        self._lock = threading.Lock()

    def marks(self, reader: Reader, asker: Asker, rows: Sequence[Provenance]) -> tuple[list[Mark], bool]:
        """A mark for each row, and whether all were checked in time."""
        findings, whole = self.findings(reader, asker, [row.key for row in rows], self._budget_s)
        marks = [_mark(worst(findings[row.key]), row) if row.key in findings else CLEAR for row in rows]
        return marks, whole

    def changed(self, asker: Asker, files: Mapping[str, str]) -> int | None:
        """None where files are as they were; else a number for how they are now."""
        if not files or not asker.root:
            return None
        tree = WorkTree(asker.root)
        now = {path: repr(tree.stamp(path)) for path in files}
        return None if now == files else hash(tuple(now.items()))

    def settle(self, reader: Reader, asker: Asker, keys: Sequence[int]) -> None:
        """Finds out what an answer could not wait for, and where what has gone is now, however long it takes."""
        self.findings(reader, asker, keys, None)

    def findings(
        self, reader: Reader, asker: Asker, keys: Sequence[int], budget_s: float | None
    ) -> tuple[dict[int, list[Finding]], bool]:
        """What became of each claim of the memories, in their order; None as a budget waits for as long as it takes."""
        known = claims_of(reader.connection, keys)
        if not known or not asker.root:
            return {}, True
        with self._lock:
            place = self._place(asker)
            checking = _Checking(place, asker, None if budget_s is None else time.perf_counter() + budget_s)
            found = {
                key: [checking.finding(row, commit) for row in claims]
                for key, (commit, claims) in known.items()
            }
            while len(place.known) > FINDINGS_MAX:
                place.known.popitem(last=False)
        return found, checking.whole

    def _place(self, asker: Asker) -> _Place:
        commit = asker.checkout.commit if asker.checkout else ""
        place = self._places.get(asker.root)
        if place is None:
            place = self._places[asker.root] = _Place(WorkTree(asker.root))
            while len(self._places) > TREES_MAX:
                self._places.popitem(last=False)
        if place.commit != commit:
            place.commit, place.renamed, place.tree.listed = commit, {}, frozenset()
            # Where the rest of the tree has changed, what has gone may have come back elsewhere.
            for row in [row for row, (_, found, _) in place.known.items() if found.state != FRESH]:
                del place.known[row]
        self._places.move_to_end(asker.root)
        return place


class _Checking:
    """One look at the claims of an answer: each file is asked for its times once."""

    def __init__(self, place: _Place, asker: Asker, until: float | None) -> None:
        self._place, self._asker, self._until = place, asker, until
        self._stamps: dict[str, object] = {}
        self.whole = True

    def finding(self, row: ClaimRow, commit: str) -> Finding:
        """What became of the claim of a row, by what is kept where its file is as it was then."""
        stamp = self._stamp(row[1])
        known = self._place.known.get(row)
        if known is not None and known[0] == stamp and (known[2] or known[1].state == FRESH):
            return known[1]
        if self._is_over():
            self.whole = False
            return known[1] if known is not None and known[0] == stamp else Finding(state=UNVERIFIABLE)
        claim = claim_of(row)
        found = check(claim, self._place.tree)
        followed = found.state == FRESH
        if not followed and not self._is_over():
            found, followed = check(claim, self._with_names(), lambda path: self._renamed(path, commit)), True
        self.whole = self.whole and followed
        self._place.known[row] = (stamp, found, followed)
        return found

    def _is_over(self) -> bool:
        return self._until is not None and time.perf_counter() > self._until

    def _stamp(self, path: str) -> object:
        found = self._stamps.get(path)
        if found is None:
            found = self._stamps[path] = self._place.tree.stamp(path)
            self._asker.files[path] = repr(found)
        return found

    def _with_names(self) -> WorkTree:
        tree = self._place.tree
        if not tree.listed and (now := self._commit_tree(self._place.commit)) is not None:
            tree.listed = now.names()
        return tree

    def _renamed(self, path: str, commit: str) -> str:
        """Where a file of a commit is now, by what is checked out."""
        place = self._place
        repository = open_repository(self._asker.checkout.common_dir) if self._asker.checkout else None
        if repository is None or not commit:
            return ""
        if commit not in place.renamed:
            place.renamed[commit] = renames(repository, commit, place.commit)
        if path not in place.renamed[commit]:
            place.renamed[commit][path] = moved_to(repository, path, place.commit)
        new = place.renamed[commit][path]
        return new if new and place.tree.stamp(new) else ""

    def _commit_tree(self, commit: str) -> CommitTree | None:
        return commit_tree(self._asker, commit)


def commit_tree(asker: Asker, commit: str) -> CommitTree | None:
    """The files of a commit; None where it is not here."""
    repository = open_repository(asker.checkout.common_dir) if asker.checkout and commit else None
    if repository is None:
        return None
    try:
        return CommitTree(repository, commit)
    except (KeyError, ValueError):
        return None


def claim_of(row: ClaimRow) -> Claim:
    """The claim of a row."""
    kind, path, name, value, line, digest = row
    return Claim(kind=kind, path=path, name=name, value=value, line=line, digest=digest)


def row_of(claim: Claim) -> ClaimRow:
    """The row of a claim."""
    return (claim.kind, claim.path, claim.name, claim.value, claim.line, claim.digest)


def _mark(finding: Finding, row: Provenance) -> Mark:
    if finding.state in {FRESH, UNVERIFIABLE}:
        return CLEAR
    note = redact(finding.note[:NOTE_CHARS_MAX]).text
    if finding.state in {STALE, ORPHANED}:
        if row.kind in TOLD_ON_PURPOSE and not row.standing:
            return Mark(state=STALE, note=f"stale: {note}")
        return Mark(state=DRIFTED, note=f"code has changed: {note}")
    return Mark(state=DRIFTED, note=f"code has changed: {note}")


class Deriver:
    """Derives the claims of memories that lack them, from one place."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._now = WorkTree(asker.root)
        self._trees: OrderedDict[str, CommitTree | None] = OrderedDict()

    def of(self, waiting: Sequence[Unclaimed]) -> list[Found]:
        """Key, commit and claims of each."""
        found = []
        for one in waiting:
            try:
                commit, claims = self.derive(one.text, one.paths, one.symbols, one.commit)
            except Unreadable:
                commit, claims = "", []
            found.append((one.key, commit, [row_of(claim) for claim in claims]))
        return found

    def derive(
        self, text: str, paths: Sequence[str], symbols: Sequence[str], commit: str
    ) -> tuple[str, list[Claim]]:
        """The commit in which the claims are true, and the claims.

        They are taken from the memory's own commit where that is here and differs from what is checked out; what
        is true in files of now that were not there counts too, for it may have been uncommitted then.
        """
        here = self._asker.checkout.commit if self._asker.checkout else ""
        then: Tree | None = self._tree(commit) if commit and commit != here else None
        if then is None:
            return (commit if commit == here else ""), derive(text, paths, symbols, self._now)
        return commit, derive(text, paths, symbols, _Either(then, self._now))

    def _tree(self, commit: str) -> CommitTree | None:
        if commit not in self._trees:
            self._trees[commit] = commit_tree(self._asker, commit)
            while len(self._trees) > TREES_MAX:
                self._trees.popitem(last=False)
        return self._trees[commit]


class _Either:
    """A file as it was, or as it is now where it was not there."""

    def __init__(self, then: Tree, now: Tree) -> None:
        self._then, self._now = then, now

    def stamp(self, path: str) -> tuple[object, ...]:
        return self._then.stamp(path) or self._now.stamp(path)

    def source(self, path: str) -> Source | None:
        return (self._then if self._then.stamp(path) else self._now).source(path)

    def names(self) -> frozenset[str]:
        return self._then.names()
