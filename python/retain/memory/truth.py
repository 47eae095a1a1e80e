"""Whether what a memory speaks of is still so, before it is shown: every check gives a state, the worst one counts.

States: ``fresh``; ``unverifiable`` (it could not be found out), ``drifted`` (what it says of files has changed),
``abandoned`` and ``reverted`` (its work is in no history, or was taken back) are shown with a note and ranked
lower; ``other_branch``, ``stale`` (a note of which nothing holds any more) and ``this_session`` (the session that
asks did it itself) are withheld and counted.

Not bound to a branch, and so never withheld: a note without files, and what the user said to hold always.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from retain.git.lineage import (
    ABANDONED,
    FINE,
    FRESH,
    OTHER_BRANCH,
    REVERTED,
    UNVERIFIABLE,
    Seen,
    Verdict,
)
from retain.git.refs import Checkout
from retain.git.repositories import Repositories, State
from retain.model import Filter
from retain.retrieval.filters import asks_for
from retain.retrieval.rank import Ranked
from retain.storage.reads import Reader
from retain.storage.truth import Provenance, provenance

LOOKED_AT = 64
"""Candidates that are checked at a time, best first, until enough may be shown."""

THIS_SESSION = "this_session"
FACTORS: Mapping[str, float] = {
    FRESH: 1.0,
    UNVERIFIABLE: 0.95,
    "drifted": 0.8,
    "stale": 0.6,
    ABANDONED: 0.6,
    REVERTED: 0.6,
    OTHER_BRANCH: 0.5,
    THIS_SESSION: 0.5,
}
"""What a state leaves of a score; from the mildest to the worst."""

WITHHELD = frozenset({OTHER_BRANCH, "stale", THIS_SESSION})
SEVERITY = {state: place for place, state in enumerate(FACTORS)}

PATIENCE_S = 0.4
"""How long a process that ends with its answer looks into a repository at most."""
BUDGET_S = 0.02
"""The same for a server, which goes on in the background."""

GRAPHS = "git"
"""Folder in the data directory for what was read of repositories."""

ASKED_FOR = ("branch", "id", "session")
"""A filter on one of these asks for memories wherever they hold: none is withheld, all are marked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks: the workspace, and what is checked out where the question comes from.

    Attributes:
        workspace: its key.
        root: top of the working tree.
        checkout: what is checked out there; None outside git. state: of its branches.
        session: the client's id of the session whose model asks; empty where nobody's conversation matters.
        files: those that were looked at for this question, and how each was; filled while it is answered.
    """

    workspace: int
    root: str
    checkout: Checkout | None = None
    state: State | None = None
    session: str = ""
    files: dict[str, str] = field(default_factory=dict, compare=False)

    def same_repository(self, other: Asker) -> bool:
        """Whether both stand in working trees of one repository."""
        mine, its = self.checkout, other.checkout
        return mine is not None and its is not None and mine.common_dir == its.common_dir


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What one check found out about a memory."""

    state: str = FRESH
    note: str = ""


CLEAR = Mark()


class Check(Protocol):
    """One way to find out whether memories still hold."""

    def marks(self, reader: Reader, asker: Asker, rows: Sequence[Provenance], /) -> tuple[list[Mark], bool]:
        """A mark for each row, and whether all that could be found out was."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sifted:
    """Candidates that may be shown, in order; the marks of those that are not clear; how many were withheld, and why.

    ``whole`` is False where some were not checked in time: a later answer may be better.
    """

    ranked: Sequence[Ranked]
    marks: Mapping[int, Mark] = field(default_factory=dict)
    hidden: Mapping[str, int] = field(default_factory=dict)
    whole: bool = True


class Gate:
    """Withholds what does not hold where the question comes from, and marks what is doubtful.

    Args:
        checks: asked in order; of their marks the worst counts.
    """

    def __init__(self, checks: Sequence[Check]) -> None:
        self._checks = tuple(checks)

    def sift(
        self, reader: Reader, asker: Asker, where: Filter | None, ranked: Sequence[Ranked], wanted: int
    ) -> Sifted:
        """The candidates of an answer, checked from the best on until ``wanted`` may be shown."""
        open_to_all = any(asks_for(where, name) for name in ASKED_FOR)
        shown: list[Ranked] = []
        marks: dict[int, Mark] = {}
        hidden: dict[str, int] = {}
        whole, looked = True, 0
        while len(shown) < wanted and looked < len(ranked):
            part = ranked[looked : looked + max(LOOKED_AT, wanted)]
            looked += len(part)
            found, checked = self.marks(reader, asker, [entry.candidate.key for entry in part])
            whole = whole and checked
            for entry in part:
                mark = found.get(entry.candidate.key)
                if mark is None:
                    shown.append(entry)
                    continue
                if mark.state in WITHHELD and not open_to_all:
                    hidden[mark.state] = hidden.get(mark.state, 0) + 1
                    continue
                marks[entry.candidate.key] = mark
                shown.append(_lowered(entry, mark))
        if marks:
            shown.sort(key=lambda entry: -entry.score)
        return Sifted(ranked=[*shown, *ranked[looked:]], marks=marks, hidden=hidden, whole=whole)

    def marks(self, reader: Reader, asker: Asker, keys: Sequence[int]) -> tuple[dict[int, Mark], bool]:
        """The marks of those memories that are not clear, and whether all were checked."""
        rows = [row for row in provenance(reader.connection, keys) if row.workspace == asker.workspace]
        worst: dict[int, Mark] = {}
        whole = True
        for check in self._checks if rows else ():
            found, checked = check.marks(reader, asker, rows)
            whole = whole and checked
            for row, mark in zip(rows, found, strict=True):
                if mark is CLEAR:
                    continue
                if mark.state != FRESH and SEVERITY[mark.state] > SEVERITY[worst.get(row.key, CLEAR).state]:
                    worst[row.key] = mark
        return worst, whole


def _lowered(entry: Ranked, mark: Mark) -> Ranked:
    factor = FACTORS[mark.state]
    return entry._replace(score=entry.score * factor, made=entry.made._replace(truth=factor))


class CommitCheck:
    """Whether the work of a memory is in the history of what is checked out (see ``retain.git.lineage``).

    Args:
        repositories: their graphs.
        budget_s: how long an answer may wait for one.
    """

    def __init__(self, repositories: Repositories, budget_s: float) -> None:
        self._repositories = repositories
        self._budget_s = budget_s

    def asker(self, workspace: int, root: str) -> Asker:
        """Who asks from a working tree of a workspace (by its key), with what is checked out there now."""
        checkout, state = self._repositories.look(root) or (None, None)
        return Asker(workspace=workspace, root=root, checkout=checkout, state=state)

    def marks(self, _: Reader, asker: Asker, rows: Sequence[Provenance]) -> tuple[list[Mark], bool]:
        """A mark for each row; outside a repository all are clear."""
        if asker.checkout is None:
            return [CLEAR] * len(rows), True
        verdicts, whole = self.verdicts(asker, rows, self._budget_s)
        return [
            CLEAR if one.state == FRESH else Mark(state=one.state, note=one.why) for one in verdicts
        ], whole

    def verdicts(
        self, asker: Asker, rows: Sequence[Provenance], budget_s: float = PATIENCE_S
    ) -> tuple[list[Verdict], bool]:
        """What is known of each row's work: of all the places where it was seen, the best."""
        if asker.checkout is None or asker.state is None:
            return [FINE] * len(rows), True
        places = [seen_of(row) for row in rows]
        wanted = list(dict.fromkeys(one for each in places for one in each))
        repository = self._repositories.at(asker.checkout.common_dir)
        found, whole = repository.judge(asker.checkout, asker.state, wanted, budget_s)
        known = dict(zip(wanted, found, strict=True))
        return [
            min((known[one] for one in each), key=lambda verdict: SEVERITY[verdict.state], default=FINE)
            for each in places
        ], whole

    def places(self, reader: Reader, asker: Asker, keys: Sequence[int]) -> list[Seen]:
        """Where memories of the asker's workspace were made, each place once."""
        rows = [row for row in provenance(reader.connection, keys) if row.workspace == asker.workspace]
        return list(dict.fromkeys(one for row in rows for one in seen_of(row)))

    def settle(self, asker: Asker, places: Sequence[Seen]) -> None:
        """Finds out what an answer could not wait for, however long it takes."""
        if asker.checkout is not None and asker.state is not None:
            repository = self._repositories.at(asker.checkout.common_dir)
            repository.judge(asker.checkout, asker.state, list(places), None)
            self.save()

    def get_ready(self, asker: Asker) -> bool:
        """Reads the history of what is checked out, however long it takes; whether there is one."""
        if asker.checkout is not None:
            self.settle(asker, [Seen(commit=asker.checkout.commit)])
        return asker.checkout is not None

    def save(self) -> None:
        """Keeps what was read of git for the next process."""
        self._repositories.save()

    def close(self) -> None:
        """Stops what is being read of git, and keeps what was read so far."""
        self._repositories.close()


CHANGES = frozenset({"file_change", "fix"})
DONE = frozenset({"commit", "fix", "summary"})


def seen_of(row: Provenance) -> list[Seen]:
    """Where a memory was seen; empty where it is bound to no branch."""
    if row.standing or (row.kind == "note" and not row.paths):
        return []
    return [
        Seen(
            branch=branch,
            commit=commit,
            at_s=at_us // 1_000_000,
            paths=row.paths,
            change=row.kind in CHANGES and bool(row.paths),
            note=row.kind == "note",
            done=(row.kind in DONE or (row.kind == "decision" and bool(row.begun)))
            and commit not in row.begun,
            blobs=row.blobs,
        )
        for branch, commit, at_us in row.places
        if branch or commit
    ]
