"""Every codec against the project's own synthetic telegrams (vectors/*.toml).

A vector is a telegram with what it is, the measurement it amounts to and what
the codec counts. So every codec is covered without the shared captures.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from drivers.codecs import CODECS, codec
from drivers.codecs.obis import Number, Obis
from drivers.codecs.telegram import MAX_INT64, Telegram, Value, measure
from drivers.measurement import Measurement
from drivers.tools import capture_bytes
from tests.drivers.feeding import junk, read, ways_to_cut

VECTORS = sorted((Path(__file__).parent / "vectors").glob("*.toml"))


def load(path: Path) -> dict[str, Any]:
    vector = tomllib.loads(path.read_text())
    vector["bytes"] = capture_bytes(vector["telegram"].encode())
    return vector


def expected(vector: dict[str, Any]) -> list[Measurement]:
    return [
        msgspec.convert({"metering_point": "m", **measurement}, Measurement)
        for measurement in vector.get("measurement", [])
    ]


def measured(vector: dict[str, Any], pieces: list[bytes]) -> list[Measurement]:
    return [measure(telegram, "m", produced_channel=1) for telegram in read(vector["codec"], pieces)]


def test_every_codec_has_vectors_with_and_without_a_result() -> None:
    vectors = [load(path) for path in VECTORS]
    for name in CODECS:
        results = {bool(vector.get("measurement")) for vector in vectors if vector["codec"] == name}
        assert results == {True, False}, name


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_a_telegram_gives_its_measurement_however_it_is_cut(path: Path) -> None:
    vector = load(path)
    for pieces in ways_to_cut(vector["bytes"], seed=1):
        assert measured(vector, pieces) == expected(vector)


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_the_codec_counts_what_it_saw(path: Path) -> None:
    vector = load(path)
    reader = codec(vector["codec"])
    reader.feed(vector["bytes"])
    counted = msgspec.to_builtins(reader.counters)
    assert {name: counted[name] for name in vector["counters"]} == vector["counters"]


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_junk_before_between_and_after_a_telegram_costs_nothing(path: Path) -> None:
    vector = load(path)
    for noise in junk(vector["bytes"], seed=2):
        stream = noise + vector["bytes"] + noise + vector["bytes"] + noise
        for pieces in ways_to_cut(stream, seed=3, tries=2):
            assert measured(vector, pieces) == expected(vector) * 2, noise


def test_a_meter_that_has_sent_checksums_cannot_drop_them() -> None:
    """E.ON and ESB meters tell no version; a telegram that lost its checksum is still found out."""
    sealed = load(Path(__file__).parent / "vectors" / "dsmr_summer_letter_in_winter.toml")["bytes"]
    bare = sealed[: sealed.index(b"!")].replace(b"10.181", b"19.181") + b"!\r\n"
    assert len(read("dsmr", [bare])) == 1
    assert len(read("dsmr", [sealed, bare, sealed])) == 2


def test_a_telegram_that_never_ends_is_given_up_and_the_next_one_read() -> None:
    for name, start in (("dsmr", b"/ABC5endless\r\n\r\n"), ("sml", b"\x1b\x1b\x1b\x1b\x01\x01\x01\x01")):
        vector = next(v for v in map(load, VECTORS) if v["codec"] == name and v.get("measurement"))
        reader = codec(name)
        assert reader.feed(start + b"0" * 100_000) == []
        assert reader.counters.overlong >= 1
        assert len(reader.feed(vector["bytes"])) == 1


def watts(quantity: int, w: int) -> Value:
    return Value(Obis(1, 0, quantity, 7, 0), Number(w, 0, "W"))


def test_power_that_only_the_difference_of_two_values_makes_absurd_is_left_out() -> None:
    # Each of the two fits 64 bits with sign, as SML sends it; import minus export does not.
    telegram = Telegram("sml", "", "", (watts(1, MAX_INT64), watts(2, -MAX_INT64)))
    assert measure(telegram, "m").power_w is None
    # So with what is made of three phases when the meter sends no total.
    phases = Telegram("sml", "", "", tuple(watts(quantity, MAX_INT64) for quantity in (21, 41, 61)))
    measurement = measure(phases, "m")
    assert [phase.power_w for phase in measurement.phases] == [MAX_INT64] * 3
    assert measurement.power_w is None


def test_a_value_that_cannot_be_read_is_not_taken_for_zero() -> None:
    # Import in a unit that is no power's: what is left, the export alone, is not the power of the home.
    odd = Value(Obis(1, 0, 1, 7, 0), Number(3000, 0, "VA"))
    assert measure(Telegram("sml", "", "", (odd, watts(2, 500))), "m").power_w is None
    # Two quadrants whose sum is absurd, and two that are fine.
    quadrants = ((5, MAX_INT64), (6, MAX_INT64), (7, 20), (8, 10))
    reactive = tuple(Value(Obis(1, 0, quantity, 7, 0), Number(var, 0, "var")) for quantity, var in quadrants)
    assert measure(Telegram("sml", "", "", reactive), "m").reactive_var is None
    assert measure(Telegram("sml", "", "", reactive[2:]), "m").reactive_var == -30
