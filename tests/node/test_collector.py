"""Collector: measurements at any time become one reading a period, or none, and never a guess."""

from __future__ import annotations

import logging
from bisect import bisect_left
from itertools import pairwise

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as some
from trio.testing import MockClock

from meshnode.config import Rehearsal
from protocols.records import meter_id_of
from protocols.records.statements import MAX_COUNTER_WH, MAX_POWER_W
from tests.node.meters import LENGTH_S, START_S, Home, at, heard, says


async def test_a_register_at_the_boundary_lies_between_the_measurements_around_it(autojump_clock: MockClock) -> None:
    home = await heard(at(800, 1000, 70), at(1000, 1201, 71, power_w=250))
    # Half-way between the two, and rounded down: 1000 + 201 / 2 and 70 + 1 / 2.
    assert home.heard == [(0, 1100, 70)]
    [(reading, values)] = home.values()
    assert reading.meter == home.collector.meter == meter_id_of(home.key.public)
    assert reading.period_start_s == START_S
    assert (values.power_w, values.produced_wh) == (250, None)
    assert home.readings[0][1] == 0, "nothing is held back but in a rehearsal"


async def test_every_period_gets_its_reading_in_order(autojump_clock: MockClock) -> None:
    home = await heard(*(at(minute * 60, minute * 10, minute) for minute in range(5, 61, 5)))
    assert home.heard == [(0, 150, 15), (1, 300, 30), (2, 450, 45), (3, 600, 60)]
    assert (home.health.state, home.health.problem, home.health.errors) == ("reading", "", 0)
    assert home.health.telegrams == 12
    assert home.health.last_telegram_s == START_S + 3600
    assert [sample.time_s - START_S for sample in home.samples] == list(range(300, 3601, 300))


async def test_a_measurement_at_the_very_second_of_the_boundary_is_the_reading(autojump_clock: MockClock) -> None:
    home = await heard(at(890, 1000), at(900, 1007), at(910, 2000))
    assert home.heard == [(0, 1007, 0)], "not once more for the measurement after it"


async def test_the_first_measurement_is_no_reading_even_on_a_boundary(autojump_clock: MockClock) -> None:
    """Nobody knows how long the node was not there."""
    assert (await heard(at(900, 1000), at(1000, 1100))).heard == []


async def test_measurements_a_whole_period_apart_still_make_a_reading(autojump_clock: MockClock) -> None:
    assert (await heard(at(450, 1000), at(1350, 3000))).heard == [(0, 2000, 0)]


async def test_after_a_longer_gap_the_reading_is_missing_and_the_log_says_so(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        home = await heard(at(450, 1000), at(1351, 3000), at(1810, 4000))
    assert home.heard == [(1, 3978, 0)]
    assert caplog.messages == ["meter home: no measurement for 901 s; the readings between are missing"]


async def test_a_gap_over_several_boundaries_makes_up_none_of_them(autojump_clock: MockClock) -> None:
    assert (await heard(at(100, 1000), at(3700, 9000), at(3800, 9100))).heard == []


async def test_after_a_gap_a_measurement_on_the_boundary_is_measured_not_made_up(autojump_clock: MockClock) -> None:
    home = await heard(at(100, 1000), at(2700, 9000))
    assert home.heard == [(2, 9000, 0)]


async def test_the_period_in_force_decides_where_the_boundaries_are(autojump_clock: MockClock) -> None:
    home = Home(says(at(1700, 100), at(1900, 300), at(3500, 400), at(3700, 600)))
    home.length_s = 3600
    await home.listen(5)
    assert home.heard == [(0, 500, 0)]


# --- what cannot be used


async def test_a_register_that_falls_is_passed_over_and_said(autojump_clock: MockClock) -> None:
    home = await heard(at(700, 1000), at(800, 999))
    assert home.health.problem == "a register fell from 1000 to 999 Wh; was the meter exchanged?"
    assert (home.health.errors, home.health.telegrams) == (1, 1)
    home = await heard(at(700, 1000, 50), at(800, 1000, 49))
    assert home.health.problem == "a register fell from 50 to 49 Wh; was the meter exchanged?"
    # The next good one makes up for it.
    home = await heard(at(700, 1000), at(800, 0), at(1100, 1200))
    assert home.heard == [(0, 1100, 0)]
    assert (home.health.state, home.health.problem, home.health.errors) == ("reading", "", 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"import_wh": -1},
        {"import_wh": MAX_COUNTER_WH + 1},
        {"import_wh": 5, "export_wh": MAX_COUNTER_WH + 1},
        {"import_wh": 5, "produced_wh": -1},
        {"import_wh": 5, "power_w": MAX_POWER_W + 1},
        {"import_wh": 5, "power_w": -MAX_POWER_W - 1},
    ],
)
async def test_what_no_home_can_have_is_passed_over_and_said(autojump_clock: MockClock, wrong: dict[str, int]) -> None:
    home = await heard(at(800, 5), at(890, **wrong), at(1000, 15))
    assert home.heard == [(0, 10, 0)] and home.health.errors == 1
    home = await heard(at(890, **wrong))
    assert home.health.problem.endswith("out of any home's range") and home.samples == []


async def test_the_largest_values_are_good(autojump_clock: MockClock) -> None:
    home = await heard(at(890, MAX_COUNTER_WH, MAX_COUNTER_WH, produced_wh=MAX_COUNTER_WH, power_w=-MAX_POWER_W))
    assert home.health.problem == "" and len(home.samples) == 1


async def test_a_meter_without_energy_registers_may_need_its_pin(autojump_clock: MockClock) -> None:
    home = await heard(at(800, None, None, power_w=300), at(1000, None, None, power_w=300))
    assert home.health.problem == "the meter sends no energy register; does it need its PIN?"
    assert (home.health.state, home.health.telegrams, home.health.errors) == ("silent", 0, 2)
    assert home.heard == []


async def test_a_meter_that_counts_one_way_counts_nothing_the_other_way(autojump_clock: MockClock) -> None:
    assert (await heard(at(800, 1000, None), at(1000, 1200, None))).heard == [(0, 1100, 0)]
    assert (await heard(at(800, None, 1000), at(1000, None, 1200))).heard == [(0, 0, 1100)]


async def test_a_telegram_that_lacks_a_register_does_not_reset_it(autojump_clock: MockClock) -> None:
    home = await heard(at(700, 1000, 500), at(800, 1000, None))
    assert home.health.problem == "a telegram lacks a register that the meter has"
    home = await heard(at(700, 1000, 500), at(890, None, 550), at(1100, 1200, 700))
    assert home.heard == [(0, 1100, 600)] and home.health.errors == 1


async def test_a_register_that_appears_is_not_taken_to_have_risen_from_nothing(autojump_clock: MockClock) -> None:
    home = await heard(
        at(800, 1000, None), at(1000, 1200, 5_000_000), at(1700, 1300, 5_000_000), at(1900, 1400, 5_000_002)
    )
    assert home.heard == [(1, 1350, 5_000_001)]


async def test_a_clock_that_goes_back_is_said(autojump_clock: MockClock) -> None:
    home = await heard(at(800, 1000), at(500, 1010))
    assert home.health.problem == "the clock went back by 300 s; does this computer know the time?"
    home = await heard(at(800, 1000), at(500, 1010), at(1000, 1200))
    assert home.heard == [(0, 1100, 0)]


async def test_two_measurements_of_one_second_are_both_looked_at(autojump_clock: MockClock) -> None:
    assert (await heard(at(899, 1000), at(899, 1001), at(901, 1003))).heard == [(0, 1002, 0)]


async def test_measurements_without_a_time_get_the_microgrids(autojump_clock: MockClock) -> None:
    """The story begins at the start of a period; the second measurement is one second later."""
    home = await heard(at(0, 10, time_s=None), at(0, 20, time_s=None))
    assert [sample.time_s - START_S for sample in home.samples] == [0, 1]


# --- what the home's plants produce


async def test_production_is_read_at_the_boundary_too(autojump_clock: MockClock) -> None:
    home = await heard(at(800, 0, 10, produced_wh=100), at(1000, 0, 20, produced_wh=201))
    assert [values.produced_wh for _, values in home.values()] == [150]


async def test_a_fallen_production_register_is_left_out_until_it_has_passed_where_it_was(
    autojump_clock: MockClock,
) -> None:
    """The ledger would refuse every reading with it, and the home would stand without any."""
    home = await heard(
        *(at(850, 0, 0, produced_wh=1000), at(950, 10, 0, produced_wh=1010)),
        *(at(1750, 10, 0, produced_wh=3), at(1850, 30, 0, produced_wh=40)),
        *(at(2650, 30, 0, produced_wh=1020), at(2750, 50, 0, produced_wh=1030)),
    )
    assert [(values.import_wh, values.produced_wh) for _, values in home.values()] == [
        (5, 1005),
        (20, None),
        (40, 1025),
    ]
    assert (home.health.problem, home.health.errors) == ("", 2)
    home = await heard(at(850, 0, 0, produced_wh=1000), at(950, 10, 0, produced_wh=3))
    assert home.health.problem.startswith("the produced register fell from 1000 to 3 Wh and is left out")
    assert (home.health.state, home.health.telegrams) == ("reading", 2)


# --- rehearsals


async def test_a_rehearsal_leaves_out_and_holds_back_and_says_so(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    trouble = Rehearsal(silent_periods=(1,), late_periods=(2,), late_by=3)
    with caplog.at_level(logging.WARNING):
        home = await heard(*(at(second, second) for second in range(0, 3601, 450)), rehearsal=trouble)
    assert home.heard == [(0, 900, 0), (2, 2700, 0), (3, 3600, 0)]
    assert [hold for _, hold in home.readings] == [0, 3, 0]
    assert caplog.messages == [
        "meter home: rehearsal: the reading of period 1 is left out",
        "meter home: rehearsal: the reading of period 2 comes late",
    ]


# --- whatever the sampling


steps = some.lists(
    some.tuples(some.integers(0, 2 * LENGTH_S) | some.just(LENGTH_S), some.integers(0, 5000), some.integers(0, 5000)),
    min_size=1,
    max_size=12,
)


@given(some.integers(0, LENGTH_S - 1), steps)
def test_readings_are_what_was_measured_whatever_the_times(first: int, steps: list[tuple[int, int, int]]) -> None:
    """Against the definition: between the last sample before the boundary and the first one at it or after it."""
    samples = [(first, 100, 200)]
    for seconds, imported, exported in steps:
        second, import_wh, export_wh = samples[-1]
        samples.append((second + seconds, import_wh + imported, export_wh + exported))
    home = trio.run(heard_at_once, samples, clock=MockClock(autojump_threshold=0))

    expected = []
    times = [second for second, _, _ in samples]
    for boundary in range(LENGTH_S, times[-1] + 1, LENGTH_S):
        after = bisect_left(times, boundary)
        if after == 0:
            continue
        (t0, i0, e0), (t1, i1, e1) = samples[after - 1], samples[after]
        if t1 == boundary:
            expected.append((boundary // LENGTH_S - 1, i1, e1))
        elif t1 - t0 <= LENGTH_S:
            expected.append(
                (
                    boundary // LENGTH_S - 1,
                    i0 + (i1 - i0) * (boundary - t0) // (t1 - t0),
                    e0 + (e1 - e0) * (boundary - t0) // (t1 - t0),
                )
            )
    assert home.heard == expected


dense = some.lists(
    some.tuples(some.integers(1, LENGTH_S), some.integers(0, 5000), some.integers(0, 5000)), min_size=3, max_size=30
)


@given(dense)
def test_no_energy_is_lost_or_counted_twice_between_readings(steps: list[tuple[int, int, int]]) -> None:
    """Consecutive readings never fall, and their differences sum to what the meter counted between first and last."""
    samples = [(0, 1000, 2000)]
    for seconds, imported, exported in steps:
        second, import_wh, export_wh = samples[-1]
        samples.append((second + seconds, import_wh + imported, export_wh + exported))
    # The meter is read at the end of the last period, too: that reading is exact.
    end_s = -(-samples[-1][0] // LENGTH_S) * LENGTH_S
    samples.append((end_s, *samples[-1][1:]))
    home = trio.run(heard_at_once, samples, clock=MockClock(autojump_threshold=0))

    periods = [period for period, _, _ in home.heard]
    assert periods == list(range(end_s // LENGTH_S)), "one reading for each period"
    for column in (1, 2):
        registers = [row[column] for row in home.heard]
        used = [after - before for before, after in pairwise(registers)]
        assert all(energy >= 0 for energy in used)
        assert registers[0] + sum(used) == registers[-1] == samples[-1][column]
        assert registers[0] >= samples[0][column]


async def heard_at_once(samples: list[tuple[int, int, int]]) -> Home:
    return await heard(*(at(*sample) for sample in samples))
