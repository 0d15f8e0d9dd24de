"""Dates that cannot be: a thirtieth of February, a thirteenth month, a wrong weekday."""

__all__ = ["impossible_dates"]

import calendar
import datetime as dt
import re

_MAX_CHARS = 40_000
_MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_name) if name}
_DAYS = {name.lower(): number for number, name in enumerate(calendar.day_name)}
_MONTH = "|".join(_MONTHS)
_DAY = "|".join(_DAYS)
_ISO = re.compile(r"(?<![\d-])(\d{4})-(\d{2})-(\d{2})(?![\d-])")
_LONG = re.compile(
    rf"\b(?:({_DAY}),? +)?(?:({_MONTH}) +(\d{{1,2}})(?:st|nd|rd|th)?|"
    rf"(\d{{1,2}})(?:st|nd|rd|th)? +(?:of +)?({_MONTH}))(?:,? +(\d{{4}}))?\b",
    re.IGNORECASE,
)
_ANY_LEAP_YEAR = 2000


def impossible_dates(text: str) -> int:
    """Count the dates of a text that no calendar has.

    >>> impossible_dates("on February 30, 2024, not 2024-02-29")
    1
    """
    text = text[:_MAX_CHARS]
    wrong = sum(
        _day_of(int(year), int(month), int(day)) is None for year, month, day in _ISO.findall(text)
    )
    for weekday, month, day, other_day, other_month, year in _LONG.findall(text):
        number = _MONTHS[(month or other_month).lower()]
        found = _day_of(int(year or _ANY_LEAP_YEAR), number, int(day or other_day))
        if found is None or (weekday and year and found != _DAYS[weekday.lower()]):
            wrong += 1
    return wrong


def _day_of(year: int, month: int, day: int) -> int | None:
    """Return the weekday of a date; ``None`` when there is no such day."""
    try:
        return dt.date(year, month, day).weekday()
    except ValueError:
        return None
