"""Simulated home: the driver `simulated`, a model of a house that measures nothing.

Everything it says is invented: consumption from a daily shape, generation from
the length of the day and made-up clouds, all from one seed. Every measurement
carries the quality "simulated". The model is a pure function of seed and time,
so that a home that is started again goes on where its registers were.

```toml
[[meter]]
driver = "simulated"
metering_point = "home"
seed = 7
pv_peak_w = 5000
```
"""

from __future__ import annotations

import calendar
from array import array
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Annotated, Any, Final

import msgspec
import trio

from drivers.driver import Clock, Driver, Measurement, MeterConfig, Quality, read_config, system_clock
from drivers.home import QUARTER_S, HomeSeries, Quarter, Registers, split, within_quarter

DAY_S: Final = 86_400
QUARTERS_A_DAY: Final = DAY_S // QUARTER_S
# Registers are sums over all days since the start; 30 years are 11,000 days,
# about a second of work at the first call and 350 KB.
MAX_DAYS: Final = 11_000
# 2026-01-01 00:00 UTC: a fixed start, so that two runs agree on the registers.
DEFAULT_START_S: Final = calendar.timegm((2026, 1, 1, 0, 0, 0))
# A measurement every 10 s is what P1 meters up to version 4 send.
DEFAULT_INTERVAL_MS: Final = 10_000
# A hundred measurements a second keep the fastest demonstration clock in small steps.
MIN_INTERVAL_MS: Final = 10
# A day: a meter that is silent for longer has nothing to settle.
MAX_INTERVAL_MS: Final = DAY_S * 1000


class SimulatedHome:
    """A HomeSeries invented from a seed.

    Args:
        seed: homes with different seeds differ in habits, clouds are drawn per home.
        annual_wh: consumption of a year, roughly (days differ by a fifth either way).
        pv_peak_w: peak power of the panels, 0 for none.
        start_s: UTC seconds, a multiple of a day, at which all registers are 0.
        utc_offset_s: local time of the home; noon and supper follow it.
    """

    def __init__(
        self,
        seed: int,
        annual_wh: int = 3_500_000,
        pv_peak_w: int = 0,
        start_s: int = DEFAULT_START_S,
        utc_offset_s: int = 0,
    ) -> None:
        if start_s % DAY_S or utc_offset_s % QUARTER_S:
            raise ValueError("a simulated home starts with a day, and its offset is in whole quarters")
        self._seed, self._annual_wh, self._pv_peak_w = seed, annual_wh, pv_peak_w
        self._start_s = start_s - utc_offset_s
        # Sums before every day known so far: consumed, produced, imported.
        self._before = (array("q", [0]), array("q", [0]), array("q", [0]))
        self._latest: tuple[int, list[Quarter]] = (-1, [])  # the day computed last

    def registers(self, time_s: int) -> Registers:
        """The registers at `time_s`; see `drivers.home.HomeSeries`.

        They stand still before the start and after `MAX_DAYS`.
        """
        day, second = divmod(min(max(0, time_s - self._start_s), MAX_DAYS * DAY_S - 1), DAY_S)
        index, second = divmod(second, QUARTER_S)
        self._sum_days(day)
        quarters = self._day(day)
        past = quarters[:index]
        consumed, produced, imported = (sums[day] for sums in self._before)
        return within_quarter(
            Quarter(
                consumed + sum(quarter.consumed_wh for quarter in past),
                produced + sum(quarter.produced_wh for quarter in past),
            ),
            imported + sum(_import_wh(quarter) for quarter in past),
            quarters[index] if time_s >= self._start_s else Quarter(0, 0),
            second,
            time_s,
        )

    def _sum_days(self, day: int) -> None:
        """Make the sums before `day` known."""
        consumed, produced, imported = self._before
        while len(consumed) <= day:
            quarters = self._day(len(consumed) - 1)
            consumed.append(consumed[-1] + sum(quarter.consumed_wh for quarter in quarters))
            produced.append(produced[-1] + sum(quarter.produced_wh for quarter in quarters))
            imported.append(imported[-1] + sum(map(_import_wh, quarters)))

    def _day(self, day: int) -> list[Quarter]:
        """The 96 quarters of one day."""
        if self._latest[0] != day:
            consumed, produced = self._consumption(day), self._production(day)
            self._latest = (day, [Quarter(c, p) for c, p in zip(consumed, produced, strict=True)])
        return self._latest[1]

    def _consumption(self, day: int) -> list[int]:
        """The day's energy, shared out by the hour's habit and the quarter's chance."""
        energy_wh = self._annual_wh // 365 * self._chance(day, 0, 800, 1200) // 1000
        shift = self._chance(0, 1, 0, 8) - 4  # some households rise early, some late
        weights = []
        for quarter in range(QUARTERS_A_DAY):
            habit = _HABIT[(quarter + shift) % QUARTERS_A_DAY // 4]
            weights.append(habit * self._chance(day, 100 + quarter, 500, 1500))
        return split(energy_wh, weights)

    def _production(self, day: int) -> list[int]:
        """A parabola from sunrise to sunset, lowered by the day's weather and by single clouds."""
        if not self._pv_peak_w:
            return [0] * QUARTERS_A_DAY
        month = _month(self._start_s + day * DAY_S)
        light, top = _DAYLIGHT_QUARTERS[month], _NOON_PERMILLE[month]
        sunrise = (QUARTERS_A_DAY - light) // 2
        weather = self._chance(day, 2, 150, 1000)
        quarters = []
        for quarter in range(QUARTERS_A_DAY):
            # Twice the quarter's middle, counted from sunrise.
            middle = min(max(0, 2 * (quarter - sunrise) + 1), 2 * light)
            height = top * middle * (2 * light - middle) // (light * light)
            cloud = self._chance(day, 200 + quarter, 700, 1000)
            power_mw = self._pv_peak_w * height * weather // 1000 * cloud // 1000
            quarters.append(power_mw // 4000)
        return quarters

    def _chance(self, day: int, draw: int, low: int, high: int) -> int:
        """An integer from `low` to `high`, the same for the same seed, day and draw."""
        return low + _mix(_mix(_mix(self._seed) ^ day) ^ draw) % (high - low + 1)


def _import_wh(quarter: Quarter) -> int:
    return max(0, quarter.consumed_wh - quarter.produced_wh)


def _mix(value: int) -> int:
    """One step of the splitmix64 generator (Steele, Lea, Flood 2014): 64 well-mixed bits."""
    value = (value + 0x9E3779B97F4A7C15) & _64_BITS
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & _64_BITS
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & _64_BITS
    return value ^ value >> 31


def _month(utc_s: int) -> int:
    """0 for January; months as twelfths of a mean year, which is all that the tables need."""
    return (utc_s % (365 * DAY_S + DAY_S // 4)) * 12 // (365 * DAY_S + DAY_S // 4)


_64_BITS: Final = 2**64 - 1
# Relative use of each local hour: quiet night, breakfast, noon, supper.
_HABIT: Final = (
    40, 34, 31, 30, 31, 38, 62, 88, 84, 72, 66, 72, 88, 78, 66, 64, 72, 96, 134, 146, 132, 110, 82, 56,
)  # fmt: skip
# Daylight in quarters and noon height in thousandths of the peak, by month, near 50 degrees north.
_DAYLIGHT_QUARTERS: Final = (34, 40, 47, 55, 62, 65, 63, 57, 50, 43, 36, 32)
_NOON_PERMILLE: Final = (330, 460, 620, 760, 850, 880, 870, 800, 680, 520, 370, 290)


class HomeConfig(MeterConfig, frozen=True, kw_only=True):
    """Keys shared by the drivers that play a home.

    Fields:
        interval_ms: real time between measurements, whatever the speed of the clock.
    """

    interval_ms: Annotated[int, msgspec.Meta(ge=MIN_INTERVAL_MS, le=MAX_INTERVAL_MS)] = DEFAULT_INTERVAL_MS


class SimulatedConfig(HomeConfig, frozen=True, kw_only=True):
    """Keys of a simulated home's section; see SimulatedHome."""

    seed: int
    annual_wh: Annotated[int, msgspec.Meta(ge=0, le=10**9)] = 3_500_000
    pv_peak_w: Annotated[int, msgspec.Meta(ge=0, le=10**6)] = 0
    start_s: Annotated[int, msgspec.Meta(ge=0, multiple_of=DAY_S)] = DEFAULT_START_S
    utc_offset_s: Annotated[int, msgspec.Meta(ge=-DAY_S, le=DAY_S, multiple_of=QUARTER_S)] = 0


class Simulated:
    """The driver `simulated`."""

    name = "simulated"
    config = SimulatedConfig

    async def measurements(
        self, config: Mapping[str, Any], clock: Clock = system_clock
    ) -> AsyncGenerator[Measurement, None]:
        """The invented home at `clock()`, every `interval_ms`; see `drivers.driver.Driver`."""
        section = read_config(config, SimulatedConfig)
        home = SimulatedHome(section.seed, section.annual_wh, section.pv_peak_w, section.start_s, section.utc_offset_s)
        async with aclosing(play(home, section, clock, Quality.SIMULATED)) as measurements:
            async for measurement in measurements:
                yield measurement


async def play(
    home: HomeSeries, section: HomeConfig, clock: Clock, quality: Quality
) -> AsyncGenerator[Measurement, None]:
    """Measurements of a HomeSeries at the present of `clock`, one at once, then one every interval."""
    while True:
        now_s = clock()
        registers = home.registers(now_s)
        yield Measurement(
            metering_point=section.metering_point,
            import_wh=registers.import_wh,
            export_wh=registers.export_wh,
            produced_wh=registers.produced_wh,
            power_w=registers.power_w,
            meter_time_s=now_s,
            time_s=now_s,
            quality=quality,
        )
        await trio.sleep(section.interval_ms / 1000)


simulated: Final[Driver] = Simulated()
