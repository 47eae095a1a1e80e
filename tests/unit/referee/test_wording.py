"""Words, references, sentences and error lines of commit messages."""

from __future__ import annotations

import pytest

from retain.referee.error_lines import elsewhere, error_lines, signature
from retain.referee.wording import content_words, first_sentences, identifiers, without_references


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Drop Python 3.7 (#1234)", "Drop Python 3.7"),
        ("Cache the token (closes #12, #13)", "Cache the token"),
        ("See psf/black#77 for why\n\nCo-authored-by: A <a@b>\nSigned-off-by: B <b@c>", "See for why"),
        ("Fix it\n\nCloses #5", "Fix it"),
        ("Fix it\n\n--HG--\nextra : convert_revision : svn%3Ab85f%401103\nrename : a.py => b.py", "Fix it"),
        ("Fixes a crash when the pool is empty", "Fixes a crash when the pool is empty"),
    ],
)
def test_numbers_of_issues_and_trailers_are_left_out(text: str, clean: str) -> None:
    assert " ".join(without_references(text).split()) == clean


def test_content_words_are_stemmed_and_without_stop_words() -> None:
    assert content_words("The pools were closing the connections") == {"pool", "clos", "connection"}


def test_the_first_sentence_is_taken_and_the_second_where_the_first_is_short() -> None:
    body = "    code()\n\n* Too short. The token outlives its session when the clock steps back. More."
    assert first_sentences(body) == "Too short. The token outlives its session when the clock steps back."
    assert first_sentences("    only code\n    and more") == ""


def test_identifiers_are_names_of_code_and_no_plain_words() -> None:
    text = "Call `parse()` or HttpClient.send with --no-cache, max_age and camelCase, please. E.g. that."
    assert identifiers(text) == {"parse", "httpclient.send", "--no-cache", "max_age", "camelcase"}


def test_error_lines_are_found_in_messages_and_in_what_tests_expect() -> None:
    message = (
        "The parser raised\n\n    E   ValueError: cannot escape the static root at 0x7f01\n"
        "and `KeyError: no such session token in store` too. Error: no\nTypeError: short\n"
        "error[E0277]: the trait bound `bool: FromRequest` is not satisfied"
    )
    assert error_lines(message) == [
        "ValueError: cannot escape the static root at 0x7f01",
        "KeyError: no such session token in store",
        "error[E0277]: the trait bound `bool: FromRequest` is not satisfied",
    ]
    tested = ['with pytest.raises(OSError, match=r"the cache folder cannot be made \\(full\\)"):']
    assert error_lines("", tested) == ["OSError: the cache folder cannot be made (full)"]
    assert error_lines("", ['raises(OSError, match="cache .* folder cannot be made")']) == []


def test_the_same_error_elsewhere_has_other_paths_numbers_and_addresses_and_the_same_signature() -> None:
    line = "src/app/pool.py:41: error: lease 17 of 0x7f3a91 lost in /home/me/work/x.db after abc1234"
    moved = elsewhere(line, "seed")
    assert moved == elsewhere(line, "seed") != line
    for part in ("src/app", "pool.py", ":41:", "lease 17", "0x7f3a91", "/home/me", "abc1234"):
        assert part in line
        assert part not in moved
    assert moved.endswith(tuple("0123456789abcdef"))
    assert "error: lease " in moved
    assert signature(moved) == signature(line) == "#:#: error: lease # of # lost in # after #"


def test_codes_and_numbers_inside_names_stay() -> None:
    line = "error[E0277]: utf8 codec and Python3 want `Vec<u8>`"
    assert elsewhere(line, "seed") == line
