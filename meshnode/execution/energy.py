"""Energy: readings of settlement periods, and the orders for them."""

from __future__ import annotations

from meshnode.amounts import value
from meshnode.execution import orders
from meshnode.execution.call import Call, Handlers
from meshnode.ledger import book, credit, preferences, readings, rows
from meshnode.ledger.order_rows import NO_PRICE
from meshnode.ledger.verdicts import Verdict
from meshnode.settlement import billing_periods, closing, driven, parameters
from protocols.records import SIDE_BUY, Amend, Cancel, Order, Reading


def _reading(call: Call, record: Reading) -> Verdict:
    ledger, start = call.ledger, record.period_start_s
    if call.key.meter != record.meter:
        return Verdict.WRONG_KEY
    rules = ledger.rules(start).period
    if start % rules.length_s:
        return Verdict.PERIOD_OFF_GRID
    if start + rules.length_s > call.time_s:
        return Verdict.PERIOD_NOT_OVER
    if start + rules.length_s + rules.correction_s < call.time_s:
        return Verdict.CORRECTION_TOO_LATE
    verdict = readings.accept(call.state, record, call.record_id, rules.length_s)
    if verdict == Verdict.ACCEPTED:
        # Also a reading for a period that is still open explains the silence before it.
        first, last = readings.affected(call.state, record.meter, start, rules.length_s)
        first = max(first, call.state.meta[0].next_final_s)
        found = []
        for period in range(first, min(last + rules.length_s, ledger.next_period_s), rules.length_s):
            then = ledger.rules(period).period
            corrected = closing.correct_period(call.state, period, call.account, then)
            if corrected is not None:
                call.events.append(corrected)
                found.append((corrected, then))
        call.events.extend(billing_periods.corrected(call.state, found))
    return verdict


def _order(call: Call, record: Order) -> Verdict:
    if record.standing is not None:
        return orders.place(call, record, record.standing)
    rules = call.ledger.rules(record.period_start_s)
    if fault := orders.fault_of_supply(call, record):
        return fault
    allowed = _allowed(call, record.period_start_s)
    wish = preferences.find(call.state, call.account, record.side)
    if wish is not None and allowed.fault_of_price(wish.price_u_kwh):
        # Where the rules have changed since, a limit that is not allowed any more does not count.
        wish = None
    near_u_kwh = NO_PRICE if wish is None else wish.price_u_kwh
    if record.side == SIDE_BUY and (fault := _fault_of_credit(call, record, near_u_kwh)):
        return fault
    return book.place(
        call.state,
        record,
        call.record_id,
        call.account,
        allowed,
        rules.binding,
        wish,
        height=call.height,
        position=call.position,
        time_s=call.time_s,
    )


def _amend(call: Call, record: Amend) -> Verdict:
    if record.order not in call.state.order_places:
        return orders.amend(call, record)
    found = book.find(call.state, record.order, call.account)
    if found is None:
        return Verdict.UNKNOWN_ORDER
    (start_s, _, _), row = found
    if not book.keeps_its_place(row, record) and (fault := _fault_of_more(call, record, start_s, row)):
        return fault
    return book.amend(
        call.state,
        record,
        call.account,
        _allowed(call, start_s),
        call.ledger.rules(start_s).binding,
        height=call.height,
        position=call.position,
        time_s=call.time_s,
    )


def _fault_of_more(call: Call, record: Amend, start_s: int, before: rows.OpenOrder) -> Verdict:
    """Whether suppliers and credit allow what an order would be now."""
    changed = Order(
        nonce=record.nonce,
        valid_until_s=record.valid_until_s,
        side=before.side,
        period_start_s=start_s,
        energy_wh=record.energy_wh,
        price_u_kwh=record.price_u_kwh,
    )
    if fault := orders.fault_of_supply(call, changed):
        return fault
    if before.side != SIDE_BUY:
        return Verdict.ACCEPTED
    return _fault_of_credit(call, changed, before.partner_price_u_kwh, before)


def _allowed(call: Call, start_s: int) -> book.BookRules:
    """What an order of a period is held to when it is given: by binding, feed and law, as far as they are known."""
    expected = driven.book(call.state, start_s, call.ledger.rules(start_s).book, call.time_s)
    return parameters.book(call.state, start_s, expected)


def _fault_of_credit(call: Call, record: Order, near_u_kwh: int, before: rows.OpenOrder | None = None) -> Verdict:
    """Whether the member's credit allows what an order may cost at most.

    Args:
        near_u_kwh: the limit towards its partner; NO_PRICE without one.
        before: the order that it was; what that may cost is promised already.
    """
    if not credit.limits(call.state, call.account, call.time_s):
        # Nobody asks what it may cost.
        return Verdict.ACCEPTED
    price_u_kwh = max(record.price_u_kwh, near_u_kwh)
    more_u = _cost_u(call, record.period_start_s, record.energy_wh, price_u_kwh)
    if before is not None:
        already_u = _cost_u(call, record.period_start_s, before.energy_wh, max(before.price_u_kwh, near_u_kwh))
        more_u = max(0, more_u - already_u)
    return credit.fault_of_promise(call.state, call.account, more_u, call.time_s, call.on_top_u_kwh)


def _cost_u(call: Call, start_s: int, energy_wh: int, price_u_kwh: int) -> int:
    """What energy of a period costs at most, with fees and levies."""
    return value(price_u_kwh, energy_wh) + value(call.on_top_u_kwh([start_s])[start_s], energy_wh)


def _cancel(call: Call, record: Cancel) -> Verdict:
    if record.order in call.state.standing:
        return orders.cancel(call, record.order)
    if record.order in call.state.committed:
        return orders.take_back(call, record.order)
    return book.cancel(call.state, record, call.account, call.time_s, call.ledger.rules().period.length_s)


EXECUTED: Handlers = {
    Reading: (rows.PURPOSE_METER, _reading),
    Order: (rows.PURPOSE_MEMBER, _order),
    Amend: (rows.PURPOSE_MEMBER, _amend),
    Cancel: (rows.PURPOSE_MEMBER, _cancel),
}
