"""Membership: who leaves, which keys speak for a member, and whose account acts again."""

from __future__ import annotations

from typing import Any

import msgspec

from meshnode.execution import agents, auctions, joining
from meshnode.execution.call import Call, Handlers
from meshnode.ledger import alarms, members, preferences, rows, standing, validators
from meshnode.ledger.knowledge import facts_of
from meshnode.ledger.verdicts import Verdict
from meshnode.local_time import later
from meshnode.settlement import dues
from protocols.records import KeyChange, Leave, Unfreeze
from zencode.catalogue import ids


def _leave(call: Call, record: Leave) -> Verdict:
    state, rules = call.state, call.rules
    # What holds for a member who leaves is asked while it is one.
    facts = facts_of(state, record.account, call.time_s)
    verdict = members.leave(
        state,
        record,
        call.account,
        validators.key_ids(state, call.height),
        height=call.height,
        time_s=call.time_s,
        end_s=call.boundary_s(),
    )
    if verdict != Verdict.ACCEPTED:
        return verdict
    # Nobody trades with who is gone.
    call.ledger.floor.withdraw_all(call.moment, record.account)
    auctions.leave(state, call.moment, record.account)
    standing.leave(state, record.account)
    agents.leave(state, record.account)
    preferences.leave(state, record.account)
    outcome = rules.blocks.at(ids.LEAVE, facts)
    alarms.raise_alarm(state, outcome, ids.LEAVE, height=call.height, time_s=call.time_s, account=record.account)
    kept: Any = outcome.last(ids.KEEP_OPEN)
    # The period that runs is still to be settled, whatever the binding says.
    closes_s = call.boundary_s() + rules.period.grace_s
    if kept:
        closes_s = max(closes_s, later(rules.members.zone, call.time_s, *kept[0]))
    row = dues.turnover(state, record.account)
    state.turnovers.put(record.account, msgspec.structs.replace(row, closes_s=closes_s))
    if row.deposit_u and record.account not in state.frozen:
        _give_back(call, record.account, row.deposit_u)
    return verdict


def _give_back(call: Call, account: bytes, deposit_u: int) -> None:
    ledger = call.ledger
    joining.hold(call.state, call.moment, account, ledger.next_period_s, call.rules.period.currency, -deposit_u)


def _unfreeze(call: Call, record: Unfreeze) -> Verdict:
    verdict = alarms.lift(call.state, record.account, call.account)
    if verdict == Verdict.ACCEPTED and call.state.accounts[record.account].left_s:
        deposit_u = dues.turnover(call.state, record.account).deposit_u
        if deposit_u:
            _give_back(call, record.account, deposit_u)
    return verdict


def _change_key(call: Call, record: KeyChange) -> Verdict:
    voting = validators.key_ids(call.state, call.height)
    return members.change_key(call.state, record, call.account, voting, call.height)


EXECUTED: Handlers = {
    Leave: (rows.PURPOSE_MEMBER, _leave),
    KeyChange: (rows.PURPOSE_MEMBER, _change_key),
    Unfreeze: (rows.PURPOSE_MEMBER, _unfreeze),
}
