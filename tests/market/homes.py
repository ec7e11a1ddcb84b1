"""Homes: a day of 17 real homes under every mechanism and every way of sharing, as one table.

    python -m tests.market.homes

prints it, from the household series that MESHNODE_DATA names. Every row adds up: what the
homes used is their own sun, their neighbours' and the grid's, and the money sums to zero.
"""

import csv
import gzip
import hashlib
import sys
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path

import msgspec

from drivers.households import quarters
from meshnode.amounts import PPM, format_money, split, value
from meshnode.market import Mechanism, Order, Side, Terms, Trade
from meshnode.market.registry import installed_mechanisms
from meshnode.settlement import (
    GRID_ACCOUNT,
    MODES,
    Metered,
    Mode,
    PeriodInputs,
    Tariff,
    Weighing,
    allocate_by_source,
    changes_by_account,
    check_settlement,
    settle,
)
from meshnode.settlement.sharing_modes import HOUR_S
from tests.data import data_folder

SERIES = Path("households") / "citylearn2022_17homes_1h.csv.gz"
HOMES = [f"h{number:02d}" for number in range(1, 18)]
TERMS = Terms(grid_price_u_kwh=320_000, feed_in_price_u_kwh=80_000)
# The second day of the series, in local time: a sunny 2 August.
FIRST_ROW, HOURS = 25, 24

Periods = list[dict[str, Metered]]


class Row(msgspec.Struct, frozen=True):
    """One day under one rule: Wh of all homes together, and what the grid received, in micro-units."""

    name: str
    traded_wh: int
    own_wh: int
    neighbours_wh: int
    grid_wh: int
    consumption_wh: int
    sold_wh: int
    fed_in_wh: int
    to_grid_u: int

    def check(self) -> None:
        """Assert that the row adds up, against what the meters say."""
        load_wh, made_wh = totals()
        assert self.own_wh + self.neighbours_wh + self.grid_wh == self.consumption_wh == load_wh, self.name
        assert self.own_wh + self.sold_wh + self.fed_in_wh == made_wh, self.name
        assert self.neighbours_wh == self.sold_wh >= self.traded_wh, self.name


def account(home: str) -> bytes:
    """The account of a home."""
    return hashlib.sha256(home.encode()).digest()[:16]


@cache
def series() -> dict[str, list[tuple[int, int]]]:
    """(load, pv) in Wh for each hour of the day, by home."""
    folder = data_folder()
    assert folder is not None, "the caller looks for the data"
    with gzip.open(folder / SERIES, "rt", encoding="utf-8") as lines:
        rows = [row for number, row in zip(range(FIRST_ROW + HOURS), csv.DictReader(lines), strict=False)]
    return {
        home: [
            (int(Decimal(row[f"{home}_load_kwh"]) * 1000), int(Decimal(row[f"{home}_pv_kwh"]) * 1000))
            for row in rows[FIRST_ROW:]
        ]
        for home in HOMES
    }


def metered(home: str, load_wh: int, pv_wh: int) -> Metered:
    return Metered(account(home), max(0, load_wh - pv_wh), max(0, pv_wh - load_wh), pv_wh)


@cache
def hours() -> Periods:
    """The day hour by hour: netted inside the hour, as the hourly rules do."""
    return [{home: metered(home, *values[number]) for home, values in series().items()} for number in range(HOURS)]


@cache
def quarter_hours() -> Periods:
    """The day in quarters, whose four always sum to the hour."""
    cut = {
        home: list(zip(quarters([load for load, _ in day]), quarters([pv for _, pv in day]), strict=True))
        for home, day in series().items()
    }
    return [{home: metered(home, *values[n]) for home, values in cut.items()} for n in range(4 * HOURS)]


def totals() -> tuple[int, int]:
    """What all homes used and made in the day."""
    days = series().values()
    return sum(load for day in days for load, _ in day), sum(pv for day in days for _, pv in day)


def orders(hour: dict[str, Metered], number: int) -> list[Order]:
    """Each home bids or offers what it had an hour ago, at a price of its own between feed-in and grid."""
    placed = []
    for position, (home, entry) in enumerate(hour.items()):
        for side, energy_wh in ((Side.BUY, entry.import_wh), (Side.SELL, entry.export_wh)):
            if energy_wh:
                placed.append(
                    Order(
                        order_id=hashlib.sha256(f"{number} {home}".encode()).digest(),
                        account=entry.account,
                        side=side,
                        period=number,
                        energy_wh=energy_wh,
                        price_u_kwh=(230_000 if side is Side.BUY else 90_000) + position * 5_000,
                        sequence=(number, position),
                    )
                )
    return placed


def row_of_mechanism(mechanism: Mechanism, sharing: str | None) -> Row:
    """Orders, trades and imbalance; what is left is shared, or is the grid's."""

    def trades(number: int) -> tuple[Trade, ...]:
        return mechanism.clear(orders(hours()[number - 1], number), TERMS).trades if number else ()

    rest = "" if sharing is None else f", rest {sharing}"
    return _settled(f"{mechanism.name} {mechanism.version}{rest}", hours(), _tariff(sharing), trades)


def row_of_mode(mode: Mode) -> Row:
    """Sharing alone, in the periods that the mode counts in."""
    periods = hours() if mode.period_s == HOUR_S else quarter_hours()
    if mode.rule.by_source:
        return _shared_by_source(mode, periods)
    return _settled(mode.name, periods, _tariff(mode.name), lambda number: ())


def rows() -> Iterator[Row]:
    """Every mechanism with and without sharing of the rest, nothing at all, then every mode."""
    yield _settled("grid only", hours(), _tariff(None), lambda number: ())
    mechanisms = installed_mechanisms()
    for name, version in mechanisms.supported():
        for sharing in (None, "mid-market-rate"):
            yield row_of_mechanism(mechanisms.get(name, version), sharing)
    yield from map(row_of_mode, MODES.values())


def weights(weighing: Weighing) -> tuple[tuple[bytes, int], ...]:
    """Shares that grow with the number of the home; ranks by its number."""
    numbered = [(account(home), number) for number, home in enumerate(HOMES, 1)]
    if weighing is Weighing.SHARES:
        return tuple(split(PPM, numbered).items())
    return tuple(numbered) if weighing is Weighing.RANKS else ()


def _tariff(sharing: str | None) -> Tariff:
    return Tariff(
        grid_price_u_kwh=TERMS.grid_price_u_kwh,
        feed_in_price_u_kwh=TERMS.feed_in_price_u_kwh,
        sharing=sharing,
        weights=weights(MODES[sharing].rule.weighing) if sharing else (),
        shared_price_u_kwh=200_000,
    )


def _settled(name: str, periods: Periods, tariff: Tariff, trades) -> Row:
    sums, to_grid_u, traded_wh = [0] * 6, 0, 0
    for number, period in enumerate(periods):
        inputs = PeriodInputs(number, b"euro", tuple(period.values()), trades(number), tariff)
        settlement = settle(inputs)
        check_settlement(inputs, settlement)
        changes = changes_by_account(settlement.postings)
        assert sum(changes.values()) == 0
        to_grid_u += changes.get(GRID_ACCOUNT, 0)
        traded_wh += sum(one.energy_wh for one in settlement.postings if one.reason.name == "TRADE")
        for line in settlement.lines:
            parts = (line.own_wh, line.neighbours_wh, line.grid_wh, line.consumption_wh, line.sold_wh, line.fed_in_wh)
            sums = [total + part for total, part in zip(sums, parts, strict=True)]
    return Row(name, traded_wh, *sums, to_grid_u)


def _shared_by_source(mode: Mode, periods: Periods) -> Row:
    """Each home gives the same part to every other; no tariff says such a thing, so only the grid is priced."""
    shares = {account(home): split(PPM, [(account(other), 1) for other in HOMES if other != home]) for home in HOMES}
    own_wh = shared_wh = grid_wh = fed_in_wh = 0
    for period in periods:
        wanted = {one.account: one.import_wh for one in period.values()}
        found = allocate_by_source(wanted, {one.account: one.export_wh for one in period.values()}, shares)
        own_wh += sum(one.own_wh for one in period.values())
        shared_wh += sum(found.taken_wh.values())
        grid_wh += sum(wanted.values()) - sum(found.taken_wh.values())
        fed_in_wh += sum(found.surplus_wh.values())
    to_grid_u = value(TERMS.grid_price_u_kwh, grid_wh) - value(TERMS.feed_in_price_u_kwh, fed_in_wh)
    used_wh = own_wh + shared_wh + grid_wh
    return Row(mode.name, 0, own_wh, shared_wh, grid_wh, used_wh, shared_wh, fed_in_wh, to_grid_u)


def table(found: Iterable[Row]) -> str:
    """The rows as text."""
    head = f"{'rule':40} {'traded':>7} {'own':>7} {'+ neighb.':>9} {'+ grid':>7} {'= used':>7}"
    lines = [f"{head} {'sold':>7} {'fed in':>7} {'to the grid':>15}"]
    for row in found:
        lines.append(
            f"{row.name:40} {row.traded_wh:7} {row.own_wh:7} {row.neighbours_wh:9} {row.grid_wh:7} "
            f"{row.consumption_wh:7} {row.sold_wh:7} {row.fed_in_wh:7} {format_money(row.to_grid_u, 'EUR'):>15}"
        )
    return "\n".join(lines)


def main() -> int:
    """Print the table; exit with 1 if there is no data."""
    if data_folder() is None:
        print("no household data: set MESHNODE_DATA to its folder", file=sys.stderr)
        return 1
    found = list(rows())
    for row in found:
        row.check()
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
