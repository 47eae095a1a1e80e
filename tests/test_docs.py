"""The docs cannot lie: their commands and code run, and the reference is what the code says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall(README)
PARTS = BLOCK.findall((ROOT / "docs" / "parts.md").read_text(encoding="utf-8"))


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    """An environment with a home of its own, in which `retain` and `python` are those that run the tests."""
    binaries = str(Path(sys.executable).parent)
    return {
        "PATH": f"{binaries}:{os.environ.get('PATH', os.defpath)}",
        "HOME": str(tmp_path),
        "RETAIN_HOME": str(tmp_path / "data"),
        "LANG": "C.UTF-8",
    }


def commands() -> list[str]:
    """The shell commands of the README, but for those that install with pip or measure for minutes."""
    lines = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines() if line.strip()]
    return [line for line in lines if not line.startswith(("pip ", "python benches/"))]


def test_the_two_commands_stand_in_the_readme_as_ci_runs_them() -> None:
    assert "pip install . && retain demo\n" in README
    assert "pip install -e '.[dev]' && pytest\n" in README
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "pip install -e '.[dev]'\n" in ci
    assert re.search(r"^pytest$", ci, re.MULTILINE)


def test_every_command_of_the_readme_runs(surroundings: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".claude" / "projects").mkdir(parents=True)  # whoever uses Claude Code has it
    for line in commands():
        ended = subprocess.run(
            line, shell=True, cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, f"{line}\n{ended.stdout}\n{ended.stderr}"


def run(code: str, surroundings: dict[str, str], place: Path) -> str:
    """What a piece of Python prints; it ends well, and warns of nothing."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=place, env=surroundings, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("code", [text for kind, text in BLOCKS if kind == "python"])
def test_every_piece_of_python_in_the_readme_runs(
    code: str, surroundings: dict[str, str], tmp_path: Path
) -> None:
    assert "Releases are cut from main on Tuesdays." in run(code, surroundings, tmp_path)


@pytest.mark.parametrize("code", [text for kind, text in PARTS if kind == "python"])
def test_every_part_works_alone_as_its_page_shows(
    code: str, surroundings: dict[str, str], tmp_path: Path
) -> None:
    run(code, surroundings, tmp_path)


def test_the_reference_is_what_the_code_says() -> None:
    ended = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate_reference.py"), "--check"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_links_in_the_docs_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    dead = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert dead == []
