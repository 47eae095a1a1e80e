"""Where common words were left out of the ranking, the second pass finds what holds them and scores by all words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from retain.model import In
from retain.retrieval.filters import NOTHING
from retain.retrieval.lexical import Term, TextQuery, text_query
from retain.retrieval.rescoring import TOGETHER, completed, together
from retain.storage.reads import Candidate


def cut(words: TextQuery, searched: int) -> TextQuery:
    """The words as they are in a store so large that only the rarest are searched."""
    match = " OR ".join(f'"{term.word}"' for term in words.terms[:searched])
    return replace(words, match=match, searched=searched)


def first_pass(library: Any, words: TextQuery, limit: int = 20) -> Sequence[Candidate]:
    found: Sequence[Candidate] = library.reader.lexical(words.match, NOTHING, limit)
    return found


def test_a_memory_that_holds_all_words_comes_first_though_the_first_pass_missed_it(library: Any) -> None:
    wanted = library.add("alpha beta gamma delta")
    library.add_many([(f"alpha note {number}", {}) for number in range(60)])
    library.add_many([(f"beta gamma note {number}", {}) for number in range(100)])
    library.add_many([(f"something else {number}", {}) for number in range(200)])
    words = cut(text_query("alpha beta gamma", library.reader), 1)
    assert words.is_cut
    before = first_pass(library, words)
    assert wanted not in [candidate.key for candidate in before]
    after, weighed = completed(library.reader, words, NOTHING, 1.0, before)
    assert after[0].key == wanted
    assert after[0].bm25 <= weighed.bound


def test_the_rarest_word_may_be_missing_in_what_is_meant(library: Any) -> None:
    wanted = library.add("beta gamma delta")
    library.add_many([(f"alpha note {number}", {}) for number in range(30)])
    library.add_many([(f"{word} note {number}", {}) for word in ("beta", "gamma") for number in range(60)])
    library.add_many([(f"something else {number}", {}) for number in range(300)])
    words = cut(text_query("alpha beta gamma", library.reader), 1)
    after, _ = completed(library.reader, words, NOTHING, 1.0, first_pass(library, words))
    assert after[0].key == wanted


def test_scores_are_those_that_the_index_gives_to_all_words(library: Any) -> None:
    texts = ["alpha beta", "alpha alpha gamma", "beta gamma gamma delta", "alpha beta gamma", "delta only"]
    library.add_many([(f"Title.\n{text} end", {}) for text in texts for _ in range(3)])
    library.add_many([("Title.\nsomething else entirely", {}) for _ in range(30)])
    words = text_query("alpha beta gamma", library.reader)
    ranked = library.reader.lexical(words.match, NOTHING, 50)
    mine, _ = completed(library.reader, cut(words, 1), NOTHING, 1.0, ranked)
    expected = {candidate.key: candidate.bm25 for candidate in ranked}
    found = {candidate.key: candidate.bm25 for candidate in mine}
    assert found.keys() == expected.keys()
    # The mean length is that of the candidates, and what stands beside a memory is left out.
    assert found == pytest.approx(expected, rel=0.35, abs=0.05)


def test_the_parts_of_a_name_count_only_where_they_stand_side_by_side(library: Any) -> None:
    """Each text has the same words but one, so only the name's own count can set them apart."""
    texts = {
        "twice": "read_file read_file note plain",
        "once": "read_file read note file",
        "apart": "read note file plain plain2",
    }
    keys = {name: library.add(f"alpha {text}") for name, text in texts.items()}
    library.add_many([(f"something else {number}", {}) for number in range(60)])
    words = text_query("alpha read_file", library.reader)
    mine, _ = completed(library.reader, cut(words, 1), NOTHING, 1.0, first_pass(library, words))
    found = {candidate.key: candidate.bm25 for candidate in mine}
    alone, _ = completed(library.reader, cut(text_query("alpha", library.reader), 1), NOTHING, 1.0, mine)
    without = {candidate.key: candidate.bm25 for candidate in alone}
    gains = {name: found[key] - without[key] for name, key in keys.items()}
    assert gains["twice"] > gains["once"] > gains["apart"]


def test_nothing_comes_in_that_does_not_fit_the_filter(library: Any) -> None:
    library.add("alpha beta gamma", kind="note")
    fitting = library.add("alpha beta gamma", kind="decision")
    for word in ("alpha", "beta", "gamma"):
        library.add_many([(f"{word} note {number}", {"kind": "decision"}) for number in range(60)])
    words = cut(text_query("alpha beta gamma", library.reader), 1)
    after, _ = completed(library.reader, words, In(field="kind", values=("decision",)), 1.0, ())
    assert [candidate.key for candidate in after] == [fitting]


def terms(*counts: int) -> TextQuery:
    every = tuple(Term(f"w{number}", (f"w{number}",), count) for number, count in enumerate(counts))
    return TextQuery(match='"w0"', postings={}, bound=1.0, stems={}, terms=every, searched=1)


def test_words_are_required_together_until_few_memories_are_left() -> None:
    found = together(terms(20_000, 100_000, 200_000, 900_000), 1_000_000, 1.0)
    assert found[0] == '"w0" AND "w1" AND "w2" AND "w3"'  # 20,000 * 0.1 * 0.2 is more than wanted
    few = together(terms(4_000, 10_000, 200_000, 300_000), 1_000_000, 1.0)
    assert TOGETHER >= 4_000 * 0.01
    assert few[0] == '"w0" AND "w1"'
    assert '"w1" AND "w2" AND "w3"' in few  # and the rarest may be missing
    assert all('"w0"' in one or '"w1"' in one for one in few)


def test_what_would_pass_over_too_many_entries_is_not_looked_up() -> None:
    found = together(terms(150_000, 200_000, 300_000, 500_000), 1_000_000, 1.0)
    assert found == ['"w0" AND "w1" AND "w2" AND "w3"']


def test_a_single_word_is_required_with_nothing() -> None:
    assert together(terms(500_000), 1_000_000, 1.0) == []
