"""Where retain keeps its files. Imported by every hook process, so it imports nothing."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

DATABASE = "retain.db"
SPOOL = "spool"
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
    user = environ.get("HOME", "")
    if not user.startswith("/"):
        user = _home_of_user()
    if not user.startswith("/"):
        raise LookupError("no home directory: set RETAIN_HOME to a directory")
    tail = "/Library/Application Support/retain" if platform == "darwin" else "/.local/share/retain"
    return user.rstrip("/") + tail


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
