"""Whether the work that a memory speaks of is in the history of what is checked out.

A memory knows the branch and the commit that were checked out when it was made. Its *work* is the oldest commit
made on that branch after it (touching its files, where it is a change): what was still uncommitted then. The work
has *landed* where that commit, or one that makes the same change, is in the history of the head: merged,
fast-forwarded, rebased, cherry-picked, squashed or amended. That the memory's own commit is there says nothing: a
branch begins at a commit that its parent has as well.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from retain.git.history import NO_COMMIT, Ancestors, Deadline, History, line_to, merge_base
from retain.git.journal import Birth, Journal, Kept, read_journal
from retain.git.landing import Landing
from retain.git.patches import Patches
from retain.git.refs import Checkout, branches, is_shallow, trunk

LINE_MAX = 200
"""Commits of a branch that are looked through for the work of a memory."""
SQUASHED_MAX = 16
"""Beginnings of a branch that are tried as what was squashed."""
PARENTS_MAX = 16
TIPS_MAX = 64
"""Branches that are asked whether they hold the work of one that is gone."""

FRESH, OTHER_BRANCH, REVERTED, ABANDONED, UNVERIFIABLE = (
    "fresh",
    "other_branch",
    "reverted",
    "abandoned",
    "unverifiable",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Where and when a memory was made.

    Attributes:
        branch: empty where the head was detached or unknown.
        commit: what was checked out, hex; empty where unknown.
        at_s: seconds since the epoch.
        paths: files that it names, relative to the top of the repository.
        change: whether it is itself a change of those files.
        note: whether it was said on purpose and holds wherever its files are as they were.
        done: whether it may be about the commit that was checked out: it tells of a commit, or sums work up.
        blobs: what files held then, as (path, blob), where that is known.
    """

    branch: str = ""
    commit: str = ""
    at_s: int = 0
    paths: tuple[str, ...] = ()
    change: bool = False
    note: bool = False
    done: bool = False
    blobs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state of a memory's work, a few words that say why, and the commit that holds it where that was found."""

    state: str
    why: str = ""
    landed: str = ""


FINE = Verdict(FRESH)


class Lineage:
    """Answers for one head of one repository; made anew when the head or a branch moves."""

    def __init__(
        self, history: History, patches: Patches, checkout: Checkout, logs: Kept | None = None
    ) -> None:
        self._logs = logs
        self.history = history
        self.patches = patches
        self.here = checkout
        self.shallow = is_shallow(checkout.common_dir)
        self._tips = branches(checkout.common_dir)
        self.trunk = trunk(checkout.common_dir, self._tips)
        self.local = frozenset(name for name in self._tips if not name.startswith("remotes/"))
        self._journal: Journal | None = None
        self._landing: Landing | None = None
        self._made: dict[str, frozenset[int]] = {}

    @property
    def journal(self) -> Journal:
        """What the reflogs say, read when first needed."""
        if self._journal is None:
            self._journal = read_journal(self.here.common_dir, self._logs)
        return self._journal

    def judge(self, seen: Seen, deadline: Deadline) -> Verdict:
        """The state of a memory's work.

        Raises:
            Late: it was not found out in time; a later call goes on from there.
        """
        if not seen.branch and not seen.commit:
            return FINE
        landing = self._landing_at_head(deadline)
        if landing is None:
            if seen.branch and seen.branch == self.here.branch:
                return FINE
            return Verdict(UNVERIFIABLE, "the repository cannot be read")
        commit = self.history.find(seen.commit, deadline) if seen.commit else NO_COMMIT
        case = _Case(self, landing, seen, commit, deadline)
        return case.without_commit() if commit == NO_COMMIT else case.verdict()

    def _landing_at_head(self, deadline: Deadline) -> Landing | None:
        if self._landing is None and self.here.commit:
            top = self.history.find(self.here.commit, deadline)
            if top != NO_COMMIT:
                ancestors = self.history.ancestors_of_head(top)
                self._landing = Landing(self.history, self.patches, ancestors, self.journal.amended)
        return self._landing

    def tip_of(self, branch: str) -> str:
        """The commit of a branch that exists, here or at a remote; empty else."""
        local = self._tips.get(branch) or self._tips.get(f"remotes/origin/{branch}")
        if local or not branch:
            return local or ""
        ending = f"/{branch}"
        return next(
            (c for name, c in self._tips.items() if name.startswith("remotes/") and name.endswith(ending)), ""
        )

    def tips(self, deadline: Deadline) -> Iterator[tuple[str, int]]:
        """The branches that exist, by name and last commit, up to a number."""
        for name, tip in list(self._tips.items())[:TIPS_MAX]:
            top = self.history.find(tip, deadline)
            if top != NO_COMMIT:
                yield name.removeprefix("remotes/"), top

    def made_on(self, branch: str) -> frozenset[int]:
        """The commits that reflogs say were made on a branch."""
        known = self._made.get(branch)
        if known is None:
            numbers = map(self.history.number, self.journal.made.get(branch, ()))
            known = self._made[branch] = frozenset(number for number in numbers if number != NO_COMMIT)
        return known

    def holder_of(self, number: int, deadline: Deadline) -> str:
        """The name of a branch whose history has a commit; empty where none does."""
        tips = self.tips(deadline)
        return next((name for name, top in tips if number in self.history.ancestors(top)), "")


class _Case:
    """One memory before one head."""

    def __init__(
        self, lineage: Lineage, landing: Landing, seen: Seen, commit: int, deadline: Deadline
    ) -> None:
        self._lineage = lineage
        self._history, self._patches = lineage.history, lineage.patches
        self._journal = lineage.journal
        self._landing = landing
        self._ancestors: Ancestors = landing.ancestors
        self._seen = seen
        self._commit = commit
        self._deadline = deadline
        self._branch = seen.branch
        if seen.branch and not lineage.tip_of(seen.branch):
            self._branch = self._journal.name_now(seen.branch)
        self._birth = self._born_later()

    def _born_later(self) -> Birth | None:
        """The birth of the branch of this name, where the memory is of an earlier one that was called so."""
        birth = self._journal.births.get(self._branch)
        if birth is None or self._seen.at_s >= birth.at:
            return None
        return birth if self._journal.last_tip(self._branch, birth.at - 1) else None

    def without_commit(self) -> Verdict:
        """For a memory whose commit is not here (never fetched, thrown away, cut off) or was not known."""
        if self._holds():
            return FINE
        if self._seen.commit:
            return Verdict(UNVERIFIABLE, "its commit is not here")
        if self._branch in {self._lineage.here.branch, self._lineage.trunk}:
            return FINE
        tip = self._lineage.tip_of(self._branch) or self._journal.last_tip(self._branch)
        number = self._history.find(tip, self._deadline) if tip else NO_COMMIT
        if number == NO_COMMIT:
            return Verdict(UNVERIFIABLE, f"branch {self._branch} is not here")
        return self._landed_or_not(number, number, [number])

    def verdict(self) -> Verdict:
        """For a memory whose commit is here."""
        there = self._commit in self._ancestors
        if not self._seen.branch:
            return self._detached(there)
        if self._is_here():
            return self._same_branch(there)
        tip, alive = self._tip()
        if there and self._inherited():
            lines = (self._work(one)[0] for one in (tip, self._ancestors.top))
            return self._unless_reverted(next((n for n in lines if n in self._ancestors), NO_COMMIT))
        work, line = self._work(tip)
        if work != NO_COMMIT:
            if there and self._branch == self._lineage.trunk and not self._seen.change:
                return self._unless_reverted(self._landing.of(work, self._deadline))
            return self._landed_or_not(work, tip, line, alive=alive)
        if self._branch == self._lineage.trunk and there and not self._seen.change:
            return FINE
        return self._uncommitted(there, alive)

    def _is_here(self) -> bool:
        """Whether the memory's branch is the one that is checked out, also by a detached head at its tip."""
        here = self._lineage.here
        if self._birth is not None:
            return False
        return self._branch == here.branch or (
            not here.branch and self._lineage.tip_of(self._branch) == here.commit
        )

    def _detached(self, there: bool) -> Verdict:
        if there:
            return FINE
        landed = self._landing.of(self._commit, self._deadline)
        if landed != NO_COMMIT:
            return self._unless_reverted(landed)
        return self._gone(self._commit)

    def _same_branch(self, there: bool) -> Verdict:
        if there:
            work, _ = self._work(self._ancestors.top)
            return self._unless_reverted(work) if work != NO_COMMIT else self._carried_away()
        landed = self._landing.of(self._commit, self._deadline)
        if landed == NO_COMMIT:
            landed = self._squashed(self._commit, [self._commit])
        if landed != NO_COMMIT:
            return self._unless_reverted(landed)
        if self._holds():
            return FINE
        return self._gone(self._commit)

    def _carried_away(self) -> Verdict:
        """For a change that was not committed where it was made, but perhaps on a branch it was taken along to."""
        blobs = self._seen.blobs
        if self._seen.change and blobs and not self._holds():
            for name, tip in self._lineage.tips(self._deadline):
                if all(self._patches.blob(tip, path) == blob for path, blob in blobs):
                    return Verdict(OTHER_BRANCH, f"on {name}, not in this history")
        return FINE

    def _inherited(self) -> bool:
        """Whether the branch that is checked out was made from the memory's branch after the memory."""
        name = self._lineage.here.branch
        for _ in range(PARENTS_MAX):
            birth = self._journal.births.get(name)
            if birth is None or self._seen.at_s > birth.at:
                return False
            name = birth.parent
            if name == self._branch:
                return True
        return False

    def _tip(self) -> tuple[int, bool]:
        """The last known commit of the memory's branch, and whether that branch still exists."""
        tip = self._lineage.tip_of(self._branch) if self._birth is None else ""
        alive = bool(tip)
        if not tip:
            tip = self._journal.last_tip(self._branch, self._birth.at - 1 if self._birth else None)
        return (self._history.find(tip, self._deadline) if tip else NO_COMMIT), alive

    def _work(self, tip: int) -> tuple[int, list[int]]:
        """The commit that holds the memory's work, and the branch from it on; ``NO_COMMIT`` while there is none."""
        seen = self._seen
        if seen.done and self._is_own() and self._touches(self._commit):
            return self._commit, [self._commit]
        line = self._line(tip)
        made = self._lineage.made_on(self._branch)
        if not made.isdisjoint(line):
            line = [number for number in line if number in made]
        for place, number in enumerate(line):
            self._deadline.check()
            if not seen.change or self._touches(number):
                return number, line[place:]
        return NO_COMMIT, []

    def _line(self, tip: int) -> list[int]:
        """What was committed on the branch after the memory's commit, or after what that became by a rebase."""
        if tip == NO_COMMIT:
            return []
        if tip == self._ancestors.top or self._branch == self._lineage.trunk:
            line = self._history.line(tip)
            place = bisect_left(line, self._commit)
            if place < len(line) and line[place] == self._commit:
                return list(line[place + 1 : place + 1 + LINE_MAX])
        else:
            near = line_to(self._history, tip, self._commit, LINE_MAX)
            if near is not None:
                return near
        ancestors = self._history.ancestors(tip)
        if self._commit in ancestors:
            return []
        before = Landing(self._history, self._patches, ancestors, self._journal.amended)
        start = before.of(self._commit, self._deadline)
        return [] if start == NO_COMMIT else line_to(self._history, tip, start, LINE_MAX) or []

    def _is_own(self) -> bool | None:
        """Whether the commit was made on the memory's branch, and is not only where that began; None where unknown."""
        commit = self._history.hex_of(self._commit)
        if self._branch == self._lineage.trunk or self._commit in self._lineage.made_on(self._branch):
            return True
        if birth := self._journal.births.get(self._branch):
            return birth.commit != commit
        main = self._journal.last_tip(self._lineage.trunk, self._seen.at_s)
        number = self._history.find(main, self._deadline) if main else NO_COMMIT
        return None if number == NO_COMMIT else self._commit not in self._history.ancestors(number)

    def _perhaps_own(self) -> Verdict:
        """A remote branch that ends at a commit which is here was merged; a local one may only begin there."""
        if self._branch not in self._lineage.local:
            return FINE
        return Verdict(UNVERIFIABLE, f"no reflog says whether {self._branch} has begun")

    def _touches(self, number: int) -> bool:
        return not self._seen.paths or bool(self._patches.touched(number) & set(self._seen.paths))

    def _landed_or_not(self, work: int, tip: int, line: list[int], *, alive: bool = True) -> Verdict:
        landed = self._landing.of(work, self._deadline)
        if landed == NO_COMMIT:
            landed = self._squashed(work, [tip, *line])
        if landed != NO_COMMIT:
            return self._unless_reverted(landed)
        if self._holds():
            return FINE
        if not alive:
            return self._gone(work)
        if self._lineage.shallow and merge_base(self._history, work, self._ancestors) == NO_COMMIT:
            return Verdict(UNVERIFIABLE, "the history is cut (shallow clone)")
        return Verdict(OTHER_BRANCH, f"on {self._branch}, not merged")

    def _squashed(self, work: int, tips: list[int]) -> int:
        """The commit of the history that brings a whole branch, as it stands or as it once was, with the work in it."""
        base = merge_base(self._history, work, self._ancestors)
        if base == NO_COMMIT:
            return NO_COMMIT
        for _, commit in reversed(self._journal.tips.get(self._branch, ())):
            if len(tips) >= SQUASHED_MAX:
                break
            former = self._history.find(commit, self._deadline)
            if former not in tips and former >= work and work in self._history.ancestors(former):
                tips.append(former)
        return self._landing.squashed(base, tips, self._deadline)

    def _unless_reverted(self, landed: int) -> Verdict:
        if landed == NO_COMMIT or landed not in self._ancestors:
            return FINE
        name = self._history.hex_of(landed)
        by = self._landing.reverted_by(landed, self._deadline)
        if by == NO_COMMIT:
            return Verdict(FRESH, "", name)
        return Verdict(REVERTED, f"reverted by {self._history.hex_of(by)[:10]}", name)

    def _uncommitted(self, there: bool, alive: bool) -> Verdict:
        """For a memory after which nothing was committed on its branch."""
        if self._holds():
            return FINE
        if not there:
            return self._landed_or_not(self._commit, self._commit, [self._commit], alive=alive)
        if not self._seen.change:
            own = self._is_own()
            if own:
                return self._unless_reverted(self._commit)
            if own is None and alive:
                return self._perhaps_own()
        if alive:
            return Verdict(OTHER_BRANCH, f"not committed on {self._branch}")
        if self._branch in self._journal.tips:
            return Verdict(ABANDONED, f"dead end: tried on {self._branch}, never committed")
        return Verdict(UNVERIFIABLE, f"branch {self._branch} is not here")

    def _gone(self, number: int) -> Verdict:
        """For work that is not in this history and whose branch is gone or went on without it."""
        holder = self._lineage.holder_of(number, self._deadline)
        if holder:
            return Verdict(OTHER_BRANCH, f"on {holder}, not in this history")
        if self._lineage.shallow:
            return Verdict(UNVERIFIABLE, "the history is cut (shallow clone)")
        where = f"tried on {self._branch}, " if self._branch else ""
        return Verdict(ABANDONED, f"dead end: {where}never merged")

    def _holds(self) -> bool:
        """Whether the files have the very content now that they had then."""
        blobs, top = self._seen.blobs, self._ancestors.top
        if self._seen.note and self._commit != NO_COMMIT:
            then = [(path, self._patches.blob(self._commit, path)) for path in self._seen.paths]
            blobs = tuple(then) if any(blob for _, blob in then) else ()
        return bool(blobs) and all(self._patches.blob(top, path) == blob for path, blob in blobs)
