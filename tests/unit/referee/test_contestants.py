"""A contestant with a model is asked when its records have their vectors, and not without a model."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.unit.retrieval.test_models import WORDS, write_model

from retain.errors import InvalidInput
from retain.referee.contestants import RetainModel
from retain.referee.sets import Record

DIM = 16


def test_a_model_is_asked_beside_the_words(tmp_path: Path) -> None:
    model = write_model(tmp_path / "made", DIM)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    records = [
        Record(id=f"r{n}", group="g", text=f"note {n}: {word}", moment=start + timedelta(seconds=n))
        for n, word in enumerate(WORDS)
    ]
    with closing(RetainModel(tmp_path / "home", {"recall_confidence": 0}, model)) as contestant:
        contestant.load(records)
        assert contestant.search(WORDS[2], 1, None) == ["r2"]
        told = contestant._runner.run(contestant._memory.explain(WORDS[2]))
    searches = told["plan"]["truth"]["meaning"]["searches"]
    assert [search["space"].startswith("onnx-") for search in searches] == [True]


def test_without_a_model_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no model in"):
        RetainModel(tmp_path / "home", {}, tmp_path / "none")
