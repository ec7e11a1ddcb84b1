"""Dates: the calendar of the standard library, without it."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zencode.dates import date_of, day_of
from zencode.kinds import DATE

EPOCH = date(1970, 1, 1)


@given(st.dates())
def test_days_are_those_of_the_calendar(day: date) -> None:
    count = (day - EPOCH).days
    assert day_of(day.isoformat()) == count
    assert date_of(count) == day.isoformat()


def test_every_day_of_four_centuries_follows_the_one_before() -> None:
    first = date(1999, 1, 1)
    for count in range(146_097):
        assert date_of((first - EPOCH).days + count) == (first + timedelta(days=count)).isoformat()


@pytest.mark.parametrize(
    "text", ["2027-02-29", "2100-02-29", "2027-13-01", "2027-00-10", "2027-01-32", "2027-1-1", "27-01-01", "", "a-b-c"]
)
def test_what_is_no_day_is_none(text: str) -> None:
    assert day_of(text) is None


def test_a_binding_names_the_days_of_two_centuries() -> None:
    assert (date_of(DATE.least), date_of(DATE.most)) == ("2000-01-01", "2199-12-31")
