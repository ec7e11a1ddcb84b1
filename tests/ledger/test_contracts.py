"""Contracts: offered, signed, in force for a time, ended."""

from __future__ import annotations

from meshnode.ledger import contracts
from meshnode.ledger.verdicts import Verdict
from protocols.records import ServiceLevel
from tests.ledger import order_stories, origin, tokens
from tests.ledger.chain import Chain, account, period_s
from tests.ledger.tokens import DAY_S


def test_a_contract_from_offer_to_end() -> None:
    chain = Chain()
    offered = tokens.contract(chain, "anna", "bela")
    begin_s = chain.now_s
    assert chain.say(offered) == Verdict.ACCEPTED
    assert in_force(chain, "anna", "bela", chain.now_s) == []
    assert chain.say(tokens.sign(chain, "bela", offered)) == Verdict.ACCEPTED
    for first, second in (("anna", "bela"), ("bela", "anna")):
        assert in_force(chain, first, second, chain.now_s) == [offered.record_id]
    assert in_force(chain, "anna", "carla", chain.now_s) == []
    assert in_force(chain, "anna", "bela", begin_s - 1) == in_force(chain, "anna", "bela", begin_s + 30 * DAY_S) == []
    row = chain.machine.state.contracts[offered.record_id]
    assert (row.maximum_power_w, row.price_cap_u_kwh, row.source, row.priority) == (3000, 280_000, "solar", -1)
    assert chain.say(tokens.end(chain, "bela", offered)) == Verdict.ACCEPTED
    assert in_force(chain, "anna", "bela", chain.now_s) == []


def test_contracts_leave_the_state_after_their_time() -> None:
    """What has ended is history, which the views keep; a new one can be offered."""
    chain = Chain()
    first, second = tokens.contract(chain, "anna", "bela"), tokens.contract(chain, "bela", "anna")
    chain.block(first, second, tokens.contract(chain, "anna", "carla", until_s=chain.now_s + 400 * DAY_S))
    chain.block(tokens.end(chain, "anna", first))
    for day in (1, 31, 32):
        chain.block(time_s=chain.now_s + day * DAY_S)
    state = chain.machine.state
    assert [row.to for _, row in state.contracts.items()] == [account("carla")]
    assert len(state.contracts_of) == 2


def in_force(chain: Chain, first: str, second: str, time_s: int) -> list[bytes]:
    found = contracts.in_force(chain.machine.state, account(first), account(second), time_s)
    return [contract_id for contract_id, _ in found]


def supplied(level: ServiceLevel) -> Chain:
    """Carla supplies bela, who has 1000 EURO; she has 10 units of energy, and anna has as many."""
    chain = order_stories.market()
    order_stories.give(chain, "bela", 1_000, order_stories.EURO)
    order_stories.give(chain, "carla", 10, order_stories.ENERGY)
    offered = tokens.contract(chain, "carla", "bela", service=level)
    chain.block(offered)
    chain.block(tokens.sign(chain, "bela", offered))
    return chain


def test_a_suppliers_conditions_hold_for_orders_of_periods_too() -> None:
    """At most 1 kW and 0.20: 250 Wh in a quarter of an hour. Carla's own orders are free."""
    chain = supplied(ServiceLevel(maximum_power_w=1_000, price_cap_u_kwh=200_000))
    assert (
        chain.say(
            chain.bid("bela", 1, 251, 150_000), chain.bid("bela", 1, 250, 200_001), chain.offer("bela", 1, 251, 150_000)
        )
        == [Verdict.BEYOND_SERVICE_LEVEL] * 3
    )
    said = chain.say(chain.bid("bela", 1, 250, 200_000), chain.bid("carla", 1, 251, 250_000))
    assert said == [Verdict.ACCEPTED] * 2


def test_energy_of_a_period_is_ordered_no_sooner_than_the_response_takes() -> None:
    """Half an hour of notice: the next period is too soon, the one after the next is not."""
    chain = supplied(ServiceLevel(response_time_s=1_800))
    assert period_s(2) - chain.now_s < 1_800 <= period_s(3) - chain.now_s
    said = chain.say(*(chain.bid("bela", period, 100, 150_000) for period in (0, 1, 2, 3)))
    assert said == [Verdict.BEYOND_SERVICE_LEVEL] * 3 + [Verdict.ACCEPTED]


def test_an_order_is_not_amended_beyond_what_the_supplier_allows() -> None:
    chain = supplied(ServiceLevel(maximum_power_w=8, price_cap_u_kwh=50_000))
    placed = order_stories.buy(chain, "bela", 1, 50)
    assert chain.say(placed) == Verdict.ACCEPTED
    dearer, stronger = (order_stories.amend(chain, "bela", placed, *to) for to in ((1, 51), (3, 50)))
    assert chain.say(dearer, stronger) == [Verdict.BEYOND_SERVICE_LEVEL] * 2
    assert chain.say(order_stories.amend(chain, "bela", placed, 2, 40)) == Verdict.ACCEPTED


def test_who_promised_a_source_has_a_confirmed_plant_of_it() -> None:
    """Solar: carla sells under the contract from the period after her roof was confirmed; wind will not do."""
    chain = supplied(ServiceLevel(source="solar"))
    (contract_id,) = (one for one, _ in chain.machine.state.contracts.items())

    def sale() -> Verdict | list[Verdict]:
        return chain.say(order_stories.sell(chain, "carla", 1, 50, contract=contract_id))

    assert sale() == Verdict.BEYOND_SERVICE_LEVEL
    mill = origin.announce(chain, "carla", source=3)
    chain.block(mill)
    chain.block(origin.state(chain, mill), time_s=period_s(1) - 60)
    chain.block(time_s=period_s(2))
    assert sale() == Verdict.BEYOND_SERVICE_LEVEL
    chain.block(origin.state(chain, mill, "carla", 3))
    roof = origin.announce(chain, "carla")
    chain.block(roof)
    chain.block(origin.state(chain, roof))
    assert sale() == Verdict.BEYOND_SERVICE_LEVEL, "not before the next period"
    chain.block(time_s=period_s(3))
    assert sale() == Verdict.ACCEPTED
    partner = {"partner": account("dora"), "partner_price_u_kwh": 10_000}
    assert chain.say(order_stories.buy(chain, "bela", 1, 5)) == Verdict.ACCEPTED, "nobody knows yet whose it will be"
    assert chain.say(order_stories.buy(chain, "bela", 1, 5, **partner)) == Verdict.BEYOND_SERVICE_LEVEL
