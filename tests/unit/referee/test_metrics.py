"""The measures give what a hand gives, and what trec_eval gives."""

from __future__ import annotations

import math
import random

import pytest
import pytrec_eval

from retain.referee.metrics import ABSTAINED, MEASURES, bootstrap, measure, paired

RANKED = ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ({"a": 1}, {"R@1": 1, "R@5": 1, "R@10": 1, "hit@3": 1, "hit@5": 1, "MRR": 1, "nDCG@10": 1, "recall_all@5": 1}),
        ({"d": 1}, {"R@1": 0, "R@5": 1, "hit@3": 0, "hit@5": 1, "MRR": 1 / 4, "nDCG@10": 1 / math.log2(5)}),
        ({"a": 1, "x": 1}, {"R@1": 0.5, "R@10": 0.5, "hit@5": 1, "MRR": 1, "recall_all@5": 0}),
        ({"b": 2, "c": 1}, {"nDCG@10": (2 / math.log2(3) + 1 / 2) / (2 + 1 / math.log2(3)), "MRR": 1 / 2}),
        ({"x": 1}, dict.fromkeys(MEASURES, 0)),
    ],
)  # fmt: skip
def test_each_measure_is_what_a_hand_computes(gains: dict[str, int], expected: dict[str, float]) -> None:
    found = measure(RANKED, gains)
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_silence_is_measured_where_there_is_an_answer_and_where_there_is_none() -> None:
    assert measure([], {}) == {ABSTAINED: 1}
    assert measure(RANKED, {}) == {ABSTAINED: 0}
    assert measure([], {"a": 1}) == {**dict.fromkeys(MEASURES, 0), ABSTAINED: 1}


def test_trec_eval_agrees_on_random_rankings() -> None:
    rng = random.Random(3)
    names = [f"d{i:02}" for i in range(30)]
    qrels = {
        f"q{i}": {d: rng.choice([1, 2]) for d in rng.sample(names, rng.randint(1, 14))} for i in range(60)
    }
    runs = {query: rng.sample(names, 10) for query in qrels}
    theirs = {
        "R@1": "recall_1", "R@5": "recall_5", "R@10": "recall_10", "hit@3": "success_3", "hit@5": "success_5",
        "MRR": "recip_rank", "nDCG@10": "ndcg_cut_10",
    }  # fmt: skip
    judge = pytrec_eval.RelevanceEvaluator(
        qrels, {"recall.1,5,10", "success.3,5", "recip_rank", "ndcg_cut.10"}
    )
    scored = {query: {d: 1 / rank for rank, d in enumerate(run, 1)} for query, run in runs.items()}
    for query, expected in judge.evaluate(scored).items():
        found = measure(runs[query], qrels[query])
        for ours, name in theirs.items():
            assert found[ours] == pytest.approx(expected[name]), (query, ours)


def test_an_interval_holds_the_mean_and_shrinks_with_more_questions() -> None:
    few, many = bootstrap([0, 1] * 10), bootstrap([0, 1] * 1_000)
    assert few.mean == many.mean == 0.5
    assert few.low < many.low < 0.5 < many.high < few.high
    # The normal interval of 2,000 coins is 0.5 +- 1.96 * 0.5 / sqrt(2000).
    assert many.high - 0.5 == pytest.approx(0.0219, rel=0.15)


def test_a_paired_difference_sees_what_two_intervals_hide() -> None:
    rng = random.Random(1)
    theirs = [rng.random() for _ in range(50)]
    ours = [value + 0.02 + 0.001 * rng.random() for value in theirs]
    assert bootstrap(ours).low < bootstrap(theirs).high
    assert paired(ours, theirs).excludes_zero
    assert not paired(ours, ours).excludes_zero
