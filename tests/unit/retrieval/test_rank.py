"""Scores order what was found, by words first and by structure behind them, and say what they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retain.model import KINDS
from retain.retrieval.rank import (
    KIND_WEIGHTS,
    WEIGHTS,
    Ages,
    Ranked,
    Signals,
    beside,
    link,
    linking_files,
    rank,
)
from retain.storage.reads import Candidate
from retain.storage.structure import AGE_RANKS, File, Fix

NOW = 1_795_000_000_000_000
HOUR_US = 3_600_000_000
AGES = Ages(moments=tuple(NOW - rank * HOUR_US for rank in AGE_RANKS))
"""One memory an hour."""


def candidate(key: int, bm25: float = 5.0, hours: float = 0.0, kind: str = "error") -> Candidate:
    return Candidate(key=key, bm25=bm25, occurred_us=NOW - int(hours * HOUR_US), kind=kind)


def keys(ranked: Sequence[Ranked]) -> list[int]:
    return [entry.candidate.key for entry in ranked]


def ranked_of(*candidates: Candidate, words: int = 1, **signals: object) -> list[Ranked]:
    known = Signals(**{"ages": AGES, "words": words, **signals})  # type: ignore[arg-type]
    return rank(candidates, known, bound=20.0)


def files(**named: str) -> dict[int, tuple[File, ...]]:
    return {int(key[1:]): tuple((1, path) for path in paths.split()) for key, paths in named.items()}


def test_the_better_text_comes_first() -> None:
    assert keys(ranked_of(candidate(1, 2.0), candidate(5, 9.0), candidate(9, 5.0))) == [5, 9, 1]


def test_of_equal_texts_the_newer_one_comes_first() -> None:
    found = ranked_of(candidate(1, hours=400), candidate(5, hours=1), candidate(9, hours=90))
    assert keys(found) == [5, 9, 1]


def test_of_equal_scores_the_later_stored_one_comes_first() -> None:
    assert keys(ranked_of(candidate(1), candidate(9), candidate(5))) == [9, 5, 1]


def test_age_never_hides_a_better_text_about_no_file() -> None:
    assert keys(ranked_of(candidate(1, 9.0, hours=9_999), candidate(5, 8.0))) == [1, 5]


def test_a_memory_of_a_file_ages_faster() -> None:
    old, new = candidate(1, 9.0, hours=9_999), candidate(5, 8.0)
    assert keys(ranked_of(old, new, files=files(k1="a.py", k5="b.py"))) == [5, 1]


def test_the_longer_the_question_the_less_age_says() -> None:
    old, new = candidate(1, 9.0, hours=9_999), candidate(5, 8.0)
    assert keys(ranked_of(old, new, files=files(k1="a.py", k5="b.py"), words=30)) == [1, 5]


def test_age_counts_memories_between_the_moments_that_are_known() -> None:
    assert [AGES.of(candidate(1, hours=h)) for h in (-5, 0, 12, 25, 150, 800, 9_999)] == [
        0, 0, 12, 25, 150, 800, 800,
    ]  # fmt: skip


def test_age_is_counted_by_keys_where_there_are_several_workspaces() -> None:
    assert [Ages(newest_key=10).of(candidate(key)) for key in (10, 4, 11)] == [0, 6, 0]


def test_memories_of_one_moment_are_equally_old() -> None:
    same = Ages(moments=(NOW, NOW, NOW))
    assert [same.of(candidate(1, hours=h)) for h in (0, 1)] == [0, AGE_RANKS[2]]


def test_a_memory_gains_by_the_words_of_its_neighbour() -> None:
    found = ranked_of(candidate(1, 5.0), candidate(2, 8.0), candidate(7, 5.0))
    assert keys(found) == [2, 1, 7]
    assert found[1].parts["neighbour"] == pytest.approx(WEIGHTS.neighbour * 8 / 20)
    assert "neighbour" not in found[2].parts


def test_what_was_said_by_whom_the_question_names_is_lifted() -> None:
    assert keys(ranked_of(candidate(1, 6.0), candidate(5, 5.0), said={5})) == [5, 1]


def test_the_more_a_question_says_the_more_a_title_of_its_words_counts() -> None:
    better, titled = candidate(1, 6.5), candidate(5, 5.0)
    for words, order in ((3, [1, 5]), (7, [1, 5]), (20, [5, 1])):
        assert keys(ranked_of(better, titled, words=words, titles={5: 0.2})) == order


def test_what_was_decided_stands_above_what_was_typed() -> None:
    kinds = sorted(KIND_WEIGHTS, key=lambda kind: -KIND_WEIGHTS[kind])
    assert kinds[:2] == ["decision", "fix"]
    found = ranked_of(*(candidate(10 * i, kind=kind) for i, kind in enumerate(reversed(kinds))))
    weights = [entry.parts["kind"] for entry in found]
    assert weights == sorted(weights, reverse=True)


def test_every_kind_has_a_weight_and_an_unknown_one_is_neutral() -> None:
    assert set(KIND_WEIGHTS) == set(KINDS)
    (entry,) = ranked_of(candidate(1, kind="haiku"))
    assert entry.parts["kind"] == 1.0


def test_without_words_the_order_stays_as_it_was_found() -> None:
    found = rank([candidate(2, 0.0), candidate(9, 0.0), candidate(1, 0.0)], Signals(), bound=0.0)
    assert keys(found) == [2, 9, 1]
    assert {entry.score for entry in found} == {1.0}


def test_a_memory_that_holds_the_identifier_letter_by_letter_is_lifted() -> None:
    found = ranked_of(candidate(1, 6.0), candidate(5, 5.5), candidate(9, 1.0), literal={5, 9})
    assert keys(found) == [5, 1, 9]
    assert [entry.parts.get("literal") for entry in found] == [WEIGHTS.literal, None, WEIGHTS.literal]


FOUND = [candidate(10 * i, 10.0 - i, hours=9_999) for i in range(1, 7)]


def test_the_fitted_space_says_less_where_a_model_was_asked() -> None:
    near = {1: 1.0}
    fitted, model, both = (
        ranked_of(candidate(1), near=spaces)[0].made.meaning
        for spaces in ({"corpus": near}, {"model": near}, {"corpus": near, "model": near})
    )
    best = ranked_of(candidate(1))[0].made.lexical
    assert fitted == pytest.approx(WEIGHTS.corpus * best)
    assert model == pytest.approx(WEIGHTS.model * best)
    assert both == pytest.approx((WEIGHTS.model + WEIGHTS.corpus_beside) * best)
    assert WEIGHTS.corpus_beside < WEIGHTS.corpus


def test_where_all_memories_are_new_age_says_nothing_between_them() -> None:
    few = Ages(moments=(NOW,))
    same = [candidate(1, 10.0), candidate(2, 11.0)]
    found = rank(same, Signals(ages=few, files=files(k1="cart.py"), words=1), bound=20.0)
    assert keys(found) == [2, 1]
    many = rank(same, Signals(ages=AGES, files=files(k1="cart.py"), words=1), bound=20.0)
    assert many[0].score > found[0].score


def linked(named: Mapping[int, tuple[File, ...]], *strangers: Candidate, words: int = 1) -> list[Ranked]:
    """The six that were found, and strangers without a word that name the same files."""
    signals = Signals(ages=AGES, files=named, words=words)
    ranked = rank(FOUND, signals, bound=20.0)
    known = {c.key: c for c in (*FOUND, *strangers)}
    shared = {
        file: tuple(known[key] for key, theirs in named.items() if file in theirs)
        for file in linking_files(ranked, signals)
    }
    return link(ranked, shared, signals)


def test_a_shared_file_fills_the_places_behind_the_first_three() -> None:
    found = linked(files(k10="cart.py", k60="cart.py"))
    assert keys(found) == [10, 20, 30, 60, 40, 50]
    assert found[3].parts["linked"] > 0
    assert [entry.parts.get("linked") for entry in found[:3]] == [None] * 3


def test_a_memory_without_a_word_of_the_question_comes_in_by_its_file() -> None:
    found = linked(files(k10="cart.py", k99="cart.py"), candidate(99, 0.0))
    assert keys(found) == [10, 20, 30, 99, 40, 50, 60]


def test_a_file_of_many_memories_links_nothing() -> None:
    many = [candidate(1_000 + i, 0.0) for i in range(WEIGHTS.sharers)]
    named = files(k10="setup.py") | {c.key: ((1, "setup.py"),) for c in many}
    assert keys(linked(named, *many)) == [10, 20, 30, 40, 50, 60]


def test_only_the_best_memories_link() -> None:
    assert keys(linked(files(k40="cart.py", k60="cart.py"))) == [10, 20, 30, 40, 50, 60]


def test_a_file_of_the_same_name_elsewhere_is_another_file() -> None:
    named = {10: ((1, "cart.py"),), 60: ((2, "cart.py"),)}
    assert keys(linked(named)) == [10, 20, 30, 40, 50, 60]


def test_a_fix_stands_right_behind_its_error() -> None:
    ranked = ranked_of(candidate(10, 9.0), candidate(20, 8.0))
    fix = candidate(99, 0.0, kind="fix")
    found = beside(ranked, [Fix(error=10, fix=fix), Fix(error=10, fix=candidate(98, 0.0, kind="fix"))])
    assert keys(found) == [10, 99, 20]
    assert found[1].score == found[0].score == pytest.approx(found[1].parts["fixes"], abs=1e-4)


def test_a_fix_that_was_found_itself_moves_up_and_never_down() -> None:
    ranked = ranked_of(candidate(10, 9.0), candidate(20, 8.0), candidate(30, 2.0, kind="fix"))
    assert keys(beside(ranked, [Fix(error=10, fix=ranked[2].candidate)])) == [10, 30, 20]
    assert keys(beside(ranked, [Fix(error=20, fix=ranked[0].candidate)])) == [10, 20, 30]


candidates = st.builds(
    candidate,
    st.integers(1, 60),
    st.floats(0, 1e6),
    st.floats(-1e4, 2e4),
    st.sampled_from([*KINDS, "haiku"]),
)
named_files = st.dictionaries(
    st.integers(1, 60), st.lists(st.sampled_from(["a.py", "b.py", "c.py"]), max_size=3, unique=True)
)


@given(
    found=st.lists(candidates, max_size=20, unique_by=lambda c: c.key),
    bound=st.floats(0, 1e6),
    literal=st.sets(st.integers(1, 60)),
    named=named_files,
    words=st.integers(0, 40),
)
def test_the_best_come_first_and_nobody_is_lost(
    found: list[Candidate], bound: float, literal: set[int], named: dict[int, list[str]], words: int
) -> None:
    known = {key: tuple((1, path) for path in paths) for key, paths in named.items()}
    signals = Signals(ages=AGES, files=known, literal=literal, words=words)
    ranked = rank(found, signals, bound=bound)
    sharers = {
        (1, path): [c for c in found if path in named.get(c.key, ())] for path in ("a.py", "b.py", "c.py")
    }
    after = link(ranked, sharers, signals)
    for entries in (ranked, after):
        scores = [entry.score for entry in entries]
        assert all(score >= 0 for score in scores)
        assert scores == sorted(scores, reverse=True)
        assert sorted(keys(entries)) == sorted(c.key for c in found)
    assert keys(after)[: WEIGHTS.kept] == keys(ranked)[: WEIGHTS.kept]
