"""One value of the configuration changes, and every other byte stays."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from retain.errors import InvalidInput
from retain.interfaces import settings_file
from retain.interfaces.settings_file import edited

KEPT = """# mine
readers = 5 # four are too few
paths_deny = [
  "*.sqlite", # [not a table]
  '''a'b''',
]

[retention]
# short
prompt = 90

[projects."/home/me/a=b"]
capture = false
"""


@pytest.mark.parametrize(
    ("keys", "value", "old", "new"),
    [
        (("readers",), 6, "readers = 5 # four are too few", "readers = 6"),
        (("retention", "prompt"), 30, "prompt = 90", "prompt = 30"),
        (("retention", "error"), 30, "prompt = 90\n", "prompt = 90\nerror = 30\n"),
        (("retention", "prompt"), None, "[retention]\n# short\nprompt = 90\n", "# short\n"),
        (("vectors",), 0, "\n]\n", "\n]\nvectors = 0\n"),
        (("projects", "/home/me/a=b"), None, '[projects."/home/me/a=b"]\ncapture = false\n', ""),
        (("projects", "/x"), {"capture": False}, "capture = false\n",
         'capture = false\n\n[projects]\n"/x" = {capture = false}\n'),
    ],
)  # fmt: skip
def test_one_statement_changes_and_the_rest_stays(
    keys: tuple[str, ...], value: Any, old: str, new: str
) -> None:
    assert KEPT.count(old) == 1
    made = edited(KEPT, keys, value)
    assert made == KEPT.replace(old, new) or tomllib.loads(made) == tomllib.loads(KEPT.replace(old, new))
    assert edited(made, keys, value) == made
    assert "# mine\n" in made


@pytest.mark.parametrize("text", ["", "\n", "# only a remark\n", "readers = 5", "readers = 5\r\n"])
def test_a_value_is_added_to_any_file_and_taken_out_again(text: str) -> None:
    made = edited(text, ("retention", "prompt"), 90)
    assert tomllib.loads(made)["retention"] == {"prompt": 90}
    assert made.startswith(text.rstrip("\r\n"))
    assert tomllib.loads(edited(made, ("retention", "prompt"), None)) == tomllib.loads(text)
    assert ("\r\n" in made) == ("\r\n" in text)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("retention = {prompt = 90, error = 3}\n", ("retention", "prompt")),
        ("retention.prompt = 90\nretention.error = 3\n", ("retention", "prompt")),
        ('projects = {"/a" = {capture = false}}\n', ("projects", "/a")),
        ("projects.'/a'.capture = false\n", ("projects", "/a")),
    ],
)
def test_inline_and_dotted_tables_are_edited_as_well(text: str, keys: tuple[str, str]) -> None:
    before = tomllib.loads(text)
    after = tomllib.loads(edited(text, keys, None))
    assert keys[1] not in after.get(keys[0], {})
    assert {k: v for k, v in before[keys[0]].items() if k != keys[1]} == after.get(keys[0], {})


def test_a_file_that_is_not_toml_is_left_alone() -> None:
    with pytest.raises(InvalidInput, match=r"config\.toml is not TOML"):
        edited("readers = ", ("readers",), 5)


def test_what_would_be_refused_is_not_written(home: Path) -> None:
    home.mkdir()
    (home / "config.toml").write_text("readers = 5\n")
    with pytest.raises(InvalidInput, match=r"retention\.prompt: 0 is outside"):
        settings_file.change(home, ("retention", "prompt"), 0)
    assert (home / "config.toml").read_text() == "readers = 5\n"


def test_the_file_keeps_its_mode_and_its_place_behind_a_link(home: Path, tmp_path: Path) -> None:
    home.mkdir()
    real = tmp_path / "dotfiles.toml"
    real.write_text("readers = 5\n")
    real.chmod(0o640)
    (home / "config.toml").symlink_to(real)
    assert settings_file.change(home, ("readers",), 6)
    assert not settings_file.change(home, ("readers",), 6)
    assert (home / "config.toml").is_symlink()
    assert (real.read_text(), real.stat().st_mode & 0o777) == ("readers = 6\n", 0o640)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "dotfiles.toml"]
