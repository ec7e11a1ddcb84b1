"""Emulated meters: what they send decodes to the registers they were given."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.obis import Obis
from drivers.codecs.telegram import Telegram, measure
from drivers.emulated_telegrams import P1_REGISTER_WH, PRODUCED_CHANNEL, TELEGRAMS, Kind
from drivers.emulator import _damaged
from drivers.home import Registers
from drivers.measurement import Quality
from tests.drivers.feeding import junk, read, ways_to_cut

KINDS: list[Kind] = ["dsmr", "sml"]
energies = st.integers(0, P1_REGISTER_WH - 1)
registers = st.builds(
    Registers,
    import_wh=energies,
    export_wh=energies,
    produced_wh=energies,
    consumed_wh=energies,
    power_w=st.integers(-99_999, 99_999),
    time_s=st.one_of(st.none(), st.integers(946_684_800, 2_145_916_800)),  # 2000 to 2037
)


def assert_same(telegram: Telegram, sent: Registers) -> None:
    measurement = measure(telegram, "m", produced_channel=PRODUCED_CHANNEL)
    assert measurement.import_wh == sent.import_wh
    assert measurement.export_wh == sent.export_wh
    assert measurement.produced_wh == sent.produced_wh
    assert measurement.power_w == sent.power_w
    assert measurement.meter_time_s == sent.time_s
    assert measurement.quality == Quality.GOOD


@pytest.mark.parametrize("kind", KINDS)
@given(sent=registers, number=st.integers(1, 9999))
def test_what_an_emulated_meter_sends_is_what_the_codec_reads(kind: Kind, sent: Registers, number: int) -> None:
    telegrams = read(kind, [TELEGRAMS[kind](sent, number)])
    assert len(telegrams) == 1
    assert_same(telegrams[0], sent)


@pytest.mark.parametrize("kind", KINDS)
@given(sent=st.lists(registers, min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_a_row_of_telegrams_is_read_however_it_is_cut_and_among_junk(
    kind: Kind, sent: list[Registers], seed: int
) -> None:
    line = [TELEGRAMS[kind](state, 1) for state in sent]
    noise = junk(line[0], seed)[seed % 10]
    for pieces in ways_to_cut(noise + noise.join(line) + noise, seed, tries=2):
        telegrams = read(kind, pieces)
        assert len(telegrams) == len(sent)
        for telegram, state in zip(telegrams, sent, strict=True):
            assert_same(telegram, state)


@pytest.mark.parametrize("kind", KINDS)
def test_an_emulated_meter_says_that_it_is_one(kind: Kind) -> None:
    telegram = read(kind, [TELEGRAMS[kind](_state(), 5)])[0]
    assert "EMU" in telegram.device
    meter_id = bytes.fromhex(telegram.meter_id).decode() if kind == "dsmr" else telegram.meter_id
    assert meter_id == {"dsmr": "EMULATED00000005", "sml": "1EMU0000000005"}[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_every_damaged_telegram_is_noticed(kind: Kind) -> None:
    telegram = TELEGRAMS[kind](_state(), 1)
    for sent in range(1, 200):
        assert _damaged(telegram, sent) != telegram
        assert read(kind, [_damaged(telegram, sent)]) == []


def test_a_p1_register_begins_again_after_a_gigawatt_hour() -> None:
    state = _state(import_wh=P1_REGISTER_WH * 3 // 2)
    tariffs = {value.code: value.number for value in read("dsmr", [TELEGRAMS["dsmr"](state, 1)])[0].values}
    low, high = tariffs[Obis(1, 0, 1, 8, 1)], tariffs[Obis(1, 0, 1, 8, 2)]
    assert low is not None and high is not None
    assert (low.scaled(3), high.scaled(3)) == (P1_REGISTER_WH // 2, 0)


def _state(**changes: int) -> Registers:
    state = {"import_wh": 123_456, "export_wh": 7, "produced_wh": 99, "consumed_wh": 0, "power_w": -40}
    return Registers(**cast("dict[str, int]", {**state, **changes}), time_s=1_767_225_600)
