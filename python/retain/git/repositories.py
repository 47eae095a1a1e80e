"""Open repositories: one graph each, and what is known of each head, until a branch moves."""

from __future__ import annotations

import threading
from collections import OrderedDict
from hashlib import blake2b
from pathlib import Path

from retain.git.history import Deadline, History, Late
from retain.git.journal import Kept
from retain.git.lineage import UNVERIFIABLE, Lineage, Seen, Verdict
from retain.git.patches import Patches
from retain.git.refs import Checkout, Watch, checkout_at

REPOSITORIES_MAX = 16
VERDICTS_MAX = 20_000
LOCK_WAIT_S = 0.002
"""How long an answer waits for a repository that is being read in the background."""

State = tuple[str, str, str, tuple[int, ...]]
"""What an answer depends on: git directory, branch, commit, and when branches last moved."""

NOT_YET = Verdict(UNVERIFIABLE, "not checked yet")


class Repository:
    """One git directory with its graph; safe for several threads."""

    def __init__(self, common_dir: str, folder: Path | None) -> None:
        name = blake2b(
            common_dir.encode("utf-8", "surrogateescape") + _shallow(common_dir), digest_size=12
        ).hexdigest()
        self._history = History(common_dir, folder / f"{name}.graph" if folder else None)
        self._patches = Patches(self._history, folder / f"{name}.patches" if folder else None)
        self._lock = threading.Lock()
        self._state: State | None = None
        self._lineage: Lineage | None = None
        self._verdicts: dict[Seen, Verdict] = {}
        self._logs: Kept = {}

    def judge(
        self, checkout: Checkout, state: State, seen: list[Seen], seconds: float | None
    ) -> tuple[list[Verdict], bool]:
        """The verdict of each, and whether all were found out within the time; None waits for as long as it takes."""
        if not self._lock.acquire(timeout=-1 if seconds is None else LOCK_WAIT_S):
            return [self._verdicts.get(one, NOT_YET) for one in seen] if state == self._state else [
                NOT_YET for _ in seen
            ], False
        try:
            return self._judge(checkout, state, seen, Deadline(seconds))
        finally:
            self._lock.release()

    def _judge(
        self, checkout: Checkout, state: State, seen: list[Seen], deadline: Deadline
    ) -> tuple[list[Verdict], bool]:
        if self._lineage is None or state != self._state:
            self._lineage = Lineage(self._history, self._patches, checkout, self._logs)
            self._state, self._verdicts = state, {}
        found: list[Verdict] = []
        whole = True
        for one in seen:
            verdict = self._verdicts.get(one)
            if verdict is None and whole:
                try:
                    verdict = self._lineage.judge(one, deadline)
                    if len(self._verdicts) >= VERDICTS_MAX:
                        self._verdicts.clear()
                    self._verdicts[one] = verdict
                except Late:
                    whole = False
            whole = whole and verdict is not None
            found.append(verdict or NOT_YET)
        return found, whole

    def save(self) -> None:
        """Keeps what was read for the next process, and closes the files of git."""
        with self._lock:
            self._history.save()
            self._patches.save()
            self._history.close()


class Repositories:
    """The repositories that were asked about.

    Args:
        folder: where their graphs are kept between processes; None keeps them in RAM.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._watches: dict[str, Watch] = {}
        self._open: OrderedDict[tuple[str, bytes], Repository] = OrderedDict()
        self._lock = threading.Lock()

    def look(self, root: str) -> tuple[Checkout, State] | None:
        """What is checked out at a folder now, and a value that changes with every branch; None outside git."""
        checkout = checkout_at(root)
        if checkout is None:
            return None
        common = checkout.common_dir
        with self._lock:
            if len(self._watches) > REPOSITORIES_MAX:
                self._watches.clear()
            watch = self._watches.setdefault(common, Watch(common))
            return checkout, (common, checkout.branch, checkout.commit, watch.state())

    def at(self, common_dir: str) -> Repository:
        """The repository with this git directory."""
        key = (common_dir, _shallow(common_dir))
        with self._lock:
            found = self._open.get(key)
            if found is None:
                found = self._open[key] = Repository(common_dir, self._folder)
                while len(self._open) > REPOSITORIES_MAX:
                    self._open.popitem(last=False)
            self._open.move_to_end(key)
            return found

    def save(self) -> None:
        """Keeps what was read for the next process."""
        with self._lock:
            known = list(self._open.values())
        for repository in known:
            repository.save()


def _shallow(common_dir: str) -> bytes:
    """Where a history was cut; a graph that was read before it was fetched further is not the same."""
    try:
        return Path(common_dir, "shallow").read_bytes()
    except OSError:
        return b""
