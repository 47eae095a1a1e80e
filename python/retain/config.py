"""Settings: one frozen object, read once; the only reader of the environment.

A value comes from, in order of precedence: the caller's argument, the environment (``RETAIN_`` and the
name in capitals), ``config.toml`` in the data directory, the default. ``retain config`` prints each value
and where it came from.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from retain.errors import InvalidInput
from retain.home import DATABASE, SPOOL, data_home, key_home
from retain.model import KINDS
from retain.rules import PATH_CHARS_MAX, SECRET_FILES, Rules, check_allowances, check_patterns

CONFIG_FILE = "config.toml"
CONFIG_BYTES_MAX = 256 * 1024
URL_CHARS_MAX = 2_048
DISK_BYTES_MIN = 256 * 1024
DAYS_MAX = 36_500
PROJECTS_MAX = 500
ALL_SECRETS = "@secrets"
"""Stands for the files that ``paths_deny`` names where nobody says otherwise."""


def _knob(default: int, low: int, high: int, doc: str) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "doc": doc})


def _url(schemes: tuple[str, ...], doc: str) -> Any:
    """A setting that is an address; it may hold a password, so nothing prints it whole."""
    return field(default="", repr=False, metadata={"schemes": schemes, "doc": doc})


def _patterns(default: tuple[str, ...], doc: str) -> Any:
    return field(default=default, metadata={"shape": "patterns", "doc": doc})


def _table(shape: str, doc: str) -> Any:
    """A setting of pairs, which a mapping gives as well; kept in order of the names."""
    return field(default=(), metadata={"shape": shape, "doc": doc})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every limit and every switch, each with a name, a default and bounds.

    Raises:
        InvalidInput: a value is of the wrong type or out of its bounds; the error names it.
    """

    home: Path = field(default=Path(), metadata={"doc": "data directory (RETAIN_HOME)"})
    text_chars_max: int = _knob(262_144, 1_000, 4_194_304, "longest text of one memory, in characters")
    query_chars_max: int = _knob(10_000, 100, 1_000_000, "longest query text, in characters")
    results_max: int = _knob(50, 1, 1_000, "most hits of one recall, most ids of one get")
    items_max: int = _knob(10_000, 1, 1_000_000, "most memories of one remember_many")
    context_tokens: int = _knob(
        1_500, 50, 20_000, "token budget of a context block, and of what a session is told at its start"
    )
    recall_confidence: int = _knob(
        4, 0, 100, "how likely, in percent, a recall must answer the question, else it abstains"
    )
    context_confidence: int = _knob(
        28, 0, 100, "how likely, in percent, a context block must fit the prompt, else it is empty"
    )
    readers: int = _knob(4, 1, 64, "most reader connections")
    acquire_timeout_ms: int = _knob(5_000, 1, 600_000, "longest wait for a reader connection")
    write_timeout_ms: int = _knob(10_000, 10, 600_000, "longest wait for the write lock")
    group_commit_max: int = _knob(64, 1, 4_096, "most writes in one transaction")
    cache_entries_max: int = _knob(2_048, 0, 10_000_000, "entries of the L1 cache of recalls; 0 is off")
    cache_bytes_max: int = _knob(33_554_432, 0, 1 << 40, "bytes of the L1 cache of recalls")
    cache_disk_bytes_max: int = _knob(
        0, 0, 1 << 40, "bytes of the L3 cache on disk; 0 is off, else 256 KiB or more"
    )
    redis_url: str = _url(
        ("redis://", "rediss://", "unix://"), "Redis or Valkey server of the L2 cache; empty is off"
    )
    embedding_url: str = _url(
        ("http://", "https://"),
        "OpenAI-compatible endpoint, https://:KEY@host/v1/embeddings#MODEL; texts are sent to it; empty is off",
    )
    embedding_wait_ms: int = _knob(
        50, 0, 60_000, "how long a recall may wait for embedding_url; then it goes by words alone"
    )
    planner: int = _knob(1, 0, 1, "0: always the plan lexical_first (answers do not change)")
    drain_interval_ms: int = _knob(250, 10, 60_000, "how often a live server looks into the spool")
    drain_batch: int = _knob(64, 1, 4_096, "most events of one transaction of the drain")
    drain_attempts: int = _knob(5, 1, 100, "tries before an event is set aside as a dead letter")
    memory_limit_bytes: int = _knob(
        0, 0, 1 << 50, "bytes of RAM the server should stay below; 0: control group, RLIMIT or machine"
    )
    pressure_interval_ms: int = _knob(10, 0, 60_000, "how often the footprint is read near a limit; 0 is off")
    vectors: int = _knob(1, 0, 1, "0: no vectors are made of memories; recall goes by words alone")
    backup_hours: int = _knob(24, 0, 8_760, "hours between the backups that a live server makes; 0: none")
    backups_kept: int = _knob(7, 1, 1_000, "newest backups that are kept, besides one a week for eight weeks")
    undo_days: int = _knob(
        30, 0, 36_500, "days until a forgotten memory is erased for good by a live server; 0: never"
    )
    recall_drain_ms: int = _knob(50, 0, 60_000, "how long a recall may wait for events still in the spool")
    tools_allow: tuple[str, ...] = _patterns((), "tools whose events are captured; empty is every tool")
    tools_deny: tuple[str, ...] = _patterns((), "tools whose events are not, as mcp__* or Bash(git *)")
    paths_allow: tuple[str, ...] = _patterns(
        (), "files that captured events may be about; empty is every file"
    )
    paths_deny: tuple[str, ...] = _patterns(
        SECRET_FILES, "files that captured events must not be about; @secrets stands for the default list"
    )
    redact_pii: int = _knob(0, 0, 1, "1: addresses, telephone numbers, cards, accounts go like secrets")
    redact_allow: tuple[str, ...] = _table("allowances", "no secrets: RULE:FINGERPRINT:REASON (retain scan)")
    retention: tuple[tuple[str, int], ...] = _table(
        "days", "days that memories of a kind are kept, as prompt=90; others are kept for ever"
    )
    projects: tuple[tuple[str, bool], ...] = _table(
        "projects", "folders that are switched off, or on again inside one; see `retain off`"
    )

    def __post_init__(self) -> None:
        """Checks types and bounds."""
        for knob in fields(self):
            value = getattr(self, knob.name)
            if knob.name == "home":
                if not isinstance(value, Path) or not value.is_absolute():
                    raise InvalidInput("home", "must be an absolute path")
                continue
            if "schemes" in knob.metadata:
                _check_url(knob.name, value, knob.metadata["schemes"])
                continue
            if shape := knob.metadata.get("shape"):
                object.__setattr__(self, knob.name, _SHAPES[shape](knob.name, value))
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise InvalidInput(knob.name, f"must be an integer, not {type(value).__name__}")
            low, high = knob.metadata["low"], knob.metadata["high"]
            if not low <= value <= high:
                raise InvalidInput(knob.name, f"{value} is outside {low}..{high}", limit=f"{low}..{high}")

        if 0 < self.cache_disk_bytes_max < DISK_BYTES_MIN:
            raise InvalidInput(
                "cache_disk_bytes_max", f"must be 0 or at least {DISK_BYTES_MIN}", limit=DISK_BYTES_MIN
            )

    @property
    def database(self) -> Path:
        """Path of the database file."""
        return self.home / DATABASE

    @property
    def spool(self) -> Path:
        """Path of the spool directory."""
        return self.home / SPOOL

    @property
    def rules(self) -> Rules:
        """What is captured of the tools and about which files."""
        return Rules(
            tools_allow=self.tools_allow,
            tools_deny=self.tools_deny,
            paths_allow=self.paths_allow,
            paths_deny=self.paths_deny,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sourced:
    """A setting's value, where it came from, and what it means."""

    name: str
    value: Any
    source: str
    doc: str


def read_settings(
    home: str | os.PathLike[str] | None = None, arguments: Mapping[str, Any] | None = None
) -> tuple[Settings, tuple[Sourced, ...]]:
    """Reads the settings once, and where each value came from.

    Args:
        home: data directory; None reads RETAIN_HOME, then the platform's place.
        arguments: values by name that win over environment and file.

    Raises:
        InvalidInput: an unknown name, a value out of bounds, or a config file that is not TOML.
    """
    place, place_source = _place(home)
    layers: list[tuple[str, Mapping[str, Any]]] = [
        ("argument", dict(arguments or {})),
        ("environment", _from_environment()),
        (str(place / CONFIG_FILE), _from_file(place / CONFIG_FILE)),
    ]
    known = {knob.name: knob for knob in fields(Settings)}
    for source, layer in layers:
        for name in layer:
            if name not in known or name == "home":
                raise InvalidInput(name, f"unknown setting (from {source})", hint="see `retain config`")
    chosen: dict[str, Any] = {"home": place}
    sourced = [Sourced(name="home", value=str(place), source=place_source, doc=known["home"].metadata["doc"])]
    for name, knob in known.items():
        if name == "home":
            continue
        source, value = next(((s, v[name]) for s, v in layers if name in v), ("default", knob.default))
        chosen[name] = value
        shown = without_password(value) if isinstance(value, str) else value
        if knob.metadata.get("shape") in {"days", "projects"}:
            shown = dict(_SHAPES[knob.metadata["shape"]](name, value))
        sourced.append(Sourced(name=name, value=shown, source=source, doc=knob.metadata["doc"]))
    return Settings(**chosen), tuple(sourced)


def _check_patterns(name: str, value: object) -> tuple[str, ...]:
    """Patterns, those of files with ``~`` and ``@secrets`` replaced by what they stand for."""
    patterns = check_patterns(name, value)
    if not name.startswith("paths"):
        return patterns
    found: list[str] = []
    for pattern in patterns:
        mark, bare = ("!", pattern[1:]) if pattern.startswith("!") else ("", pattern)
        one = mark + os.path.expanduser(bare)  # noqa: PTH111 - it is text
        found += SECRET_FILES if pattern == ALL_SECRETS else [one]
    return tuple(found)


def _pairs(name: str, value: object, most: int) -> list[tuple[object, object]]:
    if isinstance(value, tuple):
        value = dict(value)
    if not isinstance(value, Mapping):
        raise InvalidInput(name, f"must be a table, not {type(value).__name__}")
    if len(value) > most:
        raise InvalidInput(name, f"{len(value):,} entries exceed {most}", limit=most)
    return sorted(value.items())


def _check_days(name: str, value: object) -> tuple[tuple[str, int], ...]:
    days: list[tuple[str, int]] = []
    for kind, count in _pairs(name, value, len(KINDS)):
        if not isinstance(kind, str) or kind not in KINDS:
            raise InvalidInput(f"{name}.{str(kind)[:64]}", f"unknown kind; known: {', '.join(KINDS)}")
        if isinstance(count, bool) or not isinstance(count, int):
            raise InvalidInput(f"{name}.{kind}", f"must be a number of days, not {type(count).__name__}")
        if not 1 <= count <= DAYS_MAX:
            raise InvalidInput(f"{name}.{kind}", f"{count} is outside 1..{DAYS_MAX}", limit=f"1..{DAYS_MAX}")
        days.append((kind, count))
    return tuple(days)


def _check_projects(name: str, value: object) -> tuple[tuple[str, bool], ...]:
    found: dict[str, bool] = {}
    for path, said in _pairs(name, value, PROJECTS_MAX):
        shown = f'{name}."{str(path)[:64]}"'
        folder = os.path.expanduser(path) if isinstance(path, str) else ""  # noqa: PTH111 - it is text
        if not folder.startswith("/") or len(folder) > PATH_CHARS_MAX or not folder.isprintable():
            problem = f"must be an absolute path of at most {PATH_CHARS_MAX} characters"
            raise InvalidInput(shown, problem, limit=PATH_CHARS_MAX)
        known = said if isinstance(said, Mapping) else {"capture": said}
        if unknown := [str(key) for key in known if key != "capture"]:
            raise InvalidInput(f"{shown}.{unknown[0][:64]}", "unknown setting; known: capture")
        captured = known.get("capture")
        if not isinstance(captured, bool):
            raise InvalidInput(f"{shown}.capture", "must be true or false")
        found[os.path.normpath(folder)] = captured
    return tuple(sorted(found.items()))


_SHAPES: dict[str, Any] = {"patterns": _check_patterns, "days": _check_days, "projects": _check_projects}
_SHAPES["allowances"] = check_allowances


def value_of(knob: Field[Any], text: str, named: str) -> Any:
    """The value that a text gives a setting, from the environment or the command line; its bounds are not checked.

    Raises:
        InvalidInput: not a number, not a list, or a setting of tables.
    """
    if "schemes" in knob.metadata:
        return text
    match knob.metadata.get("shape"):
        case "patterns" | "allowances":
            return _listed(text, named)
        case "days":
            return {kind: _whole(days, f"{named}.{kind}") for kind, days in _assigned(text, named)}
        case "projects":
            raise InvalidInput(named, "is a table", hint="use `retain off` and `retain on`")
        case _:
            return _whole(text, named)


def _whole(text: str, named: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidInput(named, "must be an integer") from None


def _listed(text: str, named: str) -> list[Any]:
    if not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidInput(named, "must be a JSON list, or patterns with commas between them") from None
    return list(found)


def _assigned(text: str, named: str) -> list[tuple[str, str]]:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if any(not mark for _, mark, _ in pairs):
        raise InvalidInput(named, "must be KIND=DAYS, with commas between them")
    return [(kind.strip(), days.strip()) for kind, _, days in pairs]


def _check_url(name: str, value: object, schemes: tuple[str, ...]) -> None:
    if not isinstance(value, str):
        raise InvalidInput(name, f"must be a string, not {type(value).__name__}")
    if len(value) > URL_CHARS_MAX:
        raise InvalidInput(name, f"longer than {URL_CHARS_MAX} characters", limit=URL_CHARS_MAX)
    if value and not value.startswith(schemes):
        raise InvalidInput(name, f"must begin with {' or '.join(schemes)}")


def without_password(url: str) -> str:
    """An address that may be shown: user, password and query are replaced by ``***``."""
    scheme, there, rest = url.partition("://")
    _, at, host = rest.rpartition("@")
    host, _, model = host.partition("#")
    host, mark, _ = host.partition("?")
    return scheme + there + ("***@" if at else "") + host + ("?***" if mark else "") + (model and f"#{model}")


def place_of(home: str | os.PathLike[str] | None) -> Path:
    """The data directory, whatever its configuration says.

    Raises:
        InvalidInput: no home directory can be found.
    """
    return _place(home)[0]


def _place(home: str | os.PathLike[str] | None) -> tuple[Path, str]:
    try:
        if home is not None:
            return Path(home).expanduser().absolute(), "argument"
        place = data_home(os.environ, sys.platform)
    except (LookupError, RuntimeError) as error:
        raise InvalidInput("home", str(error)) from None
    except OSError:
        raise InvalidInput("home", "is relative, and the current folder is gone") from None
    return Path(place), "environment" if os.environ.get("RETAIN_HOME") else "platform"


def _from_environment() -> dict[str, Any]:
    values: dict[str, Any] = {}
    for knob in fields(Settings):
        text = os.environ.get("RETAIN_" + knob.name.upper())
        if knob.name == "home" or text is None:
            continue
        values[knob.name] = value_of(knob, text, "RETAIN_" + knob.name.upper())
    return values


def check_config(home: Path, text: str) -> None:
    """Checks the text of a config file as ``read_settings`` would, without the environment.

    Raises:
        InvalidInput: not TOML, an unknown name, or a value out of bounds.
    """
    values = _parsed(home / CONFIG_FILE, text.encode())
    known = {knob.name for knob in fields(Settings)} - {"home"}
    if unknown := [name for name in values if name not in known]:
        raise InvalidInput(unknown[0], "unknown setting", hint="see `retain config`")
    Settings(home=home, **values)


def _from_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(CONFIG_BYTES_MAX + 1)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else error
        raise InvalidInput(str(path), f"cannot be read: {problem}") from None
    return _parsed(path, data)


def _parsed(path: Path, data: bytes) -> dict[str, Any]:
    import tomllib

    if len(data) > CONFIG_BYTES_MAX:
        raise InvalidInput(str(path), "too large", limit=CONFIG_BYTES_MAX)
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(str(path), f"not TOML: {error}") from None


def project_directory() -> Path:
    """The folder that the session works in, which must be there: CLAUDE_PROJECT_DIR where that is set, else the cwd."""
    named = os.environ.get("CLAUDE_PROJECT_DIR", "")
    if named.startswith("/"):
        return Path(named)
    try:
        return Path.cwd()
    except OSError:
        raise InvalidInput("folder", "the current folder is gone; change into one that is there") from None


def git_environment() -> dict[str, str]:
    """The environment for a git process that looks at a repository of its own choice.

    Inside a git hook the variables of an outer git name another repository; they are left out. Missing
    objects of a partial clone are not fetched.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _GIT_LOCAL}
    return kept | {"GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}


_GIT_LOCAL = frozenset(
    """
    GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_CONFIG GIT_CONFIG_PARAMETERS GIT_CONFIG_COUNT
    GIT_OBJECT_DIRECTORY GIT_DIR GIT_WORK_TREE GIT_IMPLICIT_WORK_TREE GIT_GRAFT_FILE GIT_INDEX_FILE
    GIT_NO_REPLACE_OBJECTS GIT_REPLACE_REF_BASE GIT_PREFIX GIT_SHALLOW_FILE GIT_COMMON_DIR GIT_NAMESPACE
    """.split()
)
"""What ``git rev-parse --local-env-vars`` prints, and the namespace."""


def is_started_by_client() -> bool:
    """Whether a session of the client started this process: then a model may have written the command."""
    return os.environ.get("CLAUDECODE", "") not in {"", "0"}


def session_id() -> str | None:
    """The id of the client's session that started this process, where the client says it."""
    return os.environ.get("CLAUDE_CODE_SESSION_ID") or None


def client_files() -> tuple[Path, Path]:
    """The files of the user that Claude Code reads: its settings (hooks), and its state (MCP servers)."""
    named = os.environ.get("CLAUDE_CONFIG_DIR", "")
    if named:
        folder = Path(named).expanduser().absolute()
        return folder / "settings.json", folder / ".claude.json"
    return user_directory() / ".claude" / "settings.json", user_directory() / ".claude.json"


def user_directory() -> Path:
    """The user's home directory.

    Raises:
        InvalidInput: there is none.
    """
    try:
        return Path.home()
    except RuntimeError:
        raise InvalidInput("home", "no home directory", hint="name the files: --settings and --mcp") from None


def codex_directory() -> Path:
    """Where Codex keeps its configuration and its sessions."""
    named = os.environ.get("CODEX_HOME", "")
    return Path(named).expanduser().absolute() if named else user_directory() / ".codex"


def managed_settings() -> Path:
    """The settings of Claude Code by which whoever manages a machine overrides those of its users."""
    if on_macos():
        return Path("/Library/Application Support/ClaudeCode/managed-settings.json")
    return Path("/etc/claude-code/managed-settings.json")


def key_folder() -> Path:
    """Where key files lie, outside of every data directory (``home.py``)."""
    return Path(key_home(os.environ))


def search_path() -> list[str]:
    """The folders in which commands are looked for."""
    return os.environ.get("PATH", os.defpath).split(os.pathsep)


def on_macos() -> bool:
    """Whether this is macOS, where applications keep their files elsewhere."""
    return sys.platform == "darwin"


def client_folder() -> Path:
    """The folder in which Claude Code keeps what is the user's: instructions, rules, memory, transcripts."""
    return client_files()[0].parent


def auto_memory_refused() -> bool:
    """Whether the environment switches the client's own memory off."""
    return os.environ.get("CLAUDE_CODE_DISABLE_AUTO_MEMORY", "").lower() in {"1", "true", "yes", "on"}


def use_home(home: str | os.PathLike[str]) -> None:
    """Makes ``home`` the data directory of this process and of those it starts."""
    os.environ["RETAIN_HOME"] = str(Path(home).expanduser().absolute())


def debugging() -> bool:
    """Whether RETAIN_DEBUG=1 asks for the traceback of an unexpected error."""
    return os.environ.get("RETAIN_DEBUG") == "1"


def colour_refused() -> bool:
    """Whether the environment asks for text without colours (https://no-color.org, or a dumb terminal)."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"


def child_environment(home: str | os.PathLike[str]) -> dict[str, str]:
    """The environment for a process of ours that is to use another data directory."""
    return {**os.environ, "RETAIN_HOME": os.fspath(home)}
