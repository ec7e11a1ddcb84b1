"""The registry of drivers, their configuration, and the tools of the command line."""

from __future__ import annotations

import json
import tomllib
from contextlib import aclosing, nullcontext
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import drivers.driver
from drivers.driver import (
    BUILTIN,
    ENTRY_POINT_GROUP,
    CheckedDriver,
    Driver,
    DriverError,
    check_section,
    driver,
    driver_names,
    read_config,
)
from drivers.measurement import Quality
from drivers.serial_meter import SerialMeterConfig
from drivers.simulated import DEFAULT_START_S, SimulatedConfig, SimulatedHome
from drivers.tools import capture_bytes, decode_file, try_meter
from tests.drivers.test_vectors import VECTORS

PROJECT = Path(__file__).parents[2]


def offer(monkeypatch: pytest.MonkeyPatch, *points: tuple[str, str]) -> None:
    """Pretend that packages with these entry points are installed."""
    installed = EntryPoints(EntryPoint(name, value, ENTRY_POINT_GROUP) for name, value in points)
    monkeypatch.setattr(drivers.driver, "entry_points", lambda **chosen: installed.select(**chosen))


def test_the_built_in_table_is_the_one_in_pyproject() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"][ENTRY_POINT_GROUP] == dict(BUILTIN)


@pytest.mark.parametrize("name", BUILTIN)
def test_a_built_in_driver_is_found_without_being_installed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    offer(monkeypatch)
    assert isinstance(driver(name), Driver)
    assert driver(name).name == name


def test_a_driver_of_another_package_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, ("windmill", "drivers.simulated:simulated"))
    assert driver("windmill").name == "simulated"
    assert driver_names() == sorted([*BUILTIN, "windmill"])


def test_a_built_in_name_cannot_be_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, ("dsmr", "drivers.simulated:simulated"))
    assert driver("dsmr").name == "dsmr"


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([], 'driver "windmill": there is none of that name; expected one of dsmr, replay'),
        ([("windmill", "drivers.nowhere:it")], "cannot be loaded (No module named"),
        ([("windmill", "drivers.simulated:nothing")], "cannot be loaded ("),
        ([("windmill", "tests.drivers.broken_package:windmill")], "cannot be loaded (sails are missing)"),
        ([("windmill", "drivers.driver:BUILTIN")], "is dict; expected an object with a name"),
        ([("windmill", "a:b"), ("windmill", "c:d")], "claimed by a:b and c:d"),
    ],
)
def test_a_driver_that_cannot_be_had_is_explained(
    monkeypatch: pytest.MonkeyPatch, points: list[tuple[str, str]], message: str
) -> None:
    offer(monkeypatch, *points)
    with pytest.raises(DriverError) as caught:
        driver("windmill")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "place", "found"),
    [
        ({"port": None}, "meter garage, key port", "expected `str`, got `null`"),
        ({"baud": "fast"}, "meter garage, key baud", "expected `int`, got `str`"),
        ({"bauds": 9600}, "meter garage, key bauds", "object contains unknown field `bauds`"),
        ({"framing": "8E2"}, "meter garage, key framing", "invalid enum value '8E2'"),
    ],
)
def test_a_mistake_in_a_meter_section_names_meter_and_key(change: dict[str, Any], place: str, found: str) -> None:
    section = {"driver": "dsmr", "metering_point": "garage", "port": "/dev/ttyUSB0"}
    assert read_config(section, SerialMeterConfig).framing == "8N1"
    with pytest.raises(DriverError) as caught:
        read_config({**section, **change}, SerialMeterConfig)
    assert caught.value.place == place
    assert caught.value.found == found
    assert "metering_point" in caught.value.expected and "baud" in caught.value.expected


def test_an_interval_that_no_computer_can_sleep_is_refused() -> None:
    section = {"metering_point": "home", "seed": 1, "interval_ms": 10**400}
    with pytest.raises(DriverError) as caught:
        read_config(section, SimulatedConfig)
    assert caught.value.place == "meter home, key interval_ms"


def test_a_missing_key_is_named() -> None:
    with pytest.raises(DriverError) as caught:
        read_config({"metering_point": "garage"}, SerialMeterConfig)
    assert caught.value.place == "meter garage, key port"
    with pytest.raises(DriverError, match="meter without metering_point, key metering_point"):
        read_config({"port": "x"}, SerialMeterConfig)


async def test_a_simulated_home_follows_the_clock_it_is_given(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A demonstration clock of speed 180: 900 s of the home in 5 s."""
    start_s = DEFAULT_START_S + 11 * 3600
    origin = trio.current_time()

    def clock() -> int:
        return start_s + round((trio.current_time() - origin) * 180)

    config = {"metering_point": "h", "seed": 5, "pv_peak_w": 3000, "interval_ms": 5000}
    taken = []
    async with aclosing(try_meter("simulated", config, clock)) as measurements:
        async for measurement in measurements:
            taken.append(measurement)
            if len(taken) == 4:
                break
    assert [m.time_s for m in taken] == [start_s + 900 * i for i in range(4)]
    home = SimulatedHome(5, pv_peak_w=3000)
    for measurement in taken:
        state = home.registers(measurement.time_s or 0)
        assert (measurement.import_wh, measurement.export_wh) == (state.import_wh, state.export_wh)
        assert measurement.quality == Quality.SIMULATED


async def test_a_recorded_home_is_replayed(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    path = tmp_path / "home.csv"
    path.write_text("time,consumption_wh,production_wh\n0,90,0\n900,0,45\n")
    config = {"metering_point": "h", "path": str(path)}
    times = iter([0, 450, 900, 1800])
    taken = []
    async with aclosing(try_meter("replay", config, lambda: next(times))) as measurements:
        for _ in range(4):
            taken.append(await anext(measurements))
    assert [(m.import_wh, m.export_wh) for m in taken] == [(0, 0), (45, 0), (90, 0), (90, 45)]
    assert {m.quality for m in taken} == {Quality.REPLAYED}


async def test_a_household_is_replayed_by_name(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    path = tmp_path / "homes.csv"
    path.write_text("x,h01_load_kwh,h01_pv_kwh\n0,0.4,0\n0,0,0.8\n")
    config = {"metering_point": "h", "path": str(path), "home": "h01", "start_s": 9000}
    async with aclosing(try_meter("replay", config, lambda: 9000 + 7200)) as measurements:
        measurement = await anext(measurements)
    assert (measurement.import_wh, measurement.export_wh) == (400, 800)


async def test_a_wrong_configuration_is_said_before_the_first_measurement() -> None:
    with pytest.raises(DriverError, match="key seed"):
        await anext(try_meter("simulated", {"metering_point": "h"}))


def _telegram(stem: str) -> bytes:
    path = next(path for path in VECTORS if path.stem == stem)
    return bytes(tomllib.loads(path.read_text())["telegram"].encode())


def test_a_capture_is_decoded_to_plain_data() -> None:
    [telegram] = decode_file("dsmr", _telegram("dsmr_v5_two_sub_meters"))
    assert json.loads(json.dumps(telegram)) == telegram
    assert telegram["values"]["1-0:1.8.1*255"] == {
        "value": "100.250",
        "unit": "kWh",
        "text": "000100.250*kWh",
    }
    assert telegram["sub_meters"][1]["number"] == {"value": "246.138", "unit": "m3"}
    assert telegram["measurement"]["power_w"] == -1337
    assert telegram["checked"] is True


def test_a_capture_is_recognised_as_binary_hexadecimal_or_text() -> None:
    written = _telegram("sml_base_meter")
    raw = capture_bytes(written)
    spaced = b" ".join(b"0x%02x," % byte for byte in raw)
    decoded = decode_file("sml", raw)
    assert len(decoded) == 1 and decoded[0]["measurement"]["power_w"] == -1234
    assert decode_file("sml", written) == decode_file("sml", spaced) == decoded
    text = _telegram("dsmr_v2_no_checksum")
    assert decode_file("dsmr", text.rstrip()) == decode_file("dsmr", text.replace(b"\n", b"\r\n")) != []


def test_an_sml_file_without_its_frame_is_decoded_too() -> None:
    raw = capture_bytes(_telegram("sml_base_meter"))
    [telegram] = decode_file("sml", raw[8:-8])
    assert telegram["measurement"]["import_wh"] == 12_345_678 and telegram["checked"] is True
    blanked = raw[8:-8].replace(b"ABC", b"___")
    [telegram] = decode_file("sml", blanked)
    assert telegram["checked"] is False  # its own checksums no longer fit


def test_an_unknown_codec_is_named() -> None:
    with pytest.raises(DriverError, match='codec "morse": there is none of that name; expected one of dsmr, sml'):
        decode_file("morse", b"")
    assert decode_file("sml", b"") == decode_file("dsmr", b"hello") == []


@pytest.mark.parametrize(
    ("section", "found"),
    [
        ({"driver": "simulated"}, "meter home, key seed: object missing required field `seed`"),
        ({"driver": "dsmr", "prt": "/dev/nope"}, "meter home, key p"),
        ({"driver": "replay", "path": 7}, "meter home, key path: expected `str`, got `int`"),
        ({"driver": "abacus"}, 'driver "abacus": there is none of that name'),
    ],
)
def test_a_section_is_checked_before_its_device_is_there(section: dict[str, Any], found: str) -> None:
    with pytest.raises(DriverError) as caught:
        check_section({"metering_point": "home", **section})
    assert str(caught.value).startswith(found)


def test_built_in_drivers_check_their_sections_and_others_need_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(isinstance(driver(name), CheckedDriver) for name in BUILTIN)
    offer(monkeypatch, ("bare", "tests.drivers.test_driver:BARE"))
    check_section({"driver": "bare", "metering_point": "home", "whatever": 1})
    assert BARE.opened == 0, "a check opens nothing"


class Bare:
    """A driver of somebody else, with no more than it needs; it counts how often it is opened."""

    name = "bare"
    opened = 0

    def measurements(self, config: Any, clock: Any = None) -> Any:
        self.opened += 1
        return nullcontext()


BARE = Bare()
