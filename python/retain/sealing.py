"""Bytes at rest, sealed with the key of a data directory; the ciphers are in Rust (``rust/seal``).

What is sealed names its key in plain, so that a wrong key gives a clear error and never looks like damage. A data
directory has one secret; each purpose has a key of its own, derived from it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import IO, Any

from retain._core import (
    key_id,
    open_with_key,
    open_with_secret,
    public_key,
    seal_to_public,
    seal_with_key,
)

SECRET_BYTES = 32
NONCE_BYTES = 24
ID_BYTES = 8
SEALED = b"RTSEAL1\n"
"""What begins a sealed file; the id of its key follows."""
PIECE_BYTES = 1 << 20
_COUNTED = 9
"""Last bytes of the nonce of a piece: its number, and whether it is the last."""


class Unsealable(ValueError):
    """It was sealed with another key, cut short or changed."""


@dataclass(frozen=True, slots=True)
class Key:
    """The secret of a data directory.

    Attributes:
        secret: 32 random bytes.
        public: seals events for it; a hook knows no more.
        id: a hash of the public key, in hexadecimal: what stands in plain on all that was sealed.
    """

    secret: bytes = field(repr=False)
    public: bytes = field(init=False, repr=False)
    id: str = field(init=False)

    def __post_init__(self) -> None:
        if len(self.secret) != SECRET_BYTES:
            raise ValueError(f"a key has {SECRET_BYTES} bytes")
        object.__setattr__(self, "public", public_key(self.secret))
        object.__setattr__(self, "id", key_id(self.public).hex())

    @classmethod
    def fresh(cls) -> Key:
        """A new one, from the system's randomness."""
        return cls(os.urandom(SECRET_BYTES))

    def derived(self, purpose: str) -> bytes:
        """The key for one purpose (at most 16 bytes of ASCII); none of them tells anything of the others."""
        return blake2b(b"retain", key=self.secret, person=purpose.encode(), digest_size=SECRET_BYTES).digest()

    def named(self, data: bytes, purpose: str) -> str:
        """A hash of data that says nothing to whoever has not the key."""
        return blake2b(data, key=self.derived(purpose), digest_size=SECRET_BYTES).hexdigest()

    def seal(self, data: bytes, purpose: str) -> bytes:
        """The data sealed, with a nonce in front."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + seal_with_key(self.derived(purpose), nonce, data)

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """What ``seal`` was given.

        Raises:
            Unsealable: it was sealed with another key or for another purpose, or changed.
        """
        nonce = sealed[:NONCE_BYTES]
        found = None
        if len(nonce) == NONCE_BYTES:
            found = open_with_key(self.derived(purpose), nonce, sealed[NONCE_BYTES:])
        if found is None:
            raise Unsealable("it was sealed with another key, or changed")
        return found

    def open_event(self, sealed: bytes) -> bytes:
        """What ``seal_event`` was given.

        Raises:
            Unsealable: it was sealed to another key, or changed.
        """
        found = open_with_secret(self.secret, sealed)
        if found is None:
            raise Unsealable("it was sealed to another key, or changed")
        return found


def seal_event(public: bytes, data: bytes) -> bytes:
    """Data that only the owner of the secret behind the public key can open."""
    return seal_to_public(public, os.urandom(SECRET_BYTES), data)


def id_of_public(public: bytes) -> str:
    """The id of the key behind a public key."""
    return key_id(public).hex()


class SealedWriter(io.RawIOBase):
    """A file of bytes, sealed piece by piece; ``close`` writes the last one and leaves the file below open."""

    def __init__(self, file: IO[bytes], key: Key) -> None:
        super().__init__()
        self._file = file
        self._key = key.derived("file")
        self._prefix = os.urandom(NONCE_BYTES - _COUNTED)
        self._waiting = bytearray()
        self._count = 0
        file.write(SEALED + bytes.fromhex(key.id) + self._prefix)

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Takes bytes; they are in the file below after ``close``."""
        self._waiting += data
        while len(self._waiting) > PIECE_BYTES:
            self._put(bytes(self._waiting[:PIECE_BYTES]), last=False)
            del self._waiting[:PIECE_BYTES]
        return len(data)

    def close(self) -> None:
        """Writes what waits; without it the file counts as cut short."""
        if not self.closed:
            self._put(bytes(self._waiting), last=True)
        super().close()

    def _put(self, piece: bytes, *, last: bool) -> None:
        nonce = _nonce(self._prefix, self._count, last=last)
        self._count += 1
        sealed = seal_with_key(self._key, nonce, piece)
        self._file.write(len(sealed).to_bytes(4, "little") + sealed)


class _SealedReader(io.RawIOBase):
    """The bytes of a file that ``SealedWriter`` wrote."""

    def __init__(self, file: IO[bytes], key: Key) -> None:
        super().__init__()
        self._file = file
        self._key = key.derived("file")
        self._prefix = file.read(NONCE_BYTES - _COUNTED)
        self._ready = memoryview(b"")
        self._count = 0
        self._ended = False

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, into: bytearray) -> int:  # type: ignore[override]
        """See ``io.RawIOBase``.

        Raises:
            Unsealable: the file was cut short or changed.
        """
        while not self._ready and not self._ended:
            self._ready = memoryview(self._next())
        count = min(len(into), len(self._ready))
        into[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _next(self) -> bytes:
        size = int.from_bytes(self._file.read(4), "little")
        sealed = self._file.read(size) if 0 < size <= PIECE_BYTES + 64 else b""
        for last in (False, True):
            found = open_with_key(self._key, _nonce(self._prefix, self._count, last=last), sealed)
            if found is not None:
                self._count += 1
                self._ended = last
                if last and self._file.read(1):
                    break
                return found
        raise Unsealable("it was cut short or changed")


def _nonce(prefix: bytes, count: int, *, last: bool) -> bytes:
    nonce = prefix + count.to_bytes(8, "little") + bytes([last])
    return nonce.ljust(NONCE_BYTES, b"\0")


def unsealed(file: IO[bytes], find: Callable[[str], Key]) -> IO[bytes]:
    """What a file holds, sealed or not, read from its beginning.

    Args:
        file: that can be read and sought.
        find: gives the key with an id.

    Raises:
        RetainError: as ``find``.
        Unsealable: it was cut short behind its first bytes.
    """
    head = file.read(len(SEALED) + ID_BYTES)
    if not head.startswith(SEALED):
        file.seek(0)
        return file
    if len(head) < len(SEALED) + ID_BYTES:
        raise Unsealable("it was cut short or changed")
    reader: Any = _SealedReader(file, find(head[len(SEALED) :].hex()))
    return io.BufferedReader(reader)
