"""Writes docs/reference from the code, so that it cannot say anything else.

``python docs/generate_reference.py`` writes the files; with ``--check`` it fails where a file differs from the code.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path

from retain import errors, model
from retain.config import DAYS_MAX, PROJECTS_MAX, Settings
from retain.interfaces import replies
from retain.interfaces.grammar import IMPORT_ACTIONS, SOURCES, parser
from retain.interfaces.mcp_tools import tools
from retain.retrieval import filters
from retain.rules import PATTERN_CHARS_MAX, PATTERNS_MAX

HERE = Path(__file__).resolve().parent / "reference"
NOTE = "<!-- Made by docs/generate_reference.py; change the code, not this file. -->\n\n"


def cli() -> str:
    """Every command with its options."""
    lines = ["# Command line\n"]
    whole = parser()
    actions = [a for a in whole._actions if isinstance(a, argparse._SubParsersAction)]
    for name, command in sorted(actions[0].choices.items()):
        lines.append(f"## retain {name}\n")
        lines.append(f"{command.description or command.format_usage()}\n")
        lines += _options(command)
        if name == "import":
            lines += [*(f"- `{one}`: {doc}" for one, doc in {**SOURCES, **IMPORT_ACTIONS}.items()), ""]
    return "\n".join(lines) + "\n"


def _options(command: argparse.ArgumentParser) -> Iterator[str]:
    rows = [a for a in command._actions if a.help is not argparse.SUPPRESS and a.dest != "help"]
    nested = [a for a in rows if isinstance(a, argparse._SubParsersAction)]
    for action in rows:
        if action in nested:
            continue
        names = ", ".join(f"`{n}`" for n in action.option_strings) or f"`{action.metavar or action.dest}`"
        yield f"- {names}: {(action.help or '').replace('%%', '%')}"
    for action in nested:
        for name, inner in sorted(action.choices.items()):
            yield f"- `{name}`: {inner.description or ''}"
            yield from (f"  {line}" for line in _options(inner))
    yield ""


def mcp() -> str:
    """Every tool with its arguments."""
    lines = ["# MCP tools\n", "Answers are text. A memory's id is printed wherever a memory is.\n"]
    for tool in tools(_defaults()):
        marks = ["reads only" if tool.reads_only else "writes"]
        marks += ["destructive"] if tool.destroys else []
        lines.append(f"## {tool.name}\n\n{tool.about} ({', '.join(marks)})\n")
        for name, argument in tool.arguments.items():
            need = "required" if argument.required else "optional"
            bounds = ", ".join(f"{k} {_short(v)}" for k, v in argument.bounds.items())
            about = ". ".join(filter(None, (argument.about.rstrip("."), bounds)))
            lines.append(f"- `{name}` ({argument.type}, {need}){': ' + about if about else ''}")
        lines.append("")
    return "\n".join(lines) + "\n"


def _short(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def settings() -> str:
    """Every setting with default, bounds and meaning."""
    lines = [
        "# Settings\n",
        "From the caller, else `RETAIN_<NAME>` in the environment, else `config.toml` in the data directory, "
        "else the default. `retain config` prints each value and where it came from.\n",
        "| name | default | bounds | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for knob in fields(Settings):
        bounds = f"{knob.metadata['low']:,}..{knob.metadata['high']:,}" if "low" in knob.metadata else ""
        bounds = bounds or " ".join(knob.metadata.get("schemes", ())) or _shape(knob.metadata.get("shape"))
        default = f"{knob.default:,}" if isinstance(knob.default, int) else "the platform's data directory"
        default = "empty" if knob.default in {"", ()} else default
        default = (
            " ".join(f"`{one}`" for one in knob.default)
            if isinstance(knob.default, tuple) and knob.default
            else default
        )
        assert knob.default is not MISSING or knob.name == "home"
        lines.append(f"| `{knob.name}` | {default} | {bounds} | {knob.metadata['doc']} |")
    return "\n".join(lines) + "\n"


def _shape(shape: str | None) -> str:
    """What a setting that is no number holds."""
    return {
        "patterns": f"at most {PATTERNS_MAX} patterns of {PATTERN_CHARS_MAX} characters",
        "days": f"kind = days, 1..{DAYS_MAX:,}",
        "projects": f"path = {{capture = true or false}}, at most {PROJECTS_MAX}",
    }.get(shape or "", "")


def error_codes() -> str:
    """Every error with its code, exit code and meaning."""
    lines = [
        "# Errors\n",
        "| code | class | exit code | retry | meaning |",
        "| --- | --- | --- | --- | --- |",
    ]
    for _, thing in sorted(inspect.getmembers(errors, inspect.isclass)):
        if issubclass(thing, errors.RetainError):
            example = (
                thing("field", "problem") if issubclass(thing, errors.InvalidInput) else thing("problem")
            )
            retry = "yes" if thing.retryable else "no"
            meaning = (thing.__doc__ or "").strip().splitlines()[0]
            code = replies.exit_code(example)
            lines.append(f"| `{thing.code}` | `{thing.__name__}` | {code} | {retry} | {meaning} |")
    return "\n".join(lines) + "\n"


def memories() -> str:
    """Kinds, origins, statuses and the filter language."""
    lines = ["# Memories and filters\n", "| kind | what it is |", "| --- | --- |"]
    lines += [f"| `{kind}` | {what} |" for kind, what in model.KINDS.items()]
    lines.append(f"\nOrigins, set by the channel: {', '.join(f'`{o}`' for o in model.ORIGINS)}.")
    lines.append(f"Statuses: {', '.join(f'`{s}`' for s in model.STATUSES)}.\n\n## Filters\n")
    lines.append(inspect.cleandoc(filters.__doc__ or ""))
    return "\n".join(lines) + "\n"


def _defaults() -> Settings:
    return Settings(home=Path("/"))


PAGES = {
    "cli.md": cli,
    "mcp.md": mcp,
    "settings.md": settings,
    "errors.md": error_codes,
    "memories.md": memories,
}


def main() -> int:
    """Writes or checks every page; returns the exit code."""
    check = sys.argv[1:] == ["--check"]
    drifted = []
    for name, page in PAGES.items():
        path, text = HERE / name, NOTE + page()
        if check:
            drifted += [name] if not path.exists() or path.read_text(encoding="utf-8") != text else []
        else:
            HERE.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if drifted:
        print(f"docs/reference drifted: {', '.join(drifted)}; run python docs/generate_reference.py")
    return 1 if drifted else 0


if __name__ == "__main__":
    raise SystemExit(main())
