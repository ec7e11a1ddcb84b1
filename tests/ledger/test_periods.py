"""Periods: when they close, with which trades, and what may still change afterwards."""

from __future__ import annotations

import msgspec
import pytest

from meshnode.amounts import value
from meshnode.ledger import book, rows
from meshnode.ledger.verdicts import Verdict
from meshnode.machine import RecordDone
from meshnode.market.order import ORDERS_MAX
from meshnode.settlement import GRID_ACCOUNT, POOL_ACCOUNT, fund_account
from meshnode.settlement.closing import PeriodClosed, PeriodCorrected, PeriodFinal
from protocols.records import DEFAULT_LIMITS
from tests.ledger.chain import Chain, account, period_s
from zencode.presets import preset

ANNA, BELA, CARLA = account("anna"), account("bela"), account("carla")
GRACE_S, CORRECTION_S = 120, 2 * 86400  # of the presets


def closed(chain: Chain, height: int | None = None) -> list[int]:
    """Which periods a block closed, counted from the genesis."""
    events = chain.events[chain.machine.height if height is None else height]
    return [(event.start_s - period_s(0)) // 900 for event in events if isinstance(event, PeriodClosed)]


def settlement(chain: Chain) -> PeriodClosed:
    """The one period that the last block closed."""
    (event,) = [event for event in chain.events[chain.machine.height] if isinstance(event, PeriodClosed)]
    return event


def village(*homes_wh: tuple[int, int], binding: str = "neighbour_market") -> Chain:
    """Homes that took and gave so much in period 0; the block that closes it is still to come."""
    chain = Chain(len(homes_wh), binding=preset(binding))
    names = chain.village.homes
    chain.block(*(chain.reading(home, -1, 10_000, 10_000) for home in names))
    chain.pending = [
        chain.reading(home, 0, 10_000 + taken, 10_000 + given)
        for home, (taken, given) in zip(names, homes_wh, strict=True)
    ]
    return chain


def test_a_period_closes_as_soon_as_every_meter_has_reported() -> None:
    chain = village((100, 0), (200, 0))
    first, second = chain.pending
    chain.block(first, time_s=period_s(1))
    assert closed(chain) == []
    assert not chain.machine.close_possible(chain.now_s)
    chain.block(second, time_s=period_s(1) + 3)
    assert closed(chain) == [0]
    assert settlement(chain).settlement.completeness_ppm == 1_000_000
    assert not settlement(chain).settlement.provisional


def test_a_period_waits_for_its_grace_and_then_closes_without_the_missing() -> None:
    chain = village((100, 0), (200, 0))
    chain.block(chain.pending[0], time_s=period_s(1) + GRACE_S - 1)
    assert closed(chain) == []
    assert chain.machine.close_due_s() == period_s(1) + GRACE_S
    assert chain.machine.close_possible(period_s(1) + GRACE_S)
    chain.block(time_s=period_s(1) + GRACE_S)
    assert closed(chain) == [0]
    assert settlement(chain).settlement.completeness_ppm == 500_000
    assert settlement(chain).settlement.provisional


def test_no_period_closes_before_it_is_over() -> None:
    chain = village((100, 0))
    chain.block(time_s=period_s(1) - 1)
    assert closed(chain) == []
    chain.block(*chain.pending, time_s=period_s(1))
    assert closed(chain) == [0]


def test_a_block_closes_at_most_so_many_periods() -> None:
    """A day without the mesh is caught up in six blocks, not in one that takes minutes."""
    chain = Chain(1)
    chain.block(time_s=period_s(96))
    heights = [closed(chain)]
    while chain.machine.close_possible(chain.now_s):
        chain.block(time_s=chain.now_s)
        heights.append(closed(chain))
    most = DEFAULT_LIMITS.max_periods_per_block
    assert [len(periods) for periods in heights] == [most] * (95 // most) + [95 % most]
    assert [period for periods in heights for period in periods] == list(range(95))


def test_periods_begin_at_the_first_boundary_after_the_founding() -> None:
    chain = Chain(1, start_s=period_s(0) + 1, zone_changes=((0, 0),))
    assert chain.machine.next_period_s == period_s(1)
    chain.block(chain.reading("anna", 0, 7), time_s=period_s(1))
    assert chain.verdicts() == [Verdict.ACCEPTED]


def test_an_order_is_filled_in_part() -> None:
    """Anna bids for 400, carla offers 1000 and delivers them: 400 change hands at the midpoint of the two prices."""
    chain = village((400, 0), (0, 0), (0, 1000))
    bid, offer = chain.bid("anna", 0, 400, 200_000), chain.offer("carla", 0, 1000, 120_000)
    chain.block(bid, offer)
    chain.block(*chain.pending, time_s=period_s(1))
    event = settlement(chain)
    # The offer is filled in part and sets the price alone.
    assert event.price_u_kwh == 120_000
    assert event.fills == ((bid.record_id, 400, 400), (offer.record_id, 1000, 400))
    assert [(trade.buyer, trade.seller, trade.energy_wh) for trade in event.trades] == [(ANNA, CARLA, 400)]
    fee = value(10_000, 400)
    assert chain.claims() == {
        ANNA: -value(120_000, 400) - fee,
        CARLA: value(120_000, 400) + value(80_000, 600),
        GRID_ACCOUNT: -value(80_000, 600),
        fund_account("community fund"): fee * 8 // 10,
        fund_account("node operators"): fee * 2 // 10,
    }
    assert len(chain.machine.state.orders) == len(chain.machine.state.order_places) == 0
    assert len(chain.machine.state.order_counts) == 0


def test_without_orders_the_surplus_is_shared_at_the_middle_price() -> None:
    """(0.30 + 0.08) / 2 = 0.19: anna needs 400, carla gives 300, so 100 come from the grid."""
    chain = village((400, 0), (0, 0), (0, 300), binding="mid_market_village")
    chain.block(*chain.pending, time_s=period_s(1))
    assert chain.claims() == {
        ANNA: -value(190_000, 300) - value(300_000, 100),
        CARLA: value(190_000, 300),
        GRID_ACCOUNT: value(300_000, 100),
    }
    lines = {line.account: line for line in settlement(chain).settlement.lines}
    assert (lines[ANNA].neighbours_wh, lines[ANNA].grid_wh, lines[CARLA].sold_wh) == (300, 100, 300)


def test_own_roof_neighbours_and_grid_are_what_a_home_consumed() -> None:
    chain = Chain(2)
    chain.block(chain.reading("anna", -1, 0, 0, produced_wh=0), chain.reading("bela", -1, 0))
    chain.block(chain.reading("anna", 0, 50, 300, produced_wh=700), chain.reading("bela", 0, 500), time_s=period_s(1))
    lines = {line.account: line for line in settlement(chain).settlement.lines}
    anna, bela = lines[ANNA], lines[BELA]
    assert (anna.own_wh, anna.neighbours_wh, anna.grid_wh, anna.consumption_wh) == (400, 0, 50, 450)
    assert (bela.own_wh, bela.neighbours_wh, bela.grid_wh, bela.consumption_wh) == (0, 300, 200, 500)


def test_two_meters_of_one_home_are_added_up() -> None:
    chain = Chain(1, meters=2)
    chain.block(*(chain.reading("anna", -1, 0, number=number) for number in (0, 1)))
    chain.block(chain.reading("anna", 0, 30), chain.reading("anna", 0, 12, 5, number=1), time_s=period_s(1))
    row = chain.machine.state.metered[(period_s(0), ANNA)]
    assert (row.import_wh, row.export_wh) == (42, 5)


def test_a_silent_home_is_estimated_from_its_last_hour_and_later_from_the_same_time_of_day() -> None:
    chain = Chain(1)
    chain.block(chain.reading("anna", -1, 0))
    total = 0
    for period, step in enumerate((100, 200, 300, 400)):
        total += step
        chain.block(chain.reading("anna", period, total), time_s=period_s(period + 1))
    chain.block(time_s=period_s(5) + GRACE_S)
    row = chain.machine.state.metered[(period_s(4), ANNA)]
    assert (row.import_wh, row.quality) == (250, 1)
    # The next day at the time of period 2: only that counts, and estimates never do.
    for period in range(5, 96 + 4):
        total += 7
        chain.block(chain.reading("anna", period, total), time_s=period_s(period + 1))
    assert chain.machine.state.metered[(period_s(98), ANNA)].import_wh == 7
    chain.block(time_s=period_s(96 + 5) + GRACE_S)
    row = chain.machine.state.metered[(period_s(96 + 4), ANNA)]
    # Period 4 of the day before was estimated, and then interpolated when the meter came back: no measured history.
    assert (row.import_wh, row.quality) == (7, 1)


def test_a_late_reading_corrects_claims_to_the_last_unit() -> None:
    chain = village((400, 0), (0, 0), (0, 1000))
    chain.block(chain.bid("anna", 0, 400, 200_000), chain.offer("carla", 0, 500, 120_000))
    prompt = village((400, 0), (0, 0), (0, 1000))
    prompt.block(prompt.bid("anna", 0, 400, 200_000), prompt.offer("carla", 0, 500, 120_000))
    prompt.block(*prompt.pending, time_s=period_s(1))
    chain.block(*chain.pending[:2], time_s=period_s(1))
    chain.block(time_s=period_s(1) + GRACE_S)
    estimated = chain.claims()
    # Carla's silence counts as nothing delivered: she owes anna the difference to the grid.
    assert estimated[CARLA] == -value(300_000 - 120_000, 400)
    chain.block(chain.pending[2], time_s=period_s(2) - 1)
    (event,) = [event for event in chain.events[chain.machine.height] if isinstance(event, PeriodCorrected)]
    assert event.start_s == period_s(0)
    assert chain.claims() == prompt.claims() != estimated


def test_after_the_deadline_a_period_is_final() -> None:
    chain = village((400, 0), (0, 0), (0, 1000))
    chain.block(chain.bid("anna", 0, 400, 200_000), chain.offer("carla", 0, 500, 120_000))
    chain.block(*chain.pending, time_s=period_s(1))
    assert len(chain.machine.state.trades) == 1
    chain.block(time_s=period_s(1) + CORRECTION_S)
    assert chain.machine.state.periods[period_s(0)].status == rows.PERIOD_PROVISIONAL
    chain.block(time_s=period_s(1) + CORRECTION_S + 1)
    assert chain.machine.state.periods[period_s(0)].status == rows.PERIOD_FINAL
    assert len(chain.machine.state.trades) == 0
    finals = [event for event in chain.events[chain.machine.height] if isinstance(event, PeriodFinal)]
    assert [event.start_s for event in finals] == [period_s(0)]


def test_what_is_final_stays_even_when_a_reading_explains_it() -> None:
    """Four silent days: the register at their end says what was used, but the first two days are closed for good."""
    chain = Chain(1)
    chain.block(chain.reading("anna", -1, 0))
    days = 4 * 96
    chain.block(time_s=period_s(days))
    while chain.machine.close_possible(chain.now_s):
        chain.block()
    first_open = (chain.machine.state.meta[0].next_final_s - period_s(0)) // 900
    assert 0 < first_open < days - 1
    assert chain.say(chain.reading("anna", days - 1, 100 * days)) == Verdict.ACCEPTED
    chain.block(time_s=chain.now_s + GRACE_S)
    energy = {start: row.import_wh for (start, _), row in chain.machine.state.metered.items()}
    assert {wh for start, wh in energy.items() if start < period_s(first_open)} == {0}
    assert {wh for start, wh in energy.items() if start >= period_s(first_open)} == {100}


def test_a_correction_that_changes_nothing_is_none() -> None:
    chain = village((100, 0))
    chain.block(*chain.pending, time_s=period_s(1))
    assert chain.say(chain.reading("anna", 0, 10_100, 10_000, version=1)) == Verdict.ACCEPTED
    assert chain.machine.state.periods[period_s(0)].corrections == 1  # it is known to be corrected now
    assert chain.say(chain.reading("anna", 0, 10_100, 10_000, version=2)) == Verdict.ACCEPTED
    assert chain.machine.state.periods[period_s(0)].corrections == 1


def test_what_no_estimate_looks_back_to_is_forgotten() -> None:
    """Four similar days and two for corrections: after ten days the state has stopped growing."""
    chain = Chain(1)
    sizes = []
    for day in range(12):
        for quarter in range(0, 96, 16):
            period = day * 96 + quarter
            chain.block(
                chain.reading("anna", period - 1, 100 * (period + 1)), time_s=max(period_s(period), chain.now_s)
            )
        sizes.append(len(chain.machine.state.dump()))
    assert sizes[-1] == sizes[-2] == sizes[-3] > 0
    assert min(start for start, _ in chain.machine.state.periods.items()) > period_s(3 * 96)


def test_the_market_and_the_book_have_one_limit() -> None:
    assert book.MAX_ORDERS_PER_PERIOD == ORDERS_MAX


def test_orders_of_all_together_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real limit of thousands is the same code with another number."""
    monkeypatch.setattr(book, "MAX_ORDERS_PER_PERIOD", 3)
    chain = Chain(2)
    found = chain.say(*(chain.bid(home, 1, 100, 150_000) for home in ("anna", "anna", "bela", "bela")))
    assert found == [Verdict.ACCEPTED] * 3 + [Verdict.TOO_MANY_ORDERS]


def test_verdicts_come_in_the_order_of_the_records() -> None:
    chain = village((1, 0), (2, 0), (3, 0))
    chain.block(*chain.pending, chain.issue("bela"), chain.issue("anna"), time_s=period_s(1))
    done = [event for event in chain.events[chain.machine.height] if isinstance(event, RecordDone)]
    assert [event.position for event in done] == list(range(5))
    assert [event.verdict for event in done] == [Verdict.ACCEPTED] * 3 + [Verdict.NOT_ADMINISTRATOR, Verdict.ACCEPTED]
    assert POOL_ACCOUNT not in chain.claims()
    assert msgspec.structs.asdict(done[0])["account"] == ANNA
