"""Tokens, cash and contracts over HTTP, and the API's own description."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

from meshnode.ledger.movements import What
from meshnode.web import openapi
from meshnode.web.history import History
from meshnode.web.server import create_app
from tests.web.client import get, request, write
from tests.web.hand_made import TOKEN, HandMade, SetClock, serving
from tests.web.street import MIDNIGHT_S, Street

NOW_S = MIDNIGHT_S + 137


class Village:
    """The nodes of anna (who administers), bela and carla, on one ledger."""

    def __init__(self, addresses: dict[str, str], backends: dict[str, HandMade]) -> None:
        self.addresses = addresses
        self.backends = backends

    async def say(self, home: str, path: str, **body: Any) -> str:
        """The id of a record that a home's node has signed; it must be accepted."""
        found, verdict = await self.attempt(home, path, **body)
        assert verdict == "ACCEPTED", verdict
        return found

    async def attempt(self, home: str, path: str, **body: Any) -> tuple[str, str]:
        """Id and verdict of a record."""
        reply = await write(self.addresses[home], "POST", path, body or None)
        assert reply.status == 202, reply.json
        record_id = str(reply.json["record_id"])
        outcome = (await get(self.addresses[home], f"/api/records/{record_id}")).json
        return record_id, str(outcome["verdict"])

    async def see(self, home: str, path: str, *, may_read: bool = True) -> Any:
        """An answer; with the token, for it also opens memos."""
        headers = {"authorization": f"Bearer {TOKEN}"} if may_read else {}
        reply = await get(self.addresses[home], path, **headers)
        assert reply.status == 200, reply.json
        return reply.json

    async def has(self, home: str, asset: str) -> tuple[int, int]:
        """(free, held) of a home."""
        rows = (await self.see(home, "/api/balances"))["balances"]
        return next(((row["free"], row["held"]) for row in rows if row["asset"] == asset), (0, 0))


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    street = Street(tmp_path / "street", administrators=("anna",))
    street.begin()
    yield street
    street.views.close()


@pytest.fixture
async def village(street: Street) -> AsyncIterator[Village]:
    async with _village(street) as village:
        yield village


@asynccontextmanager
async def _village(street: Street) -> AsyncIterator[Village]:
    backends = {home: HandMade(street, home, SetClock(NOW_S)) for home in street.homes}
    async with AsyncExitStack() as stack:
        addresses = {home: await stack.enter_async_context(serving(one)) for home, one in backends.items()}
        yield Village(addresses, backends)


async def issue(village: Village) -> None:
    await village.say("anna", "/api/assets", asset="SUN", kind="utility", cap=1000, amount=100)
    await village.say("anna", "/api/assets", asset="EURO", kind="money", cap=10**9, amount=0, cashier="carla")


async def test_assets_say_their_rules(village: Village) -> None:
    await issue(village)
    body = {"asset": "LOG", "kind": "energy", "cap": 10**9, "amount": 0}
    await village.say("anna", "/api/assets", **body, policy="meter", measure="export", unit_wh=1000)
    found = {row["asset"]: row for row in (await village.see("bela", "/api/assets"))["assets"]}
    assert list(found) == ["EURO", "LOG", "SUN"]
    assert (found["LOG"]["policy"], found["LOG"]["measure"], found["LOG"]["unit_wh"]) == ("meter", "export", 1000)
    assert (found["EURO"]["cashier"], found["EURO"]["supply"]) == ("carla", 0)
    assert (found["SUN"]["issuer"], found["SUN"]["supply"], found["SUN"]["burning"]) == ("anna", 100, "owner")


async def test_a_memo_is_read_at_both_ends(village: Village) -> None:
    await issue(village)
    text = "für die Kirschen"
    await village.say("anna", "/api/transfers", to="bela", asset="SUN", amount=30, memo=text)
    rows = {}
    for home in village.addresses:
        (rows[home],) = (await village.see(home, "/api/movements?account=all&asset=SUN&limit=1"))["movements"]
    assert {home: row["memo"] for home, row in rows.items()} == {"anna": text, "bela": text, "carla": None}
    assert all(row["has_memo"] for row in rows.values())
    # Whoever only reaches the page, perhaps from another computer, reads no memo.
    (row,) = (await village.see("bela", "/api/movements?limit=1", may_read=False))["movements"]
    assert (row["memo"], row["has_memo"]) == (None, True)
    assert (rows["carla"]["giver_name"], rows["carla"]["taker_name"], rows["carla"]["amount"]) == ("anna", "bela", 30)


async def test_a_memo_that_is_too_long_is_refused_with_its_bound(village: Village) -> None:
    body = {"to": "bela", "asset": "SUN", "amount": 1, "memo": "x" * 256}
    reply = await write(village.addresses["anna"], "POST", "/api/transfers", body)
    assert (reply.status, reply.faults[0]["place"]) == (400, "memo")
    assert "write 1 to 255" in reply.faults[0]["expected"]


async def test_an_exchange_and_its_history(village: Village) -> None:
    await issue(village)
    await village.say("carla", "/api/cash/in", asset="EURO", to="bela", amount=500, reference="bank 1")
    terms = {"give": "SUN", "give_amount": 40, "want": "EURO", "want_amount": 200, "for_s": 3600}
    offered = await village.say("anna", "/api/exchanges", **terms, to="bela")
    assert await village.has("anna", "SUN") == (60, 40)
    for home, for_me in (("anna", False), ("bela", True), ("carla", False)):
        (row,) = (await village.see(home, "/api/exchanges"))["exchanges"]
        assert (row["id"], row["for_me"], row["until_s"]) == (offered, for_me, NOW_S + 3600)
    assert (await village.attempt("carla", f"/api/exchanges/{offered}/accept"))[1] == "NOT_FOR_YOU"
    await village.say("bela", f"/api/exchanges/{offered}/accept")
    assert [await village.has(home, "SUN") for home in ("anna", "bela")] == [(60, 0), (40, 0)]
    assert [await village.has(home, "EURO") for home in ("anna", "bela")] == [(200, 0), (300, 0)]
    moved = (await village.see("bela", "/api/movements"))["movements"]
    assert [(row["what"], row["giver_name"], row["amount"], row["asset"]) for row in moved] == [
        ("exchanged", "bela", 200, "EURO"),
        ("exchanged", "anna", 40, "SUN"),
        ("cash_in", "", 500, "EURO"),
    ]
    assert (await village.see("bela", "/api/exchanges"))["exchanges"] == []


async def test_an_offer_is_taken_back(village: Village) -> None:
    await issue(village)
    terms = {"give": "SUN", "give_amount": 40, "want": "EURO", "want_amount": 200, "for_s": 3600}
    offered = await village.say("anna", "/api/exchanges", **terms)
    await village.say("anna", f"/api/exchanges/{offered}/withdraw")
    assert await village.has("anna", "SUN") == (100, 0)


async def test_money_out_with_a_memo_for_the_cashier(village: Village) -> None:
    await issue(village)
    await village.say("carla", "/api/cash/in", asset="EURO", to="bela", amount=500, reference="bank 1")
    wish = {"asset": "EURO", "amount": 200, "for_s": 3600, "memo": "AT12 3456"}
    asked = await village.say("bela", "/api/cash/ask", **wish)
    for home, memo in (("anna", None), ("bela", "AT12 3456"), ("carla", "AT12 3456")):
        (row,) = (await village.see(home, "/api/cash"))["cash"]
        assert (row["what"], row["owner"], row["to"], row["memo"]) == ("ask", "bela", "carla", memo)
    assert (await village.attempt("carla", f"/api/cash/{asked}/out", reference="bank 1"))[1] == "REFERENCE_TAKEN"
    await village.say("carla", f"/api/cash/{asked}/out", reference="bank 2")
    assert await village.has("bela", "EURO") == (300, 0)
    (row, _) = (await village.see("bela", "/api/movements"))["movements"]
    assert (row["what"], row["taker_name"], row["reference"]) == ("cash_out", "", "bank 2")


async def test_a_sale_between_members(village: Village) -> None:
    await issue(village)
    sold = await village.say(
        "anna", "/api/cash/sell", to="bela", asset="SUN", amount=10, for_s=3600, reference="tokens of June"
    )
    (row,) = (await village.see("bela", "/api/cash"))["cash"]
    assert (row["what"], row["reference"], row["memo"]) == ("sale", "tokens of June", None)
    await village.say("bela", f"/api/cash/{sold}/release")
    assert await village.has("anna", "SUN") == (100, 0)
    sold = await village.say("anna", "/api/cash/sell", to="bela", asset="SUN", amount=10, for_s=3600)
    await village.say("anna", f"/api/cash/{sold}/confirm")
    assert await village.has("bela", "SUN") == (10, 0)
    await village.say("bela", "/api/burns", asset="SUN", amount=4)
    assert await village.has("bela", "SUN") == (6, 0)


async def test_a_contract_from_offer_to_end(village: Village) -> None:
    terms = {"to": "bela", "role": "supplier", "terms": "ab" * 32, "from_s": "now", "until_s": NOW_S + 86_400}
    offered = await village.say("anna", "/api/contracts", **terms, maximum_power_w=3000, source="solar")
    states = []
    for home, step in (("bela", "sign"), ("anna", "end"), ("bela", "")):
        (row,) = (await village.see("bela", "/api/contracts"))["contracts"]
        states.append(row["status"])
        if step:
            await village.say(home, f"/api/contracts/{offered}/{step}")
    assert states == ["offered", "signed", "ended"]
    assert (row["contract"], row["offered_by"], row["role"], row["terms"]) == (offered, "anna", "supplier", "ab" * 32)
    assert row["service"] == {"maximum_power_w": 3000, "source": "solar"}
    assert (await village.see("carla", "/api/contracts"))["contracts"] == []
    assert len((await village.see("carla", "/api/contracts?account=all"))["contracts"]) == 1


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("/api/burns", {"asset": "SUN", "amount": 0}, "amount"),
        ("/api/cash/ask", {"asset": "SUN", "amount": 1, "for_s": 0}, "for_s"),
        ("/api/exchanges", {"give": "SUN"}, "give_amount"),
        ("/api/contracts", {"to": "bela", "role": "r", "terms": "AB" * 32, "from_s": 1, "until_s": 2}, "terms"),
        ("/api/assets", {"asset": "A", "kind": "money", "cap": 1, "amount": 0, "policy": "never"}, "policy"),
        ("/api/transfers", {"to": "bela", "asset": "SUN", "amount": 1, "note": "x"}, "note"),
    ],
)
async def test_a_mistake_is_named(village: Village, path: str, body: dict[str, Any], place: str) -> None:
    reply = await write(village.addresses["anna"], "POST", path, body)
    assert reply.status == 400 and place in [fault["place"] for fault in reply.faults]


async def test_nobody_writes_without_the_token(village: Village) -> None:
    """Every endpoint that writes, as the description lists them."""
    found = await village.see("anna", openapi.PATH)
    writing = [
        (method, path) for path, methods in found["paths"].items() for method in methods if method in ("post", "delete")
    ]
    assert len(writing) > 20
    for method, path in writing:
        place = path.replace("{id}", "00" * 32)
        headers = {"content_type": "application/json"}
        reply = await request(village.addresses["anna"], method.upper(), place, b"{}", **headers)
        assert reply.status == 401, (method, path, reply.status)


# --- the description


def routes(street: Street) -> list[Route]:
    backend = HandMade(street, "anna", SetClock(NOW_S))
    app = create_app(backend, TOKEN, History(backend))
    return [route for route in app.routes if isinstance(route, Route) and route.path.startswith("/api")]


async def test_the_description_lists_every_endpoint(village: Village, street: Street) -> None:
    found = await village.see("anna", openapi.PATH)
    assert found["openapi"] == "3.1.0"
    listed = {(path, method.upper()) for path, methods in found["paths"].items() for method in methods}
    expected = {
        (route.path.replace(":int", ""), method) for route in routes(street) for method in route.methods - {"HEAD"}
    }
    assert listed == expected
    ids = [operation["operationId"] for methods in found["paths"].values() for operation in methods.values()]
    assert len(set(ids)) == len(ids)


def test_every_endpoint_says_its_method_its_path_and_its_query(street: Street) -> None:
    """The description is read from these texts: each begins as the endpoint is asked."""
    for route in routes(street):
        text = inspect.getdoc(route.endpoint) or ""
        path = route.path.replace(":int", "")
        heads = [f"{method} {path}" for method in route.methods - {"HEAD"}]
        assert any(head in text.partition(": ")[0] for head in heads), (route.path, text[:80])


async def test_a_body_is_described_as_it_is_read(village: Village) -> None:
    paths = (await village.see("anna", openapi.PATH))["paths"]
    schema = paths["/api/transfers"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["to", "asset", "amount"]
    assert schema["properties"]["amount"]["maximum"] == 10**15
    order = paths["/api/orders"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert order["properties"]["side"]["enum"] == ["buy", "sell"]
    query = {one["name"] for one in paths["/api/lines"]["get"]["parameters"]}
    assert query == {"account", "from_s", "to_s", "limit", "skip", "fresh"}
    assert list(paths["/api/records"]["post"]["requestBody"]["content"]) == ["application/cbor"]
    height, _ = paths["/api/blocks/{height}"]["get"]["parameters"]
    assert (height["in"], height["schema"]["type"]) == ("path", "integer")


def test_every_movement_has_its_word() -> None:
    assert [what.name for what in What] == [
        *("TRANSFER", "ISSUED", "BURNED", "EXCHANGED", "CASH_IN", "CASH_OUT", "SOLD", "METERED", "SETTLED"),
        *("TRADED", "REVERSED"),
        *("CHARGED", "STATION_FEE", "REDEEMED", "STORED", "TAKEN_OUT", "STORAGE_FEE"),
        *("FIRST_ACCESS", "RESTORED", "CLAIM_PAID"),
    ]
