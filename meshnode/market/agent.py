"""Automatic agent: trades for a member who only says two prices and how full its store should be.

Pure functions of what the member said and of its balance. Who calls gives the order that
comes out, and asks again when something has changed.
"""

from typing import Final

import msgspec

from meshnode.amounts import ENERGY_MAX_WH, PRICE_MAX_U_KWH
from meshnode.market.order import Side

NO_LIMIT_WH: Final = ENERGY_MAX_WH
"""The highest balance where no rule sets one: what one order can move."""


class AgentError(ValueError):
    """Targets that contradict one another: the message says which, and what is expected."""


class Targets(msgspec.Struct, frozen=True):
    """What a member wants of its agent.

    Fields:
        buy_price_u_kwh: the highest price that it buys at.
        sell_price_u_kwh: the lowest price that it sells at.
        low_wh: at this balance or below, it buys up to the target.
        target_wh: where the balance should be.
        high_wh: at this balance or above, it sells down to the target.
    """

    buy_price_u_kwh: int
    sell_price_u_kwh: int
    low_wh: int
    target_wh: int
    high_wh: int

    def __post_init__(self) -> None:
        if not 0 <= self.low_wh < self.target_wh < self.high_wh:
            raise AgentError(
                f"low {self.low_wh} Wh, target {self.target_wh} Wh, high {self.high_wh} Wh: "
                "expected 0 <= low < target < high"
            )
        for price_u_kwh in (self.buy_price_u_kwh, self.sell_price_u_kwh):
            if abs(price_u_kwh) > PRICE_MAX_U_KWH:
                raise AgentError(
                    f"a target price of {price_u_kwh} u/kWh, expected {-PRICE_MAX_U_KWH} to {PRICE_MAX_U_KWH}"
                )


class Wish(msgspec.Struct, frozen=True):
    """The order that the agent would place."""

    side: Side
    energy_wh: int
    price_u_kwh: int


def act(targets: Targets, balance_wh: int, has_orders: bool, most_wh: int = NO_LIMIT_WH) -> Wish | None:
    """What the agent does now: one order that would bring the balance to the target, or nothing.

    It acts only while the member has no other order: what the member does itself goes first,
    and an order of the agent that still rests is not doubled.

    Args:
        balance_wh: what the member has stored, 0 or more.
        has_orders: whether any order of the member is open.
        most_wh: the highest balance allowed (Bmax). It may have been lowered since the member spoke:
            then the agent fills up to it only, and sells from it on.
    Returns:
        At most `ENERGY_MAX_WH`; the rest follows when that has traded.
    """
    if has_orders:
        return None
    high_wh = min(targets.high_wh, most_wh)
    target_wh = min(targets.target_wh, most_wh)
    if balance_wh >= high_wh and balance_wh > target_wh:
        return Wish(Side.SELL, min(balance_wh - target_wh, ENERGY_MAX_WH), targets.sell_price_u_kwh)
    if balance_wh <= targets.low_wh and balance_wh < target_wh:
        return Wish(Side.BUY, min(target_wh - balance_wh, ENERGY_MAX_WH), targets.buy_price_u_kwh)
    return None


def still_wants(targets: Targets, side: Side, balance_wh: int, has_orders: bool, most_wh: int = NO_LIMIT_WH) -> int:
    """How much an order of the agent that rests may still trade, so that one need is never met twice.

    Args:
        side: of the order.
        balance_wh: what the member has stored, with what the order has held of it.
        has_orders: whether any other order of the member is open.
        most_wh: the highest balance allowed.
    Returns:
        What is missing to the target, or above it; 0 as soon as the member has an order of its own.
    """
    if has_orders:
        return 0
    target_wh = min(targets.target_wh, most_wh)
    return max(0, target_wh - balance_wh if side is Side.BUY else balance_wh - target_wh)
