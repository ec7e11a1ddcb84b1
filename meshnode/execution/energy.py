"""Energy: readings of settlement periods, and the orders for them."""

from __future__ import annotations

from meshnode.amounts import value
from meshnode.execution import orders
from meshnode.execution.call import Call, Handlers
from meshnode.ledger import book, credit, preferences, readings, rows
from meshnode.ledger.order_rows import Preference
from meshnode.ledger.verdicts import Verdict
from meshnode.settlement import bills, closing, driven, parameters
from protocols.records import SIDE_BUY, Cancel, Order, Reading


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
        for period in range(first, min(last + rules.length_s, ledger.next_period_s), rules.length_s):
            then = ledger.rules(period).period
            corrected = closing.correct_period(call.state, period, call.account, then)
            if corrected is not None:
                call.events.extend([corrected, *bills.corrected(call.state, corrected, then)])
    return verdict


def _order(call: Call, record: Order) -> Verdict:
    if record.standing is not None:
        return orders.place(call, record, record.standing)
    rules = call.ledger.rules(record.period_start_s)
    if fault := orders.fault_of_supply(call, record):
        return fault
    expected = driven.book(call.state, record.period_start_s, rules.book, call.time_s)
    allowed = parameters.book(call.state, record.period_start_s, expected)
    wish = preferences.find(call.state, call.account, record.side)
    if wish is not None and allowed.fault_of_price(wish.price_u_kwh):
        # Where the rules have changed since, a limit that is not allowed any more does not count.
        wish = None
    if record.side == SIDE_BUY and (fault := _fault_of_credit(call, record, wish)):
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


def _fault_of_credit(call: Call, record: Order, wish: Preference | None) -> Verdict:
    """Whether the member's credit allows what an order may cost at most: a partner's price, fees and levies count."""
    price_u_kwh = record.price_u_kwh if wish is None else max(record.price_u_kwh, wish.price_u_kwh)
    on_top = call.on_top_u_kwh([record.period_start_s])[record.period_start_s]
    most_u = value(price_u_kwh, record.energy_wh) + value(on_top, record.energy_wh)
    return credit.fault_of_promise(call.state, call.account, most_u, call.time_s, call.on_top_u_kwh)


def _cancel(call: Call, record: Cancel) -> Verdict:
    if record.order in call.state.standing:
        return orders.cancel(call, record.order)
    if record.order in call.state.committed:
        return orders.take_back(call, record.order)
    return book.cancel(call.state, record, call.account, call.time_s, call.ledger.rules().period.length_s)


EXECUTED: Handlers = {
    Reading: (rows.PURPOSE_METER, _reading),
    Order: (rows.PURPOSE_MEMBER, _order),
    Cancel: (rows.PURPOSE_MEMBER, _cancel),
}
