"""Pay-as-bid: one period's double auction in which every buyer pays what it bid.

The dearest bid meets the cheapest offer; there are as many prices as bids.
"""

from collections.abc import Sequence
from typing import Final

from meshnode.market.clearing import Clearing, by_merit, cross, match, summed_up
from meshnode.market.mechanism import Terms
from meshnode.market.order import Order

NAME: Final = "pay-as-bid"
VERSION: Final = 1


class PayAsBid:
    """The discriminatory price auction; see `clear`."""

    name = NAME
    version = VERSION

    def clear(self, orders: Sequence[Order], terms: Terms) -> Clearing:
        """Clear one period; every trade at the price of its bid.

        The same orders are accepted as with pay-as-clear: bids by price from the top, offers by
        price from the bottom, equal prices by time, as long as bid >= offer. They are paired in
        that order and each pair trades at its bid, all of which the seller gets, so nothing is
        left over between what buyers pay and what sellers receive. An account's own energy
        is set aside (`Fill.own_wh`); every accepted bid reaches every accepted offer, so what
        then is paired anew still keeps both limits.

        Args:
            orders: one period's orders, in any order.
            terms: not used; prices come from the orders alone.
        Source: discriminatory price double auction, buyer's bid (k = 1).
        """
        bought, sold, _, _ = cross(*by_merit(orders))
        trades, fills = match(bought, sold, _price_of)
        return summed_up(NAME, VERSION, trades, fills)


MECHANISM: Final = PayAsBid()


def _price_of(bid: Order, offer: Order) -> int:
    return bid.price_u_kwh
