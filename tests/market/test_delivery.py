"""Deliveries: every step from every phase, and what it costs; no order of events makes or loses a Wh or a unit."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.amounts import AmountError
from meshnode.market import delivery, redemption, session
from meshnode.market.delivery import TICK_EVERY_S, Delivery, Phase, Refusal, Sign, Tick

SILENCE_S = 300
NOW_S = 10_000
BOUGHT_WH = 1000
START_WH = 50_000
FRESH = delivery.reserve(BOUGHT_WH, SILENCE_S, NOW_S + 900)
BEGUN = delivery.hear(FRESH, Tick(Sign.BEGIN, START_WH, NOW_S), NOW_S)
assert isinstance(BEGUN, Delivery)
RUNNING = delivery.hear(BEGUN, Tick(Sign.RUN, START_WH + 400, NOW_S + 100), NOW_S + 100)
assert isinstance(RUNNING, Delivery)
ENDED = delivery.hear(RUNNING, Tick(Sign.END, START_WH + 500, NOW_S + 200), NOW_S + 200)
CANCELLED = delivery.cancel(FRESH)
assert isinstance(ENDED, Delivery) and isinstance(CANCELLED, Delivery)
PHASES = {Phase.RESERVED: FRESH, Phase.RUNNING: RUNNING, Phase.ENDED: ENDED, Phase.CANCELLED: CANCELLED}

# The whole table: what each step makes of each phase.
SOON_S, LATER_S = NOW_S + 100 + TICK_EVERY_S, NOW_S + 5000
STEPS = {
    "begin": lambda one: delivery.hear(one, Tick(Sign.BEGIN, START_WH, SOON_S), SOON_S),
    "run": lambda one: delivery.hear(one, Tick(Sign.RUN, START_WH + 600, SOON_S), SOON_S),
    "run too soon": lambda one: delivery.hear(one, Tick(Sign.RUN, START_WH + 600, SOON_S), SOON_S - 1),
    "run to the purchase, too soon": lambda one: delivery.hear(
        one, Tick(Sign.RUN, START_WH + 1000, SOON_S), NOW_S + 101
    ),
    "run of an older tick": lambda one: delivery.hear(one, Tick(Sign.RUN, START_WH + 600, NOW_S + 100), SOON_S),
    "run backwards": lambda one: delivery.hear(one, Tick(Sign.RUN, START_WH + 399, SOON_S), SOON_S),
    "end": lambda one: delivery.hear(one, Tick(Sign.END, START_WH + 600, SOON_S), NOW_S + 101),
    "end of an older tick": lambda one: delivery.hear(one, Tick(Sign.END, START_WH + 600, NOW_S + 99), SOON_S),
    "end backwards": lambda one: delivery.hear(one, Tick(Sign.END, START_WH, SOON_S), SOON_S),
    "end far beyond": lambda one: delivery.hear(one, Tick(Sign.END, START_WH + 9999, SOON_S), SOON_S),
    "cancel": delivery.cancel,
    "lapse early": lambda one: delivery.lapse(one, NOW_S + 100 + SILENCE_S),
    "lapse": lambda one: delivery.lapse(one, LATER_S),
}
FOR_RESERVED = {
    "begin": (Phase.RUNNING, 0),
    "cancel": (Phase.CANCELLED, 0),
    "lapse early": (Phase.RESERVED, 0),
    "lapse": (Phase.CANCELLED, 0),
}
FOR_RUNNING = {
    "begin": Refusal.BEGUN,
    "run": (Phase.RUNNING, 600),
    "run too soon": Refusal.TOO_SOON,
    "run to the purchase, too soon": (Phase.ENDED, 1000),
    "run of an older tick": Refusal.OLD,
    "run backwards": Refusal.COUNTER_BACK,
    "end": (Phase.ENDED, 600),
    "end of an older tick": Refusal.OLD,
    "end backwards": Refusal.COUNTER_BACK,
    "end far beyond": (Phase.ENDED, 1000),
    "cancel": Refusal.BEGUN,
    "lapse early": (Phase.RUNNING, 400),
    "lapse": (Phase.ENDED, 400),
}


def expected(phase: Phase, step: str) -> object:
    if phase == Phase.RESERVED:
        return FOR_RESERVED.get(step, Refusal.NOT_BEGUN)
    if phase == Phase.RUNNING:
        return FOR_RUNNING[step]
    # What is over stays as it is, whatever comes.
    return (phase, PHASES[phase].delivered_wh) if step.startswith("lapse") else Refusal.OVER


@pytest.mark.parametrize(("phase", "step"), list(product(Phase, STEPS)), ids=str)
def test_every_step_from_every_phase(phase: Phase, step: str) -> None:
    found = STEPS[step](PHASES[phase])
    told = (found.phase, found.delivered_wh) if isinstance(found, Delivery) else found
    assert told == expected(phase, step)


def test_the_deadline_itself_still_counts() -> None:
    assert not delivery.lapse(FRESH, FRESH.deadline_s).over
    assert delivery.lapse(FRESH, FRESH.deadline_s + 1).phase == Phase.CANCELLED
    assert RUNNING.deadline_s == NOW_S + 100 + SILENCE_S


@pytest.mark.parametrize(
    ("purchased_wh", "silence_s"),
    [(0, SILENCE_S), (1, delivery.MIN_SILENCE_S - 1), (1, delivery.MAX_SILENCE_S + 1)],
)
def test_what_cannot_be_reserved(purchased_wh: int, silence_s: int) -> None:
    with pytest.raises(ValueError, match=f"delivery of {purchased_wh} Wh, silence of {silence_s} s"):
        delivery.reserve(purchased_wh, silence_s, NOW_S)


@given(st.lists(st.tuples(st.sampled_from(Sign), st.integers(0, 3000), st.integers(0, 900), st.integers(0, 900))))
def test_whatever_comes_in_whatever_order(ticks: list[tuple[Sign, int, int, int]]) -> None:
    """Delivered only grows, never beyond the purchase, and a delivery that is over never changes."""
    one, now_s = FRESH, NOW_S
    for sign, counter_wh, time_s, wait_s in ticks:
        now_s += wait_s
        lapsed = delivery.lapse(one, now_s)
        found = delivery.hear(lapsed, Tick(sign, counter_wh, NOW_S + time_s), now_s)
        after = found if isinstance(found, Delivery) else lapsed
        assert one.delivered_wh <= after.delivered_wh <= after.purchased_wh
        assert not one.over or after == one
        one = after


# --- what it costs

STATION = session.Tariff(price_u_kwh=250_000, fee_u_kwh=30_000, flat_u=500_000)


def test_a_charging_session() -> None:
    """250 k/kWh, a fee of 30 k/kWh and 500,000; 20,000 Wh purchased, 13,337 delivered."""
    assert session.escrow_u(STATION, 20_000) == 6_100_000
    assert session.settle(STATION, 20_000, 13_337) == session.Bill(3_334_250, 900_110, 1_865_640)


def test_who_got_nothing_pays_nothing_and_who_got_all_gets_nothing_back() -> None:
    assert session.settle(STATION, 20_000, 0) == session.Bill(0, 0, 6_100_000)
    assert session.settle(STATION, 20_000, 20_000) == session.Bill(5_000_000, 1_100_000, 0)
    with pytest.raises(AmountError, match="20001 Wh delivered of 20000 purchased"):
        session.settle(STATION, 20_000, 20_001)
    with pytest.raises(AmountError, match="expected prices and fees of 0 or more"):
        session.Tariff(1, -1, 0)


prices = st.integers(0, 10**9)


@given(prices, prices, st.integers(0, 10**12), st.integers(1, 10**7), st.data())
def test_a_bill_adds_up_to_the_escrow(price: int, fee: int, flat: int, cap_wh: int, data: st.DataObject) -> None:
    tariff = session.Tariff(price, fee, flat)
    bill = session.settle(tariff, cap_wh, data.draw(st.integers(0, cap_wh)))
    assert bill.energy_u + bill.fee_u + bill.refund_u == session.escrow_u(tariff, cap_wh)
    assert min(bill.energy_u, bill.fee_u, bill.refund_u) >= 0


def test_coins_that_are_redeemed() -> None:
    """Four coins of 250 Wh release 1000 Wh; 620 flow: two burn, two come back, 120 Wh are carried."""
    assert redemption.purchased_wh(4, 250, 0) == 1000
    assert redemption.settle(4, 250, 0, 620) == redemption.Redeemed(2, 2, 120)
    # The next coin pays for those first.
    assert redemption.purchased_wh(1, 250, 120) == 130
    assert redemption.settle(1, 250, 120, 130) == redemption.Redeemed(1, 0, 0)
    assert redemption.settle(1, 250, 120, 129) == redemption.Redeemed(0, 1, 249)
    assert redemption.settle(3, 250, 0, 0) == redemption.Redeemed(0, 3, 0)
    with pytest.raises(AmountError, match="more than they release"):
        redemption.settle(1, 250, 120, 131)
    # Two redemptions at once may leave more than a coin's energy behind: one coin then releases nothing.
    assert redemption.purchased_wh(1, 250, 250) == 0
    with pytest.raises(AmountError, match="coins and energy above 0"):
        redemption.purchased_wh(0, 250, 0)


@given(st.integers(1, 50), st.integers(1, 999), st.lists(st.integers(0, 1000), min_size=1, max_size=8))
def test_over_any_number_of_redemptions_coins_pay_what_flowed(coins: int, unit_wh: int, parts: list[int]) -> None:
    """Burned coins and the carried rest are all the energy, to the Wh."""
    carried_wh = burned = flowed_wh = 0
    for part in parts:
        delivered_wh = redemption.purchased_wh(coins, unit_wh, carried_wh) * part // 1000
        done = redemption.settle(coins, unit_wh, carried_wh, delivered_wh)
        assert done.burned + done.returned == coins and 0 <= done.carried_wh < unit_wh
        carried_wh, burned, flowed_wh = done.carried_wh, burned + done.burned, flowed_wh + delivered_wh
    assert burned * unit_wh + carried_wh == flowed_wh
