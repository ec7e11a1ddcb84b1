"""Partners: members say whom their orders serve first, and at which limit."""

from __future__ import annotations

from meshnode.execution.call import Call, Handlers
from meshnode.execution.orders import band_of, fault_of_price
from meshnode.ledger import preferences, rows
from meshnode.ledger.verdicts import Verdict
from protocols.records import Partner, PartnerFirst, PartnerNobody


def _partner(call: Call, record: Partner) -> Verdict:
    match record.step:
        case PartnerFirst() as step:
            return _fault_of(call, step) or preferences.prefer(call.state, step, call.account)
        case PartnerNobody() as step:
            return preferences.prefer_nobody(call.state, step, call.account)


def _fault_of(call: Call, step: PartnerFirst) -> Verdict:
    """Whether orders could be given at that limit, by the rules in force."""
    if step.asset is None and step.paid_with is None:
        return call.rules.book.fault_of_price(step.price_u_kwh)
    if step.asset is None or step.paid_with is None:
        return Verdict.TERMS_CONTRADICT
    if any(code not in call.state.assets for code in (step.asset, step.paid_with)):
        return Verdict.UNKNOWN_ASSET
    if step.asset == step.paid_with:
        return Verdict.SAME_ASSET
    return fault_of_price(step.price_u_kwh, band_of(call, step.asset, step.paid_with))


EXECUTED: Handlers = {Partner: (rows.PURPOSE_MEMBER, _partner)}
