"""An error is known again by its line, wherever it happened; a like one is another one."""

from __future__ import annotations

from typing import Any

import pytest

from retain.model import All, In, Query
from retain.retrieval.lexical import text_query
from retain.retrieval.quotes import plain, quoted_lines, quotes_error
from retain.retrieval.signals import gather, ordered


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('src/a.py:62: error: "add" of "Group" fails', '/work/b_1.py:7: error: "add" of "Group" fails'),
        ("TimeoutError: no answer after 30 s from node 4", "TimeoutError: no answer after 5 s from node 17"),
        ("KeyError: object at 0x7f3a missing", "KeyError: object at 0x11bc missing"),
        ("C:\\Users\\ann\\app.py:3: warning: unused name", "t.py:99: warning: unused name"),
    ],
)
def test_the_same_error_elsewhere_has_the_same_line(one: str, other: str) -> None:
    assert quoted_lines(one) == quoted_lines(other) != ()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("IndexError: list index out of range", "IndexError: tuple index out of range"),
        (
            "error[E0277]: the trait `A: FromRequest` is not met",
            "error[E0277]: the trait `A: Clone` is not met",
        ),
    ],
)
def test_one_name_makes_another_error(one: str, other: str) -> None:
    assert quoted_lines(one) != quoted_lines(other)


def test_of_many_lines_those_of_errors_count() -> None:
    text = "it fails with\n  File x.py line 3\nValueError: bad cart total here\nwhy?"
    assert quoted_lines(text) == (plain("ValueError: bad cart total here"),)


@pytest.mark.parametrize("text", ["why does the parser fail", "error handling of carts", "KeyError: a", ""])
def test_prose_and_bare_names_quote_nothing(text: str) -> None:
    assert quoted_lines(text) == ()


def test_a_note_of_a_compiler_is_output_too() -> None:
    assert quotes_error("t.py:4: note: see the page on missing imports")


def test_the_memory_of_the_same_error_comes_before_likes_of_it(library: Any) -> None:
    library.add_many([(f"the settlement of step {i} is done", {}) for i in range(40)])
    same = library.add("Fixed: main.py:5: error: Unsupported operand types for + (list and str)", kind="fix")
    library.add("Fixed: main.py:9: error: Unsupported operand types for + (list and int) str", kind="fix")
    library.add("error: Unsupported operand types for + (str and list)", kind="error")
    asking = "/srv/cobalt.py:9: error: Unsupported operand types for + (list and str)"
    where = All(parts=(In(field="workspace", values=(library.workspace,)),))
    words = text_query(asking, library.reader)
    found = library.reader.lexical(words.match, where, 50)
    signals = gather(library.reader, Query(text=asking, filter=where), words, found)
    assert signals.quoted == {same}
    best = ordered(library.reader, where, found, signals, words.bound)[0]
    assert best.candidate.key == same
    assert best.parts["quoted"] > 1
