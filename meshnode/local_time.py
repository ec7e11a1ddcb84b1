"""Local time: which local day and month a period belongs to, from UTC and a table of offsets.

Periods are counted in UTC, so a local day has 23, 24 or 25 hours of them; only where a rule
or a screen speaks of days and months is the offset looked up. Two hours that a clock shows twice
stay two hours. Nothing here knows a time zone: the table comes with the genesis or from the caller.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

DAY_S: Final = 86_400

# The Gregorian calendar repeats after 400 years; counting them from a 1 March puts the leap day last.
_ERA_YEARS: Final = 400
_ERA_DAYS: Final = 146_097
_MARCH_BEFORE_EPOCH: Final = 719_468

Zone = Sequence[tuple[int, int]]
"""(from which UTC second on, offset in seconds), ascending; before the first one its offset holds too."""


def offset_s(zone: Zone, utc_s: int) -> int:
    """How many seconds local time is ahead of UTC; 0 without a table."""
    if not zone:
        return 0
    place = bisect_right(zone, utc_s, key=lambda change: change[0])
    return zone[max(0, place - 1)][1]


def local_day(zone: Zone, utc_s: int) -> int:
    """The local day, counted from 1970-01-01."""
    return (utc_s + offset_s(zone, utc_s)) // DAY_S


def by_day(zone: Zone, starts_s: Iterable[int]) -> dict[int, list[int]]:
    """Periods by the local day that they begin on, both in order."""
    days: dict[int, list[int]] = {}
    for start_s in sorted(starts_s):
        days.setdefault(local_day(zone, start_s), []).append(start_s)
    return days


def date_of(day: int) -> tuple[int, int, int]:
    """(year, month, day) of a day counted from 1970-01-01, in the Gregorian calendar."""
    era, day_of_era = divmod(day + _MARCH_BEFORE_EPOCH, _ERA_DAYS)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    # Months from March on have 31, 30, 31, 30, 31 days, twice and a bit: 153 days in five of them.
    from_march = (5 * day_of_year + 2) // 153
    month = from_march + 3 if from_march < 10 else from_march - 9
    year = era * _ERA_YEARS + year_of_era + (1 if month <= 2 else 0)
    return year, month, day_of_year - (153 * from_march + 2) // 5 + 1


def local_month(zone: Zone, utc_s: int) -> tuple[int, int]:
    """(year, month) of the local day."""
    return date_of(local_day(zone, utc_s))[:2]


def spelled(zone: Zone, utc_s: int) -> str:
    """Local time with its offset, by which the doubled hour of autumn can be told apart: `2026-10-25 02:15+01:00`."""
    offset = offset_s(zone, utc_s)
    day, second = divmod(utc_s + offset, DAY_S)
    year, month, day_of_month = date_of(day)
    sign, ahead = ("-", -offset) if offset < 0 else ("+", offset)
    clock = f"{second // 3600:02}:{second // 60 % 60:02}"
    return f"{year:04}-{month:02}-{day_of_month:02} {clock}{sign}{ahead // 3600:02}:{ahead // 60 % 60:02}"
