"""Driven: prices of a settlement period that a feed says - the grid price, or the cap of orders.

What such a feed says when a period begins is written down then, and holds for the whole period and for every later
correction of it: nobody's price changes after consuming at it, whatever is reported, defined or forgotten
afterwards. A feed that says nothing fresh then leaves the price at what is fixed without it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from meshnode.ledger import feeds
from meshnode.ledger.book import BookRules
from meshnode.ledger.feed_rows import PeriodPrice
from meshnode.ledger.state import State
from meshnode.market import Order, Side
from meshnode.settlement.period import Tariff
from protocols.records import DRIVES_GRID_PRICE, DRIVES_PRICE_CAP
from protocols.records.feeds import PRICES


def begin(state: State, start_s: int) -> None:
    """A period begins: what the feeds say of its prices is written down."""
    for drives in PRICES:
        found = expected(state, start_s, drives)
        if found is not None:
            state.period_prices.put((start_s, drives), found)


def expected(state: State, start_s: int, drives: int) -> PeriodPrice | None:
    """What a feed says of a price at a time, as far as is agreed so far; None if there is none, or nothing fresh."""
    for name, feed in state.feeds.items():
        if feed.drives == drives:
            found = feeds.current(state, name, start_s)
            return None if found is None else PeriodPrice(found[1].value, name, found[0])
    return None


def price(state: State, start_s: int, drives: int, time_s: int) -> PeriodPrice | None:
    """What was written down for a period when it began, or for one that has not begun what is expected so far.

    Args:
        time_s: of the block that asks, or of the last one.
    """
    if start_s <= time_s:
        return state.period_prices.get((start_s, drives))
    return expected(state, start_s, drives)


def tariff(state: State, start_s: int, fixed: Tariff) -> Tariff:
    """The tariff of a period that has begun: the fixed one, with the grid price that a feed said then."""
    found = state.period_prices.get((start_s, DRIVES_GRID_PRICE))
    return fixed if found is None else msgspec.structs.replace(fixed, grid_price_u_kwh=found.price_u_kwh)


def likely(state: State, start_s: int, fixed: Tariff, time_s: int) -> Tariff:
    """As `tariff`, also for a period that has not begun at `time_s`; for showing, not for settling."""
    found = price(state, start_s, DRIVES_GRID_PRICE, time_s)
    return fixed if found is None else msgspec.structs.replace(fixed, grid_price_u_kwh=found.price_u_kwh)


def book(state: State, start_s: int, fixed: BookRules, time_s: int) -> BookRules:
    """What an order of a period is held to when it is given: the fixed rules, with the cap that a feed says."""
    found = price(state, start_s, DRIVES_PRICE_CAP, time_s)
    return fixed if found is None else msgspec.structs.replace(fixed, cap_u_kwh=found.price_u_kwh)


def cap(state: State, start_s: int) -> int | None:
    """What nobody may pay more than in a period, if a feed says so."""
    found = state.period_prices.get((start_s, DRIVES_PRICE_CAP))
    return None if found is None else found.price_u_kwh


def within(state: State, start_s: int, orders: Iterable[Order]) -> list[Order]:
    """The orders of a period as far as its cap lets them trade.

    They were given before the period began, when the feed may have expected something else: who
    would pay more pays no more than the cap, and who wants more sells nothing.
    """
    cap_u_kwh = cap(state, start_s)
    if cap_u_kwh is None:
        return list(orders)
    return [
        order if order.price_u_kwh <= cap_u_kwh else msgspec.structs.replace(order, price_u_kwh=cap_u_kwh)
        for order in orders
        if order.side is Side.BUY or order.price_u_kwh <= cap_u_kwh
    ]


def finish(state: State, start_s: int) -> None:
    """The period can no longer be corrected: its postings say what it cost."""
    for drives in PRICES:
        if (start_s, drives) in state.period_prices:
            state.period_prices.delete((start_s, drives))


def check(state: State) -> None:
    """Only periods that have begun and are not final have their prices written down.

    Raises:
        AssertionError: our bug, never a peer's.
    """
    meta = state.meta.row
    for (start_s, drives), _ in state.period_prices.items():
        assert drives in PRICES, f"no price is driven by {drives}"
        assert meta.next_final_s <= start_s <= meta.time_s, (
            f"the period of {start_s} has a price, and is none that runs"
        )
