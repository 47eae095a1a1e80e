"""The house stays in order: no dead module, no nameless module, no endless function, one version."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import retain

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "python" / "retain"
MODULES = sorted(PACKAGE.rglob("*.py"))
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 520
FILE_BYTES_MAX = 256 * 1024
NAMELESS = {"utils", "util", "helpers", "helper", "common", "base", "misc"}
DOORS = ("retain", "retain.__main__", "retain.interfaces.hook", "retain.interfaces.mcp")


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in MODULES}


def imports_of(name: str) -> set[str]:
    """Every module of the package that a module imports, lazily or not, parents included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(NAMES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in NAMES:
            found.add(node.value)  # names that are resolved lazily, as in retain/__init__.py
    with_parents = {".".join(n.split(".")[:i]) for n in found for i in range(1, n.count(".") + 2)}
    return {n for n in found | with_parents if n in NAMES}


def test_every_module_is_reached_from_a_door() -> None:
    reached: set[str] = set()
    waiting = [door for door in DOORS if door in NAMES]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += imports_of(name)
    assert sorted(set(NAMES) - reached) == []


def test_no_module_is_named_for_nothing() -> None:
    assert [str(path) for path in MODULES if path.stem in NAMELESS] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_functions_are_short_and_files_have_one_subject(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []
    assert len(source.splitlines()) <= FILE_LINES_MAX


def test_rust_functions_are_short() -> None:
    long = []
    for path in sorted((ROOT / "rust").glob("*/src/**/*.rs")):
        start = None
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if match := re.match(r"^( *)(?:pub(?:\([^)]*\))? )?(?:const )?(?:unsafe )?fn (\w+)", line):
                start = (match[1], match[2], number)
            elif start and line == start[0] + "}":
                if number - start[2] + 1 > FUNCTION_LINES_MAX:
                    long.append(f"{path.name}:{start[2]} {start[1]}")
                start = None
    assert long == []


def test_the_version_is_the_same_everywhere() -> None:
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))
    version = cargo["workspace"]["package"]["version"]
    assert retain.__version__ == version
    assert tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dynamic"] == [
        "version"
    ]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[?{re.escape(version)}", changelog, re.MULTILINE)
    shipped = (
        ".claude-plugin/marketplace.json",
        "plugin/.claude-plugin/plugin.json",
        "packaging/mcpb/manifest.json",
        "packaging/registry/server.json",
    )
    for name in shipped:
        named = re.findall(r'"version": "([^"]*)"', (ROOT / name).read_text(encoding="utf-8"))
        assert set(named) == {version}, name
    bundled = tomllib.loads((ROOT / "packaging" / "mcpb" / "pyproject.toml").read_text(encoding="utf-8"))
    assert bundled["project"]["version"] == version
    assert bundled["project"]["dependencies"] == [f"retain=={version}"]


def test_every_public_name_is_there_and_documented() -> None:
    for name in retain.__all__:
        thing = getattr(retain, name)
        assert name == "__version__" or thing.__doc__


def test_the_extension_is_a_release_build() -> None:
    from retain._core import BUILD_PROFILE

    assert BUILD_PROFILE == "release"


def test_a_hook_process_loads_nothing_heavy() -> None:
    """The budget of a hook is kept by what it does not import; asked of a bare interpreter."""
    code = (
        f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); import retain.interfaces.hook; "
        "print(' '.join(sorted(sys.modules)))"
    )
    bare = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import sys; print(' '.join(sorted(sys.modules)))"],
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True, text=True
    )
    added = set(loaded.stdout.split()) - set(bare)
    assert {name for name in added if not name.startswith("retain")} <= {"fcntl", "_blake2", "posix", "time"}
    assert len([name for name in added if name.startswith("retain")]) <= 8


def tracked() -> list[Path]:
    """The files of this checkout that git keeps."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_file_names_a_registry_host() -> None:
    hosts = (
        "pypi." + "org",
        "crates" + ".io/",
        "registry." + "npmjs",
        "deb." + "debian",
        "files.python" + "hosted",
    )
    guilty = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if path.name != "Cargo.lock"
        and any(host in path.read_text(encoding="utf-8", errors="replace") for host in hosts)
    ]
    assert guilty == []


def test_git_keeps_texts_only_and_none_that_a_run_has_left_behind() -> None:
    assert [str(path) for path in tracked() if path.stat().st_size > FILE_BYTES_MAX] == []
    assert [str(path) for path in tracked() if b"\0" in path.read_bytes()] == []
    sides = re.compile(rb"^(<{7}|>{7}) ", re.MULTILINE)  # of a merge that was not resolved
    assert [str(path) for path in tracked() if sides.search(path.read_bytes())] == []


def test_the_shipped_transcript_is_json_lines() -> None:
    lines = (PACKAGE / "demo_session.jsonl").read_text(encoding="utf-8").splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)
