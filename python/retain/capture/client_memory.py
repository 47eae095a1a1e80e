"""What Claude Code loads by itself: CLAUDE.md with its imports, rules, and the index of its own memory.

Read as the client reads it, and never written. Where it is in doubt whether the client loads a file (a rule for
some paths, an import from outside of the project that a person must approve), it does not count as loaded.
"""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from retain.capture.moving.markdown import page
from retain.config import auto_memory_refused, client_folder
from retain.errors import InvalidInput
from retain.git.repository import locate
from retain.rules import fits_path

HOPS_MAX = 4
FILE_BYTES_MAX = 4 * 1024 * 1024
TOTAL_BYTES_MAX = 16 * 1024 * 1024
FILES_MAX = 500
INDEX_LINES_MAX = 200
INDEX_BYTES_MAX = 25_000
SLUG_CHARS_MAX = 200
WORDS_MIN = 3
"""A text of fewer words must be a line of its own to count as loaded."""
CONTAINED_SHARE = 0.9
"""Share of the words of a memory that must stand in what is loaded, sentence by sentence."""

_CODE = re.compile(r"^(?:```|~~~).*?^(?:```|~~~)[^\n]*$|`[^`\n]*`", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_IMPORT = re.compile(r"(?:^|(?<=\s))@((?:[^\s\\]|\\ )+)", re.MULTILINE)
_WORD = re.compile(r"\w+")
_SENTENCE = re.compile(r"\n+|(?<=[.!?;:])\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFile:
    """A file that the client loads, its text as far as it is loaded, and as what: user, project, rule, ..."""

    path: Path
    text: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Where a client keeps its files.

    Attributes:
        folder: of the user (``~/.claude``).
        managed: instructions of the organisation.
        has_memory: whether it keeps and loads a memory of its own.
    """

    folder: Path
    managed: Path | None = None
    has_memory: bool = True


def managed_file(platform: str = sys.platform) -> Path:
    """Where instructions of the organisation lie."""
    top = "/Library/Application Support/ClaudeCode" if platform == "darwin" else "/etc/claude-code"
    return Path(top, "CLAUDE.md")


def loaded_in(folder: str, at_hand: Sequence[str] = ()) -> Loaded:
    """What Claude Code has loaded for a session of this user in a folder."""
    try:
        place = client_folder()
    except InvalidInput:  # nobody's home: there is nothing that a client could load
        return Loaded(())
    client = Client(folder=place, managed=managed_file(), has_memory=not auto_memory_refused())
    return Loaded(loaded_files(folder, client, at_hand))


def loaded_files(cwd: str, client: Client, at_hand: Sequence[str] = ()) -> list[LoadedFile]:
    """What the client loads for a session in a folder, in its order; never raises.

    Args:
        cwd: the folder.
        client: whose.
        at_hand: files that the session has read; rules for such paths are loaded as well.
    """
    try:
        folder = Path(os.path.realpath(cwd))
    except ValueError:  # no folder has such a name
        return []
    place = locate(cwd)
    reader = _Reader(place.root)
    for path in [client.managed] if client.managed else []:
        reader.read(path, "managed")
    reader.read(client.folder / "CLAUDE.md", "user")
    reader.rules(client.folder / "rules", at_hand)
    for above in reversed([folder, *folder.parents]):
        reader.read(above / "CLAUDE.md", "project")
        reader.read(above / ".claude" / "CLAUDE.md", "project")
        reader.rules(above / ".claude" / "rules", at_hand)
        reader.read(above / "CLAUDE.local.md", "local")
    if client.has_memory:
        common = place.common_dir or ""
        main = common.removesuffix("/.git") if common.endswith("/.git") else place.root
        for index in _indexes(client.folder, main, place.root):
            reader.index(index)
    return reader.files


class _Reader:
    """Reads files once each, follows imports, and stays within its limits."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._seen: set[str] = set()
        self._bytes = 0
        self.files: list[LoadedFile] = []

    def read(self, path: Path, role: str, hops: int = 0) -> None:
        text = self._text(path)
        if text is not None:
            self._add(path, text, role, hops)

    def rules(self, folder: Path, at_hand: Sequence[str]) -> None:
        if not folder.is_dir():
            return
        for path in sorted(folder.rglob("*.md"))[:FILES_MAX]:
            text = self._text(path)
            if text is None:
                continue
            read = page(text)
            patterns = read.fields.get("paths")
            named = patterns if isinstance(patterns, list) else str(patterns or "").split(",")
            wanted = [str(one).strip() for one in named if str(one).strip()]
            if not wanted or any(fits_path(one, file, self._root) for one in wanted for file in at_hand):
                self._add(path, read.body, "rule", 0)

    def index(self, path: Path) -> None:
        text = self._text(path)
        if text is not None:
            lines = text.splitlines(keepends=True)[:INDEX_LINES_MAX]
            head = "".join(lines).encode()[:INDEX_BYTES_MAX].decode("utf-8", "ignore")
            self.files.append(LoadedFile(path=path, text=head, role="memory"))

    def _add(self, path: Path, text: str, role: str, hops: int) -> None:
        text = _COMMENT.sub("", text)
        self.files.append(LoadedFile(path=path, text=text, role=role))
        if hops >= HOPS_MAX:
            return
        for named in _IMPORT.findall(_CODE.sub("", text)):
            target = self._target(path, named.replace("\\ ", " "))
            if role in {"user", "managed"} or target.is_relative_to(os.path.realpath(self._root)):
                self.read(target, role, hops + 1)

    def _target(self, path: Path, named: str) -> Path:
        bare = named if _is_file(path.parent / named) else named.rstrip(".,;:)")
        target = Path(os.path.expanduser(bare))  # noqa: PTH111 - never raises
        return Path(os.path.realpath(path.parent / target))

    def _text(self, path: Path) -> str | None:
        try:
            real = os.path.realpath(path)
            if real in self._seen or len(self._seen) >= FILES_MAX or not _is_file(path):
                return None
            self._seen.add(real)
            size = path.stat().st_size
            if size > FILE_BYTES_MAX or self._bytes + size > TOTAL_BYTES_MAX:
                return None
            self._bytes += size
            return path.read_bytes().decode("utf-8-sig", "replace")
        except (OSError, ValueError):
            return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _indexes(folder: Path, main: str, root: str) -> Iterator[Path]:
    """The index of the client's own memory for a project, unless it is switched off or lies elsewhere."""
    given: dict[str, object] = {}
    for path in (
        folder / "settings.json", Path(root, ".claude", "settings.json"), Path(root, ".claude", "settings.local.json")
    ):  # fmt: skip
        try:
            found = orjson.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(found, dict):
            given |= {key: found[key] for key in ("autoMemoryEnabled",) if key in found}
            if path.parent == folder and isinstance(found.get("autoMemoryDirectory"), str):
                given["directory"] = found["autoMemoryDirectory"]
    if given.get("autoMemoryEnabled") is False:
        return
    if "directory" in given:
        yield Path(os.path.expanduser(str(given["directory"])), "MEMORY.md")  # noqa: PTH111 - never raises
        return
    slug = slug_of(main)
    projects = folder / "projects"
    if len(slug) <= SLUG_CHARS_MAX:
        yield projects / slug / "memory" / "MEMORY.md"
    elif projects.is_dir():
        yield from sorted(projects.glob(f"{slug[:SLUG_CHARS_MAX]}-*/memory/MEMORY.md"))


def slug_of(folder: str) -> str:
    """The name under which the client keeps what belongs to a folder, before it is cut."""
    return re.sub(r"[^A-Za-z0-9]", "-", unicodedata.normalize("NFC", os.path.realpath(folder)))


class Loaded:
    """Tells whether a text already stands in what the client has loaded."""

    def __init__(self, files: Iterable[LoadedFile]) -> None:
        texts = [file.text for file in files]
        self._raw = "\n".join(texts)
        self._words = "\n".join(_plain(text) for text in texts)
        self._lines = {_plain(line) for text in texts for line in text.splitlines()}

    def holds(self, text: str, memory_id: str = "") -> bool:
        """Whether a memory's text is there, word for word or nearly, or its id is.

        Case, punctuation, marks of Markdown and line breaks do not count. Nearly: nine tenths of its words, in
        whole sentences.
        """
        if memory_id and memory_id in self._raw:
            return True
        whole = _plain(text)
        words = len(whole.split())
        if words < WORDS_MIN:
            return words > 0 and whole in self._lines
        if whole in self._words:
            return True
        there = 0
        for sentence in _SENTENCE.split(text):
            plain = _plain(sentence)
            if plain in self._words:
                there += len(plain.split())
        return there >= CONTAINED_SHARE * words


def _plain(text: str) -> str:
    """The words of a text in lower case, with a blank before, between and after them."""
    return " " + " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold())) + " "
