"""The data directory is where the platform keeps the data of users."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from platformdirs.macos import MacOS
from platformdirs.unix import Unix

from retain.home import data_home

PLATFORMS = {"linux": Unix, "darwin": MacOS}

ENVIRONMENTS = [
    {"HOME": "/home/ann"},
    {"HOME": "/home/ann", "XDG_DATA_HOME": "/data"},
    {"HOME": "/home/ann", "XDG_DATA_HOME": "/da ta/x"},
    {"HOME": "/home/ann", "XDG_DATA_HOME": ""},
    {"HOME": "/home/ann", "XDG_DATA_HOME": "relative/data"},
    {"HOME": "/home/ann", "XDG_DATA_HOME": "/"},
    {"HOME": "/"},
    {"HOME": "/home/ann", "XDG_CONFIG_HOME": "/elsewhere"},
    {"HOME": "/home/Zoë"},
    {},
    {"HOME": ""},
    {"HOME": "not/absolute"},
]


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=str)
def test_the_place_is_that_of_platformdirs(
    platform: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    expected = PLATFORMS[platform]("retain", appauthor=False).user_data_dir
    assert data_home(environment, platform) == expected


@pytest.mark.parametrize("platform", PLATFORMS)
def test_retain_home_wins_over_everything(platform: str) -> None:
    environment = {"HOME": "/home/ann", "XDG_DATA_HOME": "/data", "RETAIN_HOME": "/mine"}
    assert data_home(environment, platform) == "/mine"


def test_retain_home_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ann")
    assert data_home({"RETAIN_HOME": "here/../there"}, "linux") == str(tmp_path / "there")
    assert data_home({"RETAIN_HOME": "~/memories"}, "linux") == "/home/ann/memories"


@pytest.mark.parametrize("environment", [{}, {"HOME": ""}, {"HOME": "relative"}], ids=str)
def test_no_home_at_all_is_an_error_that_says_what_to_do(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)  # a user that no password database knows
    with pytest.raises(LookupError, match="set RETAIN_HOME"):
        data_home(environment, "linux")
