"""Order verdicts: for each verdict about orders of assets the shortest story that meets it."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

from meshnode.execution.floor import OrderTraded
from meshnode.execution.orders import terms_hash
from meshnode.ledger.verdicts import Verdict
from protocols.block import SignedRecord
from protocols.records import (
    GOOD_AT_ONCE,
    Order,
    OrderBooked,
    OrderPrepared,
    OrderStep,
    ServiceLevel,
    TradeReversed,
)
from tests.ledger import tokens
from tests.ledger.chain import Chain, account
from tests.ledger.order_stories import EURO, amend, bid, buy, cancel, falling, give, market, rising, sell
from tests.ledger.tokens import DAY_S

Found = Verdict | list[Verdict]
STORIES: dict[Verdict, Callable[[], Found]] = {}


def story(verdict: Verdict) -> Callable[[Callable[[], Found]], object]:
    def tell(function: Callable[[], Found]) -> object:
        assert verdict not in STORIES
        STORIES[verdict] = function
        return function

    return tell


def open_market() -> Chain:
    """Bela has money, carla energy."""
    chain = market()
    give(chain, "bela", 1000, EURO)
    give(chain, "carla", 10, "ENERGY")
    return chain


def prepared(chain: Chain, home: str) -> SignedRecord:
    return chain.speak(home, OrderStep, step=OrderPrepared(attributes=bytes(32)))


def booked(chain: Chain, home: str, before: SignedRecord, order: SignedRecord) -> SignedRecord:
    assert isinstance(order.record, Order)
    step = OrderBooked(prepared=before.record_id, terms=terms_hash(order.record))
    return chain.speak(home, OrderStep, step=step)


def undo(chain: Chain, home: str, height: int, number: int = 0) -> SignedRecord:
    return chain.speak(home, OrderStep, step=TradeReversed(height=height, number=number))


def traded(chain: Chain) -> int:
    """Carla sells bela 2 at 100; the height at which."""
    chain.block(sell(chain, "carla", 2, 100), buy(chain, "bela", 2, 100))
    height = chain.machine.height
    assert any(isinstance(event, OrderTraded) for event in chain.events[height])
    return height


@story(Verdict.PRICE_OFF_TICK)
def _() -> Found:
    """For nothing, and for a unit of money for three units; so too where it is amended, or for a partner."""
    chain = open_market()
    placed = sell(chain, "carla", 1, 100)
    chain.block(placed)
    off = chain.speak(
        "bela",
        Order,
        side=1,
        period_start_s=0,
        energy_wh=3,
        price_u_kwh=333,
        standing=buy(chain, "bela", 1, 1).record.standing,
    )  # type: ignore[attr-defined]
    return chain.say(
        buy(chain, "bela", 1, 0),
        off,
        amend(chain, "carla", placed, 1, 0),
        buy(chain, "bela", 1, 9, partner=account("carla"), partner_price_u_kwh=10),
    )


@story(Verdict.TERMS_CONTRADICT)
def _() -> Found:
    """A period; a partner without a price, a price without one; an end for what does not rest."""
    chain = open_market()
    good = buy(chain, "bela", 1, 10).record
    assert isinstance(good, Order)
    return chain.say(
        chain.speak("bela", Order, side=1, period_start_s=900, energy_wh=1, price_u_kwh=10_000, standing=good.standing),
        buy(chain, "bela", 1, 10, partner=account("carla")),
        buy(chain, "bela", 1, 10, partner_price_u_kwh=10_000),
        buy(chain, "bela", 1, 10, good=GOOD_AT_ONCE, expires_s=chain.now_s + 100),
    )


@story(Verdict.NOT_FILLED)
def _() -> Found:
    """Nothing was traded, and nothing is held any more."""
    chain = open_market()
    found = chain.say(buy(chain, "bela", 1, 10, good=GOOD_AT_ONCE))
    assert tokens.has(chain, "bela", EURO) == (1000, 0)
    return found


@story(Verdict.TOO_MANY_STANDING)
def _() -> Found:
    """An order that goes makes room; what does not rest needs none."""
    chain = open_market()
    with mock.patch("meshnode.ledger.standing.MAX_STANDING_PER_ACCOUNT", 2):
        first = buy(chain, "bela", 1, 10)
        chain.block(first, buy(chain, "bela", 1, 11))
        refused = chain.say(buy(chain, "bela", 1, 12))
        assert chain.say(buy(chain, "bela", 1, 12, good=GOOD_AT_ONCE)) == Verdict.NOT_FILLED
        chain.block(cancel(chain, "bela", first))
        assert chain.say(buy(chain, "bela", 1, 12)) == Verdict.ACCEPTED
    assert isinstance(refused, Verdict)
    return refused


@story(Verdict.NOT_UNDER_CONTRACT)
def _() -> Found:
    """Not signed, of others, with another than the partner, never offered, and over."""
    chain = open_market()
    offered, others = tokens.contract(chain, "anna", "bela"), tokens.contract(chain, "anna", "carla")
    chain.block(offered, others)
    named = {"contract": offered.record_id}
    unsigned = chain.say(buy(chain, "bela", 1, 10, **named))
    chain.block(tokens.sign(chain, "bela", offered), tokens.sign(chain, "carla", others))
    assert chain.say(buy(chain, "bela", 1, 10, **named)) == Verdict.ACCEPTED
    partner = {"partner": account("carla"), "partner_price_u_kwh": 10_000}
    found = chain.say(
        buy(chain, "bela", 1, 10, contract=others.record_id),
        buy(chain, "bela", 1, 10, **named, **partner),
        buy(chain, "bela", 1, 10, contract=bytes(32)),
    )
    chain.block(tokens.end(chain, "anna", offered))
    over = chain.say(buy(chain, "bela", 1, 10, **named))
    assert isinstance(found, list) and isinstance(unsigned, Verdict) and isinstance(over, Verdict)
    return [unsigned, *found, over]


@story(Verdict.BEYOND_SERVICE_LEVEL)
def _() -> Found:
    """A supplier's conditions bind its customer's orders, named or not; not the supplier's own, nor others'."""
    chain = open_market()
    level = ServiceLevel(maximum_power_w=8, price_cap_u_kwh=50_000)
    offered = tokens.contract(chain, "carla", "bela", service=level)
    chain.block(offered)
    assert chain.say(buy(chain, "bela", 1, 60)) == Verdict.ACCEPTED
    chain.block(tokens.sign(chain, "bela", offered))
    assert chain.say(sell(chain, "carla", 9, 70), buy(chain, "bela", 2, 50)) == [Verdict.ACCEPTED] * 2
    return chain.say(
        buy(chain, "bela", 1, 60),
        # 3 Wh in a quarter of an hour are 12 W.
        buy(chain, "bela", 3, 50),
        buy(chain, "bela", 1, 50, partner=account("carla"), partner_price_u_kwh=51_000),
        sell(chain, "carla", 9, 70, contract=offered.record_id),
    )


@story(Verdict.OTHER_TERMS)
def _() -> Found:
    """The price is another one than was booked; the order that was booked is taken, and only once."""
    chain = open_market()
    step, right = prepared(chain, "bela"), buy(chain, "bela", 1, 10)
    chain.block(step)
    second = booked(chain, "bela", step, right)
    chain.block(second)
    refused = chain.say(buy(chain, "bela", 1, 11, booked=second.record_id))
    assert chain.say(buy(chain, "bela", 1, 10, booked=second.record_id)) == Verdict.ACCEPTED
    assert not chain.machine.state.committed
    return refused


@story(Verdict.UNKNOWN_STEP)
def _() -> Found:
    """Of somebody else, out of sequence, used up, and too old."""
    chain = open_market()
    step, right = prepared(chain, "bela"), buy(chain, "bela", 1, 10)
    chain.block(step)
    second = booked(chain, "bela", step, right)
    chain.block(second)
    found = chain.say(
        booked(chain, "carla", step, right),
        booked(chain, "bela", second, right),
        sell(chain, "carla", 1, 10, booked=second.record_id),
        buy(chain, "bela", 1, 10, booked=step.record_id),
    )
    chain.block(buy(chain, "bela", 1, 10, booked=second.record_id))
    again = chain.say(buy(chain, "bela", 1, 10, booked=second.record_id))
    late = prepared(chain, "bela")
    chain.block(late)
    for days in range(1, 9):
        chain.block(time_s=chain.now_s + DAY_S)
        assert (late.record_id in chain.machine.state.committed) == (days < 8)
    old = chain.say(booked(chain, "bela", late, right))
    assert isinstance(found, list) and isinstance(again, Verdict) and isinstance(old, Verdict)
    return [*found, again, old]


@story(Verdict.TOO_MANY_STEPS)
def _() -> Found:
    chain = open_market()
    with mock.patch("meshnode.ledger.standing.MAX_COMMITTED_PER_ACCOUNT", 1):
        chain.block(prepared(chain, "bela"))
        assert chain.say(prepared(chain, "carla")) == Verdict.ACCEPTED
        return chain.say(prepared(chain, "bela"))


@story(Verdict.UNKNOWN_TRADE)
def _() -> Found:
    """Of others, never made, undone already, and settled."""
    chain = open_market()
    height = traded(chain)
    found = chain.say(undo(chain, "anna", height), undo(chain, "bela", height, 1), undo(chain, "bela", height + 1))
    chain.block(undo(chain, "bela", height), undo(chain, "carla", height))
    assert tokens.has(chain, "bela", EURO) == (1000, 0) and tokens.has(chain, "carla", "ENERGY") == (10, 0)
    again = chain.say(undo(chain, "bela", height))
    later = traded(chain)
    for _ in range(40):
        chain.block(time_s=chain.now_s + DAY_S)
    assert [row.trades for _, row in chain.machine.state.trading_days.items()] == [2]
    old = chain.say(undo(chain, "bela", later))
    assert isinstance(found, list) and isinstance(again, Verdict) and isinstance(old, Verdict)
    return [*found, again, old]


@story(Verdict.REVERSAL_ASKED)
def _() -> Found:
    """One party alone undoes nothing; and the other cannot where it has spent what is to go back."""
    chain = open_market()
    height = traded(chain)
    chain.block(undo(chain, "bela", height))
    assert tokens.has(chain, "bela", EURO) == (800, 0)
    spent = chain.transfer("carla", "anna", 1, EURO)
    chain.block(spent)
    assert chain.say(undo(chain, "carla", height)) == Verdict.NOT_ENOUGH
    assert tokens.has(chain, "bela", EURO) == (800, 0) and tokens.has(chain, "bela", "ENERGY") == (2, 0)
    return chain.say(undo(chain, "bela", height))


# --- auctions


@story(Verdict.UNKNOWN_AUCTION)
def _() -> Found:
    """Never called, no auction, and over."""
    chain = open_market()
    called, order = rising(chain, "carla", 1, 10, 1), sell(chain, "carla", 1, 100)
    chain.block(order)
    found = chain.say(bid(chain, "bela", called, 1, 10), bid(chain, "bela", order, 1, 10))
    chain.block(called)
    over = chain.say(bid(chain, "bela", called, 1, 10), time_s=chain.now_s + 100)
    assert isinstance(found, list) and isinstance(over, Verdict)
    return [*found, over]


@story(Verdict.AUCTION_OVER)
def _() -> Found:
    """A bid in the block of a falling auction's last second is taken; the mechanism itself refuses later ones."""
    chain = open_market()
    called = falling(chain, "bela", 1, 10)
    chain.block(called)
    with mock.patch("meshnode.machine.auctions.close_due"):
        closes_s = chain.machine.state.auctions[called.record_id].closes_s
        assert chain.say(bid(chain, "carla", called, 1, 9), time_s=closes_s - 1) == Verdict.ACCEPTED
        return chain.say(bid(chain, "carla", called, 1, 8), time_s=closes_s)


@story(Verdict.BID_TOO_WEAK)
def _() -> Found:
    """Under the reserve, no step above the best; dearer than the maximum, no lower than the own one."""
    chain = open_market()
    lot, called = rising(chain, "carla", 1, 10, 5), falling(chain, "bela", 1, 10)
    chain.block(lot, called)
    chain.block(bid(chain, "bela", lot, 1, 12), bid(chain, "carla", called, 1, 9))
    assert tokens.has(chain, "bela", EURO) == (978, 22)
    return chain.say(
        bid(chain, "bela", lot, 1, 9),
        bid(chain, "bela", lot, 1, 16),
        bid(chain, "carla", called, 1, 11),
        bid(chain, "carla", called, 1, 9),
    )


@story(Verdict.ATTRIBUTE_MISSING)
def _() -> Found:
    """Nothing is said of the energy, and something else."""
    chain = open_market()
    called = falling(chain, "bela", 1, 10, attributes=(("source", "solar"),))
    chain.block(called)
    assert chain.say(bid(chain, "carla", called, 1, 9, attributes=(("source", "solar"),))) == Verdict.ACCEPTED
    return chain.say(
        bid(chain, "carla", called, 1, 8),
        bid(chain, "carla", called, 1, 8, attributes=(("source", "wind"),)),
    )


@story(Verdict.OTHER_LOT)
def _() -> Found:
    chain = open_market()
    lot = rising(chain, "carla", 2, 10, 1)
    chain.block(lot)
    return chain.say(bid(chain, "bela", lot, 1, 10), bid(chain, "bela", lot, 3, 10))
