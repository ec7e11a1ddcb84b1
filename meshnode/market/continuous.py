"""Continuous: the order book as a mechanism, over one period's orders in the sequence of their booking.

The book itself, with all that it can do, is `meshnode.market.book`.
"""

from collections.abc import Sequence
from typing import Final

from meshnode.market.book import Book
from meshnode.market.clearing import Clearing, Trade, fills_of, summed_up
from meshnode.market.mechanism import Terms
from meshnode.market.order import Order, by_time, sides
from meshnode.market.standing import StandingOrder

NAME: Final = "continuous"
VERSION: Final = 1


class Continuous:
    """The continuous order book; see `clear` and `book`."""

    name = NAME
    version = VERSION

    def book(self, orders: Sequence[StandingOrder] = ()) -> Book:
        """A book of this version, as its rows say."""
        return Book(orders)

    def clear(self, orders: Sequence[Order], terms: Terms) -> Clearing:
        """Let one period's orders come in one by one, as they were booked; nothing is left to do at the close.

        Every order is good till the close and counts as backed: what is not delivered is settled
        against the meters. Each trade is at the price of the older of its two orders. An order
        passes over those of its own account.

        Args:
            orders: one period's orders, in any order.
            terms: not used; prices come from the orders alone.
        Returns:
            Trades in the order in which they came about.
        """
        sides(orders)
        book = self.book()
        trades: list[Trade] = []
        for order in sorted(orders, key=by_time):
            trades += book.place(standing(order)).trades
        return summed_up(NAME, VERSION, trades, fills_of(trades))


MECHANISM: Final = Continuous()


def standing(order: Order) -> StandingOrder:
    """A period's order as one of a book: wholly backed, good till cancelled."""
    return StandingOrder(
        order_id=order.order_id,
        account=order.account,
        side=order.side,
        energy_wh=order.energy_wh,
        ready_wh=order.energy_wh,
        price_u_kwh=order.price_u_kwh,
        sequence=order.sequence,
    )
