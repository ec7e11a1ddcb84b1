"""Standing: orders of assets by `meshnode order ... --asset`, and `meshnode book` - what rests, what was traded."""

from __future__ import annotations

from typing import Annotated, Any

from meshnode.cli.ledgers import record_id_of
from meshnode.cli.output import Fault, answer, table
from meshnode.cli.parser import Argument, Group, Option
from meshnode.cli.tokens import HOUR_S, when
from meshnode.cli.trading import ORDER, Acting, Asking, Energy, Price, Units, currency_of, order, second_of

OrderId = Annotated[str, Argument("ID", "The order's record id.")]
Asset = Annotated[str, Argument("ASSET", "The asset's code.")]
PaidWith = Annotated[str, Option("--pay-with", "Code of the asset that pays.")]
GOOD = ("till-cancelled", "at-once", "whole-at-once", "market")


def add_to(app: Group) -> None:
    """Add the commands to the command line."""
    app.command()(book)


def place(side: str, asset: str, typed: dict[str, Any], how: Acting) -> int:
    """Give an order of an asset as it was typed.

    Raises:
        Fault: something that such an order needs is missing, or makes no sense.
    """
    body = {"side": side, "asset": asset} | terms_typed(typed)
    limit = "at any price up to" if typed["good"] == "market" else "at"
    what = (
        f"{side} {body['units']} {asset} {limit} {body['price']} {body['paid_with']} each\n"
        "    what became of it says: meshnode order list; take it out with: meshnode order cancel ID"
    )
    return how.act("/api/standing", body, what)


def terms_typed(typed: dict[str, Any]) -> dict[str, Any]:
    """The terms of an order of an asset as it was typed, for the node. Raises Fault."""
    if not typed["amount"]:
        raise Fault("--amount: nothing found, expected how many units\n    write it like: --amount 3")
    if not typed["paid_with"]:
        raise Fault("--pay-with: nothing found, expected the code of an asset\n    see: meshnode asset list")
    if typed["good"] not in GOOD:
        raise Fault(f"--good {typed['good']}: expected one of {', '.join(GOOD)}")
    body: dict[str, Any] = {
        "paid_with": typed["paid_with"],
        "units": typed["amount"],
        "price": whole("--price", typed["price"]),
        "good": typed["good"].replace("-", "_"),
        "unbacked": int(typed["unbacked"]),
    }
    if typed.get("hours"):
        body["for_s"] = typed["hours"] * HOUR_S
    if typed["until"]:
        body["expires_s"] = second_of(typed["until"], "--until", "")
    if typed.get("booked"):
        body["booked"] = record_id_of(typed["booked"], "a step's id", "meshnode order commitment list").hex()
    if typed["contract"]:
        body["contract"] = record_id_of(typed["contract"], "a contract's id", "meshnode contract list").hex()
    if typed["first"]:
        partner, _, price = typed["first"].partition("@")
        body |= {"partner": partner, "partner_price": whole("--first", price or str(body["price"]))}
    return body


def whole(flag: str, text: str) -> int:
    """A price of an asset, in whole units of the paying one. Raises Fault."""
    if text.isascii() and text.isdigit() and 0 < len(text) <= 20 and int(text):
        return int(text)
    raise Fault(f"{flag} {text}: expected whole units of the paying asset for each unit, 1 or more")


@order.command()
def amend(order_id: OrderId, price: Price, energy: Energy = "", amount: Units = 0, *, how: Acting) -> int:
    """Change an order: all that it wants - of an asset with what it has traded - and its price. Less at the same price
    keeps its place. Exit 1 if the community refuses it, 3 if not known yet.
    """
    if bool(energy) == bool(amount):
        raise Fault(
            '--energy "1.5 kWh" of an order of a period, or --amount 3 of one of an asset: expected one of both'
        )
    if energy:
        from meshnode.amounts import parse_energy, parse_price

        limit_u_kwh = parse_price(price, currency_of(how.place, how.chain))
        wish = {"energy_wh": parse_energy(energy), "price_u_kwh": limit_u_kwh}
        return how.step("/api/orders/ID/amend", order_id, f"the order wants {energy} at {price}", *ORDER, body=wish)
    body = {"units": amount, "price": whole("--price", price)}
    what = f"the order wants {amount} in all, at {price} each"
    return how.step("/api/standing/ID/amend", order_id, what, *ORDER, body=body)


@order.command()
def undo(
    trade: Annotated[str, Argument("TRADE", "The trade's id, as `meshnode order trades` prints it.")], *, how: Acting
) -> int:
    """Agree to undo a trade; once both parties have, both amounts go back. Exit 1 if the community refuses it, 3 if not
    known yet.
    """
    if not trade.replace("-", "").isdigit():
        raise Fault(f"{trade}: no trade's id, expected one like 120-0\n    see: meshnode order trades")
    what = "you agree; both amounts go back once the other party has agreed too"
    return how.act(f"/api/executions/{trade}/reverse", {}, what)


@order.command()
def trades(*, how: Asking) -> None:
    """List your trades of assets that are not settled yet, the newest first. Exit 3 if no majority confirms a fresh
    answer.
    """
    found = how.ask("/api/executions")
    answer(found, lambda: _trades(found["executions"]), how.json)


def book(asset: Asset, paid_with: PaidWith, *, how: Asking) -> None:
    """Show what rests in the book of an asset: best prices, and both sides by priority. Exit 3 if no majority confirms
    a fresh answer.
    """
    found = how.ask(f"/api/books/{asset}/{paid_with}")
    answer(found, lambda: _book(found), how.json)


def resting(found: list[dict[str, Any]]) -> str:
    """Orders of assets, as a table."""
    lines = [
        (
            one["side"],
            f"{one['open']} {one['asset']}",
            f"{one['price']} {one['paid_with']}",
            "all" if one["ready"] == one["open"] else str(one["ready"]),
            str(one["filled"]),
            "cancelled" if one["expires_s"] is None else when(one["expires_s"]),
            one["id"],
        )
        for one in found
    ]
    return table(lines, ("side", "open", "price each", "backed", "filled", "until", "id"))


def _trades(found: list[dict[str, Any]]) -> str:
    if not found:
        return "no trades"
    lines = [
        (
            when(one["time_s"]),
            one["seller"],
            one["buyer"],
            f"{one['units']} {one['asset']}",
            f"{one['paid']} {one['paid_with']}",
            one["state"] + (f", {one['undo']} wants it undone" if one["undo"] and one["state"] != "cancelled" else ""),
            one["id"],
        )
        for one in found
    ]
    return table(lines, ("time", "from", "to", "gets", "pays", "state", "id"))


def _book(found: dict[str, Any]) -> str:
    def said(price: int | None) -> str:
        return "nobody" if price is None else f"{price} {found['paid_with']}"

    head = table(
        [
            ("buying costs", said(found["buying"]), f"right away: {said(found['buying_now'])}"),
            ("selling brings", said(found["selling"]), f"right away: {said(found['selling_now'])}"),
        ]
    )
    sides = []
    for word, name in (("sell", "offers"), ("buy", "bids")):
        orders = found[word]
        more = found[f"{word}_orders"] - len(orders)
        lines = [(one["member"], f"{one['open']}", f"{one['price']}", f"{one['ready']}") for one in orders]
        sides.append(table(lines, (name, "open", "price", "backed")) if orders else f"no {name}")
        sides += [f"and {more} more"] if more else []
    return "\n".join([head, *sides])
