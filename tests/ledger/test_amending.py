"""Amending: an order of a period is changed while its period lasts, under the guards of a new one, as stories."""

from __future__ import annotations

import pytest

from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from meshnode.settlement.closing import PeriodClosed
from protocols.block import SignedRecord
from protocols.records import SIDE_BUY, Amend, ServiceLevel
from tests.ledger import credit as say
from tests.ledger import tokens, wishes
from tests.ledger.chain import Chain, account, period_s
from tests.ledger.credit import settling, stands

ACCEPTED = Verdict.ACCEPTED
PRICE = 150_000


def amend(chain: Chain, home: str, order: SignedRecord, energy_wh: int, price_u_kwh: int = PRICE) -> SignedRecord:
    return chain.speak(home, Amend, order=order.record_id, energy_wh=energy_wh, price_u_kwh=price_u_kwh)


def close(chain: Chain) -> PeriodClosed:
    """Period 1 ends, with nobody reporting."""
    chain.block(time_s=period_s(1) + 130)
    chain.block(time_s=period_s(2) + 130)
    (closed,) = [event for event in chain.events[chain.machine.height] if isinstance(event, PeriodClosed)]
    return closed


@pytest.mark.parametrize(
    ("energy_wh", "price_u_kwh", "sold"),
    [
        (200, PRICE, {"anna": 200, "carla": 100}),
        (400, PRICE, {"carla": 300}),
        (300, PRICE - 1_000, {"anna": 300}),
        (200, PRICE + 1_000, {"carla": 300}),
    ],
    ids=["less keeps its place", "more goes to the end", "cheaper comes first", "dearer comes last"],
)
def test_only_less_at_the_same_price_keeps_its_place(energy_wh: int, price_u_kwh: int, sold: dict[str, int]) -> None:
    """Anna offers before carla, at the same price; bela wants 300 Wh at any."""
    chain = Chain(3)
    first, second = (chain.offer(home, 1, 300, PRICE) for home in ("anna", "carla"))
    chain.block(first, second, chain.bid("bela", 1, 300, 250_000))
    assert chain.say(amend(chain, "anna", first, energy_wh, price_u_kwh)) == ACCEPTED
    names = {account(home): home for home in ("anna", "carla")}
    assert {names[one.seller]: one.energy_wh for one in close(chain).trades} == sold


def test_an_order_is_changed_by_its_owner_while_its_period_lasts() -> None:
    chain = Chain(3)
    order = chain.bid("bela", 0, 300, PRICE)
    chain.block(order)
    assert chain.say(amend(chain, "anna", order, 200)) == Verdict.UNKNOWN_ORDER
    chain.block(time_s=period_s(1) - 10)
    assert chain.say(amend(chain, "bela", order, 350)) == ACCEPTED
    chain.block(time_s=period_s(1))
    assert chain.say(amend(chain, "bela", order, 200)) == Verdict.PERIOD_OVER
    chain.block(time_s=period_s(1) + 130)
    assert chain.say(amend(chain, "bela", order, 200)) == Verdict.UNKNOWN_ORDER


def test_what_it_is_then_is_held_to_the_rules_of_a_new_one() -> None:
    """The binding allows 0.08 to 0.29 a kWh and 20 kWh; what is refused changes nothing."""
    chain = Chain(3)
    order = chain.bid("bela", 1, 300, PRICE)
    chain.block(order)
    said = chain.say(
        amend(chain, "bela", order, 300, 290_001),
        amend(chain, "bela", order, 300, 79_999),
        amend(chain, "bela", order, 20_001),
    )
    assert said == [Verdict.PRICE_ABOVE_CAP, Verdict.PRICE_BELOW_FLOOR, Verdict.ORDER_TOO_LARGE]
    ((_, row),) = chain.machine.state.orders.items()
    assert (row.energy_wh, row.price_u_kwh) == (300, PRICE)


def test_more_is_a_promise_and_less_gives_room() -> None:
    """Bela has 1000 and may owe 500: 5 Wh at 0.15 with the fee of 0.01 are 800; 9 would be 1440, 10 too much."""
    chain = settling()
    chain.block(say.limit(chain, "bela", 500))
    order = chain.bid("bela", 1, 5, PRICE)
    chain.block(order)
    assert chain.say(amend(chain, "bela", order, 10)) == Verdict.OVER_CREDIT
    assert chain.say(amend(chain, "bela", order, 9)) == ACCEPTED
    assert stands(chain, "bela").exposure_u == 1_440
    assert chain.say(amend(chain, "bela", order, 1)) == ACCEPTED
    assert stands(chain, "bela").exposure_u == 160


def test_a_partner_stays_with_the_order_and_its_price_counts() -> None:
    """Bela's order was given for anna first, at 0.25: 5 Wh of it are 1300 with the fee, whatever it says of others."""
    chain = settling()
    chain.block(say.limit(chain, "bela", 500), wishes.first(chain, "bela", SIDE_BUY, "anna", 250_000))
    order = chain.bid("bela", 1, 4, PRICE)
    chain.block(order)
    chain.block(wishes.nobody_first(chain, "bela", SIDE_BUY))
    assert chain.say(amend(chain, "bela", order, 6, 100_000)) == Verdict.OVER_CREDIT
    assert chain.say(amend(chain, "bela", order, 5, 100_000)) == ACCEPTED
    ((_, row),) = chain.machine.state.orders.items()
    assert (row.partner, row.partner_price_u_kwh, row.price_u_kwh) == (account("anna"), 250_000, 100_000)
    assert stands(chain, "bela").exposure_u == 1_300
    again = State.restore(chain.machine.state.dump())
    assert again.orders.wanted_wh(account("bela")) == {period_s(1): 5}


def test_a_supplier_is_heeded_but_less_is_always_allowed() -> None:
    """At most 1 kW, ordered half an hour before: more is refused, later than that also what is cheaper."""
    chain = Chain(3)
    offered = tokens.contract(chain, "anna", "bela", service=ServiceLevel(maximum_power_w=1_000, response_time_s=1_800))
    chain.block(offered)
    chain.block(tokens.sign(chain, "bela", offered))
    order = chain.bid("bela", 3, 200, PRICE)
    assert chain.say(order) == ACCEPTED
    assert chain.say(amend(chain, "bela", order, 251)) == Verdict.BEYOND_SERVICE_LEVEL
    assert chain.say(amend(chain, "bela", order, 250)) == ACCEPTED
    chain.block(time_s=period_s(2))
    assert chain.say(amend(chain, "bela", order, 250, PRICE - 1)) == Verdict.BEYOND_SERVICE_LEVEL
    assert chain.say(amend(chain, "bela", order, 100)) == ACCEPTED
