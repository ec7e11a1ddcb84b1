"""Homes: registers that follow from consumption and production, recorded or simulated."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.driver import DriverError
from drivers.home import QUARTER_S, HomeSeries, Quarter, RecordedHome, Registers, split
from drivers.households import MAX_HOUR_WH, home_names, quarters, read_home, read_table
from drivers.replay import recorded_home
from drivers.simulated import DAY_S, DEFAULT_START_S, SimulatedHome

START_S = 1_767_225_600  # 2026-01-01 00:00 UTC
energies = st.integers(0, 5_000)
some_quarters = st.lists(st.builds(Quarter, energies, energies), min_size=1, max_size=8)


def balance(registers: Registers) -> int:
    """Import - export - (consumption - production): 0 at any time."""
    return registers.import_wh - registers.export_wh - registers.consumed_wh + registers.produced_wh


def counters(registers: Registers) -> tuple[int, int, int, int]:
    return registers.import_wh, registers.export_wh, registers.produced_wh, registers.consumed_wh


@given(home=some_quarters, times=st.lists(st.integers(-1000, 20_000), min_size=2, max_size=20))
def test_registers_balance_at_every_second_and_never_fall(home: list[Quarter], times: list[int]) -> None:
    series = RecordedHome(home, START_S)
    states = [series.registers(START_S + time) for time in sorted(times)]
    assert all(balance(state) == 0 for state in states)
    for earlier, later in pairwise(states):
        assert all(a <= b for a, b in zip(counters(earlier), counters(later), strict=True))


@given(home=some_quarters, rounds=st.integers(0, 3))
def test_registers_are_exact_at_the_end_of_every_quarter(home: list[Quarter], rounds: int) -> None:
    """After the last quarter the recording begins again and the registers go on rising."""
    series = RecordedHome(home, START_S)
    first = rounds * len(home)
    for index, quarter in enumerate(home, start=first):
        before = series.registers(START_S + index * QUARTER_S)
        after = series.registers(START_S + (index + 1) * QUARTER_S)
        assert after.consumed_wh - before.consumed_wh == quarter.consumed_wh
        assert after.produced_wh - before.produced_wh == quarter.produced_wh
        net = quarter.consumed_wh - quarter.produced_wh
        assert after.import_wh - before.import_wh == max(0, net)
        assert after.export_wh - before.export_wh == max(0, -net)
        assert before.power_w == 4 * net


def test_registers_rise_in_a_straight_line_within_a_quarter() -> None:
    series = RecordedHome([Quarter(900, 0)], START_S)
    assert [series.registers(START_S + s).import_wh for s in (0, 1, 450, 899, 900)] == [0, 1, 450, 899, 900]


def test_before_its_start_a_home_stands_still() -> None:
    series = RecordedHome([Quarter(900, 100)], START_S)
    assert counters(series.registers(START_S - 5000)) == (0, 0, 0, 0)
    assert series.registers(START_S - 1).power_w == 0


@given(total=st.integers(0, 10**9), weights=st.lists(st.integers(0, 10**6), min_size=1, max_size=100))
def test_parts_sum_to_the_whole_and_are_off_by_less_than_one(total: int, weights: list[int]) -> None:
    parts = split(total, weights)
    assert sum(parts) == total
    if any(weights):
        for part, weight in zip(parts, weights, strict=True):
            assert abs(part * sum(weights) - total * weight) < sum(weights)


@given(hours=st.lists(st.integers(0, MAX_HOUR_WH), min_size=1, max_size=48))
def test_the_quarters_of_an_hour_sum_to_it(hours: list[int]) -> None:
    cut = quarters(hours)
    assert [sum(cut[4 * i : 4 * i + 4]) for i in range(len(hours))] == hours
    assert min(cut) >= 0


def test_quarters_follow_the_slope_to_the_neighbouring_hours() -> None:
    cut = quarters([0, 400, 800, 400])
    assert cut[4:8] == sorted(cut[4:8]) and cut[4] < cut[7]
    assert cut[12:] == sorted(cut[12:], reverse=True)


# Two homes, three hours; the second home has no panels.
TABLE = """i,month,hour,day_type,a_load_kwh,a_pv_kwh,b_load_kwh
0,7,24,7,1.0004,0,0.5
1,8,1,1,2.2758,0.7495,0.25
2,8,2,1,0,3.1,0
"""


def test_a_household_keeps_the_energy_of_every_hour(tmp_path: Path) -> None:
    path = tmp_path / "homes.csv.gz"
    path.write_bytes(gzip.compress(TABLE.encode(), mtime=0))
    table = read_table(path)
    assert home_names(table) == ["a", "b"]
    home = read_home(path, table, "a", START_S)
    states = [home.registers(START_S + hour * 3600) for hour in range(4)]
    consumed = [b.consumed_wh - a.consumed_wh for a, b in pairwise(states)]
    produced = [b.produced_wh - a.produced_wh for a, b in pairwise(states)]
    assert consumed == [1000, 2276, 0]  # 2275.8 Wh, rounded half up
    assert produced == [0, 750, 3100]  # 749.5 Wh
    assert read_home(path, table, "b", START_S).registers(START_S + 3 * 3600).export_wh == 0


def test_a_household_can_begin_with_another_hour(tmp_path: Path) -> None:
    path = tmp_path / "homes.csv"
    path.write_text(TABLE)
    home = read_home(path, read_table(path), "a", START_S, first_hour=1)
    assert home.registers(START_S + 3600).consumed_wh == 2276
    assert home.registers(START_S + 3 * 3600).consumed_wh == 2276 + 0 + 1000


def test_seventeen_real_homes_keep_the_energy_of_every_hour_of_the_year(data: Callable[..., Path]) -> None:
    path = data("households", "citylearn2022_17homes_1h.csv.gz")
    table = read_table(path)
    names = home_names(table)
    assert len(names) == 17
    rows = list(csv.DictReader(io.StringIO(table)))
    for name in names:
        home = read_home(path, table, name, START_S)
        before = home.registers(START_S)
        for hour, row in enumerate(rows, start=1):
            state = home.registers(START_S + hour * 3600)
            assert state.consumed_wh - before.consumed_wh == _wh(row[f"{name}_load_kwh"])
            assert state.produced_wh - before.produced_wh == _wh(row[f"{name}_pv_kwh"])
            assert balance(state) == 0
            before = state


def _wh(kwh: str) -> int:
    return int((Decimal(kwh) * 1000).to_integral_value(ROUND_HALF_UP))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (TABLE.replace("2.2758", "much"), ":3, column a_load_kwh"),
        (TABLE.replace("0.7495", "-1"), ":3, column a_pv_kwh"),
        (TABLE.replace("2.2758", "2275800"), ":3, column a_load_kwh"),
        (TABLE.splitlines()[0] + "\n", "no rows"),
        (TABLE.replace("a_load", "c_load"), 'there is no home "a"'),
    ],
)
def test_a_mistake_in_a_households_file_is_named_with_its_place(tmp_path: Path, text: str, place: str) -> None:
    path = tmp_path / "homes.csv"
    path.write_text(text)
    with pytest.raises(DriverError) as caught:
        read_home(path, read_table(path), "a", START_S)
    assert place in str(caught.value)


def test_a_recorded_home_of_quarters_is_played_from_its_first_row(tmp_path: Path) -> None:
    path = tmp_path / "home.csv"
    path.write_text(
        "time,consumption_wh,production_wh\n"
        "2026-01-01T01:00:00+01:00,100,0\n"  # = 00:00 UTC
        f"{START_S + 900},50,250\n"
    )
    home = recorded_home(path)
    assert home.registers(START_S + 900).import_wh == 100
    end = home.registers(START_S + 1800)
    assert (end.import_wh, end.export_wh, end.produced_wh) == (100, 200, 250)
    assert recorded_home(path, start_s=START_S + 9000).registers(START_S + 9900).import_wh == 100


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("when,consumption_wh\n1,2\n", ":1: columns when"),
        ("time,consumption_wh\n2026-01-01T00:00:00,2\n", ":2, column time"),
        ("time,consumption_wh\n901,2\n", ":2, column time"),
        ("time,consumption_wh\n900,2\n2700,2\n", ":3, column time: 2700 s; expected 1800 s"),
        ("time,consumption_wh\n900,2.5\n", ":2, column consumption_wh"),
        ("time,consumption_wh,production_wh\n900,2\n", ':2, column production_wh: ""; expected whole Wh'),
        ("time,consumption_wh\n900," + "7" * 1000 + "\n", 'consumption_wh: "' + "7" * 40 + '..."; expected'),
        ("time,consumption_wh\n" + "7" * 1000 + ",2\n", 'column time: "' + "7" * 40 + '..."; expected'),
        ("time,consumption_wh\n", "no rows"),
        ("time,consumption_wh\n900," + "9" * 200_000 + "\n", ":2: field larger than"),
    ],
)
def test_a_mistake_in_a_recording_is_named_with_its_place(tmp_path: Path, text: str, place: str) -> None:
    path = tmp_path / "home.csv"
    path.write_text(text)
    with pytest.raises(DriverError) as caught:
        recorded_home(path)
    assert place in str(caught.value)


# Without the time of making: it would be in the names of the tests, and differ between the processes that collect them.
PACKED = gzip.compress(b"h01_load_kwh\n" + b"0.25\n1.75\n" * 200, mtime=0)
ALTERED = "it was compressed with gzip, and altered or cut off since"


@pytest.mark.parametrize(
    ("contents", "why"),
    [
        (None, "No such file or directory"),
        (b"\x1f\x8bnot gzip", ALTERED),
        (PACKED[:-9], ALTERED),
        (PACKED[:12] + b"\xff" * 30 + PACKED[42:], ALTERED),
        (b"h01\xff\xfe", "it is no text, byte 4 is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, contents: bytes | None, why: str) -> None:
    path = tmp_path / "home.csv"
    if contents is not None:
        path.write_bytes(contents)
    with pytest.raises(DriverError) as caught:
        recorded_home(path)
    assert str(caught.value) == (
        f"{path}: cannot be read: {why}; expected a CSV file, plain or gzip\n    check its name and contents"
    )


def test_a_file_name_that_no_file_can_have_is_refused_like_any_other() -> None:
    with pytest.raises(DriverError, match="cannot be read"):
        read_table(Path("home\0.csv"))


def test_a_simulated_home_is_the_same_whoever_asks_and_in_whatever_order() -> None:
    times = [START_S + s for s in (0, 40_000, 200 * DAY_S + 12 * 3600 + 7, 90 * DAY_S, 1)]
    one, other = SimulatedHome(7, pv_peak_w=4000), SimulatedHome(7, pv_peak_w=4000)
    expected = {time: one.registers(time) for time in times}
    for time in sorted(times):
        assert other.registers(time) == expected[time]
    assert SimulatedHome(8, pv_peak_w=4000).registers(times[2]) != expected[times[2]]


def test_the_registers_of_a_seed_stay_what_they_were() -> None:
    """A restarted or upgraded node must not see its simulated meter jump."""
    state = SimulatedHome(7, pv_peak_w=4000).registers(DEFAULT_START_S + 100 * DAY_S + 12 * 3600 + 450)
    assert counters(state) == (618_392, 356_210, 684_944, 947_126)


@given(
    seed=st.integers(0, 2**32),
    peak=st.integers(0, 20_000),
    offset=st.sampled_from([-5 * 3600, 0, 3600, 5 * 3600 + 1800]),
    times=st.lists(st.integers(-DAY_S, 40 * DAY_S), min_size=2, max_size=12),
)
def test_a_simulated_home_balances_and_never_falls(seed: int, peak: int, offset: int, times: list[int]) -> None:
    home: HomeSeries = SimulatedHome(seed, pv_peak_w=peak, utc_offset_s=offset)
    states = [home.registers(START_S + time) for time in sorted(times)]
    assert all(balance(state) == 0 for state in states)
    for earlier, later in pairwise(states):
        assert all(a <= b for a, b in zip(counters(earlier), counters(later), strict=True))


def test_a_simulated_year_looks_like_one() -> None:
    home = SimulatedHome(3, annual_wh=3_500_000, pv_peak_w=5000)
    year = home.registers(START_S + 365 * DAY_S)
    assert 3_200_000 < year.consumed_wh < 3_800_000
    assert 3_500_000 < year.produced_wh < 7_500_000  # 700 to 1500 kWh per kWp
    summer_day = [home.registers(START_S + 170 * DAY_S + h * 3600) for h in range(25)]
    produced = [b.produced_wh - a.produced_wh for a, b in pairwise(summer_day)]
    assert produced[0] == produced[23] == 0  # dark at midnight
    assert produced[12] > produced[7] > 0
    used = [b.consumed_wh - a.consumed_wh for a, b in pairwise(summer_day)]
    assert sum(used[17:21]) > 2 * sum(used[1:5])  # supper, not the small hours
