"""Living prices: whatever is reported, defined or corrected, a period costs what was said when it began.

And whatever was ordered before, nobody trades outside what the law, and a feed, allow then.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from meshnode.market import Band
from meshnode.settlement import driven
from meshnode.settlement.driven import likely
from tests.ledger.lives import all_met, bug_is_found, live
from tests.ledger.living_caps import CapRules
from tests.ledger.living_prices import PriceRules

OPERATIONS = 50
# The life without prices has the profile's examples; these have a quarter of them.
PART = 4
_EXPECTED = driven.expected


def test_no_period_costs_anything_else_than_what_was_said_when_it_began() -> None:
    done, noticed = live(PriceRules, OPERATIONS, PART)
    all_met(done, "FeedDefine ACCEPTED", "FeedValue ACCEPTED", "FeedValue VALUE_STALE", "FeedValue VALUE_AGREED")
    all_met(done, "CapSet ACCEPTED", "CapSet BACKWARDS", "Order ACCEPTED")
    all_met(done, "Order PRICE_ABOVE_CAP", "Order PRICE_BELOW_FLOOR")
    assert "120 minutes" in PriceRules.binding
    all_met(noticed, "PeriodClosed by feed", "PeriodClosed fixed", "PeriodCorrected by feed", "PeriodCorrected fixed")
    all_met(noticed, "gone as outside", "traded under a cap", "traded at the cap")


def test_nothing_stands_or_trades_outside_the_law_of_its_time() -> None:
    done, noticed = live(CapRules, OPERATIONS, PART)
    all_met(done, "CapSet ACCEPTED", "CapSet BACKWARDS", "AuctionBid ACCEPTED", "AuctionBid PRICE_ABOVE_CAP")
    all_met(noticed, "an order went", "a bid went", "traded under a law")


@pytest.mark.parametrize(
    ("place", "broken"),
    [
        ("driven.begin", lambda state, start_s: None),
        ("driven.tariff", lambda state, start_s, fixed: likely(state, start_s, fixed, 0)),
        ("driven.expected", lambda state, start_s, drives: _EXPECTED(state, start_s + 1, drives)),
        ("driven.finish", lambda state, start_s: None),
        ("driven.within", lambda state, start_s, orders: list(orders)),
        ("closing.parameters.caps", lambda state, at_s: (None, None)),
    ],
    ids=[
        "nothing is written down",
        "what is said later counts",
        "a value of the next second counts",
        "what is final is kept",
        "a cap that came is not heeded",
        "the law is not heeded",
    ],
)
def test_a_bug_in_the_prices_is_found(place: str, broken: Callable[..., object]) -> None:
    bug_is_found(PriceRules, OPERATIONS, f"meshnode.settlement.{place}", broken)


@pytest.mark.parametrize(
    ("place", "broken"),
    [
        ("meshnode.machine.auctions.keep_within", lambda state, moment, band_of: None),
        ("meshnode.execution.floor.Floor.keep_within", lambda floor, moment, band_of: None),
        ("meshnode.execution.auctions.band_of", lambda call, asset, paid_with: Band()),
        ("meshnode.settlement.parameters.cap_begins", lambda state, after_s, until_s: False),
    ],
    ids=[
        "auctions go on as they were",
        "orders rest on",
        "anything may be bid",
        "nobody looks when it begins",
    ],
)
def test_a_bug_in_the_law_is_found(place: str, broken: Callable[..., object]) -> None:
    bug_is_found(CapRules, OPERATIONS, place, broken)
