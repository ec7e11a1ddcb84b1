"""Pay-as-clear: one period's double auction at a single price.

Highest bids meet lowest offers until the next bid is below the next offer;
everybody who trades pays or gets the same price.
"""

from collections.abc import Sequence
from typing import Final

from meshnode.market.clearing import Clearing, by_merit, cross, match
from meshnode.market.mechanism import Terms
from meshnode.market.order import Order

NAME: Final = "pay-as-clear"
VERSION: Final = 1


class PayAsClear:
    """The uniform price auction; see `clear`."""

    name = NAME
    version = VERSION

    def clear(self, orders: Sequence[Order], terms: Terms) -> Clearing:
        """Clear one period at a single price.

        Bids by price from the top, offers by price from the bottom, equal prices by
        time; cross while bid >= offer, so the marginal order is filled in part and among
        equals the later one goes short. The price is the midpoint, rounded down, of
        every price that supports these trades:

            low  = max(last accepted offer, best unfilled bid)
            high = min(last accepted bid, best unfilled offer)

        An order filled in part is both accepted and unfilled, so it sets the price alone.

        An account on both sides does not trade with itself: what it accepted on both
        is set aside (`Fill.own_wh`), and this moves neither the price nor anybody else's
        trade. When nothing else traded, there is no price.

        Args:
            orders: one period's orders, in any order.
            terms: not used; prices come from the orders alone.
        Source: k-double auction with k = 1/2 (Chatterjee and Samuelson, 1983).
        """
        bought, sold, unfilled_bid, unfilled_offer = cross(*by_merit(orders))
        if not bought:
            return _nothing()
        low_u_kwh = sold[-1][0].price_u_kwh
        high_u_kwh = bought[-1][0].price_u_kwh
        if unfilled_bid is not None:
            low_u_kwh = max(low_u_kwh, unfilled_bid.price_u_kwh)
        if unfilled_offer is not None:
            high_u_kwh = min(high_u_kwh, unfilled_offer.price_u_kwh)
        price_u_kwh = (low_u_kwh + high_u_kwh) // 2
        trades, fills = match(bought, sold, price_u_kwh)
        return Clearing(
            mechanism=NAME,
            version=VERSION,
            trades=trades,
            fills=fills,
            price_u_kwh=price_u_kwh if trades else None,
            low_u_kwh=low_u_kwh if trades else None,
            high_u_kwh=high_u_kwh if trades else None,
        )


MECHANISM: Final = PayAsClear()


def _nothing() -> Clearing:
    return Clearing(
        mechanism=NAME,
        version=VERSION,
        trades=(),
        fills=(),
        price_u_kwh=None,
        low_u_kwh=None,
        high_u_kwh=None,
    )
