"""Telegram: one complete message of a meter, decoded but not yet interpreted.

Values keep the exact number, unit and name that the meter sent; `measure`
turns them into a Measurement. Bytes and checksums are the codecs' business.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

import msgspec

from drivers.codecs.obis import Number, Obis
from drivers.measurement import Measurement, Phase, Quality

# Records downstream carry int64; a register beyond it is a broken meter.
MAX_INT64: Final = 2**63 - 1


class Value(msgspec.Struct, frozen=True):
    """One value of a telegram.

    Fields:
        code: its OBIS name.
        number: the exact number, None for a text or a list.
        items: the texts as sent (P1: between parentheses; SML: the octet string).
        time_s: UTC seconds that the meter attached to this value, if any.
    """

    code: Obis
    number: Number | None = None
    items: tuple[str, ...] = ()
    time_s: int | None = None


class SubMeter(msgspec.Struct, frozen=True):
    """A second meter (gas, heat, water, electricity) that speaks through the first, on M-Bus.

    Fields:
        channel: M-Bus channel, 1..4.
        medium: device type of EN 13757-3 (2 electricity, 3 gas, 4 heat, 7 water), if told.
        identifier: as sent.
        number: its register, None when the telegram has none.
        time_s: UTC seconds of its last reading, if told.
    """

    channel: int
    medium: int | None = None
    identifier: str = ""
    number: Number | None = None
    time_s: int | None = None


class Telegram(msgspec.Struct, frozen=True):
    """One message.

    Fields:
        codec: name of the codec that read it.
        device: how the meter names its make ("" if it does not).
        meter_id: the meter's own number ("" if it tells none).
        values: in the order sent.
        meter_time_s: UTC seconds by the meter's clock, if it has one.
        checked: a checksum covered the message and was right.
        sub_meters: by rising channel.
        exporting: direction of the total power by the meter's status word, if told.
        notes: what was odd, for people.
    """

    codec: str
    device: str
    meter_id: str
    values: tuple[Value, ...]
    meter_time_s: int | None = None
    checked: bool = True
    sub_meters: tuple[SubMeter, ...] = ()
    exporting: bool | None = None
    notes: tuple[str, ...] = ()


class Counters(msgspec.Struct):
    """What a codec has seen since it was made.

    Fields:
        frames: messages cut out whole whose checksum was right (or that carry none).
        telegrams: telegrams handed out.
        bad_checksum: messages thrown away for their checksum (or its absence).
        malformed: frames whose contents break the standard, in part or entirely.
        overlong: messages given up because they did not end within the bound.
        junk_bytes: bytes outside any message, cut-off messages included.
    """

    frames: int = 0
    telegrams: int = 0
    bad_checksum: int = 0
    malformed: int = 0
    overlong: int = 0
    junk_bytes: int = 0


class Codec(Protocol):
    """A meter protocol, fed with bytes.

    `feed` takes any bytes in pieces of any size, returns the telegrams that
    are complete with them and never raises; memory is bounded by the codec's
    own constants, whatever comes in.
    """

    name: str
    counters: Counters

    def feed(self, data: bytes) -> list[Telegram]:
        """Telegrams that `data` completes, in order."""
        ...


def measure(
    telegram: Telegram, metering_point: str, *, channel: int = 0, produced_channel: int | None = None
) -> Measurement:
    """The measurement a telegram amounts to; see `drivers.measurement` for signs and rounding.

    Args:
        channel: OBIS channel (the B in A-B:C.D.E) of the grid meter, 0 for nearly all.
        produced_channel: where the generation meter is found, if it speaks through this one:
            its M-Bus channel, or else the OBIS channel of its export register.
    """
    values = {value.code.cde: value for value in telegram.values if _is_current(value, channel)}
    return Measurement(
        metering_point=metering_point,
        import_wh=_register_wh(values, 1),
        export_wh=_register_wh(values, 2),
        produced_wh=_produced_wh(telegram, produced_channel),
        power_w=_power_w(telegram, values),
        reactive_var=_reactive_var(values),
        phases=_phases(values),
        meter_time_s=telegram.meter_time_s,
        quality=Quality.GOOD if telegram.checked else Quality.UNCHECKED,
    )


_Values = dict[tuple[int, int, int], Value]

# OBIS group D: 7 is "instantaneous", 8 is "time integral 1", the register.
_NOW: Final = 7
_REGISTER: Final = 8
# OBIS group E: 0 is the total, 1..63 are tariffs.
_MAX_TARIFF: Final = 63
# Units as telegrams write them: (base unit, power of ten to reach it).
_UNITS: Final = {
    "Wh": ("Wh", 0),
    "kWh": ("Wh", 3),
    "MWh": ("Wh", 6),
    "W": ("W", 0),
    "kW": ("W", 3),
    "var": ("var", 0),
    "kvar": ("var", 3),
    "V": ("V", 0),
    "A": ("A", 0),
}
# Tariff registers are added at this resolution before the sum is cut to whole
# units; the finest meter seen sends 10**-5 Wh.
_FINE: Final = 9


def _is_current(value: Value, channel: int) -> bool:
    return (value.code.a, value.code.b, value.code.f) == (1, channel, 255) and value.number is not None


def _sum(numbers: Iterable[Number], base: str, power: int = 0) -> int | None:
    """Whole units of 10**-power `base`, or None if there is no number or one has another unit."""
    fine, found = 0, False
    for number in numbers:
        unit, unit_power = _UNITS.get(number.unit, ("", 0))
        if unit != base:
            return None
        fine += number.scaled(unit_power + power + _FINE)
        found = True
    if not found:
        return None
    return _within_int64(Number(fine, -_FINE).scaled(0))


def _within_int64(value: int) -> int | None:
    return value if -MAX_INT64 <= value <= MAX_INT64 else None


def _numbers(values: _Values, *codes: tuple[int, int, int]) -> list[Number]:
    found = (values[code].number for code in codes if code in values)
    return [number for number in found if number is not None]


def _register_wh(values: _Values, quantity: int) -> int | None:
    """Register of one direction: the total if the meter shows it, else the sum of its tariffs."""
    total = _numbers(values, (quantity, _REGISTER, 0))
    tariffs = [(quantity, _REGISTER, tariff) for tariff in range(1, _MAX_TARIFF + 1)]
    return _counted_wh(total or _numbers(values, *tariffs))


def _counted_wh(numbers: Iterable[Number]) -> int | None:
    """A register; one below zero is a broken meter's, since registers only rise."""
    register = _sum(numbers, "Wh")
    return register if register is not None and register >= 0 else None


def _produced_wh(telegram: Telegram, channel: int | None) -> int | None:
    if channel is None:
        return None
    for sub_meter in telegram.sub_meters:
        if sub_meter.channel == channel and sub_meter.number is not None:
            return _counted_wh([sub_meter.number])
    return _register_wh({v.code.cde: v for v in telegram.values if _is_current(v, channel)}, 2)


def _difference(values: _Values, plus: tuple[int, ...], minus: tuple[int, ...], base: str) -> int | None:
    """The signed value of two groups of unsigned quantities, None if the meter shows none of them.

    A group that it does not show counts as 0; one that cannot be read spoils the whole.
    """
    groups = [_numbers(values, *((quantity, _NOW, 0) for quantity in group)) for group in (plus, minus)]
    taken, given = (_sum(numbers, base) if numbers else 0 for numbers in groups)
    if not any(groups) or taken is None or given is None:
        return None
    return _within_int64(taken - given)


def _power_w(telegram: Telegram, values: _Values) -> int | None:
    net = _sum(_numbers(values, (16, _NOW, 0)), "W")
    if net is not None:
        return net
    difference = _difference(values, (1,), (2,), "W")
    if difference is not None:
        return difference
    absolute = _sum(_numbers(values, (15, _NOW, 0)), "W")
    if absolute is not None:
        return _directed(absolute, telegram.exporting, _register_wh(values, 2) is not None)
    phases = [phase.power_w for phase in _phases(values) if phase.power_w is not None]
    return _within_int64(sum(phases)) if phases else None


def _directed(absolute_w: int, exporting: bool | None, counts_export: bool) -> int | None:
    """Signed power from an absolute one (quantity 15), None if nothing tells its direction."""
    if exporting is None:
        # A meter without export register blocks the other direction.
        return None if counts_export else absolute_w
    return -absolute_w if exporting else absolute_w


def _reactive_var(values: _Values) -> int | None:
    pair = _difference(values, (3,), (4,), "var")
    # Quadrants 1 and 2 are reactive import, 3 and 4 reactive export.
    return _difference(values, (5, 6), (7, 8), "var") if pair is None else pair


def _phases(values: _Values) -> tuple[Phase, ...]:
    """L1, L2, L3 without trailing phases of which nothing is known."""
    phases = []
    for first in (20, 40, 60):  # quantity 21 is L1 import, 41 L2, 61 L3 (IEC 62056-61)
        power = _sum(_numbers(values, (first + 16, _NOW, 0)), "W")
        if power is None:
            power = _difference(values, (first + 1,), (first + 2,), "W")
        phases.append(
            Phase(
                power_w=power,
                voltage_mv=_sum(_numbers(values, (first + 12, _NOW, 0)), "V", 3),
                current_ma=_sum(_numbers(values, (first + 11, _NOW, 0)), "A", 3),
            )
        )
    while phases and phases[-1] == Phase():
        phases.pop()
    return tuple(phases)
