"""Trace: where every Wh came from, as stories of a street, and for thousands of streets that chance drew."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.amounts import PPM, split
from meshnode.origin import (
    CARBON_UNKNOWN,
    GREEN,
    Battery,
    Home,
    Lot,
    Move,
    OriginError,
    Plant,
    Queue,
    Source,
    Traced,
    Way,
    carbon_mg,
    discharge,
    size_wh,
    trace,
)
from meshnode.origin.trace import matched

ANNA, BELA, CARLA = (name.ljust(16, b"\0") for name in (b"anna", b"bela", b"carla"))
ROOF, BATTERY = b"roof".ljust(32, b"\0"), b"battery".ljust(32, b"\0")
GRID_G, HOUR_S = 300, 3600
EFFICIENCY_PPM = 900_000


def roof(wh: int, device: bytes = ROOF) -> Plant:
    return Plant(device, Source.SOLAR, 20, wh)


def by_source(lots: tuple[Lot, ...]) -> list[tuple[str, int]]:
    """(source, Wh) of lots in a row, those of one source together."""
    found: list[tuple[str, int]] = []
    for lot in lots:
        name = Source(lot.source).name.lower()
        if found and found[-1][0] == name:
            found[-1] = name, found[-1][1] + lot.wh
        else:
            found.append((name, lot.wh))
    return found


def used(traced: Traced, account: bytes) -> list[tuple[str, str, int]]:
    """(way, source, Wh) of what a member used."""
    return [
        (Way(share.way).name.lower(), Source(share.lot.source).name.lower(), share.lot.wh)
        for share in traced.shares
        if share.account == account
    ]


def charged() -> tuple[Lot, ...]:
    """The golden storage: 1000 Wh of the roof, 500 Wh of the grid, 300 Wh of the roof, in three hours."""
    stored: tuple[Lot, ...] = ()
    for hour, (made, drawn) in enumerate(((1000, 0), (0, 500), (300, 0))):
        battery = Battery(BATTERY, EFFICIENCY_PPM, made + drawn, 0, stored)
        home = Home(ANNA, drawn, 0, (roof(made),), (battery,))
        traced = trace(hour * HOUR_S, [home], grid_carbon_g_kwh=GRID_G)
        assert traced.shares == () and traced.fed_in == ()
        stored = traced.stored[0].lots
    return stored


def test_a_storage_gives_back_first_what_came_in_first() -> None:
    """Charge PV 1000, grid 500, PV 300; deliver 900 at 90 %: PV 900, and 100 lost for it."""
    stored = charged()
    assert by_source(stored) == [("solar", 1000), ("grid", 500), ("solar", 300)]
    evening = Home(ANNA, 0, 0, (), (Battery(BATTERY, EFFICIENCY_PPM, 0, 900, stored),))
    traced = trace(20 * HOUR_S, [evening], grid_carbon_g_kwh=GRID_G)
    assert used(traced, ANNA) == [("own", "solar", 900)]
    (share,) = traced.shares
    assert (share.lot.period_s, share.lot.first, share.lot.storage) == (0, 0, BATTERY)
    assert [(lot.first, lot.wh) for _, lot in traced.cancelled] == [(900, 100)]
    assert by_source(traced.stored[0].lots) == [("grid", 500), ("solar", 300)]


def test_energy_that_was_charged_from_the_grid_is_never_green() -> None:
    """The next 540 Wh cost 600: all 500 of the grid, then the first 100 of the second sun."""
    queue = Queue(charged())
    discharge(queue, 900, EFFICIENCY_PPM, BATTERY)
    out = discharge(queue, 540, EFFICIENCY_PPM, BATTERY)
    assert by_source(out.delivered) == [("grid", 450), ("solar", 90)]
    assert by_source(out.cancelled) == [("grid", 50), ("solar", 10)]
    assert Source.GRID not in GREEN and Source.UNVERIFIED not in GREEN
    assert by_source(queue.rest()) == [("solar", 200)]


def test_what_nobody_saw_going_into_a_storage_comes_out_as_grid_energy() -> None:
    home = Home(ANNA, 0, 0, (), (Battery(BATTERY, EFFICIENCY_PPM, 0, 500, charged()[:1]),))
    traced = trace(
        0,
        [
            Home(ANNA, 0, 0, (), (Battery(BATTERY, EFFICIENCY_PPM, 0, 1000, charged()[:1]),)),
        ],
    )
    assert used(traced, ANNA) == [("own", "solar", 900), ("own", "grid", 100)]
    assert used(trace(0, [home]), ANNA) == [("own", "solar", 500)]


def test_a_home_uses_its_own_sun_before_it_charges_and_charges_before_it_sells() -> None:
    """Of 1000 Wh from the roof 300 are used, 400 stored, and 300 go to Bela, who takes 200 of the grid besides."""
    anna = Home(ANNA, 0, 300, (roof(1000),), (Battery(BATTERY, EFFICIENCY_PPM, 400, 0),))
    traced = trace(0, [Home(BELA, 500, 0), anna], [Move(ANNA, BELA, 300)])
    assert used(traced, ANNA) == [("own", "solar", 300)]
    assert used(traced, BELA) == [("neighbours", "solar", 300), ("grid", "grid", 200)]
    assert [share.lot.first for share in traced.shares if share.account == BELA] == [700, 0]
    assert by_source(traced.stored[0].lots) == [("solar", 400)] and traced.fed_in == ()


def test_a_home_that_charges_while_it_draws_charges_the_grid() -> None:
    anna = Home(ANNA, 700, 0, (roof(200),), (Battery(BATTERY, EFFICIENCY_PPM, 600, 0),))
    traced = trace(0, [anna])
    assert used(traced, ANNA) == [("own", "solar", 200), ("grid", "grid", 100)]
    assert by_source(traced.stored[0].lots) == [("grid", 600)]


def test_the_longest_waiting_wh_go_to_the_first_trade_and_the_last_to_the_grid() -> None:
    homes = [Home(ANNA, 0, 900, (roof(900),)), Home(BELA, 300, 0), Home(CARLA, 400, 0)]
    traced = trace(0, homes, [Move(ANNA, CARLA, 400)], {ANNA: 300}, {BELA: 300})
    firsts = {share.account: (share.lot.first, share.lot.wh) for share in traced.shares}
    assert firsts == {CARLA: (0, 400), BELA: (400, 300)}
    assert [(account, lot.first, lot.wh) for account, lot in traced.fed_in] == [(ANNA, 700, 200)]


def test_what_leaves_a_home_without_a_production_meter_is_unverified() -> None:
    traced = trace(0, [Home(ANNA, 100, 500), Home(BELA, 500, 0)], [Move(ANNA, BELA, 500)])
    assert used(traced, BELA) == [("neighbours", "unverified", 500)]


def test_carbon_is_what_the_lots_say_to_the_milligram() -> None:
    """300 Wh of the roof at 20 g/kWh, 200 Wh of the grid at 300 g/kWh; of what nobody said it is said so."""
    lots = tuple(share.lot for share in trace(0, [Home(ANNA, 200, 0, (roof(300),))], grid_carbon_g_kwh=GRID_G).shares)
    assert carbon_mg(lots) == (300 * 20 + 200 * 300, 0)
    unknown = tuple(share.lot for share in trace(0, [Home(ANNA, 200, 0, (roof(300),))]).shares)
    assert carbon_mg(unknown) == (6000, 200) and unknown[1].carbon_g_kwh == CARBON_UNKNOWN


@pytest.mark.parametrize(
    ("given_wh", "taken_wh"),
    [({ANNA: 5}, {BELA: 4}), ({ANNA: 5}, {ANNA: 5}), ({ANNA: 5, BELA: 1}, {ANNA: 2, BELA: 4})],
    ids=["other sums", "from oneself", "more than the others have"],
)
def test_sharing_that_does_not_add_up_is_refused(given_wh: dict[bytes, int], taken_wh: dict[bytes, int]) -> None:
    with pytest.raises(OriginError):
        matched(given_wh, taken_wh)


def test_more_than_was_exported_is_refused() -> None:
    with pytest.raises(OriginError, match="exported"):
        trace(0, [Home(ANNA, 0, 10, (roof(10),)), Home(BELA, 20, 0)], [Move(ANNA, BELA, 11)])


accounts = st.lists(st.integers(1, 250), min_size=2, max_size=8, unique=True)


@given(accounts, st.data())
def test_whoever_gives_and_takes_finds_others_for_both(names: list[int], data: st.DataObject) -> None:
    """Any sharing in which nobody must take from himself is matched so that nobody does."""
    keys = [bytes([name]) * 16 for name in names]
    given_wh: Counter[bytes] = Counter()
    taken_wh: Counter[bytes] = Counter()
    for _ in range(data.draw(st.integers(0, 12))):
        giver, taker = data.draw(st.permutations(keys))[:2]
        wh = data.draw(st.integers(1, 500))
        given_wh[giver] += wh
        taken_wh[taker] += wh
    found = matched(dict(given_wh), dict(taken_wh))
    assert all(giver != taker and wh > 0 for giver, taker, wh in found)
    for side, wanted in ((0, given_wh), (1, taken_wh)):
        got: Counter[bytes] = Counter()
        for pair in found:
            got[pair[side]] += pair[2]
        assert got == wanted


wh = st.integers(0, 2000)


@given(st.lists(st.tuples(wh, wh, wh, wh, wh), min_size=1, max_size=12), st.integers(1, PPM))
def test_every_wh_of_a_day_has_one_source_and_the_shares_add_up(day: list[tuple[int, ...]], efficiency: int) -> None:
    """Anna has a roof and a battery, Bela draws; every Wh of the roof ends in one place, and none in two."""
    stored: tuple[Lot, ...] = ()
    ended: list[Lot] = []
    shares: Counter[bytes] = Counter()
    made_wh = used_wh = 0
    for hour, (made, load, charge, out, bela_wh) in enumerate(day):
        net = made + out - load - charge
        battery = Battery(BATTERY, efficiency, charge, out, stored)
        anna = Home(ANNA, max(0, -net), max(0, net), (roof(made),), (battery,))
        sold = min(max(0, net), bela_wh)
        moves = [Move(ANNA, BELA, sold)] if sold else []
        traced = trace(hour * HOUR_S, [anna, Home(BELA, bela_wh, 0)], moves)
        stored = traced.stored[0].lots
        made_wh += made
        used_wh += load + bela_wh
        ended += [share.lot for share in traced.shares]
        ended += [lot for _, lot in (*traced.fed_in, *traced.cancelled)]
        for share in traced.shares:
            shares[bytes([share.way, share.lot.source])] += share.lot.wh
    assert sum(shares.values()) == used_wh
    if used_wh:
        assert sum(split(PPM, shares.items()).values()) == PPM
    named = sorted((lot for lot in (*ended, *stored) if lot.issuance), key=lambda lot: (lot.issuance, lot.first))
    assert size_wh(named) == made_wh
    for before, after in pairwise(named):
        assert before.issuance != after.issuance or before.first + before.wh == after.first
