"""A moment in the past as people say it: ``Tuesday 14:00``, ``yesterday 9:30``, ``2 hours ago``, or ISO 8601."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from retain.errors import InvalidInput
from retain.model import read_time
from retain.retrieval.times import NUMBERS, WEEKDAYS

HINT = "say 'Tuesday 14:00', 'yesterday', '2 hours ago', or ISO 8601: 2026-11-23T14:00:00Z"
SECONDS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}

_AGO = re.compile(rf"(\d{{1,5}}|{'|'.join(NUMBERS)})\s+({'|'.join(SECONDS)})s?\s+ago")
_DAY = re.compile(
    rf"(?:last\s+)?(today|yesterday|{'|'.join(WEEKDAYS)})?\s*(?:at\s+)?(?:(\d{{1,2}}):(\d{{2}})(?::(\d{{2}}))?)?"
)


def past_moment(said: str, field: str, now: datetime) -> datetime:
    """The moment that is meant; of a weekday or a time of day, the latest that lies in the past.

    Args:
        said: what was said.
        field: its name in an error.
        now: the present, in the zone of who said it. A time without a zone is in that zone too.

    Raises:
        InvalidInput: no moment, or one in the future.
    """
    text = " ".join(said.lower().split())
    moment = _ago(text, now) or _day(text, now)
    if moment is None:
        moment = _iso(said, field)
        if not re.search(r"(?:z|[+-]\d{2}:?\d{2})$", text):
            moment = moment.replace(tzinfo=now.tzinfo)
    if moment > now:
        raise InvalidInput(field, "lies in the future")
    return moment


def _iso(said: str, field: str) -> datetime:
    try:
        return read_time(said, field)
    except InvalidInput as error:
        raise InvalidInput(field, str(error).removeprefix(f"{field}: "), hint=HINT) from None


def _ago(text: str, now: datetime) -> datetime | None:
    found = _AGO.fullmatch(text)
    if not found:
        return None
    count = NUMBERS.get(found[1]) or int(found[1])
    return now - timedelta(seconds=count * SECONDS[found[2]])


def _day(text: str, now: datetime) -> datetime | None:
    found = _DAY.fullmatch(text)
    if not text or not found:
        return None
    day, hour, minute, second = found[1], *(int(part or 0) for part in found.groups()[1:])
    if hour > 23 or minute > 59 or second > 59:
        return None
    moment = now.replace(hour=hour, minute=minute, second=second, microsecond=0)
    if day in WEEKDAYS:
        moment -= timedelta(days=(now.weekday() - WEEKDAYS.index(day)) % 7)
        return moment if moment <= now else moment - timedelta(days=7)
    if day == "yesterday":
        return moment - timedelta(days=1)
    return moment if day or moment <= now else moment - timedelta(days=1)
