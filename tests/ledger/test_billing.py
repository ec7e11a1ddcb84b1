"""Bills: what a month's surplus takes off, what is lost of it, and what shared hours earn, as stories that add up."""

from __future__ import annotations

import pytest

from meshnode.amounts import AmountError
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Event
from meshnode.settlement import GRID_ACCOUNT, Reason, fund_account
from meshnode.settlement.billing_periods import BillingFinal, BillingPosted, HourShared, billing_id, cycle_of
from meshnode.settlement.closing import PeriodClosed
from meshnode.settlement.compensation import Incentive, passed_on
from meshnode.settlement.posting import Entry
from protocols.records import CompensationSet, IncentiveSet
from tests.ledger import credit as say
from tests.ledger.billing import FUND, GOLDEN, HOMES, Village, binding, italian, spanish
from tests.ledger.chain import account, period_s

ACCEPTED = Verdict.ACCEPTED


def bills(events: list[Event]) -> list[BillingPosted]:
    return [event for event in events if isinstance(event, BillingPosted)]


def test_what_a_share_exceeds_the_use_is_the_members_own_surplus() -> None:
    """2000 Wh of dora's roof by .5/.3/.2 for 600/900/100: self 600/600/100, surplus 400/0/300, grid 0/300/0."""
    village = spanish()
    (settlement,) = [one.settlement for one in village.quarter(**GOLDEN) if isinstance(one, PeriodClosed)]
    lines = {line.account: (line.neighbours_wh, line.grid_wh) for line in settlement.lines}
    assert [lines[account(home)] for home in HOMES[:3]] == [(600, 0), (600, 300), (100, 0)]
    passed = [one for one in settlement.postings if one.reason is Reason.SURPLUS]
    assert [(one.energy_wh, one.amount_u) for one in passed if one.debit == account("dora")] == [(700, 56_000)]
    held = {one.credit: (one.energy_wh, one.amount_u) for one in passed if one.debit != account("dora")}
    assert held == {account("anna"): (400, 32_000), account("carla"): (300, 24_000)}
    assert village.claims() == {"anna": 32_000, "bela": -90_000, "carla": 24_000, "grid": 34_000}


def test_surplus_takes_off_what_was_bought_in_the_billing_period_and_the_rest_is_lost() -> None:
    """Anna's surplus is worth 32, what she bought later 30; Carla's 24 and 15. Nobody is paid anything out."""
    village = spanish()
    village.quarter(**GOLDEN)
    village.quarter(anna=(100, 0), carla=(50, 0))
    (bill,) = bills(village.quarter())
    assert (bill.first_s, bill.last_s, bill.until_s) == (period_s(1), period_s(3), period_s(4))
    assert (bill.entry, bill.billing_id) == (0, billing_id(period_s(1)))
    found = {line.account: line.compensation for line in bill.lines}
    told = {home: (one.bought_u, one.surplus_u, one.compensated_u, one.lost_u, one.due_u)
            for home in HOMES if (one := found.get(account(home)))}  # fmt: skip
    assert told == {
        "anna": (30_000, 32_000, 30_000, 2_000, 0),
        "bela": (90_000, 0, 0, 0, 90_000),
        "carla": (15_000, 24_000, 15_000, 9_000, 0),
        "dora": (0, 0, 0, 0, 0),
    }
    assert [(one.debit, one.credit, one.amount_u, one.reason) for one in bill.postings] == [
        (one, GRID_ACCOUNT, lost_u, Reason.LOST)
        for one, lost_u in sorted([(account("anna"), 2_000), (account("carla"), 9_000)])
    ]
    assert village.claims() == {"bela": -90_000, "grid": 90_000}
    assert not bills([one for _ in range(3) for one in village.quarter()]), "each once"
    assert bills(village.quarter()), "and the next one an hour later"


def test_a_late_reading_corrects_the_bill_as_if_it_had_been_there_from_the_start() -> None:
    """I9. Carla's meter is silent when she uses 100 of her 400; her surplus, and what is lost, become less."""

    def play(late: bool) -> Village:
        village = spanish()
        village.quarter(silent="carla" if late else None, **GOLDEN)
        between = village.registers["carla"]
        village.quarter(silent="carla" if late else None, anna=(100, 0), carla=(50, 0))
        ended = bills(village.quarter(silent="carla" if late else None))
        assert [one.entry for one in ended] == [0]
        if late:
            lost = {one.account: one.compensation.lost_u for one in ended[0].lines}[account("carla")]
            assert lost == 32_000, "400 Wh of which nothing was known to be used"
            after = bills(village.late("carla", 1, between))
            assert [one.entry for one in after] == [1]
            assert [(one.entry, one.amount_u) for one in after[0].postings] == [
                (Entry.REVERSAL, 32_000),
                (Entry.REPLACEMENT, 24_000),
            ]
            for period in (3, 2):
                village.late("carla", period, village.registers["carla"])
        return village

    late, right = play(late=True), play(late=False)
    assert late.claims() == right.claims() == {"bela": -90_000, "grid": 90_000}
    sums = late.chain.machine.state.billing_sums, right.chain.machine.state.billing_sums
    assert dict(sums[0].items()) == dict(sums[1].items())


def test_where_nothing_is_compensated_there_are_no_bills_and_surplus_is_paid_out() -> None:
    village = Village(binding())
    events = [one for _ in range(4) for one in village.quarter(**GOLDEN)]
    assert not bills(events) and not len(village.chain.machine.state.billing_periods)
    assert village.claims()["dora"] == 4 * 56_000


def test_a_price_of_feed_in_below_zero_costs_whose_surplus_it_is() -> None:
    """At -0.02 Anna's 400 Wh cost her 8 and Carla's 300 her 6: nothing is lost, and nothing hidden."""
    village = spanish()
    village.chain.block(say.outside(village.chain, feed_in=-20_000))
    village.quarter()
    village.quarter(**GOLDEN)
    (bill,) = bills(village.quarter())
    assert not bill.postings
    surplus = {line.account: (line.compensation.surplus_wh, line.compensation.surplus_u) for line in bill.lines}
    assert surplus[account("anna")] == (400, -8_000) and surplus[account("carla")] == (300, -6_000)
    assert surplus[account("dora")] == (0, 0)
    assert village.claims() == {"anna": -8_000, "bela": -90_000, "carla": -6_000, "grid": 104_000}


def test_a_share_of_nobody_stays_with_who_feeds_in() -> None:
    """Of 1000 Wh a tenth is a newcomer's who is not here yet; 300 anna's, of which she feeds in 100 herself."""
    anna, roof, nobody = b"a" * 16, b"r" * 16, b"n" * 16
    assert passed_on({anna: 100, roof: 900}, {anna: 300, roof: 600, nobody: 100}) == {anna: 210, roof: -210}
    assert passed_on({anna: 100, roof: 900}, {nobody: 1000}) == {}


# --- shared hours


def hours(events: list[Event]) -> list[HourShared]:
    return [event for event in events if isinstance(event, HourShared)]


def test_within_an_hour_injection_and_withdrawal_need_not_coincide() -> None:
    """Dora gives 800 in the first quarter, anna takes 300 in the second, bela 200 in the last: 500 are shared.

    They earn 55: of it dora gets 24.75, anna and bela 24.75 by what they took, the fund 5.5. Carla hangs elsewhere.
    """
    village = italian()
    village.quarter(dora=(0, 800))
    village.quarter(anna=(300, 0), carla=(100, 0))
    village.quarter()
    before = village.claims()
    events = village.quarter(bela=(200, 0))
    hour = hours(events)[-1]
    assert (hour.hour_s, hour.substation) == (period_s(4), "AC1")
    assert (hour.injected_wh, hour.withdrawn_wh, hour.shared_wh, hour.incentive_u) == (800, 500, 500, 55_000)
    parts = {"anna": 14_850, "bela": 9_900, "dora": 24_750}
    expected = {account(home): part for home, part in parts.items()} | {fund_account(FUND): 5_500}
    assert dict(hour.parts) == expected
    (bill,) = bills(events)
    assert {one.credit: one.amount_u for one in bill.postings} == expected
    assert {(one.debit, one.reason) for one in bill.postings} == {(GRID_ACCOUNT, Reason.SHARED_HOURS)}
    after = village.claims()
    assert after["fund"] - before.get("fund", 0) == 5_500
    assert after["dora"] - before["dora"] == 24_750
    assert sum(after.values()) == 0


def test_a_correction_of_a_shared_hour_moves_what_everybody_received() -> None:
    """Bela's meter turns out to have counted 100 instead of 200: 400 are shared, and earn 44."""
    village = italian()
    village.quarter(dora=(0, 800))
    village.quarter(anna=(300, 0))
    village.quarter()
    village.quarter(bela=(200, 0))
    events = village.late("bela", 7, (100, 0), version=1)
    (bill,) = bills(events)
    assert bill.entry == 1
    assert {line.account: line.incentive_u for line in bill.lines} == {
        account("anna"): 14_850,
        account("bela"): 4_950,
        account("dora"): 19_800,
        fund_account(FUND): 4_400,
    }
    # What anna receives stays what it was, so nothing is posted for her.
    assert not [one for one in bill.postings if account("anna") in (one.debit, one.credit)]
    assert {one.entry for one in bill.postings} == {Entry.REVERSAL, Entry.REPLACEMENT}


def test_who_is_connected_nowhere_shares_no_hour() -> None:
    village = Village(binding("share production in proportion to use"))
    step = IncentiveSet(incentive_u_kwh=110_000, producers_ppm=500_000, consumers_ppm=500_000)
    assert village.chain.say(say.parameter(village.chain, step)) == ACCEPTED
    village.quarter()
    assert not hours(village.quarter(dora=(0, 800), anna=(300, 0)))


def test_an_incentive_says_who_receives_all_of_it() -> None:
    village = Village(binding())
    chain = village.chain
    wrong = [
        {"producers_ppm": 600_000, "consumers_ppm": 600_000},
        {"producers_ppm": 500_000, "consumers_ppm": 400_000},
        {"producers_ppm": 500_000, "consumers_ppm": 500_000, "fund": FUND},
    ]
    steps = [say.parameter(chain, IncentiveSet(incentive_u_kwh=1, **fields)) for fields in wrong]  # type: ignore[arg-type]
    assert chain.say(*steps) == [Verdict.PARAMETER_CONTRADICTS] * 3
    assert chain.say(say.parameter(chain, IncentiveSet(incentive_u_kwh=0))) == ACCEPTED, "it ends"
    assert chain.say(say.parameter(chain, CompensationSet(applies=1), by="bela")) == Verdict.NOT_ADMINISTRATOR
    for fields in wrong[:2]:
        with pytest.raises(AmountError):
            Incentive(1, **fields)  # type: ignore[arg-type]


# --- billing periods


def test_when_no_correction_can_follow_nothing_of_a_bill_is_kept() -> None:
    village = spanish()
    for _ in range(3):
        village.quarter(**GOLDEN)
    chain = village.chain
    state = chain.machine.state
    assert len(state.billing_sums) == 4
    late_s = chain.now_s + chain.machine.rules().period.correction_s + 3_600
    finals: list[Event] = []
    while not any(isinstance(one, BillingFinal) for one in finals):
        chain.block(time_s=max(late_s, chain.now_s + 900))
        finals += chain.events[chain.machine.height]
    assert period_s(1) not in state.billing_periods
    assert not [key for key, _ in state.billing_sums.items() if key[0] == period_s(1)]


def test_billing_periods_are_local_months_or_so_many_seconds() -> None:
    """Vienna: 2026-11-01 begins at 23:00 UTC the day before. Who bills every quarter is still set off by the month."""
    zone = ((0, 3_600),)
    november = 1_793_487_600
    assert cycle_of(1, 0, zone, november - 1) == (1, 0, 12 * 2026 + 9)
    assert cycle_of(1, 0, zone, november) == cycle_of(3, 0, zone, november) == (1, 0, 12 * 2026 + 10)
    assert cycle_of(0, 366 * 86_400, zone, november) == (1, 0, 12 * 2026 + 10)
    days = [cycle_of(0, 86_400, zone, november + second)[2] for second in (-1, 0, 86_399, 86_400)]
    assert [day - days[0] for day in days] == [0, 1, 1, 2]


def test_a_snapshot_carries_bills() -> None:
    village = italian()
    village.quarter(dora=(0, 800), anna=(300, 0))
    state = village.chain.machine.state
    again = State.restore(state.dump())
    assert again.state_hash() == state.state_hash()
    assert len(again.billing_periods) and len(again.shared_hours) and len(again.hour_points)
    replayed = village.chain.replay()
    for block in village.chain.blocks:
        replayed.apply(block)
    assert replayed.state_hash() == state.state_hash()
