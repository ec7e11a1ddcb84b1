"""Real homes: a day of 17 households traced quarter by quarter; every Wh has a source, and the shares add up.

Needs the data set of `tests.market.homes`; without it the test is skipped and says so.
"""

from __future__ import annotations

from collections import Counter

import pytest

from meshnode.amounts import PPM, split
from meshnode.origin import GREEN, Home, Lot, Plant, Source, Way
from meshnode.settlement import PeriodInputs, Tariff, settle
from meshnode.settlement.origins import Inputs, follow
from tests.data import data_folder
from tests.market import homes

PERIOD_S = 900


@pytest.mark.skipif(data_folder() is None, reason="the households' data are not there; set MESHNODE_DATA")
def test_a_day_of_seventeen_homes_names_every_wh() -> None:
    tariff = Tariff(grid_price_u_kwh=320_000, feed_in_price_u_kwh=80_000, sharing="mid-market-rate")
    shares: Counter[tuple[int, int]] = Counter()
    by_home: dict[bytes, Counter[tuple[int, int]]] = {}
    named: list[Lot] = []
    for number, quarter in enumerate(homes.quarter_hours()):
        metered = tuple(quarter.values())
        settlement = settle(PeriodInputs(number, b"EUR", metered, (), tariff))
        street = tuple(
            Home(
                one.account,
                one.import_wh,
                one.export_wh,
                (Plant(one.account.ljust(32, b"\0"), Source.SOLAR, 30, one.produced_wh or 0),),
            )
            for one in metered
        )
        (traced,) = follow(Inputs(number * PERIOD_S, street, (), (300, 0)), settlement)
        used: Counter[tuple[bytes, int]] = Counter()
        for share in traced.shares:
            shares[(share.way, share.lot.source)] += share.lot.wh
            by_home.setdefault(share.account, Counter())[(share.way, share.lot.source)] += share.lot.wh
            used[(share.account, share.way)] += share.lot.wh
            assert share.way != Way.NEIGHBOURS or share.lot.producer != share.account
        for line in settlement.lines:
            ways = tuple(used[(line.account, way)] for way in (Way.OWN, Way.NEIGHBOURS, Way.GRID))
            assert ways == (line.own_wh, line.neighbours_wh, line.grid_wh), number
        named += [share.lot for share in traced.shares] + [lot for _, lot in traced.fed_in]
    load_wh, made_wh = homes.totals()
    assert sum(shares.values()) == load_wh
    assert sum(lot.wh for lot in named if lot.issuance) == made_wh
    assert len(by_home) == len(homes.HOMES)
    for parts in (shares, *by_home.values()):
        found = split(PPM, [(bytes(place), wh) for place, wh in parts.items()])
        assert sum(found.values()) == PPM
    green_wh = sum(wh for (_, source), wh in shares.items() if source in GREEN)
    print({f"{Way(way).name} {Source(source).name}": wh for (way, source), wh in sorted(shares.items())})
    assert 0 < green_wh < load_wh
