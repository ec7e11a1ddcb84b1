"""Energy: readings of settlement periods, and the orders for them."""

from __future__ import annotations

from meshnode.amounts import value
from meshnode.execution import orders
from meshnode.execution.call import Call, Handlers
from meshnode.ledger import alarms, book, credit, preferences, readings, rows
from meshnode.ledger.knowledge import facts_of
from meshnode.ledger.members import ADMINISTRATOR
from meshnode.ledger.verdicts import Verdict
from meshnode.settlement import closing, driven, dues, parameters
from protocols.records import SIDE_BUY, Cancel, Order, Reading
from zencode.catalogue import ids


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
    if call.state.accounts[call.account].left_s and call.time_s > dues.turnover(call.state, call.account).closes_s:
        return Verdict.ACCOUNT_CLOSED
    verdict = readings.accept(call.state, record, call.record_id, rules.length_s)
    if verdict in (Verdict.IMPLAUSIBLE, Verdict.REGISTER_DECREASES):
        _implausible(call, record)
    if verdict == Verdict.ACCEPTED:
        # Also a reading for a period that is still open explains the silence before it.
        first, last = readings.affected(call.state, record.meter, start, rules.length_s)
        first = max(first, call.state.meta[0].next_final_s)
        for period in range(first, min(last + rules.length_s, ledger.next_period_s), rules.length_s):
            corrected = closing.correct_period(call.state, period, call.account, ledger.rules(period).period)
            if corrected is not None:
                call.events.append(corrected)
    return verdict


def _implausible(call: Call, record: Reading) -> None:
    """What the binding says of a reading that cannot be; where it does not refuse it, administrators look at it."""
    facts = facts_of(call.state, call.account, call.time_s)
    outcome = call.ledger.rules(record.period_start_s).blocks.at(ids.IMPLAUSIBLE, facts)
    alarms.raise_alarm(
        call.state,
        outcome,
        ids.IMPLAUSIBLE,
        height=call.height,
        time_s=call.time_s,
        account=call.account,
        meter=record.meter,
        always=() if outcome.refused else (ADMINISTRATOR,),
    )


def _order(call: Call, record: Order) -> Verdict:
    if record.standing is not None:
        return orders.place(call, record, record.standing)
    rules = call.ledger.rules(record.period_start_s)
    fault = orders.fault_of_supply(call, record)
    if fault:
        return fault
    if record.side == SIDE_BUY:
        most_u = value(record.price_u_kwh, record.energy_wh)
        fault = credit.fault_of_promise(call.state, call.account, most_u, call.time_s)
        if fault:
            return fault
    expected = driven.book(call.state, record.period_start_s, rules.book, call.time_s)
    allowed = parameters.book(call.state, record.period_start_s, expected)
    verdict = book.place(
        call.state,
        record,
        call.record_id,
        call.account,
        allowed,
        rules.binding,
        height=call.height,
        position=call.position,
        time_s=call.time_s,
    )
    wish = preferences.find(call.state, call.account, record.side)
    # Where the rules have changed since, a limit that is not allowed any more does not count.
    if verdict == Verdict.ACCEPTED and wish is not None and not allowed.fault_of_price(wish.price_u_kwh):
        preferences.note(call.state, call.record_id, wish)
    return verdict


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
