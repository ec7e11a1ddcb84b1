"""Exchange: two assets change hands between two members, both at once or neither.

What an offer gives is held from the moment it stands on the ledger, so that whoever accepts it gets
it; what is wanted is taken from who accepts, in the same step. There is no state with one leg.
"""

from __future__ import annotations

from meshnode.ledger import assets, holds, rows
from meshnode.ledger.balances import balance, change
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from protocols.records import ExchangeAccept, ExchangeOffer, ExchangeWithdraw


def offer(state: State, step: ExchangeOffer, offer_id: bytes, account: bytes, time_s: int) -> Verdict:
    """An amount is held for whoever gives what is wanted for it."""
    if step.give not in state.assets or step.want not in state.assets:
        return Verdict.UNKNOWN_ASSET
    if step.give == step.want:
        return Verdict.SAME_ASSET
    fault = Verdict.ACCEPTED if step.to is None else assets.fault_of_receiver(state, step.to, account)
    if fault:
        return fault
    # Without an end an offer would hold back what its owner forgot.
    if step.until_s == rows.NO_TIMEOUT:
        return Verdict.END_NOT_AHEAD
    hold = rows.Hold(
        owner=account,
        asset=step.give,
        amount=step.give_amount,
        to=step.to or b"",
        purpose=rows.HOLD_EXCHANGE,
        until_s=step.until_s,
        want=step.want,
        want_amount=step.want_amount,
    )
    return holds.place(state, offer_id, hold, time_s)


def accept(state: State, step: ExchangeAccept, account: bytes) -> Verdict:
    """Both amounts change hands."""
    hold = holds.find(state, step.offer, rows.HOLD_EXCHANGE)
    if hold is None:
        return Verdict.UNKNOWN_HOLD
    if hold.to not in (b"", account):
        return Verdict.NOT_FOR_YOU
    fault = assets.fault_of_receiver(state, hold.owner, account)
    if fault:
        return fault
    if balance(state, account, hold.want).free < hold.want_amount:
        return Verdict.NOT_ENOUGH
    change(state, account, hold.want, free=-hold.want_amount)
    change(state, hold.owner, hold.want, free=hold.want_amount)
    holds.pay(state, step.offer, account, hold.amount)
    return Verdict.ACCEPTED


def withdraw(state: State, step: ExchangeWithdraw, account: bytes) -> Verdict:
    """An offer goes: what was held is its owner's again."""
    hold = holds.find(state, step.offer, rows.HOLD_EXCHANGE)
    if hold is None:
        return Verdict.UNKNOWN_HOLD
    if account not in (hold.owner, hold.to):
        return Verdict.NOT_FOR_YOU
    holds.release(state, step.offer)
    return Verdict.ACCEPTED
