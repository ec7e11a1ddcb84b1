"""Order: one member's wish to buy or to sell energy in one settlement period.

What an order says and which sets of orders make sense. Neither ledger nor
accounting is known here: an order carries no balance and no hold.
"""

import enum
from collections.abc import Sequence
from typing import Final

import msgspec

from meshnode.amounts import ENERGY_MAX_WH, PRICE_MAX_U_KWH

ORDERS_MAX: Final = 8_192
"""Orders in one clearing. A value is at most 10**15 u, so the sum over a whole clearing still fits into
64 bits; and 8,192 orders clear in a fraction of a second on a Raspberry Pi. Whoever books orders refuses
the one that would be too many."""


class OrderError(ValueError):
    """An order, or a set of orders, that cannot be: a bug of the caller, who checks before booking."""


class Side(enum.IntEnum):
    """Which way the energy goes, seen from the member."""

    BUY = 1
    SELL = 2


class Order(msgspec.Struct, frozen=True):
    """A limit order for one period.

    Fields:
        order_id: the id of the signed record that placed it.
        account: who buys or sells, an account id.
        side: buy or sell.
        period: number of the settlement period that the energy belongs to.
        energy_wh: how much is still wanted or offered, 1 to `ENERGY_MAX_WH`.
        price_u_kwh: the highest price a buyer pays, the lowest a seller takes; may be below zero.
        sequence: (height, position in the block) of its booking; no two orders share one.
    """

    order_id: bytes
    account: bytes
    side: Side
    period: int
    energy_wh: int
    price_u_kwh: int
    sequence: tuple[int, int]

    def __post_init__(self) -> None:
        if not 1 <= self.energy_wh <= ENERGY_MAX_WH:
            raise OrderError(f"order {self.order_id.hex()}: {self.energy_wh} Wh, expected 1 to {ENERGY_MAX_WH}")
        if abs(self.price_u_kwh) > PRICE_MAX_U_KWH:
            raise OrderError(
                f"order {self.order_id.hex()}: {self.price_u_kwh} u/kWh, "
                f"expected {-PRICE_MAX_U_KWH} to {PRICE_MAX_U_KWH}"
            )


def by_time(order: Order) -> tuple[int, int]:
    """Sort key: booking order.

    Ties go by (height, position in the block): arrival order differs from node to
    node, and an order id could be ground until it sorts first.
    """
    return order.sequence


def sides(orders: Sequence[Order]) -> tuple[list[Order], list[Order]]:
    """Part one period's orders into (bids, offers), each by time.

    Raises:
        OrderError: too many orders, two periods in one set, or an id or a sequence that occurs twice.
    """
    if len(orders) > ORDERS_MAX:
        raise OrderError(f"{len(orders)} orders in one clearing, the limit is {ORDERS_MAX}")
    ids: set[bytes] = set()
    places: set[tuple[int, int]] = set()
    bids: list[Order] = []
    offers: list[Order] = []
    for order in sorted(orders, key=by_time):
        if order.period != orders[0].period:
            found = sorted({order.period, orders[0].period})
            raise OrderError(f"orders of periods {found[0]} and {found[1]} in one clearing, expected one period")
        if order.order_id in ids:
            raise OrderError(f"order {order.order_id.hex()} occurs twice in one clearing")
        if order.sequence in places:
            raise OrderError(f"two orders at sequence {order.sequence}, expected one for each block position")
        ids.add(order.order_id)
        places.add(order.sequence)
        (bids if order.side is Side.BUY else offers).append(order)
    return bids, offers
