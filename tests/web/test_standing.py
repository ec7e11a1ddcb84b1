"""Orders of assets over HTTP: given, changed, shown in their book, traded, undone."""

from __future__ import annotations

import pytest

from tests.web.client import get, write
from tests.web.test_tokens import NOW_S, Village, issue, street, village

__all__ = ["street", "village"]

PAIR = {"asset": "SUN", "paid_with": "EURO"}


async def stock(village: Village) -> None:
    """Anna has 100 SUN, bela 1000 EURO."""
    await issue(village)
    await village.say("carla", "/api/cash/in", asset="EURO", to="bela", amount=1000, reference="bank 1")


async def test_a_buyer_a_seller_and_what_is_left(village: Village) -> None:
    await stock(village)
    bid = await village.say("bela", "/api/standing", side="buy", **PAIR, units=3, price=200, for_s=3600)
    assert await village.has("bela", "EURO") == (400, 600)
    (row,) = (await village.see("bela", "/api/standing"))["standing"]
    assert (row["id"], row["open"], row["ready"], row["price"], row["expires_s"]) == (bid, 3, 3, 200, NOW_S + 3600)
    offer = await village.say("anna", "/api/standing", side="sell", **PAIR, units=1, price=150, good="at_once")
    assert await village.has("bela", "EURO") == (400, 400) and await village.has("bela", "SUN") == (1, 0)
    (trade,) = (await village.see("bela", "/api/executions"))["executions"]
    assert (trade["seller"], trade["buyer"], trade["units"], trade["paid"]) == ("anna", "bela", 1, 200)
    assert (trade["buy_order"], trade["sell_order"], trade["state"]) == (bid, offer, "transaction")
    moved = (await village.see("bela", "/api/movements?limit=2"))["movements"]
    assert {(row["what"], row["giver_name"], row["amount"], row["asset"]) for row in moved} == {
        ("traded", "anna", 1, "SUN"),
        ("traded", "bela", 200, "EURO"),
    }
    await village.say("bela", f"/api/standing/{bid}/amend", units=2, price=200)
    assert await village.has("bela", "EURO") == (600, 200)
    await village.say("bela", f"/api/orders/{bid}/cancel")
    assert await village.has("bela", "EURO") == (800, 0)
    assert (await village.see("bela", "/api/standing?account=all"))["standing"] == []
    for home in ("anna", "bela"):
        await village.say(home, f"/api/executions/{trade['id']}/reverse")
    assert await village.has("bela", "EURO") == (1000, 0) and await village.has("anna", "SUN") == (100, 0)
    (trade,) = (await village.see("anna", "/api/executions"))["executions"]
    assert trade["state"] == "cancelled"


async def test_a_book_says_what_can_be_had_and_what_is_only_quoted(village: Village) -> None:
    await stock(village)
    await village.say("bela", "/api/standing", side="buy", **PAIR, units=1, price=10)
    await village.say("carla", "/api/standing", side="sell", **PAIR, units=1, price=8, unbacked=1)
    await village.say("anna", "/api/standing", side="sell", **PAIR, units=5, price=11)
    book = await village.see("carla", "/api/books/SUN/EURO")
    assert (book["buying"], book["buying_now"], book["selling"], book["selling_now"]) == (8, 11, 10, 10)
    assert [(row["member"], row["price"], row["ready"]) for row in book["sell"]] == [("carla", 8, 0), ("anna", 11, 5)]
    assert (book["buy_orders"], book["sell_orders"], len(book["buy"])) == (1, 2, 1)
    assert len((await village.see("carla", "/api/books/SUN/EURO?depth=1"))["sell"]) == 1
    (listed,) = (await village.see("carla", "/api/books"))["books"]
    assert (listed["asset"], listed["paid_with"], listed["buying"]) == ("SUN", "EURO", 8)
    await village.say("anna", "/api/transfers", to="carla", asset="SUN", amount=1)
    assert await village.has("carla", "EURO") == (10, 0)


async def test_a_partner_goes_first(village: Village) -> None:
    await stock(village)
    await village.say("carla", "/api/cash/in", asset="EURO", to="carla", amount=100, reference="bank 2")
    for home, price in (("bela", 20), ("carla", 15)):
        await village.say(home, "/api/standing", side="buy", **PAIR, units=1, price=price)
    terms = {"units": 1, "price": 18, "partner": "carla", "partner_price": 12}
    await village.say("anna", "/api/standing", side="sell", **PAIR, **terms)
    assert await village.has("carla", "SUN") == (1, 0) and await village.has("carla", "EURO") == (88, 0)


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("/api/standing", {"side": "buy", **PAIR, "units": 1, "price": 0}, "price"),
        ("/api/standing", {"side": "buy", **PAIR, "units": 0, "price": 1}, "units"),
        ("/api/standing", {"side": "hold", **PAIR, "units": 1, "price": 1}, "side"),
        ("/api/standing", {"side": "buy", **PAIR, "units": 1, "price": 1, "good": "perhaps"}, "good"),
        ("/api/standing", {"side": "buy", **PAIR, "units": 1, "price": 1, "partner": "nobody"}, "partner"),
        (f"/api/standing/{'ab' * 32}/amend", {"units": 1}, "price"),
        ("/api/standing/12/amend", {"units": 1, "price": 1}, "order id"),
        ("/api/executions/12/reverse", None, "trade id"),
        ("/api/executions/1-99999999999/reverse", None, "trade id"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    village: Village, path: str, body: dict[str, object] | None, place: str
) -> None:
    reply = await write(village.addresses["anna"], "POST", path, body)
    assert (reply.status, reply.faults[0]["place"]) == (400, place)


async def test_a_book_of_nothing_is_not_found(village: Village) -> None:
    assert (await get(village.addresses["anna"], "/api/books/MOON/EURO")).status == 404


async def test_a_lot_goes_to_who_bids_most(village: Village) -> None:
    await stock(village)
    lot = {**PAIR, "units": 5, "reserve": 10, "step": 2, "for_s": 3600}
    called = await village.say("anna", "/api/auctions/rising", **lot, snipe_s=60, extends_s=600)
    assert await village.has("anna", "SUN") == (95, 5)
    path = f"/api/auctions/{called}/bids"
    assert (await village.attempt("bela", path, units=5, price=9))[1] == "BID_TOO_WEAK"
    standing = await village.say("bela", path, units=5, price=11)
    (row,) = (await village.see("carla", "/api/auctions"))["auctions"]
    assert (row["kind"], row["member"], row["limit"], row["step"]) == ("rising", "anna", 10, 2)
    assert [(one["id"], one["member"], one["price"]) for one in row["bids"]] == [(standing, "bela", 11)]
    assert await village.has("bela", "EURO") == (945, 55)


async def test_a_call_names_the_source(village: Village) -> None:
    await stock(village)
    called = await village.say("bela", "/api/auctions/falling", **PAIR, units=5, maximum=20, for_s=3600, source="solar")
    assert await village.has("bela", "EURO") == (900, 100)
    path = f"/api/auctions/{called}/bids"
    assert (await village.attempt("anna", path, units=5, price=9))[1] == "ATTRIBUTE_MISSING"
    await village.say("anna", path, units=4, price=9, source="solar")
    (row,) = (await village.see("anna", "/api/auctions"))["auctions"]
    assert (row["attributes"], row["bids"][0]["attributes"]) == ({"source": "solar"}, {"source": "solar"})
    assert await village.has("anna", "SUN") == (96, 4)
