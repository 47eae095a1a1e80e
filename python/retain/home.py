"""Where retain keeps its files. Imported by every hook process, so it imports nothing."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

DATABASE = "retain.db"
SPOOL = "spool"
PUBLIC_KEY = "key.pub"
"""In an encrypted data directory: by it hooks seal what they spool. ``keys.py`` writes it."""
CLIENT_FILES = "client-files"
RUN = "run"
"""Folder of the hook socket and of the lock by which one server is elected to answer on it."""
HOOK_SOCKET = "hook.sock"
HOOK_LOCK = "hook.lock"


def data_home(environ: "Mapping[str, str]", platform: str) -> str:
    """The data directory: ``RETAIN_HOME``, else the platform's own place for user data.

    The places are those of platformdirs (a test compares); they are written out because importing that
    package costs a hook more than all its other work. HOME may be missing or
    relative: then the password database is asked.

    Args:
        environ: the environment.
        platform: ``sys.platform``.

    Returns:
        An absolute path, not yet created.

    Raises:
        LookupError: no home directory can be found.
    """
    explicit = environ.get("RETAIN_HOME", "")
    if explicit:
        return _absolute(explicit)
    shared = environ.get("XDG_DATA_HOME", "")
    if shared.startswith("/"):
        return shared.rstrip("/") + "/retain"
    tail = "/Library/Application Support/retain" if platform == "darwin" else "/.local/share/retain"
    return _user(environ, "RETAIN_HOME") + tail


def key_home(environ: "Mapping[str, str]") -> str:
    """Where key files lie: ``RETAIN_KEYS``, else the user's folder for configuration; never in a data directory.

    Raises:
        LookupError: no home directory can be found.
    """
    explicit = environ.get("RETAIN_KEYS", "")
    if explicit:
        return _absolute(explicit)
    shared = environ.get("XDG_CONFIG_HOME", "")
    if shared.startswith("/"):
        return shared.rstrip("/") + "/retain/keys"
    return _user(environ, "RETAIN_KEYS") + "/.config/retain/keys"


def _user(environ: "Mapping[str, str]", instead: str) -> str:
    """The user's home directory; where there is none the error names the variable that can stand ``instead``."""
    user = environ.get("HOME", "")
    if not user.startswith("/"):
        user = _home_of_user()
    if not user.startswith("/"):
        raise LookupError(f"no home directory: set {instead} to a directory")
    return user.rstrip("/")


def _absolute(path: str) -> str:
    if path.startswith("/") and "//" not in path and "/." not in path:
        return path.rstrip("/") or "/"
    import os.path  # a millisecond, which only an unusual path pays

    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - pathlib costs a hook 5 ms


def _home_of_user() -> str:
    import os
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""
