"""The socket on which one server of a user answers hooks: election by a lock, frames, peers.

There is no daemon. Every server asks for the lock of ``run/hook.lock`` four times a second; the one that holds
it listens on ``run/hook.sock``. When it ends, in whatever way, or does not answer any more, another server
puts a socket of its own in place of the old one. A question and its answer are one frame each: four bytes of
length, little-endian, and as many bytes of JSON.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from retain.home import HOOK_SOCKET, RUN
from retain.interfaces.hook_election import Election, inode

logger = logging.getLogger(__name__)

ELECTION_S = 0.25
"""How often the lock is asked for: a server that died is followed within about this time."""

ELECTIONS_A_PING = 8
"""How many are lost before the one that holds the lock is asked for a sign of life: it may be stopped, or hang."""

QUESTION_BYTES_MAX = 16 * 1024 * 1024
QUESTION_S = 2.0
"""How long a client may take to send its question."""

CONNECTIONS_MAX = 16
"""Clients that are served at once; further ones are turned away and go on without an answer."""

PATH_BYTES_MAX = 100
"""Of a socket's address; Linux takes 107, macOS 103."""

LENGTH_BYTES = 4
DESCRIPTORS = Path("/proc/self/fd")

Answer = Callable[[bytes], Awaitable[bytes]]


class HookSocket:
    """Waits to be elected, then answers until it is cancelled or silenced.

    Args:
        home: the data directory; it must be there.
        answer: gives the answer to a question, within its own deadline; ValueError says that it is none.
    """

    def __init__(self, home: Path, answer: Answer) -> None:
        self._folder = home / RUN
        self._answer = answer
        self._serving: set[asyncio.Task[None]] = set()
        self._standing = asyncio.Event()
        self._standing.set()
        self._withdrawing = asyncio.Event()
        self._silent = asyncio.Event()
        self._silent.set()

    async def keep_running(self) -> None:
        """Answers whenever this process is elected; returns where the place cannot be used."""
        election = Election(self._folder)
        try:
            self._make_folder()
            while True:
                await self._elected(election)
                self._silent.clear()
                try:
                    await self._listen(election)
                finally:
                    election.let_go()
                    self._silent.set()
        except OSError as error:
            logger.warning("hook_socket.failed errno=%s", error.errno)
        finally:
            election.let_go()

    async def _elected(self, election: Election) -> None:
        """Waits until the lock is had; the system tells nobody when it is let go."""
        lost = 0
        await self._standing.wait()
        while not election.won():
            await asyncio.sleep(ELECTION_S)
            await self._standing.wait()
            lost += 1
            if lost >= ELECTIONS_A_PING:
                with short_name(self._folder) as short:
                    lost = 0 if await election.is_answered(f"{short}/{HOOK_SOCKET}") else lost

    async def while_silent(self, stop: Callable[[], None]) -> None:
        """Leaves hooks to another server, calls ``stop``, which stops this process, and stands again once it goes on.

        A process that was stopped while it holds the lock would keep every hook waiting in vain.
        """
        self._standing.clear()
        self._withdrawing.set()
        await self._silent.wait()
        stop()
        self._withdrawing.clear()
        self._standing.set()

    def _make_folder(self) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        if self._folder.stat().st_uid != os.getuid():
            raise PermissionError(1, "the folder belongs to another user")

    async def _listen(self, election: Election) -> None:
        listener = bound(self._folder)
        path = self._folder / HOOK_SOCKET
        own = path.lstat().st_ino
        try:
            server = await asyncio.start_unix_server(self._connected, sock=listener, backlog=CONNECTIONS_MAX)
            try:
                while election.is_held() and inode(path) == own and not self._withdrawing.is_set():
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._withdrawing.wait(), ELECTION_S)
            finally:
                server.close()
        finally:
            listener.close()
            if inode(path) == own:
                path.unlink(missing_ok=True)
            for task in self._serving:
                task.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a connection is served by a task"
        self._serving.add(task)
        try:
            if len(self._serving) <= CONNECTIONS_MAX and peer_uid(writer) == os.getuid():
                await self._serve(reader, writer)
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError) as error:
            logger.info("hook_socket.refused error=%s", type(error).__name__)
        except Exception:
            logger.exception("hook_socket.failed")
        finally:
            self._serving.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(QUESTION_S):
            size = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "little")
            if size == 0:
                return  # a sign of life was asked for
            if size > QUESTION_BYTES_MAX:
                raise ValueError(f"{size:,} bytes exceed the limit of {QUESTION_BYTES_MAX:,}")
            question = await reader.readexactly(size)
        answer = await self._answer(question)
        writer.write(len(answer).to_bytes(LENGTH_BYTES, "little") + answer)
        async with asyncio.timeout(QUESTION_S):
            await writer.drain()


def bound(folder: Path) -> socket.socket:
    """A listening socket at its place in a folder; what lay there is replaced at once.

    Raises:
        OSError: it cannot be made.
    """
    draft = f"{HOOK_SOCKET}.{os.getpid()}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(FileNotFoundError):
            (folder / draft).unlink()
        with short_name(folder) as short:
            listener.bind(f"{short}/{draft}")
        try:
            (folder / draft).chmod(0o600)
            listener.listen(CONNECTIONS_MAX)
            (folder / draft).rename(folder / HOOK_SOCKET)
        except OSError:
            (folder / draft).unlink()
            raise
    except OSError:
        listener.close()
        raise
    return listener


@contextmanager
def short_name(folder: Path) -> Iterator[str]:
    """A name of a folder that fits into a socket's address: its own, else one that leads to it for the moment."""
    longest = os.fsencode(folder / f"{HOOK_SOCKET}.4194304")
    if len(longest) <= PATH_BYTES_MAX:
        yield str(folder)
    elif DESCRIPTORS.is_dir():
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield f"{DESCRIPTORS}/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        with tempfile.TemporaryDirectory(prefix="retain-", dir="/tmp") as place:
            link = Path(place, "run")
            link.symlink_to(folder)
            yield str(link)


def peer_uid(writer: asyncio.StreamWriter) -> int:
    """The user on the other end of a connection, as the system says.

    Raises:
        OSError: it cannot tell.
    """
    peer: socket.socket = writer.get_extra_info("socket")
    if hasattr(socket, "SO_PEERCRED"):
        _, uid, _ = struct.unpack("iII", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return int(uid)
    local_peercred, xucred_bytes = 1, 76  # sys/un.h of macOS and the BSDs: version, uid, groups
    _, uid = struct.unpack_from("iI", peer.getsockopt(0, local_peercred, xucred_bytes))
    return int(uid)
