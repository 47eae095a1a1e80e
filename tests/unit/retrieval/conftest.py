"""Stores of the tests' own, see ``libraries.py``."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from libraries import Library


@pytest.fixture(scope="session")
def make_library(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Library]:
    """Makes empty libraries; they are closed at the end of the run."""
    made: list[Library] = []

    def make() -> Library:
        made.append(Library(tmp_path_factory.mktemp("library")))
        return made[-1]

    yield make
    for library in made:
        library.close()


@pytest.fixture
def library(make_library: Callable[[], Library]) -> Library:
    """An empty library."""
    return make_library()
