"""What a shell command is: worth keeping or not, which tests it runs, which commit it made."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from retain.capture.wording import words

ARGUMENTS_MAX = 200
PARSED_CHARS_MAX = 4_096

_READ_ONLY = words(
    """
    ls cd pwd cat echo head tail wc which type file stat date whoami tree less more true sleep
    clear printf env printenv id uname hostname history du df ps grep rg egrep fgrep find sort
    uniq cut basename dirname realpath readlink test [ : export man
    """
)
_QUIET_FAILURES = words(
    """
    grep rg egrep fgrep test [ diff cmp which type find ls
    """
)
"""Commands whose exit code 1 answers a question."""
_READ_ONLY_GIT = words(
    """
    status diff log show blame rev-parse ls-files describe reflog shortlog
    """
)
_WRITES = re.compile(
    r"(?<![0-9&])>(?!&|\s*/dev/null)|\s-(?:delete|exec|execdir|ok)\b|\|\s*(?:xargs|tee|sh|bash)\b"
)
_SEPARATOR = re.compile(r"&&|\|\||;|\n")
_HEREDOC = re.compile(r"<<-?\s*['\"]?(\w+)['\"]?.*?(?:^\s*\1\s*$|\Z)", re.DOTALL | re.MULTILINE)
_PLAIN = re.compile(r"[\t\n\r !$%&(-\[\]-~]*\Z")
"""A piece of a command without quotes, escapes, comments and letters beyond ASCII: it falls apart at its blanks."""
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_WRAPPERS = words(
    """
    sudo time env nice nohup uv poetry pipenv pdm hatch rye npx pnpx bunx exec command xvfb-run
    timeout
    """
)
_RUN_WORDS = frozenset(["run", "exec"])
_SCRIPTED = words(
    """
    npm yarn pnpm bun make just cargo go tox nox mvn gradle ./gradlew dotnet rake mix task
    """
)
_TESTERS = words(
    """
    pytest unittest jest vitest mocha ava tox nox ctest rspec phpunit tsc mypy ruff eslint
    pyright
    """
)
_TEST_WORDS = words(
    """
    test tests t check lint build ci vet clippy typecheck
    """
)
_PYTEST_VALUES = frozenset({"-p", "-n", "-o", "-W", "-c"})
_EXIT_LINE = re.compile(r"\A\s*(?:Error: )?(?:Command failed with )?[Ee]xit code:? (?P<code>-?\d{1,6})\s*\n?")
_COMMIT = re.compile(
    r"^\[(?P<branch>[^\]\n]{1,200}?)(?: \(root-commit\))? (?P<commit>[0-9a-f]{7,40})\] "
    r"(?P<subject>.{1,500})$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the client reported of a shell command: output without the exit line, and the exit code."""

    output: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class Run:
    """A command reduced to what it runs on, so that two spellings of one test run are alike."""

    program: str
    targets: frozenset[str]
    is_test: bool


@dataclass(frozen=True, slots=True)
class Commit:
    """What ``git commit`` printed."""

    commit: str
    branch: str
    subject: str


def read_outcome(response: Any) -> Outcome:
    """Reads the output of a Bash tool: an object with stdout and stderr, or text with an exit line."""
    if isinstance(response, Mapping):
        parts = [response.get(key) for key in ("stdout", "stderr", "output")]
        output = "\n".join(part.rstrip("\n") for part in parts if isinstance(part, str) and part.strip())
        return Outcome(output, _exit_code(response))
    output = response if isinstance(response, str) else ""
    found = _EXIT_LINE.match(output)
    return Outcome(output[found.end() :], int(found["code"])) if found else Outcome(output, 0)


def _exit_code(response: Mapping[str, Any]) -> int:
    for key in ("exit_code", "exitCode", "returnCode", "code"):
        code = response.get(key)
        if isinstance(code, int) and not isinstance(code, bool):
            return code
    return 0


def is_trivial(command: str) -> bool:
    """Whether a command only looks: listing, printing, searching, ``git status``."""
    if _WRITES.search(command):
        return False
    return all(_only_looks(words) for words in simple_commands(command))


def answers_by_exit_code(command: str) -> bool:
    """Whether exit code 1 of this command means "no", not "failed"."""
    programs = [words[0] for words in simple_commands(command) if words]
    return bool(programs) and programs[-1] in _QUIET_FAILURES


def _only_looks(words: list[str]) -> bool:
    if not words:
        return True
    if words[0] == "git":
        return next((word for word in words[1:] if not word.startswith("-")), "") in _READ_ONLY_GIT
    return words[0] in _READ_ONLY or (words[0] == "sed" and "-n" in words)


def simple_commands(command: str) -> Iterator[list[str]]:
    """The words of each command of a chain or a pipe, without assignments before it and heredocs after it."""
    for part in _SEPARATOR.split(_HEREDOC.sub("", command[:PARSED_CHARS_MAX])):
        for piece in part.split("|"):
            yield _words(piece)


def _words(piece: str) -> list[str]:
    try:
        words = piece.split() if _PLAIN.match(piece) else shlex.split(piece, comments=True)
    except ValueError:
        words = piece.split()
    while words and (_ASSIGNMENT.match(words[0]) or words[0] in {"sudo", "time", "(", "{"}):
        del words[0]
    return words[:ARGUMENTS_MAX]


def read_run(command: str) -> Run:
    """The last simple command that does something, without its flags, wrappers and pipes."""
    parts = [
        _words(part.split("|")[0]) for part in _SEPARATOR.split(_HEREDOC.sub("", command[:PARSED_CHARS_MAX]))
    ]
    working = [words for words in parts if words and not _only_looks(words)] or [
        words for words in parts if words
    ]
    words = _unwrapped(working[-1]) if working else []
    if not words:
        return Run("", frozenset(), is_test=False)
    program, rest = _program(words)
    rest = _without_values(rest) if program == "pytest" else rest
    targets = frozenset(
        word.removeprefix("./").rstrip("/") for word in rest if not word.startswith(("-", "2>", ">"))
    )
    return Run(program, targets, _is_test(program))


def _without_values(words: list[str]) -> list[str]:
    """The words without flags of pytest that take a value and choose no tests."""
    return [word for before, word in zip(["", *words], words, strict=False) if before not in _PYTEST_VALUES]


def _unwrapped(words: list[str]) -> list[str]:
    while len(words) > 1 and (words[0] in _WRAPPERS or _ASSIGNMENT.match(words[0]) or words[0].isdecimal()):
        words = words[1:]
        if words[0] in _RUN_WORDS and len(words) > 1:
            words = words[1:]
    return words


def _program(words: list[str]) -> tuple[str, list[str]]:
    """What runs, and the words after it: ``python -m pytest x`` is pytest on x."""
    name = words[0].rsplit("/", 1)[-1]
    if name.startswith("python") and len(words) > 2 and words[1] == "-m":
        return words[2], words[3:]
    if name in _SCRIPTED:
        rest = [word for word in words[1:] if word not in _RUN_WORDS]
        at = next((number for number, word in enumerate(rest) if not word.startswith("-")), None)
        return (name, rest) if at is None else (f"{name} {rest[at]}", rest[:at] + rest[at + 1 :])
    return name, words[1:]


def _is_test(program: str) -> bool:
    first, _, script = program.partition(" ")
    return first in _TESTERS or script.split(":")[0] in _TEST_WORDS or program in {"make", "just"}


def read_commit(command: str, output: str) -> Commit | None:
    """The commit that the output reports, where the command ran ``git commit``."""
    if "git" not in command or "commit" not in command:
        return None
    commits = [
        Commit(found["commit"], found["branch"], found["subject"].strip())
        for found in _COMMIT.finditer(output)
    ]
    return commits[-1] if commits else None
