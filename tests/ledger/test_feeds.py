"""Feeds: values from outside on which enough named members agree, as stories; and the median that they agree by."""

from __future__ import annotations

from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.amounts import PPM
from meshnode.ledger import feeds as ledger
from meshnode.ledger import installations
from meshnode.ledger.feed_rows import Agreed
from meshnode.ledger.state import State
from meshnode.ledger.tables import Table
from meshnode.ledger.verdicts import Verdict
from protocols.records import DRIVES_GRID_CARBON
from tests.ledger import feeds, origin
from tests.ledger.chain import Chain, account, period_s
from tests.ledger.tokens import HOUR_S

ACCEPTED = Verdict.ACCEPTED


def now(chain: Chain, feed: str = "price") -> int | None:
    """What a feed says at the time of the last block."""
    found = ledger.current(chain.machine.state, feed, chain.now_s)
    return None if found is None else found[1].value


def test_one_alone_says_nothing_two_who_agree_do_and_a_liar_is_ignored() -> None:
    chain = Chain()
    chain.block(feeds.define(chain))
    at_s = chain.now_s
    assert chain.say(feeds.value(chain, "anna", 300_000, at_s)) == ACCEPTED and now(chain) is None
    assert chain.say(feeds.value(chain, "bela", 900_000, at_s)) == ACCEPTED and now(chain) is None
    assert chain.say(feeds.value(chain, "carla", 310_000, at_s)) == ACCEPTED
    assert now(chain) == 300_000
    (row,) = [row for _, row in chain.machine.state.agreed.items()]
    assert row.agreeing == 2


def test_what_is_stale_is_not_said_any_more() -> None:
    chain = Chain()
    chain.block(feeds.define(chain))
    at_s = chain.now_s
    chain.block(*(feeds.value(chain, home, 300_000, at_s) for home in ("anna", "bela")))
    assert now(chain) == 300_000
    chain.block(time_s=at_s + HOUR_S)
    assert now(chain) == 300_000
    chain.block(time_s=at_s + HOUR_S + 1)
    assert now(chain) is None


def test_a_value_for_tomorrow_holds_from_tomorrow_on() -> None:
    chain = Chain()
    chain.block(feeds.define(chain))
    later_s = chain.now_s + 2 * HOUR_S
    chain.block(*(feeds.value(chain, home, 250_000, later_s) for home in ("anna", "bela")))
    assert now(chain) is None
    chain.block(time_s=later_s)
    assert now(chain) == 250_000


def test_who_is_named_no_longer_is_not_heard_and_what_was_agreed_stands() -> None:
    chain = Chain()
    chain.block(feeds.define(chain))
    at_s = chain.now_s
    chain.block(*(feeds.value(chain, home, 300_000, at_s) for home in ("anna", "bela")))
    assert chain.say(feeds.define(chain, feeders=(account("carla"),), needed=1)) == ACCEPTED
    assert chain.say(feeds.value(chain, "anna", 5)) == Verdict.NOT_A_FEEDER
    assert now(chain) == 300_000
    assert chain.say(feeds.value(chain, "carla", 7)) == ACCEPTED and now(chain) == 7


def test_only_an_administrator_names_feeds_and_feeders_are_members() -> None:
    chain = Chain()
    assert chain.say(feeds.define(chain, by="bela")) == Verdict.NOT_ADMINISTRATOR
    assert chain.say(feeds.define(chain, feeders=(bytes(16),), needed=1)) == Verdict.UNKNOWN_ACCOUNT


def test_the_co2_of_the_grid_comes_from_a_feed_as_long_as_it_is_fresh() -> None:
    """An administrator's 400 g hold again as soon as the feed falls silent."""
    chain = Chain()
    grams = {"feed": "co2", "unit": "g/kWh", "low": 0, "high": 2000, "drives": DRIVES_GRID_CARBON}
    chain.block(feeds.define(chain, **grams), origin.grid_carbon(chain, 400, 1))
    at_s = period_s(2)
    said = chain.say(*(feeds.value(chain, home, 150, at_s, "co2") for home in ("anna", "bela")))
    assert said == [ACCEPTED] * 2
    found = [installations.grid_carbon(chain.machine.state, 0, period_s(period), -1) for period in (0, 1, 2, 5, 6, 7)]
    assert found == [-1, 400, 150, 150, 400, 400]


def test_the_state_keeps_a_bounded_number_of_times() -> None:
    chain = Chain()
    chain.block(feeds.define(chain))
    with mock.patch("meshnode.ledger.feeds.MAX_TIMES_PER_FEED", 3):
        for number in range(6):
            at_s = chain.now_s + number
            chain.block(*(feeds.value(chain, home, number, at_s) for home in ("anna", "bela")))
    state = chain.machine.state
    assert len(state.agreed) == 3 and len(state.reports) == 6
    assert [row.value for _, row in state.agreed.items()] == [3, 4, 5]


@given(st.dictionaries(st.integers(0, 60), st.integers(0, 9), max_size=20), st.sets(st.integers(0, 60)))
def test_what_a_feed_says_is_found_without_looking_through_it(said: dict[int, int], gone: set[int]) -> None:
    """Equal to looking at each value in turn, also when some are forgotten; at the cost of a search."""
    state = State()
    for since_s, fresh_s in said.items():
        for feed in ("price", "price of others", "prices"):
            state.agreed.put((feed, since_s), Agreed(since_s * 10 + len(feed), 2, since_s + fresh_s))
    for since_s in gone & said.keys():
        state.agreed.delete(("price", since_s))

    def looked_through(at_s: int) -> tuple[int, Agreed] | None:
        found = None
        for (feed, since_s), row in state.agreed.items():
            if feed == "price" and since_s <= at_s:
                found = since_s, row
        return found if found is not None and at_s <= found[1].until_s else None

    expected = [looked_through(at_s) for at_s in range(75)]
    for one in (state, State.restore(state.dump())):
        with mock.patch.object(Table, "range", side_effect=AssertionError("rows were looked through")):
            assert [ledger.current(one, "price", at_s) for at_s in range(75)] == expected


def test_a_snapshot_carries_feeds() -> None:
    chain = Chain()
    chain.block(feeds.define(chain))
    at_s = chain.now_s
    chain.block(*(feeds.value(chain, home, 300_000, at_s) for home in ("anna", "bela")))
    state = chain.machine.state
    assert State.restore(state.dump()).state_hash() == state.state_hash()


@pytest.mark.parametrize(
    ("values", "needed", "found"),
    [
        ([100], 1, (100, 1)),
        ([100], 2, None),
        ([100, 104], 2, (100, 2)),
        ([100, 106], 2, None),
        ([100, 106, 101], 2, (101, 3)),
        ([100, 107, 101], 2, (100, 2)),
        ([-100, -104, 5], 2, (-104, 2)),
        ([0, 0, 9], 2, (0, 2)),
    ],
)
def test_the_median_of_those_who_agree(values: list[int], needed: int, found: tuple[int, int] | None) -> None:
    assert ledger.agree(values, needed, 50_000) == found


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=16), st.integers(0, PPM))
def test_agreement_is_a_reported_value_whatever_the_order(values: list[int], deviation: int) -> None:
    """With a majority needed, whoever lies alone or in a minority cannot move it beyond what the others said."""
    needed = len(values) // 2 + 1
    found = ledger.agree(values, needed, deviation)
    assert found == ledger.agree(sorted(values), needed, deviation)
    if found is not None:
        assert found[0] in values and found[1] >= needed
