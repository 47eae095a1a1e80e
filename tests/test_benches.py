"""The benches: their targets name benches that exist, their texts are the same at every run."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpora import known_items, made_up
from measuring import Figure
from targets import TARGETS, judged, table_of_targets

BENCHES = Path(__file__).resolve().parents[1] / "benches"


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.what)
def test_a_target_is_judged_by_a_bench_that_exists_and_only_by_its_figures(target: object) -> None:
    assert (BENCHES / f"{target.bench}.py").is_file()
    none = {target.bench: [Figure(what="something else", ours=1, unit="us", met=True)]}
    assert {one.what: one.met for one in judged(none)}[target.what] is None


@pytest.mark.parametrize(("met", "verdict"), [(True, "pass"), (False, "MISS"), (None, "not measured")])
def test_a_target_is_missed_where_one_of_its_figures_is(met: bool | None, verdict: str) -> None:
    figures = [
        Figure(what="L3 get 1 KiB p50", ours=1, unit="us", target="ratio <= 0.25", met=True),
        Figure(what="L3 get 1 KiB p50, other peer", ours=1, unit="us", met=met),
    ]
    lines = judged({"cache_levels": figures if met is not None else []})
    assert {one.what: one.met for one in lines}["L3 get p50, 1 KiB"] is met
    assert verdict in table_of_targets(lines)


def test_made_up_texts_are_the_same_at_every_run_and_can_be_asked_for() -> None:
    texts = made_up(300)
    assert texts == made_up(300)
    assert len({text.sha for text in texts}) == len({text.text for text in texts}) == 300
    assert {name: len(found) for name, found in known_items(texts, 40).items()} == {
        "half": 40, "short": 40, "identifier": 40,
    }  # fmt: skip
