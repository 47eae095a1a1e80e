"""``retain model``: installs, shows and removes the embedding model of a data directory. Nothing is downloaded."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
import zipfile
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retain.config import Settings, read_settings
from retain.errors import InvalidInput, NotFound
from retain.interfaces import replies
from retain.retrieval.models import FILES, PINNED, OnnxEmbedder, digest_of, model_folder

if TYPE_CHECKING:
    from retain.interfaces.cli import Output

FILE_BYTES_MAX = 1 << 30
HOW = "make one with tools/convert_minilm.py of the source tree, then: retain model install --from FOLDER"


def model(arguments: Namespace, out: Output) -> int:
    """Does what was asked of the model."""
    settings, _ = read_settings(arguments.home)
    if arguments.action == "install":
        install(settings, arguments.source)
    elif arguments.action == "remove":
        remove(settings)
    state = status(settings)
    out.answer(state, _text(state))
    return replies.EXIT_OK


def install(settings: Settings, source: str | None) -> None:
    """Takes the files of a folder, a wheel or zip file, or an installed package, tries them, and keeps them.

    Raises:
        InvalidInput: the source has no such files.
        EmbeddingFailed: they do not work, or the extra is missing; what was installed before stays.
    """
    if source is None:
        raise InvalidInput("from", "is missing", hint=HOW)
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = model_folder(settings)
    with tempfile.TemporaryDirectory(dir=settings.home, prefix="model-") as scratch:
        fresh = Path(scratch) / "new"
        fresh.mkdir(mode=0o700)
        _take(source, fresh)
        OnnxEmbedder(fresh)
        if target.exists():
            target.rename(Path(scratch) / "old")
        fresh.rename(target)


def remove(settings: Settings) -> None:
    """Deletes the model; the next server that starts drops its vectors.

    Raises:
        NotFound: none is installed.
    """
    if not model_folder(settings).exists():
        raise NotFound("no model is installed")
    shutil.rmtree(model_folder(settings))


def status(settings: Settings) -> dict[str, Any]:
    """Whether a model is installed, which, and whether its files are those that are known."""
    folder = model_folder(settings)
    if not all((folder / name).exists() for name in FILES):
        return {"installed": False}
    digests = {name: digest_of(folder / name) for name in FILES}
    return {
        "installed": True,
        "folder": str(folder),
        "name": PINNED.get(digests[FILES[0]], "unknown"),
        "pinned": all(digest in PINNED for digest in digests.values()),
        "sha256": digests,
        "bytes": sum((folder / name).stat().st_size for name in FILES),
    }


def _take(source: str, folder: Path) -> None:
    place = Path(source).expanduser()
    if place.is_file() and zipfile.is_zipfile(place):
        _unpack(place, folder)
        return
    if not place.is_dir():
        found = importlib.util.find_spec(source) if source.isidentifier() else None
        if found is None or not found.submodule_search_locations:
            raise InvalidInput("from", f"{source} is no folder, no wheel and no installed package", hint=HOW)
        place = Path(next(iter(found.submodule_search_locations)))
    for name in FILES:
        file = next(iter(sorted(place.rglob(name))), None)
        if file is None:
            raise InvalidInput("from", f"{source} holds no {name}", hint=HOW)
        shutil.copyfile(file, folder / name)


def _unpack(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        for name in FILES:
            entry = next((each for each in content.infolist() if Path(each.filename).name == name), None)
            if entry is None:
                raise InvalidInput("from", f"{archive} holds no {name}", hint=HOW)
            if entry.file_size > FILE_BYTES_MAX:
                raise InvalidInput("from", f"{name} is too large", limit=FILE_BYTES_MAX)
            with content.open(entry) as packed, (folder / name).open("wb") as file:
                shutil.copyfileobj(packed, file)


def _text(state: dict[str, Any]) -> str:
    if not state["installed"]:
        return f"no model is installed; memories are found by words and by the space fitted to them\n{HOW}"
    trust = "sha256 as pinned" if state["pinned"] else "not a file that retain knows"
    return f"{state['name']} ({state['bytes'] / 1e6:.0f} MB, {trust})\n{state['folder']}"
