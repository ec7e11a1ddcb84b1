"""Proofs: charging points, feeders, and what holds while the grid is lost."""

from __future__ import annotations

from collections.abc import Sequence

from meshnode.ledger.balances import balance
from meshnode.ledger.delivery_rows import Point
from meshnode.ledger.verdicts import Verdict
from meshnode.market.delivery import Phase
from meshnode.settlement import fund_account
from protocols.block import SignedRecord
from tests.effects.proof import Proof
from tests.effects.village import BELA, CARLA, clock, closes, contract, founded, line, period, taken
from tests.ledger import delivering, feeds
from tests.ledger.chain import Chain, meter_id, period_s
from tests.ledger.tokens import HOUR_S

BAY = "the charging point 'bay 1' has 22 kW and belongs to 'bela'"
CHARGES = "a car charges at 'bay 1'"
TERMS = (
    "sell energy at 0.25 EUR/kWh",
    "charge a fee of 0.03 EUR/kWh on 'consumed energy'",
    "charge 0.50 EUR for each session",
)


def yard(*actions: str, given: Sequence[str] = (BAY,), blocks: Sequence[str] = (), **roles: Sequence[str]) -> Chain:
    """Bela's charging point; Anna and Carla have 100 each of the money that pays for debts."""
    chain = founded(contract("; ".join((CHARGES, *actions)), *blocks, given=given), roles=roles)
    money = chain.issue("anna", "EURO", 200_000_000, 10**12, asset_kind=0, settles=1)
    chain.block(money, chain.transfer("anna", "carla", 100_000_000, "EURO"))
    chain.block()
    return chain


def point(chain: Chain) -> Point | None:
    return chain.machine.state.points.get(meter_id("bela"))


def reserve(chain: Chain, home: str = "carla", cap_wh: int = 10_000) -> tuple[SignedRecord, Verdict]:
    """A session at the point, on the terms that it shows."""
    row = point(chain)
    assert row is not None
    terms = {"price_u_kwh": row.price_u_kwh, "fee_u_kwh": row.fee_u_kwh, "flat_u": row.flat_u}
    reserved = delivering.reserve(chain, home, "bela", cap_wh, **terms)
    verdict = chain.say(reserved)
    assert isinstance(verdict, Verdict)
    return reserved, verdict


def session(chain: Chain, wh: int = 10_000) -> int:
    """Carla charges so much; what it costs her."""
    before = balance(chain.machine.state, CARLA, "EURO").free
    reserved, verdict = reserve(chain)
    assert verdict is Verdict.ACCEPTED
    chain.block(delivering.tick(chain, "bela", reserved, "begin", 1_000))
    chain.block(delivering.tick(chain, "bela", reserved, "end", 1_000 + wh), time_s=chain.now_s + 600)
    return before - balance(chain.machine.state, CARLA, "EURO").free


def a_point() -> None:
    """The point is there with its power and its owner; an owner of another name has none."""
    row = point(yard(*TERMS))
    assert row is not None and (row.owner, row.power_w) == (BELA, 22_000)
    other = point(yard(*TERMS, given=(BAY.replace("22 kW", "11 kW"),)))
    assert other is not None and other.power_w == 11_000
    assert point(yard(*TERMS, given=(BAY.replace("bela", "nobody"),))) is None


def a_car_charges() -> None:
    """10 kWh at 0.25 and 0.03, and 0.50 for the session; of another point the sentences say nothing."""
    assert session(yard(*TERMS)) == 2_500_000 + 300_000 + 500_000
    given = (BAY, "the charging point 'bay 2' has 22 kW and belongs to 'carla'")
    chain = founded(contract("; ".join(("a car charges at 'bay 2'", *TERMS)), given=given))
    chain.block(chain.issue("anna", "EURO", 1, 10**12, asset_kind=0, settles=1))
    chain.block()
    prices = {meter: row.price_u_kwh for meter, row in chain.machine.state.points.items()}
    assert prices == {meter_id("bela"): 0, meter_id("carla"): 250_000}


def a_price() -> None:
    """A kWh costs what the sentence says, now 0.25 and in the band 0.40."""
    assert session(yard("sell energy at 0.25 EUR/kWh")) == 2_500_000
    given = (BAY, f"the band 'now' runs from {clock(0)} to {clock(1)}")
    dear = f"{CHARGES}; if the time is in band 'now'; sell energy at 0.40 EUR/kWh"
    chain = yard("sell energy at 0.25 EUR/kWh", given=given, blocks=(dear,))
    assert session(chain) == 4_000_000
    chain.block(time_s=period_s(1) + 5)
    assert session(chain) == 2_500_000


def a_fee_for_a_session() -> None:
    """Half a unit of money for the session, however short it is."""
    assert session(yard("charge 0.50 EUR for each session"), 1) == 500_000
    assert session(yard("sell energy at 0.25 EUR/kWh"), 4) == 1_000


def a_charging_fee_is_split() -> None:
    """Of the fee Bela has 70 % as the point's owner, the fund the rest."""
    split = "split the 'charging fee' 70 % to 'bela' and 30 % to 'community fund'"
    chain = yard(*TERMS, split)
    session(chain)
    state = chain.machine.state
    assert balance(state, BELA, "EURO").free == 2_500_000 + 560_000
    assert balance(state, fund_account("community fund"), "EURO").free == 240_000


def solar_and_grid() -> None:
    """Bela covered a quarter of her use herself: a quarter of each kWh counts as solar, the rest as the grid's."""
    fees = ("charge a fee of 0.24 EUR/kWh on 'solar energy'", "charge a fee of 0.40 EUR/kWh on 'grid energy'")
    chain = yard(*fees)
    assert session(chain, 10_000) == 4_000_000
    period(chain, 0, bela=(300, 0, 100))
    chain.block()
    assert session(chain, 10_000) == 3_600_000


def most_of_a_session() -> None:
    """Nobody reserves more than 8 kWh at a time."""
    chain = yard(*TERMS, "deliver at most 8 kWh in a session")
    assert reserve(chain, cap_wh=8_001)[1] is Verdict.SESSION_TOO_LARGE
    assert reserve(chain, cap_wh=8_000)[1] is Verdict.ACCEPTED
    assert reserve(yard(*TERMS), cap_wh=8_001)[1] is Verdict.ACCEPTED


def a_silent_session() -> None:
    """Five minutes after the last tick the session is settled; where twenty are said it goes on."""
    for words, phase in (("5 minutes", Phase.ENDED), ("20 minutes", Phase.RUNNING)):
        chain = yard(*TERMS, f"end the session after {words} without a reading")
        reserved, _ = reserve(chain)
        chain.block(delivering.tick(chain, "bela", reserved, "begin", 1_000))
        chain.block(time_s=chain.now_s + 400)
        assert delivering.found(chain, reserved).phase == phase


def first_at_the_point() -> None:
    """Carla has reserved and not begun; Anna of the fleet takes the point, and Carla has her money back."""
    for actions, verdict in (((*TERMS, "serve 'fleet' first"), Verdict.ACCEPTED), (TERMS, Verdict.POINT_BUSY)):
        chain = yard(*actions, given=(BAY, "there is a role 'fleet'"), anna=("fleet",))
        waiting, _ = reserve(chain)
        assert reserve(chain, "anna")[1] is verdict
        given_way = verdict is Verdict.ACCEPTED
        assert (delivering.found(chain, waiting).phase == Phase.CANCELLED) is given_way
        assert (balance(chain.machine.state, CARLA, "EURO").held == 0) is given_way


def charging_power() -> None:
    """11 kW in the evening, the point's own 22 kW after it."""
    given = (BAY, f"the band 'now' runs from {clock(0)} to {clock(1)}")
    limit = f"{CHARGES}; if the time is in band 'now'; limit charging to 11 kW"
    chain = yard(*TERMS, given=given, blocks=(limit,))
    assert power(chain) == 11_000
    chain.block(time_s=period_s(1) + 5)
    assert power(chain) == 22_000


def power(chain: Chain) -> int:
    row = point(chain)
    assert row is not None
    return row.power_w


# --- the feeder

FEEDER = (
    f"the feeder 'Harbour Road' is measured by the meter '{meter_id('anna').hex()}'",
    "there is a role 'operator'",
)
LOSES = "the feeder 'Harbour Road' loses more than 5 %; warn 'operator'"


def warned(*blocks: str, through_wh: int, given: Sequence[str] = FEEDER) -> list[tuple[str, ...]]:
    """Who is warned after a period in which Bela and Carla used 1000 Wh, and so much went through Anna's meter."""
    chain = founded(contract(*blocks, given=given))
    period(chain, anna=(through_wh, 0), bela=(600, 0), carla=(400, 0))
    return [row.roles for _, row in chain.machine.state.warnings.items()]


def a_feeder_loses() -> None:
    """100 of 1100 Wh never reached a home: the operator is warned; 40 of 1040 pass."""
    assert warned(LOSES, through_wh=1_100) == [("operator",)]
    assert warned(LOSES, through_wh=1_040) == []
    assert warned(through_wh=1_100) == []


def a_feeder() -> None:
    """What goes through the feeder's meter is nobody's consumption; without the sentence it is Anna's."""
    for given, metered in ((FEEDER, 2), (FEEDER[1:], 3)):
        chain = founded(contract(closes("share production in proportion to use"), given=given))
        found = period(chain, anna=(1_000, 0), bela=(600, 0), carla=(400, 0))
        assert len(found.lines) == metered
    # Another meter at the head says something else.
    other = (FEEDER[0].replace(meter_id("anna").hex(), "00" * 8), FEEDER[1])
    assert warned(LOSES, through_wh=1_100, given=other) == []


# --- the grid is lost

GRID = ("the feed 'grid' tells whether the grid is there", "there is a role 'operator'", "there is a role 'clinic'")
SHARE = closes("share production in proportion to use")
# Carla has 900 Wh; Anna needs 300 of it, Bela 900.
DAY = {"anna": (300, 0), "bela": (900, 0), "carla": (0, 900)}


def island(*actions: str, given: Sequence[str] = GRID, grid: int = 0, event: str = "the grid is lost") -> Chain:
    """A village that has agreed whether the grid is there before its first period begins."""
    block = ("; ".join((event, *actions)),) if actions else ()
    chain = founded(contract(SHARE, *block, given=given), roles={"bela": ("clinic",)})
    limits = {"unit": "state", "needed": 1, "low": 0, "high": 1, "stale_s": 24 * HOUR_S}
    chain.block(feeds.define(chain, feed="grid", **limits))
    assert chain.say(feeds.value(chain, "anna", grid, period_s(0), feed="grid")) is Verdict.ACCEPTED
    return chain


def the_grid_is_lost() -> None:
    """The operator is warned when the feed says so, and who is named is served first; while it is there, nothing."""
    for grid, warnings, expected in ((0, 1, {"bela": 900}), (1, 0, {"anna": 225, "bela": 675})):
        chain = island("warn 'operator'", "serve 'clinic' first", grid=grid)
        assert len(chain.machine.state.warnings) == warnings
        assert taken(period(chain, **DAY)) == expected


def the_feed() -> None:
    """It is this feed that says so; where another one is named, what this one says is nothing about the grid."""
    assert len(island("warn 'operator'").machine.state.warnings) == 1
    assert (
        len(
            island(
                "warn 'operator'", given=("the feed 'other' tells whether the grid is there", *GRID[1:])
            ).machine.state.warnings
        )
        == 0
    )


def critical(home: str) -> str:
    return f"the meter '{meter_id(home).hex()}' serves a critical load"


def a_critical_load() -> None:
    """Whose meter it is gets all it needs; another meter, another home."""
    for home, expected in (("bela", {"bela": 900}), ("anna", {"anna": 300, "bela": 600})):
        chain = island("serve critical loads first", given=(*GRID, critical(home)))
        assert taken(period(chain, **DAY)) == expected


def critical_first() -> None:
    """Before all others, and only while the sentence says so."""
    given = (*GRID, critical("bela"))
    assert taken(period(island("serve critical loads first", given=given), **DAY)) == {"bela": 900}
    assert taken(period(island("warn 'operator'", given=given), **DAY)) == {"anna": 225, "bela": 675}


def a_ration() -> None:
    """500 W are 125 Wh in a quarter of an hour, for everybody but who has a critical load."""
    given = (*GRID, critical("bela"))
    found = period(island("limit every home to 500 W", given=given), **DAY)
    assert taken(found) == {"anna": 110, "bela": 790}
    found = period(island("limit every home to 500 W"), **DAY)
    assert taken(found) == {"anna": 125, "bela": 125} and line(found, "carla").fed_in_wh == 650


def charging_in_the_dark() -> None:
    """While the grid is lost the point draws at most 3 kW."""
    block = "the grid is lost; limit charging to 3 kW"
    chain = yard(*TERMS, given=(BAY, GRID[0]), blocks=(block,))
    assert power(chain) == 22_000
    limits = {"unit": "state", "needed": 1, "low": 0, "high": 1, "stale_s": 24 * HOUR_S}
    chain.block(feeds.define(chain, feed="grid", **limits))
    chain.block(feeds.value(chain, "anna", 0, period_s(0), feed="grid"))
    chain.block()
    assert power(chain) == 3_000


def limited_charging() -> None:
    """At a time, and while the grid is lost."""
    charging_power()
    charging_in_the_dark()


def a_session_has_its_price_and_fees() -> None:
    """What the point asks for, and who receives it."""
    a_price()
    a_charging_fee_is_split()
    solar_and_grid()
    first_at_the_point()


PROOFS: dict[int, Proof] = {
    115: a_point,
    116: a_feeder,
    118: a_critical_load,
    143: the_feed,
    306: a_car_charges,
    314: the_grid_is_lost,
    315: a_feeder_loses,
    537: a_session_has_its_price_and_fees,
    538: a_fee_for_a_session,
    571: limited_charging,
    572: most_of_a_session,
    573: a_silent_session,
    574: critical_first,
    575: a_ration,
}
