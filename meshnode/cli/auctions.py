"""Auctions: `meshnode auction` - selling a lot to who bids most, buying from who asks least."""

from __future__ import annotations

from typing import Annotated, Any

from meshnode.cli.output import Fault, answer, table
from meshnode.cli.parser import Argument, Group, Option
from meshnode.cli.tokens import when
from meshnode.cli.trading import Acting, Asking

auction = Group("Auctions: a lot for who bids most, or a call for who asks least.")

# A month, as the ledger has it.
MAX_MINUTES = 31 * 24 * 60
MAX_SNIPE_MINUTES = 24 * 60
MINUTE_S = 60
KINDS = ("rising", "falling")

Units = Annotated[int, Option("--amount", "So many units of the asset.", low=1)]
Price = Annotated[int, Option("--price", "Units of the paying asset for each unit.", low=1)]
Source = Annotated[str, Option("--source", "Where the energy comes from, such as solar.")]


def add_to(app: Group) -> None:
    """Add the commands to the command line."""
    app.add("auction", auction)


@auction.command("open")
def open_(
    kind: Annotated[str, Argument("KIND", "rising: you sell; falling: you buy.")],
    asset: Annotated[str, Option("--asset", "The asset that is sold or called for.")],
    paid_with: Annotated[str, Option("--pay-with", "Code of the asset that pays.")],
    amount: Units,
    price: Annotated[int, Option("--price", "Lowest first bid, or the highest price that you pay.", low=1)],
    minutes: Annotated[int, Option("--for", "So long it is open.", "MINUTES", low=1, high=MAX_MINUTES)],
    step: Annotated[int, Option("--step", "Rising: by how much a bid outbids the best one at least.", low=1)] = 1,
    snipe: Annotated[
        int,
        Option("--snipe", "Rising: so long it stays open after a late bid.", "MINUTES", low=0, high=MAX_SNIPE_MINUTES),
    ] = 0,
    extend: Annotated[
        int,
        Option("--extend", "Rising: late bids move the close no further.", "MINUTES", low=0, high=MAX_SNIPE_MINUTES),
    ] = 0,
    source: Source = "",
    *,
    how: Acting,
) -> int:
    """Call an auction. Exit 1 if the community refuses it, 3 if that is not known yet."""
    if kind not in KINDS:
        raise Fault(f"{kind}: no kind of auction, expected rising (you sell) or falling (you buy)")
    body: dict[str, Any] = {"asset": asset, "paid_with": paid_with, "units": amount, "for_s": minutes * MINUTE_S}
    if kind == "rising":
        if source:
            raise Fault("--source: who sells says it with the asset; only a falling auction asks for it")
        body |= {"reserve": price, "step": step, "snipe_s": snipe * MINUTE_S, "extends_s": extend * MINUTE_S}
        what = f"{amount} {asset} held for who bids most, from {price} {paid_with} each"
    else:
        body |= {"maximum": price} | ({"source": source} if source else {})
        what = f"{amount * price} {paid_with} held for {amount} {asset} from who asks least"
    what += "\n    who takes part says: meshnode auction bid ID"
    return how.act(f"/api/auctions/{kind}", body, what)


@auction.command()
def bid(
    auction_id: Annotated[str, Argument("ID", "The auction's id: the record id of its call.")],
    amount: Units,
    price: Price,
    source: Source = "",
    *,
    how: Acting,
) -> int:
    """Bid for the whole lot of a rising auction, or ask in a falling one. Exit 1 if the community refuses it, 3 if that
    is not known yet.
    """
    names = ("an auction's id", "meshnode auction list")
    body = {"units": amount, "price": price} | ({"source": source} if source else {})
    what = f"{amount} at {price} each stands until it is outdone or the auction closes"
    return how.step("/api/auctions/ID/bids", auction_id, what, *names, body=body)


@auction.command("list")
def list_(*, how: Asking) -> None:
    """List the open auctions with the bids that stand. Exit 3 if no majority confirms a fresh answer."""
    found = how.ask("/api/auctions")
    answer(found, lambda: _auctions(found["auctions"]), how.json)


def _auctions(found: list[dict[str, Any]]) -> str:
    if not found:
        return "no open auctions"
    lines = [
        (
            f"{one['member']} {'sells' if one['kind'] == 'rising' else 'buys'}",
            f"{one['units']} {one['asset']}",
            f"{'from' if one['kind'] == 'rising' else 'up to'} {one['limit']} {one['paid_with']}",
            ", ".join(f"{name} {value}" for name, value in one["attributes"].items()),
            "; ".join(f"{each['member']} {each['units']} at {each['price']}" for each in one["bids"]) or "no bids",
            when(one["closes_s"]),
            one["id"],
        )
        for one in found
    ]
    return table(lines, ("auction", "what", "price each", "asks for", "stands", "until", "id"))
