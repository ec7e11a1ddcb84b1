"""Clearing: the trades and fills that a mechanism finds in one period's orders.

The result, and the piece that every mechanism shares: pairing accepted bids
with accepted offers so that nobody trades with himself. Prices and acceptance
are the mechanism's business.
"""

from collections.abc import Sequence

import msgspec

from meshnode.market.order import Order


class Trade(msgspec.Struct, frozen=True):
    """Energy sold by one member to another at a price; delivery is settled against the meters later."""

    buyer: bytes
    seller: bytes
    buy_order: bytes
    sell_order: bytes
    energy_wh: int
    price_u_kwh: int


class Fill(msgspec.Struct, frozen=True):
    """How much of one order was accepted.

    Fields:
        order_id: the order.
        traded_wh: sold to or bought from others.
        own_wh: met an order of the same account and was set aside without a trade.
    """

    order_id: bytes
    traded_wh: int
    own_wh: int


class Clearing(msgspec.Struct, frozen=True):
    """The result of one clearing.

    Fields:
        mechanism, version: which rule produced it.
        trades: in fill order.
        fills: every order that was accepted in whole or in part: bids, then offers, each in fill order.
        price_u_kwh: the one price of all trades; None where nothing was traded or prices differ.
        low_u_kwh, high_u_kwh: the interval of prices that supports the trades; None like the price.
    """

    mechanism: str
    version: int
    trades: tuple[Trade, ...]
    fills: tuple[Fill, ...]
    price_u_kwh: int | None
    low_u_kwh: int | None
    high_u_kwh: int | None

    @property
    def energy_wh(self) -> int:
        """The sum of all trades."""
        return sum(trade.energy_wh for trade in self.trades)


def match(
    bids: Sequence[tuple[Order, int]], offers: Sequence[tuple[Order, int]], price_u_kwh: int
) -> tuple[tuple[Trade, ...], tuple[Fill, ...]]:
    """Pair accepted bids with accepted offers, all at one price.

    Where one account stands on both sides, the smaller of its two sums is first set
    aside on both (`Fill.own_wh`): at one price it would pay itself, so nobody's money
    changes and no trade is written. What is left of an account then stands on one side
    only; the first bid is paired with the first offer, and so on.

    Args:
        bids, offers: (order, accepted Wh above 0) in fill order; both sums are equal.
        price_u_kwh: the price of every trade.
    Returns:
        (trades in fill order, fills: bids then offers).
    """
    own = own_energy(bids, offers)
    wanted, bid_fills = _set_aside(bids, own)
    offered, offer_fills = _set_aside(offers, own)
    trades: list[Trade] = []
    supply = iter(offered)
    seller, left_wh = next(supply, (None, 0))
    for buyer, needed_wh in wanted:
        while needed_wh:
            if not left_wh:
                seller, left_wh = next(supply, (None, 0))
            if seller is None:
                raise ValueError(f"accepted bids exceed accepted offers by {needed_wh} Wh, expected equal sums")
            energy_wh = min(needed_wh, left_wh)
            trades.append(
                Trade(
                    buyer=buyer.account,
                    seller=seller.account,
                    buy_order=buyer.order_id,
                    sell_order=seller.order_id,
                    energy_wh=energy_wh,
                    price_u_kwh=price_u_kwh,
                )
            )
            needed_wh -= energy_wh
            left_wh -= energy_wh
    if left_wh or next(supply, None) is not None:
        raise ValueError("accepted offers exceed accepted bids, expected equal sums")
    return tuple(trades), (*bid_fills, *offer_fills)


def own_energy(bids: Sequence[tuple[Order, int]], offers: Sequence[tuple[Order, int]]) -> dict[bytes, int]:
    """The Wh that each account would sell to itself, for the accounts that stand on both sides."""
    bought = by_account(bids)
    sold = by_account(offers)
    return {account: min(bought[account], sold[account]) for account in bought if account in sold}


def by_account(accepted: Sequence[tuple[Order, int]]) -> dict[bytes, int]:
    """The sum of Wh of each account's orders."""
    sums: dict[bytes, int] = {}
    for order, energy_wh in accepted:
        sums[order.account] = sums.get(order.account, 0) + energy_wh
    return sums


def _set_aside(
    accepted: Sequence[tuple[Order, int]], own: dict[bytes, int]
) -> tuple[list[tuple[Order, int]], list[Fill]]:
    """Take each account's own energy out of its first orders; return what is left to trade, and the fills."""
    pending = dict(own)
    rest: list[tuple[Order, int]] = []
    fills: list[Fill] = []
    for order, energy_wh in accepted:
        own_wh = min(pending.get(order.account, 0), energy_wh)
        if own_wh:
            pending[order.account] -= own_wh
        if energy_wh > own_wh:
            rest.append((order, energy_wh - own_wh))
        fills.append(Fill(order_id=order.order_id, traded_wh=energy_wh - own_wh, own_wh=own_wh))
    return rest, fills
