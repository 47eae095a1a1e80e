"""The account of a run: a table for each set and category, or the same as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from retain.referee.metrics import ABSTAINED, MEASURES, Interval
from retain.referee.running import Answers
from retain.referee.sets import JudgedSet

BASELINE = "fts5"


def table(judged: JudgedSet, answers: Sequence[Answers]) -> str:
    """One block for each category: measures by contestants, and the differences to the baseline."""
    blocks = [_block(judged, category, answers) for category in _categories(judged)]
    failed = [f"{one.contestant} gave no answers: {one.failed}" for one in answers if one.failed]
    times = [
        f"{one.contestant}: loaded in {one.load_s:.1f} s, search p50 {_quantile(one.search_ms, 0.5):.2f} ms, "
        f"p95 {_quantile(one.search_ms, 0.95):.2f} ms"
        for one in answers
        if one.search_ms
    ]
    silences = [
        f"{who} was silent: precision {one['precision']:.2f}, recall {one['recall']:.2f}; "
        f"of the queries with an answer {one['answerable']:.3f}"
        for who, one in silence(judged, answers).items()
    ]
    return "\n".join([*blocks, *silences, *times, *failed])


def silence(judged: JudgedSet, answers: Sequence[Answers]) -> dict[str, dict[str, float]]:
    """What a contestant's silence was worth, where a set has queries with and without an answer.

    Precision: the share of the silences that were on queries without an answer. Recall: the share of those
    queries that met silence. Answerable: the share of the others that did. Who was never silent has precision 0.
    """
    answered = {question.cat for question in judged.questions if question.relevant}
    without = [category for category in _categories(judged) if category not in answered]
    if not answered or not without:
        return {}
    found = {}
    for one in answers:
        if not one.values:
            continue
        right = [value for category in without for value in one.of(category, ABSTAINED)]
        wrong = [value for category in answered for value in one.of(category, ABSTAINED)]
        found[one.contestant] = {
            "precision": sum(right) / max(1.0, sum(right) + sum(wrong)),
            "recall": sum(right) / len(right),
            "answerable": sum(wrong) / len(wrong),
        }
    return found


def values(judged: JudgedSet, answers: Sequence[Answers]) -> dict[str, Any]:
    """Everything that the table says, and whether each difference excludes zero."""
    return {
        "set": judged.name,
        "records": sum(map(len, judged.records.values())),
        "categories": {category: _category(judged, category, answers) for category in _categories(judged)},
        "silence": silence(judged, answers),
        "contestants": {
            one.contestant: {
                "failed": one.failed,
                "load_s": round(one.load_s, 3),
                "search_ms_p50": _quantile(one.search_ms, 0.5),
                "search_ms_p95": _quantile(one.search_ms, 0.95),
            }
            for one in answers
        },
    }


def summary(accounts: Sequence[Mapping[str, Any]]) -> str:
    """One row for each set and category, by the measure that tells most of it."""
    lines = [f"R@10 (errors: hit@3; no answer: abstained); then the difference to {BASELINE}:"]
    for one in accounts:
        for category, account in one["categories"].items():
            name = one["set"] if one["set"].endswith(f"-{category}") else f"{one['set']}, {category}"
            of, minus = account["measures"], account[f"minus_{BASELINE}"]
            answered = all("R@10" in values for values in of.values())
            measure = ABSTAINED if not answered else "hit@3" if category == "errors" else "R@10"
            cells = [f"{who} {values[measure]['mean']:.3f}" for who, values in of.items()]
            cells += [f"{who} {_cell(values[measure], sign='+')}" for who, values in minus.items()]
            lines.append(f"  {name.ljust(36)} n={account['questions']:<4} {' · '.join(cells)}")
    return "\n".join(lines)


def _categories(judged: JudgedSet) -> list[str]:
    return list(dict.fromkeys(question.cat for question in judged.questions))


def _measures(judged: JudgedSet, category: str) -> list[str]:
    answered = any(question.relevant for question in judged.questions if question.cat == category)
    return [*(MEASURES if answered else ()), ABSTAINED]


def _category(judged: JudgedSet, category: str, answers: Sequence[Answers]) -> dict[str, Any]:
    names = _measures(judged, category)
    there = [one for one in answers if one.values]
    baseline = next((one for one in there if one.contestant == BASELINE), None)
    return {
        "questions": sum(question.cat == category for question in judged.questions),
        "measures": {
            one.contestant: {name: _object(one.interval(category, name)) for name in names} for one in there
        },
        f"minus_{BASELINE}": {
            one.contestant: {name: _object(one.against(baseline, category, name)) for name in names}
            for one in there
            if baseline and one is not baseline
        },
    }


def _object(interval: Interval) -> dict[str, Any]:
    return {
        "mean": interval.mean, "low": interval.low, "high": interval.high,
        "excludes_zero": interval.excludes_zero,
    }  # fmt: skip


def _block(judged: JudgedSet, category: str, answers: Sequence[Answers]) -> str:
    account = _category(judged, category, answers)
    contestants, minus = account["measures"], account[f"minus_{BASELINE}"]
    count = sum(map(len, judged.records.values()))
    lines = [f"{judged.name}, {category}: {account['questions']:,} questions, {count:,} records"]
    heads = [*contestants, *(f"{name} - {BASELINE}" for name in minus)]
    lines.append("  " + "measure".ljust(14) + "".join(head.ljust(27) for head in heads).rstrip())
    for name in _measures(judged, category):
        cells = [_cell(of[name]) for of in contestants.values()]
        cells += [_cell(of[name], sign="+") for of in minus.values()]
        lines.append("  " + name.ljust(14) + "".join(cell.ljust(27) for cell in cells).rstrip())
    return "\n".join([*lines, ""])


def _cell(value: dict[str, Any], sign: str = "") -> str:
    star = " *" if sign and value["excludes_zero"] else ""
    return f"{value['mean']:{sign}.3f} [{value['low']:{sign}.3f}, {value['high']:{sign}.3f}]{star}"


def _quantile(numbers: Sequence[float], share: float) -> float:
    ordered = sorted(numbers)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
