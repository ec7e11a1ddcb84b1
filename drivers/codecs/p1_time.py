"""P1 time: local time stamps `YYMMDDhhmmss[S|W]` to UTC seconds.

The letter says summer or winter time, but meters exist that print a wrong one
all winter; so the calendar decides (summer time of the European Union,
directive 2000/84/EC) and the letter only settles the hour that comes twice.
"""

from __future__ import annotations

import calendar
import re
from datetime import datetime
from typing import Final

CENTRAL_EUROPE_S: Final = 3600  # standard time of NL, BE, LU, HU, AT, CH: UTC + 1 h
_HOUR_S: Final = 3600
_STAMP: Final = re.compile(r"(?P<digits>[0-9]{12})(?P<letter>[SW]?)")


def utc_seconds(stamp: str, standard_offset_s: int = CENTRAL_EUROPE_S) -> int | None:
    """UTC seconds of a P1 time stamp, or None if it is not a valid one.

    Args:
        stamp: as printed; years 70..99 are 1970..1999 (an unset clock shows 1970).
        standard_offset_s: winter time of the place, in seconds east of UTC.
    """
    if (match := _STAMP.fullmatch(stamp)) is None:
        return None
    year, month, day, hour, minute, second = (int(match["digits"][i : i + 2]) for i in range(0, 12, 2))
    try:
        moment = datetime(year + (1900 if year >= 70 else 2000), month, day, hour, minute, second)
    except ValueError:
        return None
    winter = calendar.timegm(moment.timetuple()) - standard_offset_s
    summer = winter - _HOUR_S
    is_summer, is_winter = _in_summer(summer, moment.year), not _in_summer(winter, moment.year)
    if is_summer and is_winter:  # the hour that comes twice, in October
        return summer if match["letter"] == "S" else winter
    return summer if is_summer else winter


def _in_summer(utc_s: int, year: int) -> bool:
    """Whether summer time is in force: last Sunday of March to last Sunday of October, 01:00 UTC."""
    return _last_sunday_0100(year, 3) <= utc_s < _last_sunday_0100(year, 10)


def _last_sunday_0100(year: int, month: int) -> int:
    # Both months have 31 days; weekday() is 6 on a Sunday.
    day = 31 - (datetime(year, month, 31).weekday() + 1) % 7
    return calendar.timegm((year, month, day, 1, 0, 0))
