"""Time expressions of a question: ``last Tuesday``, ``two weeks ago``, ``since March``, ``before the release``.

Pure: a text, a moment and a zone give an interval and the words that remain. Days begin at midnight of the zone,
weeks on Monday. A name without a year is its latest occurrence that has begun; a weekday lies before today.
English only. A bare date in digits is read only behind a preposition, for the lines of a log hold many.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, tzinfo

from retain.model import Period, to_us
from retain.retrieval.lexical import STOP_WORDS, words_of

MONTHS = ("january february march april may june july august september october november december").split()
WEEKDAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
NUMBERS = {
    name: number
    for number, name in enumerate(
        "one two three four five six seven eight nine ten eleven twelve".split(), start=1
    )
} | {"a": 1, "an": 1, "couple": 2, "few": 3, "several": 4}

YEAR_MIN = 1970
HALF = {"day": 0, "week": 3, "month": 15, "year": 182}
"""How many days around the named one are meant by ``ago``."""

DAYS = {"day": 1, "week": 7}

GENERIC = frozenset(
    """
    change changed changes commit commits committed did do done edit edited everything going happen happened
    happening made memories memory notes progress recent remember session sessions show status stuff summarise
    summarize summary tell thing things update updates went work worked working
    """.split()
)
"""Words that only say that something is asked for; a question of these and a time means everything of that time."""


_NUMBER = rf"\d{{1,3}}|{'|'.join(NUMBERS)}"
_UNIT = r"(?P<unit>minute|hour|day|week|month|year)s?"
_MONTH = rf"(?P<month>{'|'.join(MONTHS)})"
_WEEKDAY = rf"(?P<weekday>{'|'.join(WEEKDAYS)})"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>(?:19|20)\d\d)"
_VERSION = r"v?\d+(?:\.\d+)+"
_PREPOSITION = (
    r"(?:(?P<how>since|from|after|before|until|till|in|on|during|within|over|around|about)\s+(?:the\s+)?)"
)

_BARE = (
    r"(?P<named>the\s+day\s+before\s+yesterday|today|yesterday)",
    rf"(?:a\s+)?(?P<ago>{_NUMBER})(?:\s+of)?\s+{_UNIT}\s+ago",
    rf"(?:the\s+)?(?:last|past|previous)\s+(?P<rolling>{_NUMBER})(?:\s+of)?\s+{_UNIT}",
    r"(?P<which>last|past|previous|this)\s+(?P<whole>week|month|year)",
    rf"(?:last|past|previous|this)\s+{_WEEKDAY}",
    rf"{_MONTH},?\s+{_YEAR}",
)
_BEHIND = (
    rf"{_MONTH}\s+{_DAY}(?:,?\s+{_YEAR})?(?!\.\d)",
    rf"{_DAY}(?:\s+of)?\s+{_MONTH}(?:,?\s+{_YEAR})?",
    r"(?P<iso>(?:19|20)\d\d-\d\d(?:-\d\d)?)(?![:-])",
    rf"{_MONTH}(?!\s+\d)",
    _WEEKDAY,
    _YEAR,
    rf"(?P<release>(?:(?:last|latest|previous)\s+)?release(?:\s+{_VERSION})?|{_VERSION}(?:\s+release)?)",
)
"""What names a time only behind a preposition: ``may`` and ``march`` are words, a version is a name."""

_PATTERNS = tuple(
    re.compile(rf"(?<![\w./-]){lead}{form}(?![\w-])", re.IGNORECASE)
    for lead, forms in ((f"{_PREPOSITION}?", _BARE), (_PREPOSITION, _BEHIND))
    for form in forms
)
_ON = "on "
_ONE_YEAR = re.compile(_YEAR)
_RANGE = re.compile(
    r"(?<!\w)(?P<how>between|from)\s+(?P<one>[^,;?]{3,30}?)\s+(?:and|to|until|till)\s+(?P<two>[^,;?]{3,30})",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A time and where it stands in the text."""

    start: int
    end: int
    low: datetime | None = None
    high: datetime | None = None
    release: str = ""
    side: str = ""


def period_of(text: str, now: datetime, zone: tzinfo | None = None) -> Period | None:
    """The time that a question names, or None; of several the first one.

    Args:
        text: the question.
        now: the moment at which it is asked, aware.
        zone: whose days are meant; None takes the zone of the machine.
    """
    clock = _Clock(now, zone)
    found = _range(text, clock) or _first(text, clock)
    if found is None:
        return None
    rest = " ".join(f"{text[: found.start]} {text[found.end :]}".split())
    return Period(
        phrase=text[found.start : found.end],
        rest=rest,
        low=None if found.low is None else to_us(found.low),
        high=None if found.high is None else to_us(found.high),
        release=found.release,
        side=found.side,
        alone=says_nothing(rest),
    )


def says_nothing(rest: str) -> bool:
    """Whether a question without its time holds only words that ask for whatever there is."""
    return all(word.lower() in GENERIC or word.lower() in STOP_WORDS for word in words_of(rest))


class _Clock:
    """Days and hours in a zone; every moment that it gives is in UTC."""

    def __init__(self, now: datetime, zone: tzinfo | None) -> None:
        self._zone = zone
        self.now = now.astimezone(UTC)
        self.today = now.astimezone(zone).date()

    def midnight(self, day: date) -> datetime:
        """Where a day begins; a midnight that a change of the clock leaves out is the moment of the change."""
        naive = datetime(day.year, day.month, day.day)
        return (naive if self._zone is None else naive.replace(tzinfo=self._zone)).astimezone(UTC)

    def days(self, first: date, end: date) -> tuple[datetime, datetime]:
        """From the beginning of the first day to the beginning of the one that is not meant any more."""
        return self.midnight(first), self.midnight(end)


Span = tuple[datetime, datetime]


def _first(text: str, clock: _Clock) -> _Found | None:
    found = [
        one
        for pattern in _PATTERNS
        for match in pattern.finditer(text)
        if (one := _read(match, clock, text)) is not None
    ]
    return min(found, key=lambda one: (one.start, -one.end), default=None)


def _range(text: str, clock: _Clock) -> _Found | None:
    """``between Monday and Wednesday``, ``from March to May``."""
    for match in _RANGE.finditer(text):
        last = _named(match["two"], clock)
        year = _ONE_YEAR.search(match["two"])
        for one in (match["one"], f"{match['one']} {year[0]}" if year else ""):
            first = _named(one, clock)
            if first is None or last is None or first.low is None or last.high is None:
                continue
            if first.end == len(one) and first.low < last.high:
                end = match.start("two") + last.end
                return _Found(start=match.start(), end=end, low=first.low, high=last.high)
    return None


def _named(text: str, clock: _Clock) -> _Found | None:
    """A time at the very beginning of a text."""
    found = _first(f"{_ON}{text}", clock)
    if found is None or found.start:
        return None
    return replace(found, end=found.end - len(_ON))


def _read(match: re.Match[str], clock: _Clock, text: str) -> _Found | None:
    said = {name: value.lower() for name, value in match.groupdict().items() if value}
    how = said.pop("how", "")
    found = _Found(start=match.start(), end=match.end())
    if "release" in said:
        side = {"before": "before", "until": "before", "till": "before", "since": "since", "after": "since"}
        if how not in side:
            return None
        return replace(found, release=" ".join(said["release"].split()), side=side[how])
    if said.get("named") == "today" and not how and not _at_an_end(match, text):
        return None
    try:
        span = next(reading(said, clock) for name, reading in _READINGS.items() if name in said)
    except (ValueError, OverflowError):
        return None
    if span is None or span[0].year < YEAR_MIN:
        return None
    low, high = span
    if how in {"since", "after"}:
        return replace(found, low=low if how == "since" else high)
    if how in {"before", "until", "till"}:
        return replace(found, high=low if how == "before" else high)
    return replace(found, low=low, high=high)


def _at_an_end(match: re.Match[str], text: str) -> bool:
    """In the middle of a question ``today`` may be the name of a button."""
    return not text[: match.start()].strip() or not text[match.end() :].strip(" ?.!")


def _named_day(said: Mapping[str, str], clock: _Clock) -> Span:
    back = {"today": 0, "yesterday": 1}.get(said["named"], 2)
    first = clock.today - timedelta(days=back)
    return clock.days(first, first + timedelta(days=1))


def _ago(said: Mapping[str, str], clock: _Clock) -> Span:
    count, unit = _count(said["ago"]), said["unit"]
    if unit in {"minute", "hour"}:
        width = timedelta(**{f"{unit}s": 1})
        return clock.now - count * width - width / 2, clock.now - count * width + width / 2
    day = _back(clock.today, count, unit)
    return clock.days(day - timedelta(days=HALF[unit]), day + timedelta(days=HALF[unit] + 1))


def _rolling(said: Mapping[str, str], clock: _Clock) -> Span:
    """From the beginning of the first day on: nobody means a minute of it."""
    count, unit = _count(said["rolling"]), said["unit"]
    if unit in {"minute", "hour"}:
        return clock.now - timedelta(**{f"{unit}s": count}), clock.now
    return clock.midnight(_back(clock.today, count, unit)), clock.midnight(clock.today + timedelta(days=1))


def _whole(said: Mapping[str, str], clock: _Clock) -> Span:
    today, unit = clock.today, said["whole"]
    start = {
        "week": today - timedelta(days=today.weekday()),
        "month": today.replace(day=1),
        "year": today.replace(month=1, day=1),
    }[unit]
    if said["which"] != "this":
        return clock.days(_back(start, 1, unit), start)
    return clock.days(start, _back(start, -1, unit))


def _weekday(said: Mapping[str, str], clock: _Clock) -> Span:
    back = (clock.today.weekday() - WEEKDAYS.index(said["weekday"]) - 1) % 7 + 1
    first = clock.today - timedelta(days=back)
    return clock.days(first, first + timedelta(days=1))


def _month(said: Mapping[str, str], clock: _Clock) -> Span | None:
    month = MONTHS.index(said["month"]) + 1
    day = int(said.get("day", 1))
    if "year" in said:
        start = date(int(said["year"]), month, day)
    else:
        start = date(clock.today.year, month, day)
        if start > clock.today:
            start = date(clock.today.year - 1, month, day)
    return clock.days(start, start + timedelta(days=1) if "day" in said else _back(start, -1, "month"))


def _iso(said: Mapping[str, str], clock: _Clock) -> Span:
    if len(said["iso"]) == len("2026-11"):
        start = date.fromisoformat(said["iso"] + "-01")
        return clock.days(start, _back(start, -1, "month"))
    start = date.fromisoformat(said["iso"])
    return clock.days(start, start + timedelta(days=1))


def _year(said: Mapping[str, str], clock: _Clock) -> Span | None:
    year = int(said["year"])
    return clock.days(date(year, 1, 1), date(year + 1, 1, 1)) if year <= clock.today.year else None


_READINGS: Mapping[str, Callable[[Mapping[str, str], _Clock], Span | None]] = {
    "named": _named_day,
    "ago": _ago,
    "rolling": _rolling,
    "whole": _whole,
    "weekday": _weekday,
    "month": _month,
    "iso": _iso,
    "year": _year,
}
"""How each form is read, by the group that only it has; a month may stand beside a year."""


def _count(text: str) -> int:
    return NUMBERS.get(text) or int(text)


def _back(day: date, count: int, unit: str) -> date:
    """A day so many units before another; where a month is too short, its last day."""
    if unit in DAYS:
        return day - timedelta(days=count * DAYS[unit])
    months = day.year * 12 + day.month - 1 - count * (12 if unit == "year" else 1)
    first = date(months // 12, months % 12 + 1, 1)
    last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return first.replace(day=min(day.day, last.day))
