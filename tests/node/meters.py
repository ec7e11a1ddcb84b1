"""Meters: a driver that says what a story tells it, and a collector that listens to it.

The driver comes through the product's own door, the table of built-in drivers, under the
name `told`; its section of the configuration carries the story as an asynchronous generator.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from random import Random
from typing import Any

import trio

from drivers.driver import Measurement
from meshnode.collector import LEAST_INTERVAL_S, Collector, Sample
from meshnode.config import MeterSection, Rehearsal
from meshnode.keys import SigningKey
from protocols.records import OpenCounters, Reading

LENGTH_S = 900
# A period begins here.
START_S = 2_000_000 * LENGTH_S

Story = Callable[[], AsyncGenerator[Measurement, None]]


class Told:
    """The driver `told`."""

    name = "told"

    def measurements(self, config: Mapping[str, Any], clock: Any = None) -> AsyncGenerator[Measurement, None]:
        story: Story = config["story"]
        return story()


told = Told()


class Chance(Random):
    """Always the longest delay that chance allows."""

    def random(self) -> float:
        return 1.0


class VirtualClock:
    """The microgrid's clock, as fast as the story's; `jump_s` is how far somebody has set it."""

    def __init__(self) -> None:
        self.jump_s = 0

    def now_s(self) -> int:
        return START_S + self.jump_s + int(trio.current_time())


class Home:
    """A collector, and all that it has given to the node."""

    def __init__(self, story: Story, *, rehearsal: Rehearsal | None = None, driver: str = "told") -> None:
        section = MeterSection(
            driver=driver, metering_point="home", key="meter-home.key", settings={"story": story}, rehearsal=rehearsal
        )
        self.key = SigningKey(bytes(32))
        self.clock = VirtualClock()
        self.length_s = LENGTH_S
        self.readings: list[tuple[Reading, int]] = []
        self.samples: list[Sample] = []
        self.collector = Collector(
            section,
            self.key,
            self.clock,  # type: ignore[arg-type]  # all that a collector asks it is `now_s`
            lambda: self.length_s,
            START_S,
            self._on_reading,
            self._on_sample,
            Chance(),
        )

    @property
    def health(self) -> Any:
        return self.collector.health

    @property
    def heard(self) -> list[tuple[int, int, int]]:
        """Every reading as (period, counted from the first; import; export)."""
        return [
            ((reading.period_start_s - START_S) // self.length_s, values.import_wh, values.export_wh)
            for reading, values in self.values()
        ]

    def values(self) -> list[tuple[Reading, OpenCounters]]:
        return [(reading, reading.values) for reading, _ in self.readings]

    async def listen(self, seconds: float) -> Home:
        """Let the collector run for so long (virtual time)."""
        with trio.move_on_after(seconds):
            await self.collector.run()
        return self

    async def _on_reading(self, reading: Reading, key: SigningKey, hold: int) -> None:
        assert key is self.key
        self.readings.append((reading, hold))

    async def _on_sample(self, sample: Sample, key: SigningKey) -> None:
        assert key is self.key
        self.samples.append(sample)


def at(second: int, import_wh: int | None, export_wh: int | None = 0, **more: Any) -> Measurement:
    """What a meter says `second` seconds after the first period has begun."""
    return Measurement(
        metering_point="home", import_wh=import_wh, export_wh=export_wh, **{"time_s": START_S + second, **more}
    )


def says(*measurements: Measurement) -> Story:
    """A meter that says these, a second of real time apart, and then nothing more."""

    async def story() -> AsyncGenerator[Measurement, None]:
        for measurement in measurements:
            yield measurement
            await trio.sleep(1)
        await trio.sleep_forever()

    return story


async def heard(*measurements: Measurement, **settings: Any) -> Home:
    """The home after its meter has said these."""
    return await Home(says(*measurements), **settings).listen(len(measurements) * (1 + LEAST_INTERVAL_S) + 0.5)
