"""Replay: the driver `replay`, a recorded home played back from a CSV file.

Two forms are understood, plain or compressed with gzip:

- one home in quarters: the columns `time` (start of the quarter: UTC seconds,
  or ISO 8601 with an offset or Z), `consumption_wh` and, if there is
  generation, `production_wh`; rows follow each other every 900 s;
- many homes in hours: see `drivers.households`; `home` chooses one.

After the last row the recording begins again; registers keep rising.

```toml
[[meter]]
driver = "replay"
metering_point = "home"
path = "households.csv.gz"
home = "h01"
```
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import trio

from drivers.codecs.obis import parse_number
from drivers.driver import Clock, Driver, DriverError, Measurement, Quality, read_config, system_clock
from drivers.home import QUARTER_S, Quarter, RecordedHome
from drivers.households import LOAD, columns, home_names, read_home, read_table, rows, shown
from drivers.simulated import DEFAULT_START_S, HomeConfig, play

TIME: Final = "time"
CONSUMPTION: Final = "consumption_wh"
PRODUCTION: Final = "production_wh"
# No home uses 250 kWh in a quarter of an hour; a larger number is another unit.
MAX_QUARTER_WH: Final = 250_000


class ReplayConfig(HomeConfig, frozen=True, kw_only=True):
    """Keys of a replayed home's section.

    Fields:
        path: the CSV file.
        home: which home of a households table ("" for a file of one home).
        start_s: UTC seconds at which the recording begins; None for the time
            in its first row (a households table has none and begins 2026-01-01).
        first_hour: row of a households table to begin with.
    """

    path: str
    home: str = ""
    start_s: Annotated[int, msgspec.Meta(ge=0, multiple_of=QUARTER_S)] | None = None
    first_hour: Annotated[int, msgspec.Meta(ge=0)] = 0


def recorded_home(path: Path, home: str = "", start_s: int | None = None, first_hour: int = 0) -> RecordedHome:
    """The home recorded in a file of either form; see ReplayConfig for the arguments.

    Raises:
        DriverError: names file, line and column of what is wrong.
    """
    table = read_table(path)
    if home_names(table):
        return read_home(path, table, home, DEFAULT_START_S if start_s is None else start_s, first_hour)
    quarters = list(_quarters(path, table))
    if not quarters:
        raise DriverError(str(path), "no rows below the header", "one row per quarter hour", "give another file")
    return RecordedHome([energy for _, energy in quarters], quarters[0][0] if start_s is None else start_s)


def _quarters(path: Path, table: str) -> Iterator[tuple[int, Quarter]]:
    """Start and energy of every quarter, each checked to follow the one before."""
    names = columns(table)
    if TIME not in names or CONSUMPTION not in names:
        raise DriverError(
            f"{path}:1", f"columns {', '.join(names)}",
            f"{TIME}, {CONSUMPTION} and perhaps {PRODUCTION}, or NAME{LOAD} of a households table",
            "name the columns in the first line",
        )  # fmt: skip
    expected_s = None
    for place, row in rows(path, table):
        time_s = _time_s(row[TIME], f"{place}, column {TIME}")
        if time_s % QUARTER_S or expected_s not in (None, time_s):
            raise DriverError(
                f"{place}, column {TIME}", f"{time_s} s",
                f"{expected_s} s" if expected_s is not None else "a multiple of 900 s",
                "let rows follow each other every quarter of an hour, without gaps",
            )  # fmt: skip
        expected_s = time_s + QUARTER_S
        consumed = _energy_wh(row[CONSUMPTION], f"{place}, column {CONSUMPTION}")
        produced = _energy_wh(row.get(PRODUCTION, "0"), f"{place}, column {PRODUCTION}")
        yield time_s, Quarter(consumed, produced)


def _time_s(cell: str | None, place: str) -> int:
    text = (cell or "").strip()
    if text.isascii() and text.isdigit() and len(text) <= 12:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise DriverError(place, shown(text), "UTC seconds, or a time such as 2026-01-01T00:00:00Z", "correct the cell")
    return int(moment.timestamp())


def _energy_wh(cell: str | None, place: str) -> int:
    number = parse_number((cell or "").strip())
    if number is None or number.exponent or number.unit or not 0 <= number.digits <= MAX_QUARTER_WH:
        raise DriverError(place, shown(cell), f"whole Wh, 0 to {MAX_QUARTER_WH}", "correct the cell")
    return number.digits


class Replay:
    """The driver `replay`."""

    name = "replay"
    config = ReplayConfig

    async def measurements(
        self, config: Mapping[str, Any], clock: Clock = system_clock
    ) -> AsyncGenerator[Measurement, None]:
        """The recorded home at `clock()`, every `interval_ms`; see `drivers.driver.Driver`."""
        section = read_config(config, ReplayConfig)
        home = await trio.to_thread.run_sync(
            recorded_home, Path(section.path), section.home, section.start_s, section.first_hour
        )
        async with aclosing(play(home, section, clock, Quality.REPLAYED)) as measurements:
            async for measurement in measurements:
                yield measurement


replay: Final[Driver] = Replay()
