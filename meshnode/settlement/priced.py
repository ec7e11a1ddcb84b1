"""Priced: trades of what nobody ordered, between members who have set what they sell and buy at.

Pure. A set price stands for an order of as much as the meter shows beyond the member's orders, so that no
set price ever leaves anybody short; a later reading changes these trades as it changes the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from meshnode.ledger.parameter_rows import NOT_SET, Prices
from meshnode.market import Mechanism, Order, Side, Terms, Trade
from meshnode.settlement.metered import Metered


def orders(
    period: int, metered: Sequence[Metered], trades: Sequence[Trade], prices: Mapping[bytes, Prices]
) -> list[Order]:
    """What is left of a period, as orders at the prices that members have set.

    Args:
        trades: of orders; what they bought and sold counts as gone, delivered or not.
        prices: in force in the period, by account.
    """
    left = {
        Side.SELL: {one.account: one.export_wh for one in metered},
        Side.BUY: {one.account: one.import_wh for one in metered},
    }
    for one in trades:
        left[Side.SELL][one.seller] -= one.energy_wh
        left[Side.BUY][one.buyer] -= one.energy_wh
    found = []
    for account, row in prices.items():
        for side, price_u_kwh in ((Side.SELL, row.sell_u_kwh), (Side.BUY, row.buy_u_kwh)):
            energy_wh = left[side].get(account, 0)
            if price_u_kwh != NOT_SET and energy_wh > 0:
                # One record sets both prices: each is an order of its own, at a place of its own.
                order_id = row.record_id + bytes([side])
                place = (row.height, 2 * row.position + (side is Side.BUY))
                found.append(Order(order_id, account, side, period, energy_wh, price_u_kwh, place))
    return found


def trade(mechanism: Mechanism, terms: Terms, found: Sequence[Order]) -> tuple[Trade, ...]:
    """Clear such orders by the binding's own mechanism.

    Returns:
        Trades whose orders are the records that set the prices; no member sells more than it exported or
        buys more than it imported.
    """
    if not found:
        return ()
    return tuple(
        msgspec.structs.replace(one, buy_order=one.buy_order[:-1], sell_order=one.sell_order[:-1])
        for one in mechanism.clear(found, terms).trades
    )
