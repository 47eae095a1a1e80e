"""Where keys are kept: the keychain of the system, else a file of the user alone, never the data directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from retain import keys
from retain.errors import InvalidInput, KeyMissing, StoreUnusable
from retain.sealing import Key

keyring = pytest.importorskip("keyring", reason="keyring is of the extra encryption")
from keyring.backend import KeyringBackend  # noqa: E402 - of the same extra


class Chain(KeyringBackend):  # type: ignore[misc]
    """A keychain in RAM."""

    priority = 5

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise keyring.errors.KeyringLocked("locked")
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.locked:
            raise keyring.errors.KeyringLocked("locked")
        self.held[service, username] = password


@pytest.fixture
def chain() -> Iterator[Chain]:
    before, made = keyring.get_keyring(), Chain()
    keyring.set_keyring(made)
    keys.find.cache_clear()
    yield made
    keyring.set_keyring(before)
    keys.find.cache_clear()


@pytest.fixture
def headless() -> Iterator[None]:
    """A machine without a keychain."""
    from keyring.backends.fail import Keyring

    before = keyring.get_keyring()
    keyring.set_keyring(Keyring())
    yield
    keyring.set_keyring(before)


def test_the_keychain_is_taken_where_there_is_one(chain: Chain, tmp_path: Path) -> None:
    key = Key.fresh()
    assert keys.keep(key) == keys.KEYCHAIN
    assert keys.find(key.id) == key
    assert list(tmp_path.rglob("*.key")) == []
    assert keys.place_of(key.id) == keys.KEYCHAIN


def test_a_keychain_that_refuses_leaves_the_key_to_a_file(chain: Chain) -> None:
    chain.locked = True
    key = Key.fresh()
    place = Path(keys.keep(key))
    assert place.stat().st_mode & 0o777 == 0o600
    assert place.parent.stat().st_mode & 0o777 == 0o700
    assert keys.find(key.id) == key


def test_a_keychain_that_does_not_answer_is_no_missing_key(chain: Chain) -> None:
    key = Key.fresh()
    keys.keep(key)
    chain.locked = True
    with pytest.raises(KeyMissing, match="does not answer: KeyringLocked"):
        keys.find(key.id)


def test_without_a_keychain_a_file_outside_of_the_data_directory_keeps_the_key(
    headless: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = Key.fresh()
    assert keys.keep(key) == str(tmp_path / "user" / ".config" / "retain" / "keys" / f"{key.id}.key")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "shared"))
    assert keys.keep(key) == str(tmp_path / "shared" / "retain" / "keys" / f"{key.id}.key")
    monkeypatch.setenv("RETAIN_KEYS", str(tmp_path / "named"))
    assert keys.keep(key, in_file=True) == str(tmp_path / "named" / f"{key.id}.key")


def test_a_missing_key_is_named_with_the_places_that_were_searched(headless: None, tmp_path: Path) -> None:
    with pytest.raises(
        KeyMissing, match=r"0123456789abcdef, which is neither in .*/retain/keys nor in a keychain"
    ):
        keys.find("0123456789abcdef")


@pytest.mark.parametrize("text", ["", "retain-secret 1 zz\n", "retain-secret 2 " + "00" * 32, "x" * 500])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="no key of retain"):
        keys.read(text)


def test_a_written_key_is_read_again() -> None:
    key = Key.fresh()
    assert keys.read(keys.written(key)) == key


def test_a_directory_says_which_key_it_is_encrypted_with(tmp_path: Path) -> None:
    key = Key.fresh()
    assert keys.declared(tmp_path) is None
    keys.declare(tmp_path, key)
    assert keys.declared(tmp_path) == key.id
    assert key.secret.hex() not in (tmp_path / "key.pub").read_text()
    (tmp_path / "key.pub").write_text("retain-key 1 0123456789abcdef " + key.public.hex() + "\n")
    with pytest.raises(StoreUnusable, match="no public key"):
        keys.declared(tmp_path)
    keys.undeclare(tmp_path)
    assert keys.of_home(tmp_path) is None
