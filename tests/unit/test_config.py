"""Settings: one place, known sources, bounds that hold, errors that name what is wrong."""

from __future__ import annotations

import os
import shutil
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from retain.config import (
    CONFIG_BYTES_MAX,
    CONFIG_FILE,
    URL_CHARS_MAX,
    Settings,
    child_environment,
    client_files,
    colour_refused,
    debugging,
    git_environment,
    project_directory,
    read_settings,
    session_id,
    use_home,
)
from retain.errors import InvalidInput

KNOBS = [knob for knob in fields(Settings) if "low" in knob.metadata]


def write_config(home: Path, text: str | bytes) -> None:
    home.mkdir(parents=True, exist_ok=True)
    (home / CONFIG_FILE).write_bytes(text if isinstance(text, bytes) else text.encode())


def source_of(name: str, home: Path, **arguments: object) -> tuple[object, str]:
    settings, sourced = read_settings(home, arguments)
    (found,) = [item for item in sourced if item.name == name]
    assert found.value == getattr(settings, name)
    return found.value, found.source


def test_without_anything_said_every_value_is_its_default(home: Path) -> None:
    settings, sourced = read_settings()
    assert settings == Settings(home=home)
    assert {item.name for item in sourced} == {knob.name for knob in fields(Settings)}
    assert {item.source for item in sourced if item.name != "home"} == {"default"}
    assert all(item.doc for item in sourced)


def test_an_argument_wins_over_the_environment_which_wins_over_the_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert source_of("readers", home) == (4, "default")
    write_config(home, "readers = 5")
    assert source_of("readers", home) == (5, str(home / CONFIG_FILE))
    monkeypatch.setenv("RETAIN_READERS", "6")
    assert source_of("readers", home) == (6, "environment")
    assert source_of("readers", home, readers=7) == (7, "argument")


def test_the_home_comes_from_the_argument_the_environment_or_the_platform(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [(i.value, i.source) for i in read_settings()[1][:1]] == [(str(home), "environment")]
    assert [(i.value, i.source) for i in read_settings(tmp_path)[1][:1]] == [(str(tmp_path), "argument")]
    monkeypatch.delenv("RETAIN_HOME")
    settings, sourced = read_settings()
    assert (settings.home.name, sourced[0].source) == ("retain", "platform")


def test_a_relative_home_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_settings("here")[0].home == tmp_path / "here"


def test_the_database_and_the_spool_lie_in_the_home(home: Path) -> None:
    settings = Settings(home=home)
    assert {settings.database.parent, settings.spool.parent} == {home}


@pytest.mark.parametrize("knob", KNOBS, ids=lambda knob: knob.name)
def test_each_bound_is_allowed_and_one_beyond_it_is_not(knob: object, home: Path) -> None:
    name, low, high = knob.name, knob.metadata["low"], knob.metadata["high"]  # type: ignore[attr-defined]
    for value in (low, high):
        assert getattr(Settings(home=home, **{name: value}), name) == value
    for value in (low - 1, high + 1):
        with pytest.raises(InvalidInput, match=f"^{name}: {value} is outside {low}..{high}"):
            Settings(home=home, **{name: value})


@pytest.mark.parametrize("value", ["http://host", "redis:host", 5, None, "redis://" + "x" * URL_CHARS_MAX])
def test_an_address_of_another_kind_is_refused(value: object, home: Path) -> None:
    with pytest.raises(InvalidInput, match=r"^redis_url: "):
        Settings(home=home, redis_url=value)  # type: ignore[arg-type]


def test_a_password_in_an_address_is_never_shown(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETAIN_REDIS_URL", "rediss://me:hunter2@host:1/2?password=hunter2")
    settings, sourced = read_settings(home)
    assert settings.redis_url.count("hunter2") == 2
    (shown,) = [item.value for item in sourced if item.name == "redis_url"]
    assert shown == "rediss://***@host:1/2?***"
    assert "hunter2" not in repr(settings)


def test_a_disk_cache_too_small_to_be_one_is_refused(home: Path) -> None:
    with pytest.raises(InvalidInput, match=r"^cache_disk_bytes_max: "):
        Settings(home=home, cache_disk_bytes_max=1)


@pytest.mark.parametrize("value", ["4", 4.0, None, True, [4]], ids=repr)
def test_a_value_of_another_type_is_refused(value: object, home: Path) -> None:
    with pytest.raises(InvalidInput, match=r"^readers: must be an integer"):
        Settings(home=home, readers=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("place", ["text", Path("relative"), None])
def test_a_home_that_is_no_absolute_path_is_refused(place: object) -> None:
    with pytest.raises(InvalidInput, match=r"^home: must be an absolute path"):
        Settings(home=place)  # type: ignore[arg-type]


def test_settings_do_not_change(home: Path) -> None:
    with pytest.raises(FrozenInstanceError):
        Settings(home=home).readers = 5  # type: ignore[misc]


@pytest.mark.parametrize("text", ["", "x", "1.5", "9" * 5000])
def test_an_environment_variable_that_is_no_number_is_named(
    text: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETAIN_READERS", text)
    with pytest.raises(InvalidInput, match=r"^RETAIN_READERS: must be an integer"):
        read_settings(home)


@pytest.mark.parametrize("name", ["raeders", "home"])
def test_an_unknown_setting_is_named_with_its_source(name: str, home: Path) -> None:
    with pytest.raises(InvalidInput, match=rf"^{name}: unknown setting \(from argument\)"):
        read_settings(home, {name: 1})
    write_config(home, f"{name} = 1")
    with pytest.raises(InvalidInput, match=rf"^{name}: unknown setting \(from .*config.toml\)"):
        read_settings(home)


@pytest.mark.parametrize(
    "text",
    ["readers", b"readers = \xff", "a = " + "[" * 100_000, "readers = 1\nreaders = 2"],
    ids=lambda t: repr(t)[:16],
)
def test_a_config_file_that_is_not_toml_is_named(text: str | bytes, home: Path) -> None:
    write_config(home, text)
    with pytest.raises(InvalidInput, match=r"config\.toml: not TOML"):
        read_settings(home)


def test_a_config_file_over_the_limit_is_refused(home: Path) -> None:
    write_config(home, "#" * (CONFIG_BYTES_MAX + 1))
    with pytest.raises(InvalidInput, match="too large") as caught:
        read_settings(home)
    assert caught.value.limit == CONFIG_BYTES_MAX


def test_a_config_file_that_cannot_be_read_is_named(home: Path) -> None:
    (home / CONFIG_FILE).mkdir(parents=True)
    with pytest.raises(InvalidInput, match=r"config\.toml: cannot be read"):
        read_settings(home)


@pytest.mark.parametrize("place", ["a\0b", "~nobody-has-this-name/x"])
def test_a_home_that_can_be_no_path_is_refused(place: str) -> None:
    with pytest.raises(InvalidInput):
        read_settings(place)


def test_no_home_at_all_is_refused_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RETAIN_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    with pytest.raises(InvalidInput, match=r"^home: .*set RETAIN_HOME"):
        read_settings()


@pytest.fixture
def gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which was removed."""
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    shutil.rmtree(folder)
    return folder


@pytest.mark.parametrize("from_environment", [True, False])
def test_a_relative_home_in_a_folder_that_is_gone_is_refused(
    gone: Path, from_environment: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETAIN_HOME", "relative")
    with pytest.raises(InvalidInput, match=r"^home: is relative"):
        read_settings(None if from_environment else "relative")


def test_the_project_is_the_clients_or_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert project_directory() == tmp_path
    monkeypatch.setenv("CLAUDE_PROJECT_DIR", "/some/project")
    assert project_directory() == Path("/some/project")
    monkeypatch.setenv("CLAUDE_PROJECT_DIR", "relative")
    assert project_directory() == tmp_path


def test_a_folder_that_is_gone_is_no_project(gone: Path) -> None:
    with pytest.raises(InvalidInput, match="the current folder is gone"):
        project_directory()


def test_the_session_is_the_clients_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert session_id() is None
    monkeypatch.setenv("CLAUDE_CODE_SESSION_ID", "s-1")
    assert session_id() == "s-1"


def test_a_git_process_gets_the_environment_without_an_outer_repository(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.setenv(name, "/elsewhere")
    environment = git_environment()
    assert not {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"} & environment.keys()
    assert environment["PATH"] == os.environ["PATH"]
    assert environment["GIT_NO_LAZY_FETCH"] == "1"


def test_the_files_of_the_client_lie_in_the_users_home_or_where_the_client_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = tmp_path / "user"
    assert client_files() == (user / ".claude/settings.json", user / ".claude.json")
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", "~/elsewhere")
    assert client_files() == (user / "elsewhere/settings.json", user / "elsewhere/.claude.json")


def test_without_a_home_the_files_of_the_client_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    with pytest.raises(InvalidInput, match="no home directory") as caught:
        client_files()
    assert "--settings" in (caught.value.hint or "")


def test_a_home_that_is_used_is_that_of_this_process_and_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETAIN_HOME", "/before")
    use_home(tmp_path / "used")
    assert read_settings()[0].home == tmp_path / "used"
    assert child_environment("/other") == {**os.environ, "RETAIN_HOME": "/other"}


@pytest.mark.parametrize(
    ("name", "value", "refused"), [("NO_COLOR", "1", True), ("NO_COLOR", "", False), ("TERM", "dumb", True)]
)
def test_colours_are_left_out_where_the_environment_asks_for_it(
    name: str, value: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert not colour_refused()
    monkeypatch.setenv(name, value)
    assert colour_refused() is refused


def test_tracebacks_are_shown_where_the_environment_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not debugging()
    monkeypatch.setenv("RETAIN_DEBUG", "1")
    assert debugging()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("retention = 5", "retention: must be a table"), ("retention.prmpt = 5", r"retention\.prmpt: unknown kind"),
        ("retention.prompt = 0", r"retention\.prompt: 0 is outside 1\.\.36500"),
        ("retention.prompt = true", r"retention\.prompt: must be a number of days"),
        ("projects.rel.capture = false", r'projects\."rel": must be an absolute path'),
        ("projects.'/a'.captured = false", r'projects\."/a"\.captured: unknown setting; known: capture'),
        ("projects.'/a'.capture = 0", r'projects\."/a"\.capture: must be true or false'),
        ("tools_deny = 'Bash'", "tools_deny: must be a list"), ("paths_deny = ['']", r"paths_deny\[0\]: is empty"),
    ],
)  # fmt: skip
def test_a_bad_control_is_named_with_its_limit(text: str, named: str, home: Path) -> None:
    write_config(home, text)
    with pytest.raises(InvalidInput, match=rf"^{named}"):
        read_settings(home)


def test_controls_come_from_file_and_environment_in_one_shape(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(
        home,
        "paths_deny = ['@secrets', '~/notes/']\n[retention]\nprompt = 9\n[projects.'/a/']\ncapture = false",
    )
    settings, _ = read_settings(home)
    assert ".env" in settings.paths_deny
    assert settings.paths_deny[-1] == f"{Path.home()}/notes/"
    assert (settings.retention, settings.projects) == ((("prompt", 9),), (("/a", False),))
    monkeypatch.setenv("RETAIN_TOOLS_DENY", "mcp__*, WebFetch")
    monkeypatch.setenv("RETAIN_PATHS_DENY", '["a,b"]')
    monkeypatch.setenv("RETAIN_RETENTION", "prompt=1")
    settings, sourced = read_settings(home)
    assert settings.tools_deny == ("mcp__*", "WebFetch")
    assert settings.paths_deny == ("a,b",)
    assert {item.name: item.source for item in sourced}["retention"] == "environment"


@pytest.mark.parametrize(
    ("name", "text"),
    [("PROJECTS", "/a"), ("RETENTION", "prompt"), ("RETENTION", "prompt=x"), ("TOOLS_DENY", "[")],
)
def test_a_control_in_the_environment_that_cannot_be_read_is_named(
    name: str, text: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"RETAIN_{name}", text)
    with pytest.raises(InvalidInput, match=rf"^RETAIN_{name}"):
        read_settings(home)
