"""Measurement: what a driver has read from a device, not yet signed.

Sign convention, stated here and nowhere else: **power is seen from the home,
and import is positive**. `power_w` is positive while the home draws from the
grid and negative while it feeds in; so are the phases and reactive power.
Registers are never signed: import and export are two counters that only rise.

Rounding, stated here and nowhere else: a meter that counts finer than 1 Wh is
cut to the whole Wh it has completed, never rounded up (tariff registers are
added before they are cut); a coarser one keeps its steps (a German meter
without PIN counts 1000 Wh at a time). Power is cut towards zero, so that
neither import nor export is ever overstated.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Quality(StrEnum):
    """How much a measurement can be trusted, weakest claim last."""

    GOOD = "good"  # a real device, its checksum was right
    UNCHECKED = "unchecked"  # a real device whose telegrams carry no checksum
    REPLAYED = "replayed"  # a recorded series, played back
    SIMULATED = "simulated"  # invented by a model


class Phase(msgspec.Struct, frozen=True):
    """One phase; None for what the meter does not say.

    Power in W (import positive), voltage in mV, current in mA.
    """

    power_w: int | None = None
    voltage_mv: int | None = None
    current_ma: int | None = None


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one metering point; None for what the device does not say.

    Fields:
        metering_point: the name under which the community knows the meter.
        import_wh, export_wh: registers towards the home and towards the grid.
        produced_wh: register of own generation, before own use.
        power_w: momentary power, import positive.
        reactive_var: momentary reactive power, import positive.
        phases: L1, L2, L3 as far as the meter has them.
        state_of_charge_ppm: of a battery, full = 1,000,000.
        meter_time_s: UTC seconds by the meter's own clock.
        time_s: UTC seconds at which the measurement was received, by the
            clock that the driver was given.
    """

    metering_point: str
    import_wh: int | None = None
    export_wh: int | None = None
    produced_wh: int | None = None
    power_w: int | None = None
    reactive_var: int | None = None
    phases: tuple[Phase, ...] = ()
    state_of_charge_ppm: int | None = None
    meter_time_s: int | None = None
    time_s: int | None = None
    quality: Quality = Quality.GOOD
