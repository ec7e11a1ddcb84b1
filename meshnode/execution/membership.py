"""Membership: who joins, who leaves, and which keys speak for a member."""

from __future__ import annotations

from meshnode.execution import agents, auctions
from meshnode.execution.call import Call, Handlers
from meshnode.ledger import members, preferences, rows, standing, validators
from meshnode.ledger.verdicts import Verdict
from protocols.records import Join, KeyChange, Leave


def _join(call: Call, record: Join) -> Verdict:
    ledger = call.ledger
    return members.join(
        call.state,
        record,
        call.account,
        call.rules.roles_admitted,
        ledger.chain_id,
        ledger.verifier,
        height=call.height,
        time_s=call.time_s,
        first_period_s=call.boundary_s(),
    )


def _leave(call: Call, record: Leave) -> Verdict:
    verdict = members.leave(
        call.state,
        record,
        call.account,
        validators.key_ids(call.state, call.height),
        height=call.height,
        time_s=call.time_s,
        end_s=call.boundary_s(),
    )
    if verdict == Verdict.ACCEPTED:
        # Nobody trades with who is gone.
        call.ledger.floor.withdraw_all(call.moment, record.account)
        auctions.leave(call.state, call.moment, record.account)
        standing.leave(call.state, record.account)
        agents.leave(call.state, record.account)
        preferences.leave(call.state, record.account)
    return verdict


def _change_key(call: Call, record: KeyChange) -> Verdict:
    voting = validators.key_ids(call.state, call.height)
    return members.change_key(call.state, record, call.account, voting, call.height)


EXECUTED: Handlers = {
    Join: (rows.PURPOSE_MEMBER, _join),
    Leave: (rows.PURPOSE_MEMBER, _leave),
    KeyChange: (rows.PURPOSE_MEMBER, _change_key),
}
