"""The index of vectors: in step with the store and every process, true to the snapshot, never starved by a filter."""

from __future__ import annotations

import random
import threading
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest

from retain.errors import NotFound
from retain.model import Draft, new_id
from retain.retrieval import vectors as index_module
from retain.retrieval.vectors import VectorIndex, row_of
from retain.storage import migrations, vectors, writes
from retain.storage.connection import connect
from retain.storage.reads import Reader
from retain.storage.vectors import put_vectors

DIM = 16
SPACE = 1


def direction(seed: int) -> array[float]:
    source = random.Random(seed)
    return array("f", [source.gauss(0, 1) for _ in range(DIM)])


class Shelf:
    """A store in a file, written by one connection and read by as many as are asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()
        self.db = connect(path, writable=True)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = OFF")
        with self.db:
            migrations.migrate(self.db)
            self.db.execute(
                "INSERT INTO vector_space VALUES (?, 'lsa', 'lsa', ?, x'', 'serving', 0, 0)", (SPACE, DIM)
            )
        self._open: list[apsw.Connection] = []

    def add(self, seeds: Sequence[int], workspace: int = 1) -> list[tuple[int, str]]:
        """Memories with the vectors of these seeds, in one transaction; their keys and ids."""
        with self.db:
            name = f"w-{workspace}"
            place = writes.add_workspace(
                self.db, workspace_id=name, identity=name, name=name, root=name, alias=name, now_us=1
            )
            added = []
            for seed in seeds:
                new = writes.NewMemory(
                    id=new_id(), workspace=place, draft=Draft(text=f"fact {seed}"), now_us=1
                )
                added.append(writes.add_memory(self.db, new))
            put_vectors(
                self.db, SPACE, [(a.key, row_of(direction(s))) for a, s in zip(added, seeds, strict=True)]
            )
        return [(a.key, a.id) for a in added]

    def forget(self, memory_id: str) -> None:
        with self.db:
            writes.forget(self.db, memory_id, "")

    def reader(self) -> Reader:
        connection = connect(self._path, writable=False)
        self._open.append(connection)
        return Reader(connection)

    def close(self) -> None:
        for connection in (*self._open, self.db):
            connection.close()


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    found = Shelf(tmp_path / "shelf.db")
    yield found
    found.close()


def hits_of(index: VectorIndex, *about: Any, **more: Any) -> list[tuple[int, float]]:
    return index.search(*about, **more).hits


def keys_of(hits: Sequence[tuple[int, float]]) -> list[int]:
    return [key for key, _ in hits]


def test_a_memory_is_found_as_soon_as_its_transaction_is_committed(shelf: Shelf) -> None:
    index, reader = VectorIndex(), shelf.reader()
    for seed in range(30):
        ((key, _),) = shelf.add([seed])
        ((found, score),) = hits_of(index, reader, SPACE, [1], direction(seed), 1)
        assert (found, round(score, 3)) == (key, 1.0)


def test_every_process_follows_what_the_others_write_and_forget(shelf: Shelf) -> None:
    added = shelf.add(range(20))
    sides = [(VectorIndex(), shelf.reader()) for _ in range(3)]
    for turn, (key, memory_id) in enumerate(added[:10]):
        for index, reader in sides:
            assert keys_of(hits_of(index, reader, SPACE, [1], direction(turn), 1)) == [key]
        shelf.forget(memory_id)
        ((newer, _),) = shelf.add([100 + turn])
        for index, reader in sides:
            found = keys_of(hits_of(index, reader, SPACE, [1], direction(turn), 100))
            assert key not in found
            assert newer in found
            assert len(found) == 20


def test_who_is_too_far_behind_reads_everything_again(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "CHANGES_KEPT", 3)
    first = shelf.add(range(5))
    index, reader = VectorIndex(), shelf.reader()
    assert index.load(reader, SPACE, 1) == 5
    shelf.forget(first[0][1])
    more = shelf.add(range(5, 15))
    found = keys_of(hits_of(index, reader, SPACE, [1], direction(1), 100))
    assert sorted(found) == sorted(key for key, _ in first[1:] + more)


def test_a_snapshot_never_gets_what_was_committed_after_it(shelf: Shelf) -> None:
    """Another reader of the same process has brought the matrix ahead of this one's snapshot."""
    old = shelf.add(range(10))
    index, behind, ahead = VectorIndex(), shelf.reader(), shelf.reader()
    behind.connection.execute("BEGIN")
    assert index.load(behind, SPACE, 1) == 10
    new = shelf.add(range(10, 200))
    assert len(hits_of(index, ahead, SPACE, [1], direction(150), 300)) == 200
    for seed in range(150, 170):
        assert set(keys_of(hits_of(index, behind, SPACE, [1], direction(seed), 10))) == {
            key for key, _ in old
        }
    behind.connection.execute("COMMIT")
    assert keys_of(hits_of(index, behind, SPACE, [1], direction(150), 1)) == [new[140][0]]


def test_workspaces_are_searched_apart_and_together(shelf: Shelf) -> None:
    here, there = shelf.add(range(5), 1), shelf.add(range(5, 10), 2)
    index, reader = VectorIndex(), shelf.reader()
    both = hits_of(index, reader, SPACE, [1, 2], direction(7), 100)
    assert both == sorted(both, key=lambda hit: -hit[1])
    assert keys_of(both)[0] == there[2][0]
    assert len(both) == 10
    assert set(keys_of(hits_of(index, reader, SPACE, [1], direction(7), 100))) == {key for key, _ in here}
    assert hits_of(index, reader, SPACE, [3], direction(7), 100) == []
    assert hits_of(index, reader, SPACE, [], direction(7), 100) == []


@pytest.mark.parametrize("modulus", [1, 2, 7, 100, 1000])
def test_however_few_fit_a_filter_the_best_of_them_are_found(shelf: Shelf, modulus: int) -> None:
    keys = [key for key, _ in shelf.add(range(500))]
    index, reader = VectorIndex(), shelf.reader()
    fitting = {key for key in keys if key % modulus == 0}
    asked: list[int] = []

    def accepts(some: Sequence[int]) -> set[int]:
        asked.extend(some)
        return fitting & set(some)

    everything = hits_of(index, reader, SPACE, [1], direction(-1), 500)
    expected = [hit for hit in everything if hit[0] in fitting][:10]
    assert hits_of(index, reader, SPACE, [1], direction(-1), 10, allowed=sorted(fitting)) == expected
    assert hits_of(index, reader, SPACE, [1], direction(-1), 10, accepts=accepts) == expected
    if modulus == 1:
        assert len(asked) == 10


def test_unloading_gives_bytes_back_and_changes_no_answer(shelf: Shelf) -> None:
    shelf.add(range(300))
    index, reader = VectorIndex(), shelf.reader()
    before = hits_of(index, reader, SPACE, [1], direction(-1), 20)
    held = index.bytes
    assert held > 300 * DIM
    assert index.unload() == held
    assert (index.bytes, index.is_loaded(SPACE, 1)) == (0, False)
    assert hits_of(index, reader, SPACE, [1], direction(-1), 20) == before
    assert index.is_loaded(SPACE, 1)


def test_a_load_that_fails_is_made_up_for(shelf: Shelf) -> None:
    shelf.add(range(5))
    index, reader = VectorIndex(), shelf.reader()
    with shelf.db:
        shelf.db.execute("UPDATE memory_vector SET data = x'00' WHERE memory = 3")
    with pytest.raises(ValueError, match="rows"):
        hits_of(index, reader, SPACE, [1], direction(1), 5)
    assert not index.is_loaded(SPACE, 1)
    with shelf.db:
        put_vectors(shelf.db, SPACE, [(3, row_of(direction(2)))])
    assert len(hits_of(index, reader, SPACE, [1], direction(1), 5)) == 5


def test_a_space_that_is_not_there_is_no_empty_answer(shelf: Shelf) -> None:
    with pytest.raises(NotFound):
        VectorIndex().search(shelf.reader(), 99, [1], direction(1), 5)


def test_costs_are_measured_where_there_is_a_choice(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "CALIBRATED_ROWS_MIN", 1_000)
    monkeypatch.setattr(index_module, "CALIBRATED_KEYS", 64)
    shelf.add(range(2_000))
    ticks = iter(range(0, 10**12, 50_000))
    index = VectorIndex(clock_ns=lambda: next(ticks))
    index.load(shelf.reader(), SPACE, 1)
    # Every run took 50 us and every row nothing; a scan behind a filter asks that filter, which costs something.
    assert index.price(SPACE, [1], None, 10) == ("vector_scan", 50.0)
    assert index.price(SPACE, [1], 2_000, 10) == ("vector_ids", 50.0)


def test_a_price_is_that_of_the_way_that_is_then_gone(shelf: Shelf) -> None:
    shelf.add(range(1_000))
    shelf.add(range(40), workspace=2)
    index, reader = VectorIndex(), shelf.reader()
    assert index.price(SPACE, [1, 2], None, 10) == ("", 0.0)  # nothing is in RAM yet
    for workspace in (1, 2):
        index.load(reader, SPACE, workspace)
    for allowed in (None, [3, 5], range(1, 1_001)):
        matching = None if allowed is None else len(allowed)
        way, us = index.price(SPACE, [1, 2], matching, 10)
        assert index.search(reader, SPACE, [1, 2], direction(1), 10, allowed=allowed).way == way
        assert us > 0
    one, both = (index.price(SPACE, places, None, 10)[1] for places in ([1], [1, 2]))
    assert one < both


def test_a_search_says_how_many_it_tested(shelf: Shelf) -> None:
    keys = [key for key, _ in shelf.add(range(200))]
    index, reader = VectorIndex(), shelf.reader()
    few = index.search(reader, SPACE, [1], direction(1), 5, accepts=set(keys[::2]).intersection, share=0.25)
    assert (len(few.hits), few.tested) == (5, index_module.asked_first(5, 0.25))
    late = index.search(reader, SPACE, [1], direction(1), 5, accepts={keys[0]}.intersection, share=1.0)
    assert (keys_of(late.hits), late.tested) == ([keys[0]], 200)


def test_threads_share_an_index_while_another_process_writes(shelf: Shelf) -> None:
    shelf.add(range(100))
    index, wrong, stop = VectorIndex(), [], threading.Event()

    def read(reader: Reader) -> None:
        while not stop.is_set():
            reader.connection.execute("BEGIN")
            there = {key for key, _ in vectors.vector_rows(reader.connection, SPACE, 1)}
            found = set(keys_of(hits_of(index, reader, SPACE, [1], direction(3), 1_000)))
            reader.connection.execute("COMMIT")
            if not found <= there:
                wrong.append(found - there)

    threads = [threading.Thread(target=read, args=(shelf.reader(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(40):
        ((_, memory_id),) = shelf.add([1_000 + turn])
        if turn % 2:
            shelf.forget(memory_id)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
