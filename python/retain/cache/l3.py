"""The third level of the cache: a SQLite file of its own, on this machine's disk.

It may be lost at any time and must never be wrong. One process owns the file (locking_mode=EXCLUSIVE: a
read then costs no lock and no shared memory, a third of the time); a second process takes the next of
``SLOTS`` files. Every value carries a checksum over key, expiry and content, looked at when it is read for the
first time and again after it was the oldest: what was whole here changes as little as what is in RAM, and the
sum takes a quarter of a read. synchronous=OFF: a killed process loses nothing, a crash of the machine can lose
deletions, so a file that was not closed before a reboot is thrown away; so is a damaged one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import apsw

from retain.cache.levels import CircuitBreaker, Entry
from retain.errors import CacheLevelDown

SLOTS = 4
"""How many processes can have a file at the same time; a further one has no L3."""

VERSION = 1
EVICT_BATCH = 64
PAGE_BYTES = 4_096
ENTRY_OVERHEAD_BYTES = 96
FILL = 0.7
"""Share of the bytes that entries may take; the rest is what pages of a tree leave empty."""

WAL_PAGES = 256
MMAP_BYTES_MAX = 1 << 30
NEVER = float("inf")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entry (
    slot INTEGER PRIMARY KEY, seq INTEGER NOT NULL, size INTEGER NOT NULL, expires REAL NOT NULL,
    data BLOB NOT NULL -- expiry, length of the key, key, value, checksum
);
CREATE INDEX IF NOT EXISTS entry_age ON entry (seq, size, expires);
CREATE TABLE IF NOT EXISTS tag (name TEXT, slot INTEGER, PRIMARY KEY (name, slot)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tag_slot ON tag (slot);
"""
_HEAD = struct.Struct("<dI")
_HEAD_BYTES = _HEAD.size
_unpack = _HEAD.unpack_from
_SUM_BYTES = 4
_WHOLE = 0x2144DF1C
"""What crc32 gives for anything that ends with its own crc32, little-endian."""

_DAMAGE = (
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.SchemaChangeError,
    UnicodeDecodeError,
    TypeError,
    ValueError,
)


class _Full(Exception):
    """No page is left in the file, or no room on the disk."""


class DiskCache:
    """A bounded map from str to bytes in a file; calls take microseconds and do not wait for the disk.

    Eviction is CLOCK: the oldest entry goes unless it was read since it last was the oldest. To be used from
    one thread. About 100 bytes of RAM an entry.

    Args:
        folder: where the file lies; it is made where missing (0700).
        bytes_max: most bytes of the file. Beside it stands a write-ahead log of about 1 MiB.
        entries_max: most entries.
        clock: seconds since the epoch.
        boot: what differs after a reboot; None where the system does not say.

    Raises:
        CacheLevelDown: other processes own every file, or the folder cannot be used.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        bytes_max: int = 1 << 28,
        entries_max: int = 100_000,
        clock: Callable[[], float] = time.time,
        boot: Callable[[], str | None] | None = None,
    ) -> None:
        if bytes_max < 64 * PAGE_BYTES or entries_max < 1:
            raise ValueError("bytes_max must be at least 256 KiB and entries_max at least 1")
        self._folder = Path(folder)
        self._bytes_max = bytes_max
        self._fill_max = int(bytes_max * FILL)
        self._entries_max = entries_max
        self._clock = clock
        self._boot = (boot or boot_id)()
        self._sizes: dict[int, int] = {}
        self._touched: set[int] = set()
        self._counts = dict.fromkeys(
            ("writes", "evictions", "expirations", "too_large", "damaged", "rebuilds"), 0
        )
        self._connection: apsw.Connection | None = None
        self._breaker = CircuitBreaker(failures_max=1)
        self._owned: int | None = None
        self._blob: apsw.Blob | None = None
        self._shut()
        self._open()

    def get(self, key: str) -> bytes | None:
        """The value, or None where there is none that is alive and whole.

        Raises:
            CacheLevelDown: the file cannot be read.
        """
        name = key.encode()
        slot = crc32(name)
        blob = self._blob
        try:
            if blob is None:
                blob = self._open_blob(slot)
            else:
                blob.reopen(slot)
            data: bytes = blob.read()
            if slot not in self._touched:
                if crc32(data) != _WHOLE:
                    raise ValueError("the checksum differs")
                self._touched.add(slot)
            expires, length = _unpack(data)
        except (*_DAMAGE, apsw.Error) as error:
            self._not_read(slot, error)
            return None
        if length != len(name) or not data.startswith(name, _HEAD_BYTES):
            return None
        if expires != NEVER and expires <= self._clock():
            return None
        return data[_HEAD_BYTES + length : -_SUM_BYTES]

    def _not_read(self, slot: int, error: Exception) -> None:
        """A row that is not there is a miss, and damage where it should be there."""
        self._close_blob()
        if self._connection is None:
            self._open_again()
        elif slot in self._sizes:
            if not isinstance(error, (*_DAMAGE, apsw.SQLError)):
                raise self._down(error) from error
            self._counts["damaged"] += 1
            self._rebuild()

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The pairs that are there."""
        return {key: value for key in keys if (value := self.get(key)) is not None}

    def set(self, key: str, value: bytes, ttl: float | None = None, tags: Sequence[str] = ()) -> None:
        """Stores a value over an older one; see ``set_many``."""
        self.set_many((Entry(key, value, ttl, tuple(tags)),))

    def set_many(self, entries: Sequence[Entry], *, only_new: bool = False) -> None:
        """Stores values, all or none, and evicts what no longer fits.

        A value that alone takes more than a tenth of the cache is not stored, and its older one is removed.

        Raises:
            CacheLevelDown: the file cannot be written.
        """
        for attempt in (1, 2):
            try:
                with self._transaction():
                    for entry in entries:
                        if not (only_new and crc32(entry.key.encode()) in self._sizes):
                            self._put(entry)
                    self._evict()
            except _Full as error:
                if attempt == 2:
                    raise self._down(error) from error
                self._make_room()
            else:
                return

    def delete_many(self, keys: Iterable[str]) -> int:
        """Removes keys, and the rare ones that share their place; how many were there.

        Raises:
            CacheLevelDown: the file cannot be written.
        """
        with self._transaction():
            return sum(self._remove(crc32(key.encode())) for key in keys)

    def delete(self, key: str) -> bool:
        """Removes a key; whether it was there."""
        return bool(self.delete_many((key,)))

    def invalidate_tag(self, tag: str) -> int:
        """Removes the entries with this tag; how many there were.

        Raises:
            CacheLevelDown: the file cannot be written.
        """
        with self._transaction():
            rows = self._rows("SELECT slot FROM tag WHERE name = ?", (tag,))
            return sum(self._remove(slot) for (slot,) in rows)

    def clear(self) -> None:
        """Removes every entry, those of other processes too: their files go, and they make new ones.

        Raises:
            CacheLevelDown: it is closed, or a file cannot be removed.
        """
        if self._owned is None:
            raise CacheLevelDown("the disk cache is closed")
        self._rebuild()
        try:
            for number in range(SLOTS):
                if (other := self._folder / _name(number)) != self._path:
                    _remove(other)
        except OSError as error:
            raise self._down(error) from error

    def stats(self) -> dict[str, int]:
        """``entries``, their ``bytes``, and what happened since the file was opened."""
        return {"entries": len(self._sizes), "bytes": self._bytes, **self._counts}

    def close(self) -> None:
        """Closes the file, marked as whole; another process may have it then."""
        if self._connection is not None:
            self._close_blob()
            with contextlib.suppress(apsw.Error):
                self._connection.execute("PRAGMA synchronous = FULL")
                self._rows("INSERT OR REPLACE INTO meta VALUES ('closed', 1)")
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self._shut()
        if self._owned is not None:
            os.close(self._owned)
            self._owned = None

    def __len__(self) -> int:
        return len(self._sizes)

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def _make_room(self) -> None:
        try:
            with self._transaction():
                self._evict(share=0.8)
        except _Full as error:
            raise self._down(error) from error

    # The file

    def _open(self) -> None:
        try:
            for folder in (
                self._folder.parent,
                self._folder,
            ):  # each: what mkdir makes on the way is open to others
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CacheLevelDown(f"{self._folder} cannot be used: {error.strerror}") from error
        if not any(self._lock_file(number) for number in range(SLOTS)):
            raise CacheLevelDown(f"{SLOTS} processes own the disk caches in {self._folder}")
        try:
            self._open_file()
        except _DAMAGE:
            self._rebuild()
        except (apsw.Error, OSError) as error:
            self._shut()
            raise self._down(error) from error

    def _lock_file(self, number: int) -> bool:
        self._path = self._folder / _name(number)
        fd = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return False
        self._owned = fd
        return True

    def _open_again(self) -> None:
        """After a failure: tries to open the file, at intervals that grow."""
        if self._owned is None:
            raise CacheLevelDown("the disk cache is closed")
        self._breaker.check("the disk cache")
        try:
            self._open_file()
        except _DAMAGE:
            self._rebuild()
        except (apsw.Error, OSError) as error:
            self._shut()
            self._breaker.failed()
            raise self._down(error) from error
        self._breaker.succeeded()

    def _open_file(self) -> None:
        # Made by us, so that nobody else can read it; SQLite gives the WAL the same mode.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._connection = connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.set_busy_timeout(0)
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.pragma("journal_mode", "wal")
        connection.execute(
            f"PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = {WAL_PAGES};"
            f"PRAGMA max_page_count = {self._bytes_max // PAGE_BYTES};"
            f"PRAGMA mmap_size = {min(self._bytes_max, MMAP_BYTES_MAX)};"
            f"PRAGMA journal_size_limit = {2 * WAL_PAGES * PAGE_BYTES}"
        )
        if connection.pragma("user_version") not in {0, VERSION}:
            raise ValueError("made by another version")
        connection.execute(_SCHEMA)
        connection.pragma("user_version", VERSION)
        self._check_boot()
        self._count()
        # The file is open from here on; whatever happens before it is closed again stays visible.
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('closed', 0), ('boot', ?)", (self._boot,))

    def _check_boot(self) -> None:
        meta = dict(self._rows("SELECT name, value FROM meta"))
        if meta and not meta.get("closed") and (self._boot is None or meta.get("boot") != self._boot):
            raise ValueError("not closed before a reboot")

    def _count(self) -> None:
        self._sizes = dict(self._rows("SELECT slot, size FROM entry INDEXED BY entry_age"))
        self._bytes = sum(self._sizes.values())
        self._seq = self._rows("SELECT coalesce(max(seq), 0) FROM entry")[0][0]
        self._tagged = bool(self._rows("SELECT 1 FROM tag LIMIT 1"))

    def _rebuild(self) -> None:
        """A damaged file is thrown away whole: where one page is wrong, others may be."""
        self._counts["rebuilds"] += 1
        self._make_new()

    def _make_new(self) -> None:
        self._shut()
        try:
            _remove(self._path)
            self._open_file()
        except (apsw.Error, OSError) as error:
            self._shut()
            raise self._down(error) from error

    def _shut(self) -> None:
        self._close_blob()
        if self._connection is not None:
            with contextlib.suppress(apsw.Error):
                self._connection.close()
        self._connection = None
        self._touched = set()
        self._sizes = {}
        self._bytes = self._seq = 0
        self._tagged = False

    def _down(self, error: BaseException | None) -> CacheLevelDown:
        return CacheLevelDown(
            f"the disk cache in {self._folder} cannot be used: {type(error).__name__}: {error}"
        )

    # Inside the file

    def _open_blob(self, slot: int) -> apsw.Blob:
        """One open handle for all reads: moving it takes half the time of a statement."""
        if self._connection is None:
            raise apsw.ConnectionClosedError("the file is not open")
        self._blob = self._connection.blob_open("main", "entry", "data", slot, writeable=False)
        return self._blob

    def _close_blob(self) -> None:
        """Ends the snapshot that the handle holds: a write-ahead log under a reader grows for ever."""
        blob, self._blob = self._blob, None
        if blob is not None:
            with contextlib.suppress(apsw.Error):
                blob.close(force=True)

    def _is_over(self, expires: float) -> bool:
        return expires != NEVER and expires <= self._clock()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        if self._connection is None:
            self._open_again()
        elif not self._path.exists():  # another process has cleared the folder
            self._make_new()
        self._close_blob()
        connection = self._connection
        try:
            self._rows("BEGIN IMMEDIATE")
            yield
            self._rows("COMMIT")
        except apsw.FullError as error:
            self._roll_back()
            raise _Full(str(error)) from error
        except _DAMAGE as error:
            self._counts["damaged"] += 1
            self._rebuild()
            raise self._down(error) from error
        except apsw.Error as error:
            self._roll_back()
            raise self._down(error) from error
        assert connection is self._connection, "nothing inside a transaction opens the file anew"

    def _roll_back(self) -> None:
        """Takes back what the transaction did, and counts again what there is."""
        assert self._connection is not None, "a transaction is rolled back while the file is open"
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._count()
        except apsw.Error:
            self._shut()

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        assert self._connection is not None, "the file is open"
        return list(self._connection.execute(sql, values))

    def _put(self, entry: Entry) -> None:
        name = entry.key.encode()
        slot = crc32(name)
        self._remove(slot)
        size = len(entry.value) + len(name) + ENTRY_OVERHEAD_BYTES
        if size * 10 > self._fill_max:
            self._counts["too_large"] += 1
            return
        expires = NEVER if entry.ttl is None else self._clock() + entry.ttl
        data = b"".join((_HEAD.pack(expires, len(name)), name, entry.value))
        data += crc32(data).to_bytes(_SUM_BYTES, "little")
        self._seq += 1
        self._rows("INSERT INTO entry VALUES (?, ?, ?, ?, ?)", (slot, self._seq, size, expires, data))
        if entry.tags:
            self._tagged = True
            self._execute_many("INSERT INTO tag VALUES (?, ?)", [(tag, slot) for tag in set(entry.tags)])
        self._sizes[slot] = size
        self._bytes += size
        self._counts["writes"] += 1

    def _execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        assert self._connection is not None, "the file is open"
        self._connection.executemany(sql, rows)

    def _remove(self, slot: int) -> bool:
        """Removes what is in a slot; whether something was."""
        size = self._sizes.pop(slot, None)
        if size is None:
            return False
        self._rows("DELETE FROM entry WHERE slot = ?", (slot,))
        if self._tagged:
            self._rows("DELETE FROM tag WHERE slot = ?", (slot,))
        self._touched.discard(slot)
        self._bytes -= size
        return True

    def _evict(self, share: float = 1.0) -> None:
        """Evicts until the entries take at most this share of what they may."""
        while self._is_over_full(share):
            oldest = self._rows(
                "SELECT slot, expires FROM entry INDEXED BY entry_age ORDER BY seq LIMIT ?", (EVICT_BATCH,)
            )
            self._evict_some(oldest, share)

    def _is_over_full(self, share: float) -> bool:
        return self._bytes > self._fill_max * share or len(self._sizes) > self._entries_max * share

    def _evict_some(self, oldest: Sequence[tuple[int, float]], share: float) -> None:
        for slot, expires in oldest:
            if not self._is_over_full(share):
                return
            over = self._is_over(expires)
            if slot in self._touched and not over:
                self._touched.discard(slot)
                self._seq += 1
                self._rows("UPDATE entry SET seq = ? WHERE slot = ?", (self._seq, slot))
                continue
            self._remove(slot)
            self._counts["expirations" if over else "evictions"] += 1


def _name(number: int) -> str:
    return f"cache-{number}.db"


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def boot_id() -> str | None:
    """What the kernel calls this boot; None where it does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
