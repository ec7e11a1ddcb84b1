"""Mid-market rate: neighbours share at the middle between grid price and feed-in price.

The rate, the division of what is shared, and the mechanism that applies both
to orders. Settlement applies the same rate and the same division to meters.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from meshnode.amounts import split
from meshnode.market.clearing import Clearing, by_account, match, own_energy
from meshnode.market.mechanism import Terms
from meshnode.market.order import Order, sides

NAME: Final = "mid-market-rate"
VERSION: Final = 1


def mid_market_rate(grid_price_u_kwh: int, feed_in_price_u_kwh: int) -> int:
    """The middle between what energy costs from the grid and what the grid pays for it, rounded down.

    Source: mid-market rate, Long et al., "Peer-to-peer energy trading in a community microgrid" (2017).
    """
    return (grid_price_u_kwh + feed_in_price_u_kwh) // 2


def share(wanted_wh: Mapping[bytes, int], offered_wh: Mapping[bytes, int]) -> tuple[dict[bytes, int], dict[bytes, int]]:
    """Share out offered energy among those who want it: the short side whole, the long side pro rata.

    As much as possible is shared, with one condition: nobody is his own neighbour. An
    account may stand on both sides (its meter can count import and export in one
    period), but what it takes must come from others and what it gives must go to others:
    taken + given <= shared for each account.

    Args:
        wanted_wh, offered_wh: Wh by account, 0 or more; an account may be in both.
    Returns:
        (taken, given) by account: 0 <= taken <= wanted, 0 <= given <= offered, equal sums.
        Accounts that get nothing may be left out.
    Source: the bound is the maximum flow of a transportation problem without its diagonal; the cut
        around one account's own two sides has (demand - wanted) + (supply - offered).
    """
    demand_wh = sum(wanted_wh.values())
    supply_wh = sum(offered_wh.values())
    shared_wh = min(demand_wh, supply_wh)
    for account in sorted(wanted_wh.keys() & offered_wh.keys()):
        others_wh = demand_wh - wanted_wh[account] + supply_wh - offered_wh[account]
        if others_wh < shared_wh:
            # This account is so large on both sides that all the others together, buying and
            # selling, cannot match it. At most one can be: two would need more than everything.
            # The others get all they ask, from it and for it.
            taken = {**wanted_wh, account: supply_wh - offered_wh[account]}
            given = {**offered_wh, account: demand_wh - wanted_wh[account]}
            return taken, given
    if demand_wh <= supply_wh:
        return dict(wanted_wh), _pro_rata(shared_wh, offered_wh, wanted_wh)
    return _pro_rata(shared_wh, wanted_wh, offered_wh), dict(offered_wh)


def _pro_rata(shared_wh: int, long_wh: Mapping[bytes, int], short_wh: Mapping[bytes, int]) -> dict[bytes, int]:
    """Divide what is shared over the long side, keeping each account from meeting itself."""
    parts = split(shared_wh, long_wh.items())
    for account in sorted(parts.keys() & short_wh.keys()):
        if parts[account] + short_wh[account] > shared_wh:
            # Its own part of the short side is out of its reach; only one account can be that large.
            rest = ((other, energy_wh) for other, energy_wh in long_wh.items() if other != account)
            return {**split(short_wh[account], rest), account: shared_wh - short_wh[account]}
    return parts


class MidMarketRate:
    """The mid-market rate as a mechanism over orders; see `clear`."""

    name = NAME
    version = VERSION

    def clear(self, orders: Sequence[Order], terms: Terms) -> Clearing:
        """Trade at the mid-market rate whatever both sides are ready to trade at it.

        Bids below the rate and offers above it stay out. The short side is filled
        whole, the long side pro rata by account (an account gains nothing by cutting
        its order into many), an account's own orders by time. What stays unfilled is bought
        from or sold to the grid when the period settles. What an account would buy from
        itself is set aside before anything is shared (`Fill.own_wh`).

        Args:
            orders: one period's orders, in any order.
            terms: the two prices whose middle is the rate.
        Returns:
            Trades in fill order, all at the rate.
        """
        rate_u_kwh = mid_market_rate(terms.grid_price_u_kwh, terms.feed_in_price_u_kwh)
        bids, offers = sides(orders)
        willing_bids = [(bid, bid.energy_wh) for bid in bids if bid.price_u_kwh >= rate_u_kwh]
        willing_offers = [(offer, offer.energy_wh) for offer in offers if offer.price_u_kwh <= rate_u_kwh]
        own_wh = own_energy(willing_bids, willing_offers)
        taken_wh, given_wh = share(_less(by_account(willing_bids), own_wh), _less(by_account(willing_offers), own_wh))
        trades, fills = match(
            _accept(willing_bids, taken_wh, own_wh), _accept(willing_offers, given_wh, own_wh), rate_u_kwh
        )
        price_u_kwh = rate_u_kwh if trades else None
        return Clearing(
            mechanism=NAME,
            version=VERSION,
            trades=trades,
            fills=fills,
            price_u_kwh=price_u_kwh,
            low_u_kwh=price_u_kwh,
            high_u_kwh=price_u_kwh,
        )


MECHANISM: Final = MidMarketRate()


def _less(energy_wh: Mapping[bytes, int], own_wh: Mapping[bytes, int]) -> dict[bytes, int]:
    return {account: energy - own_wh.get(account, 0) for account, energy in energy_wh.items()}


def _accept(
    willing: Sequence[tuple[Order, int]], shared_wh: Mapping[bytes, int], own_wh: Mapping[bytes, int]
) -> list[tuple[Order, int]]:
    """Fill each account's orders by time up to its own and its shared energy."""
    left_wh = {order.account: shared_wh.get(order.account, 0) + own_wh.get(order.account, 0) for order, _ in willing}
    accepted: list[tuple[Order, int]] = []
    for order, wanted_wh in willing:
        energy_wh = min(wanted_wh, left_wh[order.account])
        if energy_wh:
            accepted.append((order, energy_wh))
            left_wh[order.account] -= energy_wh
    return accepted
