"""The time that a question names is read as people mean it, and what is no time is left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retain.model import Period, from_us
from retain.retrieval.times import MONTHS, WEEKDAYS, period_of

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 23, 18, 30, tzinfo=UTC)
"""A Monday."""

MIXED = "last since 900 days ago week in march between and may 2025 the release 3 v1.2 today"


def at(text: str, now: datetime = NOW, zone: ZoneInfo = BERLIN) -> Period:
    found = period_of(text, now, zone)
    assert found is not None, text
    return found


def span(text: str, now: datetime = NOW, zone: ZoneInfo = BERLIN) -> tuple[str | None, str | None]:
    """Where a period begins and ends by the clock on the wall, to the minute."""
    found = at(text, now, zone)
    low, high = (
        None if us is None else from_us(us).astimezone(zone).strftime("%Y-%m-%d %H:%M")
        for us in (found.low, found.high)
    )
    return low, high


def days(text: str, **where: object) -> tuple[str | None, str | None]:
    low, high = span(text, **where)  # type: ignore[arg-type]
    assert all(one is None or one.endswith(" 00:00") for one in (low, high))
    return low and low[:10], high and high[:10]


@pytest.mark.parametrize(
    ("text", "first", "end"),
    [
        ("what did I do today?", "2026-11-23", "2026-11-24"),
        ("the bug from yesterday", "2026-11-22", "2026-11-23"),
        ("the day before yesterday", "2026-11-21", "2026-11-22"),
        ("last Tuesday", "2026-11-17", "2026-11-18"),
        ("on Sunday", "2026-11-22", "2026-11-23"),
        ("last Monday", "2026-11-16", "2026-11-17"),
        ("this week", "2026-11-23", "2026-11-30"),
        ("last week", "2026-11-16", "2026-11-23"),
        ("last month", "2026-10-01", "2026-11-01"),
        ("this month", "2026-11-01", "2026-12-01"),
        ("last year", "2025-01-01", "2026-01-01"),
        ("in March", "2026-03-01", "2026-04-01"),
        ("in December", "2025-12-01", "2026-01-01"),
        ("March 2024", "2024-03-01", "2024-04-01"),
        ("on March 3rd", "2026-03-03", "2026-03-04"),
        ("on the 3rd of March 2025", "2025-03-03", "2025-03-04"),
        ("on December 24", "2025-12-24", "2025-12-25"),
        ("in 2024", "2024-01-01", "2025-01-01"),
        ("on 2026-03-01", "2026-03-01", "2026-03-02"),
        ("in 2026-02", "2026-02-01", "2026-03-01"),
        ("3 days ago", "2026-11-20", "2026-11-21"),
        ("two weeks ago", "2026-11-06", "2026-11-13"),
        ("a month ago", "2026-10-08", "2026-11-08"),
        ("in the last 3 days", "2026-11-20", "2026-11-24"),
        ("over the past couple of weeks", "2026-11-09", "2026-11-24"),
        ("between Tuesday and Thursday", "2026-11-17", "2026-11-20"),
        ("from March to May", "2026-03-01", "2026-06-01"),
        ("between March and May 2025", "2025-03-01", "2025-06-01"),
    ],
)
def test_a_time_is_the_days_that_it_means(text: str, first: str, end: str) -> None:
    assert days(text) == (first, end)


@pytest.mark.parametrize(
    ("text", "first", "end"),
    [
        ("since Friday", "2026-11-20", None),
        ("since yesterday", "2026-11-22", None),
        ("after last week", "2026-11-23", None),
        ("before March", None, "2026-03-01"),
        ("until March", None, "2026-04-01"),
        ("before two weeks ago", None, "2026-11-06"),
    ],
)
def test_a_preposition_opens_one_side(text: str, first: str | None, end: str | None) -> None:
    assert days(text) == (first, end)


def test_hours_are_counted_from_the_moment_of_the_question() -> None:
    assert span("in the last 3 hours") == ("2026-11-23 16:30", "2026-11-23 19:30")
    assert span("an hour ago") == ("2026-11-23 18:00", "2026-11-23 19:00")


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("what did we decide last Tuesday about the cache", "what did we decide about the cache"),
        ("two weeks ago the parser broke", "the parser broke"),
        ("why does login fail since Friday", "why does login fail"),
        ("cache changes between March and May 2025 in storage", "cache changes in storage"),
    ],
)
def test_the_rest_of_the_question_stays(text: str, rest: str) -> None:
    found = at(text)
    assert found.rest == rest
    assert not found.alone


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "what did we do last week?",
        "what happened since Friday",
        "summary of work in March",
        "show changes today",
    ],
)
def test_a_question_that_only_names_a_time_means_everything_of_it(text: str) -> None:
    assert at(text).alone


@pytest.mark.parametrize(
    ("text", "release", "side"),
    [
        ("what broke before the release", "release", "before"),
        ("since the last release", "last release", "since"),
        ("after release 2.1", "release 2.1", "since"),
        ("until v1.2.3", "v1.2.3", "before"),
    ],
)
def test_a_time_may_hang_on_a_release(text: str, release: str, side: str) -> None:
    found = at(text)
    assert (found.release, found.side, found.low, found.high) == (release, side, None, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "it may march on",
        "the March parser and the may flag",
        "2026-03-01 12:00:00 ERROR timeout",
        "at 2026-03-01T12:00:00 it failed",
        "the today button is grey",
        "release notes of v1.2",
        "sunday school",
        "upgrade to python 3.12",
        "on February 30",
        "in 2999",
        "900 years ago",
        "last one wins",
        "in the last_week table",
        "src/yesterday.py fails",
    ],
)
def test_what_is_no_time_is_left_alone(text: str) -> None:
    assert period_of(text, NOW, BERLIN) is None


def test_the_first_of_several_times_counts() -> None:
    assert at("yesterday or last week").phrase == "yesterday"


@pytest.mark.parametrize(
    ("now", "text", "hours"),
    [
        (datetime(2026, 3, 30, 10, tzinfo=UTC), "yesterday", 23),  # the clock went forward on the 29th
        (datetime(2026, 10, 26, 10, tzinfo=UTC), "yesterday", 25),  # and back on the 25th
        (datetime(2026, 3, 30, 10, tzinfo=UTC), "last week", 7 * 24 - 1),
        (datetime(2026, 10, 26, 10, tzinfo=UTC), "last week", 7 * 24 + 1),
    ],
)
def test_a_day_on_which_the_clock_changes_is_as_long_as_it_was(now: datetime, text: str, hours: int) -> None:
    found = at(text, now)
    assert found.high is not None
    assert found.low is not None
    assert (found.high - found.low) == hours * 3_600_000_000
    assert all(one.endswith(" 00:00") for one in span(text, now) if one)


def test_hours_run_on_while_the_clock_changes() -> None:
    now = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)  # 03:30 by the clock, half an hour after it went forward
    assert span("in the last 2 hours", now) == ("2026-03-29 00:30", "2026-03-29 03:30")


def test_a_midnight_that_the_clock_leaps_over_is_the_moment_of_the_leap() -> None:
    beirut = ZoneInfo("Asia/Beirut")
    now = datetime(2026, 3, 29, 20, tzinfo=UTC)
    found = at("today", now, beirut)
    assert found.low is not None
    assert from_us(found.low) == datetime(2026, 3, 28, 22, tzinfo=UTC)


def test_the_day_is_that_of_the_zone_and_not_of_utc() -> None:
    late = datetime(
        2026, 11, 23, 23, 30, tzinfo=UTC
    )  # already the 24th in Berlin, still the 23rd in New York
    assert days("yesterday", now=late)[0] == "2026-11-23"
    assert days("yesterday", now=late, zone=ZoneInfo("America/New_York"))[0] == "2026-11-22"


def test_a_week_begins_on_monday_on_a_sunday_too() -> None:
    sunday = datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert days("this week", now=sunday) == ("2026-11-16", "2026-11-23")
    assert days("last week", now=sunday) == ("2026-11-09", "2026-11-16")


def test_a_month_before_a_longer_one_ends_where_it_ends() -> None:
    end_of_march = datetime(2026, 3, 31, 12, tzinfo=UTC)
    assert days("since a month ago", now=end_of_march)[0] == "2026-02-13"


def test_without_a_zone_the_days_are_those_of_the_machine() -> None:
    found = period_of("yesterday", NOW)
    assert found is not None
    assert found.low is not None
    begins = from_us(found.low).astimezone()
    assert (begins.hour, begins.minute) == (0, 0)


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1)),
    st.sampled_from(["last", "on", "this"]),
    st.sampled_from(WEEKDAYS),
)
def test_a_weekday_is_one_of_the_seven_days_before_today(moment: datetime, how: str, day: str) -> None:
    now = moment.replace(tzinfo=BERLIN)
    found = at(f"{how} {day}", now)
    assert found.low is not None
    begins = from_us(found.low).astimezone(BERLIN)
    assert WEEKDAYS[begins.weekday()] == day
    assert timedelta() < now.date() - begins.date() <= timedelta(days=7)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1)), st.sampled_from(MONTHS))
def test_a_month_without_a_year_has_begun(moment: datetime, month: str) -> None:
    now = moment.replace(tzinfo=BERLIN)
    found = at(f"in {month}", now)
    assert found.low is not None
    assert timedelta() <= now - from_us(found.low) < timedelta(days=367)


@given(st.text(max_size=80))
def test_any_text_is_read_without_failing(text: str) -> None:
    found = period_of(text, NOW, BERLIN)
    assert found is None or found.phrase in text


@given(
    st.lists(
        st.sampled_from(MIXED.split()),
        max_size=9,
    )
)
def test_any_mix_of_its_own_words_is_read_without_failing(words: list[str]) -> None:
    found = period_of(" ".join(words), NOW, BERLIN)
    assert found is None or found.low is None or found.high is None or found.low < found.high
