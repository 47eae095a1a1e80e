"""A service on a store of its own, as any caller of the Python API has it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import retain
from retain.memory.service import MemoryService


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder outside any repository; it is one workspace."""
    path = tmp_path / "project"
    path.mkdir()
    return path


@pytest.fixture
async def memory(home: Path, folder: Path) -> AsyncIterator[MemoryService]:
    """An open service on an empty store."""
    async with retain.open(home, folder=folder) as service:
        yield service
