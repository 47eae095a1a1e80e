"""The command line: reads the arguments, loads the one module that the command needs, and ends cleanly.

Each command is a function ``(arguments, out) -> exit code`` in a module that is imported only when the command
is asked for. Errors come to one place here and leave as two lines on stderr, or as JSON with ``--json``.
"""

from __future__ import annotations

import logging
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from importlib import import_module

from retain.config import debugging, use_home
from retain.errors import RetainError
from retain.interfaces import replies
from retain.interfaces.grammar import DOORS, parser

logger = logging.getLogger("retain")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; nothing but an exit of argparse (help) leaves it raised."""
    given = list(sys.argv[1:] if argv is None else argv)
    _reopen_closed_streams()
    out = Output(as_json="--json" in given[: given.index("--") if "--" in given else len(given)])
    try:
        code = run(given, out)
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_went_away()
    except KeyboardInterrupt:
        sys.stderr.write("\nretain: interrupted; what was acknowledged is stored\n")
        return replies.EXIT_INTERRUPTED
    except RetainError as error:
        return _failed(error, out)
    except OSError as error:
        return _failed(RetainError(str(error)), out)
    except Exception as error:
        # The outermost frame: a user gets a sentence, and a traceback only on request.
        if debugging():
            logger.exception("cli.failed")
        return _failed(replies.Unexpected(error), out)
    return code


def _reopen_closed_streams() -> None:
    """Gives a process that was started without stdin, stdout or stderr empty ones.

    Otherwise the next file that is opened would take the number, and what is printed would go into it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115


def run(argv: Sequence[str], out: Output) -> int:
    """Parses the arguments and runs the command.

    Raises:
        RetainError: it failed, or the arguments make no sense.
    """
    arguments = parser().parse_args(argv)
    command: str | None = arguments.command
    if command is None:
        parser().print_help()
        return replies.EXIT_USAGE
    if command in DOORS:
        return _door(command, arguments)
    return _function(command)(arguments, out)


class Output:
    """Where a command says things: stdout, with colours on a terminal, or as one JSON value."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.paint = replies.Paint.for_stream(sys.stdout)

    def say(self, text: str, *, as_is: bool = False) -> None:
        """Prints text for people, whatever the encoding of the terminal; ``as_is`` breaks no line that is too wide."""
        replies.write(sys.stdout, text, as_is=as_is)

    def aside(self, text: str) -> None:
        """Prints a remark to stderr, so that stdout holds nothing but the answer."""
        replies.write(sys.stderr, text)

    def value(self, value: object) -> None:
        """Prints a value for programs: on one line, or indented where a person looks."""
        ascii_only = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
        indent = 2 if sys.stdout.isatty() else None
        sys.stdout.write(replies.as_json(value, ascii_only=ascii_only, indent=indent) + "\n")

    def answer(self, value: object, text: str, *, as_is: bool = False) -> None:
        """Prints the value with ``--json``, else the text."""
        if self.as_json:
            self.value(value)
        else:
            self.say(text, as_is=as_is)


PLACES = {
    "retain.interfaces.exporting": ("export",),
    "retain.interfaces.importing": ("import",),
    "retain.interfaces.bench": ("bench",),
    "retain.interfaces.install": ("install", "uninstall"),
    "retain.interfaces.model": ("model",),
    "retain.interfaces.controls": ("off", "on", "private"),
    "retain.interfaces.publish": ("publish",),
    "retain.interfaces.trusting": ("review", "revoke"),
    "retain.interfaces.doctor": ("doctor",),
    "retain.interfaces.claims": ("reconcile",),
    "retain.interfaces.scan": ("scan",),
    "retain.interfaces.state": ("status",),
    "retain.interfaces.encrypting": ("encrypt", "decrypt", "key"),
    "retain.interfaces.keeping": ("backup", "restore", "unforget", "erase"),
    "retain.interfaces.inspection": ("explain", "stats", "verify", "audit", "drain", "config"),
}
"""Where the functions of commands are; those that are not named here are in ``retain.interfaces.commands``."""


def _function(command: str) -> Callable[[Namespace, Output], int]:
    """The function of a command; its module is imported here and not before."""
    place = next(
        (module for module, names in PLACES.items() if command in names), "retain.interfaces.commands"
    )
    name = "import_from" if command == "import" else command
    found: Callable[[Namespace, Output], int] = getattr(import_module(place), name)
    return found


def _door(command: str, arguments: Namespace) -> int:
    """Hands over to a door of its own; ``--home`` reaches it, and what it starts, by the environment."""
    if arguments.home is not None:
        use_home(arguments.home)
    if command == "serve":
        from retain.interfaces.mcp import main as serve

        return serve() or 0
    if command == "hook" and arguments.answer:
        from retain.interfaces.hook_answer import main as answer

        return answer()
    if command == "hook":
        from retain.interfaces.hook import main as hook

        return hook()
    from retain.interfaces.demo import main as demo

    return demo(arguments) or 0


def _failed(error: RetainError, out: Output) -> int:
    try:
        if out.as_json:
            out.value(replies.error_object(error))
            sys.stdout.flush()
        else:
            out.aside(replies.error_text(error))
    except OSError:
        _reader_went_away()
    return replies.exit_code(error)


def _reader_went_away() -> int:
    """Nobody reads any more (``| head``): that is no failure, and the interpreter must not complain at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return replies.EXIT_OK
