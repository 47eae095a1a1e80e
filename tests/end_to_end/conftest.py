"""The command line, called in the process of the test; a repository whose history tests tell, with a service in it."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

import retain
from retain.interfaces.cli import main
from retain.memory.service import MemoryService
from story import Story

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
async def story(tmp_path: Path, home: Path) -> AsyncIterator[Story]:
    """A repository with one commit on main and a file, and a service that stands in it."""
    path = tmp_path / "repo"
    path.mkdir()
    async with AsyncExitStack() as opened:

        async def open_at(folder: Path, **more: str) -> MemoryService:
            return await opened.enter_async_context(
                retain.open(home, folder=folder, recall_confidence=0, recall_drain_ms=0, **more)
            )

        story = Story(path, home, await open_at(path), open_at)
        story.git("init", "-q", "-b", "main")
        story.commit("root", a_txt="a\n" * 30, b_txt="b\n" * 30)
        yield story


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process; gives exit code, stdout and stderr."""

    def go(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main(arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return go


@pytest.fixture
def ask(run: Run) -> Callable[..., Any]:
    """Runs a command with ``--json`` and gives the value that it prints."""
    return lambda *arguments, **options: json.loads(run(*arguments, "--json", **options)[1])
