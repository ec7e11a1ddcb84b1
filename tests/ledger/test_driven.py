"""Prices that a feed drives: what it says when a period begins holds for it, whatever comes later."""

from __future__ import annotations

from unittest import mock

from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from meshnode.machine import PeriodClosed, PeriodCorrected
from meshnode.settlement import driven
from meshnode.settlement.posting import GRID_ACCOUNT
from protocols.block import SignedRecord
from protocols.records import DRIVES_GRID_PRICE, DRIVES_NOTHING, DRIVES_PRICE_CAP
from tests.ledger import feeds
from tests.ledger.chain import PERIOD_S, Chain, period_s
from tests.ledger.tokens import HOUR_S

ACCEPTED = Verdict.ACCEPTED
HOMES = ("anna", "bela", "carla")
# The preset's, per kWh: what the grid costs, and the most of an order.
FIXED, FIXED_CAP = 300_000, 290_000
SPOT = 120_000


class Village:
    """Three homes that use 1000 Wh of the grid in every period."""

    def __init__(self, drives: int = DRIVES_GRID_PRICE, **feed: int) -> None:
        self.chain = Chain()
        self.counted = dict.fromkeys(HOMES, 10_000)
        self.chain.block(*(self.chain.reading(home, -1, 10_000) for home in HOMES))
        assert self.chain.say(feeds.define(self.chain, drives=drives, **({"low": 0} | feed))) == ACCEPTED

    def agree(self, price_u_kwh: int, period: int, time_s: int | None = None) -> None:
        """Two report what holds from a period's beginning on, in a block of its own."""
        at_s = period_s(period)
        said = [feeds.value(self.chain, home, price_u_kwh, at_s) for home in ("anna", "bela")]
        assert self.chain.say(*said, time_s=time_s) == [ACCEPTED] * 2

    def close(self, period: int, *late: str) -> PeriodClosed:
        """A period ends; everybody reports but who is late."""
        for home in HOMES:
            self.counted[home] += 1_000
        records = [self.reading(home, period) for home in HOMES if home not in late]
        self.chain.block(*records, time_s=period_s(period + 1) + (130 if late else 1))
        return self.event(PeriodClosed)

    def reading(self, home: str, period: int, **changes: int) -> SignedRecord:
        return self.chain.reading(home, period, self.counted[home], **changes)

    def event(self, kind: type[PeriodClosed] | type[PeriodCorrected]) -> PeriodClosed | PeriodCorrected:
        (found,) = [one for one in self.chain.events[self.chain.machine.height] if isinstance(one, kind)]
        return found


def grid_prices(event: PeriodClosed | PeriodCorrected) -> set[int]:
    """What energy of the grid cost, by the postings themselves."""
    postings = event.settlement.postings
    return {one.price_u_kwh for one in postings if one.credit == GRID_ACCOUNT}


def test_a_period_costs_what_the_feed_said_when_it_began_and_else_what_is_fixed() -> None:
    village = Village()
    assert grid_prices(village.close(0)) == {FIXED}
    village.agree(SPOT, 2)
    assert grid_prices(village.close(1)) == {FIXED}
    assert grid_prices(village.close(2)) == {SPOT}
    # It is fresh for an hour: the periods that begin until then, and no more.
    assert [grid_prices(village.close(period)) for period in (3, 4, 5, 6, 7)] == [{SPOT}] * 4 + [{FIXED}]
    village.agree(90_000, 9)
    assert [grid_prices(village.close(period)) for period in (8, 9)] == [{FIXED}, {90_000}]


def test_what_is_agreed_when_a_period_has_begun_is_too_late_for_it() -> None:
    """Also when one block alone sees the period begin and end."""
    village = Village()
    village.close(0)
    village.chain.block(time_s=period_s(1) + 60)
    village.agree(SPOT, 1)
    assert grid_prices(village.close(1)) == {FIXED}
    # The next one begins with what was agreed by then.
    assert grid_prices(village.close(2)) == {SPOT}
    said = [feeds.value(village.chain, home, 77_000, period_s(3)) for home in ("anna", "bela")]
    for home in HOMES:
        village.counted[home] += 1_000
    readings = [village.reading(home, 3) for home in HOMES]
    village.chain.block(*said, *readings, time_s=period_s(4) + 1)
    assert grid_prices(village.event(PeriodClosed)) == {SPOT}


def test_a_correction_finds_the_price_whatever_became_of_the_feed() -> None:
    """Carla's reading comes late, when the feed drives nothing any more and has forgotten what it said."""
    village = Village()
    village.agree(SPOT, 1)
    village.close(0)
    assert grid_prices(village.close(1, "carla")) == {SPOT}
    chain = village.chain
    assert chain.say(feeds.define(chain, drives=DRIVES_NOTHING)) == ACCEPTED
    with mock.patch("meshnode.ledger.feeds.MAX_TIMES_PER_FEED", 1):
        village.agree(5, 3)
    assert len(chain.machine.state.agreed) == 1
    village.counted["carla"] += 600
    assert chain.say(village.reading("carla", 1)) == ACCEPTED
    corrected = village.event(PeriodCorrected)
    assert grid_prices(corrected) == {SPOT}
    assert isinstance(corrected, PeriodCorrected)
    assert {one.price_u_kwh for one in corrected.postings if GRID_ACCOUNT in (one.debit, one.credit)} == {SPOT}


def test_the_administrator_changes_who_says_it_from_the_next_period_on() -> None:
    village = Village()
    village.agree(SPOT, 1)
    village.close(0)
    chain = village.chain
    chain.block(time_s=period_s(1) + 10)
    assert chain.say(feeds.define(chain, drives=DRIVES_NOTHING)) == ACCEPTED
    assert chain.say(feeds.define(chain, feed="spot", drives=DRIVES_GRID_PRICE)) == ACCEPTED
    assert grid_prices(village.close(1)) == {SPOT}
    assert grid_prices(village.close(2)) == {FIXED}


def test_a_price_below_nothing_turns_the_payment_around() -> None:
    village = Village(low=-500_000)
    village.agree(-40_000, 1)
    village.close(0)
    closed = village.close(1)
    assert {one.price_u_kwh for one in closed.settlement.postings if one.debit == GRID_ACCOUNT} == {-40_000}


def test_an_order_is_held_to_the_cap_that_is_expected_and_trades_within_the_one_that_came() -> None:
    """Bela bids 0.25 and Carla asks 0.20, as was allowed; when the period begins the cap is 0.18: nobody sells above
    it. Anna asks 0.15 and gets what a cap allows.
    """
    village = Village(DRIVES_PRICE_CAP)
    chain = village.chain
    assert chain.say(chain.bid("bela", 2, 500, FIXED_CAP + 1)) == Verdict.PRICE_ABOVE_CAP
    village.agree(260_000, 1)
    assert chain.say(chain.bid("bela", 2, 500, 260_001)) == Verdict.PRICE_ABOVE_CAP
    orders = [chain.bid("bela", 2, 800, 250_000), chain.offer("carla", 2, 400, 200_000)]
    assert chain.say(*orders, chain.offer("anna", 2, 400, 150_000)) == [ACCEPTED] * 3
    # Nearer to the time the feeders know better.
    village.agree(180_000, 2)
    village.close(0)
    village.close(1)
    row = chain.machine.state.period_prices[period_s(2), DRIVES_PRICE_CAP]
    assert (row.price_u_kwh, row.feed, row.since_s) == (180_000, "price", period_s(2))
    closed = village.close(2)
    (trade,) = closed.trades
    assert trade.energy_wh == 400 and 150_000 <= trade.price_u_kwh <= 180_000
    fills = {order_id: traded for order_id, _, traded in closed.fills}
    assert sorted(fills.values()) == [0, 400, 400] and len(fills) == 3


def test_what_was_written_down_goes_when_the_period_is_final() -> None:
    village = Village(stale_s=31 * 86_400)
    village.agree(SPOT, 1)
    for period in range(3):
        village.close(period)
    state = village.chain.machine.state
    kept = [start_s for (start_s, _), _ in state.period_prices.items()]
    # The one that runs has its price already.
    assert kept == [period_s(period) for period in (1, 2, 3)]
    assert State.restore(state.dump()).state_hash() == state.state_hash()
    village.chain.block(time_s=period_s(0) + PERIOD_S + 2 * 86_400 + HOUR_S)
    kept = [start_s for (start_s, _), _ in state.period_prices.items()]
    assert kept and min(kept) >= state.meta.row.next_final_s > period_s(2)


def test_every_machine_finds_the_same_prices() -> None:
    village = Village()
    for period in range(3):
        village.agree(SPOT + 1_000 * period, period + 1)
        village.close(period)
    other = village.chain.replay()
    for block in village.chain.blocks:
        other.apply(block)
    assert other.state_hash() == village.chain.machine.state_hash()
    now = driven.price(other.state, period_s(3), DRIVES_GRID_PRICE, other.time_s)
    assert now is not None and now.price_u_kwh == SPOT + 2_000
