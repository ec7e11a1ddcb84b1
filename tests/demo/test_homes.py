"""Homes: what the demonstration founds fits together, and what it cannot play it refuses at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meshnode import config, keys
from meshnode.collector import LEAST_INTERVAL_S
from meshnode.config import ConfigError
from meshnode.demo.homes import (
    DEMO_PRESETS,
    FIRST_HOUR,
    HOUSEHOLDS_JUNE_HOUR,
    LATE_PERIOD,
    LEAST_PERIODS,
    MAX_NODES,
    MAX_SPEED,
    MIDSUMMER_S,
    SETTLING_IN_S,
    SILENT_PERIOD,
    TELEGRAMS_A_PERIOD,
    Options,
    Village,
    check,
    found,
)
from meshnode.network.transport import peer_id_of
from meshnode.store import Store, read_genesis
from protocols.records import CLOCK_DEMONSTRATION, QUORUM_BYZANTINE, Genesis, chain_id, read_as
from tests.cli.shell import meshnode
from tests.data import data_path

MORNING_S = MIDSUMMER_S + FIRST_HOUR * 3600


def complaint(**options: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        check(Options(**options))
    return str(refused.value)


# --- what is refused


def test_what_can_be_played_is_not_refused(tmp_path: Path) -> None:
    check(Options())
    check(Options(nodes=1, speed=1, directory=tmp_path, report=tmp_path / "report.json"))
    check(Options(nodes=10, speed=600, directory=tmp_path / "new", preset="mid-market-village"))
    check(Options(nodes=7, quorum="byzantine"))


def test_who_wants_to_bear_liars_needs_enough_homes(tmp_path: Path) -> None:
    assert complaint(quorum="byzantine") == (
        "--quorum byzantine: 5 homes\n    give --nodes 4, 7 or 10, of which 1, 2 or 3 may lie"
    )
    assert complaint(quorum="unanimous") == "--quorum unanimous: found neither majority nor byzantine"
    assert found(Options(nodes=4, quorum="byzantine"), tmp_path).genesis.quorum_mode == QUORUM_BYZANTINE


@pytest.mark.parametrize("nodes", [0, 11, -1])
def test_the_number_of_homes_has_its_bounds(nodes: int) -> None:
    assert complaint(nodes=nodes) == f"--nodes {nodes}: the demo plays 1 to 10 homes"


@pytest.mark.parametrize("speed", [0, 601, 900, -180])
def test_the_speed_has_its_bounds(speed: int) -> None:
    assert complaint(speed=speed) == (
        f"--speed {speed}: from 1 (real time) to 600 (a quarter of an hour takes 1.5 seconds)"
    )


@pytest.mark.parametrize("speed", [1, 180, 300, 450, 600])
def test_every_period_has_its_telegrams_at_every_speed(speed: int, tmp_path: Path) -> None:
    options = Options(nodes=3, speed=speed)
    made = found(options, tmp_path)
    assert made.rules.length_s / speed >= TELEGRAMS_A_PERIOD * options.telegram_s
    assert LEAST_INTERVAL_S < options.telegram_s <= 1.0
    settings = config.load(made.homes[2].node.directory).meter[0].settings
    assert settings["interval_ms"] == int(options.telegram_s * 1000)


def test_the_help_names_the_bounds_that_hold() -> None:
    said = meshnode("demo", "--help").out
    assert f"How many homes, 1 to {MAX_NODES}," in said
    assert f"so many settled periods, {LEAST_PERIODS} or more;" in " ".join(said.split())
    assert f"its clock runs, 1 to {MAX_SPEED}." in " ".join(said.split())
    for name in DEMO_PRESETS.split(", "):
        assert name in said
        check(Options(preset=name))


def test_periods_are_not_negative() -> None:
    assert complaint(periods=-1) == (
        "--periods -1: give how many periods to settle, 6 or more; 0, or leaving it out, runs until Ctrl-C"
    )


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    assert complaint(directory=tmp_path) == (
        f"--dir {tmp_path}: not empty\n    choose a new directory or empty this one"
    )
    assert complaint(directory=tmp_path / "photo.jpg") == (
        f"--dir {tmp_path}/photo.jpg: is a file\n    choose a new directory"
    )


def test_a_report_that_could_not_be_written_is_refused_before_the_play(tmp_path: Path) -> None:
    path = tmp_path / "reports" / "demo.json"
    assert complaint(report=path) == f"--json {path}: there is no folder {path.parent}\n    make it first"


def test_a_households_table_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "homes.csv"
    assert complaint(households=path) == (f"--households {path}: no such file\n    give a table of hourly series (CSV)")


def test_a_file_that_is_no_households_table_is_told_from_a_small_one(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_text("# Shopping\n\nbread, milk\n")
    with pytest.raises(ConfigError) as refused:
        found(Options(nodes=3, households=path), tmp_path)
    assert str(refused.value).startswith(f"--households {path}: not a table of homes")
    assert "a column NAME_load_kwh" in str(refused.value)


@pytest.mark.parametrize(
    ("preset", "why"),
    [
        ("nowhere", "no preset «nowhere»; there are mid-market-village, neighbour-market, "),
        ("charging_yard", "it does not say 'a period settles 2 minutes after its end', which the demo has to stretch"),
    ],
)
def test_a_preset_that_cannot_be_played_is_refused(preset: str, why: str) -> None:
    said = complaint(preset=preset)
    assert said.startswith(f"--preset {preset}: {why}")
    assert said.endswith("\n    take one that this node carries out: neighbour-market, mid-market-village")


# --- what is founded


def village(place: Path, **options: Any) -> Village:
    return found(Options(**options), place)


def test_every_home_has_the_same_genesis_and_the_keys_that_it_names(tmp_path: Path) -> None:
    made = village(tmp_path, nodes=4)
    assert [home.name for home in made.homes] == ["anna", "bela", "carla", "dora"]
    for home, member in zip(made.homes, made.genesis.members, strict=True):
        with Store.open(home.node.directory, chain_id(made.genesis)) as store:
            assert read_as(Genesis, read_genesis(store.place)) == made.genesis
        place = home.node.directory / "keys"
        assert member.name == home.name
        assert member.member_key == keys.load(place / "member.key").public
        assert member.device_key == keys.load(place / "device.key").public
        [meter] = member.meters
        assert meter.meter_key == keys.load(place / f"meter-{meter.metering_point}.key").public
    assert [member.roles for member in made.genesis.members] == [("administrator", "prosumer")] + 3 * [("prosumer",)]
    assert {entry.device_key for entry in made.genesis.validators} == {
        member.device_key for member in made.genesis.members
    }


def test_every_home_knows_all_others_and_has_a_page_of_its_own(tmp_path: Path) -> None:
    made = village(tmp_path, nodes=4)
    addresses = {
        home.name: f"{home.node.listen}/p2p/{peer_id_of(keys.load(home.node.directory / 'keys' / 'device.key').public)}"
        for home in made.homes
    }
    for home in made.homes:
        settings = config.load(home.node.directory)
        assert settings.name == home.name
        assert settings.network.listen == (home.node.listen,)
        assert f"http://{settings.web.listen}" == home.node.url
        [(chain, section)] = settings.microgrid.items()
        assert chain == chain_id(made.genesis).hex()
        assert set(section.peers) == set(addresses.values()) - {addresses[home.name]}
    ports = {
        place.rpartition(end)[2]
        for home in made.homes
        for place, end in ((home.node.web, ":"), (home.node.listen, "/"))
    }
    assert len(ports) == 8


def test_the_clock_is_a_demonstration_and_leaves_the_nodes_time_to_meet(tmp_path: Path) -> None:
    made = village(tmp_path, nodes=1, speed=300)
    clock = made.genesis.clock
    assert (clock.kind, clock.speed) == (CLOCK_DEMONSTRATION, 300)
    assert clock.shows_s == MORNING_S - SETTLING_IN_S * 300
    assert made.first_period_s == made.genesis.start_s == MORNING_S
    assert made.first_period_s % made.rules.length_s == 0
    # What a real drift of seconds becomes on that clock.
    assert made.genesis.max_drift_s >= SETTLING_IN_S * 300
    assert made.rules.grace_s == 600
    assert "a period settles 10 minutes after its end" in made.genesis.binding_text.decode()


def test_two_homes_are_read_through_a_terminal_and_the_others_are_simulated(tmp_path: Path) -> None:
    made = village(tmp_path, nodes=4)
    assert [home.kind for home in made.homes] == ["dsmr", "sml", "simulated", "simulated"]
    assert [home.emulated for home in made.homes] == ["dsmr", "sml", None, None]
    for home in made.homes:
        [meter] = config.load(home.node.directory).meter
        assert meter.driver == home.kind
        if home.emulated:
            assert meter.settings["port"] == str(home.node.directory / "meter")
    assert len({home.series.registers(MORNING_S) for home in made.homes}) == 4, "no two homes are alike"


def test_the_simulated_meter_reads_the_series_that_orders_are_made_from(tmp_path: Path) -> None:
    from drivers.simulated import SimulatedHome

    home = village(tmp_path, nodes=3, seed=9).homes[2]
    settings = config.load(home.node.directory).meter[0].settings
    simulated = SimulatedHome(settings["seed"], settings["annual_wh"], settings["pv_peak_w"])
    for time_s in range(MORNING_S, MORNING_S + 7200, 600):
        assert simulated.registers(time_s) == home.series.registers(time_s)


@pytest.mark.parametrize(
    ("nodes", "silent", "late"), [(1, {"anna"}, {"anna"}), (2, {"anna"}, {"anna"}), (3, {"carla"}, {"bela"})]
)
def test_one_reading_is_left_out_and_one_comes_late_in_every_village(
    tmp_path: Path, nodes: int, silent: set[str], late: set[str]
) -> None:
    troubles = {
        home.name: config.load(home.node.directory).meter[0].rehearsal for home in village(tmp_path, nodes=nodes).homes
    }
    assert {name for name, trouble in troubles.items() if trouble and trouble.silent_periods} == silent
    assert {name for name, trouble in troubles.items() if trouble and trouble.late_periods} == late
    assert {trouble.silent_periods for trouble in troubles.values() if trouble} <= {(), (SILENT_PERIOD,)}
    assert {trouble.late_periods for trouble in troubles.values() if trouble} <= {(), (LATE_PERIOD,)}


def test_recorded_homes_are_replayed_from_the_same_hour_as_they_are_traded(tmp_path: Path) -> None:
    table = data_path("households", "citylearn2022_17homes_1h.csv.gz")
    made = village(tmp_path, nodes=3, households=table)
    assert [home.kind for home in made.homes] == ["dsmr", "sml", "replay"]
    [meter] = config.load(made.homes[2].node.directory).meter
    assert meter.settings["path"] == str(table.absolute())
    assert (meter.settings["start_s"], meter.settings["first_hour"]) == (MIDSUMMER_S, HOUSEHOLDS_JUNE_HOUR)
    from drivers.replay import recorded_home

    replayed = recorded_home(table, meter.settings["home"], MIDSUMMER_S, HOUSEHOLDS_JUNE_HOUR)
    for time_s in range(MORNING_S, MORNING_S + 7200, 900):
        assert replayed.registers(time_s) == made.homes[2].series.registers(time_s)


def test_a_table_with_fewer_homes_than_asked_for_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    table = tmp_path / "homes.csv"
    table.write_text("a_load_kwh,b_load_kwh\n1,2\n3,4\n")
    with pytest.raises(ConfigError, match=r"homes.csv: holds 2 homes, the demo asks for 3"):
        village(tmp_path / "demo", nodes=3, households=table)
    assert not (tmp_path / "demo").exists()
