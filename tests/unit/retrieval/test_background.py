"""Which words are a store's own is told against how common they are elsewhere."""

from __future__ import annotations

from typing import Any

from retain.retrieval.background import ELSEWHERE_MIN, ownness, shares
from retain.retrieval.confidence import evidence_of
from retain.retrieval.lexical import text_query
from retain.retrieval.rank import Signals


def test_the_table_holds_stems_by_their_share() -> None:
    table = shares()
    assert len(table) > 1_000
    assert table["file"] > table["test"] > table["allow"] > ELSEWHERE_MIN
    assert all(0 < share <= 1 for share in table.values())


def test_stems_are_those_of_the_index(library: Any) -> None:
    assert all(library.reader.tokens(stem) for stem in shares())


def test_a_word_that_is_common_here_and_rare_elsewhere_is_its_own() -> None:
    assert ownness("zygote", 50, 1_000) > ownness("test", 50, 1_000)
    assert ownness("zygote", 50, 1_000) > 0 > ownness("test", 5, 1_000)


def test_a_question_in_the_words_of_the_store_fits_it_better(library: Any) -> None:
    library.add_many([(f"the zygote scheduler keeps lane {i}", {}) for i in range(60)])
    library.add_many([(f"add a test for the file option {i}", {}) for i in range(60)])

    def evidence(text: str) -> Any:
        return evidence_of(library.reader, text, text_query(text, library.reader), [], [], Signals())

    home, anywhere = evidence("zygote scheduler lane"), evidence("add a test for a file option")
    assert home.own > anywhere.own
    assert home.fitting > anywhere.fitting > evidence("kubernetes ingress certificates").fitting
