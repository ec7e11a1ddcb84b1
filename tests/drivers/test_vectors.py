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
from drivers.codecs.telegram import measure
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
