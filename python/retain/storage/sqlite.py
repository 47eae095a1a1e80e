"""The embedded store: one SQLite file, a pool of readers, one writer with group commit."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from functools import partial
from typing import TypeVar

import apsw
import orjson

from retain.config import Settings
from retain.errors import StoreError
from retain.pool import ConnectionPool, PatientThreads, PoolStats
from retain.storage import migrations
from retain.storage.audit import Author
from retain.storage.connection import check_sqlite, connect, make_home, translated
from retain.storage.erasure import write_anew
from retain.storage.postings import RowLengths
from retain.storage.reads import Reader
from retain.storage.side_lock import LOCK_FILE, SideLock, present
from retain.storage.writer import GroupCommitWriter
from retain.storage.writes import STATE_FACT, renew_token

T = TypeVar("T")

LENGTHS_AT_ONCE = 20_000
"""Some 10 ms of reading."""

STOPPED_AGAIN_S = 0.02
"""A read that goes on after it was stopped is stopped once more."""

READER_IDLE_S = 300
"""A reader that nobody asked for so long is closed, with its pages and its statements."""


class SqliteStore:
    """Reads run side by side on pooled connections, each in one snapshot; writes run one after the other.

    Every write is on disk (WAL, synchronous=FULL) when its call returns.
    """

    def __init__(self, settings: Settings, author: Author, presence: int) -> None:
        """Use ``SqliteStore.open``."""
        self._settings = settings
        self._lengths = RowLengths()
        self._threads = PatientThreads(settings.readers, thread_name_prefix="retain-reader")
        self._readers: ConnectionPool[Reader] = ConnectionPool(
            self._open_reader,
            destroy=self._close_reader,
            max_size=settings.readers,
            acquire_timeout_ms=settings.acquire_timeout_ms,
            max_idle_s=READER_IDLE_S,
        )
        self._writer = GroupCommitWriter(
            lambda: connect(settings.database, writable=True),
            settings.home / LOCK_FILE,
            group_max=settings.group_commit_max,
            timeout_ms=settings.write_timeout_ms,
            before_commit=renew_token,
            author=author,
        )
        self._watch = connect(settings.database, writable=False)
        self._presence = presence
        self._behind = asyncio.Semaphore(max(1, settings.readers // 2))
        self._state: tuple[int, str | None] = (-1, None)
        self._closed = False

    @classmethod
    async def open(cls, settings: Settings, author: Author = Author()) -> SqliteStore:  # noqa: B008 - frozen
        """Opens the store, making it or bringing its schema up to date where needed.

        Args:
            settings: the place, and every limit.
            author: who writes, as the audit will say, where a write does not say.

        Raises:
            StoreUnusable: SQLite is too old, the place cannot be used, or a newer retain made the store.
            StoreCorrupt: the file is not a database.
        """
        check_sqlite(apsw.sqlite_lib_version())
        return await asyncio.to_thread(cls._open, settings, author)

    @classmethod
    def _open(cls, settings: Settings, author: Author) -> SqliteStore:
        make_home(settings.home, settings.database)
        presence = present(settings.home)
        try:
            with translated():
                connection = connect(settings.database, writable=True)
                try:
                    version = migrations.current_version(connection)
                    migrations.check_version(version)
                    if version < migrations.VERSION:
                        _prepare(connection, settings)
                finally:
                    connection.close()
                return cls(settings, author, presence)
        except BaseException:
            os.close(presence)
            raise

    async def read(self, query: Callable[[Reader], T]) -> T:
        """Runs a query inside one snapshot on a pooled connection, off the event loop.

        Raises:
            PoolTimeout: all readers are busy for too long.
            StoreError: SQLite failed.
        """
        async with self._readers.acquire() as reader:
            return await self._off_loop(_in_snapshot, reader, query, stop=reader.connection.interrupt)

    async def read_behind(self, query: Callable[[Reader], T]) -> T:
        """The same for what no answer waits for: of several readers it leaves half to those that do.

        Raises:
            PoolTimeout, StoreError: as ``read``.
        """
        async with self._behind:
            return await self.read(query)

    async def write(self, action: Callable[[apsw.Connection], T], author: Author | None = None) -> T:
        """Runs an action in the next transaction and returns when it is on disk.

        Args:
            action: what to do on the writer's connection.
            author: who the audit says it was; None is who opened the store.

        Raises:
            StoreBusy, StoreFull, StoreError: nothing of the action is stored.
        """
        return await self._writer.run(action, author)

    def version(self) -> int:
        """A number that differs after every commit of any process; costs some microseconds."""
        if self._closed:
            raise StoreError("the store is closed")
        with translated():
            return int(self._watch.pragma("data_version"))

    def state(self) -> tuple[int, str | None]:
        """The version, and the token by which any process knows the same state; None before the first write.

        The token may already be that of the next state. A snapshot tells: its ``STATE_FACT`` is its own.
        """
        version = self.version()
        if version != self._state[0]:
            with translated():
                token = self._watch.execute("SELECT value FROM fact WHERE name = ?", (STATE_FACT,)).get
            self._state = (version, token and orjson.loads(token))
        return self._state

    def pool_stats(self) -> PoolStats:
        """Counters of the reader pool."""
        return self._readers.stats()

    def writer_stats(self) -> dict[str, int]:
        """Writes and commits of this process: their ratio is what group commit saves."""
        return {"writes": self._writer.writes, "commits": self._writer.commits}

    async def read_lengths(self) -> None:
        """Reads the lengths of all texts, so that no question waits for them; rests as long as it reads.

        Raises:
            StoreError: SQLite failed, or the store is closed.
        """
        start = 1
        while start:
            begun = time.monotonic()
            start = await self.read_behind(partial(Reader.read_lengths, start=start, most=LENGTHS_AT_ONCE))
            await asyncio.sleep(time.monotonic() - begun)

    async def tend_readers(self) -> None:
        """From now on, closes readers that lie idle even while no other one is used."""
        await self._readers.start()

    async def shrink(self, *, drop_readers: bool = False) -> None:
        """Gives back the pages that idle connections keep, and with ``drop_readers`` those readers as well.

        Raises:
            StoreError: SQLite failed, or the store is closed.
        """
        if drop_readers:
            await self._readers.resize(0, 1)
            await self._readers.resize(0, self._settings.readers)
        async with AsyncExitStack() as held:
            for _ in range(self._readers.stats().pool_available):
                reader = await held.enter_async_context(self._readers.acquire())
                await self._off_loop(_shrink, reader.connection)
        if self._writer.writes:
            await self._writer.run(_shrink)

    async def write_anew(self) -> bool:
        """Writes every page anew and empties the write-ahead log; False where a reader still needs that.

        Raises:
            StoreFull: there is no room for a second copy.
        """

        def go() -> bool:
            lock = SideLock(self._settings.home / LOCK_FILE, timeout_s=self._settings.write_timeout_ms / 1000)
            try:
                with lock, translated():
                    connection = connect(self._settings.database, writable=True)
                    try:
                        return write_anew(connection)
                    finally:
                        connection.close()
            finally:
                lock.close()

        return await asyncio.to_thread(go)

    @staticmethod
    @contextmanager
    def closed_everywhere(settings: Settings) -> Iterator[None]:
        """A stretch of time in which no process has the store open, and none can open it.

        Raises:
            StoreBusy: one has.
        """
        fd = present(settings.home, fcntl.LOCK_EX)
        try:
            yield
        finally:
            os.close(fd)

    async def close(self) -> None:
        """Finishes queued writes, then closes every connection."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._writer.close)
        await self._readers.close()
        self._watch.close()
        os.close(self._presence)
        self._threads.shutdown(wait=False)

    async def _open_reader(self) -> Reader:
        return await self._off_loop(_open_reader, self._settings, self._lengths)

    async def _off_loop(
        self, work: Callable[..., T], *arguments: object, stop: Callable[[], None] = lambda: None
    ) -> T:
        """Runs work on a reader thread. Cancelled, it still waits for the thread: its connection is in use."""
        try:
            future = asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        except RuntimeError as error:
            problem = "the store is closed" if self._closed else f"no thread for a reader: {error}"
            raise StoreError(problem) from None
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            while not future.done():
                stop()  # again and again: what comes between two statements interrupts neither
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([future], timeout=STOPPED_AGAIN_S)
            future.exception()
            raise

    async def _close_reader(self, reader: Reader) -> None:
        reader.connection.close()


def _shrink(connection: apsw.Connection) -> None:
    with translated():
        connection.execute("PRAGMA shrink_memory")


def _open_reader(settings: Settings, lengths: RowLengths) -> Reader:
    with translated():
        return Reader(connect(settings.database, writable=False), lengths)


def _prepare(connection: apsw.Connection, settings: Settings) -> None:
    lock = SideLock(settings.home / LOCK_FILE, timeout_s=settings.write_timeout_ms / 1000)
    try:
        with lock:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            migrations.migrate(connection)
            connection.execute("COMMIT")
    finally:
        lock.close()


def _in_snapshot(reader: Reader, query: Callable[[Reader], T]) -> T:
    connection = reader.connection
    with translated():
        connection.execute("BEGIN")
        try:
            return query(reader)
        finally:
            if connection.in_transaction:
                connection.execute("COMMIT")
