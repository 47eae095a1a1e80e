"""Files that were set aside for somebody to look at: sealed where the data directory is encrypted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import apsw

from retain import keys
from retain.errors import RetainError
from retain.sealing import ID_BYTES, SEALED, Key, SealedWriter, Unsealable, unsealed
from retain.storage.backups import pieces_of
from retain.storage.connection import encrypted_with
from retain.whole_files import whole


def read(path: Path) -> bytes:
    """What the file holds, opened where it is sealed.

    Raises:
        KeyMissing: its key is not here.
        Unsealable, OSError: it was changed; it cannot be read.
    """
    with path.open("rb") as file, unsealed(file, keys.find) as plain:
        return plain.read()


def hidden(path: Path) -> Iterator[bytes]:
    """What a file holds that its bytes do not show: nothing where it is plain, or nobody can read it any more."""
    with suppress(apsw.Error, RetainError, Unsealable):
        if sealer(path) is not None:
            yield read(path)
        elif encrypted_with(path) is not None:
            yield from pieces_of(path)


def write(path: Path, data: bytes, key: Key | None) -> None:
    """A file (0600) that is there whole and on disk, or as it was: sealed with a key, or plain."""
    with whole(path) as file:
        if key is None:
            file.write(data)
        else:
            with SealedWriter(file, key) as sealed:
                sealed.write(data)


def sealer(path: Path) -> str | None:
    """The id of the key that a file is sealed with; None where it is plain."""
    with path.open("rb") as file:
        head = file.read(len(SEALED) + ID_BYTES)
    return head[len(SEALED) :].hex() if head.startswith(SEALED) else None
