"""Dates: days of the Gregorian calendar as whole numbers, counted from 1970-01-01.

The state machine counts in days and seconds; people write «2027-01-01» (ISO 8601). No time
zone here: which second a day begins at is the time zone's.
"""

from __future__ import annotations

#: Days of 400 years, after which the calendar repeats; of 100, 4 and 1, of which the last may have one more.
_CYCLE, _CENTURY, _OLYMPIAD, _YEAR = 146_097, 36_524, 1_461, 365
#: From 0000-03-01, where the counting below begins, to 1970-01-01.
_EPOCH = 719_468
_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def day_of(text: str) -> int | None:
    """Days from 1970-01-01 to «YYYY-MM-DD»; None if the calendar has no such day, or the text another form."""
    parts = text.split("-")
    if [len(part) for part in parts] != [4, 2, 2] or not all(part.isascii() and part.isdigit() for part in parts):
        return None
    year, month, day = (int(part) for part in parts)
    if not (1 <= month <= 12 and 1 <= day <= _length(year, month)):
        return None
    # Years begin in March, so that the day that comes and goes is the last one.
    year -= month < 3
    era, of_era = divmod(year, 400)
    of_year = _days_before((month - 3) % 12) + day - 1
    return era * _CYCLE + of_era * _YEAR + of_era // 4 - of_era // 100 + of_year - _EPOCH


def date_of(day: int) -> str:
    """«YYYY-MM-DD» of a day counted from 1970-01-01; of the years 0 to 9999."""
    era, rest = divmod(day + _EPOCH, _CYCLE)
    century = min(rest // _CENTURY, 3)
    rest -= century * _CENTURY
    olympiad, rest = divmod(rest, _OLYMPIAD)
    last = min(rest // _YEAR, 3)
    rest -= last * _YEAR
    month = max(number for number in range(12) if _days_before(number) <= rest)
    year = era * 400 + century * 100 + olympiad * 4 + last + (month >= 10)
    return f"{year:04}-{(month + 2) % 12 + 1:02}-{rest - _days_before(month) + 1:02}"


def _days_before(month: int) -> int:
    """Days from 1 March to the first of the month so many months later."""
    return sum(_LENGTHS[(2 + number) % 12] for number in range(month))


def _length(year: int, month: int) -> int:
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return _LENGTHS[month - 1] + leap
