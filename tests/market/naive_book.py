"""Naive book: the rules of the continuous market said once more, without any index.

Slow and plain on purpose: the book is compared with it, operation by operation.
"""

import msgspec

from meshnode.market import Side, Trade
from meshnode.market.standing import StandingOrder, TimeInForce


class NaiveBook:
    """A list of orders; who trades next is found by looking at all of them."""

    def __init__(self) -> None:
        self.orders: list[StandingOrder] = []

    def find(self, order_id: bytes) -> StandingOrder:
        return next(order for order in self.orders if order.order_id == order_id)

    def place(self, order: StandingOrder, time_in_force: TimeInForce) -> list[Trade]:
        if time_in_force is TimeInForce.FOK:
            trial = NaiveBook()
            trial.orders = list(self.orders)
            if sum(trade.energy_wh for trade in trial._trade(order)) < order.energy_wh:
                return []
        trades = self._trade(order)
        if time_in_force is not TimeInForce.GTC:
            self.orders = [known for known in self.orders if known.order_id != order.order_id]
        return trades

    def back(self, order_id: bytes, ready_wh: int) -> list[Trade]:
        order = self.find(order_id)
        self.orders.remove(order)
        return self._trade(msgspec.structs.replace(order, ready_wh=ready_wh))

    def amend(
        self, order_id: bytes, total_wh: int, price_u_kwh: int, sequence: tuple[int, int], ready_wh: int
    ) -> list[Trade]:
        order = self.find(order_id)
        self.orders.remove(order)
        open_wh = total_wh - order.filled_wh
        if open_wh <= 0:
            return []
        kept = open_wh <= order.energy_wh and price_u_kwh == order.price_u_kwh
        changed = msgspec.structs.replace(
            order,
            energy_wh=open_wh,
            ready_wh=min(ready_wh, open_wh),
            price_u_kwh=price_u_kwh,
            sequence=order.sequence if kept else sequence,
        )
        return self._trade(changed)

    def cancel(self, order_id: bytes) -> None:
        self.orders.remove(self.find(order_id))

    def expire(self, time_s: int) -> None:
        self.orders = [order for order in self.orders if order.expires_s is None or order.expires_s > time_s]

    def _trade(self, order: StandingOrder) -> list[Trade]:
        trades = []
        while order.ready_wh and (found := self._next(order)) is not None:
            other, price_u_kwh = found
            energy_wh = min(order.ready_wh, other.ready_wh)
            bid, offer = (order, other) if order.side is Side.BUY else (other, order)
            trades.append(Trade(bid.account, offer.account, bid.order_id, offer.order_id, energy_wh, price_u_kwh))
            self.orders.remove(other)
            order, other = traded(order, energy_wh), traded(other, energy_wh)
            if other.energy_wh:
                self.orders.append(other)
        if order.energy_wh:
            self.orders.append(order)
        return trades

    def _next(self, order: StandingOrder) -> tuple[StandingOrder, int] | None:
        """Whose turn it is, and at which price."""
        met = [(other, price) for other in self.orders if (price := price_between(order, other)) is not None]
        sign = 1 if order.side is Side.BUY else -1  # a buyer meets the lowest prices first

        def best(among: list[tuple[StandingOrder, int]]) -> tuple[StandingOrder, int] | None:
            return min(among, key=lambda pair: (sign * limit(pair[0], order), pair[0].sequence), default=None)

        mine = best([pair for pair in met if pair[0].account == order.partner])
        if mine:
            return mine
        friend = best([pair for pair in met if pair[0].partner == order.account])
        other = best([pair for pair in met if pair[0].partner != order.account])
        if friend and other:
            return friend if sign * friend[1] <= sign * other[1] else other
        return friend or other


def limit(order: StandingOrder, other: StandingOrder) -> int:
    """What an order asks of the other's account."""
    return order.partner_price_u_kwh if order.partner == other.account else order.price_u_kwh


def price_between(one: StandingOrder, other: StandingOrder) -> int | None:
    """The price of a trade between two orders, or None if there is none."""
    if one.side is other.side or one.account == other.account or not one.ready_wh or not other.ready_wh:
        return None
    bid, offer = sorted((one, other), key=lambda order: order.side)
    if limit(bid, offer) < limit(offer, bid):
        return None
    older, newer = sorted((one, other), key=lambda order: order.sequence)
    if older.partner == newer.account:
        return older.partner_price_u_kwh
    if newer.partner == older.account:
        return newer.partner_price_u_kwh
    return older.price_u_kwh


def traded(order: StandingOrder, energy_wh: int) -> StandingOrder:
    return msgspec.structs.replace(
        order,
        energy_wh=order.energy_wh - energy_wh,
        ready_wh=order.ready_wh - energy_wh,
        filled_wh=order.filled_wh + energy_wh,
    )
