"""Sessions, redemptions and storages on the ledger: whoever dies and whenever, energy and money come out even."""

from __future__ import annotations

import hashlib

import pytest

from meshnode.ledger import delivery_rows
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Machine
from meshnode.market import delivery
from meshnode.market.delivery import Phase
from meshnode.settlement import delivering, points
from protocols.records import consent_bytes, credential_of
from protocols.records import delivery as records
from tests.ledger import delivering as say
from tests.ledger import tokens
from tests.ledger.chain import Chain, account, meter_id, period_s
from tests.ledger.delivering import HOUR_S, SILENCE_S, found, with_storage
from tests.ledger.delivery_stories import refusals
from tests.ledger.tokens import has, supply
from tests.protocols.keys import key_pair

ACCEPTED = Verdict.ACCEPTED
ESCROW_U = 6_100_000


def with_station() -> Chain:
    """Bela has a station, anna's car 7 EURO; the energy at the station is carla's."""
    chain = Chain()
    chain.block(tokens.money(chain))
    chain.block(tokens.pay_in(chain, "anna", 7_000_000, "bank 1"), say.station(chain, "bela"))
    assert chain.verdicts() == [ACCEPTED, ACCEPTED]
    return chain


def euros(chain: Chain) -> dict[str, tuple[int, int]]:
    return {home: has(chain, home, "EURO") for home in ("anna", "bela", "carla")}


def test_a_session_from_reserve_to_refund() -> None:
    """20,000 Wh reserved, 13,337 charged: 3.33 for the energy, 0.90 for the station, 1.87 come back."""
    chain = with_station()
    reserved = say.reserve(chain, "anna", "bela")
    assert chain.say(reserved) == ACCEPTED
    assert euros(chain)["anna"] == (900_000, ESCROW_U)
    assert chain.say(say.tick(chain, "bela", reserved, "begin", 70_000)) == ACCEPTED
    assert chain.say(say.tick(chain, "bela", reserved, "run", 75_000), time_s=chain.now_s + 100) == ACCEPTED
    assert found(chain, reserved).counter_wh == 75_000 and euros(chain)["anna"] == (900_000, ESCROW_U)
    assert chain.say(say.tick(chain, "bela", reserved, "end", 83_337)) == ACCEPTED
    assert euros(chain) == {"anna": (900_000 + 1_865_640, 0), "bela": (900_110, 0), "carla": (3_334_250, 0)}
    row = found(chain, reserved)
    assert (row.phase, row.paid, row.fee) == (Phase.ENDED, 3_334_250, 900_110)


def test_a_station_that_falls_silent_is_paid_by_its_last_tick() -> None:
    """Nobody says anything: the first block after the silence settles what the meter signed last."""
    chain = with_station()
    reserved = say.reserve(chain, "anna", "bela")
    chain.block(reserved)
    chain.block(say.tick(chain, "bela", reserved, "begin", 0))
    chain.block(say.tick(chain, "bela", reserved, "run", 4_000), time_s=chain.now_s + 100)
    heard_s = chain.now_s
    late = say.tick(chain, "bela", reserved, "end", 9_000, time_s=heard_s + 9)
    chain.block(time_s=heard_s + SILENCE_S)
    assert found(chain, reserved).phase == Phase.RUNNING
    assert chain.say(late, time_s=heard_s + SILENCE_S + 1) == Verdict.DELIVERY_OVER
    ended = [event for event in chain.events[chain.machine.height] if isinstance(event, delivering.DeliveryEnded)]
    assert [(one.delivery_id, one.delivery.paid) for one in ended] == [(reserved.record_id, 1_000_000)]
    assert euros(chain)["carla"] == (1_000_000, 0) and euros(chain)["bela"] == (620_000, 0)
    assert sum(free for free, _ in euros(chain).values()) == 7_000_000


@pytest.mark.parametrize("died", ["before it begins", "when it has begun"])
def test_a_station_that_delivers_nothing_costs_nothing(died: str) -> None:
    chain = with_station()
    reserved = say.reserve(chain, "anna", "bela")
    chain.block(reserved)
    if died == "when it has begun":
        chain.block(say.tick(chain, "bela", reserved, "begin", 12))
    chain.block(time_s=chain.now_s + HOUR_S + 1)
    assert euros(chain) == {"anna": (7_000_000, 0), "bela": (0, 0), "carla": (0, 0)}
    assert found(chain, reserved).phase == (Phase.CANCELLED if died == "before it begins" else Phase.ENDED)
    # The point is free again, and a day later the ledger remembers nothing of it.
    assert chain.say(say.reserve(chain, "anna", "bela")) == ACCEPTED
    chain.block(time_s=chain.now_s + delivering.KEPT_S + 1)
    assert reserved.record_id not in chain.machine.state.deliveries


def test_what_was_purchased_is_the_end_of_it() -> None:
    """A relay is slow: what flowed beyond the purchase is not paid, and the session is over by itself."""
    chain = with_station()
    reserved = say.reserve(chain, "anna", "bela")
    chain.block(reserved)
    chain.block(say.tick(chain, "bela", reserved, "begin", 100))
    assert chain.say(say.tick(chain, "bela", reserved, "run", 20_130)) == ACCEPTED
    assert found(chain, reserved).phase == Phase.ENDED
    assert euros(chain) == {"anna": (900_000, 0), "bela": (1_100_000, 0), "carla": (5_000_000, 0)}
    assert chain.say(say.tick(chain, "bela", reserved, "end", 20_140)) == Verdict.DELIVERY_OVER


def test_terms_that_change_change_nothing_that_is_reserved() -> None:
    chain = with_station()
    reserved = say.reserve(chain, "anna", "bela", 1_000)
    chain.block(reserved)
    chain.block(say.station(chain, "bela", price_u_kwh=999_000), say.tick(chain, "bela", reserved, "begin", 0))
    chain.block(say.close(chain, "bela"), say.tick(chain, "bela", reserved, "end", 1_000))
    assert chain.verdicts() == [ACCEPTED, ACCEPTED] and euros(chain)["carla"] == (250_000, 0)
    assert chain.say(say.reserve(chain, "anna", "bela", price_u_kwh=999_000)) == Verdict.UNKNOWN_POINT


def test_a_station_that_asks_for_nothing_holds_nothing() -> None:
    chain = Chain()
    free = {"price_u_kwh": 0, "fee_u_kwh": 0, "flat_u": 0}
    chain.block(tokens.money(chain))
    chain.block(say.station(chain, "bela", **free))
    reserved = say.reserve(chain, "anna", "bela", **free)
    chain.block(reserved)
    chain.block(say.tick(chain, "bela", reserved, "begin", 0))
    assert chain.say(say.tick(chain, "bela", reserved, "end", 1_000)) == ACCEPTED
    assert not len(chain.machine.state.holds)


# --- who is known


def test_a_card_is_known_at_the_station_without_a_network() -> None:
    """Anna's card is bound at bela's station, which reserves for her: up to her limit, and nowhere else."""
    chain = with_station()
    card = credential_of("04A2B3C4D5E680")
    assert chain.say(say.bind(chain, "anna", card, "bela", most_u=ESCROW_U)) == ACCEPTED
    state = chain.machine.state
    assert points.expected(state, meter_id("bela"), card) is None
    reserved = say.reserve(chain, "bela", "bela", credential=card)
    assert chain.say(reserved) == ACCEPTED
    assert euros(chain)["anna"] == (900_000, ESCROW_U)
    assert points.expected(state, meter_id("bela"), card) == reserved.record_id
    assert points.expected(state, meter_id("bela"), credential_of("another card")) is None
    assert points.expected(state, meter_id("carla"), card) is None
    assert chain.say(say.remove(chain, "anna", card)) == ACCEPTED
    assert points.expected(state, meter_id("bela"), card) is None


def test_a_phone_signs_for_each_session() -> None:
    """What the phone has signed once pays once, for this station and this much."""
    chain = with_station()
    phone = key_pair("anna's phone")
    credential = hashlib.sha256(phone.public).digest()
    chain.block(say.bind(chain, "anna", credential, "bela", public_key=phone.public))

    def consent(cap_wh: int, number: int) -> bytes:
        return phone.sign(consent_bytes(chain.chain_id, phone.public, meter_id("bela"), cap_wh, number))

    said = {"credential": credential, "number": 1, "proof": consent(2_000, 1)}
    assert chain.say(say.reserve(chain, "bela", "bela", 3_000, **said)) == Verdict.UNKNOWN_CREDENTIAL
    first = say.reserve(chain, "bela", "bela", 2_000, **said)
    assert chain.say(first) == ACCEPTED
    chain.block(say.cancel(chain, "bela", first))
    assert chain.say(say.reserve(chain, "bela", "bela", 2_000, **said)) == Verdict.UNKNOWN_CREDENTIAL
    again = {"credential": credential, "number": 2, "proof": consent(2_000, 2)}
    assert chain.say(say.reserve(chain, "bela", "bela", 2_000, **again)) == ACCEPTED


def test_a_guest_charges_from_what_a_member_paid_before() -> None:
    """Who is no member shows a card that only the reservation knows."""
    chain = with_station()
    card = credential_of("a visitor's card")
    reserved = say.reserve(chain, "anna", "bela", guest=card)
    assert chain.say(reserved) == ACCEPTED
    assert points.expected(chain.machine.state, meter_id("bela"), card) == reserved.record_id
    assert points.expected(chain.machine.state, meter_id("bela"), credential_of("anna's card")) is None


# --- coins


def with_coins(coins: int = 8) -> Chain:
    """Anna's roof has earned coins of 250 Wh each; bela's controller gives energy for them."""
    chain, homes = Chain(), ("anna", "bela", "carla")
    chain.block(tokens.metered(chain, "COIN", 2, 250), *(chain.reading(home, -1, 0) for home in homes))
    for period in (0, 1):
        given = {"anna": coins * 250 * period}
        readings = [chain.reading(home, period, 0, given.get(home, 0)) for home in homes]
        chain.block(*readings, time_s=period_s(period + 1) + 5)
    assert has(chain, "anna", "COIN") == (coins, 0)
    assert chain.say(say.coin_point(chain, "bela")) == ACCEPTED
    return chain


def test_coins_burn_for_what_was_delivered_and_the_others_come_back() -> None:
    """Four coins release 1000 Wh; 620 flow: two burn, two come back, 120 Wh are on the next coin."""
    chain = with_coins()
    sent = say.redeem(chain, "anna", "bela", 4)
    assert chain.say(sent) == ACCEPTED and has(chain, "anna", "COIN") == (4, 4)
    chain.block(say.tick(chain, "bela", sent, "begin", 5_000))
    assert chain.say(say.tick(chain, "bela", sent, "end", 5_620)) == ACCEPTED
    assert has(chain, "anna", "COIN") == (6, 0) and supply(chain, "COIN") == 6
    assert chain.machine.state.keeps[("COIN", account("anna"))].unpaid_wh == 120
    last = say.redeem(chain, "anna", "bela", 1)
    chain.block(last)
    assert found(chain, last).purchased_wh == 130
    chain.block(say.tick(chain, "bela", last, "begin", 6_000))
    chain.block(say.tick(chain, "bela", last, "run", 6_130))
    assert has(chain, "anna", "COIN") == (5, 0) and not len(chain.machine.state.keeps)


@pytest.mark.parametrize("step", ["sent", "begun", "half", "whole"])
def test_a_controller_may_die_at_any_moment(step: str) -> None:
    """What it signed last is burned for, in whole coins; everything else comes back by itself."""
    chain = with_coins()
    sent = say.redeem(chain, "anna", "bela", 4)
    chain.block(sent)
    ticks = {"begun": ("begin", 5_000), "half": ("run", 5_500), "whole": ("run", 6_000)}
    for name, (sign, counter_wh) in ticks.items():
        if step == "sent":
            break
        assert chain.say(say.tick(chain, "bela", sent, sign, counter_wh), time_s=chain.now_s + 70) == ACCEPTED
        if name == step:
            break
    chain.block(time_s=chain.now_s + HOUR_S + 1)
    burned = {"sent": 0, "begun": 0, "half": 2, "whole": 4}[step]
    assert has(chain, "anna", "COIN") == (8 - burned, 0) and supply(chain, "COIN") == 8 - burned


def test_two_redemptions_at_once_pay_once_for_what_is_carried() -> None:
    chain = with_coins()
    chain.block(say.coin_point(chain, "carla"))
    for at, counter_wh in (("bela", 100), ("bela", 250)):
        sent = say.redeem(chain, "anna", at, 1)
        chain.block(sent)
        chain.block(say.tick(chain, at, sent, "begin", 0))
        chain.block(say.tick(chain, at, sent, "end", counter_wh - 100 if counter_wh == 250 else counter_wh))
    # 100 Wh, then all of the 150 that were left of that coin.
    assert has(chain, "anna", "COIN") == (7, 0)
    first = say.redeem(chain, "anna", "bela", 1)
    chain.block(first)
    chain.block(say.tick(chain, "bela", first, "begin", 0))
    chain.block(say.tick(chain, "bela", first, "end", 200))
    one, two = say.redeem(chain, "anna", "bela", 1), say.redeem(chain, "anna", "carla", 1)
    chain.block(one, two)
    assert [found(chain, sent).purchased_wh for sent in (one, two)] == [50, 250]
    chain.block(say.tick(chain, "bela", one, "begin", 0), say.tick(chain, "carla", two, "begin", 0))
    chain.block(say.tick(chain, "bela", one, "end", 40), say.tick(chain, "carla", two, "end", 240))
    # 240 of the first and 240 of the second: neither whole, both on the account.
    assert has(chain, "anna", "COIN") == (7, 0)
    assert chain.machine.state.keeps[("COIN", account("anna"))].unpaid_wh == 480
    assert chain.say(say.redeem(chain, "anna", "bela", 1)) == Verdict.NOTHING_RELEASED


# --- stored energy


def test_what_is_redeemed_from_the_common_battery_burns_once() -> None:
    """The point's meter and the battery's both count it: the coins burn, the discharge burns no others."""
    chain = with_storage(access="ACCESS")
    chain.block(say.stored(chain, 11_000, 4_000, ("bela", 1_000, 0)))
    assert chain.say(say.coin_point(chain, "carla", "KEPT", 1, route=1)) == ACCEPTED
    assert chain.say(say.redeem(chain, "anna", "carla", 5, 1)) == Verdict.NOT_ENOUGH
    sent = say.redeem(chain, "bela", "carla", 500, 1)
    chain.block(sent)
    chain.block(say.tick(chain, "carla", sent, "begin", 0))
    chain.block(say.tick(chain, "carla", sent, "end", 300))
    assert has(chain, "bela", "KEPT") == (600, 0)
    chain.block(say.stored(chain, 11_000, 4_300, ("bela", 0, 300)))
    assert has(chain, "bela", "KEPT") == (600, 0)
    chain.block(say.stored(chain, 11_000, 4_310, ("bela", 0, 10)))
    assert has(chain, "bela", "KEPT") == (590, 0)


def test_the_own_battery_serves_its_owner_alone() -> None:
    chain = with_coins()
    chain.block(chain.transfer("anna", "bela", 2, "COIN"), say.coin_point(chain, "bela", route=2))
    assert chain.say(say.redeem(chain, "anna", "bela", 1)) == Verdict.NOT_OWN_BATTERY
    assert chain.say(say.redeem(chain, "bela", "bela", 1)) == ACCEPTED


# --- the ledger itself


def test_the_wire_and_the_machine_mean_the_same() -> None:
    wire = (records.TICK_BEGIN, records.TICK_RUN, records.TICK_END, records.MIN_SILENCE_S, records.MAX_SILENCE_S)
    assert wire == (*delivery.Sign, delivery.MIN_SILENCE_S, delivery.MAX_SILENCE_S)


def test_what_else_is_refused() -> None:
    for name, (verdicts, expected) in refusals().items():
        assert verdicts and set(verdicts) == {expected}, (name, verdicts)


def a_busy_day() -> Chain:
    """A session under way, one that was settled, a redemption, storage with a fee: every table has rows."""
    chain = with_storage(access="ACCESS", fee_asset="EURO", fee_u_kwh=500, others=((account("anna"), 1_000_000),))
    chain.block(
        tokens.pay_in(chain, "anna", 20_000_000, "bank 1"), say.station(chain, "bela"), say.station(chain, "carla")
    )
    chain.block(
        say.bind(chain, "anna", credential_of("card"), "bela"), say.stored(chain, 11_001, 4_000, ("bela", 1_001, 0))
    )
    chain.block(time_s=period_s(1) + 130)
    one, two = say.reserve(chain, "anna", "bela"), say.reserve(chain, "anna", "carla")
    chain.block(one, two)
    chain.block(say.tick(chain, "bela", one, "begin", 0), say.tick(chain, "carla", two, "begin", 0))
    chain.block(say.tick(chain, "bela", one, "end", 13_337))
    chain.block(say.tick(chain, "carla", two, "run", 2_000), time_s=chain.now_s + 70)
    assert chain.verdicts() == [ACCEPTED]
    return chain


def test_a_replay_and_a_snapshot_compute_the_same_bytes() -> None:
    chain = a_busy_day()
    state = chain.machine.state
    assert all(
        map(len, (state.points, state.deliveries, state.delivery_ends, state.storages, state.keeps, state.credentials))
    )
    restored = Machine(
        chain.genesis, chain.chain_id, chain.mechanisms, chain.machine.verifier, State.restore(state.dump())
    )
    assert restored.state_hash() == chain.machine.state_hash()
    restored.check_invariants()
    other = chain.replay()
    for block in chain.blocks:
        assert other.check_view(block) is None
        assert other.apply(block) == chain.events[block.header.height]
    assert other.state_hash() == chain.machine.state_hash()


@pytest.mark.parametrize(
    ("table", "what"),
    [("deliveries", "escrows are not those"), ("delivery_ends", "their ends differ"), ("points", "points wait")],
)
def test_the_check_notices_what_is_missing(table: str, what: str) -> None:
    chain = a_busy_day()
    rows = getattr(chain.machine.state, table)
    key = next(
        key
        for key, row in rows.items()
        if not isinstance(row, delivery_rows.Delivery) or row.phase == Phase.RUNNING
        if not isinstance(row, delivery_rows.Point) or row.busy
    )
    rows.delete(key)
    with pytest.raises((AssertionError, KeyError), match=what):
        delivering.check(chain.machine.state)
