"""Cash: tokens for money that the ledger does not see - by a cashier, or from member to member.

The cashier of an asset issues tokens for money that came in, and destroys those that a member asked
to be paid for; each payment outside has a reference, and a reference counts once. A member who sells
tokens to another says so first, and again when the money has come: between the two they are held.
"""

from __future__ import annotations

from meshnode.ledger import assets, holds, rows
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from protocols.records import CashAsk, CashConfirm, CashIn, CashOut, CashRelease, CashSell


def money_in(state: State, step: CashIn, record_id: bytes, account: bytes) -> Verdict:
    """The cashier issues tokens to who has paid."""
    fault = _fault_of_cashier(state, step.asset, account) or _fault_of_reference(state, step.asset, step.reference)
    if fault:
        return fault
    payer = state.accounts.get(step.to)
    if payer is None or payer.left_s:
        return Verdict.UNKNOWN_ACCOUNT
    asset = state.assets[step.asset]
    if asset.supply + step.amount > asset.cap:
        return Verdict.OVER_CAP
    assets.mint(state, step.asset, step.to, step.amount)
    state.references.put((step.asset, step.reference), rows.Reference(record_id, step.to, step.amount))
    return Verdict.ACCEPTED


def ask(state: State, step: CashAsk, ask_id: bytes, account: bytes, time_s: int) -> Verdict:
    """A member's tokens are held until the cashier has paid for them."""
    if step.asset not in state.assets:
        return Verdict.UNKNOWN_ASSET
    cashier = assets.rules(state, step.asset).cashier
    if not cashier:
        return Verdict.NO_CASHIER
    return _hold(state, step.asset, step.amount, cashier, rows.HOLD_CASH, ask_id, account, step.until_s, time_s)


def out(state: State, step: CashOut, record_id: bytes, account: bytes) -> Verdict:
    """The cashier has paid, and destroys the tokens that were held for it."""
    hold = holds.find(state, step.ask, rows.HOLD_CASH)
    if hold is None:
        return Verdict.UNKNOWN_HOLD
    fault = _fault_of_cashier(state, hold.asset, account) or _fault_of_reference(state, hold.asset, step.reference)
    if fault:
        return fault
    holds.burn(state, step.ask)
    state.references.put((hold.asset, step.reference), rows.Reference(record_id, hold.owner, -hold.amount))
    return Verdict.ACCEPTED


def sell(state: State, step: CashSell, sale_id: bytes, account: bytes, time_s: int) -> Verdict:
    """A seller's tokens are held until the buyer's money has come."""
    if step.asset not in state.assets:
        return Verdict.UNKNOWN_ASSET
    fault = assets.fault_of_receiver(state, step.to, account)
    if fault:
        return fault
    return _hold(state, step.asset, step.amount, step.to, rows.HOLD_SALE, sale_id, account, step.until_s, time_s)


def confirm(state: State, step: CashConfirm, account: bytes) -> Verdict:
    """The seller has got the money: the tokens are the buyer's."""
    hold = holds.find(state, step.sale, rows.HOLD_SALE)
    if hold is None:
        return Verdict.UNKNOWN_HOLD
    if hold.owner != account:
        return Verdict.NOT_FOR_YOU
    fault = assets.fault_of_receiver(state, hold.to, account)
    if fault:
        return fault
    holds.pay(state, step.sale, hold.to, hold.amount)
    return Verdict.ACCEPTED


def release(state: State, step: CashRelease, account: bytes) -> Verdict:
    """The one who was to get it lets go; its owner alone cannot, for the money may be on its way."""
    hold = holds.find(state, step.held, rows.HOLD_CASH) or holds.find(state, step.held, rows.HOLD_SALE)
    if hold is None:
        return Verdict.UNKNOWN_HOLD
    # Whoever is the cashier now looks after the wishes that the one before left open.
    cashier = assets.rules(state, hold.asset).cashier if hold.purpose == rows.HOLD_CASH else hold.to
    if account != cashier:
        return Verdict.NOT_FOR_YOU
    holds.release(state, step.held)
    return Verdict.ACCEPTED


def _hold(
    state: State,
    asset: str,
    amount: int,
    to: bytes,
    purpose: int,
    hold_id: bytes,
    owner: bytes,
    until_s: int,
    time_s: int,
) -> Verdict:
    if until_s == rows.NO_TIMEOUT:
        return Verdict.END_NOT_AHEAD
    return holds.place(state, hold_id, rows.Hold(owner, asset, amount, to, purpose, until_s), time_s)


def _fault_of_cashier(state: State, asset: str, account: bytes) -> Verdict:
    if asset not in state.assets:
        return Verdict.UNKNOWN_ASSET
    cashier = assets.rules(state, asset).cashier
    if not cashier:
        return Verdict.NO_CASHIER
    return Verdict.ACCEPTED if cashier == account else Verdict.NOT_CASHIER


def _fault_of_reference(state: State, asset: str, reference: str) -> Verdict:
    return Verdict.REFERENCE_TAKEN if (asset, reference) in state.references else Verdict.ACCEPTED
