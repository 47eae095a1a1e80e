"""``retain bench``: makes a benchmark of a git history, and asks contestants. See docs/benchmark.md."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retain.errors import InvalidInput
from retain.interfaces import replies

if TYPE_CHECKING:
    from retain.interfaces.cli import Output
    from retain.referee.contestants import Contestant

Opener = Callable[[Path], "Contestant"]


def bench(arguments: Namespace, out: Output) -> int:
    """Makes sets, or runs contestants on sets."""
    return make(arguments, out) if arguments.action == "make" else run(arguments, out)


def make(arguments: Namespace, out: Output) -> int:
    """Writes the sets of a repository."""
    from retain.referee.making import make_sets, short_name

    repository = Path(arguments.repo)
    made = []
    for one in make_sets(
        repository,
        Path(arguments.out),
        name=arguments.name or short_name(repository),
        foreign=[Path(path) for path in arguments.foreign],
        say=tell,
    ):
        place = str(one.folder) if one.folder else "too few queries, not written"
        made.append(
            {"set": one.name, "folder": one.folder and str(one.folder), "records": one.records, **one.queries}
        )
        if not out.as_json:
            queries = ", ".join(f"{count:,} {split}" for split, count in one.queries.items())
            out.say(f"{one.name}: {one.records:,} records, {queries} queries: {place}")
    if out.as_json:
        out.value({"sets": made})
    return replies.EXIT_OK


def run(arguments: Namespace, out: Output) -> int:
    """Asks every contestant the questions of every set; fails where a contestant had to give up."""
    from retain.referee import account
    from retain.referee.running import ask
    from retain.referee.sets import read_set

    settings = dict(setting(text) for text in arguments.setting)
    names = list(dict.fromkeys(name.strip() for name in arguments.contestant.split(",") if name.strip()))
    openers = {label(name): opener(name, settings) for name in names}
    accounts, failed = [], False
    for folder in arguments.set:
        judged = read_set(Path(folder), None if arguments.split == "all" else arguments.split)
        if not judged.questions:
            raise InvalidInput("split", f"{folder} has no queries of the split {arguments.split}")
        answers = [
            ask(judged, name, made, limit_s=arguments.limit_s, say=tell) for name, made in openers.items()
        ]
        failed = failed or any(one.failed for one in answers)
        accounts.append(account.values(judged, answers))
        if not out.as_json:
            out.say(account.table(judged, answers) + "\n")
    if out.as_json:
        out.value({"split": arguments.split, "settings": settings, "sets": accounts})
    elif len(accounts) > 1:
        out.say(account.summary(accounts))
    return replies.EXIT_FAILED if failed else replies.EXIT_OK


def tell(line: str) -> None:
    """Progress goes to stderr."""
    sys.stderr.write(replies.encodable(line, sys.stderr.encoding) + "\n")
    sys.stderr.flush()


def setting(text: str) -> tuple[str, int]:
    """A setting of retain as ``name=number``.

    Raises:
        InvalidInput: not in this form.
    """
    name, _, value = text.partition("=")
    try:
        return name, int(value)
    except ValueError:
        raise InvalidInput("setting", f"must be name=number, not {text[:64]!r}") from None


def label(name: str) -> str:
    """What a contestant is called: its name, or the name of its file."""
    return Path(name).stem if name.endswith(".json") else name


def opener(name: str, settings: Mapping[str, Any]) -> Opener:
    """How a contestant is made.

    Raises:
        InvalidInput: no such contestant, or its file cannot be read.
    """
    from retain.config import read_settings
    from retain.referee import contestants, peers
    from retain.retrieval.models import model_folder

    ungated = {**settings, "recall_confidence": 0, "context_confidence": 0}
    known: dict[str, Opener] = {
        "fts5": lambda _home: contestants.PlainFts5(),
        "retain": lambda home: contestants.RetainServed(home, settings),
        "retain-context": lambda home: contestants.RetainServed(home, settings, "context"),
        "retain-ungated": lambda home: contestants.RetainServed(home, ungated),
        "retain-api": lambda home: contestants.RetainApi(home, settings),
        "retain-model": lambda home: contestants.RetainModel(
            home, settings, model_folder(read_settings()[0])
        ),
    }
    if name in known:
        return known[name]
    if not name.endswith(".json"):
        raise InvalidInput(
            "contestant",
            f"unknown {name[:64]!r}; known: {', '.join(known)}",
            hint="or the JSON file of a peer",
        )
    file = Path(name).resolve()
    return partial(peers.Peer, peers.read_recipe(file), file.parent)
