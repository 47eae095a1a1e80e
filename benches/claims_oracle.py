"""What a commit of a repository defines, found out by real parsers: the judge of benches/claims.py.

It shares no code with what it judges: Python is read by ``ast`` (by tree-sitter where that refuses), the other
languages by tree-sitter (benches/claims_grammars.py), manifests by tomllib, json and packaging, quoted lines by their
tokens, and files by git itself.
"""

from __future__ import annotations

import ast
import configparser
import json
import re
import subprocess
import tomllib
import warnings
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import InvalidRequirement, Requirement

from claims_grammars import JAVA, LANGUAGES, PYTHON, Parsed, by_grammar

warnings.filterwarnings("ignore", category=SyntaxWarning)
warnings.filterwarnings("ignore", category=DeprecationWarning)


class Fact(NamedTuple):
    kind: str
    path: str
    name: str = ""
    value: str = ""


def suffix(path: str) -> str:
    return Path(path).suffix


def by_ast(text: str) -> Parsed:
    parsed = Parsed()

    def targets(node: ast.AST) -> list[str]:
        if isinstance(node, ast.Name):
            return [node.id]
        if isinstance(node, ast.Tuple | ast.List):
            return [name for one in node.elts for name in targets(one)]
        return targets(node.value) if isinstance(node, ast.Starred) else []

    def walk(body: list[ast.AST], owner: str, *, function: bool) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                parsed.add(node.name, "" if function else owner)
                is_class = isinstance(node, ast.ClassDef)
                walk(list(node.body), node.name if is_class else owner, function=not is_class)
                continue
            if isinstance(node, ast.Assign | ast.AnnAssign) and not function:
                told = node.targets if isinstance(node, ast.Assign) else [node.target]
                for name in [name for one in told for name in targets(one)]:
                    parsed.add(name, owner)
                    if node.value is not None and len(told) == 1 and isinstance(told[0], ast.Name):
                        parsed.value(name, ast.unparse(node.value), literal=False)
                        source = ast.get_source_segment(text, node.value) or ""
                        if (
                            isinstance(node.value, ast.Constant)
                            and node.value.value is not None
                            and "\n" not in source
                        ):
                            parsed.literals.append((name, source))
            for field in ("body", "orelse", "finalbody", "handlers", "cases"):
                walk(list(getattr(node, field, [])), owner, function=function)

    walk(list(ast.parse(text).body), "", function=False)
    return parsed


def parsed_requirements(told: list[str]) -> set[tuple[str, str]]:
    found = set()
    for one in told:
        try:
            requirement = Requirement(one)
        except InvalidRequirement:
            continue
        if str(requirement.specifier):
            found.add((norm(requirement.name), ",".join(sorted(map(str, requirement.specifier)))))
    return found


def poetry(told: dict[str, Any]) -> set[tuple[str, str]]:
    groups = [told, *told.get("group", {}).values()]
    pairs = [pair for one in groups for part in ("dependencies", "dev-dependencies")
             for pair in one.get(part, {}).items()]  # fmt: skip
    found = {(norm(n), v.get("version", "") if isinstance(v, dict) else v) for n, v in pairs}
    return {(n, v) for n, v in found if isinstance(v, str) and v}


class Commit:
    """One commit, asked by git itself."""

    def __init__(self, git_dir: str, commit: str) -> None:
        self.git_dir, self.commit = git_dir, commit
        self.links: set[str] = set()
        self._cat: Any = None
        self._parsed: dict[str, Parsed | None] = {}
        self._texts: dict[str, str | None] = {}
        self._tokens: dict[str, str] = {}

    def git(self, *arguments: str) -> str:
        argv = ["git", f"--git-dir={self.git_dir}", "-c", "core.quotepath=off", *arguments]
        return subprocess.run(argv, check=True, capture_output=True, text=True, errors="replace").stdout

    @cached_property
    def blobs(self) -> dict[str, str]:
        found = {}
        for line in self.git("ls-tree", "-r", "-z", self.commit).split("\0"):
            head, _, path = line.partition("\t")
            if path and " blob " in head:
                found[path] = head.split()[2]
            if path and head.startswith("120000"):
                self.links.add(path)
        return found

    @cached_property
    def folders(self) -> set[str]:
        return {str(parent) for path in self.blobs for parent in Path(path).parents}

    def text(self, path: str) -> str | None:
        if path not in self.blobs or path in self.links:
            return None
        if path not in self._texts:
            if self._cat is None:
                self._cat = subprocess.Popen(
                    ["git", f"--git-dir={self.git_dir}", "cat-file", "--batch"],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                )  # fmt: skip
            self._cat.stdin.write(self.blobs[path].encode() + b"\n")
            self._cat.stdin.flush()
            size = int(self._cat.stdout.readline().split()[2])
            data = self._cat.stdout.read(size + 1)[:-1]
            self._texts[path] = (
                None if size > 1_000_000 else data.decode("utf-8", "replace").replace("\r\n", "\n")
            )
        return self._texts[path]

    def close(self) -> None:
        if self._cat is not None:
            self._cat.stdin.close()
            self._cat.stdout.close()
            self._cat.wait()

    def parsed(self, path: str) -> Parsed | None:
        if path not in self._parsed:
            text = self.text(path)
            found = None
            if text is not None and suffix(path) in LANGUAGES:
                try:
                    found = by_ast(text) if LANGUAGES[suffix(path)] == PYTHON else by_grammar(path, text)
                except (SyntaxError, ValueError, RecursionError):
                    found = by_grammar(path, text)
            self._parsed[path] = found
        return self._parsed[path]

    def requirements(self, path: str) -> set[tuple[str, str]]:
        text, base = self.text(path), Path(path).name
        if text is None:
            return set()
        told: list[str] = []
        try:
            if base == "package.json":
                data = json.loads(text)
                parts = ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies")
                return {(n, v) for part in parts for n, v in data.get(part, {}).items()}  # fmt: skip
            if base == "go.mod":
                words = [line.replace("require ", "").split() for line in text.splitlines()]
                return {(w[0], w[1]) for w in words if len(w) >= 2 and w[1].startswith("v") and "/" in w[0]}
            if base == "Cargo.toml":
                data = tomllib.loads(text)
                tables = [data, data.get("workspace", {}), *data.get("target", {}).values()]
                pairs = [pair for one in tables for part in ("dependencies", "dev-dependencies", "build-dependencies")
                         for pair in one.get(part, {}).items()]  # fmt: skip
                found = {(n, v if isinstance(v, str) else v.get("version", "")) for n, v in pairs}
                return {(n, v) for n, v in found if v}
            if base == "pyproject.toml":
                data = tomllib.loads(text)
                project = data.get("project", {})
                groups = [project.get("dependencies", []), *project.get("optional-dependencies", {}).values(),
                          *data.get("dependency-groups", {}).values(),
                          data.get("build-system", {}).get("requires", [])]  # fmt: skip
                told = [one for group in groups for one in group if isinstance(one, str)]
                return {*parsed_requirements(told), *poetry(data.get("tool", {}).get("poetry", {}))}
            if base.endswith((".txt", ".in")):
                told = [line.split(" #")[0].strip() for line in text.splitlines()]
            elif base == "setup.py":
                told = re.findall(r"""["']([A-Za-z][\w.-]*(?:\[[^\]]*\])?[ ]*[<>=!~][^"'\n]*)["']""", text)
            elif base == "setup.cfg":
                told = [line.strip() for line in text.splitlines() if line[:1].isspace()]
        except (ValueError, AttributeError, TypeError):
            return set()
        return parsed_requirements(told)

    def commands(self, path: str) -> set[str]:
        text, base = self.text(path), Path(path).name
        if text is None:
            return set()
        try:
            if base == "package.json":
                return {f"npm run {name}" for name in json.loads(text).get("scripts", {})}
            if base == "Makefile":
                rules = [line.split(":")[0] for line in text.splitlines()
                         if ":" in line and line[0] not in "\t #."
                         and ":=" not in line and "=" not in line.split(":")[0]]  # fmt: skip
                return {f"make {name}" for rule in rules for name in rule.split()}
            if base == "tox.ini":
                config = configparser.RawConfigParser(strict=False)
                config.read_string(text)
                return {
                    f"tox -e {one.split(':')[1]}" for one in config.sections() if one.startswith("testenv:")
                }
            if base == "pyproject.toml":
                data = tomllib.loads(text)
                return {
                    *data.get("project", {}).get("scripts", {}),
                    *data.get("tool", {}).get("poetry", {}).get("scripts", {}),
                }
            if base in {"setup.py", "setup.cfg"}:
                return {
                    m.strip() for m in re.findall(r"^\W*([\w.-]+)\s*=\s*[\w.]+:[\w.]+", text, re.MULTILINE)
                }
        except (ValueError, configparser.Error):
            return set()
        return set()

    def holds(self, fact: Fact) -> bool | None:
        """Whether a fact is so in this commit; None where this judge cannot say."""
        if fact.kind == "path":
            return fact.path in self.blobs or fact.path in self.folders
        text = self.text(fact.path)
        if text is None:
            return False
        if fact.kind == "line":
            if fact.path not in self._tokens:
                self._tokens[fact.path] = "\0" + "\0".join(re.findall(r"\w+|[^\w\s]", text)) + "\0"
            return "\0" + "\0".join(re.findall(r"\w+|[^\w\s]", fact.value)) + "\0" in self._tokens[fact.path]
        if fact.kind == "command":
            name = re.sub(r"^(yarn|pnpm) run", "npm run", fact.name)
            return name in self.commands(fact.path)
        if fact.kind == "dependency":
            wanted = ",".join(sorted(re.sub(r"\s", "", fact.value).split(",")))
            asked = {(norm(n), re.sub(r"\s", "", v)) for n, v in self.requirements(fact.path)}
            return (norm(fact.name), wanted) in asked
        parsed = self.parsed(fact.path)
        if parsed is None:
            return None
        *owners, last = re.split(r"::|\.|#", fact.name)
        unknown = None if parsed.broken and re.search(rf"\b{re.escape(last)}\b", text) else False
        if fact.kind == "symbol":
            if not owners:
                return last in parsed.names or last in parsed.also or unknown
            if f"{owners[-1]}.{last}" in parsed.members:
                return True
            told = last in parsed.names or last in parsed.also
            strict = LANGUAGES[suffix(fact.path)] in {PYTHON, JAVA}
            return None if told and not strict else unknown
        ending = suffix(fact.path)
        known = {same(one, ending) for one in parsed.values.get(last, ())}
        return same(fact.value, ending) in known or unknown


def norm(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def same(value: str, ending: str) -> str:
    if ending in {".py", ".pyi"}:
        try:
            return ast.unparse(ast.parse(value, mode="eval"))
        except (SyntaxError, ValueError):
            pass
    return re.sub(r"\s+", "", value).replace("'", '"')
