"""Feeds over HTTP: named, fed by several nodes, agreed on, and shown with who deviated."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.web.client import get, write
from tests.web.hand_made import HandMade, SetClock, serving
from tests.web.street import MIDNIGHT_S, Street

NOW_S = MIDNIGHT_S + 60
CO2 = {
    "feed": "co2",
    "unit": "g/kWh",
    "feeders": ["anna", "bela", "carla"],
    "needed": 2,
    "stale_s": 3600,
    "deviation_ppm": 50_000,
    "low": 0,
    "high": 2000,
    "drives": "grid-carbon",
}


@pytest.fixture
async def homes(tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """The address of each home's node."""
    street = Street(tmp_path / "street", administrators=("anna",))
    street.begin()
    async with AsyncExitStack() as stack:
        backends = {home: HandMade(street, home, SetClock(NOW_S)) for home in street.homes}
        yield {home: await stack.enter_async_context(serving(one)) for home, one in backends.items()}
    street.views.close()


async def say(address: str, path: str, **body: Any) -> str:
    """The verdict on a record."""
    reply = await write(address, "POST", path, body)
    assert reply.status == 202, reply.json
    return str((await get(address, f"/api/records/{reply.json['record_id']}")).json["verdict"])


async def test_a_feed_is_named_fed_and_agreed_on(homes: dict[str, str]) -> None:
    assert await say(homes["bela"], "/api/feeds", **CO2) == "NOT_ADMINISTRATOR"
    assert await say(homes["anna"], "/api/feeds", **CO2) == "ACCEPTED"
    for home, value in (("anna", 300), ("bela", 900)):
        assert await say(homes[home], "/api/feeds/co2/values", value=value, at_s=MIDNIGHT_S) == "ACCEPTED"
    assert (await get(homes["carla"], "/api/feeds")).json["feeds"][0]["value"] is None
    assert await say(homes["carla"], "/api/feeds/co2/values", value=310, at_s=MIDNIGHT_S) == "ACCEPTED"
    found = (await get(homes["bela"], "/api/feeds/co2")).json
    assert (found["value"], found["unit"], found["needed"], found["drives"]) == (300, "g/kWh", 2, "grid-carbon")
    (newest,) = found["values"]
    assert (newest["value"], newest["agreeing"]) == (300, 2)
    assert sorted((one["feeder"], one["value"]) for one in newest["reports"]) == [
        ("anna", 300),
        ("bela", 900),
        ("carla", 310),
    ]
    (factor,) = (await get(homes["carla"], "/api/grid-carbon")).json["factors"]
    assert factor["carbon_g_kwh"] == 300


async def test_a_feed_says_the_price_of_the_period_that_runs(homes: dict[str, str]) -> None:
    """It is shown before as what is likely, and where it is stale the fixed price is."""
    price = CO2 | {"feed": "spot", "unit": "u/kWh", "high": 10**6, "drives": "grid-price"}
    assert await say(homes["anna"], "/api/feeds", **price) == "ACCEPTED"
    other = await say(homes["anna"], "/api/feeds", **price | {"feed": "other"})
    assert other == "DRIVEN_ALREADY"
    for home in ("anna", "bela"):
        assert await say(homes[home], "/api/feeds/spot/values", value=120_000, at_s=MIDNIGHT_S) == "ACCEPTED"
    (found,) = (await get(homes["carla"], "/api/feeds")).json["feeds"]
    # The period of midnight had begun when they agreed on it.
    assert (found["value"], found["period_price_u_kwh"]) == (120_000, None)
    assert (await get(homes["carla"], "/api/home")).json["prices"]["grid_u_kwh"] == 300_000


async def test_mistakes_are_named(homes: dict[str, str]) -> None:
    assert (await get(homes["anna"], "/api/feeds/weather")).status == 404
    reply = await write(homes["anna"], "POST", "/api/feeds", CO2 | {"feeders": [], "drives": "me"})
    assert {fault["place"] for fault in reply.json["errors"]} == {"feeders", "drives"}
    reply = await write(homes["anna"], "POST", "/api/feeds", CO2 | {"feeders": ["nobody"]})
    assert reply.status == 400 and reply.json["errors"][0]["place"] == "feeders"
    assert await say(homes["anna"], "/api/feeds/weather/values", value=1) == "UNKNOWN_FEED"
