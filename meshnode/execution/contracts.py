"""Contracts: offered, signed, ended."""

from __future__ import annotations

from meshnode.execution.call import Call, Handlers
from meshnode.ledger import contracts, rows
from meshnode.ledger.verdicts import Verdict
from protocols.records import Contract, ContractEnd, ContractOffer, ContractSign


def _contract(call: Call, record: Contract) -> Verdict:
    match record.step:
        case ContractOffer() as step:
            return contracts.offer(call.state, step, call.record_id, call.account, call.rules.binding, call.time_s)
        case ContractSign() as step:
            return contracts.sign(call.state, step, call.account, call.time_s)
        case ContractEnd() as step:
            return contracts.end(call.state, step, call.account, call.time_s)


EXECUTED: Handlers = {Contract: (rows.PURPOSE_MEMBER, _contract)}
