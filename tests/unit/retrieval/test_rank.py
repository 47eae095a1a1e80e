"""Scores order what was found and say what they are made of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retain.model import KINDS
from retain.retrieval.rank import DAY_US, KIND_WEIGHTS, LITERAL_BOOST, Ranked, boost_literal, rank
from retain.storage.reads import Candidate

NOW = 1_795_000_000_000_000


def candidate(key: int, bm25: float = 5.0, days: float = 0.0, kind: str = "error") -> Candidate:
    return Candidate(key=key, bm25=bm25, occurred_us=NOW - int(days * DAY_US), kind=kind)


def keys(ranked: list[Ranked]) -> list[int]:
    return [entry.candidate.key for entry in ranked]


def ranked_keys(*candidates: Candidate, bound: float = 20.0) -> list[int]:
    return keys(rank(candidates, bound=bound, now_us=NOW))


def test_the_better_text_comes_first() -> None:
    assert ranked_keys(candidate(1, 2.0), candidate(2, 9.0), candidate(3, 5.0)) == [2, 3, 1]


def test_of_equal_texts_the_newer_one_comes_first() -> None:
    assert ranked_keys(candidate(1, days=40), candidate(2, days=1), candidate(3, days=9)) == [2, 3, 1]


def test_of_equal_scores_the_later_stored_one_comes_first() -> None:
    assert ranked_keys(candidate(1), candidate(3), candidate(2)) == [3, 2, 1]


def test_age_never_hides_a_better_text() -> None:
    assert ranked_keys(candidate(1, 9.0, days=3_650), candidate(2, 8.0)) == [1, 2]


def test_what_was_decided_stands_above_what_was_typed() -> None:
    kinds = sorted(KIND_WEIGHTS, key=lambda kind: -KIND_WEIGHTS[kind])
    assert kinds[:2] == ["decision", "fix"]
    found = rank([candidate(i, kind=kind) for i, kind in enumerate(reversed(kinds))], bound=20.0, now_us=NOW)
    weights = [entry.parts["kind"] for entry in found]
    assert weights == sorted(weights, reverse=True)


def test_every_kind_has_a_weight_and_an_unknown_one_is_neutral() -> None:
    assert set(KIND_WEIGHTS) == set(KINDS)
    (entry,) = rank([candidate(1, kind="haiku")], bound=20.0, now_us=NOW)
    assert entry.parts["kind"] == 1.0


def test_without_words_the_order_stays_as_it_was_found() -> None:
    found = rank([candidate(2, 0.0), candidate(9, 0.0), candidate(1, 0.0)], bound=0.0, now_us=NOW)
    assert keys(found) == [2, 9, 1]
    assert {entry.score for entry in found} == {1.0}


def test_a_memory_of_the_future_is_as_new_as_one_of_now() -> None:
    now, later = rank([candidate(1), candidate(2, days=-400)], bound=20.0, now_us=NOW)
    assert now.parts["recency"] == later.parts["recency"] == pytest.approx(1.1)


candidates = st.builds(
    candidate,
    st.integers(1, 1_000),
    st.floats(0, 1e6),
    st.floats(-1e4, 2e4),
    st.sampled_from([*KINDS, "haiku"]),
)


@given(
    found=st.lists(candidates, max_size=20), bound=st.floats(0, 1e6), literal=st.sets(st.integers(1, 1_000))
)
def test_the_best_come_first_and_nobody_is_lost(
    found: list[Candidate], bound: float, literal: set[int]
) -> None:
    ranked = rank(found, bound=bound, now_us=NOW)
    for entries in (ranked, boost_literal(ranked, literal)):
        scores = [entry.score for entry in entries]
        assert all(score >= 0 for score in scores)
        assert scores == sorted(scores, reverse=True)
        assert sorted(keys(entries)) == sorted(c.key for c in found)


def test_a_memory_that_holds_the_identifier_letter_by_letter_is_lifted() -> None:
    ranked = rank([candidate(1, 6.0), candidate(2, 5.5), candidate(3, 1.0)], bound=20.0, now_us=NOW)
    lifted = boost_literal(ranked, {2, 3})
    assert keys(lifted) == [2, 1, 3]
    assert lifted[0].score == pytest.approx(ranked[1].score * LITERAL_BOOST)
    assert [entry.parts.get("literal") for entry in lifted] == [LITERAL_BOOST, None, LITERAL_BOOST]


def test_a_lift_tells_apart_what_is_as_good_as_can_be() -> None:
    ranked = rank([candidate(2, 20.0), candidate(1, 20.0)], bound=20.0, now_us=NOW)
    assert keys(boost_literal(ranked, {1})) == [1, 2]
