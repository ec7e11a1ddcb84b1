"""Book: the open orders of each settlement period, in the order in which blocks brought them.

Priority is (height, position in the block): arrival order differs from node to
node, and an order id could be ground until it sorts first.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from meshnode.ledger import rows
from meshnode.ledger.order_rows import Preference
from meshnode.ledger.readings import counts
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from protocols.records import Amend, Cancel, Order

# A household needs a handful of steps on its price curve; more only fills the book.
MAX_ORDERS_PER_ACCOUNT = 32
# What one clearing takes; the mechanisms' own bound is the same number (held by a test).
MAX_ORDERS_PER_PERIOD = 8_192

_EVERYBODY = b""


class BookRules(msgspec.Struct, frozen=True):
    """What the binding and the genesis say of orders. None: no such rule."""

    open: bool
    floor_u_kwh: int | None
    cap_u_kwh: int | None
    max_order_wh: int | None
    max_ahead_s: int
    period_length_s: int

    def fault_of_price(self, price_u_kwh: int) -> Verdict:
        """Whether orders may be given, and at this price."""
        if not self.open:
            return Verdict.NO_MARKET
        if self.floor_u_kwh is not None and price_u_kwh < self.floor_u_kwh:
            return Verdict.PRICE_BELOW_FLOOR
        if self.cap_u_kwh is not None and price_u_kwh > self.cap_u_kwh:
            return Verdict.PRICE_ABOVE_CAP
        return Verdict.ACCEPTED


def place(
    state: State,
    order: Order,
    record_id: bytes,
    account: bytes,
    rules: BookRules,
    binding: bytes,
    partner: Preference | None,
    *,
    height: int,
    position: int,
    time_s: int,
) -> Verdict:
    """Enter an order into the book of its period.

    Args:
        partner: who it serves first.
    """
    if not rules.open:
        return Verdict.NO_MARKET
    start = order.period_start_s
    if start % rules.period_length_s:
        return Verdict.PERIOD_OFF_GRID
    if start + rules.period_length_s <= time_s:
        return Verdict.PERIOD_OVER
    if start > time_s + rules.max_ahead_s:
        return Verdict.PERIOD_TOO_FAR
    if fault := rules.fault_of_price(order.price_u_kwh):
        return fault
    if rules.max_order_wh is not None and order.energy_wh > rules.max_order_wh:
        return Verdict.ORDER_TOO_LARGE
    if not any(counts(meter, start) for _, meter in state.meters.of_account(account)):
        return Verdict.METER_NOT_ACTIVE
    if (
        _count(state, start, account) >= MAX_ORDERS_PER_ACCOUNT
        or _count(state, start, _EVERYBODY) >= MAX_ORDERS_PER_PERIOD
    ):
        return Verdict.TOO_MANY_ORDERS
    row = rows.OpenOrder(record_id, account, order.side, order.energy_wh, order.price_u_kwh, binding)
    if partner is not None:
        row = msgspec.structs.replace(row, partner=partner.partner, partner_price_u_kwh=partner.price_u_kwh)
    state.orders.put((start, height, position), row)
    state.order_places.put(record_id, rows.OrderPlace(start, height, position))
    _add_count(state, start, account, 1)
    return Verdict.ACCEPTED


def amend(
    state: State,
    record: Amend,
    account: bytes,
    rules: BookRules,
    binding: bytes,
    *,
    height: int,
    position: int,
    time_s: int,
) -> Verdict:
    """Change an order of an account, as long as its period is not over. What it serves first stays with it."""
    found = find(state, record.order, account)
    if found is None:
        return Verdict.UNKNOWN_ORDER
    key, row = found
    if key[0] + rules.period_length_s <= time_s:
        return Verdict.PERIOD_OVER
    if fault := rules.fault_of_price(record.price_u_kwh):
        return fault
    if rules.max_order_wh is not None and record.energy_wh > rules.max_order_wh:
        return Verdict.ORDER_TOO_LARGE
    keeps = keeps_its_place(row, record)
    changed = msgspec.structs.replace(
        row,
        energy_wh=record.energy_wh,
        price_u_kwh=record.price_u_kwh,
        binding=row.binding if keeps else binding,
    )
    state.orders.delete(key)
    if not keeps:
        key = (key[0], height, position)
        state.order_places.put(record.order, rows.OrderPlace(*key))
    state.orders.put(key, changed)
    return Verdict.ACCEPTED


def keeps_its_place(row: rows.OpenOrder, record: Amend) -> bool:
    """Whether a changed order keeps its place among those of its price: less at the same price does."""
    return record.price_u_kwh == row.price_u_kwh and record.energy_wh <= row.energy_wh


def find(state: State, order_id: bytes, account: bytes) -> tuple[tuple[int, int, int], rows.OpenOrder] | None:
    """Where an open order of an account stands, and its row."""
    spot = state.order_places.get(order_id)
    if spot is None:
        return None
    key = (spot.period_start_s, spot.height, spot.position)
    row = state.orders[key]
    return (key, row) if row.account == account else None


def cancel(state: State, record: Cancel, account: bytes, time_s: int, period_length_s: int) -> Verdict:
    """Take an order out of the book, as long as its period is not over."""
    found = find(state, record.order, account)
    if found is None:
        return Verdict.UNKNOWN_ORDER
    key, _ = found
    if key[0] + period_length_s <= time_s:
        return Verdict.PERIOD_OVER
    _remove(state, key)
    return Verdict.ACCEPTED


def keep_within(state: State, start_s: int, rules: BookRules) -> list[tuple[bytes, rows.OpenOrder]]:
    """Other prices are allowed in a period: its orders outside leave the book; gives them."""
    outside = [(key, row) for key, row in of_period(state, start_s) if rules.fault_of_price(row.price_u_kwh)]
    for key, _ in outside:
        _remove(state, key)
    return [(row.record_id, row) for _, row in outside]


def periods(state: State, from_s: int) -> list[int]:
    """The periods from one on for which there are open orders."""
    return sorted({start for (start, account), _ in state.order_counts.items() if start >= from_s and not account})


def of_period(state: State, start_s: int) -> Iterator[tuple[tuple[int, int, int], rows.OpenOrder]]:
    """The open orders of a period, by priority."""
    return state.orders.range((start_s, 0, 0), (start_s + 1, 0, 0))


def close(state: State, start_s: int) -> None:
    """The period is cleared: its orders leave the book."""
    for key, _ in list(of_period(state, start_s)):
        _remove(state, key)


def _remove(state: State, key: tuple[int, int, int]) -> None:
    row = state.orders[key]
    state.orders.delete(key)
    state.order_places.delete(row.record_id)
    _add_count(state, key[0], row.account, -1)


def _count(state: State, start_s: int, account: bytes) -> int:
    row = state.order_counts.get((start_s, account))
    return row.orders if row else 0


def _add_count(state: State, start_s: int, account: bytes, change: int) -> None:
    for whose in (account, _EVERYBODY):
        orders = _count(state, start_s, whose) + change
        if orders:
            state.order_counts.put((start_s, whose), rows.OrderCount(orders))
        else:
            state.order_counts.delete((start_s, whose))
