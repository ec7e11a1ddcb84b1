"""Readings: registers become the energy of periods; gaps, late and corrected values, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshnode.ledger import readings, rows
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from meshnode.settlement.closing import PeriodClosed, PeriodCorrected
from protocols.block import SignedRecord
from protocols.records import (
    DEFAULT_LIMITS,
    QUALITY_CORRECTED,
    QUALITY_ESTIMATED,
    QUALITY_MEASURED,
    Limits,
    OpenCounters,
    Reading,
)
from tests.ledger.chain import PERIOD_S, Chain, account, member, period_s
from tests.protocols.village import meter
from zencode.presets import preset

MEASURED, CORRECTED, ESTIMATED = QUALITY_MEASURED, QUALITY_CORRECTED, QUALITY_ESTIMATED


def energy(chain: Chain, home: str, period: int) -> tuple[int, int, int]:
    """(import, export, quality) of a closed period."""
    row = chain.machine.state.metered[(period_s(period), account(home))]
    return row.import_wh, row.export_wh, row.quality


# --- single readings


def test_the_energy_of_a_period_is_what_the_register_rose() -> None:
    chain = Chain(1)
    chain.block(chain.reading("anna", -1, 1000, 70))
    chain.block(chain.reading("anna", 0, 1250, 75), time_s=period_s(1))
    assert energy(chain, "anna", 0) == (250, 5, MEASURED)


def test_a_meter_without_a_baseline_is_estimated_until_it_comes() -> None:
    chain = Chain(1)
    chain.block(chain.reading("anna", 0, 1250), time_s=period_s(1))
    assert energy(chain, "anna", 0) == (0, 0, ESTIMATED)
    chain.block(chain.reading("anna", -1, 1000))
    assert energy(chain, "anna", 0) == (250, 0, MEASURED)


def test_a_missing_reading_is_interpolated_and_nothing_gets_lost() -> None:
    """Periods 0 to 2 are silent; 3 tells what all four took together: 1001 Wh."""
    chain = Chain(1)
    chain.block(chain.reading("anna", -1, 0))
    chain.block(chain.reading("anna", 3, 1001), time_s=period_s(4))
    found = [energy(chain, "anna", period) for period in range(4)]
    assert found == [(250, 0, ESTIMATED), (250, 0, ESTIMATED), (250, 0, ESTIMATED), (251, 0, ESTIMATED)]


def test_a_reading_that_fills_a_gap_corrects_both_sides() -> None:
    chain = Chain(1)
    chain.block(chain.reading("anna", -1, 0))
    chain.block(chain.reading("anna", 3, 1000), time_s=period_s(4))
    chain.block(chain.reading("anna", 1, 900))
    assert [energy(chain, "anna", period)[0] for period in range(4)] == [450, 450, 50, 50]
    chain.block(chain.reading("anna", 0, 100))
    assert energy(chain, "anna", 0) == (100, 0, MEASURED)
    assert energy(chain, "anna", 1) == (800, 0, MEASURED)


def test_a_late_reading_beyond_the_open_period_corrects_the_silence_before_it() -> None:
    """After an outage one block closes a few periods; a reading from after them still explains them."""
    chain = Chain(1, limits=limits(max_periods_per_block=4))
    chain.block(chain.reading("anna", -1, 0))
    chain.block(time_s=period_s(10))  # closes 0 to 3 as estimates; 4 is the oldest open period
    assert [energy(chain, "anna", period) for period in range(4)] == [(0, 0, ESTIMATED)] * 4
    chain.block(chain.reading("anna", 9, 1000), time_s=period_s(10) + 10)
    assert [energy(chain, "anna", period)[0] for period in range(4)] == [100] * 4
    chain.block()
    assert sum(energy(chain, "anna", period)[0] for period in range(10)) == 1000


def test_a_newer_version_replaces_and_an_older_does_not() -> None:
    chain = Chain(1)
    chain.block(chain.reading("anna", -1, 0))
    first = chain.reading("anna", 0, 400)
    assert chain.say(first, time_s=period_s(1)) == Verdict.ACCEPTED
    assert chain.say(chain.reading("anna", 0, 300, version=2)) == Verdict.ACCEPTED
    assert energy(chain, "anna", 0) == (300, 0, CORRECTED)
    assert chain.say(chain.reading("anna", 0, 350, version=1)) == Verdict.VERSION_CONFLICT
    assert chain.say(first) == Verdict.VERSION_CONFLICT
    assert chain.say(chain.reading("anna", 0, 300, version=2)) == Verdict.REPEATED
    assert chain.say(chain.reading("anna", 0, 301, version=2)) == Verdict.VERSION_CONFLICT
    assert energy(chain, "anna", 0) == (300, 0, CORRECTED)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({"import_wh": 999}, Verdict.REGISTER_DECREASES),
        ({"import_wh": 2001}, Verdict.REGISTER_DECREASES),
        ({"import_wh": 1500, "export_wh": 9}, Verdict.REGISTER_DECREASES),
        ({"import_wh": 1500, "export_wh": 15, "produced_wh": 99}, Verdict.REGISTER_DECREASES),
        ({"import_wh": 1500, "export_wh": 15, "produced_wh": 150}, Verdict.ACCEPTED),
        ({"import_wh": 1500, "export_wh": 15}, Verdict.ACCEPTED),
        ({"import_wh": 1000, "export_wh": 10, "produced_wh": 100}, Verdict.ACCEPTED),
    ],
)
def test_no_register_runs_backwards(values: dict[str, int], verdict: Verdict) -> None:
    """Between 1000 Wh before and 2000 Wh after, in whatever order they come."""
    chain = Chain(1)
    chain.block(chain.reading("anna", -1, 1000, 10, produced_wh=100))
    chain.block(chain.reading("anna", 1, 2000, 20, produced_wh=200), time_s=period_s(2))
    assert chain.say(chain.reading("anna", 0, **({"export_wh": 10} | values))) == verdict


def test_more_than_any_connection_carries_is_refused() -> None:
    """A quarter of an hour at the limit, and one Wh more; the same for export and production."""
    most = readings.MAX_CONNECTION_W // 4
    chain = Chain(1)
    chain.block(chain.reading("anna", -1, 0, 0, produced_wh=0))
    over = {"import_wh": most + 1}, {"import_wh": 0, "export_wh": most + 1}, {"import_wh": 0, "produced_wh": most + 1}
    chain.block(time_s=period_s(1))
    for values in over:
        assert chain.say(chain.reading("anna", 0, **values)) == Verdict.IMPLAUSIBLE
    assert chain.say(chain.reading("anna", 0, most, most, produced_wh=most)) == Verdict.ACCEPTED
    assert chain.say(chain.reading("anna", -1, 0, version=1, produced_wh=0)) == Verdict.ACCEPTED


def test_a_day_of_every_meter_at_its_limit_can_be_settled() -> None:
    """The largest sum that honest signatures can make must not stop the ledger: sixteen meters, a day long."""
    text = preset("mid_market_village").replace("settlement period is 15 minutes", "settlement period is 1 day")
    start = 1_800_000_000 // 86400 * 86400 + 86400
    chain = Chain(1, binding=text, meters=16, start_s=start, zone_changes=((0, 0),))
    most = readings.MAX_CONNECTION_W * 24
    day = {"period_start_s": start}
    chain.block(*(chain.reading("anna", 0, 0, number=number, period_start_s=start - 86400) for number in range(16)))
    chain.block(
        *(chain.reading("anna", 0, most, most, number=number, **day) for number in range(16)), time_s=start + 86400
    )
    assert chain.verdicts() == [Verdict.ACCEPTED] * 16
    row = chain.machine.state.metered[(start, account("anna"))]
    assert (row.import_wh, row.export_wh) == (16 * most, 16 * most)


def test_a_meter_that_was_replaced_during_a_long_outage_does_not_stop_the_ledger() -> None:
    """Three weeks without the mesh; the new meter counts from zero. What lies between is estimated."""
    chain = Chain(1, limits=limits(max_periods_per_block=96))
    chain.block(chain.reading("anna", -1, 10_000))
    chain.block(time_s=period_s(2016))
    assert chain.say(chain.reading("anna", 2015, 50)) == Verdict.ACCEPTED
    while chain.machine.next_period_s < period_s(2016):
        chain.block()
    found = {energy(chain, "anna", period) for period in range(1500, 2015)}
    assert found == {(0, 0, ESTIMATED)}
    assert chain.say(chain.reading("anna", 2016, 300), time_s=period_s(2017)) == Verdict.ACCEPTED
    assert energy(chain, "anna", 2016) == (250, 0, MEASURED)


def test_what_a_silent_fortnight_took_is_spread_over_it() -> None:
    """The longest gap that is interpolated; one period more is estimated instead."""
    for silence, explained in ((readings.MAX_GAP_PERIODS, True), (readings.MAX_GAP_PERIODS + 1, False)):
        chain = Chain(1, limits=limits(max_periods_per_block=96))
        chain.block(chain.reading("anna", -1, 0))
        chain.block(time_s=period_s(silence))
        chain.block(chain.reading("anna", silence - 1, 10 * silence))
        while chain.machine.next_period_s < period_s(silence):
            chain.block()
        row = chain.machine.state.metered[(period_s(silence - 1), account("anna"))]
        assert (row.import_wh == 10) == explained


# --- time and place


def test_a_reading_is_for_a_period_that_is_over_and_not_yet_final() -> None:
    chain = Chain(1)
    late = 2 * 86400  # of the preset
    assert chain.say(chain.reading("anna", 0, 5, period_start_s=period_s(0) + 1)) == Verdict.PERIOD_OFF_GRID
    assert chain.say(chain.reading("anna", 0, 5), time_s=period_s(1) - 1) == Verdict.PERIOD_NOT_OVER
    assert chain.say(chain.reading("anna", 0, 5), time_s=period_s(1)) == Verdict.ACCEPTED
    assert chain.say(chain.reading("anna", 1, 6), time_s=period_s(2) + late) == Verdict.ACCEPTED
    assert chain.say(chain.reading("anna", 2, 7), time_s=period_s(3) + late + 1) == Verdict.CORRECTION_TOO_LATE


def test_a_meter_reports_with_its_own_key() -> None:
    chain = Chain(2)
    assert chain.say(chain.reading("anna", -1, 5, key=meter("bela"))) == Verdict.WRONG_KEY


def test_a_meter_counts_from_joining_to_leaving() -> None:
    chain = Chain(1)
    chain.block(chain.join(member("emil")), time_s=period_s(1) + 1)
    # The first whole period is 2; the register at the end of 1 is its baseline.
    assert chain.say(chain.reading("emil", 0, 100), time_s=period_s(2) + 1) == Verdict.METER_NOT_ACTIVE
    assert chain.say(chain.reading("emil", 1, 110)) == Verdict.ACCEPTED
    chain.block(chain.leave("emil"))
    assert chain.say(chain.reading("emil", 2, 150), time_s=period_s(3)) == Verdict.ACCEPTED
    assert chain.say(chain.reading("emil", 3, 160), time_s=period_s(4)) == Verdict.METER_NOT_ACTIVE
    chain.block(time_s=period_s(4) + 500)
    assert energy(chain, "emil", 2) == (40, 0, MEASURED)
    assert (period_s(3), account("emil")) not in chain.machine.state.metered


# --- any order gives the same


PERIODS = 8


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[dict[tuple[str, int], tuple[int, int]], list[list[tuple[str, int]]]]:
    """Registers of two homes, some never reported, and the blocks in which the others arrive, in any order."""
    registers: dict[tuple[str, int], tuple[int, int]] = {}
    for home in ("anna", "bela"):
        steps = draw(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 900)), min_size=9, max_size=9))
        total = (0, 0)
        for period, step in enumerate(steps, -1):
            total = (total[0] + step[0], total[1] + step[1])
            # The last one always comes: without it the end is a guess from history, made when it is needed.
            if period in (-1, PERIODS - 1) or draw(st.integers(0, 3)):
                registers[(home, period)] = total
    order = draw(st.permutations(sorted(registers)))
    cuts = sorted(draw(st.sets(st.integers(0, len(order)), max_size=4)))
    return registers, [list(order[low:high]) for low, high in zip([0, *cuts], [*cuts, len(order)], strict=True)]


@given(arrivals(), st.integers(1, 4))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_readings_in_any_order_give_the_same_claims_as_in_order(
    given: tuple[dict[tuple[str, int], tuple[int, int]], list[list[tuple[str, int]]]], closed_per_block: int
) -> None:
    registers, batches = given
    in_order = replay_in_order(registers)
    shuffled = Chain(2, limits=limits(max_periods_per_block=closed_per_block))
    shuffled.block(*orders(shuffled))
    for number, batch in enumerate(batches):
        records = [shuffled.reading(home, period, *registers[(home, period)]) for home, period in batch]
        shuffled.block(*records, time_s=period_s(PERIODS) + 200 + number)
        assert set(shuffled.verdicts()) <= {Verdict.ACCEPTED}
    while shuffled.machine.next_period_s < period_s(PERIODS):
        shuffled.block()
    assert shuffled.claims() == in_order.claims()
    assert dict(shuffled.machine.state.metered.items()) == dict(in_order.machine.state.metered.items())
    for home in ("anna", "bela"):
        total = sum(energy(shuffled, home, period)[0] for period in range(PERIODS))
        assert total == registers[(home, PERIODS - 1)][0] - registers[(home, -1)][0]


def replay_in_order(registers: dict[tuple[str, int], tuple[int, int]]) -> Chain:
    """Each reading in the first block after its period; what is missing is missing."""
    chain = Chain(2)
    chain.block(*orders(chain))
    chain.block(*(chain.reading(home, -1, *registers[(home, -1)]) for home in ("anna", "bela")))
    for period in range(PERIODS):
        due = [home for home in ("anna", "bela") if (home, period) in registers]
        records = [chain.reading(home, period, *registers[(home, period)]) for home in due]
        chain.block(*records, time_s=period_s(period + 1))
        chain.block(time_s=period_s(period + 1) + 130)
    return chain


def orders(chain: Chain) -> Sequence[SignedRecord]:
    """Trades in some of the periods, so that corrections meet them."""
    return [
        order
        for period in (1, 4, 5)
        for order in (chain.bid("anna", period, 300, 200_000), chain.offer("bela", period, 500, 100_000))
    ]


def test_the_same_values_and_another_arrival_differ_only_in_how_often_they_were_corrected() -> None:
    """What the property above leaves out on purpose: the ledger remembers that it corrected."""
    chain = Chain(1)
    chain.block(chain.reading("anna", -1, 0))
    chain.block(time_s=period_s(1) + 120)
    chain.block(chain.reading("anna", 0, 100))
    corrected = [event for event in chain.events[3] if isinstance(event, PeriodCorrected)]
    closed = [event for event in chain.events[2] if isinstance(event, PeriodClosed)]
    assert (len(closed), len(corrected)) == (1, 1)
    assert chain.machine.state.periods[period_s(0)].corrections == 1


# --- the search for neighbouring readings


@given(st.sets(st.integers(0, 30), max_size=8), st.integers(0, 30))
@settings(max_examples=80, derandomize=True)
def test_the_nearest_registers_are_found(known: set[int], wanted: int) -> None:
    state = State()
    state.meters.put(b"m", rows.Meter(b"a", "point", 0))
    for place in sorted(known, reverse=True):
        verdict = readings.accept(state, reading_at(place), bytes(32), PERIOD_S)
        assert verdict == Verdict.ACCEPTED
    before = max((place for place in known if place < wanted), default=None)
    after = min((place for place in known if place > wanted), default=None)
    first, last = readings.affected(state, b"m", wanted * PERIOD_S, PERIOD_S)
    assert first == (wanted if before is None else before + 1) * PERIOD_S
    assert last == (wanted if after is None else after) * PERIOD_S


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8, unique=True), st.integers(0, 32))
@settings(max_examples=80, derandomize=True)
def test_forgetting_keeps_what_is_still_counted_from(known: list[int], horizon: int) -> None:
    state = State()
    state.meters.put(b"m", rows.Meter(b"a", "point", 0))
    for place in known:
        readings.accept(state, reading_at(place), bytes(32), PERIOD_S)
    later = range(horizon, 32)
    before = [readings.energy(state, b"m", place * PERIOD_S, PERIOD_S) for place in later]
    readings.prune(state, horizon * PERIOD_S, PERIOD_S)
    assert [readings.energy(state, b"m", place * PERIOD_S, PERIOD_S) for place in later] == before
    assert sum(place < horizon * PERIOD_S for (_, place), _ in state.registers.items()) <= 1


def reading_at(place: int) -> Reading:
    return Reading(meter=b"m", period_start_s=place * PERIOD_S, values=OpenCounters(import_wh=10 * place, export_wh=0))


def limits(**changes: int) -> Limits:
    return msgspec.structs.replace(DEFAULT_LIMITS, **changes)
