"""``retain scan`` as a person calls it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from retain.interfaces.cli import main


def secret() -> str:
    """A key that no scanner should find in this file."""
    return "gh" + "p_" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"


def test_a_folder_is_searched_and_the_secret_is_never_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.md").write_text(f"one\ntwo: é {secret()}\n")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\0" + secret().encode())
    (tmp_path / "clean.py").write_text("token = next_token(stream)\n")
    assert main(["scan", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert f"{tmp_path / 'notes.md'}:2:8  github_token" in told
    assert secret() not in told
    assert main(["scan", str(tmp_path), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["files"] == 2
    assert [(one["rule"], one["line"], one["column"], one["chars"]) for one in answer["found"]] == [
        ("github_token", 2, 8, len(secret()))
    ]


def test_a_clean_file_and_a_clean_text_are_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clean.py").write_text("x = 1\n")
    assert main(["scan", str(tmp_path / "clean.py")]) == 0
    assert "No secret in 1 file\n" in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(f"pasted {secret()}".encode())))
    assert main(["scan", "--text", "-"]) == 1


def test_an_allowed_value_is_passed_over_and_the_reason_is_kept(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.md").write_text(f"{secret()}\n")
    assert main(["scan", str(tmp_path), "--json"]) == 1
    mark = json.loads(capsys.readouterr().out)["found"][0]
    allowance = f"{mark['rule']}:{mark['fingerprint']}:of the documentation"
    assert main(["scan", "--allow", allowance]) == 0
    assert allowance in (home / "config.toml").read_text()
    assert main(["scan", str(tmp_path / "notes.md")]) == 0


@pytest.mark.parametrize("allowance", ["github_token", "github_token:12:why", "none:0123456789abcdef:why"])
def test_an_allowance_that_cannot_be_is_refused_and_named(
    allowance: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scan", "--allow", allowance]) != 0
    assert not (home / "config.toml").exists()
    assert "allow" in capsys.readouterr().err


def test_the_store_is_searched_and_scrubbed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["remember", f"the token is {secret()}"]) == 0
    capsys.readouterr()
    assert main(["scan", "--store"]) == 0
    assert main(["scan", "--scrub"]) == 0
    assert "Files that were exported" in capsys.readouterr().out


def test_a_place_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", str(tmp_path / "nowhere")]) != 0
    assert "nowhere" in capsys.readouterr().err
