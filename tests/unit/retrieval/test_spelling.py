"""A word that occurs nowhere stands for one that does: by a slip, or as the beginning of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retain.retrieval.filters import NOTHING
from retain.retrieval.lexical import text_query
from retain.retrieval.spelling import distance, resolve


def found(library: Any, text: str) -> list[int]:
    match = text_query(text, library.reader).match
    return [c.key for c in library.reader.lexical(match, NOTHING, 100)] if match else []


@pytest.mark.parametrize(
    "slip", ["chekcout", "hceckout", "checkuot", "chckout", "checkoutt", "checkput", "xcheckout", "cxheckout"]
)
def test_a_slip_is_forgiven(library: Any, slip: str) -> None:
    wanted = library.add("the checkout is slow")
    library.add("something else")
    assert found(library, slip) == [wanted]


@pytest.mark.parametrize("start", ["getUserBy", "getUs", "getuserbyi"])
def test_the_beginning_of_a_name_finds_it(library: Any, start: str) -> None:
    wanted = library.add("look at getUserById here")
    library.add("something else")
    assert wanted in found(library, start)


def test_a_word_that_occurs_is_never_resolved(library: Any) -> None:
    wanted = library.add("casting")
    library.add("caching")
    assert found(library, "casting") == [wanted]


def test_the_likelier_word_is_the_one_with_fewer_slips_then_the_commoner(library: Any) -> None:
    library.add_many([(f"connection {i}", {}) for i in range(3)] + [("connector", {})])
    assert resolve("conect", library.reader) == [("connect", 3)]
    library.add_many([(f"relation {i}", {}) for i in range(2)] + [("relative", {})])
    assert resolve("relac", library.reader) == [("relat", 2)]


@pytest.mark.parametrize("word", ["abc", "1234567", "", "a-b-c-d"])
def test_short_words_and_numbers_are_left_alone(library: Any, word: str) -> None:
    library.add("abd 1234568")
    assert resolve(word, library.reader) == []


def test_a_resolved_word_counts_half_as_unknown(library: Any) -> None:
    library.add("the checkout is slow")
    slip, sure = text_query("chekcout", library.reader), text_query("zzyzzx", library.reader)
    assert slip.stems["chekcout"] == pytest.approx(sure.stems["zzyzzx"] / 2)
    assert slip.postings["checkout"] == 1


def test_long_questions_are_asked_as_they_are(library: Any) -> None:
    library.add("the checkout is slow")
    assert found(library, "chekcout one two three four five six seven") == []


words = st.text("abc", max_size=7)


def naive(one: str, other: str) -> int:
    table = [[max(i, j) if not min(i, j) else 0 for j in range(len(other) + 1)] for i in range(len(one) + 1)]
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            best = min(
                table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (one[i - 1] != other[j - 1])
            )
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                best = min(best, table[i - 2][j - 2] + 1)
            table[i][j] = best
    return table[-1][-1]


@given(one=words, other=words, most=st.integers(0, 3))
def test_the_distance_is_that_of_the_whole_table(one: str, other: str, most: int) -> None:
    assert distance(one, other, most) == min(naive(one, other), most + 1)
