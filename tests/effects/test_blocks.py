"""Blocks: the event's actions come in the order of the file, conditions as the facts say."""

from typing import Any

import pytest

from meshnode.effects import Blocks, Calendar, Facts
from meshnode.effects.blocks import holds
from zencode.binding import Statement
from zencode.catalogue import ids
from zencode.languages import Phase
from zencode.reader import read
from zencode.sentences import SENTENCES

HEAD = """Rule language 'en'
Rule binding version 1
Scenario 'market': Palm Bay
Given the currency is 'EUR'
And the settlement period is 15 minutes
"""
# Rome in 2026: summer time until 25 October, 01:00 UTC.
ROME = ((0, 3600), (1_774_746_000, 7200), (1_792_890_000, 3600))
MONDAY = 1_789_948_800  # 2026-09-21, midnight UTC, 02:00 in Rome


def blocks(text: str, zone: Any = ROME) -> Blocks:
    binding = read(HEAD + text)
    return Blocks(binding, Calendar(binding, zone))


def prices(found: Blocks, facts: Facts) -> list[tuple[int, Any]]:
    return [(one.id, one.slots) for one in found.at(ids.ORDER, facts).actions]


def test_the_first_refusal_stops() -> None:
    found = blocks(
        """When a member places an order
Then refuse prices above 0.40 EUR/kWh
If the order sells
Then refuse the order
EndIf
When a member places an order
Then refuse orders larger than 5 kWh
"""
    )
    sale = found.at(ids.ORDER, Facts(is_sale=True))
    assert sale.refused and [one.id for one in sale.actions] == [ids.CAP, ids.REFUSE_ORDER]
    bid = found.at(ids.ORDER, Facts(is_sale=False))
    assert not bid.refused and [one.id for one in bid.actions] == [ids.CAP, ids.MAX_ORDER]


def test_what_nobody_knows_is_said_and_passed_over() -> None:
    found = blocks(
        """When a member places an order
If the balance of the member is below 10 EUR
Then refuse the order
EndIf
"""
    )
    assert found.at(ids.ORDER, Facts(balance_u=20_000_000)) == found.at(ids.LEAVE, Facts())
    assert found.at(ids.ORDER, Facts(balance_u=9_000_000)).refused
    unknown = found.at(ids.ORDER, Facts())
    assert not unknown.actions and [one.id for one in unknown.unknown] == [ids.BALANCE_BELOW]


def test_an_answer_that_says_no_needs_no_other() -> None:
    found = blocks(
        """When a member places an order
If the order sells
And the balance of the member is below 10 EUR
Then refuse the order
EndIf
"""
    )
    assert found.at(ids.ORDER, Facts(is_sale=False)).unknown == ()


def test_events_with_other_values_are_other_events() -> None:
    found = blocks(
        """Given there is a role 'electrician'
When a meter is silent for 30 minutes
Then warn 'electrician'
When a meter is silent for 2 hours
Then warn 'community'
"""
    )
    assert [one.slots for one in found.events(ids.METER_SILENT)] == [(1800,), (7200,)]
    assert [one.slots for one in found.at(ids.METER_SILENT, Facts(), 1800).actions] == [("electrician",)]
    assert found.at(ids.METER_SILENT, Facts(), 900).actions == ()


@pytest.mark.parametrize(
    ("utc_s", "inside"),
    [
        (MONDAY + 15 * 3600 - 1, False),
        (MONDAY + 15 * 3600, True),  # 17:00 in Rome
        (MONDAY + 19 * 3600 - 1, True),
        (MONDAY + 19 * 3600, False),
        # After the clocks went back: 17:00 is an hour later in UTC.
        (MONDAY + 42 * 86_400 + 15 * 3600, False),
        (MONDAY + 42 * 86_400 + 16 * 3600, True),
    ],
)
def test_a_band_runs_in_local_time(utc_s: int, inside: bool) -> None:
    found = blocks(
        """And the band 'evening' runs from 17:00 to 21:00
When a member places an order
If the time is in band 'evening'
Then refuse the order
EndIf
"""
    )
    assert found.at(ids.ORDER, Facts(time_s=utc_s)).refused == inside


def test_a_band_over_midnight_belongs_to_the_day_on_which_it_began() -> None:
    binding = read(HEAD + "And the band 'weekend night' runs from 22:00 to 06:00 on 'Saturday and Sunday'\n")
    calendar = Calendar(binding, ())
    saturday = MONDAY + 5 * 86_400
    at = {
        "Friday 23:00": saturday - 3600,
        "Saturday 05:00": saturday + 5 * 3600,
        "Saturday 23:00": saturday + 23 * 3600,
        "Sunday 05:00": saturday + 29 * 3600,
        "Monday 05:00": saturday + 53 * 3600,
        "Monday 06:00": saturday + 54 * 3600,
        "Monday 23:00": saturday + 71 * 3600,
    }
    inside = [name for name, utc_s in at.items() if calendar.in_band("weekend night", utc_s)]
    assert inside == ["Saturday 23:00", "Sunday 05:00", "Monday 05:00"]
    assert not calendar.in_band("siesta", saturday)


def test_every_condition_of_the_catalogue_is_answered_and_can_be_unknown() -> None:
    known = Facts(
        time_s=0,
        roles=frozenset(),
        credentials=frozenset(),
        substations=frozenset(),
        shared_ppm=0,
        grid_price_u_kwh=0,
        balance_u=0,
        units={},
        charge_ppm={"Bay Battery": 500_000},
        is_sale=True,
    )
    calendar = Calendar(read(HEAD), ())
    for row in SENTENCES:
        if row.phase is Phase.IF:
            one = Statement(row.id, row.example)
            assert holds(one, Facts(), calendar) is None, row.name
            assert holds(one, known, calendar) is not None, row.name
