"""What is sealed opens with its key alone, and every change is noticed."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retain.cache.levels import Entry
from retain.cache.sealed import SealedLevel
from retain.sealing import (
    ID_BYTES,
    PIECE_BYTES,
    SEALED,
    Key,
    SealedWriter,
    Unsealable,
    id_of_public,
    seal_event,
    unsealed,
)
from retain.storage import aside

KEY, OTHER = Key(b"k" * 32), Key(b"o" * 32)


def file_of(*parts: bytes, key: Key = KEY) -> bytes:
    file = io.BytesIO()
    with SealedWriter(file, key) as sealed:
        for part in parts:
            sealed.write(part)
    return file.getvalue()


def opened(data: bytes) -> bytes:
    return unsealed(io.BytesIO(data), lambda _: KEY).read()


@given(st.binary(max_size=200), st.integers(0, 239))
def test_what_is_sealed_opens_for_its_purpose_and_not_when_a_byte_was_changed(data: bytes, at: int) -> None:
    sealed = KEY.seal(data, "chunk")
    assert KEY.open(sealed, "chunk") == data
    assert KEY.seal(data, "chunk") != sealed, "no nonce twice"
    changed = bytearray(sealed)
    changed[at % len(sealed)] ^= 1
    for key, purpose, what in (
        (KEY, "cache", sealed),
        (OTHER, "chunk", sealed),
        (KEY, "chunk", bytes(changed)),
    ):
        with pytest.raises(Unsealable):
            key.open(what, purpose)
    with pytest.raises(Unsealable):
        KEY.open(sealed[:10], "chunk")


def test_an_event_is_sealed_without_the_secret_and_opened_with_it() -> None:
    sealed = seal_event(KEY.public, b"an event")
    assert KEY.open_event(sealed) == b"an event"
    with pytest.raises(Unsealable):
        OTHER.open_event(sealed)


def test_a_key_is_named_after_its_public_key_and_not_shown() -> None:
    assert KEY.id == id_of_public(KEY.public)
    assert KEY.secret.hex() not in repr(KEY)
    assert "kkkk" not in repr(KEY)
    with pytest.raises(ValueError, match="32 bytes"):
        Key(b"short")


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
def test_a_file_of_any_size_comes_back(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    assert opened(file_of(data[: size // 3], data[size // 3 :])) == data


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2), st.integers(0, 10_000))
def test_pieces_cannot_be_left_out_doubled_or_put_in_another_order(which: int, at: int) -> None:
    whole = file_of(b"x" * PIECE_BYTES, b"y" * PIECE_BYTES, b"z")
    head = len(SEALED) + ID_BYTES + 15
    size = 4 + PIECE_BYTES + 16
    one, two, last = whole[head : head + size], whole[head + size : head + 2 * size], whole[head + 2 * size :]
    other = (two + one + last, one + one + two + last, one + last)[which]
    for damaged in (whole[:head] + other, whole[: len(whole) - 1 - at], whole + b"x"):
        with pytest.raises(Unsealable):
            opened(damaged)


def test_what_is_not_sealed_is_read_as_it_is() -> None:
    assert opened(b"{}\n") == b"{}\n"


def test_a_file_that_was_set_aside_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "stretch"
    aside.write(path, b"damage", None)
    assert (path.read_bytes(), aside.sealer(path)) == (b"damage", None)
    aside.write(path, b"damage", KEY)
    assert (aside.sealer(path), path.stat().st_mode & 0o777) == (KEY.id, 0o600)
    assert b"damage" not in path.read_bytes()


class Kept:
    """A level that keeps what it is given, to be looked at."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    async def get_many(self, keys: list[str]) -> dict[str, bytes]:
        return {key: self.entries[key].value for key in keys if key in self.entries}

    async def set_many(self, entries: list[Entry], *, only_new: bool = False) -> None:
        self.entries |= {entry.key: entry for entry in entries}

    async def delete_many(self, keys: list[str]) -> int:
        return sum(self.entries.pop(key, None) is not None for key in keys)

    async def invalidate_tag(self, tag: str) -> None:
        self.entries = {key: entry for key, entry in self.entries.items() if tag not in entry.tags}

    async def clear(self) -> None:
        self.entries.clear()

    def stats(self) -> dict[str, int]:
        return {"entries": len(self.entries)}

    async def close(self) -> None:
        self.entries.clear()


@pytest.mark.anyio
async def test_a_server_sees_neither_names_nor_values_nor_tags() -> None:
    below = Kept()
    level = SealedLevel(below, KEY)
    await level.set_many([Entry("recall:zebra", b"the answer", None, ("stripes",))])
    kept = repr(below.entries)
    assert not any(word in kept for word in ("zebra", "answer", "stripes"))
    assert await level.get_many(["recall:zebra", "recall:okapi"]) == {"recall:zebra": b"the answer"}
    assert await SealedLevel(below, OTHER).get_many(["recall:zebra"]) == {}
    (name,) = below.entries
    below.entries[name] = Entry(name, b"what somebody else wrote there")
    assert await level.get_many(["recall:zebra"]) == {}
    assert await level.delete_many(["recall:zebra"]) == 1
    await level.set_many([Entry("a", b"1", None, ("t",)), Entry("b", b"2")])
    await level.invalidate_tag("t")
    assert await level.get_many(["a", "b"]) == {"b": b"2"}
    await level.clear()
    assert level.stats() == {"entries": 0}
