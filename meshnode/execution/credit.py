"""Credit: limits that are set, securities that are left and given back."""

from __future__ import annotations

from meshnode.execution.call import Call, Handlers
from meshnode.ledger import credit, minting, rows
from meshnode.ledger.movements import Moved, What
from meshnode.ledger.verdicts import Verdict
from meshnode.settlement import pairs, storing
from protocols.records import CreditLimit, DepositPlace, DepositRelease, MemberCredit


def _credit(call: Call, record: MemberCredit) -> Verdict:
    match record.step:
        case CreditLimit() as step:
            return credit.set_limit(call.state, step, call.account, call.time_s)
        case DepositPlace() as step:
            return credit.place_deposit(call.state, step, call.record_id, call.account, call.time_s)
        case DepositRelease() as step:
            return _release(call, step)


def _release(call: Call, step: DepositRelease) -> Verdict:
    """What is given back pays fees in arrears, then claims, and only what is left is the owner's to spend."""
    verdict, deposit = credit.release_deposit(call.state, step, call.account)
    if deposit is None:
        return verdict
    before = credit.arrears(call.state, deposit.owner, deposit.asset)
    call.events.extend(storing.collect(call.state))
    paid = sum(before.values()) - sum(credit.arrears(call.state, deposit.owner, deposit.asset).values())
    if deposit.asset == minting.settling(call.state, call.time_s):
        received = pairs.pay_from(call.state, deposit.asset, deposit.owner, deposit.amount - paid)
        for account, amount in sorted(received.items()):
            legs = (b"", account) if amount > 0 else (account, b"")
            call.events.append(Moved(What.CLAIM_PAID, *legs, deposit.asset, abs(amount)))
    return verdict


EXECUTED: Handlers = {MemberCredit: (rows.PURPOSE_MEMBER, _credit)}
