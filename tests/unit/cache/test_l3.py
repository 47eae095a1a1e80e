"""The disk level: bounded, expiring, never wrong, whatever happens to process or file."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from retain.cache.l3 import SLOTS, DiskCache
from retain.cache.levels import Entry
from retain.errors import CacheLevelDown

KIB = b"x" * 1024


def opened(folder: Path, **options: Any) -> DiskCache:
    return DiskCache(folder, **{"boot": lambda: "this boot", **options})


def bytes_on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("cache-0.db"))


def test_what_was_set_is_there_in_the_next_process_life(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.set("a", b"1")
    first.set("empty", b"")
    first.set("snow ☃\0", bytes(range(256)))
    first.close()
    second = opened(tmp_path)
    assert second.get_many(["a", "empty", "snow ☃\0", "no"]) == {
        "a": b"1", "empty": b"", "snow ☃\0": bytes(range(256)),
    }  # fmt: skip
    assert len(second) == 3
    second.close()


def test_it_agrees_with_a_dict_over_random_calls(tmp_path: Path) -> None:
    rng, twin, cache = random.Random(3), {}, opened(tmp_path)
    keys = [f"k{i}" for i in range(40)]
    for _ in range(3_000):
        key = rng.choice(keys)
        match rng.randrange(5):
            case 0 | 1:
                twin[key] = value = rng.randbytes(rng.randrange(3_000))
                cache.set(key, value)
            case 2:
                assert cache.delete(key) == (twin.pop(key, None) is not None)
            case _:
                assert cache.get(key) == twin.get(key)
    assert cache.get_many(keys) == twin
    cache.close()
    again = opened(tmp_path)
    assert again.get_many(keys) == twin
    assert again.stats()["bytes"] == sum(len(v) + len(k) + 96 for k, v in twin.items())
    again.close()


def test_keys_that_share_a_slot_are_never_taken_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = opened(tmp_path)
    pair = ("plumless", "buckeroo")  # equal crc32
    cache.set(pair[0], b"first")
    assert cache.get(pair[1]) is None
    cache.set(pair[1], b"second")
    assert (cache.get(pair[0]), cache.get(pair[1])) == (None, b"second")
    cache.close()


def test_an_entry_is_over_at_its_time(tmp_path: Path, clock: Any) -> None:
    cache = opened(tmp_path, clock=clock)
    cache.set("a", b"1", ttl=10)
    clock.now += 9.9
    assert cache.get("a") == b"1"
    clock.now += 0.1
    assert cache.get("a") is None
    cache.set("a", b"2")
    clock.now += 1e9
    assert cache.get("a") == b"2"
    cache.close()


def test_entries_stay_under_both_bounds_and_the_file_under_its_own(tmp_path: Path) -> None:
    cache = opened(tmp_path, bytes_max=1 << 20, entries_max=500)
    for i in range(4_000):
        cache.set(f"k{i}", KIB[: i % 1024])
        assert len(cache) <= 500
    for i in range(3_000):
        cache.set(f"big{i}", KIB * 8)
    stats = cache.stats()
    assert stats["bytes"] <= 0.7 * (1 << 20)
    assert stats["evictions"] > 3_000
    cache.close()
    assert bytes_on_disk(tmp_path) <= 1 << 20


def test_what_is_read_outlives_what_is_not(tmp_path: Path) -> None:
    cache = opened(tmp_path, entries_max=100)
    for i in range(1_000):
        cache.set(f"k{i}", b"v")
        assert i == 0 or cache.get("k0") == b"v"
    assert cache.get("k1") is None
    cache.close()


def test_a_value_too_large_removes_the_older_one(tmp_path: Path) -> None:
    cache = opened(tmp_path, bytes_max=1 << 18)
    cache.set("a", b"small")
    cache.set("a", b"x" * (1 << 17))
    assert cache.get("a") is None
    assert cache.stats()["too_large"] == 1
    cache.close()


def test_a_tag_takes_its_entries_and_no_others(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    cache.set("a", b"1", tags=("red", "round"))
    cache.set("b", b"2", tags=("red",))
    cache.set("c", b"3", tags=("round",))
    cache.set("b", b"2")
    assert cache.invalidate_tag("red") == 1
    assert cache.get_many("abc") == {"b": b"2", "c": b"3"}
    cache.close()


def test_only_new_leaves_what_is_there(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    cache.set("a", b"newer")
    cache.set_many((Entry("a", b"older"), Entry("b", b"2")), only_new=True)
    assert cache.get_many("ab") == {"a": b"newer", "b": b"2"}
    cache.close()


def test_clearing_leaves_nothing(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    cache.set("a", b"1", tags=("t",))
    cache.clear()
    assert (cache.get("a"), len(cache), cache.invalidate_tag("t")) == (None, 0, 0)
    cache.set("a", b"2")
    assert cache.get("a") == b"2"
    cache.close()


def test_each_process_has_a_file_of_its_own_and_no_more_than_there_are(tmp_path: Path) -> None:
    caches = [opened(tmp_path) for _ in range(SLOTS)]
    caches[0].set("a", b"1")
    assert [cache.get("a") for cache in caches] == [b"1"] + [None] * (SLOTS - 1)
    with pytest.raises(CacheLevelDown, match="processes own"):
        opened(tmp_path)
    caches[0].close()
    again = opened(tmp_path)
    assert again.get("a") == b"1"
    for cache in (*caches[1:], again):
        cache.close()


def test_the_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    cache = opened(tmp_path / "made")
    cache.set("a", b"1")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "made").iterdir()}
    assert (modes, stat.S_IMODE((tmp_path / "made").stat().st_mode)) == ({0o600}, 0o700)
    cache.close()


def test_a_closed_cache_says_so_and_stays_closed(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    cache.close()
    cache.close()
    for call in (lambda: cache.get("a"), lambda: cache.set("a", b"1"), cache.clear):
        with pytest.raises(CacheLevelDown):
            call()


@pytest.mark.parametrize("damage", ["head", "middle", "garbage", "empty", "text"])
def test_a_damaged_file_gives_old_values_or_none_and_works_again(tmp_path: Path, damage: str) -> None:
    values = {f"k{i}": random.Random(i).randbytes(1_000) for i in range(200)}
    cache = opened(tmp_path)
    cache.set_many([Entry(key, value) for key, value in values.items()])
    cache.close()
    path = tmp_path / "cache-0.db"
    data = bytearray(path.read_bytes())
    rng = random.Random(damage)
    if damage == "head":
        data[:100] = rng.randbytes(100)
    elif damage == "middle":
        for _ in range(50):
            data[rng.randrange(100, len(data))] ^= 1 + rng.randrange(255)
    elif damage == "garbage":
        data = bytearray(rng.randbytes(len(data)))
    elif damage == "empty":
        data = bytearray()
    else:
        data = bytearray(b"not a database at all\n" * 1_000)
    path.write_bytes(data)
    again = opened(tmp_path)
    for key, value in values.items():
        assert again.get(key) in {value, None}
    again.set("new", b"value")
    assert again.get("new") == b"value"
    again.close()


def test_one_flipped_bit_anywhere_in_a_value_is_seen(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    cache.set("a", b"needle" * 50)
    cache.close()
    path = tmp_path / "cache-0.db"
    data = bytearray(path.read_bytes())
    data[data.rindex(b"needle" * 50) + 7] ^= 4
    path.write_bytes(data)
    again = opened(tmp_path)
    assert again.get("a") is None
    assert (again.stats()["damaged"], again.stats()["rebuilds"]) == (1, 1)
    again.close()


@pytest.mark.parametrize(("boot", "kept"), [("this boot", True), ("next boot", False), (None, False)])
def test_a_file_that_was_not_closed_lives_only_as_long_as_the_boot(
    tmp_path: Path, boot: str | None, kept: bool
) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", WRITE_AND_DIE, str(tmp_path)], check=False, env={**os.environ, **PATHS}
    )
    assert killed.returncode == -signal.SIGKILL
    cache = opened(tmp_path, boot=lambda: boot)
    assert (cache.get("a") == b"1") is kept
    cache.close()


PATHS = {"PYTHONPATH": os.pathsep.join(sys.path)}
WRITE_AND_DIE = """
import os, signal, sys
from retain.cache.l3 import DiskCache
cache = DiskCache(sys.argv[1], boot=lambda: "this boot")
cache.set("a", b"1")
os.kill(os.getpid(), signal.SIGKILL)
"""
WRITE_FOR_EVER = """
import sys
from retain.cache.l3 import DiskCache
cache = DiskCache(sys.argv[1], bytes_max=1 << 20, boot=lambda: "this boot")
i = 0
while True:
    key = f"k{i % 300}"
    cache.set(key, (key + ":").encode() * 100, tags=("t",))
    print(i, flush=True)
    i += 1
"""


def test_a_process_killed_in_the_middle_of_writes_leaves_a_whole_cache(tmp_path: Path) -> None:
    for lines in (1, 50, 400, 1_500):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITE_FOR_EVER, str(tmp_path)],
            stdout=subprocess.PIPE, env={**os.environ, **PATHS},
        )  # fmt: skip
        assert writer.stdout is not None
        for _ in range(lines):
            last = writer.stdout.readline()
        writer.kill()
        writer.wait()
        writer.stdout.close()
        cache = opened(tmp_path, bytes_max=1 << 20)
        assert cache.stats()["rebuilds"] == 0
        keys = [f"k{i}" for i in range(300)]
        found = cache.get_many(keys)
        assert found == {key: (key + ":").encode() * 100 for key in found}
        assert f"k{int(last) % 300}" in found
        assert cache.invalidate_tag("t") == len(found)
        cache.close()
