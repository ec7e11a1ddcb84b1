"""Tokens: assets that are issued, passed on, destroyed, exchanged, and paid in and out."""

from __future__ import annotations

from meshnode.execution.call import Call, Handlers
from meshnode.ledger import assets, capacity, cash, exchange, rows
from meshnode.ledger.movements import Moved, What
from meshnode.ledger.verdicts import Verdict
from protocols.records import (
    AssetIssue,
    Burn,
    Cash,
    CashAsk,
    CashConfirm,
    CashIn,
    CashOut,
    CashRelease,
    CashSell,
    Exchange,
    ExchangeAccept,
    ExchangeOffer,
    ExchangeWithdraw,
    Transfer,
)


def _transfer(call: Call, record: Transfer) -> Verdict:
    if not capacity.has_room(call.state, record.asset, record.to, record.amount):
        return Verdict.NO_ROOM
    verdict = assets.transfer(call.state, record, call.account)
    if verdict == Verdict.ACCEPTED:
        legs = (call.account, record.to, record.asset, record.amount)
        call.events.append(Moved(What.TRANSFER, *legs, memo=record.memo, nonce=record.nonce))
    return verdict


def _issue(call: Call, record: AssetIssue) -> Verdict:
    verdict = assets.issue(call.state, record, call.account, call.time_s)
    if verdict == Verdict.ACCEPTED and record.amount:
        call.events.append(Moved(What.ISSUED, b"", call.account, record.asset, record.amount))
    return verdict


def _burn(call: Call, record: Burn) -> Verdict:
    verdict = assets.burn(call.state, record, call.account)
    if verdict == Verdict.ACCEPTED:
        call.events.append(Moved(What.BURNED, call.account, b"", record.asset, record.amount))
    return verdict


def _exchange(call: Call, record: Exchange) -> Verdict:
    match record.step:
        case ExchangeOffer() as step:
            return exchange.offer(call.state, step, call.record_id, call.account, call.time_s)
        case ExchangeAccept() as step:
            return _accept(call, step)
        case ExchangeWithdraw() as step:
            return exchange.withdraw(call.state, step, call.account)


def _accept(call: Call, step: ExchangeAccept) -> Verdict:
    hold = call.state.holds.get(step.offer)
    if hold is not None and not _have_room(call, hold):
        return Verdict.NO_ROOM
    verdict = exchange.accept(call.state, step, call.account)
    if verdict == Verdict.ACCEPTED and hold is not None:
        call.events.append(Moved(What.EXCHANGED, hold.owner, call.account, hold.asset, hold.amount))
        call.events.append(Moved(What.EXCHANGED, call.account, hold.owner, hold.want, hold.want_amount))
    return verdict


def _have_room(call: Call, hold: rows.Hold) -> bool:
    """Whether both ends may store what they would get, if it is stored energy."""
    gains = ((hold.asset, call.account, hold.amount), (hold.want, hold.owner, hold.want_amount))
    return all(capacity.has_room(call.state, code, account, amount) for code, account, amount in gains)


def _cash(call: Call, record: Cash) -> Verdict:
    state, record_id, account = call.state, call.record_id, call.account
    match record.step:
        case CashIn() as step:
            if step.asset in state.storages:
                return Verdict.METER_MINTS
            verdict = cash.money_in(state, step, record_id, account)
            if verdict == Verdict.ACCEPTED:
                call.events.append(Moved(What.CASH_IN, b"", step.to, step.asset, step.amount, reference=step.reference))
            return verdict
        case CashAsk() as step:
            return cash.ask(state, step, record_id, account, call.time_s)
        case CashOut() as step:
            hold = state.holds.get(step.ask)
            verdict = cash.out(state, step, record_id, account)
            if verdict == Verdict.ACCEPTED and hold is not None:
                call.events.append(
                    Moved(What.CASH_OUT, hold.owner, b"", hold.asset, hold.amount, reference=step.reference)
                )
            return verdict
        case CashSell() as step:
            return cash.sell(state, step, record_id, account, call.time_s)
        case CashConfirm() as step:
            hold = state.holds.get(step.sale)
            if hold is not None and not capacity.has_room(state, hold.asset, hold.to, hold.amount):
                return Verdict.NO_ROOM
            verdict = cash.confirm(state, step, account)
            if verdict == Verdict.ACCEPTED and hold is not None:
                call.events.append(Moved(What.SOLD, hold.owner, hold.to, hold.asset, hold.amount))
            return verdict
        case CashRelease() as step:
            return cash.release(state, step, account)


EXECUTED: Handlers = {
    Transfer: (rows.PURPOSE_MEMBER, _transfer),
    AssetIssue: (rows.PURPOSE_MEMBER, _issue),
    Burn: (rows.PURPOSE_MEMBER, _burn),
    Exchange: (rows.PURPOSE_MEMBER, _exchange),
    Cash: (rows.PURPOSE_MEMBER, _cash),
}
