"""Cycles: months of a calendar and stretches of seconds, in local time."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as some

from meshnode.local_time import DAY_S, cycle_of, date_of, day_of, later, month_of, spelled

# Rome in 2026: summer time from 29 March to 25 October, each at 01:00 UTC.
ROME = ((0, 3600), (1_774_746_000, 7200), (1_792_890_000, 3600))
EPOCH = date(1970, 1, 1)


@given(some.dates())
def test_a_day_and_its_date_are_the_calendar_s(day: date) -> None:
    number = (day - EPOCH).days
    assert date_of(number) == (day.year, day.month, day.day) and day_of(day.year, day.month, day.day) == number


def at(text: str) -> int:
    """A UTC second of 2026 by its local time in Rome."""
    [found] = [utc_s for utc_s in candidates(text) if spelled(ROME, utc_s).startswith(text)]
    return found


def candidates(text: str) -> list[int]:
    year, month, day = (int(part) for part in text[:10].split("-"))
    hour, minute = (int(part) for part in text[11:16].split(":"))
    local_s = (date(year, month, day) - EPOCH) // timedelta(days=1) * DAY_S + hour * 3600 + minute * 60
    return [local_s - 3600, local_s - 7200]


def test_a_month_later_it_is_the_same_hour_of_the_clock() -> None:
    assert later(ROME, at("2026-03-15 12:00"), 1, 0) == at("2026-04-15 12:00")
    assert later(ROME, at("2026-10-01 00:30"), 1, 0) == at("2026-11-01 00:30")
    assert later(ROME, at("2026-01-31 08:00"), 1, 0) == at("2026-02-28 08:00"), "February has no 31st"
    assert later(ROME, at("2026-01-31 08:00"), 11, 0) == at("2026-12-31 08:00")
    assert later(ROME, at("2026-03-28 12:00"), 0, 86_400) == at("2026-03-28 12:00") + 86_400


def test_months_begin_at_local_midnight() -> None:
    begin, end = month_of(ROME, at("2026-10-20 12:00"))
    assert (begin, end) == (at("2026-10-01 00:00"), at("2026-11-01 00:00"))
    assert end - begin == 31 * DAY_S + 3600, "the clocks went back"
    assert month_of(ROME, begin) == (begin, end) and month_of(ROME, begin - 1)[1] == begin


def test_cycles_are_counted_in_local_time() -> None:
    last, first = at("2026-06-30 23:59"), at("2026-07-01 00:00")
    assert cycle_of(ROME, first, 1, 0) == cycle_of(ROME, last, 1, 0) + 1
    assert cycle_of(ROME, first, 12, 0) == cycle_of(ROME, last, 12, 0)
    assert cycle_of(ROME, first, 0, DAY_S) == cycle_of(ROME, last, 0, DAY_S) + 1
    assert cycle_of(ROME, first - 3600, 0, 3600) == cycle_of(ROME, last, 0, 3600)
