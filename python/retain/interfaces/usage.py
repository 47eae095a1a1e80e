"""How wrong usage of the command line is refused: what argparse says, in the words of the other errors."""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection
from typing import Any, NoReturn

from retain.errors import InvalidInput

_CHOICE = re.compile(r"invalid choice: (?P<given>.+) \(choose from (?P<known>.+)\)", re.DOTALL)
KNOWN_SHOWN_MAX = 16
"""Most words that are listed where one of them was expected."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are ours."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        """Raises the error instead of printing it; the field is the argument as it was written.

        Raises:
            InvalidInput: always.
        """
        field, problem = "arguments", message
        if message.startswith("argument ") and ": " in message:
            named, _, problem = message.removeprefix("argument ").partition(": ")
            field = named.rpartition("/")[2].lstrip("-").lower() or field
            if choice := _CHOICE.fullmatch(problem):
                problem = unknown(choice["given"], re.findall(r"[\w-]+", choice["known"]))
        elif message.startswith("the following arguments are required: "):
            field, problem = message.partition(": ")[2].lower(), "is missing"
        elif message.startswith("one of the arguments "):
            among = message.split("arguments ")[1].removesuffix(" is required")
            problem = f"one is needed of {', '.join(among.split())}"
        hint = f"`{self.prog} --help` shows the usage"
        if message.startswith("unrecognized arguments"):
            problem = message.replace(" arguments", "", 1)
            hint += "; put text that holds blanks in quotes, and text that begins with a dash after `--`"
        raise InvalidInput(field, problem, hint=hint)


def unknown(given: str, known: Collection[str]) -> str:
    """That a word is none of those that are known: the one that was likely meant, or all where they are few."""
    from difflib import get_close_matches

    said = f"unknown {given[:66]}"
    if meant := get_close_matches(given.strip("'\""), known, 1):
        return f"{said}; did you mean {meant[0]!r}?"
    return f"{said}; known: {', '.join(known)}" if len(known) <= KNOWN_SHOWN_MAX else said
