"""Collector: from a meter's measurements to one signed reading per settlement period.

A register at a period's boundary is taken between the last measurement before it
and the first one after it (linear, rounded down). If those two lie further apart
than one period, nothing is made up: unless a measurement was taken at the very
second of the boundary, the reading is missing, and the ledger says so.

One device never takes the node down: whatever its driver raises is shown to the
member, and the driver is started again with a growing delay.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from random import Random

import msgspec
import trio

from drivers.driver import DriverError, Measurement, driver
from meshnode.clock import GridClock
from meshnode.config import MeterSection
from meshnode.keys import SigningKey
from protocols.records import OpenCounters, Reading, meter_id_of
from protocols.records.statements import MAX_COUNTER_WH, MAX_POWER_W

log = logging.getLogger(__name__)

# First and longest delay before a failed driver is started again. A meter that comes
# back is read within a minute; one that is gone for good costs nothing.
FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 60.0
# A driver that says nothing for this long (real time) is shown as failed and started again.
SILENT_S = 30.0
# Real time between two measurements that are looked at: ten times what the fastest meters
# send. A driver that babbles is slowed down, and the node's other tasks have their turn.
LEAST_INTERVAL_S = 0.1


class Sample(msgspec.Struct, frozen=True):
    """A meter's registers at one instant of the microgrid's time; None for one that it does not say."""

    time_s: int
    import_wh: int | None
    export_wh: int | None
    produced_wh: int | None
    power_w: int | None


class Health(msgspec.Struct):
    """What the member sees of a meter. state, problem: as in `meshnode.web.backend.MeterHealth`."""

    state: str = "silent"
    problem: str = ""
    last_telegram_s: int = 0
    telegrams: int = 0
    errors: int = 0


class Collector:
    """Reads one meter. Call `run` in a task of its own."""

    def __init__(
        self,
        section: MeterSection,
        key: SigningKey,
        clock: GridClock,
        period_length_s: Callable[[], int],
        first_period_s: int,
        on_reading: Callable[[Reading, SigningKey, int], Awaitable[None]],
        on_sample: Callable[[Sample, SigningKey], Awaitable[None]],
        random: Random,
    ) -> None:
        """Args:
        period_length_s: of the settlement period in force.
        first_period_s: start of the ledger's first period, from which a rehearsal counts.
        on_reading: gets each reading to sign, and how many periods to hold it back
            (0 but in a rehearsal).
        on_sample: gets every measurement, for the live view.
        random: jitter of the restart delay.
        """
        self.section = section
        self.health = Health()
        self._key = key
        self._clock = clock
        self._period_length_s = period_length_s
        self._first_period_s = first_period_s
        self._on_reading = on_reading
        self._on_sample = on_sample
        self._random = random
        self._last: Sample | None = None
        # The ledger refuses a reading whose register fell; what the home's plants have
        # produced is left out of the readings until it has passed this again.
        self._most_produced_wh = 0
        # The failure that the log knows of; empty while the meter is read.
        self._logged = ""

    @property
    def meter(self) -> bytes:
        """Id of the meter on the ledger."""
        return meter_id_of(self._key.public)

    async def run(self) -> None:
        """Read the meter until cancelled."""
        delay = FIRST_DELAY_S
        while True:
            before = self.health.telegrams
            try:
                source = driver(self.section.driver).measurements(self.section.settings, clock=self._clock.now_s)
                await self._read(source)
                self._failed("the driver ended")
            except DriverError as error:
                self._failed(str(error))
            except Exception as error:
                # A driver is somebody else's code: its bug costs its meter, not the node.
                self._failed(f"the driver {self.section.driver} failed: {error!r}", error)
            if self.health.telegrams > before:
                delay = FIRST_DELAY_S
            await trio.sleep(delay * (1 + self._random.random()) / 2)
            delay = min(2 * delay, LONGEST_DELAY_S)

    async def _read(self, source: AsyncGenerator[Measurement, None]) -> None:
        async with aclosing(source) as measurements:
            while True:
                with trio.move_on_after(SILENT_S) as patience:
                    try:
                        measurement = await anext(measurements)
                    except StopAsyncIteration:
                        return
                if patience.cancelled_caught:
                    raise DriverError(
                        f"meter {self.section.metering_point}",
                        f"nothing heard for {SILENT_S:.0f} s",
                        "telegrams",
                        "look whether the reading head sits right and the cable is plugged in",
                    )
                heard = trio.current_time()
                sample = self._sample(measurement)
                if sample is not None:
                    if self._logged:
                        log.info("meter %s is read again", self.section.metering_point)
                        self._logged = ""
                    self.health.state = "reading"
                    self.health.telegrams += 1
                    self.health.last_telegram_s = sample.time_s
                    await self._on_sample(sample, self._key)
                    await self._boundaries(sample)
                    self._last = sample
                await trio.sleep_until(heard + LEAST_INTERVAL_S)

    def _sample(self, measurement: Measurement) -> Sample | None:
        """A measurement as far as readings need it; None, counted and said, for one that cannot be used."""
        sample = Sample(
            self._clock.now_s() if measurement.time_s is None else measurement.time_s,
            measurement.import_wh,
            measurement.export_wh,
            measurement.produced_wh,
            measurement.power_w,
        )
        self.health.problem = self._unusable(sample)
        if self.health.problem:
            self.health.errors += 1
            return None
        if sample.produced_wh is not None and sample.produced_wh < self._most_produced_wh:
            self.health.errors += 1
            self.health.problem = (
                f"the produced register fell from {self._most_produced_wh} to {sample.produced_wh} Wh and is left out; "
                "was the plant's meter exchanged?"
            )
            return msgspec.structs.replace(sample, produced_wh=None)
        self._most_produced_wh = sample.produced_wh or self._most_produced_wh
        return sample

    def _unusable(self, sample: Sample) -> str:
        """What speaks against a sample, for the member; empty if nothing does."""
        registers = (sample.import_wh, sample.export_wh)
        if registers == (None, None):
            return "the meter sends no energy register; does it need its PIN?"
        known = [value for value in (*registers, sample.produced_wh) if value is not None]
        if not all(0 <= value <= MAX_COUNTER_WH for value in known) or abs(sample.power_w or 0) > MAX_POWER_W:
            return f"registers {known} Wh, power {sample.power_w} W: out of any home's range"
        last = self._last
        if last is None:
            return ""
        if sample.time_s < last.time_s:
            return f"the clock went back by {last.time_s - sample.time_s} s; does this computer know the time?"
        for before, after in ((last.import_wh, sample.import_wh), (last.export_wh, sample.export_wh)):
            if before is not None and after is None:
                return "a telegram lacks a register that the meter has"
            if before is not None and after is not None and after < before:
                return f"a register fell from {before} to {after} Wh; was the meter exchanged?"
        return ""

    async def _boundaries(self, sample: Sample) -> None:
        """A reading for the period boundary that was passed between the last sample and this one."""
        last, length = self._last, self._period_length_s()
        if last is None or sample.time_s // length == last.time_s // length:
            return
        boundary = sample.time_s - sample.time_s % length
        if sample.time_s - last.time_s > length:
            log.warning(
                "meter %s: no measurement for %d s; the readings between are missing",
                self.section.metering_point,
                sample.time_s - last.time_s,
            )
            if sample.time_s != boundary:
                return
        if _kinds(last) != _kinds(sample):
            # A register that was not said before: nothing is known of where it stood.
            return
        hold = self._rehearse((boundary - self._first_period_s) // length - 1)
        if hold is None:
            return
        await self._on_reading(self._reading(last, sample, boundary, length), self._key, hold)

    def _rehearse(self, number: int) -> int | None:
        """How many periods a reading is held back; None to keep it silent altogether."""
        trouble = self.section.rehearsal
        if trouble is None:
            return 0
        if number in trouble.silent_periods:
            log.warning(
                "meter %s: rehearsal: the reading of period %d is left out", self.section.metering_point, number
            )
            return None
        if number in trouble.late_periods:
            log.warning("meter %s: rehearsal: the reading of period %d comes late", self.section.metering_point, number)
            return trouble.late_by
        return 0

    def _reading(self, last: Sample, sample: Sample, boundary: int, length: int) -> Reading:
        def at(before: int | None, after: int | None) -> int | None:
            if after is None or boundary == sample.time_s:
                return after
            if before is None:
                return None
            return before + (after - before) * (boundary - last.time_s) // (sample.time_s - last.time_s)

        return Reading(
            meter=self.meter,
            period_start_s=boundary - length,
            values=OpenCounters(
                # A meter without one of the two counts nothing there.
                import_wh=at(last.import_wh, sample.import_wh) or 0,
                export_wh=at(last.export_wh, sample.export_wh) or 0,
                produced_wh=at(last.produced_wh, sample.produced_wh),
                power_w=sample.power_w,
            ),
        )

    def _failed(self, problem: str, bug: Exception | None = None) -> None:
        """Show a failure to the member; the log hears of each problem once, until there is another."""
        if problem != self._logged:
            # The cause of a bug is in its traceback, which the driver's author needs.
            level = logging.WARNING if bug is None else logging.ERROR
            log.log(level, "meter %s failed: %s", self.section.metering_point, problem, exc_info=bug)
            self._logged = problem
        self.health.state = "failed"
        self.health.problem = problem
        self.health.errors += 1


def _kinds(sample: Sample) -> tuple[bool, bool]:
    return sample.import_wh is None, sample.export_wh is None
