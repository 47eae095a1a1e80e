"""What a caller of the vector matrix may rely on, checked against a plain loop over floats."""

from __future__ import annotations

import math
import random
import threading
from array import array
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retain._core import VectorMatrix, quantise

WAYS = ("vector_scan", "vector_ids", "vector_bits", "vector_bit_ids")


def vector(seed: int, dim: int) -> array[float]:
    source = random.Random(seed)
    return array("f", [source.gauss(0, 1) for _ in range(dim)])


def matrix_of(keys: Sequence[int], dim: int) -> VectorMatrix:
    matrix = VectorMatrix(dim)
    for key in keys:
        matrix.put(array("q", [key]), quantise(vector(key, dim), dim))
    return matrix


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / math.hypot(*one) / math.hypot(*other)


@pytest.mark.parametrize("dim", [16, 256, 384])
def test_scores_are_cosines_up_to_quantisation(dim: int) -> None:
    matrix = matrix_of(range(50), dim)
    query = vector(-1, dim)
    for key, score in matrix.search(query, 50)[0]:
        assert score == pytest.approx(cosine(query, vector(key, dim)), abs=0.02)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.sets(st.integers(-500, 500), max_size=60),
    gone=st.lists(st.integers(-500, 500), max_size=20),
    among=st.none() | st.lists(st.integers(-500, 500), max_size=80),
    k=st.integers(0, 70),
    way=st.none() | st.sampled_from(WAYS),
)
def test_a_filter_never_leaves_fewer_than_there_are(
    rows: set[int], gone: list[int], among: list[int] | None, k: int, way: str | None
) -> None:
    matrix = matrix_of(sorted(rows), 32)
    assert matrix.remove(array("q", gone)) == len(rows & set(gone))
    left = rows - set(gone)
    fitting = left if among is None else left & set(among)
    query = vector(-1, 32)
    hits, _ = matrix.search(query, k, None if among is None else array("q", among), way)
    everything, _ = matrix.search(query, len(left))
    assert hits == [hit for hit in everything if hit[0] in fitting][:k]


def test_a_row_is_replaced_by_its_key() -> None:
    matrix = matrix_of([1, 2], 16)
    assert matrix.put(array("q", [2, 3]), quantise(vector(9, 16) + vector(3, 16), 16)) == 1
    assert len(matrix) == 3
    (key, score), *_ = matrix.search(vector(9, 16), 3)[0]
    assert (key, round(score, 3)) == (2, 1.0)


def test_of_equal_rows_the_newer_comes_first() -> None:
    matrix = VectorMatrix(16)
    matrix.put(array("q", [5, 7, 6]), bytes([1] * 48))
    assert [key for key, _ in matrix.search(array("f", [1.0] * 16), 2)[0]] == [7, 6]


def test_buffers_of_any_kind_are_taken() -> None:
    matrix = VectorMatrix(16)
    row = quantise(vector(1, 16).tobytes(), 16)
    assert row == quantise(memoryview(vector(1, 16)), 16) == quantise(bytearray(vector(1, 16).tobytes()), 16)
    assert matrix.put(array("q", [1]), array("b", row)) == 1
    query = vector(1, 16)
    assert matrix.search(query, 1) == matrix.search(
        query.tobytes(), 1, array("q", [1]).tobytes(), "vector_scan"
    )


def test_what_does_not_fit_is_refused_by_name() -> None:
    for dim in (0, -16, 15, 4112):
        with pytest.raises(ValueError, match="dim"):
            VectorMatrix(dim)
    matrix = matrix_of([1], 16)
    with pytest.raises(ValueError, match="rows"):
        matrix.put(array("q", [2]), bytes(17))
    with pytest.raises(ValueError, match="keys"):
        matrix.remove(bytes(7))
    for query in (vector(1, 15), array("f", [math.nan] * 16), array("f", [math.inf] * 16), b"abc"):
        with pytest.raises(ValueError, match=r"query|values"):
            matrix.search(query, 1)
    with pytest.raises(ValueError, match="none of vector_scan"):
        matrix.search(vector(1, 16), 1, None, "graph")
    with pytest.raises(TypeError):
        matrix.search([1.0] * 16, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="row_us"):
        matrix.set_costs({"vector_ids": (1.0, math.nan)})
    assert len(matrix) == 1


def test_the_cheapest_way_by_measured_costs_is_taken() -> None:
    matrix = matrix_of(range(30), 16)
    keys = array("q", range(20))
    for cheap, dear in (("vector_ids", "vector_scan"), ("vector_scan", "vector_ids")):
        matrix.set_costs({cheap: (0.0, 0.0), dear: (1e6, 1.0)})
        assert matrix.search(vector(1, 16), 3, keys)[1] == cheap
        prices = matrix.prices(20)
        assert prices[cheap] < prices[dear]


def test_bytes_are_counted_and_given_back() -> None:
    matrix = VectorMatrix(64)
    matrix.put(array("q", range(5_000)), bytes(320_000))
    held = matrix.bytes
    assert 320_000 < held < 640_000
    assert matrix.clear() == held
    assert (matrix.bytes, len(matrix)) == (0, 0)


def test_searches_and_changes_may_run_at_the_same_time() -> None:
    """A reader sees either row of a key that is replaced, and never a key that was not there."""
    matrix = matrix_of(range(2_000), 64)
    rows = [quantise(vector(seed, 64), 64) for seed in range(10)]
    stop, seen = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            seen.extend(key for key, _ in matrix.search(vector(3, 64), 5)[0])

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for turn in range(300):
        matrix.put(array("q", [turn % 2_000, 5_000]), rows[turn % 10] + rows[3])
        matrix.remove(array("q", [5_000]))
    stop.set()
    for reader in readers:
        reader.join()
    assert len(matrix) == 2_000
    assert set(seen) <= {*range(2_000), 5_000}
