"""What every test stands on: private directories, a store or a service to open, git repositories to build."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import apsw
import pytest
from hypothesis import HealthCheck, settings

import retain
from retain import keys
from retain.config import Settings
from retain.memory.service import MemoryService
from retain.sealing import Key
from retain.storage.sqlite import SqliteStore
from servers import RedisServer, redis_binary

settings.register_profile(
    "same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)  # neither luck nor the clock decides whether the suite passes
settings.register_profile(
    "other", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("same")

FOREIGN = ("RETAIN_", "XDG_", "CLAUDE", "GIT_")
"""Beginnings of the variables that a test must not get from the machine it runs on."""

GIT_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A. Author",
    "GIT_AUTHOR_EMAIL": "author@example.org",
    "GIT_COMMITTER_NAME": "A. Author",
    "GIT_COMMITTER_EMAIL": "author@example.org",
    "GIT_AUTHOR_DATE": "2026-11-23T12:00:00+00:00",
    "GIT_COMMITTER_DATE": "2026-11-23T12:00:00+00:00",
}

StoreOpener = Callable[..., AbstractAsyncContextManager[SqliteStore]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def private_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the user's own files: HOME and RETAIN_HOME lie in its own directory."""
    for name in list(os.environ):
        if name.startswith(FOREIGN):
            monkeypatch.delenv(name)
    for name, value in GIT_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("RETAIN_HOME", str(tmp_path / "data"))


@pytest.fixture
def encrypted(private_places: None, home: Path) -> Key:
    """The data directory of this test is encrypted before anything is in it; skips without ciphers."""
    if not hasattr(apsw, "mc_version"):
        pytest.skip("the apsw that is loaded has no ciphers (apsw-sqlite3mc has)")
    key = Key.fresh()
    keys.keep(key, in_file=True)
    home.mkdir(mode=0o700)
    keys.declare(home, key)
    return key


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The data directory of this test, not yet made; RETAIN_HOME names it."""
    return tmp_path / "data"


@pytest.fixture
def open_store(home: Path) -> StoreOpener:
    """Opens the store of this test for the length of a block; settings go by name."""

    @asynccontextmanager
    async def opened(**settings: int) -> AsyncIterator[SqliteStore]:
        store = await SqliteStore.open(Settings(home=home, **settings))
        try:
            yield store
        finally:
            await store.close()

    return opened


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


class GitRepo:
    """A git repository made by commands, the same at every run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self("init", "-q", "-b", "main")

    def __call__(self, *arguments: str, at: Path | None = None) -> str:
        """Runs git in the repository, or in another folder, and returns what it prints."""
        answer = subprocess.run(
            ["git", *arguments], cwd=at or self.path, check=True, capture_output=True, text=True
        )
        return answer.stdout.strip()

    def commit(self, message: str = "change") -> str:
        """Makes a commit and returns its hash."""
        self("commit", "-q", "--allow-empty", "-m", message)
        return self("rev-parse", "HEAD")


@pytest.fixture
def git_repo(tmp_path: Path) -> Callable[..., GitRepo]:
    """Builds a git repository under the test's directory; each name is one folder."""
    return lambda name="repo": GitRepo(tmp_path / name)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own; skips where there is none."""
    with RedisServer(redis_binary(), tmp_path) as running:
        yield running
