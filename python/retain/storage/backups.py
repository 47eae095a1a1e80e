"""Backups: whole copies of the store, of which only what changed takes room.

A backup is a snapshot by SQLite's online backup, cut into chunks of 64 KiB that are kept once, compressed, under the
hash of what they hold; a manifest lists them. Whatever reads a backup checks each chunk against its hash. Making one
blocks no writer; a backup that was cut short leaves no manifest, and its chunks are swept by the next one.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

import apsw
import orjson

from retain import keys
from retain.errors import NotFound, StoreBusy, StoreCorrupt, StoreError
from retain.sealing import ID_BYTES, SEALED, Key, Unsealable
from retain.storage import migrations
from retain.storage.audit import BY_UPGRADE, attach
from retain.storage.connection import copy_under, key_of, opened
from retain.storage.erasure import write_anew
from retain.whole_files import write_whole

BACKUPS = "backups"
"""The folder of the backups in a data directory."""
BACKUP_LOCK = "backup.lock"
CHUNK_BYTES = 65_536
PAGES_A_STEP = 1_000
MANIFEST_BYTES_MAX = 64 * 1024 * 1024
NAME_FORMAT = "%Y%m%dT%H%M%S.%fZ"
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A backup as its manifest tells of it.

    Attributes:
        name: its moment in UTC, which sorts by time.
        bytes: size of the database.
        new_bytes: what it added to the folder of the backups.
        head: number and hash of the last row of its audit.
    """

    name: str
    bytes: int
    new_bytes: int
    chunks: tuple[str, ...]
    head: tuple[int, str]

    @property
    def at(self) -> datetime:
        """When it was made."""
        return datetime.strptime(self.name, NAME_FORMAT).replace(tzinfo=UTC)


class Backups:
    """The backups in one folder, which is made (0700) when the first is written.

    Raises:
        StoreError: the folder cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._chunks = folder / "chunks"

    def known(self) -> list[Backup]:
        """Every backup, the oldest first. What is no manifest is passed over: ``verify`` tells of it."""
        found = []
        for path in self._manifests():
            with suppress(StoreCorrupt):
                found.append(_read_manifest(path))
        return found

    def named(self, name: str) -> Backup:
        """The backup with this name; ``latest`` is the newest.

        Raises:
            NotFound: there is none.
        """
        known = self.known()
        found = known[-1:] if name == "latest" else [one for one in known if one.name == name]
        if not found:
            raise NotFound(
                f"backup: no backup {name[:64]!r} in {self._folder}", hint="`retain backup --list`"
            )
        return found[0]

    def make(self, source: apsw.Connection, now: datetime, head: tuple[int, str]) -> Backup:
        """Backs up an open database; the copy is read again and checked before it counts.

        Raises:
            StoreError: it could not be written; the backups before it are untouched.
        """
        name = now.astimezone(UTC).strftime(NAME_FORMAT)
        part = self._folder / f"{name}.part"
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._chunks.mkdir(mode=0o700, exist_ok=True)
            copy_database(source, part)
            return self._store(name, part, head)
        except OSError as error:
            raise StoreError(f"the backup could not be written: {error.strerror}") from error
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def rewrite(self, backup: Backup, change: Callable[[apsw.Connection], bool]) -> bool:
        """Changes the database inside a backup; what it held before is removed. Returns what ``change`` says.

        Args:
            backup: which.
            change: changes the database of the backup in a transaction; False where nothing was to be changed.

        Raises:
            StoreCorrupt: the backup is damaged.
            StoreError: it could not be written; the backup is as it was.
        """
        part = self._folder / f"{backup.name}.part"
        part.unlink(missing_ok=True)
        self.assemble(backup, part)
        try:
            if changed := changed_file(part, change, anew=True):
                self._store(backup.name, part, backup.head)
                self.drop()
        except OSError as error:
            raise StoreError(f"the backup could not be written: {error.strerror}") from error
        finally:
            part.unlink(missing_ok=True)
        return changed

    def _store(self, name: str, part: Path, head: tuple[int, str]) -> Backup:
        """Keeps the chunks of a database that nobody has open, then writes its manifest."""
        check_copy(part)
        chunks, new, key = [], 0, keys.of_home(self._folder.parent)
        for data in pieces_of(part):
            digest, written = self._keep(data, key)
            chunks.append(digest)
            new += written
        os.sync()  # once for all chunks: each by itself would take a second for every 60 MB
        backup = Backup(name=name, bytes=part.stat().st_size, new_bytes=new, chunks=tuple(chunks), head=head)
        write_whole(self._folder / f"{name}.json", orjson.dumps(_as_json(backup)))
        return backup

    def assemble(self, backup: Backup, path: Path) -> None:
        """Writes the database of a backup to a new file (0600), each chunk checked.

        Raises:
            StoreCorrupt: a chunk is missing or is not what was backed up; the file is not left behind.
        """
        try:
            put_together(self.pieces(backup), path, keys.of_home(self._folder.parent))
            check_copy(path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def pieces(self, backup: Backup) -> Iterator[bytes]:
        """The database of a backup, piece by piece, in plain; each is checked.

        Raises:
            StoreCorrupt: a chunk is missing or is not what was backed up.
        """
        return map(self._chunk, backup.chunks)

    def seal_anew(self, key: Key | None) -> int:
        """Writes every chunk anew under a key, or plain, backup by backup; returns how many backups had another one.

        What an end in between leaves is whole: a chunk is removed when no backup needs it any more. A backup that is
        damaged stays as it is.
        """
        done = 0
        for one in self.known():
            try:
                names = {digest: self._under(digest, key) for digest in dict.fromkeys(one.chunks)}
            except StoreCorrupt:
                continue
            if any(name != digest for digest, name in names.items()):
                os.sync()
                again = replace(one, chunks=tuple(names[digest] for digest in one.chunks))
                write_whole(self._folder / f"{one.name}.json", orjson.dumps(_as_json(again)))
                done += 1
        self.drop()
        return done

    def verify(self, backup: Backup) -> list[str]:
        """What is wrong with the chunks of a backup; nothing where it is whole."""
        found = []
        for digest in sorted(set(backup.chunks)):
            try:
                self._chunk(digest)
            except StoreCorrupt as error:
                found.append(f"backup {backup.name}: {error}")
        return found

    def unreadable(self) -> list[str]:
        """Names of manifests that cannot be read."""
        names = []
        for path in self._manifests():
            try:
                _read_manifest(path)
            except StoreCorrupt:
                names.append(path.name)
        return names

    def drop(self, *names: str) -> int:
        """Removes backups and every chunk that no other one needs; returns the bytes that were freed."""
        for name in names:
            (self._folder / f"{name}.json").unlink(missing_ok=True)
        needed = {digest for backup in self.known() for digest in backup.chunks}
        freed = 0
        if self.unreadable() or not self._chunks.is_dir():
            return freed  # a manifest that may be mended still needs its chunks
        for path in self._chunks.iterdir():
            if path.name not in needed:
                freed += path.stat().st_size
                path.unlink()
        return freed

    def stale(self, kept: int) -> list[str]:
        """Names of the backups beyond the newest ``kept``, save the newest of each of the last eight weeks."""
        found = self.known()
        weekly: dict[tuple[int, int], str] = {}
        for backup in found:
            year, week, _ = backup.at.isocalendar()
            weekly[year, week] = backup.name
        spared = {*[one.name for one in found[-kept:]], *list(weekly.values())[-8:]}
        return [one.name for one in found if one.name not in spared]

    def _manifests(self) -> list[Path]:
        return sorted(self._folder.glob("*.json")) if self._folder.is_dir() else []

    def _under(self, digest: str, key: Key | None) -> str:
        """The name of the same chunk under another key, written where it is not there."""
        sealer = self._sealer(digest)
        if (sealer and sealer.id) == (key and key.id):
            return digest
        return self._keep(self._chunk(digest), key)[0]

    def _sealer(self, digest: str) -> Key | None:
        """The key of a chunk; None where it is plain, or not there."""
        with suppress(OSError), (self._chunks / digest).open("rb") as file:
            head = file.read(len(SEALED) + ID_BYTES)
            return keys.find(head[len(SEALED) :].hex()) if head.startswith(SEALED) else None
        return None

    def _keep(self, data: bytes, key: Key | None) -> tuple[str, int]:
        digest = _name_of(data, key)
        path = self._chunks / digest
        if path.exists():
            return digest, 0
        packed = zlib.compress(data, 6)
        if key is not None:
            packed = SEALED + bytes.fromhex(key.id) + key.seal(packed, "chunk")
        part = path.with_name(digest + ".part")
        with os.fdopen(os.open(part, _WRITE, 0o600), "wb") as file:
            file.write(packed)
        part.replace(path)
        return digest, len(packed)

    def _chunk(self, digest: str) -> bytes:
        key = self._sealer(digest)
        try:
            packed = (self._chunks / digest).read_bytes()
            if key is not None:
                packed = key.open(packed[len(SEALED) + ID_BYTES :], "chunk")
            data = zlib.decompress(packed, bufsize=CHUNK_BYTES)
        except (OSError, Unsealable, zlib.error) as error:
            raise StoreCorrupt(f"chunk {digest[:16]} cannot be read: {error}") from error
        if _name_of(data, key) != digest:
            raise StoreCorrupt(f"chunk {digest[:16]} is not what was backed up")
        return data


def _name_of(data: bytes, key: Key | None) -> str:
    """The name of a chunk: a hash of what it holds, by which nobody without the key can tell what that is."""
    return key.named(data, "chunk-name") if key else blake2b(data, digest_size=32).hexdigest()


def pieces_of(path: Path) -> Iterator[bytes]:
    """A database that nobody else has open, as pieces of one size, in plain."""
    if key_of(path) is None:
        with path.open("rb") as file:
            yield from iter(lambda: file.read(CHUNK_BYTES), b"")
        return
    connection = opened(path, flags=apsw.SQLITE_OPEN_READONLY)
    try:
        whole = bytearray(connection.serialize("main"))
    finally:
        connection.close()
    size, spare = int.from_bytes(whole[16:18], "big") or 65_536, whole[20]
    for at in range(size - spare, len(whole), size):
        whole[at : at + spare] = bytes(spare)  # nonce and tag: they make each copy of a page another one
    yield from (bytes(whole[at : at + CHUNK_BYTES]) for at in range(0, len(whole), CHUNK_BYTES))


def put_together(pieces: Iterable[bytes], path: Path, key: Key | None) -> None:
    """Writes the pieces of a database to a new file (0600), encrypted where there is a key; never plain on the way."""
    if key is not None:
        memory = apsw.Connection("file::memory:", flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI)
        try:
            memory.deserialize("main", b"".join(pieces))
            copy_under(memory, path, key)
        finally:
            memory.close()
        return
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.writelines(pieces)


def copy_database(source: apsw.Connection, path: Path) -> None:
    """Copies an open database, as one snapshot, into a new file (0600) that is on disk when this returns.

    Where it is encrypted, so is the copy, with the same key.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    name = source.db_filename("main")
    target = opened(path, key=key_of(Path(name)) if name else None)
    try:
        with target.backup("main", source, "main") as work:
            while not work.done:
                work.step(PAGES_A_STEP)
        target.execute("PRAGMA journal_mode = DELETE")
    finally:
        target.close()


def copy_store(source: apsw.Connection, path: Path) -> None:
    """Copies an open database into a data directory of its own, which is encrypted where the source is."""
    key = key_of(Path(source.db_filename("main")))
    if key is not None:
        keys.declare(path.parent, key)
    copy_database(source, path)


def check_copy(path: Path) -> None:
    """Checks the pages of a copy that nobody else has open.

    Raises:
        StoreCorrupt: it is damaged.
    """
    copy = opened(path, flags=apsw.SQLITE_OPEN_READONLY)
    try:
        found = copy.execute("PRAGMA quick_check(1)").get
    except apsw.Error as error:
        raise StoreCorrupt(f"the copy is damaged: {error}") from error
    finally:
        copy.close()
    if found != "ok":
        raise StoreCorrupt(f"the copy is damaged: {found}")


def changed_file(path: Path, change: Callable[[apsw.Connection], bool], *, anew: bool = False) -> bool:
    """Changes a database that nobody else has open, in one transaction; returns what ``change`` says.

    It gets the schema of today first: a backup may be older than that.
    With ``anew`` every page is written anew after a change, so that nothing of what was deleted stays behind.
    """
    connection = opened(path)
    try:
        with connection:
            migrations.migrate(connection)
            attach(connection, lambda: BY_UPGRADE)
            changed = change(connection)
        if changed and anew:
            write_anew(connection)
    finally:
        connection.close()
    return changed


def _as_json(backup: Backup) -> dict[str, object]:
    return {
        "name": backup.name, "bytes": backup.bytes, "new_bytes": backup.new_bytes,
        "chunks": backup.chunks, "head": backup.head,
    }  # fmt: skip


def _read_manifest(path: Path) -> Backup:
    try:
        with path.open("rb") as file:
            value = orjson.loads(file.read(MANIFEST_BYTES_MAX))
        backup = Backup(
            name=value["name"], bytes=value["bytes"], new_bytes=value["new_bytes"],
            chunks=tuple(value["chunks"]), head=(value["head"][0], value["head"][1]),
        )  # fmt: skip
        backup.at  # noqa: B018 - a name that is no time is refused here
        if backup.name != path.stem or not all(len(one) == 64 and one.isalnum() for one in backup.chunks):
            raise ValueError(backup.name)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise StoreCorrupt(f"{path.name} is no manifest of a backup") from error
    return backup


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Holds the lock of the backups, so that two servers do not make the same one.

    Raises:
        StoreBusy: another process holds it.
    """
    fd = os.open(home / BACKUP_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreBusy("another process is making a backup", hint="try again") from None
        yield
    finally:
        os.close(fd)
