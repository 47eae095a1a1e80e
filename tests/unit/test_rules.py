"""Rules: which tools and files they keep out, and that no pattern costs more than its length."""

from __future__ import annotations

import time

import pytest

from retain.errors import InvalidInput
from retain.rules import PATTERN_CHARS_MAX, PATTERNS_MAX, SECRET_FILES, Act, Rules, check_patterns, fits_path

ROOT = "/home/me/shop"
SECRETS = Rules(paths_deny=SECRET_FILES)


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("*.pem", "certs/a.pem", True), ("*.pem", "a.pem.txt", False), (".env", "sub/.env", True),
        (".env", "sub/x.env", False), ("secrets/**", "secrets/a/b", True), ("secrets/", "deep/secrets/b", True),
        ("secrets/**", "deep/secrets/b", False), ("**/secrets/**", "deep/secrets/b", True),
        ("src/*.py", "src/a.py", True), ("src/*.py", "src/b/a.py", False), ("src/**/*.py", "src/a.py", True),
        ("src/**/*.py", "src/x/y/a.py", True), ("/etc/shadow", "/etc/shadow", True),
        ("/etc/shadow", "etc/shadow", False), (".ssh/", "/home/other/.ssh/config", True),
        ("**/.kube/config", "/home/other/.kube/config", True), ("a?c", "abc", True), ("a?c", "a/c", False),
        (".env", ".ENV", True), ("src", "src/a.py", True), ("secrets/**", f"{ROOT}/secrets/x", True),
        ("secrets/**", "src/../secrets/x", True), ("**", "anything", True),
    ],
)  # fmt: skip
def test_a_path_fits_a_pattern_as_gitignore_reads_it(pattern: str, path: str, fits: bool) -> None:
    assert fits_path(pattern, path, ROOT) is fits


@pytest.mark.parametrize(
    "path",
    [".env", "api/.env.local", "id_rsa", "/home/me/.ssh/config", "server.key", "secrets.yml", "k8s/secrets.yaml",
     "secrets/token", "/root/.aws/credentials", ".git-credentials", "client_secret_12.json"],
)  # fmt: skip
def test_files_that_hold_secrets_by_their_name_are_kept_out_from_the_start(path: str) -> None:
    assert (SECRETS.against(Act(tool="Write", paths=(path,), root=ROOT)) or "").startswith("paths_deny: ")


@pytest.mark.parametrize(
    "path",
    [".env.example", "env.py", "src/environment.ts", "id_rsa.pub", "src/secrets.py", "keys.md", "a.keys"],
)
def test_files_that_only_look_like_them_are_kept(path: str) -> None:
    assert SECRETS.against(Act(tool="Write", paths=(path,), root=ROOT)) is None


@pytest.mark.parametrize(
    ("pattern", "tool", "command", "denied"),
    [
        ("mcp__*", "mcp__jira__search", "", True), ("mcp__*", "Bash", "ls", False),
        ("Bash(git *)", "Bash", "git push", True), ("Bash(git *)", "Bash", "cd x && git push", True),
        ("Bash(git *)", "Bash", "gitk", False), ("Bash(git *)", "Write", "", False),
        ("Bash", "Bash", "anything", True), ("Bash(*vault*)", "Bash", "env | vault read", True),
    ],
)  # fmt: skip
def test_a_tool_is_denied_by_name_and_by_any_command_of_a_chain(
    pattern: str, tool: str, command: str, denied: bool
) -> None:
    verdict = Rules(tools_deny=(pattern,)).against(Act(tool=tool, command=command))
    assert verdict == (f"tools_deny: {pattern}" if denied else None)


def test_a_tool_with_a_path_is_denied_by_the_path_in_parentheses() -> None:
    rules = Rules(tools_deny=("Edit(docs/**)",))
    assert rules.against(Act(tool="Edit", paths=("docs/a.md",), root=ROOT))
    assert not rules.against(Act(tool="Edit", paths=("src/a.md",), root=ROOT))


def test_an_allow_list_allows_a_chain_only_where_every_command_fits() -> None:
    rules = Rules(tools_allow=("Edit", "Bash(pytest *)"))
    assert rules.against(Act(tool="Bash", command="pytest -q")) is None
    assert rules.against(Act(tool="Bash", command="pytest -q && curl x")) == "tools_allow"
    assert rules.against(Act(tool="Write")) == "tools_allow"
    assert rules.against(Act()) is None


def test_a_path_allow_list_keeps_out_what_lies_elsewhere() -> None:
    rules = Rules(paths_allow=("src/**",))
    assert rules.against(Act(tool="Edit", paths=("src/a.py",), root=ROOT)) is None
    assert rules.against(Act(tool="Edit", paths=("docs/a.md",), root=ROOT)) == "paths_allow"


def test_the_last_pattern_that_fits_decides() -> None:
    taken_back = Rules(paths_deny=("*.env", "!ok.env"))
    assert taken_back.denied_path("ok.env", ROOT) is None
    assert taken_back.denied_path("a.env", ROOT) == "*.env"
    assert Rules(paths_deny=("!ok.env", "*.env")).denied_path("ok.env", ROOT) == "*.env"


@pytest.mark.parametrize("pattern", ["*a" * 100, "**/" * 60 + "x", "?" * 200, "**/*a*b*c" * 20])
def test_no_pattern_takes_more_than_the_product_of_the_lengths(pattern: str) -> None:
    started = time.process_time()
    for path in ("a" * 4_000, "a/" * 2_000, "a/b" * 1_300):
        fits_path(pattern[:PATTERN_CHARS_MAX], path, "/")
    assert time.process_time() - started < 5  # backtracking would take longer than the universe


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("*.pem", "paths_deny: must be a list"), ([5], r"paths_deny\[0\]: must be a string"),
        (["ok", ""], r"paths_deny\[1\]: is empty"), (["!"], r"paths_deny\[0\]: is empty"), (["a\nb"], "is empty, or"),
        (["x" * 201], "longer than 200"), (["x"] * (PATTERNS_MAX + 1), "exceed 200"),
    ],
)  # fmt: skip
def test_a_pattern_that_can_be_none_is_named(value: object, named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        check_patterns("paths_deny", value)


def test_a_pattern_of_a_tool_that_can_be_none_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"tools_deny\[0\]: 'Bash\(git' is no pattern of a tool"):
        check_patterns("tools_deny", ["Bash(git"])
