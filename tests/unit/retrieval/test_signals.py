"""What the store knows around its memories reaches the ranking, and only what fits the filter."""

from __future__ import annotations

from typing import Any

import pytest

from retain.model import All, Between, In, Query
from retain.retrieval.filters import NOTHING, both
from retain.retrieval.lexical import text_query
from retain.retrieval.rank import Signals
from retain.retrieval.signals import gather, ordered
from retain.storage import structure, writes


def asked(library: Any, text: str, *parts: Any) -> Signals:
    where = All(parts=(In(field="workspace", values=(library.workspace,)), *parts))
    words = text_query(text, library.reader)
    found = library.reader.lexical(words.match, where, 50)
    return gather(library.reader, Query(text=text, filter=where), words, found)


def order(library: Any, text: str, *parts: Any) -> list[int]:
    where = All(parts=(In(field="workspace", values=(library.workspace,)), *parts))
    words = text_query(text, library.reader)
    found = library.reader.lexical(words.match, where, 50)
    signals = gather(library.reader, Query(text=text, filter=where), words, found)
    return [r.candidate.key for r in ordered(library.reader, where, found, signals, words.bound)]


def test_the_files_of_the_candidates_are_known(library: Any) -> None:
    key = library.add("cart", paths=("src/cart.py", "src/total.py"))
    bare = library.add("cart again")
    signals = asked(library, "cart")
    assert [path for _, path in signals.files[key]] == ["src/cart.py", "src/total.py"]
    assert bare not in signals.files


def test_ages_end_where_the_filter_ends(library: Any) -> None:
    library.add_many([(f"cart {i}", {}) for i in range(120)])
    newest, *older = structure.moments(library.reader.connection, library.workspace, None)
    assert [(newest - us) // 60_000_000 for us in older] == [25, 50, 100]
    signals = asked(library, "cart", Between(field="time", high=older[1]))
    assert (older[1] - signals.ages.moments[0]) // 60_000_000 == 1


def test_an_unknown_workspace_has_no_ages(library: Any) -> None:
    assert structure.moments(library.reader.connection, "nowhere", None) == ()


@pytest.mark.parametrize(
    ("asking", "held"),
    [
        ("cart_total fails", "the cart_total helper"),
        ("why does src/cart.py fail", "see src/cart.py"),
        ("retain.storage.writer blocks", "in retain.storage.writer"),
    ],
)
def test_letters_are_compared_where_the_index_knows_stems_only(library: Any, asking: str, held: str) -> None:
    library.add(held.replace("_", " ").replace("/", " ").replace(".", " ") + " cart total fails blocks")
    literal = library.add(held)
    assert asked(library, asking).literal == {literal}


def test_a_name_among_paths_and_symbols_counts_as_held(library: Any) -> None:
    key = library.add("something else", paths=("src/cart.py",), symbols=("cart_total",))
    assert asked(library, "cart_total").literal == {key}
    assert asked(library, "src/cart.py").literal == {key}


def test_a_title_is_compared_with_a_long_question_by_their_stems(library: Any) -> None:
    text = "cart totals rounding currency display checkout"
    same = library.add(text, title="The carts are rounding")
    half = library.add(text, title="Cart lights of a garden")
    assert asked(
        library, "what is it about the cart, its rounding, currency totals, display of checkouts?"
    ).titles == {
        same: pytest.approx(2 * 2 / (2 + 6)),
        half: pytest.approx(2 * 1 / (3 + 6)),
    }


def test_a_short_question_looks_at_no_title(library: Any) -> None:
    library.add("cart totals rounding", title="Cart totals rounding")
    assert asked(library, "cart totals rounding").titles == {}


@pytest.mark.parametrize(
    ("text", "hers"),
    [
        ("Nadia: the lease of the flat ends in May", True),
        ("10:40, 8 May | Nadia: the lease of the flat ends in May", True),
        ("Piotr: Nadia says that the lease of the flat ends", False),
        ("the lease of the flat that Nadia has ends in May", False),
    ],
)
def test_a_name_before_a_colon_says_who_said_it(library: Any, text: str, hers: bool) -> None:
    key = library.add(text, title=text)
    assert asked(library, "When does the lease of Nadia end?").said == ({key} if hers else set())
    assert asked(library, "when does the lease end?").said == ()


def test_what_shares_a_file_with_the_best_comes_in(library: Any) -> None:
    best = library.add("rounding of the invoice", paths=("src/invoice.py",))
    linked = library.add("moved to decimals", paths=("src/invoice.py",))
    assert order(library, "rounding invoice") == [best, linked]


def test_a_linked_memory_must_fit_the_filter(library: Any) -> None:
    best = library.add("rounding of the invoice", paths=("src/invoice.py",), kind="note")
    library.add("moved to decimals", paths=("src/invoice.py",), kind="search")
    assert order(library, "rounding invoice", In(field="kind", values=("note",))) == [best]


def test_a_common_file_is_not_followed(library: Any) -> None:
    library.add_many([(f"number {i}", {"paths": ("setup.py",)}) for i in range(200)])
    best = library.add("rounding of the invoice", paths=("setup.py",))
    assert order(library, "rounding invoice") == [best]


def test_an_error_brings_its_fix_beside_it(library: Any) -> None:
    error = library.add("TypeError in checkout", kind="error")
    other = library.add("TypeError in checkout page", kind="note")
    fix = library.add("cast to Decimal first", kind="fix")
    writes.link(library.reader.connection, fix, error, "fixes")
    found = order(library, "TypeError checkout")
    assert found.index(fix) == found.index(error) + 1
    assert other in found
    assert fix not in order(library, "TypeError checkout", In(field="kind", values=("error", "note")))


def test_without_words_there_are_no_signals(library: Any) -> None:
    library.add("cart")
    words = text_query("", library.reader)
    assert gather(library.reader, Query(filter=both(NOTHING)), words, []) == Signals()
