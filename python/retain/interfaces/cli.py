"""The command line: reads the arguments, loads the one module that the command needs, and ends cleanly.

Each command is a function ``(arguments, out) -> exit code`` in a module that is imported only when the command
is asked for. Errors come to one place here and leave as two lines on stderr, or as JSON with ``--json``.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from retain.config import debugging, use_home
from retain.errors import InvalidInput, RetainError
from retain.interfaces import replies

logger = logging.getLogger("retain")

COMMANDS = {
    "remember": "retain.interfaces.commands",
    "recall": "retain.interfaces.commands",
    "show": "retain.interfaces.commands",
    "timeline": "retain.interfaces.commands",
    "revise": "retain.interfaces.commands",
    "forget": "retain.interfaces.commands",
    "context": "retain.interfaces.commands",
    "explain": "retain.interfaces.inspection",
    "stats": "retain.interfaces.inspection",
    "verify": "retain.interfaces.inspection",
    "drain": "retain.interfaces.inspection",
    "config": "retain.interfaces.inspection",
    "import": "retain.interfaces.importing",
    "doctor": "retain.interfaces.doctor",
    "install": "retain.interfaces.install",
    "uninstall": "retain.interfaces.install",
}
"""Where the function of each command lives; ``import`` is ``import_file``, the others bear its name."""

DOORS = ("demo", "serve", "hook")
"""Commands that are a door of their own: their module has a ``main``."""

GROUPS = """\
See it work:      demo
Set it up:        install, uninstall, doctor, config
Memories:         remember, recall, show, timeline, revise, forget, context, import
Look inside:      explain, stats, verify, drain
Started for you:  serve (MCP server), hook (one event from stdin)

`retain COMMAND --help` says more. Exit codes: 0 done, 1 failed, 2 wrong usage or input."""


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
    except Exception as error:
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
    module = import_module(COMMANDS[command])
    answer = getattr(module, "import_file" if command == "import" else command)
    return int(answer(arguments, out))


class Output:
    """Where a command says things: stdout, with colours on a terminal, or as one JSON value."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.paint = replies.Paint.for_stream(sys.stdout)

    def say(self, text: str) -> None:
        """Prints text for people, whatever the encoding of the terminal."""
        sys.stdout.write(replies.encodable(text, sys.stdout.encoding) + "\n")

    def aside(self, text: str) -> None:
        """Prints a remark to stderr, so that stdout holds nothing but the answer."""
        sys.stderr.write(replies.encodable(text, sys.stderr.encoding) + "\n")

    def value(self, value: object) -> None:
        """Prints a value for programs: on one line, or indented where a person looks."""
        ascii_only = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
        indent = 2 if sys.stdout.isatty() else None
        sys.stdout.write(replies.as_json(value, ascii_only=ascii_only, indent=indent) + "\n")

    def answer(self, value: object, text: str) -> None:
        """Prints the value with ``--json``, else the text."""
        if self.as_json:
            self.value(value)
        else:
            self.say(text)


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
            field = named.rpartition("/")[2].lstrip("-") or field
            if field == "COMMAND":
                field, problem = "command", f"unknown; known: {', '.join((*DOORS, *COMMANDS))}"
        elif message.startswith("the following arguments are required: "):
            field, problem = message.partition(": ")[2].lower(), "is missing"
        hint = f"`{self.prog} --help` shows the usage"
        if message.startswith("unrecognized arguments"):
            hint += "; put text that holds blanks in quotes, and text that begins with a dash after `--`"
        raise InvalidInput(field, problem, hint=hint)


def parser() -> argparse.ArgumentParser:
    """The whole grammar of the command line."""
    top = Parser(
        prog="retain",
        description="Long-term memory for Claude Code.",
        epilog=GROUPS,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=28),
    )
    top.add_argument("--version", action=_Version, nargs=0, help="print the version")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--home", metavar="DIR", type=_home, help="data directory (else RETAIN_HOME)")
    reply = argparse.ArgumentParser(add_help=False)
    reply.add_argument("--json", action="store_true", help="answer as JSON")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", title="commands", parser_class=Parser)

    def add(name: str, doc: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = commands.add_parser(
            name, parents=[common, *parents], help=doc, description=doc[0].upper() + doc[1:] + "."
        )
        return made

    demo = add("demo", "replay a session and show what the next one recalls")
    demo.add_argument("--repo", metavar="PATH", help="git repository (default: the current one)")
    demo.add_argument(
        "--transcript", metavar="FILE", help="transcript of Claude Code (default: the built-in one)"
    )
    add("serve", "run the MCP server on stdin and stdout")
    add("hook", "take one hook event from stdin into the spool")
    _add_memory_commands(add, reply)
    _add_inspection_commands(add, reply)
    _add_installation_commands(add, reply)
    return top


def _add_memory_commands(add: Any, reply: argparse.ArgumentParser) -> None:
    scope = argparse.ArgumentParser(add_help=False)
    scope.add_argument("--workspace", metavar="ID", help="another workspace than that of this folder")
    recall = add("recall", "find memories by words and filter, best first", reply, scope)
    recall.add_argument("query", metavar="QUERY", nargs="*", help="words, identifiers, an error line")
    recall.add_argument("--limit", metavar="N", type=_count("limit"), default=10, help="most memories (10)")
    recall.add_argument(
        "--filter", metavar="JSON", help='for example \'{"kind": "decision", "path": "src/**"}\''
    )
    recall.add_argument("--budget", metavar="N", type=_count("budget"), help="most tokens of the answer")
    remember = add("remember", "store a memory", reply, scope)
    remember.add_argument(
        "text", metavar="TEXT", nargs="?", help="what to remember; - or nothing reads stdin"
    )
    remember.add_argument("--title", help="one line (default: the first line of the text)")
    remember.add_argument("--kind", default="note", help="note, decision, fix, task, ... (note)")
    remember.add_argument("--path", action="append", default=[], help="a file it is about; may be repeated")
    remember.add_argument(
        "--symbol", action="append", default=[], help="a function, class or constant; the same"
    )
    remember.add_argument("--tag", action="append", default=[], help="a word to find it by; the same")
    remember.add_argument("--occurred-at", metavar="TIME", help="when it happened (default: now)")
    remember.add_argument("--source-id", metavar="ID", help="your own id; makes the command safe to repeat")
    add("show", "show one memory, whole", reply).add_argument("id", metavar="ID")
    timeline = add("timeline", "show memories in order of time", reply, scope)
    timeline.add_argument("--around", metavar="ID|TIME", help="memories before and after it")
    timeline.add_argument("--since", metavar="TIME", help="for example 2026-11-23 or 2026-11-23T14:00:00Z")
    timeline.add_argument("--until", metavar="TIME")
    timeline.add_argument("--path", help="a file, a folder with a slash at its end, or a glob")
    timeline.add_argument("--limit", metavar="N", type=_count("limit"), default=20, help="most memories (20)")
    revise = add("revise", "store a new version of a memory; the old one stays readable", reply)
    revise.add_argument("id", metavar="ID")
    revise.add_argument("text", metavar="TEXT", nargs="?", help="the new text; - or nothing reads stdin")
    revise.add_argument("--reason", default="", help="why")
    forget = add("forget", "take a memory out of every recall", reply)
    forget.add_argument("id", metavar="ID")
    forget.add_argument("--reason", default="", help="why")
    context = add("context", "print the block that a session would be given", reply, scope)
    context.add_argument("prompt", metavar="PROMPT", nargs="*", help="nothing: the state of the workspace")
    context.add_argument("--budget", metavar="N", type=_count("budget"), help="most tokens of the block")
    _add_import(add, reply, scope)


def _add_import(add: Any, reply: argparse.ArgumentParser, scope: argparse.ArgumentParser) -> None:
    importing = add("import", "store memories from a file", reply, scope)
    importing.add_argument("format", metavar="jsonl", choices=["jsonl"], help="one JSON object a line")
    importing.add_argument(
        "file", metavar="FILE",
        help="fields: text, title, kind, paths, symbols, tags, occurred_at, source_id; - reads stdin",
    )  # fmt: skip


def _add_inspection_commands(add: Any, reply: argparse.ArgumentParser) -> None:
    explain = add("explain", "say what a recall would do, and why", reply)
    explain.add_argument("query", metavar="QUERY", nargs="*")
    explain.add_argument("--limit", metavar="N", type=_count("limit"), default=10, help="most memories (10)")
    explain.add_argument("--filter", metavar="JSON", help="as for recall")
    explain.add_argument("--workspace", metavar="ID", help="as for recall")
    add("stats", "count everything in the store", reply)
    add("verify", "check the whole store and the spool", reply)
    add("drain", "digest the events that wait in the spool, now", reply)
    add("config", "print each setting and where it came from", reply)


def _add_installation_commands(add: Any, reply: argparse.ArgumentParser) -> None:
    files = argparse.ArgumentParser(add_help=False)
    files.add_argument("--settings", metavar="FILE", help="settings with the hooks (~/.claude/settings.json)")
    files.add_argument("--mcp", metavar="FILE", help="file with the MCP servers (~/.claude.json)")
    doctor = add("doctor", "check the installation and say how to mend it", reply, files)
    doctor.add_argument("--no-spawn", action="store_true", help="start no process to try server and hook")
    for name, doc in (
        ("install", "write the hooks and the MCP entry into Claude Code's files"),
        ("uninstall", "take the hooks and the MCP entry out again"),
    ):
        command = add(name, doc, reply, files)
        command.add_argument("--dry-run", action="store_true", help="print what would change, change nothing")


class _Version(argparse.Action):
    """Prints the version; the extension that knows it is loaded only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> NoReturn:
        import retain

        sys.stdout.write(f"retain {retain.__version__}\n")
        parser.exit()


def _home(value: str) -> str:
    if not value or "\0" in value:
        raise InvalidInput("home", "must name a directory")
    return value


def _count(field: str) -> Any:
    def read(value: str) -> int:
        try:
            return int(value)
        except ValueError:
            raise InvalidInput(field, f"must be a whole number, not {value[:64]!r}") from None

    return read


def _door(command: str, arguments: argparse.Namespace) -> int:
    if arguments.home is not None:
        use_home(arguments.home)
    main = import_module(f"retain.interfaces.{'mcp' if command == 'serve' else command}").main
    return int((main(arguments) if command == "demo" else main()) or 0)


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
