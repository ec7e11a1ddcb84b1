"""Prices: lints of what energy costs, of its limits, fees and taxes."""

from __future__ import annotations

from zencode import sentences as s
from zencode.binding import Binding, Statement
from zencode.lints.finding import TRADED, Findings, actions, error, first, givens, price, slot, warning

#: Which fee an action brings in, by the event that it is charged at; new actions name theirs below.
_FEE_EVENTS = {
    s.PERIOD_CLOSES: "network fee",
    s.CAR_CHARGES: "charging fee",
    s.BATTERY_DELIVERS: "storage fee",
    s.BATTERY_STORES: "storage fee",
}
_FEES = {
    s.FEE_PER_CYCLE: "membership fee",
    s.FEE_PER_PERIOD: "membership fee",
    s.STORAGE_FEE: "storage fee",
    s.SESSION_FEE: "charging fee",
}
#: What a levy can be on: what a home uses, takes from neighbours, draws from the grid.
_LEVY_BASES = ("consumed energy", TRADED, "grid energy")


def prices(binding: Binding) -> Findings:
    """Limits that leave no room for a trade, or for one that both sides want."""
    floor, cap = first(binding, s.FLOOR), first(binding, s.CAP)
    grid, feed_in = binding.given(s.GRID_PRICE), binding.given(s.FEED_IN)
    if floor and cap and price(floor) > price(cap):
        yield error("floor-above-cap", "the lowest price is above the highest: no order could ever trade", floor)
    fee = sum(price(a) for a in actions(binding, s.FEE_PER_KWH) if slot(a, "energy") == TRADED)
    if cap and grid and price(cap) + fee > price(grid):
        reason = "the highest price, with the fee on top, is above the grid price, at which anybody can buy"
        yield warning("cap-above-grid", reason, cap)
    if cap and feed_in and price(cap) < price(feed_in):
        reason = "the highest price is below the feed-in price: every seller would rather feed into the grid"
        yield warning("cap-below-feed-in", reason, cap)
    if grid and feed_in and price(feed_in) > price(grid):
        reason = "the feed-in price is above the grid price: sharing would cost both sides money"
        yield warning("feed-in-above-grid", reason, feed_in)
    pool = first(binding, s.MID_MARKET)
    for given, name in ((grid, "grid price"), (feed_in, "feed-in price")):
        if pool and given is None:
            reason = f"the mid-market rate lies between grid and feed-in price, and the {name} is not given"
            yield error("mid-market-prices", reason, pool)
    shared = binding.given(s.SHARED_PRICE)
    if pool and shared:
        yield warning("shared-price", "the mid-market rate makes its own price of shared energy", shared)


def legal_limits(binding: Binding) -> Findings:
    """What the law allows, against itself and against the binding's own limits."""
    floor, cap = first(binding, s.FLOOR), first(binding, s.CAP)
    lowest = binding.given(s.LEGAL_FLOOR)
    highest = [given for given in (binding.given(s.LEGAL_CAP), *givens(binding, s.LEGAL_CAP_FROM)) if given]
    for given in highest:
        for below in (lowest, floor):
            if below and price(below) > price(given):
                yield error("no-legal-price", "the lowest price is above the highest that the law allows", below)
        if cap and price(cap) > price(given):
            yield warning("cap-above-law", "the highest price is above what the law allows; the law holds", cap)
    if lowest and cap and price(cap) < price(lowest):
        yield error("no-legal-price", "the highest price is below the lowest that the law allows", cap)


def order_sizes(binding: Binding) -> Findings:
    """A smallest order above the largest."""
    least, most = first(binding, s.MIN_ORDER), first(binding, s.MAX_ORDER)
    if least and most and slot(least, "energy") > slot(most, "energy"):
        yield error("no-order-fits", "the smallest order is larger than the largest: no order could be given", least)


def grid_fees(binding: Binding) -> Findings:
    """Grid fees that leave out a level, or ask more of closer neighbours."""
    fees = sorted(givens(binding, s.GRID_FEE), key=lambda given: int(slot(given, "levels")))
    for number, given in enumerate(fees):
        if slot(given, "levels") != number:
            reason = f"the grid fee between members who share {number} levels is not given; say it for each from 0"
            yield error("grid-fees", reason, given)
            return
        if number and price(given) > price(fees[number - 1]):
            reason = "closer neighbours would pay more to the grid than those further away"
            yield error("grid-fees", reason, given)
    placed = givens(binding, s.CONNECTION)
    if placed and not fees:
        yield warning("grid-fees", "it is said where members are connected, and no grid fee uses it", placed[0])


def fees(binding: Binding) -> Findings:
    """Fees that are split and not charged, or charged and kept by nobody named; levies on what nothing counts."""
    charged: dict[str, Statement] = {}
    for block in binding.blocks:
        for action in block.actions:
            if action.id == s.FEE_PER_KWH and block.event.id in _FEE_EVENTS:
                charged.setdefault(_FEE_EVENTS[block.event.id], action)
            elif action.id in _FEES:
                charged.setdefault(_FEES[action.id], action)
            elif action.id == s.LEVY and slot(action, "energy") not in _LEVY_BASES:
                known = ", ".join(f"'{base}'" for base in _LEVY_BASES)
                reason = f"a levy is on {known}; '{slot(action, 'energy')}' is not metered for it"
                yield error("levy-base", reason, action)
    incentive = binding.given(s.INCENTIVE)
    if incentive:
        charged["incentive"] = incentive
    split = {slot(action, "fee"): action for action in actions(binding, s.SPLIT)}
    for fee, action in split.items():
        if fee not in charged:
            yield warning("nothing-to-split", f"the {fee} is split and nothing brings it in", action)
    for fee, statement in charged.items():
        if fee not in split:
            reason = f"nothing says who receives the {fee}; it goes to the community fund"
            yield warning("fee-without-split", reason, statement)


def taxes(binding: Binding) -> Findings:
    """Categories of value added tax without a rate."""
    known = {slot(given, "category") for given in givens(binding, s.VAT_RATE)}
    for given in givens(binding, s.VAT_CATEGORY):
        if slot(given, "category") not in known:
            reason = f"the rate of the category '{slot(given, 'category')}' is not given"
            yield error("vat-rate", reason, given)


def credit(binding: Binding) -> Findings:
    """A limit above its deposit."""
    for block in binding.blocks:
        deposit = next((action for action in block.actions if action.id == s.DEPOSIT), None)
        for action in block.actions:
            if action.id == s.CREDIT_LIMIT and deposit and slot(action, "amount") > slot(deposit, "amount"):
                reason = "the credit limit is above the deposit: what is beyond it is the community's risk"
                yield warning("limit-above-deposit", reason, action)
