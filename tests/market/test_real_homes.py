"""A day of 17 real homes, hour by hour, under each mechanism: everything adds up."""

import csv
import gzip
import hashlib
import os
from decimal import Decimal
from pathlib import Path

import pytest

from meshnode.market import Order, Side, Terms
from meshnode.market.registry import BUILTIN, installed_mechanisms
from meshnode.settlement import (
    GRID_ACCOUNT,
    Metered,
    PeriodInputs,
    Tariff,
    changes_by_account,
    check_settlement,
    settle,
)

DATA = Path(os.environ.get("MESHNODE_DATA", "../shared/data"))
SERIES = DATA / "households" / "citylearn2022_17homes_1h.csv.gz"
HOMES = [f"h{number:02d}" for number in range(1, 18)]
TERMS = Terms(grid_price_u_kwh=320_000, feed_in_price_u_kwh=80_000)
TARIFF = Tariff(grid_price_u_kwh=320_000, feed_in_price_u_kwh=80_000, sharing="mid-market-rate")

pytestmark = pytest.mark.skipif(not SERIES.exists(), reason=f"no household data at {SERIES}; set MESHNODE_DATA")


def account(home: str) -> bytes:
    return hashlib.sha256(home.encode()).digest()[:16]


def a_day() -> list[dict[str, Metered]]:
    """The second day of the series, one hour after the other."""
    with gzip.open(SERIES, "rt", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))[25:49]
    hours = []
    for row in rows:
        hour = {}
        for home in HOMES:
            load_wh, pv_wh = (int(Decimal(row[f"{home}_{series}_kwh"]) * 1000) for series in ("load", "pv"))
            hour[home] = Metered(
                account=account(home),
                import_wh=max(0, load_wh - pv_wh),
                export_wh=max(0, pv_wh - load_wh),
                produced_wh=pv_wh,
            )
        hours.append(hour)
    return hours


def orders(hour: dict[str, Metered], number: int) -> list[Order]:
    """Each home bids or offers what it had an hour ago, at a price of its own between feed-in and grid."""
    placed = []
    for position, (home, metered) in enumerate(hour.items()):
        for side, energy_wh in ((Side.BUY, metered.import_wh), (Side.SELL, metered.export_wh)):
            if energy_wh:
                placed.append(
                    Order(
                        order_id=hashlib.sha256(f"{number} {home}".encode()).digest(),
                        account=metered.account,
                        side=side,
                        period=number,
                        energy_wh=energy_wh,
                        price_u_kwh=(230_000 if side is Side.BUY else 90_000) + position * 5_000,
                        sequence=(number, position),
                    )
                )
    return placed


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_a_day_adds_up_for_every_home(name: str) -> None:
    mechanism = installed_mechanisms().get(name, 1)
    hours = a_day()
    day = {account(home): [0, 0, 0, 0] for home in HOMES}
    postings = []
    traded_wh = 0
    for number in range(1, 24):
        clearing = mechanism.clear(orders(hours[number - 1], number), TERMS)
        traded_wh += clearing.energy_wh
        inputs = PeriodInputs(number, b"euro", tuple(hours[number].values()), clearing.trades, TARIFF)
        settlement = settle(inputs)
        check_settlement(inputs, settlement)
        postings.extend(settlement.postings)
        for line in settlement.lines:
            row = (line.own_wh, line.neighbours_wh, line.grid_wh, line.consumption_wh)
            day[line.account] = [total + part for total, part in zip(day[line.account], row, strict=True)]
    for home in HOMES:
        own_wh, neighbours_wh, grid_wh, consumption_wh = day[account(home)]
        load_wh = sum(hour[home].consumption_wh for hour in hours[1:])
        assert own_wh + neighbours_wh + grid_wh == consumption_wh == load_wh
    # The day is a sunny one: homes did trade, and the community still needed the grid at night.
    assert traded_wh > 10_000
    changes = changes_by_account(postings)
    assert sum(changes.values()) == 0
    assert changes[GRID_ACCOUNT] > 0
