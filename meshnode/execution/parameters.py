"""Parameters: prices that members and administrators set, and what else is set from a period on."""

from __future__ import annotations

from meshnode.execution.call import Call, Handlers
from meshnode.execution.floor import OrderGone
from meshnode.ledger import book, rows
from meshnode.ledger.verdicts import Verdict
from meshnode.market import Leaving
from meshnode.settlement import parameters
from protocols.records import CapSet, Parameter, PriceMine, PriceSet


def _price(call: Call, record: PriceSet) -> Verdict:
    step, state = record.step, call.state
    fault, from_s = _start(call, step.from_s)
    if fault:
        return fault
    if not isinstance(step, PriceMine):
        return parameters.set_outside(state, step, call.account, from_s, call.time_s)
    allowed = parameters.book(state, from_s, call.ledger.rules(from_s).book)
    if not allowed.open:
        return Verdict.NO_MARKET
    for price_u_kwh in (step.sell_u_kwh, step.buy_u_kwh):
        if price_u_kwh is not None and (fault := allowed.fault_of_price(price_u_kwh)):
            return fault
    place = (call.height, call.position)
    return parameters.set_mine(state, step, call.account, from_s, call.record_id, place, call.time_s)


def _parameter(call: Call, record: Parameter) -> Verdict:
    fault, from_s = _start(call, record.step.from_s)
    if fault:
        return fault
    verdict = parameters.set_parameter(call.state, record.step, call.account, from_s, call.time_s)
    if verdict == Verdict.ACCEPTED and isinstance(record.step, CapSet):
        _keep_within(call, from_s)
    return verdict


def _keep_within(call: Call, from_s: int) -> None:
    """Orders of periods for which their price will not be allowed leave the book at once."""
    for start_s in book.periods(call.state, from_s):
        allowed = parameters.book(call.state, start_s, call.ledger.rules(start_s).book.unbound())
        for order_id, row in book.keep_within(call.state, start_s, allowed):
            call.events.append(OrderGone(order_id, row.account, int(Leaving.OUT_OF_BAND), row.energy_wh, 0))


def _start(call: Call, from_s: int | None) -> tuple[Verdict, int]:
    return parameters.fault_of_start(call.time_s, call.rules.period.length_s, from_s)


EXECUTED: Handlers = {
    PriceSet: (rows.PURPOSE_MEMBER, _price),
    Parameter: (rows.PURPOSE_MEMBER, _parameter),
}
