"""Credit, prices and parameters over HTTP: set, refused with a reason, and shown with what is to come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.web.client import get, write
from tests.web.hand_made import HandMade, SetClock, serving
from tests.web.street import MIDNIGHT_S, Street
from tests.web.test_feeds import say

NOW_S = MIDNIGHT_S + 60
NEXT_S = MIDNIGHT_S + 900
EURO = {"asset": "EURO", "kind": "money", "cap": 10**9, "amount": 0, "settles": 1, "cashier": "anna"}


@pytest.fixture
async def homes(tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """The address of each home's node."""
    street = Street(tmp_path / "street", administrators=("anna",))
    street.begin()
    async with AsyncExitStack() as stack:
        backends = {home: HandMade(street, home, SetClock(NOW_S)) for home in street.homes}
        yield {home: await stack.enter_async_context(serving(one)) for home, one in backends.items()}
    street.views.close()


async def test_a_limit_bounds_orders_and_a_deposit_is_held(homes: dict[str, str]) -> None:
    anna, bela = homes["anna"], homes["bela"]
    assert await say(anna, "/api/assets", **EURO) == "ACCEPTED"
    paid = {"asset": "EURO", "to": "bela", "amount": 1_000, "reference": "bank 1"}
    assert await say(anna, "/api/cash/in", **paid) == "ACCEPTED"
    assert await say(bela, "/api/credit/limits", member="carla", limit_u=5) == "NOT_SUPPLIER"
    assert await say(anna, "/api/credit/limits", member="bela", limit_u=500) == "ACCEPTED"
    bid = {"side": "buy", "period_start_s": "next", "price_u_kwh": 200_000}
    assert await say(bela, "/api/orders", **bid, energy_wh=8) == "OVER_CREDIT"
    assert await say(bela, "/api/orders", **bid, energy_wh=5) == "ACCEPTED"
    (row,) = (await get(bela, "/api/credit")).json["credit"]
    shown = ("name", "cash_u", "promised_u", "exposure_u", "limit_u", "left_u", "limits", "arrears")
    assert [row[name] for name in shown] == [
        *("bela", 1_000, 1_050, 1_050, 500, 450),
        *([{"by": "community", "limit_u": 500}], {}),
    ]
    assert await say(bela, "/api/deposits", asset="EURO", amount=300, to="carla") == "NO_DEPOSIT_TO"
    assert await say(bela, "/api/deposits", asset="EURO", amount=300, to="anna") == "ACCEPTED"
    (deposit,) = (await get(anna, "/api/deposits")).json["deposits"]
    assert (deposit["owner"], deposit["to"], deposit["amount"]) == ("bela", "anna", 300)
    assert await say(bela, f"/api/deposits/{deposit['id']}/release") == "NOT_FOR_YOU"
    assert await say(anna, f"/api/deposits/{deposit['id']}/release") == "ACCEPTED"
    assert await say(anna, "/api/credit/limits", member="bela") == "ACCEPTED"
    found = {row["name"]: row["limit_u"] for row in (await get(anna, "/api/credit?account=all")).json["credit"]}
    assert set(found) == set(homes) and set(found.values()) == {None}


async def test_prices_are_shown_before_they_are_in_force(homes: dict[str, str]) -> None:
    anna, bela = homes["anna"], homes["bela"]
    assert await say(bela, "/api/prices", sell_u_kwh=150_000, from_s=MIDNIGHT_S) == "BACKWARDS"
    assert await say(bela, "/api/prices", sell_u_kwh=150_000, from_s="next") == "ACCEPTED"
    assert await say(bela, "/api/prices", buy_u_kwh=200_000, from_s=NEXT_S + 900) == "ACCEPTED"
    assert await say(bela, "/api/prices/outside", grid_u_kwh=1) == "NOT_ADMINISTRATOR"
    assert await say(anna, "/api/prices/outside", grid_u_kwh=340_000) == "ACCEPTED"
    found = (await get(homes["carla"], "/api/prices")).json
    assert (found["grid_u_kwh"], found["feed_in_u_kwh"]) == (300_000, 80_000)
    shown = ("name", "from_s", "sell_u_kwh", "buy_u_kwh", "in_force")
    assert [[row[name] for name in shown] for row in found["prices"]] == [
        ["bela", NEXT_S, 150_000, None, False],
        ["bela", NEXT_S + 900, None, 200_000, False],
    ]


async def test_parameters_are_set_by_an_administrator_and_listed(homes: dict[str, str]) -> None:
    anna = homes["anna"]
    levy = {"name": "street light", "base": "grid", "levy_u_kwh": 10_000}
    assert await say(homes["bela"], "/api/parameters/levies", **levy) == "NOT_ADMINISTRATOR"
    for path, body in (
        ("levies", levy),
        ("solidarity", {"share_ppm": 50_000, "helped": {"carla": 2}}),
        ("grid-fees", {"fees_u_kwh": [50_000, 20_000]}),
        ("locations", {"member": "bela", "levels": ["north", "feeder 2"]}),
        ("caps", {"cap_u_kwh": 280_000}),
    ):
        assert await say(anna, f"/api/parameters/{path}", **body) == "ACCEPTED", path
    rows = (await get(homes["carla"], "/api/parameters")).json["parameters"]
    assert all(row.pop("from_s") == NEXT_S and row.pop("in_force") is False for row in rows)
    assert rows == [
        {"what": "levy", "of": "street light", "base": "grid", "levy_u_kwh": 10_000},
        {"what": "solidarity", "of": "", "share_ppm": 50_000, "helped": {"carla": 2}},
        {"what": "grid-fees", "of": "", "fees_u_kwh": [50_000, 20_000]},
        {"what": "location", "of": "bela", "levels": ["north", "feeder 2"]},
        {"what": "cap", "of": "", "cap_u_kwh": 280_000},
    ]


async def test_mistakes_are_named(homes: dict[str, str]) -> None:
    reply = await write(homes["anna"], "POST", "/api/parameters/solidarity", {"share_ppm": 5, "helped": {"nobody": 1}})
    assert reply.status == 400 and reply.json["errors"][0]["place"] == "helped"
    reply = await write(homes["anna"], "POST", "/api/parameters/grid-fees", {"fees_u_kwh": [-1], "from_s": "soon"})
    assert {fault["place"] for fault in reply.json["errors"]} == {"fees_u_kwh", "from_s"}
    reply = await write(homes["anna"], "POST", "/api/credit/limits", {"limit_u": -1})
    assert {fault["place"] for fault in reply.json["errors"]} == {"limit_u"}
