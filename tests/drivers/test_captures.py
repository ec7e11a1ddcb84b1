"""Telegrams of real meters, recorded by many people, decode to their expected values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drivers.codecs.telegram import measure
from drivers.tools import capture_bytes, decode
from tests.data import ABSENT
from tests.drivers.captures import (
    differences,
    exception_for,
    index_entries,
    known_exceptions,
    main,
    telegrams_folder,
)
from tests.drivers.feeding import junk, read, ways_to_cut

FOLDER = telegrams_folder()
ENTRIES: list[dict[str, Any]] = index_entries(FOLDER) if FOLDER else []
FILES = sorted({(entry["proto"], entry["file"]) for entry in ENTRIES})

pytestmark = pytest.mark.skipif(FOLDER is None, reason=ABSENT)


@pytest.fixture
def folder(data: Callable[..., Path]) -> Path:
    return data("telegrams")


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["file"])
def test_a_capture_decodes_to_its_expected_values(folder: Path, entry: dict[str, Any]) -> None:
    found = differences(folder, entry)
    if exception_for(entry):
        assert found, "this capture comes out right: take it off known_exceptions.toml"
    else:
        assert found == []


@pytest.mark.parametrize(("name", "file"), FILES, ids=lambda text: text)
def test_a_capture_decodes_the_same_however_it_is_cut_and_among_junk(folder: Path, name: str, file: str) -> None:
    data = capture_bytes((folder / file).read_bytes())
    whole = read(name, [data])
    for pieces in ways_to_cut(data, seed=4):
        assert read(name, pieces) == whole
    # A capture that breaks off in mid-telegram ends where the noise begins: a noise
    # that completes it would have to guess its checksum.
    for noise in junk(data, seed=5):
        for pieces in ways_to_cut(noise + data + noise + data + noise, seed=6, tries=1):
            telegrams = read(name, pieces)
            # Half of a capture holds whole telegrams of its own.
            extra = len(read(name, [noise])) * 3
            assert len(telegrams) == 2 * len(whole) + extra


def test_every_exception_names_an_entry_of_the_index(folder: Path) -> None:
    excused = [entry for entry in index_entries(folder) if exception_for(entry)]
    assert len(excused) == len(known_exceptions())


def test_the_table_is_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder)]) == 0
    print(table := capsys.readouterr().out)
    assert "dsmr" in table and "sml" in table


@pytest.mark.parametrize(
    ("file", "import_wh", "export_wh", "power_w"),
    [
        # A meter with PIN and one without: 0.1 Wh steps are cut, whole kWh stay.
        ("sml/ISKRA_MT631-D2A51-V22-K0z_with_PIN.bin", 16_824_856, None, 0),
        ("sml/ISKRA_MT631-D2A51-V22-K0z_without_PIN.bin", 16_786_000, None, None),
        # Both send power without a sign; the status word tells the direction.
        ("sml/EMH-ED300L_consumption.bin", 17_243_368, None, 137),
        ("sml/EMH-ED300L_delivery.bin", 17_243_675, None, -126),
        # A DZG meter whose negative number is a real one.
        ("sml/dzg_dwsb20_2th_2byte.bin", 142_439, 2_017_197, -310),
        # Tariffs only: 14798112.9 + 2012.4 Wh.
        ("sml/EMH_eHZ-GW8E2A500AK2.bin", 14_800_125, None, 13),
        ("dsmr/V5_EON_HU.txt", 173_640, 627_177, -2601),
        ("dsmr/ESY5Q3DA1004_V304.txt", 32_549_506, None, 1688),
    ],
)
def test_a_capture_amounts_to_a_measurement(
    folder: Path, file: str, import_wh: int, export_wh: int | None, power_w: int | None
) -> None:
    telegrams, _ = decode(file.split("/")[0], (folder / file).read_bytes())
    measurement = measure(telegrams[0], "m")
    assert (measurement.import_wh, measurement.export_wh) == (import_wh, export_wh)
    assert measurement.power_w == power_w


def test_registers_never_fall_within_a_capture(folder: Path) -> None:
    for name, file in FILES:
        telegrams, _ = decode(name, (folder / file).read_bytes())
        for register in ("import_wh", "export_wh"):
            counts = [getattr(measure(telegram, "m"), register) for telegram in telegrams]
            assert counts == sorted(counts, key=lambda count: count or 0), json.dumps([file, counts])
