"""Where the key of an encrypted data directory is, and which one that is.

The secret is kept outside of the data directory, so that a copy of the directory says nothing: in the keychain of the
system where there is one (``keyring``, of the extra ``encryption``), else in a file of the user alone. In the directory
lies the public key, by which hooks seal events; it says that the directory is encrypted, and with which key.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from retain.config import key_folder
from retain.errors import InvalidInput, KeyMissing, StoreUnusable
from retain.home import PUBLIC_KEY
from retain.sealing import Key, id_of_public
from retain.whole_files import sync, write_whole

FIRST_WORDS = "retain-key 1"
SECRET_WORDS = "retain-secret 1"  # noqa: S105 - what begins a key file
KEYCHAIN = "keychain"
SERVICE = "retain"
"""Under which name keys stand in the keychain."""


def declared(home: Path) -> str | None:
    """The id of the key that a data directory is encrypted with; None where it is plain.

    Raises:
        StoreUnusable: its public key cannot be understood.
    """
    path = home / PUBLIC_KEY
    try:
        line = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreUnusable(f"{path} cannot be read: {error.strerror}") from error
    with suppress(ValueError):
        words, name, public = line.decode("ascii").rsplit(" ", 2)
        if words == FIRST_WORDS and id_of_public(bytes.fromhex(public)) == name:
            return name
    raise StoreUnusable(f"{path} is no public key", hint="`retain encrypt` writes it anew")


def of_home(home: Path) -> Key | None:
    """The key of a data directory; None where it is plain.

    Raises:
        StoreUnusable: its public key cannot be understood.
        KeyMissing: its key is nowhere.
    """
    name = declared(home)
    return None if name is None else find(name)


def declare(home: Path, key: Key) -> None:
    """Writes the public key into a data directory: from now on it is encrypted with this key."""
    write_whole(home / PUBLIC_KEY, f"{FIRST_WORDS} {key.id} {key.public.hex()}\n".encode("ascii"))


def undeclare(home: Path) -> None:
    """From now on the data directory is plain."""
    (home / PUBLIC_KEY).unlink(missing_ok=True)
    sync(home)


@lru_cache(maxsize=64)
def find(name: str) -> Key:
    """The key with this id; looked for in files first, for opening the keychain costs a quarter of a second.

    Raises:
        KeyMissing: it is in no place, or what is there is another key.
    """
    for place in _places(name):
        secret = _secret_in(place, name)
        if secret is None:
            continue
        key = _key_of(secret)
        if key is None or key.id != name:
            held = "no key" if key is None else f"key {key.id}"
            raise KeyMissing(
                f"this is encrypted with key {name}, and {place} holds {held}",
                hint=f"`retain key import FILE` with the file that `retain key export` wrote of {name}",
            )
        return key
    raise KeyMissing(
        f"this is encrypted with key {name}, which is neither in {key_folder()} nor in a keychain",
        hint="`retain key import FILE`, or say with RETAIN_KEYS in which folder it is",
    )


def place_of(name: str) -> str | None:
    """Where the key with this id is: the path of a file, ``keychain``, or nowhere."""
    return next((place for place in _places(name) if _secret_in(place, name) is not None), None)


def keep(key: Key, *, in_file: bool = False) -> str:
    """Keeps a key in the keychain, else in a file (0600); returns the place. It is there for good when this returns.

    Raises:
        StoreUnusable: the file cannot be written.
    """
    if not in_file and _keep_in_keychain(key):
        return KEYCHAIN
    path = key_folder() / f"{key.id}.key"
    try:
        for folder in (*reversed(path.parent.parents), path.parent):
            folder.mkdir(mode=0o700, exist_ok=True)  # each: what mkdir makes on the way is open to others
        write_whole(path, written(key).encode("ascii"))
    except OSError as error:
        raise StoreUnusable(f"{path} cannot be written: {error.strerror}", hint="set RETAIN_KEYS") from error
    return str(path)


def written(key: Key) -> str:
    """A key as the line of a key file."""
    return f"{SECRET_WORDS} {key.secret.hex()}\n"


def read(text: str) -> Key:
    """The key of a key file.

    Raises:
        InvalidInput: it is none.
    """
    key = _key_of(text)
    if key is None:
        raise InvalidInput("file", "is no key of retain", hint="`retain key export` writes one")
    return key


def _places(name: str) -> Iterator[str]:
    yield str(key_folder() / f"{name}.key")
    yield KEYCHAIN


def _secret_in(place: str, name: str) -> str | None:
    if place != KEYCHAIN:
        try:
            return Path(place).read_text(encoding="ascii")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise KeyMissing(f"the key file {place} cannot be read: {error}") from error
    chain = _keychain()
    if chain is None:
        return None
    try:
        found: str | None = chain.get_password(SERVICE, name)
    except Exception as error:
        raise KeyMissing(f"the keychain does not answer: {type(error).__name__}: {error}") from error
    return found


def _keychain() -> Any:
    """The keychain of the system; None where there is none, or the extra is not installed."""
    try:
        import keyring
    except ImportError:
        return None
    backend = keyring.get_keyring()
    return backend if backend.priority >= 1 else None


def _keep_in_keychain(key: Key) -> bool:
    """Whether the keychain has the key now; it is asked for it again."""
    chain = _keychain()
    if chain is None:
        return False
    with suppress(Exception):  # a keychain of any make: then a file keeps the key
        chain.set_password(SERVICE, key.id, written(key))
        return bool(chain.get_password(SERVICE, key.id) == written(key))
    return False


def _key_of(text: str) -> Key | None:
    words, _, secret = text.strip().rpartition(" ")
    with suppress(ValueError):
        return Key(bytes.fromhex(secret)) if words == SECRET_WORDS else None
    return None
