"""Moments as people say them, in the zone of who says them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from retain.errors import InvalidInput
from retain.memory.moments import past_moment

ZONE = timezone(timedelta(hours=2))
NOW = datetime(2026, 11, 25, 15, 30, tzinfo=ZONE)  # a Wednesday


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Tuesday 14:00", datetime(2026, 11, 24, 14, tzinfo=ZONE)),
        ("wednesday 14:00", datetime(2026, 11, 25, 14, tzinfo=ZONE)),
        ("Wednesday at 16:00", datetime(2026, 11, 18, 16, tzinfo=ZONE)),
        ("last friday", datetime(2026, 11, 20, tzinfo=ZONE)),
        ("yesterday 9:30", datetime(2026, 11, 24, 9, 30, tzinfo=ZONE)),
        ("today 09:30:15", datetime(2026, 11, 25, 9, 30, 15, tzinfo=ZONE)),
        ("15:00", datetime(2026, 11, 25, 15, tzinfo=ZONE)),
        ("16:00", datetime(2026, 11, 24, 16, tzinfo=ZONE)),
        ("2 hours ago", datetime(2026, 11, 25, 13, 30, tzinfo=ZONE)),
        ("two weeks ago", datetime(2026, 11, 11, 15, 30, tzinfo=ZONE)),
        ("a day ago", datetime(2026, 11, 24, 15, 30, tzinfo=ZONE)),
        ("2026-11-23", datetime(2026, 11, 23, tzinfo=ZONE)),
        ("2026-11-23T10:00:00Z", datetime(2026, 11, 23, 12, tzinfo=ZONE)),
        ("2026-11-23 10:00", datetime(2026, 11, 23, 10, tzinfo=ZONE)),
    ],
)
def test_a_moment_is_the_latest_that_lies_in_the_past(said: str, meant: datetime) -> None:
    assert past_moment(said, "at", NOW) == meant


@pytest.mark.parametrize("said", ["", "soon", "25:00", "tuesday 14:61", "2026-13-01", "the day after"])
def test_what_is_no_moment_is_refused(said: str) -> None:
    with pytest.raises(InvalidInput, match="at: ") as refused:
        past_moment(said, "at", NOW)
    assert "Tuesday 14:00" in str(refused.value.hint)


@pytest.mark.parametrize("said", ["2026-11-26", "today 16:00", "2030-01-01T00:00:00Z"])
def test_the_future_is_refused(said: str) -> None:
    with pytest.raises(InvalidInput, match="lies in the future"):
        past_moment(said, "at", NOW)
