"""Reads the history of a git repository, bare or not, as commits with the files and symbols they changed."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from retain.config import git_environment
from retain.errors import InvalidInput

SYMBOLS_MAX = 64
"""Most symbols of one file of one commit that are kept."""

LINE_BYTES_MAX = 4_096
"""Changed lines beyond this are data, not code; no symbol is looked for in them."""

DRIVERS = {
    "python": ("py", "pyi", "pyx"), "rust": ("rs",), "golang": ("go",), "java": ("java",), "ruby": ("rb",),
    "cpp": ("c", "h", "cc", "cpp", "hpp", "cxx", "js", "jsx", "mjs", "ts", "tsx"), "php": ("php",),
    "csharp": ("cs",), "elixir": ("ex", "exs"), "kotlin": ("kt",), "bash": ("sh",),
}  # fmt: skip
"""Which of git's rules finds the function around a hunk, by the ending of the file's name."""

_FORMAT = "%x01%H%x00%ct%x00%an%x00%ae%x00%B%x02"
_HUNK = re.compile(r"^@@ -\d+(?:,\d+)? \+\d+(?:,\d+)? @@ ?(.*)$")
_NAMED = re.compile(
    r"\b(?:def|class|fn|func|function|struct|enum|trait|impl|interface|macro_rules!|mod|type|module)\s+"
    r"(?:\([^)]*\)\s*)?([A-Za-z_]\w*)"
)
_CALLED = re.compile(r"([A-Za-z_]\w*)\s*\(")


@dataclass(slots=True)
class FileChange:
    """What a commit did to one file: lines added and removed, symbols around and in the changed lines."""

    path: str
    added: int = 0
    removed: int = 0
    symbols: list[str] = field(default_factory=list)
    gained: list[str] = field(default_factory=list)

    def name(self, symbol: str) -> None:
        """Adds a symbol, once."""
        if symbol not in self.symbols and len(self.symbols) < SYMBOLS_MAX:
            self.symbols.append(symbol)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One commit that is no merge; ``time_s`` is seconds since the epoch, of the committer."""

    sha: str
    time_s: int
    author: str
    message: str
    files: tuple[FileChange, ...]


def read_history(repository: Path) -> Iterator[Commit]:
    """The commits of HEAD without merges, oldest first.

    Raises:
        InvalidInput: not a git repository, or git cannot read it.
    """
    with _log(repository) as stream:
        yield from _commits(stream)


@contextmanager
def _log(repository: Path) -> Iterator[IO[bytes]]:
    """The output of ``git log``; its failure is raised at the end of the block."""
    with tempfile.TemporaryDirectory() as place:
        attributes = Path(place, "attributes")
        attributes.write_text(
            "".join(f"*.{end} diff={name}\n" for name, ends in DRIVERS.items() for end in ends),
            encoding="utf-8",
        )
        with (
            Path(place, "errors").open("w+b") as told,
            subprocess.Popen(
                [
                    "git", "-C", str(repository), "-c", f"core.attributesFile={attributes}",
                    "-c", "core.quotePath=false", "-c", "diff.renames=true", "-c", "diff.mnemonicPrefix=false",
                    "-c", "diff.noprefix=false", "-c", "log.showSignature=false",
                    "log", "--reverse", "--no-merges", "--date-order", "--no-color", "--no-ext-diff",
                    "--no-textconv", "--no-notes", "-p", "-U0", f"--format={_FORMAT}", "HEAD", "--",
                ],
                env=git_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=told,
            ) as process,
        ):  # fmt: skip
            assert process.stdout is not None
            yield process.stdout
            if process.wait():
                told.seek(0)
                problem = told.read(500).decode("utf-8", "replace").strip()
                raise InvalidInput("repository", f"{repository}: {problem or 'git log failed'}")


def _commits(stream: IO[bytes]) -> Iterator[Commit]:
    header: list[bytes] | None = None
    head: list[str] = []
    files: list[FileChange] = []
    for line in stream:
        if header is not None or line.startswith(b"\x01"):
            header = [line] if header is None else [*header, line]
            if b"\x02" in line:
                if head:
                    yield _commit(head, files)
                head, files, header = _head(b"".join(header)), [], None
        elif head:
            _take(line, files)
    if head:
        yield _commit(head, files)


def _head(raw: bytes) -> list[str]:
    return raw.decode("utf-8", "replace").lstrip("\x01").partition("\x02")[0].split("\0", 4)


def _commit(head: list[str], files: list[FileChange]) -> Commit:
    sha, time_s, name, email, message = head
    return Commit(
        sha=sha, time_s=int(time_s), author=f"{name} <{email}>", message=message, files=tuple(files)
    )


def _take(raw: bytes, files: list[FileChange]) -> None:
    """One line of a patch."""
    if raw.startswith(b"diff --git "):
        line = raw.decode("utf-8", "replace").rstrip("\n")
        files.append(FileChange(line.rpartition(" b/")[2].rstrip('"')))
    elif not files or raw.startswith((b"+++ ", b"--- ")):
        return
    elif raw.startswith(b"@@"):
        if match := _HUNK.match(raw[:LINE_BYTES_MAX].decode("utf-8", "replace").rstrip("\n")):
            for symbol in symbols_around(match[1]):
                files[-1].name(symbol)
    elif raw[:1] in {b"+", b"-"}:
        _take_changed(raw, files[-1])


def _take_changed(raw: bytes, change: FileChange) -> None:
    gained = raw.startswith(b"+")
    change.added += gained
    change.removed += not gained
    if len(raw) > LINE_BYTES_MAX:
        return
    line = raw[1:].decode("utf-8", "replace").rstrip("\n")
    for symbol in _NAMED.findall(line):
        change.name(symbol)
    if gained:
        change.gained.append(line)


def symbols_around(context: str) -> list[str]:
    """The names in git's own line about where a hunk lies: what is defined there, else what is called so."""
    return _NAMED.findall(context) or _CALLED.findall(context)[:1]
