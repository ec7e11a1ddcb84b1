"""Clearing: the trades and fills that a mechanism finds in one period's orders.

The result, and the pieces that mechanisms share: ranking both sides, walking down to
where they cross, pairing accepted bids with accepted offers so that nobody trades with
himself, and what the trades are worth. Prices are the mechanism's business.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from meshnode.amounts import WH_PER_KWH, int64
from meshnode.market.order import Order, sides


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


def summed_up(mechanism: str, version: int, trades: Sequence[Trade], fills: Sequence[Fill]) -> Clearing:
    """The result of a mechanism whose trades have each a price of their own; the one price if all are equal."""
    prices = {trade.price_u_kwh for trade in trades}
    price_u_kwh = next(iter(prices)) if len(prices) == 1 else None
    return Clearing(
        mechanism=mechanism,
        version=version,
        trades=tuple(trades),
        fills=tuple(fills),
        price_u_kwh=price_u_kwh,
        low_u_kwh=price_u_kwh,
        high_u_kwh=price_u_kwh,
    )


def fills_of(trades: Sequence[Trade]) -> tuple[Fill, ...]:
    """The fills that follow from trades alone: bids, then offers, each in the order of its first trade."""
    bought: dict[bytes, int] = {}
    sold: dict[bytes, int] = {}
    for trade in trades:
        bought[trade.buy_order] = bought.get(trade.buy_order, 0) + trade.energy_wh
        sold[trade.sell_order] = sold.get(trade.sell_order, 0) + trade.energy_wh
    return tuple(Fill(order_id, traded_wh, 0) for side in (bought, sold) for order_id, traded_wh in side.items())


def welfare(trades: Sequence[Trade], limits: Mapping[bytes, int]) -> tuple[int, int]:
    """What trades are worth to those who made them: (gain of the buyers, gain of the sellers).

    A buyer gains what the price stayed below its limit, a seller what it came to above its
    own, for every kWh. Both sums are rounded down once, at the end.

    Args:
        limits: the limit price of every order in the trades, by order id.
    Returns:
        Micro-units.
    Raises:
        Overflow: a sum needs more than 64 bits.
    """
    buyers = sum((limits[trade.buy_order] - trade.price_u_kwh) * trade.energy_wh for trade in trades)
    sellers = sum((trade.price_u_kwh - limits[trade.sell_order]) * trade.energy_wh for trade in trades)
    return int64("gain of the buyers", buyers // WH_PER_KWH), int64("gain of the sellers", sellers // WH_PER_KWH)


def by_merit(orders: Sequence[Order]) -> tuple[list[Order], list[Order]]:
    """Part one period's orders into (bids from the highest, offers from the lowest); equal prices by time.

    Raises:
        OrderError: see `meshnode.market.order.sides`.
    """
    bids, offers = sides(orders)
    # Both lists come by time and sorting is stable, so equal prices stay by time.
    bids.sort(key=lambda bid: -bid.price_u_kwh)
    offers.sort(key=lambda offer: offer.price_u_kwh)
    return bids, offers


def cross(
    bids: Sequence[Order], offers: Sequence[Order]
) -> tuple[list[tuple[Order, int]], list[tuple[Order, int]], Order | None, Order | None]:
    """Walk down both lists while bid >= offer.

    Args:
        bids, offers: by merit (see `by_merit`).
    Returns:
        Accepted bids and accepted offers with their Wh, equal sums, in fill order; then the best unfilled
        bid and the best unfilled offer. An order filled in part is both.
    """
    bought: list[tuple[Order, int]] = []
    sold: list[tuple[Order, int]] = []
    bid_index = offer_index = 0
    bid_done_wh = offer_done_wh = 0
    while bid_index < len(bids) and offer_index < len(offers):
        bid, offer = bids[bid_index], offers[offer_index]
        if bid.price_u_kwh < offer.price_u_kwh:
            break
        energy_wh = min(bid.energy_wh - bid_done_wh, offer.energy_wh - offer_done_wh)
        bid_done_wh += energy_wh
        offer_done_wh += energy_wh
        if bid_done_wh == bid.energy_wh:
            bought.append((bid, bid_done_wh))
            bid_index, bid_done_wh = bid_index + 1, 0
        if offer_done_wh == offer.energy_wh:
            sold.append((offer, offer_done_wh))
            offer_index, offer_done_wh = offer_index + 1, 0
    if bid_done_wh:
        bought.append((bids[bid_index], bid_done_wh))
    if offer_done_wh:
        sold.append((offers[offer_index], offer_done_wh))
    unfilled_bid = bids[bid_index] if bid_index < len(bids) else None
    unfilled_offer = offers[offer_index] if offer_index < len(offers) else None
    return bought, sold, unfilled_bid, unfilled_offer


def match(
    bids: Sequence[tuple[Order, int]],
    offers: Sequence[tuple[Order, int]],
    price: int | Callable[[Order, Order], int],
) -> tuple[tuple[Trade, ...], tuple[Fill, ...]]:
    """Pair accepted bids with accepted offers.

    Where one account stands on both sides, the smaller of its two sums is first set
    aside on both (`Fill.own_wh`): it would pay itself, so nobody's money changes and no
    trade is written. What is left of an account then stands on one side only; the first
    bid is paired with the first offer, and so on.

    Args:
        bids, offers: (order, accepted Wh above 0) in fill order; both sums are equal.
        price: of every trade, in micro-units per kWh; or what gives it for a bid and an offer.
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
                    price_u_kwh=price if isinstance(price, int) else price(buyer, seller),
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
