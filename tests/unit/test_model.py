"""Times and ids: exact in both directions, and refused where they cannot be."""

from __future__ import annotations

import threading
import time
import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retain.errors import InvalidInput
from retain.model import EPOCH, from_us, new_id, read_time, to_us

MOMENTS = st.datetimes(
    datetime(1970, 1, 2),
    datetime(9998, 12, 30),
    timezones=st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23))),
)


@given(MOMENTS)
def test_a_moment_survives_the_way_to_microseconds_and_back(moment: datetime) -> None:
    assert from_us(to_us(moment)) == moment
    assert from_us(to_us(moment)).tzinfo is UTC


@given(st.integers(-(10**15), 10**17))
def test_microseconds_survive_the_way_to_a_moment_and_back(us: int) -> None:
    assert to_us(from_us(us)) == us


@given(MOMENTS)
def test_a_moment_is_read_from_its_iso_form_and_from_itself(moment: datetime) -> None:
    assert read_time(moment.isoformat(), "since") == moment
    assert read_time(moment, "since") == moment


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-23", datetime(2026, 11, 23, tzinfo=UTC)),
        ("2026-11-23T14:00:00Z", datetime(2026, 11, 23, 14, tzinfo=UTC)),
        ("2026-11-23T14:00:00+02:00", datetime(2026, 11, 23, 12, tzinfo=UTC)),
        ("2026-11-23 14:00", datetime(2026, 11, 23, 14, tzinfo=UTC)),
        (datetime(2026, 11, 23), datetime(2026, 11, 23, tzinfo=UTC)),
        (0, EPOCH),
        (1.5, EPOCH + timedelta(seconds=1.5)),
    ],
)
def test_a_time_may_be_written_in_several_ways(value: str | float | datetime, expected: datetime) -> None:
    assert read_time(value, "since") == expected


@pytest.mark.parametrize(
    "value",
    ["", "yesterday", "2026-13-01", "2026-11-23T25:00", "\0", "\ud800", "2026-11-23" * 1000, True, None, [],
     float("nan"), float("inf"), -float("inf"), 1e300, 10**400],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_what_is_no_time_is_refused_by_field_name(value: object) -> None:
    with pytest.raises(InvalidInput, match=r"^since: not a time") as caught:
        read_time(value, "since")  # type: ignore[arg-type]
    assert caught.value.field == "since"


@pytest.mark.parametrize("value", ["1969-12-31", -1, "9999-01-01", datetime.max, datetime.min])
def test_a_time_outside_the_years_is_refused(value: str | float | datetime) -> None:
    with pytest.raises(InvalidInput, match="outside the years"):
        read_time(value, "until")


def test_ids_are_uuids_of_version_seven_that_hold_the_time() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(new_id())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000 + 1


def test_ids_of_many_threads_are_distinct_and_grow_within_each() -> None:
    ready = threading.Barrier(4)
    made: list[list[str]] = [[] for _ in range(4)]

    def make(into: list[str]) -> None:
        ready.wait()
        into.extend(new_id() for _ in range(5_000))

    threads = [threading.Thread(target=make, args=(into,)) for into in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(ids == sorted(ids) for ids in made)
    assert len({i for ids in made for i in ids}) == 20_000


def test_ids_grow_also_while_the_clock_steps_back_a_little(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now)
    first = new_id()
    monkeypatch.setattr(time, "time_ns", lambda: now - 30_000_000_000)
    ids = [first, *(new_id() for _ in range(10_000))]
    assert ids == sorted(set(ids))


def test_ids_follow_a_clock_that_was_set_right(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + 10**18)
    new_id()
    monkeypatch.setattr(time, "time_ns", lambda: now)
    assert uuid.UUID(new_id()).int >> 80 == now // 1_000_000


def test_a_clock_before_1970_still_gives_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: -1)
    assert uuid.UUID(new_id()).version == 7
