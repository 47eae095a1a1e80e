"""Client files as they were before retain changed them; kept in the data directory, so that nothing lies elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from pathlib import Path

from retain.errors import Conflict, InvalidInput
from retain.home import CLIENT_FILES
from retain.whole_files import create

ABSENT = ".absent"
BACKUPS_OF_A_SECOND = 100


@dataclass(frozen=True, slots=True)
class Backups:
    """The backups below a data directory; the folder is made with the first of them."""

    home: Path

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return self.home / CLIENT_FILES

    def keep(self, target: Path, data: bytes | None, made: Sequence[Path], now: datetime) -> Path:
        """Keeps the bytes of a file, or that there was none and which folders are made for it.

        Raises:
            InvalidInput: the data directory cannot be written.
            Conflict: a hundred within one second.
        """
        stem = f"{_key(target)}-{target.name}.{now:%Y%m%dT%H%M%SZ}"
        content = data if data is not None else json.dumps([os.fspath(path) for path in made]).encode()
        try:
            for folder in (self.home, self.folder):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for number in range(BACKUPS_OF_A_SECOND):
                path = self.folder / f"{stem}-{number:02d}{ABSENT if data is None else ''}"
                with suppress(FileExistsError):
                    if not path.with_name(f"{stem}-{number:02d}").exists():
                        create(path, content)
                        return path
        except OSError as error:
            problem = f"no backup can be kept in {self.folder}: {error.strerror}"
            raise InvalidInput("home", problem, hint="set RETAIN_HOME") from None
        raise Conflict(f"{target}: too many backups within one second", hint="run the command again")

    def of(self, target: Path) -> list[Path]:
        """The backups of a file, newest first."""
        mine = f"{_key(target)}-{target.name}."
        try:
            found = [path for path in self.folder.iterdir() if path.name.startswith(mine)]
        except OSError:
            return []
        return sorted(found, key=lambda path: path.name, reverse=True)

    def drop(self, target: Path, but: Path | None) -> None:
        """Removes the backups of a file that has its old bytes again, but for one."""
        for path in self.of(target):
            if path != but:
                path.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()


def folders_made(marker: Path) -> list[Path]:
    """The folders that were made for a file that was not there; the innermost first."""
    try:
        made = json.loads(marker.read_bytes())
    except (OSError, ValueError):
        return []
    return [Path(path) for path in made if isinstance(path, str)] if isinstance(made, list) else []


def _key(target: Path) -> str:
    return blake2b(os.fsencode(target), digest_size=6).hexdigest()
