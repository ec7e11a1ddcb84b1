"""Partners: "sell to my mother first, at this price", before a period's orders are cleared.

In the continuous book the same wish is a part of the order (`StandingOrder.partner`).
A mechanism never sees it: what partners trade is taken out of their orders, the rest is cleared.
"""

from collections.abc import Iterable, Sequence

import msgspec

from meshnode.amounts import PRICE_MAX_U_KWH
from meshnode.market.clearing import Trade
from meshnode.market.order import Order, OrderError, Side, by_time, sides


class Preference(msgspec.Struct, frozen=True):
    """Whom an order serves before all others, and its limit towards it.

    Fields:
        order_id: the order that states it.
        partner: the account that is served first.
        price_u_kwh: what the partner pays or gets.
    """

    order_id: bytes
    partner: bytes
    price_u_kwh: int


class Paired(msgspec.Struct, frozen=True):
    """What partners traded, and the orders with what is left of them, by time: the mechanism's input."""

    trades: tuple[Trade, ...]
    orders: tuple[Order, ...]


def pair(orders: Sequence[Order], preferences: Iterable[Preference]) -> Paired:
    """Let those orders that name a partner trade with it.

    By time of the orders that state them, each preference meets its partner's orders of the other side by time,
    as long as the two limits towards one another cross; the partner's own limit is its consent. The price is the one
    that was set for the partner; where both name one another, that of the older order.

    Args:
        orders: one period's orders, in any order.
        preferences: at most one of each order, in any order.
    Raises:
        OrderError: orders that do not belong together, or a preference without its order, of an
            order that states two, for the own account, or with a price out of bounds.
    """
    bids, offers = sides(orders)
    by_id = {order.order_id: order for order in orders}
    wishes = _checked(preferences, by_id)
    left_wh = {order.order_id: order.energy_wh for order in orders}
    opposite: dict[tuple[Side, bytes], list[Order]] = {}
    for order in (*bids, *offers):
        opposite.setdefault((order.side, order.account), []).append(order)
    trades: list[Trade] = []
    for order in sorted((by_id[order_id] for order_id in wishes), key=by_time):
        wish = wishes[order.order_id]
        other_side = Side.SELL if order.side is Side.BUY else Side.BUY
        for other in opposite.get((other_side, wish.partner), ()):
            energy_wh = min(left_wh[order.order_id], left_wh[other.order_id])
            price_u_kwh = _price(order, wish, other, wishes.get(other.order_id))
            if energy_wh and price_u_kwh is not None:
                bid, offer = (order, other) if order.side is Side.BUY else (other, order)
                trades.append(Trade(bid.account, offer.account, bid.order_id, offer.order_id, energy_wh, price_u_kwh))
                left_wh[order.order_id] -= energy_wh
                left_wh[other.order_id] -= energy_wh
    rest = tuple(
        msgspec.structs.replace(order, energy_wh=left_wh[order.order_id])
        for order in sorted(orders, key=by_time)
        if left_wh[order.order_id]
    )
    return Paired(tuple(trades), rest)


def _checked(preferences: Iterable[Preference], orders: dict[bytes, Order]) -> dict[bytes, Preference]:
    wishes: dict[bytes, Preference] = {}
    for wish in preferences:
        order = orders.get(wish.order_id)
        if order is None or wish.order_id in wishes or order.account == wish.partner:
            raise OrderError(
                f"preference of order {wish.order_id.hex()}: expected one for an order of this clearing, "
                "and another account as partner"
            )
        if abs(wish.price_u_kwh) > PRICE_MAX_U_KWH:
            raise OrderError(
                f"preference of order {wish.order_id.hex()}: {wish.price_u_kwh} u/kWh, "
                f"expected {-PRICE_MAX_U_KWH} to {PRICE_MAX_U_KWH}"
            )
        wishes[wish.order_id] = wish
    return wishes


def _price(order: Order, wish: Preference, other: Order, answer: Preference | None) -> int | None:
    """The price at which an order meets its partner's, or None if their limits do not cross."""
    mutual = answer is not None and answer.partner == order.account
    limit = answer.price_u_kwh if answer is not None and mutual else other.price_u_kwh
    bid, offer = (wish.price_u_kwh, limit) if order.side is Side.BUY else (limit, wish.price_u_kwh)
    if bid < offer:
        return None
    return limit if mutual and other.sequence < order.sequence else wish.price_u_kwh
