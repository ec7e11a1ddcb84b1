"""Agents, partners and first steps over HTTP: said once, heeded from then on; what is missing is named."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from meshnode.market.lifecycle import ATTRIBUTES
from tests.web.client import get, write
from tests.web.test_standing import PAIR, stock
from tests.web.test_tokens import Village, street, village

__all__ = ["street", "village"]

AGENT = {**PAIR, "buy_price": 20, "sell_price": 30, "low": 1, "target": 5, "high": 9}
SAID = dict.fromkeys(ATTRIBUTES, "as agreed")


async def test_an_agent_orders_and_what_it_ordered_is_seen(village: Village) -> None:
    await stock(village)
    await village.say("bela", "/api/agents", **AGENT)
    assert await village.has("bela", "EURO") == (900, 100)
    (row,) = (await village.see("bela", "/api/agents"))["agents"]
    (order,) = (await village.see("bela", "/api/standing"))["standing"]
    assert (row["order"], row["buy_price"], row["wants"], row["hindered"]) == (order["id"], 20, None, None)
    assert (order["side"], order["open"], order["price"]) == ("buy", 5, 20)
    await village.say("anna", "/api/standing", side="sell", **PAIR, units=5, price=20)
    assert await village.has("bela", "SUN") == (5, 0)
    await village.say("bela", "/api/agents/off", asset="SUN")
    assert (await village.see("bela", "/api/agents?account=all"))["agents"] == []
    assert (await village.attempt("bela", "/api/agents/off", asset="SUN"))[1] == "NO_AGENT"


async def test_an_agent_says_what_hinders_it(village: Village) -> None:
    await stock(village)
    await village.say("carla", "/api/agents", **AGENT)
    (row,) = (await village.see("carla", "/api/agents"))["agents"]
    assert (row["order"], row["wants"]) == (None, {"side": "buy", "units": 5})
    assert row["hindered"] == "the member does not have that much"


async def test_a_partner_is_said_once(village: Village) -> None:
    await stock(village)
    await village.say("carla", "/api/cash/in", asset="EURO", to="carla", amount=100, reference="bank 2")
    await village.say("anna", "/api/partners", side="sell", partner="carla", price=12, **PAIR)
    await village.say("anna", "/api/partners", side="sell", partner="bela", price=100_000)
    listed = (await village.see("anna", "/api/partners"))["partners"]
    assert [(row["partner"], row["asset"], row["price"]) for row in listed] == [
        ("bela", None, 100_000),
        ("carla", "SUN", 12),
    ]
    for home, price in (("bela", 20), ("carla", 15)):
        await village.say(home, "/api/standing", side="buy", **PAIR, units=1, price=price)
    await village.say("anna", "/api/standing", side="sell", **PAIR, units=1, price=18)
    assert await village.has("carla", "SUN") == (1, 0) and await village.has("carla", "EURO") == (88, 0)
    await village.say("anna", "/api/partners/nobody", side="sell", **PAIR)
    assert (await village.attempt("anna", "/api/partners/nobody", side="sell", **PAIR))[1] == "NO_PREFERENCE"


async def test_what_is_missing_is_named_and_what_is_prepared_is_ordered_once(village: Village) -> None:
    await stock(village)
    asked = "/api/steps/missing?said=side%3Dbuy&said=price%3D200"
    found = await village.see("bela", asked)
    assert found["missing"] == [name for name in ATTRIBUTES if name not in ("side", "price")]
    assert found["attributes"] is None
    all_said = "&".join(f"said={quote(f'{name}={text}')}" for name, text in SAID.items())
    found = await village.see("bela", f"/api/steps/missing?{all_said}")
    assert found["missing"] == []
    less = {name: text for name, text in SAID.items() if name != "side"}
    reply = await write(village.addresses["bela"], "POST", "/api/steps/prepare", {"attributes": less})
    assert (reply.status, [fault["place"] for fault in reply.faults]) == (400, ["attributes.side"])
    prepared = await village.say("bela", "/api/steps/prepare", attributes=SAID)
    (row,) = (await village.see("bela", "/api/steps"))["steps"]
    assert (row["id"], row["state"], row["said"]) == (prepared, "pre_execution", found["attributes"])
    terms = {"side": "buy", **PAIR, "units": 3, "price": 200}
    booked = await village.say("bela", "/api/steps/book", prepared=prepared, **terms)
    (row,) = (await village.see("bela", "/api/steps"))["steps"]
    assert (row["id"], row["state"], row["before"]) == (booked, "booking", prepared)
    other = {**terms, "price": 201, "booked": booked}
    assert (await village.attempt("bela", "/api/standing", **other))[1] == "OTHER_TERMS"
    await village.say("bela", "/api/standing", **terms, booked=booked)
    assert (await village.see("bela", "/api/steps"))["steps"] == []
    taken = await village.say("bela", "/api/steps/prepare", attributes=SAID)
    await village.say("bela", f"/api/orders/{taken}/cancel")
    assert (await village.see("bela", "/api/steps"))["steps"] == []


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("/api/agents", {**AGENT, "low": -1}, "low"),
        ("/api/agents", {**AGENT, "buy_price": 0}, "buy_price"),
        ("/api/partners", {"side": "sell", "partner": "nobody", "price": 1}, "partner"),
        ("/api/partners", {"side": "sell", "partner": "bela", "price": 1, "asset": "SUN"}, "paid_with"),
        ("/api/partners", {"side": "sell", "partner": "bela", "price": 10**9, **PAIR}, "price"),
        ("/api/partners/nobody", {"side": "hold"}, "side"),
        ("/api/steps/prepare", {"attributes": {"colour": "green"}}, "attributes"),
        ("/api/steps/prepare", {"attributes": {"side": "x" * 201}}, "attributes"),
        ("/api/steps/book", {"prepared": "ab", "side": "buy", **PAIR, "units": 1, "price": 1}, "prepared"),
    ],
)
async def test_a_mistake_is_named(village: Village, path: str, body: dict[str, object], place: str) -> None:
    reply = await write(village.addresses["anna"], "POST", path, body)
    assert reply.status == 400 and place in [fault["place"] for fault in reply.faults]


async def test_an_attribute_that_no_order_has_is_named(village: Village) -> None:
    reply = await get(village.addresses["anna"], "/api/steps/missing?said=colour%3Dgreen")
    assert (reply.status, reply.faults[0]["place"]) == (400, "query said")
