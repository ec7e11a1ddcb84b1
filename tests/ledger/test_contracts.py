"""Contracts: offered, signed, in force for a time, ended."""

from __future__ import annotations

from meshnode.ledger import contracts
from meshnode.ledger.verdicts import Verdict
from meshnode.settlement import Posting, Reason
from meshnode.settlement.closing import PeriodClosed, PeriodCorrected
from protocols.records import Contract, ContractEnd, ServiceLevel
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
    end_s = chain.now_s + 64 * DAY_S
    chain.block(time_s=end_s)
    while chain.machine.next_period_s < end_s - DAY_S:
        chain.block()
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


# --- priorities: whom a supplier serves first


def sold_to_both(*, first: int | None, second: int | None, signed_s: int = period_s(-1)) -> Chain:
    """Anna supplies bela and carla under contracts with these priorities, and sells 300 Wh of period 1 to each."""
    chain = Chain(3)
    contracts_of = [
        tokens.contract(chain, "anna", home, service=ServiceLevel(priority=number))
        for home, number in (("bela", first), ("carla", second))
    ]
    chain.block(*contracts_of)
    if signed_s > chain.now_s:
        chain.block(time_s=signed_s)
    chain.block(*(tokens.sign(chain, home, one) for home, one in zip(("bela", "carla"), contracts_of, strict=True)))
    orders = [chain.bid(home, 1, 300, 150_000) for home in ("bela", "carla")]
    chain.block(chain.offer("anna", 1, 600, 150_000), *orders)
    assert set(chain.verdicts()) == {Verdict.ACCEPTED}
    chain.block(
        *(chain.reading(home, 0, 0) for home in ("anna", "bela", "carla")), time_s=max(period_s(1), chain.now_s)
    )
    return chain


def deliver(chain: Chain, exported_wh: int, *silent: str) -> PeriodClosed:
    """Period 1 ends: anna has exported so much; bela and carla have each used the 300 Wh that they bought."""
    used = {"anna": (0, exported_wh), "bela": (300, 0), "carla": (300, 0)}
    chain.block(
        *(chain.reading(home, 1, *registers) for home, registers in used.items() if home not in silent),
        time_s=period_s(2) + 130,
    )
    (closed,) = [event for event in chain.events[chain.machine.height] if isinstance(event, PeriodClosed)]
    return closed


def delivered(postings: tuple[Posting, ...]) -> dict[str, int]:
    """Wh of the trades that anna delivered, by customer."""
    names = {account(home): home for home in ("anna", "bela", "carla")}
    return {names[one.debit]: one.energy_wh for one in postings if one.reason is Reason.TRADE}


def compensated(closed: PeriodClosed) -> list[tuple[bytes, int, int]]:
    """(who got it, Wh, u) of what anna pays because she is short."""
    found = [one for one in closed.settlement.postings if one.reason is Reason.SELLER_SHORT]
    assert {one.debit for one in found} <= {account("anna")}
    return [(one.credit, one.energy_wh, one.amount_u) for one in found]


def test_a_supplier_that_is_short_serves_the_lower_number_first() -> None:
    """Anna sold 300 Wh to bela, then 300 to carla, and has 400: carla, whose priority is 1, gets all she bought.

    Bela, with priority 5, gets the other 100, and for the 200 that are missing what the grid costs more: 0.30 - 0.15.
    """
    closed = deliver(sold_to_both(first=5, second=1), 400)
    assert delivered(closed.settlement.postings) == {"carla": 300, "bela": 100}
    assert compensated(closed) == [(account("bela"), 200, 30_000)]


def test_without_priorities_or_with_equal_ones_who_traded_first_is_served_first() -> None:
    for first, second in ((None, None), (2, 2), (2, 3), (255, None)):
        closed = deliver(sold_to_both(first=first, second=second), 400)
        assert delivered(closed.settlement.postings) == {"bela": 300, "carla": 100}, (first, second)
    closed = deliver(sold_to_both(first=None, second=255), 400)
    assert delivered(closed.settlement.postings) == {"carla": 300, "bela": 100}, "an agreed number comes before none"


def test_who_is_not_short_serves_everybody() -> None:
    closed = deliver(sold_to_both(first=5, second=1), 600)
    assert delivered(closed.settlement.postings) == {"bela": 300, "carla": 300} and not compensated(closed)


def test_a_priority_that_is_agreed_on_once_a_period_runs_is_for_the_next_one() -> None:
    """Nobody is pushed back by what supplier and friend sign when they know who would be short."""
    assert delivered(deliver(sold_to_both(first=5, second=1, signed_s=period_s(1)), 400).settlement.postings) == {
        "bela": 300,
        "carla": 100,
    }


def test_a_contract_that_is_ended_later_counts_for_the_periods_that_it_held_in() -> None:
    """Anna ends carla's contract after period 1; bela's, signed with 0 then, is too late."""
    chain = sold_to_both(first=5, second=1)
    (ending,) = (one for one, row in chain.machine.state.contracts.items() if row.priority == 1)
    again = tokens.contract(chain, "anna", "bela", service=ServiceLevel(priority=0), from_s=period_s(-1))
    chain.block(again, time_s=period_s(2) + 10)
    chain.block(chain.speak("anna", Contract, step=ContractEnd(contract=ending)), tokens.sign(chain, "bela", again))
    assert chain.verdicts() == [Verdict.ACCEPTED] * 2
    assert delivered(deliver(chain, 400).settlement.postings) == {"carla": 300, "bela": 100}


def test_corrections_serve_in_the_same_order() -> None:
    """I9: anna's meter reports late that there were 400 Wh, as if it had said so from the start."""

    def play(*silent: str) -> dict[bytes, int]:
        chain = sold_to_both(first=5, second=1)
        deliver(chain, 400, *silent)
        for one, _ in chain.machine.state.contracts.items():
            chain.block(chain.speak("anna", Contract, step=ContractEnd(contract=one)))
        if silent:
            chain.block(chain.reading("anna", 1, 0, 400))
            (event,) = (e for e in chain.events[chain.machine.height] if isinstance(e, PeriodCorrected))
            assert {one.account: one.neighbours_wh for one in event.settlement.lines}[account("carla")] == 300
        return chain.claims()

    assert play() == play("anna")


def test_what_comes_to_a_supplier_backs_the_order_of_the_lower_number_first() -> None:
    """Unbacked orders for customers: of 8 units 6 are for carla, whose order came later; 2 of 6 are left for bela."""
    chain = order_stories.market()
    for home, number in (("bela", 5), ("carla", 1)):
        offered = tokens.contract(chain, "anna", home, service=ServiceLevel(priority=number))
        chain.block(offered)
        chain.block(tokens.sign(chain, home, offered))
    ids = {chain.machine.state.contracts[one].to: one for one, _ in chain.machine.state.contracts.items()}
    orders = {
        "bela": order_stories.sell(chain, "anna", 6, 50, unbacked=1, contract=ids[account("bela")]),
        "carla": order_stories.sell(
            chain, "anna", 6, 50, unbacked=1, partner=account("carla"), partner_price_u_kwh=40_000
        ),
        "anybody": order_stories.sell(chain, "anna", 6, 50, unbacked=1),
    }
    assert chain.say(*orders.values()) == [Verdict.ACCEPTED] * 3

    def ready() -> dict[str, int]:
        return {home: chain.machine.state.standing[placed.record_id].ready_wh for home, placed in orders.items()}

    order_stories.give(chain, "anna", 8, order_stories.ENERGY)
    assert ready() == {"bela": 2, "carla": 6, "anybody": 0}
    order_stories.give(chain, "anna", 6, order_stories.ENERGY)
    assert ready() == {"bela": 6, "carla": 6, "anybody": 2}
