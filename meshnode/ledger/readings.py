"""Readings: from registers at period ends to the energy of each period.

A register counts for ever, so the energy of a period is the difference of two
register values. Where one is missing, the energy between the nearest known two is
spread evenly over the periods between them (cumulative and rounded down, so that
the parts add up to the whole) and marked estimated.
"""

from __future__ import annotations

import msgspec

from meshnode.ledger import more_registers, rows
from meshnode.ledger.energy_rows import Charge
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from protocols.records import QUALITY_CORRECTED, QUALITY_ESTIMATED, QUALITY_MEASURED, Reading

# A gap longer than this is not interpolated over but estimated (a year of quarter-hours
# would be walked for every late reading otherwise). Two weeks, as for a stolen meter.
MAX_GAP_PERIODS = 14 * 96
# Far above any home. Sixteen meters, the most a member brings, at this limit for a day, the
# longest settlement period, stay below what one settlement takes (`ENERGY_MAX_WH`).
MAX_CONNECTION_W = 2_500_000

NOT_METERED = -1


class Energy(msgspec.Struct, frozen=True):
    """What a meter counted in one period; produced_wh is -1 where it is not metered."""

    import_wh: int
    export_wh: int
    produced_wh: int
    quality: int


def accept(state: State, reading: Reading, record_id: bytes, period_length_s: int) -> Verdict:
    """Enter a reading whose time and signature (by a key of that meter) were checked."""
    meter = state.meters[reading.meter]
    start = reading.period_start_s
    # The register at the very end of the period before the first is its baseline.
    if start < meter.from_s - period_length_s or (meter.until_s and start >= meter.until_s):
        return Verdict.METER_NOT_ACTIVE
    known = state.registers.get((reading.meter, start))
    if known is not None and known.version >= reading.version:
        return Verdict.REPEATED if known.record_id == record_id else Verdict.VERSION_CONFLICT
    values = reading.values
    produced = NOT_METERED if values.produced_wh is None else values.produced_wh
    new = rows.Registers(values.import_wh, values.export_wh, produced, reading.version, reading.quality, record_id)
    before = _nearest(state, reading.meter, start, -period_length_s)
    after = _nearest(state, reading.meter, start, period_length_s)
    if (before and _decreases(before[1], new)) or (after and _decreases(new, after[1])):
        return Verdict.REGISTER_DECREASES
    if (before and _implausible(before, (start, new))) or (after and _implausible((start, new), after)):
        return Verdict.IMPLAUSIBLE
    more = more_registers.of(values)
    if not more_registers.rise(state, reading.meter, before and before[0], more, after and after[0]):
        return Verdict.REGISTER_DECREASES
    state.registers.put((reading.meter, start), new)
    more_registers.enter(state, reading.meter, start, more)
    known_charge = state.charge.get(reading.meter)
    if values.charge_ppm is not None and (known_charge is None or known_charge.period_start_s <= start):
        state.charge.put(reading.meter, Charge(start, values.charge_ppm))
    first = start if meter.first_s < 0 else min(start, meter.first_s)
    last = max(start, meter.last_s)
    if (first, last) != (meter.first_s, meter.last_s):
        state.meters.put(reading.meter, msgspec.structs.replace(meter, first_s=first, last_s=last))
    return Verdict.ACCEPTED


def counts(meter: rows.Meter, start_s: int) -> bool:
    """Whether a meter counts in the period that begins at `start_s`."""
    return meter.from_s <= start_s and (not meter.until_s or start_s < meter.until_s)


def affected(state: State, meter: bytes, start_s: int, period_length_s: int) -> tuple[int, int]:
    """Which periods a reading for `start_s` changes: first and last start, both included."""
    before = _nearest(state, meter, start_s, -period_length_s)
    after = _nearest(state, meter, start_s, period_length_s)
    first = before[0] + period_length_s if before else start_s
    return first, after[0] if after else start_s


def energy(state: State, meter: bytes, start_s: int, period_length_s: int) -> Energy | None:
    """What a meter counted in the period, or None if no two registers enclose it."""
    found = _enclosing(state, meter, start_s, period_length_s)
    if found is None:
        return None
    before, after = found
    periods = (after[0] - before[0]) // period_length_s
    number = (start_s - before[0]) // period_length_s
    produced_known = before[1].produced_wh != NOT_METERED and after[1].produced_wh != NOT_METERED
    quality = min(before[1].quality, after[1].quality) if periods == 1 else QUALITY_ESTIMATED
    if quality == QUALITY_MEASURED and (before[1].version or after[1].version):
        quality = QUALITY_CORRECTED
    return Energy(
        _share(after[1].import_wh - before[1].import_wh, number, periods),
        _share(after[1].export_wh - before[1].export_wh, number, periods),
        _share(after[1].produced_wh - before[1].produced_wh, number, periods) if produced_known else NOT_METERED,
        quality,
    )


def more_energy(state: State, meter: bytes, start_s: int, period_length_s: int) -> more_registers.More | None:
    """What a meter counted besides in the period; None if no two registers enclose it. Spread as by `energy`."""
    found = _enclosing(state, meter, start_s, period_length_s)
    if found is None:
        return None
    (before_s, _), (after_s, _) = found
    periods, number = (after_s - before_s) // period_length_s, (start_s - before_s) // period_length_s
    return more_registers.share(state, meter, before_s, after_s, number, periods)


def _enclosing(
    state: State, meter: bytes, start_s: int, period_length_s: int
) -> tuple[tuple[int, rows.Registers], tuple[int, rows.Registers]] | None:
    """The nearest known registers at or before the period's beginning, and at or after its end."""
    end = state.registers.get((meter, start_s))
    after = (start_s, end) if end else _nearest(state, meter, start_s, period_length_s)
    begin = state.registers.get((meter, start_s - period_length_s))
    before = (start_s - period_length_s, begin) if begin else _nearest(state, meter, start_s, -period_length_s)
    # `accept` never compared two that are further apart: between them the meter may have been replaced.
    if before is None or after is None or (after[0] - before[0]) // period_length_s > MAX_GAP_PERIODS:
        return None
    return before, after


def _share(total: int, number: int, periods: int) -> int:
    return total * number // periods - total * (number - 1) // periods


def _decreases(earlier: rows.Registers, later: rows.Registers) -> bool:
    return (
        later.import_wh < earlier.import_wh
        or later.export_wh < earlier.export_wh
        or (NOT_METERED not in (earlier.produced_wh, later.produced_wh) and later.produced_wh < earlier.produced_wh)
    )


def _implausible(earlier: tuple[int, rows.Registers], later: tuple[int, rows.Registers]) -> bool:
    """Whether the energy between two readings needs more than `MAX_CONNECTION_W`.

    Also what keeps every sum of a settlement far inside 64 bits.
    """
    most_wh = MAX_CONNECTION_W * (later[0] - earlier[0]) // 3600
    first, second = earlier[1], later[1]
    return (
        second.import_wh - first.import_wh > most_wh
        or second.export_wh - first.export_wh > most_wh
        or (
            NOT_METERED not in (first.produced_wh, second.produced_wh)
            and second.produced_wh - first.produced_wh > most_wh
        )
    )


def _nearest(state: State, meter: bytes, start_s: int, step_s: int) -> tuple[int, rows.Registers] | None:
    """The nearest known registers before (negative step) or after `start_s`."""
    row = state.meters[meter]
    for gap in range(1, MAX_GAP_PERIODS + 1):
        place = start_s + gap * step_s
        if not row.first_s <= place <= row.last_s:
            # Outside what is known; a search that starts beyond the far end goes on inwards.
            if (place > row.last_s) == (step_s > 0):
                return None
            continue
        known = state.registers.get((meter, place))
        if known is not None:
            return place, known
    return None


def prune(state: State, before_s: int, period_length_s: int) -> None:
    """Forget registers of periods before `before_s`; the last ones before it stay, to count from."""
    for meter_id, row in state.meters.items():
        first = row.first_s
        if first < 0:
            continue
        place = first + period_length_s
        while place < before_s and place <= row.last_s:
            if (meter_id, place) in state.registers:
                state.registers.delete((meter_id, first))
                more_registers.forget(state, meter_id, first)
                first = place
            place += period_length_s
        if first != row.first_s:
            state.meters.put(meter_id, msgspec.structs.replace(row, first_s=first))
