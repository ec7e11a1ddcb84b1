"""Households: hourly series of many homes in one table, cut into quarter hours.

The table is a CSV (plain or gzip) with one row per hour and, for every home,
the columns `NAME_load_kwh` (consumption) and `NAME_pv_kwh` (generation, may
be missing); other columns are ignored. That is the form in which the 17 homes
of the CityLearn challenge 2022 are passed around.

An hour is rounded to the whole Wh, half up; its four quarters always sum to
exactly that. They follow the slope to the neighbouring hours.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from drivers.codecs.obis import parse_number
from drivers.driver import DriverError
from drivers.home import HOUR_S, QUARTER_S, Quarter, RecordedHome, split

# A year of 17 homes in hours is 2 MB; a year of 100 homes in quarters 60 MB.
MAX_TABLE_BYTES: Final = 64 * 2**20
# No home uses 1 MWh in an hour; a larger number is another unit.
MAX_HOUR_WH: Final = 1_000_000
# What an error repeats of a cell: enough to recognise it, too little to fill a screen.
_SHOWN: Final = 40

LOAD: Final = "_load_kwh"
PV: Final = "_pv_kwh"


def read_table(path: Path) -> str:
    """Text of a CSV file, unpacked if it is compressed with gzip.

    Raises:
        DriverError: it cannot be read, or is larger than `MAX_TABLE_BYTES`.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            source = gzip.GzipFile(fileobj=raw) if packed else raw
            data = source.read(MAX_TABLE_BYTES + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _unreadable(path, "it was compressed with gzip, and altered or cut off since") from error
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    except ValueError as error:
        # A name with a zero byte in it.
        raise _unreadable(path, str(error)) from error
    if len(data) > MAX_TABLE_BYTES:
        raise DriverError(
            str(path),
            "the file is too long",
            f"at most {MAX_TABLE_BYTES} bytes unpacked",
            "cut it into parts",
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unreadable(path, f"it is no text, byte {error.start + 1} is not UTF-8") from error


def _unreadable(path: Path, why: str) -> DriverError:
    return DriverError(str(path), f"cannot be read: {why}", "a CSV file, plain or gzip", "check its name and contents")


def columns(table: str) -> list[str]:
    """The names in the first line of a CSV text."""
    return [name.strip(' "\r') for name in table.partition("\n")[0].split(",")]


def rows(path: Path, table: str) -> Iterator[tuple[str, dict[str, str | None]]]:
    """Every row below the header: its place (file and line), and its cells by column.

    Raises:
        DriverError: a row is no CSV.
    """
    reader = csv.DictReader(io.StringIO(table), fieldnames=columns(table))
    try:
        for number, row in enumerate(reader):
            if number:
                yield f"{path}:{reader.line_num}", row
    except csv.Error as error:
        raise DriverError(
            f"{path}:{reader.line_num + 1}", str(error), "cells with commas between them", "correct the row"
        ) from error


def shown(cell: str | None) -> str:
    """A cell as an error repeats it: quoted and cut; a row may also end before it."""
    text = cell or ""
    return f'"{text[:_SHOWN]}..."' if len(text) > _SHOWN else f'"{text}"'


def home_names(table: str) -> list[str]:
    """Names of the homes in a households table, in the order of its columns."""
    return [column.removesuffix(LOAD) for column in columns(table) if column.endswith(LOAD)]


def read_home(path: Path, table: str, home: str, start_s: int, first_hour: int = 0) -> RecordedHome:
    """One home of a households table.

    Args:
        path: named in errors.
        table: the file's text, from `read_table`.
        home: one of `home_names`.
        start_s: UTC seconds at which the series begins, a multiple of 900.
        first_hour: row that is taken first; rows before it follow after the
            last. (The CityLearn rows begin at 23:00 local time: with
            `first_hour=1 + 6` the series begins at 6 in the morning.)
    Raises:
        DriverError: no such home, or a cell that is no energy, with file and line.
    """
    hours = _hours(path, table, home)
    first_hour %= len(hours)
    if start_s % QUARTER_S:
        raise DriverError(
            f"home {home}",
            f"it starts at {start_s} s",
            "a multiple of 900 s",
            "start it on a quarter of an hour",
        )
    consumed = quarters([load for load, _ in hours])
    produced = quarters([pv for _, pv in hours])
    pairs = [Quarter(c, p) for c, p in zip(consumed, produced, strict=True)]
    turn = first_hour * (HOUR_S // QUARTER_S)
    return RecordedHome(pairs[turn:] + pairs[:turn], start_s)


def quarters(hours_wh: Sequence[int]) -> list[int]:
    """Hours cut into quarters: each hour's four sum to it exactly; the last hour is before the first.

    The power at a quarter's middle is read off the straight line between the
    middles of two hours; the hour's energy is shared out in that proportion.
    """
    cut: list[int] = []
    for index, hour in enumerate(hours_wh):
        before, after = hours_wh[index - 1], hours_wh[(index + 1) % len(hours_wh)]
        # Quarter middles lie 3/8 and 1/8 of an hour from the hour's middle.
        weights = (5 * hour + 3 * before, 7 * hour + before, 7 * hour + after, 5 * hour + 3 * after)
        cut += split(hour, weights)
    return cut


def _hours(path: Path, table: str, home: str) -> list[tuple[int, int]]:
    """Consumption and generation of every hour, in Wh."""
    names = home_names(table)
    if home not in names:
        raise DriverError(
            str(path), f'there is no home "{home}"', f"one of {', '.join(names) or '(no home at all)'}",
            f"name a home NAME of which the file has a column NAME{LOAD}",
        )  # fmt: skip
    hours = [
        (
            _hour_wh(row[home + LOAD], f"{place}, column {home}{LOAD}"),
            _hour_wh(row.get(home + PV, "0"), f"{place}, column {home}{PV}"),
        )
        for place, row in rows(path, table)
    ]
    if not hours:
        raise DriverError(str(path), "no rows below the header", "one row per hour", "give another file")
    return hours


def _hour_wh(cell: str | None, place: str) -> int:
    number = parse_number((cell or "").strip())
    # Half a Wh is added before cutting: this rounds half up.
    wh = (number.scaled(4) + 5) // 10 if number and not number.unit else -1
    if not 0 <= wh <= MAX_HOUR_WH:
        raise DriverError(place, shown(cell), f"kWh of one hour, 0 to {MAX_HOUR_WH // 1000}", "correct the cell")
    return wh
