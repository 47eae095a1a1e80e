"""The commits of a repository as a graph of numbers: who is whose ancestor, in microseconds.

Commits are numbered so that parents come before their children, and new ones are only ever added, so what was
read once stays true. Objects are read through libgit2 (pygit2), which is imported when a commit is met that is not
known yet; the graph of a repository is kept in a file of the data directory, so most processes never import it.

A graph takes about 36 bytes a commit. Nothing here is for two threads at once.
"""

from __future__ import annotations

import re
import struct
import threading
import time
import zlib
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from retain.whole_files import write_whole

if TYPE_CHECKING:
    import pygit2

ID_BYTES = 20
MAGIC = b"RTG1"
_HEADER = struct.Struct("<4sIIQ")  # magic, crc32 of the rest, bytes of JSON, commits
NO_COMMIT = -1
OBJECT_CACHE_BYTES = 4 << 20
"""Bytes of objects that libgit2 may keep; each commit is read once."""
SETS_MAX = 32
"""Ancestor sets that are kept; each takes a byte a commit."""
HEADS_MAX = 4
TWINS_MAX = 4_096
STEPS_BEFORE = 64
"""How far back a commit is looked for whose set can be gone on from."""
STEPS_PER_LOOK = 256
"""Commits read between two looks at the clock."""

_REVERTS = re.compile(rb"This reverts commit ([0-9a-f]{7,40})")


class Late(Exception):
    """The time that was given is over; what was read so far is kept."""


class Deadline:
    """A moment on the monotonic clock; ``seconds`` None never comes, unless all is to stop."""

    def __init__(self, seconds: float | None, stop: threading.Event | None = None) -> None:
        self._at = None if seconds is None else time.perf_counter() + seconds
        self._stop = stop

    def check(self) -> None:
        """Raises ``Late`` after the moment, and once all is to stop."""
        if (self._at is not None and time.perf_counter() > self._at) or (self._stop and self._stop.is_set()):
            raise Late


def open_repository(common_dir: str) -> pygit2.Repository | None:
    """The repository for reading objects, or None where it cannot be read (missing, damaged, SHA-256).

    Who owns its files is not asked: nothing of it is executed, and a container often runs as another user.
    """
    import pygit2

    pygit2.settings.owner_validation = False
    pygit2.settings.cache_max_size(OBJECT_CACHE_BYTES)
    try:
        return pygit2.Repository(common_dir)
    except (pygit2.GitError, KeyError, ValueError):
        return None


class History:
    """The graph of one repository.

    Args:
        common_dir: its git directory.
        file: where the graph is kept between processes; None keeps it in RAM.
    """

    def __init__(self, common_dir: str, file: Path | None = None) -> None:
        self._common_dir = common_dir
        self._file = file
        self._repository: pygit2.Repository | None = None
        self._ids = bytearray()
        self._first = array("i")  # the first parent, or NO_COMMIT
        self._second = array("i")
        self._marks = array("Q")  # of author, time and subject: the same after a rebase or a cherry-pick
        self._more: dict[int, list[int]] = {}  # the parents of an octopus after the second
        self._reverts: dict[int, list[str]] = {}
        self._cut: set[int] = set()  # commits with a parent that is not there
        self._sorted = array(
            "I"
        )  # numbers in the order of their ids, of those that were there when it was made
        self._late: dict[bytes, int] = {}  # those that came after
        self._saved = 0
        self._line = array("i")
        self._sets: OrderedDict[int, Ancestors] = OrderedDict()
        self._heads: OrderedDict[int, Ancestors] = OrderedDict()
        self._twins: dict[int, tuple[int, list[int]]] = {}
        if file is not None:
            self._load(file)

    def __len__(self) -> int:
        return len(self._first)

    def repository(self) -> pygit2.Repository | None:
        """The repository, opened when first asked for; None where it cannot be read."""
        if self._repository is None:
            self._repository = open_repository(self._common_dir)
        return self._repository

    def close(self) -> None:
        """Gives up open files and what libgit2 holds in RAM; a later question opens them again."""
        if self._repository is not None:
            self._repository.free()
            self._repository = None

    def number(self, commit: str) -> int:
        """The number of a commit (hex) that is known; ``NO_COMMIT`` else."""
        try:
            return self._number(bytes.fromhex(commit))
        except ValueError:
            return NO_COMMIT

    def _number(self, wanted: bytes) -> int:
        late = self._late.get(wanted)
        if late is not None:
            return late
        ids, order = self._ids, self._sorted
        low, high = 0, len(order)
        while low < high:
            middle = (low + high) >> 1
            start = order[middle] * ID_BYTES
            if ids[start : start + ID_BYTES] < wanted:
                low = middle + 1
            else:
                high = middle
        if low < len(order):
            start = order[low] * ID_BYTES
            if ids[start : start + ID_BYTES] == wanted:
                return order[low]
        return NO_COMMIT

    def hex_of(self, number: int) -> str:
        """The id of a commit."""
        return self._ids[number * ID_BYTES : (number + 1) * ID_BYTES].hex()

    def find(self, commit: str, deadline: Deadline) -> int:
        """The number of a commit, read with all its history where it is new; ``NO_COMMIT`` where it is not there.

        Raises:
            Late: the deadline came before all was read.
        """
        number = self.number(commit)
        if number != NO_COMMIT or len(commit) != 2 * ID_BYTES:
            return number
        repository = self.repository()
        if repository is None or commit not in repository:
            return NO_COMMIT
        self._read(repository, commit, deadline)
        return self.number(commit)

    def _read(self, repository: pygit2.Repository, commit: str, deadline: Deadline) -> None:
        """Adds a commit and its ancestors, parents first."""
        import pygit2

        stack: list[tuple[pygit2.Oid, pygit2.Commit | None]] = [(pygit2.Oid(hex=commit), None)]
        steps = 0
        while stack:
            steps += 1
            if steps % STEPS_PER_LOOK == 0:
                deadline.check()
            oid, found = stack.pop()
            if self._number(oid.raw) != NO_COMMIT:
                continue
            if found is None:
                found = _commit(repository, oid)
                if found is None:
                    continue
                parents = [parent for parent in found.parent_ids if self._number(parent.raw) == NO_COMMIT]
                if parents:
                    stack.append((oid, found))
                    stack += [(parent, None) for parent in reversed(parents)]
                    continue
            self._add(found)

    def _add(self, commit: pygit2.Commit) -> None:
        number = len(self._first)
        parents = [self._number(oid.raw) for oid in commit.parent_ids]
        if NO_COMMIT in parents:
            self._cut.add(number)
        wanted = commit.id.raw
        self._ids += wanted
        self._late[wanted] = number
        self._first.append(parents[0] if parents else NO_COMMIT)
        self._second.append(parents[1] if len(parents) > 1 else NO_COMMIT)
        if len(parents) > 2:
            self._more[number] = [parent for parent in parents[2:] if parent != NO_COMMIT]
        message = commit.raw_message
        author = commit.author
        text = b"%s\0%d\0%s" % (
            author.raw_email or b"",
            author.time,
            message.lstrip(b"\n").partition(b"\n")[0],
        )
        self._marks.append(int.from_bytes(blake2b(text, digest_size=8).digest(), "little"))
        if b"This reverts commit" in message:
            self._reverts[number] = [found.decode() for found in _REVERTS.findall(message)]

    def parents(self, number: int) -> Iterator[int]:
        """The parents of a commit that are there."""
        for parent in (self._first[number], self._second[number]):
            if parent != NO_COMMIT:
                yield parent
        yield from self._more.get(number, ())

    def first_parent(self, number: int) -> int:
        """The first parent, or ``NO_COMMIT``."""
        return self._first[number]

    def line(self, tip: int) -> array[int]:
        """The first parents from the root to a commit, that one included; the last line asked for is kept."""
        found = array("i")
        kept, number = self._line, tip
        while number != NO_COMMIT:
            place = bisect_left(kept, number)
            if place < len(kept) and kept[place] == number:
                found.reverse()
                self._line = kept[: place + 1] + found
                return self._line
            found.append(number)
            number = self._first[number]
        found.reverse()
        self._line = found
        return found

    def is_merge(self, number: int) -> bool:
        """Whether a commit has more than one parent."""
        return self._second[number] != NO_COMMIT

    def is_cut(self) -> bool:
        """Whether the history of any commit goes on where nothing is there."""
        return bool(self._cut)

    def reverts(self) -> dict[int, list[str]]:
        """For each commit whose message says so, the ids (perhaps short) of those that it reverts."""
        return self._reverts

    def twins(self, number: int) -> list[int]:
        """Other commits of the same author, second and subject."""
        start, found = self._twins.get(number, (0, []))
        mark = self._marks[number]
        while True:
            try:
                start = self._marks.index(mark, start)
            except ValueError:
                break
            if start != number:
                found.append(start)
            start += 1
        if len(self._twins) >= TWINS_MAX:
            self._twins.clear()
        self._twins[number] = (len(self), found)
        return found

    def ancestors(self, number: int) -> Ancestors:
        """The commit and all its ancestors; the sets of the last ones asked for are kept.

        Where a commit follows one whose set is kept, that set is gone on from.
        """
        known = self._sets.get(number) or self._heads.get(number)
        if known is None:
            known = Ancestors(self._first, self._second, self._more, number, self._set_before(number))
        self._sets[number] = known
        self._sets.move_to_end(number)
        if len(self._sets) > SETS_MAX:
            self._sets.popitem(last=False)
        return known

    def ancestors_of_head(self, number: int) -> Ancestors:
        """The same for a commit that is checked out; these sets are kept longer."""
        known = self.ancestors(number)
        self._heads[number] = known
        if len(self._heads) > HEADS_MAX:
            self._heads.popitem(last=False)
        return known

    def _set_before(self, number: int) -> Ancestors | None:
        for _ in range(STEPS_BEFORE):
            number = self._first[number]
            if number == NO_COMMIT:
                return None
            known = self._sets.get(number) or self._heads.get(number)
            if known is not None:
                return known
        return None

    # The file

    def save(self) -> None:
        """Keeps the graph in its file, where it has grown."""
        if self._file is None or len(self) == self._saved:
            return
        ids = bytes(self._ids)
        order = sorted(range(len(self)), key=lambda n: ids[n * ID_BYTES : (n + 1) * ID_BYTES])
        self._sorted, self._late = array("I", order), {}
        extra = {
            "more": {str(number): parents for number, parents in self._more.items()},
            "reverts": {str(number): ids for number, ids in self._reverts.items()},
            "cut": sorted(self._cut),
        }
        text = orjson.dumps(extra)
        body = b"".join(
            (
                text,
                ids,
                self._first.tobytes(),
                self._second.tobytes(),
                self._sorted.tobytes(),
                self._marks.tobytes(),
            )
        )
        head = _HEADER.pack(MAGIC, zlib.crc32(body), len(text), len(self))
        keep_found(self._file, head + body)
        self._saved = len(self)

    def _load(self, file: Path) -> None:
        try:
            data = file.read_bytes()
            magic, check, text_bytes, count = _HEADER.unpack_from(data)
        except (OSError, struct.error):
            return
        body = memoryview(data)[_HEADER.size :]
        sizes = (ID_BYTES, 4, 4, 4, 8)
        if magic != MAGIC or len(body) != text_bytes + count * sum(sizes) or zlib.crc32(body) != check:
            return  # it is only a copy of what git has: it is made anew
        extra = orjson.loads(body[:text_bytes])
        parts: list[Any] = []
        start = text_bytes
        for size in sizes:
            parts.append(body[start : start + size * count])
            start += size * count
        self._ids = bytearray(parts[0])
        for target, part in zip(
            (self._first, self._second, self._sorted, self._marks), parts[1:], strict=True
        ):
            target.frombytes(part)
        self._more = {int(number): parents for number, parents in extra["more"].items()}
        self._reverts = {int(number): ids for number, ids in extra["reverts"].items()}
        self._cut = set(extra["cut"])
        self._saved = count


class Ancestors:
    """A commit and its ancestors, looked for only as far back as a question needs."""

    def __init__(
        self,
        first: array[int],
        second: array[int],
        more: dict[int, list[int]],
        top: int,
        before: Ancestors | None = None,
    ) -> None:
        self._first, self._second, self._more = first, second, more
        self.top = top
        self._flags = bytearray(top + 1)
        self._flags[top] = 1
        self._next = top  # numbers above this one are decided
        if before is not None:
            self._go_on_from(before)

    def _go_on_from(self, before: Ancestors) -> None:
        """Takes over the set of an ancestor, and adds what leads from it to this commit."""
        waiting = [self.top]
        while waiting:
            number = waiting.pop()
            self._flags[number] = 1
            parents = (self._first[number], self._second[number], *self._more.get(number, ()))
            waiting += [p for p in parents if p >= 0 and not self._flags[p] and p not in before]
        size = len(before._flags)
        both = int.from_bytes(self._flags[:size], "little") | int.from_bytes(before._flags, "little")
        self._flags[:size] = both.to_bytes(size, "little")
        self._next = before._next

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, int) or not 0 <= number <= self.top:
            return False
        if number <= self._next:
            self._look_back(number)
        return bool(self._flags[number])

    def newest_first(self, after: int = NO_COMMIT) -> Iterator[int]:
        """All of them, children before their parents, down to a number, which is left out."""
        place = self.top
        while place > after:
            if place <= self._next:
                self._look_back(place)
            yield place
            place = self._flags.rfind(1, 0, place)

    def _look_back(self, number: int) -> None:
        flags, first, second, more = self._flags, self._first, self._second, self._more
        # rfind jumps over commits of other branches at the speed of memory.
        place = flags.rfind(1, 0, self._next + 1)
        while place >= number:
            parent = first[place]
            if parent >= 0:
                flags[parent] = 1
                parent = second[place]
                if parent >= 0:
                    flags[parent] = 1
                    for parent in more.get(place, ()) if more else ():
                        flags[parent] = 1
            place = flags.rfind(1, 0, place)
        self._next = number - 1


def merge_base(history: History, tip: int, ancestors: Ancestors) -> int:
    """The newest ancestor of a commit that is in a history; ``NO_COMMIT`` where they share none."""
    if tip in ancestors:
        return tip
    return next((n for n in history.ancestors(tip).newest_first() if n in ancestors), NO_COMMIT)


def _commit(repository: pygit2.Repository, oid: pygit2.Oid) -> pygit2.Commit | None:
    thing: object = repository.get(oid)
    return thing if hasattr(thing, "parent_ids") else None  # type: ignore[return-value] # else a tag or a blob


def line_to(history: History, tip: int, start: int, most: int) -> list[int] | None:
    """The first parents from a tip back to a commit, oldest first and without that one; None where it is not met."""
    found: list[int] = []
    number = tip
    while number != start:
        if number == NO_COMMIT or number < start or len(found) >= most:
            return None
        found.append(number)
        number = history.first_parent(number)
    found.reverse()
    return found


def keep_found(path: Path, data: bytes) -> None:
    """Keeps in a file what git can be asked again; where that fails the old one stays."""
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, data, durable=False)
