"""An encrypted data directory: no memory stands in a file, a wrong key is no damage, a kill loses nothing."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

import retain
from retain import keys
from retain.capture import spool
from retain.config import Settings
from retain.errors import Conflict, InvalidInput, KeyMissing, StoreBusy, StoreUnusable
from retain.interfaces.cli import main
from retain.memory import encrypting
from retain.memory.keeping import restore_backup
from retain.memory.service import MemoryService
from retain.sealing import Key
from retain.storage import erasure
from retain.storage.connection import CIPHER_BUILD, encrypted_with
from servers import RedisServer

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        not hasattr(apsw, "mc_version"), reason="the apsw that is loaded has no ciphers (apsw-sqlite3mc has)"
    ),
]

PLANTED = "the okapi index is written by the nightly zebra"
ASKED = "why does the tapir exporter drop its last row"
NATIVE = Path(sys.executable).with_name("retain-hook")
HOOKS = [
    pytest.param(
        [NATIVE], marks=pytest.mark.skipif(not NATIVE.exists(), reason="no native hook client here")
    ),
    pytest.param([sys.executable, "-m", "retain.interfaces.hook"]),
]


def held(folder: Path, *texts: str) -> list[str]:
    return erasure.files_with(folder, [text.encode() for text in texts])[0]


def mode_of(path: str | Path) -> int:
    return Path(path).stat().st_mode & 0o777


def prompt(command: list[Any], folder: Path, said: str = ASKED) -> None:
    event = {"hook_event_name": "UserPromptSubmit", "session_id": "s", "cwd": str(folder), "prompt": said}
    subprocess.run(command, input=json.dumps(event).encode(), cwd=folder, check=True, capture_output=True)


async def texts_in(home: Path, folder: Path) -> set[str]:
    async with retain.open(home, folder=folder) as memory:
        await memory.drain.run()
        return {one.text for one in (await memory.timeline(limit=50)).memories}


def put_in_place_of(key: Key, other: Key | None) -> Path:
    """Takes a key out of its place, which this process has then forgotten too, and puts another one there."""
    place = Path(keys.place_of(key.id) or "")
    place.unlink()
    if other is not None:
        place.write_text(keys.written(other))
    keys.find.cache_clear()
    return place


@pytest.fixture
def filled(home: Path, folder: Path, anyio_backend: str) -> Callable[..., Any]:
    async def fill(**settings: Any) -> None:
        async with retain.open(home, folder=folder, **settings) as memory:
            await memory.remember(PLANTED)
            await memory.recall("okapi")
            await memory.keeping.backup()

    return fill


@pytest.mark.parametrize("hook", HOOKS)
async def test_nothing_of_a_memory_stands_in_any_file(
    hook: list[Any], encrypted: Key, filled: Callable[..., Any], home: Path, folder: Path, tmp_path: Path
) -> None:
    disk = {"cache_disk_bytes_max": 1 << 20}
    await filled(**disk)
    prompt(hook, folder)
    assert held(tmp_path, PLANTED, ASKED) == []
    async with retain.open(home, folder=folder, **disk) as memory:
        await memory.drain.run()
        await memory.recall("tapir")
        with (tmp_path / "export").open("wb") as file:
            await memory.exports.write(file)
        assert held(tmp_path, PLANTED, ASKED) == []
    assert await texts_in(home, folder) == {PLANTED, ASKED}
    assert encrypted_with(home / "retain.db") == encrypted.id


async def test_a_cache_server_reads_nothing_of_what_is_cached_in_it_and_serves_it_to_another_process(
    encrypted: Key, home: Path, folder: Path, redis: RedisServer
) -> None:
    async with retain.open(home, folder=folder, redis_url=redis.url) as memory:
        await memory.remember(PLANTED)
        for _ in range(2):  # the second time an answer is kept
            await memory.recall("okapi index")
    held_there = b"\n".join(part for entry in redis.held().items() for part in entry)
    assert held_there
    for word in (PLANTED, "okapi", "recall"):
        assert word.encode() not in held_there
    async with retain.open(home, folder=folder, redis_url=redis.url) as other:
        assert (await other.recall("okapi index")).hits[0].memory.text == PLANTED
        assert (await other.stats())["process"]["cache"]["l2"]["hits"] > 0


async def test_what_was_plain_is_found_in_no_file_after_it_was_encrypted(
    filled: Callable[..., Any], home: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await filled()
    prompt(HOOKS[1].values[0], folder)
    damaged = home / "spool" / "damaged"
    damaged.mkdir()
    (damaged / "seal-1-0").write_text(PLANTED)
    (home / "retain.db.replaced-1").write_text(PLANTED)
    assert held(home, PLANTED)
    assert await in_thread(main, ["encrypt", "--key-file", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["store"], done["backups"], done["files"], done["proof"]["found_in"]) == (True, 1, 2, [])
    assert held(home, PLANTED, ASKED) == []
    assert (done["place"], mode_of(done["place"])) == (keys.place_of(done["key"]), 0o600)
    assert await texts_in(home, folder) == {PLANTED, ASKED}
    assert await in_thread(main, ["key", "open", str(damaged / "seal-1-0")]) == 0
    assert capsys.readouterr().out == PLANTED


async def test_a_backup_of_the_plain_time_is_restored_encrypted(
    filled: Callable[..., Any], home: Path, folder: Path
) -> None:
    await filled()
    done = encrypting.encrypt(Settings(home=home), in_file=True)
    restore_backup(Settings(home=home), "latest")
    assert encrypted_with(home / "retain.db") == done["key"]
    assert await texts_in(home, folder) == {PLANTED}
    assert held(home, PLANTED) == []


async def test_going_back_in_time_leaves_nothing_plain(
    encrypted: Key, filled: Callable[..., Any], home: Path, folder: Path
) -> None:
    await filled()
    async with retain.open(home, folder=folder) as memory:
        past = home / "past"
        past.mkdir()
        moment = await memory.keeping.write_past(past / "retain.db", "1 second ago")
        assert moment
        assert held(home, PLANTED) == []
    async with retain.open(past, folder=folder) as copy:
        assert (await copy.stats())["encryption"]["key"] == encrypted.id


def test_an_import_that_is_only_tried_out_works_on_an_encrypted_copy(
    encrypted: Key, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["remember", PLANTED]) == 0
    graph = {"type": "entity", "name": "tapir", "entityType": "note", "observations": [ASKED]}
    (tmp_path / "notes").write_text(json.dumps(graph))
    capsys.readouterr()
    assert main(["import", "server-memory", str(tmp_path / "notes"), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stored"] == 1
    assert main(["recall", "tapir"]) == 0
    assert ASKED not in capsys.readouterr().out


async def test_decrypting_makes_everything_plain_again(
    encrypted: Key, filled: Callable[..., Any], home: Path, folder: Path
) -> None:
    await filled()
    prompt(HOOKS[1].values[0], folder)
    encrypting.decrypt(Settings(home=home))
    assert encrypted_with(home / "retain.db") is None
    assert await texts_in(home, folder) == {PLANTED, ASKED}, "what was sealed before is opened still"
    restore_backup(Settings(home=home), "latest")
    assert PLANTED in await texts_in(home, folder)
    with pytest.raises(Conflict):
        encrypting.decrypt(Settings(home=home))


async def test_a_rotated_store_opens_with_the_new_key_alone(
    encrypted: Key, filled: Callable[..., Any], home: Path, folder: Path
) -> None:
    await filled()
    prompt(HOOKS[1].values[0], folder)  # sealed to the old key
    done = encrypting.rotate(Settings(home=home), in_file=True)
    assert done["key"] != encrypted.id
    assert done["proof"]["found_in"] == []
    assert await texts_in(home, folder) == {PLANTED, ASKED}
    put_in_place_of(encrypted, None)
    restore_backup(Settings(home=home), "latest")
    assert await texts_in(home, folder) >= {PLANTED}


async def test_nobody_turns_a_store_that_is_open(encrypted: Key, home: Path, folder: Path) -> None:
    async with retain.open(home, folder=folder) as memory:
        await memory.remember(PLANTED)
        for turn in (encrypting.encrypt, encrypting.rotate, encrypting.decrypt):
            with pytest.raises(StoreBusy):
                turn(Settings(home=home))
        assert (await memory.recall("okapi")).hits


@pytest.mark.parametrize("gone", [True, False], ids=["missing", "another"])
async def test_a_wrong_key_is_named_and_changes_nothing(
    gone: bool, encrypted: Key, filled: Callable[..., Any], home: Path, folder: Path
) -> None:
    await filled()
    other = Key.fresh()
    place = put_in_place_of(encrypted, None if gone else other)
    before = (home / "retain.db").read_bytes()
    with pytest.raises(KeyMissing, match=f"encrypted with key {encrypted.id}") as error:
        async with retain.open(home, folder=folder):
            pass
    assert gone or other.id in str(error.value)
    assert (home / "retain.db").read_bytes() == before
    prompt(HOOKS[1].values[0], folder)  # hooks need no key
    place.write_text(keys.written(encrypted))
    assert await texts_in(home, folder) == {PLANTED, ASKED}


def test_a_build_without_ciphers_is_refused_with_the_mend(
    encrypted: Key, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.delattr(apsw, "mc_version")
    with pytest.raises(StoreUnusable, match="ciphers") as error:
        encrypting.encrypt(Settings(home=home))
    assert error.value.hint == CIPHER_BUILD


async def test_a_key_that_was_exported_opens_the_store_elsewhere(
    encrypted: Key,
    filled: Callable[..., Any],
    home: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await filled()
    assert await in_thread(main, ["key", "export", str(tmp_path / "key")]) == 0
    assert mode_of(tmp_path / "key") == 0o600
    monkeypatch.setenv("RETAIN_KEYS", str(tmp_path / "elsewhere"))
    keys.find.cache_clear()
    assert await in_thread(main, ["key", "show"]) == 1
    assert await in_thread(main, ["key", "import", str(tmp_path / "key"), "--key-file"]) == 0
    assert await texts_in(home, folder) == {PLANTED}


async def test_an_export_is_sealed_and_comes_back_byte_for_byte(
    encrypted: Key, memory: MemoryService, folder: Path, tmp_path: Path
) -> None:
    await memory.remember(PLANTED)
    sealed, plain, again = io.BytesIO(), io.BytesIO(), io.BytesIO()
    await memory.exports.write(sealed)
    await memory.exports.write(plain, plain=True)
    assert PLANTED.encode() in plain.getvalue()
    assert PLANTED.encode() not in sealed.getvalue()
    async with retain.open(tmp_path / "other", folder=folder) as other:
        report = await other.exports.read(io.BytesIO(sealed.getvalue()), "file", trusted=True)
        await other.exports.write(again)
    assert (report["stored"], report["lost"]) == (1, 0)
    assert again.getvalue() == plain.getvalue()


async def test_a_sealed_export_that_was_cut_or_changed_is_refused(
    encrypted: Key, memory: MemoryService
) -> None:
    await memory.remember(PLANTED)
    file = io.BytesIO()
    await memory.exports.write(file)
    whole = file.getvalue()
    changed = bytearray(whole)
    changed[-1] ^= 1
    for damaged in (whole[:-1], whole[:20], whole[:10], bytes(changed), whole + b"x"):
        with pytest.raises(InvalidInput, match="cut short or changed"):
            await memory.exports.read(io.BytesIO(damaged), "file", trusted=False)


async def test_a_sealed_record_that_cannot_be_opened_stays_in_the_spool(
    encrypted: Key, home: Path, folder: Path
) -> None:
    other = Key.fresh()
    keys.declare(home, other)
    prompt(HOOKS[1].values[0], folder)
    keys.declare(home, encrypted)
    async with retain.open(home, folder=folder) as memory:
        with pytest.raises(KeyMissing, match=other.id):
            await memory.drain.run()
        assert memory.drain.waiting_bytes()
        keys.keep(other, in_file=True)
        assert (await memory.drain.run()).events == 1


def test_a_public_key_that_was_changed_seals_nothing_and_is_told(
    encrypted: Key, home: Path, folder: Path
) -> None:
    path = home / "key.pub"
    path.write_text(path.read_text().replace(encrypted.public.hex(), Key.fresh().public.hex()))
    for hook in HOOKS:
        if Path(hook.values[0][0]).exists():
            prompt(hook.values[0], folder)
    records = list(spool.scan((home / "spool" / spool.LIVE).read_bytes()))
    assert [one.sealed for one in records if isinstance(one, spool.Record)] == [False] * len(records)
    with pytest.raises(StoreUnusable, match="no public key"):
        keys.of_home(home)
    assert (
        encrypting.encrypt(Settings(home=home))["key"] != encrypted.id
    )  # no store yet: nothing says which it was


async def in_thread(run: Callable[..., int], *arguments: Any) -> int:
    """The command line has an event loop of its own."""
    from asyncio import to_thread

    return await to_thread(run, *arguments)


ENDED_AT = """
import os, sys
from pathlib import Path
from retain.config import Settings
from retain.memory import encrypting
home, turn, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
count = 0
def end(event, arguments):
    global count
    if event in {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "sqlite3.connect"} or (
        event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
    ):
        count += 1
        if count > last:
            os.kill(os.getpid(), 9)
sys.addaudithook(end)
getattr(encrypting, turn)(Settings(home=Path(home)))
"""


def ends(home: Path, turn: str) -> Iterator[int]:
    """Runs it again and again, killed at its first, second, ... change of a folder, until it comes to its end."""
    for last in range(200):
        done = subprocess.run([sys.executable, "-c", ENDED_AT, str(home), turn, str(last)], check=False)
        if done.returncode == 0:
            return
        assert done.returncode == -9
        yield last
    raise AssertionError("it never came to its end")


@pytest.mark.parametrize("turn", ["encrypt", "rotate", "decrypt"])
async def test_a_kill_at_any_moment_leaves_a_whole_store_that_opens(
    turn: str, request: pytest.FixtureRequest, filled: Callable[..., Any], home: Path, folder: Path
) -> None:
    if turn != "encrypt":
        request.getfixturevalue("encrypted")
    await filled()
    for _ in ends(home, turn):
        async with retain.open(home, folder=folder) as memory:
            assert {one.text for one in (await memory.timeline()).memories} == {PLANTED}
            assert (await memory.keeping.backups(check=True))["problems"] == []
    assert await texts_in(home, folder) == {PLANTED}
    assert (turn == "decrypt") == (PLANTED.encode() in (home / "retain.db").read_bytes())
    assert turn == "decrypt" or held(home, PLANTED) == []
    restore_backup(Settings(home=home), "latest")
    assert await texts_in(home, folder) == {PLANTED}


WATCHED = """
import os, sys
from pathlib import Path
from retain.interfaces.cli import main
os.umask(0)
root, found = Path(sys.argv[1]), set()
def look(event, arguments):
    if event in {"open", "os.rename", "os.remove", "os.mkdir"}:
        for folder, names, files in os.walk(root):
            for name in [*names, *files]:
                path = os.path.join(folder, name)
                try:
                    mode = os.lstat(path).st_mode & 0o777
                except FileNotFoundError:
                    continue
                if mode & 0o077:
                    found.add((path, oct(mode)))
sys.addaudithook(look)
for command in sys.argv[2:]:
    assert main(command.split()) == 0, command
sys.stderr.write(repr(sorted(found)))
sys.exit(bool(found))
"""


COMMANDS = """remember okapis; recall okapis; backup; encrypt --key-file; remember zebras; backup;
key rotate --key-file; export PLACE/out; restore --backup latest; verify --mend; decrypt"""


def test_every_file_is_the_users_alone_from_its_first_byte_whatever_the_umask(
    tmp_path: Path, folder: Path
) -> None:
    root = tmp_path / "made"
    for made in (root, root / "user"):
        made.mkdir(mode=0o700)
    places = {"HOME": str(root / "user"), "RETAIN_HOME": str(root / "data")}
    environment = {**os.environ, **places, "RETAIN_CACHE_DISK_BYTES_MAX": "1048576"}
    commands = [one.strip() for one in COMMANDS.replace("PLACE", str(root)).split(";")]
    command = [sys.executable, "-c", WATCHED, str(root), *commands]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def test_a_start_without_the_key_is_told_nothing_and_says_why(
    encrypted: Key, home: Path, folder: Path
) -> None:
    assert main(["remember", PLANTED]) == 0
    put_in_place_of(encrypted, None)
    event = {"hook_event_name": "SessionStart", "session_id": "s", "cwd": str(folder), "source": "startup"}
    command = [sys.executable, "-m", "retain", "hook", "--answer"]
    done = subprocess.run(command, input=json.dumps(event).encode(), capture_output=True, check=True)
    assert json.loads(done.stdout) == {}
    assert b"key_missing" in done.stderr
