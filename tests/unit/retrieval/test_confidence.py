"""The gate knows what speaks for the best hits, and what a small store cannot know."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from retain.model import All, In, Query
from retain.retrieval.confidence import (
    COEFFICIENTS,
    HELD_POWER,
    JUDGED,
    MEMORIES_FITTED,
    MODEL_COEFFICIENTS,
    Closeness,
    Evidence,
    closeness_of,
    evidence_of,
    probability,
)
from retain.retrieval.lexical import text_query
from retain.retrieval.signals import gather, ordered

FAIR = Evidence(
    held=0.4,
    unknown=0.4,
    pairs=0.1,
    matched=1.0,
    words=2.0,
    rarest=0.6,
    lead=0.3,
    agreeing=0.0,
    names=0.0,
    absent=0.0,
    literal=0.0,
    own=2.0,
    fitting=0.0,
)


def evidence(library: Any, text: str) -> Evidence:
    where = All(parts=(In(field="workspace", values=(library.workspace,)),))
    words = text_query(text, library.reader)
    found = library.reader.lexical(words.match, where, 50)
    signals = gather(library.reader, Query(text=text, filter=where), words, found)
    ranked = ordered(library.reader, where, found, signals, words.bound)[:JUDGED]
    memories = library.reader.load([r.candidate.key for r in ranked])
    best = [(r, memories[r.candidate.key]) for r in ranked]
    return evidence_of(library.reader, text, words, best, [c.bm25 for c in found], signals)


def test_every_feature_has_its_coefficient() -> None:
    assert list(COEFFICIENTS) == [field.name for field in fields(Evidence)]
    assert list(MODEL_COEFFICIENTS) == [field.name for of in (Evidence, Closeness) for field in fields(of)]


@pytest.mark.parametrize(
    ("feature", "value", "better"),
    [
        ("held", 0.9, True), ("unknown", 0.8, False), ("pairs", 0.5, True),
        ("lead", 0.8, True), ("agreeing", 1.0, True), ("absent", 1.0, False), ("literal", 1.0, True),
        ("own", 3.0, True),
    ],
)  # fmt: skip
def test_each_feature_speaks_in_its_direction(feature: str, value: float, better: bool) -> None:
    changed = probability(replace(FAIR, **{feature: value}), MEMORIES_FITTED)
    assert (changed > probability(FAIR, MEMORIES_FITTED)) == better


@pytest.mark.parametrize(("feature", "better"), [("nearest", True), ("around", False), ("shown", True)])
def test_what_a_model_says_speaks_in_its_direction(feature: str, better: bool) -> None:
    usual = Closeness(nearest=0.5, around=0.3, shown=0.4)
    changed = replace(usual, **{feature: getattr(usual, feature) + 0.1})
    before, after = (probability(FAIR, MEMORIES_FITTED, one) for one in (usual, changed))
    assert (after > before) == better


def test_closeness_is_that_of_the_nearest_of_the_last_and_of_what_is_shown() -> None:
    cosines = {7: 0.6, 8: 0.5, 9: 0.2}
    assert closeness_of(cosines, [1, 9, 8]) == Closeness(nearest=0.6, around=0.2, shown=0.5)
    assert closeness_of(cosines, [1, 2]) == Closeness(nearest=0.6, around=0.2, shown=0.2), (
        "as the last at most"
    )
    assert closeness_of({}, [7]) is None, "no model was asked"


def test_a_hit_that_holds_the_whole_question_leaves_no_doubt() -> None:
    assert probability(replace(FAIR, held=1.0, unknown=1.0, absent=1.0), 10**6) == 1.0


def test_in_a_small_store_the_share_that_is_held_counts() -> None:
    strange = replace(FAIR, unknown=0.9, absent=1.0)
    assert probability(strange, 1) == pytest.approx(strange.held**HELD_POWER, abs=0.01)
    assert probability(strange, MEMORIES_FITTED) < probability(strange, MEMORIES_FITTED // 2) < strange.held


def test_what_the_hits_hold_is_read_from_them(library: Any) -> None:
    library.add("The cart_total helper rounds every price of the cart", paths=("src/cart.py",))
    library.add("The cart page shows cart_total", paths=("src/cart.py",))
    library.add_many([(f"nothing of the kind {i}", {}) for i in range(300)])
    sure = evidence(library, "cart_total rounds price")
    assert sure.held > 0.99
    assert (sure.unknown, sure.names, sure.absent, sure.literal) == (0, 1, 0, 1)
    assert sure.pairs == pytest.approx(1 / 3)
    assert sure.agreeing == 1.0
    strange = evidence(library, "invoice_total zeppelin page")
    assert strange.held < 0.5
    assert strange.unknown > 0.5
    assert (strange.names, strange.absent, strange.literal) == (1, 1, 0)
