"""Each performance case of the seed has its test, and docs/performance-cases.md says which."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "performance-cases.md").read_text(encoding="utf-8")
FILES = sorted((ROOT / "tests" / "performance").glob("test_*.py"))
SEED = {
    "test_query_planner.py": 17,
    "test_multi_level_cache.py": 12,
    "test_connection_pool.py": 13,
    "test_memory_manager.py": 13,
    "test_batch_processor.py": 13,
    "test_system_integration.py": 10,
}
"""The six groups, and in how many tests the seed held each."""


def cases(name: str) -> list[tuple[str, list[str]]]:
    """What the page says of a group: its cases and their tests."""
    section = next(part for part in PAGE.split("\n## ") if f"tests/performance/{name})" in part)
    rows = re.findall(r"^\| (.+?) \| (`.+`) \|$", section, re.MULTILINE)
    return [(case, re.findall(r"`(\w+)`", tests)) for case, tests in rows]


def functions_of(path: Path) -> dict[str, set[str]]:
    """The tests of a file and what they ask for."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {n.name: {argument.arg for argument in n.args.args} for n in found if n.name.startswith("test_")}


def test_there_is_one_file_for_each_group() -> None:
    assert [path.name for path in FILES] == sorted(SEED)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_page_names_every_test_of_a_group_and_no_other(path: Path) -> None:
    listed = [test for _, tests in cases(path.name) for test in tests]
    assert set(listed) == set(functions_of(path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_group_has_at_least_the_cases_of_the_seed(path: Path) -> None:
    names = [case for case, _ in cases(path.name)]
    assert len(set(names)) == len(names) >= SEED[path.name]
    assert len(functions_of(path)) >= SEED[path.name]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_case_is_measured(path: Path) -> None:
    assert [name for name, asked in functions_of(path).items() if "measured" not in asked] == []
