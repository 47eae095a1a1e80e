"""Whether a change is in a history: as the commit itself, as one that makes the same change, or reverted again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from retain.git.history import NO_COMMIT, Ancestors, Deadline, History
from retain.git.patches import Patches

COMPARED_MAX = 1_000
"""So many of the newest commits of a history are compared by what they change."""
TWINS_MAX = 8
AMENDED_MAX = 32
TURNS_MAX = 16
"""Reverts of reverts that are followed."""


class Landing:
    """Looks for changes in the history of one head.

    Args:
        history: the graph of the repository.
        patches: what its commits change.
        ancestors: the history of the head.
        amended: what the reflogs say replaced a commit (hex to hex).
    """

    def __init__(
        self, history: History, patches: Patches, ancestors: Ancestors, amended: Mapping[str, str]
    ) -> None:
        self._history = history
        self._patches = patches
        self.ancestors = ancestors
        self._amended = amended
        self._landed: dict[int, int] = {}
        self._compared = False
        self._reverted: dict[int, list[int]] | None = None
        self._merges: list[tuple[int, int, Ancestors, Ancestors]] = []

    def of(self, number: int, deadline: Deadline) -> int:
        """The commit of the history that is this one or makes its change; ``NO_COMMIT`` where there is none.

        Raises:
            Late: the deadline came first.
        """
        if number in self.ancestors:
            return number
        known = self._landed.get(number)
        if known is None:
            known = self._find(number, deadline)
            self._landed[number] = known
        return known

    def _find(self, number: int, deadline: Deadline) -> int:
        for twin in (*self._successors(number), *self._history.twins(number)[:TWINS_MAX]):
            if twin in self.ancestors and self._alike(number, twin):
                return twin
        patch = self._patches.of(number)
        same = self._with_patch(patch, deadline)
        return same[0] if same else NO_COMMIT

    def _successors(self, number: int) -> Iterator[int]:
        """What the commit was amended to, and so on."""
        name = self._history.hex_of(number)
        for _ in range(AMENDED_MAX):
            name = self._amended.get(name, "")
            later = self._history.number(name) if name else NO_COMMIT
            if later == NO_COMMIT:
                return
            yield later

    def _alike(self, one: int, other: int) -> bool:
        """Whether two commits change a file in common, or neither changes any."""
        mine, its = self._patches.touched(one), self._patches.touched(other)
        return bool(mine & its) or not (mine or its)

    def squashed(self, base: int, tips: Sequence[int], deadline: Deadline) -> int:
        """The commit of the history that brings all that changed from the base to one of the tips.

        Raises:
            Late: the deadline came first.
        """
        for tip in tips:
            if tip == base:
                continue
            if same := self._with_patch(self._patches.between(base, tip), deadline, after=base):
                return same[0]
        return NO_COMMIT

    def reverted_by(self, number: int, deadline: Deadline, turns: int = TURNS_MAX) -> int:
        """The commit of the history that takes a landed one back and was not taken back itself.

        Raises:
            Late: the deadline came first.
        """
        found = [r for r in self._reverters(number, deadline) if r > number]
        if turns == 0 or not found:
            return NO_COMMIT
        live = [r for r in found if self.reverted_by(r, deadline, turns - 1) == NO_COMMIT]
        if not live:
            return NO_COMMIT
        newest = max(live)
        again = [twin for twin in self._same_change(number, deadline) if twin > newest]
        if any(self.reverted_by(twin, deadline, turns - 1) == NO_COMMIT for twin in again):
            return NO_COMMIT
        return newest

    def _reverters(self, number: int, deadline: Deadline) -> set[int]:
        if self._reverted is None:
            self._read_reverts(deadline)
        assert self._reverted is not None
        found = set(self._reverted.get(number, ()))
        for merge, by, brought, before in self._merges:
            if number != merge and number in brought and number not in before:
                found.add(by)
        if not self._history.is_merge(number):
            found |= set(self._with_patch(self._patches.backwards(number), deadline, after=number))
        return found

    def _same_change(self, number: int, deadline: Deadline) -> Iterable[int]:
        twins = (
            t
            for t in self._history.twins(number)[:TWINS_MAX]
            if t in self.ancestors and self._alike(number, t)
        )
        return {*twins, *self._with_patch(self._patches.of(number), deadline, after=number)} - {number}

    def _read_reverts(self, deadline: Deadline) -> None:
        """Which commits of the history are said to be reverted, by which; with a merge goes all that it brought."""
        found: dict[int, list[int]] = {}
        merges: list[tuple[int, int, Ancestors, Ancestors]] = []
        for by, names in self._history.reverts().items():
            if by not in self.ancestors:
                continue
            for name in names:
                deadline.check()
                target = self._history.number(name)
                if target == NO_COMMIT and len(name) < 40:
                    target = self._abbreviated(name, by)
                if target == NO_COMMIT or target not in self.ancestors:
                    continue
                found.setdefault(target, []).append(by)
                if self._history.is_merge(target):
                    first = self._history.ancestors(self._history.first_parent(target))
                    merges.append((target, by, self._history.ancestors(target), first))
        self._merges, self._reverted = merges, found

    def _abbreviated(self, name: str, by: int) -> int:
        candidates = self._history.ancestors(by).newest_first()
        return next((n for n in candidates if self._history.hex_of(n).startswith(name)), NO_COMMIT)

    def _with_patch(self, patch: str, deadline: Deadline, after: int = NO_COMMIT) -> list[int]:
        """The commits of the history with a patch id, oldest first."""
        if not patch:
            return []
        if not self._compared:
            self._patches.compare(islice(self.ancestors.newest_first(), COMPARED_MAX), deadline)
            self._compared = True
        return sorted(n for n in self._patches.with_patch(patch) if n > after and n in self.ancestors)
