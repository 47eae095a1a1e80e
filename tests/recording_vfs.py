"""A file system under SQLite that notes every write and sync, and can fail on the n-th of them.

From the notes, what a disk would hold after a power cut at any moment is made: all that was synced, and of the rest
each write whole, torn at a sector, or not at all. Shared memory is not offered, so WAL runs in exclusive mode.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

SECTOR = 512


@dataclass
class Journal:
    """What happened, in order: (what, file, offset, data); acknowledgements of the application stand in between."""

    events: list[tuple[str, str, int, bytes]] = field(default_factory=list)

    def acknowledge(self, name: str) -> None:
        self.events.append(("ack", name, 0, b""))

    def acknowledged(self, cut: int) -> list[str]:
        return [name for what, name, _, _ in self.events[:cut] if what == "ack"]

    def after_power_cut(self, cut: int, seed: int) -> dict[str, bytes]:
        """What each file holds where power went after so many events."""
        rng = random.Random(seed)
        files: dict[str, bytearray] = {}
        waiting: dict[str, list[tuple[str, int, bytes]]] = {}
        for what, name, offset, data in self.events[:cut]:
            if what == "sync":
                for change in waiting.pop(name, []):
                    _apply(files.setdefault(name, bytearray()), *change)
            elif what == "delete":
                files.pop(name, None)
                waiting.pop(name, None)
            elif what in {"write", "truncate"}:
                waiting.setdefault(name, []).append((what, offset, data))
        for name, changes in waiting.items():
            file = files.setdefault(name, bytearray())
            for what, offset, data in changes:
                fate, start, end = rng.random(), 0, len(data)
                if fate < 1 / 3:
                    continue
                if fate < 2 / 3:
                    start, end = sorted(rng.randrange(len(data) + 1) // SECTOR * SECTOR for _ in range(2))
                _apply(file, what, offset + start, data[start:end])
        return {name: bytes(data) for name, data in files.items()}


def _apply(file: bytearray, what: str, offset: int, data: bytes) -> None:
    if what == "truncate":
        del file[offset:]
        return
    if len(file) < offset:
        file.extend(bytes(offset - len(file)))
    file[offset : offset + len(data)] = data


class RecordingVFS(apsw.VFS):
    """The file system of the machine, with every change noted.

    Args:
        name: under which SQLite finds it.
        journal: where to note.
        fail: is asked before every operation (``write``, ``sync``, ``read``, ``truncate``); what it returns is raised.
    """

    def __init__(
        self, name: str, journal: Journal, fail: Callable[[str], Exception | None] = lambda _: None
    ) -> None:
        self.vfs_name = name
        self.journal = journal
        self.fail = fail
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self.journal.events.append(("delete", Path(filename).name, 0, b""))
        super().xDelete(filename, syncdir)


class _File(apsw.VFSFile):
    def __init__(self, vfs: RecordingVFS, name: Any, flags: list[int]) -> None:
        self._vfs = vfs
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._name = Path(path).name if path else "temporary"
        super().__init__("", name, flags)

    def _ask(self, what: str) -> None:
        if error := self._vfs.fail(what):
            raise error

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._ask("write")
        super().xWrite(data, offset)
        self._vfs.journal.events.append(("write", self._name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._ask("truncate")
        super().xTruncate(newsize)
        self._vfs.journal.events.append(("truncate", self._name, newsize, b""))

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._ask("sync")
        super().xSync(flags)
        self._vfs.journal.events.append(("sync", self._name, 0, b""))

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self._ask("read")
        return super().xRead(amount, offset)
