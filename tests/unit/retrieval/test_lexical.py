"""Any text is a question: nothing in it is syntax, and identifiers are found whole and in parts."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retain.retrieval.filters import NOTHING
from retain.retrieval.lexical import (
    POSTINGS_MAX,
    STOP_WORDS,
    TERMS_MAX,
    WORD_CHARS_MAX,
    WORDS_MAX,
    coverage,
    idf,
    information,
    is_identifier,
    parts_of,
    text_query,
    words_of,
)

LIBRARIES: dict[str, Any] = {}
"""Made once for all examples of a test."""


def found(library: Any, text: str) -> list[int]:
    """Keys of the memories that a question finds, best first."""
    match = text_query(text, library.reader).match
    return [candidate.key for candidate in library.reader.lexical(match, NOTHING, 1_000)] if match else []


@pytest.mark.parametrize(
    "text",
    [
        '"', '""', '"unbalanced', "((", "))", "NEAR(", "NEAR(a b, 2)", "*", "**", "a*", "^a", "-a", "a AND", "OR",
        "AND OR NOT", "NOT", "a NOT b", "title:a", "title : a", "{title body}: a", "- title : a", "nocolumn:a",
        "'; DROP TABLE memory; --", "a + b", "\\", "%", "a\0b", "\0", "\ud800", "🎉", "🎉🎉", "\u202e", "\U00010570",
        "漢字", "()", ":", "^", "_", "__",
        "'", "``", "\n\t\r", "ﷺ", "\u0301", "a" * 5_000, '"' * 10_000, "(" * 10_000,
    ],
)  # fmt: skip
def test_full_text_syntax_is_text(library: Any, text: str) -> None:
    library.add("title body near and or not a b")
    found(library, text)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('say "checkout" loudly', "checkout"),
        ("NEAR(checkout)", "checkout"),
        ("title:checkout", "checkout"),
        ("checkout*", "checkout"),
        ("-checkout", "checkout"),
        ("NOT checkout", "checkout"),
        ("(checkout", "checkout"),
        ("checkout🎉", "checkout"),
        ("checkout\0", "checkout"),
        ("CHECKOUT", "checkout"),
        ("checkouts", "checkout"),
        ("漢字", "漢字"),
        ("naïve", "naive"),
        ("naive", "naïve"),
        ("Straße", "straße"),
        ("Привет", "привет"),
    ],
)
def test_a_word_is_found_whatever_stands_around_it(library: Any, text: str, word: str) -> None:
    library.add("something else")
    wanted = library.add(f"here the {word} is")
    assert found(library, text) == [wanted]


@given(text=st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_no_text_is_an_error(make_library: Callable[[], Any], text: str) -> None:
    if "any" not in LIBRARIES:
        LIBRARIES["any"] = make_library()
        LIBRARIES["any"].add("any text")
    found(LIBRARIES["any"], text)


@given(
    text=st.text(
        st.characters(categories=("L", "Nd"), include_characters=' -_.()":', max_codepoint=0x17FF),
        min_size=1, max_size=60,
    )
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_a_memory_is_found_by_its_own_text(make_library: Callable[[], Any], text: str) -> None:
    if "own" not in LIBRARIES:
        LIBRARIES["own"] = make_library()
    library = LIBRARIES["own"]
    if not words_of(text) or not library.reader.tokens(text):
        return
    key = library.add(text, kind="note", source_id=None)
    assert key in found(library, text)


@pytest.mark.parametrize("text", ["café société", "हिन्दी भाषा", "שָׁלוֹם", "ภาษาไทย", "Tiếng Việt", "q\u0303x"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_words_with_combining_marks_are_found_in_either_form(library: Any, text: str, form: str) -> None:
    wanted = library.add(unicodedata.normalize("NFC", text) + " here")
    library.add("something else")
    assert found(library, unicodedata.normalize(form, text)) == [wanted]


def test_stop_words_are_dropped_where_other_words_remain() -> None:
    assert words_of("what is the type of a MoneyField and why") == ["type", "MoneyField"]


def test_a_question_of_stop_words_only_is_asked_as_it_is(library: Any) -> None:
    wanted = library.add("to be or not to be")
    library.add("something else")
    assert words_of("to be or not to be") == ["to", "be", "or", "not"]
    assert found(library, "to be or not to be") == [wanted]
    assert "the" in STOP_WORDS


def test_words_stand_once_and_need_a_letter_or_a_digit() -> None:
    assert words_of("a1 b2 a1 ___ b2") == ["a1", "b2"]
    assert words_of("... --- !!!") == []
    assert words_of("") == []


def test_long_words_and_long_questions_are_bounded() -> None:
    assert len(words_of("x" * 10_000)[0]) == WORD_CHARS_MAX
    assert len(words_of(" ".join(f"w{i}" for i in range(5_000)))) == WORDS_MAX


def test_a_question_of_ten_thousand_characters_keeps_its_rarest_words(library: Any) -> None:
    library.add_many([(f"common w{i % 1_000:04}", {"title": str(i)}) for i in range(2_000)])
    wanted = library.add("the needle in common")
    text = " ".join(["common"] + [f"w{i:04}" for i in range(1_600)] + ["needle"])[:10_000]
    started = time.process_time()
    query = text_query(f"needle {text}"[:10_000], library.reader)
    assert time.process_time() - started < 5
    assert query.match.count(" OR ") < TERMS_MAX
    assert '"needle"' in query.match
    assert '"common"' not in query.match
    assert wanted in found(library, f"needle {text}"[:10_000])


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("checkout", []),
        ("getUserById", ["get", "User", "By", "Id"]),
        ("HTTPServer", ["HTTP", "Server"]),
        ("cart_total", ["cart", "total"]),
        ("test_getUser", ["test", "getUser", "get", "User"]),
        ("__init__", []),
        ("sha256sum", ["sha", "256", "sum"]),
        ("_private", []),
    ],
)
def test_identifiers_fall_into_parts(word: str, parts: list[str]) -> None:
    assert parts_of(word) == parts


def test_identifiers_are_told_from_words() -> None:
    assert [word for word in ("plain", "a_b", "getUser", "sha256", "v2", "HTTP", "X") if is_identifier(word)] == [
        "a_b", "getUser", "sha256",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("getUserById", "getUserById"),
        ("getUserById", "user"),
        ("getUserById", "getuserbyid"),
        ("cart_total_cents", "cart_total_cents"),
        ("cart_total_cents", "total"),
        ("retain.storage.writer", "storage.writer"),
        ("src/cart/total.py", "total.py"),
        ("--no-verify", "--no-verify"),
        ("ECONNREFUSED", "econnrefused"),
        ("0x7fff5fbff8c0", "0x7fff5fbff8c0"),
        ("issue #4512", "4512"),
    ],
)
def test_an_identifier_is_found_whole_and_in_parts(library: Any, stored: str, asked: str) -> None:
    wanted = library.add(f"look at {stored} here")
    library.add("look at something here")
    assert found(library, asked) == [wanted]


def test_an_identifier_of_a_short_question_is_asked_for_whole_and_in_parts(library: Any) -> None:
    library.add("cart_total is wrong")
    library.add("the total of the cart")
    assert text_query("cart_total", library.reader).match == '"cart_total" OR "cart" OR "total"'


def test_an_identifier_of_a_long_question_is_taken_apart_only_where_it_occurs_nowhere(library: Any) -> None:
    library.add("cart_total is wrong and user")
    long = "cart_total getUser in one more lengthy question about several things"
    asked = set(text_query(long, library.reader).match.split(" OR "))
    assert asked == {'"cart_total"', '"User"'}


def test_an_identifier_that_occurs_nowhere_is_taken_apart(library: Any) -> None:
    wanted = library.add("the total of the cart")
    query = text_query("cartTotal cart_total", library.reader)
    assert query.match == '"cart" OR "Total"'
    assert found(library, "cartTotal") == [wanted]
    assert set(query.postings.values()) == {0, 1}


def test_words_that_share_a_stem_are_asked_once(library: Any) -> None:
    library.add("payments")
    assert text_query("payment payments Payment", library.reader).postings == {"payment": 1}


def test_a_word_that_occurs_nowhere_weighs_but_is_not_asked(library: Any) -> None:
    library.add("payments")
    query = text_query("payment zebra", library.reader)
    assert query.match == '"payment"'
    assert query.postings == {"payment": 1, "zebra": 0}
    assert set(query.stems) == {"payment", "zebra"}
    assert query.stems["zebra"] > query.stems["payment"]


def test_words_that_occur_nowhere_do_not_crowd_out_those_that_do(library: Any) -> None:
    wanted = library.add("the needle")
    text = " ".join(f"unknown{i}x" for i in range(500)) + " needle"
    assert found(library, text) == [wanted]


def test_nothing_is_asked_of_an_empty_store(library: Any) -> None:
    query = text_query("payment", library.reader)
    assert (query.match, query.postings) == ("", {"payment": 0})


words = st.sampled_from(["alpha", "beta", "gamma", "delta", "cart_total", "getUser", "rare"])


@given(text=st.lists(words, min_size=1, max_size=6).map(" ".join))
@settings(max_examples=100, deadline=None)
def test_no_score_exceeds_the_bound(make_library: Callable[[], Any], text: str) -> None:
    if "bound" not in LIBRARIES:
        LIBRARIES["bound"] = make_library()
        some = [
            "alpha",
            "beta gamma",
            "alpha alpha alpha",
            "cart_total getUser",
            "getUser user",
            "delta " * 50,
        ]
        LIBRARIES["bound"].add_many([(f"{some[i % 6]} {i}", {"title": some[i % 5]}) for i in range(120)])
        LIBRARIES["bound"].add("rare")
    reader = LIBRARIES["bound"].reader
    query = text_query(text, reader)
    best = reader.lexical(query.match, NOTHING, 1)[0]
    assert 0 < best.bm25 <= query.bound * (1 + 1e-9)


def test_a_rare_word_is_worth_more_and_none_is_worth_nothing() -> None:
    assert idf(1, 1_000) > idf(10, 1_000) > idf(1_000, 1_000) > 0
    assert idf(2_000, 1_000) > 0


def test_a_word_is_worth_something_in_the_smallest_store() -> None:
    assert information(1, 1) == information(1, 200)
    assert information(0, 1) / 2 < information(1, 1) < information(0, 1)
    assert information(1, 100_000) > information(1, 1)
    assert information(5_000, 5_000) > 0


def test_coverage_is_the_share_of_information_found() -> None:
    stems = {"rare": 3.0, "common": 1.0}
    assert coverage(stems, {"rare"}) == 0.75
    assert coverage(stems, {"rare", "common", "other"}) == 1.0
    assert coverage(stems, set()) == 0.0
    assert coverage({}, {"rare"}) == 0.0


def test_of_a_question_that_would_read_too_much_only_the_rarest_words_are_searched() -> None:
    class Large:
        counts: ClassVar[dict[str, int]] = {"rare": 10, "seldom": POSTINGS_MAX - 10, "common": POSTINGS_MAX}

        def tokens(self, text: str) -> list[str]:
            return text.split()

        def document_frequencies(self, terms: Sequence[str]) -> dict[str, int]:
            return {term: self.counts[term] for term in terms if term in self.counts}

        def phrase_frequency(self, _: str) -> int:
            return 0

        def terms_from(self, _start: str, _most: int) -> list[tuple[str, int]]:
            return []

        def total(self) -> int:
            return 10 * POSTINGS_MAX

    words = text_query("common seldom rare nowhere", Large())
    assert words.match == '"rare" OR "seldom"'
    assert words.postings == {"rare": 10, "seldom": POSTINGS_MAX - 10, "nowhere": 0}
    assert words.known == 3
    assert words.stems.keys() == {"rare", "seldom", "common", "nowhere"}
    assert text_query("common", Large()).match == '"common"'
    Large.counts = {"usual": 2 * POSTINGS_MAX, "often": 3 * POSTINGS_MAX, "always": 9 * POSTINGS_MAX}
    words = text_query("always often usual", Large())
    assert (words.match, words.alone) == ('"usual" AND "often"', '"usual"')
    assert words.postings == {"usual often": 0.2 * 0.3 * 10 * POSTINGS_MAX}
    assert words.is_cut
