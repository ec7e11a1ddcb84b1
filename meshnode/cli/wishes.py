"""Wishes: `meshnode agent` orders for a member, `meshnode partner` says whom its orders serve first."""

from __future__ import annotations

from typing import Annotated, Any

from meshnode.cli.output import Fault, answer, table
from meshnode.cli.parser import Argument, Group, Option
from meshnode.cli.standing import whole
from meshnode.cli.trading import Acting, Asking, currency_of

agent = Group("Agent: the ledger orders for you, between two thresholds and at two prices.")
partner = Group("Partners: whom your orders serve before all others.")

SIDES = ("buy", "sell")
Asset = Annotated[str, Argument("ASSET", "The asset's code.")]
Side = Annotated[str, Option("--side", "buy or sell: of your orders.")]
OfAsset = Annotated[str, Option("--asset", "Of orders of this asset; without it, of settlement periods.")]
PaidWith = Annotated[str, Option("--pay-with", "Code of the asset that pays for it.")]


def add_to(app: Group) -> None:
    """Add the commands to the command line."""
    app.add("agent", agent)
    app.add("partner", partner)


@agent.command("set")
def set_(
    asset: Asset,
    paid_with: Annotated[str, Option("--pay-with", "Code of the asset that pays.")],
    buy: Annotated[int, Option("--buy", "Highest price that it buys at, units for each unit.", "PRICE", low=1)],
    sell: Annotated[int, Option("--sell", "Lowest price that it sells at.", "PRICE", low=1)],
    low: Annotated[int, Option("--low", "With so many units or fewer, it buys up to the target.", low=0)],
    target: Annotated[int, Option("--target", "So many units there should be.", low=1)],
    high: Annotated[int, Option("--high", "With so many units or more, it sells down to the target.", low=2)],
    *,
    how: Acting,
) -> int:
    """Have the ledger order for you: one order at a time, and only while you have none of that asset yourself. Exit 1
    if the community refuses it, 3 if that is not known yet.
    """
    body = {"asset": asset, "paid_with": paid_with, "buy_price": buy, "sell_price": sell}
    body |= {"low": low, "target": target, "high": high}
    what = (
        f"with {low} {asset} or fewer they are bought, at {buy} {paid_with} at most\n"
        f"    with {high} or more they are sold, at {sell} at least; both to {target}\n"
        f"    end it with: meshnode agent off {asset}"
    )
    return how.act("/api/agents", body, what)


@agent.command()
def off(asset: Asset, *, how: Acting) -> int:
    """End an agent; its open order is taken out. Exit 1 if there is none, 3 if that is not known yet."""
    what = f"nothing of {asset} is ordered for you any more"
    return how.act("/api/agents/off", {"asset": asset}, what)


@agent.command()
def show(*, how: Asking) -> None:
    """Show your agents and what they have ordered. Exit 3 if no majority confirms a fresh answer."""
    found = how.ask("/api/agents")
    answer(found, lambda: _agents(found["agents"]), how.json)


@partner.command("set")
def prefer(
    name: Annotated[str, Argument("NAME", "Who goes first: a member's name or account id.")],
    side: Side,
    price: Annotated[str, Option("--price", 'Limit towards it, like "0.10 EUR/kWh"; of an asset, units.')],
    asset: OfAsset = "",
    paid_with: PaidWith = "",
    *,
    how: Acting,
) -> int:
    """Serve a member first, at a limit of its own, in all orders that you give from now on and that name nobody
    themselves. Exit 1 if the community refuses it, 3 if that is not known yet.
    """
    from meshnode.amounts import parse_price

    place = how.place
    where = _where(side, asset, paid_with)
    limit = whole("--price", price) if asset else parse_price(price, currency_of(place, how.chain))
    what = f"your orders to {side} serve {name} first, at {price}"
    return how.act("/api/partners", where | {"partner": name, "price": limit}, what)


@partner.command()
def nobody(side: Side, asset: OfAsset = "", paid_with: PaidWith = "", *, how: Acting) -> int:
    """Serve nobody first any more. Exit 1 if nobody was, 3 if that is not known yet."""
    what = f"your orders to {side} serve nobody first"
    body = _where(side, asset, paid_with)
    return how.act("/api/partners/nobody", body, what)


@partner.command("list")
def list_(*, how: Asking) -> None:
    """List whom your orders serve first. Exit 3 if no majority confirms a fresh answer."""
    found = how.ask("/api/partners")
    place = how.place
    answer(found, lambda: _partners(found["partners"], currency_of(place, how.chain)), how.json)


def _where(side: str, asset: str, paid_with: str) -> dict[str, Any]:
    if side not in SIDES:
        raise Fault(f"--side {side}: expected buy or sell")
    if bool(asset) != bool(paid_with):
        raise Fault("--asset, --pay-with: one of them found, expected both or neither\n    see: meshnode asset list")
    return {"side": side} | ({"asset": asset, "paid_with": paid_with} if asset else {})


def _agents(found: list[dict[str, Any]]) -> str:
    if not found:
        return "no agents"
    lines = [
        (
            one["asset"],
            f"{one['buy_price']} {one['paid_with']}",
            f"{one['sell_price']} {one['paid_with']}",
            str(one["low"]),
            str(one["target"]),
            str(one["high"]),
            one["order"] or (f"waits: {one['hindered']}" if one["hindered"] else "nothing to do"),
        )
        for one in found
    ]
    return table(lines, ("asset", "buys at", "sells at", "low", "target", "high", "order"))


def _partners(found: list[dict[str, Any]], currency: str) -> str:
    from meshnode.amounts import format_price

    if not found:
        return "nobody goes first"
    lines = [
        (
            one["side"],
            one["asset"] or "energy of periods",
            one["partner"],
            f"{one['price']} {one['paid_with']}" if one["asset"] else format_price(one["price"], currency),
        )
        for one in found
    ]
    return table(lines, ("side", "of", "first", "limit"))
