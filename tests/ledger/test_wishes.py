"""Wishes: agents under the rules of stored energy and after restarts; partners in the periods' market."""

from __future__ import annotations

from meshnode.execution import agents
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Machine
from meshnode.market.registry import installed_mechanisms
from protocols.records import DRIVES_PRICE_CAP, SIDE_BUY, SIDE_SELL, CapSet
from tests.ledger import credit as parameter
from tests.ledger import delivering as say
from tests.ledger import order_stories, test_driven, tokens, wishes
from tests.ledger.chain import Chain, account, period_s
from tests.ledger.test_periods import settlement, village

KEPT = {"asset": "KEPT", "paid_with": "EURO"}


def storage() -> Chain:
    """A battery in which a member may have 2000 Wh: carla has 1500 there, bela 100 and 1000 EURO."""
    chain = order_stories.market()
    chain.block(chain.issue("anna", "KEPT", 0, 10**9, asset_kind=1))
    chain.block(say.storage(chain, efficiency_ppm=1_000_000))
    chain.block(say.stored(chain, 0, 0))
    chain.block(say.stored(chain, 1_600, 0, ("bela", 100, 0), ("carla", 1_500, 0)))
    order_stories.give(chain, "bela", 1000, "EURO")
    return chain


def agents_order(chain: Chain, home: str, asset: str = "KEPT") -> tuple[int, int] | None:
    """(open, ready) of the order of a home's agent, if one rests."""
    order = chain.machine.state.standing.get(chain.machine.state.agents[account(home), asset].order)
    return None if order is None else (order.open_wh, order.ready_wh)


def test_a_node_that_begins_anew_after_any_block_orders_the_same_and_nothing_twice() -> None:
    """From the state after each block, the rest of the ledger is executed again: same orders, same hash."""
    chain = storage()
    first = chain.machine.height
    chain.block(wishes.agent(chain, "bela", 1, 2, 200, 900, 1800, **KEPT))
    chain.block()
    assert agents_order(chain, "bela") == (800, 800)
    chain.block(order_stories.sell(chain, "carla", 300, 1, **KEPT))
    chain.block(chain.transfer("carla", "bela", 100, "KEPT"))
    assert agents_order(chain, "bela") == (400, 400)
    chain.block(order_stories.buy(chain, "bela", 10, 1, **KEPT))
    assert agents_order(chain, "bela") is None
    chain.block(order_stories.sell(chain, "carla", 10, 1, **KEPT))
    chain.block(chain.transfer("bela", "anna", 400, "KEPT"))
    assert tokens.has(chain, "bela", "KEPT") == (110, 0) and agents_order(chain, "bela") == (690, 690)
    hashes = {}
    for begin in range(first, chain.machine.height):
        again = Machine(chain.genesis, chain.chain_id, installed_mechanisms(), chain.machine.verifier)
        for block in chain.blocks[:begin]:
            again.apply(block)
        again = Machine(
            chain.genesis,
            chain.chain_id,
            installed_mechanisms(),
            chain.machine.verifier,
            State.restore(again.state.dump()),
        )
        for block in chain.blocks[begin : chain.machine.height]:
            again.apply(block)
            again.check_invariants()
        hashes[begin] = again.state_hash()
    assert set(hashes.values()) == {chain.machine.state_hash()}


def test_an_agent_keeps_below_a_maximum_that_was_lowered() -> None:
    """1800 was to be sold down from; now 1200 is the most: carla's agent sells what is above its target."""
    chain = storage()
    chain.block(wishes.agent(chain, "carla", 1, 3, 200, 900, 1800, **KEPT))
    chain.block()
    assert agents_order(chain, "carla") is None
    chain.block(say.storage(chain, efficiency_ppm=1_000_000, most_cost_u=180_000_000))
    assert chain.machine.state.storages["KEPT"].most_wh == 1200
    assert agents_order(chain, "carla") == (600, 600)
    # Nothing was confiscated, and what bela buys of it fits.
    assert tokens.has(chain, "carla", "KEPT") == (900, 600)
    chain.block(order_stories.buy(chain, "bela", 300, 3, **KEPT))
    assert agents_order(chain, "carla") == (300, 300) and tokens.has(chain, "bela", "KEPT") == (400, 0)


def test_orders_wait_for_room_by_sequence_and_keep_what_is_held_for_them() -> None:
    """Bela may have 500 more. The first order gets that room; the second is held for, and waits."""
    chain = storage()
    chain.block(say.storage(chain, efficiency_ppm=1_000_000, most_cost_u=90_000_000))
    assert chain.machine.state.storages["KEPT"].most_wh == 600
    one, two = (order_stories.buy(chain, "bela", units, 1, **KEPT) for units in (400, 300))
    chain.block(one, two)
    ready = {order_id: row.ready_wh for order_id, row in chain.machine.state.standing.items()}
    assert ready == {one.record_id: 400, two.record_id: 100}
    assert tokens.has(chain, "bela", "EURO") == (300, 700)
    # Somebody sends her 450: the room is gone, the orders are as they were, and nothing trades.
    chain.block(chain.transfer("carla", "bela", 450, "KEPT"), order_stories.sell(chain, "carla", 1000, 1, **KEPT))
    ready = {order_id: row.ready_wh for order_id, row in chain.machine.state.standing.items()}
    assert (ready[one.record_id], ready[two.record_id]) == (0, 0)
    assert tokens.has(chain, "bela", "KEPT") == (600, 0) and tokens.has(chain, "bela", "EURO") == (300, 650)


def test_what_hinders_an_agent_is_named() -> None:
    """Without money; with it, by a supplier's conditions."""
    chain = storage()
    order_stories.give(chain, "dora", 1, "EURO")
    chain.block(wishes.agent(chain, "dora", 10, 20, 200, 900, 1800, **KEPT))
    machine, dora = chain.machine, account("dora")
    assert agents_order(chain, "dora") is None
    assert agents.hindrance(machine, dora, "KEPT", chain.now_s) == Verdict.NOT_ENOUGH
    before = machine.state.state_hash()
    assert agents.hindrance(machine, dora, "KEPT", chain.now_s) == Verdict.NOT_ENOUGH
    assert machine.state.state_hash() == before
    order_stories.give(chain, "dora", 9, "EURO")
    assert agents.hindrance(machine, dora, "KEPT", chain.now_s) is None
    assert agents_order(chain, "dora") == (1, 1)


# --- partners in a settlement period


def test_in_a_period_a_partner_is_served_before_who_bids_more() -> None:
    """Carla sells to bela first, at 0.10: bela's 300 come first, anna gets the 200 that are left, at their price."""
    chain = village((400, 0), (300, 0), (0, 500))
    chain.block(wishes.first(chain, "carla", SIDE_SELL, "bela", 100_000))
    offer = chain.offer("carla", 0, 500, 120_000)
    bids = chain.bid("anna", 0, 400, 280_000), chain.bid("bela", 0, 300, 200_000)
    chain.block(offer, *bids)
    # What was given stays as it was given.
    chain.block(wishes.nobody_first(chain, "carla", SIDE_SELL))
    chain.block(*chain.pending, time_s=period_s(1))
    event = settlement(chain)
    told = [(trade.buyer, trade.energy_wh, trade.price_u_kwh) for trade in event.trades]
    assert told[0] == (account("bela"), 300, 100_000) and told[1][:2] == (account("anna"), 200)
    assert event.price_u_kwh == told[1][2] != 100_000
    assert {order_id: wh for order_id, _, wh in event.fills} == {
        offer.record_id: 500,
        bids[0].record_id: 200,
        bids[1].record_id: 300,
    }
    assert len(chain.machine.state.orders) == 0


def test_without_a_preference_who_bids_more_is_served_first() -> None:
    chain = village((400, 0), (300, 0), (0, 500))
    chain.block(
        chain.offer("carla", 0, 500, 120_000), chain.bid("anna", 0, 400, 280_000), chain.bid("bela", 0, 300, 200_000)
    )
    chain.block(*chain.pending, time_s=period_s(1))
    served = {trade.buyer: trade.energy_wh for trade in settlement(chain).trades}
    assert served == {account("anna"): 400, account("bela"): 100}


def test_a_partner_does_not_get_what_its_own_limit_refuses() -> None:
    """At 0.25 bela, who pays 0.20 at most, is served as everybody is."""
    chain = village((400, 0), (300, 0), (0, 500))
    chain.block(wishes.first(chain, "carla", SIDE_SELL, "bela", 250_000))
    chain.block(
        chain.offer("carla", 0, 500, 120_000), chain.bid("anna", 0, 400, 280_000), chain.bid("bela", 0, 300, 200_000)
    )
    chain.block(*chain.pending, time_s=period_s(1))
    served = {trade.buyer: trade.energy_wh for trade in settlement(chain).trades}
    assert served == {account("anna"): 400, account("bela"): 100}


def test_a_limit_towards_a_partner_keeps_to_the_rules_for_prices() -> None:
    chain = village((400, 0), (300, 0), (0, 500))
    found = chain.say(
        wishes.first(chain, "carla", SIDE_SELL, "bela", 290_001),
        wishes.first(chain, "carla", SIDE_SELL, "bela", 79_999),
    )
    assert found == [Verdict.PRICE_ABOVE_CAP, Verdict.PRICE_BELOW_FLOOR]
    assert chain.say(wishes.first(chain, "carla", SIDE_SELL, "bela", 80_000, asset="SUN")) == Verdict.TERMS_CONTRADICT


def test_an_order_of_a_period_that_is_taken_out_takes_its_preference_with_it() -> None:
    chain = village((400, 0), (300, 0), (0, 500))
    chain.block(wishes.first(chain, "carla", SIDE_SELL, "bela", 100_000))
    offer = chain.offer("carla", 0, 500, 120_000)
    chain.block(offer)
    (row,) = [row for _, row in chain.machine.state.orders.items()]
    assert (row.partner, row.partner_price_u_kwh) == (account("bela"), 100_000)
    chain.block(chain.cancel("carla", offer))
    assert len(chain.machine.state.orders) == 0


def test_a_partner_is_served_within_the_floor_that_came() -> None:
    """Carla sells to bela first, from 0.10 on: he pays the floor of 0.14. What anna would pay carla, 0.13, is nothing.

    The floor was set after their orders, which are within it; the limits towards partners are not.
    """
    village = test_driven.Village(DRIVES_PRICE_CAP)
    chain = village.chain
    chain.block(
        wishes.first(chain, "carla", SIDE_SELL, "bela", 100_000),
        wishes.first(chain, "anna", SIDE_BUY, "carla", 130_000),
    )
    bids = [chain.bid(home, 2, 400, 150_000) for home in ("bela", "anna")]
    offered = chain.offer("carla", 2, 500, 140_000)
    chain.block(*bids, offered)
    assert chain.say(parameter.parameter(chain, CapSet(floor_u_kwh=140_000))) == Verdict.ACCEPTED
    village.close(0)
    village.close(1)
    first, second = village.close(2).trades
    assert (first.buyer, first.energy_wh, first.price_u_kwh) == (account("bela"), 400, 140_000)
    assert (second.buyer, second.energy_wh) == (account("anna"), 100) and second.price_u_kwh >= 140_000


def test_a_partner_is_served_within_the_cap_that_came() -> None:
    """Bela buys from carla first, at 0.25 at most: she pays the cap of 0.18. Anna's 0.22 for bela does not count."""
    village = test_driven.Village(DRIVES_PRICE_CAP)
    chain = village.chain
    village.agree(260_000, 1)
    chain.block(
        wishes.first(chain, "bela", SIDE_BUY, "carla", 250_000), wishes.first(chain, "anna", SIDE_SELL, "bela", 220_000)
    )
    bid, asked = chain.bid("bela", 2, 800, 170_000), chain.offer("carla", 2, 300, 100_000)
    offered = chain.offer("anna", 2, 300, 90_000)
    chain.block(bid, asked, offered)
    assert set(chain.verdicts()) == {Verdict.ACCEPTED}
    village.agree(180_000, 2)
    village.close(0)
    village.close(1)
    first, second = village.close(2).trades
    assert (first.sell_order, first.energy_wh, first.price_u_kwh) == (asked.record_id, 300, 180_000)
    assert (second.sell_order, second.energy_wh) == (offered.record_id, 300) and second.price_u_kwh <= 170_000
