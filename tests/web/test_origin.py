"""Origin over HTTP: sources of every Wh of a period and a day, installations, certificates."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from meshnode.amounts import PPM
from tests.web.client import get, write
from tests.web.hand_made import HandMade, SetClock, serving
from tests.web.street import MIDNIGHT_S, PERIOD_S, Counted, Street

MORNING = 48
NOW_S = MIDNIGHT_S + MORNING * PERIOD_S + 60
SECONDS_PER_DAY = 86_400


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    street = Street(tmp_path / "street", administrators=("anna",))
    street.live_through(MORNING)
    yield street
    street.views.close()


@pytest.fixture
async def homes(street: Street) -> AsyncIterator[dict[str, str]]:
    """The address of each home's node."""
    async with AsyncExitStack() as stack:
        backends = {home: HandMade(street, home, SetClock(NOW_S)) for home in street.homes}
        yield {home: await stack.enter_async_context(serving(one)) for home, one in backends.items()}


async def see(address: str, path: str) -> Any:
    reply = await get(address, path)
    assert reply.status == 200, reply.json
    return reply.json


async def say(address: str, path: str, **body: Any) -> tuple[str, str]:
    """Id and verdict of a record."""
    reply = await write(address, "POST", path, body or None)
    assert reply.status == 202, reply.json
    record_id = str(reply.json["record_id"])
    return record_id, str((await see(address, f"/api/records/{record_id}"))["verdict"])


def go_on(street: Street, periods: int, first: int) -> None:
    """So many sunny quarter-hours: anna's roof gives 600 Wh, of which she uses 100; the others draw 50 each."""
    for number in range(first, first + periods):
        counted = {"anna": Counted(0, 500, 600), "bela": Counted(50), "carla": Counted(50)}
        start_s = MIDNIGHT_S + number * PERIOD_S
        records = [street.reading(home, start_s, counted[home]) for home in street.homes]
        street.block(start_s + PERIOD_S, *records)


async def test_the_shares_of_a_period_and_of_a_day_add_up(street: Street, homes: dict[str, str]) -> None:
    """What the origin says was used is what the lines of the settlement say, home by home and way by way."""
    for home in street.homes:
        told = await see(homes[home], f"/api/origin/day?from_s={MIDNIGHT_S}&to_s={NOW_S}")
        (one,) = told["carriers"]
        day = street.views.day(street.account(home), MIDNIGHT_S, NOW_S)
        ways = dict.fromkeys(("own", "neighbours", "grid"), 0)
        for share in one["shares"]:
            ways[share["way"]] += share["wh"]
        assert (ways["own"], ways["neighbours"], ways["grid"]) == (day.own_wh, day.neighbours_wh, day.grid_wh)
        assert sum(share["ppm"] for share in one["shares"]) == PPM and one["wh"] == day.consumption_wh
        assert told["final"] is False and "not a legal guarantee" in told["disclaimer"]
    everybody = await see(homes["anna"], f"/api/origin/day?account=all&from_s={MIDNIGHT_S}&to_s={NOW_S}")
    assert everybody["carriers"][0]["wh"] == street.views.day(None, MIDNIGHT_S, NOW_S).consumption_wh
    newest = await see(homes["bela"], "/api/origin")
    (bela,) = newest["members"]
    assert newest["period_start_s"] == MIDNIGHT_S + (MORNING - 1) * PERIOD_S and bela["name"] == "bela"
    assert sum(lot["ppm"] for lot in bela["lots"]) == PPM
    assert {lot["producer"] for lot in bela["lots"] if lot["way"] == "neighbours"} <= {"anna", "carla"}


async def test_a_plant_is_announced_confirmed_traced_and_certified(street: Street, homes: dict[str, str]) -> None:
    roof = {"kind": "production", "name": "roof", "capacity_w": 5000, "operational_s": "now", "source": "solar"}
    plant, verdict = await say(homes["anna"], "/api/installations", **roof, carbon_g_kwh=20)
    assert verdict == "ACCEPTED"
    assert (await say(homes["bela"], f"/api/installations/{plant}/confirm"))[1] == "NOT_ADMINISTRATOR"
    assert (await say(homes["anna"], f"/api/installations/{plant}/confirm"))[1] == "ACCEPTED"
    assert (await say(homes["anna"], "/api/grid-carbon", carbon_g_kwh=300))[1] == "ACCEPTED"
    (row,) = (await see(homes["carla"], "/api/installations"))["installations"]
    assert (row["owner"], row["state"], row["source"], row["carrier"]) == ("anna", "confirmed", "solar", "electricity")
    go_on(street, 3, MORNING)
    at = MIDNIGHT_S + (MORNING + 2) * PERIOD_S
    before = await see(homes["anna"], f"/api/origin?period_start_s={at}&account=all")
    anna = next(one for one in before["members"] if one["name"] == "anna")
    assert [(lot["source"], lot["wh"], lot["first"], lot["last"]) for lot in anna["lots"]] == [("solar", 100, 0, 99)]
    assert (anna["carbon_g_kwh"], anna["carbon_mg"], anna["green_wh"]) == (20, 2000, 100)
    _make_final(street, MORNING + 3)
    after = await see(homes["anna"], f"/api/origin?period_start_s={at}&account=all")
    assert (before["final"], after["final"]) == (False, True) and after["members"] == before["members"]
    held = (await see(homes["anna"], "/api/certificates"))["certificates"]
    newest = [one for one in held if one["period_start_s"] == at]
    assert sum(one["wh"] for one in newest) == 500 - sum(
        lot["wh"] for one in after["members"] for lot in one["lots"] if lot["way"] == "neighbours"
    )
    assert {(one["owner"], one["device_name"], one["issuer"]) for one in newest} == {("anna", "roof", "Borgo Sole")}
    assert (await say(homes["anna"], "/api/certificates/transfer", to="bela", wh=300, source="solar"))[1] == "ACCEPTED"
    assert (await say(homes["bela"], "/api/certificates/retire", wh=300, purpose="the school"))[1] == "ACCEPTED"
    assert (await say(homes["bela"], "/api/certificates/retire", wh=1))[1] == "NOT_CERTIFIED"
    told = (await see(homes["bela"], "/api/certificates/history"))["history"]
    assert [(one["change"], one["wh"], one["purpose"]) for one in told] == [
        ("retired", 300, "the school"),
        ("transferred", 300, ""),
    ]
    assert sum(one["wh"] for one in told[0]["ranges"]) == 300


def _make_final(street: Street, periods: int) -> None:
    """Time passes until no period before can be corrected; a block closes a bounded number of them."""
    end_s = MIDNIGHT_S + periods * PERIOD_S
    time_s = end_s + street.machine.rules().period.correction_s
    while street.machine.state.meta[0].next_final_s < end_s:
        time_s += 5
        street.block(time_s)


async def test_mistakes_are_named(homes: dict[str, str]) -> None:
    for path, expected in (
        (f"/api/origin?period_start_s={NOW_S}", "closed period"),
        ("/api/origin?account=nobody", "member"),
        ("/api/origin/day?from_s=9&to_s=8", "whole number"),
    ):
        reply = await get(homes["anna"], path)
        assert reply.status == 400 and expected in reply.json["errors"][0]["expected"], reply.json
    wrong = {"kind": "windmill", "name": "x", "capacity_w": 0, "operational_s": 1}
    reply = await write(homes["anna"], "POST", "/api/installations", wrong)
    assert {fault["place"] for fault in reply.json["errors"]} == {"kind", "capacity_w"}
    reply = await write(homes["anna"], "POST", f"/api/installations/{'00' * 32}/paint", None)
    assert reply.status == 404
