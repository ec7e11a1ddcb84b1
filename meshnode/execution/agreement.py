"""Agreement: who validates, what nodes can execute, and who was found out."""

from __future__ import annotations

from meshnode.execution import governance
from meshnode.execution.call import Call, Handlers
from meshnode.ledger import alarms, findings, rows, validators
from meshnode.ledger.findings import FoundOut
from meshnode.ledger.knowledge import facts_of
from meshnode.ledger.verdicts import Verdict
from protocols.records import Evidence, QuorumChange, Support
from zencode.catalogue import ids


def _support(call: Call, record: Support) -> Verdict:
    call.state.support.put(call.signed.key_id, rows.NodeSupport(record.catalogue, record.mechanisms))
    return Verdict.ACCEPTED


def _change_quorum(call: Call, record: QuorumChange) -> Verdict:
    founded = len(call.ledger.genesis.validators)
    return validators.change(call.state, record, call.account, founded, call.height)


def _evidence(call: Call, record: Evidence) -> Verdict:
    case = call.ledger.hear(record)
    if case is None:
        return Verdict.NOT_PROVED
    verdict = findings.enter(call.state, case, call.record_id, call.height)
    if verdict == Verdict.ACCEPTED:
        call.events.append(FoundOut(case, record))
        _alarm(call, case.accused)
    return verdict


def _alarm(call: Call, accused: bytes) -> None:
    """What the binding says of evidence against a validator; it is about the owner of the device."""
    key = call.state.keys.get(accused)
    account = b"" if key is None else key.account
    outcome = call.rules.blocks.at(ids.EVIDENCE_FOUND, facts_of(call.state, account, call.time_s))
    governance.heed(call.ledger, call.moment, outcome, "evidence against a validator was found")
    alarms.raise_alarm(call.state, outcome, ids.EVIDENCE_FOUND, height=call.height, time_s=call.time_s, account=account)


EXECUTED: Handlers = {
    Support: (rows.PURPOSE_DEVICE, _support),
    QuorumChange: (rows.PURPOSE_MEMBER, _change_quorum),
    Evidence: (rows.PURPOSE_DEVICE, _evidence),
}
